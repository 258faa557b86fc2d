//! The client role.

use super::*;
use crate::h1::{SendRequestError, websocket};

/// A connection to a scripted backend.
pub(super) struct Backend {
    pub(super) client: Client,
    input: BytesMut,
}

impl Backend {
    pub(super) fn new() -> Self {
        Self::with(ClientConfig::default())
    }

    fn with(config: ClientConfig) -> Self {
        Self { client: Client::new(&config), input: BytesMut::new() }
    }

    /// Sends a complete request without a body.
    pub(super) fn get(&mut self) -> String {
        self.send("GET", &[])
    }

    fn send(&mut self, method: &str, more: &[(&str, &str)]) -> String {
        self.client.send_request(&request(method, more), method != "CONNECT", 7).unwrap();
        drain(self.client.output())
    }

    fn try_feed(&mut self, bytes: impl AsRef<[u8]>) -> Result<Vec<String>, ConnectionError> {
        self.input.extend_from_slice(bytes.as_ref());
        let mut events = Vec::new();
        while let Some(event) = self.client.recv(&mut self.input)? {
            events.push(show(&event));
        }
        Ok(events)
    }

    pub(super) fn feed(&mut self, bytes: impl AsRef<[u8]>) -> Vec<String> {
        self.try_feed(bytes).unwrap()
    }

    fn data(&mut self, bytes: &'static str, end: bool) -> usize {
        self.client.send_data(&mut Bytes::from_static(bytes.as_bytes()), end)
    }

    fn written(&mut self) -> String {
        drain(self.client.output())
    }
}

fn show(event: &Event) -> String {
    match event {
        Event::Informational { tag, head } => format!("{tag} interim {} {}", head.status, show_fields(&head.fields)),
        Event::Head { tag, head, end } => {
            format!("{tag} head {} {}{}", head.status, show_fields(&head.fields), if *end { " end" } else { "" })
        }
        Event::Upgraded { tag, head } => format!("{tag} upgraded {} {}", head.status, show_fields(&head.fields)),
        Event::Data { tag, data, end } => format!("{tag} data {:?}{}", text(data), if *end { " end" } else { "" }),
        Event::Trailers { tag, fields } => format!("{tag} trailers {}", show_fields(fields)),
        Event::Malformed { tag, reason } => format!("{tag} malformed: {reason}"),
        Event::HeadersTooLarge { tag } => format!("{tag} too large"),
        Event::Sendable { tag } => format!("{tag} sendable"),
    }
}

#[test]
fn a_request_has_the_host_first_and_fields_in_order() {
    let mut backend = Backend::new();
    let sent = backend.send("GET", &[("accept", "*/*"), ("host", "other.test"), ("te", "trailers"), ("x-own", "1")]);
    let expected =
        ["GET /p HTTP/1.1", "host: origin.test", "connection: te", "accept: */*", "te: trailers", "x-own: 1", "", ""];
    assert_eq!(sent, expected.join("\r\n"));
}

#[test]
fn fields_of_a_connection_are_never_written() {
    let mut backend = Backend::new();
    let hop = [
        ("connection", "close"),
        ("keep-alive", "5"),
        ("proxy-connection", "close"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "h2c"),
    ];
    assert_eq!(backend.send("GET", &hop), "GET /p HTTP/1.1\r\nhost: origin.test\r\n\r\n");
}

#[test]
fn a_response_with_a_length_leaves_the_connection_reusable() {
    let mut backend = Backend::new();
    backend.get();
    assert!(!backend.client.is_reusable());
    let events = backend.feed("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Two: a  \r\n\r\nhello");
    assert_eq!(events, ["7 head 200 [content-length: 5, x-two: a]", "7 data \"hello\" end"]);
    assert!(backend.client.is_reusable() && backend.client.active().is_none());
    backend.get();
    assert_eq!(backend.feed("HTTP/1.1 204 No Content\r\n\r\n"), ["7 head 204 [] end"]);
    assert!(backend.client.is_reusable());
}

#[test]
fn a_chunked_response_is_joined_and_ends_once() {
    let mut backend = Backend::new();
    backend.get();
    let events =
        backend.feed("HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2;x=\"y\"\r\nab\r\n00A\r\n0123456789\r\n");
    assert_eq!(events, ["7 head 200 [transfer-encoding: Chunked]", "7 data \"ab0123456789\""]);
    assert_eq!(backend.feed("1\r\nc\r\n0\r\n\r"), ["7 data \"c\""]);
    assert_eq!(backend.feed("\n"), ["7 data \"\" end"]);
    assert!(backend.client.is_reusable());
    backend.get();
    let events = backend.feed("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\nX-T: 1\r\n\r\n");
    assert_eq!(events[1..], ["7 data \"a\"", "7 trailers [x-t: 1]"]);
    assert!(backend.client.is_reusable());
}

#[test]
fn responses_without_a_body() {
    for (method, head) in [
        ("HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"),
        ("HEAD", "HTTP/1.1 200\r\n\r\n"),
        ("GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n"),
        ("GET", "HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n"),
        ("GET", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let mut backend = Backend::new();
        backend.send(method, &[]);
        let events = backend.feed(head);
        assert!(events.len() == 1 && events[0].ends_with(" end"), "{head:?}: {events:?}");
        assert!(backend.client.is_reusable(), "{head:?}");
    }
}

#[test]
fn a_body_without_a_length_ends_with_a_clean_end_of_the_connection() {
    for (clean, end) in [(true, Some("7 data \"\" end".to_owned())), (false, None)] {
        let mut backend = Backend::new();
        backend.get();
        assert_eq!(backend.feed("HTTP/1.0 200 OK\r\n\r\nabc"), ["7 head 200 []", "7 data \"abc\""]);
        assert_eq!(backend.client.on_eof(clean).as_ref().map(show), end);
        assert_eq!(backend.client.active().is_none(), clean);
        assert!(!backend.client.is_reusable());
    }
}

#[test]
fn a_truncated_response_is_never_complete() {
    for part in [
        "",
        "HTTP/1.1 2",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nab",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx-t: 1\r\n",
    ] {
        let mut backend = Backend::new();
        backend.get();
        let events = backend.feed(part);
        assert!(!events.iter().any(|event| event.ends_with("end")), "{part:?}: {events:?}");
        assert!(backend.client.on_eof(true).is_none());
        assert_eq!(backend.client.active(), Some(7), "{part:?}");
    }
}

#[test]
fn bytes_after_a_response_are_not_the_next_one() {
    const POISON: &str = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let mut backend = Backend::new();
    backend.get();
    assert_eq!(backend.feed(POISON).len(), 1);
    assert_eq!(backend.try_feed(POISON), Err(ConnectionError::UnsolicitedBytes));
    assert!(!backend.client.is_reusable());

    let mut backend = Backend::new();
    backend.get();
    backend.input.extend_from_slice(format!("{POISON}H").as_bytes());
    assert!(matches!(backend.client.recv(&mut backend.input), Ok(Some(Event::Head { end: true, .. }))));
    assert!(!backend.client.is_reusable(), "at once, before the byte was read");
    let refused = backend.client.send_request(&request("GET", &[]), true, 8);
    assert_eq!(refused, Err(SendRequestError::Busy));
}

#[test]
fn bytes_before_any_byte_of_the_request_are_not_its_response() {
    let mut backend = Backend::new();
    assert_eq!(backend.try_feed("HTTP/1.1 408 Timeout\r\n\r\n"), Err(ConnectionError::UnsolicitedBytes));
    let mut backend = Backend::new();
    backend.client.send_request(&request("GET", &[]), true, 7).unwrap();
    let early = backend.try_feed("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(early, Err(ConnectionError::UnsolicitedBytes));
    assert_eq!(backend.client.active(), None);
}

#[test]
fn interim_responses_pass_up_to_a_limit() {
    let mut backend = Backend::new();
    backend.get();
    let events = backend.feed("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 \r\nLink: </a>\r\n\r\nHTTP/1.1 102 P\r\n\r\n");
    assert_eq!(events, ["7 interim 100 []", "7 interim 103 [link: </a>]", "7 interim 102 []"]);
    let events = backend.feed("HTTP/1.1 103 E\r\n\r\n".repeat(14));
    assert_eq!(events.len(), 14);
    assert_eq!(events[13], "7 malformed: too many interim responses");
}

#[test]
fn the_connection_closes_when_the_server_says_so() {
    for (head, closes) in [
        ("HTTP/1.1 200 OK\r\nConnection: Keep-Alive, Close\r\n", true),
        ("HTTP/1.1 200 OK\r\nConnection: upgrade\r\nConnection: close\r\n", true),
        ("HTTP/1.0 200 OK\r\n", true),
        ("HTTP/1.0 200 OK\r\nconnection: keep-alive\r\n", false),
        ("HTTP/1.1 200 OK\r\n", false),
    ] {
        let mut backend = Backend::new();
        backend.get();
        assert_eq!(backend.feed(format!("{head}content-length: 0\r\n\r\n")).len(), 1);
        assert_eq!(backend.client.is_closing(), closes, "{head:?}");
        assert_eq!(backend.client.is_reusable(), !closes, "{head:?}");
    }
}

#[test]
fn a_head_without_a_length_waits_for_its_first_byte_or_its_end() {
    let mut backend = Backend::new();
    let head = "POST /p HTTP/1.1\r\nhost: origin.test\r\n";
    backend.client.send_request(&request("POST", &[]), false, 7).unwrap();
    assert_eq!((backend.data("", false), backend.written()), (0, String::new()));
    assert_eq!(backend.data("abc", false), 3);
    assert_eq!(backend.written(), format!("{head}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"));
    assert_eq!(backend.data("0123456789abcdef", false), 16);
    assert_eq!(backend.data("", true), 0);
    assert_eq!(backend.written(), "10\r\n0123456789abcdef\r\n0\r\n\r\n");
    assert_eq!((backend.data("late", true), backend.written()), (4, String::new()));

    let mut backend = Backend::new();
    backend.client.send_request(&request("POST", &[]), false, 7).unwrap();
    backend.data("", true);
    assert_eq!(backend.written(), format!("{head}\r\n"));
    assert_eq!(backend.feed("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").len(), 1);
    assert!(backend.client.is_reusable());
}

#[test]
fn a_request_that_expects_100_does_not_wait() {
    let mut backend = Backend::new();
    backend.client.send_request(&request("POST", &[("expect", "100-continue")]), false, 7).unwrap();
    assert!(backend.written().ends_with("expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n"));
    assert_eq!(backend.feed("HTTP/1.1 100 Continue\r\n\r\n"), ["7 interim 100 []"]);
    backend.data("a", true);
    assert_eq!(backend.written(), "1\r\na\r\n0\r\n\r\n");
}

#[test]
fn a_length_is_kept_and_never_broken() {
    let mut backend = Backend::new();
    backend.client.send_request(&request("POST", &[("content-length", "03")]), false, 7).unwrap();
    backend.data("ab", false);
    backend.data("c", true);
    assert_eq!(backend.written(), "POST /p HTTP/1.1\r\nhost: origin.test\r\ncontent-length: 3\r\n\r\nabc");
    for (bytes, end) in [("ab", true), ("abcd", false)] {
        let mut backend = Backend::new();
        backend.client.send_request(&request("POST", &[("content-length", "3")]), false, 7).unwrap();
        backend.data(bytes, end);
        assert!(!backend.written().contains("abcd"));
        assert_eq!(backend.client.recv(&mut BytesMut::new()).unwrap_err(), ConnectionError::WrongRequestLength);
        assert!(!backend.client.is_reusable());
    }
}

/// A server takes a request for complete when it has all bytes of its length. The client may still break it.
#[test]
fn a_request_with_a_length_is_complete_only_after_its_end() {
    let long = "a".repeat(5000);
    for (body, length) in [("", "0"), ("a", "1"), ("abc", "3"), (&long[..], "5000")] {
        for surplus in [false, true] {
            let mut backend = Backend::new();
            let head = format!("POST /p HTTP/1.1\r\nhost: origin.test\r\ncontent-length: {length}\r\n\r\n");
            backend.client.send_request(&request("POST", &[("content-length", length)]), false, 7).unwrap();
            let mut data = Bytes::copy_from_slice(body.as_bytes());
            assert_eq!((backend.client.send_data(&mut data, false), data.len()), (body.len(), 0));
            let before = backend.written();
            let whole = format!("{head}{body}");
            let is_all_but_one = body.len().checked_sub(1).is_some_and(|n| before == whole[..head.len() + n]);
            assert!(is_all_but_one || before.is_empty() && body.is_empty(), "{length}: {before}");
            assert!(backend.client.sendable() > 0, "the end can be read");
            backend.data(if surplus { "X" } else { "" }, true);
            let after = backend.written();
            assert_eq!(after, if surplus { "" } else { &whole[before.len()..] }, "{length}");
            let failed = backend.client.recv(&mut BytesMut::new()).err();
            assert_eq!(failed, surplus.then_some(ConnectionError::WrongRequestLength));
        }
    }
}

#[test]
fn trailers_after_a_length_of_0_are_left_out() {
    let mut trailers = Fields::new();
    trailers.push(Name::from_bytes(b"x-sum"), b"1");
    let mut backend = Backend::new();
    backend.client.send_request(&request("POST", &[("content-length", "0")]), false, 7).unwrap();
    assert!(backend.client.send_trailers(&trailers));
    assert!(backend.written().ends_with("content-length: 0\r\n\r\n"));
}

#[test]
fn trailers_need_a_chunked_request() {
    let mut trailers = Fields::new();
    trailers.push(Name::from_bytes(b"x-sum"), b"1");
    let mut backend = Backend::new();
    backend.client.send_request(&request("POST", &[]), false, 7).unwrap();
    assert!(backend.client.send_trailers(&trailers));
    assert!(backend.written().ends_with("transfer-encoding: chunked\r\n\r\n0\r\nx-sum: 1\r\n\r\n"));

    let mut backend = Backend::new();
    backend.client.send_request(&request("POST", &[("content-length", "1")]), false, 7).unwrap();
    backend.data("a", false);
    assert!(backend.client.send_trailers(&trailers));
    assert!(backend.written().ends_with("content-length: 1\r\n\r\na"));
    assert!(matches!(backend.client.active(), Some(7)), "the response is missing");
}

#[test]
fn what_would_split_a_message_is_never_written() {
    for (name, value) in [
        ("x-a", "1\r\nx-b: 2"),
        ("x-a", "1\n"),
        ("x-a", "1\0"),
        ("x a", "1"),
        ("x-a:", "1"),
        ("x\r\n", "1"),
        (":path", "/a b"),
        (":path", "/a\r\nx: 1"),
        (":authority", "a b"),
    ] {
        let mut head = request("GET", &[]);
        if let Name::Known(known) = Name::from_bytes(name.as_bytes()) {
            head.fields.set(known, &[value.as_bytes()]);
        } else {
            head.fields.push(Name::from_bytes(name.as_bytes()), value.as_bytes());
        }
        let mut backend = Backend::new();
        let sent = backend.client.send_request(&head, true, 7);
        assert_eq!(sent, Err(SendRequestError::InvalidHead), "{name:?} {value:?}");
        assert!(backend.client.is_reusable());
    }
}

/// Sends an upgrade to WebSocket and returns the response that accepts it.
fn upgrade(backend: &mut Backend) -> String {
    let sent = backend.send("CONNECT", &[(":protocol", "websocket"), ("sec-websocket-key", "other"), ("x-own", "1")]);
    let before =
        "GET /p HTTP/1.1\r\nhost: origin.test:443\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: ";
    let key = sent.strip_prefix(before).and_then(|rest| rest.strip_suffix("\r\nx-own: 1\r\n\r\n")).unwrap();
    let accept = websocket::accept(&websocket::parse_key(key.as_bytes()).unwrap());
    let fields = "connection: Upgrade\r\nupgrade: WebSocket\r\nsec-websocket-accept: ";
    format!("HTTP/1.1 101 Switching Protocols\r\n{fields}{}\r\n\r\n", text(&accept))
}

#[test]
fn an_upgrade_becomes_a_tunnel() {
    let mut backend = Backend::new();
    let accepted = upgrade(&mut backend);
    assert_eq!((backend.data("early", false), backend.client.want_send()), (0, 0));
    let events = backend.feed(format!("{accepted}raw"));
    assert!(events[0].starts_with("7 upgraded 200 [connection: Upgrade, upgrade: WebSocket"), "{events:?}");
    assert_eq!(events[1..], ["7 sendable", "7 data \"raw\""]);
    assert!(backend.client.is_closing(), "it takes no further request");
    backend.data("up", false);
    backend.data("", true);
    assert_eq!(backend.written(), "up");
    assert!(backend.client.wants_shutdown() && !backend.client.is_reusable());
    assert_eq!(backend.client.on_eof(true).as_ref().map(show), Some("7 data \"\" end".to_owned()));
    assert!(backend.client.active().is_none() && !backend.client.is_reusable());

    let mut backend = Backend::new();
    upgrade(&mut backend);
    assert_eq!(backend.feed("HTTP/1.1 403 No\r\ncontent-length: 2\r\n\r\nno")[1], "7 data \"no\" end");
    assert!(backend.client.is_reusable(), "the refused upgrade was an ordinary request");
}

#[test]
fn a_response_that_does_not_accept_the_upgrade_opens_no_tunnel() {
    for (from, to) in [
        ("upgrade: WebSocket\r\n", ""),
        ("upgrade: WebSocket", "upgrade: h2c"),
        ("upgrade: WebSocket", "upgrade: websocket\r\nupgrade: h2c"),
        ("connection: Upgrade\r\n", ""),
        ("-accept: ", "-accept: x"),
        ("sec-websocket-accept", "sec-websocket-accept: x\r\nsec-websocket-accept"),
        ("sec-websocket-accept", "x-accept"),
    ] {
        let mut backend = Backend::new();
        let accepted = upgrade(&mut backend);
        assert!(accepted.contains(from));
        let events = backend.feed(accepted.replace(from, to));
        assert_eq!(events, ["7 malformed: status 101 that does not accept the upgrade"], "{to}");
    }
    let mut backend = Backend::new();
    upgrade(&mut backend);
    let events = backend.feed("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    assert_eq!(events, ["7 malformed: success without the upgrade"]);
    let mut backend = Backend::new();
    backend.get();
    let events = backend.feed("HTTP/1.1 101 Switching\r\nupgrade: h2c\r\n\r\n");
    assert_eq!(events, ["7 malformed: status 101 without an upgrade"]);
}

#[test]
fn connect_becomes_a_tunnel() {
    let mut backend = Backend::new();
    assert_eq!(backend.send("CONNECT", &[]), "CONNECT origin.test:443 HTTP/1.1\r\nhost: origin.test:443\r\n\r\n");
    let events = backend.feed("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nraw");
    assert_eq!(events, ["7 upgraded 200 [content-length: 9]", "7 data \"raw\""]);
}

#[test]
fn a_full_output_takes_no_more_until_it_was_written() {
    let mut backend = Backend::new();
    backend.client.send_request(&request("POST", &[("content-length", "1000000")]), false, 7).unwrap();
    let mut data = Bytes::from(vec![b'a'; 1_000_000]);
    let taken = backend.client.send_data(&mut data, true);
    assert!(taken > 0 && data.len() == 1_000_000 - taken && backend.client.sendable() == 0);
    assert!(backend.client.output().len() <= 256 * 1024);
    assert_eq!(backend.feed(""), [""; 0]);
    backend.written();
    assert_eq!(backend.feed(""), ["7 sendable"]);
    while !data.is_empty() {
        assert!(backend.client.send_data(&mut data, true) > 0);
        backend.written();
    }
    assert_eq!(backend.feed("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").len(), 1);
    assert!(backend.client.is_reusable());
}

#[test]
fn a_head_over_the_limit() {
    for bytes in [
        format!("HTTP/1.1 200 OK\r\nx-long: {}\r\n\r\n", "a".repeat(1000)),
        format!("HTTP/1.1 200 OK\r\nx-long: {}", "a".repeat(1000)),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "a:\r\n".repeat(100)),
        format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\nx: {}", "a".repeat(1000)),
    ] {
        let mut backend = Backend::with(ClientConfig { max_section: 1000, ..ClientConfig::default() });
        backend.get();
        assert_eq!(backend.feed(&bytes).pop().unwrap(), "7 too large", "{bytes:?}");
        assert!(!backend.client.is_reusable());
    }
}
