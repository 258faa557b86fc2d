//! The one place where the client side and the backend side meet.
//!
//! Every request of every client protocol becomes an [`Exchange`] here: routed, admitted, sent to a backend, answered, and
//! ended exactly once, in `end`. The worker calls [`Exchanges`] with the events of both sides; decisions are asked from `lb`.

mod admission;
mod attempt;
mod client;
mod clock;
mod download;
mod end;
mod local;
mod log;
mod start;
mod state;
mod time;
mod upload;
mod wheel;

pub(crate) use clock::Clock;
pub(crate) use end::RequestCounts;

use crate::{listener::Listeners, snapshot::WorkerSnapshot, state::State};
use client::ClientSide;
use end::Outcome;
use slab::Slab;
use spooky_bridge::message::rewrite;
use spooky_edge::{Event as ClientEvent, EventKind};
use spooky_lb::{
    admit::{ClientShare, Queue, Ticket},
    attempt::SlotId,
    route::PathDepths,
    time::Nanos,
};
use spooky_transport::{Event as UpstreamEvent, Transport};
use state::Exchange;
use std::{collections::HashMap, rc::Rc, sync::Arc, task::Waker, time::Instant};
use wheel::Wheel;

/// Both sides, lent by the worker for one call.
pub(crate) struct Sides<'a> {
    pub(crate) listeners: &'a mut Listeners,
    pub(crate) transport: &'a mut Transport,
    pub(crate) now: Instant,
}

/// All exchanges of a worker.
pub(crate) struct Exchanges {
    table: Slab<Exchange>,
    counts: RequestCounts,
    serial: u32,
    wheel: Wheel,
    state: Arc<State>,
    /// What requests begin with from now on.
    snapshot: Rc<WorkerSnapshot>,
    /// Earlier ones that some exchanges still use.
    retired: Vec<Rc<WorkerSnapshot>>,
    clock: Clock,
    /// The requests that wait for a permit or a backend.
    queue: Queue,
    /// The exchanges that they belong to.
    waiting: HashMap<Ticket, u64>,
    /// What each client connection holds of the limits: by listener and by number of the connection, with the epoch of the
    /// connection that has the number now.
    clients: Vec<Vec<Option<(u32, ClientShare)>>>,
    /// Uploads that go on when the budget for request bodies has room again.
    capped: Vec<u64>,
    /// When to look whether it has.
    look_again: Option<Instant>,
    /// What wakes the worker, as the others know it.
    waker: Option<Waker>,
    /// Reused by look-ups of routes and keys.
    scratch: Vec<u8>,
    /// Reused by the policy on paths.
    path_depths: PathDepths,
}

impl Exchanges {
    /// No exchanges yet, on the worker with this number.
    pub(crate) fn new(state: Arc<State>, snapshot: WorkerSnapshot, clock: Clock, worker: usize, now: Instant) -> Self {
        Self {
            queue: Queue::new(state.process.clone(), worker),
            waiting: HashMap::new(),
            clients: Vec::new(),
            capped: Vec::new(),
            look_again: None,
            waker: None,
            table: Slab::with_capacity(256),
            counts: RequestCounts::default(),
            serial: 0,
            wheel: Wheel::new(now),
            state,
            snapshot: Rc::new(snapshot),
            retired: Vec::new(),
            clock,
            scratch: Vec::new(),
            path_depths: PathDepths::default(),
        }
    }

    /// Requests begin with this snapshot from now on.
    pub(crate) fn reload(&mut self, snapshot: WorkerSnapshot) {
        self.retired.push(std::mem::replace(&mut self.snapshot, Rc::new(snapshot)));
        self.queue.on_reload();
    }

    /// Frees the snapshots that no exchange uses any more, and removes their backends from the transport.
    pub(crate) fn release_snapshots(&mut self, transport: &mut Transport) {
        self.retired.retain(|snapshot| {
            let is_used = Rc::strong_count(snapshot) > 1;
            if !is_used {
                snapshot.remove_backends(transport);
            }
            is_used
        });
    }

    /// Frees memory that was only needed while there was traffic.
    pub(crate) fn free_unused(&mut self) {
        self.table.shrink_to_fit();
        self.capped.shrink_to_fit();
        self.waiting.shrink_to_fit();
    }

    /// Learns the time of this turn.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.clock.advance(now);
    }

    /// What became of the requests.
    pub(crate) fn counts(&self) -> RequestCounts {
        self.counts
    }

    /// Takes an event of a client's stream.
    pub(crate) fn on_client(&mut self, sides: &mut Sides<'_>, listener: usize, event: ClientEvent) {
        let ClientEvent { stream, tag, kind } = event;
        let client = ClientSide::Quic { listener, stream };
        let key = tag.and_then(|tag| self.find(tag)).map(|(key, _)| key);
        match (kind, key) {
            (EventKind::Request { protocol, head, end, peer, .. }, _) => {
                self.start(sides, client, protocol, head, end, peer);
            }
            (EventKind::Refused { protocol, refusal }, _) => self.refuse(sides, client, protocol, &refusal),
            (EventKind::Malformed { protocol, fields, reason }, _) => {
                self.refuse_malformed(sides, client, protocol, &fields, reason);
            }
            (EventKind::Readable, Some(key)) => self.pump_upload(sides, key),
            (EventKind::Accepted(bytes), Some(key)) => self.on_accepted(sides, key, bytes),
            (EventKind::Sent, Some(key)) => self.on_all_sent(sides, key),
            (EventKind::Aborted(abort), Some(key)) => self.end(sides, key, Outcome::Aborted(abort)),
            // Of a request that has ended.
            (EventKind::Readable | EventKind::Accepted(_) | EventKind::Sent | EventKind::Aborted(_), None) => {}
        }
    }

    /// Takes an event of the backend side.
    pub(crate) fn on_upstream(&mut self, sides: &mut Sides<'_>, event: UpstreamEvent) {
        let tag = match &event {
            UpstreamEvent::BackendDown { backend, reason } => return self.snapshot.on_down(*backend, reason),
            UpstreamEvent::BackendUp { backend } => return self.snapshot.on_up(*backend),
            UpstreamEvent::Sent { tag, .. }
            | UpstreamEvent::Sendable { tag }
            | UpstreamEvent::Informational { tag, .. }
            | UpstreamEvent::Head { tag, .. }
            | UpstreamEvent::Data { tag, .. }
            | UpstreamEvent::Trailers { tag, .. }
            | UpstreamEvent::Failed { tag, .. } => *tag,
        };
        let Some((key, slot)) = self.find(tag) else { return };
        match event {
            UpstreamEvent::Sent { .. } => self.on_sent(sides, key, slot),
            UpstreamEvent::Sendable { .. } => self.pump_upload(sides, key),
            UpstreamEvent::Informational { protocol, head, .. } => self.on_interim(sides, key, protocol, head),
            UpstreamEvent::Head { protocol, head, end, .. } => {
                self.on_head(sides, key, slot, protocol, head, end);
            }
            UpstreamEvent::Data { data, end, .. } => self.on_data(sides, key, data, end),
            UpstreamEvent::Trailers { mut fields, .. } => {
                rewrite::response_trailers(&mut fields);
                self.on_end(sides, key, Some(&fields));
            }
            UpstreamEvent::Failed { failure, .. } => self.on_failed(sides, key, slot, &failure),
            UpstreamEvent::BackendDown { .. } | UpstreamEvent::BackendUp { .. } => {}
        }
    }

    /// A moment as the decisions count it.
    fn nanos(&self, now: Instant) -> Nanos {
        Nanos::since(self.state.epoch, now)
    }

    /// The exchange and the attempt that a number stands for.
    fn find(&self, tag: u64) -> Option<(usize, SlotId)> {
        let key = tag as u32 as usize;
        let exchange = self.table.get(key)?;
        let slot = SlotId::ALL.into_iter().find(|slot| tag_of(key, exchange.serial, *slot) == tag)?;
        Some((key, slot))
    }
}

/// Serials are counted modulo this, so that a slot's bit fits beside them.
const SERIALS: u32 = 1 << 31;

/// The number by which both sides know an exchange (and the backend side the attempt): not used again for the same place
/// within 2^31 exchanges.
fn tag_of(key: usize, serial: u32, slot: SlotId) -> u64 {
    u64::from(serial) << 33 | (slot.index() as u64) << 32 | key as u64
}

#[cfg(test)]
mod tests;
