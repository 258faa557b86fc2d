//! Reloading the configuration: read, checked and compiled aside, then put into effect as a whole, or not at all.
//!
//! Runs beside the thread that waits for signals, one reload after another. Workers and the health checker follow on their own.

use super::{
    read::{ReloadError, with_kept_capabilities},
    threads::Server,
};
use crate::{
    snapshot::{compile, process_limits},
    worker::WorkerSetup,
};
use spooky_config::{Change, Config, diff};
use std::sync::Arc;

impl Server {
    /// Puts what was read into effect and logs how that went. Returns the number of the configuration that is in effect.
    pub(crate) fn reload(&mut self, read: Result<Config, ReloadError>) -> Result<u64, ReloadError> {
        let done = read.and_then(|config| with_kept_capabilities(|| self.follow(config)));
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
        let refused: Vec<_> = changes.iter().filter(|change| change.restart).map(Change::rejection).collect();
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
