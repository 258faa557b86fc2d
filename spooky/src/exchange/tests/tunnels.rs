//! Tunnels: the directions end independently; a reset of one resets the other.

use super::{
    fake::Ended,
    world::{Config, World},
};
use spooky_bridge::{
    h2::Code,
    message::{Fields, Name, ResetReason},
};
use spooky_edge::{Abort, BodyRead, EventKind};
use spooky_transport::{FailureKind, Processed};
use std::time::Duration;

/// Opens a tunnel. Its request is number 0.
fn open(config: &Config) -> (World, usize) {
    let mut world = World::with(config);
    let client = world.send(b"CONNECT", b"localhost:443", &[], false);
    world.head(0, 200, false);
    assert!(world.client(client).is_tunnel);
    (world, client)
}

const TUNNELS: Config =
    Config { resilience: "  protocol: { allow_connect: true }", upstream: "", performance: "", backends: 2 };

#[test]
fn the_backend_may_end_its_direction_first() {
    let (mut world, client) = open(&TUNNELS);
    world.data(0, b"bye", true);
    assert_eq!((world.client(client).text(), world.client(client).ended), ("bye", Some(Ended::Plain)));
    assert_eq!((world.in_flight(), world.io.requests[0].reset), (1, None));
    world.upload_data(client, b"still here");
    assert_eq!(world.io.requests[0].body, b"still here");
    world.upload(client, BodyRead::End);
    assert!(world.io.requests[0].sent_all);
    assert_eq!(world.ended(), (1, 0, 0));
    world.check_idle();
}

#[test]
fn the_client_may_end_its_direction_first() {
    let (mut world, client) = open(&TUNNELS);
    world.upload_data(client, b"bye");
    world.upload(client, BodyRead::End);
    assert!(world.io.requests[0].sent_all);
    world.data(0, b"still here", false);
    assert_eq!((world.client(client).text(), world.in_flight()), ("still here", 1));
    world.data(0, b"", true);
    assert_eq!((world.client(client).ended, world.ended()), (Some(Ended::Plain), (1, 0, 0)));
    world.check_idle();
}

#[test]
fn a_tunnel_ends_when_the_client_has_taken_all_and_both_directions_are_over() {
    // The tunnel ends with the later of both: the end of the upload, or the last bytes taken by the client.
    for is_taken_first in [false, true] {
        let (mut world, client) = open(&TUNNELS);
        world.io.clients[client].is_slow = true;
        world.data(0, b"bye", true);
        if is_taken_first {
            world.accept_all(client);
            assert_eq!(world.in_flight(), 1);
            world.upload(client, BodyRead::End);
        } else {
            world.upload(client, BodyRead::End);
            assert_eq!(world.in_flight(), 1);
            world.accept_all(client);
        }
        assert_eq!(world.ended(), (1, 0, 0));
        world.check_idle();
    }
}

#[test]
fn an_abrupt_end_of_the_backend_resets_the_client() {
    for is_half_closed in [false, true] {
        let (mut world, client) = open(&TUNNELS);
        if is_half_closed {
            world.io.clients[client].is_slow = true;
            world.data(0, b"bye", true);
        }
        world.fail(0, FailureKind::Reset(Code::CANCEL), Processed::Unknown);
        assert_eq!(world.client(client).ended, Some(Ended::Reset(ResetReason::Cancelled)));
        assert_eq!(world.ended(), (0, 1, 0));
        world.check_idle();
    }
}

#[test]
fn an_abrupt_end_of_the_client_resets_the_backend() {
    for is_half_closed in [false, true] {
        let (mut world, client) = open(&TUNNELS);
        if is_half_closed {
            world.data(0, b"bye", true);
        }
        world.abort(client, Abort::Reset(0x10c));
        assert_eq!(world.io.requests[0].reset, Some(ResetReason::Cancelled));
        assert_eq!(world.ended(), (0, 0, 1));
        world.check_idle();
    }
}

#[test]
fn limits_on_bodies_do_not_apply_and_trailers_do_not_exist() {
    let config = Config { performance: "max_request_body_bytes: 10\nmax_response_body_bytes: 10", ..TUNNELS };
    let (mut world, client) = open(&config);
    world.upload_data(client, &[b'.'; 100]);
    world.data(0, &[b'.'; 100], false);
    assert_eq!(world.in_flight(), 1);
    let mut fields = Fields::new();
    fields.push(Name::Other(b"x-checksum"), b"1");
    world.trailers(0, fields);
    assert_eq!(world.client(client).ended, Some(Ended::Plain));
    world.upload(client, BodyRead::End);
    assert_eq!(world.ended(), (1, 0, 0));
    world.check_idle();
}

#[test]
fn a_silent_tunnel_is_reset_and_either_direction_counts_as_progress() {
    let config = Config { performance: "tunnel_idle_timeout_ms: 1s", ..TUNNELS };
    let (mut world, client) = open(&config);
    for _ in 0..3 {
        world.sleep(Duration::from_millis(900));
        world.upload_data(client, b"up");
        world.sleep(Duration::from_millis(900));
        world.data(0, b"down", false);
    }
    assert_eq!(world.in_flight(), 1);
    world.sleep(Duration::from_millis(1100));
    assert_eq!(world.client(client).ended, Some(Ended::Reset(ResetReason::Internal)));
    assert_eq!((world.io.requests[0].reset, world.ended()), (Some(ResetReason::Cancelled), (0, 1, 0)));
    world.check_idle();
}

#[test]
fn a_refused_tunnel_is_an_ordinary_response() {
    let mut world = World::with(&TUNNELS);
    let client = world.send(b"CONNECT", b"localhost:443", &[], false);
    world.head(0, 403, false);
    world.data(0, b"no", true);
    assert!(!world.client(client).is_tunnel);
    assert_eq!(world.io.requests[0].reset, Some(ResetReason::NoError));
    world.client_event(client, EventKind::Sent);
    assert_eq!(world.ended(), (1, 0, 0));
    world.check_idle();
}
