//! Bodies of the origin's answers.
//!
//! Owns the pattern body and the wrapper that books an answer as completed or cancelled. Called by the handlers and by
//! the connection service.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::journal::Journal;
use crate::pattern::Pattern;

/// What a body may fail with; hyper turns it into `RST_STREAM`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of every answer.
pub type Body = BoxBody<Bytes, BoxError>;

/// [`Pattern`] bytes as a body; its length is announced or kept back.
#[derive(Debug)]
pub struct PatternBody {
    pattern: Pattern,
    left: u64,
    announced: bool,
}

impl PatternBody {
    /// `len` bytes with `content-length`.
    pub fn sized(seed: u64, len: u64) -> Self {
        Self { pattern: Pattern::new(seed, len), left: len, announced: true }
    }

    /// `len` bytes without `content-length`.
    pub fn unsized_(seed: u64, len: u64) -> Self {
        Self { announced: false, ..Self::sized(seed, len) }
    }
}

impl HttpBody for PatternBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.pattern.next();
        self.left -= piece.as_ref().map_or(0, |piece| piece.len() as u64);
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        if self.announced { SizeHint::with_exact(self.left) } else { SizeHint::default() }
    }
}

/// Books the end of one answer: completed when told so, else cancelled on drop.
#[derive(Debug)]
pub(super) struct Booking {
    journal: Journal,
    open: bool,
}

impl Booking {
    pub(super) fn new(journal: Journal) -> Self {
        Self { journal, open: true }
    }

    pub(super) fn complete(&mut self) {
        if std::mem::take(&mut self.open) {
            self.journal.note(|record| record.completed += 1);
        }
    }
}

impl Drop for Booking {
    fn drop(&mut self) {
        if self.open {
            self.journal.note(|record| record.cancelled += 1);
        }
    }
}

/// A body that books its own end when its last frame has been handed to the connection.
pub(super) struct Booked {
    inner: Body,
    booking: Booking,
}

impl Booked {
    pub(super) fn new(inner: Body, mut booking: Booking) -> Self {
        if inner.is_end_stream() {
            booking.complete();
        }
        Self { inner, booking }
    }
}

impl HttpBody for Booked {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        let ended = match &polled {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(frame))) => frame.is_trailers() || self.inner.is_end_stream(),
            Poll::Ready(Some(Err(_))) | Poll::Pending => false,
        };
        if ended {
            self.booking.complete();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
