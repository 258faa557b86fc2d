//! The steps of an answer.

use std::time::Duration;

use bytes::Bytes;

/// A step of an answer.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends bytes.
    Send(Bytes),
    /// Waits.
    Wait(Duration),
    /// Waits for the end of the request's body.
    Body,
    /// Waits until the test opens the gate for one more step.
    Gate,
    /// Ends the sending direction.
    HalfClose,
    /// Records what the client sends until it closes.
    Drain,
    /// Sends back what the client sends until it ends its direction, then ends the own one.
    Echo,
    /// Closes the connection.
    Close,
    /// Resets the connection.
    Reset,
}

impl Step {
    /// Sends a text.
    pub fn text(text: &str) -> Self {
        Self::Send(Bytes::copy_from_slice(text.as_bytes()))
    }
}
