//! Binds the metrics endpoint and the control API, and starts their threads.

use super::bind::bind_hint;
use crate::{
    admin::{Commands, ProcessAdmin, sample_forever},
    inherited::InheritedSockets,
    start_error::StartError,
    state::State,
};
use spooky_config::Config;
use spooky_control::{ApiOptions, ControlPlane, MetricsOptions};
use spooky_telemetry::LevelHandle;
use std::{
    io::{self, Error, ErrorKind},
    net::{SocketAddr, TcpListener, ToSocketAddrs},
    os::fd::OwnedFd,
    sync::Arc,
};

/// The bound endpoints; `None` if an endpoint is disabled, or could not be bound and is not required.
pub(super) struct Endpoints {
    metrics: Option<TcpListener>,
    api: Option<TcpListener>,
}

impl Endpoints {
    /// Binds the endpoints that `inherited` does not have.
    pub(super) fn bind(config: &Config, inherited: &InheritedSockets) -> Result<Self, StartError> {
        let (metrics, api) = (&config.observability.metrics, &config.observability.control_api);
        let bind = |is_enabled, name, address: &str, port, is_required| {
            if is_enabled { bind(name, address, port, is_required, inherited) } else { Ok(None) }
        };
        Ok(Self {
            metrics: bind(metrics.enabled, "metrics", &metrics.address, metrics.port, metrics.required)?,
            api: bind(api.enabled, "control API", &api.address, api.port, api.required)?,
        })
    }

    /// Returns the sockets, to pass them on in an upgrade.
    pub(super) fn sockets(&self) -> Result<Vec<Arc<OwnedFd>>, StartError> {
        let both = [&self.metrics, &self.api].into_iter().flatten();
        let sockets = both.map(|listener| listener.try_clone().map(|listener| Arc::new(OwnedFd::from(listener))));
        sockets
            .collect::<io::Result<_>>()
            .map_err(|error| StartError(format!("Failed to start the control plane: {error}")))
    }

    pub(super) fn log(&self, config: &Config) {
        let (metrics, api) = (&config.observability.metrics, &config.observability.control_api);
        if let Some(address) = address(self.metrics.as_ref()) {
            tracing::info!("Metrics endpoint listening on http://{address}{}", metrics.path);
        }
        if let Some(address) = address(self.api.as_ref()) {
            let scheme = if api.tls { "https" } else { "http" };
            tracing::info!("Control API endpoint listening on {scheme}://{address}{}", api.health_path);
        }
    }

    /// Starts the threads if there is anything to serve.
    pub(super) fn serve(
        self,
        state: &Arc<State>,
        config: &Config,
        commands: Commands,
        level: LevelHandle,
    ) -> Result<Option<ControlPlane>, StartError> {
        if self.metrics.is_none() && self.api.is_none() {
            return Ok(None);
        }
        let failed = |error: Error| StartError(format!("Failed to start the control plane: {error}"));
        let plane = ControlPlane::start(config.performance.control_plane_threads).map_err(failed)?;
        let admin = Arc::new(ProcessAdmin::new(state.clone(), commands, level));
        if let Some(listener) = self.metrics {
            let metrics = &config.observability.metrics;
            let options = MetricsOptions { address: metrics.address.clone(), path: metrics.path.clone() };
            plane.serve_metrics(listener, options, admin.clone()).map_err(failed)?;
        }
        if let Some(listener) = self.api {
            let config = config.observability.control_api.clone();
            let options = ApiOptions { config, dropped: state.admin.dropped_connections.clone() };
            plane.serve_api(listener, options, admin).map_err(failed)?;
        }
        plane.spawn(sample_forever(state.clone()));
        Ok(Some(plane))
    }
}

fn address(listener: Option<&TcpListener>) -> Option<SocketAddr> {
    listener?.local_addr().ok()
}

/// Takes the inherited socket of the first address of a name, or binds it.
fn bind(
    name: &str,
    address: &str,
    port: u16,
    is_required: bool,
    inherited: &InheritedSockets,
) -> Result<Option<TcpListener>, StartError> {
    let bare = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(address);
    let found = (bare, port)
        .to_socket_addrs()
        .and_then(|mut found| found.next().ok_or_else(|| Error::new(ErrorKind::NotFound, "the name has no address")));
    let listen = |address| match inherited.claim_one(address)? {
        Some(socket) => Ok(TcpListener::from(socket)),
        None => TcpListener::bind(address),
    };
    match found.and_then(listen) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) => {
            let text = format!("failed to bind {name} endpoint {address}:{port}: {error}");
            if is_required {
                let hint = bind_hint("TCP", port, error.kind());
                return Err(StartError(hint.map_or(text.clone(), |hint| format!("{text}\n    hint: {hint}"))));
            }
            tracing::warn!("failed to bind {name} endpoint {address}:{port}: {error}");
            Ok(None)
        }
    }
}
