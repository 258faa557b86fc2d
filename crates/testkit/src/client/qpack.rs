//! QPACK without a dynamic table (RFC 9204), for the raw client. Independent of the product's codec.
//!
//! The encoder writes only literals, so that any name and value can be sent.

use bytes::{BufMut, Bytes, BytesMut};
use loona_hpack::huffman::HuffmanDecoder;

/// A decoded field.
pub type Field = (String, String);

/// Encodes fields as literals with literal names (RFC 9204 section 4.5.6). Does not validate them.
pub fn encode(fields: &[(&str, &str)]) -> Bytes {
    let mut out = BytesMut::from(&[0u8, 0][..]);
    for (name, value) in fields {
        put_int(&mut out, 0x20, 3, name.len());
        out.extend_from_slice(name.as_bytes());
        put_int(&mut out, 0, 7, value.len());
        out.extend_from_slice(value.as_bytes());
    }
    out.freeze()
}

/// Decodes a field section. Returns `None` if it is malformed or refers to the dynamic table.
pub fn decode(section: &[u8]) -> Option<Vec<Field>> {
    let mut reader = Reader(section);
    let (required, _base) = (reader.int(8)?, reader.int(7)?);
    if required != 0 {
        return None;
    }
    let mut fields = Vec::new();
    while let Some(first) = reader.0.first().copied() {
        fields.push(match first {
            0xc0.. => entry(reader.int(6)?)?,
            0x50..=0x5f | 0x70..=0x7f => (entry(reader.int(4)?)?.0, reader.string(7)?),
            0x20..=0x3f => (reader.string(3)?, reader.string(7)?),
            _ => return None,
        });
    }
    Some(fields)
}

fn entry(index: usize) -> Option<Field> {
    STATIC.get(index).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
}

/// Appends an integer with a prefix of `bits` bits; `first` is the rest of the first byte (RFC 7541 section 5.1).
fn put_int(out: &mut BytesMut, first: u8, bits: u32, value: usize) {
    let limit = (1usize << bits) - 1;
    if value < limit {
        out.put_u8(first | value as u8);
        return;
    }
    out.put_u8(first | limit as u8);
    let mut rest = value - limit;
    while rest >= 0x80 {
        out.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.put_u8(rest as u8);
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn int(&mut self, bits: u32) -> Option<usize> {
        let limit = (1usize << bits) - 1;
        let mut value = usize::from(self.byte()?) & limit;
        if value < limit {
            return Some(value);
        }
        for shift in (0..28).step_by(7) {
            let byte = self.byte()?;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(value);
            }
        }
        None
    }

    /// Reads a string whose length has a prefix of `bits` bits. The bit above is the Huffman flag.
    fn string(&mut self, bits: u32) -> Option<String> {
        let huffman = self.0.first()? & (1 << bits) != 0;
        let len = self.int(bits)?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        let bytes = if huffman { HuffmanDecoder::new().decode(bytes).ok()? } else { bytes.to_vec() };
        String::from_utf8(bytes).ok()
    }
}

/// RFC 9204 appendix A.
const STATIC: [(&str, &str); 99] = [
    (":authority", ""),
    (":path", "/"),
    ("age", "0"),
    ("content-disposition", ""),
    ("content-length", "0"),
    ("cookie", ""),
    ("date", ""),
    ("etag", ""),
    ("if-modified-since", ""),
    ("if-none-match", ""),
    ("last-modified", ""),
    ("link", ""),
    ("location", ""),
    ("referer", ""),
    ("set-cookie", ""),
    (":method", "CONNECT"),
    (":method", "DELETE"),
    (":method", "GET"),
    (":method", "HEAD"),
    (":method", "OPTIONS"),
    (":method", "POST"),
    (":method", "PUT"),
    (":scheme", "http"),
    (":scheme", "https"),
    (":status", "103"),
    (":status", "200"),
    (":status", "304"),
    (":status", "404"),
    (":status", "503"),
    ("accept", "*/*"),
    ("accept", "application/dns-message"),
    ("accept-encoding", "gzip, deflate, br"),
    ("accept-ranges", "bytes"),
    ("access-control-allow-headers", "cache-control"),
    ("access-control-allow-headers", "content-type"),
    ("access-control-allow-origin", "*"),
    ("cache-control", "max-age=0"),
    ("cache-control", "max-age=2592000"),
    ("cache-control", "max-age=604800"),
    ("cache-control", "no-cache"),
    ("cache-control", "no-store"),
    ("cache-control", "public, max-age=31536000"),
    ("content-encoding", "br"),
    ("content-encoding", "gzip"),
    ("content-type", "application/dns-message"),
    ("content-type", "application/javascript"),
    ("content-type", "application/json"),
    ("content-type", "application/x-www-form-urlencoded"),
    ("content-type", "image/gif"),
    ("content-type", "image/jpeg"),
    ("content-type", "image/png"),
    ("content-type", "text/css"),
    ("content-type", "text/html; charset=utf-8"),
    ("content-type", "text/plain"),
    ("content-type", "text/plain;charset=utf-8"),
    ("range", "bytes=0-"),
    ("strict-transport-security", "max-age=31536000"),
    ("strict-transport-security", "max-age=31536000; includesubdomains"),
    ("strict-transport-security", "max-age=31536000; includesubdomains; preload"),
    ("vary", "accept-encoding"),
    ("vary", "origin"),
    ("x-content-type-options", "nosniff"),
    ("x-xss-protection", "1; mode=block"),
    (":status", "100"),
    (":status", "204"),
    (":status", "206"),
    (":status", "302"),
    (":status", "400"),
    (":status", "403"),
    (":status", "421"),
    (":status", "425"),
    (":status", "500"),
    ("accept-language", ""),
    ("access-control-allow-credentials", "FALSE"),
    ("access-control-allow-credentials", "TRUE"),
    ("access-control-allow-headers", "*"),
    ("access-control-allow-methods", "get"),
    ("access-control-allow-methods", "get, post, options"),
    ("access-control-allow-methods", "options"),
    ("access-control-expose-headers", "content-length"),
    ("access-control-request-headers", "content-type"),
    ("access-control-request-method", "get"),
    ("access-control-request-method", "post"),
    ("alt-svc", "clear"),
    ("authorization", ""),
    ("content-security-policy", "script-src 'none'; object-src 'none'; base-uri 'none'"),
    ("early-data", "1"),
    ("expect-ct", ""),
    ("forwarded", ""),
    ("if-range", ""),
    ("origin", ""),
    ("purpose", "prefetch"),
    ("server", ""),
    ("timing-allow-origin", "*"),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", ""),
    ("x-forwarded-for", ""),
    ("x-frame-options", "deny"),
    ("x-frame-options", "sameorigin"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_come_back() {
        let long = "x".repeat(300);
        let fields = [(":method", "GET"), ("a", ""), ("x-long", long.as_str())];
        let decoded = decode(&encode(&fields)).unwrap();
        assert!(decoded.iter().map(|(n, v)| (n.as_str(), v.as_str())).eq(fields));
    }

    #[test]
    fn static_references_and_huffman() {
        // `:status 200`, `content-type` by name with "gzip" in Huffman, as other encoders write them.
        let section = [0, 0, 0xc0 + 25, 0x5f, 44 - 15, 0x83, 0x9b, 0xd9, 0xab];
        let decoded = decode(&section).unwrap();
        assert_eq!(decoded, [(":status".into(), "200".into()), ("content-type".into(), "gzip".to_owned())]);
    }

    #[test]
    fn what_needs_a_dynamic_table_is_refused() {
        assert_eq!(decode(&[2, 0, 0x80]), None);
        assert_eq!(decode(&[0, 0, 0x10]), None);
    }
}
