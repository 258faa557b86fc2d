//! When a second attempt starts beside the first, and its result (docs/reference/behaviour.md#hedging).
//!
//! The timing and the conditions that lie in the request; `plan` adds those that lie in the upstream.

use std::time::Duration;

use super::request::Request;
use crate::time::Nanos;

/// `hedging` of the configuration, for a route on which it is enabled.
#[derive(Clone, Debug)]
pub struct HedgeOptions {
    /// How long the first attempt has without response headers.
    pub delay: Duration,
    /// Methods that may be hedged.
    pub safe_methods: Vec<String>,
}

impl Default for HedgeOptions {
    fn default() -> Self {
        Self { delay: Duration::from_millis(100), safe_methods: vec!["GET".into(), "HEAD".into()] }
    }
}

/// The hedge of one exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hedge {
    /// There will be none.
    Never,
    /// One may start if the request turns out to have no body; the attempt started at this time, if it did.
    IfEmpty(Duration, Option<Nanos>),
    /// One may start so long after an attempt has.
    After(Duration),
    /// It is due at this time.
    Due(Nanos),
    /// It was started.
    Started(Nanos),
}

impl Hedge {
    pub(super) fn new(request: &Request<'_>, options: Option<&HedgeOptions>) -> Self {
        match options {
            Some(options) if options.safe_methods.iter().any(|safe| safe.as_bytes() == request.method) => {
                if request.has_body { Self::IfEmpty(options.delay, None) } else { Self::After(options.delay) }
            }
            _ => Self::Never,
        }
    }

    /// An attempt started: the clock of the hedge runs from here.
    pub(super) fn on_start(&mut self, now: Nanos) {
        match *self {
            Self::After(delay) => *self = Self::Due(now + delay),
            Self::IfEmpty(delay, None) => *self = Self::IfEmpty(delay, Some(now)),
            _ => {}
        }
    }

    /// The request ended without a body.
    pub(super) fn on_empty(&mut self) {
        match *self {
            Self::IfEmpty(delay, Some(started)) => *self = Self::Due(started + delay),
            Self::IfEmpty(delay, None) => *self = Self::After(delay),
            _ => {}
        }
    }

    /// When it is due.
    pub(super) fn due(self) -> Nanos {
        if let Self::Due(at) = self { at } else { Nanos::NEVER }
    }
}

/// What became of a hedge, for the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HedgeResult {
    /// It answered first.
    Won,
    /// The attempt before it answered first, this long after the hedge had started.
    Lost {
        /// From the start of the hedge to the response headers of the other.
        primary_late: Duration,
    },
}
