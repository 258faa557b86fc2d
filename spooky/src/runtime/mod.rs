//! The life cycle of the process: bind, load certificates, drop root, start workers, wait for signals, drain, stop.

mod bind;
mod control_plane;
mod ingress;
mod limiter;
mod main_loop;
mod privileges;
mod read;
mod reload;
mod restart;
mod sandbox;
mod service_manager;
mod tcp;
mod threads;
mod upgrade;
mod worker_thread;

use crate::{
    inherited::Inherited,
    signals::Signals,
    snapshot::{compile, process_limits, quic_keys},
    start_error::StartError,
    state::{State, UpgradeState},
    worker_layout::WorkerLayout,
};
use ingress::BoundListeners;
use privileges::Privileges;
use spooky_config::Config;
use spooky_net::steer::attach_worker_steering;
use std::{path::Path, process::ExitCode};

pub(crate) use threads::Server;

/// Serves a configuration that was read from `file`, until a signal stops the process.
pub(crate) fn serve(config: Config, file: &Path) -> ExitCode {
    try_serve(config, file).unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

fn try_serve(config: Config, file: &Path) -> Result<ExitCode, StartError> {
    let inherited = Inherited::from_environment()?;
    let explain = |error: std::io::Error| StartError(format!("Failed to register for signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(explain)?;
    // Registered before anything starts, so that a signal during the start is handled.
    let signals = {
        let _entered = runtime.enter();
        Signals::of_service().map_err(explain)?
    };
    let code = start(config, file, inherited)?.wait(&runtime, signals, file);
    runtime.shutdown_background(); // a cancelled reload may still be reading
    Ok(code)
}

/// Starts the log, binds sockets, loads certificates, drops root and starts the workers, in this order. After an error,
/// nothing stays bound. `file` is the path of the configuration.
pub(crate) fn start(config: Config, file: &Path, inherited: Inherited) -> Result<Server, StartError> {
    let privileges = Privileges::prepare(&config, file, inherited.restrictions)?;
    let log = spooky_telemetry::log::open(&config.log, privileges.owner());
    let log = privileges.without(|| log.start())?;
    let log = log.map_err(|error| StartError(format!("Failed to start the log: {error}")))?;
    privileges.warn(&config);
    // Logged after the fact: the log level had to be read from the file first.
    tracing::info!("Starting configuration validation...");
    tracing::info!("Configuration validation passed successfully");
    tracing::info!("Spooky is starting");
    let layout = WorkerLayout::new(&config, inherited.layout);
    let Inherited { sockets, process, quic_keys: inherited_keys, previous, channel, .. } = inherited;
    let keys = match inherited_keys.filter(|_| config.performance.quic_secret_file.is_none()) {
        Some(keys) => keys,
        None => quic_keys(&config)?,
    };
    let state = State::new(
        layout.workers(),
        &process_limits(&config),
        keys,
        UpgradeState { process, previous, ..UpgradeState::default() },
    )?;
    state.admin.set_file(file);
    if let Some(files) = log.qlog() {
        state.qlog.get_or_init(|| files);
    }
    let listeners = BoundListeners::new(state.clone(), attach_worker_steering, layout, sockets);
    let plan = listeners.plan(&config)?;
    let snapshot = compile(config, &state, None)?;
    Server::new(listeners, plan, state, snapshot, log, privileges, channel)
}

#[cfg(test)]
mod tests;
