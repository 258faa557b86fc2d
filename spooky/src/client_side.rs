//! Identifies a client's stream over all listeners of a worker. A further client protocol is a further variant.

use spooky_edge::StreamRef;

/// A client's stream. `listener` is the number of its listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClientSide {
    /// A stream of a QUIC connection.
    Quic { listener: usize, stream: StreamRef },
    /// A request of a TCP connection.
    Tcp { listener: usize, stream: StreamRef },
}

impl ClientSide {
    /// Returns the number of the table of its connection, the connection's number there, and the epoch that distinguishes it
    /// from earlier ones of this number.
    pub(crate) fn connection(self) -> (usize, usize, u32) {
        let (table, stream) = match self {
            Self::Quic { listener, stream } => (2 * listener, stream),
            Self::Tcp { listener, stream } => (2 * listener + 1, stream),
        };
        let (conn, epoch) = stream.connection();
        (table, conn, epoch)
    }

    pub(crate) fn listener(self) -> usize {
        match self {
            Self::Quic { listener, .. } | Self::Tcp { listener, .. } => listener,
        }
    }
}
