//! One HTTP/2 connection: a socket and the state machine that its bytes go through.
//!
//! Reads everything that is there, then writes once; knows neither the other connections nor who waits for them. What the
//! peer did to streams goes into the queue of events, what it did to the connection is its [`Phase`]. Driven by `transport`.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use spooky_bridge::{
    h2::{Client, Code, Config, Event, SendRequestError, StreamId},
    message::{Fields, Known, Protocol, RequestHead, ResetReason},
};

use crate::{
    counters::Counters,
    failure::{FailureKind, Processed},
    handle::RequestHandle,
    options::Options,
    queued::Queued,
    reset,
    socket::Socket,
};

use super::state::{Due, Phase, ReadEnd};

/// Bytes taken from one socket in one turn; what is left waits for the next, so that no connection starves another.
const READ_BUDGET: usize = 512 * 1024;
/// Room for a read: it follows what the peer sends, between these.
const MIN_READ: usize = 16 * 1024;
const MAX_READ: usize = 128 * 1024;
/// Slices of one write.
const WRITE_SLICES: usize = 64;

/// How an HTTP/1.x server begins its answer to the connection preface, which is no request to it.
const HTTP1_ANSWER: &[u8] = b"HTTP/1.";
/// How a TLS server begins its answer to bytes that are no TLS: an alert record of any version (RFC 8446 section 5.1).
const TLS_ALERT: &[u8] = &[21, 3];

/// A connection to a backend that speaks HTTP/2.
pub(crate) struct H2Connection {
    socket: Socket,
    client: Client,
    inbound: BytesMut,
    /// Room to make for the next read.
    room: usize,
    pub(crate) phase: Phase,
    /// It is cleartext, and whoever makes the requests does not know: `:scheme` is written here.
    pub(crate) is_detected_cleartext: bool,
    /// What the peer speaks instead of HTTP/2, in the operator's words.
    pub(crate) foreign: Option<&'static str>,
    /// The highest stream that the peer's GOAWAY left.
    last_stream: Option<u32>,
    /// The code of the peer's last GOAWAY, if it is an error.
    error: Option<Code>,
    /// Bytes of output that the socket took.
    written: u64,
    /// The TLS layer may hold bytes back.
    unflushed: bool,
    /// When the peer last sent something.
    last_received: Instant,
    /// When a request was last sent.
    last_sent: Instant,
    /// When the PING that is not answered yet was sent.
    ping_sent: Option<Instant>,
}

impl H2Connection {
    /// A connection whose preface waits to be written.
    pub(crate) fn new(socket: Socket, config: &Config, deadline: Instant, now: Instant) -> Self {
        Self {
            socket,
            client: Client::new(config),
            inbound: BytesMut::new(),
            room: MIN_READ,
            phase: Phase::Handshaking { deadline },
            is_detected_cleartext: false,
            foreign: None,
            last_stream: None,
            error: None,
            written: 0,
            unflushed: false,
            last_received: now,
            last_sent: now,
            ping_sent: None,
        }
    }

    /// Whether it has something to write.
    pub(crate) fn has_output(&mut self) -> bool {
        self.unflushed || !self.client.output().is_empty()
    }

    /// Whether no byte of what was queued at this position was given to the socket.
    pub(crate) fn is_unsent(&self, at: u64) -> bool {
        self.written <= at
    }

    /// Number of requests on it.
    pub(crate) fn active(&self) -> usize {
        self.client.active()
    }

    /// Whether it takes another request.
    pub(crate) fn has_room(&self) -> bool {
        self.client.capacity() > 0
    }

    /// The requests on it.
    pub(crate) fn requests(&self) -> Vec<RequestHandle> {
        self.client.open_streams().map(|(tag, ..)| RequestHandle::from_bits(tag)).collect()
    }

    /// What the loss of the connection means to its requests.
    pub(crate) fn loss(&self, kind: FailureKind) -> FailureKind {
        match (kind, self.error) {
            // Alone on it, the request is what the peer objects to.
            (FailureKind::ConnectionLost(_), Some(code)) if self.active() == 1 => FailureKind::Reset(code),
            (FailureKind::ConnectionLost(_), Some(code)) => FailureKind::Ended(code),
            (kind, _) => kind,
        }
    }

    /// Puts a request on a new stream. Returns the stream and the position of its head in the output.
    pub(crate) fn open(
        &mut self,
        head: &RequestHead,
        end: bool,
        handle: RequestHandle,
        now: Instant,
    ) -> Result<(StreamId, u64), SendRequestError> {
        let at = self.written + self.client.output().len() as u64;
        let stream = if self.is_detected_cleartext && head.scheme() == b"https" {
            let mut head = head.clone();
            head.fields.set(Known::Scheme, &[b"http"]);
            self.client.send_request(&head, end, handle.to_bits())?
        } else {
            self.client.send_request(head, end, handle.to_bits())?
        };
        self.last_sent = now;
        Ok((stream, at))
    }

    /// Bytes of body that a stream can take. If none, the peer's next window or room in the output brings
    /// [`Event::Sendable`].
    pub(crate) fn sendable(&mut self, stream: StreamId) -> usize {
        let room = self.client.sendable(stream);
        if room == 0 {
            // An offer that cannot be taken enters the stream into the list of those that wait.
            self.client.send_data(stream, &mut Bytes::from_static(b"."), false);
        }
        room
    }

    /// Sends as much of `data` as windows and the socket permit and leaves the rest in it. Returns the number of bytes taken.
    pub(crate) fn send_data(&mut self, stream: StreamId, data: &mut Bytes, end: bool) -> usize {
        self.client.send_data(stream, data, end)
    }

    /// Ends a request with trailers. Returns false, and sends nothing, if they exceed what the peer accepts.
    pub(crate) fn send_trailers(&mut self, stream: StreamId, fields: &Fields) -> bool {
        self.client.send_trailers(stream, fields)
    }

    /// Gives credit for so many further bytes of a response.
    pub(crate) fn release(&mut self, stream: StreamId, bytes: usize) {
        self.client.release(stream, bytes);
    }

    /// Sets how many bytes of a response may be under way.
    pub(crate) fn resize(&mut self, stream: StreamId, bytes: u32) {
        self.client.resize(stream, bytes);
    }

    /// Sets how many bytes of each response may be under way that was not resized. Returns false if the peer has not
    /// acknowledged the previous size yet.
    pub(crate) fn set_initial_window(&mut self, bytes: u32) -> bool {
        self.client.set_initial_stream_window(bytes)
    }

    /// Ends a request early. Returns false if it had ended already.
    pub(crate) fn reset(&mut self, stream: StreamId, reason: ResetReason) -> bool {
        let before = self.client.active();
        self.client.reset(stream, reset::code(reason));
        self.client.active() < before
    }

    /// A deadline of the connection has come.
    pub(crate) fn tick(&mut self) {
        self.client.tick();
    }

    /// Reads what the socket has, as far as the budget of a turn goes, and queues what it means.
    pub(crate) fn read(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        events: &mut VecDeque<Queued>,
        counters: &mut Counters,
    ) -> Result<ReadEnd, FailureKind> {
        let mut budget = READ_BUDGET;
        loop {
            if self.inbound.capacity() - self.inbound.len() < self.room / 2 {
                self.inbound.reserve(self.room);
            }
            let room = self.inbound.capacity() - self.inbound.len();
            let n = match self.socket.poll_read(cx, &mut self.inbound) {
                Poll::Pending => return Ok(ReadEnd::Drained),
                Poll::Ready(Ok(0)) => return Err(FailureKind::ConnectionLost(io::ErrorKind::UnexpectedEof)),
                Poll::Ready(Ok(n)) => n,
                Poll::Ready(Err(error)) => return Err(FailureKind::ConnectionLost(error.kind())),
            };
            counters.bytes_read += n as u64;
            self.last_received = now;
            self.ping_sent = None;
            if n == room {
                self.room = (self.room * 2).min(MAX_READ);
            } else if n < self.room / 8 {
                self.room = (self.room / 2).max(MIN_READ);
            }
            self.digest(events, counters)?;
            budget = budget.saturating_sub(n);
            if budget == 0 {
                return Ok(ReadEnd::More);
            }
        }
    }

    /// Frees the memory for reading, unless part of a frame is in it. The next bytes get some again.
    pub(crate) fn free_unused(&mut self) {
        if self.inbound.is_empty() {
            (self.inbound, self.room) = (BytesMut::new(), MIN_READ);
        }
    }

    /// What the first bytes of the peer show, where they show that it speaks something else than HTTP/2.
    fn first_bytes(&self) -> Option<&'static str> {
        if self.inbound.starts_with(HTTP1_ANSWER) {
            return Some("backend answered HTTP/1.x, HTTP/2 expected");
        }
        let is_cleartext = matches!(self.socket, Socket::Plain(_));
        (is_cleartext && self.inbound.starts_with(TLS_ALERT)).then_some("backend speaks TLS; write https://")
    }

    /// Lets the state machine work on what was read, or on room that a write has made.
    pub(crate) fn digest(&mut self, events: &mut VecDeque<Queued>, counters: &mut Counters) -> Result<(), FailureKind> {
        if self.foreign.is_none() && matches!(self.phase, Phase::Handshaking { .. }) {
            self.foreign = self.first_bytes();
        }
        while let Some(event) = self.client.recv(&mut self.inbound).map_err(FailureKind::Protocol)? {
            match event {
                Event::Ready => {
                    if matches!(self.phase, Phase::Handshaking { .. }) {
                        self.phase = Phase::Open;
                    }
                }
                Event::GoAway { last, code } => {
                    counters.goaways += 1;
                    self.error = Some(code).filter(|code| *code != Code::NO_ERROR);
                    self.phase = Phase::Retiring;
                    self.last_stream = Some(last);
                }
                Event::CapacityChanged | Event::Pong(_) => {}
                event => {
                    if let Some(queued) = self.queued(event, counters) {
                        events.push_back(queued);
                    }
                }
            }
        }
        if self.client.is_closing() && self.phase == Phase::Open {
            self.phase = Phase::Retiring; // all stream identifiers are used up
        }
        Ok(())
    }

    /// An event of a stream, for the owner of the request. `None` for events of the connection.
    fn queued(&self, event: Event, counters: &mut Counters) -> Option<Queued> {
        let protocol = Protocol::Http2;
        Some(match event {
            Event::Informational { tag, head, .. } => {
                Queued::Informational { handle: RequestHandle::from_bits(tag), protocol, head }
            }
            Event::Head { tag, head, end, .. } => {
                Queued::Head { handle: RequestHandle::from_bits(tag), protocol, head, end }
            }
            Event::Data { tag, data, end, .. } => Queued::Data { handle: RequestHandle::from_bits(tag), data, end },
            Event::Trailers { tag, fields, .. } => Queued::Trailers { handle: RequestHandle::from_bits(tag), fields },
            Event::Sendable { tag, .. } => Queued::Sendable { handle: RequestHandle::from_bits(tag) },
            Event::Reset { tag, id, code, unprocessed } => {
                let is_beyond_goaway = self.last_stream.is_some_and(|last| id.number() > last);
                let handle = RequestHandle::from_bits(tag);
                if unprocessed && is_beyond_goaway {
                    return Some(Queued::Failed { handle, kind: FailureKind::GoAway, processed: Processed::No });
                }
                counters.resets_received += 1;
                let processed = if unprocessed { Processed::No } else { Processed::Unknown };
                Queued::Failed { handle, kind: FailureKind::Reset(code), processed }
            }
            Event::Malformed { tag, reason, .. } => {
                counters.resets_sent += 1;
                let (handle, kind) = (RequestHandle::from_bits(tag), FailureKind::Malformed(reason));
                Queued::Failed { handle, kind, processed: Processed::Unknown }
            }
            Event::HeadersTooLarge { tag, .. } => {
                counters.resets_sent += 1;
                let (handle, kind) = (RequestHandle::from_bits(tag), FailureKind::ResponseHeadersTooLarge);
                Queued::Failed { handle, kind, processed: Processed::Unknown }
            }
            Event::Ready | Event::GoAway { .. } | Event::CapacityChanged | Event::Pong(_) => return None,
        })
    }

    /// Writes as much as the socket takes. What it does not take stays; the socket wakes when it can take more.
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>, counters: &mut Counters) -> Result<(), FailureKind> {
        let lost = |error: io::Error| FailureKind::ConnectionLost(error.kind());
        loop {
            let output = self.client.output();
            if output.is_empty() {
                break;
            }
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            let set = output.slices(&mut slices);
            let n = match self.socket.poll_write(cx, slices.get(..set).unwrap_or_default()) {
                Poll::Pending => {
                    counters.writes_blocked += 1;
                    return Ok(());
                }
                Poll::Ready(Ok(0)) => return Err(FailureKind::ConnectionLost(io::ErrorKind::WriteZero)),
                Poll::Ready(Ok(n)) => n,
                Poll::Ready(Err(error)) => return Err(lost(error)),
            };
            output.advance(n);
            self.written += n as u64;
            self.unflushed = true;
            counters.bytes_written += n as u64;
        }
        if self.unflushed && self.socket.poll_flush(cx).map_err(lost)?.is_ready() {
            self.unflushed = false;
        }
        Ok(())
    }

    /// Ends the connection in order: GOAWAY, and what the socket takes at once. It is dropped afterwards.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>, counters: &mut Counters) {
        self.client.go_away(Code::NO_ERROR);
        if self.flush(cx, counters).is_ok() {
            self.socket.close(cx);
        }
    }

    /// Returns what is due at `now`; docs/reference/behaviour.md#timeouts has the idle timeout and the keepalive.
    pub(crate) fn due(&self, options: &Options, now: Instant) -> Due {
        let quiet_since = self.last_received.max(self.last_sent);
        let wait = |from: Instant, interval: Duration, due: Due| {
            let at = from + interval;
            if now >= at { due } else { Due::At(at) }
        };
        if let Some(sent_at) = self.ping_sent {
            return wait(sent_at, options.keepalive_timeout, Due::Dead(FailureKind::KeepaliveTimeout));
        }
        match options.keepalive_interval {
            Some(interval) if self.client.active() > 0 => wait(quiet_since, interval, Due::Ping),
            keepalive if self.client.active() == 0 => match wait(quiet_since, options.idle_timeout, Due::Idle) {
                // A request may come meanwhile, and then the keepalive counts from it.
                Due::At(at) => Due::At(keepalive.map_or(at, |interval| at.min(now + interval))),
                due => due,
            },
            _ => Due::At(now + options.idle_timeout),
        }
    }

    /// Queues a keepalive PING.
    pub(crate) fn ping(&mut self, now: Instant) {
        self.client.ping(self.written);
        self.ping_sent = Some(now);
    }
}
