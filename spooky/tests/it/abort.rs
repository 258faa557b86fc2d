//! Aborts: a message that is cut off on one side is visibly incomplete on the other (docs/reference/behaviour.md#aborts).

use std::time::Duration;

use http::{Request, StatusCode};
use spooky_testkit::client::Failure;
use spooky_testkit::client::frame::{self, kind};
use spooky_testkit::client::raw::{self, End};
use spooky_testkit::journal::Record;
use spooky_testkit::origin::Origin;
use spooky_testkit::rogue::{Fault, Rogue, Script, Step, answer, fields};

use crate::proxy::Proxy;

const H3_NO_ERROR: u64 = 0x100;
const H3_INTERNAL_ERROR: u64 = 0x102;
const H3_FRAME_ERROR: u64 = 0x106;
const H3_EXCESSIVE_LOAD: u64 = 0x107;
const H3_REQUEST_CANCELLED: u64 = 0x10c;
const H3_MESSAGE_ERROR: u64 = 0x10e;
const H3_VERSION_FALLBACK: u64 = 0x110;
const CANCEL: u32 = 8;

fn post(more: &[(&'static str, &'static str)]) -> Vec<u8> {
    let mut head = vec![(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")];
    head.extend_from_slice(more);
    frame::headers(&head).to_vec()
}

/// Starts a proxy before an origin that answers only when the request has ended.
async fn patient() -> (Rogue, Proxy, raw::Connection) {
    let rogue = Rogue::start(Fault::Script(Script { after_request: true, ..Script::from(answer(5)) })).await;
    let proxy = Proxy::before(&[rogue.url()]).await;
    let connection = proxy.greeted().await;
    (rogue, proxy, connection)
}

async fn works(connection: &raw::Connection) {
    let answer = connection.request(&frame::get("/"), true).await.answer().await.unwrap();
    assert_eq!((answer.statuses(), answer.body.len()), (vec!["200"], 5));
}

#[tokio::test]
async fn a_client_that_resets_its_upload_cancels_it_at_the_origin() {
    let (rogue, _proxy, connection) = patient().await;
    let mut request = connection.request(&post(&[]), false).await;
    request.write(&frame::frame(kind::DATA, b"some bytes")).await;
    rogue.journal().until("the upload to arrive", |record| record.body_bytes == 10).await;
    request.reset(H3_REQUEST_CANCELLED);
    let record = rogue.journal().until("the reset to arrive", |record| !record.resets.is_empty()).await;
    assert_eq!((record.resets, record.completed), (vec![(1, CANCEL)], 0));
    works(&connection).await;
    assert_eq!(rogue.journal().now().connections, 1, "the connection to the origin is kept");
}

#[tokio::test]
async fn a_client_that_stops_reading_cancels_the_answer_at_the_origin() {
    let head = fields(&[(":status", "200")]);
    let rogue = Rogue::answering(vec![Step::Head(head, false), Step::Data(10, false)]).await;
    let proxy = Proxy::before(&[rogue.url()]).await;
    let connection = proxy.greeted().await;
    let mut request = connection.request(&frame::get("/"), true).await;
    assert_eq!(request.frames.next().await.unwrap().kind, kind::HEADERS);
    assert_eq!(request.frames.next().await.unwrap().kind, kind::DATA);
    request.frames.stop(H3_REQUEST_CANCELLED);
    rogue.journal().until("the reset to arrive", |record| record.resets == [(1, CANCEL)]).await;
    // The same before any answer.
    let (rogue, _proxy, connection) = patient().await;
    let mut request = connection.request(&post(&[]), false).await;
    rogue.journal().until("the request to arrive", |record| record.requests.len() == 1).await;
    request.frames.stop(H3_REQUEST_CANCELLED);
    rogue.journal().until("the reset to arrive", |record| record.resets == [(1, CANCEL)]).await;
}

#[tokio::test]
async fn a_lost_client_cancels_all_that_it_asked_for() {
    let (rogue, proxy, connection) = patient().await;
    let mut requests = Vec::new();
    for _ in 0..5 {
        requests.push(connection.request(&post(&[]), false).await);
    }
    rogue.journal().until("the requests to arrive", |record| record.requests.len() == 5).await;
    connection.quic().close(0x100u32.into(), b"gone");
    let record = rogue.journal().until("the resets to arrive", |record| record.resets.len() == 5).await;
    assert!(record.resets.iter().all(|(_, code)| *code == CANCEL), "{:?}", record.resets);
    works(&proxy.greeted().await).await;
}

#[tokio::test]
async fn a_reset_after_the_head_reaches_the_client_with_its_meaning() {
    let codes = [
        (0x0, H3_INTERNAL_ERROR),
        (0x1, H3_INTERNAL_ERROR),
        (0x2, H3_INTERNAL_ERROR),
        (0x7, H3_INTERNAL_ERROR),
        (0x8, H3_REQUEST_CANCELLED),
        (0xb, H3_EXCESSIVE_LOAD),
        (0xd, H3_VERSION_FALLBACK),
        (0xffff, H3_INTERNAL_ERROR),
    ];
    for (from, to) in codes {
        let head = fields(&[(":status", "200")]);
        let steps = vec![Step::Head(head, false), Step::Data(10, false), Step::Reset(from)];
        let rogue = Rogue::answering(steps).await;
        let proxy = Proxy::before(&[rogue.url()]).await;
        let connection = proxy.greeted().await;
        let mut request = connection.request(&frame::get("/"), true).await;
        assert_eq!(request.answer().await.unwrap_err(), End::Reset(to), "{from:#x}");
        assert_eq!(rogue.journal().now().requests.len(), 1, "{from:#x}: never sent again");
    }
}

#[tokio::test]
async fn an_answer_that_breaks_its_length_never_looks_complete() {
    let head = |len: &str| Step::Head(fields(&[(":status", "200"), ("content-length", len)]), false);
    let cases = [
        ("too short", vec![head("100"), Step::Data(50, true)]),
        ("too long", vec![head("100"), Step::Data(150, true)]),
        (
            "end alone",
            vec![head("100"), Step::Data(50, false), Step::Data(0, false), Step::Head(fields(&[("x", "y")]), true)],
        ),
        ("closed", vec![head("100"), Step::Data(50, false), Step::Close]),
        (
            "closed, no length",
            vec![Step::Head(fields(&[(":status", "200")]), false), Step::Data(50, false), Step::Close],
        ),
        ("closed before any body", vec![head("100"), Step::Close]),
    ];
    for (what, steps) in cases {
        let rogue = Rogue::answering(steps).await;
        let proxy = Proxy::before(&[rogue.url()]).await;
        let connection = proxy.greeted().await;
        let mut request = connection.request(&frame::get("/"), true).await;
        assert_eq!(request.answer().await.unwrap_err(), End::Reset(H3_INTERNAL_ERROR), "{what}");
    }
}

#[tokio::test]
async fn one_broken_answer_leaves_the_others_of_its_connection_alone() {
    let origin = Origin::h2c().await;
    let head = fields(&[(":status", "200")]);
    let rogue = Rogue::answering(vec![Step::Head(head, false), Step::Data(10_000, false), Step::Reset(2)]).await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("broken", "/broken", &[rogue.url()]).upstream("whole", "/", &[origin.url()])
    })
    .await;
    let connection = proxy.connect().await;
    let gated = connection.clone();
    let waiting = tokio::spawn(async move { gated.get("/gate").await });
    origin.journal().until("the gated request", |record| record.requests.len() == 1).await;
    for _ in 0..2 {
        let Err(failure) = connection.get("/broken").await else { panic!("it looks complete") };
        assert_eq!(failure, Failure::Stream(H3_INTERNAL_ERROR));
    }
    origin.open_gate();
    assert_eq!(waiting.await.unwrap().unwrap().text(), "through");
}

#[tokio::test]
async fn an_upload_that_breaks_its_length_never_ends_at_the_origin() {
    let cases: [(&str, &[&[u8]]); 4] = [
        ("too short", &[b"12345"]),
        ("too long", &[b"12345", b"6789", b"ab"]),
        ("nothing at all", &[]),
        ("much too long", &[&[0; 15_000]]),
    ];
    for (what, pieces) in cases {
        let (rogue, _proxy, connection) = patient().await;
        let mut request = connection.request(&post(&[("content-length", "10")]), false).await;
        rogue.journal().until("the head to arrive", |record| record.requests.len() == 1).await;
        for piece in pieces {
            request.write(&frame::frame(kind::DATA, piece)).await;
        }
        request.end();
        assert_eq!(request.answer().await.unwrap_err(), End::Reset(H3_MESSAGE_ERROR), "{what}");
        let record = rogue.journal().until("the reset to arrive", |record| !record.resets.is_empty()).await;
        assert_eq!((record.resets, record.completed), (vec![(1, CANCEL)], 0), "{what}");
        assert!(record.body_bytes <= 10, "{what}: {} bytes passed on", record.body_bytes);
        works(&connection).await;
    }
}

#[tokio::test]
async fn trailers_are_no_end_until_the_stream_has_ended() {
    let (rogue, _proxy, connection) = patient().await;
    let trailers = frame::headers(&[("x-sum", "1")]);
    // Shorter than its content-length, with trailers.
    let mut request = connection.request(&post(&[("content-length", "10")]), false).await;
    request.write(&frame::frame(kind::DATA, b"12345")).await;
    request.write(&trailers).await;
    request.end();
    assert_eq!(request.answer().await.unwrap_err(), End::Reset(H3_MESSAGE_ERROR));
    rogue.journal().until("the reset to arrive", |record| record.resets == [(1, CANCEL)]).await;
    // Reset after its trailers.
    let mut request = connection.request(&post(&[]), false).await;
    request.write(&frame::frame(kind::DATA, b"12345")).await;
    request.write(&trailers).await;
    rogue.journal().until("the body to arrive", |record| record.body_bytes == 10).await;
    request.reset(H3_REQUEST_CANCELLED);
    let record = rogue.journal().until("the reset to arrive", |record| record.resets.len() == 2).await;
    assert_eq!((record.resets[1], record.completed), ((3, CANCEL), 0));
}

#[tokio::test]
async fn a_frame_cut_by_the_end_of_the_stream_never_ends_at_the_origin() {
    let (rogue, _proxy, connection) = patient().await;
    let other = connection.request(&post(&[]), false).await;
    let mut request = connection.request(&post(&[]), false).await;
    request.write(&frame::claimed(kind::DATA, 100, b"12345")).await;
    rogue.journal().until("the bytes to arrive", |record| record.body_bytes == 5).await;
    request.end();
    assert_eq!(request.answer().await.unwrap_err(), End::Connection(Some(H3_FRAME_ERROR)));
    // When the connection is lost, all its requests fail at once, not by a timeout.
    let at_once = Duration::from_secs(5);
    let both = |record: &Record| record.resets.len() == 2;
    let record = rogue.journal().until_within(at_once, "the resets to arrive", both).await;
    assert!(record.resets.iter().all(|(_, code)| *code == CANCEL), "{:?}", record.resets);
    assert_eq!(record.completed, 0);
    drop(other);
}

#[tokio::test]
async fn an_answer_over_the_limit_is_503_or_cut() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[origin.url()]).performance("max_response_body_bytes: 3MB")
    })
    .await;
    let connection = proxy.connect().await;
    assert_eq!(connection.get("/bytes/3000000").await.unwrap().body.len(), 3_000_000);
    assert_eq!(connection.get("/chunks/3000000").await.unwrap().body.len(), 3_000_000);
    let declared = connection.get("/bytes/3000001").await.unwrap();
    assert_eq!(
        (declared.status, declared.text()),
        (StatusCode::SERVICE_UNAVAILABLE, "upstream response body too large\n")
    );
    let Err(failure) = connection.get("/chunks/3000001").await else { panic!("it looks complete") };
    assert_eq!(failure, Failure::Stream(H3_INTERNAL_ERROR));
    origin.journal().until("the declared one to be cancelled", |record| record.cancelled == 1).await;
    // The body of a tunnel is not limited.
    let rogue =
        Rogue::answering(vec![Step::Head(fields(&[(":status", "200"), ("content-length", "2000")]), true)]).await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("all", "/", &[rogue.url()]).performance("max_response_body_bytes: 1000")
    })
    .await;
    let head = Request::head("https://localhost/").body("".into()).unwrap();
    let reply = proxy.connect().await.send(head).await.unwrap();
    assert_eq!((reply.status, reply.field("content-length")), (StatusCode::OK, "2000"));
}

#[tokio::test]
async fn an_answer_of_any_length_passes_by_default() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let request = Request::get("https://localhost/bytes/10000000000").body(()).unwrap();
    let connection = proxy.connect().await;
    let (mut sending, mut reading) = connection.open(request).await.unwrap().split();
    sending.finish().await.unwrap();
    assert_eq!(reading.head().await.unwrap().status(), StatusCode::OK);
    let mut received = 0;
    while received < 1_000_000 {
        received += reading.data().await.unwrap().expect("more of the body").len();
    }
    reading.stop();
    origin.journal().until("the answer to be cancelled", |record| record.cancelled == 1).await;
}

#[tokio::test]
async fn an_upload_over_the_limit_is_413() {
    let (rogue, proxy, connection) = {
        let rogue = Rogue::start(Fault::Script(Script { after_request: true, ..Script::from(answer(5)) })).await;
        let proxy = Proxy::start(|settings| {
            settings.upstream("all", "/", &[rogue.url()]).performance("max_request_body_bytes: 10KB")
        })
        .await;
        let connection = proxy.greeted().await;
        (rogue, proxy, connection)
    };
    // Refused by its content-length, before a backend is used.
    let mut request = connection.request(&post(&[("content-length", "10001")]), false).await;
    let answer = request.answer().await.unwrap();
    assert_eq!((answer.statuses(), answer.body.as_slice()), (vec!["413"], &b"request body too large\n"[..]));
    assert_eq!(request.stopped().await, Some(H3_NO_ERROR));
    assert_eq!(rogue.journal().now().requests.len(), 0);
    // Refused while it is read; the backend never gets an end of stream.
    let mut request = connection.request(&post(&[]), false).await;
    request.write(&frame::frame(kind::DATA, &[0; 10_000])).await;
    rogue.journal().until("all that is allowed to arrive", |record| record.body_bytes == 10_000).await;
    request.write(&frame::frame(kind::DATA, &[0; 1])).await;
    request.end();
    let answer = request.answer().await.unwrap();
    assert_eq!((answer.statuses(), answer.body.as_slice()), (vec!["413"], &b"request body too large\n"[..]));
    let record = rogue.journal().until("the reset to arrive", |record| !record.resets.is_empty()).await;
    assert_eq!((record.resets, record.completed), (vec![(1, CANCEL)], 0));
    // A body of exactly the limit is accepted.
    let reply = proxy.connect().await.post("/", vec![0; 10_000]).await.unwrap();
    assert_eq!(reply.status, StatusCode::OK);
}
