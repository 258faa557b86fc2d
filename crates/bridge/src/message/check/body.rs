//! Comparison of a body with its `content-length`.

use std::fmt;

/// The body does not have the announced length (RFC 9114 4.1.2, RFC 9113 8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthError {
    /// More bytes than announced were received.
    TooLong,
    /// The body ended early.
    TooShort,
}

impl fmt::Display for LengthError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "body longer than content-length",
            Self::TooShort => "body shorter than content-length",
        })
    }
}

impl std::error::Error for LengthError {}

/// The part of a body not received yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// No length was announced.
    Open,
    /// Number of missing bytes.
    Missing(u64),
}

impl BodyLength {
    /// Creates the state of a message with this `content-length`.
    pub const fn new(content_length: Option<u64>) -> Self {
        match content_length {
            Some(length) => Self::Missing(length),
            None => Self::Open,
        }
    }

    /// Counts received bytes.
    ///
    /// # Errors
    /// [`LengthError::TooLong`]; the caller must not forward the bytes.
    pub fn add(&mut self, count: u64) -> Result<(), LengthError> {
        if let Self::Missing(missing) = self {
            *missing = missing.checked_sub(count).ok_or(LengthError::TooLong)?;
        }
        Ok(())
    }

    /// Checks the end of the body.
    ///
    /// # Errors
    /// [`LengthError::TooShort`]; the message is incomplete.
    pub fn finish(&self) -> Result<(), LengthError> {
        match self {
            Self::Open | Self::Missing(0) => Ok(()),
            Self::Missing(_) => Err(LengthError::TooShort),
        }
    }
}
