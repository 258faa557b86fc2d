//! Requests of HTTP/1.1 compared with nginx: what nginx passes on is read as the same messages, or refused.
//!
//! nginx gets the bytes of each case and passes on what it reads to an origin that records every byte. The same bytes go to
//! `bridge::h1`. nginx reads more than Spooky (a bare LF, a chunk size with white space), which must then refuse; where Spooky
//! reads what nginx refuses, the case says so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test fails"
)]

mod cases;

use std::fmt::Write as _;

use bytes::BytesMut;
use spooky_bridge::h1::{Server, ServerConfig, ServerEvent};
use spooky_bridge::message::check::HeadLimits;
use spooky_bridge::message::{Fields, Method, RequestHead, ResponseHead};
use spooky_testkit::external::ExternalOrigin;
use spooky_testkit::http1::{Http1Origin, Step};
use spooky_testkit::{program, wait};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use self::cases::{CASES, Ours};

/// Sent after each case. Whoever has read the case as complete messages reads this as the next one.
const LAST: &[u8] = b"GET /last HTTP/1.1\r\nhost: o.test\r\nconnection: close\r\n\r\n";

/// A complete request.
#[derive(Debug, PartialEq)]
struct Message {
    method: String,
    target: String,
    /// In lower case, without port. Empty for a request of HTTP/1.0 without a host.
    host: String,
    /// The fields whose names begin with `x-`, in order.
    fields: Vec<(String, String)>,
    body: String,
}

/// What was read, and whether it ended because the rest was refused.
#[derive(Debug, Default)]
struct Read {
    messages: Vec<Message>,
    is_refused: bool,
}

#[tokio::test]
async fn requests_are_read_as_by_nginx_or_refused() {
    let Some(nginx) = program::require("nginx") else { return };
    let origin = Http1Origin::answering(vec![Step::Body, Step::text("HTTP/1.1 204 No Content\r\n\r\n")]).await;
    let nginx = ExternalOrigin::nginx_to(&nginx, origin.addr()).await;
    let (mut same, mut problems) = (0, String::new());
    for (case, expected) in CASES {
        let input = [case, LAST].concat();
        let (ours, theirs) = (our_messages(&input), their_messages(&nginx, &origin, &input).await);
        if let Err(problem) = compare(*expected, &ours, &theirs) {
            let _ = write!(problems, "{problem}: {}\n  ours: {ours:?}\n  nginx: {theirs:?}\n", case.escape_ascii());
        }
        same += ours.messages.len().min(theirs.len());
    }
    assert!(problems.is_empty(), "{problems}");
    assert!(CASES.len() >= 60 && same > CASES.len() / 2, "{same} messages of {} cases were compared", CASES.len());
}

/// Returns what is wrong.
fn compare(expected: Ours, ours: &Read, theirs: &[Message]) -> Result<(), String> {
    let read = ours.messages.len();
    let outcome = if ours.is_refused { Ours::Refuses(read) } else { Ours::Reads(read) };
    if !expected.is(outcome) {
        return Err(format!("not {expected:?}"));
    }
    if ours.messages.iter().zip(theirs).any(|(own, other)| own != other) {
        return Err("another message".to_owned());
    }
    if theirs.len() > read && !ours.is_refused {
        return Err("nginx reads more, and nothing is refused".to_owned());
    }
    if read > theirs.len() && !matches!(expected, Ours::ReadsMore(_)) {
        return Err("nginx refuses more".to_owned());
    }
    Ok(())
}

/// Sends bytes to nginx and waits until it closes the connection. Returns what the origin has got meanwhile.
async fn their_messages(nginx: &ExternalOrigin, origin: &Http1Origin, input: &[u8]) -> Vec<Message> {
    let before = origin.received().len();
    let mut tcp = TcpStream::connect(nginx.addr()).await.unwrap();
    // It may close before it has read everything.
    let _ = tcp.write_all(input).await;
    let mut answers = Vec::new();
    let _ = wait::within("nginx to close the connection", tcp.read_to_end(&mut answers)).await;
    origin.received().iter().skip(before).map(|request| recorded(request)).collect()
}

/// Reads a request as nginx writes it: one for each connection, with a length if it has a body.
fn recorded(request: &[u8]) -> Message {
    let text: String = request.iter().map(|byte| char::from(*byte)).collect();
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
    let (line, lines) = head.split_once("\r\n").expect("a request line and fields");
    let (method, line) = line.split_once(' ').expect("a method");
    let (target, _) = line.rsplit_once(' ').expect("a version");
    let mut fields: Vec<_> = lines
        .split("\r\n")
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .filter(|(name, _)| name.starts_with("x-"))
        .collect();
    let host = fields.iter().position(|(name, _)| name == "x-host").map(|at| fields.remove(at).1);
    let host = host.unwrap_or_default();
    Message { method: method.to_owned(), target: target.to_owned(), host, fields, body: body.to_owned() }
}

fn our_messages(input: &[u8]) -> Read {
    let limits = HeadLimits { max_fields: 1000, max_bytes: 1 << 20 };
    let mut config = ServerConfig { limits, ..ServerConfig::default() };
    config.rules.extended_connect = false;
    config.rules.enforce_authority_host_match = false;
    let mut server = Server::new(&config);
    let mut bytes = BytesMut::from(input);
    let mut read = Read::default();
    let mut is_open = false;
    server.on_eof();
    while let Some(event) = server.recv(&mut bytes) {
        let mut end = false;
        match event {
            ServerEvent::Request { head, end: is_end } => {
                if head.method == Method::Connect {
                    read.is_refused = true; // what follows is no HTTP
                    break;
                }
                read.messages.push(message(&head));
                (is_open, end) = (true, is_end);
            }
            ServerEvent::Data { data, end: is_end } => {
                let body = data.iter().map(|byte| char::from(*byte));
                read.messages.last_mut().expect("a head").body.extend(body);
                end = is_end;
            }
            ServerEvent::Trailers { .. } => end = true,
            ServerEvent::Refused { .. } => read.is_refused = true,
            ServerEvent::Malformed { .. } => {
                read.messages.pop();
                (read.is_refused, is_open) = (true, false);
            }
            ServerEvent::Aborted | ServerEvent::Sendable => {}
        }
        if end {
            is_open = false;
            server.send_head(&ResponseHead::new(204), true).expect("a valid head");
        }
    }
    if is_open {
        read.messages.pop(); // its end has not come
    }
    read
}

fn message(head: &RequestHead) -> Message {
    let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    let host = text(head.authority()).to_ascii_lowercase();
    let host = host.rsplit_once(':').map_or(&*host, |(name, _)| name).to_owned();
    let (method, target) = (text(head.method_bytes()), text(head.path()));
    Message { method, target, host, fields: own_fields(&head.fields), body: String::new() }
}

fn own_fields(fields: &Fields) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>();
    let all = fields.iter().map(|field| (text(field.name.as_bytes()), text(field.value)));
    all.filter(|(name, _)| name.starts_with("x-")).collect()
}
