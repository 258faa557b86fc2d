//! Reads and checks the configuration for a reload, with the capabilities that were kept for it.

use super::threads::Server;
use crate::{admin::problem_list, start_error::StartError};
use spooky_config::{Change, Config, PreflightMode, Problem, Problems, Severity, examine};
use spooky_control::Reload;
use spooky_net::sys::privileges::raise_retained;
use std::path::Path;

/// Why a reload was refused.
#[derive(Debug)]
pub(crate) enum ReloadError {
    /// The configuration has errors.
    Invalid(Problems),
    /// The configuration changes keys that need a restart.
    NeedsRestart(Vec<Change>),
    /// There is no previous configuration to return to.
    NoPrevious,
    /// A file could not be loaded, or a socket not bound.
    Failed(String),
}

impl ReloadError {
    /// Returns one text for each reason, with its position in the file if it has one.
    pub(super) fn texts(&self) -> Vec<String> {
        match self {
            Self::Invalid(problems) => errors(problems).map(ToString::to_string).collect(),
            Self::NeedsRestart(changes) => changes.iter().map(Change::rejection).collect(),
            Self::NoPrevious => vec!["There is no previous configuration".to_owned()],
            Self::Failed(text) => vec![text.clone()],
        }
    }

    /// Returns the answer of the control API.
    pub(super) fn answer(&self) -> Reload {
        match self {
            Self::Invalid(problems) => {
                let first = errors(problems).next().map_or("", |problem| &problem.message);
                let error = format!("Configuration validation failed: {first}");
                Reload::Invalid { error, problems: problem_list(problems) }
            }
            Self::NeedsRestart(changes) => {
                let fields = changes.iter().map(|change| change.field.clone()).collect();
                Reload::Rejected { error: self.texts().join("\n"), fields }
            }
            Self::NoPrevious => Reload::Rejected { error: self.texts().concat(), fields: Vec::new() },
            Self::Failed(text) => Reload::Failed(text.clone()),
        }
    }
}

fn errors(problems: &Problems) -> impl Iterator<Item = &Problem> {
    problems.iter().filter(|problem| problem.severity == Severity::Error)
}

impl From<StartError> for ReloadError {
    fn from(StartError(text): StartError) -> Self {
        Self::Failed(text)
    }
}

impl Server {
    /// Opens the log files again, with the kept capabilities: only root may search their directory.
    pub(super) fn reopen_log(&self, is_asked_for: bool) {
        let _raised = raise_retained();
        self.log.reopen(is_asked_for);
    }
}

/// Reads and checks the file and the files that it names. Logs warnings. May block indefinitely, for example on a pipe.
pub(super) fn read(file: &Path) -> Result<Config, ReloadError> {
    with_kept_capabilities(|| examined(file))
}

/// Calls `act` with the kept capabilities raised, in this thread only.
pub(super) fn with_kept_capabilities<T>(act: impl FnOnce() -> Result<T, ReloadError>) -> Result<T, ReloadError> {
    match raise_retained() {
        Ok(_raised) => act(),
        Err(error) => Err(ReloadError::Failed(format!("Failed to raise the capabilities kept for a reload: {error}"))),
    }
}

fn examined(file: &Path) -> Result<Config, ReloadError> {
    let line = |problem: &Problem| problem.to_string();
    match examine(file, PreflightMode::Start) {
        Ok((loaded, problems)) => {
            for problem in &problems {
                tracing::warn!("{}", line(problem));
            }
            Ok(loaded.config)
        }
        Err(problems) => {
            for problem in problems.iter().filter(|problem| problem.severity != Severity::Error) {
                tracing::warn!("{}", line(problem));
            }
            Err(ReloadError::Invalid(problems))
        }
    }
}
