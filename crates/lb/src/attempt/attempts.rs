//! The state machine of the attempts of one exchange.
//!
//! At most two attempts run at a time: one, and a hedge. The exchange calls one method per event and executes the returned
//! step; after [`Step::Cancel`] it calls [`Attempts::next`] for the step that follows.

use std::time::Duration;

use spooky_bridge::message::Method;

use super::backends::BackendSet;
use super::deadline::UploadWait;
use super::failure::{ErrorCode, FailureKind, Sent};
use super::hedge::Hedge;
use super::request::Request;
use super::step::{Cx, SlotId, Step};
use super::suspect::Suspects;
use crate::admit::ClientShare;
use crate::balance::Order;
use crate::outcome::{Reason, Retry};
use crate::pool::{AttemptResult, Lease};
use crate::time::Nanos;
use crate::upstream::{Pick, Upstream};

/// How often one request is sent again on another connection after GOAWAY or a closed pooled connection.
const MAX_RESENDS: u8 = 5;
/// Delay before the only backend is tried again; doubles.
const SAME_BACKEND_DELAY: Duration = Duration::from_millis(25);
/// Doublings of that delay: 25 ms to 1.6 s.
const SAME_BACKEND_DOUBLINGS: u32 = 6;
/// Attempts that run at the same time: one, and a hedge.
const SLOTS: usize = 2;

#[derive(Debug)]
struct Attempt {
    lease: Lease,
    started: Nanos,
    /// When the request head was sent; `None` while connecting.
    sent: Option<Nanos>,
    /// Start of the response timeout: when the request head was sent, or the backend last accepted body bytes.
    waiting_since: Option<Nanos>,
    /// The upload waits for the client or for Spooky, so the response timeout does not run.
    is_paused: bool,
}

impl Attempt {
    /// Start of the response timeout, while it runs.
    fn awaited_since(&self) -> Option<Nanos> {
        self.waiting_since.filter(|_| !self.is_paused)
    }
}

#[derive(Clone, Copy, Debug)]
struct Failed {
    kind: FailureKind,
    sent: Sent,
    backend: usize,
}

#[derive(Debug)]
enum State {
    NotStarted,
    /// It waits in the queue for a backend.
    WaitingForBackend,
    /// Attempts are running, or `next` must be called.
    Running,
    /// The only backend is tried again at `until`.
    WaitingToRetry {
        until: Nanos,
    },
    /// The attempt in slot `winner` has a response head. `is_recorded`: its result was recorded.
    Responding {
        winner: SlotId,
        is_recorded: bool,
    },
    Ended,
}

/// The attempts of one exchange.
#[derive(Debug)]
pub struct Attempts {
    state: State,
    slots: [Option<Attempt>; SLOTS],
    order: Order,
    /// The client, for its share of the backends.
    client: Option<ClientShare>,
    idempotent: bool,
    total_deadline: Nanos,
    /// The client chose that deadline, so it says nothing about the backend when it passes.
    is_client_deadline: bool,
    /// The upload has not ended, so the total deadline does not run unless the client limited it.
    uploading: bool,
    /// Body bytes that were sent are no longer buffered.
    body_gone: bool,
    /// The last failure, which decides what follows once no attempt runs.
    failed: Option<Failed>,
    /// Backends that this request has counted against, once each.
    blamed: BackendSet,
    /// Attempts that count against their backends if another backend answers the request.
    suspects: Suspects,
    /// Backends that did not answer this request in time; they are not tried again.
    timed_out: BackendSet,
    hedge: Hedge,
    resends: u8,
    delays: u32,
    /// Number of attempts started: the first one, retries and hedges.
    started: u32,
    denial: Option<RetryDenial>,
}

/// Why a retry that the failure allows was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDenial {
    /// The retry budget is used up.
    Budget,
    /// Body bytes that were sent are no longer buffered.
    BodyGone,
    /// No other backend is available.
    NoAlternative,
}

impl Attempts {
    /// Creates the attempts of a request whose head arrived at `now`.
    pub fn new(request: &Request<'_>, upstream: &Upstream, now: Nanos) -> Self {
        let total = upstream.options().attempt.total_timeout;
        Self {
            state: State::NotStarted,
            slots: [None, None],
            order: Order::new(request.key, None),
            client: None,
            idempotent: Method::from_bytes(request.method).is_idempotent(),
            // With a body the deadline starts when the upload ends (docs/reference/behaviour.md#timeouts).
            total_deadline: if request.has_body { Nanos::NEVER } else { now + total },
            is_client_deadline: false,
            uploading: request.has_body,
            body_gone: false,
            failed: None,
            blamed: BackendSet::default(),
            suspects: Suspects::default(),
            timed_out: BackendSet::default(),
            hedge: Hedge::new(request, upstream.options().hedge.as_ref()),
            resends: 0,
            delays: 0,
            started: 0,
            denial: None,
        }
    }

    /// Sets the sticky backend of the connection, which is preferred while it is available.
    #[must_use]
    pub fn with_sticky_backend(mut self, backend: Option<usize>) -> Self {
        self.order.preferred = backend;
        self
    }

    /// Counts the leases for this client connection and limits them by its share.
    #[must_use]
    pub fn for_client(mut self, client: ClientShare) -> Self {
        self.client = Some(client);
        self
    }

    /// Picks the first backend. Called when the request has its permit, and after [`Step::Full`] or [`Step::ClientFull`] when
    /// the queue says so.
    pub fn on_start(&mut self, cx: &mut Cx<'_>) -> Step {
        if matches!(self.state, State::NotStarted) && cx.upstream.has_waiters() {
            self.state = State::WaitingForBackend;
            return Step::Full;
        }
        match cx.upstream.pick(&mut self.order, self.client.as_ref(), cx.now, cx.rng) {
            Pick::Lease(lease) => {
                cx.upstream.on_first(cx.now);
                self.start(lease, cx.now)
            }
            Pick::Full => {
                self.state = State::WaitingForBackend;
                Step::Full
            }
            Pick::ClientFull => {
                self.state = State::WaitingForBackend;
                Step::ClientFull
            }
            Pick::Exhausted => self.answer(Reason::NoHealthyBackend),
            Pick::Refused(reason) => self.answer(reason),
        }
    }

    /// Notes that the request head was sent.
    pub fn on_sent(&mut self, cx: &mut Cx<'_>, slot: SlotId) {
        if let Some(running) = self.slot_mut(slot) {
            running.sent = Some(cx.now);
            running.waiting_since = Some(cx.now);
            cx.upstream.on_connected(running.lease.index());
        }
    }

    /// Notes what the upload waits for now, and whether the backend accepted body bytes, which restarts the response timeout.
    /// That runs only while the upload waits for the backend.
    pub fn on_upload(&mut self, slot: SlotId, wait: UploadWait, has_taken: bool, now: Nanos) {
        if let Some(Attempt { waiting_since: Some(since), is_paused, .. }) = self.slot_mut(slot) {
            let was_paused = std::mem::replace(is_paused, wait != UploadWait::Backend);
            if has_taken || (was_paused && !*is_paused) {
                *since = now;
            }
        }
    }

    /// Starts the total deadline, because the request was received completely.
    pub fn on_upload_end(&mut self, cx: &Cx<'_>) {
        if self.uploading {
            self.uploading = false;
            let deadline = cx.now + cx.upstream.options().attempt.total_timeout;
            if deadline < self.total_deadline {
                self.total_deadline = deadline;
                self.is_client_deadline = false;
            }
        }
    }

    /// Notes that the request ended without body bytes: it may be hedged like one without a body.
    pub fn on_empty_body(&mut self) {
        self.hedge.on_empty();
    }

    /// Notes that body bytes that were sent are no longer buffered: no further attempt can follow any failure.
    pub fn on_body_gone(&mut self) {
        self.body_gone = true;
    }

    /// Shortens the total deadline to one that the client chose (`grpc-timeout`).
    pub fn limit_total(&mut self, deadline: Nanos) {
        if deadline < self.total_deadline {
            self.total_deadline = deadline;
            self.is_client_deadline = true;
        }
    }

    /// Deadline of the response head over all attempts and waits; [`Nanos::NEVER`] while the upload goes on.
    pub fn total_deadline(&self) -> Nanos {
        self.total_deadline
    }

    /// Handles the failure of an attempt before its response head.
    pub fn on_failure(&mut self, cx: &mut Cx<'_>, slot: SlotId, kind: FailureKind, sent: Sent) -> Step {
        if kind == FailureKind::Unprocessed
            && sent != Sent::Gone
            && !self.body_gone
            && self.resends < MAX_RESENDS
            && let Some(running) = self.slot_mut(slot)
        {
            (running.sent, running.waiting_since) = (None, None);
            let backend = running.lease.index();
            self.resends += 1;
            return Step::Resend { slot, backend };
        }
        let kind = if kind == FailureKind::Unprocessed { FailureKind::RefusedStream } else { kind };
        self.fail(cx, slot, kind, sent);
        self.next(cx)
    }

    /// Handles a final response head (not 1xx). The lease of this attempt is held until the attempts are dropped or aborted.
    pub fn on_head(&mut self, cx: &mut Cx<'_>, slot: SlotId, status: u16) -> Step {
        if matches!(self.state, State::Responding { .. } | State::Ended) {
            return self.next(cx);
        }
        let Some(running) = self.slots.get_mut(slot.index()).and_then(Option::as_mut) else { return Step::Wait };
        let elapsed = cx.now - running.sent.unwrap_or(running.started);
        let (backend, doubtful) = (running.lease.index(), running.lease.is_probe());
        if let Some(member) = cx.upstream.pool().members().get(backend) {
            member.state.on_head(cx.now);
        }
        // A head that arrives while the client is waited for says nothing about the backend's latency.
        if !running.is_paused {
            if let Some(member) = cx.upstream.pool().members().get(backend) {
                member.state.latency.observe(elapsed, cx.now);
            }
            cx.upstream.on_latency(elapsed, cx.now);
        }
        // A trial or probe and an error are recorded at once, any other response when it is complete.
        let is_recorded = doubtful || status >= 500;
        if is_recorded {
            let transitions = running.lease.record(cx.upstream.pool(), AttemptResult::Answered(status), cx.now);
            cx.upstream.queue_transitions(backend, transitions);
        }
        self.state = State::Responding { winner: slot, is_recorded };
        if status < 500 {
            self.suspects.record(cx, backend, &mut self.blamed);
        }
        self.next(cx)
    }

    /// Records success and ends: the response was forwarded completely.
    pub fn on_complete(&mut self, cx: &mut Cx<'_>) {
        if let State::Responding { winner, is_recorded: false } = self.state
            && let Some(running) = self.slot_mut(winner)
        {
            let transitions = running.lease.record(cx.upstream.pool(), AttemptResult::Answered(200), cx.now);
            let backend = running.lease.index();
            cx.upstream.queue_transitions(backend, transitions);
        }
        self.abort();
    }

    /// Records the failure of a response after its head, and ends.
    pub fn on_broken(&mut self, cx: &mut Cx<'_>, kind: FailureKind) {
        if let State::Responding { winner, .. } = self.state
            && let Some(slot) = self.slots.get_mut(winner.index()).and_then(Option::take)
        {
            let since = slot.sent.unwrap_or(slot.started);
            self.record(cx, slot, kind, since);
        }
        self.abort();
    }

    /// Records that the backend sent nothing of the response body since `since`, and ends.
    pub fn on_silence(&mut self, cx: &mut Cx<'_>, since: Nanos) {
        if let State::Responding { winner, .. } = self.state
            && let Some(slot) = self.slots.get_mut(winner.index()).and_then(Option::take)
        {
            self.record(cx, slot, FailureKind::ResponseTimeout, since);
        }
        self.abort();
    }

    /// Ends without recording anything, because the client left or for a local reason. Releases all leases.
    pub fn abort(&mut self) {
        self.slots = [None, None];
        self.state = State::Ended;
    }

    /// When [`Attempts::on_timer`] must be called; [`Nanos::NEVER`] if no deadline runs.
    pub fn timer(&self, upstream: &Upstream) -> Nanos {
        let response = upstream.options().attempt.response_timeout;
        match self.state {
            State::WaitingToRetry { until } => self.total_deadline.min(until),
            State::Running => {
                let running = self.slots.iter().flatten().filter_map(Attempt::awaited_since);
                let overdue = running.map(|since| since + response).min().unwrap_or(Nanos::NEVER);
                overdue.min(self.total_deadline).min(self.hedge.due())
            }
            // Before the start the queue has the deadline, and the reason of the answer.
            State::NotStarted | State::WaitingForBackend | State::Responding { .. } | State::Ended => Nanos::NEVER,
        }
    }

    /// Handles the deadlines that have passed. May be called early.
    pub fn on_timer(&mut self, cx: &mut Cx<'_>) -> Step {
        if matches!(self.state, State::Responding { .. } | State::Ended) {
            return Step::Wait;
        }
        let response = cx.upstream.options().attempt.response_timeout;
        let late = |slot: &Attempt| slot.awaited_since().is_some_and(|since| since + response <= cx.now);
        let overdue = self.slots.iter().position(|slot| slot.as_ref().is_some_and(late));
        if let Some(index) = overdue {
            let slot = SlotId(index as u8);
            self.fail(cx, slot, FailureKind::ResponseTimeout, Sent::Replayable);
            return Step::Cancel { slot };
        }
        if matches!(self.state, State::Running) && self.hedge.due() <= cx.now && cx.now < self.total_deadline {
            return self.start_hedge(cx);
        }
        self.next(cx)
    }

    /// Returns the next step, after [`Step::Cancel`].
    pub fn next(&mut self, cx: &mut Cx<'_>) -> Step {
        match self.state {
            State::Ended => Step::Done,
            State::Responding { winner, .. } => self.cancel_other(Some(winner)).unwrap_or(Step::Done),
            State::WaitingToRetry { .. } | State::Running if cx.now >= self.total_deadline => {
                // A client that is slow to send its body says nothing about the backend.
                if !self.is_client_deadline && !self.uploading && self.slots.iter().any(Option::is_some) {
                    cx.upstream.on_timeout(cx.now);
                }
                self.cancel_other(None).unwrap_or_else(|| self.answer(Reason::TotalTimeout))
            }
            State::WaitingToRetry { until } if cx.now >= until => self.retry_after_delay(cx),
            State::Running if self.slots.iter().all(Option::is_none) => self.retry_or_answer(cx),
            _ => Step::Wait,
        }
    }

    /// Hash of the request's key, for keyed algorithms.
    pub fn key(&self) -> u64 {
        self.order.key
    }

    /// Time since the request of a running attempt was sent, or since it started if the request was not sent yet.
    pub fn elapsed(&self, slot: SlotId, now: Nanos) -> Option<Duration> {
        let running = self.slots.get(slot.index())?.as_ref()?;
        Some(now - running.sent.unwrap_or(running.started))
    }

    /// When a running attempt started, and when its request was sent.
    pub fn times(&self, slot: SlotId) -> Option<(Nanos, Option<Nanos>)> {
        self.slots.get(slot.index())?.as_ref().map(|running| (running.started, running.sent))
    }

    /// Number of attempts started: the first one, retries and hedges.
    pub fn started(&self) -> u32 {
        self.started
    }

    /// Why the last failure was not followed by a retry; `None` if it was, or if none is allowed after it.
    pub fn retry_denial(&self) -> Option<RetryDenial> {
        self.denial
    }

    /// The last failure of an attempt.
    pub fn last_failure(&self) -> Option<FailureKind> {
        self.failed.map(|failed| failed.kind)
    }

    /// The backend of a running attempt.
    pub fn backend(&self, slot: SlotId) -> Option<usize> {
        self.slots.get(slot.index())?.as_ref().map(|running| running.lease.index())
    }

    fn slot_mut(&mut self, slot: SlotId) -> Option<&mut Attempt> {
        self.slots.get_mut(slot.index())?.as_mut()
    }

    fn deny(&mut self, denial: RetryDenial, reason: Reason) -> Step {
        self.denial = Some(denial);
        self.answer(reason)
    }

    fn answer(&mut self, reason: Reason) -> Step {
        self.abort();
        Step::Answer(reason)
    }

    /// Starts an attempt in a free slot.
    fn start(&mut self, lease: Lease, now: Nanos) -> Step {
        let backend = lease.index();
        let Some(index) = self.slots.iter().position(Option::is_none) else { return Step::Wait };
        if let Some(slot) = self.slots.get_mut(index) {
            *slot = Some(Attempt { lease, started: now, sent: None, waiting_since: None, is_paused: false });
        }
        self.started += 1;
        self.state = State::Running;
        self.hedge.on_start(now);
        Step::Start { slot: SlotId(index as u8), backend }
    }

    /// Ends an attempt as failed and records that.
    fn fail(&mut self, cx: &mut Cx<'_>, slot: SlotId, kind: FailureKind, sent: Sent) {
        let Some(ended) = self.slots.get_mut(slot.index()).and_then(Option::take) else { return };
        let backend = ended.lease.index();
        self.failed = Some(Failed { kind, sent, backend });
        let started = ended.sent.unwrap_or(ended.started);
        if kind == FailureKind::Reset(ErrorCode::Internal) {
            // While the request is incomplete, the backend may have failed because of the client.
            if !self.uploading {
                self.suspects.add(ended.lease.unrecorded(), started, cx.now);
            }
            return;
        }
        if kind.blame().is_some()
            && let Some(member) = cx.upstream.pool().members().get(backend)
        {
            let least = cx.upstream.options().attempt.response_timeout;
            member.state.latency.observe((cx.now - started).max(least), cx.now);
        }
        if kind == FailureKind::ResponseTimeout {
            self.timed_out.insert(backend);
            cx.upstream.on_timeout(cx.now);
        }
        self.record(cx, ended, kind, started);
    }

    /// Records a failure if it counts against the backend and the request has not counted against that backend before.
    /// `since` is when the request was sent or, for a silence, when that began.
    fn record(&mut self, cx: &mut Cx<'_>, mut slot: Attempt, kind: FailureKind, since: Nanos) {
        let backend = slot.lease.index();
        let Some(blame) = kind.blame() else { return };
        let Some(state) = cx.upstream.pool().members().get(backend).map(|member| &member.state) else { return };
        let is_new = match kind {
            // A slow resource is not a failing backend: it counts only if no other request gets a response head either.
            FailureKind::ResponseTimeout => state.is_silent_since(since),
            // After the head no retry can show that the request is not the cause.
            FailureKind::Reset(ErrorCode::Internal) => false,
            FailureKind::ConnectionLost(connection) => cx.upstream.on_connection_lost(backend, connection),
            kind if kind.is_connect() => cx.upstream.on_connect_failure(backend, cx.now, cx.rng),
            _ => true,
        };
        if is_new && self.blamed.insert(backend) {
            let transitions = slot.lease.record(cx.upstream.pool(), AttemptResult::Failed(blame), cx.now);
            cx.upstream.queue_transitions(backend, transitions);
        }
    }

    /// Retries or answers after the last running attempt failed.
    fn retry_or_answer(&mut self, cx: &mut Cx<'_>) -> Step {
        let Some(Failed { kind, sent, backend }) = self.failed else { return self.answer(Reason::Internal) };
        let allowed = match kind.retry() {
            Retry::Never => false,
            Retry::Idempotent => self.idempotent,
            Retry::AnyMethod => true,
        };
        let further = self.started.saturating_sub(1);
        if !allowed || further >= cx.upstream.options().attempt.max_retries {
            return self.answer(kind.reason());
        }
        if sent == Sent::Gone || self.body_gone {
            return self.deny(RetryDenial::BodyGone, kind.reason());
        }
        let mut pick = cx.upstream.pick(&mut self.order, self.client.as_ref(), cx.now, cx.rng);
        if matches!(pick, Pick::Exhausted) {
            pick = self.pick_other(cx, backend);
        }
        match pick {
            Pick::Lease(lease) => self.retry(cx, lease, kind.reason()),
            Pick::Full | Pick::ClientFull | Pick::Refused(_) => self.deny(RetryDenial::NoAlternative, kind.reason()),
            // Another attempt would most likely time out as well.
            Pick::Exhausted if !self.timed_out.is_empty() => self.deny(RetryDenial::NoAlternative, kind.reason()),
            Pick::Exhausted => {
                let delay = SAME_BACKEND_DELAY * (1 << self.delays.min(SAME_BACKEND_DOUBLINGS));
                self.delays += 1;
                self.state = State::WaitingToRetry { until: cx.now + delay };
                Step::Wait
            }
        }
    }

    /// Tries the same backend again after the delay, or another one that is available by now.
    fn retry_after_delay(&mut self, cx: &mut Cx<'_>) -> Step {
        let Some(Failed { kind, backend, .. }) = self.failed else { return self.answer(Reason::Internal) };
        let mut pick = self.pick_other(cx, backend);
        if matches!(pick, Pick::Exhausted) {
            self.order.restart();
            pick = cx.upstream.pick(&mut self.order, self.client.as_ref(), cx.now, cx.rng);
        }
        match pick {
            Pick::Lease(lease) => self.retry(cx, lease, kind.reason()),
            _ => self.deny(RetryDenial::NoAlternative, kind.reason()),
        }
    }

    /// Picks from all backends again, without the one that just failed and those that timed out.
    fn pick_other(&mut self, cx: &mut Cx<'_>, failed: usize) -> Pick {
        self.order.restart();
        self.timed_out.iter().for_each(|backend| self.order.exclude(backend));
        self.order.exclude(failed);
        cx.upstream.pick(&mut self.order, self.client.as_ref(), cx.now, cx.rng)
    }

    /// Starts the next attempt if the retry budget allows it.
    fn retry(&mut self, cx: &mut Cx<'_>, lease: Lease, reason: Reason) -> Step {
        if !cx.upstream.take_budget(cx.now) {
            drop(lease);
            return self.deny(RetryDenial::Budget, reason);
        }
        self.start(lease, cx.now)
    }

    /// Starts the hedge if another backend is available and the budget allows it, else drops it.
    fn start_hedge(&mut self, cx: &mut Cx<'_>) -> Step {
        self.hedge = Hedge::Never;
        let alone = self.slots.iter().flatten().count() == 1;
        if !alone || self.started > cx.upstream.options().attempt.max_retries || cx.upstream.in_brownout() {
            return Step::Wait;
        }
        // The budget first: a pick excludes its candidate from the order, and a later retry may need it.
        if !cx.upstream.take_budget(cx.now) {
            return Step::Wait;
        }
        let Pick::Lease(lease) = cx.upstream.pick(&mut self.order, self.client.as_ref(), cx.now, cx.rng) else {
            cx.upstream.give_back_budget(cx.now);
            return Step::Wait;
        };
        match self.start(lease, cx.now) {
            Step::Start { slot, backend } => Step::Hedge { slot, backend },
            step => step,
        }
    }

    /// Ends one attempt other than `winner` without recording a result.
    fn cancel_other(&mut self, winner: Option<SlotId>) -> Option<Step> {
        let other = |index: usize| winner.is_none_or(|slot| slot.index() != index);
        let index = (0..SLOTS).find(|&n| other(n) && self.slots.get(n).is_some_and(Option::is_some))?;
        self.slots.get_mut(index).map(Option::take)?;
        Some(Step::Cancel { slot: SlotId(index as u8) })
    }
}
