//! The connection: its state, how it begins and ends, and what its owner can ask of it at any time.
//!
//! What the peer sends is judged in `receive`, what the owner sends is framed in `send`.

use std::collections::VecDeque;

use super::{
    Code, Config, ConnectionError, Event, Output, StreamId,
    block::Block,
    flow::{DEFAULT_WINDOW, MAX_WINDOW, ReceiveWindow, SendWindow},
    frame::{self, MAX_MAX_FRAME_SIZE, MIN_MAX_FRAME_SIZE},
    guard::Guard,
    payload::Payload,
    settings::{self, PeerSettings},
    stream::{Response, Stream, Streams, Waiting},
};
use crate::hpack::{Decoder, Encoder};

/// Streams open at once, whatever the peer allows.
const MAX_STREAMS: u32 = 4096;
/// The largest stream identifier (RFC 9113 5.1.1).
const MAX_ID: u32 = 0x7fff_ffff;
/// Unsent bytes above which no stream is opened: its peer does not read.
pub(super) const MAX_BACKLOG: usize = 1024 * 1024;

/// Whether streams may still be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Yes.
    Open,
    /// The peer sent GOAWAY: it processes none above `last`.
    Leaving { last: u32 },
    /// This side sent GOAWAY.
    Closing,
    /// Nothing is read any more.
    Failed(ConnectionError),
}

/// A change of `SETTINGS_INITIAL_WINDOW_SIZE` that was sent (RFC 9113 6.9.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowChange {
    /// By how much the windows of open streams become smaller when it is acknowledged: negative, or 0.
    pub(super) delta: i64,
    /// Streams below this number were open before.
    pub(super) before: u32,
}

/// What a frame leads to.
pub(super) type Step = Result<Option<Event>, ConnectionError>;

/// A connection to an HTTP/2 server.
#[derive(Debug)]
pub struct Client {
    pub(super) config: Config,
    pub(super) phase: Phase,
    pub(super) peer: PeerSettings,
    pub(super) settings_acked: bool,
    /// The change of the initial window that the peer has not acknowledged.
    pub(super) window_change: Option<WindowChange>,
    pub(super) output: Output,
    pub(super) encoder: Encoder,
    pub(super) decoder: Decoder,
    pub(super) streams: Streams,
    /// The next stream's number.
    pub(super) next_id: u32,
    pub(super) send_window: SendWindow,
    pub(super) receive_window: ReceiveWindow,
    /// The DATA frame whose payload is coming in.
    pub(super) payload: Option<Payload>,
    /// The field block whose pieces are coming in.
    pub(super) block: Option<Block>,
    /// Streams in [`Waiting::Turn`], the longest waiting first.
    pub(super) turns: VecDeque<StreamId>,
    /// Streams that GOAWAY excluded and that the owner has yet to hear of.
    pub(super) excluded: Vec<StreamId>,
    pub(super) guard: Guard,
}

impl Client {
    /// A connection whose preface, SETTINGS and window are queued. Requests may be sent at once.
    pub fn new(config: &Config) -> Self {
        let mut config = config.clone();
        config.initial_stream_window = config.initial_stream_window.min(MAX_WINDOW);
        config.connection_window = config.connection_window.clamp(DEFAULT_WINDOW, MAX_WINDOW);
        config.max_frame_size = config.max_frame_size.clamp(MIN_MAX_FRAME_SIZE, MAX_MAX_FRAME_SIZE);
        let mut output = Output::default();
        output.tail().extend_from_slice(frame::PREFACE);
        settings::put(output.tail(), &config);
        if config.connection_window > DEFAULT_WINDOW {
            frame::put_window_update(output.tail(), 0, config.connection_window - DEFAULT_WINDOW);
        }
        Self {
            phase: Phase::Open,
            peer: PeerSettings::default(),
            settings_acked: false,
            window_change: None,
            output,
            encoder: Encoder::new(),
            decoder: Decoder::new(config.header_table_size),
            streams: Streams::new(),
            next_id: 1,
            send_window: SendWindow::new(DEFAULT_WINDOW),
            receive_window: ReceiveWindow::new(config.connection_window),
            payload: None,
            block: None,
            turns: VecDeque::new(),
            excluded: Vec::new(),
            guard: Guard::default(),
            config,
        }
    }

    /// Whether the peer's first SETTINGS came.
    #[cfg(test)]
    pub(super) fn is_ready(&self) -> bool {
        self.peer.received
    }

    /// Whether no further stream can ever be opened: GOAWAY, failure, or all numbers used.
    pub fn is_closing(&self) -> bool {
        self.phase != Phase::Open || self.next_id > MAX_ID
    }

    /// Whether the peer takes extended CONNECT (RFC 8441 3).
    #[cfg(test)]
    pub(super) fn extended_connect(&self) -> bool {
        self.peer.extended_connect
    }

    /// How many more streams may be opened now.
    pub fn capacity(&self) -> usize {
        if self.is_closing() || self.output.len() > MAX_BACKLOG {
            return 0;
        }
        let numbers = (MAX_ID - self.next_id) / 2 + 1;
        (self.max_streams() as usize).saturating_sub(self.streams.len()).min(numbers as usize)
    }

    /// Number of open streams.
    pub fn active(&self) -> usize {
        self.streams.len()
    }

    /// The open streams: the owner's number, the stream, and whether a response head came. For when the connection dies.
    pub fn tags(&self) -> impl Iterator<Item = (u64, StreamId, bool)> {
        self.streams.iter().map(|stream| (stream.tag, stream.id, !matches!(stream.response, Response::Head { .. })))
    }

    /// What is to be written to the socket. After a write that emptied it call [`Client::recv`] again, even with no input:
    /// a stream may have waited for room.
    pub fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    /// The owner's clock moved on, by its keep-alive interval or so: the limit on frames that bring nothing counts anew.
    pub fn tick(&mut self) {
        self.guard.progress();
    }

    /// Ends the stream. Does nothing if it is gone.
    pub fn reset(&mut self, id: StreamId, code: Code) {
        if let Some(stream) = self.remove(id) {
            frame::put_reset(self.output.tail(), id.0, code);
            if !matches!(stream.response, Response::Done) {
                self.guard.expect_stray(stream.receive_window.left());
            }
        }
    }

    /// Ends a stream for a fault of the peer.
    pub(super) fn malformed(&mut self, id: StreamId, code: Code, reason: &'static str) -> Option<Event> {
        let tag = self.streams.get(id)?.tag;
        self.reset(id, code);
        Some(Event::Malformed { tag, id, reason })
    }

    /// The owner consumed `n` bytes of the response body: the peer may send as many more.
    pub fn release(&mut self, id: StreamId, n: usize) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if matches!(stream.response, Response::Done) {
            return;
        }
        let fits = stream.rest_fits();
        if let Some(increment) = stream.receive_window.give_back(u32::try_from(n).unwrap_or(u32::MAX), fits) {
            frame::put_window_update(self.output.tail(), id.0, increment);
        }
    }

    /// The stream's window shall have `size` bytes from now on: those that the peer may send and those that were not
    /// released. It grows at once, and shrinks as bytes are released.
    pub fn resize(&mut self, id: StreamId, size: u32) {
        let Some(stream) = self.streams.get_mut(id).filter(|stream| !matches!(stream.response, Response::Done)) else {
            return;
        };
        let fits = stream.rest_fits();
        if let Some(increment) = stream.receive_window.resize(size, fits) {
            frame::put_window_update(self.output.tail(), id.0, increment);
        }
    }

    /// Streams begin with this window from now on; those that are open grow or shrink by the difference (RFC 9113 6.9.2).
    /// Returns false and does nothing while the peer has not acknowledged the SETTINGS that were sent before.
    pub fn set_initial_stream_window(&mut self, size: u32) -> bool {
        let size = size.min(MAX_WINDOW);
        let delta = i64::from(size) - i64::from(self.config.initial_stream_window);
        if delta == 0 {
            return true;
        }
        if !self.settings_acked || self.window_change.is_some() {
            return false;
        }
        settings::put_initial_window(self.output.tail(), size);
        self.config.initial_stream_window = size;
        // The peer may use a larger window before its acknowledgement is here, and what it sent before a smaller one too.
        self.streams.iter_mut().for_each(|stream| stream.receive_window.shift(delta.max(0)));
        self.window_change = Some(WindowChange { delta: delta.min(0), before: self.next_id });
        true
    }

    /// The peer has acknowledged a change of the initial window.
    pub(super) fn apply_window_change(&mut self, change: WindowChange) {
        for stream in self.streams.iter_mut().filter(|stream| stream.id.0 < change.before) {
            stream.receive_window.shift(change.delta);
            let fits = stream.rest_fits();
            if !matches!(stream.response, Response::Done)
                && let Some(increment) = stream.receive_window.give_back(0, fits)
            {
                frame::put_window_update(self.output.tail(), stream.id.0, increment);
            }
        }
    }

    /// Queues a PING; the answer is [`Event::Pong`] with the same payload.
    pub fn ping(&mut self, payload: u64) {
        frame::put_ping(self.output.tail(), false, payload);
    }

    /// Queues GOAWAY and opens no more streams. Those that are open go on, if the owner lets them.
    pub fn go_away(&mut self, code: Code) {
        if matches!(self.phase, Phase::Open | Phase::Leaving { .. }) {
            frame::put_go_away(self.output.tail(), code);
            self.phase = Phase::Closing;
        }
    }

    /// Streams that may be open at once.
    pub(super) fn max_streams(&self) -> u32 {
        self.peer.max_streams.min(MAX_STREAMS)
    }

    /// Takes a stream out of all tables.
    pub(super) fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let stream = self.streams.remove(id)?;
        if stream.waiting == Waiting::Turn {
            self.turns.retain(|turn| *turn != id);
        }
        Some(stream)
    }

    /// Whether the number is of a stream that was never opened (RFC 9113 5.1.1).
    pub(super) fn is_idle(&self, number: u32) -> bool {
        number.is_multiple_of(2) || number >= self.next_id
    }
}
