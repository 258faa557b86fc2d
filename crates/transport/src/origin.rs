//! State of one origin: its connections, its queue of requests, and the results of earlier connection attempts.
//!
//! Backends with the same scheme, host, port, protocol and TLS settings share an origin.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    rc::Rc,
    time::{Duration, Instant},
};

use crate::{
    connect::{ConnectHints, ConnectTarget, DetectedScheme, HttpVersion},
    handle::{RequestHandle, SlotKey},
    idle::IdlePool,
    options::{BackendSpec, Protocol},
};

/// Pause after a failed attempt before a further HTTP/2 connection is tried while one is open.
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
    /// The HTTP/2 connections that take requests.
    pub(crate) h2: Vec<SlotKey>,
    /// The HTTP/1.1 connections that will take further requests, busy ones included.
    pub(crate) h1: Vec<SlotKey>,
    /// Those of them without a request.
    pub(crate) idle: IdlePool,
    /// The attempts in progress.
    pub(crate) connecting: Vec<SlotKey>,
    /// Number of connections, including those that are retiring or being established.
    pub(crate) slots: usize,
    pub(crate) waiting: VecDeque<RequestHandle>,
    /// When the last attempt failed; `None` after a success.
    pub(crate) failed_at: Option<Instant>,
    /// When an attempt last succeeded.
    pub(crate) connected_at: Option<Instant>,
    pub(crate) reachability: Reachability,
    /// The addresses of the name when a connection last succeeded.
    pub(crate) addresses: Option<Rc<[SocketAddr]>>,
    /// For [`Scheme::Detect`](crate::Scheme::Detect): the result, cleared when an attempt fails.
    pub(crate) detected: Option<DetectedScheme>,
    /// The HTTP version of the last connection, cleared when an attempt fails.
    pub(crate) version: Option<HttpVersion>,
    /// It has spoken HTTP/2. A timeout then does not show that it no longer does.
    pub(crate) has_spoken_http2: bool,
    pub(crate) attempts: usize,
    /// The timeout of the backend that was requested last.
    pub(crate) connect_timeout: Duration,
}

impl Origin {
    pub(crate) fn new(spec: &BackendSpec) -> Self {
        Self {
            spec: spec.clone(),
            target: Rc::new(ConnectTarget::new(spec)),
            backends: 1,
            h2: Vec::new(),
            h1: Vec::new(),
            idle: IdlePool::new(spec.idle.clone()),
            connecting: Vec::new(),
            slots: 0,
            waiting: VecDeque::new(),
            failed_at: None,
            connected_at: None,
            reachability: Reachability::Up,
            addresses: None,
            detected: None,
            version: None,
            has_spoken_http2: false,
            attempts: 0,
            connect_timeout: spec.connect_timeout,
        }
    }

    pub(crate) fn is(&self, spec: &BackendSpec) -> bool {
        self.spec.is_same_origin(spec)
    }

    pub(crate) fn hints(&self) -> ConnectHints {
        ConnectHints {
            addresses: self.addresses.clone(),
            detected: self.detected,
            version: self.version,
            turn: self.attempts,
        }
    }

    /// Returns whether a connection takes requests, now or after those that it has.
    pub(crate) fn has_open(&self) -> bool {
        !self.h2.is_empty() || !self.h1.is_empty()
    }

    /// Returns whether requests need a connection each, as far as is known.
    fn is_http1(&self) -> bool {
        match self.spec.protocol {
            Protocol::H2 => false,
            Protocol::Http1 => true,
            Protocol::Auto => self.version == Some(HttpVersion::Http1),
        }
    }

    /// Returns whether another connection may be started.
    ///
    /// HTTP/2: one attempt at a time, at most `most` connections, and while one is open, not within [`CONNECT_PAUSE`] of a
    /// failed attempt. While none is open, `lb` decides when the backend is tried.
    ///
    /// HTTP/1.1: one attempt for each waiting request, but only one at a time until one has succeeded since the last
    /// failure: a backend that does not answer costs one connect timeout, not one for each request.
    pub(crate) fn may_connect(&self, most: usize, now: Instant) -> bool {
        if self.is_http1() {
            let is_proven = self.connected_at.is_some() && self.failed_at.is_none();
            return self.connecting.len() < self.waiting.len() && (is_proven || self.connecting.is_empty());
        }
        let is_paused = self.failed_at.is_some_and(|at| now < at + CONNECT_PAUSE);
        self.connecting.is_empty() && (!self.has_open() || self.h2.len() < most && !is_paused)
    }

    /// Records a failed attempt. Returns the number of waiting requests that fail with it, the longest waiting first.
    ///
    /// All of them, unless a connection is open that may still serve them: HTTP/2 opens a stream when another ends, and on
    /// HTTP/1.1 each waiting request has an attempt of its own while others succeed.
    pub(crate) fn on_failure(&mut self, started: Instant, now: Instant) -> usize {
        let waiting = self.waiting.len();
        let is_http1 = self.is_http1();
        self.failed_at = Some(now);
        (self.addresses, self.detected, self.version) = (None, None, None);
        match (self.has_open(), is_http1) {
            (true, false) => 0,
            (true, true) if self.connected_at.is_some_and(|at| at > started) => waiting.min(1),
            (false, _) | (true, true) => waiting,
        }
    }

    pub(crate) fn on_success(&mut self, version: HttpVersion, now: Instant) {
        self.version = Some(version);
        self.has_spoken_http2 |= version == HttpVersion::Http2;
        self.failed_at = None;
        self.connected_at = Some(now);
    }

    /// Takes a connection out of the lists, except for the count of all.
    pub(crate) fn forget(&mut self, key: SlotKey) {
        for keys in [&mut self.h2, &mut self.h1, &mut self.connecting] {
            if let Some(at) = keys.iter().position(|other| *other == key) {
                keys.swap_remove(at);
                break;
            }
        }
        self.idle.remove(key);
    }

    pub(crate) fn is_unused(&self) -> bool {
        self.backends == 0 && self.slots == 0 && self.waiting.is_empty()
    }
}
