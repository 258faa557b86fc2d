//! The client role: a connection to a backend, on which this side opens the streams.

use bytes::BytesMut;

use super::{
    Code, Config, ConnectionError, Event, SendRequestError, StreamId,
    connection::{Connection, clamp},
    flood::FloodLimits,
    flow::SendWindow,
    frame::PREFACE,
    settings::ENABLE_PUSH,
    stream::{RecvState, SendState, SendWait, Stream},
};
use crate::message::{Fields, RequestHead};

/// Maximum number of open streams, whatever the peer allows.
const MAX_STREAMS: u32 = 4096;
/// The largest stream identifier (RFC 9113 5.1.1).
const MAX_ID: u32 = 0x7fff_ffff;
/// Unsent bytes above which no stream is opened, because the peer does not read.
const MAX_BACKLOG: usize = 1024 * 1024;

/// A connection to an HTTP/2 server.
pub type Client = Connection<ClientRole>;

/// The role of [`Client`].
#[derive(Debug)]
pub struct ClientRole;

impl Client {
    /// Creates a connection and queues its preface, SETTINGS and connection window. Requests may be sent at once.
    pub fn new(config: &Config) -> Self {
        let mut client = Self::with_role(ClientRole, clamp(config.clone()), FloodLimits::of_backend(), PREFACE);
        client.put_opening(&[(ENABLE_PUSH, 0)]);
        client
    }

    #[cfg(test)]
    pub(super) fn is_ready(&self) -> bool {
        self.peer.received
    }

    /// Returns the next event of `input`, which begins with the first unread byte of the connection, and removes the
    /// bytes read. `Ok(None)` means that more bytes are needed.
    pub fn recv(&mut self, input: &mut BytesMut) -> Result<Option<Event>, ConnectionError> {
        self.next_event(input)
    }

    /// Returns whether no stream can be opened any more: GOAWAY, connection error, or all identifiers used.
    pub fn is_closing(&self) -> bool {
        self.has_ended() || self.next_id > MAX_ID
    }

    /// Returns whether GOAWAY or a connection error ended the use of the connection.
    fn has_ended(&self) -> bool {
        self.failed.is_some() || self.goaway_sent.is_some() || self.goaway_received.is_some()
    }

    /// Returns how many more streams may be opened now.
    pub fn capacity(&self) -> usize {
        if self.is_closing() || self.output.len() > MAX_BACKLOG {
            return 0;
        }
        let numbers = (MAX_ID - self.next_id) / 2 + 1;
        let max_streams = self.peer.max_streams.min(MAX_STREAMS);
        (max_streams as usize).saturating_sub(self.streams.len()).min(numbers as usize)
    }

    /// Returns tag and id of each open stream, and whether its response head has arrived.
    pub fn open_streams(&self) -> impl Iterator<Item = (u64, StreamId, bool)> {
        self.streams.iter().map(|stream| (stream.tag, stream.id, !matches!(stream.recv, RecvState::Head { .. })))
    }

    /// Opens a stream and queues the request head. `end` says that neither body nor trailers follow. Every event of the
    /// stream carries `tag`.
    pub fn send_request(&mut self, head: &RequestHead, end: bool, tag: u64) -> Result<StreamId, SendRequestError> {
        if self.has_ended() {
            return Err(SendRequestError::Closing);
        }
        if self.capacity() == 0 {
            return Err(match () {
                () if self.is_closing() => SendRequestError::IdsUsedUp,
                () if self.output.len() > MAX_BACKLOG => SendRequestError::Backlogged,
                () => SendRequestError::StreamLimit,
            });
        }
        if head.is_extended_connect() && !self.peer.extended_connect {
            return Err(SendRequestError::NoExtendedConnect);
        }
        if !self.accepts(&head.fields) {
            return Err(SendRequestError::HeadersTooLarge);
        }
        let id = StreamId(self.next_id);
        let receive_window = self.new_receive_window();
        self.next_id += 2;
        self.put_section(id, head.fields.iter(), end);
        self.streams.insert(Stream {
            id,
            tag,
            method: head.method,
            send: if end { SendState::Done } else { SendState::Body },
            recv: RecvState::Head { interim: 0 },
            waiting: SendWait::None,
            send_window: SendWindow::new(self.peer.initial_window),
            receive_window,
        });
        self.flood.progress();
        Ok(id)
    }

    /// Ends the request with trailers. The caller must have sent all of the body. Without a field in them only
    /// `END_STREAM` is sent, because some peers close the connection on an empty section. Returns false, sending nothing,
    /// if the trailers exceed the limit of the peer; the caller must then reset the stream.
    pub fn send_trailers(&mut self, id: StreamId, fields: &Fields) -> bool {
        if self.is_sending(id) && !self.accepts(fields) {
            return false;
        }
        self.put_trailers(id, fields);
        true
    }

    /// Queues GOAWAY and opens no more streams. Open streams continue.
    pub fn go_away(&mut self, code: Code) {
        if self.failed.is_none() && self.goaway_sent.is_none() {
            self.put_go_away(self.last_peer_stream(), code);
        }
    }

    /// Resets the count of useless frames. The owner must call it periodically, for example at its keep-alive interval.
    pub fn tick(&mut self) {
        self.flood.progress();
    }

    /// Returns whether the peer accepts a field section of this size (RFC 9113 6.5.2).
    fn accepts(&self, fields: &Fields) -> bool {
        let limit = self.peer.max_header_list;
        limit == u32::MAX || fields.section_size() <= limit as usize
    }
}
