//! One HTTP/1.1 connection: a socket and the `h1::Client` state machine. It carries one request at a time.
//!
//! The window of a response bounds the bytes that were delivered and not released: at the window, the connection stops
//! reading, and TCP holds back the peer.

use std::{
    collections::VecDeque,
    io,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{BufMut as _, Bytes, BytesMut};
use spooky_bridge::{
    h1::{Client, ClientConfig, ConnectionError, Event},
    message::{Fields, Known, Protocol, RequestHead},
};

use crate::{
    counters::Counters,
    failure::{FailureKind, Processed},
    handle::RequestHandle,
    options::Options,
    queued::QueuedEvent,
    socket::Socket,
};

use super::{
    open_error::OpenError,
    outgoing::Outgoing,
    read_size::ReadSize,
    state::{Due, Phase, READ_BUDGET, ReadEnd},
};

/// Identifies a request on its connection. Numbers repeat after 2^32 requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct H1Stream(u32);

/// Time before the end of the peer's idle timeout at which the connection is closed, so that no request is sent on it while
/// the peer is closing it.
const PEER_MARGIN: Duration = Duration::from_secs(1);

/// What became of the writing side of the socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WriteSide {
    Open,
    /// A tunnel has ended in this direction: shut down once the output is written.
    Ending,
    ShutDown,
}

pub(crate) struct H1Connection {
    socket: Socket,
    client: Client,
    stream: H1Stream,
    inbound: BytesMut,
    read_size: ReadSize,
    /// Window of responses that were not resized.
    initial_window: usize,
    /// Window of the response.
    window: usize,
    /// Bytes of the response that were delivered and not released.
    unreleased: usize,
    /// Reading has stopped because of the window.
    is_paused: bool,
    pub(crate) phase: Phase,
    /// Whether the connection is in the idle pool of its origin.
    pub(crate) is_pooled: bool,
    /// A response head has arrived.
    has_answered: bool,
    /// The peer failed before its first response head.
    is_refuted: bool,
    /// The peer has ended its side.
    is_eof: bool,
    /// The request was reset before it was complete.
    is_aborted: bool,
    write_side: WriteSide,
    outgoing: Outgoing,
    last_used: Instant,
    /// How long the peer keeps the connection idle, as far as it says so.
    peer_idle_timeout: Option<Duration>,
}

impl H1Connection {
    pub(crate) fn new(socket: Socket, config: ClientConfig, window: u32, now: Instant) -> Self {
        Self {
            socket,
            client: Client::new(&config),
            stream: H1Stream(0),
            inbound: BytesMut::new(),
            read_size: ReadSize::default(),
            initial_window: window as usize,
            window: 0,
            unreleased: 0,
            is_paused: false,
            phase: Phase::Open,
            is_pooled: false,
            has_answered: false,
            is_refuted: false,
            is_eof: false,
            is_aborted: false,
            write_side: WriteSide::Open,
            outgoing: Outgoing::default(),
            last_used: now,
            peer_idle_timeout: None,
        }
    }

    pub(crate) fn open(
        &mut self,
        head: &RequestHead,
        end: bool,
        handle: RequestHandle,
        now: Instant,
    ) -> Result<(H1Stream, u64), OpenError> {
        self.client.send_request(head, end, handle.to_bits())?;
        self.stream.0 = self.stream.0.wrapping_add(1);
        (self.window, self.unreleased) = (self.initial_window, 0);
        (self.is_pooled, self.is_paused) = (false, false);
        self.last_used = now;
        Ok((self.stream, self.outgoing.written()))
    }

    pub(crate) fn has_output(&mut self) -> bool {
        self.outgoing.is_unflushed() || !self.client.output().is_empty() || self.write_side == WriteSide::Ending
    }

    pub(crate) fn is_unsent(&self, at: u64) -> bool {
        self.outgoing.written() <= at
    }

    pub(crate) fn active(&self) -> usize {
        usize::from(self.client.active().is_some())
    }

    pub(crate) fn requests(&self) -> Vec<RequestHandle> {
        self.client.active().map(RequestHandle::from_bits).into_iter().collect()
    }

    /// Returns whether the peer failed before its first response head, so that it may speak another protocol.
    pub(crate) fn is_refuted(&self) -> bool {
        self.is_refuted
    }

    pub(crate) fn want_send(&mut self, stream: H1Stream) -> usize {
        if stream == self.stream { self.client.want_send() } else { 0 }
    }

    pub(crate) fn send_data(&mut self, stream: H1Stream, data: &mut Bytes, end: bool) -> usize {
        if stream != self.stream {
            let all = data.len();
            data.clear();
            return all;
        }
        let taken = self.client.send_data(data, end);
        self.after_send();
        taken
    }

    pub(crate) fn send_trailers(&mut self, stream: H1Stream, fields: &Fields) -> bool {
        let is_sent = stream != self.stream || self.client.send_trailers(fields);
        self.after_send();
        is_sent
    }

    fn after_send(&mut self) {
        if self.client.wants_shutdown() && self.write_side == WriteSide::Open {
            self.write_side = WriteSide::Ending;
        }
        self.update_phase();
    }

    pub(crate) fn release(&mut self, stream: H1Stream, bytes: usize) {
        if stream == self.stream {
            self.unreleased = self.unreleased.saturating_sub(bytes);
        }
    }

    pub(crate) fn resize(&mut self, stream: H1Stream, bytes: u32) {
        if stream == self.stream {
            self.window = bytes as usize;
        }
    }

    pub(crate) fn set_initial_window(&mut self, bytes: u32) {
        if self.window == self.initial_window {
            self.window = bytes as usize;
        }
        self.initial_window = bytes as usize;
    }

    /// Returns whether reading continues because the window has opened. The caller must then read.
    pub(crate) fn resumes_reading(&mut self) -> bool {
        let resumes = self.is_paused && self.unreleased <= self.window / 2;
        self.is_paused &= !resumes;
        resumes
    }

    /// Ends the request before it is complete. The connection cannot be used further.
    pub(crate) fn reset(&mut self, stream: H1Stream) -> bool {
        if stream != self.stream || self.client.active().is_none() {
            return false;
        }
        self.client.reset();
        self.is_aborted = true;
        self.phase = Phase::Retiring;
        true
    }

    pub(crate) fn read(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        events: &mut VecDeque<QueuedEvent>,
        counters: &mut Counters,
    ) -> Result<ReadEnd, FailureKind> {
        let mut budget = READ_BUDGET;
        loop {
            if self.is_eof {
                return Ok(ReadEnd::Drained);
            }
            if self.client.active().is_none() {
                return self.read_idle(cx);
            }
            // Small reads cost more than a moment's wait for more credit.
            let room = self.window.saturating_sub(self.unreleased);
            if room < (self.window / 8).max(1) {
                self.is_paused = true;
                return Ok(ReadEnd::Drained);
            }
            let room = self.read_size.get().min(room);
            if self.inbound.capacity() - self.inbound.len() < room {
                self.inbound.reserve(room);
            }
            let n = match self.socket.poll_read(cx, &mut (&mut self.inbound).limit(room)) {
                Poll::Pending => return Ok(ReadEnd::Drained),
                Poll::Ready(Ok(0)) => return self.on_eof(events),
                Poll::Ready(Ok(n)) => n,
                Poll::Ready(Err(error)) => return Err(self.on_loss(error.kind())),
            };
            counters.bytes_read += n as u64;
            self.last_used = now;
            self.read_size.adapt(n, room);
            self.process_input(events)?;
            budget = budget.saturating_sub(n);
            if budget == 0 {
                return Ok(ReadEnd::More);
            }
        }
    }

    /// Waits for the end of an idle connection. Bytes on it would be read as the response to the next request.
    fn read_idle(&mut self, cx: &mut Context<'_>) -> Result<ReadEnd, FailureKind> {
        if self.phase != Phase::Open {
            return Ok(ReadEnd::Drained);
        }
        let mut unsolicited = [0; 1];
        match self.socket.poll_read(cx, &mut unsolicited.as_mut_slice()) {
            Poll::Pending => Ok(ReadEnd::Drained),
            Poll::Ready(Ok(0)) => Err(FailureKind::ConnectionLost(io::ErrorKind::UnexpectedEof)),
            Poll::Ready(Ok(_)) => Err(FailureKind::ConnectionLost(io::ErrorKind::InvalidData)),
            Poll::Ready(Err(error)) => Err(FailureKind::ConnectionLost(error.kind())),
        }
    }

    /// Handles the end of the input, which completes some responses and the peer's side of a tunnel.
    fn on_eof(&mut self, events: &mut VecDeque<QueuedEvent>) -> Result<ReadEnd, FailureKind> {
        self.is_eof = true;
        match self.client.on_eof(true) {
            Some(event) => {
                self.queue(event, events);
                self.update_phase();
                Ok(ReadEnd::Drained)
            }
            None => Err(self.on_loss(io::ErrorKind::UnexpectedEof)),
        }
    }

    fn on_loss(&mut self, kind: io::ErrorKind) -> FailureKind {
        self.is_refuted |= !self.has_answered;
        FailureKind::ConnectionLost(kind)
    }

    /// Frees the read buffer, unless it contains part of a message.
    pub(crate) fn free_unused(&mut self) {
        if self.inbound.is_empty() {
            (self.inbound, self.read_size) = (BytesMut::new(), ReadSize::default());
        }
    }

    /// Runs the state machine, after a read or after a write has freed output space.
    pub(crate) fn process_input(&mut self, events: &mut VecDeque<QueuedEvent>) -> Result<(), FailureKind> {
        while let Some(event) = self.client.recv(&mut self.inbound).map_err(|error| match error {
            ConnectionError::UnsolicitedBytes => FailureKind::ConnectionLost(io::ErrorKind::InvalidData),
            ConnectionError::WrongRequestLength => FailureKind::ConnectionLost(io::ErrorKind::InvalidInput),
        })? {
            self.queue(event, events);
        }
        self.update_phase();
        Ok(())
    }

    /// Retires the connection after the last exchange, and frees the buffer of one that becomes idle.
    fn update_phase(&mut self) {
        if self.client.is_closing() {
            self.phase = Phase::Retiring;
        } else if self.client.active().is_none() {
            // The response came before the peer has read the request: it may never read the rest.
            if !self.client.output().is_empty() {
                self.client.reset();
                self.is_aborted = true;
                self.phase = Phase::Retiring;
            }
            self.free_unused();
        }
    }

    fn queue(&mut self, event: Event, events: &mut VecDeque<QueuedEvent>) {
        let protocol = Protocol::Http1;
        let handle = RequestHandle::from_bits;
        events.push_back(match event {
            Event::Informational { tag, head } => QueuedEvent::Informational { handle: handle(tag), protocol, head },
            Event::Head { tag, head, end } => {
                self.has_answered = true;
                self.peer_idle_timeout = keep_alive_timeout(&head.fields);
                QueuedEvent::Head { handle: handle(tag), protocol, head, end }
            }
            Event::Upgraded { tag, head } => {
                self.has_answered = true;
                QueuedEvent::Head { handle: handle(tag), protocol, head, end: false }
            }
            Event::Data { tag, data, end } => {
                self.unreleased += data.len();
                QueuedEvent::Data { handle: handle(tag), data, end }
            }
            Event::Trailers { tag, fields } => QueuedEvent::Trailers { handle: handle(tag), fields },
            Event::Sendable { tag } => QueuedEvent::Sendable { handle: handle(tag) },
            Event::Malformed { tag, reason } => self.failed(tag, FailureKind::Malformed(reason)),
            Event::HeadersTooLarge { tag } => self.failed(tag, FailureKind::ResponseHeadersTooLarge),
        });
    }

    fn failed(&mut self, tag: u64, kind: FailureKind) -> QueuedEvent {
        self.is_refuted |= !self.has_answered;
        QueuedEvent::Failed { handle: RequestHandle::from_bits(tag), kind, processed: Processed::Unknown }
    }

    /// Writes as much as the socket takes. The socket wakes the task when it can take more.
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>, counters: &mut Counters) -> Result<(), FailureKind> {
        let is_written = self.outgoing.flush(cx, &mut self.socket, self.client.output(), counters)?;
        if is_written && self.write_side == WriteSide::Ending && self.socket.poll_shutdown(cx).is_ready() {
            self.write_side = WriteSide::ShutDown;
        }
        Ok(())
    }

    /// Closes the connection; after an aborted request, with a reset. A peer that does not read would not see an orderly end,
    /// and the kernel would keep the request for it as long as it has the connection open.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>) {
        if self.is_aborted {
            self.socket.set_reset_on_close();
        } else {
            self.socket.close(cx);
        }
    }

    /// For the idle timeout, see docs/reference/behaviour.md#timeouts.
    pub(crate) fn due(&self, options: &Options, now: Instant) -> Due {
        let limit = self.peer_idle_timeout.map(|timeout| timeout.saturating_sub(PEER_MARGIN.min(timeout / 2)));
        let at = self.last_used + limit.map_or(options.idle_timeout, |limit| limit.min(options.idle_timeout));
        match self.active() {
            0 if now >= at => Due::Idle,
            0 => Due::At(at),
            _ => Due::At(now + options.idle_timeout),
        }
    }
}

/// Returns the parameter `timeout` of `keep-alive`, which many servers send.
fn keep_alive_timeout(fields: &Fields) -> Option<Duration> {
    let parameters = fields.first(Known::KeepAlive)?.split(|byte| *byte == b',');
    let value = parameters.into_iter().find_map(|parameter| parameter.trim_ascii().strip_prefix(b"timeout="))?;
    Some(Duration::from_secs(std::str::from_utf8(value).ok()?.parse().ok()?))
}
