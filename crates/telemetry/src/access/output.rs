//! Where the lines of all workers go, and which of them are wanted. Changed by a reload and by the log level; workers read
//! the switches for each line and the rest after a reload.

use super::LineFormat;
use crate::queue::LineQueue;
use spooky_config::{AccessField, LogFormat};
use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicBool, Ordering::Relaxed},
};

/// The access log's destination, shared by all workers.
pub struct AccessOutput {
    has_requests: AtomicBool,
    has_connections: AtomicBool,
    settings: Mutex<Arc<Settings>>,
}

/// What a worker keeps until the next reload.
pub(crate) struct Settings {
    pub(crate) requests: Destination,
    pub(crate) connections: Destination,
    /// Of 2^64 requests with a status below 400, this many are selected; `None` if all are.
    pub(crate) sample_threshold: Option<u64>,
}

/// Where one kind of lines goes, and in which form.
pub(crate) struct Destination {
    pub(crate) queue: LineQueue,
    pub(crate) format: LineFormat,
    pub(crate) fields: Vec<AccessField>,
}

/// Which lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) requests: bool,
    pub(crate) connections: bool,
}

impl AccessOutput {
    pub(crate) fn new(settings: Settings, wanted: Wanted) -> Arc<Self> {
        let output = Self {
            has_requests: AtomicBool::new(false),
            has_connections: AtomicBool::new(false),
            settings: Mutex::new(Arc::new(settings)),
        };
        output.want(wanted);
        Arc::new(output)
    }

    /// Returns an output that takes no lines, for workers without a log.
    pub fn none() -> Arc<Self> {
        let destination = || Destination {
            queue: LineQueue::closed(),
            format: LineFormat::Text(LogFormat::Plain),
            fields: Vec::new(),
        };
        let settings = Settings { requests: destination(), connections: destination(), sample_threshold: None };
        Self::new(settings, Wanted { requests: false, connections: false })
    }

    pub(crate) fn set(&self, settings: Settings) {
        *self.settings.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }

    pub(crate) fn want(&self, wanted: Wanted) {
        self.has_requests.store(wanted.requests, Relaxed);
        self.has_connections.store(wanted.connections, Relaxed);
    }

    pub(super) fn settings(&self) -> Arc<Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn has_requests(&self) -> bool {
        self.has_requests.load(Relaxed)
    }

    pub(super) fn has_connections(&self) -> bool {
        self.has_connections.load(Relaxed)
    }
}

/// Returns the threshold of [`Settings`] for `log.access.sample_ratio`.
pub(crate) fn sample_threshold(ratio: f64) -> Option<u64> {
    #[allow(clippy::cast_sign_loss, reason = "the configuration admits 0.0 to 1.0")]
    (ratio < 1.0).then(|| (ratio * 2_f64.powi(64)) as u64)
}
