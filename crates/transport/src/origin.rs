//! State of one origin: its connections, its queue of requests, and the results of earlier connection attempts.
//!
//! Backends with the same scheme, host, port and TLS settings share an origin.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    connect::{ConnectTarget, DetectedScheme},
    handle::{RequestHandle, SlotKey},
    options::BackendSpec,
};

/// Pause after a failed attempt before a further connection is tried while one is open.
const CONNECT_PAUSE: Duration = Duration::from_millis(250);

/// Whether an origin can be reached, as last reported to the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reachability {
    /// Not known to be unreachable.
    Up,
    /// The last attempt failed and no connection is open.
    Down,
}

pub(crate) struct Origin {
    /// Of the first backend that was added for it.
    pub(crate) spec: BackendSpec,
    pub(crate) target: Rc<ConnectTarget>,
    /// Number of backends that share this origin. At 0, it is removed with its last connection.
    pub(crate) backends: usize,
    /// The connections that take requests.
    pub(crate) open: Vec<SlotKey>,
    pub(crate) connecting: Option<SlotKey>,
    /// Number of connections, including those that are retiring or being established.
    pub(crate) slots: usize,
    pub(crate) waiting: VecDeque<RequestHandle>,
    /// When the last attempt failed; `None` after a success.
    pub(crate) failed_at: Option<Instant>,
    pub(crate) reachability: Reachability,
    /// The addresses of the name when a connection last succeeded.
    pub(crate) addresses: Option<Rc<[SocketAddr]>>,
    /// For [`Scheme::Detect`](crate::Scheme::Detect): the result, cleared when an attempt fails.
    pub(crate) detected: Option<DetectedScheme>,
    pub(crate) attempts: usize,
    /// The timeout of the backend that was requested last.
    pub(crate) connect_timeout: Duration,
}

impl Origin {
    pub(crate) fn new(spec: &BackendSpec) -> Self {
        Self {
            spec: spec.clone(),
            target: Rc::new(ConnectTarget::new(spec.host.clone(), spec.port, &spec.scheme)),
            backends: 1,
            open: Vec::new(),
            connecting: None,
            slots: 0,
            waiting: VecDeque::new(),
            failed_at: None,
            reachability: Reachability::Up,
            addresses: None,
            detected: None,
            attempts: 0,
            connect_timeout: spec.connect_timeout,
        }
    }

    pub(crate) fn is(&self, spec: &BackendSpec) -> bool {
        self.spec.is_same_origin(spec)
    }

    /// Returns whether another connection may be started: one attempt at a time, at most `most` connections, and while one is
    /// open, not within [`CONNECT_PAUSE`] of a failed attempt. While none is open, `lb` decides when the backend is tried.
    pub(crate) fn may_connect(&self, most: usize, now: Instant) -> bool {
        let is_paused = self.failed_at.is_some_and(|at| now < at + CONNECT_PAUSE);
        self.connecting.is_none() && (self.open.is_empty() || self.open.len() < most && !is_paused)
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.backends == 0 && self.slots == 0 && self.waiting.is_empty()
    }
}
