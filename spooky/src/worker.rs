//! One data-plane thread: its listeners, its exchanges, its backends, and the loop that drives them.
//!
//! The loop is one future. Each poll is one turn of fixed order and bounded work; nothing in it blocks or waits.

use crate::{
    control::{Control, Seen},
    exchange::{Clock, Exchanges, RequestCounts, WorkerIo},
    listener::{Ingress, Listeners},
    snapshot::{Snapshot, WorkerSnapshot, transport_options},
    state::State,
    stream_window::StreamWindow,
};
use spooky_config::Config;
use spooky_edge::ResponseBudget;
use spooky_net::{
    heap,
    inbox::{Inbox, Inboxes},
    timer::Timer,
    udp::{Datagram, UdpOptions},
};
use spooky_transport::Transport;
use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// Datagrams taken from the inbox in one turn.
const PASSED_PER_TURN: usize = 512;
/// How often it is said at most that the inbox was full.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// A worker that had nothing to do for so long gives unused memory back to the system.
const IDLE: Duration = Duration::from_secs(1);

/// How far the worker is on its way out.
enum Life {
    Running,
    Draining { until: Instant },
    Closing,
}

/// What a worker works with.
pub(crate) struct WorkerSetup {
    pub(crate) snapshot: Arc<Snapshot>,
    /// Its part of the listeners.
    pub(crate) ingress: Vec<Ingress>,
}

/// A worker.
pub(crate) struct Worker {
    listeners: Listeners,
    transport: Transport,
    exchanges: Exchanges,
    setup: Arc<WorkerSetup>,
    control: Arc<Control<Arc<WorkerSetup>>>,
    seen: Seen,
    inboxes: Arc<Inboxes>,
    number: usize,
    responses: Arc<ResponseBudget>,
    stream_window: StreamWindow,
    /// When it was last said that the inbox was full.
    told: Option<Instant>,
    /// When the worker counts as idle; `None` once it has given its memory back.
    idle_at: Option<Instant>,
    timer: Timer,
    life: Life,
}

impl Worker {
    /// A worker on the configuration that is in effect. Called on its runtime; `seed` is drawn by the system.
    pub(crate) fn new(
        state: Arc<State>,
        control: Arc<Control<Arc<WorkerSetup>>>,
        inboxes: Arc<Inboxes>,
        number: usize,
        seed: u64,
    ) -> io::Result<Self> {
        // A drain that was ordered before is seen by the first turn.
        let setup = control.read(&mut Seen::default()).setup;
        let (config, now) = (&setup.snapshot.config, Instant::now());
        let mut transport = Transport::new(transport_options(config), now);
        let snapshot = WorkerSnapshot::new(setup.snapshot.clone(), &mut transport, number);
        Ok(Self {
            listeners: Listeners::open(&setup.ingress, &udp_options(config))?,
            transport,
            responses: state.responses.clone(),
            stream_window: StreamWindow::new(now),
            exchanges: Exchanges::new(state, snapshot, Clock::new(seed), number, now),
            setup,
            control,
            seen: Seen::default(),
            inboxes,
            number,
            told: None,
            idle_at: None,
            timer: Timer::new()?,
            life: Life::Running,
        })
    }

    /// Serves until it is told to stop and has drained.
    pub(crate) async fn run(mut self) {
        let turns = poll_fn(|cx| {
            self.exchanges.listen(cx.waker());
            self.turn(cx)
        });
        tokio::task::unconstrained(turns).await;
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let mut more = self.collect(cx, now);
        for (at, listener) in self.listeners.iter_mut() {
            more |= listener.receive(cx, now, at, &self.inboxes);
            listener.edge.on_time(now);
        }
        self.transport.on_time(now);
        self.transport.poll_io(cx, now);
        self.exchange(now);
        self.transport.set_initial_window(self.stream_window.size(&self.responses, now));
        self.transport.flush(cx);
        for (_, listener) in self.listeners.iter_mut() {
            more |= listener.transmit(cx, now);
            more |= listener.edge.has_work();
        }
        if self.live(cx, now) {
            return Poll::Ready(());
        }
        self.rest(now);
        if more || !self.arm(cx, now) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Gives memory back if nothing has happened for a while: this turn is then the timer's.
    fn rest(&mut self, now: Instant) {
        if self.idle_at.is_some_and(|at| now >= at) {
            self.listeners.iter_mut().for_each(|(_, listener)| listener.free_unused());
            self.transport.free_unused();
            self.exchanges.free_unused();
            heap::give_back();
            self.idle_at = None;
        } else {
            self.idle_at = Some(now + IDLE);
        }
    }

    /// Takes what arrived for this worker at the sockets of others. True if there may be more.
    fn collect(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Self { inboxes, number, listeners, told, .. } = self;
        let Some(inbox) = inboxes.of(*number) else { return false };
        inbox.listen(cx.waker());
        for taken in 0..PASSED_PER_TURN {
            let Some((at, datagram)) = inbox.take() else {
                if taken > 0 {
                    tell_dropped(inbox, *number, told, now);
                }
                return false;
            };
            if let Some(listener) = listeners.get_mut(at) {
                let Datagram { remote, local_ip, ecn, data, .. } = datagram;
                listener.edge.on_datagram(now, remote, local_ip, ecn.unwrap_or_default(), data);
            }
        }
        tell_dropped(inbox, *number, told, now);
        true
    }

    /// Lets the exchanges act on what both sides have seen.
    fn exchange(&mut self, now: Instant) {
        for (_, listener) in self.listeners.iter_mut() {
            listener.edge.serve(now);
        }
        let Self { listeners, transport, exchanges, .. } = self;
        exchanges.advance(now);
        for at in 0..listeners.len() {
            while let Some(event) = listeners.get_mut(at).and_then(|listener| listener.edge.next_event()) {
                exchanges.on_client(&mut WorkerIo { listeners, transport, now }, at, event);
            }
        }
        while let Some(event) = transport.next_event() {
            exchanges.on_upstream(&mut WorkerIo { listeners, transport, now }, event);
        }
        exchanges.on_time(&mut WorkerIo { listeners, transport, now });
        exchanges.call_waiting(&mut WorkerIo { listeners, transport, now });
        exchanges.release_snapshots(transport);
    }

    /// Sets the timer to the nearest deadline. False if that has passed already.
    fn arm(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let edges = self.listeners.iter().filter_map(|listener| listener.edge.deadline());
        let life = match self.life {
            Life::Draining { until } => Some(until),
            Life::Running | Life::Closing => None,
        };
        let others = [
            self.transport.next_deadline(),
            self.exchanges.deadline(),
            self.listeners.removal_due(now),
            life,
            self.idle_at,
        ];
        let deadline = edges.chain(others.into_iter().flatten()).min();
        if self.timer.set(deadline).is_err() {
            return false;
        }
        matches!(self.timer.poll_expired(cx), Poll::Pending)
    }

    /// Follows a new configuration. Requests that have begun keep theirs.
    fn reload(&mut self, setup: Arc<WorkerSetup>, now: Instant) {
        let config = &setup.snapshot.config;
        self.transport.configure(transport_options(config));
        let snapshot = WorkerSnapshot::new(setup.snapshot.clone(), &mut self.transport, self.number);
        self.exchanges.reload(snapshot);
        let grace = config.performance.shutdown_drain_timeout_ms;
        self.listeners.reload(&setup.ingress, &udp_options(config), now, grace);
        self.setup = setup;
    }

    /// Starts and ends the drain (docs/reference/behaviour.md#drain). Returns true when the worker has nothing left to do.
    fn live(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        match self.life {
            Life::Running => {
                self.listeners.remove_drained(now);
                let Some(orders) = self.control.poll(&mut self.seen, cx) else { return false };
                if let Some(grace) = orders.drain {
                    self.listeners.iter_mut().for_each(|(_, listener)| listener.edge.drain(now));
                    self.life = Life::Draining { until: now + grace };
                    cx.waker().wake_by_ref();
                } else if !Arc::ptr_eq(&orders.setup, &self.setup) {
                    self.reload(orders.setup, now);
                    cx.waker().wake_by_ref();
                }
                false
            }
            Life::Draining { until } => {
                if now >= until || self.listeners.iter().all(|listener| listener.edge.connections() == 0) {
                    self.listeners.iter_mut().for_each(|(_, listener)| listener.edge.close(now));
                    self.life = Life::Closing;
                    cx.waker().wake_by_ref();
                }
                false
            }
            Life::Closing => {
                let RequestCounts { total, success, failure, cancelled } = self.exchanges.counts();
                let number = self.number;
                tracing::info!(
                    "worker-{number}: stopped, requests={total} success={success} failure={failure} cancelled={cancelled}"
                );
                true
            }
        }
    }
}

fn udp_options(config: &Config) -> UdpOptions {
    UdpOptions {
        recv_buffer: config.performance.udp_recv_buffer_bytes as usize,
        send_buffer: config.performance.udp_send_buffer_bytes as usize,
        reuseport: false, // it is bound already
    }
}

/// Says that the inbox was full, unless that was said just now.
fn tell_dropped(inbox: &Inbox, number: usize, told: &mut Option<Instant>, now: Instant) {
    if told.is_some_and(|at| now.saturating_duration_since(at) < TELL_EVERY) {
        return;
    }
    let dropped = inbox.take_dropped();
    if dropped > 0 {
        *told = Some(now);
        tracing::warn!("worker-{number}: inbox full, dropped {dropped} forwarded datagrams");
    }
}
