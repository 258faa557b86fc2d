//! What the owner sends: requests, bodies and trailers, framed into the output as far as limits and windows permit.

use bytes::{Buf as _, Bytes};

use super::{
    Client, Refused, StreamId,
    client::{MAX_BACKLOG, Phase},
    flow::{ReceiveWindow, SendWindow},
    frame::{self, HEADER_LEN, Kind, flag},
    stream::{Request, Response, Stream, Waiting},
};
use crate::message::{Fields, RequestHead};

/// Unsent bytes above which no more body is taken: what the socket does not take stays with the owner.
const MAX_QUEUED: usize = 256 * 1024;
/// Bodies below this are copied into the output: that is cheaper than a slice of its own in the write.
const MIN_SLICE: usize = 1024;

impl Client {
    /// Opens a stream for this request; `end`: it has neither body nor trailers. `tag` comes back with every event.
    pub fn send_request(&mut self, head: &RequestHead, end: bool, tag: u64) -> Result<StreamId, Refused> {
        if self.phase != Phase::Open {
            return Err(Refused::Closing);
        }
        if self.capacity() == 0 {
            return Err(match () {
                () if self.is_closing() => Refused::IdsUsedUp,
                () if self.output.len() > MAX_BACKLOG => Refused::Backlogged,
                () => Refused::StreamLimit,
            });
        }
        if !self.accepts(&head.fields) {
            return Err(Refused::HeadersTooLarge);
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
            waiting: Waiting::No,
            send_window: SendWindow::new(self.peer.initial_window),
            receive_window: ReceiveWindow::new(self.config.initial_stream_window),
        });
        self.guard.progress();
        Ok(id)
    }

    /// Bytes of body that [`Client::send_data`] would take now.
    pub fn sendable(&self, id: StreamId) -> usize {
        self.streams.get(id).map_or(0, |stream| self.room(stream))
    }

    /// Sends as much of `data` as windows and output permit and leaves the rest in it; with `end`, the last byte (or an
    /// empty `data`) ends the request. Returns the number of bytes taken. If something is left,
    /// [`super::Event::Sendable`] says when to try again. A stream that is gone takes everything and sends nothing.
    pub fn send_data(&mut self, id: StreamId, data: &mut Bytes, end: bool) -> usize {
        let Some(stream) = self.streams.get(id).filter(|stream| stream.request == Request::Open) else {
            let all = data.len();
            data.clear();
            return all;
        };
        let taken = self.room(stream).min(data.len());
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
            self.guard.progress();
        }
        self.after_data(id, taken, end, !data.is_empty());
        taken
    }

    /// Ends the request with trailers, after [`Client::send_data`] took all of the body. Without any field in them it is a
    /// plain end: peers have closed the connection on an empty section. Returns false, and sends nothing, if they exceed what
    /// the peer accepts; the caller must then reset the stream.
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

    /// A stream that waits and can take bytes now.
    pub(super) fn next_turn(&mut self) -> Option<(u64, StreamId)> {
        if self.send_window.room() == 0 || self.output.len() > MAX_QUEUED / 2 {
            return None;
        }
        while let Some(id) = self.turns.pop_front() {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            if stream.request == Request::Done {
                stream.waiting = Waiting::No;
            } else if stream.send_window.room() > 0 {
                stream.waiting = Waiting::No;
                return Some((stream.tag, id));
            } else {
                stream.waiting = Waiting::Window;
            }
        }
        None
    }

    fn room(&self, stream: &Stream) -> usize {
        let window = stream.send_window.room().min(self.send_window.room());
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
        } else if left && stream.waiting == Waiting::No {
            if stream.send_window.room() == 0 {
                stream.waiting = Waiting::Window;
            } else {
                stream.waiting = Waiting::Turn;
                self.turns.push_back(id);
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
            self.output.push(data.split_to(part));
        }
    }

    /// HEADERS, encoded in place; its length is filled in afterwards.
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
        if let Some(place) = out.get_mut(start..start + HEADER_LEN) {
            place.copy_from_slice(&header.bytes());
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
