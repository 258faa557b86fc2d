//! Why a connection does not take a request.

use spooky_bridge::{h1, h2};

/// Why a connection does not take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenError {
    /// The connection takes no further request; another one may.
    NoCapacity,
    /// The head exceeds what the peer accepts.
    HeadersTooLarge,
    /// The request is an extended CONNECT, which the peer does not accept.
    NoExtendedConnect,
    /// The head cannot be written in the protocol of the connection.
    InvalidHead,
}

impl From<h1::SendRequestError> for OpenError {
    fn from(refused: h1::SendRequestError) -> Self {
        match refused {
            h1::SendRequestError::Busy => Self::NoCapacity,
            h1::SendRequestError::InvalidHead => Self::InvalidHead,
        }
    }
}

impl From<h2::SendRequestError> for OpenError {
    fn from(refused: h2::SendRequestError) -> Self {
        match refused {
            h2::SendRequestError::HeadersTooLarge => Self::HeadersTooLarge,
            h2::SendRequestError::NoExtendedConnect => Self::NoExtendedConnect,
            h2::SendRequestError::StreamLimit
            | h2::SendRequestError::Closing
            | h2::SendRequestError::IdsUsedUp
            | h2::SendRequestError::Backlogged => Self::NoCapacity,
        }
    }
}
