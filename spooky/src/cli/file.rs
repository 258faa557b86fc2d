//! The configuration file as a command meets it: read, checked, and what is wrong with it told.
//!
//! Owns which checks a command asks for; the rules and their texts are `spooky_config`'s. Called by the commands.

use super::console;
use spooky_config::{Config, Loaded, Mode, Problems, check_world, load};
use std::path::Path;

/// Everything that is wrong with the file and with what it points to. Nothing stays bound.
pub(super) fn problems(path: &Path) -> Problems {
    match load(path) {
        Ok(loaded) => loaded.problems(check_world(&loaded, Mode::Check)),
        Err(problems) => problems,
    }
}

/// The configuration to start with. Problems of the file, or of what it points to, are told on standard error, whatever
/// the level of the log.
pub(super) fn usable(path: &Path) -> Option<Config> {
    told(load(path).map(|loaded| (loaded.problems(check_world(&loaded, Mode::Start)), loaded)))
}

/// The configuration of a file that need not fit this machine.
pub(super) fn valid(path: &Path) -> Option<Config> {
    told(load(path).map(|loaded| (loaded.problems(Vec::new()), loaded)))
}

fn told(found: Result<(Problems, Loaded), Problems>) -> Option<Config> {
    let (problems, loaded) = match found {
        Ok((problems, loaded)) => (problems, Some(loaded)),
        Err(problems) => (problems, None),
    };
    console::show(&problems);
    if problems.errors() > 0 {
        console::complain(&problems.verdict());
        return None;
    }
    loaded.map(|loaded| loaded.config)
}
