//! The command that restarts the process.

use super::REASON_VARIABLE;
use std::process::{Child, Command, Stdio};

/// `watchdog.restart_command`, with the reason of the restart.
pub(crate) struct RestartCommand<'a> {
    pub(crate) arguments: &'a [String],
    pub(crate) reason: &'a str,
}

impl RestartCommand<'_> {
    /// Starts the program without a shell. Returns `None` if no command is set, or, logged, if it cannot be started.
    pub(crate) fn start(&self) -> Option<Child> {
        let (program, arguments) = self.arguments.split_first()?;
        let mut command = Command::new(program);
        command.args(arguments).env(REASON_VARIABLE, self.reason).stdin(Stdio::null());
        match command.spawn() {
            Ok(child) => {
                tracing::warn!("Restart command started: {program} pid={} reason={}", child.id(), self.reason);
                Some(child)
            }
            Err(error) => {
                tracing::error!("Restart command {program} cannot be started: {error}");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_reach_the_program_unchanged() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("said");
        let script = "printf '%s|%s' \"$1\" \"$SPOOKY_WATCHDOG_REASON\" > \"$2\"";
        let arguments = ["/bin/sh", "-c", script, "sh", "a b; $HOME", file.to_str().unwrap()].map(str::to_owned);
        let command = RestartCommand { arguments: &arguments, reason: "poll_stall+timeout_spike" };
        assert!(command.start().unwrap().wait().unwrap().success());
        assert_eq!(std::fs::read_to_string(file).unwrap(), "a b; $HOME|poll_stall+timeout_spike");
    }

    #[test]
    fn a_program_that_does_not_exist_starts_nothing() {
        let missing = ["/nonexistent/program".to_owned()];
        assert!(RestartCommand { arguments: &missing, reason: "poll_stall" }.start().is_none());
        assert!(RestartCommand { arguments: &[], reason: "poll_stall" }.start().is_none());
    }
}
