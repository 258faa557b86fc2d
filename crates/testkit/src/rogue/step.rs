//! Answers written down step by step.
//!
//! Owns the vocabulary of a [`super::Script`] and its performance on one stream. Called by the connection treatment;
//! written by tests.

use std::time::Duration;

use bytes::Bytes;

use super::pen::{Pen, block, flag, frame, kind};

/// Body of a correct answer, bytes.
pub(super) const BODY_BYTES: usize = 5;

/// The stream that a frame is put on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// The stream of the request.
    Stream,
    /// Stream 0.
    Connection,
    /// This one.
    Other(u32),
}

/// One step of an answer.
#[derive(Debug, Clone)]
pub enum Step {
    /// HEADERS with these fields, `END_STREAM` if told so. Also for interim heads and trailers.
    Head(Vec<(String, String)>, bool),
    /// DATA of so many bytes in frames of at most 16 384, the last with `END_STREAM` if told so. Not held back by the
    /// client's windows.
    Data(usize, bool),
    /// `RST_STREAM` with this code.
    Reset(u32),
    /// Any frame.
    Frame(u8, u8, On, Bytes),
    /// Any bytes, not a frame of ours.
    Bytes(Bytes),
    /// A pause.
    Wait(Duration),
    /// Closes the connection, in the middle of whatever else is under way.
    Close,
}

/// Fields from literals.
pub fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A correct answer: 200 and a body of `len` bytes with `content-length`.
pub fn answer(len: usize) -> Vec<Step> {
    let head = fields(&[(":status", "200"), ("content-length", &len.to_string())]);
    if len == 0 { vec![Step::Head(head, true)] } else { vec![Step::Head(head, false), Step::Data(len, true)] }
}

/// How a performance ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// All steps are done.
    All,
    /// A step closed the connection, or the client is gone.
    Closed,
}

/// Performs the steps on `stream`.
pub(super) async fn perform(steps: &[Step], stream: u32, pen: &Pen) -> Done {
    for step in steps {
        let written = match step {
            Step::Head(fields, end) => pen.bytes(&head(stream, fields, *end)).await,
            Step::Data(len, end) => data(*len, *end, stream, pen).await,
            Step::Reset(code) => pen.frame(kind::RST_STREAM, flag::NONE, stream, &code.to_be_bytes()).await,
            Step::Frame(kind, flags, on, payload) => {
                let stream = match on {
                    On::Stream => stream,
                    On::Connection => 0,
                    On::Other(other) => *other,
                };
                pen.frame(*kind, *flags, stream, payload).await
            }
            Step::Bytes(bytes) => pen.bytes(bytes).await,
            Step::Wait(time) => {
                tokio::time::sleep(*time).await;
                true
            }
            Step::Close => false,
        };
        if !written {
            return Done::Closed;
        }
    }
    Done::All
}

fn head(stream: u32, fields: &[(String, String)], end: bool) -> Bytes {
    let flags = flag::END_HEADERS | if end { flag::END_STREAM } else { flag::NONE };
    frame(kind::HEADERS, flags, stream, &block(fields))
}

async fn data(len: usize, end: bool, stream: u32, pen: &Pen) -> bool {
    let body = vec![b'r'; len];
    let mut pieces = body.chunks(16_384).peekable();
    while let Some(piece) = pieces.next() {
        let last = end && pieces.peek().is_none();
        let flags = if last { flag::END_STREAM } else { flag::NONE };
        if !pen.frame(kind::DATA, flags, stream, piece).await {
            return false;
        }
    }
    true
}
