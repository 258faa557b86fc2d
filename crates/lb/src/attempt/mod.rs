//! The attempts of one exchange: which backend, what follows a failure, when to hedge, when to give up
//! (docs/reference/behaviour.md#retries, docs/reference/behaviour.md#timeouts).
//!
//! [`Attempts`] is a machine: the exchange tells it what happened and does the [`Step`] that it returns. It owns the places
//! on backends and books each of them exactly once. It sends nothing and arms no timer: [`Attempts::timer`] says when to
//! call [`Attempts::on_timer`].

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

pub use attempts::Attempts;
pub use deadline::{BodyKind, DeadlineOptions, Deadlines, Expiry, UploadWait};
pub use failure::{Blame, ErrorCode, FailureKind, Sent};
pub use hedge::{HedgeOptions, HedgeResult};
pub use request::Request;
pub use retry::{Budget, BudgetOptions};
pub use step::{Cx, Denied, Progress, SlotId, Step};

use std::time::Duration;

/// Retries, and the deadlines of an attempt, of one upstream.
#[derive(Clone, Debug)]
pub struct AttemptOptions {
    /// Further attempts of one request, hedges included (`retry_budget.max_retries`).
    pub max_retries: u32,
    /// Response headers after the request head, anew with every body byte taken (`backend_timeout_ms`).
    pub response_timeout: Duration,
    /// Response headers over all attempts (`backend_total_request_timeout_ms`).
    pub total_timeout: Duration,
}

impl Default for AttemptOptions {
    fn default() -> Self {
        Self { max_retries: 2, response_timeout: Duration::from_secs(30), total_timeout: Duration::from_secs(90) }
    }
}

#[cfg(test)]
mod tests;
