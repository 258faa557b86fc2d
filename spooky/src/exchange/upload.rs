//! The request body: read from the client only as fast as the backend takes it.

use super::{
    Exchanges, Sides,
    state::{Exchange, Response, Upload, UploadEnd},
};
use bytes::Bytes;
use spooky_edge::{Abort, BodyRead};
use spooky_lb::outcome::Reason;
use spooky_transport::{RequestHandle, Transport};

/// One read from the client takes at most so much; the backend's window bounds it further.
const READ_SIZE: usize = 64 * 1024;

/// Why the pump stopped.
enum Pumped {
    /// The backend takes no more for now.
    Blocked,
    /// The client has sent no more.
    Starved,
    /// The end was passed on.
    Done,
    /// The client's stream failed.
    Failed(Abort),
    /// More than `max_request_body_bytes`.
    TooLarge,
}

impl Exchanges {
    /// Moves as much of the upload as the client has sent and the backend takes.
    pub(super) fn pump_upload(&mut self, sides: &mut Sides<'_>, key: usize) {
        let limit = self.generation.snapshot.limits.max_request_body;
        let idle = self.timeouts(key).client_body_idle;
        let Some(exchange) = self.table.get_mut(key) else { return };
        let Some((slot, handle)) = exchange.upload_handle() else { return };
        if exchange.upload.is_sent || sides.transport.is_waiting(handle) {
            return;
        }
        let pumped = pump(exchange, sides, handle, limit);
        exchange.upload.until = match pumped {
            Pumped::Starved => Some(sides.now + idle),
            _ => None,
        };
        match pumped {
            Pumped::Failed(abort) => return self.abandon(sides, key, abort),
            Pumped::TooLarge => return self.fail(sides, key, Reason::BodyTooLarge),
            Pumped::Done => {
                self.ask(sides, key, |attempt, cx| {
                    attempt.on_body_taken(cx.now, slot);
                    attempt.on_upload_end(cx);
                });
            }
            Pumped::Blocked | Pumped::Starved => {
                self.ask(sides, key, |attempt, cx| attempt.on_body_taken(cx.now, slot));
            }
        }
        self.arm(key);
    }
}

fn pump(exchange: &mut Exchange, sides: &mut Sides<'_>, handle: RequestHandle, limit: u64) -> Pumped {
    loop {
        if let Some(stopped) = send_waiting(&mut exchange.upload, sides.transport, handle) {
            return stopped;
        }
        let room = sides.transport.sendable(handle);
        if room == 0 {
            // Asks for `Sendable` once there is room again.
            return Pumped::Blocked;
        }
        let Some(edge) = sides.listeners.get_mut(exchange.client.listener).map(|listener| &mut listener.edge) else {
            return Pumped::Starved;
        };
        let upload = &mut exchange.upload;
        match edge.read_body(exchange.client.stream, room.min(READ_SIZE)) {
            BodyRead::Data(data) => {
                upload.received += data.len() as u64;
                if upload.received > limit {
                    return Pumped::TooLarge;
                }
                if matches!(exchange.response, Response::Awaited) {
                    upload.replay.keep(&data);
                }
                upload.waiting.push_back(data);
            }
            BodyRead::Trailers(fields) => upload.end = UploadEnd::Expected(fields),
            BodyRead::End => upload.end = std::mem::replace(&mut upload.end, UploadEnd::Unknown).confirmed(),
            BodyRead::Pending => return Pumped::Starved,
            BodyRead::Aborted(abort) => return Pumped::Failed(abort),
        }
    }
}

/// Gives the backend what was read, and the end once nothing is left before it.
fn send_waiting(upload: &mut Upload, transport: &mut Transport, handle: RequestHandle) -> Option<Pumped> {
    let is_plain_end = matches!(upload.end, UploadEnd::Plain);
    while !upload.waiting.is_empty() {
        let is_last = is_plain_end && upload.waiting.len() == 1;
        let Some(front) = upload.waiting.front_mut() else { break };
        transport.send_data(handle, front, is_last);
        if !front.is_empty() {
            return Some(Pumped::Blocked);
        }
        upload.waiting.pop_front();
        if is_last {
            upload.is_sent = true;
            return Some(Pumped::Done);
        }
    }
    match &upload.end {
        UploadEnd::Unknown | UploadEnd::Expected(_) => return None,
        UploadEnd::Plain => {
            transport.send_data(handle, &mut Bytes::new(), true);
        }
        UploadEnd::Trailers(fields) => transport.send_trailers(handle, fields),
    }
    upload.is_sent = true;
    Some(Pumped::Done)
}
