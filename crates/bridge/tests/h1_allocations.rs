//! Counts the allocations of HTTP/1.1: the storage of the fields, and one copy of a small body.
#![allow(clippy::expect_used, reason = "a panic is how a test fails")]

use bytes::{Bytes, BytesMut};
use spooky_bridge::{
    WriteBuffer,
    h1::{Client, ClientConfig, Event, Server, ServerConfig, ServerEvent},
    message::{Fields, Known, Method, RequestHead, ResponseHead},
};

/// Those of [`Fields::new`].
const FIELDS: u64 = 2;
/// The copy of a small piece of a body, and its reference count.
const BODY: u64 = 2;

fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

fn discard(output: &mut WriteBuffer) {
    output.advance(output.len());
}

/// Runs `work` twice, because buffers are allocated by the first message of a connection, and counts the second time.
fn counted(mut work: impl FnMut() -> u64) -> u64 {
    work();
    work()
}

#[test]
fn a_request_allocates_its_fields() {
    const GET: &[u8] = b"GET /a?b=c HTTP/1.1\r\nHost: o.test\r\nUser-Agent: test\r\nAccept: */*\r\nX-Own: 1\r\n\r\n";
    let mut server = Server::new(&ServerConfig::default());
    let mut head = ResponseHead::new(200);
    head.fields.push(Known::ContentLength, b"5");
    head.content_length = Some(5);
    let mut input = BytesMut::with_capacity(4 * GET.len());
    let count = counted(|| {
        input.extend_from_slice(GET);
        let count = allocations(|| {
            assert!(matches!(server.recv(&mut input), Some(ServerEvent::Request { end: true, .. })));
            server.send_head(&head, false).expect("a valid head");
            server.send_data(&mut Bytes::from_static(b"hello"), true);
        });
        discard(server.output());
        count
    });
    assert_eq!(count, FIELDS);
}

#[test]
fn a_response_allocates_its_fields_and_a_copy_of_a_small_body() {
    const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: test\r\nTransfer-Encoding: chunked\r\n\r\n\
        5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
    let mut fields = Fields::new();
    for (known, value) in [(Known::Method, &b"POST"[..]), (Known::Authority, b"o.test"), (Known::Path, b"/")] {
        fields.push(known, value);
    }
    let request = RequestHead { fields, method: Method::Post, content_length: None };
    let mut client = Client::new(&ClientConfig::default());
    let mut input = BytesMut::with_capacity(4 * RESPONSE.len());
    let count = counted(|| {
        let sent = allocations(|| {
            client.send_request(&request, false, 0).expect("a valid head");
            client.send_data(&mut Bytes::from_static(b"hello"), true);
        });
        discard(client.output());
        input.extend_from_slice(RESPONSE);
        let received = allocations(|| {
            assert!(matches!(client.recv(&mut input), Ok(Some(Event::Head { end: false, .. }))));
            assert!(matches!(client.recv(&mut input), Ok(Some(Event::Data { end: true, .. }))));
        });
        sent + received
    });
    assert!(count <= FIELDS + BODY, "{count} allocations");
}
