//! Reader of the chunked transfer coding (RFC 9112 7.1).
//!
//! Accepts only what every recipient reads in the same way: sizes of at most 16 hexadecimal digits without white space,
//! extensions without control characters, CRLF as the only end of a line.

use bytes::{Buf as _, BytesMut};

use super::{
    piece::{Piece, take_data},
    section::{Scan, Section},
};

/// Longest line with the size of a chunk and its extensions.
const MAX_SIZE_LINE: usize = 256;
/// Bytes of extensions per message, which are discarded.
const MAX_EXTENSIONS: usize = 16 * 1024;
/// Parts of chunks of up to this size are moved next to the data before them and become one piece of the body.
const MAX_MOVED: usize = 4096;

/// The state of a chunked body.
#[derive(Debug)]
pub(super) struct Chunked {
    state: State,
    extensions: usize,
    /// Limit on the bytes of the trailer section.
    max_trailers: usize,
}

#[derive(Debug)]
enum State {
    /// Before the line with the size of a chunk.
    Size,
    /// This number of bytes of the chunk is missing.
    Data(u64),
    /// Before the CRLF that ends the data of a chunk.
    DataEnd,
    Trailers(Scan),
}

enum Step {
    /// Bytes that are not data.
    Skip(usize),
    Data(usize),
    Partial,
    End(usize),
    /// Trailers that are not empty.
    Trailers,
    Malformed(&'static str),
}

impl Chunked {
    pub(super) fn new(max_trailers: usize) -> Self {
        Self { state: State::Size, extensions: 0, max_trailers }
    }

    /// Reads the next piece of the body and removes it from `input`.
    pub(super) fn read(&mut self, input: &mut BytesMut) -> Piece {
        // `input` begins with `joined` bytes of data; `at` is the position of the first unread byte.
        let (mut joined, mut at) = (0, 0);
        let step = loop {
            match self.step(input.get(at..).unwrap_or_default()) {
                Step::Skip(n) => at += n,
                Step::Data(n) => {
                    if joined == 0 {
                        input.advance(at);
                        at = 0;
                    } else if n > MAX_MOVED {
                        break Step::Partial;
                    } else {
                        input.copy_within(at..at + n, joined);
                    }
                    joined += n;
                    at += n;
                    self.take(n as u64);
                }
                step => break step,
            }
        };
        if let Step::End(n) = step {
            let data = take_data(input, joined);
            input.advance(at + n - joined);
            return Piece::Data { data, end: true };
        }
        if joined > 0 {
            let data = take_data(input, joined);
            input.advance(at - joined);
            // The next call reports what stopped this one.
            return Piece::Data { data, end: false };
        }
        input.advance(at);
        match step {
            Step::Trailers => self.read_trailers(input),
            Step::Malformed(reason) => Piece::Malformed(reason),
            Step::Skip(_) | Step::Data(_) | Step::Partial | Step::End(_) => Piece::Partial,
        }
    }

    /// Reads what is at the start of `rest`.
    fn step(&mut self, rest: &[u8]) -> Step {
        match &self.state {
            State::Size => match read_size(rest) {
                Ok(None) => Step::Partial,
                Ok(Some(line)) => {
                    self.extensions += line.extensions;
                    if self.extensions > MAX_EXTENSIONS {
                        return Step::Malformed("too many chunk extensions");
                    }
                    self.state = if line.size == 0 { State::Trailers(Scan::default()) } else { State::Data(line.size) };
                    Step::Skip(line.len)
                }
                Err(reason) => Step::Malformed(reason),
            },
            State::Data(_) if rest.is_empty() => Step::Partial,
            State::Data(missing) => Step::Data(usize::try_from(*missing).unwrap_or(usize::MAX).min(rest.len())),
            State::DataEnd => match rest {
                [b'\r', b'\n', ..] => {
                    self.state = State::Size;
                    Step::Skip(2)
                }
                [] | [b'\r'] => Step::Partial,
                _ => Step::Malformed("chunk without CRLF after its data"),
            },
            State::Trailers(_) if rest.starts_with(b"\r\n") => Step::End(2),
            State::Trailers(_) => Step::Trailers,
        }
    }

    /// Counts data that was read.
    fn take(&mut self, n: u64) {
        if let State::Data(missing) = &mut self.state {
            *missing -= n;
            if *missing == 0 {
                self.state = State::DataEnd;
            }
        }
    }

    fn read_trailers(&mut self, input: &mut BytesMut) -> Piece {
        let State::Trailers(scan) = &mut self.state else { return Piece::Partial };
        match scan.trailers(input, self.max_trailers) {
            Section::Partial => Piece::Partial,
            Section::TooLarge => Piece::TrailersTooLarge,
            Section::Malformed((reason, _)) => Piece::Malformed(reason),
            Section::Complete(fields, len) => {
                input.advance(len);
                Piece::Trailers(fields)
            }
        }
    }
}

struct SizeLine {
    size: u64,
    extensions: usize,
    /// Bytes of the line with its CRLF.
    len: usize,
}

/// Reads the line with the size of a chunk: `1*HEXDIG [";" extensions] CRLF`. Returns `None` if it is incomplete.
fn read_size(bytes: &[u8]) -> Result<Option<SizeLine>, &'static str> {
    let mut size = 0_u64;
    let mut digits = 0;
    for byte in bytes {
        let Some(digit) = char::from(*byte).to_digit(16) else { break };
        digits += 1;
        if digits > 16 {
            return Err("chunk size of more than 16 digits");
        }
        size = size << 4 | u64::from(digit);
    }
    let mut len = digits;
    match bytes.get(digits) {
        None => return Ok(None),
        Some(_) if digits == 0 => return Err("chunk without a size"),
        Some(b';') => len += extensions(bytes.get(digits..).unwrap_or_default())?,
        Some(_) => {}
    }
    if len > MAX_SIZE_LINE {
        return Err("chunk extension too long");
    }
    match bytes.get(len..).unwrap_or_default() {
        [b'\r', b'\n', ..] => Ok(Some(SizeLine { size, extensions: len - digits, len: len + 2 })),
        [] | [b'\r'] => Ok(None),
        [b'\r', ..] => Err("CR without LF after a chunk size"),
        _ => Err("invalid character after a chunk size"),
    }
}

/// Returns the number of bytes of extensions, which end at the first control character.
fn extensions(bytes: &[u8]) -> Result<usize, &'static str> {
    let is_end = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    let len = bytes.iter().take(MAX_SIZE_LINE + 1).position(is_end).unwrap_or(bytes.len());
    if len > MAX_SIZE_LINE { Err("chunk extension too long") } else { Ok(len) }
}
