//! One exchange as its client or its backend sees it.

use std::io;

use bytes::Bytes;

use super::head::Head;
use super::http1::Http1Stream;
use super::http2::Http2Stream;
use crate::client::frame::{self, kind};
use crate::client::qpack;
use crate::client::raw::{End, Request};

/// `H3_REQUEST_CANCELLED`.
const CANCELLED: u64 = 0x10c;

/// An exchange. The directions end independently of each other.
pub struct Stream(pub(super) Wire);

pub(super) enum Wire {
    Http3(Box<Request>),
    Http2(Http2Stream),
    Http1(Http1Stream),
}

impl Stream {
    /// Reads a response head, interim or final. Only for clients.
    ///
    /// # Errors
    /// If the stream or the connection ends before.
    pub async fn head(&mut self) -> io::Result<Head> {
        match &mut self.0 {
            Wire::Http3(request) => {
                let frame = request.frames.next().await.map_err(broken)?;
                assert_eq!(frame.kind, kind::HEADERS, "a head");
                let mut fields = qpack::decode(&frame.payload).expect("a field section of static references");
                let status = fields.remove(0);
                assert_eq!(status.0, ":status");
                Ok(Head { status: status.1.parse().expect("a status"), fields })
            }
            Wire::Http2(stream) => stream.head().await,
            Wire::Http1(stream) => stream.head().await,
        }
    }

    /// Sends bytes of the body or the tunnel. Waits until the peer takes them.
    ///
    /// # Errors
    /// If the stream or the connection has ended.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.0 {
            Wire::Http3(request) => {
                request.write(&frame::frame(kind::DATA, bytes)).await;
                Ok(())
            }
            Wire::Http2(stream) => stream.send(bytes).await,
            Wire::Http1(stream) => stream.send(bytes).await,
        }
    }

    /// Ends the sending direction.
    ///
    /// # Errors
    /// If the stream or the connection has ended.
    pub async fn end(&mut self) -> io::Result<()> {
        match &mut self.0 {
            Wire::Http3(request) => {
                request.end();
                Ok(())
            }
            Wire::Http2(stream) => stream.end(),
            Wire::Http1(stream) => stream.end().await,
        }
    }

    /// Waits for bytes of the body or the tunnel. Returns `None` at its end. Drops trailers.
    ///
    /// # Errors
    /// If the stream is cut off.
    pub async fn data(&mut self) -> io::Result<Option<Bytes>> {
        match &mut self.0 {
            Wire::Http3(request) => loop {
                match request.frames.next().await {
                    Ok(frame) if frame.kind == kind::DATA && !frame.payload.is_empty() => {
                        return Ok(Some(frame.payload));
                    }
                    Ok(_) => {}
                    Err(End::Finished) => return Ok(None),
                    Err(end) => return Err(broken(end)),
                }
            },
            Wire::Http2(stream) => stream.data().await,
            Wire::Http1(stream) => stream.data().await,
        }
    }

    /// Waits for at least this number of bytes.
    ///
    /// # Errors
    /// If the stream ends before.
    pub async fn read(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            bytes.extend_from_slice(&self.data().await?.ok_or(io::ErrorKind::UnexpectedEof)?);
        }
        Ok(bytes)
    }

    /// Reads to the end of the direction.
    ///
    /// # Errors
    /// If the stream is cut off.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while let Some(data) = self.data().await? {
            bytes.extend_from_slice(&data);
        }
        Ok(bytes)
    }

    /// Waits until the peer cuts the exchange off, and returns how.
    pub async fn cut_off(&mut self) -> io::Error {
        match &mut self.0 {
            Wire::Http3(request) => loop {
                if let Err(end) = request.frames.next().await {
                    return broken(end);
                }
            },
            Wire::Http2(stream) => stream.cut_off().await,
            Wire::Http1(stream) => stream.cut_off().await,
        }
    }

    /// Ends the connection of a backend by RST, as when its process is killed.
    pub async fn kill(self) {
        match self.0 {
            Wire::Http1(stream) => stream.reset(),
            Wire::Http2(mut stream) => {
                stream.kill.as_ref().expect("a backend").notify_one();
                // If the stream were dropped before the connection is, it would be reset first.
                stream.cut_off().await;
            }
            Wire::Http3(_) => unreachable!("a backend"),
        }
    }

    /// Cuts the exchange off: resets the stream, over HTTP/1.1 the connection.
    pub fn reset(self) {
        match self.0 {
            Wire::Http3(mut request) => {
                request.reset(CANCELLED);
                request.frames.stop(CANCELLED);
            }
            Wire::Http2(stream) => stream.reset(),
            Wire::Http1(stream) => stream.reset(),
        }
    }
}

fn broken(end: End) -> io::Error {
    io::Error::other(format!("{end:?}"))
}
