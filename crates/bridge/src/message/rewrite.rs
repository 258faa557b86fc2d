//! What changes on a message on its way through: everything between the checks and the encoders, in both directions.
//!
//! The exchange calls [`to_backend`] once for a request, [`retarget`] for each attempt, [`to_client`] for each response
//! head, [`request_trailers`] and [`response_trailers`] for trailers.

use super::{
    Field, Fields, Known, Method, Name, Protocol, RequestHead, ResponseHead,
    forwarded::{self, Client, ForwardedMode, Present},
    hop::{Named, accepts_trailers, is_hop_by_hop},
    name::folds_to,
    reserved::{is_alias, is_reserved},
    trace::is_traceparent,
};

/// What a request's fields depend on besides the request.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    /// What the client speaks.
    pub protocol: Protocol,
    /// Who it is and which listener it came to.
    pub client: &'a Client,
    /// What becomes of its forwarding fields.
    pub forwarded: ForwardedMode,
    /// A new request id; `None` if the client's is kept (see [`super::request_id::accepted`]).
    pub request_id: Option<&'a [u8]>,
    /// The request came in early data (RFC 8470 5.1).
    pub is_early: bool,
    /// The field that carries the subject of the client's certificate.
    pub subject: Option<Subject<'a>>,
}

/// The subject of a client certificate on its way to the backend.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The name of the field, in lower case. The client's own fields of that name are removed, also if they have `_` for `-`.
    pub header: &'a [u8],
    /// The verified subject, if there is one.
    pub value: Option<&'a [u8]>,
}

/// Makes of a client's request what is sent to a backend, `:scheme` and `:authority` apart, for which [`retarget`] is.
/// `host` is gone afterwards; `:authority` is there.
pub fn to_backend(head: &mut RequestHead, context: &RequestContext<'_>) {
    let is_tunnel = head.method == Method::Connect;
    let fields = &mut head.fields;
    if !fields.contains(Known::Authority) {
        let host = fields.first(Known::Host).unwrap_or_default().to_vec();
        fields.prepend(Known::Authority, &host);
    }
    let mut kept = Kept { is_tunnel, ..Kept::default() };
    // HTTP/2 and HTTP/3 messages with a `connection` field are malformed.
    let named = match context.protocol {
        Protocol::Http1 => Named::by_connection(fields, context.subject.map(|subject| subject.header)),
        Protocol::Http2 | Protocol::Http3 => Named::default(),
    };
    // A field that `connection` removes is not noted, so that Spooky writes its own in its place.
    fields.retain(|field| !named.contains(&field) && kept.note(&field, context));
    if kept.traceparents != 1 {
        fields.remove(Known::Traceparent);
        fields.remove(Known::Tracestate);
    }
    if kept.cookies > 1 {
        fields.join(Known::Cookie, b"; ", &[]);
    }
    forwarded::add(fields, context.client, context.forwarded, kept.present);
    add_via(fields, context.protocol, kept.has_via);
    if kept.has_te_trailers {
        fields.push(Known::Te, b"trailers");
    }
    if let Some(id) = context.request_id {
        fields.push(Known::XRequestId, id);
    }
    if context.is_early {
        fields.push(Known::EarlyData, b"1");
    }
    if let Some(Subject { header, value: Some(subject) }) = context.subject {
        fields.push(Name::from_bytes(header), subject);
    }
}

/// Directs a request to a backend: the scheme of the transport, and the authority unless it stays the client's. To be
/// called for each attempt.
pub fn retarget(head: &mut RequestHead, scheme: &[u8], authority: Option<&[u8]>) {
    if head.fields.first(Known::Scheme).is_some_and(|before| before != scheme) {
        head.fields.set(Known::Scheme, &[scheme]);
    }
    if let Some(authority) = authority {
        head.fields.set(Known::Authority, &[authority]);
    }
}

/// What a response's fields depend on besides the response.
#[derive(Clone, Copy, Debug)]
pub struct ResponseContext<'a> {
    /// What the backend speaks.
    pub protocol: Protocol,
    /// Method of the request.
    pub method: Method,
    /// The value of `alt-svc`, if this response carries one.
    pub alt_svc: Option<&'a [u8]>,
}

/// Makes of a backend's response head what is sent to the client.
pub fn to_client(head: &mut ResponseHead, context: &ResponseContext<'_>) {
    // These have no body, or a tunnel in its place: a length would be wrong (RFC 9110 8.6), and clients that act on it lose
    // the framing of what follows.
    let has_no_length = head.is_interim() || head.status == 204 || head.opens_tunnel(context.method);
    if has_no_length {
        head.content_length = None;
    }
    let fields = &mut head.fields;
    let named = match context.protocol {
        Protocol::Http1 => Named::by_connection(fields, None),
        Protocol::Http2 | Protocol::Http3 => Named::default(),
    };
    let (mut has_length, mut has_via) = (has_no_length, false);
    fields.retain(|field| {
        if named.contains(&field) {
            return false;
        }
        match field.name {
            Name::Known(Known::AltSvc) => false,
            Name::Known(Known::Via) => {
                has_via = true;
                true
            }
            Name::Known(Known::ContentLength) => !std::mem::replace(&mut has_length, true),
            Name::Known(known) => !is_hop_by_hop(known),
            Name::Other(_) => true,
        }
    });
    add_via(fields, context.protocol, has_via);
    if let Some(alt_svc) = context.alt_svc {
        fields.push(Known::AltSvc, alt_svc);
    }
}

/// Removes from the trailers of a request what reaches a backend only as Spooky lets it, fields of framing and routing among
/// them (RFC 9110 6.5.1), and the field `subject_header` that carries the subject of a client certificate
/// ([`Subject::header`]). What is left may be nothing: then the message ends without trailers.
pub fn request_trailers(fields: &mut Fields, subject_header: Option<&[u8]>) {
    fields.retain(|field| match field.name {
        _ if subject_header.is_some_and(|header| folds_to(field.name.as_bytes(), header)) => false,
        Name::Known(known) => !is_reserved(known),
        Name::Other(name) => !is_alias(name),
    });
}

/// Removes from the trailers of a response the fields of one connection, of framing, and `alt-svc`. What is left may be
/// nothing: then the message ends without trailers.
pub fn response_trailers(fields: &mut Fields) {
    fields.retain(|field| match field.name {
        Name::Known(Known::ContentLength | Known::AltSvc) => false,
        Name::Known(known) => !is_hop_by_hop(known),
        Name::Other(_) => true,
    });
}

/// What was found in the one pass over a request's fields.
#[derive(Default)]
struct Kept {
    present: Present,
    cookies: usize,
    /// Valid ones; an invalid one counts as two, so that none is kept.
    traceparents: usize,
    has_te_trailers: bool,
    is_tunnel: bool,
    has_length: bool,
    has_via: bool,
}

impl Kept {
    /// Whether a field is kept.
    fn note(&mut self, field: &Field<'_>, context: &RequestContext<'_>) -> bool {
        let is_subject = |subject: Subject<'_>| folds_to(field.name.as_bytes(), subject.header);
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
            Known::XRequestId => context.request_id.is_none(),
            Known::XRealIp => context.forwarded != ForwardedMode::Overwrite,
            // A tunnel has no length, whatever the client says.
            Known::ContentLength => !self.is_tunnel && !std::mem::replace(&mut self.has_length, true),
            Known::Cookie => {
                self.cookies += 1;
                true
            }
            Known::Traceparent => {
                self.traceparents += if is_traceparent(field.value) { 1 } else { 2 };
                true
            }
            Known::Via => {
                self.has_via = true;
                true
            }
            _ if is_hop_by_hop(known) => false,
            _ if context.forwarded == ForwardedMode::Overwrite => !Present::default().note(known),
            _ => {
                self.present.note(known);
                true
            }
        }
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
