//! Output: heads, bodies and trailers, framed as far as limits and windows permit.

use bytes::{Buf as _, Bytes};

use super::{
    StreamId,
    connection::{Connection, Role},
    frame::{self, HEADER_LEN, Kind, flag},
    stream::{SendState, SendWait, Stream},
};
use crate::message::{Field, Fields};

/// Unsent bytes above which no more body is accepted; the rest stays with the owner.
const MAX_QUEUED: usize = 256 * 1024;
/// Smaller parts of a body are copied into the output, which is cheaper than a separate slice of the vectored write.
const MIN_SLICE: usize = 1024;
/// DATA that the window cuts off below this is no progress.
const MIN_PROGRESS: usize = 64;

impl<R: Role> Connection<R> {
    /// Returns the number of body bytes that [`Connection::send_data`] would take now.
    pub fn sendable(&self, id: StreamId) -> usize {
        self.streams.get(id).map_or(0, |stream| self.send_capacity(stream))
    }

    /// Sends as much of `data` as windows and output permit and leaves the rest in it. With `end`, the last byte (or an
    /// empty `data`) ends the message. Returns the number of bytes taken. If bytes are left, an event says when to try
    /// again. On a closed stream, or if the response has no body, all bytes are taken and dropped.
    pub fn send_data(&mut self, id: StreamId, data: &mut Bytes, end: bool) -> usize {
        let Some(stream) = self.streams.get(id).filter(|stream| stream.send == SendState::Body) else {
            let all = data.len();
            data.clear();
            if end {
                self.put_trailers(id, &Fields::default());
            }
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
            self.put_end(id);
        }
        self.send_window.take(taken);
        // A client could otherwise give its window by single bytes, and make each of them a frame.
        if taken >= MIN_PROGRESS || (taken > 0 && data.is_empty()) {
            self.flood.data_sent(taken);
        }
        self.after_data(id, taken, end, !data.is_empty());
        taken
    }

    /// Returns whether the head was sent and the end was not.
    pub(super) fn is_sending(&self, id: StreamId) -> bool {
        self.streams.get(id).is_some_and(|stream| matches!(stream.send, SendState::Body | SendState::Bodiless))
    }

    /// Ends the message with trailers. An empty section is sent as a plain end of the stream.
    pub(super) fn put_trailers(&mut self, id: StreamId, fields: &Fields) {
        if !self.is_sending(id) {
            return;
        }
        if fields.is_empty() {
            self.put_end(id);
        } else {
            self.put_section(id, fields.iter(), true);
        }
        self.finish_send(id);
    }

    /// Returns the next queued stream that can take bytes.
    pub(super) fn next_sendable(&mut self) -> Option<(u64, StreamId)> {
        if self.send_window.available() == 0 || self.output.len() > MAX_QUEUED / 2 {
            return None;
        }
        while let Some(id) = self.send_queue.pop_front() {
            let Some(stream) = self.streams.get_mut(id) else { continue };
            if stream.send == SendState::Done {
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
        match stream.send {
            SendState::Body => window.min(MAX_QUEUED.saturating_sub(self.output.len())),
            SendState::Head | SendState::Bodiless | SendState::Done => 0,
        }
    }

    fn after_data(&mut self, id: StreamId, taken: usize, end: bool, left: bool) {
        let Some(stream) = self.streams.get_mut(id) else { return };
        stream.send_window.take(taken);
        if end {
            self.finish_send(id);
        } else if left && stream.waiting == SendWait::None {
            if stream.send_window.available() == 0 {
                stream.waiting = SendWait::StreamWindow;
            } else {
                stream.waiting = SendWait::Queued;
                self.send_queue.push_back(id);
            }
        }
    }

    /// Ends the stream after its last frame: with the flag of that frame if it is the last of the output, else with an
    /// empty DATA frame.
    fn put_end(&mut self, id: StreamId) {
        if let Some((last, position)) = self.last_frame
            && last == id
            && let Some(flags) = self.output.frame_byte(position, frame::FLAGS_AT)
        {
            *flags |= flag::END_STREAM;
        } else {
            self.put_data(id, &mut Bytes::new(), 0, true);
        }
    }

    fn put_data(&mut self, id: StreamId, data: &mut Bytes, part: usize, end: bool) {
        let flags = if end { flag::END_STREAM } else { 0 };
        let start = self.output.tail().len();
        frame::put_header(self.output.tail(), Kind::Data, flags, id.0, part);
        if part < MIN_SLICE {
            let tail = self.output.tail();
            tail.extend_from_slice(data.get(..part).unwrap_or_default());
            data.advance(part);
        } else {
            self.output.push_slice(data.split_to(part));
        }
        let slice = if part < MIN_SLICE { 0 } else { part };
        self.last_frame = Some((id, self.output.frame_position(start, slice)));
    }

    /// Appends HEADERS, encoded in place, and CONTINUATION if needed. The length is filled in afterwards.
    pub(super) fn put_section<'a>(&mut self, id: StreamId, fields: impl Iterator<Item = Field<'a>>, end: bool) {
        let out = self.output.tail();
        let start = out.len();
        out.extend_from_slice(&[0; HEADER_LEN]);
        self.encoder.encode(fields, out);
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
        self.last_frame = Some((id, self.output.frame_position(start, 0)));
    }
}
