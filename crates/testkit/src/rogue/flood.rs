//! Frames without end, to find a client that does not count.
//!
//! Owns the floods of RFC 9113 section 10.5. Each one pours until the client closes the connection, so that a client
//! without a limit is seen by the test as a connection that stays. Called by the connection treatment only.

use std::sync::Arc;

use super::pen::{Pen, flag, frame, kind};
use super::step::{Step, fields, perform};
use super::wire::{Event, Wire};
use crate::journal::Journal;

/// Frames written at once.
const BATCH: usize = 64;

/// The kind of frame that is poured. All but the first two need a request to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// SETTINGS, each of which wants an acknowledgement.
    Settings,
    /// PING, likewise.
    Ping,
    /// CONTINUATION of a field block that never ends.
    Continuation,
    /// Empty DATA on the request's stream.
    EmptyData,
    /// Interim responses (103) on the request's stream.
    Informational,
    /// `WINDOW_UPDATE` of one byte on the request's stream.
    WindowUpdate,
    /// PRIORITY on streams that do not exist.
    Priority,
}

pub(super) async fn pour(mut wire: Wire, flood: Flood, journal: Journal) {
    if !wire.greet(&[]).await {
        return;
    }
    let mut stream = 0;
    if !matches!(flood, Flood::Settings | Flood::Ping) {
        stream = loop {
            match wire.next().await {
                None => return,
                Some(Event::Request { stream, entry, .. }) => {
                    journal.note(|record| record.requests.push(entry));
                    break stream;
                }
                Some(_) => {}
            }
        };
    }
    let pen = wire.pen.clone();
    let pouring = async move {
        open(flood, stream, &pen).await;
        let batch: Arc<[u8]> = one(flood, stream).repeat(BATCH).into();
        while pen.bytes(&batch).await {}
    };
    tokio::select! {
        () = pouring => {}
        () = wire.drain() => {}
    }
}

/// What comes once before the flood.
async fn open(flood: Flood, stream: u32, pen: &Pen) {
    match flood {
        Flood::Continuation => {
            pen.frame(kind::HEADERS, flag::NONE, stream, &[0x88]).await;
        }
        Flood::EmptyData => {
            perform(&[Step::Head(fields(&[(":status", "200")]), false)], stream, pen).await;
        }
        _ => {}
    }
}

fn one(flood: Flood, stream: u32) -> Vec<u8> {
    let bytes = match flood {
        Flood::Settings => frame(kind::SETTINGS, flag::NONE, 0, &[]),
        Flood::Ping => frame(kind::PING, flag::NONE, 0, &[7; 8]),
        // A literal field `a: b` without indexing.
        Flood::Continuation => frame(kind::CONTINUATION, flag::NONE, stream, &[0, 1, b'a', 1, b'b']),
        Flood::EmptyData => frame(kind::DATA, flag::NONE, stream, &[]),
        // `:status: 103` by the name's index in the static table.
        Flood::Informational => frame(kind::HEADERS, flag::END_HEADERS, stream, &[0x08, 3, b'1', b'0', b'3']),
        Flood::WindowUpdate => frame(kind::WINDOW_UPDATE, flag::NONE, stream, &1u32.to_be_bytes()),
        Flood::Priority => frame(kind::PRIORITY, flag::NONE, stream + 2, &[0, 0, 0, 0, 16]),
    };
    bytes.to_vec()
}
