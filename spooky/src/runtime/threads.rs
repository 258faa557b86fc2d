//! The threads: one per worker, and the main thread that waits for signals.

use super::{Bound, Signals, StartError, compile};
use crate::{
    exchange::{Clock, Exchanges},
    generation::Generation,
    snapshot::Snapshot,
    worker::{Listener, Worker},
};
use spooky_edge::{Edge, EdgeSettings};
use spooky_net::{
    tls::server::Resumption,
    udp::{AsyncUdp, UdpSocket},
};
use spooky_transport::Transport;
use std::{
    net::SocketAddr,
    process::ExitCode,
    sync::Arc,
    thread::JoinHandle,
    time::{Duration, Instant},
};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// What a worker thread is given at its start.
struct Post {
    sockets: Vec<(UdpSocket, EdgeSettings, u16)>,
    snapshot: Arc<Snapshot>,
    signals: Signals,
    number: u16,
    seed: u64,
}

/// The running process.
pub(crate) struct Running {
    stops: Vec<oneshot::Sender<Duration>>,
    threads: Vec<JoinHandle<()>>,
    grace: Duration,
    /// Where the listeners are, in the order of the file.
    pub(crate) addresses: Vec<SocketAddr>,
}

impl Running {
    pub(super) fn new(bound: Bound, snapshot: Arc<Snapshot>, workers: u16) -> Result<Self, StartError> {
        let mut running = Self {
            stops: Vec::new(),
            threads: Vec::new(),
            grace: snapshot.config.performance.shutdown_drain_timeout_ms,
            addresses: bound.endpoints.iter().map(|endpoint| endpoint.address).collect(),
        };
        let resumption = Resumption::new().map_err(|error| StartError(error.to_string()))?;
        let mut sockets: Vec<Vec<_>> = (0..workers).map(|_| Vec::new()).collect();
        for (endpoint, listener) in bound.endpoints.into_iter().zip(&snapshot.config.listeners) {
            let settings = compile::edge(&snapshot.config, listener, &resumption, endpoint.max_udp_payload, workers)?;
            tracing::info!("Ingress: HTTP/3 (QUIC) on UDP {}", endpoint.address);
            for ((worker, of_worker), socket) in sockets.iter_mut().enumerate().zip(endpoint.sockets) {
                let settings = EdgeSettings { worker: worker as u16, ..settings.clone() };
                of_worker.push((socket, settings, endpoint.address.port()));
            }
        }
        let performance = &snapshot.config.performance;
        tracing::info!(
            "Data-plane workers={workers} packet_shards_per_worker={} reuseport={} pin_workers={}",
            performance.packet_shards_per_worker,
            performance.reuseport,
            performance.pin_workers
        );
        for (number, sockets) in sockets.into_iter().enumerate() {
            let (stop, signals) = Signals::new();
            let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), number);
            let post = Post { sockets, snapshot: snapshot.clone(), signals, number: number as u16, seed };
            let thread = std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || work(post));
            running.threads.push(thread.map_err(|error| StartError(format!("Failed to start worker {number}: {error}")))?);
            running.stops.push(stop);
        }
        Ok(running)
    }

    /// Waits for SIGTERM or SIGINT, then drains. A second signal ends the process at once.
    pub(crate) fn wait(self) -> ExitCode {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => {
                eprintln!("Failed to wait for signals: {error}");
                return ExitCode::FAILURE;
            }
        };
        runtime.block_on(async move {
            let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
            else {
                eprintln!("Failed to register for signals");
                return ExitCode::FAILURE;
            };
            either(&mut terminate, &mut interrupt).await;
            let stopped = tokio::task::spawn_blocking(move || self.stop());
            tokio::select! {
                _ = stopped => ExitCode::SUCCESS,
                () = either(&mut terminate, &mut interrupt) => std::process::exit(1),
            }
        })
    }

    /// Drains all workers and waits for them.
    pub(crate) fn stop(self) {
        tracing::info!("Draining connections");
        for stop in self.stops {
            let _gone = stop.send(self.grace); // fails only for a worker that has ended
        }
        for thread in self.threads {
            let _panicked = thread.join(); // reported by the panic hook
        }
        tracing::info!("Spooky shutdown complete");
    }
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}

/// The life of a worker thread.
fn work(post: Post) {
    if post.snapshot.config.performance.pin_workers {
        let cores = spooky_net::sys::affinity::allowed_cores();
        if let Some(core) = cores.get(usize::from(post.number) % cores.len().max(1))
            && let Err(error) = spooky_net::sys::affinity::pin(*core)
        {
            tracing::warn!("worker-{} could not be pinned to core {core}: {error}", post.number);
        }
    }
    let number = post.number;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    let result = runtime.and_then(|runtime| {
        let local = tokio::task::LocalSet::new();
        local.block_on(&runtime, async move {
            worker(post)?.run().await;
            Ok(())
        })
    });
    if let Err(error) = result {
        tracing::error!("worker-{number} cannot run: {error}");
    }
}

fn worker(post: Post) -> std::io::Result<Worker> {
    let mut transport = Transport::new(compile::transport(&post.snapshot.config, post.seed), Instant::now());
    let generation = Generation::new(post.snapshot, &mut transport);
    let exchanges = Exchanges::new(generation, Clock::new(post.seed), Instant::now());
    let mut listeners = Vec::new();
    for (socket, settings, port) in post.sockets {
        let edge = Edge::new(&settings).map_err(std::io::Error::other)?;
        listeners.push(Listener::new(AsyncUdp::new(socket)?, edge, port));
    }
    Worker::new(listeners, transport, exchanges, post.signals)
}
