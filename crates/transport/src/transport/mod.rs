//! The transport of one worker: tables of backends, origins, connections and active requests.
//!
//! `backends` adds and removes backends, `origins` finds what they share, `send` has the calls of the exchange, `events`
//! delivers events to it, `poll` is the transport's part of a worker's turn, `assign` assigns requests to connections,
//! `connections` opens and closes these.

mod assign;
mod backends;
mod connections;
mod events;
mod origins;
mod poll;
mod send;

use std::{
    collections::{HashMap, VecDeque},
    hash::{BuildHasher as _, RandomState},
    sync::Arc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use slab::Slab;
use spooky_bridge::{h1, h2};
use spooky_net::{ready::ReadySet, timer::Deadlines};
use spooky_table::Table;
use spooky_telemetry::metrics::{ConnectionGauge, TransportSeries};

use crate::{
    counters::Counters,
    failure::{FailureKind, Processed},
    handle::{BackendId, RequestHandle, SlotKey},
    names::NameTable,
    options::Options,
    origin::Origin,
    queued::QueuedEvent,
    requests::{RequestState, Requests},
    slots::{Link, MAX_SLOTS, Slots},
};

/// Several backends may share an origin.
struct BackendEntry {
    origin: usize,
    connect_timeout: Duration,
    /// Where its open connections are counted.
    connections: Arc<ConnectionGauge>,
    /// The origin with HTTP/1.1 for requests for WebSocket, once `origin` has refused one for want of extended CONNECT (RFC 8441).
    websockets: Option<usize>,
}

fn h2_config(options: &Options) -> h2::Config {
    h2::Config {
        initial_stream_window: options.stream_window,
        connection_window: options.connection_window,
        max_header_list: options.max_header_bytes,
        ..h2::Config::default()
    }
}

fn h1_config(options: &Options) -> h1::ClientConfig {
    h1::ClientConfig { max_section: options.max_header_bytes as usize, seed: RandomState::new().hash_one(0) }
}

/// The backend side of one worker.
pub struct Transport {
    options: Options,
    h1: h1::ClientConfig,
    h2: h2::Config,
    backends: Table<BackendEntry>,
    origins: Slab<Origin>,
    /// Addresses of the names of backends.
    resolver: Arc<NameTable>,
    /// Origins by lower-case host and port.
    names: HashMap<(String, u16), Vec<usize>>,
    slots: Slots,
    requests: Requests,
    events: VecDeque<QueuedEvent>,
    /// Connections with output to write.
    dirty: Vec<SlotKey>,
    ready: Arc<ReadySet>,
    /// Buffer for the ready slots, reused between turns.
    visits: Vec<usize>,
    deadlines: Deadlines<SlotKey>,
    counters: Counters,
    counts: Arc<TransportSeries>,
    draining: bool,
    /// The time passed to the last call.
    now: Instant,
}

impl Transport {
    /// Creates a transport without backends. A [`Resolver`](crate::Resolver) must run for the names.
    pub fn new(options: Options, names: Arc<NameTable>, now: Instant) -> Self {
        Self {
            resolver: names,
            h1: h1_config(&options),
            h2: h2_config(&options),
            options,
            backends: Table::default(),
            origins: Slab::new(),
            names: HashMap::new(),
            slots: Slots::default(),
            requests: Requests::default(),
            events: VecDeque::new(),
            dirty: Vec::new(),
            ready: ReadySet::new(MAX_SLOTS + 1),
            visits: Vec::new(),
            deadlines: Deadlines::default(),
            counters: Counters::default(),
            counts: Arc::default(),
            draining: false,
            now,
        }
    }

    /// Changes the options. Existing connections keep the windows and limits that they have announced. The initial window stays
    /// as it is until the next [`Transport::set_initial_window`].
    pub fn configure(&mut self, options: Options) {
        let initial_stream_window = self.h2.initial_stream_window;
        self.h1 = h1_config(&options);
        self.h2 = h2::Config { initial_stream_window, ..h2_config(&options) };
        self.options = options;
    }

    /// Sets where the metrics find the counts of this transport, which must be their only writer.
    pub fn count_in(&mut self, counts: Arc<TransportSeries>) {
        self.counts = counts;
    }

    /// Frees buffers that are not in use. To be called after a time without traffic.
    pub fn free_unused(&mut self) {
        self.slots.free_unused();
    }

    /// Returns whether there are no requests and no connections.
    pub fn is_idle(&self) -> bool {
        self.requests.len() == 0 && self.slots.len() == 0
    }

    /// Returns the number of active requests, including waiting ones.
    pub fn running(&self) -> usize {
        self.requests.len()
    }

    /// Returns the current counters.
    pub fn counters(&self) -> Counters {
        Counters { connections_now: self.slots.len() as u64, ..self.counters }
    }

    fn backend(&self, backend: BackendId) -> Option<&BackendEntry> {
        self.backends.get(backend.0)
    }

    fn queue_failure(&mut self, handle: RequestHandle, kind: FailureKind, processed: Processed) {
        self.events.push_back(QueuedEvent::Failed { handle, kind, processed });
    }

    /// Fails the requests of a connection that will be removed.
    fn fail_streams(&mut self, key: SlotKey, kind: FailureKind) {
        let Some(connection) = self.slots.connection(key) else { return };
        let kind = connection.failure_on_loss(kind);
        for handle in connection.requests() {
            let unsent = match self.requests.get(handle).map(|entry| &entry.state) {
                Some(RequestState::Stream { at, .. }) => connection.is_unsent(*at),
                _ => false,
            };
            let processed = if unsent { Processed::No } else { Processed::Unknown };
            self.events.push_back(QueuedEvent::Failed { handle, kind, processed });
        }
    }

    /// Closes a connection gracefully and removes its slot.
    fn close(&mut self, key: SlotKey) {
        let Some(mut slot) = self.slots.remove(key) else { return };
        if let Link::Connected(connection) = &mut slot.link {
            connection.close(&mut Context::from_waker(Waker::noop()), &mut self.counters);
        }
        self.detach_from_origin(slot.origin, key);
    }

    /// Removes a connection from its origin, and the origin if it is then unused.
    fn detach_from_origin(&mut self, at: usize, key: SlotKey) {
        if let Some(origin) = self.origins.get_mut(at) {
            origin.forget(key);
            origin.slots -= 1;
            self.publish_connections(at);
            self.remove_if_unused(at);
        }
    }

    /// Counts the open connections of an origin for the metrics.
    fn publish_connections(&mut self, at: usize) {
        let Some(origin) = self.origins.get_mut(at) else { return };
        let is_active = |key: &&SlotKey| self.slots.connection(**key).is_some_and(|connection| connection.active() > 0);
        let active = origin.h2.iter().filter(is_active).count() as u64;
        let idle = origin.idle.len() as u64;
        let (h2, h1) = (origin.h2.len() as u64, origin.h1.len() as u64);
        origin.gauge.set([[h2 - active, active], [idle, h1.saturating_sub(idle)]]);
    }

    fn remove_if_unused(&mut self, at: usize) {
        if self.origins.get(at).is_some_and(Origin::is_unused) {
            let origin = self.origins.remove(at);
            let name = (origin.spec.host.to_ascii_lowercase(), origin.spec.port);
            if let Some(same_name) = self.names.get_mut(&name) {
                same_name.retain(|other| *other != at);
                if same_name.is_empty() {
                    self.names.remove(&name);
                }
            }
        }
    }
}
