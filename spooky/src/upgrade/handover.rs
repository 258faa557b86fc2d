//! The order to the workers of the old process: leave these sockets to the new process, and receive what it passes on.

use super::message::SocketRole;
use spooky_net::forward::ForwardReceiver;
use std::{
    io,
    os::fd::OwnedFd,
    sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel},
    time::{Duration, Instant},
};

/// Shared by all workers.
#[derive(Debug)]
pub(crate) struct Handover {
    /// One for each worker. Kept, so that a worker that replaces a panicked one can go on.
    receivers: Vec<OwnedFd>,
    /// The sockets that the new process serves, by the number of the listener.
    taken: Vec<(usize, SocketRole)>,
    confirm: Sender<()>,
}

impl Handover {
    /// Creates the order, and what waits until the workers have carried it out.
    pub(crate) fn new(receivers: Vec<OwnedFd>, taken: Vec<(usize, SocketRole)>) -> (Self, Confirmations) {
        let expected = receivers.len();
        let (confirm, confirmed) = channel();
        (Self { receivers, taken, confirm }, Confirmations { expected, confirmed })
    }

    /// Returns whether the new process serves this socket.
    pub(crate) fn takes(&self, listener: usize, role: SocketRole) -> bool {
        self.taken.contains(&(listener, role))
    }

    /// Opens the receiver of a worker. Must be called within its runtime.
    pub(crate) fn receiver(&self, worker: usize) -> io::Result<ForwardReceiver> {
        let socket = self.receivers.get(worker).ok_or(io::ErrorKind::NotFound)?;
        ForwardReceiver::new(socket.try_clone()?)
    }

    /// Says that a worker reads none of the sockets any more.
    pub(crate) fn confirm(&self) {
        let _late = self.confirm.send(());
    }
}

/// Waits for the workers.
pub(crate) struct Confirmations {
    expected: usize,
    confirmed: Receiver<()>,
}

impl Confirmations {
    /// Blocks until all workers have confirmed, at most for `limit`. Returns the number of those that have not.
    pub(crate) fn missing_after(self, limit: Duration) -> usize {
        let until = Instant::now() + limit;
        for confirmed in 0..self.expected {
            match self.confirmed.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(()) => {}
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return self.expected - confirmed,
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_workers_are_awaited_and_missing_ones_counted() {
        let socket = || spooky_net::forward::pair().unwrap().1;
        let (handover, confirmations) = Handover::new(vec![socket(), socket()], vec![(3, SocketRole::Tcp)]);
        assert!(handover.takes(3, SocketRole::Tcp));
        assert!(!handover.takes(3, SocketRole::Udp) && !handover.takes(2, SocketRole::Tcp));
        handover.confirm();
        handover.confirm();
        assert_eq!(confirmations.missing_after(Duration::from_secs(30)), 0);
        let (handover, confirmations) = Handover::new(vec![socket(), socket()], Vec::new());
        handover.confirm();
        assert_eq!(confirmations.missing_after(Duration::from_millis(1)), 1);
    }
}
