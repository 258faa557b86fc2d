//! The request body: read from the client only as fast as the backend takes it.

use super::{
    io::{ClientSide, Io},
    replay::Replay,
};
use bytes::Bytes;
use spooky_bridge::message::{Fields, rewrite};
use spooky_edge::{Abort, BodyRead};
use spooky_lb::{
    admit::BodyShare,
    attempt::{Sent, UploadWait},
};
use spooky_transport::RequestHandle;
use std::collections::VecDeque;

/// One read from the client takes at most this many bytes; the backend's window bounds it further.
const READ_SIZE: usize = 64 * 1024;

/// How the upload ends.
enum UploadEnd {
    /// Not seen yet.
    Unknown,
    /// These trailers have come, the end of the stream has not: a body that is too short for its length, or a reset, may
    /// still follow.
    Expected(Box<Fields>),
    /// Without trailers.
    Plain,
    /// With these.
    Trailers(Box<Fields>),
}

impl UploadEnd {
    /// Returns the end now that the end of the stream has been read. An empty trailer section is a plain end.
    fn confirmed(self) -> Self {
        match self {
            Self::Unknown | Self::Plain => Self::Plain,
            Self::Expected(fields) if fields.is_empty() => Self::Plain,
            Self::Expected(fields) | Self::Trailers(fields) => Self::Trailers(fields),
        }
    }
}

/// Why [`Upload::pump`] stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pumped {
    /// The backend takes no more for now.
    Blocked,
    /// The client has sent no more.
    Starved,
    /// The end was passed on.
    Done,
    /// The client's stream failed.
    Failed(Abort),
    /// More than `max_request_body_bytes`.
    TooLarge,
    /// The backend does not accept trailers of that size.
    TrailersTooLarge,
    /// The budget for request bodies is used up: no credit for now.
    Capped,
    /// What came would exceed that budget.
    OverBudget,
}

impl Pumped {
    /// The side whose turn it is now.
    pub(super) fn waits_for(self) -> UploadWait {
        match self {
            Self::Starved | Self::Failed(_) => UploadWait::Client,
            Self::Blocked | Self::Done => UploadWait::Backend,
            Self::Capped | Self::OverBudget | Self::TooLarge | Self::TrailersTooLarge => UploadWait::Proxy,
        }
    }
}

/// From where to where [`Upload::pump`] moves bytes.
pub(super) struct Pump {
    pub(super) client: ClientSide,
    pub(super) to: RequestHandle,
    /// The largest length of the body; `None` for tunnels.
    pub(super) max_length: Option<u64>,
    /// What is read may have to be sent again.
    pub(super) is_kept: bool,
}

/// The upload of one exchange.
pub(super) struct Upload {
    /// Read from the client, not yet taken by the backend's connection, in order.
    waiting: VecDeque<Bytes>,
    end: UploadEnd,
    is_sent: bool,
    received: u64,
    taken: u64,
    replay: Replay,
    is_absent: bool,
    /// It is on the list of those that wait for the budget.
    is_capped: bool,
    /// What the bytes in `waiting` and `replay` hold of the process's budget.
    share: Option<BodyShare>,
}

impl Upload {
    /// The upload of a request: with a share of the budget, or over already because there is no body.
    pub(super) fn new(share: Option<BodyShare>) -> Self {
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

    /// Whether the end was passed on to the backend.
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// Whether the request has no body: it came with its end, or ended without a byte.
    pub(super) fn is_absent(&self) -> bool {
        self.is_absent
    }

    /// Bytes read from the client.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Bytes taken by backends, over all attempts.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Whether it can never be sent again.
    pub(super) fn is_gone(&self) -> bool {
        self.replay.is_lost()
    }

    /// Whether it has ended without a byte. A later attempt then ends with its head, as if the client's request had.
    pub(super) fn find_absent(&mut self) -> bool {
        let is_empty = self.received == 0 && matches!(self.end, UploadEnd::Plain);
        self.is_absent |= is_empty;
        is_empty
    }

    /// Moves as much as the client has sent and the backend takes.
    pub(super) fn pump(&mut self, io: &mut impl Io, pump: &Pump) -> Pumped {
        loop {
            if let Some(stopped) = self.send_waiting(io, pump.to) {
                return stopped;
            }
            let room = io.want_send(pump.to);
            if room == 0 {
                // Asks for `Sendable` once there is room again.
                return Pumped::Blocked;
            }
            let most = room.min(READ_SIZE).min(self.readable());
            if most == 0 {
                return Pumped::Capped;
            }
            match io.read_body(pump.client, most) {
                BodyRead::Data(data) => {
                    self.received += data.len() as u64;
                    if pump.max_length.is_some_and(|max| self.received > max) {
                        return Pumped::TooLarge;
                    }
                    if !self.take(data, pump.is_kept) {
                        return Pumped::OverBudget;
                    }
                }
                BodyRead::Trailers(mut fields) => {
                    rewrite::request_trailers(&mut fields, io.subject_header(pump.client));
                    self.end = UploadEnd::Expected(fields);
                }
                BodyRead::End => self.end = std::mem::replace(&mut self.end, UploadEnd::Unknown).confirmed(),
                BodyRead::Pending => return Pumped::Starved,
                BodyRead::Aborted(abort) => return Pumped::Failed(abort),
            }
        }
    }

    /// Sends what was read, and the end once nothing is left before it. Returns why it stopped, unless more may be read.
    fn send_waiting(&mut self, io: &mut impl Io, to: RequestHandle) -> Option<Pumped> {
        let is_plain_end = matches!(self.end, UploadEnd::Plain);
        while !self.waiting.is_empty() {
            let is_last = is_plain_end && self.waiting.len() == 1;
            let Some(front) = self.waiting.front_mut() else { break };
            let taken = io.send_data(to, front, is_last);
            let is_left = !front.is_empty();
            self.on_taken(taken);
            if is_left {
                return Some(Pumped::Blocked);
            }
            self.waiting.pop_front();
            if is_last {
                self.is_sent = true;
                return Some(Pumped::Done);
            }
        }
        match &self.end {
            UploadEnd::Unknown | UploadEnd::Expected(_) => return None,
            UploadEnd::Plain => {
                io.send_data(to, &mut Bytes::new(), true);
            }
            UploadEnd::Trailers(fields) => {
                if !io.send_trailers(to, fields) {
                    return Some(Pumped::TrailersTooLarge);
                }
            }
        }
        self.is_sent = true;
        Some(Pumped::Done)
    }

    /// Takes a chunk that was read and waits for a backend. Returns false if the budget has no room for it.
    fn take(&mut self, chunk: Bytes, is_kept: bool) -> bool {
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

    /// Frees what was kept for another attempt. None may follow.
    pub(super) fn forget_replay(&mut self) {
        if !self.replay.is_lost() {
            self.replay.forget();
            self.count_held();
        }
    }

    /// Gives back the budget of bytes that are no longer kept and have left.
    fn count_held(&mut self) {
        let waiting = self.waiting.iter().map(|chunk| chunk.len() as u64).sum();
        if let Some(share) = &mut self.share {
            share.give_back(share.held().saturating_sub(waiting));
        }
    }

    /// Sets how many bytes of the body wait with the client's connection. Returns false if the budget has no room for them.
    pub(super) fn set_unread(&mut self, bytes: u64) -> bool {
        self.share.as_mut().is_none_or(|share| share.set_unread(bytes))
    }

    /// How many bytes the budget allows to be read. What is kept for another attempt is given up before the upload stops:
    /// otherwise it could wait for itself.
    fn readable(&mut self) -> usize {
        let readable = |share: &Option<BodyShare>| {
            share.as_ref().map_or(usize::MAX, |share| usize::try_from(share.readable()).unwrap_or(usize::MAX))
        };
        if readable(&self.share) == 0 {
            self.forget_replay();
        }
        readable(&self.share)
    }

    /// The backend has taken bytes. They count against the budget while they are kept for another attempt.
    fn on_taken(&mut self, bytes: usize) {
        self.taken += bytes as u64;
        if let Some(share) = self.share.as_mut().filter(|_| self.replay.is_lost()) {
            share.give_back(bytes as u64);
        }
    }

    /// The upload waits for the budget. Returns true if it has to be entered into the list of those that do.
    pub(super) fn on_capped(&mut self) -> bool {
        !std::mem::replace(&mut self.is_capped, true)
    }

    /// It was taken off that list.
    pub(super) fn on_uncapped(&mut self) {
        self.is_capped = false;
    }

    /// What an attempt that ends now leaves behind.
    pub(super) fn sent(&self) -> Sent {
        if self.replay.is_lost() { Sent::Gone } else { Sent::Replayable }
    }

    /// Makes it ready to be sent from its beginning.
    pub(super) fn rewind(&mut self) {
        if !self.is_absent {
            self.waiting = self.replay.rewind();
            self.is_sent = false;
        }
    }
}
