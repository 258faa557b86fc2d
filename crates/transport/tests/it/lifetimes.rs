//! Graceful ends of connections: GOAWAY, idle timeout, keepalive timeout.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use spooky_transport::{FailureKind, Options, Processed};
use tokio::net::TcpListener;

use crate::{
    raw::{self, Peer},
    worker::{Worker, head},
};

type Journal = Arc<Mutex<HashMap<u64, usize>>>;

/// Serves connections one after another, each with a GOAWAY after `requests` requests. Counts how often each request was
/// processed; a request is a POST whose body is its number.
async fn leave_after(listener: TcpListener, requests: usize, journal: Journal) {
    loop {
        let mut peer = Peer::accept(&listener, &[]).await;
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            let (mut served, mut last) = (0, 0);
            while let Some(frame) = peer.next().await {
                if !frame.ends() || served >= requests {
                    continue;
                }
                let number = String::from_utf8(frame.payload).unwrap().parse().unwrap();
                *journal.lock().unwrap().entry(number).or_default() += 1;
                served += 1;
                last = last.max(frame.stream);
                if served == requests {
                    peer.go_away(last).await;
                }
                peer.respond(frame.stream, true).await;
            }
        });
    }
}

#[tokio::test]
async fn goaway_every_500_requests_loses_and_doubles_nothing() {
    let (listener, addr) = raw::listen().await;
    let journal = Journal::default();
    tokio::spawn(leave_after(listener, 500, Arc::clone(&journal)));
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    let (total, at_once) = (10_000_u64, 64);
    let send = |worker: &mut Worker, number: u64| worker.post(backend, "/", number, number.to_string().into());
    (0..at_once).for_each(|number| send(&mut worker, number));
    let (mut next, mut seen, mut answered, mut again) = (at_once, 0, 0, 0);
    worker
        .until("all answers", |worker| {
            while seen < worker.over.len() {
                let tag = worker.over[seen];
                seen += 1;
                let Some(failure) = worker.answers[&tag].failure else {
                    answered += 1;
                    if next < total {
                        send(worker, next);
                        next += 1;
                    }
                    continue;
                };
                assert_eq!((failure.kind, failure.processed), (FailureKind::GoAway, Processed::No), "{tag}");
                again += 1;
                send(worker, tag);
            }
            answered == total
        })
        .await;
    let journal = journal.lock().unwrap();
    assert_eq!(journal.len() as u64, total);
    assert!(journal.values().all(|times| *times == 1), "a request was processed twice");
    let counters = worker.transport.counters();
    assert!(again > 0 && counters.goaways >= 19, "{again} sent again after {} GOAWAY", counters.goaways);
    assert_eq!((counters.connections_lost, worker.downs.len()), (0, 0));
    assert!(counters.connections_now <= 2, "connections that left must be closed");
}

#[tokio::test]
async fn a_connection_that_leaves_finishes_its_streams() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    worker.get(backend, "/", 1);
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let peer = tokio::spawn(async move {
        let mut old = Peer::accept(&listener, &[]).await;
        let stream = old.wait_for(raw::HEADERS).await.unwrap().stream;
        old.go_away(stream).await;
        let mut new = Peer::accept(&listener, &[]).await;
        let fresh = new.wait_for(raw::HEADERS).await.unwrap().stream;
        new.respond(fresh, true).await;
        gone.await.unwrap();
        old.respond(stream, false).await;
        old.send(raw::DATA, raw::END_STREAM, stream, b"late").await;
        assert!(old.wait_for(raw::GOAWAY).await.is_some());
        assert!(old.next().await.is_none(), "the old connection must end with its last stream");
    });
    worker.until("GOAWAY", |worker| worker.transport.counters().goaways == 1).await;
    worker.get(backend, "/", 2);
    worker.finish([2]).await;
    assert!(!worker.answers[&1].is_over());
    go.send(()).unwrap();
    worker.finish([1]).await;
    assert_eq!(worker.answers[&1].body, b"late");
    worker.during("the end of the old connection", peer).await.unwrap();
}

#[tokio::test]
async fn an_idle_connection_is_closed_with_goaway() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options { idle_timeout: Duration::from_secs(90), ..Options::default() });
    let backend = worker.backend(addr);
    worker.get(backend, "/", 1);
    let peer = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener, &[]).await;
        let stream = peer.wait_for(raw::HEADERS).await.unwrap().stream;
        peer.respond(stream, true).await;
        let frame = peer.next().await.unwrap();
        assert!(peer.next().await.is_none());
        frame.kind
    });
    worker.finish([1]).await;
    worker.skip(Duration::from_secs(89));
    worker.turn_once(|_| {}).await;
    assert_eq!(worker.transport.counters().connections_now, 1, "closed too early");
    worker.skip(Duration::from_secs(2));
    assert_eq!(worker.during("the close", peer).await.unwrap(), raw::GOAWAY);
    assert!(worker.transport.is_idle());
    assert_eq!(worker.transport.counters().pings, 0, "no keepalive without streams");
}

#[tokio::test]
async fn keepalive_asks_a_silent_peer_and_gives_up_when_it_stays_silent() {
    let (listener, addr) = raw::listen().await;
    let options = Options {
        keepalive_interval: Some(Duration::from_secs(20)),
        keepalive_timeout: Duration::from_secs(10),
        ..Options::default()
    };
    let mut worker = Worker::new(options);
    let backend = worker.backend(addr);
    worker.get(backend, "/", 1);
    let (pinged, mut pings) = tokio::sync::mpsc::unbounded_channel();
    let peer = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener, &[]).await;
        peer.wait_for(raw::HEADERS).await.unwrap();
        let ping = peer.wait_for(raw::PING).await.unwrap();
        peer.send(raw::PING, raw::ACK, 0, &ping.payload).await;
        pinged.send(()).unwrap();
        peer.wait_for(raw::PING).await.unwrap();
        pinged.send(()).unwrap();
        assert!(peer.next().await.is_none());
    });
    worker.until("the request", |worker| !worker.transport.is_waiting(worker.handles[&1])).await;
    worker.skip(Duration::from_secs(21));
    let read = worker.transport.counters().bytes_read;
    worker.during("the first PING", pings.recv()).await.unwrap();
    worker.until("its answer", |worker| worker.transport.counters().bytes_read > read).await;
    worker.skip(Duration::from_secs(11));
    worker.turn_once(|_| {}).await;
    assert!(!worker.answers[&1].is_over(), "an answered PING keeps the connection");
    worker.skip(Duration::from_secs(10));
    worker.during("the second PING", pings.recv()).await.unwrap();
    worker.skip(Duration::from_secs(11));
    worker.finish([1]).await;
    let failure = worker.answers[&1].failure.unwrap();
    assert_eq!((failure.kind, failure.processed), (FailureKind::KeepaliveTimeout, Processed::Unknown));
    worker.during("the end", peer).await.unwrap();
}

/// The worker was delayed: the answer to the PING is in the socket when its timeout expires.
#[tokio::test]
async fn an_answer_that_waits_in_the_socket_counts() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    worker.get(backend, "/", 1);
    let peer = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener, &[]).await;
        peer.wait_for(raw::HEADERS).await.unwrap();
        let ping = peer.wait_for(raw::PING).await.unwrap();
        peer.send(raw::PING, raw::ACK, 0, &ping.payload).await;
        peer
    });
    worker.until("the request", |worker| !worker.transport.is_waiting(worker.handles[&1])).await;
    worker.skip(Duration::from_secs(21));
    worker.until("a PING", |worker| worker.transport.counters().pings == 1).await;
    let peer = peer.await.unwrap();
    worker.skip(Duration::from_secs(11));
    worker.turn_once(|_| {}).await;
    assert!(!worker.answers[&1].is_over());
    drop(peer);
}

#[tokio::test]
async fn traffic_postpones_the_keepalive() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    worker.get(backend, "/", 1);
    let (more, mut wanted) = tokio::sync::mpsc::unbounded_channel::<()>();
    tokio::spawn(async move {
        let mut peer = Peer::accept(&listener, &[]).await;
        let stream = peer.wait_for(raw::HEADERS).await.unwrap().stream;
        peer.respond(stream, false).await;
        while wanted.recv().await.is_some() {
            peer.send(raw::DATA, 0, stream, b"tick").await;
        }
    });
    for round in 1..=6 {
        more.send(()).unwrap();
        worker.until("a tick", |worker| worker.answers.get(&1).is_some_and(|a| a.body.len() == 4 * round)).await;
        worker.skip(Duration::from_secs(15));
    }
    assert_eq!(worker.transport.counters().pings, 0);
}

/// The peer has closed the idle connection on which a request is sent.
#[tokio::test]
async fn a_connection_closed_while_idle_is_not_used_again() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    worker.get(backend, "/", 1);
    let peer = tokio::spawn(async move {
        for _ in 0..2 {
            let mut peer = Peer::accept(&listener, &[]).await;
            let stream = peer.wait_for(raw::HEADERS).await.unwrap().stream;
            peer.respond(stream, true).await;
        }
    });
    worker.finish([1]).await;
    worker.until("the close", |worker| worker.transport.is_idle()).await;
    worker.try_request(backend, &head("GET", "/", None), true, 2).unwrap();
    worker.finish([2]).await;
    assert_eq!((worker.answers[&2].failure, worker.downs.len()), (None, 0));
    assert_eq!(worker.transport.counters().connections_lost, 0);
    peer.await.unwrap();
}

/// The peer answers early and resets the stream with `NO_ERROR` (RFC 9113 section 8.1); nothing more is sent on it.
#[tokio::test]
async fn an_early_answer_ends_an_upload_without_a_failure() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    worker.post(backend, "/", 1, Bytes::from(vec![1; 1 << 20]));
    let peer = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener, &[]).await;
        let stream = peer.wait_for(raw::HEADERS).await.unwrap().stream;
        peer.respond(stream, true).await;
        peer.send(raw::RST_STREAM, 0, stream, &[0; 4]).await;
        peer
    });
    worker.until("the answer and the reset", |worker| worker.transport.counters().resets_received == 1).await;
    assert!(worker.answers[&1].complete);
    let mut rest = worker.uploads.remove(&1).unwrap();
    assert!(worker.transport.send_data(worker.handles[&1], &mut rest, true) > 0 && rest.is_empty());
    assert_eq!(worker.transport.running(), 0);
    peer.await.unwrap();
}
