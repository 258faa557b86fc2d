//! The client role: one request at a time on a connection to a backend.
//!
//! `send` writes what the owner sends, `receive` reads what the backend sends.

mod receive;
mod send;

use super::{ClientConfig, ConnectionError, body::BodyReader, section::Scan, websocket::Accept, write::BodyWriter};
use crate::{WriteBuffer, message::Method};

/// State of the request on the connection.
#[derive(Debug)]
enum Request {
    /// There is none, or it was sent completely.
    Done,
    /// Its head is in [`Client::held`] until it is known whether a body follows, which would have this framing.
    Held(BodyWriter),
    Body(BodyWriter),
    /// Waiting for the response that opens a tunnel.
    AwaitsTunnel,
}

/// State of the response on the connection.
#[derive(Debug)]
enum Response {
    /// There is none, or it was received completely.
    Done,
    /// Waiting for the head, after this number of interim heads.
    Head {
        interim: u8,
    },
    Body(BodyReader),
    Tunnel,
}

/// Whether the connection takes more requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The current exchange is the last one.
    Closing,
    /// Input is discarded.
    Failed(Option<ConnectionError>),
}

/// A connection to an HTTP/1.1 server.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    state: State,
    tag: u64,
    method: Method,
    /// The `sec-websocket-accept` that the response must have if the request asks for an upgrade.
    upgrade: Option<Accept>,
    request: Request,
    response: Response,
    output: WriteBuffer,
    /// The head of the request in [`Request::Held`], without its last line. Its memory is reused.
    held: Vec<u8>,
    /// The last byte of a body with a length, until the end of the body is known.
    last_byte: Option<u8>,
    /// Bytes written before the request. If there are no more when a response arrives, it is no response to it.
    written_before: u64,
    scan: Scan,
    /// The owner waits for space in the output.
    wants_send: bool,
}

impl Client {
    /// Creates a connection without a request.
    pub fn new(config: &ClientConfig) -> Self {
        Self {
            config: *config,
            state: State::Open,
            tag: 0,
            method: Method::Get,
            upgrade: None,
            request: Request::Done,
            response: Response::Done,
            output: WriteBuffer::default(),
            held: Vec::new(),
            last_byte: None,
            written_before: 0,
            scan: Scan::default(),
            wants_send: false,
        }
    }

    /// Returns whether the connection can take a request now. A connection with unsent bytes or an incomplete exchange
    /// cannot; one that is not [`Client::is_closing`] can once the exchange is complete and the output is sent.
    pub fn is_reusable(&self) -> bool {
        self.state == State::Open && self.active().is_none() && self.output.is_empty()
    }

    /// Returns whether the connection takes no further request.
    pub fn is_closing(&self) -> bool {
        self.state != State::Open
    }

    /// Returns the tag of the request that is not complete in both directions.
    pub fn active(&self) -> Option<u64> {
        let is_done = matches!((&self.request, &self.response), (Request::Done, Response::Done));
        (!is_done).then_some(self.tag)
    }

    /// Returns whether the final head of the response has arrived.
    pub fn has_head(&self) -> bool {
        !matches!(self.response, Response::Head { .. })
    }

    /// Returns whether the owner must shut down the writing side of the socket once the output is sent: the tunnel was
    /// ended by [`Client::send_data`].
    pub fn wants_shutdown(&self) -> bool {
        matches!((&self.request, &self.response), (Request::Done, Response::Tunnel))
    }

    /// Returns the bytes to write to the socket. After a write that emptied it the caller must call [`Client::recv`]
    /// again, even without input, because the request may have waited for space in it.
    pub fn output(&mut self) -> &mut WriteBuffer {
        &mut self.output
    }

    /// Ends the request before it is complete. The caller must close the connection.
    pub fn reset(&mut self) {
        self.fail(None);
    }

    fn fail(&mut self, error: Option<ConnectionError>) {
        self.state = State::Failed(error);
        self.request = Request::Done;
        self.response = Response::Done;
    }
}
