//! Output: interim responses, the head with its framing, the body and its end.

use bytes::Bytes;

use super::{Exchange, Request, Response, Server};
use crate::{
    h1::{
        InvalidHead,
        status::put_status_line,
        websocket,
        write::{BodyWriter, MAX_QUEUED, WrongLength, put_field, put_fields},
    },
    message::{Fields, Known, Method, ResponseHead, check},
};

impl Server {
    /// Queues an interim response. Clients of HTTP/1.0 do not know them and get none (RFC 9110 15.2).
    ///
    /// # Errors
    /// [`InvalidHead`], and nothing is sent.
    pub fn send_interim(&mut self, head: &ResponseHead) -> Result<(), InvalidHead> {
        let is_due = matches!(self.response, Response::Head);
        if !is_due || head.status == 101 || !head.is_interim() || !check::is_writable(&head.fields) {
            return Err(InvalidHead);
        }
        if self.exchange.is_1_1 {
            if head.status == 100 {
                self.exchange.awaits_continue = false;
            }
            let out = self.output.tail();
            put_status_line(out, head.status);
            put_fields(out, &head.fields, &[], None);
            out.extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    /// Queues the head of the final response. `end` says that neither body nor trailers follow. A 2xx response to a request
    /// for a tunnel opens it; if the request was an upgrade to WebSocket, it is sent as 101 with the fields of the
    /// handshake.
    ///
    /// # Errors
    /// [`InvalidHead`], and nothing is sent; the caller must send another response or close the connection.
    pub fn send_head(&mut self, head: &ResponseHead, end: bool) -> Result<(), InvalidHead> {
        let is_tunnel = self.opens_tunnel(head);
        if !matches!(self.response, Response::Head)
            || head.is_interim()
            || head.status > 999
            || !check::is_writable(&head.fields)
        {
            return Err(InvalidHead);
        }
        if is_tunnel {
            self.send_tunnel_head(head);
            return Ok(());
        }
        let has_body = head.has_body(self.response_method());
        let length = match head.content_length {
            _ if head.status == 204 => None,
            None if has_body && end => Some(0),
            Some(1..) if has_body && end => return Err(InvalidHead),
            length => length,
        };
        let body = match length {
            _ if !has_body => None,
            Some(0) => None,
            Some(length) => Some(BodyWriter::Length(length)),
            None if self.exchange.is_1_1 => Some(BodyWriter::Chunked),
            None => Some(BodyWriter::Raw),
        };
        // Whether the client will send the body is unknown (RFC 9110 10.1.1); if it awaits a tunnel, what it has sent is.
        let is_last = matches!(body, Some(BodyWriter::Raw))
            || matches!(self.request, Request::AwaitsTunnel) && self.exchange.upgrade.is_none()
            || self.exchange.awaits_continue && matches!(self.request, Request::Body(_));
        self.keeps_alive &= !is_last;
        self.put_head(head, length, matches!(body, Some(BodyWriter::Chunked)));
        match body {
            Some(body) => self.response = Response::Body(body),
            None => self.finish_response(),
        }
        Ok(())
    }

    /// Returns the number of body bytes that [`Server::send_data`] would take now.
    pub fn sendable(&self) -> usize {
        match self.response {
            Response::Body(_) => MAX_QUEUED.saturating_sub(self.output.len()),
            Response::None | Response::Head | Response::Done => 0,
        }
    }

    /// Sends as much of `data` as the output permits and leaves the rest in it. With `end`, the last byte (or an empty
    /// `data`) ends the response. Returns the number of bytes taken. If bytes are left,
    /// [`crate::h1::ServerEvent::Sendable`] says when to try again. If there is no body to send, all bytes are taken and
    /// dropped. A body that breaks the announced length ends the connection.
    pub fn send_data(&mut self, data: &mut Bytes, end: bool) -> usize {
        let taken = self.sendable().min(data.len());
        let Response::Body(body) = &mut self.response else {
            let all = data.len();
            data.clear();
            return all;
        };
        self.wants_send = taken < data.len();
        let end = end && taken == data.len();
        let mut sent = Ok(());
        if taken > 0 {
            sent = body.put(&mut self.output, data, taken);
        }
        if end && sent.is_ok() {
            sent = body.finish(&mut self.output, None);
        }
        match sent {
            Ok(()) if end => self.finish_response(),
            Ok(()) => {}
            Err(WrongLength) => self.abort(),
        }
        taken
    }

    /// Ends the response with trailers. A client that does not accept them, or a body that is not chunked, gets none. The
    /// caller must have sent all of the body.
    pub fn send_trailers(&mut self, fields: &Fields) {
        let Response::Body(body) = &self.response else { return };
        let trailers = Some(fields).filter(|fields| self.exchange.accepts_trailers && check::is_writable(fields));
        match body.finish(&mut self.output, trailers) {
            Ok(()) => self.finish_response(),
            Err(WrongLength) => self.abort(),
        }
    }

    fn opens_tunnel(&self, head: &ResponseHead) -> bool {
        head.opens_tunnel(self.exchange.method) && matches!(self.request, Request::AwaitsTunnel)
    }

    /// Returns the method that decides whether the response has a body: a refused upgrade was a GET.
    fn response_method(&self) -> Method {
        if self.exchange.upgrade.is_some() { Method::Get } else { self.exchange.method }
    }

    fn put_head(&mut self, head: &ResponseHead, length: Option<u64>, is_chunked: bool) {
        let out = self.output.tail();
        put_status_line(out, head.status);
        put_fields(out, &head.fields, &[], length);
        if is_chunked {
            put_field(out, b"transfer-encoding", b"chunked");
        }
        if !self.keeps_alive {
            put_field(out, b"connection", b"close");
        } else if !self.exchange.is_1_1 {
            put_field(out, b"connection", b"keep-alive");
        }
        out.extend_from_slice(b"\r\n");
    }

    fn send_tunnel_head(&mut self, head: &ResponseHead) {
        let out = self.output.tail();
        if let Some(key) = &self.exchange.upgrade {
            put_status_line(out, 101);
            put_field(out, b"connection", b"upgrade");
            put_field(out, b"upgrade", b"websocket");
            put_field(out, b"sec-websocket-accept", &websocket::accept(key));
        } else {
            put_status_line(out, head.status);
        }
        put_fields(out, &head.fields, &[Known::SecWebsocketAccept], None);
        out.extend_from_slice(b"\r\n");
        self.keeps_alive = false;
        self.exchange.is_tunnel = true;
        self.request = Request::Tunnel;
        self.response = Response::Body(BodyWriter::Raw);
    }

    /// Ends the response. The next request is read if the current one is complete and the connection stays open.
    fn finish_response(&mut self) {
        self.wants_send = false;
        match self.request {
            Request::Tunnel => self.response = Response::Done,
            Request::Done if self.keeps_alive => self.await_request(),
            Request::AwaitsTunnel if self.keeps_alive && self.exchange.upgrade.is_some() => self.await_request(),
            _ => self.abort(),
        }
    }

    fn await_request(&mut self) {
        self.request = Request::Head;
        self.response = Response::None;
        self.exchange = Exchange::default();
    }
}
