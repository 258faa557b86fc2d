//! Batches over loopback, as the kernel handles them.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use super::*;
use crate::sockopt;

const OPTIONS: UdpOptions = UdpOptions { recv_buffer: 4 << 20, send_buffer: 4 << 20, reuseport: false };

fn bind(address: &str) -> UdpSocket {
    UdpSocket::bind(address.parse().unwrap(), &OPTIONS).unwrap()
}

fn to(destination: SocketAddr) -> Transmit {
    Transmit { destination, src_ip: None, ecn: None, segment_size: None }
}

/// Loopback delivers within the send call, so the datagrams have arrived.
fn receive(socket: &UdpSocket) -> Vec<Datagram> {
    let mut batch = RecvBatch::new();
    let mut all = Vec::new();
    loop {
        match socket.recv(&mut batch) {
            Ok(count) => {
                assert!(count > 0);
                all.extend(batch.drain());
            }
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                return all;
            }
        }
    }
}

/// Returns single datagrams in the order of arrival.
fn segments(datagrams: Vec<Datagram>) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for mut datagram in datagrams {
        while let Some(segment) = datagram.split_segment() {
            all.push(segment.to_vec());
        }
    }
    all
}

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place / 7 + place) as u8).collect()
}

fn send_all(socket: &mut UdpSocket, batch: &mut SendBatch) {
    assert_eq!(socket.send(batch).unwrap(), SendOutcome::Done);
    assert!(batch.is_empty() && !batch.is_blocked() && !batch.is_full());
}

fn round_trip_bursts(server: &str, client: &str) {
    let server = bind(server);
    let mut client = bind(client);
    let mut destination = server.local_addr().unwrap();
    let loopback = client.local_addr().unwrap().ip();
    destination.set_ip(loopback);

    let mut batch = SendBatch::new();
    let mut expected = Vec::new();
    let sizes = [(1200, 30 * 1200 + 77), (1452, 45 * 1452), (500, 64 * 500), (1000, 120_000), (900, 900), (900, 10)];
    for (size, length) in sizes {
        let content = content(length);
        batch.buffer().unwrap().extend_from_slice(&content);
        batch.commit(&Transmit { segment_size: Some(size), ..to(destination) });
        expected.extend(content.chunks(size).map(<[u8]>::to_vec));
    }
    send_all(&mut client, &mut batch);
    assert_eq!(client.stats().datagrams, expected.len() as u64);
    assert_eq!(client.stats().gso_fallbacks, 0);
    assert_eq!(client.stats().calls, 1, "one system call for all");

    let datagrams = receive(&server);
    assert!(datagrams.iter().any(|datagram| datagram.data.len() > datagram.stride));
    for datagram in &datagrams {
        assert_eq!(datagram.remote, client.local_addr().unwrap());
        assert_eq!(datagram.local_ip, Some(loopback));
    }
    assert_eq!(segments(datagrams), expected);
}

#[test]
fn bursts_arrive_whole_and_in_order() {
    round_trip_bursts("127.0.0.1:0", "127.0.0.1:0");
    round_trip_bursts("[::1]:0", "[::1]:0");
    round_trip_bursts("[::]:0", "127.0.0.1:0");
    round_trip_bursts("0.0.0.0:0", "127.0.0.1:0");
}

#[test]
fn the_largest_bursts_pass() {
    for (address, length) in [("127.0.0.1:0", 65_507), ("[::1]:0", 65_487)] {
        let server = bind(address);
        let mut client = bind(address);
        let mut batch = SendBatch::new();
        let to = Transmit { segment_size: Some(1100), ..to(server.local_addr().unwrap()) };
        assert!(batch.push(&to, &content(length)));
        send_all(&mut client, &mut batch);
        let segments = segments(receive(&server));
        assert_eq!(segments.len(), length.div_ceil(1100));
        assert_eq!(segments.concat(), content(length));
        assert_eq!((client.stats().calls, client.stats().gso_fallbacks), (1, 0));
    }
}

fn echo(server: &str, client: &str, through: &str) {
    let mut server = bind(server);
    let mut client = bind(client);
    let through: IpAddr = through.parse().unwrap();
    let destination = SocketAddr::new(through, server.local_addr().unwrap().port());
    let mut batch = SendBatch::new();
    assert!(batch.push(&to(destination), b"ask"));
    send_all(&mut client, &mut batch);

    let asked = receive(&server);
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].local_ip, asked[0].stride), (Some(through), 3));
    let answer = Transmit { src_ip: asked[0].local_ip, segment_size: Some(2), ..to(asked[0].remote) };
    assert!(batch.push(&answer, b"answer"));
    send_all(&mut server, &mut batch);
    assert_eq!(server.stats().gso_fallbacks, 0);

    let answered = receive(&client);
    assert_eq!(answered[0].remote, destination, "the answer comes from the address that was asked");
    assert_eq!(segments(answered), [b"an", b"sw", b"er"]);
}

#[test]
fn responses_come_from_the_destination_address() {
    echo("0.0.0.0:0", "127.0.0.1:0", "127.0.0.2");
    echo("[::]:0", "127.0.0.1:0", "127.0.0.2");
    echo("[::]:0", "[::1]:0", "::1");
    echo("[::1]:0", "[::1]:0", "::1");
}

#[test]
fn ecn_bits_travel_both_ways() {
    for (server, client) in [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:0", "[::1]:0"), ("[::]:0", "127.0.0.1:0")] {
        let server = bind(server);
        let mut client = bind(client);
        let destination = SocketAddr::new(client.local_addr().unwrap().ip(), server.local_addr().unwrap().port());
        let mut batch = SendBatch::new();
        for ecn in [Some(0b10), Some(0b01), Some(0b11), Some(0), None] {
            assert!(batch.push(&Transmit { ecn, ..to(destination) }, b"marked"));
        }
        send_all(&mut client, &mut batch);
        let marks: Vec<_> = receive(&server).iter().map(|datagram| datagram.ecn).collect();
        assert_eq!(marks, [Some(0b10), Some(0b01), Some(0b11), Some(0), Some(0)]);
    }
}

/// The kernel does not split bursts of a socket without checksums.
fn refuse_gso(socket: &UdpSocket) {
    sockopt::set_int(socket.as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
}

#[test]
fn without_gso_the_burst_is_sent_again_one_by_one() {
    let server = bind("127.0.0.1:0");
    let mut client = bind("127.0.0.1:0");
    refuse_gso(&client);
    let destination = server.local_addr().unwrap();
    assert!(client.max_gso_segments(destination.ip(), 1200) > 1);

    let mut batch = SendBatch::new();
    let burst = Transmit { segment_size: Some(1000), ..to(destination) };
    let mut expected = Vec::new();
    for number in 0..4_u8 {
        let content: Vec<u8> = content(20_500).into_iter().map(|byte| byte ^ number).collect();
        assert!(batch.push(&burst, &content));
        expected.extend(content.chunks(1000).map(<[u8]>::to_vec));
        assert!(batch.push(&to(destination), &[number; 9]));
        expected.push(vec![number; 9]);
    }
    send_all(&mut client, &mut batch);
    assert_eq!(segments(receive(&server)), expected, "nothing lost, nothing doubled, order kept");
    assert_eq!(client.max_gso_segments(destination.ip(), 1200), 1, "the destination stays without");
    assert!(client.max_gso_segments("127.0.0.9".parse().unwrap(), 1200) > 1, "others keep it");
    assert_eq!(client.stats().gso_fallbacks, 1);
    assert_eq!(client.take_gso_refusal(), Some(destination.ip()));
    assert_eq!(client.take_gso_refusal(), None);
    assert_eq!((client.stats().datagrams, client.stats().dropped), (88, 0));
}

/// EINVAL has other causes than GSO: a source address that this host does not have.
#[test]
fn a_foreign_source_does_not_cost_the_destination_its_gso() {
    let server = bind("0.0.0.0:0");
    let mut client = bind("127.0.0.1:0");
    let destination = SocketAddr::new("127.0.0.1".parse().unwrap(), server.local_addr().unwrap().port());
    let mut batch = SendBatch::new();
    let foreign = Some("203.0.113.5".parse().unwrap());
    let burst = Transmit { src_ip: foreign, segment_size: Some(100), ..to(destination) };
    assert!(batch.push(&burst, &content(1000)));
    assert!(batch.push(&to(destination), b"after"));
    send_all(&mut client, &mut batch);
    assert_eq!(segments(receive(&server)), [b"after"]);
    assert_eq!(client.stats().dropped, 10);
    assert!(client.max_gso_segments(destination.ip(), 1200) > 1);
}

#[test]
fn only_datagrams_above_the_mtu_are_dropped() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let server = bind(address);
        let mut client = bind(address);
        let destination = server.local_addr().unwrap();
        let mtu = interface_mtu(destination.ip()).unwrap();
        let mut batch = SendBatch::new();
        assert!(batch.push(&to(destination), b"before"));
        assert!(batch.push(&to(destination), &vec![1; mtu.max(65_530)]));
        assert!(batch.push(&to(destination), b"after"));
        send_all(&mut client, &mut batch);
        assert_eq!(segments(receive(&server)), [&b"before"[..], b"after"]);
        assert_eq!((client.stats().too_big, client.stats().dropped), (1, 0));
    }
}

#[test]
fn an_error_of_one_destination_does_not_stop_the_others() {
    let server = bind("127.0.0.1:0");
    let mut client = bind("127.0.0.1:0");
    let destination = server.local_addr().unwrap();
    let mut batch = SendBatch::new();
    for stranger in ["[2001:db8::1]:9", "255.255.255.255:9", "127.0.0.1:0"] {
        assert!(batch.push(&to(stranger.parse().unwrap()), b"nobody"));
        assert!(batch.push(&to(destination), stranger.as_bytes()));
    }
    send_all(&mut client, &mut batch);
    assert_eq!(segments(receive(&server)).len(), 3);
    assert_eq!((client.stats().datagrams, client.stats().dropped), (3, 3));
}

#[test]
fn a_closed_port_does_not_disturb_receiving() {
    let closed = bind("127.0.0.1:0").local_addr().unwrap();
    let server = bind("127.0.0.1:0");
    let mut client = bind("127.0.0.1:0");
    let mut batch = SendBatch::new();
    assert!(batch.push(&to(closed), b"nobody listens"));
    assert!(batch.push(&to(server.local_addr().unwrap()), b"here"));
    send_all(&mut client, &mut batch);
    assert_eq!(segments(receive(&server)), [b"here"]);
    assert!(receive(&client).is_empty());
}

#[test]
fn a_batch_is_bounded() {
    let mut batch = SendBatch::new();
    let nowhere = to("127.0.0.1:9".parse().unwrap());
    let queued = (0..1000).take_while(|_| batch.push(&nowhere, b"small")).count();
    assert_eq!(queued, MAX_BURSTS);
    assert!(batch.buffer().is_none());
    batch.clear();
    let queued = (0..1000).take_while(|_| batch.push(&nowhere, &content(60_000))).count();
    assert_eq!(queued, MAX_PENDING_BYTES.div_ceil(60_000));
    batch.clear();
    batch.buffer().unwrap().push(1);
    assert!(batch.buffer().unwrap().is_empty(), "what is not committed is given again");
    batch.commit(&nowhere);
    assert!(batch.is_empty(), "an empty buffer is no burst");
}

#[test]
fn an_idle_batch_frees_its_buffers_but_no_waiting_bursts() {
    let mut socket = bind("127.0.0.1:0");
    let receiver = bind("127.0.0.1:0");
    let mut batch = SendBatch::new();
    let address = to(receiver.local_addr().unwrap());
    batch.buffer().unwrap().reserve(100_000);
    assert!(batch.push(&address, b"one"));
    batch.free_unused();
    assert!(!batch.is_empty(), "it waits");
    send_all(&mut socket, &mut batch);
    assert_eq!(segments(receive(&receiver)), [b"one"]);
    assert!(batch.buffer().unwrap().capacity() >= 100_000, "kept while there is traffic");
    batch.free_unused();
    assert_eq!(batch.buffer().unwrap().capacity(), 0);
    assert!(batch.push(&address, b"two"));
    send_all(&mut socket, &mut batch);
    assert_eq!(segments(receive(&receiver)), [b"two"]);
}

#[test]
fn partial_batches_say_that_the_socket_is_drained() {
    let server = bind("127.0.0.1:0");
    let mut client = bind("127.0.0.1:0");
    let destination = to(server.local_addr().unwrap());
    let mut batch = SendBatch::new();
    let mut received = RecvBatch::new();
    for (count, partial) in [(RECV_BATCH, false), (RECV_BATCH - 1, true), (1, true)] {
        for _ in 0..count {
            assert!(batch.push(&destination, b"x"));
        }
        send_all(&mut client, &mut batch);
        assert_eq!(server.recv(&mut received).unwrap(), count);
        assert_eq!(received.is_partial(), partial);
        assert_eq!(received.drain().count(), count);
        assert_eq!(server.recv(&mut received).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(received.drain().count(), 0);
    }
}

/// Received datagrams stay unchanged while the batch is reused, in whatever order they are dropped.
#[test]
fn datagrams_outlive_their_batch() {
    let server = bind("127.0.0.1:0");
    let mut client = bind("127.0.0.1:0");
    let destination = server.local_addr().unwrap();
    let (mut out, mut batch) = (SendBatch::new(), RecvBatch::new());
    let mut kept = std::collections::VecDeque::new();
    for round in 0..60_usize {
        for (number, length) in [40, 50_000, 1200, 16_384, 16_383, 8000, 65_000].into_iter().enumerate() {
            let content = vec![(round * 7 + number) as u8; length];
            assert!(out.push(&Transmit { segment_size: Some(1300), ..to(destination) }, &content));
        }
        send_all(&mut client, &mut out);
        assert_eq!(server.recv(&mut batch).unwrap(), 7);
        kept.extend(batch.drain().enumerate().map(|(number, datagram)| (round * 7 + number, datagram)));
        // Some are dropped at once, some after several rounds, some are split.
        kept.retain(|(number, _)| number % 3 != round % 3 || number % 5 == 0);
        while kept.len() > 40 {
            kept.pop_front();
        }
        for (number, datagram) in &mut kept {
            let expected = *number as u8;
            assert!(datagram.data.iter().all(|byte| *byte == expected));
            drop(datagram.split_segment());
        }
    }
}

#[test]
fn messages_not_taken_are_dropped() {
    let server = bind("127.0.0.1:0");
    let mut client = bind("127.0.0.1:0");
    let (mut out, mut batch) = (SendBatch::new(), RecvBatch::new());
    let destination = to(server.local_addr().unwrap());
    for round in 0..3_u8 {
        for length in [20, 30_000, 40_000] {
            assert!(out.push(&destination, &vec![round; length]));
        }
        send_all(&mut client, &mut out);
        assert_eq!(server.recv(&mut batch).unwrap(), 3);
        let first: Vec<_> = batch.drain().take(1).collect();
        assert_eq!(first[0].data, [round; 20][..]);
        assert_eq!(batch.drain().count(), 2, "those not taken are still there");
    }
}

#[test]
fn empty_datagrams_are_seen() {
    let server = bind("127.0.0.1:0");
    let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    client.send_to(&[], server.local_addr().unwrap()).unwrap();
    let datagrams = receive(&server);
    assert_eq!((datagrams.len(), datagrams[0].stride, datagrams[0].data.len()), (1, 1, 0));
}

#[test]
fn buffers_are_granted_as_far_as_allowed() {
    let small = UdpOptions { recv_buffer: 100_000, send_buffer: 60_000, reuseport: false };
    let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &small).unwrap();
    assert_eq!(socket.granted_buffers().unwrap(), (100_000, 60_000));
    let huge = UdpOptions { recv_buffer: usize::MAX, send_buffer: usize::MAX, reuseport: false };
    let socket = UdpSocket::bind("127.0.0.1:0".parse().unwrap(), &huge).unwrap();
    assert!(socket.granted_buffers().unwrap().0 > 0);
}

#[test]
fn an_address_is_taken_unless_shared() {
    let first = bind("127.0.0.1:0");
    let address = first.local_addr().unwrap();
    assert_eq!(UdpSocket::bind(address, &OPTIONS).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    let shared = UdpOptions { reuseport: true, ..OPTIONS };
    let first = UdpSocket::bind("[::]:0".parse().unwrap(), &shared).unwrap();
    UdpSocket::bind(first.local_addr().unwrap(), &shared).unwrap();
}

#[test]
fn bound_sockets_can_be_adopted() {
    let bound = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = bound.local_addr().unwrap();
    let socket = UdpSocket::adopt(bound.into(), &OPTIONS).unwrap();
    assert_eq!(socket.local_addr().unwrap(), address);
    let mut client = bind("127.0.0.1:0");
    let mut batch = SendBatch::new();
    assert!(batch.push(&to(address), b"hello"));
    send_all(&mut client, &mut batch);
    assert_eq!(receive(&socket)[0].local_ip, Some(address.ip()));
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    assert_eq!(UdpSocket::adopt(tcp.into(), &OPTIONS).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), future).await.expect("in time") })
}

#[test]
fn a_partial_batch_does_not_lose_the_next_wakeup() {
    block_on(async {
        let mut server = AsyncUdp::new(bind("127.0.0.1:0")).unwrap();
        let mut client = AsyncUdp::new(bind("127.0.0.1:0")).unwrap();
        let destination = to(server.socket().local_addr().unwrap());
        let (mut out, mut batch) = (SendBatch::new(), RecvBatch::new());
        for round in 0..200_usize {
            let count = 1 + round * 7 % (2 * RECV_BATCH);
            let mut left = count;
            while left > 0 {
                while left > 0 && out.push(&destination, &[round as u8; 20]) {
                    left -= 1;
                }
                poll_fn(|cx| client.poll_send(cx, &mut out)).await.unwrap();
            }
            let mut got = 0;
            while got < count {
                got += poll_fn(|cx| server.poll_recv(cx, &mut batch)).await.unwrap();
                assert!(batch.drain().all(|datagram| datagram.data == [round as u8; 20][..]));
            }
            assert_eq!(got, count);
        }
    });
}
