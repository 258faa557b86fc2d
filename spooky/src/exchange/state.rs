//! One exchange: a client's request, the attempts to have it answered, the response on its way back.
//!
//! An [`Exchange`] is a state machine. An event is a method of it: `upload` handles those of the request body, `attempt`
//! those before the response head, `download` those of the response, `time` the deadlines. Each changes the exchange, calls
//! both sides through [`Io`](super::io::Io), and returns what the table has to do [`Next`].

use super::{
    body::Upload,
    io::{ClientSide, Io},
    outcome::Outcome,
    response::Response,
    tag::Tag,
};
use crate::snapshot::WorkerSnapshot;
use spooky_bridge::message::{Fields, Known, Method, RequestHead, ResetReason};
use spooky_lb::{
    admit::{Permit, Ticket, WaitPeriod},
    attempt::{Attempts, Cx, DeadlineOptions, Deadlines, SlotId},
    rng::Rng,
    route::Match,
    time::Nanos,
};
use spooky_transport::RequestHandle;
use std::{rc::Rc, time::Instant};

/// What an event may use apart from the exchange.
pub(super) struct Context<'a, I> {
    pub(super) io: &'a mut I,
    pub(super) rng: &'a mut Rng,
    pub(super) now: Instant,
    /// The same time as the decisions count it.
    pub(super) nanos: Nanos,
    /// Zero of `nanos`.
    pub(super) epoch: Instant,
}

/// What the table has to do after an event.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait for further events, and for the nearest deadline.
    Continue,
    /// The same; the upload also waits for the budget for request bodies.
    WaitForBudget,
    /// Wait until a backend has room. `is_held_back`: some have, but the client holds its share of them.
    WaitForBackend {
        /// Others that wait for a backend may go first.
        is_held_back: bool,
    },
    /// Remove the exchange and finish the request.
    End(Outcome),
}

/// How far the exchange is with the limits on requests in flight (docs/reference/behaviour.md#admission).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// It waits for its permit.
    Queued(Ticket),
    /// It has its permit and goes on. The wait for the permit, if there was one, goes on should every backend be full.
    Admitted(Option<WaitPeriod>),
    /// It has its permit and waits for a backend.
    WaitingForBackend(Ticket),
}

impl Admission {
    /// What names it in the queue.
    pub(super) fn ticket(self) -> Option<Ticket> {
        match self {
            Self::Queued(ticket) | Self::WaitingForBackend(ticket) => Some(ticket),
            Self::Admitted(_) => None,
        }
    }
}

/// The exchange.
pub(super) struct Exchange {
    pub(super) tag: Tag,
    /// The configuration that it began with.
    pub(super) snapshot: Rc<WorkerSnapshot>,
    pub(super) client: ClientSide,
    pub(super) upstream: usize,
    /// The rule that chose the upstream.
    pub(super) route: Match,
    pub(super) method: Method,
    /// The request as sent to backends.
    pub(super) head: RequestHead,
    pub(super) attempt: Attempts,
    pub(super) admission: Admission,
    /// Returned when the exchange is dropped.
    pub(super) permit: Option<Permit>,
    /// What the exchange waits for apart from the attempts.
    pub(super) deadlines: Deadlines,
    /// The backend streams of the attempts, by slot.
    pub(super) handles: [Option<RequestHandle>; 2],
    pub(super) upload: Upload,
    pub(super) response: Response,
    /// Of the response, once its head has come.
    pub(super) status: Option<u16>,
    /// The moment for which it is armed in the wheel.
    pub(super) armed: Option<Instant>,
}

/// Field sections up to this size are kept to the end of their exchange: that is cheaper than to free them early.
const SMALL_HEAD: usize = 2 * 1024;
/// Field sections from this size on give back what they have reserved and do not need.
const LARGE_HEAD: usize = 8 * 1024;
/// What names the request in the log, and what the form of an answer of our own depends on.
const KEPT_FIELDS: [Known; 2] = [Known::XRequestId, Known::ContentType];

/// Frees what a large head has reserved and does not need: it may have to wait for a permit, and then for the response.
pub(super) fn compact_large_head(head: &mut RequestHead) {
    if head.fields.memory() > LARGE_HEAD {
        head.fields.compact();
    }
}

impl Exchange {
    /// Of a large head only what is read later is kept. No attempt may follow. A client can have many heads forwarded, and
    /// then take its time with the bodies and the responses.
    pub(super) fn forget_large_head(&mut self) {
        if self.head.fields.memory() > SMALL_HEAD {
            let mut kept = Fields::default();
            for name in KEPT_FIELDS {
                if let Some(value) = self.head.fields.first(name) {
                    kept.push(name, value);
                }
            }
            self.head.fields = kept;
        }
    }

    /// The id of the request, as sent to the backend.
    pub(super) fn request_id(&self) -> &[u8] {
        self.head.fields.first(Known::XRequestId).unwrap_or_default()
    }

    /// Asks the attempts, and logs what their answer has changed about the backends' health. `None` if the upstream does not
    /// exist.
    pub(super) fn ask<I, T>(
        &mut self,
        cx: &mut Context<'_, I>,
        question: impl FnOnce(&mut Attempts, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        let Self { snapshot, upstream: number, attempt, .. } = self;
        let mut upstream = snapshot.upstream(*number)?;
        let answer = question(attempt, &mut Cx { now: cx.nanos, upstream: &mut upstream, rng: cx.rng });
        snapshot.log_transitions(*number, &mut upstream);
        Some(answer)
    }

    /// Tells the deadlines that something has happened.
    pub(super) fn mark_time(&mut self, now: Nanos, mark: impl FnOnce(&mut Deadlines, &DeadlineOptions, Nanos)) {
        if let Some(upstream) = self.snapshot.upstreams.get(self.upstream) {
            mark(&mut self.deadlines, &upstream.deadline_options, now);
        }
    }

    pub(super) fn handle(&mut self, slot: SlotId) -> Option<&mut Option<RequestHandle>> {
        self.handles.get_mut(slot.index())
    }

    /// The stream that takes the upload: an exchange with a body has one attempt at a time.
    pub(super) fn upload_handle(&self) -> Option<(SlotId, RequestHandle)> {
        SlotId::ALL.into_iter().zip(self.handles).find_map(|(slot, handle)| Some((slot, handle?)))
    }

    /// The backends of the running attempts, by slot.
    pub(super) fn running(&self) -> [Option<usize>; 2] {
        SlotId::ALL.map(|slot| self.attempt.backend(slot))
    }

    /// The backend that the response comes from.
    pub(super) fn answering_backend(&self) -> Option<usize> {
        self.response.winner().and_then(|slot| self.attempt.backend(slot))
    }

    /// Sets how much of the response the backend may send ahead: what the client's connection has room for.
    pub(super) fn resize_window(&self, io: &mut impl Io, handle: RequestHandle) {
        if let Some(share) = io.stream_share(self.client) {
            io.resize(handle, share);
        }
    }

    /// Resets the backend stream of an attempt.
    pub(super) fn cancel(&mut self, io: &mut impl Io, slot: SlotId) {
        if let Some(handle) = self.handle(slot).and_then(Option::take) {
            io.reset(handle, ResetReason::Cancelled);
        }
    }

    /// Resets the backend streams that are still open.
    pub(super) fn close_upstream(&mut self, io: &mut impl Io, reason: ResetReason) {
        for handle in self.handles.iter_mut().filter_map(Option::take) {
            io.reset(handle, reason);
        }
    }
}
