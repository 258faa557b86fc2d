//! The redirect listener: answers every request over cleartext HTTP with 308 to `https`, and does nothing else.
//!
//! Requests never reach an exchange: they have no route and no limits, and are not counted.

use crate::clock::Clock;
use bytes::Bytes;
use spooky_bridge::message::{Fields, Known, Method, RequestHead, ResponseHead};
use spooky_edge::{Body, Event, EventKind, StreamRef, TcpEdge};
use spooky_lb::outcome::Reason;

/// The port of `https`, which a URL does not name.
const HTTPS: u16 = 443;
const PERMANENT_REDIRECT: u16 = 308;

/// Answers the events of a redirect listener. `port` is that of the HTTPS listener.
pub(crate) fn serve(edge: &mut TcpEdge, port: u16, clock: &Clock) {
    while let Some(Event { stream, kind, .. }) = edge.next_event() {
        match kind {
            EventKind::Request { head, .. } => match location(&head, port) {
                Some(location) => redirect(edge, stream, &location, clock),
                None => refuse(edge, stream, Reason::InvalidAuthority, clock),
            },
            EventKind::Refused { .. } => refuse(edge, stream, Reason::MalformedRequest, clock),
            EventKind::TimedOut { .. } => refuse(edge, stream, Reason::HeadTimeout, clock),
            EventKind::Malformed { .. }
            | EventKind::Readable
            | EventKind::Accepted(_)
            | EventKind::Sent
            | EventKind::Aborted(_) => {}
        }
    }
}

/// Returns the target of the redirect: host, path and query as the client sent them. `None` if the request has no host, or
/// asks for a tunnel.
fn location(head: &RequestHead, port: u16) -> Option<Vec<u8>> {
    let host = without_port(head.authority());
    if host.is_empty() || head.method == Method::Connect {
        return None;
    }
    let mut location = [b"https://", host].concat();
    if port != HTTPS {
        location.extend_from_slice(format!(":{port}").as_bytes());
    }
    // OPTIONS for the whole server has the target `*`.
    location.extend_from_slice(if head.path().starts_with(b"/") { head.path() } else { b"/" });
    Some(location)
}

/// Returns the host of an authority as a URL has it: an IPv6 address keeps its brackets.
fn without_port(authority: &[u8]) -> &[u8] {
    let end = match authority.iter().rposition(|byte| matches!(byte, b':' | b']')) {
        Some(at) if authority.get(at) == Some(&b':') => at,
        _ => authority.len(),
    };
    authority.get(..end).unwrap_or_default()
}

fn redirect(edge: &mut TcpEdge, stream: StreamRef, location: &[u8], clock: &Clock) {
    let mut fields = Fields::new();
    fields.push(Known::Location, location);
    respond(edge, stream, PERMANENT_REDIRECT, fields, "", clock);
}

fn refuse(edge: &mut TcpEdge, stream: StreamRef, reason: Reason, clock: &Clock) {
    let mut fields = Fields::new();
    fields.push(Known::ContentType, b"text/plain");
    respond(edge, stream, reason.row().status, fields, reason.text(), clock);
}

fn respond(edge: &mut TcpEdge, stream: StreamRef, status: u16, mut fields: Fields, text: &str, clock: &Clock) {
    let body = if text.is_empty() { String::new() } else { format!("{text}\n") };
    fields.push(Known::ContentLength, body.len().to_string().as_bytes());
    fields.push(Known::Date, clock.http_date());
    let length = body.len() as u64;
    let head = ResponseHead { status, fields, content_length: Some(length) };
    edge.respond(stream, &head, if length == 0 { Body::None } else { Body::Known(length) }, false);
    edge.send_body(stream, Bytes::from(body));
    edge.finish(stream, None);
}

#[cfg(test)]
mod tests {
    use super::*;
    use spooky_bridge::message::Name;

    fn head(method: &str, authority: &str, path: &str) -> RequestHead {
        let mut fields = Fields::new();
        for (name, value) in [(":method", method), (":authority", authority), (":path", path)] {
            fields.push(Name::from_bytes(name.as_bytes()), value.as_bytes());
        }
        RequestHead { fields, method: Method::from_bytes(method.as_bytes()), content_length: None }
    }

    #[test]
    fn the_target_is_what_was_asked_for_over_https() {
        for (authority, path, port, target) in [
            ("a.example", "/", 443, "https://a.example/"),
            ("a.example:80", "/x?y=1", 443, "https://a.example/x?y=1"),
            ("a.example:8080", "//b/%2e", 9889, "https://a.example:9889//b/%2e"),
            ("192.0.2.1", "*", 443, "https://192.0.2.1/"),
            ("[2001:db8::1]", "/", 443, "https://[2001:db8::1]/"),
            ("[2001:db8::1]:80", "/", 9889, "https://[2001:db8::1]:9889/"),
        ] {
            let found = location(&head("OPTIONS", authority, path), port);
            assert_eq!(found.as_deref(), Some(target.as_bytes()));
        }
    }

    #[test]
    fn without_a_host_there_is_no_target() {
        assert_eq!(location(&head("GET", "", "/"), 443), None);
        assert_eq!(location(&head("CONNECT", "a.example:443", ""), 443), None);
    }
}
