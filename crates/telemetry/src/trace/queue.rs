//! The queues between the workers and the exporter: one for each worker, bounded and lock-free.

use super::RequestTrace;
use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;
use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    task::{Context, Poll},
};

/// Requests that wait in the queue of a worker. The spans of further ones are dropped and counted.
const CAPACITY: usize = 1024;
/// The exporter is woken when so many wait; else it looks by itself.
const WAKE_AT: usize = CAPACITY / 2;

/// The queues of all workers.
#[derive(Debug, Default)]
pub struct SpanQueues {
    queues: Box<[ArrayQueue<Box<RequestTrace>>]>,
    exporter: AtomicWaker,
    exported: AtomicU64,
    dropped: AtomicU64,
}

impl SpanQueues {
    /// Creates empty queues. Without workers, everything is dropped.
    pub fn new(workers: u16) -> Self {
        Self { queues: (0..workers).map(|_| ArrayQueue::new(CAPACITY)).collect(), ..Self::default() }
    }

    /// Adds a request of a worker, or drops and counts its spans.
    pub fn push(&self, worker: usize, request: RequestTrace) {
        let spans = request.spans();
        let Some(queue) = self.queues.get(worker) else { return self.on_dropped(spans) };
        if queue.push(Box::new(request)).is_err() {
            self.on_dropped(spans);
        }
        if queue.len() >= WAKE_AT {
            self.exporter.wake();
        }
    }

    /// Returns the number of spans that a collector has taken.
    pub fn exported(&self) -> u64 {
        self.exported.load(Relaxed)
    }

    /// Returns the number of spans that were dropped because a queue was full or because the collector did not take them.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Relaxed)
    }

    /// Returns whether no request waits.
    pub fn is_empty(&self) -> bool {
        self.queues.iter().all(ArrayQueue::is_empty)
    }

    pub(super) fn on_exported(&self, spans: usize) {
        self.exported.fetch_add(spans as u64, Relaxed);
    }

    pub(super) fn on_dropped(&self, spans: usize) {
        self.dropped.fetch_add(spans as u64, Relaxed);
    }

    /// Takes requests with at least `spans` spans together, if there are so many. No queue is preferred.
    pub(super) fn take(&self, spans: usize) -> Vec<RequestTrace> {
        let (mut taken, mut count) = (Vec::new(), 0);
        while count < spans {
            let before = taken.len();
            taken.extend(self.queues.iter().filter_map(|queue| Some(*queue.pop()?)));
            let Some(more) = taken.get(before..).filter(|more| !more.is_empty()) else { break };
            count += more.iter().map(RequestTrace::spans).sum::<usize>();
        }
        taken
    }

    /// Waits until a queue is half full.
    pub(super) fn poll_half_full(&self, cx: &Context<'_>) -> Poll<()> {
        self.exporter.register(cx.waker());
        if self.queues.iter().any(|queue| queue.len() >= WAKE_AT) { Poll::Ready(()) } else { Poll::Pending }
    }
}
