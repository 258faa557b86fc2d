//! Encoding of the frames that the server sends on request streams.

use super::frame::{self, write_varint};
use crate::{
    message::{Fields, ResponseHead},
    qpack,
};

/// Appends the HEADERS frame of a response, final or interim.
pub fn encode_response(out: &mut Vec<u8>, head: &ResponseHead) {
    headers_frame(out, |out| qpack::encode(Some(head.status), &head.fields, out));
}

/// Appends the HEADERS frame of trailers.
pub fn encode_trailers(out: &mut Vec<u8>, trailers: &Fields) {
    headers_frame(out, |out| qpack::encode(None, trailers, out));
}

/// Appends the header of a DATA frame. The caller must send `len` bytes after it.
pub fn encode_data_header(out: &mut Vec<u8>, len: u64) {
    write_varint(frame::DATA, out);
    write_varint(len, out);
}

/// Appends a HEADERS frame with the payload that `section` appends. The length is filled in afterwards.
fn headers_frame(out: &mut Vec<u8>, section: impl FnOnce(&mut Vec<u8>)) {
    out.extend_from_slice(&[frame::HEADERS as u8, 0, 0]);
    let start = out.len();
    section(out);
    let len = out.len() - start;
    // A two-byte length covers payloads below 16 KiB; a larger payload is moved to make space.
    if len < 1 << 14 {
        let field = out.get_mut(start - 2..start).and_then(<[u8]>::first_chunk_mut::<2>);
        if let Some(field) = field {
            *field = (len as u16 | 0x4000).to_be_bytes();
        }
    } else {
        let mut varint = Vec::new();
        write_varint(len as u64, &mut varint);
        out.splice(start - 2..start, varint);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Name;

    #[test]
    fn frames_are_appended_with_their_length() {
        for value in [1, 100, 20_000] {
            let mut trailers = Fields::new();
            trailers.push(Name::Other(b"x-end"), &vec![0xff; value]);
            let mut section = Vec::new();
            qpack::encode(None, &trailers, &mut section);
            let mut expected = b"before".to_vec();
            expected.push(frame::HEADERS as u8);
            match section.len() as u32 {
                length @ 0..0x4000 => expected.extend_from_slice(&(length as u16 | 0x4000).to_be_bytes()),
                length => expected.extend_from_slice(&(length | 0x8000_0000).to_be_bytes()),
            }
            expected.extend_from_slice(&section);
            let mut out = b"before".to_vec();
            encode_trailers(&mut out, &trailers);
            assert!(out == expected, "a value of {value} bytes");
        }
    }
}
