//! Errors of the demo.

use crate::start_error::StartError;
use http::StatusCode;
use spooky_config::Problems;
use std::fmt;

#[derive(Debug)]
pub(super) enum Failure {
    /// A step outside the product has failed.
    Setup {
        /// An infinitive, such as "make a certificate".
        step: &'static str,
        reason: String,
    },
    PortInUse(u16),
    /// The demo's configuration is invalid.
    Configuration(Problems),
    Start(StartError),
    /// There was no response.
    Request(String),
    /// The response has an error status.
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
