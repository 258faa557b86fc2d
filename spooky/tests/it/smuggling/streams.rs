//! Sends the anomalies of HTTP/2 and HTTP/3, which are lists of fields, data and trailers.

use spooky_testkit::client::{frame, raw};
use spooky_testkit::rogue::{fields, writer};
use spooky_testkit::tcp::frames::{self, Frames, StreamAnswer};

use super::origin::Origin;
use super::request;
use super::rig::{Expected, Rig};
use super::stream_rows::{Part, Protocol, Row, longer_than_their_length, rows};
use crate::proxy::{NAME, Proxy};

/// `PROTOCOL_ERROR` (RFC 9113 section 7).
const PROTOCOL_ERROR: u32 = 1;
/// `H3_MESSAGE_ERROR` (RFC 9114 section 8.1).
const H3_MESSAGE_ERROR: u64 = 0x10e;

/// How a request ended.
#[derive(Debug)]
enum Outcome {
    Response(String, Vec<u8>),
    /// A stream error that says that the message is malformed.
    Malformed,
    Closed,
    /// In another way.
    #[allow(dead_code, reason = "shown by `Debug` when a test fails")]
    Other(String),
}

/// A connection of a client.
enum Connection {
    Http2 { frames: Box<Frames>, next_stream: u32 },
    Http3(raw::Connection),
}

impl Connection {
    async fn open(proxy: &Proxy, protocol: Protocol) -> Self {
        match protocol {
            Protocol::Http2 => {
                let frames = Frames::connect(&proxy.authority, proxy.settings.addr(), NAME, &[]).await;
                Self::Http2 { frames: Box::new(frames), next_stream: 1 }
            }
            Protocol::Http3 => Self::Http3(proxy.greeted().await),
        }
    }

    /// Opens a stream with these parts, the last of which ends it if `end` is set.
    async fn start(&mut self, parts: &[Part<'_>], end: bool) -> Stream {
        match self {
            Self::Http2 { frames, next_stream } => {
                let stream = *next_stream;
                *next_stream += 2;
                frames.send(&http2(stream, parts, end)).await;
                Stream::Http2(stream)
            }
            Self::Http3(connection) => Stream::Http3(connection.request(&http3(parts), end).await),
        }
    }

    /// Sends the last parts of a stream.
    async fn finish(&mut self, stream: &mut Stream, parts: &[Part<'_>]) {
        match (self, stream) {
            (Self::Http2 { frames, .. }, Stream::Http2(stream)) => frames.send(&http2(*stream, parts, true)).await,
            (_, Stream::Http3(request)) => {
                request.write(&http3(parts)).await;
                request.end();
            }
            (Self::Http3(_), Stream::Http2(_)) => unreachable!("the stream of another connection"),
        }
    }

    /// Waits for the end of a stream.
    async fn outcome(&mut self, stream: Stream) -> Outcome {
        match (self, stream) {
            (Self::Http2 { frames, .. }, Stream::Http2(stream)) => match frames.answer(stream).await {
                StreamAnswer::Response(status, body) => Outcome::Response(status, body),
                StreamAnswer::Closed(_) => Outcome::Closed,
                StreamAnswer::Reset(PROTOCOL_ERROR) => Outcome::Malformed,
                other @ StreamAnswer::Reset(_) => Outcome::Other(format!("{other:?}")),
            },
            (_, Stream::Http3(mut request)) => match request.answer().await {
                Ok(answer) => Outcome::Response(answer.statuses().join(" "), answer.body),
                Err(raw::End::Reset(H3_MESSAGE_ERROR)) => Outcome::Malformed,
                Err(raw::End::Connection(_)) => Outcome::Closed,
                Err(other) => Outcome::Other(format!("{other:?}")),
            },
            (Self::Http3(_), Stream::Http2(_)) => unreachable!("the stream of another connection"),
        }
    }

    /// Sends an ordinary request, and checks that it gets its own answer.
    async fn get(&mut self, path: &str) -> Result<(), String> {
        let head = vec![(":method", "GET"), (":scheme", "https"), (":authority", NAME), (":path", path)];
        let stream = self.start(&[Part::Fields(head)], true).await;
        match self.outcome(stream).await {
            Outcome::Response(status, body) if status == "200" && body == format!("GET {path}").as_bytes() => Ok(()),
            outcome => Err(format!("the connection went on with {outcome:?}")),
        }
    }
}

/// A request that was begun.
enum Stream {
    Http2(u32),
    Http3(raw::Request),
}

fn http2(stream: u32, parts: &[Part<'_>], end: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let flags = if end && at + 1 == parts.len() { frames::END_STREAM } else { 0 };
        bytes.extend(match part {
            Part::Fields(pairs) => {
                let block = writer::block(&fields(pairs));
                frames::frame(frames::kind::HEADERS, frames::END_HEADERS | flags, stream, &block)
            }
            Part::Data(data) => frames::frame(frames::kind::DATA, flags, stream, data),
        });
    }
    bytes
}

fn http3(parts: &[Part<'_>]) -> Vec<u8> {
    let frames = parts.iter().map(|part| match part {
        Part::Fields(pairs) => frame::headers(pairs),
        Part::Data(data) => frame::frame(frame::kind::DATA, data),
    });
    frames.flatten().collect()
}

/// Sends a row on a connection of its own, and an ordinary request after it if the connection stays open. Returns the paths of
/// ordinary requests that were sent.
async fn send(rig: &mut Rig, row: &Row, protocol: Protocol) -> (Vec<String>, Result<(), String>) {
    let mut connection = Connection::open(&rig.proxy, protocol).await;
    let stream = connection.start(&row.parts, true).await;
    let outcome = connection.outcome(stream).await;
    let is_expected = match (&row.expected, &outcome) {
        (Expected::Malformed | Expected::CutOff, Outcome::Malformed) | (Expected::Closed, Outcome::Closed) => true,
        (Expected::Refused(expected), Outcome::Response(status, _)) => *status == expected.to_string(),
        (Expected::Forwarded { .. }, Outcome::Response(status, body)) => {
            let is_head = row.is_head();
            status == "200" && (is_head || Some(request::text(body)) == row.expected.target())
        }
        _ => false,
    };
    if !is_expected {
        return (Vec::new(), Err(format!("the client got {outcome:?}, not {:?}", row.expected)));
    }
    if row.expected == Expected::Closed {
        return (Vec::new(), Ok(()));
    }
    let path = rig.ordinary();
    let result = connection.get(&path).await;
    (vec![path], result)
}

async fn run(protocol: Protocol) {
    let rows = rows(protocol);
    let mut rig = Rig::new(Origin::http1().await).await;
    let mut cut_off = 0;
    for row in &rows {
        let (ordinary, result) = send(&mut rig, row, protocol).await;
        rig.after(&format!("{:?}", row.parts), Some(&row.expected), ordinary, result).await;
        cut_off += usize::from(matches!(row.expected, Expected::CutOff | Expected::Closed));
    }
    rig.finish(cut_off).await;
}

#[tokio::test]
async fn http2_to_http1() {
    run(Protocol::Http2).await;
}

#[tokio::test]
async fn http3_to_http1() {
    run(Protocol::Http3).await;
}

/// An HTTP/1.1 origin takes a request for complete when it has the bytes of its length. What the client sends after them must
/// still stop the request, also if it comes later.
async fn surplus_comes_later(protocol: Protocol) {
    let mut rig = Rig::new(Origin::http1().await).await;
    let rows = longer_than_their_length();
    for (first, rest) in &rows {
        let mut connection = Connection::open(&rig.proxy, protocol).await;
        let mut stream = connection.start(first, false).await;
        let path = rig.ordinary();
        // Its answer shows that what stands before it was read.
        let mut result = connection.get(&path).await;
        connection.finish(&mut stream, rest).await;
        let outcome = connection.outcome(stream).await;
        if !matches!(outcome, Outcome::Malformed) {
            result = Err(format!("the client got {outcome:?}"));
        }
        rig.after(&format!("{first:?}, later {rest:?}"), None, vec![path], result).await;
    }
    rig.finish(rows.len()).await;
}

#[tokio::test]
async fn http2_surplus_comes_later() {
    surplus_comes_later(Protocol::Http2).await;
}

#[tokio::test]
async fn http3_surplus_comes_later() {
    surplus_comes_later(Protocol::Http3).await;
}

#[test]
fn there_are_many_distinct_lists_of_fields() {
    for protocol in [Protocol::Http2, Protocol::Http3] {
        let mut all: Vec<_> = rows(protocol).into_iter().map(|row| row.parts).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count, "each differs from the others");
        assert!(count >= 200, "{count}");
    }
}
