//! HTTP/1.1 compared with hyper: a message that hyper reads is read as the same message, or refused.
//!
//! The inputs are the corpora of the fuzz targets and mutations of them. hyper accepts more (a bare LF, a `content-length`
//! besides `transfer-encoding`), so the comparison is one-sided.
#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::panic, reason = "a panic is how a test fails")]

#[path = "checks/h1_wire.rs"]
#[allow(dead_code, reason = "the fuzz targets use the rest")]
mod h1_wire;
#[path = "checks/inputs.rs"]
mod inputs;
#[path = "checks/prng.rs"]
mod prng;

use bytes::{Bytes, BytesMut};
use h1_wire::{Line, drain, lines};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::{body::Incoming, client, server, service::service_fn};
use hyper_util::rt::TokioIo;
use spooky_bridge::{
    h1::{Client, ClientConfig, Event, Server, ServerConfig, ServerEvent},
    message::{Fields, Known, Method, RequestHead, ResponseHead, check::HeadLimits},
};
use std::{cell::RefCell, future::Future, rc::Rc, time::Duration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Mutations of each file.
const MUTATIONS: usize = 150;
/// Larger than what either side writes, so that no write blocks.
const PIPE: usize = 1024 * 1024;

/// A complete message: request line or status, fields and trailers in alphabetical order, body.
#[derive(Debug, PartialEq)]
struct Message {
    start: String,
    fields: Vec<Line>,
    body: Vec<u8>,
}

/// What was read, and whether it ended because the rest was refused.
#[derive(Debug, Default)]
struct Read {
    messages: Vec<Message>,
    is_refused: bool,
}

fn block_on<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let test = async { tokio::time::timeout(Duration::from_secs(60), test).await.expect("done in time") };
    tokio::task::LocalSet::new().block_on(&runtime, test)
}

/// Returns the fields in alphabetical order, and one length without leading zeros: hyper drops the others.
fn sorted(mut lines: Vec<Line>) -> Vec<Line> {
    lines.retain(|(name, _)| !name.starts_with(b":"));
    for (name, value) in &mut lines {
        if name == b"content-length" {
            *value = value.iter().copied().skip_while(|digit| *digit == b'0').collect();
        }
    }
    lines.sort();
    lines.dedup_by(|left, right| left.0 == b"content-length" && left == right);
    lines
}

fn header_lines(headers: &HeaderMap) -> impl Iterator<Item = Line> {
    headers.iter().map(|(name, value)| (name.as_str().as_bytes().to_vec(), value.as_bytes().to_vec()))
}

/// Asserts that each message of hyper is the same as ours, or that ours was refused.
fn compare(input: &[u8], hyper: &[Message], ours: &Read) {
    for (at, message) in hyper.iter().enumerate() {
        match ours.messages.get(at) {
            Some(own) => assert_eq!(own, message, "{}", input.escape_ascii()),
            None => return assert!(ours.is_refused, "hyper reads {message:?} in {}", input.escape_ascii()),
        }
    }
}

#[test]
fn requests() {
    let mut same = 0;
    block_on(async {
        let mut all = Vec::new();
        inputs::each("h1_request", MUTATIONS, |data| all.push(data.get(8..).unwrap_or_default().to_vec()));
        for input in all {
            let (hyper, ours) = (hyper_requests(&input).await, our_requests(&input));
            compare(&input, &hyper, &ours);
            same += hyper.len().min(ours.messages.len());
        }
    });
    assert!(same > 1000, "only {same} requests were compared");
}

/// Reads requests with hyper until it stops or meets CONNECT.
async fn hyper_requests(input: &[u8]) -> Vec<Message> {
    let (mut pipe, far) = tokio::io::duplex(PIPE);
    let messages = Rc::new(RefCell::new(Vec::new()));
    let seen = Rc::clone(&messages);
    let service = service_fn(move |request: Request<Incoming>| {
        let seen = Rc::clone(&seen);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await?;
            let fields = all_fields(&head.headers, body.trailers());
            let host = head.headers.get("host").map_or(&b""[..], http::HeaderValue::as_bytes);
            let start = start_line(head.method.as_str(), &head.uri, host);
            seen.borrow_mut().push(Message { start, fields, body: body.to_bytes().to_vec() });
            Ok::<_, hyper::Error>(Response::new(Empty::<Bytes>::new()))
        }
    });
    pipe.write_all(input).await.expect("space in the pipe");
    pipe.shutdown().await.expect("open");
    let connection = server::conn::http1::Builder::new().half_close(true).serve_connection(TokioIo::new(far), service);
    // An error is how hyper refuses.
    let _ = connection.await;
    messages.take()
}

fn start_line(method: &str, uri: &http::Uri, host: &[u8]) -> String {
    let path = match (method, uri.path(), uri.query()) {
        // Our form of an OPTIONS request for a whole server (RFC 9112 3.2.4).
        ("OPTIONS", "/", None) if uri.authority().is_some() => "*".to_owned(),
        (_, path, None) => path.to_owned(),
        (_, path, Some(query)) => format!("{path}?{query}"),
    };
    let authority = uri.authority().map_or(host, |authority| authority.as_str().as_bytes());
    format!("{method} {} {path}", String::from_utf8_lossy(authority))
}

fn our_requests(input: &[u8]) -> Read {
    let limits = HeadLimits { max_fields: 1000, max_bytes: 1 << 20 };
    let mut config = ServerConfig { limits, ..ServerConfig::default() };
    config.rules.extended_connect = false;
    config.rules.enforce_authority_host_match = false;
    let mut server = Server::new(&config);
    let mut bytes = BytesMut::from(input);
    let mut read = Read::default();
    server.on_eof();
    while let Some(event) = server.recv(&mut bytes) {
        let mut end = false;
        match event {
            ServerEvent::Request { head, end: is_end } => {
                if head.method == Method::Connect {
                    read.is_refused = true; // what follows is no HTTP
                    break;
                }
                let start = our_start_line(&head);
                read.messages.push(Message { start, fields: sorted(lines(&head.fields)), body: Vec::new() });
                end = is_end;
            }
            ServerEvent::Data { data, end: is_end } => {
                read.messages.last_mut().expect("a head").body.extend_from_slice(&data);
                end = is_end;
            }
            ServerEvent::Trailers { fields } => {
                let message = read.messages.last_mut().expect("a head");
                message.fields.extend(lines(&fields));
                message.fields.sort();
                end = true;
            }
            ServerEvent::Refused { .. } => read.is_refused = true,
            ServerEvent::Malformed { .. } | ServerEvent::Aborted => {
                read.messages.pop();
                read.is_refused = true;
            }
            ServerEvent::Sendable => {}
        }
        if end {
            server.send_head(&ResponseHead::new(200), true).expect("a valid head");
        }
    }
    read
}

fn our_start_line(head: &RequestHead) -> String {
    let parts = [head.method_bytes(), head.authority(), head.path()];
    parts.map(|part| String::from_utf8_lossy(part).into_owned()).join(" ")
}

#[test]
fn responses() {
    let mut same = 0;
    block_on(async {
        let mut all = Vec::new();
        inputs::each("h1_response", MUTATIONS, |data| all.push(data.get(8..).unwrap_or_default().to_vec()));
        for input in all {
            for method in [Method::Get, Method::Head] {
                let hyper: Vec<_> = hyper_response(method, &input).await.into_iter().collect();
                let ours = our_response(method, &input);
                compare(&input, &hyper, &ours);
                same += hyper.len().min(ours.messages.len());
            }
        }
    });
    assert!(same > 1000, "only {same} responses were compared");
}

/// Reads a response with hyper. Returns `None` if hyper reports an error.
async fn hyper_response(method: Method, input: &[u8]) -> Option<Message> {
    let (mut pipe, far) = tokio::io::duplex(PIPE);
    let (mut sender, connection) = client::conn::http1::handshake(TokioIo::new(far)).await.expect("open");
    tokio::task::spawn_local(connection);
    let name = if method == Method::Head { "HEAD" } else { "GET" };
    let request = Request::builder().method(name).uri("/").header("host", "o.test").body(Empty::<Bytes>::new());
    let response = sender.send_request(request.expect("a valid request"));
    let input = input.to_vec();
    let peer = tokio::task::spawn_local(async move {
        let mut sent = Vec::new();
        while !sent.ends_with(b"\r\n\r\n") {
            assert_ne!(pipe.read_buf(&mut sent).await.expect("open"), 0);
        }
        pipe.write_all(&input).await.expect("space in the pipe");
        pipe.shutdown().await.expect("open");
        pipe
    });
    let response = response.await;
    let _pipe = peer.await.expect("written");
    let (head, body) = response.ok()?.into_parts();
    if head.status == 101 {
        return None; // no request for an upgrade
    }
    let body = body.collect().await.ok()?;
    let fields = all_fields(&head.headers, body.trailers());
    Some(Message { start: head.status.as_str().to_owned(), fields, body: body.to_bytes().to_vec() })
}

fn our_response(method: Method, input: &[u8]) -> Read {
    let mut client = Client::new(&ClientConfig { max_section: 1 << 20, ..ClientConfig::default() });
    let mut fields = Fields::new();
    let name: &[u8] = if method == Method::Head { b"HEAD" } else { b"GET" };
    for (known, value) in [(Known::Method, name), (Known::Authority, b"o.test"), (Known::Path, b"/")] {
        fields.push(known, value);
    }
    client.send_request(&RequestHead { fields, method, content_length: None }, true, 0).expect("a valid head");
    drain(client.output());
    let mut bytes = BytesMut::from(input);
    let mut read = Read::default();
    let mut is_complete = false;
    let mut take = |event: Event| match event {
        Event::Head { head, end, .. } => {
            let start = head.status.to_string();
            read.messages.push(Message { start, fields: sorted(lines(&head.fields)), body: Vec::new() });
            is_complete = end;
        }
        Event::Data { data, end, .. } => {
            read.messages.last_mut().expect("a head").body.extend_from_slice(&data);
            is_complete = end;
        }
        Event::Trailers { fields, .. } => {
            let message = read.messages.last_mut().expect("a head");
            message.fields.extend(lines(&fields));
            message.fields.sort();
            is_complete = true;
        }
        Event::Malformed { .. } | Event::HeadersTooLarge { .. } => read.is_refused = true,
        Event::Informational { .. } | Event::Upgraded { .. } | Event::Sendable { .. } => {}
    };
    while let Ok(Some(event)) = client.recv(&mut bytes) {
        take(event);
    }
    if let Some(event) = client.on_eof(true) {
        take(event);
    }
    if !is_complete {
        read.messages.clear();
    }
    read
}

/// Returns fields and trailers in alphabetical order.
fn all_fields(headers: &HeaderMap, trailers: Option<&HeaderMap>) -> Vec<Line> {
    sorted(header_lines(headers).chain(trailers.into_iter().flat_map(header_lines)).collect())
}
