//! The steps of a [`super::Script`] and their execution on a stream.

use std::time::Duration;

use bytes::Bytes;

use super::writer::{FrameWriter, block, flag, frame, kind};

/// Body length of a correct response.
pub(super) const BODY_BYTES: usize = 5;

/// The stream of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// The stream of the request.
    Stream,
    /// Stream 0.
    Connection,
    /// This stream.
    Other(u32),
}

/// A step of a response.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends HEADERS with these fields, with `END_STREAM` if set. Also for interim heads and trailers.
    Head(Vec<(String, String)>, bool),
    /// Sends this number of bytes in DATA frames of at most 16 384, the last with `END_STREAM` if set. Ignores flow control.
    Data(usize, bool),
    /// Sends `RST_STREAM` with this code.
    Reset(u32),
    /// Sends a frame: type, flags, stream and payload.
    Frame(u8, u8, On, Bytes),
    /// Sends bytes.
    Bytes(Bytes),
    /// Waits.
    Wait(Duration),
    /// Closes the connection, even if other responses are in progress.
    Close,
}

/// Converts fields to owned strings.
pub fn fields(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Returns a correct response: 200 and a body of `len` bytes with `content-length`.
pub fn answer(len: usize) -> Vec<Step> {
    let head = fields(&[(":status", "200"), ("content-length", &len.to_string())]);
    if len == 0 { vec![Step::Head(head, true)] } else { vec![Step::Head(head, false), Step::Data(len, true)] }
}

/// Result of executing steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Done {
    /// All steps were executed.
    All,
    /// A step or the client closed the connection.
    Closed,
}

/// Executes the steps on `stream`.
pub(super) async fn execute(steps: &[Step], stream: u32, writer: &FrameWriter) -> Done {
    for step in steps {
        let written = match step {
            Step::Head(fields, end) => writer.bytes(&head(stream, fields, *end)).await,
            Step::Data(len, end) => data(*len, *end, stream, writer).await,
            Step::Reset(code) => writer.frame(kind::RST_STREAM, flag::NONE, stream, &code.to_be_bytes()).await,
            Step::Frame(kind, flags, on, payload) => {
                let stream = match on {
                    On::Stream => stream,
                    On::Connection => 0,
                    On::Other(other) => *other,
                };
                writer.frame(*kind, *flags, stream, payload).await
            }
            Step::Bytes(bytes) => writer.bytes(bytes).await,
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

async fn data(len: usize, end: bool, stream: u32, writer: &FrameWriter) -> bool {
    let body = vec![b'r'; len];
    let mut pieces = body.chunks(16_384).peekable();
    while let Some(piece) = pieces.next() {
        let last = end && pieces.peek().is_none();
        let flags = if last { flag::END_STREAM } else { flag::NONE };
        if !writer.frame(kind::DATA, flags, stream, piece).await {
            return false;
        }
    }
    true
}
