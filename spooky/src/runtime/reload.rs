//! Reloading the configuration: read, checked and compiled aside, then put into effect as a whole, or not at all.
//!
//! Runs beside the thread that waits for signals, one reload after another. Workers and the health checker follow on their own.

use super::threads::Running;
use crate::{
    snapshot::{compile, process_limits},
    start_error::StartError,
    worker::WorkerSetup,
};
use spooky_config::{Change, Config, Mode, Problem, Severity, diff, examine};
use spooky_net::sys::privileges::raise_kept;
use std::{path::Path, sync::Arc};

/// Why nothing has changed: one text for each reason, with its place in the file if it has one.
#[derive(Debug)]
pub(crate) struct ReloadError(pub(crate) Vec<String>);

impl From<StartError> for ReloadError {
    fn from(StartError(text): StartError) -> Self {
        Self(vec![text])
    }
}

impl Running {
    /// Puts what was read into effect and logs how that went. Returns the number of the configuration that is in effect.
    pub(crate) fn reload(&mut self, read: Result<Config, ReloadError>) -> Result<u64, ReloadError> {
        let done = read.and_then(|config| with_kept(|| self.follow(config)));
        match &done {
            Ok(generation) => tracing::info!("Configuration reloaded (generation={generation})"),
            Err(ReloadError(texts)) => {
                for text in texts {
                    tracing::error!("{text}");
                }
                let (count, kept) = (texts.len(), self.snapshot.generation);
                tracing::error!("Configuration reload failed: {count} error(s); keeping generation {kept}");
            }
        }
        done
    }

    /// Puts a configuration into effect that is valid and whose files are readable.
    fn follow(&mut self, config: Config) -> Result<u64, ReloadError> {
        let changes = diff(&self.snapshot.config, &config);
        let refused: Vec<_> = changes.iter().filter(|change| change.restart).map(Change::refusal).collect();
        if !refused.is_empty() {
            return Err(ReloadError(refused));
        }
        let plan = self.listeners.plan(&config)?;
        let snapshot = compile(config, &self.state, Some(&self.snapshot))?;
        // Nothing fails from here on.
        self.state.configure(&process_limits(&snapshot.config));
        snapshot.configure_upstreams();
        self.log.set_level(snapshot.config.log.level);
        for (worker, ingress) in self.workers.iter().zip(self.listeners.accept(plan)) {
            worker.reload(Arc::new(WorkerSetup { snapshot: snapshot.clone(), ingress }));
        }
        self.prober.reload(snapshot.clone());
        self.snapshot = snapshot;
        Ok(self.snapshot.generation)
    }
}

/// Reads and checks the file and what it points to. Warnings are logged. A file may keep it waiting for ever.
pub(super) fn read(file: &Path) -> Result<Config, ReloadError> {
    with_kept(|| examined(file))
}

/// Does what needs the capabilities kept for a reload: they are held while files are read and ports are bound, and by this
/// thread alone.
fn with_kept<T>(act: impl FnOnce() -> Result<T, ReloadError>) -> Result<T, ReloadError> {
    match raise_kept() {
        Ok(_raised) => act(),
        Err(error) => Err(ReloadError(vec![format!("Failed to raise the capabilities kept for a reload: {error}")])),
    }
}

fn examined(file: &Path) -> Result<Config, ReloadError> {
    let line = |problem: &Problem| problem.to_string();
    match examine(file, Mode::Start) {
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
            Err(ReloadError(errors.into_iter().map(line).collect()))
        }
    }
}
