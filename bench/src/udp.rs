//! Measures datagrams over loopback through the sockets of the product, with both sides in one thread.
//!
//! The cost of sending includes the delivery to the queue of the receiver, which the kernel does in the same call.

use std::{
    io::{self, Error, ErrorKind},
    net::Ipv4Addr,
    thread,
    time::{Duration, Instant},
};

use spooky_net::udp::{MAX_BURSTS, RecvBatch, SendBatch, SendOutcome, Transmit, UdpOptions, UdpSocket};

use crate::clock::median;

/// Number of turns of a measurement. A turn fills, sends and receives.
const TURNS: usize = 1000;
/// Requested size of the kernel buffers.
const BUFFER: usize = 4 << 20;
/// Time limit for a datagram over loopback.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Nanoseconds per datagram.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// Time to send it.
    pub send: f64,
    /// Time to receive it and split it from its batch.
    pub receive: f64,
}

/// What a turn sends.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Length of a datagram.
    pub size: usize,
    /// Datagrams per burst, which the kernel splits (GSO).
    pub burst: usize,
    /// Maximum number of bursts per call.
    pub bursts: usize,
}

/// Returns the median cost of many turns.
///
/// # Errors
/// Errors of the sockets, and [`ErrorKind::TimedOut`] if loopback loses datagrams.
pub fn cost(shape: Shape) -> io::Result<Cost> {
    let mut link = Link::new(shape)?;
    let (mut send, mut receive) = (Vec::with_capacity(TURNS), Vec::with_capacity(TURNS));
    for _ in 0..TURNS {
        let count = link.fill();
        send.push(link.send()?.as_secs_f64() * 1e9 / count as f64);
        receive.push(link.receive(count)?.as_secs_f64() * 1e9 / count as f64);
    }
    Ok(Cost { send: median(send), receive: median(receive) })
}

struct Link {
    client: UdpSocket,
    server: UdpSocket,
    to: Transmit,
    burst: usize,
    bursts: usize,
    payload: Vec<u8>,
    out: SendBatch,
    batch: RecvBatch,
}

impl Link {
    fn new(shape: Shape) -> io::Result<Self> {
        let options = UdpOptions { recv_buffer: BUFFER, send_buffer: BUFFER, reuseport: false };
        let any = (Ipv4Addr::LOCALHOST, 0).into();
        let (client, server) = (UdpSocket::bind(any, &options)?, UdpSocket::bind(any, &options)?);
        let destination = server.local_addr()?;
        let bytes = shape.size * shape.burst;
        let (granted, _) = server.granted_buffers()?;
        // A quarter of the buffer, because the kernel counts its overhead too.
        let bursts = shape.bursts.min(MAX_BURSTS).min((granted / 4 / bytes).max(1));
        let segment_size = (shape.burst > 1).then_some(shape.size);
        let to = Transmit { destination, src_ip: Some(destination.ip()), ecn: Some(0b10), segment_size };
        let (out, batch) = (SendBatch::new(), RecvBatch::new());
        Ok(Self { client, server, to, burst: shape.burst, bursts, payload: vec![7; bytes], out, batch })
    }

    /// Queues a turn and returns the number of datagrams in it.
    fn fill(&mut self) -> usize {
        let mut queued = 0;
        while queued < self.bursts
            && let Some(buffer) = self.out.buffer()
        {
            buffer.extend_from_slice(&self.payload);
            self.out.commit(&self.to);
            queued += 1;
        }
        queued * self.burst
    }

    fn send(&mut self) -> io::Result<Duration> {
        let start = Instant::now();
        let outcome = self.client.send(&mut self.out)?;
        let spent = start.elapsed();
        match outcome {
            SendOutcome::Done => Ok(spent),
            SendOutcome::Blocked => Err(Error::other("the send buffer is too small")),
        }
    }

    /// Receives this number of datagrams. Calls that return none are not measured.
    fn receive(&mut self, count: usize) -> io::Result<Duration> {
        let (begin, mut got, mut spent) = (Instant::now(), 0, Duration::ZERO);
        while got < count {
            let start = Instant::now();
            match self.server.recv(&mut self.batch) {
                Ok(_) => {
                    for mut datagram in self.batch.drain() {
                        while datagram.split_segment().is_some() {
                            got += 1;
                        }
                    }
                    spent += start.elapsed();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock && begin.elapsed() < RECEIVE_TIMEOUT => {
                    thread::yield_now();
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
                Err(error) => return Err(error),
            }
        }
        Ok(spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_datagram_of_a_turn_arrives() {
        for (burst, bursts) in [(1, 1), (1, 32), (10, 4)] {
            let mut link = Link::new(Shape { size: 1200, burst, bursts }).unwrap();
            let count = link.fill();
            assert!(count >= burst && count <= burst * bursts);
            link.send().unwrap();
            link.receive(count).unwrap();
            assert_eq!(link.client.stats().datagrams, count as u64);
            assert_eq!(link.server.recv(&mut link.batch).unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    }
}
