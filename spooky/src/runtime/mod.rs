//! The life of the process in phases: bind, load certificates, start workers, wait for a signal, drain, stop.

mod bind;
mod gate;
mod threads;
mod worker_thread;

use crate::{
    signals::Signals,
    snapshot::{compile, process_limits},
    start_error::StartError,
    state::State,
};
use bind::Bound;
use spooky_config::Config;
use std::process::ExitCode;

pub(crate) use threads::Running;

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
    let state = State::new(workers, &process_limits(&config))?;
    let snapshot = compile(config, &state, None)?;
    Running::new(bound, &state, &snapshot, log)
}

#[cfg(test)]
mod tests;
