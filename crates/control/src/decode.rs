//! Decodes `%xx` in parts of a path (RFC 3986 section 2.1).

/// Returns the decoded text. `None` if an escape is malformed or the result is not UTF-8.
pub(crate) fn percent_decoded(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        decoded.push(high << 4 | low);
    }
    String::from_utf8(decoded).ok()
}
