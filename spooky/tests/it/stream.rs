//! Streaming of bodies in both directions, and back-pressure
//! (docs/reference/behaviour.md#bodies).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use http::{Request, Response, StatusCode};
use hyper::body::{Body as HttpBody, Bytes, Frame};
use spooky_testkit::client::Client;
use spooky_testkit::client::frame::{self, kind};
use spooky_testkit::duplex::{self, Ask, Protocol};
use spooky_testkit::link::{Conditions, Link};
use spooky_testkit::origin::handler::{boxed, handle};
use spooky_testkit::origin::{Handler, Origin, PatternBody};
use spooky_testkit::pattern::{Pattern, sha256};
use spooky_testkit::rogue::{Fault, Rogue, Script, answer};
use spooky_testkit::wait;
use tokio::sync::{mpsc, oneshot};

use crate::proxy::{LONG, NAME, Proxy};

const LARGE: &str = "max_request_body_bytes: 1GiB";

async fn large(origin: &str) -> Proxy {
    Proxy::start(|settings| settings.upstream("all", "/", &[origin.to_owned()]).performance(LARGE)).await
}

fn post(path: &str) -> Request<()> {
    Request::post(format!("https://localhost{path}")).body(()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_megabytes_go_up_and_down_at_once_over_a_bad_link() {
    const LEN: u64 = 20_000_000;
    let origin = Origin::h2c().await;
    let proxy = large(&origin.url()).await;
    let link = Link::start(proxy.settings.addr(), Conditions::bad(20)).await;
    let connection = proxy.client().connect(link.addr(), NAME).await;
    let (mut sending, mut reading) = connection.open(post("/echo")).await.unwrap().split();
    let upload = async {
        sending.pattern(Pattern::new(4, LEN)).await.unwrap();
        sending.finish().await.unwrap();
    };
    let download = async {
        assert_eq!(reading.head().await.unwrap().status(), StatusCode::OK);
        reading.sum().await.unwrap()
    };
    let ((), sum) = wait::within_time(LONG, "both directions", async { tokio::join!(upload, download) }).await;
    assert_eq!((sum.len, sum.hex()), (LEN, Pattern::sha256(4, LEN)));
    let counts = link.counts();
    assert!(counts.lost > 100 && counts.reordered > 100, "{counts:?}");
}

/// A body whose chunks are sent by the test.
struct Fed(mpsc::Receiver<&'static str>);

impl HttpBody for Fed {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        self.0.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
    }
}

fn fed() -> (mpsc::Sender<&'static str>, Handler) {
    let (sender, receiver) = mpsc::channel(1);
    let receiver = Arc::new(std::sync::Mutex::new(Some(receiver)));
    let handler = handle(move |_| {
        let receiver = receiver.lock().unwrap().take().expect("one request");
        async move { Response::new(boxed(Fed(receiver))) }
    });
    (sender, handler)
}

#[tokio::test]
async fn a_response_streams_as_it_comes() {
    let (feed, handler) = fed();
    let origin = Origin::with(handler).await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.connect().await;
    let mut exchange = connection.open(Request::get("https://localhost/").body(()).unwrap()).await.unwrap();
    exchange.sending.finish().await.unwrap();
    // The head arrives before any body, each chunk before the next is sent.
    assert_eq!(exchange.reading.head().await.unwrap().status(), StatusCode::OK);
    for piece in ["first", "second", "third"] {
        feed.send(piece).await.unwrap();
        assert_eq!(exchange.reading.data().await.unwrap().as_deref(), Some(piece.as_bytes()));
    }
    drop(feed);
    assert_eq!(exchange.reading.data().await.unwrap(), None);
}

#[tokio::test]
async fn both_directions_take_turns() {
    let origin = Origin::h2c().await;
    let proxy = Proxy::before(&[origin.url()]).await;
    let connection = proxy.connect().await;
    let mut exchange = connection.open(post("/echo")).await.unwrap();
    assert_eq!(exchange.reading.head().await.unwrap().status(), StatusCode::OK);
    for number in 0..50 {
        let piece = format!("ping {number}");
        exchange.sending.data(piece.clone()).await.unwrap();
        let mut echo = Vec::new();
        while echo.len() < piece.len() {
            echo.extend_from_slice(&exchange.reading.data().await.unwrap().expect("an echo"));
        }
        assert_eq!(echo, piece.as_bytes());
    }
    exchange.sending.finish().await.unwrap();
    assert_eq!(exchange.reading.data().await.unwrap(), None);
}

#[tokio::test]
async fn an_early_answer_is_complete_and_ends_the_upload_without_blame() {
    let rogue = Rogue::answering(answer(50_000)).await;
    let proxy = Proxy::before(&[rogue.url()]).await;
    let connection = proxy.greeted().await;
    let head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/")];
    let mut request = connection.request(&frame::headers(&head), false).await;
    request.write(&frame::frame(kind::DATA, &[0; 1000])).await;
    let answer = request.answer().await.unwrap();
    assert_eq!((answer.statuses(), answer.body.len()), (vec!["200"], 50_000));
    assert_eq!(request.stopped().await, Some(0x100), "STOP_SENDING with H3_NO_ERROR");
    rogue.journal().until("RST_STREAM with NO_ERROR", |record| record.resets == [(1, 0)]).await;
}

/// An endless body that counts the bytes that were taken.
struct Counted(PatternBody, Arc<AtomicU64>);

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.0).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.1.fetch_add(frame.data_ref().map_or(0, Bytes::len) as u64, Ordering::Relaxed);
        }
        polled
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_costs_its_windows_and_nobody_else() {
    const OFFER: u64 = 200_000_000;
    const OTHER: u64 = 20_000_000;
    let taken = Arc::new(AtomicU64::new(0));
    let counter = taken.clone();
    let origin = Origin::with(handle(move |request| {
        let counter = if request.uri().path() == "/stalled" { counter.clone() } else { Arc::default() };
        let len = if request.uri().path() == "/stalled" { OFFER } else { OTHER };
        async move { Response::new(boxed(Counted(PatternBody::sized(len, len), counter))) }
    }))
    .await;
    let proxy = large(&origin.url()).await;
    let connection = proxy.connect().await;
    let whole = connection.get("/").await.unwrap();
    assert_eq!(whole.body.len() as u64, OTHER);
    let before = proxy.resident_bytes();
    let stalled = Request::get("https://localhost/stalled").body(()).unwrap();
    let mut stalled = connection.open(stalled).await.unwrap();
    stalled.sending.finish().await.unwrap();
    assert_eq!(stalled.reading.head().await.unwrap().status(), StatusCode::OK);
    // Traffic on another stream extends the connection window; the stalled stream must not use it.
    for _ in 0..2 {
        let whole = connection.get("/").await.unwrap();
        assert_eq!(sha256(&whole.body), Pattern::sha256(OTHER, OTHER));
    }
    let offered = taken.load(Ordering::Relaxed);
    // The client's window (1.25 MB), the stream's buffer, and the buffers of the origin and of the kernel.
    assert!(offered < 4 << 20, "the origin got rid of {offered} bytes that nobody reads");
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 24 << 20, "memory grew by {grown} bytes");
    // The response continues when the client reads.
    let mut read = 0;
    while read < 8 << 20 {
        read += stalled.reading.data().await.unwrap().expect("more").len();
    }
    stalled.cancel();
    origin.journal().until("the origin to hear of it", |record| record.cancelled == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_does_not_read_costs_its_windows_and_nobody_else() {
    let script = Script { credit: false, after_request: true, ..Script::from(answer(5)) };
    let rogue = Rogue::start(Fault::Script(script)).await;
    let other = Origin::h2c().await;
    let proxy = Proxy::start(|settings| {
        settings.upstream("slow", "/slow", &[rogue.url()]).upstream("other", "/", &[other.url()]).performance(LARGE)
    })
    .await;
    let client = Client::tuned(&proxy.authority, |transport| {
        transport.send_window(64 * 1024);
    });
    let connection = client.connect(proxy.settings.addr(), NAME).await;
    let before = proxy.resident_bytes();
    let (mut sending, _reading) = connection.open(post("/slow")).await.unwrap().split();
    let sent = Arc::new(AtomicU64::new(0));
    let counter = sent.clone();
    let (abandon, mut abandoned) = oneshot::channel();
    let upload = tokio::spawn(async move {
        for piece in Pattern::new(1, 200_000_000) {
            let len = piece.len() as u64;
            tokio::select! {
                sent = sending.data(piece) => sent.unwrap(),
                _ = &mut abandoned => break,
            }
            counter.fetch_add(len, Ordering::Relaxed);
        }
        sending.reset(0x10c);
    });
    rogue.journal().until("the backend's window to be full", |record| record.body_bytes == 65_535).await;
    for _ in 0..20 {
        let body = Pattern::bytes(2, 200_000);
        assert_eq!(connection.post("/echo", body.clone()).await.unwrap().body, body);
    }
    let gone = sent.load(Ordering::Relaxed);
    // The backend's window, the client's stream window (1 MB), and the client's own buffers.
    assert!(gone < 1_300_000, "{gone} bytes left the client for a backend that took 65535");
    let grown = proxy.resident_bytes().saturating_sub(before);
    assert!(grown < 16 << 20, "memory grew by {grown} bytes");
    abandon.send(()).unwrap();
    upload.await.unwrap();
    rogue.journal().until("RST_STREAM with CANCEL", |record| record.resets == [(1, 8)]).await;
}

/// The end of a request costs no credit, and a backend may give none before it has seen the end.
#[tokio::test]
async fn an_upload_that_uses_up_the_credit_of_the_backend_still_ends() {
    /// RFC 9113 section 6.9.2.
    const INITIAL_WINDOW: u64 = 65_535;
    for protocol in [Protocol::Http3, Protocol::Http2, Protocol::Http1] {
        let script = Script { credit: false, after_request: true, ..Script::from(answer(5)) };
        let rogue = Rogue::start(Fault::Script(script)).await;
        let proxy = Proxy::before(&[rogue.url()]).await;
        let mut client = duplex::Client::connect(protocol, &proxy.authority, proxy.settings.addr()).await;
        let mut upload = client.open(Ask::Post("/"), &[]).await.unwrap();
        upload.send(&vec![7; INITIAL_WINDOW as usize]).await.unwrap();
        rogue.journal().until("the body", |record| record.body_bytes == INITIAL_WINDOW).await;
        upload.end().await.unwrap();
        assert_eq!(upload.head().await.unwrap().status, 200, "{protocol:?}");
        assert_eq!(upload.rest().await.unwrap().len(), 5);
        proxy.stop().await;
    }
}
