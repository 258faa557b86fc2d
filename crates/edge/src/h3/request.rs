//! The receiving half of request streams: heads become events, bodies are read when the exchange asks for them.

use super::{session::Session, stream::RecvState, unread::UnreadEstimate};
use crate::event::{Abort, BodyRead, Event, EventKind, StreamRef};
use bytes::Bytes;
use quinn_proto::{Connection, ReadError, ReadableError, StreamId};
use spooky_bridge::{
    h3::{Code, Error, ErrorScope, Received, RecvStream},
    message::{
        Fields,
        check::{self, BodyLength, CheckError, RejectedRequest},
    },
};
use spooky_table::Handle;
use std::{collections::VecDeque, time::Instant};

/// Rests of a datagram smaller than this are copied.
const SMALL: usize = 1024;

enum HeadRead {
    Pending,
    Complete { fields: Fields, rest: Bytes, end: bool },
    Failed(Error),
    Reset,
}

impl Session {
    /// Reads the head of a request stream as far as it was received.
    pub(super) fn read_head(&mut self, quic: &mut Connection, slot: Handle, events: &mut VecDeque<Event>) {
        let Some(stream) = self.streams.get_mut(slot) else { return };
        let RecvState::Head { frames, until } = &mut stream.recv_state else { return };
        let until = *until;
        let read = collect_head(quic, stream.id, frames, &self.settings.limits, &mut stream.unread);
        if let Err(error) = self.h3.note_frames(frames.take_counts(), self.elapsed) {
            return self.fail(quic, error.code, error.reason, events);
        }
        match read {
            HeadRead::Pending => self.expect_head(until),
            HeadRead::Complete { fields, rest, end } => self.on_head(quic, slot, fields, rest, end, events),
            HeadRead::Reset => {
                // The exchange does not know of the stream yet.
                stream.recv_state = RecvState::Done;
                self.refuse_stream(quic, slot, Code::REQUEST_CANCELLED, events);
            }
            HeadRead::Failed(error) => self.fail_stream(quic, slot, error, events),
        }
    }

    /// Notes the deadline of an incomplete head.
    fn expect_head(&mut self, until: Instant) {
        self.head_due = Some(self.head_due.map_or(until, |due| due.min(until)));
    }

    /// Resets the request streams whose head is overdue. The exchange does not know of them yet.
    pub(super) fn reset_slow_heads(&mut self, quic: &mut Connection, now: Instant, events: &mut VecDeque<Event>) {
        if self.head_due.is_none_or(|due| due > now) {
            return;
        }
        let heads = self.streams.iter().filter_map(|(slot, stream)| match stream.recv_state {
            RecvState::Head { until, .. } => Some((slot, until)),
            RecvState::Body { .. } | RecvState::Done => None,
        });
        let heads: Vec<_> = heads.collect();
        self.head_due = None;
        for (slot, until) in heads {
            if until > now {
                self.expect_head(until);
            } else {
                self.refuse_stream(quic, slot, Code::REQUEST_INCOMPLETE, events);
            }
        }
    }

    /// Resets a stream that the exchange does not know of, because of an error of the client.
    fn refuse_stream(&mut self, quic: &mut Connection, slot: Handle, code: Code, events: &mut VecDeque<Event>) {
        if let Some(stream) = self.streams.get_mut(slot) {
            stream.reset(quic, code);
        }
        self.remove_if_done(slot);
        self.count_ended_by_client(quic, events);
    }

    fn on_head(
        &mut self,
        quic: &mut Connection,
        slot: Handle,
        fields: Fields,
        rest: Bytes,
        end: bool,
        events: &mut VecDeque<Event>,
    ) {
        let checked = check::request(fields, &self.settings.limits, &self.settings.rules);
        let stream_ref = self.reference(slot);
        let head = match checked {
            Ok(head) => head,
            Err(RejectedRequest { error: CheckError::Malformed { reason, .. }, fields }) => {
                return self.refuse_malformed(quic, slot, fields, reason, events);
            }
            Err(refusal) => {
                let Some(stream) = self.streams.get_mut(slot) else { return };
                stream.recv_state = body_state(&mut stream.recv_state, rest, None, end);
                let (protocol, peer) = (self.settings.rules.protocol, self.info.peer);
                let kind = EventKind::Refused { protocol, refusal: Box::new(refusal), peer };
                return events.push_back(Event::new(stream_ref, kind));
            }
        };
        if end && head.content_length.is_some_and(|length| length > 0) {
            return self.refuse_malformed(quic, slot, head.fields, TOO_SHORT, events);
        }
        let Some(stream) = self.streams.get_mut(slot) else { return };
        stream.recv_state = body_state(&mut stream.recv_state, rest, head.content_length, end);
        let kind = EventKind::Request { protocol: self.settings.rules.protocol, head, end, peer: self.info.peer };
        events.push_back(Event::new(stream_ref, kind));
    }

    /// Resets a stream because of its malformed head, and reports that.
    fn refuse_malformed(
        &mut self,
        quic: &mut Connection,
        slot: Handle,
        fields: Fields,
        reason: &'static str,
        events: &mut VecDeque<Event>,
    ) {
        let (protocol, peer) = (self.settings.rules.protocol, self.info.peer);
        let kind = EventKind::Malformed { protocol, fields: Box::new(fields), reason, peer };
        events.push_back(Event::new(self.reference(slot), kind));
        self.refuse_stream(quic, slot, Code::MESSAGE_ERROR, events);
    }

    fn fail_stream(&mut self, quic: &mut Connection, slot: Handle, error: Error, events: &mut VecDeque<Event>) {
        match error.scope {
            ErrorScope::Connection => self.fail(quic, error.code, error.reason, events),
            ErrorScope::Stream => self.refuse_stream(quic, slot, error.code, events),
        }
    }

    /// Reads body bytes, at most `max` from quinn-proto.
    pub(crate) fn read_body(&mut self, quic: &mut Connection, reference: StreamRef, max: usize) -> BodyRead {
        let read = self.read_counted(quic, reference, max);
        if matches!(read, BodyRead::End | BodyRead::Aborted(_)) && self.find(reference).is_some() {
            self.remove_if_done(reference.stream);
        }
        read
    }

    fn read_counted(&mut self, quic: &mut Connection, reference: StreamRef, max: usize) -> BodyRead {
        let read = self.read_part(quic, reference, max);
        let Some(stream) = self.find(reference) else { return read };
        let RecvState::Body { frames, .. } = &mut stream.recv_state else { return read };
        let counts = frames.take_counts();
        if matches!(read, BodyRead::End) {
            stream.recv_state = RecvState::Done;
        }
        match self.h3.note_frames(counts, self.elapsed) {
            Ok(()) => read,
            Err(error) => self.fail_body_by(quic, reference, error),
        }
    }

    fn read_part(&mut self, quic: &mut Connection, reference: StreamRef, max: usize) -> BodyRead {
        let limits = self.settings.limits;
        let Some(stream) = self.find(reference) else { return BodyRead::Aborted(Abort::Lost) };
        let id = stream.id;
        let RecvState::Body { frames, rest, length } = &mut stream.recv_state else { return BodyRead::Pending };
        let failure = loop {
            while !rest.is_empty() {
                match frames.recv(rest, &limits) {
                    Ok(Some(Received::Data(data))) => match length.add(data.len() as u64) {
                        Ok(()) => return BodyRead::Data(data),
                        Err(_) => return self.fail_body(quic, reference, Code::MESSAGE_ERROR, TOO_LONG),
                    },
                    Ok(Some(Received::Trailers(fields))) => match check::request_trailers(&fields, &limits) {
                        Ok(()) => return BodyRead::Trailers(Box::new(fields)),
                        Err(CheckError::TooLarge | CheckError::TooManyFields) => {
                            return self.fail_body(quic, reference, Code::EXCESSIVE_LOAD, LARGE_TRAILERS);
                        }
                        Err(_) => return self.fail_body(quic, reference, Code::MESSAGE_ERROR, BAD_TRAILERS),
                    },
                    Ok(Some(Received::Headers(_)) | None) => {}
                    Err(error) => return self.fail_body_by(quic, reference, error),
                }
            }
            match next_chunk(quic, id, max) {
                Chunk::Data(bytes) => {
                    stream.unread.on_read(bytes.len());
                    *rest = bytes;
                }
                Chunk::Pending => {
                    stream.unread.on_drained();
                    return BodyRead::Pending;
                }
                Chunk::Reset(code) => {
                    stream.recv_state = RecvState::Done;
                    stream.reset(quic, Code::REQUEST_CANCELLED);
                    self.close_if_too_many(quic);
                    return BodyRead::Aborted(Abort::Reset(code));
                }
                Chunk::End => break frames.finish().err(),
            }
        };
        match failure {
            Some(error) => self.fail_body_by(quic, reference, error),
            None if length.finish().is_err() => self.fail_body(quic, reference, Code::MESSAGE_ERROR, TOO_SHORT),
            None => BodyRead::End,
        }
    }

    fn fail_body(&mut self, quic: &mut Connection, reference: StreamRef, code: Code, reason: &'static str) -> BodyRead {
        if let Some(stream) = self.find(reference) {
            stream.reset(quic, code);
        }
        self.close_if_too_many(quic);
        BodyRead::Aborted(Abort::Malformed(reason))
    }

    /// Counts a request that the client ended early while its body was read. The edge checks after each read whether the
    /// connection was closed, and ends the other streams.
    fn close_if_too_many(&mut self, quic: &mut Connection) {
        if let Err(error) = self.h3.request_aborted(self.elapsed) {
            quic.close(Instant::now(), super::stream::varint(error.code), error.reason.into());
        }
    }

    fn fail_body_by(&mut self, quic: &mut Connection, reference: StreamRef, error: Error) -> BodyRead {
        match error.scope {
            ErrorScope::Stream => return self.fail_body(quic, reference, error.code, error.reason),
            ErrorScope::Connection => {
                // The edge then ends the other streams.
                quic.close(Instant::now(), super::stream::varint(error.code), error.reason.into());
            }
        }
        BodyRead::Aborted(Abort::Malformed(error.reason))
    }
}

const TOO_LONG: &str = "body longer than content-length";
const TOO_SHORT: &str = "body shorter than content-length";
const BAD_TRAILERS: &str = "malformed trailers";
const LARGE_TRAILERS: &str = "trailers over the limits of headers";

fn body_state(recv_state: &mut RecvState, rest: Bytes, length: Option<u64>, end: bool) -> RecvState {
    if end {
        return RecvState::Done;
    }
    match std::mem::replace(recv_state, RecvState::Done) {
        RecvState::Head { frames, .. } => RecvState::Body { frames, rest: own(rest), length: BodyLength::new(length) },
        other => other,
    }
}

/// Copies small rests, because they may stay unread for long and would keep whole datagrams in memory.
fn own(bytes: Bytes) -> Bytes {
    if bytes.len() < SMALL { Bytes::copy_from_slice(&bytes) } else { bytes }
}

fn collect_head(
    quic: &mut Connection,
    id: StreamId,
    frames: &mut RecvStream,
    limits: &check::HeadLimits,
    unread: &mut UnreadEstimate,
) -> HeadRead {
    let mut stream = quic.recv_stream(id);
    let Ok(mut chunks) = stream.read(true) else { return HeadRead::Pending };
    let mut found: Option<Fields> = None;
    loop {
        match chunks.next(usize::MAX) {
            Ok(Some(chunk)) => {
                let mut bytes = chunk.bytes;
                unread.on_read(bytes.len());
                if let Some(fields) = found {
                    return HeadRead::Complete { fields, rest: bytes, end: false };
                }
                while found.is_none() && !bytes.is_empty() {
                    match frames.recv(&mut bytes, limits) {
                        Ok(Some(Received::Headers(fields))) => found = Some(fields),
                        Ok(_) => {}
                        Err(error) => return HeadRead::Failed(error),
                    }
                }
                if !bytes.is_empty() {
                    return found.map_or(HeadRead::Pending, |fields| HeadRead::Complete {
                        fields,
                        rest: bytes,
                        end: false,
                    });
                }
            }
            Ok(None) => {
                return match (frames.finish(), found) {
                    (Ok(()), Some(fields)) => HeadRead::Complete { fields, rest: Bytes::new(), end: true },
                    (Err(error), _) => HeadRead::Failed(error),
                    (Ok(()), None) => HeadRead::Pending,
                };
            }
            Err(ReadError::Blocked) => {
                return found.map_or(HeadRead::Pending, |fields| HeadRead::Complete {
                    fields,
                    rest: Bytes::new(),
                    end: false,
                });
            }
            Err(ReadError::Reset(_)) => return HeadRead::Reset,
        }
    }
}

enum Chunk {
    Data(Bytes),
    End,
    Pending,
    Reset(u64),
}

fn next_chunk(quic: &mut Connection, id: StreamId, max: usize) -> Chunk {
    let mut stream = quic.recv_stream(id);
    let mut chunks = match stream.read(true) {
        Ok(chunks) => chunks,
        Err(ReadableError::ClosedStream | ReadableError::IllegalOrderedRead) => return Chunk::Pending,
    };
    match chunks.next(max) {
        Ok(Some(chunk)) => Chunk::Data(chunk.bytes),
        Ok(None) => Chunk::End,
        Err(ReadError::Blocked) => Chunk::Pending,
        Err(ReadError::Reset(code)) => Chunk::Reset(code.into_inner()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_bytes_do_not_keep_their_datagram() {
        let datagram = Bytes::from(vec![7; 4096]);
        for (length, is_copied) in [(SMALL - 1, true), (SMALL, false), (4096, false)] {
            let kept = own(datagram.slice(..length));
            assert_eq!((kept.len(), kept.as_ptr() != datagram.as_ptr()), (length, is_copied), "{length} bytes");
        }
    }
}
