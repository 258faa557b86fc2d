//! Inboxes: how a worker gets the packets of its connections that arrived at another worker's socket.
//!
//! One bounded queue per worker, filled by all others and emptied by its owner in its turn. Nothing here is touched as
//! long as every packet arrives where [`crate::steer`] says, but for the owner's look whether there is something.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::task::Waker;

use atomic_waker::AtomicWaker;
use bytes::BytesMut;
use crossbeam_queue::SegQueue;

use crate::udp::Datagram;

/// How much may wait in one inbox. What comes on top is dropped: QUIC sends it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxLimits {
    /// Datagrams.
    pub datagrams: usize,
    /// Bytes of payload in them.
    pub bytes: usize,
}

/// The inboxes of all workers of a process.
#[derive(Debug)]
pub struct Inboxes(Box<[Inbox]>);

impl Inboxes {
    /// Empty inboxes. A worker that is alone has none.
    pub fn new(workers: u16, limits: InboxLimits) -> Self {
        let workers = if workers > 1 { workers } else { 0 };
        Self((0..workers).map(|_| Inbox::new(limits)).collect())
    }

    /// The inbox of a worker, if somebody still reads it.
    pub fn of(&self, worker: usize) -> Option<&Inbox> {
        self.0.get(worker).filter(|inbox| !inbox.closed.load(Relaxed))
    }

    /// The worker has ended for good: nobody shall write to it any more.
    pub fn close(&self, worker: usize) {
        if let Some(inbox) = self.0.get(worker) {
            inbox.closed.store(true, Relaxed);
        }
    }
}

/// What other workers have for one worker.
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

    /// Puts a datagram of a listener in and wakes the owner. A full inbox drops it, and counts that.
    ///
    /// The payload is copied: it is a piece of a larger buffer, which would otherwise live as long as it waits.
    pub fn put(&self, listener: usize, datagram: &Datagram) {
        let length = datagram.data.len();
        let datagrams = self.datagrams.fetch_add(1, Relaxed);
        let bytes = self.bytes.fetch_add(length, Relaxed);
        if datagrams >= self.limits.datagrams || bytes.saturating_add(length) > self.limits.bytes {
            self.leave(length);
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        let data = BytesMut::from(&*datagram.data);
        self.waiting.push((listener, Datagram { data, ..*datagram }));
        self.owner.wake();
    }

    /// The owner's waker is called for what is put in from now on; what came before is there to be taken.
    pub fn listen(&self, owner: &Waker) {
        self.owner.register(owner);
    }

    /// Takes the oldest datagram, with the number of its listener.
    pub fn take(&self) -> Option<(usize, Datagram)> {
        if self.waiting.is_empty() {
            return None;
        }
        let (listener, datagram) = self.waiting.pop()?;
        self.leave(datagram.data.len());
        Some((listener, datagram))
    }

    /// How many datagrams were dropped since the last call.
    pub fn take_dropped(&self) -> u64 {
        self.dropped.swap(0, Relaxed)
    }

    fn leave(&self, length: usize) {
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
    fn what_is_put_in_comes_out_whole_and_in_order() {
        let inboxes = Inboxes::new(2, LIMITS);
        let inbox = inboxes.of(1).unwrap();
        assert!(inbox.take().is_none());
        inbox.put(4, &datagram(b"one"));
        inbox.put(0, &datagram(b"two"));
        let (listener, one) = inbox.take().unwrap();
        assert_eq!((listener, &*one.data, one.ecn, one.remote.port()), (4, &b"one"[..], Some(2), 4433));
        assert_eq!(&*inbox.take().unwrap().1.data, b"two");
        assert!(inbox.take().is_none() && inboxes.of(0).unwrap().take().is_none());
    }

    #[test]
    fn a_full_inbox_drops_and_counts_and_has_room_again() {
        let inboxes = Inboxes::new(2, LIMITS);
        let inbox = inboxes.of(0).unwrap();
        for _ in 0..5 {
            inbox.put(0, &datagram(b"few"));
        }
        assert_eq!((inbox.take_dropped(), inbox.take_dropped()), (2, 0), "too many");
        while inbox.take().is_some() {}
        inbox.put(0, &datagram(&[1; 600]));
        inbox.put(0, &datagram(&[2; 600]));
        inbox.put(0, &datagram(&[3; 400]));
        assert_eq!(inbox.take_dropped(), 1, "too large");
        assert_eq!((inbox.take().unwrap().1.data[0], inbox.take().unwrap().1.data[0]), (1, 3));
        inbox.put(0, &datagram(&[4; 1000]));
        assert_eq!((inbox.take_dropped(), inbox.take().unwrap().1.data.len()), (0, 1000));
    }

    #[test]
    fn the_owner_is_woken_once_for_all_that_comes_before_it_looks() {
        let inboxes = Inboxes::new(2, LIMITS);
        let (inbox, count) = (inboxes.of(0).unwrap(), Arc::new(Count::default()));
        inbox.listen(&count.clone().into());
        inbox.put(0, &datagram(b"a"));
        inbox.put(0, &datagram(b"b"));
        assert_eq!(count.0.load(Relaxed), 1);
        inbox.listen(&count.clone().into());
        inbox.put(0, &datagram(b"c"));
        assert_eq!(count.0.load(Relaxed), 2);
    }

    #[test]
    fn a_worker_alone_and_one_that_has_ended_have_none() {
        assert!(Inboxes::new(1, LIMITS).of(0).is_none());
        let inboxes = Inboxes::new(2, LIMITS);
        inboxes.close(1);
        assert!(inboxes.of(0).is_some() && inboxes.of(1).is_none() && inboxes.of(2).is_none());
    }

    #[test]
    fn many_writers_lose_nothing_below_the_limit() {
        const EACH: usize = 500;
        let inboxes = Inboxes::new(4, InboxLimits { datagrams: 3 * EACH, bytes: 3 * EACH });
        let inbox = inboxes.of(3).unwrap();
        let taken = std::thread::scope(|scope| {
            for writer in 0..3 {
                scope.spawn(move || (0..EACH).for_each(|_| inbox.put(writer, &datagram(&[writer as u8]))));
            }
            let mut taken = [0; 3];
            while taken.iter().sum::<usize>() < 3 * EACH {
                match inbox.take() {
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
