//! Decides whether a path is below a denied prefix in any interpretation that a backend may have of it.
//!
//! Backends differ in whether `%2F`, `\` and `%5C` are slashes, whether `%00` ends the path, whether path parameters
//! (`;...`) are cut off, whether a path that begins with `//` names a host first, and when dot segments are removed; some
//! read in two steps. Trying each combination would cost a hundred passes over the path. Instead one pass follows all
//! readings at once: for each segment of a prefix it keeps the bounds of how many further segments can lie above the ones
//! that match, over all readings. The lower bound is never above the truth, so no reading is missed. A path whose only
//! peculiarity is plain dot segments has equal bounds, and is denied exactly if it is below the prefix with its dot
//! segments kept or removed. Of other paths with dot segments a few are denied that no single reading puts below the prefix.

use super::path::{is_under, matching_form};

/// The compiled prefixes.
#[derive(Debug, Default)]
pub struct DeniedPrefixes(Vec<Prefix>);

/// Buffer of [`DeniedPrefixes::denies`], which the caller reuses to avoid allocation.
#[derive(Debug, Default)]
pub struct PathDepths(Vec<Option<Depth>>);

#[derive(Debug)]
struct Prefix {
    /// Decoded, for paths with a single reading.
    text: Vec<u8>,
    segments: Vec<Segment>,
    /// The prefix ends in `/`: it does not match without something after that slash, be it empty.
    is_below_only: bool,
}

#[derive(Debug)]
struct Segment {
    /// Decoded once.
    decoded: Vec<u8>,
    /// In matching form, which keeps the escapes of reserved characters.
    written: Vec<u8>,
}

/// Bounds of the number of further segments after the first `n` segments of a prefix, over all readings of the path so far
/// that begin with these. Absent if no reading does.
#[derive(Clone, Copy, Debug)]
struct Depth {
    least: u32,
    most: u32,
    /// The lowest `least` since the last plain slash: a reading may take all since then as one segment.
    least_in_chunk: u32,
    /// A slash followed the whole prefix.
    is_entered: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Separator {
    /// `/`, a slash on every reading.
    Slash,
    /// `\`, a slash on some readings.
    Backslash,
    /// `%2F` or `%5C`, a slash on some readings.
    Encoded,
    /// The end of the path.
    End,
}

/// What a piece, the part of a path between two separators, can be.
struct Piece<'p> {
    text: &'p [u8],
    /// Some reading takes it as `..`.
    may_pop: bool,
    /// Every reading that removes dot segments takes it as `..`.
    must_pop: bool,
    /// Some reading passes over it.
    may_skip: bool,
    /// Every reading that removes dot segments passes over it.
    must_skip: bool,
}

impl DeniedPrefixes {
    /// Compiles the prefixes.
    pub fn new<'p>(prefixes: impl IntoIterator<Item = &'p str>) -> Self {
        Self(prefixes.into_iter().map(Prefix::new).collect())
    }

    /// Whether some reading of `path` lies below a prefix.
    pub fn denies(&self, path: &[u8], depths: &mut PathDepths) -> bool {
        if self.0.is_empty() {
            return false;
        }
        let (path, has_one_reading) = without_query(path);
        if has_one_reading {
            return self.0.iter().any(|prefix| is_under(path, &prefix.text));
        }
        self.walk(path, &mut depths.0)
    }

    fn walk(&self, path: &[u8], depths: &mut Vec<Option<Depth>>) -> bool {
        self.start(depths);
        // RFC 3986 section 3.3: what begins with two slashes is a host and a path for those who expect a reference.
        let mut is_host = matches!(path, [b'/' | b'\\', b'/' | b'\\', ..]);
        let mut rest = path.strip_prefix(b"/").unwrap_or(path);
        let (mut before, mut is_parameter, mut has_pops, mut has_host) = (Separator::Slash, false, false, false);
        loop {
            let (text, separator, after) = next_piece(rest);
            let is_whole = before == Separator::Slash && matches!(separator, Separator::Slash | Separator::End);
            let piece = Piece {
                text,
                may_pop: reads_as(text, b".."),
                must_pop: is_whole && !is_host && text == b"..",
                may_skip: is_host || is_parameter || reads_as(text, b"") || reads_as(text, b"."),
                must_skip: is_whole && !is_host && text == b".",
            };
            self.step(&piece, depths);
            has_pops |= piece.may_pop;
            // Without dot segments so far nothing that follows can lead out of the prefix.
            if (!has_pops || has_byte(text, 0)) && self.is_below(depths) {
                return true;
            }
            if separator == Separator::End {
                return self.is_below(depths);
            }
            pass(separator, depths);
            if !has_pops && self.is_below(depths) {
                return true;
            }
            is_parameter = separator != Separator::Slash && (is_parameter || has_byte(text, b';'));
            // Further slashes before the host are passed over by some; `\` ends it for some.
            has_host |= !text.is_empty();
            is_host &= separator != Separator::Slash || !has_host;
            (before, rest) = (separator, after);
        }
    }

    fn start(&self, depths: &mut Vec<Option<Depth>>) {
        depths.clear();
        for prefix in &self.0 {
            depths.push(Some(Depth { least: 0, most: 0, least_in_chunk: 0, is_entered: true }));
            depths.extend(prefix.segments.iter().map(|_| None));
        }
    }

    fn step(&self, piece: &Piece<'_>, depths: &mut [Option<Depth>]) {
        let mut rest = depths;
        for prefix in &self.0 {
            let Some((own, others)) = rest.split_at_mut_checked(prefix.segments.len() + 1) else { return };
            prefix.step(piece, own);
            rest = others;
        }
    }

    /// Whether some reading that ends here lies below a prefix.
    fn is_below(&self, depths: &[Option<Depth>]) -> bool {
        let mut end = 0;
        self.0.iter().any(|prefix| {
            end += prefix.segments.len() + 1;
            let depth = end.checked_sub(1).and_then(|last| *depths.get(last)?);
            depth.is_some_and(|depth| depth.is_entered || !prefix.is_below_only)
        })
    }
}

fn pass(separator: Separator, depths: &mut [Option<Depth>]) {
    for depth in depths.iter_mut().flatten() {
        if separator == Separator::Slash {
            depth.least_in_chunk = depth.least;
        }
        depth.is_entered = true;
    }
}

impl Prefix {
    fn new(prefix: &str) -> Self {
        let mut scratch = Vec::new();
        let form = matching_form(prefix.as_bytes(), &mut scratch);
        let segments: Vec<_> = form
            .split(|&byte| byte == b'/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| Segment { decoded: bytes(segment).collect(), written: segment.to_owned() })
            .collect();
        let is_below_only = form.ends_with(b"/");
        let mut text = segments.iter().fold(Vec::new(), |mut text, segment| {
            text.push(b'/');
            text.extend_from_slice(&segment.decoded);
            text
        });
        if is_below_only {
            text.push(b'/');
        }
        Self { text, segments, is_below_only }
    }

    /// Adds a piece: `depths` are those after none, one, two of the segments, and so on.
    fn step(&self, piece: &Piece<'_>, depths: &mut [Option<Depth>]) {
        for matched in (0..depths.len()).rev() {
            let Some(Some(before)) = depths.get(matched).copied() else { continue };
            if let Some(slot) = depths.get_mut(matched) {
                *slot = before.after(piece, matched == 0);
            }
            let next = self.segments.get(matched).filter(|_| before.least == 0);
            if next.is_some_and(|segment| segment.is(piece.text))
                && let Some(slot) = depths.get_mut(matched + 1)
            {
                let (most, is_entered) = slot.map_or((0, false), |depth| (depth.most, depth.is_entered));
                *slot = Some(Depth { least: 0, most, least_in_chunk: 0, is_entered });
            }
        }
    }
}

impl Segment {
    fn is(&self, piece: &[u8]) -> bool {
        reads_as(piece, &self.decoded) || reads_as(piece, &self.written)
    }
}

impl Depth {
    /// The bounds after a piece; none if every reading has left the prefix by it.
    fn after(self, piece: &Piece<'_>, is_root: bool) -> Option<Self> {
        let popped = self.least.saturating_sub(1);
        let (least, most) = if piece.must_pop {
            if self.most == 0 && !is_root {
                return None;
            }
            (popped, self.most.saturating_sub(1))
        } else if piece.must_skip {
            (self.least, self.most)
        } else {
            // One more segment, or the end of one that began at an earlier separator.
            let mut least = self.least_in_chunk.saturating_add(1);
            if piece.may_skip {
                least = least.min(self.least);
            }
            if piece.may_pop {
                least = least.min(popped);
            }
            (least, self.most.saturating_add(1))
        };
        Some(Self { least, most, least_in_chunk: self.least_in_chunk.min(least), ..self })
    }
}

/// Returns the path without its query, and whether all readings of it are the same.
fn without_query(path: &[u8]) -> (&[u8], bool) {
    let mut is_simple = path.first() == Some(&b'/');
    let mut after_slash = false;
    for (at, &byte) in path.iter().enumerate() {
        match byte {
            b'?' => return (path.get(..at).unwrap_or(path), is_simple),
            b'%' | b'\\' | b';' | 0 => is_simple = false,
            b'/' | b'.' if after_slash => is_simple = false,
            _ => {}
        }
        after_slash = byte == b'/';
    }
    (path, is_simple)
}

/// Returns the part before the next separator, the separator, and the rest.
fn next_piece(path: &[u8]) -> (&[u8], Separator, &[u8]) {
    let mut at = 0;
    while let Some(rest) = path.get(at..) {
        let (separator, length) = match rest {
            [b'/', ..] => (Separator::Slash, 1),
            [b'\\', ..] => (Separator::Backslash, 1),
            [b'%', b'2', b'f' | b'F', ..] | [b'%', b'5', b'c' | b'C', ..] => (Separator::Encoded, 3),
            [] => break,
            _ => {
                at += 1;
                continue;
            }
        };
        return (path.get(..at).unwrap_or(path), separator, path.get(at + length..).unwrap_or_default());
    }
    (path, Separator::End, &[])
}

/// Whether some reading takes `piece` as `word`: decoded or not, whole or up to a `;` or NUL.
fn reads_as(piece: &[u8], word: &[u8]) -> bool {
    let (mut rest, mut word) = (piece, word);
    while let Some((&expected, more)) = word.split_first() {
        let Some((byte, after)) = decode_first(rest) else { return false };
        let escape = word.get(..3).zip(rest.get(..3)).filter(|(_, written)| written.starts_with(b"%"));
        if byte == expected {
            word = more;
        } else if escape.is_some_and(|(word, written)| word.eq_ignore_ascii_case(written)) {
            word = word.get(3..).unwrap_or_default();
        } else {
            return false;
        }
        rest = after;
    }
    matches!(decode_first(rest), None | Some((b';' | 0, _)))
}

/// Whether the decoded piece has this byte.
fn has_byte(piece: &[u8], byte: u8) -> bool {
    bytes(piece).any(|found| found == byte)
}

/// Decodes all escapes once.
fn bytes(text: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let (byte, after) = decode_first(rest)?;
        rest = after;
        Some(byte)
    })
}

/// The first byte of `text` with its escape decoded, and what follows it.
fn decode_first(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'%', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
            Some((super::path::hex(*high) << 4 | super::path::hex(*low), after))
        }
        [first, after @ ..] => Some((*first, after)),
        [] => None,
    }
}
