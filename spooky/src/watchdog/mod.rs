//! The watchdog: a thread that measures whether workers make progress and requests are answered, and requests a restart if
//! they do not (docs/reference/behaviour.md#watchdog).
//!
//! `lb::watchdog` decides. The main thread drains the process and runs the restart command.

mod command;
mod state;
mod thread;

pub(crate) use command::RestartCommand;
pub(crate) use state::{Refused, RestartRequest, WatchdogState, WorkerProgress};
pub(crate) use thread::{WatchdogSetup, run};

use spooky_config::Watchdog;

/// Environment variable of the restart command: why the process restarts. A process that finds it in its own environment was
/// started by that command, so its cooldown begins with its start.
pub(crate) const REASON_VARIABLE: &str = "SPOOKY_WATCHDOG_REASON";

/// Logs the settings if the watchdog is enabled.
pub(crate) fn log_settings(config: &Watchdog) {
    if config.enabled {
        tracing::info!(
            "Watchdog enabled: check_interval_ms={} poll_stall_timeout_ms={} timeout_error_rate_percent={} \
             min_requests_per_window={} overload_inflight_percent={} unhealthy_consecutive_windows={} \
             drain_grace_ms={} restart_cooldown_ms={} restart_command={}",
            config.check_interval_ms.as_millis(),
            config.poll_stall_timeout_ms.as_millis(),
            config.timeout_error_rate_percent,
            config.min_requests_per_window,
            config.overload_inflight_percent,
            config.unhealthy_consecutive_windows,
            config.drain_grace_ms.as_millis(),
            config.restart_cooldown_ms.as_millis(),
            config.restart_command.first().map_or("-", |program| program)
        );
    }
}
