//! The turn of the worker: visit the connections that are ready, serve due timers, write once.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use super::Transport;
use crate::{
    failure::{ConnectFailure, FailureKind},
    handle::SlotKey,
    pool::{Connection, Due, Phase, ReadEnd},
    slots::Link,
};

impl Transport {
    /// Reads from every connection that is ready and goes on with attempts; what that means is in the queue of events. The
    /// task of `cx` is woken when there is more to do.
    pub fn poll_io(&mut self, cx: &mut Context<'_>, now: Instant) {
        self.now = now;
        self.ready.register(cx.waker());
        let mut visits = std::mem::take(&mut self.visits);
        self.ready.take(&mut visits);
        for index in visits.drain(..) {
            self.visit(index);
        }
        self.visits = visits;
    }

    /// Writes what the turn has brought, each connection once. Wakes the task of `cx` if there are events to be taken.
    pub fn flush(&mut self, cx: &mut Context<'_>) {
        let mut dirty = std::mem::take(&mut self.dirty);
        for key in dirty.drain(..) {
            self.flush_one(key);
        }
        // Only what the flush itself caused is in the new list, and that waits for the next turn.
        dirty.append(&mut self.dirty);
        self.dirty = dirty;
        if !self.events.is_empty() || !self.dirty.is_empty() {
            cx.waker().wake_by_ref();
        }
    }

    /// When [`Transport::on_time`] is to be called next.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Does what is due at `now`: attempts time out, silent connections are probed, idle ones closed.
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
        // After a pause of this process what proves the peer alive may be there already.
        self.visit(key.index());
        let Some(slot) = self.slots.get_mut(key) else { return };
        let connection = match &mut slot.link {
            Link::Connecting(_) => return self.connect_failed(key, &ConnectFailure::new(FailureKind::ConnectTimeout)),
            Link::Connected(connection) => connection,
        };
        if matches!(connection.phase(), Phase::Handshaking { deadline } if now >= deadline) {
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

    /// Something happened to the connection in this slot, or to an earlier one in it.
    fn visit(&mut self, index: usize) {
        let Some(slot) = self.slots.at(index) else { return };
        let (key, mut cx) = (slot.key, Context::from_waker(&slot.waker));
        match &mut slot.link {
            Link::Connecting(attempt) => match attempt.as_mut().poll(&mut cx) {
                Poll::Pending => {}
                Poll::Ready(Ok(established)) => {
                    self.start_h2(key, established);
                    self.read(key);
                }
                Poll::Ready(Err(failure)) => self.connect_failed(key, &failure),
            },
            Link::Connected(_) => self.read(key),
        }
    }

    /// Reads from a connection and handles what its phase then is.
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
        self.advance(key, before);
    }

    /// The connection went from one phase to another, or its streams changed.
    fn advance(&mut self, key: SlotKey, before: Phase) {
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

    /// Writes what a connection has, and lets streams go on for which that made room.
    fn flush_one(&mut self, key: SlotKey) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let Link::Connected(connection) = &mut slot.link else { return };
        slot.dirty = false;
        let before = connection.phase();
        let mut cx = Context::from_waker(&slot.waker);
        match connection.flush(&mut cx, &mut self.events, &mut self.counters) {
            Ok(()) => self.advance(key, before),
            Err(kind) => {
                // An answer, or a GOAWAY that explains it, may have come before: read first, then give up.
                slot.broken.get_or_insert(kind);
                self.ready.mark(key.index());
            }
        }
    }
}
