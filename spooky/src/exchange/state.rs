//! One exchange: a client's request, the attempts to have it answered, the response on its way back.

use bytes::Bytes;
use spooky_bridge::message::{Fields, Method, RequestHead};
use spooky_edge::StreamRef;
use spooky_lb::attempt::{Attempt, Sent, SlotId};
use spooky_transport::RequestHandle;
use std::{collections::VecDeque, time::Instant};

/// The client's side of an exchange: which listener, which stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) listener: usize,
    pub(crate) stream: StreamRef,
}

/// Body bytes up to this many are kept until the response head, so that another backend can be tried (behaviour 10.6).
const MAX_REPLAY: usize = 64 * 1024;

/// What was read of the upload, as far as it may have to be sent again.
#[derive(Default)]
pub(crate) struct Replay {
    chunks: Vec<Bytes>,
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
            self.chunks.push(chunk.clone());
        }
    }

    /// No attempt will follow: frees the memory.
    pub(crate) fn forget(&mut self) {
        self.is_lost = true;
        self.chunks = Vec::new();
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
    /// The end of the stream has been read.
    pub(crate) fn confirmed(self) -> Self {
        match self {
            Self::Unknown | Self::Plain => Self::Plain,
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
    /// For another attempt.
    pub(crate) replay: Replay,
    /// The request came with its end: there is no body.
    pub(crate) is_absent: bool,
    /// Until when the client must send more; `None` while it is not waited for.
    pub(crate) until: Option<Instant>,
}

impl Upload {
    /// The upload of a request; one without a body is over already.
    pub(crate) fn new(has_body: bool) -> Self {
        Self {
            waiting: VecDeque::new(),
            end: if has_body { UploadEnd::Unknown } else { UploadEnd::Plain },
            is_sent: !has_body,
            received: 0,
            replay: Replay::default(),
            is_absent: !has_body,
            until: None,
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
            self.waiting = self.replay.chunks.iter().cloned().collect();
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
        /// When the next byte is overdue.
        until: Instant,
    },
    /// Ended by the backend; the client's connection has not taken all of it.
    Ending,
}

/// The exchange.
pub(crate) struct Exchange {
    pub(crate) serial: u32,
    pub(crate) client: Client,
    pub(crate) upstream: usize,
    pub(crate) method: Method,
    /// The request as sent to backends.
    pub(crate) head: RequestHead,
    pub(crate) attempt: Attempt,
    /// The backend streams of the attempts, by slot.
    pub(crate) handles: [Option<RequestHandle>; 2],
    pub(crate) upload: Upload,
    pub(crate) response: Response,
    /// The earliest deadline that was entered into the wheel and has not come.
    pub(crate) entered: Option<Instant>,
}

impl Exchange {
    pub(crate) fn handle(&mut self, slot: SlotId) -> Option<&mut Option<RequestHandle>> {
        self.handles.get_mut(slot.index())
    }

    /// The stream that takes the upload: an exchange with a body has one attempt at a time.
    pub(crate) fn upload_handle(&self) -> Option<(SlotId, RequestHandle)> {
        SlotId::ALL.into_iter().zip(self.handles).find_map(|(slot, handle)| Some((slot, handle?)))
    }
}
