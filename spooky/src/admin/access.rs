//! What the control API needs from files: its token and its certificate. Loaded with the configuration, because the process
//! may be unable to read the files later.

use crate::start_error::StartError;
use rustls::ServerConfig;
use spooky_config::{Config, ControlApi};
use spooky_net::tls::{CertificateStore, server};
use std::sync::Arc;

/// The token, the TLS context, and the certificates of the listeners in the order of the file.
#[derive(Clone, Default)]
pub(crate) struct Access {
    pub(crate) token: Option<Arc<str>>,
    pub(crate) tls: Option<Arc<ServerConfig>>,
    pub(crate) certificates: Vec<Arc<CertificateStore>>,
}

impl Access {
    pub(crate) fn load(
        config: &Config,
        certificates: Vec<Arc<CertificateStore>>,
        resumption: &server::Resumption,
    ) -> Result<Self, StartError> {
        let control = &config.observability.control_api;
        if !control.enabled {
            return Ok(Self { certificates, ..Self::default() });
        }
        let first = certificates.first().filter(|_| control.tls);
        let tls = first.map(|store| context(store, resumption)).transpose()?;
        Ok(Self { token: token(control)?, tls, certificates })
    }
}

/// The first listener's certificates without its other settings: clients of the API have a token instead of a certificate.
fn context(store: &Arc<CertificateStore>, resumption: &server::Resumption) -> Result<Arc<ServerConfig>, StartError> {
    let contexts = server::contexts(store, &server::ServerOptions::default(), resumption)
        .map_err(|error| StartError(error.to_string()))?;
    let mut context = (*contexts.tcp).clone();
    context.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(context))
}

fn token(control: &ControlApi) -> Result<Option<Arc<str>>, StartError> {
    if let Some(token) = &control.auth_token {
        return Ok(Some(token.expose().into()));
    }
    let Some(path) = &control.auth_token_file else { return Ok(None) };
    let unusable = |reason: &str| {
        let key = "observability.control_api.auth_token_file";
        StartError(format!("Cannot read {key} '{}': {reason}", path.display()))
    };
    let text = std::fs::read_to_string(path).map_err(|error| unusable(&error.to_string()))?;
    match text.trim() {
        "" => Err(unusable("the file is empty")),
        token => Ok(Some(token.into())),
    }
}
