//! State of one origin: its connections, its queue of requests, and the results of earlier connection attempts.
//!
//! Backends with the same scheme, host, port, protocol and TLS settings share an origin.

use std::{
    collections::VecDeque,
    net::IpAddr,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use spooky_telemetry::metrics::OriginGauge;

use crate::{
    connect::{ConnectHints, ConnectTarget, DetectedScheme, HttpVersion},
    dial::Destination,
    handle::{RequestHandle, SlotKey},
    idle::IdlePool,
    options::{BackendSpec, Protocol},
};

/// Pause after a failed attempt before a further HTTP/2 connection is tried while one is open.
const CONNECT_PAUSE: Duration = Duration::from_millis(250);
/// How long an address that has not answered is tried last.
const AVOID_TIME: Duration = Duration::from_secs(30);
/// Maximum number of HTTP/2 connections that are opened to use all addresses of a name.
const MAX_SPREAD: usize = 16;

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
    /// Counts its open connections for these backends.
    pub(crate) gauge: OriginGauge,
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
    /// The addresses of the name, as last applied to the connections.
    addresses: Arc<[IpAddr]>,
    /// Addresses that have not answered, and when.
    failed_addresses: Vec<(IpAddr, Instant)>,
    /// For [`Scheme::Detect`](crate::Scheme::Detect): the result, cleared when an attempt fails.
    pub(crate) detected: Option<DetectedScheme>,
    /// The HTTP version of the last connection, cleared when an attempt fails.
    pub(crate) version: Option<HttpVersion>,
    /// It has spoken HTTP/2. A timeout then does not show that it no longer does.
    pub(crate) has_spoken_http2: bool,
    attempts: usize,
    /// The timeout of the backend that was requested last.
    pub(crate) connect_timeout: Duration,
}

impl Origin {
    /// Creates an origin. `turn` is the number of its first attempt.
    pub(crate) fn new(spec: &BackendSpec, destination: Destination, turn: usize) -> Self {
        Self {
            spec: spec.clone(),
            addresses: destination.addresses().unwrap_or_default(),
            target: Rc::new(ConnectTarget::new(spec, destination)),
            backends: 1,
            gauge: OriginGauge::default(),
            h2: Vec::new(),
            h1: Vec::new(),
            idle: IdlePool::new(spec.idle.clone()),
            connecting: Vec::new(),
            slots: 0,
            waiting: VecDeque::new(),
            failed_at: None,
            connected_at: None,
            reachability: Reachability::Up,
            failed_addresses: Vec::new(),
            detected: None,
            version: None,
            has_spoken_http2: false,
            attempts: turn,
            connect_timeout: spec.connect_timeout,
        }
    }

    pub(crate) fn is(&self, spec: &BackendSpec) -> bool {
        self.spec.is_same_origin(spec)
    }

    /// Returns the hints for the next attempt.
    pub(crate) fn next_attempt(&mut self, now: Instant) -> ConnectHints {
        let turn = self.attempts;
        self.attempts = turn.wrapping_add(1);
        self.failed_addresses.retain(|(_, at)| now < *at + AVOID_TIME);
        let avoid = self.failed_addresses.iter().map(|(address, _)| *address).collect();
        ConnectHints { detected: self.detected, version: self.version, turn, avoid }
    }

    /// Records the addresses of an attempt that have not answered.
    pub(crate) fn avoid(&mut self, failed: Vec<IpAddr>, now: Instant) {
        self.failed_addresses.retain(|(address, _)| !failed.contains(address));
        self.failed_addresses.extend(failed.into_iter().map(|address| (address, now)));
    }

    /// Reads the addresses of the name. Returns true if they are others than before.
    pub(crate) fn update_addresses(&mut self) -> bool {
        let Some(addresses) = self.target.destination.addresses() else { return false };
        !Arc::ptr_eq(&std::mem::replace(&mut self.addresses, addresses.clone()), &addresses)
    }

    /// Returns whether the name no longer has this address.
    pub(crate) fn has_removed(&self, peer: Option<IpAddr>) -> bool {
        !self.addresses.is_empty() && peer.is_some_and(|peer| !self.addresses.contains(&peer))
    }

    /// Returns whether the name has more addresses than there are HTTP/2 connections.
    pub(crate) fn has_unused_addresses(&self) -> bool {
        self.h2.len() < self.addresses.len().min(MAX_SPREAD)
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
    /// HTTP/2: one attempt at a time, at most `most` connections or one for each address, and while one is open, not within
    /// [`CONNECT_PAUSE`] of a failed attempt. While none is open, `lb` decides when the backend is tried.
    ///
    /// HTTP/1.1: one attempt for each waiting request, but only one at a time until one has succeeded since the last
    /// failure: a backend that does not answer costs one connect timeout, not one for each request.
    pub(crate) fn may_connect(&self, most: usize, now: Instant) -> bool {
        if self.is_http1() {
            let is_proven = self.connected_at.is_some() && self.failed_at.is_none();
            return self.connecting.len() < self.waiting.len() && (is_proven || self.connecting.is_empty());
        }
        let is_paused = self.failed_at.is_some_and(|at| now < at + CONNECT_PAUSE);
        let has_room = self.h2.len() < most || self.has_unused_addresses();
        self.connecting.is_empty() && (!self.has_open() || has_room && !is_paused)
    }

    /// Records a failed attempt. Returns the number of waiting requests that fail with it, the longest waiting first.
    ///
    /// All of them, unless a connection is open that may still serve them: HTTP/2 opens a stream when another ends, and on
    /// HTTP/1.1 each waiting request has an attempt of its own while others succeed.
    pub(crate) fn on_failure(&mut self, started: Instant, now: Instant) -> usize {
        let waiting = self.waiting.len();
        let is_http1 = self.is_http1();
        self.failed_at = Some(now);
        (self.detected, self.version) = (None, None);
        self.failed_addresses.clear();
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
