//! Places for requests: asked for at the start, waited for in the queue, given back at the end (behaviour 10.1).
//!
//! Who may go is `lb::admit`'s decision. Here a request is bound to its place in the queue, and goes on when it is called.

use super::{
    Exchanges, Sides,
    client::ClientSide,
    end::Outcome,
    state::{Exchange, Place, Seat},
    tag_of,
};
use spooky_lb::{
    admit::{ClientShare, Wake},
    attempt::{Attempt, SlotId, Step},
    time::Nanos,
};
use std::{
    rc::Rc,
    task::Waker,
    time::{Duration, Instant},
};

/// How soon the budget for request bodies is looked at again while uploads wait for it.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl Exchanges {
    /// Tells the other workers how this one is woken when one of its waiting requests may go.
    pub(crate) fn listen(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.state.process.set_waker(self.queue.worker(), waker.clone());
            self.waker = Some(waker.clone());
        }
    }

    /// When [`Exchanges::call_waiting`] has something to do although nothing else happens.
    pub(super) fn queue_deadline(&self) -> Option<Instant> {
        let queue = self.queue.due().to_instant(self.state.epoch);
        [queue, self.look_again].into_iter().flatten().min()
    }

    /// Lets the waiting requests go on whose turn has come, and refuses those that have waited in vain.
    pub(crate) fn call_waiting(&mut self, sides: &mut Sides<'_>) {
        let now = self.nanos(sides.now);
        while let Some(wake) = self.queue.poll(now) {
            self.on_wake(sides, wake);
        }
        self.log_limits(now);
        if !self.capped.is_empty() && !self.state.bodies.is_full() {
            for tag in std::mem::take(&mut self.capped) {
                if let Some((key, _)) = self.find(tag) {
                    self.pump_upload(sides, key);
                }
            }
        }
        self.look_again = (!self.capped.is_empty()).then(|| sides.now + LOOK_AGAIN);
    }

    /// Logs changes of the adaptive limit and of brownout, once in the process.
    fn log_limits(&self, now: Nanos) {
        let process = &self.state.process;
        if let Some((old, new)) = process.take_limit_change(now) {
            tracing::info!("Adaptive limit changed from {old} to {new} requests in flight");
        }
        match process.take_brownout_change() {
            Some(true) => tracing::warn!(
                "Brownout began with {} requests in flight: only core routes are served",
                process.in_flight()
            ),
            Some(false) => tracing::info!("Brownout ended: all routes are served again"),
            None => {}
        }
    }

    fn on_wake(&mut self, sides: &mut Sides<'_>, wake: Wake) {
        let ticket = wake.ticket();
        // A permit for an exchange that is gone returns by drop.
        let Some((key, _)) = self.waiting.get(&ticket).copied().and_then(|tag| self.find(tag)) else { return };
        match wake {
            Wake::Granted { permit, waited, .. } => {
                self.waiting.remove(&ticket);
                if let Some(exchange) = self.table.get_mut(key) {
                    exchange.seat = Seat::Held { permit, place: Place::Seated(Some(waited)) };
                }
                let step = self.ask(sides, key, Attempt::on_start);
                self.perform(sides, key, step);
            }
            Wake::TryBackend(_) => {
                let step = self.ask(sides, key, Attempt::on_start);
                if let Some(Step::Full | Step::ClientFull) = step {
                    let is_held_back = step == Some(Step::ClientFull) || self.is_of_earlier_snapshot(key);
                    return self.queue.keep_waiting(ticket, is_held_back);
                }
                self.queue.leave(ticket);
                self.waiting.remove(&ticket);
                if let Some(Exchange { seat: Seat::Held { place, .. }, .. }) = self.table.get_mut(key) {
                    *place = Place::Seated(None);
                }
                self.perform(sides, key, step);
            }
            Wake::Refused { reason, .. } => {
                self.waiting.remove(&ticket);
                self.end(sides, key, Outcome::Answer(reason));
            }
        }
    }

    /// Every backend is full, or the client holds its share of those that are not: the exchange waits for one, with its
    /// permit in hand.
    pub(super) fn wait_for_backend(&mut self, sides: &mut Sides<'_>, key: usize, is_held_back: bool) {
        let now = self.nanos(sides.now);
        let is_held_back = is_held_back || self.is_of_earlier_snapshot(key);
        let Some(exchange) = self.table.get_mut(key) else { return };
        let Seat::Held { permit, place } = &mut exchange.seat else { return };
        let Place::Seated(waited) = *place else { return };
        match self.queue.wait_backend(permit, is_held_back, waited, exchange.attempt.total_deadline(), now) {
            Ok(ticket) => {
                *place = Place::Standing(ticket);
                self.waiting.insert(ticket, tag_of(key, exchange.serial, SlotId::FIRST));
                self.arm(key);
            }
            Err(reason) => self.end(sides, key, Outcome::Answer(reason)),
        }
    }

    /// Whether a reload has taken place since it began.
    fn is_of_earlier_snapshot(&self, key: usize) -> bool {
        self.table.get(key).is_some_and(|exchange| !Rc::ptr_eq(&exchange.snapshot, &self.snapshot))
    }

    /// What the client's connection holds of the limits.
    pub(super) fn client_share(&mut self, client: ClientSide) -> ClientShare {
        let (listener, conn, epoch) = client.connection();
        let Self { clients, queue, .. } = self;
        if clients.len() <= listener {
            clients.resize_with(listener + 1, Vec::new);
        }
        let Some(of_listener) = clients.get_mut(listener) else { return queue.new_client() };
        if of_listener.len() <= conn {
            of_listener.resize_with(conn + 1, || None);
        }
        match of_listener.get_mut(conn) {
            Some(Some((known, share))) if *known == epoch => share.clone(),
            Some(slot) => slot.insert((epoch, queue.new_client())).1.clone(),
            None => queue.new_client(),
        }
    }

    /// An exchange that is over leaves the queue.
    pub(super) fn leave_queue(&mut self, exchange: &Exchange) {
        if let Some(ticket) = exchange.seat.ticket()
            && self.waiting.remove(&ticket).is_some()
        {
            self.queue.leave(ticket);
        }
    }
}
