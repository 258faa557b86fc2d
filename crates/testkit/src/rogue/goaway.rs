//! An origin that retires its connections, as nginx does after `keepalive_requests`.
//!
//! Owns the exact account of what was processed: a request is booked if and only if its stream is at or below the
//! last stream id of the GOAWAY that follows. Called by the connection treatment only.

use std::collections::HashSet;

use super::pen::{flag, goaway, kind};
use super::step::{BODY_BYTES, answer, perform};
use super::wire::{Event, Wire};
use crate::journal::Journal;

pub(super) async fn serve(mut wire: Wire, requests: usize, journal: Journal) {
    if !wire.greet(&[]).await {
        return;
    }
    let steps = answer(BODY_BYTES);
    let mut taken = 0;
    let mut open = HashSet::new();
    while taken < requests || !open.is_empty() {
        let ended = match wire.next().await {
            None => return,
            Some(Event::Request { .. }) if taken == requests => {
                journal.note(|record| record.refused += 1);
                continue;
            }
            Some(Event::Request { stream, entry, end }) => {
                taken += 1;
                journal.note(|record| record.requests.push(entry));
                open.insert(stream);
                if taken == requests {
                    wire.pen.frame(kind::GOAWAY, flag::NONE, 0, &goaway(stream, 0)).await;
                }
                end.then_some(stream)
            }
            Some(Event::Body { stream, end, .. }) => end.then_some(stream),
            Some(Event::Reset { stream, .. }) => {
                open.remove(&stream);
                None
            }
        };
        if let Some(stream) = ended.filter(|stream| open.remove(stream)) {
            perform(&steps, stream, &wire.pen).await;
            journal.note(|record| record.completed += 1);
        }
    }
    wire.pen.close().await;
    while let Some(event) = wire.next().await {
        if matches!(event, Event::Request { .. }) {
            journal.note(|record| record.refused += 1);
        }
    }
}
