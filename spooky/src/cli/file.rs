//! The configuration file as a command meets it: read, checked, and what is wrong with it told.
//!
//! Owns which checks a command asks for; the rules and their texts are `spooky_config`'s. Called by the commands.

use super::console;
use spooky_config::{Config, Mode, Problem, Problems, examine, load};
use std::path::Path;

/// What a check finds.
pub(super) struct Findings {
    /// Everything that is wrong with the file and with what it points to.
    pub(super) problems: Problems,
    /// Keys that are right and do nothing yet.
    pub(super) pending: Vec<Problem>,
}

/// Checks everything. Nothing stays bound.
pub(super) fn findings(path: &Path) -> Findings {
    match examine(path, Mode::Check) {
        Ok((loaded, problems)) => Findings { problems, pending: loaded.not_in_effect() },
        Err(problems) => Findings { problems, pending: Vec::new() },
    }
}

impl Findings {
    /// Problems and pending keys in one list, ordered by position.
    pub(super) fn together(self) -> Problems {
        self.problems.and(self.pending)
    }
}

/// The configuration to start with. Problems of the file, or of what it points to, are told on standard error, whatever
/// the level of the log; so are keys that do nothing yet.
pub(super) fn usable(path: &Path) -> Option<Config> {
    match examine(path, Mode::Start) {
        Ok((loaded, problems)) => {
            console::show(&problems);
            console::show_pending(&loaded.not_in_effect());
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
    console::complain(&problems.verdict());
    None
}
