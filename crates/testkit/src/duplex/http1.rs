//! An exchange on an HTTP/1.1 connection of its own.

use std::fmt::Write as _;
use std::io;

use bytes::Bytes;

use super::Socket;
use super::coding::Coding;
use super::head::Head;
use super::reset::Resetter;
use crate::tcp::Http1;

pub(super) struct Http1Stream {
    io: Http1<Socket>,
    resetter: Resetter,
    pub(super) sends: Coding,
    pub(super) receives: Coding,
    is_connect: bool,
}

impl Http1Stream {
    pub(super) fn new(socket: Socket, resetter: Resetter) -> Self {
        let io = Http1::over(socket);
        Self { io, resetter, sends: Coding::None, receives: Coding::None, is_connect: false }
    }

    /// Sends a request head. Its body is chunked if it has one.
    pub(super) async fn ask(&mut self, method: &str, target: &str, fields: &[(&str, &str)]) -> io::Result<()> {
        self.is_connect = method == "CONNECT";
        let is_chunked = fields.iter().any(|(name, _)| *name == "transfer-encoding");
        self.sends = if is_chunked { Coding::Chunked } else { Coding::None };
        self.io.try_send(head(&format!("{method} {target} HTTP/1.1"), fields)).await
    }

    /// Reads a request head: method, target and fields. Returns `None` if the connection ends before.
    pub(super) async fn request(&mut self) -> Option<(String, String, Vec<(String, String)>)> {
        let head = self.io.section().await.ok()?;
        let (line, fields) = head.split_once("\r\n").unwrap_or((&head, ""));
        let mut words = line.split(' ').map(str::to_owned);
        let (method, target) = (words.next()?, words.next()?);
        let fields = fields.lines().filter_map(|line| line.split_once(": "));
        let fields: Vec<_> = fields.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        self.is_connect = method == "CONNECT";
        self.receives = Coding::of_request(&fields);
        Some((method, target, fields))
    }

    /// Sends a response head with these fields, and opens the tunnel if there is one.
    pub(super) async fn answer(&mut self, status: u16, fields: &[(&str, &str)]) -> io::Result<()> {
        self.io.try_send(head(&format!("HTTP/1.1 {status} Test"), fields)).await?;
        let owned: Vec<_> = fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        self.sends = Coding::of_response(status, &owned, self.is_connect);
        if self.opens_tunnel(status) {
            self.receives = Coding::Raw;
        }
        Ok(())
    }

    /// Reads a response head.
    pub(super) async fn head(&mut self) -> io::Result<Head> {
        let reply = self.io.try_head().await?;
        let status = reply.status();
        self.receives = Coding::of_response(status, &reply.fields, self.is_connect);
        if self.opens_tunnel(status) {
            self.sends = Coding::Raw;
        }
        Ok(Head { status, fields: reply.fields })
    }

    fn opens_tunnel(&self, status: u16) -> bool {
        status == 101 || self.is_connect && matches!(status, 200..300)
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.sends != Coding::Chunked {
            return self.io.try_send(bytes).await;
        }
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.io.try_send(chunk).await
    }

    pub(super) async fn end(&mut self) -> io::Result<()> {
        match self.sends {
            Coding::Chunked => self.io.try_send("0\r\n\r\n").await,
            Coding::Raw => self.io.try_end().await,
            Coding::None | Coding::Length(_) => Ok(()),
        }
    }

    pub(super) async fn data(&mut self) -> io::Result<Option<Bytes>> {
        match self.receives {
            Coding::None | Coding::Length(0) => Ok(None),
            Coding::Raw => self.io.some(usize::MAX).await,
            Coding::Length(left) => {
                let data = self.io.some(left).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
                self.receives = Coding::Length(left - data.len());
                Ok(Some(data))
            }
            Coding::Chunked => {
                let chunk = self.io.chunk().await?;
                if chunk.is_none() {
                    self.io.trailers().await?;
                    self.receives = Coding::None;
                }
                Ok(chunk)
            }
        }
    }

    /// Waits until the peer ends the connection, and drops what it sends before.
    pub(super) async fn cut_off(&mut self) -> io::Error {
        loop {
            match self.io.some(usize::MAX).await {
                Ok(Some(_)) => {}
                Ok(None) => return io::ErrorKind::UnexpectedEof.into(),
                Err(error) => return error,
            }
        }
    }

    /// Ends the connection by RST.
    pub(super) fn reset(self) {
        self.resetter.arm();
    }
}

fn head(first: &str, fields: &[(&str, &str)]) -> String {
    let mut head = format!("{first}\r\n");
    for (name, value) in fields {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    head
}
