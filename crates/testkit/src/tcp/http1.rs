//! An HTTP/1.1 client that sends what the test writes and reads responses strictly.

use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Tls, connect};
use crate::certs::Authority;
use crate::wait;

/// A response.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Http1Reply {
    /// The status line.
    pub status_line: String,
    /// The fields in order, as sent.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// The trailers in order.
    pub trailers: Vec<(String, String)>,
}

impl Http1Reply {
    /// Returns the status code.
    pub fn status(&self) -> u16 {
        let code = self.status_line.split(' ').nth(1).expect("a status line");
        code.parse().expect("a status code")
    }

    /// Returns the values of a field, joined by `, `.
    pub fn field(&self, name: &str) -> String {
        let values = self.fields.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name));
        values.map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// Returns the body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body of text")
    }
}

/// A connection.
#[derive(Debug)]
pub struct Http1<S = Tls> {
    stream: S,
    /// Received bytes that belong to no response yet.
    buffer: Vec<u8>,
}

impl Http1<Tls> {
    /// Connects with TLS and ALPN `http/1.1`.
    pub async fn connect(authority: &Authority, addr: SocketAddr, name: &str) -> Self {
        let stream = wait::within("TLS", connect(authority, addr, name, &[b"http/1.1"])).await;
        Self::over(stream.expect("a TLS connection"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Http1<S> {
    /// Uses a connection that is open already.
    pub fn over(stream: S) -> Self {
        Self { stream, buffer: Vec::new() }
    }

    /// Sends bytes.
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let send = async {
            self.stream.write_all(bytes.as_ref()).await?;
            self.stream.flush().await
        };
        wait::within("bytes to be sent", send).await
    }

    /// Sends bytes.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("an open connection");
    }

    /// Sends a GET for `path` and reads the response.
    pub async fn get(&mut self, path: &str) -> Http1Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        self.reply().await
    }

    /// Reads a response.
    pub async fn reply(&mut self) -> Http1Reply {
        self.try_reply().await.expect("a complete response")
    }

    /// Reads the head of a response, without its body.
    ///
    /// # Errors
    /// If the connection ends before.
    pub async fn try_head(&mut self) -> io::Result<Http1Reply> {
        let head = self.section().await?;
        let mut lines = head.lines();
        let status_line = lines.next().unwrap_or_default().to_owned();
        assert!(status_line.starts_with("HTTP/1.1 "), "{status_line}");
        Ok(Http1Reply { status_line, fields: lines.map(field).collect(), ..Http1Reply::default() })
    }

    /// Reads a response with its body, which has a length or is chunked; statuses without body have none.
    ///
    /// # Errors
    /// If the connection ends before the response does.
    pub async fn try_reply(&mut self) -> io::Result<Http1Reply> {
        let mut reply = self.try_head().await?;
        if matches!(reply.status(), 100..200 | 204 | 304) {
            return Ok(reply);
        }
        if reply.field("transfer-encoding") == "chunked" {
            while let Some(chunk) = self.chunk().await? {
                reply.body.extend(chunk);
            }
            reply.trailers = self.trailers().await?;
            return Ok(reply);
        }
        let length = reply.field("content-length").parse().expect("a response with a length");
        reply.body = self.exactly(length).await?;
        Ok(reply)
    }

    /// Reads to the end of the connection.
    ///
    /// # Errors
    /// If the connection is reset, or TLS was not ended by `close_notify`.
    pub async fn rest(&mut self) -> io::Result<Vec<u8>> {
        while self.more().await? {}
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Ends the sending side: `close_notify`, then the end of TCP.
    pub async fn end(&mut self) {
        self.try_end().await.expect("an open connection");
    }

    /// As [`Http1::end`].
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn try_end(&mut self) -> io::Result<()> {
        wait::within("the end to be sent", self.stream.shutdown()).await
    }

    /// Returns the connection.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Returns the connection. Received bytes that were not read yet are lost.
    pub fn into_stream(self) -> S {
        self.stream
    }

    /// Reads a chunk. Returns `None` for the last one, after which come the trailers.
    ///
    /// # Errors
    /// If the connection ends before.
    pub async fn chunk(&mut self) -> io::Result<Option<Bytes>> {
        let size = self.line().await?;
        let size = usize::from_str_radix(&size, 16).expect("the size of a chunk");
        if size == 0 {
            return Ok(None);
        }
        let chunk = self.exactly(size).await?;
        assert_eq!(self.line().await?, "", "the end of a chunk");
        Ok(Some(chunk.into()))
    }

    /// Reads the trailers after the last chunk.
    pub(crate) async fn trailers(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut trailers = Vec::new();
        loop {
            match self.line().await? {
                line if line.is_empty() => return Ok(trailers),
                line => trailers.push(field(&line)),
            }
        }
    }

    /// Waits for bytes, at most `limit`. Returns `None` at the end of the connection.
    pub(crate) async fn some(&mut self, limit: usize) -> io::Result<Option<Bytes>> {
        if self.buffer.is_empty() && !self.more().await? {
            return Ok(None);
        }
        let length = limit.min(self.buffer.len());
        Ok(Some(self.buffer.drain(..length).collect()))
    }

    /// Reads to an empty line.
    pub(crate) async fn section(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let section: Vec<u8> = self.buffer.drain(..at + 4).collect();
                return Ok(String::from_utf8(section[..at].to_vec()).expect("a head of text"));
            }
            self.want_more().await?;
        }
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Ok(String::from_utf8(line[..at].to_vec()).expect("a line of text"));
            }
            self.want_more().await?;
        }
    }

    /// Reads so many bytes, such as a body after [`Http1::try_head`].
    ///
    /// # Errors
    /// If the connection ends before.
    pub async fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.want_more().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn want_more(&mut self) -> io::Result<()> {
        if self.more().await? { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Reads once. Returns false at the end.
    async fn more(&mut self) -> io::Result<bool> {
        let read = self.stream.read_buf(&mut self.buffer);
        Ok(wait::within("bytes of a response", read).await? > 0)
    }
}

fn field(line: &str) -> (String, String) {
    let (name, value) = line.split_once(": ").unwrap_or_else(|| panic!("no field: {line}"));
    (name.to_owned(), value.to_owned())
}
