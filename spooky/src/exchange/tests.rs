//! Whatever happens to requests, and in whatever order, each of them ends once and gives back all that it held.
//!
//! The events are made up: the listener has no connection and the transport is never polled, so nothing else happens.

use super::*;
use crate::{listener::Listeners, snapshot::WorkerSnapshot, state::State};
use spooky_edge::{Event as ClientEvent, EventKind};
use spooky_transport::{Event as UpstreamEvent, Transport};
use std::{sync::Arc, time::Instant};

use crate::{
    listener::Ingress,
    snapshot::{Snapshot, compile, edge_settings, process_limits, quic_keys, transport_options},
};
use bytes::Bytes;
use spooky_bridge::{
    h2::Code,
    message::{
        Fields, Known, Method, Protocol, RequestHead, ResponseHead,
        check::{CheckError, Refused},
    },
};
use spooky_edge::{Abort, Admission, ConnectionLimiter, Place, StreamRef};
use spooky_lb::rng::Rng;
use spooky_net::{steer::Sorter, udp::UdpOptions};
use spooky_testkit::{
    certs::{Authority, Files},
    settings::Settings,
};
use spooky_transport::{Failure, FailureKind, Processed};
use std::{net::IpAddr, net::SocketAddr, time::Duration};

/// Orders of events; each ends with none in flight.
const ORDERS: u64 = 10_000;
/// Events of each.
const EVENTS: u64 = 24;

/// Lets nobody in.
struct Closed;

impl ConnectionLimiter for Closed {
    fn open(&self, _client: IpAddr, _is_validated: bool, _now: Instant) -> Admission {
        Admission::Refuse
    }

    fn establish(&self, _client: IpAddr) -> Option<Place> {
        None
    }
}

struct World {
    exchanges: Exchanges,
    listeners: Listeners,
    transport: Transport,
    snapshot: Arc<Snapshot>,
    state: Arc<State>,
    rng: Rng,
    now: Instant,
    received: u64,
}

impl World {
    /// Called on a runtime.
    fn new() -> Self {
        let authority = Authority::new();
        let files = Files::write(&authority, &authority.issue(&["localhost"]));
        let backends = ["http://127.0.0.1:1".to_owned(), "http://127.0.0.1:2".to_owned()];
        let limits = "resilience:\n  route_queue: { max_wait_ms: 1s, default_cap: 4 }\n  brownout: { enabled: false }\n  \
                      hedging: { enabled: true, delay_ms: 100 }";
        let text = Settings::new(&files)
            .upstream("all", "/", &backends)
            .performance("per_upstream_inflight_limit: 6")
            .performance("per_backend_inflight_limit: 4")
            .block(limits)
            .text();
        let config = spooky_config::parse(&text, "spooky.yaml", &|_| None).unwrap().config;
        let state = State::new(1, &process_limits(&config), quic_keys(&config).unwrap()).unwrap();
        let settings = edge_settings(&config, &config.listeners[0], &state, 1400, Arc::new(Closed)).unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let ingress = Ingress {
            number: 0,
            socket: Arc::new(socket.into()),
            settings,
            port: 443,
            sorter: Sorter::new(0, 1, false),
            subject_header: None,
        };
        let options = UdpOptions { recv_buffer: 4096, send_buffer: 4096, reuseport: false };
        let now = state.epoch;
        let mut transport = Transport::new(transport_options(&config), now);
        let snapshot = compile(config, &state, None).unwrap();
        let of_worker = WorkerSnapshot::new(snapshot.clone(), &mut transport, 0);
        Self {
            exchanges: Exchanges::new(state.clone(), of_worker, Clock::new(1), 0, now),
            listeners: Listeners::open(&[ingress], &options).unwrap(),
            transport,
            snapshot,
            state,
            rng: Rng::seeded(7),
            now,
            received: 0,
        }
    }

    fn act(&mut self, act: impl FnOnce(&mut Exchanges, &mut WorkerIo<'_>)) {
        let Self { exchanges, listeners, transport, now, .. } = self;
        exchanges.advance(*now);
        act(exchanges, &mut WorkerIo { listeners, transport, now: *now });
    }

    fn on_client(&mut self, tag: Option<u64>, kind: EventKind) {
        let event = ClientEvent { stream: StreamRef::default(), tag, kind };
        self.act(|exchanges, sides| exchanges.on_client(sides, 0, event));
    }

    fn on_upstream(&mut self, event: UpstreamEvent) {
        self.act(|exchanges, sides| exchanges.on_upstream(sides, event));
    }

    /// The time goes on, and what is due happens.
    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.act(|exchanges, io| exchanges.on_time(io));
        self.act(|exchanges, io| exchanges.call_waiting(io));
    }

    /// The number of some exchange that is in the table, or was.
    fn tag(&mut self, tags: &[u64]) -> u64 {
        match tags.len() as u64 {
            0 => 0,
            len => tags[self.rng.below(len) as usize] ^ (self.rng.below(2) << 31),
        }
    }

    fn request(&mut self) {
        self.received += 1;
        let (method, path): (&[u8], &[u8]) = match self.rng.below(8) {
            0 => (b"POST", b"/upload"),
            1 => (b"PUT", b"/upload"),
            2 => (b"HEAD", b"/"),
            _ => (b"GET", b"/"),
        };
        let mut fields = Fields::new();
        for (name, value) in
            [(Known::Method, method), (Known::Scheme, b"https"), (Known::Authority, b"localhost"), (Known::Path, path)]
        {
            fields.push(name, value);
        }
        let refused = |error| Box::new(Refused { error, fields: Fields::new() });
        let protocol = Protocol::Http3;
        let kind = match self.rng.below(12) {
            0 => EventKind::Refused { protocol, refusal: refused(CheckError::TooManyFields) },
            1 => EventKind::Malformed { protocol, fields: Box::new(fields), reason: "made up" },
            _ => EventKind::Request {
                protocol,
                head: RequestHead { fields, method: Method::from_bytes(method), content_length: None },
                end: path == b"/",
                peer: SocketAddr::from(([127, 0, 0, 1], 9)),
                local_ip: None,
            },
        };
        self.on_client(None, kind);
    }

    fn client_event(&mut self, tag: u64) {
        let kind = match self.rng.below(8) {
            0 => EventKind::Readable,
            1 => EventKind::Accepted(10),
            2 | 3 => EventKind::Sent,
            4 => EventKind::Aborted(Abort::Reset(0x10c)),
            5 => EventKind::Aborted(Abort::Lost),
            6 => EventKind::Aborted(Abort::Malformed("made up")),
            _ => EventKind::Aborted(Abort::Stopped(0)),
        };
        self.on_client(Some(tag), kind);
    }

    fn upstream_event(&mut self, tag: u64) {
        let end = self.rng.percent(40);
        let mut head = ResponseHead { status: 200, fields: Fields::new(), content_length: None };
        let event = match self.rng.below(12) {
            0 | 1 => UpstreamEvent::Sent { tag, waited: Duration::ZERO },
            2..5 => {
                head.status = if self.rng.percent(30) { 503 } else { 200 };
                UpstreamEvent::Head { tag, protocol: Protocol::Http2, head, end }
            }
            5 => {
                head.status = 103;
                UpstreamEvent::Informational { tag, protocol: Protocol::Http2, head }
            }
            6..8 => UpstreamEvent::Data { tag, data: Bytes::from_static(b"some bytes"), end },
            8 => UpstreamEvent::Trailers { tag, fields: Fields::new() },
            9 => UpstreamEvent::Sendable { tag },
            _ => {
                let kinds = [
                    FailureKind::Refused,
                    FailureKind::GoAway,
                    FailureKind::Reset(Code::REFUSED_STREAM),
                    FailureKind::Reset(Code::INTERNAL_ERROR),
                    FailureKind::Malformed("made up"),
                ];
                let kind = kinds[self.rng.below(kinds.len() as u64) as usize];
                let processed = if self.rng.percent(50) { Processed::No } else { Processed::Unknown };
                let failure = Failure { kind, processed, head_received: false, connection: 1 };
                UpstreamEvent::Failed { tag, failure }
            }
        };
        self.on_upstream(event);
    }

    /// The requests that have not ended.
    fn in_flight(&self) -> u64 {
        let RequestCounts { total, success, failure, cancelled } = self.exchanges.counts();
        assert_eq!(total, self.received, "a request was not counted, or twice");
        total.checked_sub(success + failure + cancelled).expect("a request has ended twice")
    }
}

#[tokio::test]
async fn each_request_ends_once_in_any_order_of_events() {
    let mut world = World::new();
    for order in 0..ORDERS {
        world.rng = Rng::seeded(order);
        let mut tags = Vec::new();
        for _ in 0..EVENTS {
            let tag = world.tag(&tags);
            match world.rng.below(10) {
                0..3 => world.request(),
                3 => world.client_event(tag),
                4..8 => world.upstream_event(tag),
                8 => {
                    let time = Duration::from_millis(world.rng.below(400));
                    world.pass(time);
                }
                _ if world.rng.percent(10) => {
                    let snapshot = WorkerSnapshot::new(world.snapshot.clone(), &mut world.transport, 0);
                    world.exchanges.reload(snapshot);
                }
                _ => world.pass(Duration::ZERO),
            }
            let table = &world.exchanges.table;
            tags.extend(table.iter().map(|(_, found)| found.tag.number()));
            assert_eq!(world.in_flight(), table.len() as u64, "order {order}");
        }
        for tag in tags {
            world.on_client(Some(tag), EventKind::Aborted(Abort::Closed));
        }
        world.exchanges.release_snapshots(&mut world.transport);
        assert_eq!((world.in_flight(), world.exchanges.table.len()), (0, 0), "order {order}");
        assert!(world.exchanges.waiting.is_empty() && world.exchanges.retired.is_empty(), "order {order}");
        assert_eq!(world.state.process.in_flight(), 0, "order {order}: a permit was kept");
    }
    let RequestCounts { success, failure, cancelled, .. } = world.exchanges.counts();
    assert!([success, failure, cancelled].iter().all(|count| *count > ORDERS / 10), "{success} {failure} {cancelled}");
}
