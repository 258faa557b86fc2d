//! One exchange: a client's request, the attempts to have it answered, the response on its way back.

use super::client::ClientSide;
use crate::snapshot::WorkerSnapshot;
use bytes::{Bytes, BytesMut};
use spooky_bridge::message::{Fields, Known, Method, RequestHead};
use spooky_lb::{
    admit::{BodyShare, Permit, Ticket, Waited},
    attempt::{Attempt, Deadlines, Sent, SlotId},
    route::Match,
};
use spooky_transport::RequestHandle;
use std::{collections::VecDeque, rc::Rc, time::Instant};

/// Body bytes up to this many are kept until the response head, so that another backend can be tried (behaviour 10.6).
const MAX_REPLAY: usize = 64 * 1024;

/// What was read of the upload, as far as it may have to be sent again. It is copied: a part of what came would keep all of
/// the datagrams that it came in.
#[derive(Default)]
pub(crate) struct Replay {
    /// What was sent again once, in the pieces in which that was done.
    again: Vec<Bytes>,
    kept: BytesMut,
    bytes: usize,
    is_lost: bool,
}

impl Replay {
    /// Keeps a chunk that was just read.
    pub(crate) fn keep(&mut self, chunk: &Bytes) {
        self.bytes += chunk.len();
        if self.bytes > MAX_REPLAY {
            self.forget();
        } else if !self.is_lost {
            self.kept.extend_from_slice(chunk);
        }
    }

    /// All that was read so far.
    fn rewind(&mut self) -> VecDeque<Bytes> {
        if !self.kept.is_empty() {
            self.again.push(self.kept.split().freeze());
        }
        self.again.iter().cloned().collect()
    }

    /// Whether what was sent can never be sent again.
    pub(crate) fn is_lost(&self) -> bool {
        self.is_lost
    }

    /// No attempt will follow: frees the memory.
    pub(crate) fn forget(&mut self) {
        self.is_lost = true;
        self.again = Vec::new();
        self.kept = BytesMut::new();
    }
}

/// How the upload ends.
pub(crate) enum UploadEnd {
    /// Not seen yet.
    Unknown,
    /// These trailers have come, the end of the stream has not: a body that is too short for its length, or a reset, may
    /// still turn up.
    Expected(Box<Fields>),
    /// Without trailers.
    Plain,
    /// With these.
    Trailers(Box<Fields>),
}

impl UploadEnd {
    /// Returns the end now that the end of the stream has been read. Trailers of which nothing is left are none.
    pub(crate) fn confirmed(self) -> Self {
        match self {
            Self::Unknown | Self::Plain => Self::Plain,
            Self::Expected(fields) if fields.is_empty() => Self::Plain,
            Self::Expected(fields) | Self::Trailers(fields) => Self::Trailers(fields),
        }
    }
}

/// The upload.
pub(crate) struct Upload {
    /// Read from the client, not yet taken by the backend's connection, in order.
    pub(crate) waiting: VecDeque<Bytes>,
    /// Its end, once read.
    pub(crate) end: UploadEnd,
    /// The end was passed on.
    pub(crate) is_sent: bool,
    /// Bytes read from the client.
    pub(crate) received: u64,
    /// Bytes taken by backends, over all attempts.
    pub(crate) taken: u64,
    /// For another attempt.
    pub(crate) replay: Replay,
    /// The request came with its end: there is no body.
    pub(crate) is_absent: bool,
    /// It is on the list of those that wait for the budget.
    pub(crate) is_capped: bool,
    /// What the bytes in `waiting` hold of the process's budget.
    pub(crate) share: Option<BodyShare>,
}

impl Upload {
    /// The upload of a request: with a share of the budget, or over already because there is no body.
    pub(crate) fn new(share: Option<BodyShare>) -> Self {
        let has_body = share.is_some();
        Self {
            waiting: VecDeque::new(),
            end: if has_body { UploadEnd::Unknown } else { UploadEnd::Plain },
            is_sent: !has_body,
            received: 0,
            taken: 0,
            replay: Replay::default(),
            is_absent: !has_body,
            is_capped: false,
            share,
        }
    }

    /// Takes a chunk that was read and waits for a backend; it may have to be kept for another attempt if `is_kept`. False if
    /// the budget has no room for it.
    pub(crate) fn take(&mut self, chunk: Bytes, is_kept: bool) -> bool {
        let bytes = chunk.len() as u64;
        if self.share.as_mut().is_some_and(|share| !share.take(bytes)) {
            self.forget_replay();
            if self.share.as_mut().is_some_and(|share| !share.take(bytes)) {
                return false;
            }
        }
        let was_lost = self.replay.is_lost();
        if is_kept {
            self.replay.keep(&chunk);
        }
        self.waiting.push_back(chunk);
        if self.replay.is_lost() && !was_lost {
            self.count_held();
        }
        true
    }

    /// No attempt will follow: frees what was kept for one.
    pub(crate) fn forget_replay(&mut self) {
        if !self.replay.is_lost() {
            self.replay.forget();
            self.count_held();
        }
    }

    /// Gives back what the budget counted for bytes that are kept no longer and have left.
    fn count_held(&mut self) {
        let waiting = self.waiting.iter().map(|chunk| chunk.len() as u64).sum();
        if let Some(share) = &mut self.share {
            share.give_back(share.held().saturating_sub(waiting));
        }
    }

    /// So many bytes of the body wait with the client's connection; false if the budget has no room for them.
    pub(crate) fn count_unread(&mut self, bytes: u64) -> bool {
        self.share.as_mut().is_none_or(|share| share.set_unread(bytes))
    }

    /// How many bytes may be read although the budget may be used up. What is kept for another attempt gives way before
    /// the upload stops: else it could wait for itself.
    pub(crate) fn readable(&mut self) -> usize {
        let readable = |share: &Option<BodyShare>| {
            share.as_ref().map_or(usize::MAX, |share| usize::try_from(share.readable()).unwrap_or(usize::MAX))
        };
        if readable(&self.share) == 0 {
            self.forget_replay();
        }
        readable(&self.share)
    }

    /// The backend has taken so many. They count until they are not kept for another attempt either.
    pub(crate) fn let_go(&mut self, bytes: usize) {
        self.taken += bytes as u64;
        if let Some(share) = self.share.as_mut().filter(|_| self.replay.is_lost) {
            share.give_back(bytes as u64);
        }
    }

    /// What an attempt that ends now leaves behind.
    pub(crate) fn sent(&self, processed_nothing: bool) -> Sent {
        match (self.replay.is_lost, processed_nothing) {
            (true, _) => Sent::Gone,
            (false, true) => Sent::Nothing,
            (false, false) => Sent::Replayable,
        }
    }

    /// Makes it ready to be sent from its beginning.
    pub(crate) fn rewind(&mut self) {
        if !self.is_absent {
            self.waiting = self.replay.rewind();
            self.is_sent = false;
        }
    }
}

/// Where the response is.
pub(crate) enum Response {
    /// No head yet.
    Awaited,
    /// The body is on its way.
    Streaming {
        /// The attempt that it comes from.
        winner: SlotId,
        /// Body bytes so far.
        received: u64,
        /// Body bytes that the client's connection has not taken.
        unaccepted: usize,
        /// Both directions of it end by themselves.
        is_tunnel: bool,
    },
    /// Ended by the backend, whose place was given back; the client's connection has not taken all of it.
    Ending,
    /// A tunnel that the backend has ended in its direction; the client's goes on.
    HalfClosed {
        /// The client's connection has taken all of it.
        is_sent: bool,
    },
}

impl Response {
    /// Whether this is a tunnel: no limit on bodies holds for it.
    pub(crate) fn is_tunnel(&self) -> bool {
        matches!(self, Self::Streaming { is_tunnel: true, .. } | Self::HalfClosed { .. })
    }
}

/// Where the exchange stands with the limits on requests in flight (behaviour 10.1).
pub(crate) enum Seat {
    /// It waits for a permit.
    Queued(Ticket),
    /// It has its permit until it is over.
    Held {
        /// Returns by drop.
        permit: Permit,
        /// Whether it goes on, or waits for a backend.
        place: Place,
    },
}

/// Where an exchange with a permit stands.
pub(crate) enum Place {
    /// It goes on; the wait for its permit, if there was one, goes on should every backend be full.
    Seated(Option<Waited>),
    /// It waits for a backend.
    Standing(Ticket),
}

impl Seat {
    /// The place in the queue.
    pub(crate) fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::Queued(ticket) | Self::Held { place: Place::Standing(ticket), .. } => Some(*ticket),
            Self::Held { place: Place::Seated(_), .. } => None,
        }
    }
}

/// The exchange.
pub(crate) struct Exchange {
    pub(crate) serial: u32,
    /// The configuration that it began with.
    pub(crate) snapshot: Rc<WorkerSnapshot>,
    pub(crate) client: ClientSide,
    pub(crate) upstream: usize,
    /// The rule that chose the upstream.
    pub(crate) route: Match,
    pub(crate) method: Method,
    /// The request as sent to backends.
    pub(crate) head: RequestHead,
    pub(crate) attempt: Attempt,
    /// Returned when the exchange is dropped; its place in the queue is left before.
    pub(crate) seat: Seat,
    /// What the exchange waits for apart from the attempts.
    pub(crate) deadlines: Deadlines,
    /// The backend streams of the attempts, by slot.
    pub(crate) handles: [Option<RequestHandle>; 2],
    pub(crate) upload: Upload,
    pub(crate) response: Response,
    /// Of the response, once its head has come.
    pub(crate) status: Option<u16>,
    /// The earliest deadline that was entered into the wheel and has not come.
    pub(crate) entered: Option<Instant>,
}

/// Field sections up to this size are kept to the end of their exchange: that is cheaper than to free them early.
const SMALL_HEAD: usize = 2 * 1024;
/// Field sections from this size on give back what they have reserved and do not need.
const LARGE_HEAD: usize = 8 * 1024;
/// What names the request in the log, and what the form of an answer of our own depends on.
const KEPT_FIELDS: [Known; 2] = [Known::XRequestId, Known::ContentType];

/// Makes a large head as small as it can be: it may have to wait for a place, and then for the answer.
pub(super) fn compact_large_head(head: &mut RequestHead) {
    if head.fields.memory() > LARGE_HEAD {
        head.fields.compact();
    }
}

impl Exchange {
    /// No attempt will follow: of a large head only what is asked for later is kept. A client can have many of them
    /// forwarded, and then take its time with the bodies and the answers.
    pub(crate) fn forget_large_head(&mut self) {
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

    pub(crate) fn handle(&mut self, slot: SlotId) -> Option<&mut Option<RequestHandle>> {
        self.handles.get_mut(slot.index())
    }

    /// The backends of the attempts on the way, by slot.
    pub(crate) fn running(&self) -> [Option<usize>; 2] {
        SlotId::ALL.map(|slot| self.attempt.backend(slot))
    }

    /// The backend that the response comes from.
    pub(crate) fn answering_backend(&self) -> Option<usize> {
        match self.response {
            Response::Streaming { winner, .. } => self.attempt.backend(winner),
            Response::Awaited | Response::Ending | Response::HalfClosed { .. } => None,
        }
    }

    /// The stream that takes the upload: an exchange with a body has one attempt at a time.
    pub(crate) fn upload_handle(&self) -> Option<(SlotId, RequestHandle)> {
        SlotId::ALL.into_iter().zip(self.handles).find_map(|(slot, handle)| Some((slot, handle?)))
    }
}
