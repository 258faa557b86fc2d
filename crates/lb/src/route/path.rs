//! The matching form of a path (behaviour 4): what routes, denied prefixes and the `path` key compare.
//!
//! The forwarded path is never touched. A path that is its own matching form, which nearly all are, is borrowed; others
//! are rewritten into the caller's scratch, at most as long as the path itself.

/// The matching form of `path`; it borrows from `path` where nothing changes, else from `scratch`.
pub fn matching_form<'a>(path: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let (raw, is_plain) = cut_query(path);
    if is_plain {
        return raw;
    }
    scratch.clear();
    decode(raw, scratch);
    separate(scratch);
    resolve(scratch);
    scratch
}

/// The four readings of a path, each of which a denied prefix is tried on.
#[derive(Clone, Copy, Debug)]
pub enum Readings<'a> {
    /// All four are the same.
    Plain(&'a [u8]),
    /// Raw without the query, and three forms that live in the scratch buffers.
    Distinct([&'a [u8]; 4]),
}

impl<'a> Readings<'a> {
    /// Raw, after decoding, after dot segments without the slash rule, and the full form.
    pub fn of(path: &'a [u8], scratch: &'a mut [Vec<u8>; 3]) -> Self {
        let (raw, is_plain) = cut_query(path);
        if is_plain {
            return Self::Plain(raw);
        }
        let [decoded, resolved, full] = scratch;
        decoded.clear();
        decode(raw, decoded);
        resolved.clone_from(decoded);
        resolve(resolved);
        full.clone_from(decoded);
        separate(full);
        resolve(full);
        Self::Distinct([raw, decoded, resolved, full])
    }

    /// Whether any reading satisfies `test`.
    pub fn any(&self, mut test: impl FnMut(&[u8]) -> bool) -> bool {
        match self {
            Self::Plain(form) => test(form),
            Self::Distinct(forms) => forms.iter().any(|form| test(form)),
        }
    }
}

/// Whether `path` lies under `prefix`: itself and, on a segment boundary, everything below. Both in matching form.
pub fn is_under(path: &[u8], prefix: &[u8]) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || prefix.ends_with(b"/") || rest.first() == Some(&b'/'))
}

/// The path without its query, and whether that is its own matching form. A leading dot of any segment sends it the
/// long way.
fn cut_query(path: &[u8]) -> (&[u8], bool) {
    let mut is_plain = path.first() == Some(&b'/');
    let mut after_slash = false;
    for (at, &byte) in path.iter().enumerate() {
        match byte {
            b'?' => return (path.get(..at).unwrap_or(path), is_plain),
            b'%' | b'\\' => is_plain = false,
            b'/' | b'.' if after_slash => is_plain = false,
            _ => {}
        }
        after_slash = byte == b'/';
    }
    (path, is_plain)
}

/// Step 2: unreserved characters are decoded once, other escapes get upper-case digits.
fn decode(path: &[u8], out: &mut Vec<u8>) {
    let mut rest = path;
    while let Some((&first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'%', &[high, low, ref after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let value = hex(high) << 4 | hex(low);
                if value.is_ascii_alphanumeric() || matches!(value, b'-' | b'.' | b'_' | b'~') {
                    out.push(value);
                } else {
                    out.extend_from_slice(&[b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
                }
                rest = after;
            }
            _ => {
                out.push(first);
                rest = tail;
            }
        }
    }
}

const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

/// Step 3, in place: `%2F`, `%5C` and `\` become `/`, everything from `%00` on is dropped. Escapes are upper case here.
fn separate(form: &mut Vec<u8>) {
    let (mut read, mut write) = (0, 0);
    while let Some(&byte) = form.get(read) {
        let (kept, step) = match (byte, form.get(read + 1..read + 3)) {
            (b'%', Some(b"00")) => break,
            (b'%', Some(b"2F" | b"5C")) => (b'/', 3),
            (b'\\', _) => (b'/', 1),
            _ => (byte, 1),
        };
        if let Some(slot) = form.get_mut(write) {
            *slot = kept;
        }
        read += step;
        write += 1;
    }
    form.truncate(write);
}

/// Steps 4 and 5, in place: repeated slashes collapse, dot segments go; the result begins with `/`.
fn resolve(form: &mut Vec<u8>) {
    if form.first() != Some(&b'/') {
        if form.is_empty() || form.as_slice() == b"*" {
            form.clear();
            form.push(b'/');
            return;
        }
        form.insert(0, b'/');
    }
    let (mut read, mut write) = (1, 0);
    // `write` ends a sequence of `/segment`; an open end (empty or dot segment) adds the closing slash below.
    let mut open = true;
    while read <= form.len() {
        let rest = form.get(read..).unwrap_or_default();
        let len = rest.iter().position(|&b| b == b'/').unwrap_or(rest.len());
        open = true;
        match rest.get(..len).unwrap_or_default() {
            b"" | b"." => {}
            b".." => {
                let written = form.get(..write).unwrap_or_default();
                write = written.iter().rposition(|&b| b == b'/').unwrap_or(0);
            }
            _ => {
                open = false;
                form.copy_within(read - 1..read + len, write);
                write += len + 1;
            }
        }
        read += len + 1;
    }
    if open {
        if let Some(slot) = form.get_mut(write) {
            *slot = b'/';
        }
        write += 1;
    }
    form.truncate(write);
}
