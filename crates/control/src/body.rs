//! Reads the body of a request: at most 64 KiB, in at most ten seconds.

use crate::answer::{Answer, refusal};
use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use std::time::Duration;
use tokio::time::timeout;

pub(crate) const MAX_BYTES: usize = 64 * 1024;
/// Time for the whole body.
const LONGEST: Duration = Duration::from_secs(10);

/// Returns the whole body, or the answer that refuses it.
pub(crate) async fn read(body: Incoming) -> Result<Bytes, Answer> {
    // Refused before the client sends it.
    if body.size_hint().lower() > MAX_BYTES as u64 {
        return Err(too_large());
    }
    match timeout(LONGEST, Limited::new(body, MAX_BYTES).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large()),
        Ok(Err(_)) => Err(refusal(StatusCode::BAD_REQUEST, "request body cannot be read")),
        Err(_elapsed) => Err(refusal(StatusCode::REQUEST_TIMEOUT, "request body timeout")),
    }
}

fn too_large() -> Answer {
    refusal(StatusCode::PAYLOAD_TOO_LARGE, "request body too large")
}
