//! Slow clients: the resources they use are bounded, and other clients are not affected.

use std::time::Duration;

use http::StatusCode;
use spooky_testkit::client::Client;
use spooky_testkit::client::frame::{self, kind};
use spooky_testkit::client::raw::{self, End, Request};
use spooky_testkit::origin::Origin;
use spooky_testkit::rogue::{Rogue, Step, fields};
use spooky_testkit::wait;
use tokio::task::JoinSet;

use crate::proxy::{NAME, Proxy};

const H3_INTERNAL_ERROR: u64 = 0x102;
/// Number of requests on an attacker's connection.
const STREAMS: usize = 64;
/// A queue timeout that no test reaches.
const PATIENT: &str = "resilience:\n  brownout: { enabled: false }\n  route_queue: { max_wait_ms: 60s }";

/// Opens a connection with a small stream window, which is extended only after half of it was read.
async fn narrow(proxy: &Proxy, window: u32) -> raw::Connection {
    let client = Client::tuned(&proxy.authority, |transport| {
        transport.stream_receive_window(window.into());
    });
    let connection = client.connect_raw(proxy.settings.addr(), NAME).await;
    connection.send_settings().await;
    connection
}

fn head(method: &str, path: &str, more: &[(&'static str, &'static str)]) -> Vec<u8> {
    let mut all = vec![(":method", method), (":scheme", "https"), (":authority", "localhost"), (":path", path)];
    all.extend_from_slice(more);
    frame::headers(&all).to_vec()
}

/// Sends the requests of the normal client, all of which must succeed.
async fn works(proxy: &Proxy) {
    let connection = proxy.connect().await;
    for _ in 0..20 {
        let reply = connection.get("/bytes/1000").await.unwrap();
        assert_eq!((reply.status, reply.body.len()), (StatusCode::OK, 1000), "{}", reply.text());
    }
}

#[tokio::test]
async fn answers_that_nobody_reads_hold_no_place_of_the_backend() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("all", "/", &[origin.url()])
            .performance("per_backend_inflight_limit: 4")
            .block("resilience:\n  route_queue: { max_wait_ms: 20s }\n  brownout: { enabled: false }")
    })
    .await;
    let attacker = narrow(&proxy, 0).await;
    let mut unread = Vec::new();
    for _ in 0..STREAMS {
        unread.push(attacker.request(&head("GET", "/bytes/20000", &[]), true).await);
    }
    // The backend has answered all requests, a few at a time, although the client has read nothing.
    origin.journal().until("all requests to be answered", |record| record.completed == STREAMS).await;
    works(&proxy).await;
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_an_answer_loses_its_stream() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("all", "/", &[origin.url()])
            .performance("client_stall_timeout_ms: 500\nper_backend_inflight_limit: 4")
            .block("resilience:\n  route_queue: { max_wait_ms: 20s }\n  brownout: { enabled: false }")
    })
    .await;
    let attacker = narrow(&proxy, 0).await;
    // A body that is partly at the backend, a complete body, and a head alone.
    let mut stalled = Vec::new();
    for path in ["/bytes/5000000", "/bytes/10", "/status/204"] {
        stalled.push(attacker.request(&head("GET", path, &[]), true).await);
    }
    for request in &mut stalled {
        assert_eq!(request.frames.next().await.unwrap_err(), End::Reset(H3_INTERNAL_ERROR));
    }
    origin.journal().until("the long one to be cancelled", |record| record.cancelled == 1).await;
    assert_eq!(attacker.quic().close_reason(), None, "a fault of a stream is none of its connection");
    // Many more than the limit: later requests wait no longer than the timeout.
    let mut many = Vec::new();
    for _ in 0..STREAMS / 2 {
        many.push(attacker.request(&head("GET", "/bytes/5000000", &[]), true).await);
    }
    works(&proxy).await;
    assert_eq!(proxy.count("became unhealthy"), 0, "the backend is not to blame");
}

#[tokio::test]
async fn a_client_that_reads_what_there_is_may_wait_for_more() {
    let head = Step::Head(fields(&[(":status", "200"), ("content-type", "text/event-stream")]), false);
    let pause = || Step::Wait(Duration::from_millis(700));
    let rogue = Rogue::answering(vec![head, pause(), Step::Data(5, false), pause(), Step::Data(5, true)]).await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[rogue.url()]).performance("client_stall_timeout_ms: 200")
    })
    .await;
    let (three, mut one, mut two) = (proxy.connect().await, proxy.http1().await, proxy.http2().await);
    let (three, one, two) = Box::pin(async { tokio::join!(three.get("/"), one.get("/"), two.get("/")) }).await;
    assert_eq!((three.unwrap().body.len(), one.body.len(), two.unwrap().body.len()), (10, 10, 10));
}

/// Waits briefly for a frame. Returns the end of the stream if there is one.
async fn soon(request: &mut Request) -> Option<End> {
    match tokio::time::timeout(Duration::from_millis(50), request.frames.next()).await {
        Ok(Err(end)) => Some(end),
        Ok(Ok(_)) | Err(_) => None,
    }
}

#[tokio::test]
async fn frames_without_a_byte_of_body_are_silence() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).performance("client_body_idle_timeout_ms: 500")
    })
    .await;
    let attacker = proxy.greeted().await;
    let mut upload = attacker.request(&head("POST", "/echo", &[]), false).await;
    upload.write(&frame::frame(kind::DATA, b"x")).await;
    let mut end = None;
    for _ in 0..200 {
        upload.write(&frame::frame(kind::DATA, b"")).await;
        end = soon(&mut upload).await;
        if end.is_some() {
            break;
        }
    }
    assert_eq!(end, Some(End::Reset(H3_INTERNAL_ERROR)), "the answer has begun");
}

#[tokio::test]
async fn a_pause_of_the_client_is_none_of_the_backends() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream_with("all", "/", &[origin.url()], "timeouts: { connect_ms: 1500, response_ms: 1500 }")
    })
    .await;
    let connection = proxy.connect().await;
    let request = http::Request::post("https://localhost/digest").body(()).unwrap();
    let mut exchange = connection.open(request).await.unwrap();
    exchange.sending.data("x").await.unwrap();
    origin.journal().until("the request to arrive", |record| record.requests.len() == 1).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    exchange.sending.finish().await.unwrap();
    let reply = exchange.reading.reply().await.unwrap();
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    assert_eq!(origin.journal().now().requests.len(), 1, "the backend was asked once");
}

#[tokio::test]
async fn below_the_minimum_rate_uploads_and_downloads_end_and_streams_without_end_do_not() {
    let event = Step::Head(fields(&[(":status", "200"), ("content-type", "text/event-stream")]), false);
    // The origin ignores flow control, so it sends no more than the initial window.
    let events = Rogue::answering(vec![event, Step::Data(30_000, true)]).await;
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("events", "/events", &[events.url()])
            .upstream("all", "/", &[origin.url()])
            .performance("client_min_rate_bytes_per_sec: 1000000\nclient_body_idle_timeout_ms: 60s")
    })
    .await;
    let slow = narrow(&proxy, 10_000).await;
    let mut event_stream = slow.request(&head("GET", "/events", &[]), true).await;
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    let mut call = slow.request(&head("POST", "/echo", &grpc), false).await;
    call.write(&frame::frame(kind::DATA, b"call")).await;
    let mut upload = slow.request(&head("POST", "/digest", &[]), false).await;
    upload.write(&frame::frame(kind::DATA, b"x")).await;
    let mut begun = slow.request(&head("POST", "/echo", &[]), false).await;
    begun.write(&frame::frame(kind::DATA, b"x")).await;
    let mut download = slow.request(&head("GET", "/bytes/5000000", &[]), true).await;
    let answer = upload.answer().await.unwrap();
    assert_eq!((answer.statuses(), answer.body.as_slice()), (vec!["408"], &b"request body idle timeout\n"[..]));
    assert_eq!(begun.answer().await.unwrap_err(), End::Reset(H3_INTERNAL_ERROR));
    origin.journal().until("the three to be cancelled", |record| record.cancelled == 3).await;
    assert_eq!(download.answer().await.unwrap_err(), End::Reset(H3_INTERNAL_ERROR));
    call.end();
    assert_eq!(call.answer().await.unwrap().body, b"call");
    assert_eq!(event_stream.answer().await.unwrap().body.len(), 30_000);
    works(&proxy).await;
}

#[tokio::test]
async fn one_connection_holds_half_of_a_limit_and_others_pass_what_it_has_waiting() {
    for limit in ["per_upstream_inflight_limit: 4", "per_backend_inflight_limit: 4"] {
        let origin = Origin::h2c().await;
        let proxy =
            Proxy::start(|settings| settings.upstream("all", "/", &[origin.url()]).performance(limit).block(PATIENT))
                .await;
        let attacker = proxy.connect().await;
        let mut held = JoinSet::new();
        for _ in 0..STREAMS {
            let attacker = attacker.clone();
            held.spawn(async move { attacker.get("/gate").await });
        }
        origin.journal().until("its share to be in use", |record| record.requests.len() == 2).await;
        works(&proxy).await;
        let gated = |path: &str| path == "/gate";
        let held_now = origin.journal().read(|record| record.requests.iter().filter(|seen| gated(&seen.path)).count());
        assert_eq!(held_now, 2, "{limit}");
        // Waiting requests are served in order.
        origin.open_gate();
        for reply in wait::within("all that waited", held.join_all()).await {
            assert_eq!(reply.unwrap().text(), "through", "{limit}");
        }
    }
}

#[tokio::test]
async fn the_tunnels_of_one_connection_leave_places_for_others() {
    let rogue = Rogue::answering(vec![Step::Head(fields(&[(":status", "200")]), false), Step::Data(5, false)]).await;
    let proxy = Proxy::start(|settings| {
        settings
            .upstream("all", "/", &[rogue.url()])
            .performance("per_backend_inflight_limit: 4")
            .block(&format!("{PATIENT}\n  protocol: {{ allow_connect: true }}"))
    })
    .await;
    let connect = frame::headers(&[(":method", "CONNECT"), (":authority", "db.example:443")]);
    let attacker = proxy.greeted().await;
    let mut tunnels = Vec::new();
    for _ in 0..STREAMS {
        tunnels.push(attacker.request(&connect, false).await);
    }
    rogue.journal().until("its share to be in use", |record| record.requests.len() == 2).await;
    let mut others = Vec::new();
    for at in 3..=4 {
        let other = proxy.greeted().await;
        let mut tunnel = other.request(&connect, false).await;
        assert_eq!(tunnel.frames.next().await.unwrap().kind, kind::HEADERS);
        assert_eq!(tunnel.frames.next().await.unwrap().payload.len(), 5);
        others.push((other, tunnel));
        assert_eq!(rogue.journal().now().requests.len(), at);
    }
}

#[tokio::test]
async fn uploads_drop_by_drop_leave_places_for_others() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).performance("per_backend_inflight_limit: 4").block(PATIENT)
    })
    .await;
    let attacker = proxy.greeted().await;
    let mut uploads = Vec::new();
    for _ in 0..STREAMS {
        let mut upload = attacker.request(&head("POST", "/digest", &[]), false).await;
        upload.write(&frame::frame(kind::DATA, b"x")).await;
        uploads.push(upload);
    }
    origin.journal().until("its share to be in use", |record| record.requests.len() == 2).await;
    works(&proxy).await;
    let uploads = origin.journal().read(|record| record.requests.iter().filter(|seen| seen.method == "POST").count());
    assert_eq!(uploads, 2);
}
