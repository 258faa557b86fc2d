//! Arbitrary input on an HTTP/1.1 connection of a client: the outcome does not depend on how the bytes are split, each
//! complete request has the announced length, and what is forwarded is read as the same request.

use super::{
    h1_wire::{Line, drain, end_to_end, feed, lines},
    prng::Prng,
};
use bytes::{Bytes, BytesMut};
use spooky_bridge::{
    h1::{Client, ClientConfig, Event, Server, ServerConfig, ServerEvent},
    message::{
        Fields, Known, Method, Name, Protocol, RequestHead, ResponseHead,
        check::HeadLimits,
        forwarded::{ForwardedClient, ForwardedMode},
        rewrite::{self, RequestContext},
    },
};
use std::net::{IpAddr, Ipv4Addr};

/// Properties for any input. The first eight bytes seed the split and select the rules.
pub(crate) fn check(data: &[u8]) {
    let Some((seed, bytes)) = data.split_first_chunk::<8>() else { return };
    let seed = u64::from_le_bytes(*seed);
    let whole = run(bytes, usize::MAX, seed);
    whole.requests.iter().for_each(judge);
    for most in [1, 50] {
        assert_eq!(run(bytes, most, seed), whole, "parts of up to {most}");
    }
}

#[derive(Debug)]
struct Request {
    method: Method,
    /// `None` if it was refused.
    head: Option<RequestHead>,
    body: Vec<u8>,
    end: End,
    /// The response, as written.
    response: Vec<u8>,
}

#[derive(Debug, PartialEq)]
enum End {
    Open,
    Complete,
    Trailers(Vec<Line>),
    Failed(String),
}

impl PartialEq for Request {
    fn eq(&self, other: &Self) -> bool {
        let lines = |request: &Self| request.head.as_ref().map(|head| lines(&head.fields));
        lines(self) == lines(other)
            && (&self.body, &self.end, &self.response) == (&other.body, &other.end, &other.response)
    }
}

#[derive(Debug, PartialEq)]
struct Outcome {
    requests: Vec<Request>,
    is_closing: bool,
}

fn server(seed: u64, limits: HeadLimits) -> Server {
    let mut config = ServerConfig { limits, ..ServerConfig::default() };
    config.rules.extended_connect = seed & 1 != 0;
    config.rules.enforce_authority_host_match = seed & 2 != 0;
    Server::new(&config)
}

fn run(bytes: &[u8], most: usize, seed: u64) -> Outcome {
    let mut server = server(seed, HeadLimits { max_fields: 32, max_bytes: 1024 });
    let mut requests = Vec::new();
    let mut read = |input: &mut BytesMut, server: &mut Server| {
        while let Some(event) = server.recv(input) {
            take(&mut requests, event, server);
        }
    };
    feed(bytes, most, &mut Prng(seed), |input| {
        read(input, &mut server);
        if server.is_closing() {
            assert!(input.is_empty(), "input is discarded");
        }
    });
    if seed & 4 != 0 {
        server.on_eof();
        read(&mut BytesMut::new(), &mut server);
    }
    Outcome { requests, is_closing: server.is_closing() }
}

/// Adds an event, and answers the request when it is complete or has failed.
fn take(requests: &mut Vec<Request>, event: ServerEvent, server: &mut Server) {
    let mut new = |method, head| {
        requests.push(Request { method, head, body: Vec::new(), end: End::Open, response: Vec::new() });
    };
    let end = match event {
        ServerEvent::Request { head, end } => {
            let method = head.method;
            new(method, Some(head));
            if method == Method::Connect {
                let request = requests.last_mut().expect("just added");
                server.send_head(&ResponseHead::new(200), false).expect("a valid head");
                assert!(server.is_tunnel());
                request.response = drain(server.output());
                return;
            }
            if end { End::Complete } else { return }
        }
        ServerEvent::Refused { refusal } => {
            new(refusal.fields.first(Known::Method).map_or(Method::Get, Method::from_bytes), None);
            End::Failed(refusal.to_string())
        }
        ServerEvent::Data { data, end } => {
            let request = requests.last_mut().expect("a request before its body");
            request.body.extend_from_slice(&data);
            if server.is_tunnel() || !end {
                return;
            }
            End::Complete
        }
        ServerEvent::Trailers { fields } => End::Trailers(lines(&fields)),
        ServerEvent::Malformed { reason } => End::Failed(reason.to_owned()),
        ServerEvent::Aborted => End::Failed("aborted".to_owned()),
        ServerEvent::Sendable => return,
    };
    let number = requests.len();
    let request = requests.last_mut().expect("a request before its end");
    assert_eq!(request.end, End::Open, "two ends");
    request.end = end;
    // A refusal is never answered with success, which after CONNECT would open a tunnel.
    answer(server, number, if request.head.is_some() { 200 } else { 400 });
    request.response = drain(server.output());
}

/// Sends a response with a length, of unknown length, or without a body.
fn answer(server: &mut Server, number: usize, status: u16) {
    let mut head = ResponseHead::new(status);
    if number.is_multiple_of(3) {
        head.fields.push(Known::ContentLength, b"5");
        head.content_length = Some(5);
    }
    let end = number % 3 == 1;
    server.send_head(&head, end).expect("a valid head");
    server.send_data(&mut Bytes::from_static(b"hello"), true);
}

/// Checks a request alone.
fn judge(request: &Request) {
    let Some(head) = &request.head else {
        assert!(is_complete(request.method, &request.response), "a refusal is answered");
        return;
    };
    let is_tunnel = head.method == Method::Connect;
    let is_whole = matches!(request.end, End::Complete | End::Trailers(_));
    if let Some(length) = head.content_length {
        let body = request.body.len() as u64;
        assert!(if is_whole { body == length } else { body <= length }, "a length that is not that of the body");
    }
    if request.end != End::Open || is_tunnel {
        assert!(is_complete(head.method, &request.response), "{}", request.response.escape_ascii());
    }
    forward(head, request, is_whole);
}

/// Returns whether a client reads the bytes as a response that is complete, if not before then at their end.
fn is_complete(method: Method, bytes: &[u8]) -> bool {
    if method == Method::Connect && bytes.starts_with(b"HTTP/1.1 101 ") {
        return bytes.ends_with(b"\r\n\r\n");
    }
    let mut client = Client::new(&ClientConfig::default());
    client.send_request(&request_head(method), method != Method::Connect, 0).expect("a valid head");
    drain(client.output());
    let mut input = BytesMut::from(bytes);
    let mut done = false;
    while let Some(event) = client.recv(&mut input).expect("no byte too many") {
        match event {
            Event::Head { end, .. } | Event::Data { end, .. } => done |= end,
            Event::Upgraded { .. } => done = true,
            other => panic!("{other:?}"),
        }
    }
    assert!(input.is_empty());
    done || client.on_eof(true).is_some()
}

fn request_head(method: Method) -> RequestHead {
    let mut fields = Fields::new();
    let name: &[u8] = match method {
        Method::Connect => b"CONNECT",
        Method::Head => b"HEAD",
        _ => b"GET",
    };
    fields.push(Known::Method, name);
    if method != Method::Connect {
        fields.push(Known::Scheme, b"http");
        fields.push(Known::Path, b"/");
    }
    fields.push(Known::Authority, b"o.test:443");
    RequestHead { fields, method, content_length: None }
}

/// Writes the request for a backend and reads it again.
fn forward(head: &RequestHead, request: &Request, is_whole: bool) {
    let mut head = head.clone();
    let client = ForwardedClient::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 443);
    let context = RequestContext {
        protocol: Protocol::Http1,
        client: &client,
        forwarded: ForwardedMode::Append,
        request_id: None,
        is_early: false,
        subject: None,
    };
    rewrite::to_backend(&mut head, &context);
    rewrite::retarget(&mut head, b"http", None);
    let mut client = Client::new(&ClientConfig::default());
    client.send_request(&head, false, 0).expect("an accepted head can be written");
    let is_tunnel = head.method == Method::Connect;
    let mut trailers = Fields::new();
    if !is_tunnel {
        client.send_data(&mut Bytes::copy_from_slice(&request.body), false);
        match &request.end {
            End::Complete => drop(client.send_data(&mut Bytes::new(), true)),
            End::Trailers(lines) => {
                for (name, value) in lines {
                    trailers.push(Name::from_bytes(name), value);
                }
                rewrite::request_trailers(&mut trailers, None);
                assert!(client.send_trailers(&trailers));
            }
            End::Open | End::Failed(_) => {}
        }
    }
    let mut input = BytesMut::from(&drain(client.output())[..]);
    if input.is_empty() {
        return assert!(!is_whole && request.body.is_empty(), "the head waits for the body");
    }
    let mut server = server(1, HeadLimits { max_fields: 1000, max_bytes: 1 << 20 });
    let Some(ServerEvent::Request { head: read, end }) = server.recv(&mut input) else { panic!("not forwarded") };
    assert_eq!(read.method_bytes(), head.method_bytes());
    assert_eq!((read.path(), read.authority()), (head.path(), head.authority()));
    assert_eq!(read.content_length, head.content_length);
    assert_eq!(end_to_end(&read.fields, read.content_length), end_to_end(&head.fields, head.content_length));
    let (mut body, mut complete, mut last) = (Vec::new(), end, Fields::new());
    while let Some(event) = server.recv(&mut input) {
        match event {
            ServerEvent::Data { data, end } => {
                body.extend_from_slice(&data);
                complete |= end;
            }
            ServerEvent::Trailers { fields } => {
                last = fields;
                complete = true;
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(input.is_empty(), "nothing after the request");
    assert_eq!((complete, is_tunnel || body == request.body), (is_whole && !is_tunnel, true));
    let passed = if read.content_length.is_some() { Vec::new() } else { lines(&trailers) };
    assert_eq!(lines(&last), passed);
}
