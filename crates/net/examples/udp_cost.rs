//! Measures the processor time per datagram of sending and receiving over loopback, both sides in one thread. Run with
//! `cargo run --release -p spooky-net --example udp_cost`.

use std::io::Error;
use std::time::Duration;

use spooky_net::udp::{MAX_BURSTS, RecvBatch, SendBatch, SendOutcome, Transmit, UdpOptions, UdpSocket};

const BYTES: usize = 1 << 30;
const MAX_DATAGRAMS: usize = 400_000;

fn main() -> Result<(), Error> {
    println!(
        "{:>6} {:>6} {:>10} {:>10} {:>10} {:>10} {:>10}",
        "bytes", "burst", "send ns", "recv ns", "send ns/B", "recv ns/B", "datagrams"
    );
    for address in ["127.0.0.1:0", "[::1]:0"] {
        println!("{address}");
        for (size, burst) in
            [(60, 1), (1200, 1), (1200, 2), (1200, 10), (1200, 54), (1452, 45), (4080, 16), (16_000, 4), (60_000, 1)]
        {
            measure(address, size, burst)?;
        }
    }
    Ok(())
}

/// Returns the processor time of this thread.
fn cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a live out-pointer.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32)
}

fn measure(address: &str, size: usize, burst: usize) -> Result<(), Error> {
    let options = UdpOptions { recv_buffer: 16 << 20, send_buffer: 16 << 20, reuseport: false };
    let address = address.parse().map_err(Error::other)?;
    let (server, mut client) = (UdpSocket::bind(address, &options)?, UdpSocket::bind(address, &options)?);
    let to = Transmit {
        destination: server.local_addr()?,
        src_ip: Some(address.ip()),
        ecn: Some(0b10),
        segment_size: (burst > 1).then_some(size),
    };
    let payload = vec![7; size * burst];
    let (mut out, mut batch) = (SendBatch::new(), RecvBatch::new());
    let (mut sending, mut receiving) = (Duration::ZERO, Duration::ZERO);
    let total = (BYTES / size).min(MAX_DATAGRAMS);
    let (mut sent, mut got, mut bytes) = (0, 0, 0);
    while sent < total {
        // As much as a worker sends per turn.
        let mut queued = 0;
        while queued < MAX_BURSTS
            && let Some(buffer) = out.buffer()
        {
            buffer.extend_from_slice(&payload);
            out.commit(&to);
            queued += 1;
        }
        let start = cpu_time();
        if client.send(&mut out)? == SendOutcome::Blocked {
            return Err(Error::other("loopback blocked"));
        }
        let middle = cpu_time();
        sent += queued * burst;
        while let Ok(_count) = server.recv(&mut batch) {
            for mut datagram in batch.drain() {
                while let Some(segment) = datagram.split_segment() {
                    got += 1;
                    bytes += segment.len();
                }
            }
            if batch.is_partial() {
                break;
            }
        }
        sending += middle.saturating_sub(start);
        receiving += cpu_time().saturating_sub(middle);
    }
    if (got, bytes) != (sent, sent * size) {
        return Err(Error::other("datagrams were lost"));
    }
    let per = |time: Duration, count: usize| time.as_secs_f64() * 1e9 / count as f64;
    println!(
        "{size:>6} {burst:>6} {:>10.0} {:>10.0} {:>10.3} {:>10.3} {sent:>10}",
        per(sending, sent),
        per(receiving, sent),
        per(sending, bytes),
        per(receiving, bytes)
    );
    Ok(())
}
