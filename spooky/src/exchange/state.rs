//! One exchange: a client's request, its attempts, and its response.
//!
//! An [`Exchange`] is a state machine with one method per event: `upload` has those of the request body, `attempt` those before
//! the response head, `download` those of the response, `time` the deadlines. Each method changes the exchange, calls both
//! sides through [`Io`](super::io::Io), and returns the [`Next`] action of the table.

use super::{body::Upload, io::Io, outcome::Outcome, response::Response, tag::Tag, timeline::Timeline};
use crate::client_side::ClientSide;
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

/// The environment of an event.
pub(super) struct Context<'a, I> {
    pub(super) io: &'a mut I,
    pub(super) rng: &'a mut Rng,
    pub(super) now: Instant,
    /// `now` in the time of `lb`.
    pub(super) nanos: Nanos,
}

/// What the table has to do after an event.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Wait for the next event or deadline.
    Continue,
    /// As `Continue`; the upload also waits for the budget for request bodies.
    WaitForBudget,
    /// Wait until a backend has capacity.
    WaitForBackend {
        /// The client has used up its share; other waiting requests may go first.
        is_held_back: bool,
    },
    /// Remove the exchange and end the request.
    End(Outcome),
}

/// State of admission (docs/reference/behaviour.md#admission).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// Waits for its permit.
    Queued(Ticket),
    /// Has its permit. The time already waited counts if it must wait for a backend.
    Admitted(Option<WaitPeriod>),
    /// Has its permit and waits for a backend.
    WaitingForBackend(Ticket),
}

impl Admission {
    /// Returns the ticket in the queue.
    pub(super) fn ticket(self) -> Option<Ticket> {
        match self {
            Self::Queued(ticket) | Self::WaitingForBackend(ticket) => Some(ticket),
            Self::Admitted(_) => None,
        }
    }
}

pub(super) struct Exchange {
    pub(super) tag: Tag,
    /// The snapshot with which the request started.
    pub(super) snapshot: Rc<WorkerSnapshot>,
    pub(super) client: ClientSide,
    pub(super) upstream: usize,
    pub(super) route: Match,
    pub(super) method: Method,
    /// The request as sent to backends.
    pub(super) head: RequestHead,
    pub(super) attempt: Attempts,
    pub(super) admission: Admission,
    /// Released when the exchange is dropped.
    pub(super) permit: Option<Permit>,
    /// Timeouts that are not part of the attempts.
    pub(super) deadlines: Deadlines,
    /// The backend streams of the attempts, by slot.
    pub(super) handles: [Option<RequestHandle>; 2],
    pub(super) upload: Upload,
    pub(super) response: Response,
    /// The status of the response.
    pub(super) status: Option<u16>,
    pub(super) timeline: Timeline,
    /// The current timer in the wheel.
    pub(super) armed: Option<Instant>,
}

/// Field sections up to this size are kept until the end of the exchange: freeing them early costs more.
const SMALL_HEAD: usize = 2 * 1024;
/// Field sections above this size are shrunk to fit.
const LARGE_HEAD: usize = 8 * 1024;
/// Fields that are needed later: by generated responses, log messages and the access log.
const KEPT_FIELDS: [Known; 7] = [
    Known::XRequestId,
    Known::ContentType,
    Known::Method,
    Known::Protocol,
    Known::Path,
    Known::Authority,
    Known::UserAgent,
];
/// Bytes kept of each of them.
const KEPT_LENGTH: usize = 256;

/// Shrinks a large head, which may have to be kept for a long time.
pub(super) fn compact_large_head(head: &mut RequestHead) {
    if head.fields.memory() > LARGE_HEAD {
        head.fields.compact();
    }
}

impl Exchange {
    /// Frees a large head, except the beginnings of [`KEPT_FIELDS`]. No further attempt may follow. Otherwise a slow client could make Spooky hold
    /// many large heads.
    pub(super) fn free_large_head(&mut self) {
        if self.head.fields.memory() > SMALL_HEAD {
            let mut kept = Fields::default();
            for name in KEPT_FIELDS {
                if let Some(value) = self.head.fields.first(name) {
                    kept.push(name, value.get(..KEPT_LENGTH).unwrap_or(value));
                }
            }
            self.head.fields = kept;
        }
    }

    /// Calls the attempts with their upstream, and logs changes of health. Returns `None` if the upstream does not exist.
    pub(super) fn with_attempts<I, T>(
        &mut self,
        cx: &mut Context<'_, I>,
        question: impl FnOnce(&mut Attempts, &mut Cx<'_>) -> T,
    ) -> Option<T> {
        let Self { snapshot, upstream: number, attempt, .. } = self;
        let mut upstream = snapshot.upstream(*number)?;
        let answer = question(attempt, &mut Cx { now: cx.nanos, upstream: &mut upstream, rng: cx.rng });
        snapshot.counts.totals().upstream_timeouts.add(upstream.take_timeouts());
        snapshot.log_transitions(*number, &mut upstream);
        Some(answer)
    }

    /// Updates the deadlines after an event.
    pub(super) fn update_deadlines(&mut self, now: Nanos, mark: impl FnOnce(&mut Deadlines, &DeadlineOptions, Nanos)) {
        if let Some(upstream) = self.snapshot.upstreams.get(self.upstream) {
            mark(&mut self.deadlines, &upstream.deadline_options, now);
        }
    }

    pub(super) fn handle(&mut self, slot: SlotId) -> Option<&mut Option<RequestHandle>> {
        self.handles.get_mut(slot.index())
    }

    /// Returns the stream that takes the upload; an exchange with a body has one attempt at a time.
    pub(super) fn upload_handle(&self) -> Option<(SlotId, RequestHandle)> {
        SlotId::ALL.into_iter().zip(self.handles).find_map(|(slot, handle)| Some((slot, handle?)))
    }

    /// Returns the backends of the active attempts, by slot.
    pub(super) fn running(&self) -> [Option<usize>; 2] {
        SlotId::ALL.map(|slot| self.attempt.backend(slot))
    }

    /// Returns the backend that has answered.
    pub(super) fn answering_backend(&self) -> Option<usize> {
        self.response.winner().and_then(|slot| self.attempt.backend(slot))
    }

    /// Sets the window of the response to the capacity of the client's connection.
    pub(super) fn resize_window(&self, io: &mut impl Io, handle: RequestHandle) {
        if let Some(share) = io.stream_share(self.client) {
            io.resize(handle, share);
        }
    }

    /// Resets the backend stream of an attempt.
    pub(super) fn cancel(&mut self, io: &mut impl Io, slot: SlotId) {
        if let Some(handle) = self.handle(slot).and_then(Option::take) {
            self.snapshot.counts.on_upstream_reset(ResetReason::Cancelled);
            io.reset(handle, ResetReason::Cancelled);
        }
    }

    /// Resets the backend streams that are still open.
    pub(super) fn close_upstream(&mut self, io: &mut impl Io, reason: ResetReason) {
        for handle in self.handles.iter_mut().filter_map(Option::take) {
            self.snapshot.counts.on_upstream_reset(reason);
            io.reset(handle, reason);
        }
    }
}
