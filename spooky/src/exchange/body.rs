//! The request body: read from the client as fast as the backend takes it.

use super::{io::Io, replay::Replay};
use crate::client_side::ClientSide;
use bytes::Bytes;
use spooky_bridge::message::{Fields, rewrite};
use spooky_edge::{Abort, BodyRead};
use spooky_lb::{
    admit::BodyShare,
    attempt::{Sent, UploadWait},
};
use spooky_transport::RequestHandle;
use std::collections::VecDeque;

/// Maximum size of one read from the client, in bytes; the backend's window limits it further.
const READ_SIZE: usize = 64 * 1024;

enum UploadEnd {
    /// Not received yet.
    Unknown,
    /// Trailers were received, the end of the stream was not: a reset or a content-length mismatch may still follow.
    Expected(Box<Fields>),
    /// Without trailers.
    Plain,
    Trailers(Box<Fields>),
}

impl UploadEnd {
    /// Returns the state after the end of the stream. An empty trailer section is a plain end.
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
pub(super) enum PumpResult {
    /// The backend takes no more data.
    Blocked,
    /// The client has sent no more data.
    Starved,
    /// The end was sent to the backend.
    Done,
    /// The client's stream failed.
    Failed(Abort),
    /// The body is malformed, with the reason for the log. The request can still be answered.
    Malformed(&'static str),
    /// More than `max_request_body_bytes`.
    TooLarge,
    /// The trailers exceed what the backend accepts.
    TrailersTooLarge,
    /// The budget for request bodies is used up. Reading continues when it has space.
    Capped,
    /// Bytes that have arrived exceed that budget.
    OverBudget,
}

impl PumpResult {
    /// Returns which side the upload waits for.
    pub(super) fn waits_for(self) -> UploadWait {
        match self {
            Self::Starved | Self::Failed(_) | Self::Malformed(_) => UploadWait::Client,
            Self::Blocked | Self::Done => UploadWait::Backend,
            Self::Capped | Self::OverBudget | Self::TooLarge | Self::TrailersTooLarge => UploadWait::Proxy,
        }
    }
}

/// Arguments of [`Upload::pump`].
pub(super) struct Pump {
    pub(super) client: ClientSide,
    pub(super) to: RequestHandle,
    /// Maximum length of the body; `None` for tunnels.
    pub(super) max_length: Option<u64>,
    /// Whether data is kept for a retry.
    pub(super) is_kept: bool,
}

/// The state of the request body.
pub(super) struct Upload {
    /// Chunks that were read from the client and not yet taken by the backend's connection.
    waiting: VecDeque<Bytes>,
    end: UploadEnd,
    is_sent: bool,
    received: u64,
    taken: u64,
    replay: Replay,
    is_absent: bool,
    /// Whether the exchange is in the list of those that wait for the budget.
    is_capped: bool,
    /// Counts the bytes in `waiting` and `replay` against the budget of the process.
    share: Option<BodyShare>,
}

impl Upload {
    /// Creates the state; `None` means that the request has no body.
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

    /// Returns whether the end was sent to the backend.
    pub(super) fn is_sent(&self) -> bool {
        self.is_sent
    }

    /// Returns whether the request has no body. That may become known only with the end of the stream.
    pub(super) fn is_absent(&self) -> bool {
        self.is_absent
    }

    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Returns the number of bytes taken by backends, over all attempts.
    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    /// Returns whether the body cannot be sent again.
    pub(super) fn is_gone(&self) -> bool {
        self.replay.is_discarded()
    }

    /// Returns whether the body has ended empty. Later attempts then end the request with its head.
    pub(super) fn find_absent(&mut self) -> bool {
        let is_empty = self.received == 0 && matches!(self.end, UploadEnd::Plain);
        self.is_absent |= is_empty;
        is_empty
    }

    /// Moves data from the client to the backend until one side has no more or takes no more.
    pub(super) fn pump(&mut self, io: &mut impl Io, pump: &Pump) -> PumpResult {
        loop {
            if let Some(stopped) = self.send_waiting(io, pump.to) {
                return stopped;
            }
            let room = io.want_send(pump.to);
            // After a room of 0 `Sendable` follows, after an exhausted budget its next space.
            let stopped = if room == 0 { PumpResult::Blocked } else { PumpResult::Capped };
            let most = if room == 0 { 0 } else { room.min(READ_SIZE).min(self.readable()) };
            // The end needs neither: a backend may give no more credit before it has seen it.
            if most == 0 && io.unread(pump.client) > 0 {
                return stopped;
            }
            match io.read_body(pump.client, most.max(1)) {
                BodyRead::Data(data) => {
                    self.received += data.len() as u64;
                    if pump.max_length.is_some_and(|max| self.received > max) {
                        return PumpResult::TooLarge;
                    }
                    if !self.take(data, pump.is_kept) {
                        return PumpResult::OverBudget;
                    }
                }
                BodyRead::Trailers(mut fields) => {
                    rewrite::request_trailers(&mut fields, io.subject_header(pump.client));
                    self.end = UploadEnd::Expected(fields);
                }
                BodyRead::End => self.end = std::mem::replace(&mut self.end, UploadEnd::Unknown).confirmed(),
                BodyRead::Pending => return if most == 0 { stopped } else { PumpResult::Starved },
                BodyRead::Malformed(reason) => return PumpResult::Malformed(reason),
                BodyRead::Aborted(abort) => return PumpResult::Failed(abort),
            }
        }
    }

    /// Sends the waiting chunks, and then the end. Returns why it stopped, `None` if more can be read.
    fn send_waiting(&mut self, io: &mut impl Io, to: RequestHandle) -> Option<PumpResult> {
        let is_plain_end = matches!(self.end, UploadEnd::Plain);
        while !self.waiting.is_empty() {
            let is_last = is_plain_end && self.waiting.len() == 1;
            let Some(front) = self.waiting.front_mut() else { break };
            let taken = io.send_data(to, front, is_last);
            let is_left = !front.is_empty();
            self.on_taken(taken);
            if is_left {
                return Some(PumpResult::Blocked);
            }
            self.waiting.pop_front();
            if is_last {
                self.is_sent = true;
                return Some(PumpResult::Done);
            }
        }
        match &self.end {
            UploadEnd::Unknown | UploadEnd::Expected(_) => return None,
            UploadEnd::Plain => {
                io.send_data(to, &mut Bytes::new(), true);
            }
            UploadEnd::Trailers(fields) => {
                if !io.send_trailers(to, fields) {
                    return Some(PumpResult::TrailersTooLarge);
                }
            }
        }
        self.is_sent = true;
        Some(PumpResult::Done)
    }

    /// Queues a chunk for the backend. Returns false if it exceeds the budget.
    fn take(&mut self, chunk: Bytes, is_kept: bool) -> bool {
        let bytes = chunk.len() as u64;
        if self.share.as_mut().is_some_and(|share| !share.take(bytes)) {
            self.discard_replay();
            if self.share.as_mut().is_some_and(|share| !share.take(bytes)) {
                return false;
            }
        }
        let was_discarded = self.replay.is_discarded();
        if is_kept {
            self.replay.push(&chunk);
        }
        self.waiting.push_back(chunk);
        if self.replay.is_discarded() && !was_discarded {
            self.count_held();
        }
        true
    }

    /// Frees the data kept for a retry. No further attempt may follow.
    pub(super) fn discard_replay(&mut self) {
        if !self.replay.is_discarded() {
            self.replay.discard();
            self.count_held();
        }
    }

    /// Returns to the budget what is no longer in memory.
    fn count_held(&mut self) {
        let waiting = self.waiting.iter().map(|chunk| chunk.len() as u64).sum();
        if let Some(share) = &mut self.share {
            share.give_back(share.held().saturating_sub(waiting));
        }
    }

    /// Sets the number of body bytes received but not yet read. Returns false if they exceed the budget.
    pub(super) fn set_unread(&mut self, bytes: u64) -> bool {
        self.share.as_mut().is_none_or(|share| share.set_unread(bytes))
    }

    /// Returns how many bytes the budget allows to be read. Frees the data kept for a retry before it returns 0: otherwise the
    /// upload could wait for its own bytes.
    fn readable(&mut self) -> usize {
        let readable = |share: &Option<BodyShare>| {
            share.as_ref().map_or(usize::MAX, |share| usize::try_from(share.readable()).unwrap_or(usize::MAX))
        };
        if readable(&self.share) == 0 {
            self.discard_replay();
        }
        readable(&self.share)
    }

    /// Counts bytes that the backend has taken. They stay in the budget while they are kept for a retry.
    fn on_taken(&mut self, bytes: usize) {
        self.taken += bytes as u64;
        if let Some(share) = self.share.as_mut().filter(|_| self.replay.is_discarded()) {
            share.give_back(bytes as u64);
        }
    }

    /// Records that the upload waits for the budget. Returns true if it was not waiting before; the caller must then list it.
    pub(super) fn on_capped(&mut self) -> bool {
        !std::mem::replace(&mut self.is_capped, true)
    }

    /// Records that the upload no longer waits for the budget.
    pub(super) fn on_uncapped(&mut self) {
        self.is_capped = false;
    }

    /// Returns whether the body can be sent again by another attempt.
    pub(super) fn sent(&self) -> Sent {
        if self.replay.is_discarded() { Sent::Gone } else { Sent::Replayable }
    }

    /// Restarts the upload from the beginning of the body.
    pub(super) fn rewind(&mut self) {
        if !self.is_absent {
            self.waiting = self.replay.rewind();
            self.is_sent = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spooky_lb::admit::BodyBudget;
    use std::sync::Arc;

    /// Another worker may use up the budget between the look at it and the read.
    #[test]
    fn a_chunk_that_no_longer_fits_displaces_what_is_kept_for_a_retry() {
        let budget = Arc::new(BodyBudget::new(100));
        let (mut upload, mut other) = (Upload::new(budget.open()), budget.open().unwrap());
        let chunk = |length| Bytes::from(vec![0; length]);
        assert!(upload.take(chunk(60), true));
        upload.waiting.clear();
        upload.on_taken(60);
        assert!(other.take(30));
        assert!(upload.take(chunk(20), true), "60 bytes are kept only for a retry");
        assert_eq!((budget.used(), upload.sent()), (30 + 20, Sent::Gone));
        assert!(!upload.take(chunk(51), true));
        assert_eq!(budget.used(), 30 + 20);
    }
}
