//! Samples about the connections of clients: QUIC, TLS, sockets, listeners.

use crate::{listener_views::ListenerView, state::State};
use spooky_net::udp::{granted_buffers, receive_drops};
use spooky_telemetry::{
    ClientProtocol,
    metrics::{ALPN_PROTOCOLS, Counter, Dropped, Family, IngressSeries, ListenerSeries, Metrics, Page, TLS_FAILURES},
};
use std::{
    os::fd::AsFd as _,
    time::{SystemTime, UNIX_EPOCH},
};

const SECONDS_PER_DAY: f64 = 86_400.0;

pub(super) fn add(page: &mut Page, state: &State) {
    let listeners = state.listeners.get();
    add_totals(page, &state.metrics);
    add_workers(page, &state.metrics);
    let inboxes = state.inboxes.get().map_or(0, |inboxes| inboxes.waiting_bytes() as u64);
    let all = listeners.iter().flat_map(|listener| listener.series.iter());
    let queued: u64 = all.map(|series| series.queued_bytes.get()).sum();
    page.add(Family::IngressQueueBytes, &[], inboxes + queued);
    for listener in &listeners {
        add_listener(page, listener);
        add_certificates(page, listener, SystemTime::now());
        add_sockets(page, listener);
    }
}

type IngressCount = fn(&IngressSeries) -> u64;

fn add_totals(page: &mut Page, metrics: &Metrics) {
    let total = |count: &dyn Fn(&IngressSeries) -> u64| metrics.ingress().iter().map(|series| count(series)).sum();
    let counts: [(Family, IngressCount); 17] = [
        (Family::IngressPackets, |series| series.received[0].get()),
        (Family::IngressQueueDrops, IngressSeries::queue_drops),
        (Family::IngressQueueDropBytes, |series| series.queue_drop_bytes.get()),
        (Family::IngressBadHeader, |series| series.dropped(Dropped::NotQuic)),
        (Family::IngressRateLimited, |series| series.dropped(Dropped::ConnectionRate)),
        (Family::IngressUnroutable, |series| series.dropped(Dropped::UnknownConnection)),
        (Family::IngressDrainingDrops, |series| series.dropped(Dropped::Draining)),
        (Family::IngressCreateFailed, |series| series.create_failures.get()),
        (Family::IngressVersionFailed, |series| series.version_negotiations[1].get()),
        (Family::ScidRotations, |series| series.id_rotations.get()),
        (Family::QuicLostPackets, |series| series.lost_packets.get()),
        (Family::QuicRetries, |series| series.retries.get()),
        (Family::QuicStatelessResets, |series| series.stateless_resets.get()),
        (Family::QuicVersionNegotiations, |series| series.version_negotiations[0].get()),
        (Family::QuicMigrations, |series| series.migrations.get()),
        (Family::QuicForwarded, |series| series.forwarded.get()),
        (Family::UdpGsoFallbacks, |series| series.gso_fallbacks.get()),
    ];
    for (family, count) in counts {
        page.add(family, &[], total(&count));
    }
    page.add(Family::QuicDatagrams, &["received"], total(&|series| series.received[0].get()));
    page.add(Family::QuicDatagrams, &["sent"], total(&|series| series.sent[0].get()));
    page.add(Family::QuicBytes, &["received"], total(&|series| series.received[1].get()));
    page.add(Family::QuicBytes, &["sent"], total(&|series| series.sent[1].get()));
}

fn add_workers(page: &mut Page, metrics: &Metrics) {
    for (number, series) in metrics.ingress().iter().enumerate() {
        let worker = format!("worker-{number}");
        page.add(Family::WorkerIngressPackets, &[&worker], series.received[0].get());
        page.add(Family::WorkerIngressQueueDrops, &[&worker], series.queue_drops());
        page.add(Family::WorkerIngressQueueDropBytes, &[&worker], series.queue_drop_bytes.get());
    }
}

fn add_listener(page: &mut Page, listener: &ListenerView) {
    let name = listener.name.as_str();
    let sum = |count: &dyn Fn(&ListenerSeries) -> Option<&Counter>| {
        listener.series.iter().filter_map(|series| count(series)).map(Counter::get).sum::<u64>()
    };
    for protocol in ClientProtocol::ALL {
        let labels = [name, protocol.label()];
        let open = listener.series.iter().map(|series| series.open(protocol)).sum();
        page.add(Family::DownstreamConnections, &labels, open);
        let opened = sum(&|series| series.opened.get(protocol.index()));
        page.add(Family::DownstreamConnectionsOpened, &labels, opened);
    }
    page.add(Family::TlsHandshakeSuccess, &[name], sum(&|series| Some(&series.tls_success)));
    for (at, reason) in TLS_FAILURES.into_iter().enumerate() {
        page.add(Family::TlsHandshakeFailure, &[name, reason], sum(&|series| series.tls_failures.get(at)));
    }
    for (at, protocol) in ALPN_PROTOCOLS.into_iter().enumerate() {
        page.add(Family::TlsAlpn, &[name, protocol], sum(&|series| series.alpn.get(at)));
    }
    page.add_histograms(Family::QuicHandshake, &[name], listener.series.iter().map(|series| &series.handshake));
    page.add_histograms(Family::QuicRtt, &[name], listener.series.iter().map(|series| &series.rtt));
}

fn add_certificates(page: &mut Page, listener: &ListenerView, now: SystemTime) {
    let name = listener.name.as_str();
    for (selection, count) in listener.certificates.selections().get() {
        page.add(Family::TlsCertificateSelection, &[name, selection], count);
    }
    let seconds = |time: SystemTime| time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let mut expiries = listener.certificates.expiries();
    expiries.sort();
    for (certificate, expires) in expiries {
        let labels = [name, certificate.as_str()];
        page.add_float(Family::TlsNotAfter, &labels, seconds(expires));
        let days = ((seconds(expires) - seconds(now)) / SECONDS_PER_DAY).floor();
        page.add_float(Family::TlsDaysRemaining, &labels, days);
    }
}

fn add_sockets(page: &mut Page, listener: &ListenerView) {
    let name = listener.name.as_str();
    let drops = listener.sockets.iter().filter_map(|socket| receive_drops(socket.as_fd()).ok()).sum();
    page.add(Family::UdpReceiveDrops, &[name], drops);
    // All of them have the same.
    if let Some(Ok((receive, send))) = listener.sockets.first().map(|socket| granted_buffers(socket.as_fd())) {
        page.add(Family::UdpBuffer, &[name, "receive"], receive as u64);
        page.add(Family::UdpBuffer, &[name, "send"], send as u64);
    }
}
