//! Floods of useless frames and requests end their connection or are dropped; a normal client is not affected.

use std::time::{Duration, Instant};

use spooky_testkit::client::frame::{self, kind};
use spooky_testkit::client::raw;
use spooky_testkit::client::{Client, Connection};
use spooky_testkit::origin::Origin;
use spooky_testkit::wait;
use tokio::net::UdpSocket;

use crate::proxy::{NAME, Proxy};

const EXCESSIVE_LOAD: Option<u64> = Some(0x107);
/// More than the limit per connection.
const TOO_MANY: usize = 2000;

async fn works(connection: &Connection) {
    assert_eq!(connection.get("/").await.unwrap().text(), "hello");
}

fn head(more: &[(&str, &str)]) -> bytes::Bytes {
    let mut fields = vec![(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/digest")];
    fields.extend(more);
    frame::headers(&fields)
}

/// Sends complete requests with these bytes until the connection is closed or `count` were sent.
async fn send(connection: &raw::Connection, bytes: &[u8], count: usize) {
    let sending = async {
        for _ in 0..count {
            let Ok((mut send, mut recv)) = connection.quic().open_bi().await else { break };
            let _ = send.write_all(bytes).await;
            let _ = send.finish();
            // Wait for the answer or the reset, which frees the stream.
            let _ = recv.read_to_end(1 << 16).await;
        }
    };
    wait::within("the end of the requests", sending).await;
}

#[tokio::test]
async fn requests_that_the_client_breaks_count_like_those_that_it_cancels() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let normal = proxy.connect().await;
    let data = frame::frame(kind::DATA, b"more than one byte");
    let short = frame::frame(kind::DATA, b"x");
    let cases = [
        ("a body longer than its length", [&head(&[("content-length", "1")])[..], &data].concat()),
        ("a body shorter than its length", [&head(&[("content-length", "9")])[..], &short].concat()),
        ("no body although a length", head(&[("content-length", "9")]).to_vec()),
        ("a malformed head", head(&[("Upper", "case")]).to_vec()),
        ("an unknown pseudo-field", head(&[(":nonsense", "x")]).to_vec()),
        ("no head", Vec::new()),
    ];
    for (what, bytes) in cases {
        let attacker = proxy.greeted().await;
        send(&attacker, &bytes, 400).await;
        works(&normal).await;
        let answer = attacker.request(&frame::get("/"), true).await.answer().await;
        assert_eq!(
            answer.unwrap_or_else(|end| panic!("{what}: {end:?}")).statuses(),
            ["200"],
            "400 are forgiven: {what}"
        );
        send(&attacker, &bytes, TOO_MANY).await;
        assert_eq!(attacker.closed().await, EXCESSIVE_LOAD, "{what}");
        works(&normal).await;
    }
    let requests = origin.journal().read(|record| record.requests.len());
    assert!(requests < 2 * 1300, "{requests} of broken requests reached the backend");
}

#[tokio::test]
async fn unidirectional_streams_without_use_are_bounded() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let normal = proxy.connect().await;
    for (what, bytes) in [("no type", &b""[..]), ("an unknown type", &b"\x21hello"[..])] {
        let attacker = proxy.greeted().await;
        let sending = async {
            for _ in 0..TOO_MANY {
                let Ok(mut stream) = attacker.quic().open_uni().await else { break };
                let _ = stream.write_all(bytes).await;
                let _ = stream.finish();
            }
        };
        wait::within("the end of the streams", sending).await;
        assert_eq!(attacker.closed().await, EXCESSIVE_LOAD, "{what}");
        works(&normal).await;
    }
}

#[tokio::test]
async fn streams_that_do_not_say_in_time_what_they_are_are_stopped() {
    let origin = Origin::h2c().await;
    let upstream = |settings: spooky_testkit::settings::Settings| settings.upstream("all", "/", &[origin.url()]);
    let proxy = Proxy::start(|settings| upstream(settings).performance("client_header_timeout_ms: 300ms")).await;
    let normal = proxy.connect().await;
    let attacker = proxy.greeted().await;
    // Data on a stream also opens all earlier streams of its type, which have no data. Chromium uses such a unidirectional
    // stream much later, so those are left alone.
    let mut unis = Vec::new();
    let mut requests = Vec::new();
    for _ in 0..20 {
        unis.push(attacker.quic().open_uni().await.unwrap());
        requests.push(attacker.quic().open_bi().await.unwrap());
    }
    let (last_uni, last_request) = (unis.last_mut().unwrap(), requests.last_mut().unwrap());
    last_uni.write_all(&[0x40]).await.unwrap(); // half of a type
    last_request.0.write_all(&frame::get("/")[..3]).await.unwrap();
    let creation_error = Some(0x103);
    let stopped = wait::within("the end of a stream", last_uni.stopped()).await.unwrap();
    assert_eq!(stopped.map(quinn::VarInt::into_inner), creation_error);
    for (stream, _) in &mut requests {
        let stopped = wait::within("the end of a request", stream.stopped()).await.unwrap();
        assert_eq!(stopped.map(quinn::VarInt::into_inner), Some(0x10d), "H3_REQUEST_INCOMPLETE");
    }
    works(&normal).await;
    let answer = attacker.request(&frame::get("/"), true).await.answer().await.unwrap();
    assert_eq!(answer.statuses(), ["200"], "the control stream goes on");
    for stream in unis.iter_mut().rev().skip(1) {
        tokio::select! {
            biased;
            stopped = stream.stopped() => panic!("stopped without data: {stopped:?}"),
            () = std::future::ready(()) => {}
        }
    }
    unis[0].write_all(&[0x21]).await.unwrap();
    let stopped = wait::within("the answer to an unknown type", unis[0].stopped()).await.unwrap();
    assert_eq!(stopped.map(quinn::VarInt::into_inner), creation_error);
}

#[tokio::test]
async fn datagrams_that_are_not_quic_are_counted_and_logged_sparingly() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| settings.level("debug").upstream("all", "/", &[origin.url()])).await;
    let normal = proxy.connect().await;
    let start = Instant::now();
    let socket = UdpSocket::bind(("127.0.0.1", 0)).await.unwrap();
    for round in 0..20 {
        for _ in 0..500 {
            let _ = socket.send_to(&[], proxy.settings.addr()).await;
            let _ = socket.send_to(&[round], proxy.settings.addr()).await;
        }
        works(&normal).await;
    }
    let lines = proxy.count("Wrong QUIC HEADER");
    let seconds = start.elapsed().max(Duration::from_secs(1)).as_secs() as usize;
    assert!((10..=10 * (seconds + 2)).contains(&lines), "{lines} lines in {seconds} s");
}

#[tokio::test]
async fn packets_full_of_empty_frames_keep_nobody_else_from_being_served() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let normal = proxy.connect().await;
    let attacker = Client::filling(&proxy.authority).connect_raw(proxy.settings.addr(), NAME).await;
    attacker.send_settings().await;
    let mut request = attacker.request(&head(&[]), false).await;
    let flooding = tokio::spawn(async move {
        loop {
            request.write(&frame::frame(kind::DATA, b"x")).await;
            tokio::task::yield_now().await;
        }
    });
    for _ in 0..100 {
        works(&normal).await;
    }
    let seen = attacker.quic().stats();
    assert!(seen.udp_tx.datagrams > 10, "{seen:?}");
    assert!(!flooding.is_finished());
    flooding.abort();
}
