//! The receiving part of the server role: heads of requests, which open streams, and trailers.

use super::{
    Code, ConnectionError, Server, ServerEvent, StreamId,
    block::Block,
    connection::{EventResult, Role},
    event::CoreEvent,
    flow::SendWindow,
    frame,
    section::{check_end, wrong_length},
    server::ServerRole,
    stream::{RecvState, SendState, SendWait, Stream},
};
use crate::message::{
    Fields, Known, Method,
    check::{self, BodyLength, CheckError, HeadLimits, LengthError, RejectedRequest},
};

type Events = EventResult<ServerRole>;

/// Sections of up to this multiple of the limits are decoded, so that the request is answered with 431.
const SECTION_FACTOR: usize = 4;

impl Role for ServerRole {
    type Event = ServerEvent;

    const IS_SERVER: bool = true;
    /// A client could let pieces wait and fill the rest of each buffer with other frames. The buffer has 64 KiB, so what is
    /// kept is at most eight times what is counted. With 16 KiB uploads cost 6 % more, because the end of most reads is copied.
    const COPY_BELOW: usize = 8 * 1024;

    fn event(event: CoreEvent) -> Option<ServerEvent> {
        Some(match event {
            CoreEvent::Ready | CoreEvent::CapacityChanged => return None,
            CoreEvent::Data { tag, id, data, end } => ServerEvent::Data { tag, id, data, end },
            CoreEvent::Reset { tag, id, code, .. } => ServerEvent::Reset { tag, id, code },
            CoreEvent::Malformed { tag, id, reason } => ServerEvent::Malformed { tag, id, reason },
            CoreEvent::Sendable { tag, id } => ServerEvent::Sendable { tag, id },
            CoreEvent::GoAway { code, .. } => ServerEvent::GoAway { code },
            CoreEvent::Pong(payload) => ServerEvent::Pong(payload),
        })
    }

    fn on_unwanted_upload(server: &mut Server, id: StreamId) {
        server.keep_unwanted(id);
    }

    fn on_block(server: &mut Server, number: u32, end: bool, block: Block<'_>) -> Events {
        let id = StreamId(number);
        if server.is_idle(number) {
            server.role.has_gaps |= number > server.next_id;
            server.next_id = number + 2;
            on_head(server, id, end, block)
        } else if server.streams.get(id).is_none() {
            on_closed(server, id, block)
        } else {
            on_trailers(server, id, end, block)
        }
    }
}

fn on_head(server: &mut Server, id: StreamId, end: bool, block: Block<'_>) -> Events {
    if server.goaway_sent.is_some_and(|last| id.0 > last) {
        expect_body(server, end);
        return server.drop_block(block);
    }
    server.flood.request_opened();
    if server.streams.len() >= server.role.max_streams as usize {
        block.decode(&mut server.decoder, &mut Fields::default(), 0)?;
        return refuse(server, id, end, Code::REFUSED_STREAM, None);
    }
    let mut fields = Fields::new();
    let limit = max_section(&server.role.limits);
    if !block.decode(&mut server.decoder, &mut fields, limit)? {
        return refuse(server, id, end, Code::ENHANCE_YOUR_CALM, None);
    }
    server.flood.progress();
    match check::request(fields, &server.role.limits, &server.role.rules) {
        Ok(head) if end && head.content_length.is_some_and(|length| length > 0) => {
            let reason = wrong_length(LengthError::TooShort);
            let event = ServerEvent::MalformedHead { id, fields: Box::new(head.fields), reason };
            refuse(server, id, end, Code::PROTOCOL_ERROR, Some(event))
        }
        Ok(head) => {
            let recv = match head.method {
                Method::Connect => RecvState::Tunnel,
                _ => RecvState::Body(BodyLength::new(head.content_length)),
            };
            open(server, id, head.method, if end { RecvState::Done } else { recv });
            Ok(Some(ServerEvent::Request { id, head, end }))
        }
        Err(RejectedRequest { error: CheckError::Malformed { reason, .. }, fields }) => {
            let event = ServerEvent::MalformedHead { id, fields: Box::new(fields), reason };
            refuse(server, id, end, Code::PROTOCOL_ERROR, Some(event))
        }
        Err(RejectedRequest { fields, .. })
            if fields.size() > server.role.limits.max_bytes.saturating_mul(SECTION_FACTOR) =>
        {
            refuse(server, id, end, Code::ENHANCE_YOUR_CALM, None)
        }
        Err(refusal) => {
            let method = Method::from_bytes(refusal.fields.first(Known::Method).unwrap_or_default());
            open(server, id, method, if end { RecvState::Done } else { RecvState::Body(BodyLength::Open) });
            Ok(Some(ServerEvent::Refused { id, refusal: Box::new(refusal), end }))
        }
    }
}

fn open(server: &mut Server, id: StreamId, method: Method, recv: RecvState) {
    let receive_window = server.new_receive_window();
    server.streams.insert(Stream {
        id,
        tag: 0,
        method,
        send: SendState::Head,
        recv,
        waiting: SendWait::None,
        send_window: SendWindow::new(server.peer.initial_window),
        receive_window,
    });
}

/// Resets a stream that is not opened.
fn refuse(server: &mut Server, id: StreamId, end: bool, code: Code, event: Option<ServerEvent>) -> Events {
    frame::put_reset(server.output.tail(), id.0, code);
    expect_body(server, end);
    server.flood.request_aborted()?;
    Ok(event)
}

/// Handles HEADERS of a closed stream (RFC 9113 5.1, 5.1.1).
fn on_closed(server: &mut Server, id: StreamId, block: Block<'_>) -> Events {
    match server.flood.late_section() {
        Some(sender) => server.on_late_frame(id, sender),
        None if server.role.has_gaps => {
            return Err(ConnectionError::protocol("HEADERS on a stream that was passed over", "RFC 9113 5.1.1"));
        }
        None => return Err(ConnectionError::closed("HEADERS on a closed stream")),
    }
    server.drop_block(block)
}

/// Allows the body of a request whose stream is not opened.
fn expect_body(server: &mut Server, end: bool) {
    if !end {
        let window = server.new_receive_window();
        server.flood.reset_sent(window.left());
    }
}

/// Returns the largest section decoded: names, values and 32 bytes for each field.
fn max_section(limits: &HeadLimits) -> usize {
    usize::try_from(limits.section_size()).unwrap_or(usize::MAX).saturating_mul(SECTION_FACTOR)
}

fn on_trailers(server: &mut Server, id: StreamId, end: bool, block: Block<'_>) -> Events {
    let mut fields = Fields::new();
    let limit = max_section(&server.role.limits);
    let fits = block.decode(&mut server.decoder, &mut fields, limit)?;
    let Some(stream) = server.streams.get(id) else { return Ok(None) };
    let tag = stream.tag;
    let body = match stream.recv {
        RecvState::Body(body) => body,
        RecvState::Done => return server.malformed(id, Code::STREAM_CLOSED, "HEADERS after the end of the request"),
        RecvState::Unwanted => {
            server.finish_recv(id);
            return Ok(None);
        }
        _ => return server.malformed_message(id, "HEADERS in a tunnel"),
    };
    match check::request_trailers(&fields, &server.role.limits) {
        Err(CheckError::Malformed { reason, .. }) if fits => return server.malformed_message(id, reason),
        Ok(()) if fits => {}
        _ => return server.malformed(id, Code::ENHANCE_YOUR_CALM, "trailers over the limits of headers"),
    }
    if let Err(reason) = check_end(body, end) {
        return server.malformed_message(id, reason);
    }
    server.finish_recv(id);
    server.flood.progress();
    Ok(Some(ServerEvent::Trailers { tag, id, fields }))
}
