//! The static Huffman code of HPACK and QPACK (RFC 7541 5.2 and appendix B), both directions.
//!
//! The code is canonical, so the lengths of its 257 codes are all that is written down; every table follows from them at
//! compile time. Knows nothing of fields; `hpack` and `qpack` call it.

use std::fmt;

/// Why a string is no valid Huffman encoding (RFC 7541 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HuffmanError {
    /// The string contains the EOS symbol.
    Eos,
    /// The padding is longer than 7 bits or is not the beginning of EOS.
    Padding,
}

impl fmt::Display for HuffmanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eos => "EOS symbol in a Huffman string",
            Self::Padding => "invalid padding of a Huffman string",
        })
    }
}

impl std::error::Error for HuffmanError {}

/// Number of bytes that [`encode`] appends for `src`.
pub fn encoded_len(src: &[u8]) -> usize {
    let bits: usize = src.iter().map(|&byte| usize::from(at(&LENGTH_OF, byte))).sum();
    bits.div_ceil(8)
}

/// Appends the Huffman encoding of `src`, padded to a whole byte with ones.
pub fn encode(src: &[u8], out: &mut Vec<u8>) {
    let mut acc = 0u64; // the lowest `bits` bits are not written yet
    let mut bits = 0u32;
    for &byte in src {
        let len = u32::from(at(&LENGTH_OF, byte));
        acc = (acc << len) | u64::from(at(&CODE_OF, byte));
        bits += len;
        if bits >= 32 {
            bits -= 32;
            out.extend_from_slice(&((acc >> bits) as u32).to_be_bytes());
        }
    }
    let pad = (8 - bits % 8) % 8;
    acc = (acc << pad) | ((1 << pad) - 1);
    bits += pad;
    while bits > 0 {
        bits -= 8;
        out.push((acc >> bits) as u8);
    }
}

/// Appends the decoded form of `src`.
///
/// # Errors
/// [`HuffmanError`]; `out` may then hold a part of the string.
pub fn decode(src: &[u8], out: &mut Vec<u8>) -> Result<(), HuffmanError> {
    // The shortest code has 5 bits; 8 bytes are written at once and cut again.
    out.reserve(src.len() * 8 / 5 + 8);
    let mut reader = Reader { rest: src, acc: 0, bits: 0 };
    while reader.refill() {
        // At least 56 bits: four lookups, each with up to two symbols.
        let mut word = 0u64;
        let mut count = 0u32;
        for _ in 0..LOOKUPS {
            let entry = reader.lookup();
            if entry.is_long() {
                break;
            }
            reader.skip(entry.both_bits());
            word |= u64::from(entry.symbols()) << (8 * count);
            count += entry.count();
        }
        if count == 0 {
            out.push(reader.long_symbol()?);
        } else {
            let len = out.len() + count as usize;
            out.extend_from_slice(&word.to_le_bytes());
            out.truncate(len);
        }
    }
    reader.tail(out)
}

/// Bits that one lookup sees.
const WINDOW: u32 = 12;
/// Lookups per refill: they use at most 48 of the 56 bits there are.
const LOOKUPS: usize = 4;
/// Length of the longest code.
const LONGEST: usize = 30;
const EOS: u16 = 256;

/// The bits of a string: the upper `bits` bits of `acc` come next, those of `rest` follow.
struct Reader<'a> {
    rest: &'a [u8],
    acc: u64,
    bits: u32,
}

impl Reader<'_> {
    /// Fills up to at least 56 bits; says no, and takes nothing, when fewer than eight bytes are left.
    #[inline]
    fn refill(&mut self) -> bool {
        let Some(bytes) = self.rest.first_chunk::<8>() else { return false };
        self.acc |= u64::from_be_bytes(*bytes) >> self.bits;
        let taken = (63 - self.bits) / 8;
        self.rest = self.rest.get(taken as usize..).unwrap_or_default();
        self.bits += 8 * taken;
        // Bits beyond the whole bytes taken are read again by the next refill.
        self.acc &= !(u64::MAX >> self.bits);
        true
    }

    #[inline]
    fn lookup(&self) -> Entry {
        Entry(WINDOWS.get((self.acc >> (64 - WINDOW)) as usize).copied().unwrap_or_default())
    }

    #[inline]
    fn skip(&mut self, bits: u32) {
        self.acc <<= bits;
        self.bits -= bits;
    }

    /// The symbol of a code longer than the window.
    #[cold]
    fn long_symbol(&mut self) -> Result<u8, HuffmanError> {
        let (symbol, len) = long_code((self.acc >> 32) as u32);
        self.skip(len);
        u8::try_from(symbol).map_err(|_| HuffmanError::Eos)
    }

    /// The last bytes, symbol by symbol, and the padding.
    fn tail(mut self, out: &mut Vec<u8>) -> Result<(), HuffmanError> {
        loop {
            while self.bits <= 56 {
                let Some((&byte, rest)) = self.rest.split_first() else { break };
                self.rest = rest;
                self.acc |= u64::from(byte) << (56 - self.bits);
                self.bits += 8;
            }
            // What is missing reads as ones, so that padding looks like the beginning of EOS.
            let filled = self.acc | u64::MAX.checked_shr(self.bits).unwrap_or(0);
            let entry = Entry(WINDOWS.get((filled >> (64 - WINDOW)) as usize).copied().unwrap_or_default());
            let (symbol, len) = if entry.is_long() {
                long_code((filled >> 32) as u32)
            } else {
                (u16::from(entry.symbols() as u8), entry.first_bits())
            };
            if len > self.bits {
                let padding = self.bits < 8 && filled == u64::MAX;
                return if padding { Ok(()) } else { Err(HuffmanError::Padding) };
            }
            self.skip(len);
            out.push(u8::try_from(symbol).map_err(|_| HuffmanError::Eos)?);
        }
    }
}

/// Symbol and length of the code that `peek` begins with; one that is longer than the window.
fn long_code(peek: u32) -> (u16, u32) {
    for class in CLASSES.iter().skip(WINDOW as usize) {
        if u64::from(peek) < class.end {
            let offset = (peek - class.first) >> (32 - class.bits);
            let symbol = SORTED.get(usize::from(class.symbols) + offset as usize).copied();
            return (symbol.unwrap_or(EOS), class.bits);
        }
    }
    (EOS, LONGEST as u32)
}

/// What a window begins with: one or two whole symbols (bits 0-15), their number (16-17), the bits of the first (20-23)
/// and of all (24-27). Zero: a code longer than the window.
#[derive(Clone, Copy)]
struct Entry(u32);

impl Entry {
    fn is_long(self) -> bool {
        self.0 == 0
    }

    fn symbols(self) -> u16 {
        self.0 as u16
    }

    fn count(self) -> u32 {
        (self.0 >> 16) & 3
    }

    fn first_bits(self) -> u32 {
        (self.0 >> 20) & 15
    }

    fn both_bits(self) -> u32 {
        (self.0 >> 24) & 15
    }
}

/// All codes of one length, left-aligned in 32 bits, and where their symbols stand in [`SORTED`].
#[derive(Clone, Copy)]
struct Class {
    bits: u32,
    first: u32,
    end: u64,
    symbols: u16,
}

fn at<T: Copy + Default>(table: &[T; 256], byte: u8) -> T {
    table.get(usize::from(byte)).copied().unwrap_or_default()
}

/// Length in bits of the code of each byte, then of EOS (RFC 7541 appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
    6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
    5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
    13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
    15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
    6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

static CODE_OF: [u32; 256] = codes().0;
static LENGTH_OF: [u8; 256] = codes().1;
/// The symbols in the order of their codes.
static SORTED: [u16; 257] = sorted().0;
/// The classes of all lengths from 1 on; one without codes ends where it begins.
static CLASSES: [Class; LONGEST] = sorted().1;
static WINDOWS: [u32; 1 << WINDOW] = windows();

#[allow(clippy::indexing_slicing, reason = "runs at compile time, where a bad index stops the build")]
const fn sorted() -> ([u16; 257], [Class; LONGEST]) {
    let mut symbols = [0u16; 257];
    let mut classes = [Class { bits: 1, first: 0, end: 0, symbols: 0 }; LONGEST];
    let (mut count, mut code, mut bits) = (0usize, 0u64, 1usize);
    while bits <= LONGEST {
        code <<= 1;
        let (first, start) = (code, count);
        let mut symbol = 0;
        while symbol < 257 {
            if LENGTHS[symbol] as usize == bits {
                symbols[count] = symbol as u16;
                count += 1;
                code += 1;
            }
            symbol += 1;
        }
        let shift = 32 - bits;
        classes[bits - 1] =
            Class { bits: bits as u32, first: (first << shift) as u32, end: code << shift, symbols: start as u16 };
        bits += 1;
    }
    (symbols, classes)
}

#[allow(clippy::indexing_slicing, reason = "runs at compile time, where a bad index stops the build")]
const fn codes() -> ([u32; 256], [u8; 256]) {
    let (symbols, classes) = sorted();
    let (mut codes, mut lengths) = ([0u32; 256], [0u8; 256]);
    let mut at = 0;
    while at < 256 {
        // EOS comes last of all codes, so the first 256 are the bytes.
        let symbol = symbols[at] as usize;
        let class = classes[LENGTHS[symbol] as usize - 1];
        codes[symbol] = (class.first >> (32 - class.bits)) + (at as u32 - class.symbols as u32);
        lengths[symbol] = LENGTHS[symbol];
        at += 1;
    }
    (codes, lengths)
}

#[allow(clippy::indexing_slicing, reason = "runs at compile time, where a bad index stops the build")]
const fn windows() -> [u32; 1 << WINDOW] {
    let (codes, lengths) = codes();
    let mut single = [0u32; 1 << WINDOW]; // symbol and length of the first code, zero if longer
    let mut symbol = 0;
    while symbol < 256 {
        let len = lengths[symbol] as u32;
        if len <= WINDOW {
            let free = WINDOW - len;
            let mut at = codes[symbol] << free;
            let end = at + (1 << free);
            while at < end {
                single[at as usize] = symbol as u32 | (len << 8);
                at += 1;
            }
        }
        symbol += 1;
    }
    let mut entries = [0u32; 1 << WINDOW];
    let mut at = 0;
    while at < 1 << WINDOW {
        let (first, len) = (single[at] & 255, single[at] >> 8);
        if len > 0 {
            let next = single[(at << len) & ((1 << WINDOW) - 1)];
            let (second, more) = (next & 255, next >> 8);
            entries[at] = if more > 0 && len + more <= WINDOW {
                first | (second << 8) | (2 << 16) | (len << 20) | ((len + more) << 24)
            } else {
                first | (1 << 16) | (len << 20) | (len << 24)
            };
        }
        at += 1;
    }
    entries
}

#[cfg(test)]
mod tests;
