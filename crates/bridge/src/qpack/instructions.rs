//! The client's encoder and decoder streams (RFC 9204 4.3, 4.4), for dynamic tables of capacity 0.

use crate::integer::{self, IntegerError};

/// An instruction that is not allowed, with the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstructionError(pub &'static str);

/// The client's encoder stream. The only valid instruction sets the capacity to 0.
#[derive(Debug, Default)]
pub struct EncoderStream(());

impl EncoderStream {
    /// Creates the state after the stream type.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses `bytes`. Returns the number of instructions, none of which has an effect, up to the end or the first one that
    /// is not allowed. For that one the caller must close the connection with `QPACK_ENCODER_STREAM_ERROR`.
    pub fn recv(&mut self, bytes: &[u8]) -> (usize, Result<(), InstructionError>) {
        // A valid instruction has one byte, so there is no state between chunks.
        let valid = bytes.iter().take_while(|byte| **byte == SET_CAPACITY_0).count();
        let result = match bytes.get(valid) {
            None => Ok(()),
            Some(byte) if byte & 0xe0 == SET_CAPACITY_0 => Err(InstructionError("capacity above the announced 0")),
            Some(_) => Err(InstructionError("insertion into a table of capacity 0")),
        };
        (valid, result)
    }
}

const SET_CAPACITY_0: u8 = 0x20;

/// The client's decoder stream. Only stream cancellations are valid, because no section refers to a dynamic table.
#[derive(Debug, Default)]
pub struct DecoderStream {
    /// The first bytes of an incomplete instruction.
    partial: Vec<u8>,
}

impl DecoderStream {
    /// Creates the state after the stream type.
    pub fn new() -> Self {
        Self::default()
    }

    /// Parses `bytes`.
    ///
    /// # Errors
    /// The caller must close the connection with `QPACK_DECODER_STREAM_ERROR`.
    pub fn recv(&mut self, mut bytes: &[u8]) -> Result<(), InstructionError> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if !self.partial.is_empty() {
                // An integer of 62 bits ends within ten bytes, or is too large.
                self.partial.push(byte);
                bytes = rest;
                if cancellation(&mut self.partial.as_slice())? {
                    self.partial.clear();
                }
                continue;
            }
            match byte & 0xc0 {
                0x40 => {
                    if !cancellation(&mut bytes)? {
                        self.partial.extend_from_slice(bytes);
                        return Ok(());
                    }
                }
                0x00 => return Err(InstructionError("insert count increment without insertions")),
                _ => return Err(InstructionError("acknowledgement of a section that needs none")),
            }
        }
        Ok(())
    }
}

/// Reads a stream cancellation. Returns false if it is incomplete.
fn cancellation(src: &mut &[u8]) -> Result<bool, InstructionError> {
    match integer::decode(6, src) {
        Ok(_) => Ok(true),
        Err(IntegerError::Incomplete) => Ok(false),
        Err(IntegerError::Overflow) => Err(InstructionError("stream id too large")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoder_stream_may_only_repeat_capacity_0() {
        assert_eq!(EncoderStream::new().recv(&[0x20, 0x20, 0x20]), (3, Ok(())));
        for wrong in [&[0x21][..], &[0x3f, 0x81, 0x02], &[0xc0, 0x01, b'x'], &[0x41, b'a', 0x01, b'b'], &[0x00]] {
            let mut whole = EncoderStream::new();
            let is_capacity = matches!(wrong[0], 0x21 | 0x3f);
            let text =
                if is_capacity { "capacity above the announced 0" } else { "insertion into a table of capacity 0" };
            assert_eq!(whole.recv(wrong), (0, Err(InstructionError(text))), "{wrong:x?}");
            let after = [&[0x20, 0x20], wrong].concat();
            assert_eq!(whole.recv(&after), (2, Err(InstructionError(text))), "{wrong:x?}");
        }
    }

    #[test]
    fn the_decoder_stream_may_only_cancel() {
        let mut ids = Vec::new();
        for id in [0, 62, 63, 4_000, integer::MAX] {
            integer::encode(6, 0x40, id, &mut ids);
        }
        assert_eq!(DecoderStream::new().recv(&ids), Ok(()));
        let mut slow = DecoderStream::new();
        assert!(ids.iter().all(|byte| slow.recv(&[*byte]).is_ok()));
        assert!(slow.partial.is_empty());
        assert!(DecoderStream::new().recv(&[0x80]).is_err(), "section acknowledgement");
        assert!(DecoderStream::new().recv(&[0x00]).is_err(), "increment of 0");
        assert!(DecoderStream::new().recv(&[0x01]).is_err(), "increment of 1");
        let mut long = DecoderStream::new();
        assert!([0x7f].iter().chain(&[0x80; 12]).any(|byte| long.recv(&[*byte]).is_err()), "bounded");
    }
}
