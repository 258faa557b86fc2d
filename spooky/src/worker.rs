//! One data-plane worker: its listeners, exchanges and backend connections, and its event loop.
//!
//! The loop is one future. Each poll is one turn with a fixed order and bounded work; it never blocks.

use crate::{
    clock::Clock,
    control::{Control, SeenVersion},
    exchange::{Exchanges, RequestCounts, WorkerIo},
    listener::{Ingress, Listener, Listeners},
    snapshot::{Snapshot, WorkerSnapshot, transport_options},
    state::State,
    stream_window::StreamWindow,
    upgrade::{handover::Handover, previous::PreviousProcesses},
    watchdog::WorkerProgress,
};
use spooky_config::Config;
use spooky_edge::ResponseBudget;
use spooky_net::{
    forward::ForwardReceiver,
    heap,
    inbox::{Inbox, Inboxes},
    timer::Timer,
    udp::UdpOptions,
};
use spooky_telemetry::access::{AccessLog, AccessOutput};
use spooky_transport::{Options, Transport};
use std::{
    future::poll_fn,
    io,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// Maximum number of datagrams taken from the inbox per turn.
const FORWARDED_PER_TURN: usize = 512;
/// Minimum time between two log lines about a full inbox.
const LOG_INTERVAL: Duration = Duration::from_secs(1);
/// A worker returns unused memory to the system after being idle for this long.
const IDLE_TIME: Duration = Duration::from_secs(1);

enum WorkerState {
    Running,
    Draining { until: Instant },
    Closing,
}

/// The configuration of one worker.
pub(crate) struct WorkerSetup {
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) ingress: Vec<Ingress>,
    /// Set when a new process takes over the sockets.
    pub(crate) handover: Option<Arc<Handover>>,
}

pub(crate) struct Worker {
    listeners: Listeners,
    transport: Transport,
    exchanges: Exchanges,
    setup: Arc<WorkerSetup>,
    control: Arc<Control<Arc<WorkerSetup>>>,
    seen: SeenVersion,
    inboxes: Arc<Inboxes>,
    /// The processes that this one has replaced.
    previous: Option<Box<PreviousProcesses>>,
    /// What the process passes on that has replaced this one.
    passed_on: Option<ForwardReceiver>,
    number: usize,
    responses: Arc<ResponseBudget>,
    progress: Arc<WorkerProgress>,
    stream_window: StreamWindow,
    /// When a full inbox was last logged.
    overflow_logged: Option<Instant>,
    /// When the worker becomes idle; `None` once its unused memory is freed.
    idle_at: Option<Instant>,
    timer: Timer,
    state: WorkerState,
}

impl Worker {
    /// Creates a worker with the current configuration. Must be called within its runtime.
    pub(crate) fn new(
        state: Arc<State>,
        control: Arc<Control<Arc<WorkerSetup>>>,
        inboxes: Arc<Inboxes>,
        access: Arc<AccessOutput>,
        number: usize,
        seed: u64,
    ) -> io::Result<Self> {
        // The first turn handles a drain that has already started, but sockets that were handed over must not be read.
        let setup = control.read(&mut SeenVersion::default()).setup;
        let (config, now) = (&setup.snapshot.config, Instant::now());
        let mut transport = Transport::new(options(config, number), state.names.clone(), now);
        if let Some(counts) = state.metrics.transports().get(number) {
            transport.count_in(counts.clone());
        }
        let snapshot = WorkerSnapshot::new(setup.snapshot.clone(), &mut transport, number);
        snapshot.counts.end_lost();
        let access = AccessLog::new(access, seed, now);
        let previous = PreviousProcesses::new(&state.upgrade.previous);
        let mut worker = Self {
            listeners: Listeners::open(&setup.ingress, &udp_options(config))?,
            transport,
            responses: state.responses.clone(),
            progress: state.watchdog.worker(number),
            stream_window: StreamWindow::new(now),
            exchanges: Exchanges::new(state, snapshot, Clock::new(seed), access, number, now),
            setup,
            control,
            seen: SeenVersion::default(),
            inboxes,
            previous,
            passed_on: None,
            number,
            overflow_logged: None,
            idle_at: None,
            timer: Timer::new()?,
            state: WorkerState::Running,
        };
        worker.hand_over();
        Ok(worker)
    }

    /// Runs until the worker has drained.
    pub(crate) async fn run(mut self) {
        let turns = poll_fn(|cx| {
            self.exchanges.register_waker(cx.waker());
            self.turn(cx)
        });
        tokio::task::unconstrained(turns).await;
    }

    fn turn(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let now = Instant::now();
        let mut more = self.receive_forwarded(cx, now) | self.receive_passed_on(cx, now);
        let Self { listeners, inboxes, previous, .. } = self;
        for (at, listener) in listeners.iter_mut() {
            more |= listener.poll(cx, now, at, inboxes, previous.as_deref_mut());
        }
        if previous.as_mut().is_some_and(|previous| !previous.flush(now)) {
            *previous = None;
        }
        self.transport.on_time(now);
        self.transport.poll_io(cx, now);
        self.run_exchanges(now);
        self.transport.set_initial_window(self.stream_window.size(&self.responses, now));
        self.transport.flush(cx);
        for (_, listener) in self.listeners.iter_mut() {
            more |= listener.send(cx, now);
        }
        self.end_turn_of_log();
        if self.update_state(cx, now) {
            return Poll::Ready(());
        }
        self.free_if_idle(now);
        self.progress.on_turn();
        if more || !self.set_timer(cx, now) {
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Reports connections that have ended, and hands over lines of the access log that are due.
    fn end_turn_of_log(&mut self) {
        let access = self.exchanges.access();
        let is_wanted = access.has_connections();
        for (_, listener) in self.listeners.iter_mut() {
            listener.report_ended(is_wanted, &mut |record| access.connection(record));
        }
        access.end_turn();
    }

    /// Frees unused memory if nothing has happened for [`IDLE_TIME`]; then only the timer has caused this turn.
    fn free_if_idle(&mut self, now: Instant) {
        if self.idle_at.is_some_and(|at| now >= at) {
            self.listeners.iter_mut().for_each(|(_, listener)| listener.free_unused());
            self.transport.free_unused();
            self.exchanges.free_unused();
            heap::release_unused();
            self.idle_at = None;
        } else if !self.progress.take_question() {
            self.idle_at = Some(now + IDLE_TIME);
        }
    }

    /// Takes datagrams that other workers have forwarded. Returns true if there may be more.
    fn receive_forwarded(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Self { inboxes, number, listeners, overflow_logged, previous, .. } = self;
        let Some(inbox) = inboxes.get(*number) else { return false };
        inbox.register_waker(cx.waker());
        for taken in 0..FORWARDED_PER_TURN {
            let Some((at, datagram)) = inbox.pop() else {
                if taken > 0 {
                    log_dropped(inbox, *number, overflow_logged, now);
                }
                return false;
            };
            if let Some(listener) = listeners.get_mut(at) {
                listener.deliver(now, at, datagram, previous.as_deref_mut());
            }
        }
        log_dropped(inbox, *number, overflow_logged, now);
        true
    }

    /// Takes datagrams that the process that has replaced this one passes on. Returns true if there may be more. If that process
    /// has ended, reads the sockets again.
    fn receive_passed_on(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let Self { passed_on: Some(receiver), listeners, .. } = self else { return false };
        for _ in 0..FORWARDED_PER_TURN {
            match receiver.poll_recv(cx) {
                Poll::Pending => return false,
                Poll::Ready(Some((at, datagram))) => {
                    if let Some(listener) = listeners.get_mut(at) {
                        listener.deliver(now, at, datagram, None);
                    }
                }
                Poll::Ready(None) => {
                    tracing::info!("worker-{}: the new process has ended; its sockets are read again", self.number);
                    listeners.iter_mut().for_each(|(_, listener)| listener.resume_receiving());
                    self.passed_on = None;
                    return true;
                }
            }
        }
        true
    }

    /// Leaves the sockets to the process that replaces this one, if it takes them over.
    fn hand_over(&mut self) {
        let Some(handover) = self.setup.handover.clone() else { return };
        match handover.receiver(self.number) {
            Ok(receiver) => self.passed_on = Some(receiver),
            Err(error) => {
                let number = self.number;
                tracing::error!("worker-{number}: nothing is received from the new process: {error}");
            }
        }
        for (number, listener) in self.listeners.iter_mut() {
            listener.hand_over(number, &handover);
        }
        handover.confirm();
    }

    /// Passes the events of both sides to the exchanges.
    fn run_exchanges(&mut self, now: Instant) {
        for (_, listener) in self.listeners.iter_mut() {
            listener.edge.serve(now);
        }
        let Self { listeners, transport, exchanges, .. } = self;
        exchanges.advance(now);
        for at in 0..listeners.len() {
            while let Some((client, event)) = listeners.get_mut(at).and_then(|listener| listener.next_event(at)) {
                exchanges.on_client(&mut WorkerIo { listeners, transport, now }, client, event);
            }
        }
        listeners.iter_mut().for_each(|(_, listener)| listener.serve_redirect(exchanges.clock()));
        while let Some(event) = transport.next_event() {
            exchanges.on_upstream(&mut WorkerIo { listeners, transport, now }, event);
        }
        exchanges.on_time(&mut WorkerIo { listeners, transport, now });
        exchanges.poll_waiting(&mut WorkerIo { listeners, transport, now });
        exchanges.release_snapshots(transport);
    }

    /// Sets the timer to the nearest deadline. Returns false if it has passed already.
    fn set_timer(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let edges = self.listeners.iter().filter_map(Listener::deadline);
        let drain_end = match self.state {
            WorkerState::Draining { until } => Some(until),
            WorkerState::Running | WorkerState::Closing => None,
        };
        let others = [
            self.transport.next_deadline(),
            self.exchanges.deadline(),
            self.listeners.removal_due(now),
            drain_end,
            self.idle_at,
            self.previous.as_ref().and_then(|previous| previous.deadline()),
        ];
        let deadline = edges.chain(others.into_iter().flatten()).min();
        if self.timer.set(deadline).is_err() {
            return false;
        }
        matches!(self.timer.poll_expired(cx), Poll::Pending)
    }

    /// Applies a new configuration. Requests in progress keep the previous one.
    fn reload(&mut self, setup: Arc<WorkerSetup>, now: Instant) {
        let config = &setup.snapshot.config;
        self.transport.configure(options(config, self.number));
        let snapshot = WorkerSnapshot::new(setup.snapshot.clone(), &mut self.transport, self.number);
        self.exchanges.reload(snapshot);
        let grace = config.performance.shutdown_drain_timeout_ms;
        self.listeners.reload(&setup.ingress, &udp_options(config), now, grace);
        self.setup = setup;
    }

    /// Applies reloads, and starts and ends the drain (docs/reference/behaviour.md#drain). Returns true when the worker is done.
    fn update_state(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        match self.state {
            WorkerState::Running => {
                self.listeners.remove_drained(now);
                let Some(orders) = self.control.poll(&mut self.seen, cx) else { return false };
                if let Some(grace) = orders.drain {
                    let is_handed_over = self.setup.handover.is_some();
                    self.setup = orders.setup;
                    if !is_handed_over {
                        self.hand_over();
                    }
                    self.listeners.iter_mut().for_each(|(_, listener)| listener.drain(now));
                    self.state = WorkerState::Draining { until: now + grace };
                    cx.waker().wake_by_ref();
                } else if !Arc::ptr_eq(&orders.setup, &self.setup) {
                    self.reload(orders.setup, now);
                    cx.waker().wake_by_ref();
                }
                false
            }
            WorkerState::Draining { until } => {
                self.control.poll(&mut self.seen, cx); // answers that the worker makes progress
                let left: usize = self.listeners.iter().map(Listener::connections).sum();
                if now >= until || left == 0 {
                    self.log_drained(left);
                    self.listeners.iter_mut().for_each(|(_, listener)| listener.close(now));
                    self.state = WorkerState::Closing;
                    cx.waker().wake_by_ref();
                }
                false
            }
            WorkerState::Closing => {
                if let Some(receiver) = &self.passed_on {
                    receiver.close();
                }
                let RequestCounts { total, success, failure, cancelled, .. } = self.exchanges.counts();
                let number = self.number;
                tracing::info!(
                    "worker-{number}: stopped, requests={total} success={success} failure={failure} cancelled={cancelled}"
                );
                self.listeners.iter().for_each(|listener| listener.log_sent(number));
                true
            }
        }
    }

    fn log_drained(&self, left: usize) {
        let number = self.number;
        if left == 0 {
            tracing::debug!("worker-{number}: drain complete, no connection is left");
        } else {
            tracing::info!("worker-{number}: the time of the drain is over, closing {left} connections");
        }
    }
}

/// Returns the transport options. Workers begin with different addresses of a name.
fn options(config: &Config, number: usize) -> Options {
    Options { first_turn: number, ..transport_options(config) }
}

fn udp_options(config: &Config) -> UdpOptions {
    UdpOptions {
        recv_buffer: config.performance.udp_recv_buffer_bytes as usize,
        send_buffer: config.performance.udp_send_buffer_bytes as usize,
        reuseport: false, // it is bound already
    }
}

/// Logs dropped datagrams, at most once per [`LOG_INTERVAL`].
fn log_dropped(inbox: &Inbox, number: usize, overflow_logged: &mut Option<Instant>, now: Instant) {
    if overflow_logged.is_some_and(|at| now.saturating_duration_since(at) < LOG_INTERVAL) {
        return;
    }
    let dropped = inbox.take_dropped();
    if dropped > 0 {
        *overflow_logged = Some(now);
        tracing::warn!("worker-{number}: inbox full, dropped {dropped} forwarded datagrams");
    }
}
