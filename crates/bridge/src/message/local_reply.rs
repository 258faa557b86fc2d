//! Local replies: responses that Spooky generates itself, as text or in the form that gRPC clients understand.

use super::{Fields, Known, ResponseHead, forwarded::escape};
use bytes::Bytes;

/// The content of a local reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalReply<'a> {
    /// The status.
    pub status: u16,
    /// The body, without its final newline.
    pub text: &'a str,
    /// The error type of `proxy-status` (RFC 9209 2.3).
    pub error: &'a str,
    /// The details of `proxy-status`.
    pub details: &'a str,
    /// Seconds for `retry-after`.
    pub retry_after: Option<u32>,
    /// Methods for `allow`.
    pub allow: Option<&'a str>,
}

/// The properties of the request that a local reply depends on.
#[derive(Clone, Copy, Debug)]
pub struct LocalReplyContext<'a> {
    /// The current time in the format of `date`.
    pub date: &'a [u8],
    /// The id of the request.
    pub request_id: &'a [u8],
    /// The method is HEAD.
    pub is_head: bool,
    /// The request is gRPC, see [`is_grpc`].
    pub is_grpc: bool,
}

/// Returns head and body of a local reply.
pub fn build(reply: &LocalReply<'_>, context: &LocalReplyContext<'_>) -> (ResponseHead, Bytes) {
    let mut head = ResponseHead::new(if context.is_grpc { 200 } else { reply.status });
    let mut body = Bytes::new();
    let fields = &mut head.fields;
    if context.is_grpc {
        fields.push(Known::ContentType, b"application/grpc");
        fields.push(Known::GrpcStatus, grpc_status(reply).as_bytes());
        fields.push(Known::GrpcMessage, &percent_encode(reply.text));
    } else {
        let length = reply.text.len() + 1;
        fields.push(Known::ContentType, b"text/plain");
        fields.push(Known::ContentLength, length.to_string().as_bytes());
        head.content_length = Some(length as u64);
        if !context.is_head {
            body = [reply.text, "\n"].concat().into();
        }
    }
    fields.push(Known::Date, context.date);
    fields.push(Known::XRequestId, context.request_id);
    let escaped = escape(reply.details.as_bytes());
    let details = escaped.as_deref().unwrap_or(reply.details.as_bytes());
    let error = reply.error.as_bytes();
    fields.push_parts(Known::ProxyStatus, &[b"spooky; error=", error, b"; details=\"", details, b"\""]);
    if let Some(allow) = reply.allow {
        fields.push(Known::Allow, allow.as_bytes());
    }
    if let Some(seconds) = reply.retry_after {
        fields.push(Known::RetryAfter, seconds.to_string().as_bytes());
    }
    (head, body)
}

/// Returns whether a request with these fields is gRPC.
pub fn is_grpc(fields: &Fields) -> bool {
    fields.first(Known::ContentType).is_some_and(|value| value.starts_with(b"application/grpc"))
}

/// Maps the HTTP status to a gRPC status.
fn grpc_status(reply: &LocalReply<'_>) -> &'static str {
    const DEADLINE_EXCEEDED: &str = "4";
    const PERMISSION_DENIED: &str = "7";
    const RESOURCE_EXHAUSTED: &str = "8";
    const UNIMPLEMENTED: &str = "12";
    const INTERNAL: &str = "13";
    const UNAVAILABLE: &str = "14";
    match reply.status {
        _ if reply.error == "http_response_timeout" => DEADLINE_EXCEEDED,
        408 | 504 => DEADLINE_EXCEEDED,
        403 => PERMISSION_DENIED,
        404 | 405 => UNIMPLEMENTED,
        413 | 431 => RESOURCE_EXHAUSTED,
        421 | 425 | 502 | 503 => UNAVAILABLE,
        _ => INTERNAL,
    }
}

/// Encodes `grpc-message`: percent-encodes all bytes but printable ASCII, and the percent sign itself.
fn percent_encode(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            out.push(byte);
        } else {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context() -> LocalReplyContext<'static> {
        LocalReplyContext {
            date: b"Sun, 06 Nov 1994 08:49:37 GMT",
            request_id: b"id-1",
            is_head: false,
            is_grpc: false,
        }
    }

    fn shed() -> LocalReply<'static> {
        LocalReply {
            status: 503,
            text: "overloaded, retry later",
            error: "connection_limit_reached",
            details: "global_inflight",
            retry_after: Some(1),
            allow: None,
        }
    }

    fn lines(head: &ResponseHead) -> Vec<String> {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        head.fields.iter().map(|field| text(field.name.as_bytes()) + ": " + &text(field.value)).collect()
    }

    #[test]
    fn a_plain_text_reply() {
        let (head, body) = build(&shed(), &context());
        assert_eq!((head.status, head.content_length), (503, Some(24)));
        assert_eq!(body, "overloaded, retry later\n");
        let expected = [
            "content-type: text/plain",
            "content-length: 24",
            "date: Sun, 06 Nov 1994 08:49:37 GMT",
            "x-request-id: id-1",
            "proxy-status: spooky; error=connection_limit_reached; details=\"global_inflight\"",
            "retry-after: 1",
        ];
        assert_eq!(lines(&head), expected);
    }

    #[test]
    fn head_has_the_length_and_no_body() {
        let (head, body) = build(&shed(), &LocalReplyContext { is_head: true, ..context() });
        assert_eq!(head.content_length, Some(24));
        assert!(body.is_empty());
    }

    #[test]
    fn allow_and_escaped_details() {
        let (head, _) = build(&LocalReply { allow: Some("GET, HEAD"), details: "a\"b\\", ..shed() }, &context());
        let lines = lines(&head);
        assert!(lines.contains(&"allow: GET, HEAD".to_owned()));
        assert!(
            lines.contains(&r#"proxy-status: spooky; error=connection_limit_reached; details="a\"b\\""#.to_owned())
        );
    }

    #[test]
    fn grpc_clients_get_a_status_of_their_own() {
        let grpc = LocalReplyContext { is_grpc: true, ..context() };
        let (head, body) = build(&LocalReply { text: "100 % \n", ..shed() }, &grpc);
        assert_eq!((head.status, head.content_length, body.len()), (200, None, 0));
        let lines = lines(&head);
        assert!(lines.starts_with(
            &["content-type: application/grpc", "grpc-status: 14", "grpc-message: 100 %25 %0A"].map(str::to_owned)
        ));
        let statuses = [
            (400, "13"),
            (403, "7"),
            (404, "12"),
            (405, "12"),
            (408, "4"),
            (413, "8"),
            (421, "14"),
            (425, "14"),
            (431, "8"),
            (500, "13"),
            (502, "14"),
            (503, "14"),
            (504, "4"),
        ];
        for (status, code) in statuses {
            assert_eq!(grpc_status(&LocalReply { status, ..shed() }), code, "{status}");
        }
        assert_eq!(grpc_status(&LocalReply { error: "http_response_timeout", ..shed() }), "4");
        let mut fields = Fields::new();
        assert!(!is_grpc(&fields));
        fields.push(Known::ContentType, b"application/grpc+proto");
        assert!(is_grpc(&fields));
    }
}
