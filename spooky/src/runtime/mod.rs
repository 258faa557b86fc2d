//! The life of the process in phases: bind, load certificates, give up root, start workers, wait for a signal, drain, stop.

mod bind;
mod ingress;
mod limiter;
mod privileges;
mod read;
mod reload;
mod threads;
mod worker_thread;

use crate::{
    signals::Signals,
    snapshot::{compile, process_limits, quic_keys},
    start_error::StartError,
    state::State,
};
use ingress::Listeners;
use spooky_config::Config;
use spooky_net::steer::attach_worker_steering;
use std::{path::Path, process::ExitCode};

pub(crate) use threads::Running;

/// Serves this configuration, read from `file`, until a signal ends it.
pub(crate) fn serve(config: Config, file: &Path) -> ExitCode {
    attempt(config, file).unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

fn attempt(config: Config, file: &Path) -> Result<ExitCode, StartError> {
    let explain = |error: std::io::Error| StartError(format!("Failed to register for signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(explain)?;
    // Before anything starts, so that no signal finds a process that serves and does not listen.
    let signals = {
        let _entered = runtime.enter();
        Signals::of_service().map_err(explain)?
    };
    let code = start(config, file)?.wait(&runtime, signals, file);
    runtime.shutdown_background(); // a reload that was abandoned may still be reading
    Ok(code)
}

/// Starts the log, binds everything, opens certificates, gives up root and starts the workers, in this order; on an error
/// nothing stays bound. `file` is where the configuration was read from.
pub(crate) fn start(config: Config, file: &Path) -> Result<Running, StartError> {
    let drop = privileges::Drop::prepare(&config, file)?;
    let log = spooky_telemetry::log::start(config.log.level);
    // The log begins with these lines although all of this is over: its level had to be read from the file first.
    tracing::info!("Starting configuration validation...");
    tracing::info!("Configuration validation passed successfully");
    tracing::info!("Spooky is starting");
    let workers = config.performance.worker_threads.unwrap_or(spooky_net::sys::affinity::available_parallelism());
    let workers = u16::try_from(workers).unwrap_or(u16::MAX);
    let state = State::new(workers, &process_limits(&config), quic_keys(&config)?)?;
    let listeners = Listeners::new(state.clone(), attach_worker_steering);
    let plan = listeners.plan(&config)?;
    let snapshot = compile(config, &state, None)?;
    Running::new(listeners, plan, state, snapshot, log, drop)
}

#[cfg(test)]
mod tests;
