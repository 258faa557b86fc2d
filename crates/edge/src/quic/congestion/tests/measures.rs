//! What is measured of a path, with the times as arguments.

use super::super::{rate::MaxRate, round::Round, rtt::PathRtt};
use super::*;
use quinn_proto::congestion::Controller as _;

/// A path of 80 ms.
fn path(now: Instant) -> PathRtt {
    let mut rtt = PathRtt::new(now);
    rtt.sample(now, ms(80));
    rtt
}

#[test]
fn a_short_path_is_cubics_and_two_milliseconds_are_not_short() {
    let start = Instant::now();
    for (micros, is_model) in [(2000, true), (1999, false)] {
        let mut controller = PathController::new(start, 1350, Arc::default());
        let Algorithm::Model(model) = &mut controller.algorithm else { panic!("paths begin as a model") };
        let now = start + Duration::from_micros(micros);
        model.on_ack(now, start, 1200);
        controller.on_end_acks(now, 0, false, None);
        assert_eq!(matches!(controller.algorithm, Algorithm::Model(_)), is_model, "{micros} us");
    }
}

#[test]
fn the_shortest_of_eight_samples_tells_a_queue() {
    let now = Instant::now();
    for (shortest, queued, flat) in [(80, 90, 89), (8, 10, 9)] {
        let mut rtt = PathRtt::new(now);
        assert_eq!(rtt.shortest(), None);
        for sample in [shortest; 8] {
            rtt.sample(now, ms(sample));
        }
        let mut fill = |times: u32, sample| {
            for _ in 0..times {
                rtt.sample(now, ms(sample));
            }
            rtt.is_queue_building()
        };
        assert!(!fill(8, flat), "{flat} ms on a path of {shortest}");
        assert!(!fill(7, queued) && fill(1, queued), "{queued} ms on a path of {shortest}");
        assert!(fill(7, flat) && !fill(1, flat));
    }
}

#[test]
fn jitter_is_smoothed_and_bounded() {
    let now = Instant::now();
    assert_eq!(PathRtt::new(now).calm(false), None);
    let mut rtt = path(now);
    assert_eq!((rtt.calm(false), rtt.calm(true)), (Some(ms(80)), Some(ms(160))));
    rtt.spread(ms(16));
    assert_eq!(rtt.calm(false), Some(ms(80 + 2 * 4)));
    rtt.spread(ms(8));
    assert_eq!(rtt.calm(false), Some(ms(80 + 2 * 5)), "(4 * 3 + 8) / 4");
    for _ in 0..100 {
        rtt.spread(ms(500));
    }
    assert_eq!(rtt.calm(false), Some(ms(160)), "at most twice the shortest time");
}

#[test]
fn a_queue_has_a_length() {
    let now = Instant::now();
    let rtt = path(now);
    assert!(rtt.is_calm(ms(101)) && !rtt.is_calm(ms(102)));
    assert!(rtt.is_queued(ms(108)) && !rtt.is_queued(ms(107)));
    assert!(rtt.is_full(ms(121)) && rtt.is_full(ms(500)) && !rtt.is_full(ms(120)));
}

#[test]
fn the_shortest_time_is_believed_for_ten_seconds() {
    let now = Instant::now();
    let mut rtt = path(now);
    rtt.sample(now + ms(5000), ms(81));
    assert!(!rtt.is_stale(now + ms(10_000)) && rtt.is_stale(now + ms(10_001)) && rtt.is_stale(now + ms(60_000)));
    rtt.sample(now + ms(9000), ms(80));
    assert!(!rtt.is_stale(now + ms(19_000)) && rtt.is_stale(now + ms(19_001)));
    rtt.renew(now + ms(20_000), ms(100));
    assert_eq!((rtt.shortest(), rtt.is_stale(now + ms(30_000))), (Some(ms(100)), false));
}

#[test]
fn the_highest_of_the_last_six_rates_counts() {
    let mut rates = MaxRate::default();
    assert_eq!(rates.highest(), 0);
    rates.push(900);
    for rate in 1..=5 {
        rates.push(rate);
        assert_eq!(rates.highest(), 900);
    }
    rates.push(6);
    assert_eq!(rates.highest(), 6);
    rates.push_lower_bound(6);
    rates.push_lower_bound(5);
    rates.push(1);
    assert_eq!(rates.highest(), 6);
    rates.push_lower_bound(70);
    assert_eq!(rates.highest(), 70);
    rates.replace(8);
    assert_eq!(rates.highest(), 8);
}

#[test]
fn a_round_reports_what_it_has_shown() {
    let start = Instant::now();
    let at = |time| start + ms(time);
    let mut round = Round::new(start);
    assert_eq!(round.end_batch(at(1), 0, false, 10_000), None, "nothing was acknowledged");
    // Two packets of 40 and 50 ms, then one of 60.
    round.acked(at(50), at(0), 1000);
    round.acked(at(50), at(10), 1000);
    assert_eq!(round.end_batch(at(50), 3000, true, 10_000), Some((2000, ms(40))));
    round.acked(at(100), at(40), 2000);
    round.lost(500);
    assert_eq!(round.end_batch(at(100), 7000, false, 10_000), Some((2000, ms(60))));
    let report = round.finish(at(100)).unwrap();
    assert_eq!((report.delivered, report.lost, report.marked), (4000, 500, false));
    assert_eq!(report.rate, 40_000, "4000 bytes in 100 ms");
    assert_eq!((report.volume, report.app_limited), (9000, true));
    assert_eq!((report.floor, report.spread), (ms(40), ms(10)));
    // The next one ends with a packet that was sent after it began, and forgets the last.
    round.acked(at(120), at(99), 700);
    round.lost(0);
    assert_eq!(round.end_batch(at(120), 6800, true, 10_000), Some((700, ms(21))));
    assert!(round.finish(at(120)).is_none(), "sent before");
    round.acked(at(150), at(100), 300);
    assert_eq!(round.end_batch(at(150), 0, false, 10_000), Some((300, ms(50))));
    let report = round.finish(at(150)).unwrap();
    assert_eq!((report.delivered, report.lost, report.marked), (1000, 0, true));
    assert_eq!((report.volume, report.app_limited), (7500, false), "three quarters of the window were used");
    assert_eq!(report.rate, 16_666, "1000 bytes in the 60 ms in which they were sent");
    round.acked(at(160), at(155), 1);
    assert!(round.end_batch(at(160), 0, false, 10_000).is_some());
    assert!(round.finish(at(150)).is_none(), "no time has passed");
    assert_eq!(round.finish(at(160)).map(|report| report.delivered), Some(1));
}
