//! The listeners of the process: bound sockets and the numbers by which workers identify them.
//!
//! A reload keeps the sockets of listeners whose address is unchanged, and binds new ones. Sockets of removed listeners close
//! when every worker has drained them. Nothing changes before [`BoundListeners::accept`].

use super::{
    bind::{Attach, Endpoint, bind},
    limiter::SharedLimiter,
    tcp::{BoundRedirect, ClientDescriptors, TcpSocketCount, TcpSockets, bind_redirect, bind_tcp},
};
use crate::{
    inherited::InheritedSockets,
    listener::Ingress,
    listener_views::ListenerView,
    shared_socket::SocketReaders,
    snapshot::{edge_settings, listener_tls, tcp_settings},
    start_error::StartError,
    state::State,
    tcp_ingress::TcpIngress,
    upgrade::message::{PassedSockets, Ready, SocketRole},
    worker_layout::WorkerLayout,
};
use spooky_config::{Config, Listener};
use spooky_edge::{ConnectionCount, EdgeSettings, TcpSettings};
use spooky_net::{
    inherit::number,
    steer::SteeringRule,
    tls::{CertificateStore, ListenerTls},
};
use spooky_telemetry::metrics::{ClientCounts, ListenerSeries};
use std::{
    net::SocketAddr,
    os::fd::OwnedFd,
    sync::{Arc, Weak},
};

/// Address and port of a listener as written in the file.
type ConfiguredAddress = (String, u16);

#[derive(Clone)]
struct BoundListener {
    number: usize,
    /// A reload keeps the sockets if this is unchanged.
    configured: ConfiguredAddress,
    endpoint: Arc<Endpoint>,
    /// Set if there are more workers than UDP sockets.
    readers: Option<Arc<SocketReaders>>,
    tls: ListenerTls,
    /// `None` if TCP is disabled or its port could not be bound.
    tcp: Option<TcpSockets>,
    tcp_connections: Arc<ConnectionCount>,
    redirect: Option<BoundRedirect>,
    /// The counts, by worker.
    series: Arc<[Arc<ListenerSeries>]>,
}

pub(super) struct BoundListeners {
    state: Arc<State>,
    limiter: Arc<SharedLimiter>,
    attach: Attach,
    layout: WorkerLayout,
    bound: Vec<BoundListener>,
    /// Removed listeners. Their sockets live until the last worker has drained them.
    removed: Vec<(ConfiguredAddress, Weak<OwnedFd>)>,
    next_number: usize,
    /// Sockets that this process was given at its start; none after the first plan was accepted.
    inherited: InheritedSockets,
}

/// The bound listeners of a new configuration, and each worker's part of them.
pub(super) struct Plan {
    bound: Vec<BoundListener>,
    next_number: usize,
    ingress: Vec<Vec<Ingress>>,
    descriptors: ClientDescriptors,
}

impl Plan {
    /// Returns the certificates of the listeners, in the order of the file.
    pub(super) fn certificates(&self) -> Vec<Arc<CertificateStore>> {
        self.bound.iter().map(|bound| bound.tls.certificates.clone()).collect()
    }
}

impl BoundListeners {
    pub(super) fn new(state: Arc<State>, attach: Attach, layout: WorkerLayout, inherited: InheritedSockets) -> Self {
        let limiter = Arc::new(SharedLimiter::new(state.clone()));
        let next_number = inherited.next_listener;
        Self { state, limiter, attach, layout, bound: Vec::new(), removed: Vec::new(), next_number, inherited }
    }

    /// Returns the bound addresses, in the order of the file.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|bound| bound.endpoint.address).collect()
    }

    /// Binds new listeners and loads certificates. Dropping the plan closes the new sockets.
    pub(super) fn plan(&self, config: &Config) -> Result<Plan, StartError> {
        let descriptors = ClientDescriptors::reserve(config, self.state.workers);
        let mut plan = Plan { bound: Vec::new(), next_number: self.next_number, ingress: Vec::new(), descriptors };
        plan.ingress.resize_with(usize::from(self.state.workers), Vec::new);
        let tcp_sockets = TcpSocketCount::new(config, self.layout);
        for listener in &config.listeners {
            let configured = (listener.address.clone(), listener.port);
            let previous = self.bound.iter().find(|bound| bound.configured == configured);
            let tls = listener_tls(config, listener, &self.state, previous.map(|bound| &bound.tls))?;
            let mut bound = if let Some(bound) = previous {
                BoundListener { tls, ..bound.clone() }
            } else {
                self.check_drained(&configured)?;
                let (endpoint, number) = bind(config, listener, self.layout.threads, self.attach, &self.inherited)?;
                let number = number.unwrap_or_else(|| {
                    plan.next_number += 1;
                    plan.next_number - 1
                });
                let readers = SocketReaders::new(endpoint.sockets.len(), self.state.workers);
                let endpoint = Arc::new(endpoint);
                let tcp_connections = ConnectionCount::new(listener.tcp.max_connections);
                let series = (0..self.state.workers).map(|_| Arc::default()).collect();
                BoundListener {
                    number,
                    configured,
                    endpoint,
                    readers,
                    tls,
                    tcp: None,
                    tcp_connections,
                    redirect: None,
                    series,
                }
            };
            bound.tcp = match bound.tcp {
                _ if !listener.tcp.enabled => None,
                None => bind_tcp(listener, bound.endpoint.address, tcp_sockets, &self.inherited)?,
                kept => kept,
            };
            bound.redirect = bind_redirect(listener, bound.redirect.as_ref(), tcp_sockets, &self.inherited)?;
            self.add(&mut plan, config, listener, &bound);
            plan.bound.push(bound);
        }
        Ok(plan)
    }

    /// Refuses an address on which a removed listener is draining: the new sockets would get its packets.
    fn check_drained(&self, configured: &ConfiguredAddress) -> Result<(), StartError> {
        if self.removed.iter().any(|(removed, socket)| removed == configured && socket.strong_count() > 0) {
            let (address, port) = configured;
            return Err(StartError(format!(
                "Failed to bind UDP socket {address}:{port}: a removed listener on this address is still draining\n    \
                 hint: reload again after performance.shutdown_drain_timeout_ms"
            )));
        }
        Ok(())
    }

    fn add(&self, plan: &mut Plan, config: &Config, listener: &Listener, bound: &BoundListener) {
        let (state, endpoint) = (&self.state, &bound.endpoint);
        let payload = max_udp_payload(config, endpoint);
        let settings = edge_settings(config, &bound.tls, state, payload, self.limiter.clone());
        let (count, descriptors) = (&bound.tcp_connections, plan.descriptors.end);
        let tcp_settings = tcp_settings(config, listener, &bound.tls, &settings, count, descriptors);
        let subject_header = listener.tls.client_auth.subject_header.as_deref().map(Arc::<str>::from);
        let alt_svc = alt_svc(listener);
        // If several workers read a socket's packets, only ids say whose they are.
        let is_steered = endpoint.is_steered || bound.readers.is_some();
        for (worker, of_worker) in plan.ingress.iter_mut().enumerate() {
            let Some(socket) = socket_of(&endpoint.sockets, worker) else { continue };
            let tcp_socket = bound.tcp.as_ref().and_then(|sockets| socket_of(sockets, worker));
            let counts = ClientCounts {
                worker: state.metrics.ingress().get(worker).cloned().unwrap_or_default(),
                listener: bound.series.get(worker).cloned().unwrap_or_default(),
            };
            let redirect = bound.redirect.as_ref().and_then(|redirect| {
                let settings = TcpSettings {
                    counts: counts.clone(),
                    tls: None,
                    proxy_sources: Arc::default(),
                    connections: redirect.connections.clone(),
                    ..tcp_settings.clone()
                };
                Some(TcpIngress { socket: socket_of(&redirect.sockets, worker)?.clone(), settings })
            });
            let worker = worker as u16;
            let tcp = tcp_socket.map(|socket| TcpIngress {
                socket: socket.clone(),
                settings: TcpSettings { worker, counts: counts.clone(), ..tcp_settings.clone() },
            });
            of_worker.push(Ingress {
                number: bound.number,
                socket: socket.clone(),
                readers: bound.readers.clone(),
                settings: EdgeSettings { worker, counts, ..settings.clone() },
                port: endpoint.address.port(),
                steering: SteeringRule::new(worker, state.workers, is_steered),
                subject_header: subject_header.clone(),
                alt_svc: alt_svc.clone(),
                tcp,
                redirect,
                https_port: listener.alt_svc.port,
            });
        }
    }

    /// Returns whether the plan, of the current configuration, has the same certificates.
    pub(super) fn has_same_certificates(&self, plan: &Plan) -> bool {
        self.bound.iter().zip(&plan.bound).all(|(bound, planned)| bound.tls.is_same(&planned.tls))
    }

    /// Puts the plan into effect. Returns the listeners for each worker.
    pub(super) fn accept(&mut self, plan: Plan, config: &Config) -> Vec<Vec<Ingress>> {
        for (bound, listener) in plan.bound.iter().zip(&config.listeners) {
            bound.tcp_connections.set_max(listener.tcp.max_connections);
            if let Some(redirect) = &bound.redirect {
                redirect.connections.set_max(listener.tcp.max_connections);
            }
            let before = self.bound.iter().find(|before| before.number == bound.number);
            log_listening(bound, listener, before);
        }
        plan.descriptors.log();
        self.inherited.close();
        let views = plan.bound.iter().zip(&config.listeners).map(|(bound, listener)| ListenerView {
            name: listener.name.clone(),
            series: bound.series.clone(),
            sockets: bound.endpoint.sockets.clone(),
            certificates: bound.tls.certificates.clone(),
        });
        self.state.listeners.set(views.collect());
        self.removed.retain(|(_, socket)| socket.strong_count() > 0);
        for before in &self.bound {
            if !plan.bound.iter().any(|bound| bound.number == before.number) {
                tracing::info!("Listener removed, draining: UDP {}", before.endpoint.address);
                let sockets = before.endpoint.sockets.iter().map(Arc::downgrade);
                self.removed.extend(sockets.map(|socket| (before.configured.clone(), socket)));
            }
        }
        (self.bound, self.next_number) = (plan.bound, plan.next_number);
        plan.ingress
    }
}

impl BoundListeners {
    /// Returns the inherited sockets that listeners use, for the process that this one replaces.
    pub(super) fn ready(&self) -> Ready {
        self.inherited.ready()
    }

    /// Returns the number of the next new listener.
    pub(super) fn next_number(&self) -> usize {
        self.next_number
    }

    /// The sockets that this process was given.
    pub(super) fn inherited(&self) -> &InheritedSockets {
        &self.inherited
    }

    pub(super) fn layout(&self) -> WorkerLayout {
        self.layout
    }

    /// Returns all sockets, for the process that replaces this one.
    pub(super) fn passed_sockets(&self) -> Vec<PassedSockets> {
        let mut passed = Vec::new();
        for bound in &self.bound {
            let mut pass = |role, sockets: &[Arc<OwnedFd>]| {
                let descriptors = sockets.iter().map(number).collect();
                let is_steered = bound.endpoint.is_steered;
                passed.push(PassedSockets { listener: bound.number, role, is_steered, descriptors });
            };
            pass(SocketRole::Udp, &bound.endpoint.sockets);
            if let Some(tcp) = &bound.tcp {
                pass(SocketRole::Tcp, tcp);
            }
            if let Some(redirect) = &bound.redirect {
                pass(SocketRole::Redirect, &redirect.sockets);
            }
        }
        passed
    }
}

/// Logs what a listener serves that it did not serve before.
fn log_listening(bound: &BoundListener, listener: &Listener, before: Option<&BoundListener>) {
    let address = bound.endpoint.address;
    let has_tcp_begun = bound.tcp.is_some() && before.is_none_or(|before| before.tcp.is_none());
    match (before, &bound.tcp) {
        (None, None) => tracing::info!("Ingress: HTTP/3 (QUIC) on UDP {address}"),
        (None, Some(_)) => tracing::info!(
            "Ingress: HTTP/3 (QUIC) on UDP {address}, HTTP/1.1+HTTP/2 bootstrap (TLS) on TCP {address} with Alt-Svc upgrade"
        ),
        (Some(_), _) => {}
    }
    if has_tcp_begun {
        let value = alt_svc(listener);
        let value = value.as_deref().and_then(|value| std::str::from_utf8(value).ok()).unwrap_or("nothing");
        tracing::info!("Bootstrap TLS listener on https://{address} (TCP+TLS) — advertising Alt-Svc: {value}");
    }
    if bound.tcp.is_none() && before.is_some_and(|before| before.tcp.is_some()) {
        tracing::info!("Listener removed, draining: TCP {address}");
    }
    let [redirect, redirect_before] = [Some(bound), before].map(|bound| bound?.redirect.as_ref());
    match (redirect, redirect_before) {
        (Some(now), Some(before)) if now.address == before.address => {}
        (Some(now), _) => tracing::info!("Redirect to HTTPS on http://{}", now.address),
        (None, Some(before)) => tracing::info!("Listener removed, draining: TCP {}", before.address),
        (None, None) => {}
    }
}

/// Returns the socket of a worker; workers share sockets if there are fewer.
fn socket_of(sockets: &[Arc<OwnedFd>], worker: usize) -> Option<&Arc<OwnedFd>> {
    sockets.get(worker % sockets.len().max(1))
}

/// Returns the value of `alt-svc` (RFC 7838), unless it is disabled.
fn alt_svc(listener: &Listener) -> Option<Arc<[u8]>> {
    let alt_svc = &listener.alt_svc;
    let value = || format!("h3=\":{}\"; ma={}", alt_svc.port, alt_svc.max_age.as_secs());
    alt_svc.enabled.then(|| Arc::from(value().into_bytes()))
}

/// Returns `quic_max_udp_payload_bytes`; by default the maximum of the interface.
fn max_udp_payload(config: &Config, endpoint: &Endpoint) -> u16 {
    let bytes = config.performance.quic_max_udp_payload_bytes.unwrap_or(u64::from(endpoint.interface_payload));
    u16::try_from(bytes).unwrap_or(u16::MAX)
}
