//! The sending half of a connection: one flush per turn, and the end.

use super::{
    closing::Closing,
    conn::{Conn, Lost, Open, Phase, WaitsFor},
    settings::TimeLimits,
};
use crate::event::Event;
use spooky_bridge::WriteBuffer;
use spooky_net::tcp;
use std::{
    collections::VecDeque,
    task::{Context, Poll},
    time::Instant,
};

/// Bytes that one connection may send per turn, so that others are not delayed.
const WRITE_PER_TURN: usize = 1024 * 1024;

impl Conn {
    /// Sends what waits for the client, as far as the socket takes it, and lets the session fill the space. Returns true if
    /// the limit of the turn was reached.
    pub(super) fn flush(&mut self, now: Instant, events: &mut VecDeque<Event>) -> Result<bool, Lost> {
        let mut written = 0;
        let (is_blocked, has_more) = loop {
            let before = written;
            if self.write(&mut written)?.is_pending() {
                break (true, false);
            }
            if written >= WRITE_PER_TURN {
                break (false, true);
            }
            // The session may have waited for space in the output, or for the end of the response.
            self.process(now, events);
            if written == before && !self.has_output() {
                break (false, false);
            }
        };
        self.totals.bytes_out += written as u64;
        self.outgoing.on_write(now, written > 0, is_blocked);
        if !is_blocked && !has_more {
            self.after_flush(now)?;
        }
        let waiting = self.waiting();
        self.outgoing.update(waiting);
        self.update_wait(now);
        Ok(has_more)
    }

    fn write(&mut self, written: &mut usize) -> Result<Poll<()>, Lost> {
        let mut cx = Context::from_waker(&self.waker);
        let mut none = WriteBuffer::default();
        let output = match &mut self.phase {
            Phase::Open(open) => open.session.protocol_mut().output(),
            Phase::ProxyHeader { .. } | Phase::Handshake { .. } | Phase::Failed => &mut none,
        };
        match self.socket.poll_write(&mut cx, output, written) {
            Poll::Pending => Ok(Poll::Pending),
            Poll::Ready(Ok(())) => Ok(Poll::Ready(())),
            Poll::Ready(Err(error)) => Err(Lost::Failed(error)),
        }
    }

    fn has_output(&mut self) -> bool {
        let output = match &mut self.phase {
            Phase::Open(open) => !open.session.protocol_mut().output().is_empty(),
            Phase::ProxyHeader { .. } | Phase::Handshake { .. } | Phase::Failed => false,
        };
        output || self.socket.has_unsent()
    }

    /// Returns the number of response bytes that wait in this process.
    fn waiting(&mut self) -> usize {
        let Phase::Open(open) = &mut self.phase else { return 0 };
        let protocol = open.session.protocol_mut();
        protocol.waiting() + protocol.output().len() + self.socket.queued()
    }

    /// Ends the connection, or its sending side, if everything was sent and the session says so.
    fn after_flush(&mut self, now: Instant) -> Result<(), Lost> {
        if let Phase::Open(Open { session, .. }) = &mut self.phase
            && self.closing.is_none()
        {
            let protocol = session.protocol();
            if protocol.is_cut_off() {
                // Neither `close_notify` nor an orderly end of TCP: what was sent must not look complete.
                tcp::reset_on_close(&self.socket.stream);
                return Err(Lost::CutOff);
            }
            if protocol.is_finished() {
                self.closing = Some(Closing::new(now, protocol.is_receiving()));
            } else if protocol.is_half_closed() && !self.socket.is_shut {
                self.end()?;
            }
        }
        if self.closing.as_ref().is_some_and(|closing| !closing.is_shut) {
            let is_sent = self.end()?;
            if self.socket.is_at_end {
                return Err(Lost::Closed);
            }
            if let Some(closing) = self.closing.as_mut().filter(|_| is_sent) {
                closing.is_shut = true;
            }
        }
        Ok(())
    }

    /// Ends the sending side: `close_notify`, then the end of TCP. Returns false if the socket is blocked.
    fn end(&mut self) -> Result<bool, Lost> {
        self.socket.end();
        let mut written = 0;
        if self.write(&mut written)?.is_pending() {
            return Ok(false);
        }
        self.socket.shut_down(&mut Context::from_waker(&self.waker));
        Ok(true)
    }

    /// Does the next step of a graceful shutdown if it is due. Returns whether there is something to send.
    pub(super) fn drain_step(&mut self, now: Instant) -> bool {
        match &mut self.phase {
            Phase::Open(open) if self.closing.is_none() => {
                open.session.protocol_mut().drain_step(!self.inbound.is_empty(), now)
            }
            _ => false,
        }
    }

    /// Ends the connection now. Open requests end with an event. The caller must flush the connection.
    pub(super) fn close(&mut self, now: Instant, events: &mut VecDeque<Event>) {
        match &mut self.phase {
            Phase::Open(open) => open.session.protocol_mut().close(&self.peer, events),
            Phase::ProxyHeader { .. } | Phase::Handshake { .. } | Phase::Failed => {
                self.closing.get_or_insert_with(|| Closing::new(now, false));
            }
        }
    }

    /// Returns when [`Conn::on_time`] must be called.
    pub(super) fn deadline(&self, limits: &TimeLimits) -> Option<Instant> {
        self.due(limits).map(|(at, _)| at)
    }

    /// Returns the nearest time limit.
    fn due(&self, limits: &TimeLimits) -> Option<(Instant, Due)> {
        if let Some(closing) = &self.closing {
            return Some((closing.until, Due::End));
        }
        let open = match &self.phase {
            Phase::ProxyHeader { until, .. } | Phase::Handshake { until } => {
                return Some((*until, Due::Handshake));
            }
            Phase::Failed => return None,
            Phase::Open(open) => open,
        };
        let waiting = match open.waits_for {
            WaitsFor::Request => Some((open.waiting_since + limits.idle, Due::Idle)),
            WaitsFor::Head(_) => Some((open.waiting_since + limits.header, Due::Head)),
            WaitsFor::Response => None,
        };
        let stalled = self.outgoing.stalled_at(limits.stall).map(|at| (at, Due::Stall));
        let session = open.session.protocol().due().map(|at| (at, Due::Session));
        let paused = self.paused.map(|at| (at, Due::ResetCheck));
        [waiting, stalled, session, paused].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Handles a time limit that has passed. The caller must flush the connection.
    pub(super) fn on_time(
        &mut self,
        limits: &TimeLimits,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) -> Result<(), Lost> {
        let Some((_, due)) = self.due(limits).filter(|(at, _)| *at <= now) else { return Ok(()) };
        let Phase::Open(open) = &mut self.phase else { return Err(Lost::TimedOut(due.key())) };
        let protocol = open.session.protocol_mut();
        match due {
            Due::Session => protocol.on_time(now),
            Due::ResetCheck => return self.check_paused(now),
            Due::Idle => {
                tracing::debug!("Connection closed: idle, from {}", self.peer.address);
                protocol.close(&self.peer, events);
            }
            Due::Head => {
                tracing::debug!("Connection closed: {} expired, from {}", due.key(), self.peer.address);
                protocol.time_out_head(&self.peer, events);
            }
            Due::End => return Err(Lost::Closed),
            Due::Handshake | Due::Stall => return Err(Lost::TimedOut(due.key())),
        }
        Ok(())
    }
}

/// What a connection must do at its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Handshake,
    Head,
    Idle,
    Stall,
    /// A timer of the session.
    Session,
    /// The socket is not read: it must be checked for a reset.
    ResetCheck,
    /// The end of the connection was awaited long enough.
    End,
}

impl Due {
    /// Name of the time limit in the configuration.
    const fn key(self) -> &'static str {
        match self {
            Self::Handshake => "client_handshake_timeout_ms",
            Self::Head => "client_header_timeout_ms",
            Self::Idle => "tcp_idle_timeout_ms",
            Self::Stall => "client_stall_timeout_ms",
            Self::Session | Self::ResetCheck | Self::End => "",
        }
    }
}
