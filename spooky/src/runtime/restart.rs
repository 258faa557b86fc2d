//! The end of the process: a drain that does not wait for threads which hang, and the restart that the watchdog or the control
//! API has requested: drain, run the restart command, exit.

use super::threads::Server;
use crate::{
    signals::Signals,
    watchdog::{RestartCommand, RestartRequest},
};
use std::{process::Child, time::Duration};
use tokio::{select, task::spawn_blocking, time::timeout};

/// The exit status after a requested restart.
const RESTARTED: i32 = 3;
/// How much longer than the drain the process waits for its threads: one that hangs may be the reason of the end.
const HANGING: Duration = Duration::from_secs(1);
/// Maximum time that the restart command may take before the process exits. A service manager that it asks for a restart must
/// have got the order by then.
const COMMAND_TIME: Duration = Duration::from_secs(10);

/// Returns the exit status. A stop signal during the drain cancels the restart, as a second one does to a drain.
pub(super) async fn run(mut server: Server, request: &RestartRequest, signals: &mut Signals) -> i32 {
    let (state, config) = (server.state.clone(), server.snapshot.config.resilience.watchdog.clone());
    let (grace, reason) = (config.drain_grace_ms, request.reason.as_str());
    tracing::warn!("Restart requested reason={reason} drain_grace_ms={}", grace.as_millis());
    if drain(&mut server, grace, signals).await == Drained::Aborted {
        return 1;
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

/// Drains and returns the exit status. A stop signal during the drain ends the process at once.
pub(super) async fn stop(mut server: Server, signals: &mut Signals) -> i32 {
    let grace = server.snapshot.config.performance.shutdown_drain_timeout_ms;
    let drained = drain(&mut server, grace, signals).await;
    if drained == Drained::Aborted {
        return 1;
    }
    let finished = spawn_blocking(move || drop(server.finish()));
    select! {
        _ = finished => {}
        () = signals.stop() => return 1,
    }
    if drained == Drained::Hanging {
        std::process::exit(0); // the end of the runtime would wait for the thread
    }
    0
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Drained {
    Ended,
    /// A thread still runs.
    Hanging,
    /// A stop signal has arrived.
    Aborted,
}

async fn drain(server: &mut Server, grace: Duration, signals: &mut Signals) -> Drained {
    let draining = server.start_drain(grace);
    select! {
        drained = timeout(grace.saturating_add(HANGING), spawn_blocking(move || draining.join())) => match drained {
            Ok(_) => Drained::Ended,
            Err(_elapsed) => {
                tracing::error!("A thread did not end within the drain; the process exits without it");
                Drained::Hanging
            }
        },
        () = signals.stop() => Drained::Aborted,
    }
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
