//! Sample messages: a request of h2load, a request of a browser, and the response with a small file.

use spooky_bridge::{
    huffman, integer,
    message::{
        Field, Fields, Name, Protocol, RequestHead, ResponseHead,
        check::{self, HeadLimits, RequestRules},
    },
    qpack,
};

/// Body length of the small response.
pub const SMALL_BODY: usize = 58;

const H2LOAD: [(&str, &str); 5] = [
    (":method", "GET"),
    (":scheme", "https"),
    (":authority", "127.0.0.1:8448"),
    (":path", "/small"),
    ("user-agent", "h2load nghttp2/1.64.0"),
];

const BROWSER: [(&str, &str); 20] = [
    (":method", "GET"),
    (":authority", "shop.example.com"),
    (":scheme", "https"),
    (":path", "/products/1048576?colour=blue&size=m&page=2"),
    ("sec-ch-ua", "\"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\""),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("upgrade-insecure-requests", "1"),
    (
        "user-agent",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
    ),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-user", "?1"),
    ("sec-fetch-dest", "document"),
    ("referer", "https://shop.example.com/products?colour=blue"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.9"),
    ("cookie", "session=5f2b9c0d7a1e4c3f8b6d2a9e0c7f1b3d"),
    ("cookie", "consent=analytics.no+ads.no; theme=dark"),
    ("priority", "u=0, i"),
];

const ANSWER: [(&str, &str); 7] = [
    ("server", "nginx"),
    ("date", "Mon, 03 Mar 2025 10:15:30 GMT"),
    ("content-type", "text/plain"),
    ("content-length", "58"),
    ("last-modified", "Sun, 02 Mar 2025 08:00:00 GMT"),
    ("etag", "\"67c41080-3a\""),
    ("accept-ranges", "bytes"),
];

/// Returns a request of the load generator h2load.
pub fn h2load() -> Fields {
    fields(&H2LOAD)
}

/// Returns a request of a browser: 20 fields, two of them `cookie`.
pub fn browser() -> Fields {
    fields(&BROWSER)
}

/// Returns the head of the small response.
pub fn answer() -> ResponseHead {
    ResponseHead { status: 200, fields: fields(&ANSWER), content_length: Some(SMALL_BODY as u64) }
}

/// Returns the fields of the small response, including `:status`.
pub fn answer_fields() -> Fields {
    let mut lines = vec![(":status", "200")];
    lines.extend(ANSWER);
    fields(&lines)
}

/// Returns the request head after the checks.
pub fn checked(request: Fields) -> RequestHead {
    check::request(request, &HeadLimits::default(), &RequestRules::new(Protocol::Http3)).expect("a sound sample")
}

/// Encodes a field section as clients do: static table references where possible, Huffman strings otherwise.
pub fn section(fields: &Fields) -> Vec<u8> {
    let mut out = vec![0, 0];
    for field in fields.iter() {
        put_line(&field, &mut out);
    }
    out
}

/// Returns an HTTP/3 frame (RFC 9114 section 7.1).
pub fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(payload.len()).ok().filter(|len| *len < 1 << 14).expect("a short payload");
    let mut out = vec![kind];
    out.extend_from_slice(&(len | 0x4000).to_be_bytes());
    out.extend_from_slice(payload);
    out
}

fn fields(lines: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in lines {
        fields.push(Name::from_bytes(name.as_bytes()), value.as_bytes());
    }
    fields
}

/// Appends a field line (RFC 9204 sections 4.5.2, 4.5.4, 4.5.6): that of the product's encoder with Huffman strings.
fn put_line(field: &Field<'_>, out: &mut Vec<u8>) {
    let mut one = Fields::new();
    one.push(field.name, field.value);
    let mut plain = Vec::new();
    qpack::encode(None, &one, &mut plain);
    let line = &plain[2..];
    match line[0] {
        0x80.. => return out.extend_from_slice(line),
        0x40..0x80 => {
            let mut rest = line;
            let index = integer::decode(4, &mut rest).expect("an index");
            integer::encode(4, 0x50, index, out);
        }
        _ => put_text(3, 0x28, field.name.as_bytes(), out),
    }
    put_text(7, 0x80, field.value, out);
}

fn put_text(prefix: u32, flags: u8, text: &[u8], out: &mut Vec<u8>) {
    integer::encode(prefix, flags, huffman::encoded_len(text) as u64, out);
    huffman::encode(text, out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_hold_what_they_are_made_of() {
        for sample in [h2load(), browser()] {
            let mut read = Fields::new();
            qpack::decode(&section(&sample), &mut read, 1 << 14).unwrap();
            assert!(read.iter().eq(sample.iter()));
            assert!(section(&sample).len() < sample.size());
            checked(read);
        }
    }
}
