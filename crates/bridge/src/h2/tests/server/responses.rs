//! Responses: heads, bodies, trailers, early ends.

use super::*;

#[test]
fn a_response_with_interim_head_body_and_trailers() {
    let mut wire = Wire::new();
    let id = wire.get(1);
    wire.server.send_head(id, &response(103), true);
    wire.server.send_interim(id, &response(101));
    wire.server.send_interim(id, &response(200));
    let mut head = response(200);
    head.fields.push(Known::ContentType, b"text/plain");
    wire.server.send_head(id, &head, false);
    wire.server.send_interim(id, &response(100));
    wire.server.send_head(id, &response(500), false);
    assert_eq!(wire.server.send_data(id, &mut Bytes::from_static(b"body"), false), 4);
    wire.server.send_trailers(id, &fields(&[("grpc-status", "0")]));
    wire.server.send_trailers(id, &fields(&[("grpc-status", "1")]));
    let expected = [
        "headers 1 :status=103",
        "headers 1 :status=200 content-type=text/plain",
        "data 1 4",
        "headers 1 grpc-status=0 end",
    ];
    assert_eq!(wire.shown(), expected);
    assert_eq!(wire.server.active(), 0);
}

#[test]
fn responses_without_body() {
    for (method, status) in [("HEAD", 200), ("GET", 204), ("GET", 304)] {
        let mut wire = Wire::new();
        let mut lines = GET;
        lines[0].1 = method;
        let id = wire.request(1, &lines, true);
        wire.server.send_head(id, &response(status), false);
        assert_eq!(wire.server.send_data(id, &mut Bytes::from_static(b"body"), false), 4, "dropped");
        assert_eq!(wire.server.send_data(id, &mut Bytes::from_static(b"body"), true), 4);
        assert_eq!(wire.shown(), [format!("headers 1 :status={status} end")]);
        assert_eq!(wire.server.active(), 0);
    }
}

#[test]
fn an_upload_is_stopped_a_time_after_the_response_has_ended() {
    let mut wire = Wire::new();
    let id = wire.post(1);
    wire.server.send_head(id, &response(413), false);
    wire.server.send_data(id, &mut Bytes::from_static(b"large"), true);
    assert_eq!(wire.shown(), ["headers 1 :status=413", "data 1 5 end"]);
    assert_eq!(wire.feed(&data(1, &[b'x'; 10_000], false)), [""; 0], "dropped");
    wire.server.release(id, 10_000);
    assert!(wire.server.has_unwanted_uploads());
    wire.written();
    wire.server.stop_uploads();
    assert_eq!((wire.shown(), wire.server.active()), (vec!["reset 1 NO_ERROR".to_owned()], 0));
    assert_eq!(wire.feed(&data(1, &[b'x'; 10_000], true)), [""; 0]);
    assert!(!wire.server.has_unwanted_uploads());
}

#[test]
fn an_upload_that_ends_after_its_response_is_not_stopped() {
    let mut wire = Wire::new();
    let ends = [data(1, b"more", true), wire.headers(3, &[("x-sum", "1")], true), reset(5, Code::CANCEL)];
    for (number, end) in (1..).step_by(2).zip(ends) {
        let id = wire.post(number);
        wire.server.send_head(id, &response(401), true);
        assert_eq!(wire.shown(), [format!("headers {number} :status=401 end")]);
        wire.feed(&end);
        assert!(!wire.server.has_unwanted_uploads());
        wire.server.stop_uploads();
        assert_eq!((wire.shown(), wire.server.active()), (vec![], 0));
    }
}

#[test]
fn of_many_unwanted_uploads_the_oldest_are_stopped_at_once() {
    let mut wire = Wire::new();
    for number in (1..=33).step_by(2) {
        let id = wire.post(number);
        wire.server.send_head(id, &response(401), true);
    }
    assert_eq!(wire.shown().iter().filter(|frame| *frame == "reset 1 NO_ERROR").count(), 1);
    assert_eq!(wire.server.active(), 16);
}

#[test]
fn a_tunnel_ends_in_each_direction_by_itself() {
    let connect = [(":method", "CONNECT"), (":authority", "a.example:443")];
    let websocket = [&[("x", ""); 0][..], &[(":method", "CONNECT"), (":protocol", "websocket")], &GET[1..]].concat();
    for lines in [&connect[..], &websocket] {
        let mut wire = Wire::new();
        let id = wire.request(1, lines, false);
        wire.server.send_head(id, &response(200), false);
        wire.server.send_data(id, &mut Bytes::from_static(b"down"), true);
        assert_eq!(wire.shown(), ["headers 1 :status=200", "data 1 4 end"]);
        assert_eq!(wire.feed(&data(1, b"up", false)), ["data 101 up"]);
        assert_eq!(wire.feed(&data(1, b"", true)), ["data 101  end"]);
        assert_eq!(wire.server.active(), 0);

        let id = wire.request(3, lines, false);
        let trailers = wire.headers(3, &[("x-sum", "1")], true);
        wire.server.send_head(id, &response(200), false);
        wire.written();
        assert_eq!(wire.feed(&trailers), ["malformed 103 HEADERS in a tunnel"]);
        assert_eq!(wire.shown(), ["reset 3 PROTOCOL_ERROR"]);

        let id = wire.request(5, lines, false);
        wire.server.send_head(id, &response(403), true);
        assert_eq!(wire.shown(), ["headers 5 :status=403 end"], "no tunnel was opened");
    }
}

#[test]
fn a_client_that_does_not_read_is_not_read_either() {
    let mut wire = Wire::new();
    let mut large = response(200);
    large.fields.push(Name::Other(b"x-large"), &vec![b'v'; 60_000]);
    let mut answered = 0;
    for stream in (1..200).step_by(2) {
        let head = wire.headers(stream, &GET, true);
        if wire.feed(&head) != [""; 0] {
            wire.server.send_head(StreamId(stream), &large, true);
            answered += 1;
        }
    }
    assert_eq!(answered, 18, "1 MiB and the response that crosses it");
    wire.written();
    assert_eq!(wire.feed(&[]).len(), 100 - 18);
}
