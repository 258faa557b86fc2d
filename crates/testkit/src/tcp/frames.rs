//! HTTP/2 frames on a TLS connection, for clients that break the rules (RFC 9113 section 4.1).

use std::io;
use std::net::SocketAddr;

use loona_hpack::{Decoder, Encoder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{Tls, connect};
use crate::certs::Authority;
use crate::wait;

/// The client preface (section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Types of frames (section 6).
pub mod kind {
    #![allow(missing_docs, reason = "the names of the RFC")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const WINDOW_UPDATE: u8 = 8;
    pub const CONTINUATION: u8 = 9;
}

/// The flag of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// The flag of HEADERS and CONTINUATION.
pub const END_HEADERS: u8 = 4;
/// The flag of SETTINGS and PING.
pub const ACK: u8 = 1;

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Type.
    pub kind: u8,
    /// Flags.
    pub flags: u8,
    /// Stream identifier.
    pub stream: u32,
    /// Payload.
    pub payload: Vec<u8>,
}

impl Frame {
    /// Returns the error code of `RST_STREAM` or GOAWAY.
    pub fn code(&self) -> u32 {
        let at = if self.kind == kind::GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().expect("four bytes"))
    }
}

/// Encodes a frame.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = (payload.len() as u32).to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Encodes SETTINGS with these parameters.
pub fn settings(parameters: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> =
        parameters.iter().flat_map(|(id, value)| [&id.to_be_bytes()[..], &value.to_be_bytes()].concat()).collect();
    frame(kind::SETTINGS, 0, 0, &payload)
}

/// Encodes a request head with literals only, so that the dynamic table stays empty.
pub fn head(stream: u32, flags: u8, method: &str, path: &str) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
    let block = Encoder::new().encode(fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())));
    frame(kind::HEADERS, flags, stream, &block)
}

/// How a request on a stream ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamAnswer {
    /// With a complete response: the value of `:status`, and the body.
    Response(String, Vec<u8>),
    /// With `RST_STREAM` and this code before the end of a response.
    Reset(u32),
    /// With GOAWAY and this code, or without a word, before the end of a response.
    Closed(Option<u32>),
}

/// A connection on which the test writes frames.
pub struct Frames {
    stream: Tls,
    /// Decodes the heads of responses, if [`Frames::answer`] reads all of them.
    decoder: Decoder<'static>,
}

impl std::fmt::Debug for Frames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frames({:?})", self.stream)
    }
}

impl Frames {
    /// Connects with ALPN `h2` and sends the preface with these settings.
    pub async fn connect(authority: &Authority, addr: SocketAddr, name: &str, parameters: &[(u16, u32)]) -> Self {
        let stream = wait::within("TLS", connect(authority, addr, name, &[b"h2"])).await.expect("a TLS connection");
        let mut frames = Self { stream, decoder: Decoder::new() };
        frames.send(&[PREFACE, &settings(parameters)].concat()).await;
        frames
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let send = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        wait::within("bytes to be sent", send).await
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.expect("an open connection");
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// If the connection ends.
    pub async fn next(&mut self) -> io::Result<Frame> {
        let mut header = [0; 9];
        wait::within("a frame", self.stream.read_exact(&mut header)).await?;
        let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
        let stream = u32::from_be_bytes(header[5..].try_into().expect("four bytes"));
        let mut payload = vec![0; length];
        wait::within("a payload", self.stream.read_exact(&mut payload)).await?;
        Ok(Frame { kind: header[3], flags: header[4], stream, payload })
    }

    /// Reads to a frame of this type, and drops those before it.
    ///
    /// # Errors
    /// If the connection ends before.
    pub async fn until(&mut self, kind: u8) -> io::Result<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Ok(frame);
            }
        }
    }

    /// Reads the response on a stream, or to the end of the stream or of the connection. Drops frames of other streams. Heads
    /// of responses must not be split into CONTINUATION frames.
    pub async fn answer(&mut self, stream: u32) -> StreamAnswer {
        let (mut status, mut body) = (String::new(), Vec::new());
        while let Ok(frame) = self.next().await {
            if frame.kind == kind::GOAWAY && frame.code() != 0 {
                return StreamAnswer::Closed(Some(frame.code()));
            }
            if frame.kind == kind::HEADERS {
                let fields = self.decoder.decode(&frame.payload).expect("a field block of the server");
                let found = fields.iter().find(|(name, _)| frame.stream == stream && name == b":status");
                status = found.map_or(status, |(_, value)| String::from_utf8_lossy(value).into_owned());
            }
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                kind::DATA => body.extend_from_slice(&frame.payload),
                kind::RST_STREAM => return StreamAnswer::Reset(frame.code()),
                _ => {}
            }
            if matches!(frame.kind, kind::DATA | kind::HEADERS) && frame.flags & END_STREAM != 0 {
                return StreamAnswer::Response(status, body);
            }
        }
        StreamAnswer::Closed(None)
    }

    /// Returns the connection.
    pub fn into_stream(self) -> Tls {
        self.stream
    }
}
