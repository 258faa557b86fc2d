//! Connections without traffic are told of the drain at once, not with their next request.

use spooky_testkit::client::frame::{self, kind, read_varint};
use spooky_testkit::client::raw::{End, Frames};
use spooky_testkit::origin::Origin;
use spooky_testkit::tcp::frames::{END_HEADERS, END_STREAM, Frames as Http2Frames, head, kind as kind2};

use super::{begin, ended, patient};
use crate::proxy::NAME;

/// The largest id of a request stream.
const LAST_REQUEST: u64 = (1 << 62) - 4;
const H3_REQUEST_REJECTED: u64 = 0x10b;

/// Waits for the id in the next GOAWAY frame.
async fn goaway(control: &mut Frames) -> u64 {
    loop {
        let frame = control.next().await.expect("an open control stream");
        if frame.kind == kind::GOAWAY {
            return read_varint(&frame.payload).expect("an id").0;
        }
    }
}

#[tokio::test]
async fn an_idle_http3_connection_gets_both_goaway_frames_and_is_closed() {
    let origin = Origin::h2c().await;
    for requests in [0, 2] {
        let mut proxy = patient(&origin.url()).await;
        let connection = proxy.greeted().await;
        let mut control = connection.control().await;
        for _ in 0..requests {
            assert_eq!(connection.request(&frame::get("/"), true).await.answer().await.unwrap().statuses(), ["200"]);
        }
        begin(&mut proxy).await;
        assert_eq!(goaway(&mut control).await, LAST_REQUEST, "the announcement");
        assert_eq!(goaway(&mut control).await, 4 * requests, "the final id");
        assert_eq!(connection.closed().await, Some(0x100), "H3_NO_ERROR");
        ended(proxy).await;
    }
}

/// The client has sent its next request when it reads the final GOAWAY.
#[tokio::test]
async fn a_request_that_crosses_with_the_final_goaway_is_rejected_as_not_processed() {
    let origin = Origin::h2c().await;
    for requests in [0, 1] {
        let mut proxy = patient(&origin.url()).await;
        let connection = proxy.greeted().await;
        let mut control = connection.control().await;
        for _ in 0..requests {
            assert_eq!(connection.request(&frame::get("/"), true).await.answer().await.unwrap().statuses(), ["200"]);
        }
        begin(&mut proxy).await;
        while goaway(&mut control).await == LAST_REQUEST {}
        let mut late = connection.request(&frame::get("/"), true).await;
        assert_eq!(late.answer().await.unwrap_err(), End::Reset(H3_REQUEST_REJECTED));
        assert_eq!(connection.closed().await, Some(0x100), "H3_NO_ERROR");
        ended(proxy).await;
    }
    assert_eq!(origin.journal().now().requests.len(), 1, "the late requests were not processed");
}

#[tokio::test]
async fn an_http2_request_that_crosses_with_the_announcement_is_served_and_a_later_one_does_not_cut_the_end() {
    let origin = Origin::h2c().await;
    let mut proxy = patient(&origin.url()).await;
    let mut connection = Http2Frames::connect(&proxy.authority, proxy.settings.addr(), NAME, &[]).await;
    connection.until(kind2::SETTINGS).await.unwrap();
    begin(&mut proxy).await;
    let last = |payload: &[u8]| u32::from_be_bytes(payload[..4].try_into().unwrap());
    let first = connection.until(kind2::GOAWAY).await.unwrap();
    assert_eq!(last(&first.payload), u32::MAX >> 1, "the announcement");
    // This client does not acknowledge PINGs, so that the second GOAWAY comes late.
    connection.send(&head(1, END_STREAM | END_HEADERS, "GET", "/")).await;
    let second = connection.until(kind2::GOAWAY).await.unwrap();
    assert_eq!(last(&second.payload), 1, "the request was processed");
    connection.send(&head(3, END_STREAM | END_HEADERS, "GET", "/")).await;
    let end = connection.next().await.expect_err("the end of the connection");
    assert_eq!(end.kind(), std::io::ErrorKind::UnexpectedEof, "no reset: {end}");
    ended(proxy).await;
    assert_eq!(origin.journal().now().requests.len(), 1);
}

#[tokio::test]
async fn requests_below_the_final_id_finish_and_later_ones_are_rejected_unprocessed() {
    let origin = Origin::h2c().await;
    let mut proxy = patient(&origin.url()).await;
    let connection = proxy.greeted().await;
    let mut control = connection.control().await;
    let mut first = connection.request(&frame::get("/gate"), true).await;
    origin.journal().until("the request", |seen| seen.requests.len() == 1).await;
    begin(&mut proxy).await;
    assert_eq!(goaway(&mut control).await, LAST_REQUEST);
    assert_eq!(goaway(&mut control).await, 4);
    let late = connection.request(&frame::get("/"), true).await.answer().await.unwrap_err();
    assert_eq!(late, End::Reset(H3_REQUEST_REJECTED));
    origin.open_gate();
    assert_eq!(first.answer().await.unwrap().body, b"through");
    assert_eq!(connection.closed().await, Some(0x100), "H3_NO_ERROR");
    assert_eq!(origin.journal().now().requests.len(), 1, "the rejected request was not processed");
    ended(proxy).await;
}

#[tokio::test]
async fn an_idle_http2_connection_gets_both_goaway_frames_and_is_closed() {
    let origin = Origin::h2c().await;
    for requests in [0, 1] {
        let mut proxy = patient(&origin.url()).await;
        let mut connection = Http2Frames::connect(&proxy.authority, proxy.settings.addr(), NAME, &[]).await;
        connection.until(kind2::SETTINGS).await.unwrap();
        if requests == 1 {
            connection.send(&head(1, END_STREAM | END_HEADERS, "GET", "/")).await;
            connection.answer(1).await;
        }
        begin(&mut proxy).await;
        let last = |payload: &[u8]| u32::from_be_bytes(payload[..4].try_into().unwrap());
        let first = connection.until(kind2::GOAWAY).await.unwrap();
        assert_eq!((last(&first.payload), first.code()), (u32::MAX >> 1, 0), "the announcement");
        // This client does not acknowledge PINGs.
        let second = connection.until(kind2::GOAWAY).await.unwrap();
        assert_eq!((last(&second.payload), second.code()), (requests, 0), "the final id");
        connection.next().await.expect_err("the end of the connection");
        ended(proxy).await;
    }
}

#[tokio::test]
async fn an_idle_http1_connection_ends_in_order_and_an_answer_says_close() {
    let origin = Origin::h2c().await;
    let mut proxy = patient(&origin.url()).await;
    let (mut fresh, mut used, mut busy) = (proxy.http1().await, proxy.http1().await, proxy.http1().await);
    assert_eq!(used.get("/").await.text(), "hello");
    busy.send("GET /gate HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    origin.journal().until("the request", |seen| seen.requests.len() == 2).await;
    begin(&mut proxy).await;
    for idle in [&mut fresh, &mut used] {
        assert_eq!(idle.rest().await.unwrap(), b"");
    }
    origin.open_gate();
    let reply = busy.reply().await;
    assert_eq!((reply.text(), &*reply.field("connection")), ("through", "close"));
    assert_eq!(busy.rest().await.unwrap(), b"");
    ended(proxy).await;
}
