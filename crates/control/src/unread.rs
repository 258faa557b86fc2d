//! Bounds the memory of responses that clients do not read.

use crate::answer::{Answer, refusal};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, Full};
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum size of all responses of an endpoint that are not written yet.
const MAX_UNREAD: usize = 64 * 1024 * 1024;

/// What responses may still occupy.
pub(crate) struct Unread(Arc<Semaphore>);

/// A body, and what it occupies until it is written.
struct Counted {
    body: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Default for Unread {
    fn default() -> Self {
        Self::up_to(MAX_UNREAD)
    }
}

impl Unread {
    fn up_to(bytes: usize) -> Self {
        Self(Arc::new(Semaphore::new(bytes)))
    }

    /// Counts a response until it is written. Returns a refusal instead if too many wait for their readers.
    pub(crate) async fn count(&self, answer: Answer) -> Answer {
        let (head, body) = answer.into_parts();
        // A full body is complete.
        let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        match self.0.clone().try_acquire_many_owned(length) {
            Ok(permit) => {
                let counted = Bytes::from_owner(Counted { body, _permit: permit });
                Answer::from_parts(head, Full::new(counted))
            }
            Err(_) => refusal(StatusCode::SERVICE_UNAVAILABLE, "too many responses are not read"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn body(answer: Answer) -> Bytes {
        answer.into_body().collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn what_is_not_written_counts() {
        let unread = Unread::up_to(10);
        let answer = || Answer::new(Full::new(Bytes::from_static(b"123456")));
        let first = unread.count(answer()).await;
        assert_eq!(unread.count(answer()).await.status(), 503);
        let written = body(first).await;
        assert_eq!(&written[..], b"123456");
        drop(written);
        assert_eq!(unread.count(answer()).await.status(), 200);
    }
}
