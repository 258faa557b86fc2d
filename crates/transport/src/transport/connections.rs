//! The life cycle of connections: attempt, success or failure, retirement, loss.

use std::{net::SocketAddr, rc::Rc, task::Context};

use super::Transport;
use crate::{
    connect::{DetectedScheme, Established},
    event::Event,
    failure::{ConnectFailure, FailureKind},
    handle::{BackendId, SlotKey},
    origin::Reachability,
    pool::{Connection, Due, H2Connection, Phase},
    queued::QueuedEvent,
    slots::Link,
};

impl Transport {
    /// Starts HTTP/2 after TCP and TLS. The peer's SETTINGS must arrive before the deadline of the attempt.
    pub(super) fn start_h2(&mut self, key: SlotKey, established: Established) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        let deadline = slot.deadline(self.now);
        let mut connection = H2Connection::new(established.socket, &self.h2, deadline, self.now);
        connection.is_detected_cleartext = established.detected == Some(DetectedScheme::Cleartext);
        slot.link = Link::Connected(Connection::H2(Box::new(connection)));
        if let Some(origin) = self.origins.get_mut(slot.origin) {
            origin.addresses = Some(established.addresses);
            origin.detected = established.detected;
        }
        self.mark_dirty(key);
    }

    /// Opens the connection for requests, after the peer's SETTINGS.
    pub(super) fn connected(&mut self, key: SlotKey) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if let Link::Connected(connection) = &slot.link
            && let Due::At(at) = connection.due(&self.options, self.now)
        {
            slot.arm(at, &mut self.deadlines);
        }
        let at = slot.origin;
        let Some(origin) = self.origins.get_mut(at) else { return };
        origin.connecting = None;
        origin.open.push(key);
        origin.failed_at = None;
        self.counters.connections_opened += 1;
        if std::mem::replace(&mut origin.reachability, Reachability::Up) == Reachability::Down {
            self.queue_backend_events(at, |backend| Event::BackendUp { backend });
        }
        self.on_streams_changed(key);
    }

    pub(super) fn connect_failed(&mut self, key: SlotKey, failure: &ConnectFailure) {
        let Some(slot) = self.slots.remove(key) else { return };
        let at = slot.origin;
        self.counters.connect_failures += 1;
        let Some(origin) = self.origins.get_mut(at) else { return };
        origin.failed_at = Some(self.now);
        origin.addresses = None::<Rc<[SocketAddr]>>;
        origin.detected = None;
        if origin.open.is_empty() {
            if std::mem::replace(&mut origin.reachability, Reachability::Down) == Reachability::Up {
                let reason: Rc<str> = Rc::from(failure.text.as_str());
                self.queue_backend_events(at, |backend| Event::BackendDown { backend, reason: Rc::clone(&reason) });
            }
            self.fail_waiting(at, failure.kind);
        }
        self.detach_from_origin(at, key);
    }

    /// Takes the connection out of the pool; it finishes its streams. Waiting requests may need another connection.
    pub(super) fn retire(&mut self, key: SlotKey) {
        let Some(at) = self.slots.get_mut(key).map(|slot| slot.origin) else { return };
        if let Some(origin) = self.origins.get_mut(at) {
            origin.open.retain(|open| *open != key);
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
