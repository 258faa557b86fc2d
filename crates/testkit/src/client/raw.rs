//! A QUIC connection to an HTTP/3 server that does not enforce HTTP/3.
//!
//! A test writes arbitrary bytes on any stream and reads frames, error codes and the end of the connection.

use std::sync::Mutex;

use bytes::BytesMut;
use quinn::{ConnectionError, ReadError, RecvStream, SendStream, VarInt};

use super::frame::{self, Frame, kind};
use super::qpack::{self, Field};
use crate::wait;

/// A QUIC connection with ALPN `h3`.
#[derive(Debug)]
pub struct Connection {
    quic: quinn::Connection,
    /// Streams that stay open until the connection ends, such as the control stream.
    held: Mutex<Vec<SendStream>>,
}

impl Connection {
    pub(super) fn new(quic: quinn::Connection) -> Self {
        Self { quic, held: Mutex::default() }
    }

    /// Returns the QUIC connection.
    pub fn quic(&self) -> &quinn::Connection {
        &self.quic
    }

    /// Opens the control stream and sends an empty SETTINGS frame.
    pub async fn send_settings(&self) {
        let mut bytes = BytesMut::from(&[frame::stream::CONTROL as u8][..]);
        bytes.extend_from_slice(&frame::settings(&[]));
        self.uni(&bytes).await;
    }

    /// Opens a unidirectional stream, writes `bytes` (with the stream type) and keeps it open until the connection ends.
    pub async fn uni(&self, bytes: &[u8]) {
        let mut stream = self.open_uni().await;
        let _ = wait::within("credit on a unidirectional stream", stream.write_all(bytes)).await;
        self.held.lock().expect("no panic while held").push(stream);
    }

    /// Opens a unidirectional stream.
    pub async fn open_uni(&self) -> SendStream {
        wait::within("a unidirectional stream", self.quic.open_uni()).await.expect("open a unidirectional stream")
    }

    /// Opens a request stream and writes `bytes`. Ends the stream if `end` is set.
    pub async fn request(&self, bytes: &[u8], end: bool) -> Request {
        let (send, recv) = wait::within("a request stream", self.quic.open_bi()).await.expect("open a request stream");
        let mut request = Request { send, frames: Frames::new(recv) };
        request.write(bytes).await;
        if end {
            request.end();
        }
        request
    }

    /// Waits for the next unidirectional stream of the peer. Returns its type and its frames (or instructions).
    pub async fn accept_uni(&self) -> (u64, Frames) {
        let mut recv =
            wait::within("a stream of the server", self.quic.accept_uni()).await.expect("the server's stream");
        let mut first = [0u8];
        wait::within("a stream type", recv.read_exact(&mut first)).await.expect("a stream type");
        (u64::from(first[0]), Frames::new(recv))
    }

    /// Waits for the control stream of the peer. Drops other streams.
    pub async fn control(&self) -> Frames {
        loop {
            let (kind, frames) = self.accept_uni().await;
            if kind == frame::stream::CONTROL {
                return frames;
            }
        }
    }

    /// Waits for the end of the connection. Returns the application error code, if there is one.
    pub async fn closed(&self) -> Option<u64> {
        code(&wait::within("the server to close the connection", self.quic.closed()).await)
    }
}

/// A request stream.
#[derive(Debug)]
pub struct Request {
    send: SendStream,
    /// The response direction.
    pub frames: Frames,
}

impl Request {
    /// Writes bytes. Ignores the error if the peer has stopped the stream.
    pub async fn write(&mut self, bytes: &[u8]) {
        let _ = wait::within("credit on a request stream", self.send.write_all(bytes)).await;
    }

    /// Ends the request direction.
    pub fn end(&mut self) {
        let _ = self.send.finish();
    }

    /// Resets the request direction.
    pub fn reset(&mut self, code: u64) {
        let _ = self.send.reset(VarInt::from_u64(code).expect("a code that fits"));
    }

    /// Waits for `STOP_SENDING`. Returns its code, or `None` if everything was acknowledged instead.
    pub async fn stopped(&mut self) -> Option<u64> {
        let stopped = wait::within("STOP_SENDING or the last acknowledgement", self.send.stopped()).await;
        stopped.ok().flatten().map(VarInt::into_inner)
    }

    /// Reads a response: interim heads, head, body, trailers.
    pub async fn answer(&mut self) -> Result<Answer, End> {
        let mut answer = Answer::default();
        loop {
            match self.frames.next().await {
                Ok(frame) if frame.kind == kind::HEADERS => {
                    answer.sections.push(qpack::decode(&frame.payload).expect("a field section of static references"));
                }
                Ok(frame) if frame.kind == kind::DATA => answer.body.extend_from_slice(&frame.payload),
                Ok(_) => {}
                Err(End::Finished) => return Ok(answer),
                Err(end) => return Err(end),
            }
        }
    }
}

/// A response as a list of field sections and a body.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// All HEADERS frames in order: interim, final, trailers.
    pub sections: Vec<Vec<Field>>,
    /// Payload of all DATA frames.
    pub body: Vec<u8>,
}

impl Answer {
    /// Returns the `:status` of each section that has one.
    pub fn statuses(&self) -> Vec<&str> {
        let all = self.sections.iter().flatten();
        all.filter(|(name, _)| name == ":status").map(|(_, value)| value.as_str()).collect()
    }
}

/// How a stream of the peer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// FIN at a frame boundary.
    Finished,
    /// FIN in the middle of a frame.
    Cut,
    /// Reset with this code.
    Reset(u64),
    /// The connection ended, with this application error code, if any.
    Connection(Option<u64>),
}

/// The frames of a stream of the peer.
#[derive(Debug)]
pub struct Frames {
    recv: RecvStream,
    buffer: BytesMut,
}

impl Frames {
    fn new(recv: RecvStream) -> Self {
        Self { recv, buffer: BytesMut::new() }
    }

    /// Waits for the next frame or the end.
    pub async fn next(&mut self) -> Result<Frame, End> {
        loop {
            if let Some(frame) = frame::take(&mut self.buffer) {
                return Ok(frame);
            }
            match wait::within("a frame of the server", self.recv.read_chunk(usize::MAX, true)).await {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk.bytes),
                Ok(None) if self.buffer.is_empty() => return Err(End::Finished),
                Ok(None) => return Err(End::Cut),
                Err(ReadError::Reset(code)) => return Err(End::Reset(code.into_inner())),
                Err(ReadError::ConnectionLost(error)) => return Err(End::Connection(code(&error))),
                Err(other) => panic!("reading a stream of the server: {other}"),
            }
        }
    }

    /// Sends `STOP_SENDING`.
    pub fn stop(&mut self, code: u64) {
        let _ = self.recv.stop(VarInt::from_u64(code).expect("a code that fits"));
    }
}

/// Returns the application error code of a closed connection.
pub(super) fn code(error: &ConnectionError) -> Option<u64> {
    match error {
        ConnectionError::ApplicationClosed(close) => Some(close.error_code.into_inner()),
        _ => None,
    }
}
