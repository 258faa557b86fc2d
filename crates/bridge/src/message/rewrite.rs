//! Rewriting of requests for backends and of responses for clients, after the checks and before the encoders.
//!
//! The exchange calls [`to_backend`] once for a request, [`retarget`] for each attempt, [`to_client`] for each response
//! head, [`request_trailers`] and [`response_trailers`] for trailers.

use super::{
    Field, Fields, Known, Method, Name, Protocol, RequestHead, ResponseHead,
    forwarded::{self, ForwardedClient, ForwardedMode, Present},
    hop_by_hop::{ConnectionOptions, accepts_trailers, is_hop_by_hop},
    name::folds_to,
    reserved::{is_alias, is_reserved},
    trace::TraceContext,
};

/// Input of [`to_backend`] besides the request.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// The client's protocol.
    pub protocol: Protocol,
    /// Address of the client and port of the listener.
    pub client: &'a ForwardedClient,
    /// How forwarding fields of the client are treated.
    pub forwarded: ForwardedMode,
    /// A new request id; `None` to keep the client's (see [`super::request_id::accepted`]).
    pub request_id: Option<&'a [u8]>,
    /// The request arrived in early data (RFC 8470 5.1).
    pub is_early: bool,
    /// The field for the subject of the client's certificate.
    pub subject: Option<ClientSubject<'a>>,
}

/// The subject of a client certificate, as a request field for the backend.
#[derive(Clone, Copy, Debug)]
pub struct ClientSubject<'a> {
    /// The field name, in lower case. The client's own fields of that name are removed, also if they have `_` for `-`.
    pub header: &'a [u8],
    /// The verified subject, if there is one.
    pub value: Option<&'a [u8]>,
}

/// Rewrites a client's request for a backend, except for `:scheme` and `:authority`, which [`retarget`] sets. Replaces
/// `host` by `:authority`.
pub fn to_backend(head: &mut RequestHead, context: &RequestContext<'_>) {
    let is_tunnel = head.method == Method::Connect;
    let fields = &mut head.fields;
    if !fields.contains(Known::Authority) {
        let host = fields.first(Known::Host).unwrap_or_default().to_vec();
        fields.prepend(Known::Authority, &host);
    }
    let mut scan = FieldScan { is_tunnel, ..FieldScan::default() };
    // HTTP/2 and HTTP/3 messages with a `connection` field are malformed.
    let options = match context.protocol {
        Protocol::Http1 => ConnectionOptions::from_fields(fields, context.subject.map(|subject| subject.header)),
        Protocol::Http2 | Protocol::Http3 => ConnectionOptions::default(),
    };
    // A field that `connection` removes does not count as present, so Spooky adds its own.
    fields.retain(|field| !options.contains(&field) && scan.retains(&field, context));
    shorten_length(fields, head.content_length);
    if scan.traceparents != 1 {
        fields.remove(Known::Traceparent);
        fields.remove(Known::Tracestate);
    }
    if scan.cookies > 1 {
        fields.join(Known::Cookie, b"; ", &[]);
    }
    forwarded::add(fields, context.client, context.forwarded, scan.present);
    add_via(fields, context.protocol, scan.has_via);
    if scan.has_te_trailers {
        fields.push(Known::Te, b"trailers");
    }
    if let Some(id) = context.request_id {
        fields.push(Known::XRequestId, id);
    }
    if context.is_early {
        fields.push(Known::EarlyData, b"1");
    }
    if let Some(ClientSubject { header, value: Some(subject) }) = context.subject {
        fields.push(Name::from_bytes(header), subject);
    }
}

/// Sets the scheme of the transport and, unless the client's stays, the authority. Called for each attempt.
pub fn retarget(head: &mut RequestHead, scheme: &[u8], authority: Option<&[u8]>) {
    if head.fields.first(Known::Scheme).is_some_and(|before| before != scheme) {
        head.fields.set(Known::Scheme, &[scheme]);
    }
    if let Some(authority) = authority {
        head.fields.set(Known::Authority, &[authority]);
    }
}

/// Sets the trace context that the backend gets. Called for each attempt, which has a span of its own.
pub fn set_trace(head: &mut RequestHead, context: TraceContext) {
    head.fields.set(Known::Traceparent, &[&context.to_bytes()]);
}

/// Input of [`to_client`] besides the response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseContext<'a> {
    /// The backend's protocol.
    pub protocol: Protocol,
    /// Method of the request.
    pub method: Method,
    /// The value of `alt-svc` for this response, if any.
    pub alt_svc: Option<&'a [u8]>,
}

/// Rewrites a backend's response head for the client.
pub fn to_client(head: &mut ResponseHead, context: &ResponseContext<'_>) {
    // These have no body, or a tunnel in its place, and must not have a length (RFC 9110 8.6). Clients that obey it
    // lose the framing of what follows.
    let opens_tunnel = head.opens_tunnel(context.method);
    let has_no_length = head.is_interim() || head.status == 204 || opens_tunnel;
    if has_no_length {
        head.content_length = None;
    }
    let fields = &mut head.fields;
    let options = match context.protocol {
        Protocol::Http1 => ConnectionOptions::from_fields(fields, None),
        Protocol::Http2 | Protocol::Http3 => ConnectionOptions::default(),
    };
    let (mut has_length, mut has_via) = (has_no_length, false);
    fields.retain(|field| {
        if options.contains(&field) {
            return false;
        }
        match field.name {
            Name::Known(Known::AltSvc) => false,
            Name::Known(Known::SecWebsocketAccept) => !opens_tunnel,
            Name::Known(Known::Via) => {
                has_via = true;
                true
            }
            Name::Known(Known::ContentLength) => !std::mem::replace(&mut has_length, true),
            Name::Known(known) => !is_hop_by_hop(known),
            Name::Other(_) => true,
        }
    });
    shorten_length(fields, head.content_length);
    add_via(fields, context.protocol, has_via);
    if let Some(alt_svc) = context.alt_svc {
        fields.push(Known::AltSvc, alt_svc);
    }
}

/// Removes from request trailers the fields that Spooky controls, among them those of framing and routing (RFC 9110
/// 6.5.1), and the field `subject_header` with the subject of a client certificate ([`ClientSubject::header`]). If no
/// field is left, the message ends without trailers.
pub fn request_trailers(fields: &mut Fields, subject_header: Option<&[u8]>) {
    fields.retain(|field| match field.name {
        _ if subject_header.is_some_and(|header| folds_to(field.name.as_bytes(), header)) => false,
        Name::Known(known) => !is_reserved(known),
        Name::Other(name) => !is_alias(name),
    });
}

/// Removes hop-by-hop fields, `content-length` and `alt-svc` from response trailers. If no field is left, the message
/// ends without trailers.
pub fn response_trailers(fields: &mut Fields) {
    fields.retain(|field| match field.name {
        Name::Known(Known::ContentLength | Known::AltSvc) => false,
        Name::Known(known) => !is_hop_by_hop(known),
        Name::Other(_) => true,
    });
}

/// Results of the single pass over a request's fields.
#[derive(Default)]
struct FieldScan {
    present: Present,
    cookies: usize,
    /// Number of valid ones; an invalid one counts as two, so that all are removed.
    traceparents: usize,
    has_te_trailers: bool,
    is_tunnel: bool,
    has_length: bool,
    has_via: bool,
}

impl FieldScan {
    /// Notes a field and returns whether it is kept.
    fn retains(&mut self, field: &Field<'_>, context: &RequestContext<'_>) -> bool {
        let is_subject = |subject: ClientSubject<'_>| folds_to(field.name.as_bytes(), subject.header);
        if context.subject.is_some_and(is_subject) {
            return false;
        }
        let known = match field.name {
            Name::Known(known) => known,
            Name::Other(name) => return !is_alias(name),
        };
        match known {
            Known::Te => {
                self.has_te_trailers |= accepts_trailers(field.value);
                false
            }
            Known::Host | Known::EarlyData => false,
            // Part of the handshake of one HTTP/1.1 connection (RFC 8441 5); `h1` makes its own.
            Known::SecWebsocketKey if self.is_tunnel => false,
            Known::XRequestId => context.request_id.is_none(),
            Known::XRealIp => context.forwarded != ForwardedMode::Overwrite,
            // A tunnel has no length, whatever the client sends.
            Known::ContentLength => !self.is_tunnel && !std::mem::replace(&mut self.has_length, true),
            Known::Cookie => {
                self.cookies += 1;
                true
            }
            Known::Traceparent => {
                self.traceparents += if TraceContext::parse(field.value).is_some() { 1 } else { 2 };
                true
            }
            Known::Via => {
                self.has_via = true;
                true
            }
            _ if is_hop_by_hop(known) => false,
            _ if context.forwarded == ForwardedMode::Overwrite => !Present::default().mark(known),
            _ => {
                self.present.mark(known);
                true
            }
        }
    }
}

/// Removes leading zeros of `content-length`, because some recipients read a number with them as octal.
fn shorten_length(fields: &mut Fields, length: Option<u64>) {
    let is_long = fields.first(Known::ContentLength).is_some_and(|digits| digits.len() > 1 && digits.starts_with(b"0"));
    if let Some(length) = length.filter(|_| is_long) {
        fields.set(Known::ContentLength, &[length.to_string().as_bytes()]);
    }
}

fn add_via(fields: &mut Fields, protocol: Protocol, has_via: bool) {
    let element: &[u8] = match protocol {
        Protocol::Http1 => b"1.1 spooky",
        Protocol::Http2 => b"2.0 spooky",
        Protocol::Http3 => b"3.0 spooky",
    };
    if has_via {
        fields.join(Known::Via, b", ", &[element]);
    } else {
        fields.push(Known::Via, element);
    }
}

#[cfg(test)]
mod tests;
