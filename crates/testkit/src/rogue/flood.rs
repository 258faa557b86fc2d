//! Floods of frames (RFC 9113 section 10.5). A flood lasts until the client closes the connection, so a client without a
//! limit keeps it open and fails the test.

use std::sync::Arc;

use super::reader::{Event, FrameReader};
use super::step::{Step, execute, fields};
use super::writer::{FrameWriter, flag, frame, kind};
use crate::journal::Journal;

/// Frames per write.
const BATCH: usize = 64;

/// Kind of frame of a flood. All but the first two start with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flood {
    /// SETTINGS, each of which requires an acknowledgement.
    Settings,
    /// PING, each of which requires an acknowledgement.
    Ping,
    /// CONTINUATION of a field block that never ends.
    Continuation,
    /// Empty DATA on the stream of the request.
    EmptyData,
    /// Interim responses (103) on the stream of the request.
    Informational,
    /// `WINDOW_UPDATE` of one byte on the stream of the request.
    WindowUpdate,
    /// PRIORITY on streams that do not exist.
    Priority,
}

pub(super) async fn run(mut reader: FrameReader, flood: Flood, journal: Journal) {
    if !reader.handshake(&[]).await {
        return;
    }
    let mut stream = 0;
    if !matches!(flood, Flood::Settings | Flood::Ping) {
        stream = loop {
            match reader.next().await {
                None => return,
                Some(Event::Request { stream, entry, .. }) => {
                    journal.update(|record| record.requests.push(entry));
                    break stream;
                }
                Some(_) => {}
            }
        };
    }
    let writer = reader.writer.clone();
    let sending = async move {
        open(flood, stream, &writer).await;
        let batch: Arc<[u8]> = one(flood, stream).repeat(BATCH).into();
        while writer.bytes(&batch).await {}
    };
    tokio::select! {
        () = sending => {}
        () = reader.drain() => {}
    }
}

/// Sends the frame that precedes the flood.
async fn open(flood: Flood, stream: u32, writer: &FrameWriter) {
    match flood {
        Flood::Continuation => {
            writer.frame(kind::HEADERS, flag::NONE, stream, &[0x88]).await;
        }
        Flood::EmptyData => {
            execute(&[Step::Head(fields(&[(":status", "200")]), false)], stream, writer).await;
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
