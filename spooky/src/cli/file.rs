//! The configuration file as a command meets it: read, checked, and what is wrong with it told.
//!
//! Owns which checks a command asks for; the rules and their texts are `spooky_config`'s. Called by the commands.

use super::console;
use spooky_config::{Config, PreflightMode, Problems, examine, load};
use std::path::Path;

/// Checks everything: what is wrong with the file and with what it points to, and which keys do nothing yet. Nothing stays
/// bound.
pub(super) fn findings(path: &Path) -> Problems {
    match examine(path, PreflightMode::Check) {
        Ok((loaded, problems)) => problems.and(loaded.not_in_effect()),
        Err(problems) => problems,
    }
}

/// The configuration to start with. Problems of the file, or of what it points to, are told on standard error, whatever
/// the level of the log; so are keys that do nothing yet.
pub(super) fn usable(path: &Path) -> Option<Config> {
    match examine(path, PreflightMode::Start) {
        Ok((loaded, problems)) => {
            console::show(&problems.and(loaded.not_in_effect()));
            Some(loaded.config)
        }
        Err(problems) => refuse(&problems),
    }
}

/// The configuration of a file that need not fit this machine.
pub(super) fn valid(path: &Path) -> Option<Config> {
    match load(path) {
        Ok(loaded) => {
            console::show(&loaded.problems(Vec::new()));
            Some(loaded.config)
        }
        Err(problems) => refuse(&problems),
    }
}

fn refuse(problems: &Problems) -> Option<Config> {
    console::show(problems);
    console::complain(&problems.summary());
    None
}
