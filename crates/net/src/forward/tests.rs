//! Datagrams between two processes, here between two ends in one.

use std::future::poll_fn;

use super::*;

fn datagram(remote: &str, local_ip: Option<&str>, ecn: Option<u8>, content: &[u8]) -> Datagram {
    let (remote, local_ip) = (remote.parse().unwrap(), local_ip.map(|ip| ip.parse().unwrap()));
    Datagram { remote, local_ip, ecn, stride: content.len(), data: BytesMut::from(content) }
}

fn ends() -> (ForwardSender, ForwardReceiver) {
    let (sender, receiver) = pair().unwrap();
    (ForwardSender::new(Arc::new(sender)), ForwardReceiver::new(receiver).unwrap())
}

async fn next(receiver: &mut ForwardReceiver) -> Option<(usize, Datagram)> {
    let arrival = poll_fn(|cx| receiver.poll_recv(cx));
    tokio::time::timeout(Duration::from_secs(20), arrival).await.expect("in time")
}

#[tokio::test]
async fn datagrams_arrive_unchanged_and_in_order() {
    let (mut sender, mut receiver) = ends();
    let now = Instant::now();
    let sent = [
        (0, datagram("192.0.2.1:443", Some("192.0.2.7"), Some(2), b"one")),
        (65_535, datagram("[2001:db8::1]:9", Some("2001:db8::2"), None, b"")),
        (3, datagram("[fe80::1%7]:9", None, Some(0), &[7; 1500])),
        (4, datagram("127.0.0.1:1", None, None, &vec![8; 65_507])),
        (5, datagram("127.0.0.1:1", None, Some(3), b"last")),
    ];
    for (listener, datagram) in &sent {
        sender.push(*listener, datagram, now).unwrap();
    }
    sender.flush(now).unwrap();
    for (listener, datagram) in sent {
        let (at, packet) = next(&mut receiver).await.unwrap();
        assert_eq!((at, packet.remote, packet.local_ip), (listener, datagram.remote, datagram.local_ip));
        assert_eq!((packet.ecn, packet.data, packet.stride), (datagram.ecn, datagram.data, datagram.stride));
    }
    drop(sender);
    assert!(next(&mut receiver).await.is_none());
}

#[tokio::test]
async fn what_the_receiver_has_no_room_for_waits_and_nothing_is_lost() {
    const COUNT: usize = 1500;
    let (mut sender, mut receiver) = ends();
    SockRef::from(&*sender.socket).set_send_buffer_size(100_000).unwrap();
    let mut now = Instant::now();
    for number in 0..COUNT {
        sender.push(number, &datagram("127.0.0.1:1", None, None, &[number as u8; 1200]), now).unwrap();
    }
    sender.flush(now).unwrap();
    assert!(sender.deadline().is_some(), "the kernel does not queue all of it");
    for number in 0..COUNT {
        now += RETRY;
        sender.flush(now).unwrap();
        let (at, packet) = next(&mut receiver).await.unwrap();
        assert_eq!((at, &packet.data[..]), (number, &[number as u8; 1200][..]));
    }
    assert_eq!((sender.deadline(), sender.take_dropped(), sender.waiting_bytes), (None, 0, 0));
}

#[tokio::test]
async fn a_receiver_that_does_not_read_costs_bounded_memory() {
    let (mut sender, _receiver) = ends();
    let now = Instant::now();
    for _ in 0..10_000 {
        sender.push(0, &datagram("127.0.0.1:1", None, None, &[1; 1200]), now).unwrap();
    }
    sender.flush(now).unwrap();
    assert!(sender.waiting_bytes <= MAX_WAITING, "{}", sender.waiting_bytes);
    assert!(sender.take_dropped() > 0);
}

#[tokio::test]
async fn the_end_of_the_other_process_is_seen() {
    let push = |sender: &mut ForwardSender| {
        let now = Instant::now();
        sender.push(0, &datagram("127.0.0.1:1", None, None, b"x"), now).and_then(|()| sender.flush(now))
    };
    let (mut sender, receiver) = ends();
    assert!(is_read(sender.socket.as_fd()));
    assert_eq!(push(&mut sender), Ok(()));
    assert!(is_read(sender.socket.as_fd()));
    drop(receiver);
    assert!(!is_read(sender.socket.as_fd()));
    assert_eq!(push(&mut sender), Err(Gone));
    // Also if other descriptors of the receiving end are open.
    let (sender, receiver) = pair().unwrap();
    let (mut sender, copy) = (ForwardSender::new(Arc::new(sender)), receiver.try_clone().unwrap());
    ForwardReceiver::new(receiver).unwrap().close();
    assert!(!is_read(sender.socket.as_fd()));
    assert_eq!(push(&mut sender), Err(Gone));
    drop(copy);
}
