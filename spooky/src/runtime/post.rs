//! The life of one worker thread: its runtime, its worker, and another worker if that panics.

use super::{Stop, compile};
use crate::{
    exchange::{Clock, Exchanges},
    generation::Generation,
    snapshot::Snapshot,
    worker::{Listener, Worker},
};
use spooky_edge::{Edge, EdgeSettings};
use spooky_net::{
    inbox::Inboxes,
    steer::Sorter,
    sys::affinity,
    udp::{AsyncUdp, UdpOptions, UdpSocket},
};
use spooky_transport::Transport;
use std::{
    io,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};
use tokio::runtime::Builder;

/// A listener's socket for one worker.
pub(super) struct Ingress {
    /// Outlives the worker that reads from it, so that its successor can.
    pub(super) socket: OwnedFd,
    pub(super) settings: EdgeSettings,
    pub(super) port: u16,
    pub(super) sorter: Sorter,
    /// `tls.client_auth.subject_header`, in lower case.
    pub(super) subject_header: Option<Arc<str>>,
}

/// What a worker thread is given at its start.
pub(super) struct Post {
    pub(super) ingress: Vec<Ingress>,
    pub(super) snapshot: Arc<Snapshot>,
    pub(super) stop: Arc<Stop>,
    pub(super) inboxes: Arc<Inboxes>,
    pub(super) number: u16,
    pub(super) seed: u64,
}

impl Post {
    /// Runs workers, one after another, until one has drained.
    pub(super) fn work(self) {
        self.pin();
        loop {
            // What a panic leaves behind is dropped with the worker; only counters and health are shared, and those are atomic.
            match catch_unwind(AssertUnwindSafe(|| self.live())) {
                Ok(Ok(())) => break,
                Ok(Err(error)) => break tracing::error!("worker-{} cannot run: {error}", self.number),
                Err(_) => tracing::error!("worker-{} is replaced after a panic; its connections are lost", self.number),
            }
        }
        self.inboxes.close(usize::from(self.number));
    }

    fn pin(&self) {
        if !self.snapshot.config.performance.pin_workers {
            return;
        }
        let cores = affinity::allowed_cores();
        if let Some(core) = cores.get(usize::from(self.number) % cores.len().max(1))
            && let Err(error) = affinity::pin(*core)
        {
            tracing::warn!("worker-{} could not be pinned to core {core}: {error}", self.number);
        }
    }

    fn live(&self) -> io::Result<()> {
        let runtime = Builder::new_current_thread().enable_io().enable_time().build()?;
        runtime.block_on(async {
            self.worker()?.run().await;
            Ok(())
        })
    }

    fn worker(&self) -> io::Result<Worker> {
        let config = &self.snapshot.config;
        let mut transport = Transport::new(compile::transport(config, self.seed), Instant::now());
        let generation = Generation::new(self.snapshot.clone(), &mut transport, usize::from(self.number));
        let clock = Clock::new(self.seed);
        let exchanges = Exchanges::new(generation, clock, usize::from(self.number), Instant::now());
        let options = UdpOptions {
            recv_buffer: config.performance.udp_recv_buffer_bytes as usize,
            send_buffer: config.performance.udp_send_buffer_bytes as usize,
            reuseport: false, // it is bound already
        };
        let mut listeners = Vec::new();
        for ingress in &self.ingress {
            let socket = UdpSocket::adopt(ingress.socket.try_clone()?, &options)?;
            let edge = Edge::new(&ingress.settings).map_err(io::Error::other)?;
            let (sorter, subject_header) = (ingress.sorter.clone(), ingress.subject_header.clone());
            listeners.push(Listener::new(AsyncUdp::new(socket)?, edge, ingress.port, sorter, subject_header));
        }
        let (stop, inboxes) = (self.stop.clone(), self.inboxes.clone());
        Worker::new(listeners, transport, exchanges, stop, inboxes, usize::from(self.number))
    }
}
