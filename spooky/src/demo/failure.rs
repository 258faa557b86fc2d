//! Why the demo ends early, in words for a person.

use crate::start_error::StartError;
use http::StatusCode;
use spooky_config::Problems;
use std::fmt;

/// What went wrong.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something around the product could not be had.
    Setup {
        /// What was to be done.
        step: &'static str,
        /// What the system or the library said.
        reason: String,
    },
    /// Someone has the UDP port.
    PortInUse(u16),
    /// The demo's own configuration is refused.
    Configuration(Problems),
    /// The product does not start.
    Start(StartError),
    /// The request got no answer.
    Request(String),
    /// The request got an answer that is none of the backend's.
    Answer(StatusCode),
    /// A second signal ended the drain.
    CutShort,
}

impl Failure {
    pub(super) fn setup(step: &'static str, error: impl fmt::Display) -> Self {
        Self::Setup { step, reason: error.to_string() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Setup { step, reason } => write!(out, "error: cannot {step}: {reason}"),
            Self::PortInUse(port) => write!(
                out,
                "error: port {port} on 127.0.0.1 is in use\n    hint: choose another port with --port, or stop the program that uses this one"
            ),
            Self::Configuration(problems) => write!(out, "{}{}", problems.plain(), problems.summary()),
            Self::Start(error) => write!(out, "error: {error}"),
            Self::Request(reason) => write!(out, "error: the request failed: {reason}"),
            Self::Answer(status) => write!(out, "error: the request was answered with status {status}"),
            Self::CutShort => out.write_str("Stopped before all connections were closed."),
        }
    }
}
