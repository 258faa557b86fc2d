//! Random sequences of events: every request ends exactly once and releases everything.
//!
//! Each event is chosen among those that are possible in the current state; sometimes an event of an ended exchange is sent.

use super::{
    fake::Ended,
    harness::{Config, Harness, PEER, response},
};
use bytes::Bytes;
use spooky_bridge::{
    h2::Code,
    message::{
        Fields, Known, Name, Protocol,
        check::{CheckError, RejectedRequest},
    },
};
use spooky_edge::{Abort, BodyRead, EventKind};
use spooky_lb::rng::Rng;
use spooky_transport::{FailureKind, Processed, Unsent};
use std::time::Duration;

/// Number of sequences; each ends with no request in flight.
const ORDERS: u64 = 10_000;
const EVENTS: u64 = 32;

const CONFIG: Config = Config {
    upstream: "passive_health: { failure_threshold: 2 }",
    performance: "per_upstream_inflight_limit: 6\nper_backend_inflight_limit: 3\nmax_request_body_bytes: 4000\n\
                  max_response_body_bytes: 4000\nrequest_buffer_global_cap_bytes: 4KiB",
    resilience: "  protocol: { allow_connect: true }\n  hedging: { enabled: true, delay_ms: 100 }\n  \
                 route_queue: { max_wait_ms: 1s, default_cap: 3 }\n  retry_budget: { enabled: false, max_retries: 2 }",
    backends: 2,
};
/// The configuration after a reload.
const OTHER: Config = Config { backends: 3, ..CONFIG };

/// Prints the seed of a failed sequence.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {}", self.0);
        }
    }
}

/// Counts events over all sequences, to check that all states are reached.
#[derive(Debug, Default)]
struct Reached {
    attempts: usize,
    hedges: usize,
    resets: usize,
    answers: usize,
    trailers: usize,
    tunnels: usize,
}

struct Walk {
    harness: Harness,
    rng: Rng,
    reached: Reached,
}

impl Walk {
    /// Chooses an element; `None` if there is none.
    fn one_of(&mut self, numbers: &[usize]) -> Option<usize> {
        (!numbers.is_empty()).then(|| numbers[self.rng.below(numbers.len() as u64) as usize])
    }

    fn request(&mut self) {
        self.harness.io.is_connected = self.rng.below(100) < 70;
        self.harness.io.window = if self.rng.below(100) < 50 { 1 << 20 } else { 300 };
        self.harness.io.takes_trailers = self.rng.below(100) < 90;
        self.harness.io.unsent = (self.rng.below(100) < 3).then_some(Unsent::QueueFull);
        let refused = |error| Box::new(RejectedRequest { error, fields: Fields::new() });
        let (protocol, fields) = (Protocol::Http3, Box::new(Fields::new()));
        let client = match self.rng.below(16) {
            0 => self.harness.receive(EventKind::Refused {
                protocol,
                refusal: refused(CheckError::TooLarge),
                peer: PEER,
            }),
            1 => {
                let client =
                    self.harness.receive(EventKind::Malformed { protocol, fields, reason: "made up", peer: PEER });
                self.harness.io.clients[client].is_gone = true;
                client
            }
            2 => self.harness.send(b"POST", b"/", &[(Known::ContentLength, b"5000")], false),
            3 | 4 => self.harness.send(b"CONNECT", b"localhost:443", &[], false),
            5..8 => self.harness.send(b"PUT", b"/", &[], false),
            8..10 => self.harness.send(b"POST", b"/", &[], false),
            10 => self.harness.send(b"GET", b"/", &[], false),
            11 => self.harness.send(b"HEAD", b"/", &[], true),
            _ => self.harness.send(b"GET", b"/", &[], true),
        };
        self.harness.io.clients[client].is_slow = self.rng.below(100) < 30;
    }

    fn client_event(&mut self) {
        let clients = &self.harness.io.clients;
        let live: Vec<_> = (0..clients.len()).filter(|client| self.is_live(*client)).collect();
        let Some(client) = self.one_of(&live) else { return };
        match self.rng.below(10) {
            0..5 => self.upload(client),
            5..8 if self.harness.client(client).pending > 0 => {
                let bytes = 1 + self.rng.below(self.harness.client(client).pending as u64) as usize;
                self.harness.accept(client, bytes);
            }
            5..9 => self.harness.accept_all(client),
            _ => {
                let aborts = [Abort::Reset(0x10c), Abort::Stopped(0), Abort::Lost, Abort::Malformed("made up")];
                let abort = aborts[self.rng.below(4) as usize];
                self.harness.abort(client, abort);
            }
        }
    }

    /// Returns whether events of the client's stream are possible.
    fn is_live(&self, client: usize) -> bool {
        let client = self.harness.client(client);
        client.tag.is_some() && !client.is_gone && !matches!(client.ended, Some(Ended::Reset(_)))
    }

    fn upload(&mut self, client: usize) {
        // Nothing follows the end, or a failure that was not read yet.
        let is_over = |read: &BodyRead| !matches!(read, BodyRead::Data(_));
        if self.harness.client(client).is_uploaded || self.harness.client(client).body.iter().any(is_over) {
            return self.harness.client_event(client, EventKind::Readable);
        }
        match self.rng.below(8) {
            0 | 1 => {
                self.harness.io.clients[client].is_uploaded = true;
                self.harness.upload(client, BodyRead::End);
            }
            2 => {
                let mut fields = Fields::new();
                fields.push(Name::Other(b"x-checksum"), b"1");
                let is_end_there = self.rng.below(100) < 50;
                self.harness.io.clients[client].is_uploaded = true;
                self.harness.io.clients[client].body.push_back(BodyRead::Trailers(Box::new(fields)));
                self.harness.io.clients[client].body.extend(is_end_there.then_some(BodyRead::End));
                self.harness.client_event(client, EventKind::Readable);
            }
            3 if self.rng.below(100) < 20 => {
                self.harness.io.clients[client].is_uploaded = true;
                self.harness.upload(client, BodyRead::Aborted(Abort::Malformed("too short")));
            }
            _ => {
                let length = self.rng.below(1500) as usize;
                self.harness.upload(client, BodyRead::Data(Bytes::from(vec![b'.'; length])));
            }
        }
    }

    fn upstream_event(&mut self) {
        let requests = &self.harness.io.requests;
        let open: Vec<_> = (0..requests.len()).filter(|request| requests[*request].is_open()).collect();
        let Some(request) = self.one_of(&open) else { return };
        let found = &self.harness.io.requests[request];
        let end = self.rng.below(100) < 40;
        match self.rng.below(10) {
            0 | 1 => self.fail(request),
            _ if found.is_waiting => self.harness.connect(request),
            2 => self.harness.grant_window(request, 400),
            _ if found.received_all => {}
            3 if !found.has_head => self.harness.interim(request, 103),
            _ if !found.has_head => {
                let statuses = [200, 200, 200, 204, 404, 503];
                let status = statuses[self.rng.below(6) as usize];
                let is_declared = self.rng.below(100) < 10;
                let length: &[(Known, &[u8])] = &[(Known::ContentLength, b"5000")];
                self.harness.head_with(request, response(status, if is_declared { length } else { &[] }), end);
            }
            4 => {
                self.reached.trailers += 1;
                let mut fields = Fields::new();
                fields.push(Name::Other(b"x-checksum"), b"1");
                self.harness.trailers(request, fields);
            }
            _ => {
                let length = self.rng.below(1500) as usize;
                self.harness.data(request, &vec![b'.'; length], end);
            }
        }
    }

    fn fail(&mut self, request: usize) {
        let kinds = [
            FailureKind::Refused,
            FailureKind::GoAway,
            FailureKind::Reset(Code::REFUSED_STREAM),
            FailureKind::Reset(Code::INTERNAL_ERROR),
            FailureKind::Malformed("made up"),
            FailureKind::ConnectionLost(std::io::ErrorKind::UnexpectedEof),
        ];
        let kind = kinds[self.rng.below(kinds.len() as u64) as usize];
        let processed = if self.rng.below(100) < 50 { Processed::No } else { Processed::Unknown };
        self.harness.fail(request, kind, processed);
    }

    /// Sends an event of an exchange that has ended or never existed.
    fn stale_event(&mut self) {
        let clients = &self.harness.io.clients;
        let gone: Vec<_> = (0..clients.len()).filter(|client| !self.is_live(*client)).collect();
        if let Some(client) = self.one_of(&gone) {
            let kinds = [EventKind::Readable, EventKind::Accepted(7), EventKind::Sent, EventKind::Aborted(Abort::Lost)];
            let tag = self.harness.client(client).tag.or(Some(self.rng.next_u64()));
            let kind = kinds.into_iter().nth(self.rng.below(4) as usize).unwrap();
            self.harness.client_event_of(client, tag, kind);
        }
    }

    fn step(&mut self) {
        match self.rng.below(20) {
            0..5 => self.request(),
            5..9 => self.client_event(),
            9..16 => self.upstream_event(),
            16 => self.harness.pass(Duration::ZERO),
            17 => {
                let time = Duration::from_millis(self.rng.below(400));
                self.harness.pass(time);
            }
            18 if self.rng.below(100) < 10 => {
                let config = if self.rng.below(100) < 50 { &CONFIG } else { &OTHER };
                self.harness.reload(config);
            }
            _ => self.stale_event(),
        }
    }

    /// Ends the remaining requests: by the drain, or by timeouts.
    fn finish(&mut self, by_deadlines: bool) {
        for client in 0..self.harness.io.clients.len() {
            if by_deadlines {
                self.harness.io.clients[client].body.clear();
                if self.is_live(client) {
                    self.harness.accept_all(client);
                }
            } else if self.is_live(client) {
                self.harness.abort(client, Abort::Closed);
            }
        }
        // The transport fails requests that wait for a connection.
        self.harness.io.is_connected = true;
        let requests = &self.harness.io.requests;
        let waiting =
            (0..requests.len()).filter(|request| requests[*request].is_open() && requests[*request].is_waiting);
        for request in waiting.collect::<Vec<_>>() {
            if self.harness.io.requests[request].is_open() {
                self.harness.fail(request, FailureKind::ConnectTimeout, Processed::No);
            }
        }
        // The remaining requests end by timeouts.
        self.harness.sleep(Duration::from_secs(if by_deadlines { 700 } else { 10 }));
        self.harness.check_idle();
        for (number, client) in self.harness.io.clients.iter().enumerate() {
            assert!(client.ended.is_some() || client.is_gone, "client {number} has got no end");
            self.reached.resets += usize::from(matches!(client.ended, Some(Ended::Reset(_))));
            let head = client.head.as_ref();
            let is_own = head.is_some_and(|head| head.fields.first(Known::ProxyStatus).is_some());
            self.reached.answers += usize::from(is_own);
            self.reached.tunnels += usize::from(client.is_tunnel);
        }
        self.reached.attempts += self.harness.io.requests.len();
        self.reached.hedges += self.harness.io.requests.iter().filter(|request| request.tag & 1 << 31 != 0).count();
        self.harness.io.clients.clear();
        self.harness.io.requests.clear();
    }
}

#[test]
fn each_request_ends_once_in_any_order_of_events() {
    let mut walk = Walk { harness: Harness::with(&CONFIG), rng: Rng::seeded(0), reached: Reached::default() };
    for seed in 0..ORDERS {
        let _seed = Seed(seed);
        walk.rng = Rng::seeded(seed);
        for _ in 0..EVENTS {
            walk.step();
        }
        walk.finish(seed % 8 == 0);
    }
    let counts = walk.harness.exchanges.counts();
    assert_eq!(counts.total, counts.success + counts.failure + counts.cancelled);
    for (what, count) in [
        ("successes", counts.success as usize),
        ("failures", counts.failure as usize),
        ("cancellations", counts.cancelled as usize),
        ("attempts", walk.reached.attempts),
        ("hedges", walk.reached.hedges),
        ("resets", walk.reached.resets),
        ("answers", walk.reached.answers),
        ("trailers", walk.reached.trailers),
        ("tunnels", walk.reached.tunnels),
    ] {
        assert!(count > 500, "only {count} {what}: {counts:?} {:?}", walk.reached);
    }
}
