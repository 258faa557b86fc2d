//! The server role: one request after the other on a connection of a client.
//!
//! `receive` reads what the client sends, `send` writes the responses.

mod receive;
mod send;

use super::{ServerConfig, body::BodyReader, section::Scan, websocket::Key, write::BodyWriter};
use crate::{WriteBuffer, message::Method};

/// State of the request.
#[derive(Debug)]
enum Request {
    /// Before a head, or in it.
    Head,
    Body(BodyReader),
    /// Complete. What follows stays in the input until the response is complete.
    Done,
    /// A request for a tunnel. What follows stays in the input until it is known whether it opens.
    AwaitsTunnel,
    Tunnel,
    /// Nothing more is read: input is discarded.
    Ended,
}

/// State of the response.
#[derive(Debug)]
enum Response {
    /// No request was received.
    None,
    /// Before the final head.
    Head,
    Body(BodyWriter),
    Done,
}

/// What the response depends on.
#[derive(Debug)]
struct Exchange {
    method: Method,
    /// The version of the request is 1.1, not 1.0.
    is_1_1: bool,
    /// The key of the request if it is an upgrade to WebSocket.
    upgrade: Option<Key>,
    accepts_trailers: bool,
    /// The client waits for a 100 response before it sends the body, if it sends it at all.
    awaits_continue: bool,
    /// The response opened a tunnel.
    is_tunnel: bool,
}

impl Default for Exchange {
    /// That of a request whose head cannot be read.
    fn default() -> Self {
        Self {
            method: Method::Get,
            is_1_1: true,
            upgrade: None,
            accepts_trailers: false,
            awaits_continue: false,
            is_tunnel: false,
        }
    }
}

/// A connection of an HTTP/1.1 client.
#[derive(Debug)]
pub struct Server {
    config: ServerConfig,
    request: Request,
    response: Response,
    exchange: Exchange,
    /// The connection takes another request after the current one.
    keeps_alive: bool,
    /// The client sends nothing more.
    eof: bool,
    /// An empty line before the head was skipped.
    skipped_line: bool,
    output: WriteBuffer,
    scan: Scan,
    /// The owner waits for space in the output.
    wants_send: bool,
}

impl Server {
    /// Creates a connection on which nothing was received.
    pub fn new(config: &ServerConfig) -> Self {
        Self {
            config: *config,
            request: Request::Head,
            response: Response::None,
            exchange: Exchange::default(),
            keeps_alive: true,
            eof: false,
            skipped_line: false,
            output: WriteBuffer::default(),
            scan: Scan::default(),
            wants_send: false,
        }
    }

    /// Changes limits and rules for the requests that follow.
    pub fn configure(&mut self, config: &ServerConfig) {
        self.config = *config;
    }

    /// Returns whether no request was received that is not answered completely. Bytes of the next one may have arrived.
    pub fn is_idle(&self) -> bool {
        matches!(self.response, Response::None)
    }

    /// Takes no request after the current one. The next response head says so. Without a request the connection
    /// [`Server::is_closing`] at once. `has_input` says whether there are unread bytes: the beginning of the last request.
    pub fn close_after_response(&mut self, has_input: bool) {
        self.keeps_alive = false;
        if self.is_idle() && !has_input {
            self.end();
        }
    }

    /// Returns whether nothing more is sent or read. The caller must close the connection once the output is sent. If the
    /// client still sends, it must read and discard for a time, so that the client gets the response before a reset (RFC
    /// 9112 9.6); [`Server::recv`] discards.
    pub fn is_closing(&self) -> bool {
        matches!((&self.request, &self.response), (Request::Ended, Response::None | Response::Done))
    }

    /// Returns whether the connection is, or was, a tunnel.
    pub fn is_tunnel(&self) -> bool {
        self.exchange.is_tunnel
    }

    /// Returns whether the owner must shut down the writing side of the socket once the output is sent: its side of the
    /// tunnel has ended.
    pub fn wants_shutdown(&self) -> bool {
        matches!((&self.request, &self.response), (Request::Tunnel, Response::Done))
    }

    /// Returns the bytes to write to the socket. After a write that emptied it the caller must call [`Server::recv`]
    /// again, even without input, because the response may have waited for space in it.
    pub fn output(&mut self) -> &mut WriteBuffer {
        &mut self.output
    }

    /// Stops to wait for the rest of a request head, which must then be answered as if it were
    /// [`crate::h1::ServerEvent::Refused`]. Does nothing if a request was received.
    pub fn refuse_incomplete(&mut self) {
        if self.is_idle() && matches!(self.request, Request::Head) {
            self.end();
            self.response = Response::Head;
        }
    }

    /// Stops to read and to write. What was queued may be sent; the response stays incomplete.
    pub fn abort(&mut self) {
        self.end();
        self.response = Response::Done;
    }

    /// Stops to read.
    fn end(&mut self) {
        self.keeps_alive = false;
        self.request = Request::Ended;
    }
}
