//! The attempts of one exchange: which backend to use, when to retry, hedge or give up
//! (docs/reference/behaviour.md#retries, docs/reference/behaviour.md#timeouts).
//!
//! [`Attempts`] is a state machine: the exchange reports events to it and executes the [`Step`] that it returns. It holds the
//! leases of backends and records the result of each once. It sends nothing and arms no timer: [`Attempts::timer`] says
//! when to call [`Attempts::on_timer`].

mod attempts;
mod backends;
pub mod breaker;
mod deadline;
mod failure;
mod hedge;
mod pace;
mod request;
mod retry;
mod step;
mod suspect;

pub use attempts::{Attempts, RetryDenial};
pub use deadline::{BodyKind, DeadlineOptions, Deadlines, Expiry, UploadWait};
pub use failure::{Blame, ErrorCode, FailureKind, Sent};
pub use hedge::HedgeOptions;
pub use request::Request;
pub use retry::{Budget, BudgetOptions};
pub use step::{Cx, SlotId, Step};

use std::time::Duration;

/// Limits of the attempts of one upstream.
#[derive(Clone, Debug)]
pub struct AttemptOptions {
    /// Maximum number of retries and hedges of one request (`retry_budget.max_retries`).
    pub max_retries: u32,
    /// Time from the request head, or from the last body bytes accepted, to the response head (`backend_timeout_ms`).
    pub response_timeout: Duration,
    /// Time to the response head over all attempts (`backend_total_request_timeout_ms`).
    pub total_timeout: Duration,
}

impl Default for AttemptOptions {
    fn default() -> Self {
        Self { max_retries: 2, response_timeout: Duration::from_secs(30), total_timeout: Duration::from_secs(90) }
    }
}

#[cfg(test)]
mod tests;
