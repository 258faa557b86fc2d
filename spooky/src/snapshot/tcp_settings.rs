//! The settings of a listener's TCP clients.

use spooky_config::{Config, Listener};
use spooky_edge::{ConnectionCount, EdgeSettings, TcpSettings};
use spooky_net::tls::ListenerTls;
use std::{os::fd::RawFd, sync::Arc};

/// Returns the settings of a listener's TCP clients, for worker 0. What TCP and QUIC have in common is in `common`.
pub(crate) fn tcp_settings(
    config: &Config,
    listener: &Listener,
    tls: &ListenerTls,
    common: &EdgeSettings,
    connections: &Arc<ConnectionCount>,
    max_descriptor: RawFd,
) -> TcpSettings {
    let proxy = &listener.tcp.proxy_protocol;
    TcpSettings {
        tls: Some(tls.contexts.tcp.clone()),
        certificates: tls.certificates.clone(),
        worker: 0,
        proxy_sources: if proxy.enabled { proxy.trusted_sources.clone().into() } else { Arc::default() },
        connections: connections.clone(),
        max_descriptor,
        handshake_timeout: common.handshake_timeout,
        header_timeout: common.header_timeout,
        idle_timeout: config.performance.tcp_idle_timeout_ms,
        stall_timeout: common.stall_timeout,
        max_streams: u32::try_from(common.max_streams_bidi).unwrap_or(u32::MAX),
        stream_buffer: common.stream_buffer,
        responses: common.responses.clone(),
        head_limits: common.head_limits,
        rules: common.rules,
        limiter: common.limiter.clone(),
        counts: common.counts.clone(),
    }
}
