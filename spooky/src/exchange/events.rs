//! Entry points for the events of the client side, the backend side, the timers and the queue.

use super::{exchanges::Exchanges, io::Io, outcome::Outcome, state::Exchange, tag::Tag};
use crate::client_side::ClientSide;
use spooky_edge::{Event as ClientEvent, EventKind};
use spooky_lb::{admit::Wake, time::Nanos};
use spooky_transport::Event as UpstreamEvent;

impl Exchanges {
    /// Handles an event of the client side.
    pub(crate) fn on_client(&mut self, io: &mut impl Io, client: ClientSide, event: ClientEvent) {
        let ClientEvent { tag, kind, .. } = event;
        let tag = tag.map(|number| Tag::from_event(number).0);
        match (kind, tag) {
            (EventKind::Request { protocol, head, end, peer, .. }, _) => {
                self.start(io, client, protocol, head, end, peer);
            }
            (EventKind::Refused { protocol, refusal, peer }, _) => self.refuse(io, client, protocol, &refusal, peer),
            (EventKind::TimedOut { protocol, peer }, _) => self.refuse_late(io, client, protocol, peer),
            (EventKind::Malformed { protocol, fields, reason, peer }, _) => {
                self.refuse_malformed(io, client, protocol, &fields, reason, peer);
            }
            (EventKind::Readable, Some(tag)) => self.dispatch(io, tag, Exchange::on_upload),
            (EventKind::Accepted(bytes), Some(tag)) => {
                self.dispatch(io, tag, |exchange, cx| exchange.on_accepted(cx, bytes));
            }
            (EventKind::Sent, Some(tag)) => self.dispatch(io, tag, |exchange, _| exchange.on_all_sent()),
            (EventKind::Aborted(abort), Some(tag)) => self.end(io, tag, Outcome::Aborted(abort)),
            // The request was refused and has no exchange.
            (EventKind::Readable | EventKind::Accepted(_) | EventKind::Sent | EventKind::Aborted(_), None) => {}
        }
    }

    /// Handles an event of the backend side.
    pub(crate) fn on_upstream(&mut self, io: &mut impl Io, event: UpstreamEvent) {
        match event {
            UpstreamEvent::BackendDown { backend, reason } => self.snapshot.log_unreachable(backend, &reason),
            UpstreamEvent::BackendUp { backend } => self.snapshot.log_reachable(backend),
            UpstreamEvent::Sent { tag, waited } => {
                let (tag, slot) = Tag::from_event(tag);
                self.dispatch(io, tag, |exchange, cx| exchange.on_connected(cx, slot, waited));
            }
            UpstreamEvent::Sendable { tag } => {
                self.dispatch(io, Tag::from_event(tag).0, Exchange::on_upload);
            }
            UpstreamEvent::Informational { tag, protocol, head } => {
                self.dispatch(io, Tag::from_event(tag).0, |exchange, cx| exchange.on_interim(cx, protocol, head));
            }
            UpstreamEvent::Head { tag, protocol, head, end } => {
                let (tag, slot) = Tag::from_event(tag);
                self.dispatch(io, tag, |exchange, cx| exchange.on_head(cx, slot, protocol, head, end));
            }
            UpstreamEvent::Data { tag, data, end } => {
                self.dispatch(io, Tag::from_event(tag).0, |exchange, cx| exchange.on_data(cx, data, end));
            }
            UpstreamEvent::Trailers { tag, fields } => {
                self.dispatch(io, Tag::from_event(tag).0, |exchange, cx| exchange.on_trailers(cx, fields));
            }
            UpstreamEvent::Failed { tag, failure } => {
                let (tag, slot) = Tag::from_event(tag);
                self.dispatch(io, tag, |exchange, cx| exchange.on_failed(cx, slot, &failure));
            }
        }
    }

    /// Handles deadlines that have passed.
    pub(crate) fn on_time(&mut self, io: &mut impl Io) {
        let mut due = Vec::new();
        let (table, epoch, now) = (&mut self.table, self.state.epoch, io.now());
        self.wheel.advance(now, |tag| {
            let exchange = table.get_mut(tag.0)?;
            exchange.armed = exchange.deadline(epoch).filter(|at| *at > now);
            if exchange.armed.is_none() {
                due.push(tag);
            }
            exchange.armed
        });
        for tag in due {
            self.dispatch(io, tag, Exchange::on_deadline);
        }
    }

    /// Continues waiting requests that have got a permit or a backend, and refuses those that have waited too long.
    pub(crate) fn poll_waiting(&mut self, io: &mut impl Io) {
        let now = self.nanos(io.now());
        while let Some((tag, wake)) = self.waiting.poll(now) {
            self.on_wake(io, tag, wake);
        }
        self.log_limits(now);
        for tag in self.waiting.take_capped(self.state.bodies.is_full()) {
            self.dispatch(io, tag, Exchange::on_budget);
        }
        self.waiting.schedule_budget_poll(io.now());
    }

    fn on_wake(&mut self, io: &mut impl Io, tag: Tag, wake: Wake) {
        match wake {
            Wake::Granted { permit, waited, limit, .. } => {
                self.snapshot.counts.on_waited(limit);
                self.dispatch(io, tag, |exchange, cx| exchange.on_permit(cx, permit, waited));
            }
            Wake::TryBackend(ticket) => {
                self.dispatch(io, tag, Exchange::on_backend_room);
                if self.table.get(tag.0).and_then(|exchange| exchange.admission.ticket()) != Some(ticket) {
                    self.waiting.leave(ticket);
                }
            }
            Wake::Refused { reason, .. } => self.end(io, tag, Outcome::Answer(reason)),
        }
    }

    /// Logs changes of the adaptive limit and of brownout. Each change is logged by one worker.
    fn log_limits(&self, now: Nanos) {
        let limits = &self.state.global_limits;
        if let Some((old, new)) = limits.take_limit_change(now) {
            tracing::info!("Adaptive limit changed from {old} to {new} requests in flight");
        }
        match limits.take_brownout_change() {
            Some(true) => tracing::warn!(
                "Brownout began with {} requests in flight: only core routes are served",
                limits.in_flight()
            ),
            Some(false) => tracing::info!("Brownout ended: all routes are served again"),
            None => {}
        }
    }
}
