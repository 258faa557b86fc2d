//! Writing of a connection's output to its socket.

use std::{
    io::{self, IoSlice},
    task::{Context, Poll},
};

use spooky_bridge::WriteBuffer;

use crate::{counters::Counters, failure::FailureKind, socket::Socket};

/// Maximum number of slices in one write.
const WRITE_SLICES: usize = 64;

/// How much was written to the socket of a connection.
#[derive(Default)]
pub(super) struct Outgoing {
    /// Number of bytes written.
    written: u64,
    /// The TLS layer may have buffered bytes.
    unflushed: bool,
}

impl Outgoing {
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    pub(super) fn is_unflushed(&self) -> bool {
        self.unflushed
    }

    /// Writes as much as the socket takes, which wakes the task when it can take more. Returns whether nothing is left.
    pub(super) fn flush(
        &mut self,
        cx: &mut Context<'_>,
        socket: &mut Socket,
        output: &mut WriteBuffer,
        counters: &mut Counters,
    ) -> Result<bool, FailureKind> {
        let lost = |error: io::Error| FailureKind::ConnectionLost(error.kind());
        while !output.is_empty() {
            let mut slices = [IoSlice::new(&[]); WRITE_SLICES];
            let set = output.slices(&mut slices);
            let n = match socket.poll_write(cx, slices.get(..set).unwrap_or_default()) {
                Poll::Pending => {
                    counters.writes_blocked += 1;
                    return Ok(false);
                }
                Poll::Ready(Ok(0)) => return Err(FailureKind::ConnectionLost(io::ErrorKind::WriteZero)),
                Poll::Ready(Ok(n)) => n,
                Poll::Ready(Err(error)) => return Err(lost(error)),
            };
            output.advance(n);
            self.written += n as u64;
            self.unflushed = true;
            counters.bytes_written += n as u64;
        }
        if self.unflushed && socket.poll_flush(cx).map_err(lost)?.is_ready() {
            self.unflushed = false;
        }
        Ok(!self.unflushed)
    }
}
