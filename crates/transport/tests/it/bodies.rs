//! Bodies in both directions, and flow control.

use bytes::Bytes;
use spooky_transport::Options;

use crate::{
    origin::{self, LONGEST, pattern},
    raw,
    worker::{Worker, head},
};

const BIG: usize = LONGEST;

#[tokio::test]
async fn big_bodies_pass_intact_in_both_directions_at_once() {
    let origin = origin::start(100, None).await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(origin.addr);
    for tag in 0..4 {
        worker.get(backend, &format!("/down/{BIG}"), tag);
        worker.post(backend, "/up", 10 + tag, pattern(BIG));
    }
    worker.finish((0..4).chain(10..14)).await;
    for tag in 0..4 {
        assert!(worker.answers[&tag].body == pattern(BIG), "download {tag}: {:?}", worker.answers[&tag].failure);
        let verdict = String::from_utf8(worker.answers[&(10 + tag)].body.clone()).unwrap();
        assert_eq!(verdict, format!("{BIG} intact"));
    }
    assert_eq!(worker.transport.running(), 0);
}

#[tokio::test]
async fn unreleased_bytes_stop_at_the_window_and_only_their_own_stream() {
    let origin = origin::start(100, None).await;
    let window = 256 * 1024;
    let mut worker = Worker::new(Options { stream_window: window as u32, ..Options::default() });
    let backend = worker.backend(origin.addr);
    worker.release = false;
    let stalled = 70; // more than the connection's window holds, were it to count them
    (0..stalled).for_each(|tag| worker.get(backend, &format!("/down/{BIG}"), tag));
    worker.until("full windows", |worker| (0..stalled).all(|tag| worker.answers[&tag].unreleased == window)).await;
    worker.release = true;
    worker.get(backend, &format!("/down/{BIG}"), 100);
    worker.finish([100]).await;
    assert!(worker.answers[&100].body == pattern(BIG));
    for tag in 0..stalled {
        assert_eq!(worker.answers[&tag].body.len(), window, "a stalled stream got bytes beyond its window");
    }
    let owed = worker.answers[&7].unreleased;
    worker.transport.release(worker.handles[&7], owed);
    worker.finish([7]).await;
    assert!(worker.answers[&7].body == pattern(BIG));
}

#[tokio::test]
async fn a_smaller_window_holds_for_streams_that_are_open() {
    let origin = origin::start(100, None).await;
    let (before, after) = (64 * 1024, 16 * 1024);
    let mut worker = Worker::new(Options { stream_window: before as u32, ..Options::default() });
    let backend = worker.backend(origin.addr);
    worker.release = false;
    (0..10).for_each(|tag| worker.get(backend, &format!("/down/{BIG}"), tag));
    worker.until("full windows", |worker| (0..10).all(|tag| worker.answers[&tag].unreleased == before)).await;
    worker.transport.set_initial_window(after as u32);
    worker.transport.resize(worker.handles[&3], after);
    worker.transport.release(worker.handles[&3], before);
    worker.get(backend, &format!("/down/{BIG}"), 10);
    worker.until("the smaller window", |worker| worker.answers[&10].unreleased == after).await;
    worker.until("the other too", |worker| worker.answers[&3].body.len() == before + after).await;
    worker.get(backend, "/small", 11);
    worker.finish([11]).await;
    assert_eq!(worker.answers[&3].body.len(), before + after, "it got bytes beyond its window");
    worker.release = true;
    for tag in [3, 10] {
        let owed = worker.answers[&tag].unreleased;
        worker.transport.release(worker.handles[&tag], owed);
        worker.finish([tag]).await;
        assert!(worker.answers[&tag].body == pattern(BIG));
    }
}

/// The first change waits for the acknowledgement of the preface, the second for that of the first: the last one counts.
#[tokio::test]
async fn a_window_that_is_set_before_the_peer_can_acknowledge_it_is_announced_later() {
    let origin = origin::start(100, None).await;
    let (before, after) = (64 * 1024, 16 * 1024);
    let mut worker = Worker::new(Options { stream_window: before as u32, ..Options::default() });
    let backend = worker.backend(origin.addr);
    worker.release = false;
    worker.get(backend, &format!("/down/{BIG}"), 0);
    worker.until("the first window", |worker| worker.answers[&0].unreleased == before).await;
    worker.transport.set_initial_window(before as u32 / 2);
    worker.transport.set_initial_window(after as u32);
    worker.get(backend, "/small", 1);
    worker.get(backend, "/small", 2);
    worker.finish([1, 2]).await;
    worker.get(backend, &format!("/down/{BIG}"), 3);
    worker.until("the smaller window", |worker| worker.answers[&3].unreleased >= after).await;
    worker.get(backend, "/small", 4);
    worker.finish([4]).await;
    assert_eq!(worker.answers[&3].unreleased, after);
}

#[tokio::test]
async fn an_upload_waits_for_the_window_of_the_backend() {
    let origin = origin::start(100, None).await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(origin.addr);
    worker.get(backend, "/small", 0);
    worker.finish([0]).await;
    worker.post(backend, "/hold", 1, pattern(BIG));
    let left = BIG - 65_535;
    assert_eq!(worker.uploads[&1].len(), left, "the initial window of RFC 9113 6.9.2 was not used up or not kept");
    assert_eq!(worker.transport.want_send(worker.handles[&1]), 0);
    worker.during("the request at the origin", origin.board.held.notified()).await;
    assert_eq!((worker.uploads[&1].len(), worker.answers[&1].sendable), (left, 0));
    origin.board.open.notify_one();
    worker.finish([1]).await;
    assert_eq!(worker.answers[&1].body, format!("{BIG} intact").into_bytes());
    assert!(worker.answers[&1].sendable > 0);
}

/// The peer has unlimited windows and does not read: data must not accumulate here.
#[tokio::test]
async fn output_is_bounded_when_the_socket_is_full_and_goes_on_later() {
    let (listener, addr) = raw::listen().await;
    let mut worker = Worker::new(Options::default());
    let backend = worker.backend(addr);
    let handle = worker.try_request(backend, &head("POST", "/", None), false, 1).unwrap();
    let body = 64 * 1024 * 1024;
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let peer = tokio::spawn(async move {
        let mut peer = raw::Peer::accept(&listener, &[(4, 0x7fff_ffff)]).await;
        peer.send(raw::WINDOW_UPDATE, 0, 0, &0x7fff_0000_u32.to_be_bytes()).await;
        let stream = peer.wait_for(raw::HEADERS).await.unwrap().stream;
        gone.await.unwrap();
        let mut received = 0;
        loop {
            let frame = peer.next().await.unwrap();
            received += frame.payload.len();
            if frame.ends() {
                peer.respond(stream, true).await;
                return received;
            }
        }
    });
    worker.until("the stream", |worker| !worker.transport.is_waiting(handle)).await;
    let mut data = Bytes::from(vec![7; body]);
    // Once the socket's buffers are full, nothing more is taken until the peer reads.
    while worker.transport.counters().writes_blocked == 0 {
        assert!(!data.is_empty(), "the kernel took everything");
        worker.turn_once(|worker| _ = worker.transport.send_data(handle, &mut data, true)).await;
    }
    for _ in 0..10 {
        worker.turn_once(|worker| _ = worker.transport.send_data(handle, &mut data, true)).await;
    }
    let held = body - data.len() - worker.transport.counters().bytes_written as usize;
    assert!(!data.is_empty() && held <= 512 * 1024, "{held} bytes held");
    worker.uploads.insert(1, data);
    go.send(()).unwrap();
    worker.finish([1]).await;
    assert_eq!(peer.await.unwrap(), body);
}
