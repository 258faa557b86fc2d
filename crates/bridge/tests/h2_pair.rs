//! The HTTP/2 client against the HTTP/2 server: random messages, limits and splits of the bytes. Whatever one side sends
//! and neither side resets must arrive as it was sent.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a panic is how a test fails")]

mod checks {
    pub(crate) mod prng;
}

use bytes::{Buf as _, Bytes, BytesMut};
use checks::prng::Prng;
use spooky_bridge::{
    WriteBuffer,
    h2::{Client, Code, Config, Event, Server, ServerConfig, ServerEvent, StreamId},
    message::{Fields, Known, Method, Name, RequestHead, ResponseHead},
};
use std::{collections::BTreeMap, io::IoSlice, time::Duration};

/// Conversations, each with its own seed.
const SEEDS: u64 = 60;
const REQUESTS: u64 = 40;

/// A body with its trailers, and what was sent of it.
struct Sending {
    rest: Bytes,
    /// Size of the next part that the owner has.
    part: usize,
    trailers: Option<Fields>,
    is_done: bool,
}

/// A message as it is received.
#[derive(Debug, Default, PartialEq)]
struct Received {
    interim: usize,
    head: Option<(u16, usize)>,
    body: Vec<u8>,
    trailers: Option<usize>,
    is_complete: bool,
}

/// One exchange as both sides see it. Everything in it follows from the number.
struct Exchange {
    id: Option<StreamId>,
    upload: Sending,
    download: Sending,
    at_server: Received,
    at_client: Received,
    /// Reset, refused or malformed: what arrived may be incomplete.
    is_broken: bool,
}

/// The plan of a conversation, from its seed.
struct Plan {
    seed: u64,
}

impl Plan {
    fn number(&self, exchange: u64, what: u64, below: usize) -> usize {
        Prng(self.seed.wrapping_mul(0x9e37_79b9) ^ (exchange << 8) ^ what | 1).below(below)
    }

    fn method(&self, exchange: u64) -> Method {
        [Method::Get, Method::Post, Method::Put, Method::Head, Method::Connect][self.number(exchange, 1, 5)]
    }

    fn body(&self, exchange: u64, what: u64) -> Bytes {
        let most = [1, 100, 5000, 80_000][self.number(exchange, what, 4)];
        let length = self.number(exchange, what + 1, most);
        (0..length).map(|at| (at as u64 * 31 + exchange + what) as u8).collect()
    }

    fn upload(&self, exchange: u64) -> Bytes {
        match self.method(exchange) {
            Method::Get | Method::Head => Bytes::new(),
            _ => self.body(exchange, 10),
        }
    }

    fn download(&self, exchange: u64) -> Bytes {
        if self.has_body(exchange) { self.body(exchange, 20) } else { Bytes::new() }
    }

    fn has_body(&self, exchange: u64) -> bool {
        self.method(exchange) != Method::Head && !matches!(self.status(exchange), 204 | 304)
    }

    fn status(&self, exchange: u64) -> u16 {
        [200, 204, 304, 404, 500, 201][self.number(exchange, 30, 6)]
    }

    fn trailers(&self, exchange: u64, what: u64) -> Option<Fields> {
        if self.method(exchange) == Method::Connect {
            return None;
        }
        (self.number(exchange, what, 3) == 0).then(|| self.fields(exchange, what + 1))
    }

    /// Fields that repeat, and some that do not.
    fn fields(&self, exchange: u64, what: u64) -> Fields {
        let mut fields = Fields::new();
        for field in 0..=self.number(exchange, what, 6) as u64 {
            let value = self.number(exchange, what + 10 + field, 4);
            match self.number(exchange, what + 20 + field, 4) {
                0 => fields.push(Known::UserAgent, format!("agent {value}").as_bytes()),
                1 => fields.push(Known::ContentType, format!("text/{value}").as_bytes()),
                2 => fields.push(Name::Other(b"x-other"), &vec![b'v'; 1 + value * 300]),
                _ => fields.push(Name::Other(b"x-unique"), format!("{exchange} {field}").as_bytes()),
            }
        }
        fields
    }

    fn request(&self, exchange: u64) -> RequestHead {
        let method = self.method(exchange);
        let text = format!("{method:?}").to_uppercase();
        let mut fields = Fields::new();
        fields.push(Known::Method, text.as_bytes());
        if method == Method::Connect {
            fields.push(Known::Authority, b"a.example:443");
        } else {
            fields.push(Known::Scheme, b"https");
            fields.push(Known::Authority, b"a.example");
            fields.push(Known::Path, format!("/{exchange}").as_bytes());
        }
        fields.push(Name::Other(b"x-number"), exchange.to_string().as_bytes());
        for field in self.fields(exchange, 40).iter() {
            fields.push(field.name, field.value);
        }
        let length = self.upload(exchange).len();
        if length > 0 && method != Method::Connect && exchange.is_multiple_of(2) {
            fields.push(Known::ContentLength, length.to_string().as_bytes());
        }
        RequestHead { fields, method, content_length: None }
    }

    fn response(&self, exchange: u64) -> ResponseHead {
        let mut head = ResponseHead::new(self.status(exchange));
        head.fields = self.fields(exchange, 80);
        if self.has_body(exchange) && self.method(exchange) != Method::Connect && exchange.is_multiple_of(3) {
            head.fields.push(Known::ContentLength, self.download(exchange).len().to_string().as_bytes());
        }
        head
    }

    /// One of ten exchanges is reset by the client, one by the server, once this many bytes have arrived.
    fn reset_at(&self, exchange: u64, side: u64) -> Option<usize> {
        (self.number(exchange, 120 + side, 10) == 0).then(|| self.number(exchange, 130, 3000))
    }
}

struct Pair {
    plan: Plan,
    prng: Prng,
    client: Client,
    server: Server,
    to_client: BytesMut,
    to_server: BytesMut,
    exchanges: BTreeMap<u64, Exchange>,
    next: u64,
    /// Bytes received but not released, by side, exchange and stream.
    unreleased: Vec<(bool, StreamId, usize)>,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut prng = Prng(seed | 1);
        let mut choose = |values: &[u32]| values[prng.below(values.len())];
        let config = Config {
            // A client with a smaller window takes part in a flood.
            initial_stream_window: choose(&[500, 20_000, 65_535, 1_000_000]),
            connection_window: choose(&[65_535, 100_000]),
            max_frame_size: choose(&[16_384, 50_000]),
            header_table_size: choose(&[0, 100, 4096]),
            ..Config::default()
        };
        let server = ServerConfig {
            initial_stream_window: choose(&[1, 500, 20_000, 65_535, 1_000_000]),
            connection_window: choose(&[65_535, 100_000]),
            max_frame_size: choose(&[16_384, 50_000]),
            header_table_size: choose(&[0, 100, 4096]),
            max_streams: choose(&[1, 3, 100]),
            ..ServerConfig::default()
        };
        Self {
            plan: Plan { seed },
            prng,
            client: Client::new(&config),
            server: Server::new(&server),
            to_client: BytesMut::new(),
            to_server: BytesMut::new(),
            exchanges: BTreeMap::new(),
            next: 0,
            unreleased: Vec::new(),
        }
    }

    /// Moves a random number of bytes in each direction.
    fn carry(&mut self) {
        let most = [1, 20, 1000, 100_000][self.prng.below(4)];
        let (up, down) = (self.prng.below(most) + 1, self.prng.below(most) + 1);
        carry(self.client.output(), &mut self.to_server, up);
        carry(self.server.output(), &mut self.to_client, down);
    }

    fn begin(&mut self) {
        while self.next < REQUESTS && self.client.capacity() > 0 && self.prng.below(3) > 0 {
            let number = self.next;
            self.next += 1;
            let head = self.plan.request(number);
            let sending = |rest: Bytes, trailers| Sending { rest, part: 0, trailers, is_done: false };
            let mut upload = sending(self.plan.upload(number), self.plan.trailers(number, 50));
            upload.is_done = upload.rest.is_empty() && upload.trailers.is_none() && head.method != Method::Connect;
            let id = self.client.send_request(&head, upload.is_done, number).expect("a stream");
            let download = sending(self.plan.download(number), self.plan.trailers(number, 90));
            let (at_server, at_client) = (Received::default(), Received::default());
            let exchange = Exchange { id: Some(id), upload, download, at_server, at_client, is_broken: false };
            self.exchanges.insert(number, exchange);
        }
    }

    fn on_client_events(&mut self) {
        while let Some(event) = self.client.recv(&mut self.to_client).expect("a sound server") {
            match event {
                Event::Informational { tag, .. } => self.exchange(tag).at_client.interim += 1,
                Event::Head { tag, head, end, .. } => {
                    let received = &mut self.exchange(tag).at_client;
                    assert!(received.head.is_none());
                    received.head = Some((head.status, head.fields.size()));
                    received.is_complete = end;
                }
                Event::Data { tag, id, data, end } => {
                    let exchange = self.exchange(tag);
                    exchange.at_client.body.extend_from_slice(&data);
                    exchange.at_client.is_complete = end;
                    let received = exchange.at_client.body.len();
                    self.unreleased.push((true, id, data.len()));
                    if !end && self.plan.reset_at(tag, 0).is_some_and(|at| received >= at) {
                        self.client.reset(id, Code::CANCEL);
                        self.exchange(tag).is_broken = true;
                    }
                }
                Event::Trailers { tag, fields, .. } => {
                    let received = &mut self.exchange(tag).at_client;
                    received.trailers = Some(fields.size());
                    received.is_complete = true;
                }
                Event::Reset { tag, code, .. } => {
                    let exchange = self.exchange(tag);
                    // After a complete response it only stops the upload.
                    assert!(code != Code::NO_ERROR || exchange.at_client.is_complete);
                    exchange.upload.is_done = true;
                    exchange.is_broken |= code != Code::NO_ERROR;
                }
                Event::Sendable { .. } | Event::Ready | Event::CapacityChanged => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn on_server_events(&mut self) {
        while let Some(event) = self.server.recv(&mut self.to_server, Duration::ZERO).expect("a sound client") {
            match event {
                ServerEvent::Request { id, head, end } => self.on_request(id, &head, end),
                ServerEvent::Data { tag, id, data, end } => {
                    let exchange = self.exchange(tag);
                    exchange.at_server.body.extend_from_slice(&data);
                    exchange.at_server.is_complete = end;
                    let received = exchange.at_server.body.len();
                    self.unreleased.push((false, id, data.len()));
                    if self.plan.reset_at(tag, 1).is_some_and(|at| received >= at) {
                        self.server.reset(id, Code::INTERNAL_ERROR);
                        self.exchange(tag).is_broken = true;
                    }
                }
                ServerEvent::Trailers { tag, fields, .. } => {
                    let received = &mut self.exchange(tag).at_server;
                    received.trailers = Some(fields.size());
                    received.is_complete = true;
                }
                ServerEvent::Reset { tag, code, .. } => {
                    assert_eq!(code, Code::CANCEL);
                    assert!(self.exchange(tag).is_broken, "by the client");
                }
                ServerEvent::Sendable { .. } | ServerEvent::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    fn on_request(&mut self, id: StreamId, head: &RequestHead, end: bool) {
        let number = head.fields.iter().find(|field| field.name.as_bytes() == b"x-number").expect("a number");
        let number: u64 = str::from_utf8(number.value).expect("digits").parse().expect("digits");
        let expected = self.plan.request(number);
        let plain = |fields: &Fields| -> Vec<_> {
            fields.iter().map(|field| (field.name.as_bytes().to_vec(), field.value.to_vec())).collect()
        };
        assert_eq!(plain(&head.fields), plain(&expected.fields));
        assert_eq!(head.method, expected.method);
        self.server.set_tag(id, number);
        let interim = self.plan.number(number, 31, 3);
        for _ in 0..interim {
            self.server.send_interim(id, &ResponseHead::new(103));
        }
        self.server.send_head(id, &self.plan.response(number), false);
        let exchange = self.exchange(number);
        assert_eq!(exchange.id, Some(id));
        exchange.at_server.head = Some((0, 0));
        exchange.at_server.is_complete = end;
    }

    fn exchange(&mut self, number: u64) -> &mut Exchange {
        self.exchanges.get_mut(&number).expect("a known exchange")
    }

    /// Sends some of what is left, on both sides.
    fn send(&mut self) {
        let numbers: Vec<u64> = self.exchanges.keys().copied().collect();
        for number in numbers {
            let part = self.prng.below(20_000);
            let Some(exchange) = self.exchanges.get_mut(&number) else { continue };
            let Some(id) = exchange.id else { continue };
            if !exchange.upload.is_done {
                let client = &mut self.client;
                exchange.upload.step(part, |data, end| client.send_data(id, data, end));
                if exchange.upload.has_trailers_next()
                    && let Some(trailers) = exchange.upload.trailers.take()
                {
                    assert!(self.client.send_trailers(id, &trailers));
                    exchange.upload.is_done = true;
                }
            }
            if !exchange.download.is_done && exchange.at_server.head.is_some() {
                let server = &mut self.server;
                exchange.download.step(part, |data, end| server.send_data(id, data, end));
                if exchange.download.has_trailers_next()
                    && let Some(trailers) = exchange.download.trailers.take()
                {
                    self.server.send_trailers(id, &trailers);
                    exchange.download.is_done = true;
                }
            }
        }
    }

    fn release(&mut self) {
        while !self.unreleased.is_empty() && self.prng.below(4) > 0 {
            let at = self.prng.below(self.unreleased.len());
            let (is_client, id, bytes) = self.unreleased.swap_remove(at);
            if is_client {
                self.client.release(id, bytes);
            } else {
                self.server.release(id, bytes);
            }
        }
        if self.prng.below(50) == 0 {
            let window = [1, 500, 20_000, 200_000][self.prng.below(4)];
            self.client.set_initial_stream_window(window.max(500));
            self.server.set_initial_stream_window(window);
        }
        if self.prng.below(20) == 0 {
            self.server.ping(1);
        }
    }

    fn is_over(&mut self) -> bool {
        self.next == REQUESTS && self.client.active() == 0 && self.server.active() == 0
    }

    /// What was not broken has arrived as it was sent.
    fn judge(&self) {
        let mut complete = 0;
        for (number, exchange) in &self.exchanges {
            if exchange.is_broken {
                continue;
            }
            complete += 1;
            let number = *number;
            let response = self.plan.response(number);
            assert_eq!(exchange.at_client.head, Some((response.status, response.fields.size())), "{number}");
            assert_eq!(exchange.at_client.interim, self.plan.number(number, 31, 3), "{number}");
            assert!(exchange.at_client.body == self.plan.download(number), "{number}");
            let trailers = self.plan.trailers(number, 90).map(|fields| fields.size());
            assert_eq!(exchange.at_client.trailers, trailers, "{number}");
            assert!(exchange.at_client.is_complete, "{number}");
            // The response may have ended before the upload, which is then stopped.
            let upload = self.plan.upload(number);
            assert!(upload.starts_with(&exchange.at_server.body), "{number}");
            if exchange.at_server.is_complete {
                assert!(upload == exchange.at_server.body, "{number}");
                let trailers = self.plan.trailers(number, 50).map(|fields| fields.size());
                assert_eq!(exchange.at_server.trailers, trailers, "{number}");
            }
        }
        assert!(complete > REQUESTS / 3, "{complete} complete");
    }
}

impl Sending {
    /// Sends up to `part` bytes, and the end with the last one or alone.
    fn step(&mut self, part: usize, mut send: impl FnMut(&mut Bytes, bool) -> usize) {
        self.part = (self.part + part).min(self.rest.len());
        let mut data = self.rest.slice(..self.part);
        let ends = self.trailers.is_none() && self.part == self.rest.len() && !part.is_multiple_of(3);
        let taken = send(&mut data, ends);
        self.part -= taken;
        self.rest.advance(taken);
        self.is_done = ends && data.is_empty();
    }

    fn has_trailers_next(&self) -> bool {
        self.rest.is_empty() && self.trailers.is_some()
    }
}

/// Moves up to `most` bytes.
fn carry(output: &mut WriteBuffer, input: &mut BytesMut, most: usize) {
    let mut slices = [IoSlice::new(&[]); 4];
    let set = output.slices(&mut slices);
    let mut moved = 0;
    for slice in &slices[..set] {
        let part = slice.len().min(most - moved);
        input.extend_from_slice(&slice[..part]);
        moved += part;
    }
    output.advance(moved);
}

#[test]
fn every_message_arrives_as_it_was_sent() {
    for seed in 1..=SEEDS {
        println!("seed {seed}"); // shown when the test fails
        let mut pair = Pair::new(seed);
        let mut rounds = 0;
        while !pair.is_over() {
            rounds += 1;
            assert!(rounds < 200_000, "nothing moves any more");
            pair.begin();
            pair.carry();
            pair.on_server_events();
            pair.on_client_events();
            pair.send();
            pair.release();
        }
        pair.judge();
    }
}
