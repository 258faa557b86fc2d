//! The transport of one worker: backends, their origins, connections and running requests, in tables with stable slots.
//!
//! Here: construction, and what all of the others need. `backends` has the backends and the life cycle, `send` the calls of
//! the exchange, `events` what is reported to it, `poll` the turn of the worker, `place` the assignment of requests to
//! connections, `connections` their begin and end.

mod backends;
mod connections;
mod events;
mod place;
mod poll;
mod send;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use slab::Slab;
use spooky_bridge::h2;
use spooky_net::timer::Deadlines;
use spooky_table::Table;

use crate::{
    counters::Counters,
    failure::{FailureKind, Processed},
    handle::{BackendId, RequestHandle, SlotKey},
    options::Options,
    origin::Origin,
    queued::Queued,
    requests::{Place, Requests},
    slots::{Link, Slots},
    wake::ReadySet,
};

/// A backend as its owner knows it; several may share an origin.
struct Target {
    origin: usize,
    connect_timeout: Duration,
}

fn h2_config(options: &Options) -> h2::Config {
    h2::Config {
        initial_stream_window: options.stream_window,
        connection_window: options.connection_window,
        max_header_list: options.max_header_bytes,
        ..h2::Config::default()
    }
}

/// The backend side of one worker.
pub struct Transport {
    options: Options,
    h2: h2::Config,
    /// Some connections have yet to hear of the initial window in `h2`.
    is_window_due: bool,
    targets: Table<Target>,
    origins: Slab<Origin>,
    /// Origins by lower-case host and port.
    names: HashMap<(String, u16), Vec<usize>>,
    slots: Slots,
    requests: Requests,
    events: VecDeque<Queued>,
    /// Connections that have something to write.
    dirty: Vec<SlotKey>,
    ready: Arc<ReadySet>,
    /// Reused between turns.
    visits: Vec<usize>,
    deadlines: Deadlines<SlotKey>,
    counters: Counters,
    draining: bool,
    /// The time of the last call that brought one.
    now: Instant,
}

impl Transport {
    /// A transport without backends.
    pub fn new(options: Options, now: Instant) -> Self {
        Self {
            h2: h2_config(&options),
            is_window_due: false,
            options,
            targets: Table::default(),
            origins: Slab::new(),
            names: HashMap::new(),
            slots: Slots::default(),
            requests: Requests::default(),
            events: VecDeque::new(),
            dirty: Vec::new(),
            ready: ReadySet::new(),
            visits: Vec::new(),
            deadlines: Deadlines::default(),
            counters: Counters::default(),
            draining: false,
            now,
        }
    }

    /// Takes over other options. Connections that exist keep the windows and limits that they announced.
    pub fn configure(&mut self, options: Options) {
        self.h2 = h2_config(&options);
        self.is_window_due = true;
        self.options = options;
    }

    /// Frees memory that was only needed while there was traffic. To be called when there has been none for a while.
    pub fn free_unused(&mut self) {
        self.slots.free_unused();
    }

    /// Whether no request runs and no connection stands.
    pub fn is_idle(&self) -> bool {
        self.requests.len() == 0 && self.slots.len() == 0
    }

    /// Number of running requests, waiting ones included.
    pub fn running(&self) -> usize {
        self.requests.len()
    }

    /// What happened so far.
    pub fn counters(&self) -> Counters {
        Counters { connections_now: self.slots.len() as u64, ..self.counters }
    }

    fn target(&self, backend: BackendId) -> Option<&Target> {
        self.targets.get(backend.0)
    }

    fn queue_failure(&mut self, handle: RequestHandle, kind: FailureKind, processed: Processed) {
        self.events.push_back(Queued::Failed { handle, kind, processed });
    }

    /// Fails the requests of a connection that is about to go.
    fn fail_streams(&mut self, key: SlotKey, kind: FailureKind) {
        let Some(connection) = self.slots.connection(key) else { return };
        let kind = connection.loss(kind);
        for handle in connection.requests() {
            let unsent = match self.requests.get(handle).map(|entry| &entry.place) {
                Some(Place::Stream { at, .. }) => connection.is_unsent(*at),
                _ => false,
            };
            let processed = if unsent { Processed::No } else { Processed::Unknown };
            self.events.push_back(Queued::Failed { handle, kind, processed });
        }
    }

    /// Ends a connection in order and frees its slot.
    fn close(&mut self, key: SlotKey) {
        let Some(mut slot) = self.slots.remove(key) else { return };
        if let Link::Connected(connection) = &mut slot.link {
            connection.close(&mut Context::from_waker(Waker::noop()), &mut self.counters);
        }
        self.leave_origin(slot.origin, key);
    }

    /// The origin counts a slot no longer, and goes with the last one if no backend names it.
    fn leave_origin(&mut self, at: usize, key: SlotKey) {
        if let Some(origin) = self.origins.get_mut(at) {
            origin.open.retain(|open| *open != key);
            if origin.connecting == Some(key) {
                origin.connecting = None;
            }
            origin.slots -= 1;
            self.forget_unused(at);
        }
    }

    fn forget_unused(&mut self, at: usize) {
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
