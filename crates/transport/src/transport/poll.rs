//! The transport's part of a worker's turn: reads ready connections, handles timers, writes once per connection.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use super::Transport;
use crate::{
    failure::{ConnectFailure, FailureKind},
    handle::SlotKey,
    pool::{Connection, Due, Phase, ReadEnd},
    slots::{Link, NAMES_SLOT},
};

impl Transport {
    /// Reads from ready connections, polls attempts, and queues the events. Wakes the task of `cx` when there is more to do.
    pub fn poll_io(&mut self, cx: &mut Context<'_>, now: Instant) {
        self.now = now;
        self.ready.register(cx.waker());
        let mut visits = std::mem::take(&mut self.visits);
        self.ready.take(&mut visits);
        for index in visits.drain(..) {
            match index {
                NAMES_SLOT => self.on_names_changed(),
                _ => self.visit(index),
            }
        }
        self.visits = visits;
    }

    /// Writes the output of this turn, once per connection. Wakes the task of `cx` if events are queued.
    pub fn flush(&mut self, cx: &mut Context<'_>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for key in dirty.drain(..) {
            self.flush_one(key);
        }
        // The new list has only what the flush itself caused; that waits for the next turn.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
        if !self.events.is_empty() || !self.dirty.is_empty() {
            cx.waker().wake_by_ref();
        }
    }

    /// Returns when [`Transport::on_time`] must be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Handles timers that are due at `now`: times out attempts, sends keepalive PINGs, closes idle connections.
    pub fn on_time(&mut self, now: Instant) {
        self.now = now;
        while let Some((at, key)) = self.deadlines.pop_due(now) {
            if self.slots.get_mut(key).is_some_and(|slot| slot.disarm(at)) {
                self.on_deadline(key);
            }
        }
    }

    fn on_deadline(&mut self, key: SlotKey) {
        let now = self.now;
        // If the process was suspended, the socket may already have data that shows that the peer is alive.
        self.visit(key.index());
        let Some(slot) = self.slots.get_mut(key) else { return };
        let connection = match &mut slot.link {
            Link::Connecting(_) => return self.connect_failed(key, &ConnectFailure::new(FailureKind::ConnectTimeout)),
            Link::Connected(connection) => connection,
        };
        if matches!(connection.phase(), Phase::Handshaking { deadline } if now >= deadline) {
            let was_http2 = self.origins.get(slot.origin).is_some_and(|origin| origin.has_spoken_http2);
            if connection.may_be_http1() && !was_http2 {
                return self.fall_back_to_http1(key);
            }
            return self.connect_failed(key, &ConnectFailure::new(FailureKind::ConnectTimeout));
        }
        connection.tick();
        match connection.due(&self.options, now) {
            Due::At(at) => slot.arm(at, &mut self.deadlines),
            Due::Ping => {
                connection.ping(now);
                slot.arm(now + self.options.keepalive_timeout, &mut self.deadlines);
                self.counters.pings += 1;
                self.mark_dirty(key);
            }
            Due::Idle => self.close(key),
            Due::Dead(kind) => self.on_connection_lost(key, kind),
        }
    }

    /// Polls the connection or attempt in this slot. The wake-up may have been for an earlier connection in it.
    fn visit(&mut self, index: usize) {
        let Some(slot) = self.slots.at(index) else { return };
        let (key, mut cx) = (slot.key, Context::from_waker(&slot.waker));
        match &mut slot.link {
            Link::Connecting(attempt) => match attempt.as_mut().poll(&mut cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(established)) => {
                    self.start_http(key, established);
                    self.read(key);
                }
                Poll::Ready(Err(failure)) => self.connect_failed(key, &failure),
            },
            Link::Connected(_) => self.read(key),
        }
    }

    /// Reads from a connection and handles its new phase.
    fn read(&mut self, key: SlotKey) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let Link::Connected(connection) = &mut slot.link else { return };
        let before = connection.phase();
        let mut cx = Context::from_waker(&slot.waker);
        match connection.read(&mut cx, self.now, &mut self.events, &mut self.counters) {
            Ok(ReadEnd::More) => self.ready.mark(key.index()),
            Ok(ReadEnd::Drained) => {
                if let Some(kind) = slot.broken {
                    return self.on_connection_lost(key, kind);
                }
            }
            Err(kind) => return self.on_connection_lost(key, kind),
        }
        if connection.has_output() {
            self.mark_dirty(key);
        }
        self.on_progress(key, before);
    }

    /// Handles a change of phase, or of the number of streams.
    fn on_progress(&mut self, key: SlotKey, before: Phase) {
        let Some(after) = self.slots.connection(key).map(Connection::phase) else { return };
        match (before, after) {
            (Phase::Handshaking { .. }, Phase::Open) => self.connected(key),
            (Phase::Handshaking { .. }, Phase::Retiring) => {
                self.connect_failed(key, &ConnectFailure::new(FailureKind::GoAway));
            }
            (Phase::Open, Phase::Retiring) => self.retire(key),
            _ => self.on_streams_changed(key),
        }
    }

    /// Writes the output of a connection. Queues events for streams that can send again.
    fn flush_one(&mut self, key: SlotKey) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let Link::Connected(connection) = &mut slot.link else { return };
        slot.dirty = false;
        let before = connection.phase();
        let mut cx = Context::from_waker(&slot.waker);
        match connection.flush(&mut cx, &mut self.events, &mut self.counters) {
            Ok(()) => self.on_progress(key, before),
            Err(kind) => {
                // The peer may have sent a response or a GOAWAY before: read that first, then fail the connection.
                slot.broken.get_or_insert(kind);
                self.ready.mark(key.index());
            }
        }
    }
}
