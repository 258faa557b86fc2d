//! The exchanges of a worker and their shared state: table, queue, timers, counters, the snapshot for new requests.

use super::{outcome::RequestCounts, shares::ClientShares, state::Exchange, tag::Tag, waiting::Waiting};
use crate::{clock::Clock, snapshot::WorkerSnapshot, state::State};
use spooky_lb::{admit::Queue, route::PathDepths, time::Nanos};
use spooky_net::timer::Wheel;
use spooky_table::Table;
use spooky_telemetry::access::AccessLog;
use spooky_transport::Transport;
use std::{rc::Rc, sync::Arc, task::Waker, time::Instant};

pub(crate) struct Exchanges {
    /// The time of this turn, as the system and as the decisions count it.
    turn: (Instant, Nanos),
    pub(super) table: Table<Exchange>,
    pub(super) wheel: Wheel<Tag>,
    pub(super) waiting: Waiting,
    pub(super) shares: ClientShares,
    pub(super) state: Arc<State>,
    /// The number of the worker.
    pub(super) worker: usize,
    /// The snapshot for new requests.
    pub(super) snapshot: Rc<WorkerSnapshot>,
    /// Earlier snapshots that are still in use.
    pub(super) retired: Vec<Rc<WorkerSnapshot>>,
    pub(super) clock: Clock,
    pub(super) access: AccessLog,
    /// Buffer for lookups of routes and keys.
    pub(super) scratch: Vec<u8>,
    /// Buffer for path checks.
    pub(super) path_depths: PathDepths,
}

impl Exchanges {
    pub(crate) fn new(
        state: Arc<State>,
        snapshot: WorkerSnapshot,
        clock: Clock,
        access: AccessLog,
        worker: usize,
        now: Instant,
    ) -> Self {
        Self {
            turn: (now, Nanos::since(state.epoch, now)),
            table: Table::default(),
            wheel: Wheel::new(now),
            waiting: Waiting::new(Queue::new(state.global_limits.clone(), worker)),
            shares: ClientShares::default(),
            state,
            worker,
            snapshot: Rc::new(snapshot),
            retired: Vec::new(),
            clock,
            access,
            scratch: Vec::new(),
            path_depths: PathDepths::default(),
        }
    }

    /// Sets the snapshot for new requests.
    pub(crate) fn reload(&mut self, snapshot: WorkerSnapshot) {
        self.retired.push(std::mem::replace(&mut self.snapshot, Rc::new(snapshot)));
        self.waiting.queue.on_reload();
        self.access.reload();
    }

    /// Frees snapshots that are no longer in use, and removes their backends from the transport.
    pub(crate) fn release_snapshots(&mut self, transport: &mut Transport) {
        self.retired.retain(|snapshot| {
            let is_used = Rc::strong_count(snapshot) > 1;
            if !is_used {
                snapshot.remove_backends(transport);
            }
            is_used
        });
    }

    /// Frees buffers that are not in use.
    pub(crate) fn free_unused(&mut self) {
        self.table.shrink_to_fit();
        self.waiting.free_unused();
    }

    /// Sets the time of this turn.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.clock.advance(now);
        self.access.advance(now, self.clock.unix(now));
        self.turn = (now, Nanos::since(self.state.epoch, now));
    }

    /// Registers the waker by which other workers wake this one for its waiting requests.
    pub(crate) fn register_waker(&mut self, waker: &Waker) {
        self.waiting.register_waker(&self.state.global_limits, waker);
    }

    /// Returns when [`Exchanges::on_time`], [`Exchanges::poll_waiting`] and [`AccessLog::end_turn`] must be called next.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let others = [self.waiting.deadline(self.state.epoch), self.access.deadline()];
        [self.wheel.next()].into_iter().chain(others).flatten().min()
    }

    /// Returns the clock, whose time is that of this turn.
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Returns the access log, which needs [`AccessLog::end_turn`].
    pub(crate) fn access(&mut self) -> &mut AccessLog {
        &mut self.access
    }

    pub(crate) fn counts(&self) -> RequestCounts {
        RequestCounts::of(self.snapshot.counts.totals())
    }

    /// Converts a time to the time of `lb`.
    pub(super) fn nanos(&self, now: Instant) -> Nanos {
        // The time does not change within a turn, and the difference is not free.
        let (turn, nanos) = self.turn;
        if turn == now { nanos } else { Nanos::since(self.state.epoch, now) }
    }
}
