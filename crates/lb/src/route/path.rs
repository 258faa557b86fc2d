//! The normalized path ("matching form") that routes, denied prefixes and the `path` key compare
//! (docs/reference/behaviour.md#path-normalization).
//!
//! The forwarded path is not changed. Nearly all paths are normalized already and are borrowed; others are rewritten into a
//! buffer of the caller, which needs one byte more than the path.

/// Returns the matching form of `path`, borrowed from `path` if nothing changes, else from `scratch`.
pub fn matching_form<'a>(path: &'a [u8], scratch: &'a mut Vec<u8>) -> &'a [u8] {
    let (raw, is_plain) = cut_query(path);
    if is_plain {
        return raw;
    }
    scratch.clear();
    decode(raw, scratch);
    resolve(scratch);
    scratch
}

/// Returns whether `path` equals `prefix` or continues it at a segment boundary. Both must be in matching form.
pub fn is_under(path: &[u8], prefix: &[u8]) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || prefix.ends_with(b"/") || rest.first() == Some(&b'/'))
}

/// Returns the path without its query, and whether that is certainly its own matching form.
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

/// Decodes unreserved characters once, replaces `%2F`, `%5C` and `\` by `/`, drops everything from `%00` on, and writes other
/// escapes with upper-case digits. One pass, so that decoding cannot create new escapes.
fn decode(path: &[u8], out: &mut Vec<u8>) {
    let mut rest = path;
    while let Some((&first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'%', &[high, low, ref after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let value = hex(high) << 4 | hex(low);
                match value {
                    0 => return,
                    b'/' | b'\\' => out.push(b'/'),
                    b'-' | b'.' | b'_' | b'~' => out.push(value),
                    _ if value.is_ascii_alphanumeric() => out.push(value),
                    _ => out.extend_from_slice(&[b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]),
                }
                rest = after;
            }
            _ => {
                out.push(if first == b'\\' { b'/' } else { first });
                rest = tail;
            }
        }
    }
}

pub(super) const fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit.wrapping_sub(b'A').wrapping_add(10),
    }
}

/// Collapses repeated slashes and removes dot segments in place; the result begins with `/`.
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
    // `write` is the end of a sequence of `/segment`; after an empty or dot segment a final slash is added below.
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
