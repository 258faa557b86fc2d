//! The exchanges of one worker with the fake sides and a test configuration.

use super::fake::{Client, Ended, Fake, Request};
use crate::{
    client_side::ClientSide,
    clock::Clock,
    exchange::{Exchanges, RequestCounts},
    snapshot::{Snapshot, WorkerSnapshot, compile, process_limits, quic_keys, transport_options},
    state::{State, UpgradeState},
};
use bytes::Bytes;
use spooky_bridge::message::{Fields, Known, Method, Protocol, RequestHead, ResponseHead};
use spooky_edge::{Abort, BodyRead, Event as ClientEvent, EventKind, StreamRef};
use spooky_telemetry::access::{AccessLog, AccessOutput};
use spooky_testkit::{
    certs::{Authority, Files},
    settings::Settings,
};
use spooky_transport::{Event as UpstreamEvent, Failure, FailureKind, Processed, Transport};
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

/// The address of every client.
pub(super) const PEER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9);

/// Parts of a configuration.
pub(super) struct Config {
    /// Lines of the upstream.
    pub(super) upstream: &'static str,
    /// Lines of `performance`.
    pub(super) performance: &'static str,
    /// Lines of `resilience`.
    pub(super) resilience: &'static str,
    pub(super) backends: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { upstream: "", performance: "", resilience: "", backends: 2 }
    }
}

impl Config {
    fn parse(&self, files: &Files) -> spooky_config::Config {
        let backends: Vec<_> = (1..=self.backends).map(|port| format!("http://127.0.0.1:{port}")).collect();
        let resilience = format!("resilience:\n  adaptive_admission: {{ enabled: false }}\n{}", self.resilience);
        let text = Settings::new(files)
            .upstream_with("all", "/", &backends, self.upstream)
            .performance(self.performance)
            .block(&resilience)
            .text();
        spooky_config::parse(&text, "spooky.yaml", &|_| None).unwrap().config
    }
}

/// The exchanges of a worker with their environment.
pub(super) struct Harness {
    pub(super) exchanges: Exchanges,
    pub(super) io: Fake,
    pub(super) state: Arc<State>,
    pub(super) snapshot: Arc<Snapshot>,
    /// Only assigns backend ids; sends nothing.
    pub(super) transport: Transport,
    files: Files,
    received: u64,
}

impl Harness {
    pub(super) fn new() -> Self {
        Self::with(&Config::default())
    }

    pub(super) fn with(config: &Config) -> Self {
        let authority = Authority::new();
        let files = Files::write(&authority, &authority.issue(&["localhost"]));
        let config = config.parse(&files);
        let state =
            State::new(1, &process_limits(&config), quic_keys(&config).unwrap(), UpgradeState::default()).unwrap();
        let now = state.epoch;
        let mut transport = Transport::new(transport_options(&config), Arc::default(), now);
        let snapshot = compile(config, &state, None).unwrap();
        let of_worker = WorkerSnapshot::new(snapshot.clone(), &mut transport, 0);
        let access = AccessLog::new(AccessOutput::none(), 1, now);
        let exchanges = Exchanges::new(state.clone(), of_worker, Clock::new(1), access, 0, now);
        Self { exchanges, io: Fake::new(now), state, snapshot, transport, files, received: 0 }
    }

    /// Reloads the configuration. State of upstreams and backends is kept.
    pub(super) fn reload(&mut self, config: &Config) {
        self.snapshot = compile(config.parse(&self.files), &self.state, Some(&self.snapshot)).unwrap();
        self.snapshot.configure_upstreams();
        self.exchanges.reload(WorkerSnapshot::new(self.snapshot.clone(), &mut self.transport, 0));
    }

    /// Sends a request from a new connection; the target of CONNECT without `:protocol` is an authority, others are paths.
    /// Returns the number of its client.
    pub(super) fn send(&mut self, method: &[u8], target: &[u8], more: &[(Known, &[u8])], end: bool) -> usize {
        let mut fields = Fields::new();
        fields.push(Known::Method, method);
        if method == b"CONNECT" && !more.iter().any(|(name, _)| *name == Known::Protocol) {
            fields.push(Known::Authority, target);
        } else {
            fields.push(Known::Scheme, b"https");
            fields.push(Known::Authority, b"localhost");
            fields.push(Known::Path, target);
        }
        let content_length = more.iter().find(|(name, _)| *name == Known::ContentLength);
        let content_length = content_length.map(|(_, value)| std::str::from_utf8(value).unwrap().parse().unwrap());
        for (name, value) in more {
            fields.push(*name, value);
        }
        let head = RequestHead { fields, method: Method::from_bytes(method), content_length };
        self.receive(EventKind::Request { protocol: Protocol::Http3, head, end, peer: PEER })
    }

    /// Sends a request without body.
    pub(super) fn get(&mut self) -> usize {
        self.send(b"GET", b"/", &[], true)
    }

    /// Sends a request with a body that follows later.
    pub(super) fn post(&mut self) -> usize {
        self.send(b"POST", b"/", &[], false)
    }

    /// Delivers a request event.
    pub(super) fn receive(&mut self, kind: EventKind) -> usize {
        self.received += 1;
        self.io.clients.push(Client::default());
        let client = self.io.clients.len() - 1;
        self.client_event(client, kind);
        client
    }

    pub(super) fn client_event(&mut self, client: usize, kind: EventKind) {
        let tag = self.io.clients[client].tag;
        self.client_event_of(client, tag, kind);
    }

    /// Delivers an event with a tag that may be of another exchange.
    pub(super) fn client_event_of(&mut self, client: usize, tag: Option<u64>, kind: EventKind) {
        self.exchanges.advance(self.io.now);
        let event = ClientEvent { stream: StreamRef::default(), tag, kind };
        let client = ClientSide::Quic { listener: client, stream: event.stream };
        self.exchanges.on_client(&mut self.io, client, event);
        self.check();
    }

    /// The client sends a part of its body.
    pub(super) fn upload(&mut self, client: usize, read: BodyRead) {
        self.io.clients[client].body.push_back(read);
        self.client_event(client, EventKind::Readable);
    }

    pub(super) fn upload_data(&mut self, client: usize, data: &[u8]) {
        self.upload(client, BodyRead::Data(Bytes::copy_from_slice(data)));
    }

    /// The client's stream is aborted.
    pub(super) fn abort(&mut self, client: usize, abort: Abort) {
        self.io.clients[client].is_gone = true;
        self.client_event(client, EventKind::Aborted(abort));
    }

    /// The client takes response bytes that waited.
    pub(super) fn accept(&mut self, client: usize, bytes: usize) {
        self.io.clients[client].pending -= bytes;
        self.client_event(client, EventKind::Accepted(bytes));
    }

    /// The client takes all that waited, and the end.
    pub(super) fn accept_all(&mut self, client: usize) {
        let pending = self.io.clients[client].pending;
        if pending > 0 {
            self.accept(client, pending);
        }
        if std::mem::take(&mut self.io.clients[client].owes_sent) {
            self.client_event(client, EventKind::Sent);
        }
    }

    pub(super) fn upstream_event(&mut self, event: UpstreamEvent) {
        self.exchanges.advance(self.io.now);
        self.exchanges.on_upstream(&mut self.io, event);
        self.check();
    }

    /// A waiting request is sent on a connection.
    pub(super) fn connect(&mut self, request: usize) {
        let request = &mut self.io.requests[request];
        request.is_waiting = false;
        let tag = request.tag;
        self.upstream_event(UpstreamEvent::Sent { tag, waited: Duration::ZERO });
    }

    /// The backend grants a larger window for the request body.
    pub(super) fn grant_window(&mut self, request: usize, bytes: usize) {
        let request = &mut self.io.requests[request];
        request.window += bytes;
        let tag = request.tag;
        self.upstream_event(UpstreamEvent::Sendable { tag });
    }

    pub(super) fn interim(&mut self, request: usize, status: u16) {
        let tag = self.io.requests[request].tag;
        let head = response(status, &[]);
        self.upstream_event(UpstreamEvent::Informational { tag, protocol: Protocol::Http2, head });
    }

    /// The backend sends a response head.
    pub(super) fn head(&mut self, request: usize, status: u16, end: bool) {
        self.head_with(request, response(status, &[]), end);
    }

    pub(super) fn head_with(&mut self, request: usize, head: ResponseHead, end: bool) {
        let request = &mut self.io.requests[request];
        request.has_head = true;
        request.received_all |= end;
        let tag = request.tag;
        self.upstream_event(UpstreamEvent::Head { tag, protocol: Protocol::Http2, head, end });
    }

    /// The backend sends body bytes.
    pub(super) fn data(&mut self, request: usize, data: &[u8], end: bool) {
        let request = &mut self.io.requests[request];
        request.received_all |= end;
        let tag = request.tag;
        self.upstream_event(UpstreamEvent::Data { tag, data: Bytes::copy_from_slice(data), end });
    }

    /// The backend ends the response with trailers.
    pub(super) fn trailers(&mut self, request: usize, fields: Fields) {
        let request = &mut self.io.requests[request];
        request.received_all = true;
        let tag = request.tag;
        self.upstream_event(UpstreamEvent::Trailers { tag, fields });
    }

    pub(super) fn fail(&mut self, request: usize, kind: FailureKind, processed: Processed) {
        let request = &mut self.io.requests[request];
        request.has_failed = true;
        let tag = request.tag;
        let failure = Failure { kind, processed, head_received: false, connection: 1 };
        self.upstream_event(UpstreamEvent::Failed { tag, failure });
    }

    /// Advances the time and handles what is due.
    pub(super) fn pass(&mut self, time: Duration) {
        self.io.now += time;
        self.exchanges.advance(self.io.now);
        self.exchanges.on_time(&mut self.io);
        self.exchanges.poll_waiting(&mut self.io);
        self.check();
    }

    /// Advances the time by `time`, from deadline to deadline like a worker.
    pub(super) fn sleep(&mut self, time: Duration) {
        let end = self.io.now + time;
        while let Some(next) = self.exchanges.deadline().filter(|next| *next <= end) {
            self.pass(next.max(self.io.now + Duration::from_millis(1)).min(end) - self.io.now);
            if self.io.now == end {
                return;
            }
        }
        self.pass(end - self.io.now);
    }

    /// Returns the numbers of a client's backend requests, in order.
    pub(super) fn requests_of(&self, client: usize) -> Vec<usize> {
        let tag = self.io.clients[client].tag;
        let is_of = |request: &Request| Some(request.tag & !(1 << 31)) == tag;
        self.io.requests.iter().enumerate().filter(|(_, request)| is_of(request)).map(|(at, _)| at).collect()
    }

    pub(super) fn client(&self, client: usize) -> &Client {
        &self.io.clients[client]
    }

    /// Returns status and text of a client's response, which must be complete.
    pub(super) fn answer(&self, client: usize) -> (u16, &str) {
        let client = self.client(client);
        assert_eq!(client.ended, Some(Ended::Plain));
        (client.status().unwrap(), client.text())
    }

    /// Returns the number of attempts on each backend.
    pub(super) fn leases(&self) -> Vec<u32> {
        let members = self.snapshot.upstreams[0].pool.members();
        members.iter().map(|member| member.state.in_flight()).collect()
    }

    /// Returns the number of requests that have not ended.
    pub(super) fn in_flight(&self) -> u64 {
        let RequestCounts { total, success, failure, cancelled } = self.exchanges.counts();
        assert_eq!(total, self.received, "a request was not counted, or twice");
        total.checked_sub(success + failure + cancelled).expect("a request has ended twice")
    }

    /// Returns the counters: success, failure, cancelled.
    pub(super) fn ended(&self) -> (u64, u64, u64) {
        let RequestCounts { success, failure, cancelled, .. } = self.exchanges.counts();
        (success, failure, cancelled)
    }

    /// Checks the invariants: a request is in the table or has ended; no backend stream of an ended request is open.
    fn check(&self) {
        let tags: Vec<_> = self.exchanges.table.iter().map(|(_, exchange)| exchange.tag.number()).collect();
        assert_eq!(self.in_flight(), tags.len() as u64);
        for request in self.io.requests.iter().filter(|request| request.is_open()) {
            assert!(tags.contains(&(request.tag & !(1 << 31))), "a backend's stream outlives its exchange");
        }
    }

    /// Checks that nothing is in flight and everything was released.
    pub(super) fn check_idle(&mut self) {
        self.exchanges.release_snapshots(&mut self.transport);
        assert_eq!((self.in_flight(), self.exchanges.table.len()), (0, 0));
        assert!(self.exchanges.waiting.is_empty(), "an exchange that has ended is in the queue");
        assert_eq!(self.state.global_limits.in_flight(), 0, "a permit was kept");
        assert_eq!(self.state.bodies.used(), 0, "a part of the budget for request bodies was kept");
        assert!(self.leases().iter().all(|count| *count == 0), "a backend's lease was kept");
        assert!(self.exchanges.retired.is_empty(), "a snapshot was kept");
    }
}

pub(super) fn response(status: u16, fields: &[(Known, &[u8])]) -> ResponseHead {
    let mut head = ResponseHead { status, fields: Fields::new(), content_length: None };
    for (name, value) in fields {
        head.fields.push(*name, value);
        if *name == Known::ContentLength {
            head.content_length = std::str::from_utf8(value).unwrap().parse().ok();
        }
    }
    head
}
