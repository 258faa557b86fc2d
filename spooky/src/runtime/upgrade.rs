//! The order of an upgrade: start the new process, wait until it is ready, stop reading, let it go on.

use super::{service_manager, threads::Server};
use crate::{
    upgrade::{
        handover::Handover,
        message::{Inheritance, Ready},
        parent::{NewProcess, UpgradeError},
        previous::PreviousSockets,
    },
    worker::WorkerSetup,
};
use spooky_net::{forward, inherit::number, steer::ProcessNumber, sys::privileges::pass_on_retained};
use std::{fmt, io, os::fd::OwnedFd, sync::Arc, time::Duration};

/// Maximum time in which the new process must be ready.
const START_TIME: Duration = Duration::from_secs(60);
/// Maximum time that workers may take to stop reading. A worker takes one turn; one that hangs must not prevent the upgrade.
const HANDOVER_TIME: Duration = Duration::from_secs(5);

/// Why there was no upgrade.
enum Failure {
    Start(UpgradeError),
    Sockets(io::Error),
    Capabilities(io::Error),
    TooMany,
    /// The workers have left their sockets already.
    Lost(io::Error),
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => error.fmt(out),
            Self::Lost(error) => error.fmt(out),
            Self::Sockets(error) => write!(out, "no sockets for the datagrams of this process: {error}"),
            Self::Capabilities(error) => write!(out, "the capabilities kept for a reload cannot be passed on: {error}"),
            Self::TooMany => write!(out, "{} earlier processes still drain", ProcessNumber::COUNT - 1),
        }
    }
}

impl From<UpgradeError> for Failure {
    fn from(error: UpgradeError) -> Self {
        Self::Start(error)
    }
}

impl Server {
    /// Replaces this process by a new one. If that fails, this process serves on.
    pub(super) fn upgrade(&mut self) {
        tracing::info!("Upgrade: starting the new process");
        match self.try_upgrade() {
            Ok(process) => {
                tracing::info!("Upgrade complete: process {process} serves, this one drains");
                self.is_handed_over = true;
            }
            Err(Failure::Lost(error)) => {
                tracing::error!(
                    "Upgrade failed: the new process has ended when it took over, this one drains and exits with code 1: \
                     {error}"
                );
                service_manager::main_process(std::process::id());
                service_manager::stopping();
                (self.is_handed_over, self.is_successor_lost) = (true, true);
            }
            Err(Failure::Start(UpgradeError::Cancelled)) => {
                tracing::info!("Upgrade cancelled: this process was told to stop");
            }
            Err(error) => tracing::error!("Upgrade failed, this process serves on: {error}"),
        }
    }

    /// Returns the id of the new process.
    fn try_upgrade(&mut self) -> Result<u32, Failure> {
        let (own, receivers) = self.own_sockets().map_err(Failure::Sockets)?;
        let running = self.state.upgrade.previous.iter().filter(|previous| previous.is_running()).cloned();
        let previous: Vec<_> = running.chain([own]).collect();
        let numbers = (0..ProcessNumber::COUNT).map(ProcessNumber::new);
        // The next free one: a number that was used recently may still be in the ids of clients.
        let after = |number: &ProcessNumber| {
            number.get().wrapping_sub(self.state.upgrade.process.get() + 1) % ProcessNumber::COUNT
        };
        let mut free = numbers.filter(|number| previous.iter().all(|previous| previous.process != *number));
        let process = std::iter::from_fn(|| free.next()).min_by_key(after).ok_or(Failure::TooMany)?;
        let inheritance = Inheritance {
            layout: self.listeners.layout(),
            process,
            next_listener: self.listeners.next_number(),
            quic_keys: self.state.quic_keys.export().to_vec(),
            sockets: self.listeners.passed_sockets().into_iter().chain(self.passed_endpoints()).collect(),
            previous: previous
                .iter()
                .map(|sockets| (sockets.process, sockets.workers.iter().map(number).collect()))
                .collect(),
            restrictions: self.restrictions.clone(),
        };
        let mut started = self.start_with_privileges(&inheritance)?;
        let id = started.id();
        tracing::info!("Upgrade: process {id} was started");
        let ready = started.ready(START_TIME, &self.state.upgrade.is_cancelled)?;
        self.leave_sockets(receivers, ready);
        service_manager::main_process(id); // before the new process notifies, which it may only do as the main process
        started.go().map_err(Failure::Lost)?;
        self.leave_control_plane();
        Ok(id)
    }

    /// Starts the new process with the capabilities that were kept for it.
    fn start_with_privileges(&self, inheritance: &Inheritance) -> Result<NewProcess, Failure> {
        let is_kept = self.restrictions.has_dropped_root;
        let _passed = is_kept.then(pass_on_retained).transpose().map_err(Failure::Capabilities)?;
        Ok(NewProcess::start(inheritance)?)
    }

    /// Creates the sockets through which the new process passes datagrams on.
    fn own_sockets(&self) -> io::Result<(PreviousSockets, Vec<OwnedFd>)> {
        let (mut workers, mut receivers) = (Vec::new(), Vec::new());
        for _ in 0..self.state.workers {
            let (sender, receiver) = forward::pair()?;
            workers.push(Arc::new(sender));
            receivers.push(receiver);
        }
        Ok((PreviousSockets { process: self.state.upgrade.process, workers }, receivers))
    }

    /// Makes the workers stop reading and drain.
    fn leave_sockets(&self, receivers: Vec<OwnedFd>, ready: Ready) {
        let (handover, confirmations) = Handover::new(receivers, ready.taken);
        let handover = Arc::new(handover);
        let grace = self.snapshot.config.performance.shutdown_drain_timeout_ms;
        for worker in &self.workers {
            let setup =
                WorkerSetup { snapshot: self.snapshot.clone(), ingress: Vec::new(), handover: Some(handover.clone()) };
            worker.drain_with(Arc::new(setup), grace);
        }
        let missing = confirmations.missing_after(HANDOVER_TIME);
        if missing > 0 {
            tracing::warn!(
                "Upgrade: {missing} workers have not left their sockets after {} s",
                HANDOVER_TIME.as_secs()
            );
        }
    }
}
