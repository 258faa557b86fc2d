//! The session of a connection after TLS: HTTP/2 or HTTP/1.1.

use super::{
    http1::Http1,
    http2::Http2,
    protocol::{Protocol, SessionSettings},
};
use std::time::Instant;

/// The session of a connection.
pub(super) enum Session {
    Http2(Box<Http2>),
    Http1(Box<Http1>),
}

impl Session {
    /// Creates the session for the protocol that TLS has agreed on; HTTP/1.1 if there is none.
    pub(super) fn new(alpn: Option<&[u8]>, settings: &SessionSettings, now: Instant) -> Self {
        if alpn == Some(b"h2") {
            Self::Http2(Box::new(Http2::new(settings, now)))
        } else {
            Self::Http1(Box::new(Http1::new(settings)))
        }
    }

    pub(super) fn is_http2(&self) -> bool {
        matches!(self, Self::Http2(_))
    }

    pub(super) fn protocol(&self) -> &dyn Protocol {
        match self {
            Self::Http2(session) => &**session,
            Self::Http1(session) => &**session,
        }
    }

    pub(super) fn protocol_mut(&mut self) -> &mut dyn Protocol {
        match self {
            Self::Http2(session) => &mut **session,
            Self::Http1(session) => &mut **session,
        }
    }
}
