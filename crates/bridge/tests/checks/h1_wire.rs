//! What the checks of both roles of HTTP/1.1 share: lines of a head, splits of the input, bytes written.

use super::prng::Prng;
use bytes::BytesMut;
use spooky_bridge::{
    WriteBuffer,
    message::{Field, Fields, Known, Name},
};
use std::io::IoSlice;

/// A field, with its name as on the wire.
pub(crate) type Line = (Vec<u8>, Vec<u8>);

pub(crate) fn lines(fields: &Fields) -> Vec<Line> {
    fields.iter().map(|field| line(&field)).collect()
}

fn line(field: &Field<'_>) -> Line {
    (field.name.as_bytes().to_vec(), field.value.to_vec())
}

/// Returns the fields that pass from one connection to another unchanged, in order, with `content-length` as a plain
/// number.
pub(crate) fn end_to_end(fields: &Fields, length: Option<u64>) -> Vec<Line> {
    const OF_CONNECTION: [Known; 6] = [
        Known::Connection,
        Known::TransferEncoding,
        Known::Upgrade,
        Known::Host,
        Known::SecWebsocketKey,
        Known::SecWebsocketAccept,
    ];
    let passes = |field: &Field<'_>| {
        let is_of_connection = matches!(field.name, Name::Known(known) if OF_CONNECTION.contains(&known));
        !is_of_connection && !field.name.is_pseudo()
    };
    let plain = |field: Field<'_>| match field.name {
        Name::Known(Known::ContentLength) => (line(&field).0, length.unwrap_or_default().to_string().into_bytes()),
        _ => line(&field),
    };
    fields.iter().filter(passes).map(plain).collect()
}

/// Appends `bytes` in parts of up to `most` bytes and calls `read` after each.
pub(crate) fn feed(bytes: &[u8], most: usize, prng: &mut Prng, mut read: impl FnMut(&mut BytesMut)) {
    let mut input = BytesMut::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let len = if most == usize::MAX { rest.len() } else { (1 + prng.below(most)).min(rest.len()) };
        let (part, after) = rest.split_at(len);
        rest = after;
        input.extend_from_slice(part);
        read(&mut input);
    }
}

pub(crate) fn drain(output: &mut WriteBuffer) -> Vec<u8> {
    let mut written = Vec::new();
    while !output.is_empty() {
        let mut slices = [IoSlice::new(&[]); 8];
        let set = output.slices(&mut slices);
        slices[..set].iter().for_each(|slice| written.extend_from_slice(slice));
        let len = slices[..set].iter().map(|slice| slice.len()).sum();
        output.advance(len);
    }
    written
}
