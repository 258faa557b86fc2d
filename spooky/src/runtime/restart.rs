//! A restart that the watchdog or the control API has requested: drain, run the restart command, exit.

use super::threads::Server;
use crate::{
    signals::Signals,
    watchdog::{RestartCommand, RestartRequest},
};
use std::{process::Child, time::Duration};
use tokio::{select, task::spawn_blocking, time::timeout};

/// The exit status after a requested restart.
const RESTARTED: i32 = 3;
/// How much longer than the drain the process waits for its threads: one that hangs may be the reason of the restart.
const HANGING: Duration = Duration::from_secs(1);
/// Maximum time that the restart command may take before the process exits. A service manager that it asks for a restart must
/// have got the order by then.
const COMMAND_TIME: Duration = Duration::from_secs(10);

/// Returns the exit status. A stop signal during the drain cancels the restart, as a second one does to a drain.
pub(super) async fn run(mut server: Server, request: &RestartRequest, signals: &mut Signals) -> i32 {
    let (state, config) = (server.state.clone(), server.snapshot.config.resilience.watchdog.clone());
    let (grace, reason) = (config.drain_grace_ms, request.reason.as_str());
    tracing::warn!("Restart requested reason={reason} drain_grace_ms={}", grace.as_millis());
    let draining = server.start_drain(grace);
    select! {
        drained = timeout(grace + HANGING, spawn_blocking(move || draining.join())) => {
            if drained.is_err() {
                tracing::error!("A thread did not end within the drain; the process exits without it");
            }
        }
        () = signals.stop() => return 1,
    }
    // Kept, so that the lines of the command are written; the sockets are closed for the next process.
    let _log = server.finish();
    if let Some(child) = (RestartCommand { arguments: &config.restart_command, reason }).start() {
        state.watchdog.restart_hooks.increment();
        select! {
            () = ended(child) => {}
            // Probably from the service manager, as the command has asked for.
            () = signals.stop() => {}
        }
    }
    RESTARTED
}

/// Waits for the restart command and logs its result.
async fn ended(mut child: Child) {
    match timeout(COMMAND_TIME, spawn_blocking(move || child.wait())).await {
        Ok(Ok(Ok(status))) if status.success() => tracing::info!("Restart command ended: {status}"),
        Ok(Ok(Ok(status))) => tracing::error!("Restart command failed: {status}"),
        Ok(Ok(Err(error))) => tracing::error!("Restart command cannot be awaited: {error}"),
        Ok(Err(_panicked)) => {} // logged by the panic hook
        Err(_) => tracing::warn!("Restart command still runs after {} s; exiting", COMMAND_TIME.as_secs()),
    }
}
