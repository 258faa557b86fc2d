//! Reads HTTP/2 frames of the client. Acknowledges SETTINGS and PING, and returns flow-control credit unless disabled.

use bytes::{Buf, Bytes, BytesMut};
use loona_hpack::Decoder;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedReadHalf;

use super::writer::{FrameWriter, flag, kind, settings};
use crate::journal::{Entry, Journal};

/// The client's connection preface (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// An event of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A request started.
    Request {
        /// Stream id.
        stream: u32,
        /// Request head.
        entry: Entry,
        /// Whether the request has no body.
        end: bool,
    },
    /// Body bytes or trailers arrived.
    Body {
        /// Stream id.
        stream: u32,
        /// Payload length of DATA.
        len: usize,
        /// Whether the request ended.
        end: bool,
    },
    /// The client reset a stream.
    Reset {
        /// Stream id.
        stream: u32,
        /// Error code.
        code: u32,
    },
}

/// The read half of a connection.
pub struct FrameReader {
    tcp: OwnedReadHalf,
    buffer: BytesMut,
    pub(super) decoder: Decoder<'static>,
    journal: Journal,
    number: usize,
    /// The write half.
    pub writer: FrameWriter,
    /// Whether to send `WINDOW_UPDATE` for request bytes.
    pub credit: bool,
    last_request: u32,
    /// An incomplete field block: stream, `END_STREAM`, bytes so far.
    block: Option<(u32, bool, BytesMut)>,
}

impl std::fmt::Debug for FrameReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "FrameReader({})", self.number)
    }
}

impl FrameReader {
    pub(super) fn new(tcp: TcpStream, journal: Journal, number: usize) -> Self {
        let _ = tcp.set_nodelay(true);
        let (read, write) = tcp.into_split();
        Self {
            tcp: read,
            buffer: BytesMut::new(),
            decoder: Decoder::new(),
            journal,
            number,
            writer: FrameWriter::new(write),
            credit: true,
            last_request: 0,
            block: None,
        }
    }

    /// Reads the client preface. Returns false for other bytes or a closed connection.
    pub async fn preface(&mut self) -> bool {
        while self.buffer.len() < PREFACE.len() {
            if !self.fill().await {
                return false;
            }
        }
        self.buffer.split_to(PREFACE.len()) == PREFACE
    }

    /// Reads the client preface and sends SETTINGS. Returns false if that fails.
    pub async fn handshake(&mut self, pairs: &[(u16, u32)]) -> bool {
        self.preface().await && self.writer.frame(kind::SETTINGS, flag::NONE, 0, &settings(pairs)).await
    }

    /// Waits for the next event. Returns `None` if the client closed the connection.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            let (kind, flags, stream, payload) = self.frame().await?;
            if let Some(event) = self.take(kind, flags, stream, payload).await {
                return Some(event);
            }
        }
    }

    /// Discards events until the client closes the connection. Closing a socket with unread data would send RST and lose the
    /// last bytes written.
    pub async fn drain(&mut self) {
        while self.next().await.is_some() {}
    }

    /// Discards bytes until the client closes the connection, without acknowledging anything.
    pub(super) async fn discard_all(&mut self) {
        while self.fill().await {
            self.buffer.clear();
        }
    }

    async fn take(&mut self, kind: u8, flags: u8, stream: u32, payload: Bytes) -> Option<Event> {
        match kind {
            kind::SETTINGS if flags & flag::ACK == 0 => {
                self.writer.frame(kind::SETTINGS, flag::ACK, 0, &[]).await;
            }
            kind::PING if flags & flag::ACK == 0 => {
                self.journal.update(|record| record.pings += 1);
                self.writer.frame(kind::PING, flag::ACK, 0, &payload).await;
            }
            kind::GOAWAY => {
                let code = payload.get(4..8).map_or(0, |mut bytes| bytes.get_u32());
                self.journal.update(|record| record.goaways.push(code));
            }
            kind::RST_STREAM => {
                let code = payload.get(..4).map_or(0, |mut bytes| bytes.get_u32());
                self.journal.update(|record| record.resets.push((stream, code)));
                return Some(Event::Reset { stream, code });
            }
            kind::HEADERS => {
                let fields = unpad(flags, payload);
                self.block = Some((stream, flags & flag::END_STREAM != 0, BytesMut::from(&fields[..])));
                return self.block_end(flags);
            }
            kind::CONTINUATION => {
                self.block.as_mut()?.2.extend_from_slice(&payload);
                return self.block_end(flags);
            }
            kind::DATA => return Some(self.data(flags, stream, &payload).await),
            _ => {}
        }
        None
    }

    async fn data(&mut self, flags: u8, stream: u32, payload: &Bytes) -> Event {
        let len = payload.len() as u32;
        let end = flags & flag::END_STREAM != 0;
        self.journal.update(|record| record.body_bytes += u64::from(len));
        if self.credit && len > 0 {
            self.writer.frame(kind::WINDOW_UPDATE, flag::NONE, 0, &len.to_be_bytes()).await;
            if !end {
                self.writer.frame(kind::WINDOW_UPDATE, flag::NONE, stream, &len.to_be_bytes()).await;
            }
        }
        Event::Body { stream, len: payload.len(), end }
    }

    /// Decodes a field block if it is complete. Also called for ignored streams, because each block updates the dynamic table.
    fn block_end(&mut self, flags: u8) -> Option<Event> {
        if flags & flag::END_HEADERS == 0 {
            return None;
        }
        let (stream, end, block) = self.block.take()?;
        let fields = self.decoder.decode(&block).expect("a field block of the client");
        if fields.is_empty() {
            self.journal.update(|record| record.empty_sections += 1);
        }
        if stream <= self.last_request {
            return Some(Event::Body { stream, len: 0, end });
        }
        self.last_request = stream;
        Some(Event::Request { stream, entry: entry(fields, self.number), end })
    }

    /// Reads a frame: type, flags, stream and payload. Returns `None` if the client closed the connection.
    pub(super) async fn frame(&mut self) -> Option<(u8, u8, u32, Bytes)> {
        loop {
            if self.buffer.len() >= 9 {
                let len = (&self.buffer[..3]).get_uint(3) as usize;
                if self.buffer.len() >= 9 + len {
                    let mut head = self.buffer.split_to(9);
                    head.advance(3);
                    let (kind, flags, stream) = (head.get_u8(), head.get_u8(), head.get_u32() & 0x7fff_ffff);
                    return Some((kind, flags, stream, self.buffer.split_to(len).freeze()));
                }
            }
            if !self.fill().await {
                return None;
            }
        }
    }

    async fn fill(&mut self) -> bool {
        self.buffer.reserve(16 * 1024);
        matches!(self.tcp.read_buf(&mut self.buffer).await, Ok(1..))
    }
}

/// Removes padding and priority from the payload of a HEADERS frame.
pub(super) fn unpad(flags: u8, mut payload: Bytes) -> Bytes {
    if flags & flag::PADDED != 0 {
        let padding = usize::from(payload.get_u8());
        payload.truncate(payload.len() - padding);
    }
    if flags & flag::PRIORITY != 0 {
        payload.advance(5);
    }
    payload
}

fn entry(fields: Vec<(Vec<u8>, Vec<u8>)>, connection: usize) -> Entry {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (mut method, mut path, mut authority) = (String::new(), String::new(), String::new());
    let mut rest = Vec::new();
    for (name, value) in fields {
        match &name[..] {
            b":method" => method = text(value),
            b":path" => path = text(value),
            b":authority" => authority = text(value),
            _ => rest.push((text(name), text(value))),
        }
    }
    Entry { method, path, authority, fields: rest, connection }
}
