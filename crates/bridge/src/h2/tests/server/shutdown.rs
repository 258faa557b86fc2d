//! GOAWAY, resets, and the limit on requests that the client ends.

use super::*;

#[test]
fn a_shutdown_in_two_steps() {
    let mut wire = Wire::new();
    let first = wire.get(1);
    assert!(wire.server.shut_down_step());
    assert_eq!(wire.shown(), ["goaway 2147483647 NO_ERROR"]);
    let second = wire.get(3);
    assert!(wire.server.shut_down_step());
    assert!(!wire.server.shut_down_step());
    assert_eq!(wire.shown(), ["goaway 3 NO_ERROR"]);
    let late = wire.headers(5, &with(&POST, &[("user-agent", "late")]), false);
    assert_eq!(wire.feed(&late), [""; 0]);
    assert_eq!(wire.feed(&data(5, b"dropped", true)), [""; 0]);
    assert_eq!(wire.shown(), [""; 0]);
    wire.server.send_head(first, &response(204), true);
    assert!(!wire.server.is_drained());
    wire.server.send_head(second, &response(204), true);
    assert!(wire.server.is_drained());
    assert_eq!(wire.fails(&window_update(0, 0)), Code::PROTOCOL_ERROR);
    let mut failed = Wire::new();
    failed.fails(&window_update(0, 0));
    assert!(!failed.server.shut_down_step());
    failed.server.close(Code::NO_ERROR);
    assert_eq!(failed.shown(), [""; 0], "GOAWAY has said why");
}

/// GOAWAY must not raise its last stream (RFC 9113 6.8).
#[test]
fn an_error_after_a_shutdown_names_no_later_stream() {
    let mut wire = Wire::new();
    wire.get(3);
    wire.server.shut_down_step();
    wire.server.shut_down_step();
    let excluded = wire.headers(5, &GET, true);
    wire.feed(&excluded);
    wire.try_feed(&window_update(0, 0)).unwrap_err();
    assert_eq!(wire.shown(), ["goaway 2147483647 NO_ERROR", "goaway 3 NO_ERROR", "goaway 3 PROTOCOL_ERROR"]);
}

#[test]
fn an_error_names_the_last_stream() {
    let mut wire = Wire::new();
    wire.get(5);
    wire.try_feed(&window_update(0, 0)).unwrap_err();
    assert_eq!(wire.shown(), ["goaway 5 PROTOCOL_ERROR"]);
}

#[test]
fn a_reset_by_the_client() {
    let mut wire = Wire::new();
    let id = wire.post(1);
    assert_eq!(wire.feed(&reset(1, Code::CANCEL)), ["reset 101 CANCEL"]);
    wire.server.send_head(id, &response(200), false);
    wire.server.send_data(id, &mut Bytes::from_static(b"late"), true);
    assert_eq!(wire.shown(), [""; 0]);
    assert_eq!(wire.fails(&reset(3, Code::CANCEL)), Code::PROTOCOL_ERROR, "idle");
}

/// More than 500 requests within 10 s, and more than half of all.
#[test]
fn a_flood_of_resets_ends_the_connection() {
    let cancelled = |wire: &mut Wire, stream: u32| {
        let request = wire.headers(stream, &GET, true);
        wire.try_feed(&[request, reset(stream, Code::CANCEL)].concat())
    };
    let mut wire = Wire::new();
    let ids: Vec<u32> = (0..1001).map(|number| 2 * number + 1).collect();
    assert!(ids[..500].iter().all(|stream| cancelled(&mut wire, *stream).is_ok()));
    assert_eq!(cancelled(&mut wire, ids[500]).unwrap_err().code, Code::ENHANCE_YOUR_CALM);

    let mut slow = Wire::new();
    for stream in &ids {
        slow.now += Duration::from_millis(21);
        cancelled(&mut slow, *stream).unwrap();
    }
    let mut mixed = Wire::new();
    for pair in (0..1400).map(|number| 2 * number + 1).collect::<Vec<u32>>().chunks_exact(2) {
        let id = mixed.get(pair[0]);
        mixed.server.send_head(id, &response(204), true);
        cancelled(&mut mixed, pair[1]).unwrap();
    }
}

#[test]
fn other_ways_to_end_requests_count_too() {
    let ways: [fn(&mut Wire, u32) -> Vec<u8>; 4] = [
        |wire, stream| wire.headers(stream, &GET[..3], true),
        |wire, stream| [wire.headers(stream, &GET, true), window_update(stream, 0)].concat(),
        |wire, stream| [wire.headers(stream, &GET, true), data(stream, b"x", false)].concat(),
        |wire, stream| [wire.headers(stream, &GET, true), window_update(stream, 0x7fff_ffff)].concat(),
    ];
    for (index, way) in ways.into_iter().enumerate() {
        let mut wire = Wire::new();
        let taken = (0..1000).take_while(|number| {
            let bytes = way(&mut wire, 2 * number + 1);
            let result = wire.try_feed(&bytes);
            wire.written();
            result.is_ok()
        });
        // A WINDOW_UPDATE without need counts as a useless frame too, as does the first SETTINGS.
        assert!((499..=500).contains(&taken.count()), "way {index}");
    }
}
