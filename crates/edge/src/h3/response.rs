//! The sending half of request streams: heads are staged, bodies are written, what quinn-proto does not accept is queued.

use super::{
    reset,
    session::Session,
    staging::{COPY_LIMIT, Staging},
    stream::SendState,
};
use crate::{body::Body, event::StreamRef};
use bytes::Bytes;
use quinn_proto::Connection;
use spooky_bridge::{
    h3,
    message::{Fields, ResetReason, ResponseHead},
};

/// The interim response that a client may wait for (RFC 9110 section 15.2.1).
const CONTINUE: u16 = 100;

impl Session {
    /// Encodes an interim response. One that exceeds `stream_buffer_bytes` together with what already waits for the client is
    /// dropped, because HTTP/2 has no flow control that could hold the backend back. A 100 is then sent without its fields:
    /// the client may wait for it before it sends the body (RFC 9110 section 10.1.1). The first that waits always fits, as
    /// every final head does.
    pub(crate) fn interim(&mut self, reference: StreamRef, head: &ResponseHead, out: &mut Vec<u8>) {
        let limit = self.settings.stream_buffer;
        let Some(stream) = self.find(reference) else { return };
        let (waiting, before) = (stream.backlog.bytes(), out.len());
        h3::encode_response(out, head);
        if waiting == 0 || waiting + out.len() - before <= limit {
            return;
        }
        out.truncate(before);
        let action = if head.status == CONTINUE { "sent without its fields" } else { "dropped" };
        tracing::debug!("Interim response {} {action}: {waiting} bytes wait for the client", head.status);
        if head.status == CONTINUE {
            h3::encode_response(out, &ResponseHead::new(CONTINUE));
        }
    }

    /// Encodes the head, and the header of the single DATA frame if the length is known.
    pub(crate) fn respond(&mut self, reference: StreamRef, head: &ResponseHead, body: Body, out: &mut Vec<u8>) {
        let Some(stream) = self.find(reference) else { return };
        stream.body = body;
        h3::encode_response(out, head);
        if let Body::Known(length) = body
            && length > 0
        {
            h3::encode_data_header(out, length);
        }
    }

    /// Sends body bytes. Returns how many were accepted by quinn-proto or copied, earlier queued ones included.
    pub(crate) fn send_body(
        &mut self,
        quic: &mut Connection,
        reference: StreamRef,
        data: Bytes,
        staged: &mut Staging,
    ) -> usize {
        let Some(stream) = self.find(reference) else { return data.len() };
        if data.is_empty() || !matches!(stream.send_state, SendState::Open) {
            return data.len();
        }
        let is_chunked = stream.body == Body::Chunked;
        if data.len() <= COPY_LIMIT && stream.backlog.is_empty() {
            let out = staged.open(reference);
            if is_chunked {
                h3::encode_data_header(out, data.len() as u64);
            }
            out.extend_from_slice(&data);
            return data.len();
        }
        if is_chunked {
            h3::encode_data_header(staged.open(reference), data.len() as u64);
        }
        let taken = self.flush(quic, reference, staged);
        staged.clear();
        let Some(stream) = self.find(reference) else { return data.len() };
        stream.backlog.push_body(data);
        let written = stream.write_backlog(quic);
        self.note_written(written.all);
        self.has_backlog = true;
        taken + written.body
    }

    /// Writes the staged bytes, or queues them. Returns how many body bytes of the backlog quinn-proto accepted.
    pub(crate) fn flush(&mut self, quic: &mut Connection, reference: StreamRef, staged: &Staging) -> usize {
        let Some(stream) = self.find(reference) else { return 0 };
        let mut bytes = staged.bytes();
        if !staged.is_of(reference) || bytes.is_empty() {
            return 0;
        }
        let mut written = 0;
        if stream.backlog.is_empty()
            && let Ok(taken) = quic.send_stream(stream.id).write(bytes)
        {
            written = taken;
            bytes = bytes.get(written..).unwrap_or_default();
        }
        let mut body = 0;
        if !bytes.is_empty() {
            stream.backlog.push_framing(bytes);
            let taken = stream.write_backlog(quic); // a blocked write requests `Writable`
            written += taken.all;
            body = taken.body;
            self.has_backlog = true;
        }
        self.note_written(written);
        body
    }

    /// Ends the response. Sends no HEADERS frame for trailers without fields: some clients close the connection on an empty
    /// field section. Returns true if quinn-proto accepted all of the response.
    pub(crate) fn finish(
        &mut self,
        quic: &mut Connection,
        reference: StreamRef,
        trailers: Option<&Fields>,
        staged: &mut Staging,
    ) -> bool {
        if let Some(fields) = trailers.filter(|fields| !fields.is_empty())
            && self.find(reference).is_some()
        {
            h3::encode_trailers(staged.open(reference), fields);
        }
        self.flush(quic, reference, staged);
        if staged.is_of(reference) {
            staged.clear();
        }
        let Some(stream) = self.find(reference) else { return true };
        if !matches!(stream.send_state, SendState::Open) {
            return matches!(stream.send_state, SendState::Done);
        }
        if !stream.backlog.is_empty() {
            stream.send_state = SendState::Ending;
            return false;
        }
        stream.end(quic);
        self.remove_if_done(reference.stream);
        true
    }

    pub(crate) fn reset(&mut self, quic: &mut Connection, reference: StreamRef, reason: ResetReason) {
        if let Some(stream) = self.find(reference) {
            stream.reset(quic, reset::code(reason));
            self.remove_if_done(reference.stream);
        }
    }
}
