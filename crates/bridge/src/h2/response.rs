//! The receiving part of the client role: interim heads, heads and trailers of responses, and the body length that they
//! announce.

use super::{
    Client, Code, Event, StreamId,
    block::Block,
    client::ClientRole,
    connection::{EventResult, Role},
    event::CoreEvent,
    flood::MAX_INTERIM,
    section::{check_end, wrong_length},
    stream::RecvState,
};
use crate::message::{
    Fields, Method, Protocol, ResponseHead,
    check::{self, BodyLength, LengthError, ResponseError},
};

type Events = EventResult<ClientRole>;

impl Role for ClientRole {
    type Event = Event;

    const IS_SERVER: bool = false;
    const COPY_BELOW: usize = 1024;

    fn event(event: CoreEvent) -> Option<Event> {
        Some(match event {
            CoreEvent::Ready => Event::Ready,
            CoreEvent::CapacityChanged => Event::CapacityChanged,
            CoreEvent::Data { tag, id, data, end } => Event::Data { tag, id, data, end },
            CoreEvent::Reset { tag, id, code, unprocessed } => Event::Reset { tag, id, code, unprocessed },
            CoreEvent::Malformed { tag, id, reason } => Event::Malformed { tag, id, reason },
            CoreEvent::Sendable { tag, id } => Event::Sendable { tag, id },
            CoreEvent::GoAway { last, code } => Event::GoAway { last, code },
            CoreEvent::Pong(payload) => Event::Pong(payload),
        })
    }

    fn on_block(client: &mut Client, number: u32, end: bool, block: Block<'_>) -> Events {
        let id = StreamId(number);
        if client.streams.get(id).is_none() {
            return client.drop_block(block);
        }
        let max_section = client.config.max_header_list as usize;
        let mut fields = Fields::new();
        let fits = block.decode(&mut client.decoder, &mut fields, max_section)?;
        let Some(stream) = client.streams.get_mut(id) else { return Ok(None) };
        let body = match stream.recv {
            RecvState::Done | RecvState::Unwanted => {
                return client.malformed(id, Code::STREAM_CLOSED, "HEADERS after the end of the response");
            }
            RecvState::Tunnel => return client.malformed_message(id, "HEADERS in a tunnel"),
            _ if !fits => return Ok(too_large(client, id)),
            RecvState::Head { .. } => {
                return match check::response(fields, max_section, Protocol::Http2) {
                    Ok(head) => on_head(client, id, head, end),
                    Err(error) => on_invalid(client, id, error),
                };
            }
            RecvState::Body(body) => body,
            RecvState::Bodiless => BodyLength::Open,
        };
        if let Err(error) = check::response_trailers(&fields, max_section) {
            return on_invalid(client, id, error);
        }
        match check_end(body, end) {
            Ok(()) => Ok(on_trailers(client, id, fields)),
            Err(reason) => client.malformed_message(id, reason),
        }
    }
}

fn on_invalid(client: &mut Client, id: StreamId, error: ResponseError) -> Events {
    match error {
        ResponseError::Malformed(reason) => client.malformed_message(id, reason),
        ResponseError::TooLarge => Ok(too_large(client, id)),
    }
}

/// Ends a stream whose head or trailers are too large. The peer did not violate the protocol, so the code is CANCEL.
fn too_large(client: &mut Client, id: StreamId) -> Option<Event> {
    let tag = client.streams.get(id)?.tag;
    client.reset(id, Code::CANCEL);
    Some(Event::HeadersTooLarge { tag, id })
}

fn on_head(client: &mut Client, id: StreamId, head: ResponseHead, end: bool) -> Events {
    let Some(stream) = client.streams.get_mut(id) else { return Ok(None) };
    let tag = stream.tag;
    if head.is_interim() {
        let RecvState::Head { interim } = &mut stream.recv else { return Ok(None) };
        *interim += 1;
        let reason = match () {
            () if end => "interim response that ends the stream",
            () if *interim > MAX_INTERIM => "too many interim responses",
            () => return Ok(Some(Event::Informational { tag, id, head })),
        };
        return client.malformed_message(id, reason);
    }
    let recv = recv_state(&head, stream.method);
    if !end {
        stream.recv = recv;
    } else if let RecvState::Body(body) = recv
        && body.finish().is_err()
    {
        return client.malformed_message(id, wrong_length(LengthError::TooShort));
    } else {
        client.finish_recv(id);
    }
    client.flood.progress();
    Ok(Some(Event::Head { tag, id, head, end }))
}

fn on_trailers(client: &mut Client, id: StreamId, fields: Fields) -> Option<Event> {
    let tag = client.streams.get(id)?.tag;
    client.finish_recv(id);
    client.flood.progress();
    Some(Event::Trailers { tag, id, fields })
}

/// Returns what may follow a final response (RFC 9110 6.4.1): no body whatever its `content-length` says, bytes of any
/// number if it opens a tunnel, or a body.
fn recv_state(head: &ResponseHead, method: Method) -> RecvState {
    match () {
        () if head.opens_tunnel(method) => RecvState::Tunnel,
        () if head.has_body(method) => RecvState::Body(BodyLength::new(head.content_length)),
        () => RecvState::Bodiless,
    }
}
