//! Messages that two implementations could read differently. Each is refused in both roles, whole and byte by byte, and
//! nothing of what follows it is read as a message.

use super::{client::Backend, server::Peer};

/// Values of `content-length` that are no plain number.
const LENGTHS: &[&[u8]] = &[
    b"",
    b"+5",
    b"-5",
    b"- 5",
    b"0x5",
    b"5x",
    b"5 5",
    b"5\t5",
    b"5;",
    b"5;a=b",
    b"5.0",
    b"5e0",
    b"5_0",
    b"5,",
    b",5",
    b"5,5",
    b"5, 5",
    b"5, 6",
    b"5 ,5",
    b"\"5\"",
    b"'5'",
    b"(5)",
    b"five",
    b"0b101",
    b"\xef\xbc\x95",
    b"\xd9\xa5",
    b"5\xa0",
    b"18446744073709551616",
    b"99999999999999999999999",
    b"5\r\ncontent-length: 6",
    b"5\r\ncontent-length: +5",
    b"5\r\ncontent-length:",
    b"6\r\nx: y\r\nContent-Length: 5",
    b"0\r\nCONTENT-LENGTH: 5",
    b"NaN",
    b"%35",
    b"5/5",
    b"*",
];

/// Values of `transfer-encoding` other than `chunked` alone.
const CODINGS: &[&[u8]] = &[
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
    b"\xc3\xa7hunked",
    b"chun\xe2\x84\xaaed",
    b"chunked\xa0",
    b"chunked\r\ntransfer-encoding: chunked",
    b"chunked\r\nTransfer-Encoding: identity",
    b"identity\r\ntransfer-encoding: chunked",
    b"gzip\r\ntransfer-encoding: chunked",
    b"chunked\r\ntransfer-encoding:",
    b"chunked\r\ncontent-length: 5",
    b"chunked\r\ncontent-length: 0",
    b"chunked\r\nContent-Length:",
    b"identity\r\ncontent-length: 5",
    b"chunked\\",
];

/// Lines whose name is invalid, or that are folded.
const NAMES: &[&[u8]] = &[
    b"transfer-encoding : chunked",
    b"transfer-encoding\t: chunked",
    b"transfer-encoding  : chunked",
    b" transfer-encoding: chunked",
    b"\ttransfer-encoding: chunked",
    b"  content-length: 5",
    b"content-length : 5",
    b"content-length\0: 5",
    b"transfer-encoding\x0b: chunked",
    b"transfer-encoding\r: chunked",
    b"transfer\x00encoding: x",
    b"transfer-encoding\xa0: chunked",
    b": chunked",
    b":",
    b"x",
    b"content-length 5",
    b"chunked",
    b"na me: x",
    b"n@me: x",
    b"x[]: y",
    b"(x): y",
    b"\"x\": y",
    b"x\x7f: y",
    b"x\x80: y",
    b"\xc3\xa9: y",
    b":path: /x",
    b":method: GET",
    b":status: 200",
    b"x/y: z",
    b"x{y: z",
    b"x}y: z",
    b"x,y: z",
    b"x;y: z",
    b"x=y: z",
    b"x?y: z",
    b"x<y: z",
    b"x>y: z",
    b"x\\y: z",
    b"\x01x: y",
    b"x\x1b: y",
    b"\xef\xbb\xbfx: y",
    b"GET / HTTP/1.1",
    b"HTTP/1.1 200 OK 5",
];

/// Lines whose value has a control character or is folded (RFC 9112 5.2), or that do not end with CRLF.
const VALUES: &[&[u8]] = &[
    b"x: a\0b",
    b"x: \0",
    b"x:\0a",
    b"x: a\0",
    b"x: a\x01",
    b"x: a\x07b",
    b"x: a\x08b",
    b"x: a\x0bb",
    b"x: a\x0cb",
    b"x: a\x1bb",
    b"x: a\x1f",
    b"x: a\x7fb",
    b"x: a\rb",
    b"x: a\r",
    b"x: a\rcontent-length: 5",
    b"x:\ra",
    b"x: \r a",
    b"x: a\r\n b",
    b"x: a\r\n\tb",
    b"x:\r\n a",
    b"transfer-encoding:\r\n chunked",
    b"transfer-encoding:\r\n\tchunked",
    b"content-length: 1\r\n 0",
    b"content-length:\r\n 5",
    b"x: a\r\n content-length: 5",
    b"x: a\r\n \r\ny: b",
    b"x: a\ny: b",
    b"x: a\ncontent-length: 5",
    b"x: a\n\ty",
    b"x:\ny: b",
    b"x: a\n",
    b"x: a\r\r",
    b"\r",
    b"\n",
    b"x: a\n\r",
];

/// Chunked bodies.
const CHUNKS: &[&[u8]] = &[
    b"\r\n5\r\nhello\r\n0\r\n\r\n",
    b"\n5\r\nhello\r\n0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"\t5\r\nhello\r\n0\r\n\r\n",
    b"5 \r\nhello\r\n0\r\n\r\n",
    b"5\t\r\nhello\r\n0\r\n\r\n",
    b"5 ;a\r\nhello\r\n0\r\n\r\n",
    b"5\x0b\r\nhello\r\n0\r\n\r\n",
    b"5\0\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n",
    b"5\rhello\r\n0\r\n\r\n",
    b"5\r\rhello\r\n0\r\n\r\n",
    b"5\r\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"-5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"5h\r\nhello\r\n0\r\n\r\n",
    b"5,5\r\nhello\r\n0\r\n\r\n",
    b"5.0\r\nhello\r\n0\r\n\r\n",
    b"5_0\r\nhello\r\n0\r\n\r\n",
    b"\"5\"\r\nhello\r\n0\r\n\r\n",
    b"g\r\nhello\r\n0\r\n\r\n",
    b"\xef\xbc\x95\r\nhello\r\n0\r\n\r\n",
    b";a\r\nhello\r\n0\r\n\r\n",
    b"10000000000000005\r\nhello\r\n0\r\n\r\n",
    b"00000000000000005\r\nhello\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    b"5;\nhello\r\n0\r\n\r\n",
    b"5;a\nhello\r\n0\r\n\r\n",
    b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    b"5;a\0\r\nhello\r\n0\r\n\r\n",
    b"5;a\x0b\r\nhello\r\n0\r\n\r\n",
    b"5;a=\"\n\"\r\nhello\r\n0\r\n\r\n",
    b"5;\x7f\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhello\r0\r\n\r\n",
    b"5\r\nhello\r\r\n0\r\n\r\n",
    b"5\r\nhello \r\n0\r\n\r\n",
    b"5\r\nhelloX\r\n0\r\n\r\n",
    b"4\r\nhello\r\n0\r\n\r\n",
    b"6\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\n\r\n",
    b"5\r\nhello\r\n0\r\n\n",
    b"5\r\nhello\r\n0\r\r\n\r\n",
    b"5\r\nhello\r\n0\r\n\rX",
    b"5\r\nhello\r\n0 \r\n\r\n",
    b"5\r\nhello\r\n0;\x0b\r\n\r\n",
    b"5\r\nhello\r\n00000000000000000\r\n\r\n",
    b"5\r\nhello\r\n0\r\nx\r\n\r\n",
    b"0\r\n x: y\r\n\r\n",
    b"0\r\nx : y\r\n\r\n",
    b"0\r\nx: y\n\r\n",
    b"0\r\nx: y\n\n",
    b"0\r\nx: a\0\r\n\r\n",
    b"0\r\nx: a\r\n b\r\n\r\n",
    b"0\r\nx: a\rb\r\n\r\n",
    b"0\r\n:path: /\r\n\r\n",
    b"0\r\nx: y\r\nx z: 1\r\n\r\n",
    b"0\r\ntransfer-encoding: chunked\r\n\r\n",
    b"0\r\nconnection: close\r\n\r\n",
    b"0\r\nupgrade: h2c\r\n\r\n",
];

/// Beginnings of requests up to the last empty line.
const REQUEST_LINES: &[&[u8]] = &[
    b"GET  /a HTTP/1.1\r\nhost: o.test",
    b"GET /a  HTTP/1.1\r\nhost: o.test",
    b"GET\t/a HTTP/1.1\r\nhost: o.test",
    b"GET /a\tHTTP/1.1\r\nhost: o.test",
    b" GET /a HTTP/1.1\r\nhost: o.test",
    b"\tGET /a HTTP/1.1\r\nhost: o.test",
    b"GET /a HTTP/1.1 \r\nhost: o.test",
    b"GET /a HTTP/1.1\t\r\nhost: o.test",
    b"GET /a b HTTP/1.1\r\nhost: o.test",
    b"GET /a HTTP/1.1 x\r\nhost: o.test",
    b"GET /a\r\nhost: o.test",
    b"GET\r\nhost: o.test",
    b"GET HTTP/1.1\r\nhost: o.test",
    b"GET  HTTP/1.1\r\nhost: o.test",
    b"GET /a HTTP/1.2\r\nhost: o.test",
    b"GET /a HTTP/2.0\r\nhost: o.test",
    b"GET /a HTTP/0.9\r\nhost: o.test",
    b"GET /a HTTP/1\r\nhost: o.test",
    b"GET /a HTTP/1.10\r\nhost: o.test",
    b"GET /a HTTP/01.1\r\nhost: o.test",
    b"GET /a HTTP/1,1\r\nhost: o.test",
    b"GET /a HTTP/1.1x\r\nhost: o.test",
    b"GET /a http/1.1\r\nhost: o.test",
    b"GET /a Http/1.1\r\nhost: o.test",
    b"GET /a HTTP /1.1\r\nhost: o.test",
    b"GET /a HTTPS/1.1\r\nhost: o.test",
    b"GET /a ICY/1.1\r\nhost: o.test",
    b"GE(T /a HTTP/1.1\r\nhost: o.test",
    b"GE:T /a HTTP/1.1\r\nhost: o.test",
    b"G\0T /a HTTP/1.1\r\nhost: o.test",
    b"G\xc3\x89T /a HTTP/1.1\r\nhost: o.test",
    b"\"GET\" /a HTTP/1.1\r\nhost: o.test",
    b"GET /a\0 HTTP/1.1\r\nhost: o.test",
    b"GET /a\x0bb HTTP/1.1\r\nhost: o.test",
    b"GET /a\x7f HTTP/1.1\r\nhost: o.test",
    b"GET /\xc3\xa9 HTTP/1.1\r\nhost: o.test",
    b"GET /\xff HTTP/1.1\r\nhost: o.test",
    b"GET /a#b HTTP/1.1\r\nhost: o.test",
    b"GET /<a> HTTP/1.1\r\nhost: o.test",
    b"GET /`a HTTP/1.1\r\nhost: o.test",
    b"GET /a\r HTTP/1.1\r\nhost: o.test",
    b"GET /a HTTP/1.1\nhost: o.test",
    b"GET /a HTTP/1.1\rhost: o.test",
    b"GET /a HTTP/1.1\r\r\nhost: o.test",
    b"GET /a HTTP/1.1\n\rhost: o.test",
    b"\nGET /a HTTP/1.1\r\nhost: o.test",
    b"\r\n\r\nGET /a HTTP/1.1\r\nhost: o.test",
    b"\r\n\nGET /a HTTP/1.1\r\nhost: o.test",
    b"\rGET /a HTTP/1.1\r\nhost: o.test",
    b"\0GET /a HTTP/1.1\r\nhost: o.test",
    b"GET /a HTTP/1.1\r\n host: o.test",
    b"GET /a HTTP/1.1\r\n\thost: o.test",
    b"PRI * HTTP/2.0",
    b"HTTP/1.1 200 OK\r\nhost: o.test",
];

/// Targets and hosts: the request line, then the lines after it.
const TARGETS: &[&[u8]] = &[
    b"GET a HTTP/1.1\r\nhost: o.test",
    b"GET * HTTP/1.1\r\nhost: o.test",
    b"POST * HTTP/1.1\r\nhost: o.test",
    b"OPTIONS ** HTTP/1.1\r\nhost: o.test",
    b"GET o.test:80 HTTP/1.1\r\nhost: o.test",
    b"GET ?a HTTP/1.1\r\nhost: o.test",
    b"GET http:///a HTTP/1.1\r\nhost: o.test",
    b"GET http:/o.test/a HTTP/1.1\r\nhost: o.test",
    b"GET ://o.test/a HTTP/1.1\r\nhost: o.test",
    b"GET ftp://o.test/a HTTP/1.1\r\nhost: o.test",
    b"GET http://u@o.test/a HTTP/1.1\r\nhost: o.test",
    b"GET http://u:p@o.test/a HTTP/1.1\r\nhost: o.test",
    b"GET http://other.test/a HTTP/1.1\r\nhost: o.test",
    b"GET http://o.test:81/a HTTP/1.1\r\nhost: o.test",
    b"GET http://o.test:99999/a HTTP/1.1\r\nhost: o.test",
    b"GET http://o.test\\x/a HTTP/1.1\r\nhost: o.test",
    b"GET http://o.test/a#b HTTP/1.1\r\nhost: o.test",
    b"GET http://[::1/a HTTP/1.1\r\nhost: [::1]",
    b"GET http://o.test/a HTTP/1.1\r\nx: y",
    b"GET http://o.test/a HTTP/1.1\r\nhost:",
    b"CONNECT / HTTP/1.1\r\nhost: o.test",
    b"CONNECT o.test HTTP/1.1\r\nhost: o.test",
    b"CONNECT o.test: HTTP/1.1\r\nhost: o.test",
    b"CONNECT o.test:0 HTTP/1.1\r\nhost: o.test:0",
    b"CONNECT o.test:99999 HTTP/1.1\r\nhost: o.test:99999",
    b"CONNECT http://o.test:443/ HTTP/1.1\r\nhost: o.test:443",
    b"CONNECT u@o.test:443 HTTP/1.1\r\nhost: o.test:443",
    b"CONNECT o.test:443 HTTP/1.1\r\nhost: other.test:443",
    b"CONNECT o.test:443 HTTP/1.1\r\nx: y",
    b"CONNECT o.test:443 HTTP/1.1\r\nhost: o.test:443\r\ncontent-length: 5",
    b"CONNECT o.test:443 HTTP/1.1\r\nhost: o.test:443\r\ntransfer-encoding: chunked",
    b"GET /a HTTP/1.1\r\nx: y",
    b"GET /a HTTP/1.0\r\nx: y",
    b"GET /a HTTP/1.1\r\nhost:",
    b"GET /a HTTP/1.1\r\nhost: \t",
    b"GET /a HTTP/1.1\r\nhost: o.test\r\nhost: o.test",
    b"GET /a HTTP/1.1\r\nhost: o.test\r\nHost: other.test",
    b"GET /a HTTP/1.1\r\nhost: o.test\r\nhost:",
    b"GET /a HTTP/1.1\r\nhost: o.test, o.test",
    b"GET /a HTTP/1.1\r\nhost: o.test o.test",
    b"GET /a HTTP/1.1\r\nhost: o.test/a",
    b"GET /a HTTP/1.1\r\nhost: u@o.test",
    b"GET /a HTTP/1.1\r\nhost: o.test:x",
    b"GET /a HTTP/1.1\r\nhost: o.test:99999",
    b"GET /a HTTP/1.1\r\nhost: o.test:80:80",
    b"GET /a HTTP/1.1\r\nhost: [::1",
    b"GET /a HTTP/1.1\r\nhost: [::1]x",
    b"GET /a HTTP/1.1\r\nhost: o.test\\x",
    b"GET /a HTTP/1.1\r\nhost: o.test#x",
    b"GET /a HTTP/1.1\r\nhost: o.test?x",
    b"GET /a HTTP/1.1\r\nhost: http://o.test",
    b"GET /a HTTP/1.1\r\nhost: o\tt",
    b"GET /a HTTP/1.1\r\nhost: \"o.test\"",
    b"GET /a HTTP/1.1\r\nhost: \xc3\xb6.test",
    b"GET /a HTTP/1.1\r\nhost: %zz",
    b"GET /a HTTP/1.1\r\nhost : o.test",
    b"GET /a HTTP/1.1\r\nhost\t: o.test",
    b"POST /a HTTP/1.0\r\nhost: o.test\r\ntransfer-encoding: chunked",
];

/// Beginnings of responses up to the last empty line.
const STATUS_LINES: &[&[u8]] = &[
    b"HTTP/1.1  200 OK",
    b"HTTP/1.1\t200 OK",
    b"HTTP/1.1 200\tOK",
    b"HTTP/1.1 20 OK",
    b"HTTP/1.1 2000 OK",
    b"HTTP/1.1 099 OK",
    b"HTTP/1.1 000 OK",
    b"HTTP/1.1 +20 OK",
    b"HTTP/1.1 2x0 OK",
    b"HTTP/1.1 200OK",
    b"HTTP/1.1 OK",
    b"HTTP/1.1",
    b"HTTP/1.1 ",
    b"HTTP/1.2 200 OK",
    b"HTTP/2.0 200 OK",
    b"HTTP/2 200 OK",
    b"HTTP/0.9 200 OK",
    b"HTTP/1.10 200 OK",
    b"http/1.1 200 OK",
    b" HTTP/1.1 200 OK",
    b"\r\nHTTP/1.1 200 OK",
    b"\nHTTP/1.1 200 OK",
    b"ICY 200 OK",
    b"GET /a HTTP/1.1",
    b"\0",
    b"<html>",
    b"HTTP/1.1 200 O\0K",
    b"HTTP/1.1 200 O\rK",
    b"HTTP/1.1 200 OK\r",
    b"HTTP/1.1 200 OK\nx: y",
    b"HTTP/1.1 200 OK\rx: y",
    b"HTTP/1.1 200 OK\x0b",
    b"HTTP/1.1 200 OK\x7f",
    b"HTTP/1.1 200 OK\r\n x: y",
    b"HTTP/1.1 101 Switching Protocols",
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c",
    b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked",
    b"HTTP/1.1 204 No Content\r\ntransfer-encoding: chunked",
    b"HTTP/1.1 103 Early Hints\r\ntransfer-encoding: chunked",
    b"HTTP/1.1 100 Continue\r\ntransfer-encoding: chunked",
];

/// What an attacker wants to be read as a message of its own.
const SMUGGLED_REQUEST: &[u8] = b"GET /smuggled HTTP/1.1\r\nhost: o.test\r\n\r\n";
const SMUGGLED_RESPONSE: &[u8] = b"HTTP/1.1 200 smuggled\r\nx-smuggled: 1\r\ncontent-length: 8\r\n\r\nsmuggled";

/// Messages with each anomaly of a field, a length, a coding or a chunk after `start`, which ends with a complete line.
fn messages(start: &[u8]) -> Vec<Vec<u8>> {
    let with = |before: &[u8], rows: &[&[u8]], after: &[u8]| -> Vec<Vec<u8>> {
        rows.iter().map(|row| [start, before, row, after].concat()).collect()
    };
    [
        with(b"content-length: ", LENGTHS, b"\r\n\r\nhello"),
        with(b"transfer-encoding: ", CODINGS, b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
        with(b"", NAMES, b"\r\n\r\n0\r\n\r\n"),
        with(b"", VALUES, b"\r\n\r\n0\r\n\r\n"),
        with(b"transfer-encoding: chunked\r\n\r\n", CHUNKS, b""),
    ]
    .concat()
}

/// Feeds whole, byte by byte and in two parts, and returns the events of each way, joined.
fn each_split(bytes: &[u8], mut run: impl FnMut(&[&[u8]]) -> Vec<String>) -> Vec<String> {
    let whole = run(&[bytes]);
    let single: Vec<_> = bytes.chunks(1).collect();
    assert_eq!(without_data(&run(&single)), without_data(&whole), "{}", bytes.escape_ascii());
    for at in (1..bytes.len()).step_by(3) {
        let (first, second) = bytes.split_at(at);
        assert_eq!(without_data(&run(&[first, second])), without_data(&whole), "{} at {at}", bytes.escape_ascii());
    }
    whole
}

/// Leaves out parts of a body, which depend on the split.
fn without_data(events: &[String]) -> Vec<String> {
    events.iter().filter(|event| !event.contains("data ") || event.ends_with(" end")).cloned().collect()
}

#[test]
fn requests_are_refused() {
    let mut rows = messages(b"POST /a HTTP/1.1\r\nhost: o.test\r\n");
    let with_end = |row: &&[u8]| [row, &b"\r\n\r\n"[..]].concat();
    rows.extend(REQUEST_LINES.iter().chain(TARGETS).map(with_end));
    assert!(rows.len() >= 150, "{}", rows.len());
    for row in rows {
        let bytes = [&row, SMUGGLED_REQUEST].concat();
        let events = each_split(&bytes, |parts| {
            let mut peer = Peer::new();
            let events = parts.iter().flat_map(|part| peer.feed(part)).collect();
            assert!(!peer.server.is_idle() && !peer.server.is_closing(), "an answer is due: {}", row.escape_ascii());
            assert!(peer.answer(400, &[("content-length", "0")], "").contains("connection: close"));
            assert!(peer.server.is_closing() && peer.feed(SMUGGLED_REQUEST).is_empty());
            events
        });
        let is_refused = match &events[..] {
            [first] => first.starts_with("refused: "),
            [first, .., last] => first.starts_with("request ") && last.starts_with("malformed: "),
            [] => false,
        };
        let is_complete = events.iter().any(|event| event.ends_with(" end"));
        assert!(is_refused && !is_complete, "{}: {events:#?}", row.escape_ascii());
    }
}

#[test]
fn responses_are_malformed() {
    let mut rows = messages(b"HTTP/1.1 200 OK\r\n");
    rows.extend(STATUS_LINES.iter().map(|row| [row, &b"\r\n\r\n"[..]].concat()));
    assert!(rows.len() >= 150, "{}", rows.len());
    for row in rows {
        let bytes = [&row, SMUGGLED_RESPONSE].concat();
        let events = each_split(&bytes, |parts| {
            let mut backend = Backend::new();
            backend.get();
            let events = parts.iter().flat_map(|part| backend.feed(part)).collect();
            assert!(!backend.client.is_reusable() && backend.client.active().is_none(), "{}", row.escape_ascii());
            assert!(backend.feed(SMUGGLED_RESPONSE).is_empty());
            events
        });
        let is_malformed = events.last().is_some_and(|event| event.starts_with("7 malformed: "));
        let is_wrong = events.iter().any(|event| event.ends_with(" end") || event.contains("smuggled"));
        assert!(is_malformed && !is_wrong, "{}: {events:#?}", row.escape_ascii());
    }
}
