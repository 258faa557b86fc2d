//! HTTP/1.1: connections of one request each, the idle pool, framing, back-pressure, tunnels.

use std::{io, time::Duration};

use bytes::Bytes;
use spooky_bridge::message::ResetReason;
use spooky_testkit::http1::{Http1Origin, Step, answer};
use spooky_transport::{BackendId, BackendSpec, Failure, FailureKind, Options, Processed, Protocol};

use crate::worker::{Worker, head, spec};

fn http1(worker: &mut Worker, origin: &Http1Origin) -> BackendId {
    worker.transport.add_backend(&BackendSpec { protocol: Protocol::Http1, ..spec(origin.addr()) })
}

fn failure(worker: &Worker, tag: u64) -> Failure {
    worker.answers[&tag].failure.unwrap()
}

/// Waits for a condition of the origin while the worker is polled.
macro_rules! seen {
    ($worker:expr, $origin:expr, $what:expr, $holds:expr) => {
        $worker.during($what, $origin.journal().until($what, $holds)).await
    };
}

#[tokio::test]
async fn each_request_has_a_connection_and_the_one_that_became_idle_last_is_next() {
    let origin = Http1Origin::answering(vec![Step::Gate, answer("yes")]).await;
    let mut worker = Worker::new(Options::default());
    let backend = http1(&mut worker, &origin);
    (0..8).for_each(|tag| worker.get(backend, "/", tag));
    assert_eq!(worker.transport.counters().connects, 1, "one attempt until it is known that the backend answers");
    seen!(worker, origin, "eight requests", |record| record.requests.len() == 8);
    assert_eq!((origin.journal().now().connections, worker.transport.counters().connects), (8, 8));
    for done in 1..=8 {
        origin.open_gate(1);
        worker.until("an answer", |worker| worker.over.len() == done).await;
    }
    let last = worker.over[7];
    let connection = origin.journal().now().requests[last as usize].connection;
    origin.open_gate(3);
    for tag in 10..13 {
        worker.get(backend, "/", tag);
        worker.finish([tag]).await;
        assert_eq!((worker.answers[&tag].status, origin.journal().last().connection), (200, connection));
    }
    assert_eq!(worker.transport.counters().connections_now, 8);
}

#[tokio::test]
async fn surplus_idle_connections_close_the_longest_idle_first_and_the_limit_is_shared() {
    let origin = Http1Origin::answering(vec![Step::Gate, answer("yes")]).await;
    let options = Options { max_idle_per_backend: 3, ..Options::default() };
    let (mut one, mut two) = (Worker::new(options.clone()), Worker::new(options));
    let spec = BackendSpec { protocol: Protocol::Http1, ..spec(origin.addr()) };
    let backends = [one.transport.add_backend(&spec), two.transport.add_backend(&spec)];
    (0..5).for_each(|tag| one.get(backends[0], "/", tag));
    seen!(one, origin, "five requests", |record| record.requests.len() == 5);
    origin.open_gate(5);
    one.finish(0..5).await;
    seen!(one, origin, "two closed connections", |record| record.closed == 2);
    assert_eq!(one.transport.counters().connections_now, 3);
    origin.open_gate(1);
    two.get(backends[1], "/", 9);
    two.finish([9]).await;
    assert!(two.transport.is_idle(), "the other worker has as many idle connections as are allowed");
    // The connection of a request is not idle: its place is free meanwhile.
    one.get(backends[0], "/", 5);
    seen!(one, origin, "a request", |record| record.requests.len() == 7);
    two.get(backends[1], "/", 10);
    seen!(two, origin, "another request", |record| record.requests.len() == 8);
    origin.open_gate(2);
    one.finish([5]).await;
    two.finish([10]).await;
    let now = [&one, &two].map(|worker| worker.transport.counters().connections_now);
    assert_eq!(now.iter().sum::<u64>(), 3, "{now:?}");
}

#[tokio::test]
async fn what_the_backend_sends_or_closes_while_idle_costs_no_request() {
    let unasked = Step::text("HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n");
    for then in [vec![Step::Close], vec![Step::HalfClose, Step::Drain], vec![unasked, Step::Drain]] {
        let steps = [vec![answer("yes"), Step::Gate], then].concat();
        let origin = Http1Origin::answering(steps).await;
        let mut worker = Worker::new(Options::default());
        let backend = http1(&mut worker, &origin);
        worker.get(backend, "/", 1);
        worker.finish([1]).await;
        assert_eq!(worker.transport.counters().connections_now, 1);
        origin.open_gate(1);
        worker.until("the end of the connection", |worker| worker.transport.is_idle()).await;
        worker.get(backend, "/", 2);
        worker.finish([2]).await;
        assert_eq!((worker.answers[&2].status, origin.journal().last().connection), (200, 2));
        assert_eq!(worker.transport.counters().connections_lost, 0);
    }
}

#[tokio::test]
async fn a_request_of_which_no_byte_left_is_unprocessed_and_any_other_is_not() {
    let origin = Http1Origin::scripted(|entry, _| match entry.path.as_str() {
        "/last" => vec![answer("yes"), Step::Gate, Step::Close],
        "/lost" => vec![Step::Close],
        _ => vec![answer("yes")],
    })
    .await;
    let mut worker = Worker::new(Options::default());
    let backend = http1(&mut worker, &origin);
    worker.get(backend, "/last", 1);
    worker.finish([1]).await;
    origin.open_gate(1);
    // The worker is not polled: it does not know yet that the connection was closed.
    origin.journal().until("the end of the connection", |record| record.closed == 1).await;
    worker.get(backend, "/", 2);
    worker.finish([2]).await;
    let closed = FailureKind::ConnectionLost(io::ErrorKind::UnexpectedEof);
    assert_eq!((failure(&worker, 2).kind, failure(&worker, 2).processed), (closed, Processed::No));
    worker.get(backend, "/lost", 3);
    worker.finish([3]).await;
    assert_eq!((failure(&worker, 3).kind, failure(&worker, 3).processed), (closed, Processed::Unknown));
    assert_eq!(origin.journal().now().requests.len(), 2);
}

#[tokio::test]
async fn bytes_after_a_response_close_the_connection() {
    let poison = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison";
    let origin =
        Http1Origin::scripted(
            move |entry, _| {
                if entry.path == "/poison" { vec![Step::text(poison)] } else { vec![answer("clean")] }
            },
        )
        .await;
    let mut worker = Worker::new(Options::default());
    let backend = http1(&mut worker, &origin);
    for (tag, path) in [(1, "/poison"), (2, "/clean")] {
        worker.get(backend, path, tag);
        worker.finish([tag]).await;
    }
    assert_eq!((worker.answers[&1].body.as_slice(), worker.answers[&2].body.as_slice()), (&b"ok"[..], &b"clean"[..]));
    assert_eq!(origin.journal().last().connection, 2);
}

#[tokio::test]
async fn a_response_without_length_ends_with_the_connection() {
    let text = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nto the end";
    let origin = Http1Origin::answering(vec![Step::text(text), Step::Close]).await;
    let mut worker = Worker::new(Options::default());
    let backend = http1(&mut worker, &origin);
    worker.get(backend, "/", 1);
    worker.finish([1]).await;
    assert_eq!((worker.answers[&1].failure, worker.answers[&1].body.as_slice()), (None, &b"to the end"[..]));
    assert!(worker.transport.is_idle());
    // With a length, the same end is a failure.
    let text = "HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\nto the end";
    let origin = Http1Origin::answering(vec![Step::text(text), Step::Close]).await;
    let backend = http1(&mut worker, &origin);
    worker.get(backend, "/", 2);
    worker.finish([2]).await;
    assert!(failure(&worker, 2).head_received);
}

#[tokio::test]
async fn unreleased_bytes_stop_at_the_window() {
    const BODY: usize = 16 << 20;
    let (window, head) = (64 * 1024, format!("HTTP/1.1 200 OK\r\ncontent-length: {BODY}\r\n\r\n"));
    let origin =
        Http1Origin::answering(vec![Step::text(&head), Step::Send(Bytes::from(vec![b'x'; BODY])), Step::Gate]).await;
    let mut worker = Worker::new(Options { stream_window: window as u32, ..Options::default() });
    let backend = http1(&mut worker, &origin);
    worker.release = false;
    worker.get(backend, "/", 1);
    worker.until("a full window", |worker| worker.answers[&1].unreleased > window * 7 / 8).await;
    for _ in 0..100 {
        worker.turn_once(|_| {}).await;
    }
    let (read, unreleased) = (worker.answers[&1].body.len(), worker.answers[&1].unreleased);
    assert!(unreleased <= window, "{unreleased} unreleased");
    assert_eq!(read, unreleased);
    worker.release = true;
    worker.transport.release(worker.handles[&1], unreleased);
    worker.finish([1]).await;
    assert_eq!(worker.answers[&1].body.len(), BODY);
    origin.open_gate(1);
    // A larger window for one response.
    worker.release = false;
    worker.get(backend, "/", 2);
    worker.transport.resize(worker.handles[&2], 4 * window);
    worker.until("the larger window", |worker| worker.answers[&2].unreleased > 3 * window).await;
    assert!(worker.answers[&2].unreleased <= 4 * window);
}

#[tokio::test]
async fn a_reset_closes_the_connection_and_only_that() {
    let origin = Http1Origin::answering(vec![Step::Gate, answer("yes")]).await;
    let mut worker = Worker::new(Options::default());
    let backend = http1(&mut worker, &origin);
    worker.get(backend, "/1", 1);
    worker.get(backend, "/2", 2);
    seen!(worker, origin, "both", |record| record.requests.len() == 2);
    worker.transport.reset(worker.handles[&1], ResetReason::Cancelled);
    worker.turn_once(|_| {}).await;
    assert_eq!(worker.transport.counters().connections_now, 1);
    origin.open_gate(2);
    worker.finish([2]).await;
    assert_eq!(worker.answers[&2].body, b"yes");
    assert_eq!(worker.transport.counters().resets_sent, 1);
}

#[tokio::test]
async fn bodies_of_unknown_length_are_chunked_once_they_have_a_byte_and_end_once() {
    let origin = Http1Origin::answering(vec![Step::Body, answer("yes")]).await;
    let mut worker = Worker::new(Options::default());
    let backend = http1(&mut worker, &origin);
    let bodies: [&[&'static [u8]]; 4] = [&[b"abc", b""], &[b"abc", b"de", b""], &[b""], &[b"abc"]];
    for (tag, parts) in bodies.into_iter().enumerate() {
        let tag = tag as u64;
        let handle = worker.try_request(backend, &head("POST", "/", None), false, tag).unwrap();
        worker.until("the connection", |worker| !worker.transport.is_waiting(handle)).await;
        for (at, part) in parts.iter().enumerate() {
            worker.transport.send_data(handle, &mut Bytes::from_static(part), at + 1 == parts.len());
        }
        worker.finish([tag]).await;
        assert_eq!(worker.answers[&tag].status, 200);
    }
    let received = String::from_utf8(origin.received()[0].clone()).unwrap();
    let bodies: Vec<_> =
        received.split("POST / HTTP/1.1\r\n").skip(1).map(|text| text.split_once("\r\n\r\n").unwrap()).collect();
    let chunked = ["3\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "", "3\r\nabc\r\n0\r\n\r\n"];
    assert_eq!(bodies.iter().map(|(_, body)| *body).collect::<Vec<_>>(), chunked);
    for (at, (head, _)) in bodies.iter().enumerate() {
        assert_eq!(head.contains("transfer-encoding: chunked"), at != 2, "{head}");
    }
    assert_eq!(origin.journal().now().connections, 1, "a wrong end of a body breaks the next request");
}

#[tokio::test]
async fn an_upload_is_sent_as_fast_as_the_backend_reads() {
    const BODY: usize = 8 << 20;
    let origin = Http1Origin::answering(vec![Step::Gate, Step::Body, answer("yes")]).await;
    let mut worker = Worker::new(Options::default());
    let backend = http1(&mut worker, &origin);
    worker.post(backend, "/", 1, vec![7; BODY].into());
    worker.until("a full socket", |worker| worker.transport.counters().writes_blocked > 0).await;
    let rest = worker.uploads[&1].len();
    assert!(rest > 0, "everything was taken");
    origin.open_gate(1);
    worker.finish([1]).await;
    assert!(worker.answers[&1].sendable > 0);
    assert_eq!(origin.journal().now().body_bytes, BODY as u64);
}

#[tokio::test]
async fn tunnels_end_one_direction_after_the_other_and_a_reset_is_a_reset() {
    let origin = Http1Origin::scripted(|entry, _| {
        let open = Step::text("HTTP/1.1 200 OK\r\n\r\nhello ");
        match entry.path.as_str() {
            "origin.test" => vec![open, Step::Echo],
            _ => vec![open, Step::HalfClose, Step::Drain],
        }
    })
    .await;
    let mut worker = Worker::new(Options::default());
    let backend = http1(&mut worker, &origin);
    // This side ends first, then the backend, which echoes.
    let handle = worker.try_request(backend, &head("CONNECT", "/", None), false, 1).unwrap();
    worker.until("the tunnel", |worker| worker.answers[&1].body == b"hello ").await;
    worker.transport.send_data(handle, &mut Bytes::from_static(b"world"), false);
    worker.until("the echo", |worker| worker.answers[&1].body == b"hello world").await;
    worker.transport.send_data(handle, &mut Bytes::new(), true);
    worker.finish([1]).await;
    assert_eq!((worker.answers[&1].failure, worker.transport.running()), (None, 0));
    worker.until("the end of the connection", |worker| worker.transport.is_idle()).await;
    // A reset of a tunnel resets the connection.
    let handle = worker.try_request(backend, &head("CONNECT", "/", None), false, 2).unwrap();
    worker.until("the tunnel", |worker| worker.answers[&2].body == b"hello ").await;
    worker.transport.reset(handle, ResetReason::Cancelled);
    worker.turn_once(|_| {}).await;
    assert!(worker.transport.is_idle());
    seen!(worker, origin, "the end", |record| record.closed == 2);
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_time() {
    let origin = Http1Origin::answering(vec![answer("yes")]).await;
    let mut worker = Worker::new(Options { idle_timeout: Duration::from_secs(90), ..Options::default() });
    let backend = http1(&mut worker, &origin);
    worker.get(backend, "/", 1);
    worker.finish([1]).await;
    worker.skip(Duration::from_secs(60));
    worker.get(backend, "/", 2);
    worker.finish([2]).await;
    worker.skip(Duration::from_secs(89));
    worker.turn_once(|_| {}).await;
    assert_eq!(worker.transport.counters().connections_now, 1, "closed too early");
    worker.skip(Duration::from_secs(2));
    seen!(worker, origin, "the close", |record| record.closed == 1);
    assert!(worker.transport.is_idle());
    assert_eq!(worker.transport.counters().connects, 1);
}

/// Many servers say how long they keep a connection. A request that is sent at that moment could be lost.
#[tokio::test]
async fn a_connection_is_closed_before_the_backend_closes_it() {
    let text = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\nkeep-alive: max=100, timeout=5\r\n\r\n";
    let origin = Http1Origin::answering(vec![Step::text(text)]).await;
    let mut worker = Worker::new(Options::default());
    let backend = http1(&mut worker, &origin);
    for tag in 0..3 {
        worker.get(backend, "/", tag);
        worker.finish([tag]).await;
        worker.skip(Duration::from_millis(3500));
        worker.turn_once(|_| {}).await;
        assert_eq!(worker.transport.counters().connections_now, 1, "closed too early");
    }
    worker.skip(Duration::from_secs(1));
    seen!(worker, origin, "the close", |record| record.closed == 1);
    assert_eq!(worker.transport.counters().connects, 1);
}

#[tokio::test]
async fn a_thousand_requests_on_few_connections_are_not_mixed_up() {
    let origin = Http1Origin::scripted(|entry, _| vec![answer(&entry.path)]).await;
    let mut worker = Worker::new(Options::default());
    let backend = http1(&mut worker, &origin);
    let (total, at_once) = (1000, 16);
    (0..at_once).for_each(|tag| worker.get(backend, &format!("/{tag}"), tag));
    let (mut next, mut seen) = (at_once, 0);
    worker
        .until("all answers", |worker| {
            while seen < worker.over.len() {
                seen += 1;
                if next < total {
                    worker.get(backend, &format!("/{next}"), next);
                    next += 1;
                }
            }
            worker.over.len() as u64 == total
        })
        .await;
    for (tag, answer) in &worker.answers {
        assert_eq!((answer.failure, answer.body.as_slice()), (None, format!("/{tag}").as_bytes()));
    }
    assert!(origin.journal().now().connections <= at_once as usize);
}
