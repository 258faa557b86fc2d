//! Reads and checks the configuration file for the commands.

use super::console;
use spooky_config::{Config, PreflightMode, Problems, examine, load};
use std::path::Path;

/// Checks the file, and the files and ports that it names. Nothing stays bound.
pub(super) fn check(path: &Path) -> Problems {
    check_loaded(path).0
}

/// As [`check`]. Also returns the configuration if it has no errors.
pub(super) fn check_loaded(path: &Path) -> (Problems, Option<Config>) {
    match examine(path, PreflightMode::Check) {
        Ok((loaded, problems)) => (problems, Some(loaded.config)),
        Err(problems) => (problems, None),
    }
}

/// Loads the configuration for a start. Prints problems to standard error, whatever the log level.
pub(super) fn load_checked(path: &Path) -> Option<Config> {
    match examine(path, PreflightMode::Start) {
        Ok((loaded, problems)) => {
            console::print_problems(&problems);
            Some(loaded.config)
        }
        Err(problems) => print_failure(&problems),
    }
}

/// Loads the configuration without checks of this machine.
pub(super) fn load_unchecked(path: &Path) -> Option<Config> {
    match load(path) {
        Ok(loaded) => {
            console::print_problems(&loaded.problems(Vec::new()));
            Some(loaded.config)
        }
        Err(problems) => print_failure(&problems),
    }
}

fn print_failure(problems: &Problems) -> Option<Config> {
    console::print_problems(problems);
    console::print_error(&problems.summary());
    None
}
