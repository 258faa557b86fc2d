//! Implements `io` with a worker's listeners and transport.

use super::io::{Backends, Clients, Io};
use crate::client_side::ClientSide;
use crate::listener::Listeners;
use bytes::Bytes;
use spooky_bridge::message::{Fields, RequestHead, ResetReason, ResponseHead, rewrite::ClientSubject};
use spooky_edge::{Body, BodyRead, Edge, StreamRef, TcpEdge};
use spooky_transport::{BackendId, RequestHandle, Transport, Unsent};
use std::time::Instant;

/// Both sides, borrowed for one call.
pub(crate) struct WorkerIo<'a> {
    pub(crate) listeners: &'a mut Listeners,
    pub(crate) transport: &'a mut Transport,
    pub(crate) now: Instant,
}

/// One client's connections, and its stream there.
enum Side<'a> {
    Quic(&'a mut Edge, StreamRef),
    Tcp(&'a mut TcpEdge, StreamRef),
}

impl WorkerIo<'_> {
    fn side(&mut self, client: ClientSide) -> Option<Side<'_>> {
        let listener = self.listeners.get_mut(client.listener())?;
        Some(match client {
            ClientSide::Quic { stream, .. } => Side::Quic(&mut listener.edge, stream),
            ClientSide::Tcp { stream, .. } => Side::Tcp(listener.tcp.edge.as_mut()?, stream),
        })
    }
}

impl Io for WorkerIo<'_> {
    fn now(&self) -> Instant {
        self.now
    }
}

impl Clients for WorkerIo<'_> {
    fn set_tag(&mut self, client: ClientSide, tag: u64) {
        match self.side(client) {
            Some(Side::Quic(edge, stream)) => edge.set_tag(stream, tag),
            Some(Side::Tcp(edge, stream)) => edge.set_tag(stream, tag),
            None => {}
        }
    }

    fn read_body(&mut self, client: ClientSide, max: usize) -> BodyRead {
        match self.side(client) {
            Some(Side::Quic(edge, stream)) => edge.read_body(stream, max),
            Some(Side::Tcp(edge, stream)) => edge.read_body(stream, max),
            None => BodyRead::Pending,
        }
    }

    fn unread(&mut self, client: ClientSide) -> u64 {
        match self.side(client) {
            Some(Side::Quic(edge, stream)) => edge.unread(stream),
            Some(Side::Tcp(edge, stream)) => edge.unread(stream),
            None => 0,
        }
    }

    fn send_interim(&mut self, client: ClientSide, head: &ResponseHead) {
        match self.side(client) {
            Some(Side::Quic(edge, stream)) => edge.interim(stream, head),
            Some(Side::Tcp(edge, stream)) => edge.interim(stream, head),
            None => {}
        }
    }

    fn send_head(&mut self, client: ClientSide, head: &ResponseHead, body: Body, is_tunnel: bool) {
        match self.side(client) {
            Some(Side::Quic(edge, stream)) => {
                edge.respond(stream, head, body);
                if is_tunnel {
                    edge.open_tunnel(stream);
                }
            }
            Some(Side::Tcp(edge, stream)) => edge.respond(stream, head, body, is_tunnel),
            None => {}
        }
    }

    fn send_body(&mut self, client: ClientSide, data: Bytes) -> usize {
        match self.side(client) {
            Some(Side::Quic(edge, stream)) => edge.send_body(stream, data),
            Some(Side::Tcp(edge, stream)) => edge.send_body(stream, data),
            None => data.len(),
        }
    }

    fn send_end(&mut self, client: ClientSide, trailers: Option<&Fields>) -> bool {
        match self.side(client) {
            Some(Side::Quic(edge, stream)) => edge.finish(stream, trailers),
            Some(Side::Tcp(edge, stream)) => edge.finish(stream, trailers),
            None => true,
        }
    }

    fn has_unsent(&mut self, client: ClientSide) -> bool {
        match self.side(client) {
            Some(Side::Quic(edge, stream)) => edge.has_unsent(stream),
            Some(Side::Tcp(edge, stream)) => edge.has_unsent(stream),
            None => false,
        }
    }

    fn stream_share(&mut self, client: ClientSide) -> Option<usize> {
        Some(match self.side(client)? {
            Side::Quic(edge, stream) => edge.stream_share(stream),
            Side::Tcp(edge, stream) => edge.stream_share(stream),
        })
    }

    fn reset_client(&mut self, client: ClientSide, reason: ResetReason) {
        match self.side(client) {
            Some(Side::Quic(edge, stream)) => edge.reset(stream, reason),
            Some(Side::Tcp(edge, stream)) => edge.reset(stream, reason),
            None => {}
        }
    }

    fn is_misdirected(&mut self, client: ClientSide, authority: &[u8], scratch: &mut Vec<u8>) -> bool {
        match self.side(client) {
            Some(Side::Quic(edge, stream)) => edge.is_misdirected(stream, authority, scratch),
            Some(Side::Tcp(edge, stream)) => edge.is_misdirected(stream, authority, scratch),
            None => false,
        }
    }

    fn is_early(&mut self, client: ClientSide) -> bool {
        match self.side(client) {
            Some(Side::Quic(edge, stream)) => edge.is_early(stream),
            Some(Side::Tcp(..)) | None => false,
        }
    }

    fn connection_id(&mut self, client: ClientSide) -> u64 {
        match self.side(client) {
            Some(Side::Quic(edge, stream)) => edge.connection_id(stream),
            Some(Side::Tcp(edge, stream)) => edge.connection_id(stream),
            None => 0,
        }
    }

    fn sticky_backend(&mut self, client: ClientSide, upstream: u64) -> Option<u64> {
        match self.side(client)? {
            Side::Quic(edge, stream) => edge.sticky_backend(stream, upstream),
            Side::Tcp(edge, stream) => edge.sticky_backend(stream, upstream),
        }
    }

    fn set_sticky_backend(&mut self, client: ClientSide, upstream: u64, backend: u64) {
        match self.side(client) {
            Some(Side::Quic(edge, stream)) => edge.set_sticky_backend(stream, upstream, backend),
            Some(Side::Tcp(edge, stream)) => edge.set_sticky_backend(stream, upstream, backend),
            None => {}
        }
    }

    fn port(&self, client: ClientSide) -> Option<u16> {
        Some(self.listeners.get(client.listener())?.port)
    }

    fn alt_svc(&mut self, client: ClientSide) -> Option<&[u8]> {
        let listener = self.listeners.get_mut(client.listener())?;
        let is_due = match client {
            ClientSide::Quic { stream, .. } => listener.edge.take_first_answer(stream),
            ClientSide::Tcp { .. } => true,
        };
        listener.alt_svc.as_deref().filter(|_| is_due)
    }

    fn subject(&self, client: ClientSide) -> Option<ClientSubject<'_>> {
        self.listeners.get(client.listener())?.subject(client)
    }

    fn subject_header(&self, client: ClientSide) -> Option<&[u8]> {
        Some(self.listeners.get(client.listener())?.subject_header.as_deref()?.as_bytes())
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
