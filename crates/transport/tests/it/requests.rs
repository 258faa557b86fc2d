//! Many small requests: all are answered, none is mixed up, the connection limit holds. Queues and their limits.

use std::sync::atomic::Ordering;

use spooky_bridge::message::ResetReason;
use spooky_transport::{Options, Unsent};

use crate::{
    origin, raw,
    worker::{Worker, head},
};

#[tokio::test]
async fn ten_thousand_requests_share_two_connections() {
    let origin = origin::start(50, None).await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(origin.addr);
    let (total, at_once) = (10_000, 128);
    for tag in 0..at_once {
        worker.get(backend, &format!("/small/{tag}"), tag);
    }
    let mut next = at_once;
    let mut seen = 0;
    worker
        .until("all answers", |worker| {
            while seen < worker.over.len() {
                seen += 1;
                if next < total {
                    worker.get(backend, &format!("/small/{next}"), next);
                    next += 1;
                }
            }
            worker.over.len() as u64 == total
        })
        .await;
    for (tag, answer) in &worker.answers {
        assert_eq!((answer.status, answer.failure), (200, None));
        assert_eq!(answer.body, format!("/small/{tag}").into_bytes());
    }
    assert_eq!(origin.board.connections.load(Ordering::Relaxed), 2);
    assert_eq!(origin.board.requests.load(Ordering::Relaxed) as u64, total);
    let counters = worker.transport.counters();
    assert_eq!((counters.connects, counters.connections_now, counters.requests), (2, 2, total));
    assert!(counters.requests_waited > 0, "128 at once cannot all fit on two connections with 50 streams each");
    assert_eq!(worker.transport.running(), 0);
}

#[tokio::test]
async fn one_connection_is_enough_while_it_has_room() {
    let origin = origin::start(200, None).await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(origin.addr);
    (0..100).for_each(|tag| worker.get(backend, "/small", tag));
    worker.finish(0..100).await;
    assert_eq!(origin.board.connections.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn spreading_opens_the_second_connection_early() {
    let origin = origin::start(200, None).await;
    let mut worker = Worker::new(Options { spread_at: Some(8), ..Options::default() });
    let backend = worker.backend(origin.addr);
    worker.get(backend, "/small", 0);
    worker.finish([0]).await;
    (1..=20).for_each(|tag| worker.get(backend, "/small", tag));
    worker.finish(1..=20).await;
    worker.until("the second connection", |worker| worker.transport.counters().connections_opened == 2).await;
    assert_eq!(origin.board.connections.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn trailers_end_a_response() {
    let origin = origin::start(10, None).await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(origin.addr);
    worker.get(backend, "/trailers", 1);
    worker.finish([1]).await;
    assert!(worker.answers[&1].trailers && worker.answers[&1].complete);
}

#[tokio::test]
async fn the_queue_is_bounded_and_a_waiting_request_leaves_it_at_once() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options { max_waiting: 3, ..Options::default() });
    let backend = worker.backend(addr);
    for tag in 0..3 {
        worker.get(backend, "/", tag);
    }
    assert!(worker.transport.is_waiting(worker.handles[&1]));
    assert_eq!(worker.try_request(backend, &head("GET", "/", None), true, 9).unwrap_err(), Unsent::QueueFull);
    worker.transport.reset(worker.handles[&1], ResetReason::Cancelled);
    worker.get(backend, "/", 3);
    let peer = tokio::spawn(async move {
        let mut peer = raw::Peer::accept(&listener, &[(3, 1)]).await; // one stream at a time
        for _ in 0..3 {
            let request = peer.wait_for(raw::HEADERS).await.unwrap();
            peer.respond(request.stream, true).await;
        }
        peer
    });
    worker.finish([0, 2, 3]).await;
    assert_eq!(worker.over, [0, 2, 3], "first come, first served");
    assert!(worker.answers[&0].sent_late && !worker.answers[&1].is_over());
    peer.await.unwrap();
}

#[tokio::test]
async fn a_reset_reaches_the_backend_and_ends_all_events() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    worker.get(backend, "/", 1);
    let peer = tokio::spawn(async move {
        let mut peer = raw::Peer::accept(&listener, &[]).await;
        let request = peer.wait_for(raw::HEADERS).await.unwrap();
        peer.respond(request.stream, false).await;
        peer.send(raw::DATA, 0, request.stream, b"part").await;
        peer.wait_for(raw::RST_STREAM).await.unwrap()
    });
    worker.until("the first bytes", |worker| !worker.answers[&1].body.is_empty()).await;
    worker.transport.reset(worker.handles[&1], ResetReason::Cancelled);
    let reset = worker.during("RST_STREAM", peer).await.unwrap();
    assert_eq!((reset.stream, reset.payload.as_slice()), (1, &8_u32.to_be_bytes()[..]));
    assert!(!worker.answers[&1].is_over());
    assert_eq!(worker.transport.running(), 0);
}

#[tokio::test]
async fn backends_of_one_origin_share_connections_and_the_last_one_closes_them() {
    let origin = origin::start(10, None).await;
    let mut worker = Worker::new(Options::default());
    let first = worker.backend(origin.addr);
    let second = worker.backend(origin.addr);
    let other = origin::start(10, None).await;
    let third = worker.backend(other.addr);
    for (tag, backend) in [(1, first), (2, second), (3, third)] {
        worker.get(backend, "/small", tag);
    }
    worker.finish([1, 2, 3]).await;
    let connections = |origin: &origin::Origin| origin.board.connections.load(Ordering::Relaxed);
    assert_eq!((connections(&origin), connections(&other)), (1, 1));
    worker.transport.remove_backend(first);
    assert_eq!(
        worker.try_request(first, &head("GET", "/", None), true, 4).unwrap_err(),
        Unsent::UnknownBackend,
        "a removed backend takes nothing"
    );
    worker.get(second, "/small", 5);
    worker.finish([5]).await;
    worker.transport.remove_backend(second);
    worker.transport.remove_backend(third);
    assert!(worker.transport.is_idle());
    assert_ne!(worker.backend(origin.addr), first);
}

#[tokio::test]
async fn draining_lets_requests_begin_and_end() {
    let origin = origin::start(10, None).await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(origin.addr);
    worker.post(backend, "/hold", 1, b"x"[..].into());
    worker.during("the request at the origin", origin.board.held.notified()).await;
    worker.transport.drain();
    assert!(!worker.transport.is_idle());
    worker.get(backend, "/small", 2);
    worker.finish([2]).await;
    worker.cancel(1);
    assert!(worker.transport.is_idle());
}

#[tokio::test]
async fn draining_closes_a_connection_with_its_last_request() {
    let origin = origin::start(10, None).await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(origin.addr);
    worker.get(backend, "/small", 1);
    worker.transport.drain();
    worker.finish([1]).await;
    assert!(worker.transport.is_idle());
}
