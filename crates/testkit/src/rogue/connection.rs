//! One connection of a rogue, from accept to close.
//!
//! Owns the dispatch from a [`Fault`] to what is done on the wire. Called by the accept loop only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::fault::{Fault, Script};
use super::pen::{Pen, setting};
use super::step::{BODY_BYTES, Done, Step, answer, perform};
use super::wire::{Event, Wire};
use super::{flood, goaway};
use crate::journal::Journal;

/// `REFUSED_STREAM` (RFC 9113 section 7).
pub(super) const REFUSED_STREAM: u32 = 7;

pub(super) async fn treat(tcp: TcpStream, fault: Fault, journal: Journal, number: usize) {
    let mut wire = Wire::new(tcp, journal.clone(), number);
    match fault {
        Fault::CloseOnAccept => {}
        Fault::CloseAfterPreface => {
            wire.preface().await;
        }
        Fault::Mute => wire.drain_quietly().await,
        Fault::Http1 => {
            wire.preface().await;
            wire.pen.bytes(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        }
        Fault::Script(script) => follow(wire, script, journal, |_| Vec::new()).await,
        Fault::GoawayEvery(requests) => goaway::serve(wire, requests, journal).await,
        Fault::RefuseFirst(requests) => {
            let refuse =
                move |seen: &Seen| if seen.all < requests { vec![Step::Reset(REFUSED_STREAM)] } else { vec![] };
            follow(wire, answer(BODY_BYTES).into(), journal, refuse).await;
        }
        Fault::StreamLimit(limit) => {
            let mut slow = answer(BODY_BYTES);
            slow.insert(0, Step::Wait(Duration::from_millis(5)));
            let mut script = Script::from(slow);
            script.settings = vec![(setting::MAX_CONCURRENT_STREAMS, limit)];
            let refuse = move |seen: &Seen| {
                if seen.open >= limit as usize { vec![Step::Reset(REFUSED_STREAM)] } else { vec![] }
            };
            follow(wire, script, journal, refuse).await;
        }
        Fault::Flood(flood) => flood::pour(wire, flood, journal).await,
    }
}

/// What the origin has seen when a request arrives.
struct Seen {
    /// Requests processed or refused before, on all connections.
    all: usize,
    /// Answers under way on this connection.
    open: usize,
}

/// Follows a script; `refuse` may put other steps in its place, and the request then counts as refused.
async fn follow(mut wire: Wire, script: Script, journal: Journal, refuse: impl Fn(&Seen) -> Vec<Step>) {
    wire.credit = script.credit;
    if !wire.greet(&script.settings).await || perform(&script.opening, 0, &wire.pen).await == Done::Closed {
        return;
    }
    let stage = Stage { steps: script.answer.into(), pen: wire.pen.clone(), journal, closed: Arc::default() };
    let pages: Vec<(_, Arc<[Step]>)> = script.pages.into_iter().map(|(path, steps)| (path, steps.into())).collect();
    let mut answers = JoinSet::new();
    let mut waiting = HashMap::new();
    loop {
        // The reader is dropped only when the connection ends: it may be in the middle of an event.
        let event = tokio::select! {
            event = wire.next() => event,
            () = stage.closed.notified() => return,
        };
        while answers.try_join_next().is_some() {}
        let (stream, end) = match event {
            None => return,
            Some(Event::Request { stream, entry, end }) => {
                let all = stage.journal.read(|record| record.requests.len() + record.refused);
                let instead = refuse(&Seen { all, open: answers.len() + waiting.len() });
                if !instead.is_empty() {
                    stage.journal.note(|record| record.refused += 1);
                    perform(&instead, stream, &wire.pen).await;
                    continue;
                }
                let page = pages.iter().find(|(path, _)| *path == entry.path);
                let steps = page.map_or(&stage.steps, |(_, steps)| steps);
                waiting.insert(stream, steps.clone());
                stage.journal.note(|record| record.requests.push(entry));
                (stream, end)
            }
            Some(Event::Body { stream, end, .. }) => (stream, end),
            Some(Event::Reset { stream, .. }) => {
                waiting.remove(&stream);
                continue;
            }
        };
        if (end || !script.after_request)
            && let Some(steps) = waiting.remove(&stream)
        {
            answers.spawn(Stage { steps, ..stage.clone() }.answer(stream));
        }
    }
}

/// What every answer of one connection needs.
#[derive(Clone)]
struct Stage {
    steps: Arc<[Step]>,
    pen: Pen,
    journal: Journal,
    closed: Arc<Notify>,
}

impl Stage {
    async fn answer(self, stream: u32) {
        match perform(&self.steps, stream, &self.pen).await {
            Done::All => self.journal.note(|record| record.completed += 1),
            Done::Closed => self.closed.notify_one(),
        }
    }
}
