//! When a second attempt starts in parallel to the first (docs/reference/behaviour.md#hedging).
//!
//! Timing and conditions of the request; `attempts` checks those of the upstream.

use std::time::Duration;

use super::request::Request;
use crate::time::Nanos;

/// `hedging` of the configuration, for a route on which it is enabled.
#[derive(Clone, Debug)]
pub struct HedgeOptions {
    /// Time without a response head after which the hedge starts.
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
    /// No hedge is allowed.
    Never,
    /// Allowed if the request turns out to have no body; with the start time of the attempt, if it started.
    IfEmpty(Duration, Option<Nanos>),
    /// Due this long after an attempt starts.
    After(Duration),
    Due(Nanos),
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

    /// Starts the delay when an attempt starts.
    pub(super) fn on_start(&mut self, now: Nanos) {
        match *self {
            Self::After(delay) => *self = Self::Due(now + delay),
            Self::IfEmpty(delay, None) => *self = Self::IfEmpty(delay, Some(now)),
            _ => {}
        }
    }

    /// Allows the hedge of a request that ended without a body.
    pub(super) fn on_empty(&mut self) {
        match *self {
            Self::IfEmpty(delay, Some(started)) => *self = Self::Due(started + delay),
            Self::IfEmpty(delay, None) => *self = Self::After(delay),
            _ => {}
        }
    }

    pub(super) fn due(self) -> Nanos {
        if let Self::Due(at) = self { at } else { Nanos::NEVER }
    }
}
