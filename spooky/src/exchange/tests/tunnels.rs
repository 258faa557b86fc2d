//! Tunnels: the directions end independently; a reset of one resets the other.

use super::{
    fake::Ended,
    harness::{Config, Harness},
};
use spooky_bridge::{
    h2::Code,
    message::{Fields, Known, Name, ResetReason},
};
use spooky_edge::{Abort, BodyRead, EventKind};
use spooky_transport::{FailureKind, Processed};
use std::time::Duration;

/// Opens a tunnel. Its request is number 0.
fn open(config: &Config) -> (Harness, usize) {
    let mut harness = Harness::with(config);
    let client = harness.send(b"CONNECT", b"localhost:443", &[], false);
    harness.head(0, 200, false);
    assert!(harness.client(client).is_tunnel);
    (harness, client)
}

const TUNNELS: Config =
    Config { resilience: "  protocol: { allow_connect: true }", upstream: "", performance: "", backends: 2 };

#[test]
fn a_websocket_is_checked_by_its_path_and_needs_no_permission_for_connect() {
    let config = Config { resilience: "  protocol: { denied_path_prefixes: [/admin] }", ..Config::default() };
    let mut harness = Harness::with(&config);
    let websocket: &[(Known, &[u8])] = &[(Known::Protocol, b"websocket")];
    let denied = harness.send(b"CONNECT", b"/admin/x", websocket, false);
    assert_eq!(harness.answer(denied), (403, "request path blocked by policy"));
    let unknown = harness.send(b"CONNECT", b"/", &[(Known::Protocol, b"connect-udp")], false);
    assert_eq!(harness.answer(unknown).0, 405);
    let client = harness.send(b"CONNECT", b"/chat", websocket, false);
    harness.head(0, 200, false);
    assert!(harness.client(client).is_tunnel);
    harness.abort(client, Abort::Lost);
    harness.check_idle();
}

#[test]
fn a_tunnel_has_no_path_to_check() {
    let (mut harness, client) =
        open(&Config { resilience: "  protocol: { allow_connect: true, denied_path_prefixes: [/] }", ..TUNNELS });
    harness.abort(client, Abort::Lost);
    harness.check_idle();
}

#[test]
fn the_backend_may_end_its_direction_first() {
    let (mut harness, client) = open(&TUNNELS);
    harness.data(0, b"bye", true);
    assert_eq!((harness.client(client).text(), harness.client(client).ended), ("bye", Some(Ended::Plain)));
    assert_eq!((harness.in_flight(), harness.io.requests[0].reset), (1, None));
    harness.upload_data(client, b"still here");
    assert_eq!(harness.io.requests[0].body, b"still here");
    harness.upload(client, BodyRead::End);
    assert!(harness.io.requests[0].sent_all);
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn the_client_may_end_its_direction_first() {
    let (mut harness, client) = open(&TUNNELS);
    harness.upload_data(client, b"bye");
    harness.upload(client, BodyRead::End);
    assert!(harness.io.requests[0].sent_all);
    harness.data(0, b"still here", false);
    assert_eq!((harness.client(client).text(), harness.in_flight()), ("still here", 1));
    harness.data(0, b"", true);
    assert_eq!((harness.client(client).ended, harness.ended()), (Some(Ended::Plain), (1, 0, 0)));
    harness.check_idle();
}

#[test]
fn a_tunnel_ends_when_the_client_has_taken_all_and_both_directions_are_over() {
    // The tunnel ends with the later of both: the end of the upload, or the last bytes taken by the client.
    for is_taken_first in [false, true] {
        let (mut harness, client) = open(&TUNNELS);
        harness.io.clients[client].is_slow = true;
        harness.data(0, b"bye", true);
        if is_taken_first {
            harness.accept_all(client);
            assert_eq!(harness.in_flight(), 1);
            harness.upload(client, BodyRead::End);
        } else {
            harness.upload(client, BodyRead::End);
            assert_eq!(harness.in_flight(), 1);
            harness.accept_all(client);
        }
        assert_eq!(harness.ended(), (1, 0, 0));
        harness.check_idle();
    }
}

#[test]
fn an_abrupt_end_of_the_backend_resets_the_client() {
    for is_half_closed in [false, true] {
        let (mut harness, client) = open(&TUNNELS);
        if is_half_closed {
            harness.io.clients[client].is_slow = true;
            harness.data(0, b"bye", true);
        }
        harness.fail(0, FailureKind::Reset(Code::CANCEL), Processed::Unknown);
        assert_eq!(harness.client(client).ended, Some(Ended::Reset(ResetReason::Cancelled)));
        assert_eq!(harness.ended(), (0, 1, 0));
        harness.check_idle();
    }
}

#[test]
fn an_abrupt_end_of_the_client_resets_the_backend() {
    for is_half_closed in [false, true] {
        let (mut harness, client) = open(&TUNNELS);
        if is_half_closed {
            harness.data(0, b"bye", true);
        }
        harness.abort(client, Abort::Reset(0x10c));
        assert_eq!(harness.io.requests[0].reset, Some(ResetReason::Cancelled));
        assert_eq!(harness.ended(), (0, 0, 1));
        harness.check_idle();
    }
}

#[test]
fn limits_on_bodies_do_not_apply_and_trailers_do_not_exist() {
    let config = Config { performance: "max_request_body_bytes: 10\nmax_response_body_bytes: 10", ..TUNNELS };
    let (mut harness, client) = open(&config);
    harness.upload_data(client, &[b'.'; 100]);
    harness.data(0, &[b'.'; 100], false);
    assert_eq!(harness.in_flight(), 1);
    let mut fields = Fields::new();
    fields.push(Name::Other(b"x-checksum"), b"1");
    harness.trailers(0, fields);
    assert_eq!(harness.client(client).ended, Some(Ended::Plain));
    harness.upload(client, BodyRead::End);
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}

#[test]
fn a_silent_tunnel_is_reset_and_either_direction_counts_as_progress() {
    let config = Config { performance: "tunnel_idle_timeout_ms: 1s", ..TUNNELS };
    let (mut harness, client) = open(&config);
    for _ in 0..3 {
        harness.sleep(Duration::from_millis(900));
        harness.upload_data(client, b"up");
        harness.sleep(Duration::from_millis(900));
        harness.data(0, b"down", false);
    }
    assert_eq!(harness.in_flight(), 1);
    harness.sleep(Duration::from_millis(1100));
    assert_eq!(harness.client(client).ended, Some(Ended::Reset(ResetReason::Internal)));
    assert_eq!((harness.io.requests[0].reset, harness.ended()), (Some(ResetReason::Cancelled), (0, 1, 0)));
    harness.check_idle();
}

#[test]
fn a_refused_tunnel_is_an_ordinary_response() {
    let mut harness = Harness::with(&TUNNELS);
    let client = harness.send(b"CONNECT", b"localhost:443", &[], false);
    harness.head(0, 403, false);
    harness.data(0, b"no", true);
    assert!(!harness.client(client).is_tunnel);
    assert_eq!(harness.io.requests[0].reset, Some(ResetReason::NoError));
    harness.client_event(client, EventKind::Sent);
    assert_eq!(harness.ended(), (1, 0, 0));
    harness.check_idle();
}
