//! Response bodies of the origin, and a wrapper that records whether a response was completed or cancelled.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::journal::Journal;
use crate::pattern::Pattern;

/// Error of a body, for which hyper sends `RST_STREAM`.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Body of a response.
pub type Body = BoxBody<Bytes, BoxError>;

/// A body of [`Pattern`] bytes.
#[derive(Debug)]
pub struct PatternBody {
    pattern: Pattern,
    left: u64,
    announced: bool,
}

impl PatternBody {
    /// Creates a body of `len` bytes with `content-length`.
    pub fn sized(seed: u64, len: u64) -> Self {
        Self { pattern: Pattern::new(seed, len), left: len, announced: true }
    }

    /// Creates a body of `len` bytes without `content-length`.
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

/// Records a response as completed when `complete` is called, else as cancelled on drop.
#[derive(Debug)]
pub(super) struct Completion {
    journal: Journal,
    open: bool,
}

impl Completion {
    pub(super) fn new(journal: Journal) -> Self {
        Self { journal, open: true }
    }

    pub(super) fn complete(&mut self) {
        if std::mem::take(&mut self.open) {
            self.journal.update(|record| record.completed += 1);
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if self.open {
            self.journal.update(|record| record.cancelled += 1);
        }
    }
}

/// A body that records its completion when its last frame is passed to the connection.
pub(super) struct TrackedBody {
    inner: Body,
    completion: Completion,
}

impl TrackedBody {
    pub(super) fn new(inner: Body, mut completion: Completion) -> Self {
        if inner.is_end_stream() {
            completion.complete();
        }
        Self { inner, completion }
    }
}

impl HttpBody for TrackedBody {
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
            self.completion.complete();
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
