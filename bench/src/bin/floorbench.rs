//! The floor of a machine: what the parts of a small proxied request cost that no design avoids.
//!
//! `cargo run --release -p spooky-bench --bin floorbench`; for sockets `cargo run --release -p spooky-net --example udp_cost`.
#![forbid(unsafe_code)]

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use bytes::{Bytes, BytesMut};
use spooky_bench::nanos;
use spooky_bridge::{
    h2::{self, Client},
    h3::{Received, RecvStream, encode_response},
    message::{
        Fields, Known, Protocol, RequestHead, ResponseHead,
        check::{self, HeadLimits, RequestRules},
    },
    qpack,
};
use std::hint::black_box;

fn main() {
    let mut total = 0.0;
    let mut row = |name: &str, nanos: f64, counts: bool| {
        println!("{name:<58} {nanos:>8.0} ns{}", if counts { "  *" } else { "" });
        if counts {
            total += nanos;
        }
    };
    row("QPACK decode and check of a small request", decode_request(), true);
    row("HTTP/2 client: request out, HEADERS and DATA in", round_trip(), true);
    row("HTTP/3 HEADERS of a small response", encode_head(), true);
    row("AES-128-GCM seal, 64 bytes", seal(64), true);
    row("AES-128-GCM open, 64 bytes", open(64), true);
    row("AES-128-GCM seal, 1350 bytes", seal(1350), false);
    row("AES-128-GCM open, 1350 bytes", open(1350), false);
    println!("{:<58} {total:>8.0} ns", "a small request, without QUIC framing and system calls (*)");
}

fn small_request() -> Fields {
    let mut fields = Fields::new();
    let pairs: [(Known, &[u8]); 5] = [
        (Known::Method, b"GET"),
        (Known::Scheme, b"https"),
        (Known::Authority, b"127.0.0.1:8448"),
        (Known::Path, b"/small"),
        (Known::UserAgent, b"h2load nghttp2/1.64.0"),
    ];
    for (name, value) in pairs {
        fields.push(name, value);
    }
    fields
}

fn request_head() -> Option<RequestHead> {
    check::request(small_request(), &HeadLimits::default(), &RequestRules::new(Protocol::Http3)).ok()
}

fn decode_request() -> f64 {
    let mut section = Vec::new();
    qpack::encode(None, &small_request(), &mut section);
    let mut frame = vec![1, section.len() as u8];
    frame.extend_from_slice(&section);
    let (frame, limits, rules) = (Bytes::from(frame), HeadLimits::default(), RequestRules::new(Protocol::Http3));
    nanos(|| {
        let mut chunk = frame.clone();
        match RecvStream::new().recv(&mut chunk, &limits) {
            Ok(Some(Received::Headers(fields))) => check::request(fields, &limits, &rules).is_ok(),
            _ => false,
        }
    })
}

fn encode_head() -> f64 {
    let mut head = ResponseHead::new(200);
    head.fields.push(Known::ContentType, b"text/plain");
    head.fields.push(Known::ContentLength, b"58");
    head.fields.push(Known::Via, b"2.0 spooky");
    let mut out = Vec::with_capacity(256);
    nanos(|| {
        out.clear();
        encode_response(&mut out, &head);
        out.len()
    })
}

/// A request out of the client, and the answer of a peer (status, one field, 58 bytes) into it.
fn round_trip() -> f64 {
    let Some(head) = request_head() else { return f64::NAN };
    let mut client = Client::new(&h2::Config::default());
    let mut input = BytesMut::from(&b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"[..]);
    while let Ok(Some(_)) = client.recv(&mut input) {}
    nanos(|| {
        let Ok(id) = client.send_request(&head, true, 1) else { return 0 };
        let sent = client.output().len();
        client.output().advance(sent);
        let number = id.number().to_be_bytes();
        input.extend_from_slice(b"\x00\x00\x01\x01\x04"); // HEADERS, END_HEADERS: `:status: 200`
        input.extend_from_slice(&number);
        input.extend_from_slice(b"\x88\x00\x00\x3a\x00\x01"); // DATA, END_STREAM
        input.extend_from_slice(&number);
        input.extend_from_slice(&[b'x'; 58]);
        let mut events = 0;
        while let Ok(Some(event)) = client.recv(&mut input) {
            black_box(event);
            events += 1;
        }
        let rest = client.output().len();
        client.output().advance(rest);
        events
    })
}

fn key() -> Option<LessSafeKey> {
    UnboundKey::new(&AES_128_GCM, &[7; 16]).ok().map(LessSafeKey::new)
}

fn seal(size: usize) -> f64 {
    let Some(key) = key() else { return f64::NAN };
    let mut buffer = vec![1; size];
    nanos(|| {
        let tag =
            key.seal_in_place_separate_tag(Nonce::assume_unique_for_key([0; 12]), Aad::from([0; 16]), &mut buffer);
        tag.is_ok()
    })
}

fn open(size: usize) -> f64 {
    let Some(key) = key() else { return f64::NAN };
    let mut sealed = vec![1; size];
    let nonce = || Nonce::assume_unique_for_key([0; 12]);
    if key.seal_in_place_append_tag(nonce(), Aad::from([0; 16]), &mut sealed).is_err() {
        return f64::NAN;
    }
    let mut buffer = sealed.clone();
    nanos(|| {
        buffer.copy_from_slice(&sealed);
        key.open_in_place(nonce(), Aad::from([0; 16]), &mut buffer).is_ok()
    })
}
