//! The connection as both roles have it: its state, and the operations of its owner.
//!
//! `receive` handles what the peer sends, `send` frames what the owner sends. `client` and `server` add what only one
//! role does, through [`Role`].

use std::collections::VecDeque;

use super::{
    Code, Config, ConnectionError, StreamId,
    block::{Block, FieldBlock},
    event::CoreEvent,
    flood::{FloodLimits, Resetter},
    flow::{DEFAULT_WINDOW, MAX_WINDOW, ReceiveWindow, SendWindow},
    frame::{self, MAX_MAX_FRAME_SIZE, MIN_MAX_FRAME_SIZE},
    payload::Payload,
    settings::{self, PeerSettings},
    stream::{RecvState, SendState, SendWait, Stream, Streams},
};
use crate::{
    FramePosition, WriteBuffer,
    hpack::{Decoder, Encoder},
};

/// Memory that the output of a client's connection keeps while it is empty. Most of them are idle.
const IDLE_OUTPUT: usize = 4096;

/// The role of one side of a connection.
pub trait Role: Sized {
    /// What the connection reports to its owner.
    type Event;

    /// This side accepts streams and never opens one; the client does the opposite, as push is not used.
    const IS_SERVER: bool;

    /// Smaller pieces of a body are copied out of the read buffer, because a slice would keep all of it in memory.
    const COPY_BELOW: usize;

    /// Converts an event of the shared code. `None` if it means nothing in this role.
    fn event(event: CoreEvent) -> Option<Self::Event>;

    /// Handles a stream whose response has ended before its request. Only a server has such streams.
    fn on_unwanted_upload(_: &mut Connection<Self>, _: StreamId) {}

    /// Handles a complete field block. Must decode it even if its stream is closed, because the dynamic table depends
    /// on it.
    fn on_block(connection: &mut Connection<Self>, stream: u32, end: bool, block: Block<'_>) -> EventResult<Self>;
}

/// The next event of a role, if any.
pub(super) type EventResult<R> = Result<Option<<R as Role>::Event>, ConnectionError>;

/// An HTTP/2 connection in one of its roles: [`super::Client`] or [`super::Server`].
#[derive(Debug)]
pub struct Connection<R> {
    pub(super) role: R,
    pub(super) config: Config,
    /// After a connection error, input is no longer read.
    pub(super) failed: Option<ConnectionError>,
    pub(super) peer: PeerSettings,
    pub(super) settings_acked: bool,
    /// The reduction of the initial window, negative or 0, that the peer has not acknowledged yet (RFC 9113 6.9.2).
    pub(super) window_change: Option<i64>,
    pub(super) output: WriteBuffer,
    pub(super) encoder: Encoder,
    pub(super) decoder: Decoder,
    pub(super) streams: Streams,
    /// Lowest identifier that the client may still use.
    pub(super) next_id: u32,
    pub(super) send_window: SendWindow,
    pub(super) receive_window: ReceiveWindow,
    /// The DATA frame whose payload is incomplete.
    pub(super) payload: Option<Payload>,
    /// The field block that is incomplete.
    pub(super) block: Option<FieldBlock>,
    /// Frames read so far. A field block counts once, with its last frame.
    pub(super) frames: u64,
    /// Streams in [`SendWait::Queued`], longest waiting first.
    pub(super) send_queue: VecDeque<StreamId>,
    /// The last stream of the GOAWAY received.
    pub(super) goaway_received: Option<u32>,
    /// The last stream of the GOAWAY sent.
    pub(super) goaway_sent: Option<u32>,
    /// Streams of this side above the last one of GOAWAY, not yet reported as reset.
    pub(super) unprocessed_streams: Vec<StreamId>,
    pub(super) flood: FloodLimits,
    /// The last HEADERS or DATA frame.
    pub(super) last_frame: Option<(StreamId, FramePosition)>,
}

impl<R: Role> Connection<R> {
    /// Creates a connection whose output contains only `preface`. The caller must queue SETTINGS next.
    pub(super) fn with_role(role: R, config: Config, flood: FloodLimits, preface: &[u8]) -> Self {
        let mut output = if R::IS_SERVER { WriteBuffer::keeping(IDLE_OUTPUT) } else { WriteBuffer::default() };
        output.tail().extend_from_slice(preface);
        Self {
            role,
            failed: None,
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
            frames: 0,
            send_queue: VecDeque::new(),
            goaway_received: None,
            goaway_sent: None,
            unprocessed_streams: Vec::new(),
            flood,
            last_frame: None,
            config,
        }
    }

    /// Queues the first SETTINGS and the window of the connection.
    pub(super) fn put_opening(&mut self, settings: &[(u16, u32)]) {
        settings::put(self.output.tail(), &self.config, settings);
        if self.config.connection_window > DEFAULT_WINDOW {
            frame::put_window_update(self.output.tail(), 0, self.config.connection_window - DEFAULT_WINDOW);
        }
    }

    /// Returns the number of open streams.
    pub fn active(&self) -> usize {
        self.streams.len()
    }

    /// Returns the bytes to write to the socket. After a write that emptied it the caller must call `recv` again, even
    /// without input, because a stream may have waited for space in it.
    pub fn output(&mut self) -> &mut WriteBuffer {
        &mut self.output
    }

    /// Resets the stream. Does nothing if it is closed.
    pub fn reset(&mut self, id: StreamId, code: Code) {
        if let Some(stream) = self.remove(id) {
            frame::put_reset(self.output.tail(), id.0, code);
            if !matches!(stream.recv, RecvState::Done) {
                self.flood.reset_sent(stream.receive_window.left());
            }
        }
    }

    /// Answers a frame on a closed stream. After its own reset the peer must not send one (RFC 9113 5.1).
    pub(super) fn on_late_frame(&mut self, id: StreamId, resetter: Resetter) {
        if resetter == Resetter::Peer {
            frame::put_reset(self.output.tail(), id.0, Code::STREAM_CLOSED);
        }
    }

    /// Resets a stream because of an error of the peer.
    pub(super) fn malformed(&mut self, id: StreamId, code: Code, reason: &'static str) -> EventResult<R> {
        let Some(stream) = self.streams.get(id) else { return Ok(None) };
        let tag = stream.tag;
        self.reset(id, code);
        self.flood.request_aborted()?;
        Ok(R::event(CoreEvent::Malformed { tag, id, reason }))
    }

    /// Restores `n` bytes of the stream's window after the owner has consumed that much of the body.
    pub fn release(&mut self, id: StreamId, n: usize) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        if matches!(stream.recv, RecvState::Done | RecvState::Unwanted) {
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
        let Some(stream) = self.streams.get_mut(id).filter(|stream| !matches!(stream.recv, RecvState::Done)) else {
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
        self.window_change = Some(delta.min(0));
        true
    }

    /// Returns the receive window of a new stream. The peer may use the larger one while a reduction is not
    /// acknowledged.
    pub(super) fn new_receive_window(&self) -> ReceiveWindow {
        let mut window = ReceiveWindow::new(self.config.initial_stream_window);
        window.shift(-self.window_change.unwrap_or(0));
        window
    }

    /// Reduces the windows of all streams by an acknowledged change. Streams that the peer opens later do not have it.
    pub(super) fn apply_window_change(&mut self, delta: i64) {
        for stream in self.streams.iter_mut() {
            stream.receive_window.shift(delta);
            let fits = stream.window_covers_rest();
            if !matches!(stream.recv, RecvState::Done)
                && let Some(increment) = stream.receive_window.release(0, fits)
            {
                frame::put_window_update(self.output.tail(), stream.id.0, increment);
            }
        }
    }

    /// Queues a PING. An event reports its acknowledgement.
    pub fn ping(&mut self, payload: u64) {
        frame::put_ping(self.output.tail(), false, payload);
    }

    /// Queues GOAWAY with the last stream that this side accepts. It never rises (RFC 9113 6.8).
    pub(super) fn put_go_away(&mut self, last: u32, code: Code) {
        let last = self.goaway_sent.map_or(last, |sent| sent.min(last));
        frame::put_go_away(self.output.tail(), last, code);
        self.goaway_sent = Some(last);
    }

    /// Returns the highest stream of the peer that this side has processed.
    pub(super) fn last_peer_stream(&self) -> u32 {
        if R::IS_SERVER { self.next_id.saturating_sub(2) } else { 0 }
    }

    pub(super) fn remove(&mut self, id: StreamId) -> Option<Stream> {
        let stream = self.streams.remove(id)?;
        if stream.waiting == SendWait::Queued {
            self.send_queue.retain(|queued| *queued != id);
        }
        Some(stream)
    }

    /// Notes that `END_STREAM` was received. The message is complete.
    pub(super) fn finish_recv(&mut self, id: StreamId) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.recv = RecvState::Done;
            if stream.send == SendState::Done {
                self.remove(id);
            }
        }
    }

    /// Notes that `END_STREAM` was sent. A server drops what follows of an upload that goes on, except in a tunnel, whose
    /// directions end one by one (RFC 9113 8.1).
    pub(super) fn finish_send(&mut self, id: StreamId) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.send = SendState::Done;
        match stream.recv {
            RecvState::Done => drop(self.remove(id)),
            RecvState::Tunnel => {}
            _ if R::IS_SERVER => {
                stream.recv = RecvState::Unwanted;
                R::on_unwanted_upload(self, id);
            }
            _ => {}
        }
    }

    /// Returns the memory that the connection holds.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let queues = self.send_queue.capacity() + self.unprocessed_streams.capacity();
        let block = self.block.as_ref().map_or(0, FieldBlock::held);
        size_of::<Self>()
            + self.streams.held()
            + self.encoder.held()
            + self.decoder.held()
            + queues * size_of::<StreamId>()
            + self.output.held()
            + block
    }

    /// Returns whether no stream with this identifier was opened (RFC 9113 5.1.1).
    pub(super) fn is_idle(&self, number: u32) -> bool {
        number.is_multiple_of(2) || number >= self.next_id
    }
}

/// Brings the limits into the ranges of the RFC.
pub(super) fn clamp(mut config: Config) -> Config {
    config.initial_stream_window = config.initial_stream_window.min(MAX_WINDOW);
    config.connection_window = config.connection_window.clamp(DEFAULT_WINDOW, MAX_WINDOW);
    config.max_frame_size = config.max_frame_size.clamp(MIN_MAX_FRAME_SIZE, MAX_MAX_FRAME_SIZE);
    config
}
