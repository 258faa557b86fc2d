//! Reads requests of a connection and records every byte. Understands only what a correct client sends.

use bytes::{Buf, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::net::tcp::OwnedReadHalf;

use super::shared::Received;
use crate::journal::Entry;

/// The start of the HTTP/2 preface (RFC 9113 section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\n";

/// How the body of a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
}

/// What a connection starts with, or continues with.
#[derive(Debug)]
pub(super) enum Read {
    Request(Entry),
    Preface,
    Closed,
}

pub(super) struct Reader {
    tcp: OwnedReadHalf,
    buffer: BytesMut,
    received: Received,
    number: usize,
    framing: Framing,
    /// Body bytes of all requests, without framing.
    pub(super) body_bytes: usize,
}

impl Reader {
    pub(super) fn new(tcp: OwnedReadHalf, received: Received, number: usize) -> Self {
        Self { tcp, buffer: BytesMut::new(), received, number, framing: Framing::Length(0), body_bytes: 0 }
    }

    /// Reads and records more bytes. Returns false at the end.
    pub(super) async fn fill(&mut self) -> bool {
        let before = self.buffer.len();
        if !matches!(self.tcp.read_buf(&mut self.buffer).await, Ok(1..)) {
            return false;
        }
        let new = &self.buffer[before..];
        self.received.send_modify(|all| all[self.number - 1].extend_from_slice(new));
        true
    }

    /// Takes the bytes that were received and not yet read as a message.
    pub(super) fn take(&mut self) -> BytesMut {
        self.buffer.split()
    }

    /// Reads a request head.
    pub(super) async fn head(&mut self) -> Read {
        loop {
            if self.buffer.starts_with(PREFACE) {
                return Read::Preface;
            }
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                return Read::Request(self.parse(&String::from_utf8_lossy(&head)));
            }
            if !self.fill().await {
                return Read::Closed;
            }
        }
    }

    fn parse(&mut self, head: &str) -> Entry {
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let fields: Vec<_> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let field = |name: &str| fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str());
        self.framing = match field("transfer-encoding") {
            Some(_) => Framing::Chunked,
            None => Framing::Length(field("content-length").and_then(|value| value.parse().ok()).unwrap_or_default()),
        };
        let authority = field("host").unwrap_or_default().to_owned();
        Entry { method: method.to_owned(), path: path.to_owned(), authority, fields, connection: self.number }
    }

    /// Reads the rest of the body. Returns false if the client closes before its end.
    pub(super) async fn body(&mut self) -> bool {
        match self.framing {
            Framing::Length(length) => {
                self.framing = Framing::Length(0);
                self.skip(length).await
            }
            Framing::Chunked => self.chunks().await,
        }
    }

    async fn skip(&mut self, length: usize) -> bool {
        let mut left = length;
        loop {
            let here = left.min(self.buffer.len());
            self.buffer.advance(here);
            self.body_bytes += here;
            left -= here;
            if left == 0 {
                return true;
            }
            if !self.fill().await {
                return false;
            }
        }
    }

    async fn chunks(&mut self) -> bool {
        self.framing = Framing::Length(0);
        loop {
            let Some(line) = self.line().await else { return false };
            let Ok(length) = usize::from_str_radix(line.split(';').next().unwrap_or_default(), 16) else {
                return false;
            };
            if length == 0 {
                break;
            }
            if !self.skip(length).await || self.line().await.is_none() {
                return false;
            }
        }
        // Trailers, up to the empty line.
        loop {
            match self.line().await {
                None => return false,
                Some(line) if line.is_empty() => return true,
                Some(_) => {}
            }
        }
    }

    async fn line(&mut self) -> Option<String> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n") {
                let line = self.buffer.split_to(end + 2);
                return Some(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if !self.fill().await {
                return None;
            }
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
