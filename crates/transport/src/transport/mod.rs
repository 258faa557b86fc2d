//! The transport of one worker: backends, their origins, connections and running requests, in tables with stable slots.
//!
//! Here: construction, backends and life cycle. `send` has the calls of the exchange, `tell` what it hears, `drive` the turn
//! of the worker, `reach` the making and losing of connections.

mod drive;
mod reach;
mod send;
mod tell;

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::{Context, Waker},
    time::{Duration, Instant},
};

pub(crate) use tell::Queued;

use slab::Slab;
use spooky_bridge::h2;
use spooky_net::timer::Deadlines;

use crate::{
    backoff::Jitter,
    counters::Counters,
    failure::{FailureKind, Processed},
    options::{BackendSpec, Options},
    origin::Origin,
    requests::{Place, RequestHandle, Requests},
    slots::{Link, SlotKey, Slots},
    wake::ReadySet,
};

/// Names a backend. A later backend never gets the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BackendId {
    index: u32,
    generation: u32,
}

/// A backend as its owner knows it; several may share an origin.
struct Target {
    id: BackendId,
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
    targets: Slab<Target>,
    next_target: u32,
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
    jitter: Jitter,
    counters: Counters,
    draining: bool,
    stopped: bool,
    /// The time of the last call that brought one.
    now: Instant,
}

impl Transport {
    /// A transport without backends.
    pub fn new(options: Options, now: Instant) -> Self {
        Self {
            h2: h2_config(&options),
            jitter: Jitter::new(options.seed),
            options,
            targets: Slab::new(),
            next_target: 0,
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
            stopped: false,
            now,
        }
    }

    /// Takes over other options. Connections that exist keep the windows and limits that they announced.
    pub fn configure(&mut self, options: Options) {
        self.h2 = h2_config(&options);
        self.options = options;
    }

    /// Adds a backend. Nothing is connected before the first request.
    pub fn add_backend(&mut self, spec: &BackendSpec) -> BackendId {
        let name = (spec.host.to_ascii_lowercase(), spec.port);
        let same_name = self.names.entry(name).or_default();
        let origins = &mut self.origins;
        let shared = same_name.iter().copied().find(|at| origins.get(*at).is_some_and(|origin| origin.is(spec)));
        let origin = if let Some(at) = shared {
            if let Some(origin) = origins.get_mut(at) {
                origin.backends += 1;
            }
            at
        } else {
            let at = origins.insert(Origin::new(spec));
            same_name.push(at);
            at
        };
        let entry = self.targets.vacant_entry();
        let id = BackendId { index: entry.key() as u32, generation: self.next_target };
        self.next_target = self.next_target.wrapping_add(1);
        entry.insert(Target { id, origin, connect_timeout: spec.connect_timeout });
        id
    }

    /// Removes a backend. Its running and waiting requests go on; the last of them closes the connections, unless another
    /// backend shares the origin.
    pub fn remove_backend(&mut self, backend: BackendId) {
        let Some(target) = self.target(backend) else { return };
        let at = target.origin;
        self.targets.try_remove(backend.index as usize);
        if let Some(origin) = self.origins.get_mut(at) {
            origin.backends -= 1;
            for key in origin.open.clone() {
                self.settle(key);
            }
            self.forget_unused(at);
        }
    }

    /// Whether a connection attempt to the backend failed so recently that another one should be preferred (behaviour 9).
    pub fn is_passed_over(&self, backend: BackendId, now: Instant) -> bool {
        let origin = self.target(backend).and_then(|target| self.origins.get(target.origin));
        origin.is_some_and(|origin| origin.open.is_empty() && origin.backoff.is_paused(now))
    }

    /// A probe reached the backend: it is passed over no longer.
    pub fn note_reachable(&mut self, backend: BackendId) {
        if let Some(at) = self.target(backend).map(|target| target.origin)
            && let Some(origin) = self.origins.get_mut(at)
        {
            origin.backoff.succeed();
        }
    }

    /// From now on connections are closed as soon as they are idle. Requests are still taken.
    pub fn drain(&mut self) {
        self.draining = true;
        for key in self.slots.keys() {
            self.settle(key);
        }
    }

    /// Closes everything. All requests fail with [`FailureKind::Stopped`], and none is taken any more.
    pub fn shutdown(&mut self) {
        self.stopped = true;
        let waiting: Vec<_> = self.origins.iter_mut().flat_map(|(_, origin)| origin.waiting.drain(..)).collect();
        for handle in waiting {
            self.queue_failure(handle, FailureKind::Stopped, Processed::No);
        }
        for key in self.slots.keys() {
            self.fail_streams(key, FailureKind::Stopped);
            self.close(key);
        }
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
        self.targets.get(backend.index as usize).filter(|target| target.id == backend)
    }

    fn queue_failure(&mut self, handle: RequestHandle, kind: FailureKind, processed: Processed) {
        self.events.push_back(Queued::Failed { handle, kind, processed });
    }

    /// Fails the requests of a connection that is about to go.
    fn fail_streams(&mut self, key: SlotKey, kind: FailureKind) {
        let Some(connection) = self.slots.h2(key) else { return };
        let kind = match (kind, connection.error) {
            // Alone on it, the request is what the peer objects to.
            (FailureKind::ConnectionLost(_), Some(code)) if connection.client.active() == 1 => FailureKind::Reset(code),
            (FailureKind::ConnectionLost(_), Some(code)) => FailureKind::Ended(code),
            (kind, _) => kind,
        };
        for (tag, ..) in connection.client.tags() {
            let handle = RequestHandle::from_wire(tag);
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
        if let Link::H2(connection) = &mut slot.link {
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
            let name = (origin.host.to_ascii_lowercase(), origin.port);
            if let Some(same_name) = self.names.get_mut(&name) {
                same_name.retain(|other| *other != at);
                if same_name.is_empty() {
                    self.names.remove(&name);
                }
            }
        }
    }
}
