//! The origins of the suite: each records every byte that it gets.

use std::collections::HashSet;

use spooky_testkit::http1::{Http1Origin, Step, answer};
use spooky_testkit::rogue::recorder::{Recorder, StreamEnd};

use super::request::{self, Request};

/// An origin, and how far its record was read. It answers with method and target of the request.
pub(super) enum Origin {
    Http1 {
        origin: Http1Origin,
        /// Bytes of each connection that were read as complete requests.
        read: Vec<usize>,
    },
    Http2 {
        recorder: Recorder,
        /// Numbers of the streams that were read.
        read: HashSet<usize>,
    },
}

impl Origin {
    pub(super) async fn http1() -> Self {
        let script = |entry: &spooky_testkit::journal::Entry, _| {
            let text = format!("{} {}", entry.method, entry.path);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", text.len());
            vec![Step::Body, if entry.method == "HEAD" { Step::text(&head) } else { answer(&text) }]
        };
        Self::Http1 { origin: Http1Origin::scripted(script).await, read: Vec::new() }
    }

    pub(super) async fn http2() -> Self {
        Self::Http2 { recorder: Recorder::start().await, read: HashSet::new() }
    }

    /// Returns the value of `protocol` in the configuration.
    pub(super) fn protocol(&self) -> &'static str {
        match self {
            Self::Http1 { .. } => "http1",
            Self::Http2 { .. } => "h2",
        }
    }

    pub(super) fn url(&self) -> String {
        match self {
            Self::Http1 { origin, .. } => origin.url(),
            Self::Http2 { recorder, .. } => recorder.url(),
        }
    }

    /// Returns the requests that have arrived completely since the last call, in the order of their connections.
    pub(super) fn take(&mut self) -> Result<Vec<Request>, String> {
        let mut requests = Vec::new();
        match self {
            Self::Http1 { origin, read } => {
                for (index, bytes) in origin.received().iter().enumerate() {
                    read.resize(read.len().max(index + 1), 0);
                    while let Some((request, length)) = request::http1(index + 1, &bytes[read[index]..])? {
                        read[index] += length;
                        requests.push(request);
                    }
                }
            }
            Self::Http2 { recorder, read } => {
                for (number, stream) in recorder.since(0).iter().enumerate() {
                    if stream.end == Some(StreamEnd::Complete) && read.insert(number) {
                        requests.push(request::http2(stream)?);
                    }
                }
            }
        }
        Ok(requests)
    }

    /// Waits until all connections are closed. Returns the number of requests that have arrived in part.
    pub(super) async fn ended(&mut self) -> usize {
        match self {
            Self::Http1 { origin, read } => {
                let record =
                    origin.journal().until("the end of all connections", |record| record.closed == record.connections);
                record.await;
                origin.received().iter().zip(read).filter(|(bytes, read)| bytes.len() > **read).count()
            }
            Self::Http2 { recorder, .. } => {
                let streams = recorder.ended().await;
                streams.iter().filter(|stream| stream.end != Some(StreamEnd::Complete)).count()
            }
        }
    }
}
