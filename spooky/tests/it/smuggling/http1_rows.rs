//! Requests of HTTP/1.1 clients that two implementations could read differently.
//!
//! Each list has one place of a request in which its rows stand, and one verdict; those that are forwarded name what arrives.

use super::http1_bodies::{CUT_OFF_CHUNKS, FORWARDED_BODIES, OPEN_ENDED};
use super::http1_heads::{FORWARDED_HEADS, MALFORMED_HEADS, REFUSED_HEADS};
use super::rig::{Expected, LAST_CHUNK_AND_SMUGGLED, SMUGGLED};

/// A request and its verdict.
pub(super) struct Row {
    pub(super) bytes: Vec<u8>,
    pub(super) expected: Expected,
    /// The request is incomplete, so that anything sent after it would belong to it.
    pub(super) is_open_ended: bool,
}

/// Values of `content-length` before 43 bytes.
const MALFORMED_LENGTHS: &[&[u8]] = &[
    b"",
    b"+43",
    b"-43",
    b"- 43",
    b"0x2b",
    b"43x",
    b"4 3",
    b"43 0",
    b"4\t3",
    b"43;",
    b"43;a=b",
    b"43.0",
    b"43e0",
    b"4_3",
    b"43,",
    b",43",
    b"43,43",
    b"43, 43",
    b"0, 43",
    b"43 ,43",
    b"\"43\"",
    b"'43'",
    b"(43)",
    b"forty-three",
    b"0b101011",
    b"\xef\xbc\x94\xef\xbc\x93",
    b"43\xa0",
    b"43\x0b",
    b"18446744073709551659",
    b"99999999999999999999999",
    b"43\r\ncontent-length: 0",
    b"0\r\ncontent-length: 43",
    b"43\r\ncontent-length: +43",
    b"43\r\ncontent-length:",
    b"0\r\nx: y\r\nContent-Length: 43",
    b"0\r\nCONTENT-LENGTH: 43",
    b"%34%33",
    b"43/43",
    b"*",
    b"NaN",
];

/// Values of `content-length` that mean 43.
const LENGTHS: &[&[u8]] = &[
    b"43",
    b"   43",
    b"\t43 \t",
    b"043",
    b"00000000000000000000000043",
    b"43\r\ncontent-length: 43",
    b"43\r\nCONTENT-LENGTH:43",
    b"43\r\ncontent-length: 043",
    b"43\r\nconnection: content-length",
    b"43\r\nConnection: keep-alive, Content-Length",
    b"43\r\ncontent_length: 0",
    b"43\r\nCONTENT_LENGTH: 0",
    b"43\r\nte: chunked",
    b"43\r\ntrailer: content-length",
    b"43\r\nkeep-alive: timeout=5",
    b"43\r\nproxy-connection: close",
    b"43\r\nupgrade: h2c\r\nconnection: upgrade",
    b"43\r\nupgrade: websocket\r\nconnection: upgrade",
];

/// Values of `transfer-encoding` before a chunked body without data.
const MALFORMED_CODINGS: &[&[u8]] = &[
    b"",
    b"identity",
    b"gzip",
    b"deflate",
    b"trailers",
    b"cow",
    b"xchunked",
    b"chunkedx",
    b"chunked chunked",
    b"chun ked",
    b"\"chunked\"",
    b"'chunked'",
    b"chunked;q=1",
    b"chunked;",
    b"chunked,",
    b",chunked",
    b", chunked",
    b"chunked, ",
    b"chunked, chunked",
    b"gzip, chunked",
    b"chunked, gzip",
    b"chunked, identity",
    b"identity, chunked",
    b"chunked\tx",
    b"chunked\x0b",
    b"\x0bchunked",
    b"\x00chunked",
    b"\xc3\xa7hunked",
    b"chun\xe2\x84\xaaed",
    b"chunked\xa0",
    b"chunked\\",
    b"chunked\r\ntransfer-encoding: chunked",
    b"chunked\r\nTransfer-Encoding: identity",
    b"identity\r\ntransfer-encoding: chunked",
    b"gzip\r\ntransfer-encoding: chunked",
    b"chunked\r\ntransfer-encoding:",
    b"chunked\r\nTransfer-Encoding: x",
    b"chunked\r\ncontent-length: 0",
    b"chunked\r\ncontent-length: 5",
    b"chunked\r\nContent-Length:",
    b"identity\r\ncontent-length: 48",
    b"gzip\r\ncontent-length: 48",
];

/// Values of `transfer-encoding` that mean `chunked`.
const CODINGS: &[&[u8]] = &[
    b"chunked",
    b"CHUNKED",
    b"Chunked",
    b"  \tchunked",
    b"chunked \t ",
    b"chunked\r\nconnection: transfer-encoding",
    b"chunked\r\nte: chunked",
    b"chunked\r\ntransfer_encoding: identity",
    b"chunked\r\nTransfer_Encoding: gzip",
    b"chunked\r\ncontent_length: 5",
    b"chunked\r\ntrailer: transfer-encoding",
    b"chunked\r\nproxy-connection: transfer-encoding",
];

/// Lines before `content-length: 48` and 48 bytes, which as chunks would be an empty body and a request.
const MALFORMED_LINES: &[&[u8]] = &[
    b"transfer-encoding: chunked",
    b"transfer-encoding : chunked",
    b"transfer-encoding\t: chunked",
    b"transfer-encoding  : chunked",
    b" transfer-encoding: chunked",
    b"\ttransfer-encoding: chunked",
    b"transfer-encoding:\r\n chunked",
    b"transfer-encoding:\r\n\tchunked",
    b"x: a\r\n transfer-encoding: chunked",
    b"transfer-encoding\x0b: chunked",
    b"transfer-encoding\r: chunked",
    b"transfer\x00encoding: chunked",
    b"transfer-encoding\xa0: chunked",
    b"transfer-encoding\0: chunked",
    b"transfer encoding: chunked",
    b"transfer-encoding",
    b"transfer-encoding chunked",
    b"\"transfer-encoding\": chunked",
    b"content-length : 0",
    b" content-length: 0",
    b"content-length\0: 0",
    b"content-length 0",
    b": chunked",
    b":",
    b"x",
    b"na me: x",
    b"n@me: x",
    b"x[]: y",
    b"(x): y",
    b"x\x7f: y",
    b"x\x80: y",
    b"\xc3\xa9: y",
    b":path: /smuggled",
    b":method: GET",
    b"x/y: z",
    b"x{y}: z",
    b"x,y: z",
    b"x;y: z",
    b"x=y: z",
    b"x<y: z",
    b"x\\y: z",
    b"\x01x: y",
    b"x\x1b: y",
    b"\xef\xbb\xbfx: y",
    b"GET /smuggled HTTP/1.1",
    b"x: a\0b",
    b"x:\0",
    b"x: a\x01",
    b"x: a\x08b",
    b"x: a\x0bb",
    b"x: a\x0cb",
    b"x: a\x1bb",
    b"x: a\x7fb",
    b"x: a\rb",
    b"x: a\rtransfer-encoding: chunked",
    b"x: a\ntransfer-encoding: chunked",
    b"x:\ntransfer-encoding: chunked",
    b"x: a\n\ttransfer-encoding: chunked",
    b"x: a\r\n b",
    b"x: a\r\n\tb",
    b"x: a\r\n \r\ny: b",
    b"x: a\n\rtransfer-encoding: chunked",
    b"x: a\r\r",
    b"\r",
    b"\n",
    b"x: a\n",
    b"x: a\r",
];

/// Lines in the same place that change nothing, and the field that arrives for them.
const LINES: &[(&[u8], &str)] = &[
    (b"transfer_encoding: chunked", "POST /a [content-length: 48]"),
    (b"TRANSFER_ENCODING: chunked", "POST /a [content-length: 48]"),
    (b"te: chunked", "POST /a [content-length: 48]"),
    (b"connection: transfer-encoding", "POST /a [content-length: 48]"),
    (b"connection: content-length, host", "POST /a [content-length: 48]"),
    (b"trailer: transfer-encoding", "POST /a [content-length: 48]"),
    (
        b"upgrade: h2c\r\nhttp2-settings: AAMAAABk\r\nconnection: upgrade, http2-settings",
        "POST /a [content-length: 48]",
    ),
    (b"x-transfer-encoding: chunked", "POST /a [x-transfer-encoding: chunked, content-length: 48]"),
    (b"transfer-encoding-x: chunked", "POST /a [transfer-encoding-x: chunked, content-length: 48]"),
    (b"transferencoding: chunked", "POST /a [transferencoding: chunked, content-length: 48]"),
    (b"x: transfer-encoding: chunked", "POST /a [x: transfer-encoding: chunked, content-length: 48]"),
    (b"x: a\tb", "POST /a [x: a\tb, content-length: 48]"),
    (b"X:\xa0chunked", "POST /a [x: \u{a0}chunked, content-length: 48]"),
    (b"x:", "POST /a [x: , content-length: 48]"),
    (b"expect: 100-continue", "POST /a [expect: 100-continue, content-length: 48]"),
];

/// Returns all rows.
pub(super) fn rows() -> Vec<Row> {
    const POST: &[u8] = b"POST /a HTTP/1.1\r\nhost: localhost\r\n";
    const LENGTH: &[u8] = b"content-length: ";
    const CODING: &[u8] = b"transfer-encoding: ";
    const OF_48_BYTES: &[u8] = b"\r\ncontent-length: 48\r\n\r\n";
    let row = |parts: &[&[u8]], expected: Expected| Row { bytes: parts.concat(), expected, is_open_ended: false };
    let forwarded = |head, body| Expected::Forwarded { head, body, trailers: "[]" };
    let malformed = |before: &[u8], rows: &[&[u8]], after: &[u8]| -> Vec<Row> {
        rows.iter().map(|bytes| row(&[before, bytes, after], Expected::Malformed)).collect()
    };
    let end = b"\r\n\r\n";
    let mut all = malformed(&[POST, LENGTH].concat(), MALFORMED_LENGTHS, &[end, SMUGGLED].concat());
    all.extend(malformed(&[POST, CODING].concat(), MALFORMED_CODINGS, &[end, LAST_CHUNK_AND_SMUGGLED].concat()));
    all.extend(malformed(POST, MALFORMED_LINES, &[OF_48_BYTES, LAST_CHUNK_AND_SMUGGLED].concat()));
    all.extend(malformed(b"", MALFORMED_HEADS, &[end, LAST_CHUNK_AND_SMUGGLED].concat()));
    all.extend(LENGTHS.iter().map(|length| {
        row(&[POST, LENGTH, length, end, SMUGGLED], forwarded("POST /a [content-length: 43]", SMUGGLED))
    }));
    all.extend(CODINGS.iter().map(|coding| {
        let chunks = [&end[..], b"2b\r\n", SMUGGLED, b"\r\n0\r\n\r\n"].concat();
        row(&[POST, CODING, coding, &chunks], forwarded("POST /a []", SMUGGLED))
    }));
    all.extend(LINES.iter().map(|(line, head)| {
        row(&[POST, line, OF_48_BYTES, LAST_CHUNK_AND_SMUGGLED], forwarded(head, LAST_CHUNK_AND_SMUGGLED))
    }));
    all.extend(REFUSED_HEADS.iter().map(|(head, status)| row(&[head, end], Expected::Refused(*status))));
    all.extend(FORWARDED_HEADS.iter().map(|(head, arrives)| row(&[head, end], forwarded(arrives, b""))));
    all.extend(CUT_OFF_CHUNKS.iter().map(|chunks| row(&[POST, CODING, b"chunked\r\n\r\n", chunks], Expected::CutOff)));
    all.extend(
        FORWARDED_BODIES
            .iter()
            .map(|(message, head, body, trailers)| row(&[message], Expected::Forwarded { head, body, trailers })),
    );
    let open = |bytes: &&[u8]| Row { bytes: bytes.to_vec(), expected: Expected::CutOff, is_open_ended: true };
    all.extend(OPEN_ENDED.iter().map(open));
    all
}
