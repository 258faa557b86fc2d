//! Binds the TCP sockets: one per listener and worker, on the address of the UDP sockets.

use super::bind::explain;
use crate::start_error::StartError;
use spooky_config::Listener;
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
