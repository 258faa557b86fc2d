//! Implements `io` with a worker's listeners and transport.

use super::io::{Backends, ClientSide, Clients, Io};
use crate::listener::Listeners;
use bytes::Bytes;
use spooky_bridge::message::{Fields, RequestHead, ResetReason, ResponseHead, rewrite::ClientSubject};
use spooky_edge::{Body, BodyRead, Edge, StreamRef};
use spooky_transport::{BackendId, RequestHandle, Transport, Unsent};
use std::time::Instant;

/// Both sides, borrowed for one call.
pub(crate) struct WorkerIo<'a> {
    pub(crate) listeners: &'a mut Listeners,
    pub(crate) transport: &'a mut Transport,
    pub(crate) now: Instant,
}

impl WorkerIo<'_> {
    fn edge(&mut self, client: ClientSide) -> Option<(&mut Edge, StreamRef)> {
        let ClientSide::Quic { listener, stream } = client;
        Some((&mut self.listeners.get_mut(listener)?.edge, stream))
    }
}

impl Io for WorkerIo<'_> {
    fn now(&self) -> Instant {
        self.now
    }
}

impl Clients for WorkerIo<'_> {
    fn set_tag(&mut self, client: ClientSide, tag: u64) {
        if let Some((edge, stream)) = self.edge(client) {
            edge.set_tag(stream, tag);
        }
    }

    fn read_body(&mut self, client: ClientSide, max: usize) -> BodyRead {
        self.edge(client).map_or(BodyRead::Pending, |(edge, stream)| edge.read_body(stream, max))
    }

    fn unread(&mut self, client: ClientSide) -> u64 {
        self.edge(client).map_or(0, |(edge, stream)| edge.unread(stream))
    }

    fn send_interim(&mut self, client: ClientSide, head: &ResponseHead) {
        if let Some((edge, stream)) = self.edge(client) {
            edge.interim(stream, head);
        }
    }

    fn send_head(&mut self, client: ClientSide, head: &ResponseHead, body: Body, is_tunnel: bool) {
        if let Some((edge, stream)) = self.edge(client) {
            edge.respond(stream, head, body);
            if is_tunnel {
                edge.open_tunnel(stream);
            }
        }
    }

    fn send_body(&mut self, client: ClientSide, data: Bytes) -> usize {
        let length = data.len();
        self.edge(client).map_or(length, |(edge, stream)| edge.send_body(stream, data))
    }

    fn send_end(&mut self, client: ClientSide, trailers: Option<&Fields>) -> bool {
        self.edge(client).is_none_or(|(edge, stream)| edge.finish(stream, trailers))
    }

    fn has_unsent(&mut self, client: ClientSide) -> bool {
        self.edge(client).is_some_and(|(edge, stream)| edge.has_unsent(stream))
    }

    fn stream_share(&mut self, client: ClientSide) -> Option<usize> {
        self.edge(client).map(|(edge, stream)| edge.stream_share(stream))
    }

    fn reset_client(&mut self, client: ClientSide, reason: ResetReason) {
        if let Some((edge, stream)) = self.edge(client) {
            edge.reset(stream, reason);
        }
    }

    fn is_misdirected(&mut self, client: ClientSide, authority: &[u8], scratch: &mut Vec<u8>) -> bool {
        self.edge(client).is_some_and(|(edge, stream)| edge.is_misdirected(stream, authority, scratch))
    }

    fn connection_id(&mut self, client: ClientSide) -> u64 {
        self.edge(client).map_or(0, |(edge, stream)| edge.connection_id(stream))
    }

    fn sticky_backend(&mut self, client: ClientSide, upstream: u64) -> Option<u64> {
        let (edge, stream) = self.edge(client)?;
        edge.sticky_backend(stream, upstream)
    }

    fn set_sticky_backend(&mut self, client: ClientSide, upstream: u64, backend: u64) {
        if let Some((edge, stream)) = self.edge(client) {
            edge.set_sticky_backend(stream, upstream, backend);
        }
    }

    fn port(&self, client: ClientSide) -> Option<u16> {
        let ClientSide::Quic { listener, .. } = client;
        Some(self.listeners.get(listener)?.port)
    }

    fn subject(&self, client: ClientSide) -> Option<ClientSubject<'_>> {
        let ClientSide::Quic { listener, stream } = client;
        self.listeners.get(listener)?.subject(stream)
    }

    fn subject_header(&self, client: ClientSide) -> Option<&[u8]> {
        let ClientSide::Quic { listener, .. } = client;
        Some(self.listeners.get(listener)?.subject_header.as_deref()?.as_bytes())
    }
}

impl Backends for WorkerIo<'_> {
    fn request(
        &mut self,
        backend: BackendId,
        head: &RequestHead,
        end: bool,
        tag: u64,
    ) -> Result<RequestHandle, Unsent> {
        self.transport.request(backend, head, end, tag, self.now)
    }

    fn is_waiting(&self, request: RequestHandle) -> bool {
        self.transport.is_waiting(request)
    }

    fn want_send(&mut self, request: RequestHandle) -> usize {
        self.transport.want_send(request)
    }

    fn send_data(&mut self, request: RequestHandle, data: &mut Bytes, end: bool) -> usize {
        self.transport.send_data(request, data, end)
    }

    fn send_trailers(&mut self, request: RequestHandle, fields: &Fields) -> bool {
        self.transport.send_trailers(request, fields)
    }

    fn release(&mut self, request: RequestHandle, bytes: usize) {
        self.transport.release(request, bytes);
    }

    fn resize(&mut self, request: RequestHandle, bytes: usize) {
        self.transport.resize(request, bytes);
    }

    fn reset(&mut self, request: RequestHandle, reason: ResetReason) {
        self.transport.reset(request, reason);
    }
}
