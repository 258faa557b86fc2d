//! Steering of the datagrams of a QUIC connection to the socket of the worker that owns it.
//!
//! The first byte of every connection id that a worker issues, modulo the number of workers, is the number of that
//! worker. A classic BPF program on the `SO_REUSEPORT` group evaluates it in the kernel; this needs no privileges.
//! [`SteeringRule`] applies the same rule to packets that still arrive at another worker: those that the kernel
//! coalesced behind a packet of that worker, and all packets of a group that shrinks or has no program. Clients choose
//! random ids for their first packets, which therefore spread over the workers.
//!
//! The low bits of the second byte are the number of the process ([`ProcessNumber`]).
//!
//! Sockets are numbered in the order in which they joined the group. When one is closed, the last takes its number.
//! Packets for a missing number arrive at any socket.

use std::io;
use std::os::fd::BorrowedFd;

use libc::{SO_ATTACH_REUSEPORT_CBPF, SOL_SOCKET, c_ushort, sock_filter, sock_fprog};

use crate::sockopt;

/// Bit in the first byte of packets with a long header (RFC 8999 section 5.1).
const LONG_HEADER: u8 = 0x80;
/// Position of the first id byte: after flags, version and length (RFC 8999 section 5.1), or after flags (section 5.2).
const LONG_ID: usize = 6;
const SHORT_ID: usize = 1;
/// First byte and version of a Handshake packet, and the bits to compare (RFC 9000 section 17.2.4).
const HANDSHAKE: [u8; 5] = [0xa0, 0, 0, 0, 1];
/// The same of an Initial packet.
const INITIAL: [u8; 5] = [0x80, 0, 0, 0, 1];
const HANDSHAKE_BITS: [u8; 5] = [0xb0, 0xff, 0xff, 0xff, 0xff];

/// Position of the process number: the second id byte.
const PROCESS_BYTE: usize = 1;

/// The number of a process among those that share an address, in the low bits of the second byte of every connection id
/// that it issues. After an upgrade the new process reads all packets, and finds by it those of its predecessors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProcessNumber(u8);

impl ProcessNumber {
    /// Number of different processes.
    pub const COUNT: u8 = 16;

    /// Creates the number with these low bits.
    pub fn new(number: u8) -> Self {
        Self(number % Self::COUNT)
    }

    /// Returns the number itself.
    pub fn get(self) -> u8 {
        self.0
    }

    /// Puts the number into the second byte of a connection id.
    pub fn mark(self, byte: u8) -> u8 {
        byte - byte % Self::COUNT + self.0
    }

    /// Returns the number in a connection id that a server has issued.
    pub fn of_id(id: &[u8]) -> Option<Self> {
        id.get(PROCESS_BYTE).copied().map(Self::new)
    }

    /// Returns the number in the id of a packet that certainly carries an id of a server: not in an Initial or 0-RTT packet,
    /// whose id the client may have chosen.
    pub fn of_packet(packet: &[u8]) -> Option<Self> {
        let is_long = packet.first()? & LONG_HEADER != 0;
        if is_long && !is_handshake(packet) {
            return None;
        }
        Self::of_id(packet.get(if is_long { LONG_ID } else { SHORT_ID }..)?)
    }

    /// Returns the number in the id of an Initial packet of version 1, which means something only if the id is one of a
    /// server.
    pub fn of_initial(packet: &[u8]) -> Option<Self> {
        let is_initial = matches_bits(packet, INITIAL);
        if is_initial { Self::of_id(packet.get(LONG_ID..)?) } else { None }
    }
}

/// Returns which worker of a group of this size owns a packet.
pub fn worker_of(packet: &[u8], workers: usize) -> usize {
    let at = if packet.first().is_some_and(|flags| flags & LONG_HEADER != 0) { LONG_ID } else { SHORT_ID };
    packet.get(at).map_or(0, |byte| usize::from(*byte) % workers.max(1))
}

/// Tells a worker which packets belong to other workers of its group.
#[derive(Clone, Debug)]
pub struct SteeringRule {
    /// The worker for each value of the first id byte.
    owners: [u8; 256],
    here: u16,
    is_steered: bool,
}

impl SteeringRule {
    /// Creates the rule of a group of `workers` for its worker `here`. `is_steered` says whether the kernel applies it
    /// too.
    pub fn new(here: u16, workers: u16, is_steered: bool) -> Self {
        let owner = |byte| (byte % usize::from(workers.max(1))) as u8; // below 256, as `byte` is
        Self { owners: std::array::from_fn(owner), here, is_steered }
    }

    /// Returns the worker to which the UDP payload `packet` must be forwarded, or `None` if it stays here.
    ///
    /// If the kernel steers, this is the worker that it steers such packets to, so all packets of a connection arrive
    /// at one worker. Otherwise the addresses decide, and an id chosen by a client means nothing: only packets that
    /// certainly carry an id of a server are forwarded.
    pub fn other_owner(&self, packet: &[u8]) -> Option<usize> {
        let is_long = packet.first()? & LONG_HEADER != 0;
        let byte = *packet.get(if is_long { LONG_ID } else { SHORT_ID })?;
        let owner = *self.owners.get(usize::from(byte))?;
        if u16::from(owner) == self.here || (!self.is_steered && is_long && !is_handshake(packet)) {
            return None;
        }
        Some(usize::from(owner))
    }
}

/// Returns whether the packet continues a handshake that a server has answered.
fn is_handshake(packet: &[u8]) -> bool {
    matches_bits(packet, HANDSHAKE)
}

fn matches_bits(packet: &[u8], wanted: [u8; 5]) -> bool {
    let bytes = packet.iter().zip(HANDSHAKE_BITS).zip(wanted);
    packet.len() >= wanted.len() && bytes.into_iter().all(|((byte, bits), wanted)| byte & bits == wanted)
}

/// Makes the kernel apply the rule to the `SO_REUSEPORT` group of `fd`. `fd` must be bound; if it was bound without
/// that option, another socket must have joined the group already. Needed once per group; it applies to sockets bound
/// later too.
///
/// A number without a socket (an incomplete group) falls back to the kernel's hash of the addresses.
///
/// Errors: those of the system. Datagrams are then spread by that hash, so the packets of a client that keeps its
/// address still arrive at one worker.
pub fn attach_worker_steering(fd: BorrowedFd<'_>, workers: u16) -> io::Result<()> {
    let mut program = program(workers);
    let program = sock_fprog { len: program.len() as c_ushort, filter: program.as_mut_ptr() };
    sockopt::set(fd, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program)
}

/// Returns the program, which runs on the UDP payload. A load beyond its end returns 0 at once.
fn program(workers: u16) -> [sock_filter; 7] {
    const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    let op = |code: u32, jt, jf, k| sock_filter { code: code as u16, jt, jf, k };
    [
        op(LOAD_BYTE, 0, 0, 0),
        op(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, 0, 2, u32::from(LONG_HEADER)),
        op(LOAD_BYTE, 0, 0, LONG_ID as u32),
        op(libc::BPF_JMP | libc::BPF_JA, 0, 0, 1),
        op(LOAD_BYTE, 0, 0, SHORT_ID as u32),
        op(libc::BPF_ALU | libc::BPF_MOD | libc::BPF_K, 0, 0, u32::from(workers.max(1))),
        op(libc::BPF_RET | libc::BPF_A, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::udp::{RecvBatch, UdpOptions, UdpSocket};

    /// Returns the number of the worker, below `workers`, that owns `packet`. Packets without an id belong to worker 0.
    fn worker_of(packet: &[u8], workers: u16) -> usize {
        super::worker_of(packet, workers.into())
    }

    #[test]
    fn the_process_number_is_found_where_only_a_server_can_have_put_it() {
        let numbers = (0..ProcessNumber::COUNT).map(ProcessNumber::new);
        for number in numbers {
            for random in 0..=255 {
                let marked = number.mark(random);
                assert_eq!((marked & 0xf0, ProcessNumber::of_id(&[random, marked])), (random & 0xf0, Some(number)));
            }
            let second = number.mark(0xa5);
            let long = |flags: u8, version: u8| vec![flags, 0, 0, 0, version, 8, 1, second, 3];
            for (packet, of_packet, of_initial) in [
                (vec![0x41, 1, second, 9], Some(number), None),
                (long(0xef, 1), Some(number), None),
                (long(0xc3, 1), None, Some(number)),
                (long(0xd3, 1), None, None),
                (long(0xc3, 2), None, None),
                (vec![0x41, 1], None, None),
                (vec![0xc3, 0, 0, 0, 1, 8, 1], None, None),
                (Vec::new(), None, None),
            ] {
                let found = (ProcessNumber::of_packet(&packet), ProcessNumber::of_initial(&packet));
                assert_eq!(found, (of_packet, of_initial), "{packet:?}");
            }
        }
    }

    const WORKERS: u16 = 3;

    /// Returns the datagrams that a socket has received.
    fn waiting(socket: &UdpSocket, batch: &mut RecvBatch) -> Vec<Vec<u8>> {
        match socket.recv(batch) {
            Ok(_) => batch.drain().map(|datagram| datagram.data.to_vec()).collect(),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                Vec::new()
            }
        }
    }

    fn steer_over(address: &str) {
        let options = UdpOptions { recv_buffer: 1 << 20, send_buffer: 1 << 20, reuseport: true };
        let first = UdpSocket::bind(address.parse().unwrap(), &UdpOptions { reuseport: false, ..options }).unwrap();
        let bound = first.local_addr().unwrap();
        let early = UdpSocket::bind(bound, &options).unwrap_err();
        assert_eq!(early.kind(), io::ErrorKind::AddrInUse, "not shared yet");
        first.share().unwrap();
        let alone = UdpSocket::bind(bound, &UdpOptions { reuseport: false, ..options }).unwrap_err();
        assert_eq!(alone.kind(), io::ErrorKind::AddrInUse, "shared only with sockets that share");
        let second = UdpSocket::bind(bound, &options).unwrap();
        attach_worker_steering(first.as_fd(), WORKERS).unwrap();
        let third = UdpSocket::bind(bound, &options).unwrap();
        let sockets = [first, second, third];

        let mut batch = RecvBatch::new();
        for id in 0..=255_u8 {
            let long = vec![0xc0, 0, 0, 0, 1, 8, id, 1, 2, 3, 4, 5, 6, 7];
            let short = vec![0x40, id, 9, 9, 9];
            for packet in [long, short, vec![id; 1], vec![0xc0; 6]] {
                // A new socket for each packet, because the kernel's hash of the addresses would differ.
                let client = std::net::UdpSocket::bind((bound.ip(), 0)).unwrap();
                client.send_to(&packet, bound).unwrap();
                let expected = worker_of(&packet, WORKERS);
                for (number, socket) in sockets.iter().enumerate() {
                    let got = waiting(socket, &mut batch);
                    let want = if number == expected { vec![packet.clone()] } else { Vec::new() };
                    assert_eq!(got, want, "socket {number}, id {id}");
                }
            }
        }
    }

    #[test]
    fn kernel_and_rule_agree_on_ipv4() {
        steer_over("127.0.0.1:0");
    }

    #[test]
    fn kernel_and_rule_agree_on_ipv6() {
        steer_over("[::1]:0");
    }

    #[test]
    fn rule_reads_the_first_id_byte() {
        assert_eq!(worker_of(&[0xc0, 0, 0, 0, 1, 8, 7], 4), 3);
        assert_eq!(worker_of(&[0x40, 6], 4), 2);
        for short in [&[][..], &[0x40], &[0xc0, 1, 1, 1, 1, 1]] {
            assert_eq!(worker_of(short, 4), 0);
        }
        assert_eq!(worker_of(&[0x40, 6], 0), 0, "no division by zero");
    }

    #[test]
    fn with_kernel_steering_the_rule_agrees_with_the_kernel() {
        for here in 0..WORKERS {
            let steering = SteeringRule::new(here, WORKERS, true);
            for id in 0..=255_u8 {
                for packet in [vec![0xc0, 0, 0, 0, 1, 8, id, 1], vec![0xa0, 0, 0, 0, 1, 8, id], vec![0x40, id, 9]] {
                    let owner = worker_of(&packet, WORKERS);
                    assert_eq!(steering.other_owner(&packet), (owner != usize::from(here)).then_some(owner));
                }
            }
            for short in [&[][..], &[0x40], &[0xc0, 1, 1, 1, 1, 1]] {
                assert_eq!(steering.other_owner(short), None, "names nobody");
            }
        }
        assert_eq!(SteeringRule::new(0, 1, true).other_owner(&[0x40, 77]), None);
        assert_eq!(SteeringRule::new(0, 0, true).other_owner(&[0x40, 77]), None, "no division by zero");
    }

    #[test]
    fn without_kernel_steering_ids_chosen_by_clients_stay() {
        let steering = SteeringRule::new(0, 2, false);
        let long = |flags: u8, version: u8| vec![flags, 0, 0, 0, version, 8, 1, 2, 3];
        for (packet, what) in [
            (long(0xc0, 1), "Initial"),
            (long(0xd0, 1), "0-RTT"),
            (long(0xe0, 9), "a version with other types"),
            (long(0xf0, 1), "Retry, which no client sends"),
        ] {
            assert_eq!(steering.other_owner(&packet), None, "{what}");
            assert_eq!(SteeringRule::new(0, 2, true).other_owner(&packet), Some(1), "{what}");
        }
        for (packet, what) in [(long(0xef, 1), "Handshake"), (vec![0x41, 1, 2], "short header")] {
            assert_eq!(steering.other_owner(&packet), Some(1), "{what}");
        }
        assert_eq!(steering.other_owner(&[0x41, 2, 2]), None);
    }
}
