//! What an exchange remembers for the record of its request: who asked, when each step happened, how many bytes passed.

use super::trace::{AttemptSpan, Trace};
use crate::snapshot::HostPolicy;
use spooky_bridge::message::{Protocol, RequestHead};
use spooky_lb::{attempt::SlotId, time::Nanos};
use std::{net::SocketAddr, time::Duration};

/// Who sent a request, and when its head arrived.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrival {
    pub(super) protocol: Protocol,
    pub(super) peer: SocketAddr,
    pub(super) at: Nanos,
    pub(super) trace: Option<Trace>,
}

/// The answer that Spooky has sent: its status, and the length of its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct LocalAnswer {
    pub(super) status: u16,
    pub(super) length: u64,
}

pub(super) struct Timeline {
    pub(super) arrival: Arrival,
    /// Time spent in queues that the request has left.
    queue: Duration,
    /// When it entered the queue in which it is.
    queued_at: Option<Nanos>,
    /// Connect time and response time of the attempt that has answered.
    answered: Option<(Duration, Duration)>,
    head_sent: Option<Nanos>,
    /// Body bytes that the client's connection has taken.
    bytes_out: u64,
    /// Spans of the attempts; none if the request is not sampled.
    pub(super) spans: Vec<AttemptSpan>,
    /// The backend of the last attempt.
    backend: Option<usize>,
    /// Slot and start of the hedge.
    hedge: Option<(SlotId, Nanos)>,
    /// The authority that the client asked for, if backends get another one.
    host: Option<Box<[u8]>>,
}

impl Timeline {
    /// Starts the timeline of a request that was admitted or is in the queue.
    pub(super) fn new(arrival: Arrival, head: &RequestHead, policy: &HostPolicy, is_queued: bool) -> Self {
        let is_kept = matches!(policy, HostPolicy::PassThrough);
        Self {
            arrival,
            queue: Duration::ZERO,
            queued_at: is_queued.then_some(arrival.at),
            answered: None,
            head_sent: None,
            bytes_out: 0,
            spans: Vec::new(),
            backend: None,
            hedge: None,
            host: (!is_kept).then(|| head.authority().into()),
        }
    }

    pub(super) fn on_queued(&mut self, now: Nanos) {
        self.queued_at.get_or_insert(now);
    }

    pub(super) fn on_unqueued(&mut self, now: Nanos) {
        self.queue += self.queued_at.take().map_or(Duration::ZERO, |since| now - since);
    }

    pub(super) fn on_attempt(&mut self, backend: usize) {
        self.backend = Some(backend);
    }

    pub(super) fn on_hedge(&mut self, slot: SlotId, now: Nanos) {
        self.hedge = Some((slot, now));
    }

    /// Returns connect time and response time of the attempt that has answered.
    pub(super) fn answered(&self) -> Option<(Duration, Duration)> {
        self.answered
    }

    /// Returns the time from the request head to the response head.
    pub(super) fn first_byte(&self) -> Option<Duration> {
        self.head_sent.map(|sent| sent - self.arrival.at)
    }

    pub(super) fn bytes_out(&self) -> u64 {
        self.bytes_out
    }

    /// Returns the backend of the last attempt.
    pub(super) fn backend(&self) -> Option<usize> {
        self.backend
    }

    /// Returns the authority that the client asked for, if backends got another one.
    pub(super) fn host(&self) -> Option<&[u8]> {
        self.host.as_deref()
    }

    /// Returns the slot and the start of the hedge, if there was one.
    pub(super) fn hedge(&self) -> Option<(SlotId, Nanos)> {
        self.hedge
    }

    /// Notes that the response head was sent to the client.
    pub(super) fn on_head(&mut self, backend: Option<usize>, times: Option<(Duration, Duration)>, now: Nanos) {
        self.backend = backend.or(self.backend);
        (self.answered, self.head_sent) = (times, Some(now));
    }

    /// Notes body bytes that the client's connection has taken.
    pub(super) fn on_taken(&mut self, bytes: usize) {
        self.bytes_out += bytes as u64;
    }

    /// Returns the time in queues until `now`.
    pub(super) fn queue(&self, now: Nanos) -> Duration {
        self.queue + self.queued_at.map_or(Duration::ZERO, |since| now - since)
    }
}
