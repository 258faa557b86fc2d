//! Output: the request head, its framing, the body and its end.

use bytes::{Buf as _, Bytes};

use super::{Client, Request, Response, State};
use crate::{
    h1::{
        ConnectionError, SendRequestError,
        section::Scan,
        websocket::{self, Key},
        write::{BodyWriter, MAX_QUEUED, WrongLength, put_field, put_fields},
    },
    message::{Fields, Known, Method, RequestHead, check},
};

impl Client {
    /// Queues the head of a request. `end` says that neither body nor trailers follow. Every event of the response
    /// carries `tag`.
    ///
    /// A head without `content-length` waits until the first byte of the body or its end is known: only then it is known
    /// whether the request is chunked. With `expect` it does not wait, because the client may not send the body before a
    /// 100 response. A server takes a request for complete when it has all bytes of its `content-length`, so the last one,
    /// or the head with the length 0, waits for the end of the body: until then the client may still send more.
    ///
    /// CONNECT, and a request with `:protocol`, opens a tunnel; the latter is sent as an upgrade with the handshake of
    /// WebSocket (RFC 9110 7.8, RFC 6455 4.1).
    ///
    /// # Errors
    /// [`SendRequestError`]
    pub fn send_request(&mut self, head: &RequestHead, end: bool, tag: u64) -> Result<(), SendRequestError> {
        if !self.is_reusable() {
            return Err(SendRequestError::Busy);
        }
        let upgrade = head.fields.first(Known::Protocol);
        if !check::is_writable(&head.fields) || !is_writable_target(head) {
            return Err(SendRequestError::InvalidHead);
        }
        self.tag = tag;
        let key = upgrade.map(|_| websocket::new_key(self.config.seed, tag));
        self.upgrade = key.as_ref().map(websocket::accept);
        self.method = if upgrade.is_some() { Method::Get } else { head.method };
        self.response = Response::Head { interim: 0 };
        self.scan = Scan::default();
        self.written_before = self.output.written();
        self.wants_send = false;
        self.last_byte = None;
        let is_held = matches!(head.content_length, None | Some(0)) && !end && head.method != Method::Connect;
        let out = if is_held { &mut self.held } else { self.output.tail() };
        put_head(out, head, upgrade.zip(key.as_ref()));
        self.request = match head.content_length {
            _ if head.method == Method::Connect => Request::AwaitsTunnel,
            None | Some(0) if end => Request::Done,
            None => Request::Held(BodyWriter::Chunked),
            Some(0) => Request::Held(BodyWriter::Length(0)),
            Some(length) => Request::Body(BodyWriter::Length(length)),
        };
        if is_held {
            if head.content_length.is_none() && head.fields.contains(Known::Expect) {
                self.release_chunked_head();
            }
        } else {
            self.output.tail().extend_from_slice(b"\r\n");
        }
        if end && matches!(self.request, Request::Body(_)) {
            self.fail(Some(ConnectionError::WrongRequestLength));
        }
        Ok(())
    }

    /// Returns the number of body bytes that [`Client::send_data`] would take now.
    pub fn sendable(&self) -> usize {
        match self.request {
            Request::Held(_) | Request::Body(_) => MAX_QUEUED.saturating_sub(self.output.len()),
            Request::Done | Request::AwaitsTunnel => 0,
        }
    }

    /// Returns [`Client::sendable`]. If it is 0, [`crate::h1::Event::Sendable`] says when to try again.
    pub fn want_send(&mut self) -> usize {
        let sendable = self.sendable();
        self.wants_send = sendable == 0;
        sendable
    }

    /// Sends as much of `data` as the output permits and leaves the rest in it. With `end`, the last byte (or an empty
    /// `data`) ends the request. Returns the number of bytes taken. If bytes are left, [`crate::h1::Event::Sendable`]
    /// says when to try again. If the request has ended, all bytes are taken and dropped.
    pub fn send_data(&mut self, data: &mut Bytes, end: bool) -> usize {
        if matches!(self.request, Request::Done) {
            let all = data.len();
            data.clear();
            return all;
        }
        let taken = self.sendable().min(data.len());
        let end = end && taken == data.len();
        self.wants_send = !data.is_empty() && taken < data.len();
        let mut sent = if taken > 0 { self.put(data, taken, end) } else { Ok(()) };
        if end && sent.is_ok() {
            sent = self.finish(None);
        }
        if sent == Err(WrongLength) {
            self.fail(Some(ConnectionError::WrongRequestLength));
        }
        taken
    }

    /// Ends the request with trailers, which only a chunked request can carry; others end without them. The caller must
    /// have sent all of the body. Returns false, sending nothing, if a trailer cannot be written.
    pub fn send_trailers(&mut self, fields: &Fields) -> bool {
        if matches!(self.request, Request::Done) {
            return true;
        }
        if !check::is_writable(fields) {
            return false;
        }
        if matches!(self.request, Request::Held(BodyWriter::Chunked)) && !fields.is_empty() {
            self.release_chunked_head();
        }
        if self.finish(Some(fields)).is_err() {
            self.fail(Some(ConnectionError::WrongRequestLength));
        }
        true
    }

    /// Moves the first `part` bytes of `data`, at least one, to the output. Keeps the last byte of a length unless the body
    /// ends with it.
    fn put(&mut self, data: &mut Bytes, part: usize, end: bool) -> Result<(), WrongLength> {
        match self.request {
            Request::Held(BodyWriter::Length(_)) => return Err(WrongLength),
            Request::Held(_) => self.release_chunked_head(),
            Request::Body(_) | Request::Done | Request::AwaitsTunnel => {}
        }
        let Request::Body(body) = &mut self.request else { return Ok(()) };
        let keeps_last = !end && matches!(body, BodyWriter::Length(missing) if *missing == part as u64);
        let written = part - usize::from(keeps_last);
        if written > 0 {
            body.put(&mut self.output, data, written)?;
        }
        if keeps_last {
            *body = BodyWriter::Length(0);
            self.last_byte = data.first().copied();
            data.advance(1);
        }
        Ok(())
    }

    fn finish(&mut self, trailers: Option<&Fields>) -> Result<(), WrongLength> {
        match &self.request {
            Request::Held(_) => self.release_head(),
            Request::Body(body) => {
                self.output.tail().extend(self.last_byte.take());
                body.finish(&mut self.output, trailers)?;
            }
            // The end of a tunnel that is not open yet must not be lost.
            Request::AwaitsTunnel => self.state = State::Closing,
            Request::Done => {}
        }
        self.request = Request::Done;
        Ok(())
    }

    /// Moves the held head to the output and completes it as that of a request without a body.
    fn release_head(&mut self) {
        let out = self.output.tail();
        out.append(&mut self.held);
        out.extend_from_slice(b"\r\n");
        self.request = Request::Done;
    }

    /// Moves the held head to the output and completes it as that of a chunked request.
    fn release_chunked_head(&mut self) {
        put_field(&mut self.held, b"transfer-encoding", b"chunked");
        self.release_head();
        self.request = Request::Body(BodyWriter::Chunked);
    }
}

/// Returns whether method and target stay what they are between the spaces of a request line, and whether there is a
/// host (RFC 9112 3.2).
fn is_writable_target(head: &RequestHead) -> bool {
    let is_word = |bytes: &[u8]| !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic);
    let has_path = head.method == Method::Connect && !head.fields.contains(Known::Protocol) || is_word(head.path());
    is_word(head.method_bytes()) && has_path && is_word(head.authority())
}

/// Writes the head without its last line.
fn put_head(out: &mut Vec<u8>, head: &RequestHead, upgrade: Option<(&[u8], &Key)>) {
    let (method, target) = match upgrade {
        Some(_) => (&b"GET"[..], head.path()),
        None if head.method == Method::Connect => (head.method_bytes(), head.authority()),
        None => (head.method_bytes(), head.path()),
    };
    for part in [method, b" ", target, b" HTTP/1.1\r\n"] {
        out.extend_from_slice(part);
    }
    put_field(out, b"host", head.authority());
    let has_te = head.fields.contains(Known::Te);
    let options: &[u8] = match upgrade {
        Some(_) if has_te => b"upgrade, te",
        Some(_) => b"upgrade",
        None => b"te",
    };
    if upgrade.is_some() || has_te {
        // RFC 9110 7.6.1, 10.1.4
        put_field(out, b"connection", options);
    }
    let mut without: &[Known] = &[Known::Host];
    if let Some((protocol, key)) = upgrade {
        put_field(out, b"upgrade", protocol);
        put_field(out, b"sec-websocket-key", key);
        without = &[Known::Host, Known::SecWebsocketKey];
    }
    put_fields(out, &head.fields, without, head.content_length);
}
