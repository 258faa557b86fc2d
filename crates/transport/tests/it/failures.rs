//! Connection failures, and the failures that their requests get.

use std::{io, time::Duration};

use bytes::Bytes;
use spooky_bridge::message::ResetReason;
use spooky_transport::{BackendSpec, Code, Failure, FailureKind, Options, Processed};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{
    raw::{self, Peer},
    worker::{Worker, head, spec},
};

fn failure(worker: &Worker, tag: u64) -> Failure {
    worker.answers[&tag].failure.unwrap()
}

#[tokio::test]
async fn a_refused_connection_fails_those_who_wait_and_is_told_once_until_it_stands() {
    let (listener, addr) = raw::listen().await;
    drop(listener);
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    for tag in 0..10 {
        worker.get(backend, "/", tag);
    }
    worker.finish(0..10).await;
    for tag in 0..10 {
        assert_eq!(
            (failure(&worker, tag).kind, failure(&worker, tag).processed),
            (FailureKind::Refused, Processed::No)
        );
    }
    assert_eq!(worker.transport.counters().connects, 1, "concurrent requests share one attempt");
    assert_eq!(worker.downs.len(), 1);
    assert!(worker.downs[0].1.contains("refused"), "{}", worker.downs[0].1);

    // The transport tries the backend again for every request, but reports it as down only once.
    worker.get(backend, "/", 10);
    worker.finish([10]).await;
    assert_eq!((worker.transport.counters().connects, worker.downs.len()), (2, 1));

    let listener = TcpListener::bind(addr).await.unwrap();
    let peer = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener, &[]).await;
        let stream = peer.wait_for(raw::HEADERS).await.unwrap().stream;
        peer.respond(stream, true).await;
        peer
    });
    worker.get(backend, "/", 11);
    worker.finish([11]).await;
    assert_eq!((worker.answers[&11].status, worker.ups.as_slice()), (200, &[backend][..]));
    peer.await.unwrap();
}

#[tokio::test]
async fn after_a_failure_another_connection_beside_an_open_one_is_tried_250_ms_later() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    worker.get(backend, "/", 1);
    let one_stream = [(3, 1)]; // SETTINGS_MAX_CONCURRENT_STREAMS
    let mut peer = worker.during("the connection", Peer::accept(&listener, &one_stream)).await;
    worker.during("the request", peer.wait_for(raw::HEADERS)).await.unwrap();
    drop(listener);
    worker.get(backend, "/", 2);
    worker.until("the failed attempt", |worker| worker.transport.counters().connect_failures == 1).await;
    worker.get(backend, "/", 3);
    assert_eq!(worker.transport.counters().connects, 2, "the failure is recent");
    worker.skip(Duration::from_millis(250));
    worker.get(backend, "/", 4);
    assert_eq!(worker.transport.counters().connects, 3);
}

#[tokio::test]
async fn a_silent_peer_costs_one_connect_timeout_for_all() {
    let (listener, addr) = raw::listen().await; // the kernel accepts, nobody answers
    let mut worker = Worker::new(Options::default());
    let backend = worker.transport.add_backend(&BackendSpec { connect_timeout: Duration::from_secs(7), ..spec(addr) });
    worker.get(backend, "/", 1);
    worker.turn_once(|_| {}).await;
    worker.skip(Duration::from_secs(6));
    worker.get(backend, "/", 2);
    worker.turn_once(|_| {}).await;
    assert!(worker.over.is_empty());
    worker.skip(Duration::from_secs(2));
    worker.finish([1, 2]).await;
    assert_eq!(
        (failure(&worker, 1).kind, failure(&worker, 2).kind),
        (FailureKind::ConnectTimeout, FailureKind::ConnectTimeout)
    );
    assert_eq!((worker.transport.counters().connects, worker.downs.len()), (1, 1));
    assert!(worker.transport.is_idle());
    drop(listener);
}

#[tokio::test]
async fn a_peer_that_does_not_speak_http2_is_down() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    worker.get(backend, "/", 1);
    let peer = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut preface = [0; 24];
        stream.read_exact(&mut preface).await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        stream
    });
    worker.finish([1]).await;
    assert!(
        matches!(failure(&worker, 1).kind, FailureKind::Protocol(error) if error.code == Code::PROTOCOL_ERROR
        || error.code == Code::FRAME_SIZE_ERROR),
        "{:?}",
        failure(&worker, 1)
    );
    assert_eq!((failure(&worker, 1).processed, worker.downs.len()), (Processed::No, 1));
    peer.await.unwrap();
}

#[tokio::test]
async fn a_connection_that_ends_mid_response_fails_its_requests() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    worker.get(backend, "/", 1);
    worker.get(backend, "/", 2);
    let peer = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener, &[]).await;
        let first = peer.wait_for(raw::HEADERS).await.unwrap().stream;
        peer.wait_for(raw::HEADERS).await.unwrap();
        peer.respond(first, false).await;
        peer.send(raw::DATA, 0, first, b"half an ans").await;
    });
    worker.finish([1, 2]).await;
    peer.await.unwrap();
    assert_eq!(worker.answers[&1].body, b"half an ans");
    let lost = FailureKind::ConnectionLost(io::ErrorKind::UnexpectedEof);
    let connection = failure(&worker, 1).connection;
    assert_ne!(connection, 0);
    let expected = |head_received| Failure { kind: lost, processed: Processed::Unknown, head_received, connection };
    assert_eq!((failure(&worker, 1), failure(&worker, 2)), (expected(true), expected(false)));
    assert_eq!(worker.transport.counters().connections_lost, 1);
    assert!(worker.downs.is_empty(), "a lost connection is not yet a backend that is down");
}

/// The error of a GOAWAY concerns one of the requests on the connection, so with only one it concerns that.
#[tokio::test]
async fn a_connection_that_the_peer_ends_with_an_error_says_which_and_each_has_its_number() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    let mut numbers = Vec::new();
    for (tags, code) in [(vec![1], 1_u32), (vec![2, 3], 1), (vec![4, 5], 0)] {
        for &tag in &tags {
            worker.get(backend, "/", tag);
        }
        let count = tags.len();
        let listener = &listener;
        let peer = async move {
            let mut peer = Peer::accept(listener, &[]).await;
            for _ in 0..count {
                peer.wait_for(raw::HEADERS).await.unwrap();
            }
            let payload = [u32::MAX >> 1, code].map(u32::to_be_bytes).concat();
            peer.send(raw::GOAWAY, 0, 0, &payload).await;
        };
        tokio::join!(worker.finish(tags.clone()), peer);
        let expected = match (code, count) {
            (0, _) => FailureKind::ConnectionLost(io::ErrorKind::UnexpectedEof),
            (_, 1) => FailureKind::Reset(Code::PROTOCOL_ERROR),
            _ => FailureKind::Ended(Code::PROTOCOL_ERROR),
        };
        let failures: Vec<_> = tags.iter().map(|&tag| failure(&worker, tag)).collect();
        assert!(failures.iter().all(|failure| failure.kind == expected), "{code}: {failures:?}");
        assert!(failures.iter().all(|failure| failure.connection == failures[0].connection), "{failures:?}");
        numbers.push(failures[0].connection);
    }
    numbers.dedup();
    assert_eq!(numbers.len(), 3, "{numbers:?}");
}

/// The socket is full when the second request is sent, so the peer cannot have received any of it.
#[tokio::test]
async fn a_request_of_which_no_byte_left_is_unprocessed() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    let first = worker.try_request(backend, &head("POST", "/", None), false, 1).unwrap();
    let peer = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener, &[(4, 0x7fff_ffff)]).await;
        peer.send(raw::WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes()).await;
        peer.wait_for(raw::HEADERS).await.unwrap();
        peer
    });
    worker.until("the stream", |worker| !worker.transport.is_waiting(first)).await;
    let peer = worker.during("the request", peer).await.unwrap();
    let mut data = Bytes::from(vec![7; 64 << 20]);
    while worker.transport.counters().writes_blocked == 0 {
        assert!(!data.is_empty(), "the kernel took everything");
        worker.turn_once(|worker| _ = worker.transport.send_data(first, &mut data, true)).await;
    }
    worker.get(backend, "/", 2);
    assert!(!worker.transport.is_waiting(worker.handles[&2]));
    drop(peer);
    worker.finish([1, 2]).await;
    assert_eq!((failure(&worker, 1).processed, failure(&worker, 2).processed), (Processed::Unknown, Processed::No));
}

#[tokio::test]
async fn resets_carry_their_code_and_whether_the_request_was_processed() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    (1..=3).for_each(|tag| worker.get(backend, "/", tag));
    let peer = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener, &[]).await;
        for code in [Code::REFUSED_STREAM, Code::CANCEL] {
            let stream = peer.wait_for(raw::HEADERS).await.unwrap().stream;
            peer.send(raw::RST_STREAM, 0, stream, &code.0.to_be_bytes()).await;
        }
        let stream = peer.wait_for(raw::HEADERS).await.unwrap().stream;
        peer.respond(stream, false).await;
        peer.send(raw::RST_STREAM, 0, stream, &Code::ENHANCE_YOUR_CALM.0.to_be_bytes()).await;
        peer
    });
    worker.finish(1..=3).await;
    let facts = |tag| {
        let failure = failure(&worker, tag);
        (failure.reset_reason().unwrap(), failure.processed, failure.head_received)
    };
    assert_eq!(facts(1), (ResetReason::Refused, Processed::No, false));
    assert_eq!(facts(2), (ResetReason::Cancelled, Processed::Unknown, false));
    assert_eq!(facts(3), (ResetReason::ExcessiveLoad, Processed::Unknown, true));
    let counters = worker.transport.counters();
    assert_eq!((counters.resets_received, counters.connections_now), (3, 1));
    peer.await.unwrap();
}

#[tokio::test]
async fn a_malformed_response_ends_its_stream_only() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    worker.get(backend, "/", 1);
    worker.get(backend, "/", 2);
    let peer = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener, &[]).await;
        let bad = peer.wait_for(raw::HEADERS).await.unwrap().stream;
        let good = peer.wait_for(raw::HEADERS).await.unwrap().stream;
        peer.send(raw::DATA, raw::END_STREAM, bad, b"no head").await;
        peer.respond(good, true).await;
        peer.wait_for(raw::RST_STREAM).await.unwrap().stream
    });
    worker.finish([1, 2]).await;
    assert!(matches!(failure(&worker, 1).kind, FailureKind::Malformed(_)));
    assert_eq!(worker.answers[&2].status, 200);
    assert_eq!(worker.during("RST_STREAM", peer).await.unwrap(), 1);
}

/// The peer answers, sends GOAWAY and closes before it has read the upload. The answer must not be lost.
#[tokio::test]
async fn what_came_before_a_broken_write_is_still_read() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    worker.post(backend, "/", 1, vec![1; 1 << 20].into());
    let peer = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener, &[(4, 1 << 24)]).await;
        let stream = peer.wait_for(raw::HEADERS).await.unwrap().stream;
        peer.respond(stream, true).await;
    });
    worker.finish([1]).await;
    assert!(worker.answers[&1].complete, "{:?}", worker.answers[&1].failure);
    peer.await.unwrap();
}
