//! Heads that are malformed, too large or invalid (RFC 9113 8.2, 8.3, 8.5, RFC 8441).

use super::*;

type Line = (&'static [u8], &'static [u8]);

/// Sends the lines without Huffman coding or the tables, so that any byte may be in them.
fn literal(stream: u32, lines: &[Line], end: bool) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in lines {
        block.push(0);
        for string in [name, value] {
            block.push(u8::try_from(string.len()).unwrap());
            block.extend_from_slice(string);
        }
    }
    raw(Kind::Headers, flag::END_HEADERS | if end { flag::END_STREAM } else { 0 }, stream, &block)
}

const HEAD: [Line; 4] = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"a.example"), (b":path", b"/")];

fn replaced(at: usize, line: Line) -> Vec<Line> {
    let mut head = HEAD.to_vec();
    head[at] = line;
    head
}

fn added(lines: &[Line]) -> Vec<Line> {
    [&HEAD[..], lines].concat()
}

#[test]
fn every_malformed_head_ends_its_stream_only() {
    const OF_CONNECTION: &str = "field that belongs to a connection";
    let cases: Vec<(Vec<Line>, &str)> = vec![
        (HEAD[1..].to_vec(), "no :method"),
        (replaced(1, (b"x", b"y")), "pseudo-header after other fields"),
        ([&HEAD[..1], &HEAD[2..]].concat(), "no :scheme or no :path"),
        (HEAD[..3].to_vec(), "no :scheme or no :path"),
        ([&HEAD[..2], &HEAD[3..]].concat(), "neither :authority nor host"),
        (replaced(3, (b":path", b"")), "empty pseudo-header"),
        (added(&[(b":path", b"/b")]), "repeated pseudo-header"),
        ([&[(&b"x"[..], &b"y"[..])], &HEAD[..]].concat(), "pseudo-header after other fields"),
        (added(&[(b":status", b"200")]), "unknown pseudo-header"),
        (added(&[(b":other", b"x")]), "unknown pseudo-header"),
        (replaced(0, (b":method", b"G T")), "method is no token"),
        (added(&[(b"X-Upper", b"y")]), "upper-case letter in a field name"),
        (added(&[(b"", b"y")]), "empty field name"),
        (added(&[(b"a b", b"y")]), "invalid character in a field name"),
        (added(&[(b"a:b", b"y")]), "invalid character in a field name"),
        (added(&[(b"a\0", b"y")]), "invalid character in a field name"),
        (added(&[(b"a", b"x\0y")]), "control character in a field value"),
        (added(&[(b"a", b"x\ry")]), "control character in a field value"),
        (added(&[(b"a", b"x\ny")]), "control character in a field value"),
        (added(&[(b"a", b" x")]), "white space around a field value"),
        (added(&[(b"a", b"x\t")]), "white space around a field value"),
        (added(&[(b"connection", b"x")]), OF_CONNECTION),
        (added(&[(b"keep-alive", b"x")]), OF_CONNECTION),
        (added(&[(b"proxy-connection", b"x")]), OF_CONNECTION),
        (added(&[(b"transfer-encoding", b"chunked")]), OF_CONNECTION),
        (added(&[(b"upgrade", b"websocket")]), OF_CONNECTION),
        (added(&[(b"te", b"trailers, gzip")]), "te is not trailers"),
        (added(&[(b"content-length", b"+1")]), "content-length is no number"),
        (added(&[(b"content-length", b"1, 1")]), "content-length is no number"),
        (added(&[(b"content-length", b"1"), (b"content-length", b"2")]), "different content-length fields"),
        (added(&[(b":protocol", b"websocket")]), ":protocol without CONNECT"),
        (replaced(0, (b":method", b"CONNECT")), "CONNECT with :scheme or :path"),
        (vec![(b":method", b"CONNECT")], "CONNECT without :authority"),
    ];
    let mut wire = Wire::new();
    for (number, (lines, reason)) in (0..).zip(&cases) {
        let stream = 4 * number + 1;
        assert_eq!(wire.feed(&literal(stream, lines, false)), [format!("malformed head {stream} {reason}")]);
        assert_eq!(wire.shown(), [format!("reset {stream} PROTOCOL_ERROR")]);
        assert_eq!(wire.feed(&literal(stream + 2, &HEAD, true)).len(), 1);
        wire.server.reset(StreamId(stream + 2), Code::CANCEL);
        wire.written();
    }
    assert_eq!(wire.server.active(), 0);
}

#[test]
fn invalid_heads_are_to_be_answered() {
    for (at, value, reason) in [
        (1, &b"ftp"[..], "invalid scheme"),
        (2, b"user@a.example", "invalid authority"),
        (3, b"relative", "invalid path"),
        (3, b"*", "invalid path"),
    ] {
        let mut wire = Wire::new();
        let mut head = HEAD;
        head[at].1 = value;
        assert_eq!(wire.feed(&literal(1, &head, false)), [format!("refused 1 {reason}")]);
        assert_eq!(wire.feed(&data(1, b"body", false)), ["data 101 body"]);
        wire.server.send_head(StreamId(1), &response(400), true);
        assert_eq!(wire.shown(), ["headers 1 :status=400 end"]);
    }
    let mut wire = Wire::new();
    assert_eq!(wire.feed(&literal(1, &added(&[(b"host", b"b")]), true)), ["refused 1 authority and host differ end"]);
    let connect = [(&b":method"[..], &b"CONNECT"[..]), (b":authority", b"a.example")];
    assert_eq!(wire.feed(&literal(3, &connect, false)), ["refused 3 invalid CONNECT target"]);
}

#[test]
fn a_refused_head_keeps_its_method() {
    let mut wire = Wire::new();
    let mut head = replaced(0, (b":method", b"HEAD"));
    head[1].1 = b"x";
    assert_eq!(wire.feed(&literal(1, &head, true)), ["refused 1 invalid scheme end"]);
    wire.server.send_head(StreamId(1), &response(400), false);
    wire.server.send_data(StreamId(1), &mut Bytes::from_static(b"no body to HEAD"), true);
    assert_eq!(wire.shown(), ["headers 1 :status=400 end"]);
}

#[test]
fn up_to_four_times_the_bytes_are_answered() {
    let mut config = ServerConfig::default();
    config.limits.max_bytes = 2000;
    for (length, is_answered) in [(2000, true), (7900, true), (8000, false), (9000, false), (100_000, false)] {
        let mut wire = Wire::with(&config, &[]);
        let bytes = wire.split_headers(1, &with(&GET, &[("x", &"v".repeat(length))]));
        let events = wire.feed(&bytes);
        if is_answered {
            assert_eq!(events, ["refused 1 request headers exceed size limit end"], "{length}");
        } else {
            assert_eq!(events, [""; 0], "{length}");
            assert_eq!(wire.shown(), ["reset 1 ENHANCE_YOUR_CALM"], "{length}");
        }
        wire.get(3);
    }
}

#[test]
fn crumbs_count_as_one_field() {
    let mut config = ServerConfig::default();
    config.limits.max_fields = 6;
    let mut wire = Wire::with(&config, &[]);
    let head = wire.headers(1, &with(&GET, &[("cookie", "a=b"); 20]), true);
    assert_eq!(wire.feed(&head), ["request 1 Get / end"]);
}

#[test]
fn trailers_have_the_limits_of_heads() {
    let mut config = ServerConfig::default();
    config.limits.max_bytes = 1000;
    config.limits.max_fields = 10;
    let (large, huge) = ("v".repeat(1000), "v".repeat(6000));
    for lines in [vec![("x", "y"); 11], vec![("x", &*large)], vec![("x", &*huge)]] {
        let mut wire = Wire::with(&config, &[]);
        wire.post(1);
        let trailers = wire.headers(1, &lines, true);
        assert_eq!(wire.feed(&trailers), ["malformed 101 trailers over the limits of headers"]);
        assert_eq!(wire.shown(), ["reset 1 ENHANCE_YOUR_CALM"]);
    }
}

#[test]
fn limits_of_megabytes_are_met() {
    let mut config = ServerConfig::default();
    config.limits.max_bytes = 3_000_000;
    let mut wire = Wire::with(&config, &[]);
    let large = "v".repeat(2_900_000);
    let bytes = wire.split_headers(1, &with(&GET, &[("x", &large)]));
    assert_eq!(wire.feed(&bytes), ["request 1 Get / end"]);
}

#[test]
fn a_frame_that_has_begun_is_numbered_until_it_is_complete() {
    let mut wire = Wire::new();
    let next = |wire: &Wire| wire.server.incomplete_frame(!wire.input.is_empty());
    assert_eq!(next(&wire), None);
    let head = wire.headers(1, &POST, false);
    wire.feed(&head[..HEADER_LEN + 3]);
    let first = next(&wire).unwrap();
    wire.feed(&[&head[HEADER_LEN + 3..], &data(1, &[1; 100], false)[..50]].concat());
    assert_eq!(next(&wire), None, "DATA is read as it arrives");
    wire.feed(&[1; 59]);
    assert_eq!((next(&wire), wire.input.len()), (None, 0));
    wire.feed(&raw(Kind::Ping, 0, 0, &[1; 8])[..4]);
    let second = next(&wire).unwrap();
    assert!(second > first, "another frame");
    wire.feed(&raw(Kind::Ping, 0, 0, &[1; 8])[4..]);
    let block = wire.headers(3, &GET, true)[HEADER_LEN..].to_vec();
    wire.feed(&raw(Kind::Headers, flag::END_STREAM, 3, &block[..4]));
    let third = next(&wire).unwrap();
    assert!(third > second);
    for byte in &block[4..] {
        wire.feed(&raw(Kind::Continuation, 0, 3, &[*byte]));
        assert_eq!(next(&wire), Some(third), "one head, whatever its number of frames");
    }
    assert_eq!(wire.feed(&raw(Kind::Continuation, flag::END_HEADERS, 3, &[])), ["request 3 Get / end"]);
    assert_eq!(next(&wire), None);
}
