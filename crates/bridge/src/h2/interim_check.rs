//! Response heads and body lengths.
use crate::message::{Fields, Known, Method, ResponseHead};

#[derive(Debug)]
pub(super) struct BodyLength {
    left: Option<u64>,
}
impl BodyLength {
    pub(super) fn of_response(head: &ResponseHead, method: Method) -> Self {
        if method == Method::Connect && head.status / 100 == 2 {
            return Self { left: None };
        }
        if head.has_body(method) { Self { left: head.content_length } } else { Self { left: Some(0) } }
    }
    pub(super) fn take(&mut self, n: u64) -> Result<(), &'static str> {
        if let Some(left) = &mut self.left {
            *left = left.checked_sub(n).ok_or("body longer than its content-length")?;
        }
        Ok(())
    }
    pub(super) fn finish(&self) -> Result<(), &'static str> {
        if self.left.is_some_and(|left| left > 0) { Err("body shorter than its content-length") } else { Ok(()) }
    }
}
pub(super) fn response(mut fields: Fields) -> Result<ResponseHead, &'static str> {
    let status = fields
        .first(Known::Status)
        .and_then(|s| std::str::from_utf8(s).ok())
        .and_then(|s| s.parse().ok())
        .ok_or("status")?;
    let content_length = match fields.first(Known::ContentLength) {
        None => None,
        Some(v) => Some(std::str::from_utf8(v).ok().and_then(|s| s.parse().ok()).ok_or("content-length")?),
    };
    fields.remove(Known::Status);
    Ok(ResponseHead { status, fields, content_length })
}
pub(super) fn trailers(fields: &Fields) -> Result<(), &'static str> {
    if fields.iter().any(|f| f.name.is_pseudo()) { Err("pseudo-header in trailers") } else { Ok(()) }
}
