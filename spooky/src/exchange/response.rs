//! The state of the response of an exchange.

use spooky_lb::attempt::SlotId;

pub(super) enum Response {
    /// No head has arrived.
    Awaited,
    /// The body is being forwarded.
    Streaming {
        /// The attempt that has answered.
        winner: SlotId,
        received: u64,
        /// Body bytes that the client's connection has not taken.
        unaccepted: usize,
        is_tunnel: bool,
    },
    /// The backend has ended it and was released. The client's connection has not taken all of it.
    Ending,
    /// A tunnel that is open only in the client's direction.
    HalfClosed {
        /// The client's connection has taken all of it.
        is_sent: bool,
    },
}

impl Response {
    /// Returns whether the head was sent to the client.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self, Self::Awaited)
    }

    /// Returns whether this is a tunnel, for which limits on body lengths do not apply.
    pub(super) fn is_tunnel(&self) -> bool {
        matches!(self, Self::Streaming { is_tunnel: true, .. } | Self::HalfClosed { .. })
    }

    /// Returns the attempt that has answered, while the body is being forwarded.
    pub(super) fn winner(&self) -> Option<SlotId> {
        match self {
            Self::Streaming { winner, .. } => Some(*winner),
            Self::Awaited | Self::Ending | Self::HalfClosed { .. } => None,
        }
    }

    /// Counts `length` new body bytes, and `accepted` bytes that the client's connection has taken. Returns whether some wait.
    pub(super) fn on_forwarded(&mut self, length: usize, accepted: usize) -> bool {
        let Self::Streaming { unaccepted, .. } = self else { return false };
        *unaccepted = (*unaccepted + length).saturating_sub(accepted);
        *unaccepted > 0
    }

    /// Counts body bytes that the client's connection has taken. Returns whether more of the response waits.
    pub(super) fn on_accepted(&mut self, bytes: usize) -> bool {
        match self {
            Self::Streaming { unaccepted, .. } => {
                *unaccepted = unaccepted.saturating_sub(bytes);
                *unaccepted > 0
            }
            Self::Ending | Self::HalfClosed { .. } => true,
            Self::Awaited => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_client_has_not_taken_is_counted() {
        let mut response = Response::Streaming { winner: SlotId::FIRST, received: 0, unaccepted: 0, is_tunnel: false };
        assert!(!response.on_forwarded(10, 10));
        assert!(response.on_forwarded(10, 4));
        assert!(response.on_accepted(5));
        assert!(!response.on_accepted(1));
        assert!(!response.on_forwarded(3, 5), "more than was counted");
        assert!(Response::Ending.on_accepted(1) && !Response::Awaited.on_accepted(1));
    }
}
