//! Input: interim heads, the head, the body and its end.

use bytes::{Buf as _, Bytes, BytesMut};

use super::{Client, Request, Response, State};
use crate::{
    h1::{
        ConnectionError, Event,
        body::BodyReader,
        chunked::Chunked,
        piece::{Piece, take_data},
        section::{ResponseLines, Section},
        websocket::Accept,
        write::{BodyWriter, MAX_QUEUED},
    },
    message::{
        Fields, Known, ResponseHead,
        check::{self, ResponseError},
    },
};

/// Maximum number of interim responses before the final one.
const MAX_INTERIM: u8 = 16;
/// Start of every response. Other bytes are malformed before a line is complete.
const VERSION: &[u8] = b"HTTP/1.";

impl Client {
    /// Returns the next event of `input`, which begins with the first unread byte of the connection, and removes the
    /// bytes read. `Ok(None)` means that more bytes are needed.
    ///
    /// # Errors
    /// [`ConnectionError`]; a request that is active has failed.
    pub fn recv(&mut self, input: &mut BytesMut) -> Result<Option<Event>, ConnectionError> {
        if self.wants_send && self.can_send_again() {
            self.wants_send = false;
            return Ok(Some(Event::Sendable { tag: self.tag }));
        }
        if let State::Failed(error) = self.state {
            input.clear();
            return error.map_or(Ok(None), Err);
        }
        if input.is_empty() {
            return Ok(None);
        }
        match &mut self.response {
            Response::Done => {
                self.fail(Some(ConnectionError::UnsolicitedBytes));
                Err(ConnectionError::UnsolicitedBytes)
            }
            Response::Head { .. } if self.output.written() == self.written_before => {
                self.fail(Some(ConnectionError::UnsolicitedBytes));
                Err(ConnectionError::UnsolicitedBytes)
            }
            Response::Head { .. } => Ok(self.read_head(input)),
            Response::Tunnel => {
                let data = take_data(input, input.len());
                Ok(Some(Event::Data { tag: self.tag, data, end: false }))
            }
            Response::Body(body) => {
                let piece = body.read(input);
                Ok(self.on_piece(piece, input))
            }
        }
    }

    /// Handles the end of the input, after [`Client::recv`] has read what arrived before it. `is_clean` says that the
    /// peer ended the connection as its protocol requires: TLS without `close_notify` may be truncated (RFC 9112 9.8).
    ///
    /// Returns the end of a body that the end of the connection completes, or of the backend's side of a tunnel.
    /// Otherwise a request that is [`Client::active`] has failed.
    pub fn on_eof(&mut self, is_clean: bool) -> Option<Event> {
        let ends = matches!(self.response, Response::Body(BodyReader::UntilClose) | Response::Tunnel);
        self.state = match self.state {
            State::Open => State::Closing,
            state => state,
        };
        if !ends || !is_clean {
            return None;
        }
        self.response = Response::Done;
        Some(Event::Data { tag: self.tag, data: Bytes::new(), end: true })
    }

    /// Returns whether there is enough space in the output for a request that waits for it.
    fn can_send_again(&self) -> bool {
        matches!(self.request, Request::Held(_) | Request::Body(_)) && self.output.len() <= MAX_QUEUED / 2
    }

    fn read_head(&mut self, input: &mut BytesMut) -> Option<Event> {
        let start = input.len().min(VERSION.len());
        if input.get(..start) != VERSION.get(..start) {
            return Some(self.malformed("not an HTTP/1 response"));
        }
        match self.scan.response(input, self.config.max_section) {
            Section::Partial => None,
            Section::TooLarge => Some(self.too_large()),
            Section::Malformed((reason, _)) => Some(self.malformed(reason)),
            Section::Complete(lines, len) => {
                input.advance(len);
                let is_1_1 = lines.is_1_1;
                let ResponseLines { status, fields, .. } = lines;
                match check::http1_response(status, fields, self.config.max_section) {
                    Ok((head, is_chunked)) => self.on_head(head, is_chunked, is_1_1, input),
                    Err(ResponseError::Malformed(reason)) => Some(self.malformed(reason)),
                    Err(ResponseError::TooLarge) => Some(self.too_large()),
                }
            }
        }
    }

    fn on_head(&mut self, head: ResponseHead, is_chunked: bool, is_1_1: bool, input: &BytesMut) -> Option<Event> {
        let tag = self.tag;
        let is_tunnel = if self.upgrade.is_some() { head.status == 101 } else { head.opens_tunnel(self.method) };
        if is_chunked && (!is_1_1 || head.is_interim() || head.status == 204 || is_tunnel) {
            return Some(self.malformed("transfer-encoding where it is not allowed")); // RFC 9112 6.1
        }
        match (&self.upgrade, head.status) {
            (None, 101) => return Some(self.malformed("status 101 without an upgrade")),
            (Some(accept), 101) if !accepts_upgrade(&head.fields, accept) => {
                return Some(self.malformed("status 101 that does not accept the upgrade"));
            }
            // In HTTP/2 and HTTP/3 it would say that the tunnel is open.
            (Some(_), 200..300) => return Some(self.malformed("success without the upgrade")),
            _ => {}
        }
        if is_tunnel {
            return Some(self.on_tunnel(head));
        }
        if (head.is_interim() || head.status == 204) && head.content_length.is_some_and(|length| length > 0) {
            // RFC 9110 8.6 forbids it. If the server sends a body too, it would be read as the next response.
            self.state = State::Closing;
        }
        if head.is_interim() {
            let Response::Head { interim } = &mut self.response else { return None };
            *interim += 1;
            if *interim > MAX_INTERIM {
                return Some(self.malformed("too many interim responses"));
            }
            return Some(Event::Informational { tag, head });
        }
        if !keeps_alive(&head.fields, is_1_1) {
            self.state = State::Closing;
        }
        if matches!(self.request, Request::AwaitsTunnel) {
            self.request = Request::Done; // refused
        }
        let body = match head.content_length {
            _ if !head.has_body(self.method) => None,
            _ if is_chunked => Some(BodyReader::Chunked(Chunked::new(self.config.max_section))),
            Some(0) => None,
            Some(length) => Some(BodyReader::Length(length)),
            None => {
                self.state = State::Closing;
                Some(BodyReader::UntilClose)
            }
        };
        let end = body.is_none();
        match body {
            Some(body) => self.response = Response::Body(body),
            None => self.finish_response(input),
        }
        Some(Event::Head { tag, head, end })
    }

    fn on_tunnel(&mut self, mut head: ResponseHead) -> Event {
        let tag = self.tag;
        if self.upgrade.is_some() {
            head.status = 200;
        }
        self.state = State::Closing;
        self.response = Response::Tunnel;
        if matches!(self.request, Request::AwaitsTunnel) {
            self.request = Request::Body(BodyWriter::Raw);
        }
        Event::Upgraded { tag, head }
    }

    fn on_piece(&mut self, piece: Piece, input: &BytesMut) -> Option<Event> {
        let tag = self.tag;
        match piece {
            Piece::Partial => None,
            Piece::Data { data, end } => {
                if end {
                    self.finish_response(input);
                }
                Some(Event::Data { tag, data, end })
            }
            Piece::Trailers(fields) => match check::response_trailers(&fields, self.config.max_section) {
                Ok(()) => {
                    self.finish_response(input);
                    Some(Event::Trailers { tag, fields })
                }
                Err(ResponseError::Malformed(reason)) => Some(self.malformed(reason)),
                Err(ResponseError::TooLarge) => Some(self.too_large()),
            },
            Piece::TrailersTooLarge => Some(self.too_large()),
            Piece::Malformed(reason) => Some(self.malformed(reason)),
        }
    }

    /// Ends the response. `input` is what follows it: any byte would be read as the response to the next request.
    fn finish_response(&mut self, input: &BytesMut) {
        self.response = Response::Done;
        if !input.is_empty() {
            self.state = State::Closing;
        }
    }

    fn malformed(&mut self, reason: &'static str) -> Event {
        self.fail(None);
        Event::Malformed { tag: self.tag, reason }
    }

    fn too_large(&mut self) -> Event {
        self.fail(None);
        Event::HeadersTooLarge { tag: self.tag }
    }
}

/// Returns whether a 101 response completes the handshake of WebSocket (RFC 6455 4.1).
fn accepts_upgrade(fields: &Fields, accept: &Accept) -> bool {
    let mut accepted = fields.all(Known::SecWebsocketAccept);
    let mut protocols = fields.all(Known::Upgrade);
    let has_option = fields.all(Known::Connection).any(|value| {
        value.split(|byte| *byte == b',').any(|option| option.trim_ascii().eq_ignore_ascii_case(b"upgrade"))
    });
    has_option
        && (accepted.next(), accepted.next()) == (Some(accept), None)
        && protocols.next().is_some_and(|protocol| protocol.eq_ignore_ascii_case(b"websocket"))
        && protocols.next().is_none()
}

/// Returns whether the server keeps the connection open after this response (RFC 9112 9.3).
fn keeps_alive(fields: &Fields, is_1_1: bool) -> bool {
    let mut keeps = is_1_1;
    for option in fields.all(Known::Connection).flat_map(|value| value.split(|byte| *byte == b',')) {
        let option = option.trim_ascii();
        if option.eq_ignore_ascii_case(b"close") {
            return false;
        }
        keeps |= option.eq_ignore_ascii_case(b"keep-alive");
    }
    keeps
}
