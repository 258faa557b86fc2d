//! A fake of both sides of an exchange: records calls and behaves like the real sides.
//!
//! Panics on invalid calls, such as a write after the end of a response.

use crate::client_side::ClientSide;
use crate::exchange::io::{Backends, Clients, Io};
use bytes::{Buf, Bytes};
use spooky_bridge::message::{Fields, Known, RequestHead, ResetReason, ResponseHead, rewrite::ClientSubject};
use spooky_edge::{Body, BodyRead};
use spooky_transport::{BackendId, RequestHandle, Unsent};
use std::{
    collections::{HashMap, VecDeque},
    time::Instant,
};

/// How the proxy has ended a client's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    Plain,
    Trailers,
    Reset(ResetReason),
}

/// A client's stream. Each has its own connection.
#[derive(Default)]
pub(super) struct Client {
    pub(super) tag: Option<u64>,
    /// Body parts that were sent and not read.
    pub(super) body: VecDeque<BodyRead>,
    /// The size of each read of body bytes.
    pub(super) reads: Vec<usize>,
    /// Whether the end of the body was sent.
    pub(super) is_uploaded: bool,
    /// The stream's share of the connection's send capacity.
    pub(super) share: usize,
    /// Whether response bytes wait; otherwise the client takes them at once.
    pub(super) is_slow: bool,
    /// Bytes that a slow client takes with each part.
    pub(super) takes: usize,
    /// Response bytes that wait.
    pub(super) pending: usize,
    pub(super) interims: Vec<u16>,
    pub(super) head: Option<ResponseHead>,
    /// The length announced with the head.
    pub(super) length: Option<Body>,
    pub(super) is_tunnel: bool,
    pub(super) received: Vec<u8>,
    pub(super) ended: Option<Ended>,
    /// The response has ended and `Sent` is outstanding.
    pub(super) owes_sent: bool,
    /// Whether the stream has ended.
    pub(super) is_gone: bool,
}

impl Client {
    pub(super) fn status(&self) -> Option<u16> {
        self.head.as_ref().map(|head| head.status)
    }

    /// Returns the body as text, without the final line end.
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.received).unwrap().trim_end()
    }
}

/// A request to a backend.
pub(super) struct Request {
    pub(super) backend: BackendId,
    pub(super) tag: u64,
    pub(super) method: Vec<u8>,
    /// The values of `early-data`.
    pub(super) early_data: Vec<Vec<u8>>,
    /// The values of `traceparent`.
    pub(super) traceparent: Vec<Vec<u8>>,
    pub(super) is_waiting: bool,
    /// Body bytes that it takes.
    pub(super) window: usize,
    pub(super) body: Vec<u8>,
    /// The length of each part of it, and whether the end came with it.
    pub(super) parts: Vec<(usize, bool)>,
    pub(super) trailers: Option<Fields>,
    pub(super) sent_all: bool,
    pub(super) has_head: bool,
    pub(super) received_all: bool,
    pub(super) has_failed: bool,
    pub(super) reset: Option<ResetReason>,
    /// The window of the response, if it was set.
    pub(super) share: Option<usize>,
    /// Credit given back.
    pub(super) released: usize,
}

impl Request {
    /// Returns whether further events of the request are possible.
    pub(super) fn is_open(&self) -> bool {
        self.reset.is_none() && !self.has_failed && !(self.sent_all && self.received_all)
    }
}

pub(super) struct Fake {
    pub(super) now: Instant,
    pub(super) clients: Vec<Client>,
    pub(super) requests: Vec<Request>,
    /// Whether requests are sent at once; otherwise they wait for a connection.
    pub(super) is_connected: bool,
    /// Body bytes that a new request takes.
    pub(super) window: usize,
    /// The error for new requests.
    pub(super) unsent: Option<Unsent>,
    /// Whether backends accept trailers.
    pub(super) takes_trailers: bool,
    pub(super) sticky: HashMap<u64, u64>,
    /// Whether requests come in early data.
    pub(super) is_early: bool,
    /// The value of `alt-svc` that is due.
    pub(super) alt_svc: Option<&'static [u8]>,
}

fn number(client: ClientSide) -> usize {
    client.listener()
}

impl Fake {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            now,
            clients: Vec::new(),
            requests: Vec::new(),
            is_connected: true,
            window: 1 << 20,
            unsent: None,
            takes_trailers: true,
            sticky: HashMap::new(),
            is_early: false,
            alt_svc: None,
        }
    }

    /// Returns the client. Panics if its response has ended.
    fn writable(&mut self, client: ClientSide) -> &mut Client {
        let client = &mut self.clients[number(client)];
        assert!(client.ended.is_none(), "written after the end of the response");
        assert!(!client.is_gone, "written to a stream that is gone");
        client
    }

    fn request_mut(&mut self, handle: RequestHandle) -> &mut Request {
        &mut self.requests[handle.to_bits() as usize]
    }
}

impl Io for Fake {
    fn now(&self) -> Instant {
        self.now
    }
}

impl Clients for Fake {
    fn set_tag(&mut self, client: ClientSide, tag: u64) {
        self.clients[number(client)].tag = Some(tag);
    }

    fn read_body(&mut self, client: ClientSide, max: usize) -> BodyRead {
        let Client { body, reads, .. } = &mut self.clients[number(client)];
        match body.pop_front() {
            Some(BodyRead::Data(mut data)) => {
                let first = data.split_to(data.len().min(max));
                if !data.is_empty() {
                    body.push_front(BodyRead::Data(data));
                }
                reads.push(first.len());
                BodyRead::Data(first)
            }
            Some(BodyRead::Aborted(abort)) => {
                self.clients[number(client)].is_gone = true;
                BodyRead::Aborted(abort)
            }
            Some(read) => read,
            None => BodyRead::Pending,
        }
    }

    fn unread(&mut self, client: ClientSide) -> u64 {
        let body = &self.clients[number(client)].body;
        body.iter().map(|read| if let BodyRead::Data(data) = read { data.len() as u64 } else { 0 }).sum()
    }

    fn send_interim(&mut self, client: ClientSide, head: &ResponseHead) {
        let client = self.writable(client);
        assert!(client.head.is_none(), "an interim response after the final one");
        client.interims.push(head.status);
    }

    fn send_head(&mut self, client: ClientSide, head: &ResponseHead, body: Body, is_tunnel: bool) {
        let client = self.writable(client);
        assert!(client.head.replace(head.clone()).is_none(), "a second head");
        (client.length, client.is_tunnel) = (Some(body), is_tunnel);
    }

    fn send_body(&mut self, client: ClientSide, data: Bytes) -> usize {
        let client = self.writable(client);
        assert!(client.head.is_some(), "a body without a head");
        client.received.extend_from_slice(&data);
        if client.is_slow {
            let taken = client.takes.min(client.pending + data.len());
            client.pending = client.pending + data.len() - taken;
            return taken;
        }
        data.len()
    }

    fn send_end(&mut self, client: ClientSide, trailers: Option<&Fields>) -> bool {
        let client = self.writable(client);
        assert!(client.head.is_some(), "an end without a head");
        client.ended = Some(if trailers.is_some() { Ended::Trailers } else { Ended::Plain });
        client.owes_sent = client.is_slow;
        !client.is_slow
    }

    fn has_unsent(&mut self, client: ClientSide) -> bool {
        self.clients[number(client)].pending > 0
    }

    fn stream_share(&mut self, client: ClientSide) -> Option<usize> {
        Some(self.clients[number(client)].share)
    }

    fn reset_client(&mut self, client: ClientSide, reason: ResetReason) {
        let client = &mut self.clients[number(client)];
        assert!(!client.is_gone && !matches!(client.ended, Some(Ended::Reset(_))), "a second end");
        client.ended = Some(Ended::Reset(reason));
    }

    fn is_misdirected(&mut self, _client: ClientSide, authority: &[u8], _scratch: &mut Vec<u8>) -> bool {
        authority == b"misdirected.example"
    }

    fn is_early(&mut self, _client: ClientSide) -> bool {
        self.is_early
    }

    fn connection_id(&mut self, client: ClientSide) -> u64 {
        number(client) as u64
    }

    fn sticky_backend(&mut self, _client: ClientSide, upstream: u64) -> Option<u64> {
        self.sticky.get(&upstream).copied()
    }

    fn set_sticky_backend(&mut self, _client: ClientSide, upstream: u64, backend: u64) {
        self.sticky.insert(upstream, backend);
    }

    fn port(&self, _client: ClientSide) -> Option<u16> {
        Some(443)
    }

    fn alt_svc(&mut self, _client: ClientSide) -> Option<&[u8]> {
        self.alt_svc
    }

    fn subject(&self, _client: ClientSide) -> Option<ClientSubject<'_>> {
        None
    }

    fn subject_header(&self, _client: ClientSide) -> Option<&[u8]> {
        Some(b"x-client-subject")
    }
}

impl Backends for Fake {
    fn request(
        &mut self,
        backend: BackendId,
        head: &RequestHead,
        end: bool,
        tag: u64,
    ) -> Result<RequestHandle, Unsent> {
        if let Some(unsent) = self.unsent {
            return Err(unsent);
        }
        assert!(!self.requests.iter().any(|other| other.tag == tag && other.is_open()), "a tag is used twice");
        self.requests.push(Request {
            backend,
            tag,
            method: head.fields.first(Known::Method).unwrap_or_default().to_vec(),
            traceparent: head.fields.all(Known::Traceparent).map(<[u8]>::to_vec).collect(),
            early_data: head.fields.all(Known::EarlyData).map(<[u8]>::to_vec).collect(),
            is_waiting: !self.is_connected,
            window: self.window,
            body: Vec::new(),
            parts: Vec::new(),
            trailers: None,
            sent_all: end,
            has_head: false,
            received_all: false,
            has_failed: false,
            reset: None,
            share: None,
            released: 0,
        });
        Ok(RequestHandle::from_bits(self.requests.len() as u64 - 1))
    }

    fn is_waiting(&self, request: RequestHandle) -> bool {
        let request = &self.requests[request.to_bits() as usize];
        request.is_open() && request.is_waiting
    }

    fn want_send(&mut self, request: RequestHandle) -> usize {
        let request = self.request_mut(request);
        assert!(!request.is_waiting, "asked for room on no connection");
        if request.is_open() { request.window } else { 0 }
    }

    fn send_data(&mut self, request: RequestHandle, data: &mut Bytes, end: bool) -> usize {
        let request = self.request_mut(request);
        assert!(!request.is_waiting && !request.sent_all, "body bytes that nobody can take");
        let taken = data.len().min(request.window);
        request.window -= taken;
        request.body.extend_from_slice(&data[..taken]);
        data.advance(taken);
        request.parts.push((taken, end));
        request.sent_all |= end && data.is_empty();
        taken
    }

    fn send_trailers(&mut self, request: RequestHandle, fields: &Fields) -> bool {
        if !self.takes_trailers {
            return false;
        }
        let request = self.request_mut(request);
        assert!(!request.sent_all, "trailers after the end");
        request.trailers = Some(fields.clone());
        request.sent_all = true;
        true
    }

    fn release(&mut self, request: RequestHandle, bytes: usize) {
        self.request_mut(request).released += bytes;
    }

    fn resize(&mut self, request: RequestHandle, bytes: usize) {
        self.request_mut(request).share = Some(bytes);
    }

    fn reset(&mut self, request: RequestHandle, reason: ResetReason) {
        let request = self.request_mut(request);
        assert!(request.reset.is_none(), "reset twice");
        // A request that has ended is not reset.
        if request.is_open() {
            request.reset = Some(reason);
        }
    }
}
