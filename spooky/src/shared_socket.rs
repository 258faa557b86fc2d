//! UDP sockets that several workers share: with `packet_shards_per_worker`, and if the service manager passes fewer sockets than
//! there are workers.
//!
//! One of these workers reads, so that the packets of a connection stay in order, and passes packets on to their owners
//! (`spooky_net::steer`). All of them send. When the reader ends, another one takes its place.

use atomic_waker::AtomicWaker;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Context,
};

/// Which workers read the sockets of a listener. Worker `w` uses socket `w % sockets`.
pub(crate) struct SocketReaders {
    /// Whether a worker reads, by socket.
    is_read: Box<[AtomicBool]>,
    /// The workers that wait for their socket, by worker.
    waiting: Box<[AtomicWaker]>,
}

impl SocketReaders {
    /// Returns `None` if each worker has a socket of its own.
    pub(crate) fn new(sockets: usize, workers: u16) -> Option<Arc<Self>> {
        let waiting: Box<[_]> = (0..workers).map(|_| AtomicWaker::new()).collect();
        let is_read = (0..sockets).map(|_| AtomicBool::new(false)).collect();
        (sockets < waiting.len()).then(|| Arc::new(Self { is_read, waiting }))
    }

    fn socket_of(&self, worker: usize) -> usize {
        worker % self.is_read.len().max(1)
    }

    fn try_claim(&self, worker: usize) -> bool {
        let is_read = self.is_read.get(self.socket_of(worker));
        is_read.is_some_and(|is_read| !is_read.load(Ordering::Relaxed) && !is_read.swap(true, Ordering::AcqRel))
    }

    fn release(&self, worker: usize) {
        if let Some(is_read) = self.is_read.get(self.socket_of(worker)) {
            is_read.store(false, Ordering::Release);
        }
    }

    fn wake(&self, reader: usize) {
        let socket = self.socket_of(reader);
        let waiting = self.waiting.iter().enumerate().filter(|(worker, _)| self.socket_of(*worker) == socket);
        waiting.for_each(|(_, waker)| waker.wake());
    }
}

/// The part of one worker in a shared socket. Dropping it lets another worker read.
pub(crate) struct SharedSocket {
    readers: Arc<SocketReaders>,
    worker: usize,
    is_reader: bool,
}

impl SharedSocket {
    pub(crate) fn new(readers: Arc<SocketReaders>, worker: u16) -> Self {
        Self { readers, worker: usize::from(worker), is_reader: false }
    }

    /// Whether this worker reads the socket.
    pub(crate) fn is_reader(&self) -> bool {
        self.is_reader
    }

    /// Makes this worker the reader, unless there is one. Then the task is woken when that one has ended.
    pub(crate) fn claim(&mut self, cx: &Context<'_>) -> bool {
        if let Some(waiting) = self.readers.waiting.get(self.worker) {
            waiting.register(cx.waker());
        }
        self.is_reader = self.readers.try_claim(self.worker);
        self.is_reader
    }

    /// Gives the place back without waking others: this worker could not read, and tries again.
    pub(crate) fn put_back(&mut self) {
        self.is_reader = false;
        self.readers.release(self.worker);
    }
}

impl Drop for SharedSocket {
    fn drop(&mut self) {
        if self.is_reader {
            self.readers.release(self.worker);
            self.readers.wake(self.worker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::atomic::AtomicUsize,
        task::{Wake, Waker},
    };

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_socket_is_shared_if_there_are_more_workers() {
        for (sockets, workers, is_shared) in [(1, 1, false), (2, 2, false), (1, 2, true), (2, 4, true), (2, 3, true)] {
            assert_eq!(SocketReaders::new(sockets, workers).is_some(), is_shared, "{sockets} {workers}");
        }
    }

    #[test]
    fn one_worker_of_each_socket_reads_and_the_next_is_woken_when_it_ends() {
        let readers = SocketReaders::new(2, 5).unwrap();
        let counts: [Arc<Count>; 5] = Default::default();
        let wakers = counts.clone().map(Waker::from);
        let claim = |shared: &mut SharedSocket| shared.claim(&Context::from_waker(&wakers[shared.worker]));
        let mut shared: Vec<_> = (0..5).map(|worker| SharedSocket::new(readers.clone(), worker)).collect();
        assert_eq!([4, 0, 1, 2, 3].map(|worker| claim(&mut shared[worker])), [true, false, true, false, false]);
        assert!(shared[4].is_reader() && !shared[0].is_reader());
        shared.pop();
        let woken = counts.each_ref().map(|count| count.0.load(Ordering::Relaxed));
        assert_eq!([woken[0], woken[1], woken[2], woken[3]], [1, 0, 1, 0], "those of the same socket");
        assert!(claim(&mut shared[2]) && !claim(&mut shared[0]));
        shared[2].put_back();
        assert!(claim(&mut shared[0]) && !claim(&mut shared[2]), "it was free again");
        drop(shared.pop());
        assert_eq!(counts[1].0.load(Ordering::Relaxed), 0, "who does not read frees nothing");
    }
}
