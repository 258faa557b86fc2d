//! The server role: a connection of a client, which opens the streams.
//!
//! `request` handles what the client sends on streams.

use std::{collections::VecDeque, time::Duration};

use bytes::{Buf as _, BytesMut};

use super::{
    Code, Config, ConnectionError, ServerConfig, ServerEvent, StreamId,
    connection::{Connection, clamp},
    flood::FloodLimits,
    flow::{DEFAULT_WINDOW, MAX_WINDOW},
    frame::PREFACE,
    settings::{ENABLE_CONNECT_PROTOCOL, MAX_CONCURRENT_STREAMS},
    stream::{RecvState, SendState},
};
use crate::message::{
    Field, Fields, Known, Name, ResponseHead,
    check::{BodyLength, HeadLimits, RequestRules},
};

/// Unsent bytes above which no input is read, because the client does not read the responses that its requests cause.
const MAX_BACKLOG: usize = 1024 * 1024;

/// Uploads that may go on after their responses. They count as open streams, so more would keep requests out.
const MAX_UNWANTED: usize = 16;

/// A connection of an HTTP/2 client.
pub type Server = Connection<ServerRole>;

/// The role of [`Server`].
#[derive(Debug)]
pub struct ServerRole {
    pub(super) limits: HeadLimits,
    pub(super) rules: RequestRules,
    pub(super) max_streams: u32,
    /// The client has passed over identifiers.
    pub(super) has_gaps: bool,
    shutdown: Shutdown,
    /// Streams whose responses have ended before their requests, the oldest first. The client may have closed them.
    unwanted: VecDeque<StreamId>,
    /// Bytes of the client preface received.
    preface: usize,
}

/// State of a graceful shutdown (RFC 9113 6.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shutdown {
    No,
    /// The first GOAWAY says that the connection will end.
    Announced,
    /// The last GOAWAY says which streams are accepted.
    Final,
}

impl Server {
    /// Creates a connection and queues its SETTINGS and connection window.
    pub fn new(config: &ServerConfig) -> Self {
        let role = ServerRole {
            limits: config.limits,
            rules: config.rules,
            max_streams: config.max_streams,
            has_gaps: false,
            shutdown: Shutdown::No,
            unwanted: VecDeque::new(),
            preface: 0,
        };
        let shared = Config {
            initial_stream_window: config.initial_stream_window,
            connection_window: config.connection_window,
            max_frame_size: config.max_frame_size,
            header_table_size: config.header_table_size,
            max_header_list: u32::try_from(config.limits.section_size()).unwrap_or(u32::MAX),
        };
        let mut server = Self::with_role(role, clamp(shared), FloodLimits::of_client(), &[]);
        let connect = [(ENABLE_CONNECT_PROTOCOL, 1)];
        let connect: &[_] = if config.rules.extended_connect { &connect } else { &[] };
        server.put_opening(&[&[(MAX_CONCURRENT_STREAMS, config.max_streams)], connect].concat());
        // Until the client has read the SETTINGS, its streams have the default window (RFC 9113 6.9.2).
        let delta = i64::from(server.config.initial_stream_window) - i64::from(DEFAULT_WINDOW);
        server.window_change = Some(delta.min(0));
        server
    }

    /// Applies other limits and rules to further requests. What SETTINGS announced stays.
    pub fn configure(&mut self, limits: HeadLimits, rules: RequestRules) {
        self.role.limits = limits;
        self.role.rules = rules;
    }

    /// Returns the next event of `input`, which begins with the first unread byte of the connection, and removes the
    /// bytes read. `Ok(None)` means that more bytes are needed, or that the client must first read more of the output.
    /// `now` is the time since any fixed point and must not decrease.
    pub fn recv(&mut self, input: &mut BytesMut, now: Duration) -> Result<Option<ServerEvent>, ConnectionError> {
        self.flood.set_now(now);
        if self.role.preface < PREFACE.len() && self.failed.is_none() && !self.read_preface(input)? {
            return Ok(None);
        }
        if self.output.len() > MAX_BACKLOG && self.failed.is_none() {
            return Ok(None);
        }
        self.next_event(input)
    }

    /// Reads the client preface (RFC 9113 3.4). Returns whether it is complete.
    fn read_preface(&mut self, input: &mut BytesMut) -> Result<bool, ConnectionError> {
        let expected = PREFACE.get(self.role.preface..).unwrap_or_default();
        let len = expected.len().min(input.len());
        if input.get(..len) != expected.get(..len) {
            let error = ConnectionError::protocol("invalid connection preface", "RFC 9113 3.4");
            self.fail(error);
            return Err(error);
        }
        input.advance(len);
        self.role.preface += len;
        Ok(len == expected.len())
    }

    /// Returns the number of the frame or field block that has begun and is incomplete, given whether there is unread input.
    /// The client can send nothing else meanwhile. `None` for DATA, whose payload is read as it arrives.
    pub fn incomplete_frame(&self, has_input: bool) -> Option<u64> {
        let is_incomplete = self.block.is_some() || has_input && self.payload.is_none();
        is_incomplete.then_some(self.frames)
    }

    /// Keeps a stream whose response has ended before its request, until the client ends it or
    /// [`Server::stop_uploads`] is called. Stops the oldest one if there are too many.
    pub(super) fn keep_unwanted(&mut self, id: StreamId) {
        if self.role.unwanted.len() >= MAX_UNWANTED {
            self.stop_upload();
        }
        self.role.unwanted.push_back(id);
    }

    /// Returns whether there are uploads whose responses have ended.
    pub fn has_unwanted_uploads(&mut self) -> bool {
        let Self { role, streams, .. } = self;
        role.unwanted.retain(|id| streams.get(*id).is_some());
        !role.unwanted.is_empty()
    }

    /// Stops the uploads whose responses have ended, by `RST_STREAM` with `NO_ERROR` (RFC 9113 8.1). To be called a time
    /// after the response was sent, because clients that read both at once may report an error instead of the response.
    pub fn stop_uploads(&mut self) {
        while !self.role.unwanted.is_empty() {
            self.stop_upload();
        }
    }

    fn stop_upload(&mut self) {
        if let Some(id) = self.role.unwanted.pop_front() {
            self.reset(id, Code::NO_ERROR);
        }
    }

    /// Returns whether the first SETTINGS of the client arrived.
    pub fn is_ready(&self) -> bool {
        self.peer.received
    }

    /// Sets the value that every further event of the stream carries.
    pub fn set_tag(&mut self, id: StreamId, tag: u64) {
        if let Some(stream) = self.streams.get_mut(id) {
            stream.tag = tag;
        }
    }

    /// Returns tag and id of each open stream.
    pub fn open_streams(&self) -> impl Iterator<Item = (u64, StreamId)> {
        self.streams.iter().map(|stream| (stream.tag, stream.id))
    }

    /// Queues an interim response. Does nothing after the final head, or if the status is 101, which HTTP/2 does not have
    /// (RFC 9113 8.6).
    pub fn send_interim(&mut self, id: StreamId, head: &ResponseHead) {
        if head.is_interim()
            && head.status != 101
            && self.streams.get(id).is_some_and(|stream| stream.send == SendState::Head)
        {
            self.put_head(id, head, false);
        }
    }

    /// Queues the head of the final response. `end` says that neither body nor trailers follow. If they are not to be
    /// sent by definition, as in a response to HEAD (RFC 9110 6.4.1), body bytes are dropped later. Once the response
    /// has ended, the rest of an upload is dropped: see [`Server::stop_uploads`].
    pub fn send_head(&mut self, id: StreamId, head: &ResponseHead, end: bool) {
        if head.is_interim() {
            return self.send_interim(id, head);
        }
        let Some(stream) = self.streams.get_mut(id).filter(|stream| stream.send == SendState::Head) else { return };
        let is_tunnel = head.opens_tunnel(stream.method);
        if !is_tunnel && matches!(stream.recv, RecvState::Tunnel) {
            stream.recv = RecvState::Body(BodyLength::Open);
        }
        stream.send = if is_tunnel || head.has_body(stream.method) { SendState::Body } else { SendState::Bodiless };
        self.put_head(id, head, end);
        self.flood.progress();
        if end {
            self.finish_send(id);
        }
    }

    fn put_head(&mut self, id: StreamId, head: &ResponseHead, end: bool) {
        let digit = |value: u16| b'0' + (value % 10) as u8;
        let status = [digit(head.status / 100), digit(head.status / 10), digit(head.status)];
        let status = Field { name: Name::Known(Known::Status), value: &status, sensitive: false };
        self.put_section(id, std::iter::once(status).chain(head.fields.iter()), end);
    }

    /// Ends the response with trailers. The caller must have sent all of the body. Without a field in them only
    /// `END_STREAM` is sent, because some clients close the connection on an empty section.
    pub fn send_trailers(&mut self, id: StreamId, fields: &Fields) {
        self.put_trailers(id, fields);
    }

    /// Does the next step of a graceful shutdown (RFC 9113 6.8): the first GOAWAY says that the connection will end,
    /// the second, at least a round trip later, which streams are accepted. Returns false if both were sent, or the
    /// connection failed.
    pub fn shut_down_step(&mut self) -> bool {
        match self.role.shutdown {
            _ if self.failed.is_some() => false,
            Shutdown::No => {
                self.role.shutdown = Shutdown::Announced;
                self.put_go_away(MAX_WINDOW, Code::NO_ERROR);
                true
            }
            Shutdown::Announced => {
                self.close(Code::NO_ERROR);
                true
            }
            Shutdown::Final => false,
        }
    }

    /// Accepts no more streams: queues GOAWAY with this code and the last stream received. Open streams continue.
    pub fn close(&mut self, code: Code) {
        if self.failed.is_none() {
            self.role.shutdown = Shutdown::Final;
            self.put_go_away(self.last_peer_stream(), code);
        }
    }

    /// Returns whether the shutdown is complete: no stream is accepted and none is open.
    pub fn is_drained(&self) -> bool {
        self.role.shutdown == Shutdown::Final && self.streams.len() == 0
    }
}
