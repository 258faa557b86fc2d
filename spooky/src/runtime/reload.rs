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
    admin::{Access, Cause, ReloadKind, ReloadRecord},
    reload_counts::ReloadResult,
    snapshot::{Snapshot, changed_quic_secret, compile, has_same_upstream_files, process_limits},
    worker::WorkerSetup,
};
use spooky_config::{Change, Config, diff, expiry_warning, ocsp_warning};
use spooky_control::{ListenerGeneration, Reload};
use spooky_net::sys::privileges::raise_retained;
use std::sync::Arc;

/// A configuration that is compiled, with bound listeners and loaded files, and not in effect.
struct Prepared {
    plan: Plan,
    snapshot: Arc<Snapshot>,
    access: Access,
}

impl Server {
    /// Puts what was read into effect, logs how that went, and returns it. Does nothing if nothing has changed and the cause
    /// is the watch of files.
    pub(super) fn reload(&mut self, read: Result<Config, ReloadError>, cause: Cause) -> Reload {
        let mut changed = Vec::new();
        let prepared = read.and_then(|config| {
            changed = diff(&self.snapshot.config, &config);
            with_kept_capabilities(|| self.prepare_change(config, &changed, cause))
        });
        let Some(prepared) = prepared.transpose() else {
            tracing::debug!("Configuration has not changed (generation={})", self.snapshot.generation);
            return self.done();
        };
        self.state.config_reloads.count(result_of(&prepared));
        let outcome = prepared.map(|prepared| self.put_into_effect(prepared, !changed.is_empty()));
        self.record(ReloadKind::Config, cause, &outcome, changed);
        match outcome {
            Ok(generation) => {
                self.warn_of_quic_secret();
                tracing::info!("Configuration reloaded (generation={generation})");
                self.done()
            }
            Err(error) => {
                let (count, kept) = (log_texts(&error), self.snapshot.generation);
                tracing::error!("Configuration reload failed: {count} error(s); keeping generation {kept}");
                error.answer()
            }
        }
    }

    /// Puts the configuration into effect that was in effect before the current one.
    pub(super) fn roll_back(&mut self, cause: Cause) -> Reload {
        let mut changed = Vec::new();
        let prepared = self.previous.clone().ok_or(ReloadError::NoPrevious).and_then(|config| {
            changed = diff(&self.snapshot.config, &config);
            with_kept_capabilities(|| {
                self.listeners.plan(&config).map_err(Into::into).and_then(|plan| self.prepare(config, plan))
            })
        });
        self.state.config_reloads.count(result_of(&prepared));
        let outcome = prepared.map(|prepared| self.put_into_effect(prepared, true));
        self.record(ReloadKind::Rollback, cause, &outcome, changed);
        match outcome {
            Ok(generation) => {
                tracing::info!("Configuration rolled back (generation={generation})");
                self.done()
            }
            Err(error) => {
                let (count, kept) = (log_texts(&error), self.snapshot.generation);
                tracing::error!("Configuration rollback failed: {count} error(s); keeping generation {kept}");
                error.answer()
            }
        }
    }

    /// Loads the files of the current configuration again: certificates, keys, authorities, revocation lists and OCSP
    /// responses of listeners and upstreams. Puts them into effect if all can be used. Does nothing if none has changed and
    /// the cause is the watch of files.
    pub(super) fn reload_certificates(&mut self, cause: Cause) -> Reload {
        let config = self.snapshot.config.clone();
        let prepared = with_kept_capabilities(|| match cause {
            Cause::FileWatch => self.prepare_if_changed(config),
            _ => self.listeners.plan(&config).map_err(Into::into).and_then(|plan| self.prepare(config, plan)).map(Some),
        });
        let Some(prepared) = prepared.transpose() else {
            tracing::debug!("Certificates have not changed (generation={})", self.snapshot.generation);
            return self.certificates_done();
        };
        self.state.certificate_reloads.count(result_of(&prepared));
        let outcome = prepared.map(|prepared| self.put_into_effect(prepared, false));
        self.record(ReloadKind::Certificates, cause, &outcome, Vec::new());
        match outcome {
            Ok(generation) => {
                self.warn_of_expiry();
                tracing::info!("Certificates reloaded (generation={generation})");
                self.certificates_done()
            }
            Err(error) => {
                let (count, kept) = (log_texts(&error), self.snapshot.generation);
                tracing::error!("Certificate reload failed: {count} error(s); keeping generation {kept}");
                error.answer()
            }
        }
    }

    fn done(&self) -> Reload {
        Reload::Done { generation: self.snapshot.generation, path: self.state.admin.file() }
    }

    fn certificates_done(&self) -> Reload {
        let generation = self.snapshot.generation;
        let listeners = self.snapshot.config.listeners.iter();
        Reload::Certificates(
            listeners.map(|listener| ListenerGeneration { generation, listener: listener.name.clone() }).collect(),
        )
    }

    fn record(&self, kind: ReloadKind, cause: Cause, outcome: &Result<u64, ReloadError>, changed: Vec<Change>) {
        self.state.admin.record(ReloadRecord {
            kind,
            cause,
            result: result_of(outcome),
            generation: self.snapshot.generation,
            changed: changed.into_iter().map(|change| change.field).collect(),
            error: outcome.as_ref().err().and_then(|error| error.texts().into_iter().next()),
        });
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
    /// in effect already and the cause is the watch of files.
    fn prepare_change(
        &self,
        config: Config,
        changes: &[Change],
        cause: Cause,
    ) -> Result<Option<Prepared>, ReloadError> {
        let refused: Vec<_> = changes.iter().filter(|change| change.restart).cloned().collect();
        if !refused.is_empty() {
            return Err(ReloadError::NeedsRestart(refused));
        }
        if changes.is_empty() && cause == Cause::FileWatch {
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
        let access = Access::load(&config, plan.certificates(), &self.state.resumption)?;
        let snapshot = compile(config, &self.state, Some(&self.snapshot))?;
        Ok(Prepared { plan, snapshot, access })
    }

    /// Returns the number of the configuration. `is_different` says whether a rollback returns to the current one.
    fn put_into_effect(&mut self, Prepared { plan, snapshot, access }: Prepared, is_different: bool) -> u64 {
        if is_different {
            self.previous = Some(self.snapshot.config.clone());
        }
        self.state.admin.set_access(access);
        self.state.configure(&process_limits(&snapshot.config));
        self.state.watchdog.configure(&snapshot.config.resilience.watchdog);
        snapshot.configure_upstreams();
        self.log.configure(&snapshot.config.log);
        for (worker, ingress) in self.workers.iter().zip(self.listeners.accept(plan, &snapshot.config)) {
            worker.reload(Arc::new(WorkerSetup { snapshot: snapshot.clone(), ingress, handover: None }));
        }
        self.prober.reload(snapshot.clone());
        self.watchdog.reload(snapshot.clone());
        self.state.current.set(snapshot.clone());
        self.snapshot = snapshot;
        self.snapshot.generation
    }
}

fn result_of<T>(outcome: &Result<T, ReloadError>) -> ReloadResult {
    match outcome {
        Ok(_) => ReloadResult::Ok,
        Err(ReloadError::Invalid(_) | ReloadError::NeedsRestart(_) | ReloadError::NoPrevious) => ReloadResult::Rejected,
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
    let texts = error.texts();
    for text in &texts {
        tracing::error!("{text}");
    }
    texts.len()
}
