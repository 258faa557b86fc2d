//! The machine of one exchange: slots for the attempts on the way, and the rules that start, end and follow them.
//!
//! At most two attempts run at a time (a hedge beside the first). The exchange calls one input per event and obeys the
//! step; after [`Step::Cancel`] it calls [`Attempt::next`] for the step that follows.

use std::time::Duration;

use super::failure::{FailureKind, Sent};
use crate::balance::Order;
use crate::outcome::{Reason, Reset, Retry};
use crate::pool::{Lease, Verdict};
use crate::rng::Rng;
use crate::time::Nanos;
use crate::upstream::{Pick, Upstream};

/// How often one request moves to another connection after GOAWAY or a closed pooled connection.
const MAX_RESENDS: u8 = 5;
/// Rest before the same backend is tried again because it is the only one; doubles.
const SAME_BACKEND_REST: Duration = Duration::from_millis(25);
/// Doublings of that rest: 25 ms to 1.6 s.
const SAME_BACKEND_DOUBLINGS: u32 = 6;
/// Attempts that run at the same time.
const SLOTS: usize = 2;

/// What every input needs: the moment, the upstream as this worker sees it, and chance.
#[derive(Debug)]
pub struct Cx<'a> {
    /// The time of the event.
    pub now: Nanos,
    /// The upstream that the request was routed to, of the snapshot it began with.
    pub upstream: &'a mut Upstream,
    /// The worker's random source.
    pub rng: &'a mut Rng,
}

/// What the machine must know of the request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Method, as sent.
    pub method: &'a [u8],
    /// Whether a body follows or may follow.
    pub has_body: bool,
    /// Hash of the balancing key; 0 where the algorithm has none.
    pub key: u64,
    /// The backend that the connection keeps (sticky-cid), if it has one.
    pub keep: Option<usize>,
}

/// Names one running attempt of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId(u8);

impl SlotId {
    /// 0 or 1, for indexing.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What the exchange does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the request to this backend and name the attempt by its slot.
    Start {
        /// The attempt.
        slot: SlotId,
        /// Index of the backend in the pool.
        backend: usize,
    },
    /// Send the same request again to the same backend, on another connection. It is no new attempt.
    Resend {
        /// The attempt, which goes on.
        slot: SlotId,
        /// Index of the backend in the pool.
        backend: usize,
    },
    /// As `Start`, beside the attempt that runs: without body, and without ending the other.
    Hedge {
        /// The second attempt.
        slot: SlotId,
        /// Index of the backend in the pool.
        backend: usize,
    },
    /// Reset this attempt's stream, then call [`Attempt::next`].
    Cancel {
        /// The attempt, which is over.
        slot: SlotId,
    },
    /// All usable backends are at their limit: wait in the upstream's queue, then call [`Attempt::on_start`] again.
    Full,
    /// Nothing, until an event or [`Attempt::timer`].
    Wait,
    /// Answer the client with this; no attempt is running any more.
    Answer(Reason),
    /// Nothing more: the response of the winner goes to the client.
    Done,
}

/// What happened so far, for log and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Attempts started, the first one, retries and hedges.
    pub attempts: u32,
    /// Attempts started after a failure.
    pub retries: u32,
    /// Whether a hedge was started.
    pub hedged: bool,
}

/// One running attempt.
#[derive(Debug)]
struct Slot {
    lease: Lease,
    started: Nanos,
    /// When the request head left, or the backend last took body bytes; `None` while connecting.
    sent: Option<Nanos>,
}

/// Where the exchange stands.
#[derive(Debug)]
enum State {
    /// No attempt has started.
    Fresh,
    /// Attempts are running, or the next step is about to be asked for.
    Running,
    /// The only backend is tried again at this time.
    Resting { until: Nanos },
    /// Response headers came on this slot.
    Responding { winner: SlotId, settled: bool },
    /// Nothing will follow.
    Over,
}

/// The attempts of one exchange.
#[derive(Debug)]
pub struct Attempt {
    state: State,
    slots: [Option<Slot>; SLOTS],
    order: Order,
    idempotent: bool,
    total_deadline: Nanos,
    /// The last failure, and what had been sent by then: decides what follows once no attempt runs.
    failed: Option<(FailureKind, Sent)>,
    resends: u8,
    rests: u32,
    progress: Progress,
}

impl Attempt {
    /// The machine for a request whose head arrived at `now`.
    pub fn new(request: &Request<'_>, upstream: &Upstream, now: Nanos) -> Self {
        let total = upstream.options().attempt.total_timeout;
        Self {
            state: State::Fresh,
            slots: [None, None],
            order: Order::new(request.key, request.keep),
            idempotent: is_idempotent(request.method),
            // With a body the clock starts when the upload ends (behaviour 6).
            total_deadline: if request.has_body { Nanos::NEVER } else { now + total },
            failed: None,
            resends: 0,
            rests: 0,
            progress: Progress::default(),
        }
    }

    /// Permits are held: pick the first backend. Also after [`Step::Full`], when the queue says so.
    pub fn on_start(&mut self, cx: &mut Cx<'_>) -> Step {
        match cx.upstream.pick(&mut self.order, cx.now, cx.rng) {
            Pick::Lease(lease) => self.start(lease, cx.now),
            Pick::Full => Step::Full,
            Pick::Exhausted => self.answer(Reason::NoHealthyBackend),
            Pick::Refused(reason) => self.answer(reason),
        }
    }

    /// The request head left for the backend on an open connection.
    pub fn on_sent(&mut self, cx: &mut Cx<'_>, slot: SlotId) {
        if let Some(running) = self.slot_mut(slot) {
            running.sent = Some(cx.now);
            cx.upstream.on_connected(running.lease.index());
        }
    }

    /// The backend took body bytes: its time to answer begins anew.
    pub fn on_body_taken(&mut self, now: Nanos, slot: SlotId) {
        if let Some(Slot { sent: Some(sent), .. }) = self.slot_mut(slot) {
            *sent = now;
        }
    }

    /// The request has been received completely: the total deadline starts.
    pub fn on_upload_end(&mut self, cx: &Cx<'_>) {
        if self.total_deadline == Nanos::NEVER {
            self.total_deadline = cx.now + cx.upstream.options().attempt.total_timeout;
        }
    }

    /// Shortens the total deadline, as `grpc-timeout` does.
    pub fn limit_total(&mut self, deadline: Nanos) {
        self.total_deadline = self.total_deadline.min(deadline);
    }

    /// An attempt failed before its response headers.
    pub fn on_failure(&mut self, cx: &mut Cx<'_>, slot: SlotId, kind: FailureKind, sent: Sent) -> Step {
        if kind == FailureKind::Unprocessed
            && sent != Sent::Gone
            && self.resends < MAX_RESENDS
            && let Some(running) = self.slot_mut(slot)
        {
            running.sent = None;
            let backend = running.lease.index();
            self.resends += 1;
            return Step::Resend { slot, backend };
        }
        let kind = if kind == FailureKind::Unprocessed { FailureKind::RefusedStream } else { kind };
        self.fail(cx, slot, kind, sent);
        self.next(cx)
    }

    /// Final response headers came (not 1xx). The winner's place is held until the machine is dropped.
    pub fn on_head(&mut self, cx: &mut Cx<'_>, slot: SlotId, status: u16) -> Step {
        let Some(running) = self.slots.get_mut(slot.index()).and_then(Option::as_mut) else { return Step::Wait };
        let elapsed = cx.now - running.sent.unwrap_or(running.started);
        let (backend, doubtful) = (running.lease.index(), running.lease.is_probe());
        if let Some(member) = cx.upstream.pool().members().get(backend) {
            member.state.latency.observe(elapsed, cx.now);
        }
        // A backend in doubt gets its verdict now; else a good answer counts once it is complete. Errors count at once.
        let settled = doubtful || status >= 500;
        if settled {
            let transition = running.lease.settle(&cx.upstream.pool().clone(), Verdict::Answered(status), cx.now);
            cx.upstream.tell(backend, transition);
        }
        self.state = State::Responding { winner: slot, settled };
        self.next(cx)
    }

    /// The response was passed on completely.
    pub fn on_complete(&mut self, cx: &mut Cx<'_>) {
        self.end(cx, Verdict::Answered(200));
    }

    /// The response was cut off after its headers. Faults of the client count for nothing.
    pub fn on_reset(&mut self, cx: &mut Cx<'_>, reset: Reset) {
        if reset.counts_against_backend() {
            let word = match reset {
                Reset::UpstreamProtocol => "protocol",
                Reset::FirstByteTimeout | Reset::BodyIdleTimeout => "timeout",
                _ => "reset",
            };
            self.end(cx, Verdict::Failed(word));
        } else {
            self.abort();
        }
    }

    /// The client went away, or the exchange ends for a local reason: all places are given back, nothing is booked.
    pub fn abort(&mut self) {
        self.slots = [None, None];
        self.state = State::Over;
    }

    /// When [`Attempt::on_timer`] is due; [`Nanos::NEVER`] if nothing is.
    pub fn timer(&self, upstream: &Upstream) -> Nanos {
        let response = upstream.options().attempt.response_timeout;
        match self.state {
            State::Fresh => self.total_deadline,
            State::Resting { until } => self.total_deadline.min(until),
            State::Running => {
                let running = self.slots.iter().flatten().filter_map(|slot| slot.sent);
                running.map(|sent| sent + response).min().unwrap_or(Nanos::NEVER).min(self.total_deadline)
            }
            State::Responding { .. } | State::Over => Nanos::NEVER,
        }
    }

    /// The time of [`Attempt::timer`] has come. An early call does no harm.
    pub fn on_timer(&mut self, cx: &mut Cx<'_>) -> Step {
        if matches!(self.state, State::Responding { .. } | State::Over) {
            return Step::Wait;
        }
        let response = cx.upstream.options().attempt.response_timeout;
        let late = |slot: &Slot| slot.sent.is_some_and(|sent| sent + response <= cx.now);
        let overdue = self.slots.iter().position(|slot| slot.as_ref().is_some_and(late));
        if let Some(index) = overdue {
            let slot = SlotId(index as u8);
            self.fail(cx, slot, FailureKind::ResponseTimeout, Sent::Replayable);
            return Step::Cancel { slot };
        }
        self.next(cx)
    }

    /// The step after [`Step::Cancel`].
    pub fn next(&mut self, cx: &mut Cx<'_>) -> Step {
        match self.state {
            State::Over => Step::Done,
            State::Responding { winner, .. } => self.cancel_other(Some(winner)).unwrap_or(Step::Done),
            _ if cx.now >= self.total_deadline => {
                self.cancel_other(None).unwrap_or_else(|| self.answer(Reason::TotalTimeout))
            }
            State::Fresh => Step::Wait,
            State::Resting { until } if cx.now < until => Step::Wait,
            State::Resting { .. } => self.try_again(cx),
            State::Running if self.slots.iter().any(Option::is_some) => Step::Wait,
            State::Running => self.follow(cx),
        }
    }

    /// What happened so far.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// The backend of a running attempt.
    pub fn backend(&self, slot: SlotId) -> Option<usize> {
        self.slots.get(slot.index())?.as_ref().map(|running| running.lease.index())
    }

    fn slot_mut(&mut self, slot: SlotId) -> Option<&mut Slot> {
        self.slots.get_mut(slot.index())?.as_mut()
    }

    fn answer(&mut self, reason: Reason) -> Step {
        self.abort();
        Step::Answer(reason)
    }

    /// Puts a new attempt into a free slot.
    fn start(&mut self, lease: Lease, now: Nanos) -> Step {
        let backend = lease.index();
        let Some(index) = self.slots.iter().position(Option::is_none) else { return Step::Wait };
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(Slot { lease, started: now, sent: None });
        }
        self.progress.attempts += 1;
        self.state = State::Running;
        Step::Start { slot: SlotId(index as u8), backend }
    }

    /// Ends an attempt as failed and books it.
    fn fail(&mut self, cx: &mut Cx<'_>, slot: SlotId, kind: FailureKind, sent: Sent) {
        let Some(mut ended) = self.slots.get_mut(slot.index()).and_then(Option::take) else { return };
        let backend = ended.lease.index();
        self.failed = Some((kind, sent));
        if let Some(word) = kind.booked_as() {
            let pool = cx.upstream.pool().clone();
            if let Some(member) = pool.members().get(backend) {
                let elapsed = cx.now - ended.sent.unwrap_or(ended.started);
                let least = cx.upstream.options().attempt.response_timeout;
                member.state.latency.observe(elapsed.max(least), cx.now);
            }
            let transition = ended.lease.settle(&pool, Verdict::Failed(word), cx.now);
            cx.upstream.tell(backend, transition);
        }
        if kind.is_connect() {
            cx.upstream.on_connect_failure(backend, cx.now, cx.rng);
        }
    }

    /// No attempt runs and the last one failed: retry or answer.
    fn follow(&mut self, cx: &mut Cx<'_>) -> Step {
        let Some((kind, sent)) = self.failed else { return self.answer(Reason::Internal) };
        let allowed = match kind.retry() {
            Retry::Never => false,
            Retry::Idempotent => self.idempotent,
            Retry::AnyMethod => true,
        };
        if !allowed || sent == Sent::Gone || self.progress.retries >= cx.upstream.options().attempt.max_retries {
            return self.answer(kind.reason());
        }
        match cx.upstream.pick(&mut self.order, cx.now, cx.rng) {
            Pick::Lease(lease) => self.retry(lease, cx.now),
            Pick::Full | Pick::Refused(_) => self.answer(kind.reason()),
            Pick::Exhausted => {
                let rest = SAME_BACKEND_REST * (1 << self.rests.min(SAME_BACKEND_DOUBLINGS));
                self.rests += 1;
                self.state = State::Resting { until: cx.now + rest };
                Step::Wait
            }
        }
    }

    /// The rest is over: every backend may be tried again.
    fn try_again(&mut self, cx: &mut Cx<'_>) -> Step {
        self.order.restart();
        let reason = self.failed.map_or(Reason::Internal, |(kind, _)| kind.reason());
        match cx.upstream.pick(&mut self.order, cx.now, cx.rng) {
            Pick::Lease(lease) => self.retry(lease, cx.now),
            _ => self.answer(reason),
        }
    }

    fn retry(&mut self, lease: Lease, now: Nanos) -> Step {
        self.progress.retries += 1;
        self.start(lease, now)
    }

    /// Ends one attempt other than `winner` without booking it.
    fn cancel_other(&mut self, winner: Option<SlotId>) -> Option<Step> {
        let other = |index: usize| winner.is_none_or(|slot| slot.index() != index);
        let index = (0..SLOTS).find(|&n| other(n) && self.slots.get(n).is_some_and(Option::is_some))?;
        self.slots.get_mut(index).map(Option::take)?;
        Some(Step::Cancel { slot: SlotId(index as u8) })
    }

    /// Books the end of a response, unless its headers were booked already; a later failure counts in any case.
    fn end(&mut self, cx: &mut Cx<'_>, verdict: Verdict) {
        let State::Responding { winner, settled } = self.state else { return self.abort() };
        if let Some(running) = self.slot_mut(winner)
            && (!settled || matches!(verdict, Verdict::Failed(_)))
        {
            let pool = cx.upstream.pool().clone();
            let transition = running.lease.settle(&pool, verdict, cx.now);
            let backend = running.lease.index();
            cx.upstream.tell(backend, transition);
        }
        self.abort();
    }
}

/// RFC 9110 section 9.2.2, without CONNECT.
fn is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS" | b"TRACE" | b"PUT" | b"DELETE")
}
