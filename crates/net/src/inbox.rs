//! Inboxes forward packets that arrived at the socket of another worker to the worker that owns their connection.
//!
//! There is one bounded queue per worker. All other workers push to it and the owner pops in each turn. While every
//! packet arrives at the worker that [`crate::steer`] selects, the only cost is the owner's check for an empty queue.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use bytes::BytesMut;
use crossbeam_queue::SegQueue;

use crate::udp::Datagram;

/// Limits of one inbox. Further datagrams are dropped; QUIC retransmits their content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxLimits {
    /// Number of datagrams.
    pub datagrams: usize,
    /// Bytes of payload.
    pub bytes: usize,
}

/// The inboxes of all workers of a process.
#[derive(Debug)]
pub struct Inboxes(Box<[Inbox]>);

impl Inboxes {
    /// Creates empty inboxes. A single worker has none.
    pub fn new(workers: u16, limits: InboxLimits) -> Self {
        let workers = if workers > 1 { workers } else { 0 };
        Self((0..workers).map(|_| Inbox::new(limits)).collect())
    }

    /// Returns the inbox of a worker, unless it is closed.
    pub fn get(&self, worker: usize) -> Option<&Inbox> {
        self.0.get(worker).filter(|inbox| !inbox.closed.load(Relaxed))
    }

    /// Returns the number of bytes that wait in all inboxes.
    pub fn waiting_bytes(&self) -> usize {
        self.0.iter().map(|inbox| inbox.bytes.load(Relaxed)).sum()
    }

    /// Closes the inbox of a worker that has ended for good.
    pub fn close(&self, worker: usize) {
        if let Some(inbox) = self.0.get(worker) {
            inbox.closed.store(true, Relaxed);
        }
    }
}

/// The queue of datagrams for one worker.
#[derive(Debug)]
pub struct Inbox {
    waiting: SegQueue<(usize, Datagram)>,
    limits: InboxLimits,
    datagrams: AtomicUsize,
    bytes: AtomicUsize,
    dropped: AtomicU64,
    closed: AtomicBool,
    owner: AtomicWaker,
}

impl Inbox {
    fn new(limits: InboxLimits) -> Self {
        Self {
            waiting: SegQueue::new(),
            limits,
            datagrams: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            dropped: AtomicU64::new(0),
            closed: AtomicBool::new(false),
            owner: AtomicWaker::new(),
        }
    }

    /// Pushes a datagram of a listener and wakes the owner. Returns false if the inbox is full and has dropped it.
    ///
    /// The payload is copied, because it is a slice of a larger buffer, which it would keep alive.
    pub fn push(&self, listener: usize, datagram: &Datagram) -> bool {
        let length = datagram.data.len();
        let datagrams = self.datagrams.fetch_add(1, Relaxed);
        let bytes = self.bytes.fetch_add(length, Relaxed);
        if datagrams >= self.limits.datagrams || bytes.saturating_add(length) > self.limits.bytes {
            self.uncount(length);
            self.dropped.fetch_add(1, Relaxed);
            return false;
        }
        let data = BytesMut::from(&*datagram.data);
        self.waiting.push((listener, Datagram { data, ..*datagram }));
        self.owner.wake();
        true
    }

    /// Registers the owner's waker for later pushes. The owner must pop what was pushed before.
    pub fn register_waker(&self, owner: &Waker) {
        self.owner.register(owner);
    }

    /// Pops the oldest datagram, with the number of its listener.
    pub fn pop(&self) -> Option<(usize, Datagram)> {
        if self.waiting.is_empty() {
            return None;
        }
        let (listener, datagram) = self.waiting.pop()?;
        self.uncount(datagram.data.len());
        Some((listener, datagram))
    }

    /// Returns the number of datagrams dropped since the last call.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Relaxed)
    }

    fn uncount(&self, length: usize) {
        self.datagrams.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(length, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    const LIMITS: InboxLimits = InboxLimits { datagrams: 3, bytes: 1000 };

    fn datagram(content: &[u8]) -> Datagram {
        let remote = ([127, 0, 0, 1], 4433).into();
        Datagram { remote, local_ip: None, ecn: Some(2), stride: content.len(), data: BytesMut::from(content) }
    }

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn datagrams_are_popped_unchanged_and_in_order() {
        let inboxes = Inboxes::new(2, LIMITS);
        let inbox = inboxes.get(1).unwrap();
        assert!(inbox.pop().is_none());
        assert!(inbox.push(4, &datagram(b"one")));
        assert!(inbox.push(0, &datagram(b"two")));
        let (listener, one) = inbox.pop().unwrap();
        assert_eq!((listener, &*one.data, one.ecn, one.remote.port()), (4, &b"one"[..], Some(2), 4433));
        assert_eq!(&*inbox.pop().unwrap().1.data, b"two");
        assert!(inbox.pop().is_none() && inboxes.get(0).unwrap().pop().is_none());
    }

    #[test]
    fn a_full_inbox_drops_and_counts_and_accepts_again() {
        let inboxes = Inboxes::new(2, LIMITS);
        let inbox = inboxes.get(0).unwrap();
        let pushed = [(); 5].map(|()| inbox.push(0, &datagram(b"few")));
        assert_eq!(pushed, [true, true, true, false, false]);
        assert_eq!((inbox.take_dropped(), inbox.take_dropped()), (2, 0), "too many");
        while inbox.pop().is_some() {}
        inbox.push(0, &datagram(&[1; 600]));
        inbox.push(0, &datagram(&[2; 600]));
        inbox.push(0, &datagram(&[3; 400]));
        assert_eq!(inbox.take_dropped(), 1, "too large");
        assert_eq!((inbox.pop().unwrap().1.data[0], inbox.pop().unwrap().1.data[0]), (1, 3));
        inbox.push(0, &datagram(&[4; 1000]));
        assert_eq!((inbox.take_dropped(), inbox.pop().unwrap().1.data.len()), (0, 1000));
    }

    #[test]
    fn the_owner_is_woken_once_for_all_pushes_before_it_registers_again() {
        let inboxes = Inboxes::new(2, LIMITS);
        let (inbox, count) = (inboxes.get(0).unwrap(), Arc::new(Count::default()));
        inbox.register_waker(&count.clone().into());
        assert!(inbox.push(0, &datagram(b"a")));
        assert!(inbox.push(0, &datagram(b"b")));
        assert_eq!(count.0.load(Relaxed), 1);
        inbox.register_waker(&count.clone().into());
        assert!(inbox.push(0, &datagram(b"c")));
        assert_eq!(count.0.load(Relaxed), 2);
    }

    #[test]
    fn a_single_worker_and_an_ended_one_have_no_inbox() {
        assert!(Inboxes::new(1, LIMITS).get(0).is_none());
        let inboxes = Inboxes::new(2, LIMITS);
        inboxes.close(1);
        assert!(inboxes.get(0).is_some() && inboxes.get(1).is_none() && inboxes.get(2).is_none());
    }

    #[test]
    fn many_writers_lose_nothing_below_the_limit() {
        const EACH: usize = 500;
        let inboxes = Inboxes::new(4, InboxLimits { datagrams: 3 * EACH, bytes: 3 * EACH });
        let inbox = inboxes.get(3).unwrap();
        let taken = std::thread::scope(|scope| {
            for writer in 0..3 {
                scope.spawn(move || (0..EACH).for_each(|_| assert!(inbox.push(writer, &datagram(&[writer as u8])))));
            }
            let mut taken = [0; 3];
            while taken.iter().sum::<usize>() < 3 * EACH {
                match inbox.pop() {
                    Some((writer, _)) => taken[writer] += 1,
                    None => std::thread::yield_now(),
                }
            }
            taken
        });
        assert_eq!((taken, inbox.take_dropped()), ([EACH; 3], 0));
        assert_eq!((inbox.datagrams.load(Relaxed), inbox.bytes.load(Relaxed)), (0, 0));
    }
}
