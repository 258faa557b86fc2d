//! The thread of the watchdog: measures windows and does what `lb::watchdog` decides.

use super::state::{Refused, WatchdogState, WorkerProgress};
use crate::{
    control::{Control, ControlState, SeenVersion},
    restart::{RestartBackoff, RunFailure, supervise},
    snapshot::Snapshot,
    state::State,
    worker::WorkerSetup,
};
use spooky_config::Watchdog as Config;
use spooky_lb::{
    time::Nanos,
    watchdog::{StallTimer, Verdict, Watchdog, WatchdogOptions, Window},
};
use spooky_telemetry::metrics::{Counter, Metrics, WorkerSeries};
use std::{
    fmt,
    future::poll_fn,
    io,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};
use tokio::{
    runtime::Builder,
    select,
    time::{MissedTickBehavior, interval},
};

/// What the thread works with.
pub(crate) struct WatchdogSetup {
    pub(crate) state: Arc<State>,
    /// The workers, in the order of their numbers.
    pub(crate) workers: Vec<Arc<Control<Arc<WorkerSetup>>>>,
}

/// Runs the watchdog until a drain.
pub(crate) fn run(setup: &WatchdogSetup, control: &Control<Arc<Snapshot>>) {
    let report = |end, pause: Duration| {
        let pause = pause.as_millis();
        match end {
            RunFailure::Error(error) => {
                tracing::error!("Watchdog disabled: no Tokio runtime available: {error}; restarting in {pause} ms");
            }
            RunFailure::Panic => tracing::error!("Background task 'watchdog' panicked; restarting in {pause} ms"),
        }
    };
    supervise(control, RestartBackoff::new(), |_| run_once(setup, control), report);
}

fn run_once(setup: &WatchdogSetup, control: &Control<Arc<Snapshot>>) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    runtime.block_on(async {
        let (mut seen, state) = (SeenVersion::default(), &setup.state.watchdog);
        let mut watchdog = Watchdog::default();
        if let Some(at) = state.restarted_at() {
            watchdog = Watchdog::reported_at(Nanos::since(setup.state.epoch, at));
        }
        let mut next = settings(control.read(&mut seen));
        while let Some(config) = next {
            next = select! {
                changed = next_change(control, &mut seen, &config) => changed,
                never = watch(setup, &config, &mut watchdog) => match never {},
            };
        }
        Ok(())
    })
}

/// Returns the settings, or `None` for a drain. The snapshot is not kept: it must be freed when others do not use it any more.
fn settings(state: ControlState<Arc<Snapshot>>) -> Option<Config> {
    let ControlState { setup, drain } = state;
    drain.is_none().then(|| setup.config.resilience.watchdog.clone())
}

/// Waits for a drain, or for other settings. Reloads that do not change them do not interrupt a window: with one in each
/// window, none would ever end.
async fn next_change(control: &Control<Arc<Snapshot>>, seen: &mut SeenVersion, config: &Config) -> Option<Config> {
    poll_fn(|cx| match control.poll(seen, cx).map(settings) {
        Some(next) if next.as_ref() != Some(config) => Poll::Ready(next),
        _ => Poll::Pending,
    })
    .await
}

enum Never {}

/// Measures windows while the configuration is in effect.
async fn watch(setup: &WatchdogSetup, config: &Config, watchdog: &mut Watchdog) -> Never {
    if !config.enabled {
        return std::future::pending().await;
    }
    let (state, metrics) = (&setup.state.watchdog, &setup.state.metrics);
    let mut meter = Meter::new(state, metrics);
    let mut ticks = interval(config.check_interval_ms);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    let mut began = Instant::now();
    loop {
        Meter::ask(state, &setup.workers);
        ticks.tick().await;
        let ended = Instant::now();
        // The whole process may have been suspended. Only what it could have used counts.
        let elapsed = ended.saturating_duration_since(began).min(config.check_interval_ms * 2);
        began = ended;
        let (global, options) = (&setup.state.global_limits, options(config));
        let [requests, timeouts] = meter.measure(state, metrics, elapsed);
        let stalled = meter.stalled(options.stall_timeout);
        let window = Window {
            is_stalled: !stalled.is_empty(),
            requests,
            timeouts,
            in_flight: global.in_flight(),
            limit: global.limit().0,
        };
        let verdict = watchdog.end_window(&options, &window, Nanos::since(setup.state.epoch, ended));
        act(state, config, verdict, &window, &stalled);
    }
}

fn options(config: &Config) -> WatchdogOptions {
    WatchdogOptions {
        stall_timeout: config.poll_stall_timeout_ms,
        timeout_percent: config.timeout_error_rate_percent.into(),
        min_requests: config.min_requests_per_window as u64,
        overload_percent: config.overload_inflight_percent.into(),
        windows: u32::try_from(config.unhealthy_consecutive_windows).unwrap_or(u32::MAX),
        cooldown: config.restart_cooldown_ms,
    }
}

fn act(state: &WatchdogState, config: &Config, verdict: Verdict, window: &Window, stalled: &[usize]) {
    let Window { requests, timeouts, in_flight, limit, .. } = *window;
    state.on_window(matches!(verdict, Verdict::Degraded { .. } | Verdict::Unhealthy { .. }));
    let stalled = Workers(stalled);
    match verdict {
        Verdict::Healthy => {}
        Verdict::Recovered(windows) => tracing::info!("Watchdog: recovered after degraded_windows={windows}"),
        Verdict::Degraded { reasons, windows: 1 } => tracing::warn!(
            "Watchdog: window degraded reason={reasons} stalled_workers={stalled} requests={requests} \
             timeouts={timeouts} in_flight={in_flight} limit={limit}"
        ),
        Verdict::Degraded { reasons, windows } => {
            tracing::debug!("Watchdog: window still degraded reason={reasons} degraded_windows={windows}");
        }
        Verdict::Unhealthy { reasons, windows } if config.restart_command.is_empty() => tracing::warn!(
            "Watchdog: unhealthy, but no restart_command is set reason={reasons} degraded_windows={windows} \
             stalled_workers={stalled} requests={requests} timeouts={timeouts} in_flight={in_flight} limit={limit}"
        ),
        Verdict::Unhealthy { reasons, windows } => {
            tracing::error!(
                "Watchdog: unhealthy, requesting a restart reason={reasons} degraded_windows={windows} \
                 stalled_workers={stalled} requests={requests} timeouts={timeouts} in_flight={in_flight} limit={limit}"
            );
            match state.request_restart(&reasons.to_string()) {
                // A refused request means that the process is about to restart, or that a reload has disabled the watchdog.
                Ok(()) | Err(Refused::PendingOrCooldown | Refused::Disabled) => {}
            }
        }
    }
}

/// Measures what happens in a window.
struct Meter {
    stalls: Vec<(StallTimer, Duration)>,
    /// Requests and upstream timeouts since the start of the process.
    counts: [u64; 2],
}

impl Meter {
    fn new(state: &WatchdogState, metrics: &Metrics) -> Self {
        let stall = |worker: &Arc<WorkerProgress>| {
            let mut stall = StallTimer::default();
            stall.observe(worker.turns(), Duration::ZERO);
            (stall, Duration::ZERO)
        };
        Self { stalls: state.workers().iter().map(stall).collect(), counts: counts(metrics) }
    }

    /// Asks each worker for a turn.
    fn ask(state: &WatchdogState, workers: &[Arc<Control<Arc<WorkerSetup>>>]) {
        for (progress, control) in state.workers().iter().zip(workers) {
            progress.ask();
            control.wake();
        }
    }

    /// Returns requests and upstream timeouts since the last call.
    fn measure(&mut self, state: &WatchdogState, metrics: &Metrics, elapsed: Duration) -> [u64; 2] {
        for ((stall, waited), progress) in self.stalls.iter_mut().zip(state.workers()) {
            *waited = stall.observe(progress.turns(), elapsed);
        }
        let before = std::mem::replace(&mut self.counts, counts(metrics));
        let [requests, timeouts] = self.counts;
        [requests.saturating_sub(before[0]), timeouts.saturating_sub(before[1])]
    }

    /// Returns the workers without progress for `limit`.
    fn stalled(&self, limit: Duration) -> Vec<usize> {
        let numbered = self.stalls.iter().enumerate();
        numbered.filter(|(_, (_, waited))| *waited >= limit).map(|(number, _)| number).collect()
    }
}

fn counts(metrics: &Metrics) -> [u64; 2] {
    let sum = |count: fn(&WorkerSeries) -> &Counter| metrics.workers().iter().map(|series| count(series).get()).sum();
    [sum(|series| &series.requests), sum(|series| &series.upstream_timeouts)]
}

/// Formats workers as a list without spaces; `-` if there is none.
struct Workers<'a>(&'a [usize]);

impl fmt::Display for Workers<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return out.write_str("-");
        }
        for (at, number) in self.0.iter().enumerate() {
            write!(out, "{}worker-{number}", if at == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_worker_that_does_not_answer_stalls_and_idle_ones_do_not() {
        let (state, metrics) = (WatchdogState::new(3, None), Metrics::new(3));
        state.worker(0).on_turn();
        metrics.workers()[2].requests.add(100);
        let mut meter = Meter::new(&state, &metrics);
        for _ in 1..=4 {
            Meter::ask(&state, &[]);
            for number in [0, 2] {
                state.worker(number).on_turn();
                metrics.workers()[number].requests.add(5);
            }
            metrics.workers()[0].upstream_timeouts.increment();
            assert_eq!(meter.measure(&state, &metrics, SECOND), [10, 1]);
        }
        assert_eq!(meter.stalled(SECOND * 4), [1]);
        assert_eq!(meter.stalled(SECOND * 5), [0; 0]);
        assert_eq!(Workers(&meter.stalled(SECOND)).to_string(), "worker-1");
    }
}
