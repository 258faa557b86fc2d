//! Writer of heads, bodies and trailers.

use bytes::{Buf as _, Bytes};

use crate::{
    WriteBuffer,
    message::{Fields, Known, Name},
};

/// Unsent bytes above which no more body is accepted; the rest stays with the owner.
pub(super) const MAX_QUEUED: usize = 256 * 1024;
/// Smaller parts of a body are copied into the output, which is cheaper than a separate slice of the vectored write.
const MIN_SLICE: usize = 1024;

/// The body of a message that is being sent.
#[derive(Debug)]
pub(super) enum BodyWriter {
    /// This number of bytes is missing.
    Length(u64),
    Chunked,
    /// Without framing: a tunnel, or a body that ends with the connection.
    Raw,
}

/// The body differs from the `content-length` that was sent, so the message cannot be completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WrongLength;

impl BodyWriter {
    /// Moves the first `part` bytes of `data`, at least one, to the output.
    pub(super) fn put(&mut self, output: &mut WriteBuffer, data: &mut Bytes, part: usize) -> Result<(), WrongLength> {
        match self {
            Self::Length(missing) => *missing = missing.checked_sub(part as u64).ok_or(WrongLength)?,
            Self::Chunked => put_hex(output.tail(), part),
            Self::Raw => {}
        }
        if part < MIN_SLICE {
            output.tail().extend_from_slice(data.get(..part).unwrap_or_default());
            data.advance(part);
        } else {
            output.push_slice(data.split_to(part));
        }
        if matches!(self, Self::Chunked) {
            output.tail().extend_from_slice(b"\r\n");
        }
        Ok(())
    }

    /// Ends the message. Only a chunked body can have trailers; others end without them.
    pub(super) fn finish(&self, output: &mut WriteBuffer, trailers: Option<&Fields>) -> Result<(), WrongLength> {
        match self {
            Self::Length(1..) => Err(WrongLength),
            Self::Length(0) | Self::Raw => Ok(()),
            Self::Chunked => {
                let out = output.tail();
                out.extend_from_slice(b"0\r\n");
                if let Some(fields) = trailers {
                    put_fields(out, fields, &[], None);
                }
                out.extend_from_slice(b"\r\n");
                Ok(())
            }
        }
    }
}

/// Writes the fields of a section that [`crate::message::check::is_writable`] accepts. Leaves out `without`, pseudo-header
/// fields and those that belong to a connection; writes `content_length` in place of the field, if there is one.
pub(super) fn put_fields(out: &mut Vec<u8>, fields: &Fields, without: &[Known], content_length: Option<u64>) {
    out.reserve(fields.size() + 4 * fields.len() + 128);
    let mut length = content_length;
    for field in fields.iter() {
        match field.name {
            Name::Known(Known::ContentLength) => {
                if let Some(length) = length.take() {
                    put_length(out, length);
                }
                continue;
            }
            Name::Known(known) if is_hop(known) || without.contains(&known) || field.name.is_pseudo() => continue,
            Name::Known(_) | Name::Other(_) => {}
        }
        put_field(out, field.name.as_bytes(), field.value);
    }
    if let Some(length) = length {
        put_length(out, length);
    }
}

/// Returns whether the field belongs to a connection. The state machines write such fields themselves.
fn is_hop(known: Known) -> bool {
    matches!(
        known,
        Known::Connection | Known::KeepAlive | Known::ProxyConnection | Known::TransferEncoding | Known::Upgrade
    )
}

pub(super) fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn put_length(out: &mut Vec<u8>, length: u64) {
    out.extend_from_slice(b"content-length: ");
    put_decimal(out, length);
    out.extend_from_slice(b"\r\n");
}

pub(super) fn put_decimal(out: &mut Vec<u8>, mut number: u64) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(20 - used..).unwrap_or_default());
}

/// Writes the size of a chunk and the end of its line.
fn put_hex(out: &mut Vec<u8>, size: usize) {
    let digits = (usize::BITS - size.leading_zeros()).div_ceil(4);
    for digit in (0..digits).rev() {
        out.push(char::from_digit((size >> (4 * digit)) as u32 & 0xf, 16).map_or(b'0', |digit| digit as u8));
    }
    out.extend_from_slice(b"\r\n");
}
