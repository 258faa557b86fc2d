//! The life cycle of connections: attempt, success or failure, retirement, loss.

use std::{rc::Rc, task::Context};

use super::Transport;
use crate::{
    connect::{DetectedScheme, Established, HttpVersion},
    event::Event,
    failure::{ConnectFailure, FailureKind},
    handle::{BackendId, SlotKey},
    origin::Reachability,
    pool::{Connection, Due, H1Connection, H2Connection, Phase},
    queued::QueuedEvent,
    slots::Link,
};

impl Transport {
    /// Starts HTTP after TCP and TLS. On HTTP/2 the peer's SETTINGS must arrive before the deadline of the attempt.
    pub(super) fn start_http(&mut self, key: SlotKey, established: Established) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let Established { socket, peer, failed, detected, version } = established;
        slot.peer = Some(peer);
        if let Some(origin) = self.origins.get_mut(slot.origin) {
            origin.avoid(failed, self.now);
            origin.detected = detected;
        }
        if version == Some(HttpVersion::Http1) {
            let window = self.h2.initial_stream_window;
            let connection = H1Connection::new(socket, self.h1, window, self.now);
            slot.link = Link::Connected(Connection::H1(Box::new(connection)));
            return self.connected(key);
        }
        let deadline = slot.deadline(self.now);
        let mut connection = H2Connection::new(socket, &self.h2, deadline, self.now);
        connection.is_detected_cleartext = detected == Some(DetectedScheme::Cleartext);
        connection.is_detection = version.is_none();
        slot.link = Link::Connected(Connection::H2(Box::new(connection)));
        self.mark_dirty(key);
    }

    /// Opens the connection for requests: on HTTP/1.1 at once, on HTTP/2 after the peer's SETTINGS.
    pub(super) fn connected(&mut self, key: SlotKey) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let Link::Connected(connection) = &slot.link else { return };
        let version = connection.version();
        if let Due::At(at) = connection.due(&self.options, self.now) {
            slot.arm(at, &mut self.deadlines);
        }
        let (at, peer) = (slot.origin, slot.peer);
        let Some(origin) = self.origins.get_mut(at) else { return };
        origin.forget(key);
        // The addresses may have changed meanwhile. The requests that wait are served nevertheless.
        let is_removed = origin.has_removed(peer);
        match version {
            HttpVersion::Http1 => origin.h1.push(key),
            HttpVersion::Http2 => origin.h2.push(key),
        }
        origin.on_success(version, self.now);
        self.counters.connections_opened += 1;
        if std::mem::replace(&mut origin.reachability, Reachability::Up) == Reachability::Down {
            self.queue_backend_events(at, |backend| Event::BackendUp { backend });
        }
        self.on_streams_changed(key);
        if is_removed {
            self.drain_connection(key);
        }
    }

    /// Drains the connections to addresses that a name no longer has, and continues the attempts that wait for a lookup.
    pub(super) fn on_names_changed(&mut self) {
        let mut removed = Vec::new();
        for (_, origin) in &mut self.origins {
            origin.connecting.iter().for_each(|key| self.ready.mark(key.index()));
            if origin.update_addresses() {
                let open = origin.h2.iter().chain(&origin.h1).copied();
                removed.extend(open.filter(|key| origin.has_removed(self.slots.peer(*key))));
            }
        }
        for key in removed {
            self.counts.rotations.increment();
            self.drain_connection(key);
        }
    }

    /// Lets a connection finish its requests and close.
    fn drain_connection(&mut self, key: SlotKey) {
        if let Some(connection) = self.slots.connection_mut(key) {
            connection.retire();
            self.retire(key);
        }
    }

    pub(super) fn connect_failed(&mut self, key: SlotKey, failure: &ConnectFailure) {
        let Some(slot) = self.slots.remove(key) else { return };
        let (at, started) = (slot.origin, slot.started);
        self.counters.connect_failures += 1;
        let Some(origin) = self.origins.get_mut(at) else { return };
        origin.forget(key);
        let failing = origin.on_failure(started, self.now);
        if !origin.has_open() && std::mem::replace(&mut origin.reachability, Reachability::Down) == Reachability::Up {
            let reason: Rc<str> = Rc::from(failure.text.as_str());
            self.queue_backend_events(at, |backend| Event::BackendDown { backend, reason: Rc::clone(&reason) });
        }
        self.fail_waiting(at, failing, failure.kind);
        if self.origins.get(at).is_some_and(|origin| !origin.waiting.is_empty()) {
            self.maybe_connect(at);
        }
        self.detach_from_origin(at, key);
    }

    /// Ends the detection of the HTTP version, after the peer has not answered the HTTP/2 preface with its SETTINGS: HTTP/1.1
    /// is used, on a new connection.
    pub(super) fn fall_back_to_http1(&mut self, key: SlotKey) {
        let Some(slot) = self.slots.remove(key) else { return };
        let at = slot.origin;
        if let Some(origin) = self.origins.get_mut(at) {
            (origin.version, origin.has_spoken_http2) = (Some(HttpVersion::Http1), false);
        }
        self.detach_from_origin(at, key);
        self.maybe_connect(at);
    }

    /// Takes the connection out of the pool; it finishes its streams. Waiting requests may need another connection.
    pub(super) fn retire(&mut self, key: SlotKey) {
        let Some(at) = self.slots.get_mut(key).map(|slot| slot.origin) else { return };
        let is_refuted = self.slots.connection(key).is_some_and(Connection::refutes_http1);
        if let Some(origin) = self.origins.get_mut(at) {
            origin.forget(key);
            origin.version = origin.version.filter(|_| !is_refuted);
        }
        self.on_streams_changed(key);
        self.assign_waiting(at);
    }

    /// Removes the connection and fails its requests.
    pub(super) fn on_connection_lost(&mut self, key: SlotKey, kind: FailureKind) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let at = slot.origin;
        let Link::Connected(connection) = &mut slot.link else { return };
        if matches!(connection.phase(), Phase::Handshaking { .. }) {
            if connection.may_be_http1() {
                return self.fall_back_to_http1(key);
            }
            let mut failure = ConnectFailure::new(kind);
            if let Some(text) = connection.protocol_mismatch() {
                text.clone_into(&mut failure.text);
            }
            return self.connect_failed(key, &failure);
        }
        if matches!(kind, FailureKind::Protocol(_)) {
            connection.flush_last(&mut Context::from_waker(&slot.waker), &mut self.counters);
        }
        if connection.active() > 0 {
            self.counters.connections_lost += 1;
        }
        if connection.refutes_http1()
            && let Some(origin) = self.origins.get_mut(at)
        {
            origin.version = None;
        }
        self.fail_streams(key, kind);
        self.slots.remove(key);
        self.detach_from_origin(at, key);
        self.assign_waiting(at);
    }

    fn queue_backend_events(&mut self, at: usize, event: impl Fn(BackendId) -> Event) {
        for (backend, _) in self.backends.iter().filter(|(_, target)| target.origin == at) {
            self.events.push_back(QueuedEvent::Backend(event(BackendId(backend))));
        }
    }
}
