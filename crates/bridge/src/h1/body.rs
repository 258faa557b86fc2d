//! Bodies of received messages, by the way in which their end is found (RFC 9112 6.3).

use bytes::BytesMut;

use super::{
    chunked::Chunked,
    piece::{Piece, take_data},
};

/// A body that has not ended.
#[derive(Debug)]
pub(super) enum BodyReader {
    /// This number of bytes is missing.
    Length(u64),
    Chunked(Chunked),
    /// Ends with the connection.
    UntilClose,
}

impl BodyReader {
    /// Reads the next piece and removes it from `input`.
    pub(super) fn read(&mut self, input: &mut BytesMut) -> Piece {
        match self {
            Self::Chunked(chunked) => chunked.read(input),
            _ if input.is_empty() => Piece::Partial,
            Self::UntilClose => Piece::Data { data: take_data(input, input.len()), end: false },
            Self::Length(missing) => {
                let here = usize::try_from(*missing).unwrap_or(usize::MAX).min(input.len());
                *missing -= here as u64;
                Piece::Data { data: take_data(input, here), end: *missing == 0 }
            }
        }
    }
}
