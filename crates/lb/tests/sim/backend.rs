//! How the simulated backends behave, and how that changes.

use spooky_lb::attempt::{ErrorCode, FailureKind};
use spooky_lb::rng::Rng;

/// What a backend does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Answers within some milliseconds.
    Fast,
    /// Answers late, often too late.
    Slow,
    /// Refuses connections.
    Refusing,
    /// Takes connections and never answers.
    Mute,
    /// No packet comes back.
    BlackHole,
    /// Resets streams.
    Resetting,
    /// Answers 503.
    Erroring,
    /// Resets after the response headers.
    Truncating,
    /// Closes connections before processing.
    Closing,
    /// Objects to requests.
    Rejecting,
    /// Breaks connections.
    Breaking,
}

/// What will come of one attempt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fate {
    /// Response headers after so many milliseconds, then a body of so many; broken off at its end or complete.
    Head { after: u64, status: u16, body: u64, broken: bool },
    /// A failure after so many milliseconds, before or after the request head left.
    Fail { after: u64, kind: FailureKind, sent: bool },
    /// Nothing, ever; the request head left.
    Silence,
}

impl Behaviour {
    /// A behaviour, healthy more often than not.
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        match rng.below(24) {
            0 | 1 => Self::Slow,
            2 => Self::Refusing,
            3 => Self::Mute,
            4 => Self::BlackHole,
            5 => Self::Resetting,
            6 => Self::Erroring,
            7 => Self::Truncating,
            8 => Self::Closing,
            9 => Self::Rejecting,
            10 => Self::Breaking,
            _ => Self::Fast,
        }
    }

    /// What becomes of an attempt that starts now.
    pub(crate) fn fate(self, rng: &mut Rng) -> Fate {
        let quick = 1 + rng.below(20);
        let body = if rng.below(100) < 5 { rng.below(5000) } else { rng.below(50) };
        let head = |after, status, broken| Fate::Head { after, status, body, broken };
        match self {
            Self::Fast => head(quick, 200, false),
            Self::Slow => head(300 + rng.below(2500), 200, false),
            Self::Refusing => Fate::Fail { after: 1, kind: FailureKind::ConnectRefused, sent: false },
            Self::Mute => Fate::Silence,
            Self::BlackHole => Fate::Fail { after: 500, kind: FailureKind::ConnectTimeout, sent: false },
            Self::Resetting | Self::Rejecting | Self::Breaking if rng.below(100) < 50 => head(quick, 200, false),
            Self::Resetting => Fate::Fail { after: quick, kind: FailureKind::Reset(ErrorCode::Internal), sent: true },
            Self::Rejecting => Fate::Fail { after: quick, kind: FailureKind::Reset(ErrorCode::Rejected), sent: true },
            Self::Breaking => {
                Fate::Fail { after: quick, kind: FailureKind::ConnectionLost(rng.next_u64()), sent: true }
            }
            Self::Erroring => head(quick, 503, false),
            Self::Truncating => head(quick, 200, true),
            Self::Closing if rng.below(100) < 30 => head(quick, 200, false),
            Self::Closing => Fate::Fail { after: 1, kind: FailureKind::Unprocessed, sent: false },
        }
    }

    /// Whether a probe succeeds.
    pub(crate) fn probe_succeeds(self) -> bool {
        matches!(self, Self::Fast | Self::Truncating | Self::Closing)
    }
}
