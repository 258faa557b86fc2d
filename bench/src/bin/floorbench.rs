//! Measures the minimum cost of proxying a small request on a machine, and the parts that it consists of.
//!
//! `cargo run --release -p spooky-bench --bin floorbench`
#![forbid(unsafe_code)]

use std::io;

use spooky_bench::{
    aead,
    clock::nanos,
    codec, sample,
    udp::{self, Shape},
};

/// Datagrams per request if sixteen small requests, or their responses, share two datagrams.
const SHARE: f64 = 2.0 / 16.0;

/// A line of the table.
#[derive(Clone)]
struct Row {
    part: &'static str,
    nanos: f64,
    /// How often a request needs it if it is alone on its connection.
    alone: f64,
    /// How often each of sixteen concurrent requests needs it.
    together: f64,
}

fn main() -> io::Result<()> {
    let rows = [udp_rows()?, aead_rows(), codec_rows()].concat();
    println!("{:<54} {:>9} {:>8} {:>8}", "part", "ns each", "alone", "of 16");
    for row in &rows {
        println!("{:<54} {:>9.0} {:>8} {:>8}", row.part, row.nanos, times(row.alone), times(row.together));
    }
    let alone: f64 = rows.iter().map(|row| row.nanos * row.alone).sum();
    let together: f64 = rows.iter().map(|row| row.nanos * row.together).sum();
    println!("\nA small proxied request costs at least");
    println!("  {:>5.2} us when it is alone on its connection", alone / 1000.0);
    println!("  {:>5.2} us as one of 16 at once, which share datagrams", together / 1000.0);
    println!("before TCP, QUIC's own framing and acknowledgements, and every decision.");
    Ok(())
}

fn times(count: f64) -> String {
    if count > 0.0 { format!("x {count}") } else { "-".to_owned() }
}

fn udp_rows() -> io::Result<Vec<Row>> {
    let mut rows = Vec::new();
    let shapes = [
        (1, 1, ["UDP send, 1200 bytes, one a call", "UDP receive, 1200 bytes, one a call"], (1.0, 0.0)),
        (1, 32, ["UDP send, 1200 bytes, 32 a call", "UDP receive, 1200 bytes, 32 a call"], (0.0, SHARE)),
        (10, 32, ["UDP send, 1200 bytes, bursts of 10", "UDP receive, 1200 bytes, bursts of 10"], (0.0, 0.0)),
        (54, 32, ["UDP send, 1200 bytes, bursts of 54", "UDP receive, 1200 bytes, bursts of 54"], (0.0, 0.0)),
    ];
    for (burst, bursts, [sending, receiving], (alone, together)) in shapes {
        let cost = udp::cost(Shape { size: 1200, burst, bursts })?;
        rows.push(Row { part: sending, nanos: cost.send, alone, together });
        rows.push(Row { part: receiving, nanos: cost.receive, alone, together });
    }
    Ok(rows)
}

fn aead_rows() -> Vec<Row> {
    vec![
        Row { part: "AES-128-GCM seal, 64 bytes", nanos: aead::seal(64), alone: 1.0, together: 0.0 },
        Row { part: "AES-128-GCM open, 64 bytes", nanos: aead::open(64), alone: 1.0, together: 0.0 },
        Row { part: "AES-128-GCM seal, 1200 bytes", nanos: aead::seal(1200), alone: 0.0, together: SHARE },
        Row { part: "AES-128-GCM open, 1200 bytes", nanos: aead::open(1200), alone: 0.0, together: SHARE },
    ]
}

fn codec_rows() -> Vec<Row> {
    let request = sample::h2load();
    let every = |part, nanos| Row { part, nanos, alone: 1.0, together: 1.0 };
    let within = |part, nanos| Row { part, nanos, alone: 0.0, together: 0.0 };
    vec![
        every("HTTP/3 request in: frame, QPACK, checks, rewriting", nanos(codec::receive_request(&request))),
        within("  of that: QPACK and checks", nanos(codec::qpack_decode(&request))),
        every("HTTP/2 client: request out, HEADERS and DATA in", nanos(codec::h2_round_trip(&request))),
        within("  of that: HPACK of the request", nanos(codec::hpack_encode(&request))),
        every("HTTP/3 HEADERS of the answer", nanos(codec::encode_answer())),
    ]
}
