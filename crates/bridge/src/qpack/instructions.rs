//! The client's encoder and decoder streams (RFC 9204 4.3, 4.4) where both dynamic tables have capacity 0.

use crate::integer::{self, IntegerError};

/// An instruction that is wrong here; the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstructionError(pub &'static str);

/// The client's encoder stream. The only instruction without error sets the capacity to the 0 that it is.
#[derive(Debug, Default)]
pub struct EncoderStream(());

impl EncoderStream {
    /// A stream of which only the type has come.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads all of `bytes`; gives the number of instructions, each of which was without effect.
    ///
    /// # Errors
    /// `QPACK_ENCODER_STREAM_ERROR` is due.
    pub fn recv(&mut self, bytes: &[u8]) -> Result<usize, InstructionError> {
        // Every instruction that is allowed has one byte: no state between chunks.
        match bytes.iter().find(|byte| **byte != SET_CAPACITY_0) {
            None => Ok(bytes.len()),
            Some(byte) if byte & 0xe0 == SET_CAPACITY_0 => Err(InstructionError("capacity above the announced 0")),
            Some(_) => Err(InstructionError("insertion into a table of capacity 0")),
        }
    }
}

const SET_CAPACITY_0: u8 = 0x20;

/// The client's decoder stream. Only cancellations make sense while no section refers to a dynamic table.
#[derive(Debug, Default)]
pub struct DecoderStream {
    /// The beginning of an instruction that goes on in the next chunk.
    begun: Vec<u8>,
}

impl DecoderStream {
    /// A stream of which only the type has come.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads all of `bytes`.
    ///
    /// # Errors
    /// `QPACK_DECODER_STREAM_ERROR` is due.
    pub fn recv(&mut self, mut bytes: &[u8]) -> Result<(), InstructionError> {
        while let Some((&byte, rest)) = bytes.split_first() {
            if !self.begun.is_empty() {
                // An integer of 62 bits ends within ten bytes, or is too large.
                self.begun.push(byte);
                bytes = rest;
                if cancellation(&mut self.begun.as_slice())? {
                    self.begun.clear();
                }
                continue;
            }
            match byte & 0xc0 {
                0x40 => {
                    if !cancellation(&mut bytes)? {
                        self.begun.extend_from_slice(bytes);
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

/// Reads a stream cancellation; false if it is not complete.
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
        assert_eq!(EncoderStream::new().recv(&[0x20, 0x20, 0x20]), Ok(3));
        for wrong in [&[0x21][..], &[0x3f, 0x81, 0x02], &[0xc0, 0x01, b'x'], &[0x41, b'a', 0x01, b'b'], &[0x00]] {
            let mut whole = EncoderStream::new();
            let is_capacity = matches!(wrong[0], 0x21 | 0x3f);
            let text =
                if is_capacity { "capacity above the announced 0" } else { "insertion into a table of capacity 0" };
            assert_eq!(whole.recv(wrong), Err(InstructionError(text)), "{wrong:x?}");
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
        assert!(slow.begun.is_empty());
        assert!(DecoderStream::new().recv(&[0x80]).is_err(), "section acknowledgement");
        assert!(DecoderStream::new().recv(&[0x00]).is_err(), "increment of 0");
        assert!(DecoderStream::new().recv(&[0x01]).is_err(), "increment of 1");
        let mut long = DecoderStream::new();
        assert!([0x7f].iter().chain(&[0x80; 12]).any(|byte| long.recv(&[*byte]).is_err()), "bounded");
    }
}
