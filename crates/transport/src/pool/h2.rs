//! One HTTP/2 connection: a socket and the `h2::Client` state machine.
//!
//! Events of streams go into the queue; events of the connection change its [`Phase`].

use std::{
    collections::VecDeque,
    io,
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
    queued::QueuedEvent,
    socket::Socket,
};

use super::{
    outgoing::Outgoing,
    read_size::ReadSize,
    state::{Due, Phase, READ_BUDGET, ReadEnd},
};

/// Start of the response of an HTTP/1.x server to the HTTP/2 connection preface.
const HTTP1_ANSWER: &[u8] = b"HTTP/1.";
/// Logged if a cleartext backend answers by TLS.
const SPEAKS_TLS: &str = "backend speaks TLS; write https://";
/// Start of the response of a TLS server to cleartext: an alert record of any version (RFC 8446 section 5.1).
const TLS_ALERT: &[u8] = &[21, 3];

pub(crate) struct H2Connection {
    socket: Socket,
    client: Client,
    /// The initial window of responses that was asked for last.
    initial_window: u32,
    inbound: BytesMut,
    read_size: ReadSize,
    pub(crate) phase: Phase,
    /// The scheme was detected as cleartext: requests are created with `https` and corrected here.
    pub(crate) is_detected_cleartext: bool,
    /// The peer's SETTINGS decide whether it speaks HTTP/2.
    pub(crate) is_detection: bool,
    /// A text for the log if the peer does not speak HTTP/2.
    pub(crate) protocol_mismatch: Option<&'static str>,
    /// The last stream id of the peer's GOAWAY.
    last_stream: Option<u32>,
    /// The code of the peer's last GOAWAY, if it is an error.
    error: Option<Code>,
    outgoing: Outgoing,
    last_received: Instant,
    /// When a request was last sent.
    last_sent: Instant,
    /// When the outstanding PING was sent.
    ping_sent: Option<Instant>,
}

impl H2Connection {
    pub(crate) fn new(socket: Socket, config: &Config, deadline: Instant, now: Instant) -> Self {
        Self {
            socket,
            client: Client::new(config),
            initial_window: config.initial_stream_window,
            inbound: BytesMut::new(),
            read_size: ReadSize::default(),
            phase: Phase::Handshaking { deadline },
            is_detected_cleartext: false,
            is_detection: false,
            protocol_mismatch: None,
            last_stream: None,
            error: None,
            outgoing: Outgoing::default(),
            last_received: now,
            last_sent: now,
            ping_sent: None,
        }
    }

    /// Returns whether HTTP/1.1 has to be tried because the peer's SETTINGS did not arrive.
    pub(crate) fn may_be_http1(&self) -> bool {
        self.is_detection && self.protocol_mismatch != Some(SPEAKS_TLS)
    }

    pub(crate) fn has_output(&mut self) -> bool {
        self.outgoing.is_unflushed() || !self.client.output().is_empty()
    }

    pub(crate) fn is_unsent(&self, at: u64) -> bool {
        self.outgoing.written() <= at
    }

    pub(crate) fn active(&self) -> usize {
        self.client.active()
    }

    pub(crate) fn has_capacity(&self) -> bool {
        self.client.capacity() > 0
    }

    pub(crate) fn requests(&self) -> Vec<RequestHandle> {
        self.client.open_streams().map(|(tag, ..)| RequestHandle::from_bits(tag)).collect()
    }

    pub(crate) fn failure_on_loss(&self, kind: FailureKind) -> FailureKind {
        match (kind, self.error) {
            // With a single request on the connection, the error concerns that request.
            (FailureKind::ConnectionLost(_), Some(code)) if self.active() == 1 => FailureKind::Reset(code),
            (FailureKind::ConnectionLost(_), Some(code)) => FailureKind::Ended(code),
            (kind, _) => kind,
        }
    }

    pub(crate) fn open(
        &mut self,
        head: &RequestHead,
        end: bool,
        handle: RequestHandle,
        now: Instant,
    ) -> Result<(StreamId, u64), SendRequestError> {
        let at = self.outgoing.written() + self.client.output().len() as u64;
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

    pub(crate) fn want_send(&mut self, stream: StreamId) -> usize {
        let sendable = self.client.sendable(stream);
        if sendable == 0 {
            // Data that cannot be sent registers the stream for `Event::Sendable`; nothing is taken.
            self.client.send_data(stream, &mut Bytes::from_static(b"."), false);
        }
        sendable
    }

    pub(crate) fn send_data(&mut self, stream: StreamId, data: &mut Bytes, end: bool) -> usize {
        self.client.send_data(stream, data, end)
    }

    pub(crate) fn send_trailers(&mut self, stream: StreamId, fields: &Fields) -> bool {
        self.client.send_trailers(stream, fields)
    }

    pub(crate) fn release(&mut self, stream: StreamId, bytes: usize) {
        self.client.release(stream, bytes);
    }

    pub(crate) fn resize(&mut self, stream: StreamId, bytes: u32) {
        self.client.set_stream_window(stream, bytes);
    }

    pub(crate) fn set_initial_window(&mut self, bytes: u32) {
        self.initial_window = bytes;
        self.announce_initial_window();
    }

    /// Announces the initial window if it has changed. Does nothing while the peer has not acknowledged the previous one;
    /// `read` tries again.
    fn announce_initial_window(&mut self) {
        self.client.set_initial_stream_window(self.initial_window);
    }

    pub(crate) fn reset(&mut self, stream: StreamId, reason: ResetReason) -> bool {
        let before = self.client.active();
        self.client.reset(stream, reason.into());
        self.client.active() < before
    }

    pub(crate) fn tick(&mut self) {
        self.client.tick();
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
            let size = self.read_size.get();
            if self.inbound.capacity() - self.inbound.len() < size / 2 {
                self.inbound.reserve(size);
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
            self.read_size.adapt(n, room);
            self.process_input(events, counters)?;
            self.announce_initial_window();
            budget = budget.saturating_sub(n);
            if budget == 0 {
                return Ok(ReadEnd::More);
            }
        }
    }

    /// Frees the read buffer, unless it contains part of a frame.
    pub(crate) fn free_unused(&mut self) {
        if self.inbound.is_empty() {
            (self.inbound, self.read_size) = (BytesMut::new(), ReadSize::default());
        }
    }

    /// Detects a peer that does not speak HTTP/2 by its first bytes.
    fn detect_mismatch(&self) -> Option<&'static str> {
        if self.inbound.starts_with(HTTP1_ANSWER) {
            return Some("backend answered HTTP/1.x, HTTP/2 expected");
        }
        let is_cleartext = matches!(self.socket, Socket::Plain(_));
        (is_cleartext && self.inbound.starts_with(TLS_ALERT)).then_some(SPEAKS_TLS)
    }

    /// Runs the state machine, after a read or after a write has freed output space.
    pub(crate) fn process_input(
        &mut self,
        events: &mut VecDeque<QueuedEvent>,
        counters: &mut Counters,
    ) -> Result<(), FailureKind> {
        if self.protocol_mismatch.is_none() && matches!(self.phase, Phase::Handshaking { .. }) {
            self.protocol_mismatch = self.detect_mismatch();
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

    /// Converts an event of a stream. Returns `None` for events of the connection.
    fn queued(&self, event: Event, counters: &mut Counters) -> Option<QueuedEvent> {
        let protocol = Protocol::Http2;
        Some(match event {
            Event::Informational { tag, head, .. } => {
                QueuedEvent::Informational { handle: RequestHandle::from_bits(tag), protocol, head }
            }
            Event::Head { tag, head, end, .. } => {
                QueuedEvent::Head { handle: RequestHandle::from_bits(tag), protocol, head, end }
            }
            Event::Data { tag, data, end, .. } => {
                QueuedEvent::Data { handle: RequestHandle::from_bits(tag), data, end }
            }
            Event::Trailers { tag, fields, .. } => {
                QueuedEvent::Trailers { handle: RequestHandle::from_bits(tag), fields }
            }
            Event::Sendable { tag, .. } => QueuedEvent::Sendable { handle: RequestHandle::from_bits(tag) },
            Event::Reset { tag, id, code, unprocessed } => {
                let is_beyond_goaway = self.last_stream.is_some_and(|last| id.number() > last);
                let handle = RequestHandle::from_bits(tag);
                if unprocessed && is_beyond_goaway {
                    return Some(QueuedEvent::Failed { handle, kind: FailureKind::GoAway, processed: Processed::No });
                }
                counters.resets_received += 1;
                let processed = if unprocessed { Processed::No } else { Processed::Unknown };
                QueuedEvent::Failed { handle, kind: FailureKind::Reset(code), processed }
            }
            Event::Malformed { tag, reason, .. } => {
                counters.resets_sent += 1;
                let (handle, kind) = (RequestHandle::from_bits(tag), FailureKind::Malformed(reason));
                QueuedEvent::Failed { handle, kind, processed: Processed::Unknown }
            }
            Event::HeadersTooLarge { tag, .. } => {
                counters.resets_sent += 1;
                let (handle, kind) = (RequestHandle::from_bits(tag), FailureKind::ResponseHeadersTooLarge);
                QueuedEvent::Failed { handle, kind, processed: Processed::Unknown }
            }
            Event::Ready | Event::GoAway { .. } | Event::CapacityChanged | Event::Pong(_) => return None,
        })
    }

    /// Writes as much as the socket takes. The socket wakes the task when it can take more.
    pub(crate) fn flush(&mut self, cx: &mut Context<'_>, counters: &mut Counters) -> Result<(), FailureKind> {
        self.outgoing.flush(cx, &mut self.socket, self.client.output(), counters).map(drop)
    }

    pub(crate) fn close(&mut self, cx: &mut Context<'_>, counters: &mut Counters) {
        self.client.go_away(Code::NO_ERROR);
        if self.flush(cx, counters).is_ok() {
            self.socket.close(cx);
        }
    }

    /// For the idle timeout and the keepalive, see docs/reference/behaviour.md#timeouts.
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
                // If a request is sent before that, the keepalive interval starts with it.
                Due::At(at) => Due::At(keepalive.map_or(at, |interval| at.min(now + interval))),
                due => due,
            },
            _ => Due::At(now + options.idle_timeout),
        }
    }

    pub(crate) fn ping(&mut self, now: Instant) {
        self.client.ping(self.outgoing.written());
        self.ping_sent = Some(now);
    }
}
