//! Executes a [`Fault`] on one connection of a rogue origin.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::task::JoinSet;

use super::fault::{Fault, Script};
use super::reader::{Event, FrameReader};
use super::step::{BODY_BYTES, Done, Step, answer, execute};
use super::writer::{FrameWriter, setting};
use super::{flood, goaway};
use crate::journal::Journal;

/// `REFUSED_STREAM` (RFC 9113 section 7).
pub(super) const REFUSED_STREAM: u32 = 7;

pub(super) async fn serve(tcp: TcpStream, fault: Fault, journal: Journal, number: usize) {
    let mut reader = FrameReader::new(tcp, journal.clone(), number);
    match fault {
        Fault::CloseOnAccept => {}
        Fault::CloseAfterPreface => {
            reader.preface().await;
        }
        Fault::Mute => reader.discard_all().await,
        Fault::Http1 => {
            reader.preface().await;
            reader.writer.bytes(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await;
        }
        Fault::Script(script) => run_script(reader, script, journal, |_| Vec::new()).await,
        Fault::GoawayEvery(requests) => goaway::serve(reader, requests, journal).await,
        Fault::RefuseFirst(requests) => {
            let refuse =
                move |seen: &Progress| if seen.all < requests { vec![Step::Reset(REFUSED_STREAM)] } else { vec![] };
            run_script(reader, answer(BODY_BYTES).into(), journal, refuse).await;
        }
        Fault::StreamLimit(limit) => {
            let mut slow = answer(BODY_BYTES);
            slow.insert(0, Step::Wait(Duration::from_millis(5)));
            let mut script = Script::from(slow);
            script.settings = vec![(setting::MAX_CONCURRENT_STREAMS, limit)];
            let refuse = move |seen: &Progress| {
                if seen.open >= limit as usize { vec![Step::Reset(REFUSED_STREAM)] } else { vec![] }
            };
            run_script(reader, script, journal, refuse).await;
        }
        Fault::Flood(flood) => flood::run(reader, flood, journal).await,
    }
}

/// State of the origin when a request arrives.
struct Progress {
    /// Previous requests on all connections, processed or refused.
    all: usize,
    /// Responses in progress on this connection.
    open: usize,
}

/// Executes a script. If `refuse` returns steps, executes them instead and counts the request as refused.
async fn run_script(
    mut reader: FrameReader,
    script: Script,
    journal: Journal,
    refuse: impl Fn(&Progress) -> Vec<Step>,
) {
    reader.credit = script.credit;
    if !reader.handshake(&script.settings).await || execute(&script.opening, 0, &reader.writer).await == Done::Closed {
        return;
    }
    let responder =
        Responder { steps: script.answer.into(), writer: reader.writer.clone(), journal, closed: Arc::default() };
    let pages: Vec<(_, Arc<[Step]>)> = script.pages.into_iter().map(|(path, steps)| (path, steps.into())).collect();
    let mut answers = JoinSet::new();
    let mut waiting = HashMap::new();
    loop {
        // `next` is not cancel-safe; it is cancelled only when the connection ends.
        let event = tokio::select! {
            event = reader.next() => event,
            () = responder.closed.notified() => return,
        };
        while answers.try_join_next().is_some() {}
        let (stream, end) = match event {
            None => return,
            Some(Event::Request { stream, entry, end }) => {
                let all = responder.journal.read(|record| record.requests.len() + record.refused);
                let instead = refuse(&Progress { all, open: answers.len() + waiting.len() });
                if !instead.is_empty() {
                    responder.journal.update(|record| record.refused += 1);
                    execute(&instead, stream, &reader.writer).await;
                    continue;
                }
                let page = pages.iter().find(|(path, _)| *path == entry.path);
                let steps = page.map_or(&responder.steps, |(_, steps)| steps);
                waiting.insert(stream, steps.clone());
                responder.journal.update(|record| record.requests.push(entry));
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
            answers.spawn(Responder { steps, ..responder.clone() }.answer(stream));
        }
    }
}

/// State shared by the responses of a connection.
#[derive(Clone)]
struct Responder {
    steps: Arc<[Step]>,
    writer: FrameWriter,
    journal: Journal,
    closed: Arc<Notify>,
}

impl Responder {
    async fn answer(self, stream: u32) {
        match execute(&self.steps, stream, &self.writer).await {
            Done::All => self.journal.update(|record| record.completed += 1),
            Done::Closed => self.closed.notify_one(),
        }
    }
}
