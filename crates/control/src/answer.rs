//! Builds responses.

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS},
};
use http_body_util::Full;
use serde::Serialize;

pub(crate) type Answer = Response<Full<Bytes>>;

/// The body of a refusal.
#[derive(Serialize)]
struct Refusal<'a> {
    error: &'a str,
}

pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Answer {
    // Serializing the types of `model` cannot fail.
    let mut value = serde_json::to_value(body).unwrap_or_default();
    // Keys are in alphabetical order, also if another crate makes maps keep the order of insertion.
    value.sort_all_objects();
    let text = value.to_string() + "\n";
    body_of(status, "application/json", text)
}

/// A refusal with a reason.
pub(crate) fn refusal(status: StatusCode, error: &str) -> Answer {
    json(status, &Refusal { error })
}

pub(crate) fn unauthorized() -> Answer {
    with_field(refusal(StatusCode::UNAUTHORIZED, "unauthorized"), WWW_AUTHENTICATE, "Bearer")
}

pub(crate) fn not_found() -> Answer {
    body_of(StatusCode::NOT_FOUND, "text/plain; charset=utf-8", "not found\n".to_owned())
}

pub(crate) fn method_not_allowed(allow: &'static str) -> Answer {
    with_field(refusal(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"), ALLOW, allow)
}

pub(crate) fn body_of(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(body.into()));
    *answer.status_mut() = status;
    let answer = with_field(answer, CONTENT_TYPE, content_type);
    let answer = with_field(answer, X_CONTENT_TYPE_OPTIONS, "nosniff");
    with_field(answer, CACHE_CONTROL, "no-store")
}

pub(crate) fn with_field(mut answer: Answer, name: HeaderName, value: &'static str) -> Answer {
    answer.headers_mut().insert(name, HeaderValue::from_static(value));
    answer
}
