//! The byte stream of a client: TCP, with TLS above it unless the listener is cleartext.
//!
//! Received bytes are read into a buffer of the worker and decrypted from there, so that an idle connection owns no buffer.
//! Sent bytes are copied once, into TLS records; the records of a turn are written together.

use bytes::BytesMut;
use rustls::ServerConnection;
use spooky_bridge::WriteBuffer;
use std::{
    io::{self, BufRead as _, IoSlice, Write},
    pin::Pin,
    task::{Context, Poll},
};
use tokio::{
    io::{AsyncRead as _, AsyncWrite as _, ReadBuf},
    net::TcpStream,
};

/// Maximum number of slices in one write.
const WRITE_SLICES: usize = 64;

pub(super) struct Socket {
    pub(super) stream: TcpStream,
    pub(super) tls: Option<Box<ServerConnection>>,
    /// The client has ended its side in order: by `close_notify`, or without TLS by the end of TCP.
    pub(super) is_ended: bool,
    /// The end of TCP was received.
    pub(super) is_at_end: bool,
    /// The sending side is closed.
    pub(super) is_shut: bool,
    /// Bytes that TLS has taken and the socket has not, without the overhead of records.
    queued: usize,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, tls: Option<Box<ServerConnection>>) -> Self {
        Self { stream, tls, is_ended: false, is_at_end: false, is_shut: false, queued: 0 }
    }

    /// Reads once from the socket, below TLS. Returns 0 at the end. If pending, the next event wakes the task.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(into);
        Pin::new(&mut self.stream).poll_read(cx, &mut into).map_ok(|()| into.filled().len())
    }

    /// Appends the content of received bytes to `into`.
    pub(super) fn decrypt(&mut self, mut bytes: &[u8], into: &mut BytesMut) -> Result<(), rustls::Error> {
        let Some(tls) = &mut self.tls else {
            into.extend_from_slice(bytes);
            return Ok(());
        };
        if !tls.is_handshaking() {
            into.reserve(bytes.len()); // once, instead of growing with each record
        }
        while !bytes.is_empty() {
            // TLS has a buffer of its own for one record, which every call empties as far as possible.
            match tls.read_tls(&mut bytes) {
                Ok(0) => return Ok(()), // what follows `close_notify` is ignored
                Ok(_) => {}
                Err(error) => return Err(rustls::Error::General(error.to_string())),
            }
            let state = tls.process_new_packets()?;
            self.is_ended |= state.peer_has_closed();
            let mut reader = tls.reader();
            while let Ok(content) = reader.fill_buf()
                && !content.is_empty()
            {
                into.extend_from_slice(content);
                let length = content.len();
                reader.consume(length);
            }
        }
        Ok(())
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// Returns the protocol that TLS has agreed on.
    pub(super) fn alpn(&self) -> Option<&[u8]> {
        self.tls.as_ref()?.alpn_protocol()
    }

    /// Returns whether TLS has bytes for the socket.
    pub(super) fn has_unsent(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Returns the number of bytes that TLS has for the socket, without the overhead of records.
    pub(super) fn queued(&self) -> usize {
        self.queued
    }

    /// Writes as much of `output` as the socket takes. Ready when everything was written; if pending, the task is woken when
    /// the socket is writable. Adds the number of bytes written to `written`.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        output: &mut WriteBuffer,
        written: &mut usize,
    ) -> Poll<io::Result<()>> {
        if output.is_empty() && !self.has_unsent() {
            return Poll::Ready(Ok(()));
        }
        loop {
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            let set = output.slices(&mut slices);
            let slices = slices.get(..set).unwrap_or_default();
            let Some(tls) = &mut self.tls else {
                if output.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                match Pin::new(&mut self.stream).poll_write_vectored(cx, slices) {
                    Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    Poll::Ready(Ok(length)) => {
                        output.advance(length);
                        *written += length;
                        continue;
                    }
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
            };
            if set > 0 {
                // TLS takes no more while it has 64 KiB of records for the socket.
                let taken = tls.writer().write_vectored(slices)?;
                output.advance(taken);
                self.queued += taken;
            }
            if !tls.wants_write() {
                self.queued = 0;
                return Poll::Ready(Ok(()));
            }
            match tls.write_tls(&mut Records { stream: &mut self.stream, cx }) {
                Ok(0) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Ok(length) => {
                    *written += length;
                    self.queued = self.queued.saturating_sub(length);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Poll::Pending,
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Queues `close_notify`, so that the client knows that nothing is missing.
    pub(super) fn end(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
    }

    /// Closes the sending side of TCP.
    pub(super) fn shut_down(&mut self, cx: &mut Context<'_>) {
        self.is_shut = true;
        let _gone = Pin::new(&mut self.stream).poll_shutdown(cx); // never pending; fails only if the connection is gone
    }
}

/// Writes TLS records to the socket.
struct Records<'a, 'b> {
    stream: &'a mut TcpStream,
    cx: &'a mut Context<'b>,
}

impl Write for Records<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match Pin::new(&mut *self.stream).poll_write_vectored(self.cx, slices) {
            Poll::Ready(written) => written,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
