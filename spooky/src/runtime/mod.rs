//! The life of the process in phases: bind, load certificates, start workers, wait for a signal, drain, stop.

mod bind;
mod compile;
mod decide;
mod gate;
mod post;
mod threads;

use crate::signals::Signals;
use atomic_waker::AtomicWaker;
use spooky_config::Config;
use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    task::Context,
    time::Duration,
};

pub(crate) use bind::Bound;
pub(crate) use compile::transport as probe_transport;
pub(crate) use decide::probes as probe_options;
pub(crate) use threads::Running;

/// The stop signal of one worker, heard also by the worker that replaces one that panicked.
#[derive(Default)]
pub(crate) struct Stop {
    /// Milliseconds of grace plus one; 0 while the worker is to run.
    grace: AtomicU64,
    waker: AtomicWaker,
}

impl Stop {
    /// Tells the worker to drain for this long at most.
    pub(crate) fn ask(&self, grace: Duration) {
        let millis = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.grace.store(millis.saturating_add(1), Ordering::Release);
        self.waker.wake();
    }

    /// The grace that a stop leaves, once one was asked for.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Option<Duration> {
        self.waker.register(cx.waker());
        self.grace.load(Ordering::Acquire).checked_sub(1).map(Duration::from_millis)
    }
}

/// Serves this configuration until a signal ends it.
pub(crate) fn serve(config: Config) -> ExitCode {
    attempt(config).unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

fn attempt(config: Config) -> Result<ExitCode, StartError> {
    let explain = |error: std::io::Error| StartError(format!("Failed to register for signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(explain)?;
    // Before anything starts, so that no signal finds a process that serves and does not listen.
    let signals = {
        let _entered = runtime.enter();
        Signals::new().map_err(explain)?
    };
    Ok(start(config)?.wait(&runtime, signals))
}

/// Starts the log, binds everything and starts the workers; on an error nothing stays bound.
pub(crate) fn start(config: Config) -> Result<Running, StartError> {
    let log = spooky_telemetry::log::start(config.log.level);
    tracing::info!("Spooky is starting");
    let workers = config.performance.worker_threads.unwrap_or(spooky_net::sys::affinity::available_parallelism());
    let workers = u16::try_from(workers).unwrap_or(u16::MAX);
    let bound = Bound::new(&config, workers)?;
    let snapshot = compile::snapshot(config, workers)?;
    Running::new(bound, &snapshot, workers, log)
}

/// Why the process cannot start: the text for the operator.
#[derive(Debug)]
pub(crate) struct StartError(pub(crate) String);

impl std::fmt::Display for StartError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests;
