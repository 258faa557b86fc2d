//! Input and output of [`super::Attempts`]. Data only.

use crate::outcome::Reason;
use crate::rng::Rng;
use crate::time::Nanos;
use crate::upstream::Upstream;

/// Context of every event.
#[derive(Debug)]
pub struct Cx<'a> {
    /// The time of the event.
    pub now: Nanos,
    /// The request's upstream, of the snapshot that it began with.
    pub upstream: &'a mut Upstream,
    /// The worker's random number generator.
    pub rng: &'a mut Rng,
}

/// Slot of a running attempt. A retry runs in the slot of the attempt that it follows or in the other one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId(pub(super) u8);

impl SlotId {
    /// Slot of the first attempt.
    pub const FIRST: Self = Self(0);
    /// Both slots.
    pub const ALL: [Self; 2] = [Self(0), Self(1)];

    /// Index in [`SlotId::ALL`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// What the exchange must do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send the request to this backend.
    Start {
        /// Slot of the new attempt.
        slot: SlotId,
        /// Index of the backend in the pool.
        backend: usize,
    },
    /// Send the request of a running attempt again, to the same backend on another connection.
    Resend {
        /// Slot of the attempt.
        slot: SlotId,
        /// Index of the backend in the pool.
        backend: usize,
    },
    /// Start a second attempt, without body, in parallel to the running one.
    Hedge {
        /// Slot of the second attempt.
        slot: SlotId,
        /// Index of the backend in the pool.
        backend: usize,
    },
    /// Reset the stream of this attempt, then call [`super::Attempts::next`].
    Cancel {
        /// Slot of the ended attempt.
        slot: SlotId,
    },
    /// All usable backends are at their limit: wait in the queue, then call [`super::Attempts::on_start`] again.
    Full,
    /// Some backends have capacity, but the client's connection holds its share of each of them: wait as after `Full`, without
    /// blocking other requests.
    ClientFull,
    /// Do nothing until an event or [`super::Attempts::timer`].
    Wait,
    /// Answer the client with this; no attempt is running.
    Answer(Reason),
    /// Do nothing: the response head was received, and no other attempt is running.
    Done,
}
