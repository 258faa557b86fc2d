//! Input: heads, bodies, tunnels.

use bytes::{Buf as _, Bytes, BytesMut};

use super::{Exchange, Request, Response, Server};
use crate::{
    h1::{
        ServerEvent,
        body::BodyReader,
        chunked::Chunked,
        piece::{Piece, take_data},
        section::{RequestLines, Section, request_line},
        target,
        websocket::{self, Key},
        write::MAX_QUEUED,
    },
    message::{
        Fields, Known, Method, RequestHead,
        check::{self, CheckError, InvalidReason, RejectedRequest},
        hop_by_hop::accepts_trailers,
    },
};

impl Server {
    /// Returns the next event of `input`, which begins with the first unread byte of the connection, and removes the
    /// bytes read. `None` means that more bytes are needed, or that the response to the current request must be complete
    /// first; the caller must call again after that.
    pub fn recv(&mut self, input: &mut BytesMut) -> Option<ServerEvent> {
        if let Some(event) = self.sendable_again() {
            return Some(event);
        }
        match &mut self.request {
            Request::Ended => {
                input.clear();
                None
            }
            Request::Head => {
                let event = self.read_head(input);
                if event.is_none() && self.eof && matches!(self.request, Request::Head) {
                    self.end();
                }
                event
            }
            Request::Tunnel if !input.is_empty() => {
                Some(ServerEvent::Data { data: take_data(input, input.len()), end: false })
            }
            Request::Tunnel if self.eof => {
                self.end();
                Some(ServerEvent::Data { data: Bytes::new(), end: true })
            }
            Request::Done | Request::AwaitsTunnel | Request::Tunnel => None,
            Request::Body(body) => {
                let piece = body.read(input);
                let event = self.on_piece(piece);
                if event.is_none() && self.eof {
                    self.end();
                    return Some(ServerEvent::Aborted);
                }
                event
            }
        }
    }

    /// Returns [`ServerEvent::Sendable`] if it is due. As [`Server::recv`], without reading: to be called instead while the
    /// owner can take no more of the request, because the response must go on.
    pub fn sendable_again(&mut self) -> Option<ServerEvent> {
        let is_due =
            self.wants_send && matches!(self.response, Response::Body(_)) && self.output.len() <= MAX_QUEUED / 2;
        self.wants_send &= !is_due;
        is_due.then_some(ServerEvent::Sendable)
    }

    /// Notes that the client sends nothing more. The caller must then call [`Server::recv`] until it returns `None`.
    /// Requests that were received completely are still answered.
    pub fn on_eof(&mut self) {
        self.eof = true;
    }

    fn read_head(&mut self, input: &mut BytesMut) -> Option<ServerEvent> {
        if !self.skip_line(input) {
            return None;
        }
        if !check::is_token(input.get(..1)?) {
            let error = CheckError::Malformed { reason: "invalid request line", clause: "RFC 9112 3" };
            return Some(self.refuse(error, Fields::new()));
        }
        let max = self.max_head();
        match self.scan.request(input, max, self.config.scheme.as_bytes()) {
            Section::Partial => None,
            Section::TooLarge => {
                // What has arrived beyond the limit must not decide what is known of the request.
                Some(self.refuse_unread(CheckError::TooLarge, input.get(..max).unwrap_or(input)))
            }
            Section::Malformed((reason, clause)) => {
                Some(self.refuse_unread(CheckError::Malformed { reason, clause }, input))
            }
            Section::Complete(lines, len) => {
                input.advance(len);
                self.skipped_line = false;
                Some(self.on_head(lines))
            }
        }
    }

    /// Skips one empty line before a head, which old clients send after a body (RFC 9112 2.2). Returns false if more bytes
    /// are needed.
    fn skip_line(&mut self, input: &mut BytesMut) -> bool {
        if self.skipped_line {
            return true;
        }
        if input.starts_with(b"\r\n") {
            self.skipped_line = true;
            input.advance(2);
        }
        self.skipped_line || input.as_ref() != b"\r"
    }

    /// Returns the limit on the bytes of a head: names and values with the separators of their lines.
    fn max_head(&self) -> usize {
        let limits = &self.config.limits;
        limits.max_bytes.saturating_add(limits.max_fields.saturating_mul(4)).saturating_add(64)
    }

    fn on_head(&mut self, lines: RequestLines) -> ServerEvent {
        let RequestLines { is_1_1, mut fields } = lines;
        let options = ConnectionOptions::of(&fields);
        let may_upgrade = self.config.rules.extended_connect && options.upgrade && is_1_1;
        let upgrade = if may_upgrade { websocket_key(&fields) } else { None };
        if upgrade.is_some() {
            // The form of RFC 8441, as from HTTP/2 and HTTP/3.
            fields.set(Known::Method, &[b"CONNECT"]);
            fields.prepend(Known::Protocol, b"websocket");
        }
        let method = fields.first(Known::Method).map_or(Method::Get, Method::from_bytes);
        self.exchange = Exchange {
            method,
            is_1_1,
            upgrade,
            is_tunnel: false,
            accepts_trailers: fields.all(Known::Te).any(accepts_trailers),
            awaits_continue: is_1_1 && fields.first(Known::Expect).is_some_and(is_continue),
        };
        if is_1_1 && !fields.contains(Known::Host) {
            return self.refuse(CheckError::Malformed { reason: "no host", clause: "RFC 9112 3.2" }, fields);
        }
        let head = match check::request(fields, &self.config.limits, &self.config.rules) {
            Ok(head) => head,
            Err(refusal) => return self.refuse(refusal.error, refusal.fields),
        };
        if has_conflict(&head, is_1_1) {
            return self.refuse(CheckError::Invalid(InvalidReason::ConflictingFraming), head.fields);
        }
        self.keeps_alive &= !options.close && (is_1_1 || options.keep_alive);
        self.response = Response::Head;
        self.request = if method == Method::Connect {
            Request::AwaitsTunnel
        } else if head.fields.contains(Known::TransferEncoding) {
            Request::Body(BodyReader::Chunked(Chunked::new(self.max_head())))
        } else {
            match head.content_length {
                None | Some(0) => Request::Done,
                Some(length) => Request::Body(BodyReader::Length(length)),
            }
        };
        ServerEvent::Request { head, end: matches!(self.request, Request::Done) }
    }

    fn on_piece(&mut self, piece: Piece) -> Option<ServerEvent> {
        Some(match piece {
            Piece::Partial => return None,
            Piece::Data { data, end } => {
                self.exchange.awaits_continue = false;
                if end {
                    self.request = Request::Done;
                }
                ServerEvent::Data { data, end }
            }
            Piece::Trailers(fields) => {
                self.request = Request::Done;
                match check::request_trailers(&fields, &self.config.limits) {
                    Ok(()) => ServerEvent::Trailers { fields },
                    Err(CheckError::Malformed { reason, .. }) => self.malformed(reason),
                    Err(_) => self.malformed("trailers over the limit"),
                }
            }
            Piece::TrailersTooLarge => self.malformed("trailers over the limit"),
            Piece::Malformed(reason) => self.malformed(reason),
        })
    }

    fn malformed(&mut self, reason: &'static str) -> ServerEvent {
        self.end();
        ServerEvent::Malformed { reason }
    }

    /// Refuses a request whose fields could not be read. Method and target are for the response and the log.
    fn refuse_unread(&mut self, error: CheckError, input: &[u8]) -> ServerEvent {
        let mut fields = Fields::new();
        if let Some((method, target)) = request_line(input) {
            self.exchange.method = Method::from_bytes(method);
            match target {
                Some(target) => target::put(&mut fields, method, target, self.config.scheme.as_bytes(), None),
                None => fields.push(Known::Method, method),
            }
        }
        self.refuse(error, fields)
    }

    /// Refuses the request. It is answered, and nothing more is read.
    fn refuse(&mut self, error: CheckError, fields: Fields) -> ServerEvent {
        self.end();
        self.response = Response::Head;
        ServerEvent::Refused { refusal: Box::new(RejectedRequest { error, fields }) }
    }
}

/// Returns whether the framing of a request is ambiguous beyond what [`check::request`] rejects: a transfer coding in
/// HTTP/1.0 (RFC 9112 6.1), or a body before a tunnel (RFC 9110 9.3.6).
fn has_conflict(head: &RequestHead, is_1_1: bool) -> bool {
    let has_coding = head.fields.contains(Known::TransferEncoding);
    let is_empty = |length: &[u8]| length.iter().all(|digit| *digit == b'0');
    has_coding && (!is_1_1 || head.method == Method::Connect)
        || head.method == Method::Connect && !head.fields.all(Known::ContentLength).all(is_empty)
}

/// Returns the key if the request asks for WebSocket and nothing else, without a body (RFC 6455 4.2.1).
fn websocket_key(fields: &Fields) -> Option<Key> {
    let mut upgrades = fields.all(Known::Upgrade);
    let is_only =
        upgrades.next().is_some_and(|value| value.eq_ignore_ascii_case(b"websocket")) && upgrades.next().is_none();
    let has_body =
        fields.contains(Known::TransferEncoding) || fields.all(Known::ContentLength).any(|value| value != b"0");
    let is_plain = is_only && !has_body && fields.first(Known::Method) == Some(b"GET");
    let mut keys = fields.all(Known::SecWebsocketKey);
    let key = keys.next().and_then(websocket::parse_key);
    key.filter(|_| is_plain && keys.next().is_none())
}

fn is_continue(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"100-continue")
}

/// The options in the `connection` fields of a request that decide about the connection.
#[derive(Default)]
struct ConnectionOptions {
    close: bool,
    keep_alive: bool,
    upgrade: bool,
}

impl ConnectionOptions {
    fn of(fields: &Fields) -> Self {
        let mut options = Self::default();
        for option in fields.all(Known::Connection).flat_map(|value| value.split(|byte| *byte == b',')) {
            let option = option.trim_ascii();
            options.close |= option.eq_ignore_ascii_case(b"close");
            options.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
            options.upgrade |= option.eq_ignore_ascii_case(b"upgrade");
        }
        options
    }
}
