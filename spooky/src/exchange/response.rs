//! How far the response of an exchange is.

use spooky_lb::attempt::SlotId;

/// The state of the response.
pub(super) enum Response {
    /// No head has arrived.
    Awaited,
    /// The body is being forwarded.
    Streaming {
        /// The attempt that it comes from.
        winner: SlotId,
        /// Body bytes so far.
        received: u64,
        /// Body bytes that the client's connection has not taken.
        unaccepted: usize,
        /// Each direction ends by itself.
        is_tunnel: bool,
    },
    /// Ended by the backend, whose lease was given back; the client's connection has not taken all of it.
    Ending,
    /// A tunnel that the backend has ended in its direction; the client's goes on.
    HalfClosed {
        /// The client's connection has taken all of it.
        is_sent: bool,
    },
}

impl Response {
    /// Whether the head has been sent to the client.
    pub(super) fn has_begun(&self) -> bool {
        !matches!(self, Self::Awaited)
    }

    /// Whether this is a tunnel: the limits on body lengths do not apply.
    pub(super) fn is_tunnel(&self) -> bool {
        matches!(self, Self::Streaming { is_tunnel: true, .. } | Self::HalfClosed { .. })
    }

    /// The attempt that the body comes from.
    pub(super) fn winner(&self) -> Option<SlotId> {
        match self {
            Self::Streaming { winner, .. } => Some(*winner),
            Self::Awaited | Self::Ending | Self::HalfClosed { .. } => None,
        }
    }

    /// Takes note of body bytes that arrived, of which the client's connection took `accepted`, earlier ones included.
    /// Returns whether some wait for the client.
    pub(super) fn on_forwarded(&mut self, length: usize, accepted: usize) -> bool {
        let Self::Streaming { unaccepted, .. } = self else { return false };
        *unaccepted = (*unaccepted + length).saturating_sub(accepted);
        *unaccepted > 0
    }

    /// Takes note of body bytes that the client's connection took. Returns whether more of the response waits for it.
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
