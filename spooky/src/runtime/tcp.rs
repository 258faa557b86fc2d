//! Binds the TCP sockets, one per worker: those on the address of the UDP sockets, and those of the redirect.

use super::bind::{explain, resolve};
use crate::start_error::StartError;
use spooky_config::Listener;
use spooky_edge::ConnectionCount;
use spooky_net::tcp;
use std::{net::SocketAddr, os::fd::OwnedFd, sync::Arc};

/// The TCP sockets of a listener, one per worker.
pub(super) type TcpSockets = Arc<[Arc<OwnedFd>]>;

/// Binds the TCP sockets of a listener, whose UDP sockets have this address. Without `tcp.required` a failure is a warning,
/// and the listener serves HTTP/3 only.
pub(super) fn bind_tcp(
    listener: &Listener,
    address: SocketAddr,
    workers: u16,
) -> Result<Option<TcpSockets>, StartError> {
    match tcp::listen(address, workers) {
        Ok(sockets) => Ok(Some(sockets.into_iter().map(Arc::new).collect())),
        Err(error) if listener.tcp.required => Err(explain("TCP", address, &error)),
        Err(error) => {
            tracing::warn!("Bootstrap TLS listener disabled: could not bind TCP {address}: {error}");
            Ok(None)
        }
    }
}

/// The bound sockets of a listener's `http_redirect`.
#[derive(Clone)]
pub(super) struct BoundRedirect {
    /// Address and port as written in the file. A reload keeps the sockets if they are unchanged.
    configured: (String, u16),
    pub(super) address: SocketAddr,
    pub(super) sockets: TcpSockets,
    pub(super) connections: Arc<ConnectionCount>,
}

/// Binds the sockets of the redirect, if it is enabled and they are not bound already.
pub(super) fn bind_redirect(
    listener: &Listener,
    bound: Option<&BoundRedirect>,
    workers: u16,
) -> Result<Option<BoundRedirect>, StartError> {
    let redirect = &listener.http_redirect;
    if !redirect.enabled {
        return Ok(None);
    }
    let configured = (redirect.address.clone(), redirect.port);
    if let Some(bound) = bound.filter(|bound| bound.configured == configured) {
        return Ok(Some(bound.clone()));
    }
    let address = resolve("TCP", &redirect.address, redirect.port)?;
    let sockets = tcp::listen(address, workers).map_err(|error| explain("TCP", address, &error))?;
    let sockets = sockets.into_iter().map(Arc::new).collect();
    let connections = ConnectionCount::new(listener.tcp.max_connections);
    Ok(Some(BoundRedirect { configured, address, sockets, connections }))
}
