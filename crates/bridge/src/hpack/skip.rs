//! Skipping of a field block that is too large to be kept until it is complete.
//!
//! The block is read in parts. Its fields are dropped, but the dynamic table changes as if they had been decoded, so the
//! connection remains usable.

use super::{
    Error,
    decoder::{Decoder, integer},
};

/// Position in a block of which earlier parts were skipped.
#[derive(Debug, Default)]
pub struct SkipState {
    /// The start of the block, with its table size updates, was read.
    started: bool,
    string: Option<LongString>,
}

/// A string of a literal field line that is not kept. Its field is larger than the dynamic table.
#[derive(Debug)]
struct LongString {
    /// Bytes not skipped yet.
    left: usize,
    /// It is the name, so the value follows.
    is_name: bool,
    /// The field enters the dynamic table, which empties the table (RFC 7541 4.4).
    indexed: bool,
}

/// Whether a step of [`Decoder::skip`] read something, or all that can be read.
#[derive(PartialEq, Eq)]
enum Step {
    Read,
    Paused,
}

impl Decoder {
    /// Reads the next part of a block and drops its fields. Returns the number of bytes read; the caller must pass the
    /// rest again with the bytes that follow. Strings of any length are read as they arrive, so the rest is at most a
    /// few times the size of the dynamic table.
    pub fn skip(&mut self, state: &mut SkipState, part: &[u8]) -> Result<usize, Error> {
        let mut input = part;
        loop {
            let before = input;
            match self.skip_step(state, &mut input) {
                Ok(Step::Read) => {}
                Ok(Step::Paused) => return Ok(part.len() - input.len()),
                Err(Error::Truncated) => return Ok(part.len() - before.len()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Reads the last part of a block, like [`Decoder::skip`]. The block must be complete.
    pub fn skip_last(&mut self, state: &mut SkipState, part: &[u8]) -> Result<(), Error> {
        let read = self.skip(state, part)?;
        self.trim();
        if read < part.len() || state.string.is_some() { Err(Error::Truncated) } else { Ok(()) }
    }

    fn skip_step(&mut self, state: &mut SkipState, input: &mut &[u8]) -> Result<Step, Error> {
        if let Some(string) = &mut state.string {
            if string.left > 0 {
                let here = string.left.min(input.len());
                *input = input.get(here..).unwrap_or_default();
                string.left -= here;
                return Ok(if string.left > 0 { Step::Paused } else { Step::Read });
            }
            if string.is_name {
                string.left = length(input)?;
                string.is_name = false;
                return Ok(Step::Read);
            }
            if string.indexed {
                self.clear_table();
            }
            state.string = None;
        }
        if input.is_empty() {
            return Ok(Step::Paused);
        }
        if !state.started {
            self.resize(input)?;
            state.started = true;
            return Ok(Step::Read);
        }
        match self.find_long_string(input)? {
            Some((string, rest)) => {
                state.string = Some(string);
                *input = rest;
            }
            None => self.skip_line(input)?,
        }
        Ok(Step::Read)
    }

    /// Looks in the field line at the start of `input` for a string so long that its field exceeds the dynamic table.
    /// Returns it, and what follows its length.
    fn find_long_string<'a>(&self, mut input: &'a [u8]) -> Result<Option<(LongString, &'a [u8])>, Error> {
        let long = self.long_string();
        let (prefix, indexed) = match input.first() {
            Some(0x40..0x80) => (6, true),
            Some(0..0x20) => (4, false),
            _ => return Ok(None),
        };
        match integer(prefix, &mut input)? {
            0 => {
                let left = length(&mut input)?;
                if left >= long {
                    return Ok(Some((LongString { left, is_name: true, indexed }, input)));
                }
                input = input.get(left..).ok_or(Error::Truncated)?;
            }
            index => drop(self.entry(index)?),
        }
        let left = length(&mut input)?;
        Ok((left >= long).then_some((LongString { left, is_name: false, indexed }, input)))
    }
}

/// Reads the length of a string (RFC 7541 5.2).
fn length(input: &mut &[u8]) -> Result<usize, Error> {
    if input.is_empty() { Err(Error::Truncated) } else { integer(7, input) }
}
