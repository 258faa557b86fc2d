//! Reloading the configuration or its certificates: read, checked and compiled aside, then put into effect as a whole, or
//! not at all.
//!
//! Runs beside the thread that waits for signals, one reload after another. Workers and the health checker follow on their own.

use super::{
    ingress::Plan,
    read::{ReloadError, with_kept_capabilities},
    threads::Server,
};
use crate::{
    reload_counts::ReloadResult,
    snapshot::{Snapshot, changed_quic_secret, compile, has_same_upstream_files, process_limits},
    worker::WorkerSetup,
};
use spooky_config::{Change, Config, diff, expiry_warning, ocsp_warning};
use spooky_net::sys::privileges::raise_retained;
use std::sync::Arc;

/// A configuration that is compiled, with bound listeners and loaded certificates, and not in effect.
struct Prepared {
    plan: Plan,
    snapshot: Arc<Snapshot>,
}

impl Server {
    /// Puts what was read into effect and logs how that went. Does nothing if nothing has changed and no reload
    /// `is_asked_for`.
    pub(super) fn reload(&mut self, read: Result<Config, ReloadError>, is_asked_for: bool) {
        let prepared = read.and_then(|config| with_kept_capabilities(|| self.prepare_change(config, is_asked_for)));
        let Some(prepared) = prepared.transpose() else {
            tracing::debug!("Configuration has not changed (generation={})", self.snapshot.generation);
            return;
        };
        self.state.config_reloads.count(result_of(&prepared));
        match prepared.map(|prepared| self.put_into_effect(prepared)) {
            Ok(generation) => {
                self.warn_of_quic_secret();
                tracing::info!("Configuration reloaded (generation={generation})");
            }
            Err(error) => {
                let (count, kept) = (log_texts(&error), self.snapshot.generation);
                tracing::error!("Configuration reload failed: {count} error(s); keeping generation {kept}");
            }
        }
    }

    /// Loads the files of the current configuration again: certificates, keys, authorities, revocation lists and OCSP
    /// responses of listeners and upstreams. Puts them into effect if all can be used and one of them has changed.
    pub(super) fn reload_certificates(&mut self) {
        let prepared = with_kept_capabilities(|| self.prepare_if_changed(self.snapshot.config.clone()));
        let Some(prepared) = prepared.transpose() else {
            tracing::debug!("Certificates have not changed (generation={})", self.snapshot.generation);
            return;
        };
        self.state.certificate_reloads.count(result_of(&prepared));
        match prepared.map(|prepared| self.put_into_effect(prepared)) {
            Ok(generation) => {
                self.warn_of_expiry();
                tracing::info!("Certificates reloaded (generation={generation})");
            }
            Err(error) => {
                let (count, kept) = (log_texts(&error), self.snapshot.generation);
                tracing::error!("Certificate reload failed: {count} error(s); keeping generation {kept}");
            }
        }
    }

    fn warn_of_quic_secret(&self) {
        let _raised = raise_retained();
        if let Some(path) = changed_quic_secret(&self.snapshot.config, &self.state.quic_keys) {
            let path = path.display();
            tracing::warn!("performance.quic_secret_file '{path}' has changed; its new content needs a restart");
        }
    }

    /// Logs which certificates and OCSP responses of listeners have expired or expire soon.
    fn warn_of_expiry(&self) {
        let _raised = raise_retained();
        for tls in self.snapshot.config.listeners.iter().map(|listener| &listener.tls) {
            let default = tls.cert.as_ref().map(|cert| (cert, tls.ocsp_file.as_ref()));
            let named = tls.certificates.iter().map(|entry| (&entry.cert, entry.ocsp_file.as_ref()));
            for (cert, ocsp) in default.into_iter().chain(named) {
                log_warning(expiry_warning(cert, false));
                log_warning(ocsp.and_then(|ocsp| ocsp_warning(ocsp, cert)));
            }
            log_warning(tls.client_auth.ca_file.as_ref().and_then(|file| expiry_warning(file, true)));
        }
    }

    /// Prepares a configuration that is valid and whose files are readable, unless it needs a restart. Returns `None` if it is
    /// in effect already and no reload `is_asked_for`.
    fn prepare_change(&self, config: Config, is_asked_for: bool) -> Result<Option<Prepared>, ReloadError> {
        let changes = diff(&self.snapshot.config, &config);
        let refused: Vec<_> = changes.iter().filter(|change| change.restart).map(Change::rejection).collect();
        if !refused.is_empty() {
            return Err(ReloadError::Rejected(refused));
        }
        if changes.is_empty() && !is_asked_for {
            return self.prepare_if_changed(config);
        }
        let plan = self.listeners.plan(&config)?;
        self.prepare(config, plan).map(Some)
    }

    /// Prepares the current configuration with the contents that its files have now. Returns `None` if they are the same.
    fn prepare_if_changed(&self, config: Config) -> Result<Option<Prepared>, ReloadError> {
        let plan = self.listeners.plan(&config)?;
        if self.listeners.has_same_certificates(&plan) && has_same_upstream_files(&self.snapshot) {
            return Ok(None);
        }
        self.prepare(config, plan).map(Some)
    }

    fn prepare(&self, config: Config, plan: Plan) -> Result<Prepared, ReloadError> {
        let snapshot = compile(config, &self.state, Some(&self.snapshot))?;
        Ok(Prepared { plan, snapshot })
    }

    /// Returns the number of the configuration.
    fn put_into_effect(&mut self, Prepared { plan, snapshot }: Prepared) -> u64 {
        self.state.configure(&process_limits(&snapshot.config));
        self.state.watchdog.configure(&snapshot.config.resilience.watchdog);
        snapshot.configure_upstreams();
        self.log.configure(&snapshot.config.log);
        for (worker, ingress) in self.workers.iter().zip(self.listeners.accept(plan, &snapshot.config)) {
            worker.reload(Arc::new(WorkerSetup { snapshot: snapshot.clone(), ingress }));
        }
        self.prober.reload(snapshot.clone());
        self.watchdog.reload(snapshot.clone());
        self.state.current.set(snapshot.clone());
        self.snapshot = snapshot;
        self.snapshot.generation
    }
}

fn result_of(prepared: &Result<Prepared, ReloadError>) -> ReloadResult {
    match prepared {
        Ok(_) => ReloadResult::Ok,
        Err(ReloadError::Rejected(_)) => ReloadResult::Rejected,
        Err(ReloadError::Failed(_)) => ReloadResult::Failed,
    }
}

fn log_warning(warning: Option<String>) {
    if let Some(warning) = warning {
        tracing::warn!("{warning}");
    }
}

/// Logs each text of the error, and returns their number.
fn log_texts(error: &ReloadError) -> usize {
    for text in error.texts() {
        tracing::error!("{text}");
    }
    error.texts().len()
}
