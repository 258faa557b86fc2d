//! One origin: its connections, the requests that wait for them, and what is known about reaching it.
//!
//! Several backends with the same scheme, host, port and TLS settings are one origin. Holds state and answers
//! questions about it; `transport` acts.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    connect::{DetectedScheme, Route},
    handle::{RequestHandle, SlotKey},
    options::BackendSpec,
};

/// Pause after a failed attempt before another connection beside an open one is tried.
const CONNECT_PAUSE: Duration = Duration::from_millis(250);

/// Whether an origin can be reached, as last told to the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Not known to be unreachable.
    Up,
    /// The last attempt failed and no connection stands.
    Down,
}

/// An origin and its pool.
pub(crate) struct Origin {
    /// The first backend that named it.
    pub(crate) spec: BackendSpec,
    pub(crate) route: Rc<Route>,
    /// Number of backends that name this origin; without any it ends with its last connection.
    pub(crate) backends: usize,
    /// The connections that take requests.
    pub(crate) open: Vec<SlotKey>,
    /// The attempt under way.
    pub(crate) connecting: Option<SlotKey>,
    /// All connections and the attempt, those included that take no more requests.
    pub(crate) slots: usize,
    pub(crate) waiting: VecDeque<RequestHandle>,
    /// When the last attempt failed, unless one succeeded since.
    pub(crate) failed_at: Option<Instant>,
    pub(crate) reach: Reach,
    /// What the name resolved to when a connection last succeeded.
    pub(crate) addresses: Option<Rc<[SocketAddr]>>,
    /// The detected scheme, where the configuration does not say; forgotten when an attempt fails.
    pub(crate) detected: Option<DetectedScheme>,
    /// Attempts so far.
    pub(crate) attempts: usize,
    /// Bound of an attempt: that of the backend last asked for.
    pub(crate) connect_timeout: Duration,
}

impl Origin {
    pub(crate) fn new(spec: &BackendSpec) -> Self {
        Self {
            spec: spec.clone(),
            route: Rc::new(Route::new(spec.host.clone(), spec.port, &spec.scheme)),
            backends: 1,
            open: Vec::new(),
            connecting: None,
            slots: 0,
            waiting: VecDeque::new(),
            failed_at: None,
            reach: Reach::Up,
            addresses: None,
            detected: None,
            attempts: 0,
            connect_timeout: spec.connect_timeout,
        }
    }

    /// Whether `spec` names this origin.
    pub(crate) fn is(&self, spec: &BackendSpec) -> bool {
        self.spec.is_same_origin(spec)
    }

    /// Whether another connection may be begun: one attempt at a time, `most` connections, and beyond the first one not
    /// within [`CONNECT_PAUSE`] of a failed attempt. While no connection is open `lb` decides how long the backend is passed over.
    pub(crate) fn may_connect(&self, most: usize, now: Instant) -> bool {
        let is_paused = self.failed_at.is_some_and(|at| now < at + CONNECT_PAUSE);
        self.connecting.is_none() && (self.open.is_empty() || self.open.len() < most && !is_paused)
    }

    /// Whether nothing refers to this origin any more.
    pub(crate) fn is_unused(&self) -> bool {
        self.backends == 0 && self.slots == 0 && self.waiting.is_empty()
    }
}
