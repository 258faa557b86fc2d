//! Sends the anomalies of HTTP/1.1 as they are written.

use super::http1_rows::{Row, rows};
use super::origin::Origin;
use super::rig::{Expected, Rig, SMUGGLED};

const MALFORMED: &str = "invalid request\n";

/// Sends a row on a connection of its own, and an ordinary request after it if the connection stays open. Returns the paths
/// of ordinary requests that were sent.
async fn send(rig: &mut Rig, row: &Row) -> (Vec<String>, Result<(), String>) {
    let mut connection = rig.proxy.http1().await;
    let is_forwarded = matches!(row.expected, Expected::Forwarded { .. });
    let behind = if is_forwarded || row.is_open_ended { b"" } else { SMUGGLED };
    connection.send([&row.bytes, behind].concat()).await;
    if !is_forwarded {
        // The proxy may have closed the connection already.
        let _ = connection.try_end().await;
    }
    let is_head = row.bytes.starts_with(b"HEAD ");
    let reply = if is_head { connection.try_head().await } else { connection.try_reply().await };
    let mut ordinary = Vec::new();
    let result = match (&row.expected, reply) {
        (Expected::Malformed, Ok(reply)) if (reply.status(), reply.text()) == (400, MALFORMED) => Ok(()),
        (Expected::Refused(status), Ok(reply)) if reply.status() == *status => Ok(()),
        // An upload that the client itself ends too early has no answer, or one that was sent before its end.
        (Expected::CutOff, Ok(reply)) if matches!(reply.status(), 400 | 413) => Ok(()),
        (Expected::CutOff, Err(_)) if row.is_open_ended => Ok(()),
        (Expected::Forwarded { .. }, Ok(reply)) => {
            let is_own = reply.status() == 200 && (is_head || Some(reply.text()) == row.expected.target().as_deref());
            if reply.field("connection") != "close" {
                let path = rig.ordinary();
                let next = connection.get(&path).await;
                ordinary.push(path.clone());
                if next.text() != format!("GET {path}") {
                    return (ordinary, Err(format!("the connection went on with {next:?}")));
                }
                let _ = connection.try_end().await;
            }
            if is_own { Ok(()) } else { Err(format!("the client got {reply:?}")) }
        }
        (expected, reply) => Err(format!("the client got {reply:?}, not {expected:?}")),
    };
    // A connection that is closed while the client still sends may be reset.
    let rest = connection.rest().await.unwrap_or_default();
    if !rest.is_empty() {
        return (ordinary, Err(format!("the client got more: {}", rest.escape_ascii())));
    }
    (ordinary, result)
}

async fn run(origin: Origin) {
    let rows = rows();
    let mut rig = Rig::new(origin).await;
    let mut cut_off = 0;
    for row in &rows {
        let (ordinary, result) = send(&mut rig, row).await;
        rig.after(&row.bytes.escape_ascii().to_string(), Some(&row.expected), ordinary, result).await;
        cut_off += usize::from(row.expected == Expected::CutOff);
    }
    rig.finish(cut_off).await;
}

#[tokio::test]
async fn http1_to_http1() {
    run(Origin::http1().await).await;
}

#[tokio::test]
async fn http1_to_http2() {
    run(Origin::http2().await).await;
}

#[test]
fn there_are_many_distinct_anomalies() {
    let mut all: Vec<_> = rows().into_iter().map(|row| (row.bytes, row.is_open_ended)).collect();
    let count = all.len();
    all.sort();
    all.dedup();
    assert_eq!(all.len(), count, "each differs from the others");
    assert!(count >= 250, "{count}");
}
