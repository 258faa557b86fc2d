//! The static Huffman code of HPACK and QPACK (RFC 7541 5.2 and appendix B).
//!
//! The code is canonical, so the source contains only the lengths of its 257 codes; all tables are computed from them
//! at compile time.

use std::fmt;

/// Why a string is not a valid Huffman encoding (RFC 7541 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HuffmanError {
    /// The string contains the EOS symbol.
    Eos,
    /// The padding is longer than 7 bits or is not a prefix of EOS.
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

/// Returns the number of bytes that [`encode`] appends for `src`.
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
/// [`HuffmanError`]; `out` may then contain a part of the string.
pub fn decode(src: &[u8], out: &mut Vec<u8>) -> Result<(), HuffmanError> {
    // The shortest code has 5 bits; 8 bytes are written at once and truncated.
    out.reserve(src.len() * 8 / 5 + 8);
    let mut reader = Reader { src, rest: src, acc: 0, bits: 0 };
    while reader.refill() {
        // At least 56 bits: four lookups of up to two symbols each. A lookup that meets a long code changes nothing.
        let mut word = 0u64;
        let mut filled = 0u32;
        for _ in 0..LOOKUPS {
            let entry = lookup(reader.acc);
            reader.skip(entry.bits());
            word |= u64::from(entry.symbols()) << filled;
            filled += entry.symbol_bits();
        }
        if filled == 0 {
            out.push(reader.long_symbol()?);
        } else {
            let len = out.len() + filled as usize / 8;
            out.extend_from_slice(&word.to_le_bytes());
            out.truncate(len);
        }
    }
    reader.tail(out)
}

/// Bits of one lookup.
const WINDOW: u32 = 12;
/// Lookups per refill: they use at most 48 of the 56 available bits.
const LOOKUPS: usize = 4;
const LONGEST: usize = 30;
const EOS: u16 = 256;

/// Reads the bits of a string: first the upper `bits` bits of `acc`, then `rest`. The other bits of `acc` are 0.
struct Reader<'a> {
    src: &'a [u8],
    rest: &'a [u8],
    acc: u64,
    bits: u32,
}

impl Reader<'_> {
    /// Refills to at least 56 bits. Returns false, changing nothing, if fewer than eight bytes are left.
    #[inline]
    fn refill(&mut self) -> bool {
        let Some(bytes) = self.rest.first_chunk::<8>() else { return false };
        self.acc |= u64::from_be_bytes(*bytes) >> self.bits;
        let taken = (63 - self.bits) / 8;
        self.rest = self.rest.get(taken as usize..).unwrap_or_default();
        self.bits += 8 * taken;
        // The next refill reads the bits after the last whole byte again.
        self.acc &= !(u64::MAX >> self.bits);
        true
    }

    #[inline]
    fn skip(&mut self, bits: u32) {
        self.acc <<= bits & 63;
        self.bits -= bits;
    }

    /// Reads a symbol whose code is longer than the lookup window.
    #[cold]
    fn long_symbol(&mut self) -> Result<u8, HuffmanError> {
        let (symbol, len) = long_code((self.acc >> 32) as u32);
        self.skip(len);
        u8::try_from(symbol).map_err(|_| HuffmanError::Eos)
    }

    /// Decodes the last symbols and the padding, when fewer than eight bytes are left.
    fn tail(mut self, out: &mut Vec<u8>) -> Result<(), HuffmanError> {
        let mut more = self.last_bytes();
        let mut more_bits = 8 * self.rest.len() as u32;
        loop {
            if more_bits > 0 && self.bits <= 32 {
                let taken = more_bits.min(64 - self.bits);
                self.acc |= more >> self.bits;
                more = more.checked_shl(taken).unwrap_or(0);
                self.bits += taken;
                more_bits -= taken;
            }
            // Missing bits are ones, so that padding looks like a prefix of EOS.
            let ahead = self.acc | u64::MAX.checked_shr(self.bits).unwrap_or(0);
            let entry = lookup(ahead);
            if entry.is_short() && entry.bits() <= self.bits {
                let len = out.len() + entry.symbol_bits() as usize / 8;
                out.extend_from_slice(&entry.symbols().to_le_bytes());
                out.truncate(len);
                self.skip(entry.bits());
                continue;
            }
            let (symbol, len) = first_code(entry, ahead);
            if len > self.bits {
                let is_padding = self.bits < 8 && ahead == u64::MAX;
                return if is_padding { Ok(()) } else { Err(HuffmanError::Padding) };
            }
            out.push(u8::try_from(symbol).map_err(|_| HuffmanError::Eos)?);
            self.skip(len);
        }
    }

    /// Returns the bytes of `rest`, at most seven, in the upper bits.
    fn last_bytes(&self) -> u64 {
        let missing = 64 - 8 * self.rest.len() as u32;
        let word = match self.src.last_chunk::<8>() {
            Some(bytes) => u64::from_be_bytes(*bytes),
            None => self.rest.iter().fold(0, |word, byte| (word << 8) | u64::from(*byte)),
        };
        word.checked_shl(missing).unwrap_or(0)
    }
}

#[inline]
fn lookup(acc: u64) -> Entry {
    Entry(WINDOWS.get((acc >> (64 - WINDOW)) as usize).copied().unwrap_or_default())
}

/// Returns symbol and length of the first code in `ahead`.
fn first_code(entry: Entry, ahead: u64) -> (u16, u32) {
    if entry.is_short() {
        let symbol = entry.symbols() as u8;
        (u16::from(symbol), u32::from(at(&LENGTH_OF, symbol)))
    } else {
        long_code((ahead >> 32) as u32)
    }
}

/// Returns symbol and length of the code at the start of `peek`, which is longer than the window.
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

/// The one or two complete symbols at the start of a window: total length of their codes in bits 0-7, size of the
/// symbols in bits 8-15, the symbols in bits 16-31. Zero for a code longer than the window.
#[derive(Clone, Copy)]
struct Entry(u32);

impl Entry {
    fn is_short(self) -> bool {
        self.0 != 0
    }

    fn bits(self) -> u32 {
        self.0 & 0xff
    }

    fn symbol_bits(self) -> u32 {
        (self.0 >> 8) & 0xff
    }

    fn symbols(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// All codes of one length, left-aligned in 32 bits, and the position of their symbols in [`SORTED`].
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

/// Code length in bits of each byte, then of EOS (RFC 7541 appendix B).
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
/// The classes of all lengths from 1 on; an empty class ends where it begins.
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
        // EOS has the last code, so the first 256 are the bytes.
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
                (len + more) | (16 << 8) | (first << 16) | (second << 24)
            } else {
                len | (8 << 8) | (first << 16)
            };
        }
        at += 1;
    }
    entries
}

#[cfg(test)]
mod tests;
