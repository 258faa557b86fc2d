//! HTTP/1.1 (RFC 9112) as state machines without I/O.
//!
//! [`Client`] is a connection to a backend, [`Server`] a connection of a client. `transport` and `edge` pass received bytes
//! to `recv`, call them for what the exchange wants, and write `output` to the socket. This module opens no socket and
//! reads no clock.
//!
//! `httparse` splits heads into lines; everything that decides where a message ends is in this module. Whatever two
//! implementations could read differently is an error. Every error ends the connection, because the position of the next
//! message is then unknown.

mod body;
mod chunked;
mod client;
mod piece;
mod section;
mod server;
mod status;
mod target;
mod websocket;
mod write;

#[cfg(test)]
mod tests;

use bytes::Bytes;

use crate::message::{
    Fields, Protocol, RequestHead, ResponseHead,
    check::{HeadLimits, RejectedRequest, RequestRules},
};

pub use client::Client;
pub use server::Server;

/// Limits on what a backend sends.
#[derive(Clone, Copy, Debug)]
pub struct ClientConfig {
    /// Largest head or trailer section accepted: names, values and 32 bytes for each field. The bytes of the section on
    /// the wire have the same limit. A larger one ends the response with [`Event::HeadersTooLarge`].
    pub max_section: usize,
    /// Random number from which the keys of upgrades to WebSocket are derived.
    pub seed: u64,
}

impl Default for ClientConfig {
    fn default() -> Self {
        Self { max_section: 65_536, seed: 0 }
    }
}

/// A result of [`Client::recv`]. `tag` is the value that the caller passed to [`Client::send_request`].
#[derive(Debug)]
pub enum Event {
    /// An interim response (1xx); a final response follows.
    Informational {
        /// The caller's value for the request.
        tag: u64,
        /// The interim head.
        head: ResponseHead,
    },
    /// The head of the final response.
    Head {
        /// The caller's value for the request.
        tag: u64,
        /// The head.
        head: ResponseHead,
        /// The response is complete.
        end: bool,
    },
    /// The connection is a tunnel now: 101 to an upgrade, whose status becomes 200 as in HTTP/2, or 2xx to CONNECT.
    /// [`Event::Data`] has the bytes that the backend sends in it.
    Upgraded {
        /// The caller's value for the request.
        tag: u64,
        /// The head.
        head: ResponseHead,
    },
    /// A part of the response body, or of a tunnel.
    Data {
        /// The caller's value for the request.
        tag: u64,
        /// The bytes; empty only with `end`.
        data: Bytes,
        /// The response is complete and has the announced length.
        end: bool,
    },
    /// Trailers. The response is complete.
    Trailers {
        /// The caller's value for the request.
        tag: u64,
        /// The trailer fields.
        fields: Fields,
    },
    /// The response is malformed. The caller must close the connection.
    Malformed {
        /// The caller's value for the request.
        tag: u64,
        /// Which rule the response violates.
        reason: &'static str,
    },
    /// The head or the trailers of the response exceed [`ClientConfig::max_section`]. The caller must close the
    /// connection.
    HeadersTooLarge {
        /// The caller's value for the request.
        tag: u64,
    },
    /// The request of which [`Client::send_data`] left bytes, or for which [`Client::want_send`] returned 0, can take
    /// more.
    Sendable {
        /// The caller's value for the request.
        tag: u64,
    },
}

/// An error that concerns no response. The caller must close the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionError {
    /// Bytes arrived before a request was sent, or after the end of its response. They would be read as the response to
    /// the next request.
    UnsolicitedBytes,
    /// The body of the request differs from the `content-length` that was sent.
    WrongRequestLength,
}

impl std::fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::UnsolicitedBytes => "bytes that belong to no response",
            Self::WrongRequestLength => "request body differs from its content-length",
        })
    }
}

impl std::error::Error for ConnectionError {}

/// Limits on what a client sends, and how requests are checked.
#[derive(Clone, Copy, Debug)]
pub struct ServerConfig {
    /// Limits on heads and trailers.
    pub limits: HeadLimits,
    /// The checks. With `extended_connect`, an upgrade to WebSocket becomes CONNECT with `:protocol`, as in HTTP/2 and
    /// HTTP/3; other upgrades are ordinary requests.
    pub rules: RequestRules,
    /// The scheme of requests whose target has none.
    pub scheme: Scheme,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { limits: HeadLimits::default(), rules: RequestRules::new(Protocol::Http1), scheme: Scheme::Https }
    }
}

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// With TLS.
    Https,
    /// Without TLS.
    Http,
}

impl Scheme {
    const fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Https => b"https",
            Self::Http => b"http",
        }
    }
}

/// A result of [`Server::recv`].
#[derive(Debug)]
pub enum ServerEvent {
    /// A request. The caller must answer it with [`Server::send_head`] before the next one is read.
    Request {
        /// The head.
        head: RequestHead,
        /// The request has no body. Always false for a tunnel.
        end: bool,
    },
    /// A request that must be answered with 400 or 431. [`Server::recv`] discards everything after it.
    Refused {
        /// The reason, and the fields if the head could be read.
        refusal: Box<RejectedRequest>,
    },
    /// A part of the request body, or of a tunnel.
    Data {
        /// The bytes; empty only with `end`.
        data: Bytes,
        /// The request is complete and has the announced length, or the client's side of the tunnel has ended.
        end: bool,
    },
    /// Trailers. The request is complete.
    Trailers {
        /// The trailer fields.
        fields: Fields,
    },
    /// The body or the trailers are malformed. The request is incomplete and everything after it is discarded; a response
    /// may still be sent.
    Malformed {
        /// Which rule they violate.
        reason: &'static str,
    },
    /// The client ended the connection in the body. A response may still be sent.
    Aborted,
    /// The response of which [`Server::send_data`] left bytes can take more.
    Sendable,
}

/// A response head that cannot be sent: it contains what cannot be written without changing its meaning, has no place in
/// the exchange, or contradicts its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHead;

impl std::fmt::Display for InvalidHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("response head that cannot be sent")
    }
}

impl std::error::Error for InvalidHead {}

/// Why [`Client::send_request`] sent nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendRequestError {
    /// The connection has a request, or takes no more.
    Busy,
    /// The head contains what cannot be written without changing its meaning.
    InvalidHead,
}
