//! The length of a body against its `content-length`.

use std::fmt;

/// The body is not as long as announced (RFC 9114 4.1.2, RFC 9113 8.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LengthError {
    /// More bytes than announced have come.
    TooLong,
    /// The body ended before all of it had come.
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

/// What is still missing of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLength {
    /// No length was announced.
    Open,
    /// So many bytes are missing.
    Missing(u64),
}

impl BodyLength {
    /// For a message with this `content-length`.
    pub const fn new(content_length: Option<u64>) -> Self {
        match content_length {
            Some(length) => Self::Missing(length),
            None => Self::Open,
        }
    }

    /// `count` more bytes have come.
    ///
    /// # Errors
    /// [`LengthError::TooLong`]: the bytes must not be passed on.
    pub fn add(&mut self, count: u64) -> Result<(), LengthError> {
        if let Self::Missing(missing) = self {
            *missing = missing.checked_sub(count).ok_or(LengthError::TooLong)?;
        }
        Ok(())
    }

    /// The body has ended.
    ///
    /// # Errors
    /// [`LengthError::TooShort`]: the message is not complete.
    pub fn finish(&self) -> Result<(), LengthError> {
        match self {
            Self::Open | Self::Missing(0) => Ok(()),
            Self::Missing(_) => Err(LengthError::TooShort),
        }
    }
}
