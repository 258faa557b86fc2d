//! The listeners in effect, for threads of the control plane.

use spooky_net::tls::CertificateStore;
use spooky_telemetry::metrics::ListenerSeries;
use std::{
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError},
};

/// What the control plane reads of a listener.
#[derive(Clone)]
pub(crate) struct ListenerView {
    pub(crate) name: String,
    /// By worker.
    pub(crate) series: Arc<[Arc<ListenerSeries>]>,
    /// The UDP sockets.
    pub(crate) sockets: Vec<Arc<OwnedFd>>,
    pub(crate) certificates: Arc<CertificateStore>,
}

/// Locked by the control plane and by reloads only, never by a worker.
#[derive(Default)]
pub(crate) struct ListenerViews(Mutex<Vec<ListenerView>>);

impl ListenerViews {
    /// Returns the listeners in effect. They must not be kept: a port is free only when all its sockets are closed.
    pub(crate) fn get(&self) -> Vec<ListenerView> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set(&self, views: Vec<ListenerView>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = views;
    }
}
