//! The server role in states that are left in a special way: refused and incomplete heads, bodies without a 100, many
//! trailers, a full output.

use super::{
    server::{POST, Peer},
    *,
};
use crate::h1::{Server, ServerConfig, ServerEvent};

#[test]
fn method_and_target_of_an_unreadable_head_are_known() {
    let mut server = Server::new(&ServerConfig::default());
    let mut input = BytesMut::from("HEAD /a?b HTTP/1.1\r\nhost: h\r\nb ad: 1\r\n\r\n");
    let Some(ServerEvent::Refused { refusal }) = server.recv(&mut input) else { panic!("not refused") };
    assert_eq!(show_fields(&refusal.fields), "[:method: HEAD, :scheme: https, :path: /a?b]");

    let mut peer = Peer::new();
    peer.feed("HEAD /a?b HTTP/1.1\r\nhost: h\r\nb ad: 1\r\n\r\n");
    let sent = peer.answer(400, &[("content-length", "3")], "no\n");
    assert_eq!(sent, "HTTP/1.1 400 Bad Request\r\ncontent-length: 3\r\nconnection: close\r\n\r\n", "to a HEAD");
}

#[test]
fn an_incomplete_head_can_be_answered() {
    let mut peer = Peer::new();
    peer.feed("GET / HT");
    peer.server.refuse_incomplete();
    assert!(!peer.server.is_idle() && !peer.server.is_closing());
    assert!(peer.answer(408, &[("content-length", "3")], "no\n").ends_with("connection: close\r\n\r\nno\n"));
    assert!(peer.server.is_closing());

    let mut peer = Peer::new();
    peer.feed(format!("{POST}content-length: 2\r\n\r\n"));
    peer.server.refuse_incomplete();
    assert_eq!(peer.feed("ab"), ["data \"ab\" end"], "a request that was received is not refused");
}

#[test]
fn a_body_that_comes_without_a_100_leaves_the_connection_open() {
    let mut peer = Peer::new();
    peer.feed(format!("{POST}content-length: 2\r\nexpect: 100-continue\r\n\r\na"));
    peer.head(200, &[("content-length", "2")], false).unwrap();
    assert_eq!(peer.written(), "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n");
    assert_eq!(peer.feed("b"), ["data \"b\" end"]);
    peer.data("ok", true);
    assert!(peer.server.is_idle() && !peer.server.is_closing());
}

#[test]
fn a_request_may_have_many_trailers() {
    let mut peer = Peer::new();
    let trailers = (0..40).map(|number| format!("x-{number}: 1\r\n")).collect::<Vec<_>>().concat();
    let events = peer.feed(format!("{POST}transfer-encoding: chunked\r\n\r\n1\r\na\r\n0\r\n{trailers}\r\n"));
    assert!(events[2].starts_with("trailers [x-0: 1, ") && events[2].ends_with(", x-39: 1]"), "{events:?}");
}

#[test]
fn a_response_that_waits_for_the_output_continues_when_it_was_written() {
    let mut peer = Peer::new();
    peer.feed("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
    peer.head(200, &[("content-length", "1000000")], false).unwrap();
    let mut data = Bytes::from(vec![b'a'; 1_000_000]);
    while !data.is_empty() {
        assert!(peer.server.send_data(&mut data, true) > 0);
        let is_complete = data.is_empty();
        assert_eq!(peer.feed(""), [""; 0], "the output is full or the response complete");
        peer.written();
        assert_eq!(peer.feed(""), vec!["sendable"; usize::from(!is_complete)]);
    }
    assert!(peer.server.is_idle() && !peer.server.is_closing());
}
