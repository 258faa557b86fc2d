//! Binds the UDP sockets of a listener, one for each of `performance.worker_threads`.

use crate::{
    inherited::{ClaimedUdp, InheritedSockets},
    start_error::StartError,
};
use spooky_config::{Config, Listener};
use spooky_net::udp::{UdpOptions, UdpSocket, interface_mtu};
use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
};

/// Size of the IP and UDP headers.
const IPV4_UDP_HEADERS: usize = 28;
const IPV6_UDP_HEADERS: usize = 48;
/// Upper limit of path MTU discovery if it is derived from the interface. Only loopback has a larger MTU; there, larger
/// datagrams cost more per byte, and a few of them already fill the queue of a rate-limited path.
const MAX_UDP_PAYLOAD: usize = 16_384;

/// A bound address with its sockets.
pub(super) struct Endpoint {
    pub(super) address: SocketAddr,
    pub(super) sockets: Vec<Arc<OwnedFd>>,
    /// Whether the kernel delivers each packet to the socket of its owner.
    pub(super) is_steered: bool,
    /// Maximum UDP payload of the interface.
    pub(super) interface_payload: u16,
}

/// Attaches the steering program to the reuseport group of a socket, for this number of sockets.
pub(super) type Attach = fn(BorrowedFd<'_>, u16) -> io::Result<()>;

/// Binds this many sockets for a listener, or takes inherited ones. Returns the number of the listener in the process that
/// this one replaces.
pub(super) fn bind(
    config: &Config,
    listener: &Listener,
    count: u16,
    attach: Attach,
    inherited: &InheritedSockets,
) -> Result<(Endpoint, Option<usize>), StartError> {
    let address = resolve("UDP", &listener.address, listener.port)?;
    let failed = |error: io::Error| explain("UDP", address, &error);
    match inherited.claim_udp(address, count).map_err(failed)? {
        Some(claimed) => {
            let number = claimed.listener;
            Ok((adopt(config, claimed, count, attach).map_err(failed)?, number))
        }
        None => Ok((endpoint(config, address, count, attach)?, None)),
    }
}

/// Uses inherited sockets.
fn adopt(config: &Config, claimed: ClaimedUdp, count: u16, attach: Attach) -> io::Result<Endpoint> {
    let ClaimedUdp { sockets, is_steered, .. } = claimed;
    let options = udp_options(config);
    let adopted = sockets.iter().map(|socket| UdpSocket::adopt(socket.try_clone()?, &options));
    let adopted = adopted.collect::<io::Result<Vec<_>>>()?;
    let first = adopted.first().ok_or(io::ErrorKind::NotFound)?;
    let address = first.local_addr()?;
    log_buffers(&options, first.granted_buffers()?, address);
    let steer = || count == 1 || log_steering(&attach(first.as_fd(), count), address);
    let is_steered = is_steered.unwrap_or_else(steer);
    Ok(Endpoint { address, sockets, is_steered, interface_payload: payload_of(address.ip()) })
}

fn udp_options(config: &Config) -> UdpOptions {
    UdpOptions {
        recv_buffer: config.performance.udp_recv_buffer_bytes as usize,
        send_buffer: config.performance.udp_send_buffer_bytes as usize,
        reuseport: false,
    }
}

/// Returns the first address of a name. `kind` is `UDP` or `TCP`.
pub(super) fn resolve(kind: &str, address: &str, port: u16) -> Result<SocketAddr, StartError> {
    let found = (address, port).to_socket_addrs().map(|mut found| found.next());
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(bind_error(kind, address, port, "the name has no address")),
        Err(error) => Err(bind_error(kind, address, port, &error.to_string())),
    }
}

fn endpoint(config: &Config, address: SocketAddr, count: u16, attach: Attach) -> Result<Endpoint, StartError> {
    let options = udp_options(config);
    let failed = |error: io::Error| explain("UDP", address, &error);
    // The first socket is bound without SO_REUSEPORT, so that a port in use by another process is an error.
    let first = UdpSocket::bind(address, &options).map_err(failed)?;
    let address = first.local_addr().map_err(failed)?;
    log_buffers(&options, first.granted_buffers().map_err(failed)?, address);
    let mut sockets = vec![first];
    if count > 1 {
        sockets.first().map_or(Ok(()), UdpSocket::share).map_err(failed)?;
        let options = UdpOptions { reuseport: true, ..options };
        for _ in 1..count {
            sockets.push(UdpSocket::bind(address, &options).map_err(failed)?);
        }
    }
    let is_steered =
        sockets.first().is_some_and(|first| count == 1 || log_steering(&attach(first.as_fd(), count), address));
    let kept = sockets.iter().map(|socket| socket.as_fd().try_clone_to_owned().map(Arc::new));
    let sockets = kept.collect::<io::Result<_>>().map_err(failed)?;
    Ok(Endpoint { address, sockets, is_steered, interface_payload: payload_of(address.ip()) })
}

/// Warns if the kernel has granted smaller buffers than the configuration asks for: bursts may then be lost.
fn log_buffers(wanted: &UdpOptions, (receive, send): (usize, usize), address: SocketAddr) {
    if receive < wanted.recv_buffer || send < wanted.send_buffer {
        tracing::warn!(
            "UDP {address}: the kernel granted smaller buffers than configured, udp_recv_buffer_bytes={receive} \
             udp_send_buffer_bytes={send}; raise net.core.rmem_max and net.core.wmem_max"
        );
    }
}

/// Returns whether attaching has succeeded, and logs an error. Without kernel steering, workers forward packets, which is
/// only slower.
fn log_steering(attached: &io::Result<()>, address: SocketAddr) -> bool {
    if let Err(error) = attached {
        tracing::warn!("UDP {address}: no kernel steering, workers forward packets to each other: {error}");
    }
    attached.is_ok()
}

/// Returns the maximum UDP payload of the interface with this address.
fn payload_of(ip: IpAddr) -> u16 {
    let headers = if ip.is_ipv4() { IPV4_UDP_HEADERS } else { IPV6_UDP_HEADERS };
    let mtu = interface_mtu(ip).unwrap_or(1500);
    u16::try_from(mtu.saturating_sub(headers).clamp(1200, MAX_UDP_PAYLOAD)).unwrap_or(1452)
}

/// Describes a failed bind, with a hint. `kind` is `UDP` or `TCP`.
pub(super) fn explain(kind: &str, address: SocketAddr, error: &io::Error) -> StartError {
    let port = address.port();
    let StartError(text) = bind_error(kind, &address.ip().to_string(), port, &error.to_string());
    match bind_hint(kind, port, error.kind()) {
        Some(hint) => StartError(format!("{text}\n    hint: {hint}")),
        None => StartError(text),
    }
}

/// Returns what can be done about a failed bind.
pub(super) fn bind_hint(kind: &str, port: u16, error: io::ErrorKind) -> Option<String> {
    Some(match error {
        io::ErrorKind::PermissionDenied if port < 1024 => format!(
            "Binding privileged port {port} requires root or CAP_NET_BIND_SERVICE. Use a port >= 1024 for unprivileged \
             startup."
        ),
        io::ErrorKind::AddrInUse => {
            let flag = if kind == "TCP" { 't' } else { 'u' };
            format!(
                "Another process listens there; `ss -{flag}lpn 'sport = :{port}'` shows it. Stop it, or choose another port."
            )
        }
        io::ErrorKind::AddrNotAvailable => "No interface of this machine has this address.".to_owned(),
        _ => return None,
    })
}

fn bind_error(kind: &str, address: &str, port: u16, reason: &str) -> StartError {
    StartError(format!("Failed to bind {kind} socket {address}:{port}: {reason}"))
}
