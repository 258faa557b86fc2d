//! Pieces of a received body.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::message::Fields;

/// Smaller pieces of a body are copied out of the read buffer, because a slice would keep the whole buffer alive.
const MIN_SLICE: usize = 1024;

/// The next part of a body.
#[derive(Debug)]
pub(super) enum Piece {
    /// More bytes are needed.
    Partial,
    /// Data, empty only with `end`.
    Data {
        data: Bytes,
        end: bool,
    },
    /// Trailers, which are not empty and end the body.
    Trailers(Fields),
    TrailersTooLarge,
    Malformed(&'static str),
}

/// Removes the first `n` bytes of `input` and returns them.
pub(super) fn take_data(input: &mut BytesMut, n: usize) -> Bytes {
    if n >= MIN_SLICE {
        return input.split_to(n).freeze();
    }
    let copy = Bytes::copy_from_slice(input.get(..n).unwrap_or_default());
    input.advance(n);
    copy
}
