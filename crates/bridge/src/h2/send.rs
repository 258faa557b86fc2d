//! Output: requests, bodies and trailers, framed as far as limits and windows permit.

use bytes::{Buf as _, Bytes};

use super::{
    Client, SendRequestError, StreamId,
    client::{ConnectionState, MAX_BACKLOG},
    flow::{ReceiveWindow, SendWindow},
    frame::{self, HEADER_LEN, Kind, flag},
    stream::{Request, Response, SendWait, Stream},
};
use crate::message::{Fields, RequestHead};

/// Unsent bytes above which no more body is accepted; the rest stays with the owner.
const MAX_QUEUED: usize = 256 * 1024;
/// Smaller parts of a body are copied into the output, which is cheaper than a separate slice of the vectored write.
const MIN_SLICE: usize = 1024;

impl Client {
    /// Opens a stream and queues the request head. `end` says that neither body nor trailers follow. Every event of the
    /// stream carries `tag`.
    pub fn send_request(&mut self, head: &RequestHead, end: bool, tag: u64) -> Result<StreamId, SendRequestError> {
        if self.state != ConnectionState::Open {
            return Err(SendRequestError::Closing);
        }
        if self.capacity() == 0 {
            return Err(match () {
                () if self.is_closing() => SendRequestError::IdsUsedUp,
                () if self.output.len() > MAX_BACKLOG => SendRequestError::Backlogged,
                () => SendRequestError::StreamLimit,
            });
        }
        if !self.accepts(&head.fields) {
            return Err(SendRequestError::HeadersTooLarge);
        }
        let id = StreamId(self.next_id);
        self.next_id += 2;
        self.put_fields(id, &head.fields, end);
        self.streams.insert(Stream {
            id,
            tag,
            method: head.method,
            request: if end { Request::Done } else { Request::Open },
            response: Response::Head { interim: 0 },
            waiting: SendWait::None,
            send_window: SendWindow::new(self.peer.initial_window),
            receive_window: ReceiveWindow::new(self.config.initial_stream_window),
        });
        self.flood.progress();
        Ok(id)
    }

    /// Returns the number of body bytes that [`Client::send_data`] would take now.
    pub fn sendable(&self, id: StreamId) -> usize {
        self.streams.get(id).map_or(0, |stream| self.send_capacity(stream))
    }

    /// Sends as much of `data` as windows and output permit and leaves the rest in it. With `end`, the last byte (or an
    /// empty `data`) ends the request. Returns the number of bytes taken. If bytes are left, [`super::Event::Sendable`]
    /// says when to try again. On a closed stream all bytes are taken and dropped.
    pub fn send_data(&mut self, id: StreamId, data: &mut Bytes, end: bool) -> usize {
        let Some(stream) = self.streams.get(id).filter(|stream| stream.request == Request::Open) else {
            let all = data.len();
            data.clear();
            return all;
        };
        let taken = self.send_capacity(stream).min(data.len());
        let end = end && taken == data.len();
        let mut left = taken;
        while left > 0 {
            let part = left.min(self.peer.max_frame_size as usize);
            left -= part;
            self.put_data(id, data, part, end && left == 0);
        }
        if taken == 0 && end {
            self.put_data(id, data, 0, true);
        }
        self.send_window.take(taken);
        if taken > 0 {
            self.flood.progress();
        }
        self.after_data(id, taken, end, !data.is_empty());
        taken
    }

    /// Ends the request with trailers. The caller must have sent all of the body. Without a field in them only
    /// `END_STREAM` is sent, because some peers close the connection on an empty section. Returns false, sending nothing,
    /// if the trailers exceed the limit of the peer; the caller must then reset the stream.
    pub fn send_trailers(&mut self, id: StreamId, fields: &Fields) -> bool {
        if self.streams.get(id).is_none_or(|stream| stream.request != Request::Open) {
            return true;
        }
        if !self.accepts(fields) {
            return false;
        }
        if fields.is_empty() {
            self.put_data(id, &mut Bytes::new(), 0, true);
        } else {
            self.put_fields(id, fields, true);
        }
        self.after_data(id, 0, true, false);
        true
    }

    /// Returns whether the peer accepts a field section of this size (RFC 9113 6.5.2).
    fn accepts(&self, fields: &Fields) -> bool {
        let limit = self.peer.max_header_list;
        limit == u32::MAX || fields.section_size() <= limit as usize
    }

    /// Returns the next queued stream that can take bytes.
    pub(super) fn next_sendable(&mut self) -> Option<(u64, StreamId)> {
        if self.send_window.available() == 0 || self.output.len() > MAX_QUEUED / 2 {
            return None;
        }
        while let Some(id) = self.send_queue.pop_front() {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            if stream.request == Request::Done {
                stream.waiting = SendWait::None;
            } else if stream.send_window.available() > 0 {
                stream.waiting = SendWait::None;
                return Some((stream.tag, id));
            } else {
                stream.waiting = SendWait::StreamWindow;
            }
        }
        None
    }

    fn send_capacity(&self, stream: &Stream) -> usize {
        let window = stream.send_window.available().min(self.send_window.available());
        match stream.request {
            Request::Open => window.min(MAX_QUEUED.saturating_sub(self.output.len())),
            Request::Done => 0,
        }
    }

    fn after_data(&mut self, id: StreamId, taken: usize, end: bool, left: bool) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.send_window.take(taken);
        if end {
            stream.request = Request::Done;
            if stream.is_complete() {
                self.remove(id);
            }
        } else if left && stream.waiting == SendWait::None {
            if stream.send_window.available() == 0 {
                stream.waiting = SendWait::StreamWindow;
            } else {
                stream.waiting = SendWait::Queued;
                self.send_queue.push_back(id);
            }
        }
    }

    fn put_data(&mut self, id: StreamId, data: &mut Bytes, part: usize, end: bool) {
        let flags = if end { flag::END_STREAM } else { 0 };
        frame::put_header(self.output.tail(), Kind::Data, flags, id.0, part);
        if part < MIN_SLICE {
            let tail = self.output.tail();
            tail.extend_from_slice(data.get(..part).unwrap_or_default());
            data.advance(part);
        } else {
            self.output.push_slice(data.split_to(part));
        }
    }

    /// Appends HEADERS, encoded in place, and CONTINUATION if needed. The length is filled in afterwards.
    fn put_fields(&mut self, id: StreamId, fields: &Fields, end: bool) {
        let out = self.output.tail();
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_LEN]);
        self.encoder.encode(fields.iter(), out);
        let flags = if end { flag::END_STREAM } else { 0 };
        let max = self.peer.max_frame_size as usize;
        let len = out.len() - start - HEADER_LEN;
        let flags = if len <= max { flags | flag::END_HEADERS } else { flags };
        let header = frame::Header { len: len.min(max) as u32, kind: Kind::Headers, flags, stream: id.0 };
        if let Some(slot) = out.get_mut(start..start + HEADER_LEN) {
            slot.copy_from_slice(&header.bytes());
        }
        if len > max {
            let rest = out.split_off(start + HEADER_LEN + max);
            let mut parts = rest.chunks(max).peekable();
            while let Some(part) = parts.next() {
                let flags = if parts.peek().is_none() { flag::END_HEADERS } else { 0 };
                frame::put_header(out, Kind::Continuation, flags, id.0, part.len());
                out.extend_from_slice(part);
            }
        }
    }
}
