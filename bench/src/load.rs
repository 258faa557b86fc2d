//! An HTTP/3 load generator: hyperium's `h3` on `quinn`, which share no HTTP code with the product.
//!
//! [`run`] executes a [`Plan`] and returns a [`Report`]. Targets must be on loopback.

mod client;
mod plan;
mod process;
mod report;
mod tally;
mod tls;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::task::JoinSet;

use client::{Connection, Job};
use process::CpuClock;
use tally::Tally;

pub use plan::{Arguments, Invalid, Plan};
pub use report::{Cpu, Report};

/// Number of requests that are not sent yet, shared by all streams.
struct RequestCounter(AtomicU64);

impl RequestCounter {
    fn take(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
    }
}

/// Opens all connections, then sends the requests, until all are answered or the time limit is reached.
///
/// # Errors
/// If no socket can be bound, or the process to measure does not exist. Errors of the server are in the report.
pub async fn run(plan: &Plan) -> io::Result<Report> {
    let deadline = Instant::now() + plan.timeout;
    let cpu = plan.pid.map(CpuClock::of).transpose()?;
    let before = cpu.as_ref().map(CpuClock::read).transpose()?;
    let (connections, mut tally, handshakes) = connect(plan, deadline).await?;
    let open = connections.len();
    let after_handshakes = cpu.as_ref().map(CpuClock::read).transpose()?;
    let start = Instant::now();
    tally.merge(send(plan, &connections, deadline).await);
    let elapsed = start.elapsed();
    let at_end = cpu.as_ref().map(CpuClock::read).transpose()?;
    for connection in connections {
        connection.close().await;
    }
    let cpu = before.zip(after_handshakes).zip(at_end).map(|((before, between), end)| Cpu {
        handshakes: between.saturating_sub(before),
        requests: end.saturating_sub(between),
        tick: cpu.map_or(Duration::ZERO, |clock| clock.tick()),
    });
    Ok(Report::new(plan, open, handshakes, tally, elapsed, cpu))
}

/// Returns the open connections, the failures of the others, and the durations of the handshakes.
async fn connect(plan: &Plan, deadline: Instant) -> io::Result<(Vec<Connection>, Tally, Vec<Duration>)> {
    let mut dials = JoinSet::new();
    for _ in 0..plan.connections {
        let endpoint = client::endpoint(plan)?;
        dials.spawn(Connection::open(endpoint, plan.address, plan.server_name.clone(), deadline));
    }
    let (mut connections, mut tally, mut handshakes) = (Vec::new(), Tally::default(), Vec::new());
    while let Some(dialled) = dials.join_next().await {
        match dialled.map_err(io::Error::other)? {
            Ok((connection, took)) => {
                connections.push(connection);
                handshakes.push(took);
            }
            Err(reason) => tally.not_connected(reason),
        }
    }
    Ok((connections, tally, handshakes))
}

async fn send(plan: &Plan, connections: &[Connection], deadline: Instant) -> Tally {
    let tickets = Arc::new(RequestCounter(AtomicU64::new(plan.requests)));
    let job = Arc::new(Job::new(plan, deadline));
    let mut streams = JoinSet::new();
    for connection in connections {
        for _ in 0..plan.streams {
            let (mut sender, job, tickets) = (connection.sender(), Arc::clone(&job), Arc::clone(&tickets));
            streams.spawn(async move {
                let mut tally = Tally::default();
                while Instant::now() < job.deadline && tickets.take() {
                    tally.add(job.request(&mut sender).await);
                    if tally.must_stop() {
                        break;
                    }
                }
                tally
            });
        }
    }
    let mut tally = Tally::default();
    while let Some(part) = streams.join_next().await {
        // A panic of a stream is a bug of this program and leaves requests without an outcome.
        tally.merge(part.unwrap_or_default());
    }
    tally
}
