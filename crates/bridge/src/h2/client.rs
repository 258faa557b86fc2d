//! The connection: its state, its start and end, and the operations of its owner.
//!
//! `receive` handles what the peer sends, `send` frames what the owner sends.

use std::collections::VecDeque;

use super::{
    Code, Config, ConnectionError, Event, StreamId,
    block::FieldBlock,
    flood::FloodLimits,
    flow::{DEFAULT_WINDOW, MAX_WINDOW, ReceiveWindow, SendWindow},
    frame::{self, MAX_MAX_FRAME_SIZE, MIN_MAX_FRAME_SIZE},
    payload::Payload,
    settings::{self, PeerSettings},
    stream::{Response, SendWait, Stream, Streams},
};
use crate::{
    WriteBuffer,
    hpack::{Decoder, Encoder},
};

/// Maximum number of open streams, whatever the peer allows.
const MAX_STREAMS: u32 = 4096;
/// The largest stream identifier (RFC 9113 5.1.1).
const MAX_ID: u32 = 0x7fff_ffff;
/// Unsent bytes above which no stream is opened, because the peer does not read.
pub(super) const MAX_BACKLOG: usize = 1024 * 1024;

/// Whether new streams may be opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConnectionState {
    Open,
    /// The peer sent GOAWAY and processes no stream above `last`.
    PeerGoAway {
        last: u32,
    },
    LocalGoAway,
    /// Input is no longer read.
    Failed(ConnectionError),
}

/// A sent change of `SETTINGS_INITIAL_WINDOW_SIZE` (RFC 9113 6.9.2).
#[derive(Clone, Copy, Debug)]
pub(super) struct WindowChange {
    /// Change of the windows of open streams when the peer acknowledges it: negative, or 0.
    pub(super) delta: i64,
    /// Streams below this identifier were open before the change.
    pub(super) before: u32,
}

pub(super) type FrameResult = Result<Option<Event>, ConnectionError>;

/// A connection to an HTTP/2 server.
#[derive(Debug)]
pub struct Client {
    pub(super) config: Config,
    pub(super) state: ConnectionState,
    pub(super) peer: PeerSettings,
    pub(super) settings_acked: bool,
    /// The change of the initial window that the peer has not acknowledged yet.
    pub(super) window_change: Option<WindowChange>,
    pub(super) output: WriteBuffer,
    pub(super) encoder: Encoder,
    pub(super) decoder: Decoder,
    pub(super) streams: Streams,
    pub(super) next_id: u32,
    pub(super) send_window: SendWindow,
    pub(super) receive_window: ReceiveWindow,
    /// The DATA frame whose payload is incomplete.
    pub(super) payload: Option<Payload>,
    /// The field block that is incomplete.
    pub(super) block: Option<FieldBlock>,
    /// Streams in [`SendWait::Queued`], longest waiting first.
    pub(super) send_queue: VecDeque<StreamId>,
    /// Streams above the last one of GOAWAY, not yet reported as [`Event::Reset`].
    pub(super) unprocessed_streams: Vec<StreamId>,
    pub(super) flood: FloodLimits,
}

impl Client {
    /// Creates a connection and queues its preface, SETTINGS and connection window. Requests may be sent at once.
    pub fn new(config: &Config) -> Self {
        let mut config = config.clone();
        config.initial_stream_window = config.initial_stream_window.min(MAX_WINDOW);
        config.connection_window = config.connection_window.clamp(DEFAULT_WINDOW, MAX_WINDOW);
        config.max_frame_size = config.max_frame_size.clamp(MIN_MAX_FRAME_SIZE, MAX_MAX_FRAME_SIZE);
        let mut output = WriteBuffer::default();
        output.tail().extend_from_slice(frame::PREFACE);
        settings::put(output.tail(), &config);
        if config.connection_window > DEFAULT_WINDOW {
            frame::put_window_update(output.tail(), 0, config.connection_window - DEFAULT_WINDOW);
        }
        Self {
            state: ConnectionState::Open,
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
            send_queue: VecDeque::new(),
            unprocessed_streams: Vec::new(),
            flood: FloodLimits::default(),
            config,
        }
    }

    #[cfg(test)]
    pub(super) fn is_ready(&self) -> bool {
        self.peer.received
    }

    /// Returns whether no stream can be opened any more: GOAWAY, connection error, or all identifiers used.
    pub fn is_closing(&self) -> bool {
        self.state != ConnectionState::Open || self.next_id > MAX_ID
    }

    #[cfg(test)]
    pub(super) fn extended_connect(&self) -> bool {
        self.peer.extended_connect
    }

    /// Returns how many more streams may be opened now.
    pub fn capacity(&self) -> usize {
        if self.is_closing() || self.output.len() > MAX_BACKLOG {
            return 0;
        }
        let numbers = (MAX_ID - self.next_id) / 2 + 1;
        (self.max_streams() as usize).saturating_sub(self.streams.len()).min(numbers as usize)
    }

    /// Returns the number of open streams.
    pub fn active(&self) -> usize {
        self.streams.len()
    }

    /// Returns tag and id of each open stream, and whether its response head has arrived.
    pub fn open_streams(&self) -> impl Iterator<Item = (u64, StreamId, bool)> {
        self.streams.iter().map(|stream| (stream.tag, stream.id, !matches!(stream.response, Response::Head { .. })))
    }

    /// Returns the bytes to write to the socket. After a write that emptied it the caller must call [`Client::recv`]
    /// again, even without input, because a stream may have waited for space in it.
    pub fn output(&mut self) -> &mut WriteBuffer {
        &mut self.output
    }

    /// Resets the count of useless frames. The owner must call it periodically, for example at its keep-alive interval.
    pub fn tick(&mut self) {
        self.flood.progress();
    }

    /// Resets the stream. Does nothing if it is closed.
    pub fn reset(&mut self, id: StreamId, code: Code) {
        if let Some(stream) = self.remove(id) {
            frame::put_reset(self.output.tail(), id.0, code);
            if !matches!(stream.response, Response::Done) {
                self.flood.expect_late_data(stream.receive_window.left());
            }
        }
    }

    /// Resets a stream because of an error of the peer.
    pub(super) fn malformed(&mut self, id: StreamId, code: Code, reason: &'static str) -> Option<Event> {
        let tag = self.streams.get(id)?.tag;
        self.reset(id, code);
        Some(Event::Malformed { tag, id, reason })
    }

    /// Restores `n` bytes of the stream's window after the owner has consumed that much of the response body.
    pub fn release(&mut self, id: StreamId, n: usize) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if matches!(stream.response, Response::Done) {
            return;
        }
        let fits = stream.window_covers_rest();
        if let Some(increment) = stream.receive_window.release(u32::try_from(n).unwrap_or(u32::MAX), fits) {
            frame::put_window_update(self.output.tail(), id.0, increment);
        }
    }

    /// Sets the size of the stream's window: bytes that the peer may send plus bytes not released yet. It grows at once
    /// and shrinks as bytes are released.
    pub fn set_stream_window(&mut self, id: StreamId, size: u32) {
        let Some(stream) = self.streams.get_mut(id).filter(|stream| !matches!(stream.response, Response::Done)) else {
            return;
        };
        let fits = stream.window_covers_rest();
        if let Some(increment) = stream.receive_window.resize(size, fits) {
            frame::put_window_update(self.output.tail(), id.0, increment);
        }
    }

    /// Sets the initial window of new streams; open streams grow or shrink by the difference (RFC 9113 6.9.2). Returns
    /// false, changing nothing, while an earlier SETTINGS frame is not acknowledged.
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
        // The peer may use a larger window before its acknowledgement arrives, and what it sent before a reduction is
        // still allowed.
        self.streams.iter_mut().for_each(|stream| stream.receive_window.shift(delta.max(0)));
        self.window_change = Some(WindowChange { delta: delta.min(0), before: self.next_id });
        true
    }

    pub(super) fn apply_window_change(&mut self, change: WindowChange) {
        for stream in self.streams.iter_mut().filter(|stream| stream.id.0 < change.before) {
            stream.receive_window.shift(change.delta);
            let fits = stream.window_covers_rest();
            if !matches!(stream.response, Response::Done)
                && let Some(increment) = stream.receive_window.release(0, fits)
            {
                frame::put_window_update(self.output.tail(), stream.id.0, increment);
            }
        }
    }

    /// Queues a PING. [`Event::Pong`] reports its acknowledgement.
    pub fn ping(&mut self, payload: u64) {
        frame::put_ping(self.output.tail(), false, payload);
    }

    /// Queues GOAWAY and opens no more streams. Open streams continue.
    pub fn go_away(&mut self, code: Code) {
        if matches!(self.state, ConnectionState::Open | ConnectionState::PeerGoAway { .. }) {
            frame::put_go_away(self.output.tail(), code);
            self.state = ConnectionState::LocalGoAway;
        }
    }

    pub(super) fn max_streams(&self) -> u32 {
        self.peer.max_streams.min(MAX_STREAMS)
    }

    pub(super) fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let stream = self.streams.remove(id)?;
        if stream.waiting == SendWait::Queued {
            self.send_queue.retain(|queued| *queued != id);
        }
        Some(stream)
    }

    /// Returns whether no stream with this identifier was opened (RFC 9113 5.1.1).
    pub(super) fn is_idle(&self, number: u32) -> bool {
        number.is_multiple_of(2) || number >= self.next_id
    }
}
