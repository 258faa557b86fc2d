//! An origin that sends GOAWAY after a number of requests, as nginx does after `keepalive_requests`.
//!
//! Records a request if and only if its stream id is not above the last stream id of the GOAWAY.

use std::collections::HashSet;

use super::reader::{Event, FrameReader};
use super::step::{BODY_BYTES, answer, execute};
use super::writer::{flag, goaway, kind};
use crate::journal::Journal;

pub(super) async fn serve(mut reader: FrameReader, requests: usize, journal: Journal) {
    if !reader.handshake(&[]).await {
        return;
    }
    let steps = answer(BODY_BYTES);
    let mut taken = 0;
    let mut open = HashSet::new();
    while taken < requests || !open.is_empty() {
        let ended = match reader.next().await {
            None => return,
            Some(Event::Request { .. }) if taken == requests => {
                journal.update(|record| record.refused += 1);
                continue;
            }
            Some(Event::Request { stream, entry, end }) => {
                taken += 1;
                journal.update(|record| record.requests.push(entry));
                open.insert(stream);
                if taken == requests {
                    reader.writer.frame(kind::GOAWAY, flag::NONE, 0, &goaway(stream, 0)).await;
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
            execute(&steps, stream, &reader.writer).await;
            journal.update(|record| record.completed += 1);
        }
    }
    reader.writer.close().await;
    while let Some(event) = reader.next().await {
        if matches!(event, Event::Request { .. }) {
            journal.update(|record| record.refused += 1);
        }
    }
}
