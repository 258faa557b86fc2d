//! Reads and checks the configuration for a reload, with the capabilities that were kept for it.

use crate::start_error::StartError;
use spooky_config::{Config, PreflightMode, Problem, Severity, examine};
use spooky_net::sys::privileges::raise_retained;
use std::path::Path;

/// Why a reload was refused.
#[derive(Debug)]
pub(crate) enum ReloadError {
    /// The configuration has errors or needs a restart: one text for each reason, with its position in the file if it has one.
    Rejected(Vec<String>),
    /// A file could not be loaded, or a socket not bound.
    Failed(String),
}

impl ReloadError {
    pub(super) fn texts(&self) -> &[String] {
        match self {
            Self::Rejected(texts) => texts,
            Self::Failed(text) => std::slice::from_ref(text),
        }
    }
}

impl From<StartError> for ReloadError {
    fn from(StartError(text): StartError) -> Self {
        Self::Failed(text)
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
            let (errors, warnings): (Vec<_>, Vec<_>) =
                problems.iter().partition(|problem| problem.severity == Severity::Error);
            for problem in warnings {
                tracing::warn!("{}", line(problem));
            }
            Err(ReloadError::Rejected(errors.into_iter().map(line).collect()))
        }
    }
}
