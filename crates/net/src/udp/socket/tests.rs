//! A full send buffer. Loopback accepts every datagram at once, so a Unix socket is used: it blocks when its peer does
//! not read. Its peer needs no address, because an address of the wrong family is not encoded.

use std::future::poll_fn;
use std::os::unix::net::UnixDatagram;
use std::task::Poll;
use std::time::Duration;

use super::*;
use crate::udp::{AsyncUdp, MAX_BURSTS, Transmit};

fn pair() -> (UdpSocket, UnixDatagram) {
    let (socket, peer) = UnixDatagram::pair().unwrap();
    socket.set_nonblocking(true).unwrap();
    peer.set_nonblocking(true).unwrap();
    let socket = Socket::from(OwnedFd::from(socket));
    let (stats, gso) = (SendStats::default(), Gso::new(true));
    (UdpSocket { socket, family: Family::V4, gso, stats, gso_refusal: None }, peer)
}

fn to_peer() -> Transmit {
    Transmit { destination: "[::1]:9".parse().unwrap(), src_ip: None, ecn: None, segment_size: None }
}

fn fill() -> SendBatch {
    let mut batch = SendBatch::new();
    for number in 0..MAX_BURSTS {
        assert!(batch.push(&to_peer(), &[number as u8; 5000]));
    }
    batch
}

fn numbers(peer: &UnixDatagram) -> Vec<u8> {
    let mut buffer = [0; 8192];
    std::iter::from_fn(|| peer.recv(&mut buffer).ok().map(|length| (length, buffer[0])))
        .inspect(|(length, _)| assert_eq!(*length, 5000))
        .map(|(_, number)| number)
        .collect()
}

#[test]
fn a_blocked_batch_keeps_its_rest_in_order() {
    let (mut socket, peer) = pair();
    let mut batch = fill();
    let mut got = Vec::new();
    let mut blocked = 0;
    while socket.send(&mut batch).unwrap() == SendOutcome::Blocked {
        blocked += 1;
        assert!(batch.is_blocked() && batch.is_full() && !batch.is_empty());
        assert!(batch.buffer().is_none() && !batch.push(&to_peer(), b"more"));
        let some = numbers(&peer);
        assert!(!some.is_empty(), "each send makes progress");
        got.extend(some);
    }
    got.extend(numbers(&peer));
    assert!(blocked > 0);
    assert_eq!(got, (0..MAX_BURSTS as u8).collect::<Vec<_>>());
    assert!(batch.is_empty() && !batch.is_full() && !batch.is_blocked());
    assert_eq!(socket.stats().datagrams, MAX_BURSTS as u64);
}

#[test]
fn a_blocked_sender_is_woken_when_the_socket_is_writable() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (socket, peer) = pair();
        let mut socket = AsyncUdp::new(socket).unwrap();
        let mut batch = fill();
        let mut got = Vec::new();
        while !batch.is_empty() {
            let sent = poll_fn(|cx| match socket.poll_send(cx, &mut batch) {
                Poll::Pending => {
                    // Reading frees space only after the pending result: the wake-up must come from the kernel.
                    got.extend(numbers(&peer));
                    Poll::Pending
                }
                Poll::Ready(sent) => Poll::Ready(sent),
            });
            tokio::time::timeout(Duration::from_secs(20), sent).await.expect("woken").unwrap();
        }
        got.extend(numbers(&peer));
        assert_eq!(got, (0..MAX_BURSTS as u8).collect::<Vec<_>>());
    });
}

/// Returns the events that epoll instances of this process report for a descriptor, according to the kernel.
fn watched(fd: RawFd) -> u32 {
    let mut events = 0;
    for entry in std::fs::read_dir("/proc/self/fdinfo").unwrap() {
        // A descriptor of another test may be closed by now.
        let Ok(info) = std::fs::read_to_string(entry.unwrap().path()) else { continue };
        for line in info.lines() {
            let words: Vec<_> = line.split_whitespace().collect();
            if let ["tfd:", number, "events:", mask, ..] = words[..]
                && number == fd.to_string()
            {
                events |= u32::from_str_radix(mask, 16).unwrap();
            }
        }
    }
    events
}

#[test]
fn write_events_are_registered_only_while_blocked() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (socket, peer) = pair();
        let fd = socket.as_raw_fd();
        let mut socket = AsyncUdp::new(socket).unwrap();
        let mut batch = SendBatch::new();
        assert!(batch.push(&to_peer(), b"an answer"));
        poll_fn(|cx| socket.poll_send(cx, &mut batch)).await.unwrap();
        let events = watched(fd);
        assert_ne!(events & libc::EPOLLIN as u32, 0, "arrivals are asked for");
        assert_eq!(events & libc::EPOLLOUT as u32, 0, "each datagram sent would be an event");
        drop(peer);
    });
}

#[test]
fn a_useless_socket_is_an_error_and_empties_the_batch() {
    let (mut socket, _) = pair();
    let mut batch = fill();
    socket.socket = Socket::from(OwnedFd::from(std::fs::File::open("/dev/null").unwrap()));
    assert_eq!(socket.send(&mut batch).unwrap_err().raw_os_error(), Some(libc::ENOTSOCK));
    assert!(batch.is_empty());
}
