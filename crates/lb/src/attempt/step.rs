//! The words between the exchange and [`super::Attempts`]: what it is given, what it answers, what it has done so far.
//!
//! Plain data; `plan` makes it, the exchange reads it.

use super::hedge::HedgeResult;
use crate::outcome::Reason;
use crate::rng::Rng;
use crate::time::Nanos;
use crate::upstream::Upstream;

/// What every input needs: the moment, the upstream as this worker sees it, and chance.
#[derive(Debug)]
pub struct Cx<'a> {
    /// The time of the event.
    pub now: Nanos,
    /// The upstream that the request was routed to, of the snapshot it began with.
    pub upstream: &'a mut Upstream,
    /// The worker's random source.
    pub rng: &'a mut Rng,
}

/// Names one running attempt of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId(pub(super) u8);

impl SlotId {
    /// The first attempt, and any retry of it.
    pub const FIRST: Self = Self(0);
    /// Both slots.
    pub const ALL: [Self; 2] = [Self(0), Self(1)];

    /// 0 or 1, for indexing.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What the exchange does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the request to this backend and name the attempt by its slot.
    Start {
        /// The attempt.
        slot: SlotId,
        /// Index of the backend in the pool.
        backend: usize,
    },
    /// Send the same request again to the same backend, on another connection. It is no new attempt.
    Resend {
        /// The attempt, which goes on.
        slot: SlotId,
        /// Index of the backend in the pool.
        backend: usize,
    },
    /// As `Start`, beside the attempt that runs: without body, and without ending the other.
    Hedge {
        /// The second attempt.
        slot: SlotId,
        /// Index of the backend in the pool.
        backend: usize,
    },
    /// Reset this attempt's stream, then call [`super::Attempts::next`].
    Cancel {
        /// The attempt, which is over.
        slot: SlotId,
    },
    /// All usable backends are at their limit: wait in the upstream's queue, then call [`super::Attempts::on_start`] again.
    Full,
    /// Some backends have room, but the client's connection holds its share of each of them: wait as after `Full`, without
    /// holding up others.
    ClientFull,
    /// Nothing, until an event or [`super::Attempts::timer`].
    Wait,
    /// Answer the client with this; no attempt is running any more.
    Answer(Reason),
    /// Nothing more: the response of the winner goes to the client.
    Done,
}

/// What happened so far, for log and metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Attempts started, the first one, retries and hedges.
    pub attempts: u32,
    /// Attempts started after a failure.
    pub retries: u32,
    /// Whether a hedge was started.
    pub hedged: bool,
    /// What became of the hedge, once response headers came.
    pub hedge: Option<HedgeResult>,
    /// Why the last further attempt that the failure would have allowed did not start.
    pub denied: Option<Denied>,
}

/// Why a further attempt did not start (`spooky_retry_denied_total`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The retry budget is used up.
    Budget,
    /// The body was partly sent and is gone.
    Body,
    /// No other backend can take it.
    NoAlternate,
}

impl Denied {
    /// The `reason` label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Body => "no_bodyless",
            Self::NoAlternate => "no_alternate",
        }
    }
}
