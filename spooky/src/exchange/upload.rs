//! The request body: read from the client only as fast as the backend takes it.

use super::{
    Exchanges, Sides,
    end::Outcome,
    state::{Exchange, Response, Upload, UploadEnd},
    tag_of,
};
use bytes::Bytes;
use spooky_bridge::message::rewrite;
use spooky_edge::{Abort, BodyRead};
use spooky_lb::{
    attempt::{Attempt, SlotId, UploadWait},
    outcome::Reason,
};
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
    /// The backend does not accept trailers of that size.
    TrailersTooLarge,
    /// The budget for request bodies is used up: no credit for now.
    Capped,
    /// What came would exceed that budget.
    OverBudget,
}

impl Pumped {
    /// The side whose turn it is now.
    fn waits_for(&self) -> UploadWait {
        match self {
            Self::Starved | Self::Failed(_) => UploadWait::Client,
            Self::Blocked | Self::Done => UploadWait::Backend,
            Self::Capped | Self::OverBudget | Self::TooLarge | Self::TrailersTooLarge => UploadWait::Proxy,
        }
    }
}

impl Exchanges {
    /// Moves as much of the upload as the client has sent and the backend takes.
    pub(super) fn pump_upload(&mut self, sides: &mut Sides<'_>, key: usize) {
        let Some(exchange) = self.table.get_mut(key) else { return };
        if exchange.upload.is_sent {
            return;
        }
        let Some((slot, handle)) = exchange.upload_handle().filter(|(_, handle)| !sides.transport.is_waiting(*handle))
        else {
            self.pause_upload(sides, key);
            return self.count_unread(sides, key);
        };
        let (received, taken) = (exchange.upload.received, exchange.upload.taken);
        let pumped = pump(exchange, sides, handle);
        let (received, has_taken) = (exchange.upload.received - received, exchange.upload.taken > taken);
        let is_gone = exchange.upload.replay.is_lost();
        if is_gone {
            exchange.forget_large_head();
        }
        let is_empty = exchange.upload.received == 0 && matches!(exchange.upload.end, UploadEnd::Plain);
        // A later attempt then ends with its head, as if the client had.
        exchange.upload.is_absent |= is_empty;
        let wait = pumped.waits_for();
        self.mark_time(sides, key, |deadlines, phases, now| deadlines.on_upload(phases, wait, received, now));
        match pumped {
            Pumped::Failed(abort) => return self.end(sides, key, Outcome::Aborted(abort)),
            Pumped::TooLarge => return self.end(sides, key, Outcome::Answer(Reason::BodyTooLarge)),
            Pumped::TrailersTooLarge => return self.end(sides, key, Outcome::Answer(Reason::HeadersTooLarge)),
            Pumped::OverBudget => return self.end(sides, key, Outcome::Answer(Reason::RequestBufferCap)),
            Pumped::Capped => self.wait_for_budget(key),
            Pumped::Done | Pumped::Blocked | Pumped::Starved => {}
        }
        self.ask(sides, key, |attempt, cx| {
            attempt.on_upload(slot, wait, has_taken, cx.now);
            if is_gone {
                attempt.on_body_gone();
            }
            if matches!(pumped, Pumped::Done) {
                if is_empty {
                    attempt.on_empty_body();
                }
                attempt.on_upload_end(cx);
            }
        });
        if matches!(pumped, Pumped::Done)
            && let Some(Exchange { response: Response::HalfClosed { is_sent }, .. }) = self.table.get(key)
        {
            let is_sent = *is_sent;
            self.ask(sides, key, Attempt::on_complete);
            if is_sent {
                return self.end(sides, key, Outcome::Complete);
            }
        }
        self.arm(key);
        self.count_unread(sides, key);
    }

    /// Does not wait for the client while no backend can be given what it sends.
    pub(super) fn pause_upload(&mut self, sides: &Sides<'_>, key: usize) {
        let Some(exchange) = self.table.get(key).filter(|exchange| !exchange.upload.is_sent) else { return };
        if exchange.upload_handle().is_none_or(|(_, handle)| sides.transport.is_waiting(handle)) {
            self.mark_time(sides, key, |deadlines, phases, now| {
                deadlines.on_upload(phases, UploadWait::Proxy, 0, now);
            });
        }
    }

    /// What the client has sent and no backend can take yet counts as well (behaviour 5.3).
    pub(super) fn count_unread(&mut self, sides: &mut Sides<'_>, key: usize) {
        let Some(exchange) = self.table.get_mut(key) else { return };
        let unread = exchange.client.unread(sides.listeners);
        if !exchange.upload.count_unread(unread) {
            self.end(sides, key, Outcome::Answer(Reason::RequestBufferCap));
        }
    }

    /// The upload goes on when the budget has room.
    fn wait_for_budget(&mut self, key: usize) {
        if let Some(exchange) = self.table.get_mut(key)
            && !std::mem::replace(&mut exchange.upload.is_capped, true)
        {
            self.capped.push(tag_of(key, exchange.serial, SlotId::FIRST));
        }
    }
}

fn pump(exchange: &mut Exchange, sides: &mut Sides<'_>, handle: RequestHandle) -> Pumped {
    exchange.upload.is_capped = false;
    loop {
        if let Some(stopped) = send_waiting(&mut exchange.upload, sides.transport, handle) {
            return stopped;
        }
        let room = sides.transport.sendable(handle);
        if room == 0 {
            // Asks for `Sendable` once there is room again.
            return Pumped::Blocked;
        }
        let upload = &mut exchange.upload;
        let most = room.min(READ_SIZE).min(upload.readable());
        if most == 0 {
            return Pumped::Capped;
        }
        match exchange.client.read_body(sides.listeners, most) {
            BodyRead::Data(data) => {
                upload.received += data.len() as u64;
                if upload.received > exchange.snapshot.limits.max_request_body && !exchange.response.is_tunnel() {
                    return Pumped::TooLarge;
                }
                if !upload.take(data, matches!(exchange.response, Response::Awaited)) {
                    return Pumped::OverBudget;
                }
            }
            BodyRead::Trailers(mut fields) => {
                rewrite::request_trailers(&mut fields, exchange.client.subject_header(sides.listeners));
                upload.end = UploadEnd::Expected(fields);
            }
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
        let taken = transport.send_data(handle, front, is_last);
        let is_left = !front.is_empty();
        upload.let_go(taken);
        if is_left {
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
        UploadEnd::Trailers(fields) => {
            if !transport.send_trailers(handle, fields) {
                return Some(Pumped::TrailersTooLarge);
            }
        }
    }
    upload.is_sent = true;
    Some(Pumped::Done)
}
