//! One connection of a scripted origin.

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::OwnedWriteHalf;

use super::reader::{Read, Reader};
use super::shared::{OnPreface, Shared};
use super::step::Step;

const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

/// Whether the connection goes on after a step.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    Continue,
    Close,
    Reset,
}

pub(super) async fn serve(tcp: TcpStream, shared: Shared, number: usize) {
    let _ = tcp.set_nodelay(true);
    let (read, mut writer) = tcp.into_split();
    let mut reader = Reader::new(read, shared.received.clone(), number);
    let end = run(&mut reader, &mut writer, &shared).await;
    if end == Next::Reset {
        let _ = writer.as_ref().set_zero_linger();
        writer.forget(); // dropping it would send FIN first
    }
    drop(reader);
    shared.journal.update(|record| record.closed += 1);
}

async fn run(reader: &mut Reader, writer: &mut OwnedWriteHalf, shared: &Shared) -> Next {
    loop {
        let entry = match reader.head().await {
            Read::Request(entry) => entry,
            Read::Preface => return on_preface(reader, writer, shared.on_preface).await,
            Read::Closed => return Next::Close,
        };
        let mut number = 0;
        shared.journal.update(|record| {
            record.requests.push(entry.clone());
            number = record.requests.len();
        });
        for step in (shared.script)(&entry, number) {
            match execute(step, reader, writer, shared).await {
                Next::Continue => {}
                end => return end,
            }
        }
        if !read_body(reader, shared).await {
            return Next::Close;
        }
        shared.journal.update(|record| record.completed += 1);
    }
}

async fn on_preface(reader: &mut Reader, writer: &mut OwnedWriteHalf, action: OnPreface) -> Next {
    match action {
        OnPreface::Close => return Next::Close,
        OnPreface::Refuse => {
            let _ = writer.write_all(REFUSAL).await;
            let _ = writer.shutdown().await;
        }
        OnPreface::Ignore => {}
    }
    while reader.fill().await {}
    Next::Close
}

async fn read_body(reader: &mut Reader, shared: &Shared) -> bool {
    let before = reader.body_bytes;
    let is_whole = reader.body().await;
    shared.journal.update(|record| record.body_bytes += (reader.body_bytes - before) as u64);
    is_whole
}

async fn execute(step: Step, reader: &mut Reader, writer: &mut OwnedWriteHalf, shared: &Shared) -> Next {
    let goes_on = match step {
        Step::Send(bytes) => writer.write_all(&bytes).await.is_ok(),
        Step::Wait(time) => {
            tokio::time::sleep(time).await;
            true
        }
        Step::Body => read_body(reader, shared).await,
        Step::Gate => {
            pass_gate(shared).await;
            true
        }
        Step::HalfClose => writer.shutdown().await.is_ok(),
        Step::Drain => {
            while reader.fill().await {}
            false
        }
        Step::Echo => {
            echo(reader, writer).await;
            false
        }
        Step::Close => false,
        Step::Reset => return Next::Reset,
    };
    if goes_on { Next::Continue } else { Next::Close }
}

/// Waits until the gate is open, and closes it by one.
async fn pass_gate(shared: &Shared) {
    let mut reader = shared.gate.subscribe();
    loop {
        // Fails only if the origin is dropped.
        let _ = reader.wait_for(|open| *open > 0).await;
        let mut has_passed = false;
        shared.gate.send_modify(|open| {
            has_passed = *open > 0;
            *open = open.saturating_sub(1);
        });
        if has_passed {
            return;
        }
    }
}

async fn echo(reader: &mut Reader, writer: &mut OwnedWriteHalf) {
    loop {
        let bytes = reader.take();
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
        if !reader.fill().await {
            let _ = writer.shutdown().await;
            return;
        }
    }
}
