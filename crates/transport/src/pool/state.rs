//! States of a connection, independent of its protocol.

use std::time::Instant;

use crate::failure::FailureKind;

/// Bytes read from one socket in one turn, so that no connection starves the others.
pub(super) const READ_BUDGET: usize = 512 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// The peer's SETTINGS are outstanding. The attempt fails at `deadline`.
    Handshaking { deadline: Instant },
    /// Takes requests.
    Open,
    /// Finishes its streams and takes no new requests.
    Retiring,
}

/// Why a read stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// The socket has no more data; it wakes the task when more arrives.
    Drained,
    /// The read budget of this turn is used up; the socket has more.
    More,
}

/// What is due on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Due {
    /// Nothing before this time.
    At(Instant),
    /// A keepalive PING.
    Ping,
    /// The idle timeout has passed.
    Idle,
    /// The peer does not answer.
    Dead(FailureKind),
}
