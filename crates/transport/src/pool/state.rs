//! What a connection is good for, whatever it speaks.

use std::time::Instant;

use crate::failure::FailureKind;

/// What a connection is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The preface is sent; whether the peer speaks the protocol is not known yet. The attempt ends at `deadline`.
    Handshaking {
        /// When the attempt has failed.
        deadline: Instant,
    },
    /// Takes requests.
    Open,
    /// Finishes its streams and takes no more.
    Retiring,
}

/// Whether a read left something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// Everything was read; the socket wakes when more comes.
    Drained,
    /// The budget of this turn is used up.
    More,
}

/// What time demands of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing before this.
    At(Instant),
    /// A keepalive PING.
    Ping,
    /// It was idle for long enough.
    Idle,
    /// The peer is gone.
    Dead(FailureKind),
}
