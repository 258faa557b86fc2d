//! Validation of `traceparent` (W3C Trace Context 3.2).

/// Returns whether a value can be parsed as `traceparent` version 00 and its ids are not zero.
pub fn is_traceparent(value: &[u8]) -> bool {
    let Some((fixed, more)) = value.split_first_chunk::<55>() else { return false };
    let [v0, v1, b'-', ids @ .., b'-', f0, f1] = fixed else { return false };
    let Some((trace, rest)) = ids.split_first_chunk::<32>() else { return false };
    let Some((b'-', parent)) = rest.split_first() else { return false };
    let is_hex = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_id = |bytes: &[u8]| is_hex(bytes) && bytes.iter().any(|byte| *byte != b'0');
    let is_version = match (v0, v1) {
        (b'f', b'f') => false,
        (b'0', b'0') => more.is_empty(),
        // Later versions may append more after a dash.
        _ => is_hex(&[*v0, *v1]) && matches!(more.first(), None | Some(b'-')),
    };
    is_version && is_id(trace) && is_id(parent) && is_hex(&[*f0, *f1])
}

#[cfg(test)]
mod tests {
    use super::is_traceparent;

    #[test]
    fn valid_and_invalid_traceparents() {
        let valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let cases = [
            (valid.to_owned(), true),
            (valid.replacen("00", "cc", 1), true),
            (valid.replacen("00", "cc", 1) + "-what-else", true),
            (valid.replacen("00", "cc", 1) + ".", false),
            (valid.to_owned() + "-more", false),
            (valid.replacen("00", "ff", 1), false),
            (valid.replacen("00", "0G", 1), false),
            (valid.to_uppercase(), false),
            (valid.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)), false),
            (valid.replace("00f067aa0ba902b7", &"0".repeat(16)), false),
            (valid.replace("-01", "-0x"), false),
            (valid.replace("-01", ""), false),
            (valid.replace('-', "_"), false),
            (String::new(), false),
        ];
        for (value, is_valid) in cases {
            assert_eq!(is_traceparent(value.as_bytes()), is_valid, "{value}");
        }
    }
}
