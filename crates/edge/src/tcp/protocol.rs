//! The operations that HTTP/2 and HTTP/1.1 have in common, and what they need of the connection.

use crate::{
    body::Body,
    event::{Abort, BodyRead, Event},
};
use bytes::{Bytes, BytesMut};
use spooky_bridge::{
    WriteBuffer,
    h1::Scheme,
    message::{
        self, Fields, ResetReason, ResponseHead,
        check::{HeadLimits, RequestRules},
    },
};
use spooky_table::Handle;
use spooky_telemetry::metrics::ClientCounts;
use std::{collections::VecDeque, net::SocketAddr, time::Instant};

/// Settings that all sessions of an edge share.
pub(super) struct SessionSettings {
    pub(super) limits: HeadLimits,
    pub(super) rules: RequestRules,
    /// The scheme of HTTP/1.1 requests.
    pub(super) scheme: Scheme,
    /// Concurrent requests of an HTTP/2 connection.
    pub(super) max_streams: u32,
    /// Limit of the received and unread bytes of a request, and of waiting interim heads.
    pub(super) stream_buffer: usize,
    /// Where connections are counted.
    pub(super) counts: ClientCounts,
}

impl SessionSettings {
    pub(super) fn rules_for(&self, protocol: message::Protocol) -> RequestRules {
        RequestRules { protocol, ..self.rules }
    }
}

/// Identity and addresses of a connection.
#[derive(Clone, Copy)]
pub(super) struct Peer {
    pub(super) conn: Handle,
    /// Address of the client; of the PROXY header if there was one.
    pub(super) address: SocketAddr,
}

/// The client violated the protocol: the connection must be closed once the output is sent. Contains the reason, for the
/// log.
pub(super) struct SessionError(pub(super) String);

/// The operations of a protocol. Streams are identified by handles of the session.
pub(super) trait Protocol {
    /// Handles received bytes as far as possible. Must be called again after a write that emptied the output, and after
    /// the exchange has read a body or ended a response.
    fn receive(
        &mut self,
        input: &mut BytesMut,
        peer: &Peer,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) -> Result<(), SessionError>;

    /// As `receive`, when the client has ended its side.
    fn on_end(
        &mut self,
        input: &mut BytesMut,
        peer: &Peer,
        now: Instant,
        events: &mut VecDeque<Event>,
    ) -> Result<(), SessionError>;

    /// Returns whether received bytes can be handled now; otherwise the socket is not read.
    fn wants_input(&mut self) -> bool;

    /// Returns the bytes for the client.
    fn output(&mut self) -> &mut WriteBuffer;

    /// Returns whether nothing more is sent or read: the connection ends once the output is sent.
    fn is_finished(&self) -> bool;

    /// Returns whether the client has sent a part of a request, so that it may go on sending.
    fn is_receiving(&self) -> bool;

    /// Returns whether the last response is incomplete, and the client must not take it for complete.
    fn is_cut_off(&self) -> bool;

    /// Returns whether the sending side ends once the output is sent, while the client may still send.
    fn is_half_closed(&self) -> bool;

    /// Returns the number of the request head that has begun to arrive and is incomplete, given whether there are unread
    /// bytes. Two heads that follow one another have different numbers.
    fn incomplete_head(&self, has_input: bool) -> Option<u64>;

    /// Applies new rules and limits of request heads.
    fn configure(&mut self, settings: &SessionSettings);

    /// Adds the tag to an event that the exchange takes now. Removes the stream with its last event.
    fn on_taken(&mut self, event: &mut Event);
    fn set_tag(&mut self, stream: Handle, tag: u64);
    fn read_body(&mut self, stream: Handle, max: usize) -> BodyRead;
    fn unread(&self, stream: Handle) -> usize;
    fn has_unsent(&self, stream: Handle) -> bool;
    fn open_streams(&self) -> usize;
    /// Returns the response bytes that wait for space in the output.
    fn waiting(&self) -> usize;

    fn interim(&mut self, stream: Handle, head: &ResponseHead);
    fn respond(&mut self, stream: Handle, head: &ResponseHead, body: Body, is_tunnel: bool);
    fn send_body(&mut self, stream: Handle, data: Bytes) -> usize;
    fn finish(&mut self, stream: Handle, trailers: Option<&Fields>) -> bool;
    fn reset(&mut self, stream: Handle, reason: ResetReason);

    /// Ends every stream with an `Aborted` event, because the connection has ended.
    fn abort_streams(&mut self, peer: &Peer, abort: Abort, events: &mut VecDeque<Event>);

    /// Ends the connection because a request head is incomplete for too long. HTTP/1.1 clients get an answer.
    fn time_out_head(&mut self, peer: &Peer, events: &mut VecDeque<Event>);

    /// Does the next step of a graceful shutdown if it is due, given whether there are unread bytes. Returns whether there is
    /// something to send.
    fn drain_step(&mut self, has_input: bool, now: Instant) -> bool;

    /// Does what is due by `due`.
    fn on_time(&mut self, now: Instant);
    fn due(&self) -> Option<Instant>;

    /// Ends the connection in order, because it is idle or the process stops. Open streams end with `Abort::Closed`.
    fn close(&mut self, peer: &Peer, events: &mut VecDeque<Event>);
}
