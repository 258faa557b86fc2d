//! Binds the TCP sockets, one per worker: those on the address of the UDP sockets, and those of the redirect. Makes file
//! descriptors available for their connections.

use super::bind::{explain, resolve};
use crate::{inherited::InheritedSockets, start_error::StartError, worker_layout::WorkerLayout};
use spooky_config::{Config, Listener};
use spooky_edge::ConnectionCount;
use spooky_net::{sys::descriptors, tcp};
use std::{
    io,
    net::SocketAddr,
    os::fd::{OwnedFd, RawFd},
    sync::Arc,
};

/// The TCP sockets of a listener. Worker `w` uses socket `w % sockets`.
pub(super) type TcpSockets = Arc<[Arc<OwnedFd>]>;

/// How many sockets have one address.
#[derive(Clone, Copy)]
pub(super) struct TcpSocketCount {
    /// Those that are bound: one for each worker, unless the configuration forbids several.
    new: u16,
    /// Those that may be inherited.
    max: u16,
}

impl TcpSocketCount {
    pub(super) fn new(config: &Config, layout: WorkerLayout) -> Self {
        let max = layout.workers();
        Self { new: if config.performance.reuseport { max } else { layout.threads }, max }
    }
}

/// Binds the TCP sockets of a listener, whose UDP sockets have this address. Without `tcp.required` a failure is a warning,
/// and the listener serves HTTP/3 only.
pub(super) fn bind_tcp(
    listener: &Listener,
    address: SocketAddr,
    count: TcpSocketCount,
    inherited: &InheritedSockets,
) -> Result<Option<TcpSockets>, StartError> {
    match listen(address, count, inherited) {
        Ok(sockets) => Ok(Some(sockets)),
        Err(error) if listener.tcp.required => Err(explain("TCP", address, &error)),
        Err(error) => {
            tracing::warn!("Bootstrap TLS listener disabled: could not bind TCP {address}: {error}");
            Ok(None)
        }
    }
}

/// Binds the sockets, or takes inherited ones.
fn listen(address: SocketAddr, count: TcpSocketCount, inherited: &InheritedSockets) -> io::Result<TcpSockets> {
    match inherited.claim_tcp(address, count.max)? {
        Some(sockets) => Ok(sockets.into()),
        None => Ok(tcp::listen(address, count.new)?.into_iter().map(Arc::new).collect()),
    }
}

/// File descriptors of a process with one worker and without connections, and of each further worker.
const OWN_DESCRIPTORS: u64 = 40;
const WORKER_DESCRIPTORS: u64 = 12;

/// The file descriptors that connections of TCP clients may use.
pub(super) struct ClientDescriptors {
    /// The descriptors of these connections must be below this number.
    pub(super) end: RawFd,
    limit: io::Result<u64>,
    /// The number of connections for which they suffice, if that is less than configured.
    reduced_to: Option<u64>,
}

impl ClientDescriptors {
    /// Raises the limit on file descriptors as far as the connections need it. Each of them may need a connection to a
    /// backend, so as many descriptors are left for these.
    pub(super) fn reserve(config: &Config, workers: u16) -> Self {
        let sockets = |listener: &Listener| u64::from(listener.tcp.enabled) + u64::from(listener.http_redirect.enabled);
        let of_listener = |listener: &Listener| sockets(listener).saturating_mul(listener.tcp.max_connections as u64);
        let clients = config.listeners.iter().map(of_listener).fold(0, u64::saturating_add);
        let own = OWN_DESCRIPTORS + WORKER_DESCRIPTORS * u64::from(workers.saturating_sub(1));
        let wanted = if clients == 0 { 0 } else { clients.saturating_mul(2).saturating_add(own) };
        let limit = descriptors::raise_limit(wanted);
        let served = limit.as_ref().map_or(u64::MAX, |limit| limit.saturating_sub(own) / 2);
        Self {
            end: RawFd::try_from(own.saturating_add(served)).unwrap_or(RawFd::MAX),
            limit,
            reduced_to: Some(served).filter(|served| *served < clients),
        }
    }

    /// Logs what cannot be served.
    pub(super) fn log(&self) {
        match (&self.limit, self.reduced_to) {
            (Err(error), _) => tracing::warn!("The limit of file descriptors cannot be raised: {error}"),
            (Ok(limit), Some(served)) => {
                tracing::warn!("At most {served} TCP clients are served: the limit of file descriptors is {limit}");
            }
            (Ok(_), None) => {}
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
    count: TcpSocketCount,
    inherited: &InheritedSockets,
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
    let sockets = listen(address, count, inherited).map_err(|error| explain("TCP", address, &error))?;
    let connections = ConnectionCount::new(listener.tcp.max_connections);
    Ok(Some(BoundRedirect { configured, address, sockets, connections }))
}
