//! The byte stream of a connection: cleartext or TLS. For TLS, it records the peer's first byte.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::BufMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, BufReader, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;
use tokio_util::io::poll_read_buf;

/// Size of the read buffer below TLS: rustls itself reads 4 KiB per system call.
pub(crate) const TLS_READ_AHEAD: usize = 64 * 1024;

/// TLS over a socket that reads ahead.
pub(crate) type Tls = TlsStream<BufReader<PeekStream>>;

/// A socket that records the peer's first byte, which distinguishes TLS from other protocols.
pub(crate) struct PeekStream {
    stream: TcpStream,
    first: Option<u8>,
}

impl PeekStream {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, first: None }
    }

    pub(crate) fn get_ref(&self) -> &TcpStream {
        &self.stream
    }

    /// Returns the first byte received.
    pub(crate) fn first(&self) -> Option<u8> {
        self.first
    }
}

impl AsyncRead for PeekStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = into.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, into);
        if this.first.is_none() {
            this.first = into.filled().get(before).copied();
        }
        read
    }
}

impl AsyncWrite for PeekStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

pub(crate) enum Socket {
    Plain(TcpStream),
    /// After the handshake.
    Tls(Box<Tls>),
}

impl Socket {
    /// Reads into the spare capacity of `into`. Returns 0 if the peer has closed its side.
    pub(crate) fn poll_read(&mut self, cx: &mut Context<'_>, into: &mut impl BufMut) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => poll_read_buf(Pin::new(stream), cx, into),
            Self::Tls(stream) => poll_read_buf(Pin::new(stream.as_mut()), cx, into),
        }
    }

    pub(crate) fn poll_write(&mut self, cx: &mut Context<'_>, slices: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, slices),
        }
    }

    /// Writes what the TLS layer has buffered to the socket.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    /// Shuts down this side (TLS: after `close_notify`, RFC 8446 section 6.1). The peer's side stays open.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }

    /// Shuts down this side, without waiting.
    pub(crate) fn close(&mut self, cx: &mut Context<'_>) {
        // Best effort: the caller drops the socket next.
        let _ = self.poll_shutdown(cx);
    }

    /// Makes the drop of the socket reset the TCP connection.
    pub(crate) fn set_reset_on_close(&mut self) {
        let stream = match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().0.get_ref().get_ref(),
        };
        // Best effort: without the option, the peer sees an orderly end.
        let _ = stream.set_zero_linger();
    }
}
