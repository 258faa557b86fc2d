//! The model by hand: rounds of packets of 1000 bytes on a path of 50 ms, whose states and windows can be computed.

use super::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

struct Driver {
    model: Model,
    now: Instant,
}

impl Driver {
    fn new() -> Self {
        let now = Instant::now();
        Self { model: Model::new(now, 1000, 32_000), now }
    }

    /// Sends `packets` at once and has them acknowledged after `rtt`, in which `lost` bytes are reported as lost.
    fn lossy(&mut self, rtt: u64, packets: u64, lost: Option<u64>) -> String {
        let sent = self.now;
        self.now += ms(rtt);
        for _ in 0..packets {
            self.model.on_ack(self.now, sent, 1000);
        }
        if let Some(lost) = lost {
            self.model.on_congestion_event(self.now, sent, false, lost);
        }
        self.model.on_end_acks(self.now, 0, false);
        format!("{:?}", self.model.state)
    }

    fn round(&mut self, rtt: u64, packets: u64) -> String {
        self.lossy(rtt, packets, None)
    }

    /// A driver whose path was found to deliver 80 packets in 50 ms.
    fn cruising() -> Self {
        let mut driver = Self::new();
        for packets in [32, 64, 80, 80, 80, 80] {
            driver.round(50, packets);
        }
        assert_eq!(driver.round(50, 75), "Cruise { left: 4 }");
        driver
    }
}

#[test]
fn startup_ends_after_three_rounds_without_growth() {
    let mut driver = Driver::new();
    for (packets, state, window) in [
        (32, "Startup { best: 640000, flat: 0, full: false }", 64_000),
        (64, "Startup { best: 1280000, flat: 0, full: false }", 128_000),
        (64, "Startup { best: 1280000, flat: 1, full: false }", 128_000),
        (80, "Startup { best: 1600000, flat: 0, full: false }", 208_000),
        (80, "Startup { best: 1600000, flat: 1, full: false }", 208_000),
        (80, "Startup { best: 1600000, flat: 2, full: false }", 208_000),
        (80, "Drain { left: 2, rate: 1600000, stale: false }", 75_000),
        (75, "Cruise { left: 4 }", 87_000),
    ] {
        assert_eq!((driver.round(50, packets).as_str(), driver.model.window()), (state, window));
    }
}

#[test]
fn a_probe_goes_on_while_the_path_delivers_a_tenth_more() {
    let mut driver = Driver::cruising();
    for (packets, state, window) in [
        (80, "Cruise { left: 3 }", 87_000),
        (80, "Cruise { left: 2 }", 87_000),
        (80, "Cruise { left: 1 }", 87_000),
        (80, "Cruise { left: 0 }", 87_000),
        (80, "ProbeUp { from: 1600000, first: true }", 103_000),
        (88, "ProbeUp { from: 1600000, first: false }", 113_000),
        (88, "ProbeUp { from: 1760000, first: false }", 113_000),
        (88, "Drain { left: 2, rate: 1760000, stale: false }", 82_200),
        (79, "Cruise { left: 4 }", 95_400),
    ] {
        assert_eq!((driver.round(50, packets).as_str(), driver.model.window()), (state, window));
    }
}

#[test]
fn a_queue_is_left_and_one_that_stays_is_that_of_others() {
    let mut driver = Driver::cruising();
    assert_eq!(driver.round(150, 40), "Drain { left: 2, rate: 266666, stale: true }");
    assert_eq!(driver.round(50, 10), "Cruise { left: 6 }", "the path has become slower");
    assert_eq!(driver.model.window(), 13_333 * 105 / 100 + 3000);

    let mut driver = Driver::cruising();
    driver.round(150, 40);
    assert_eq!(driver.round(150, 40), "Drain { left: 1, rate: 266666, stale: true }");
    assert_eq!(driver.round(150, 40), "Cruise { left: 4 }");
    assert_eq!((driver.model.competing, driver.model.window()), (COMPETING_CYCLES, 171_000));
    assert_eq!(driver.round(150, 40), "Cruise { left: 3 }", "it is not left again");
    driver.round(50, 40);
    assert_eq!(driver.model.competing, 0);
}

#[test]
fn a_mark_lowers_the_window_once_for_the_packets_before_it() {
    let mut driver = Driver::new();
    assert_eq!(driver.lossy(50, 32, Some(0)), "Drain { left: 2, rate: 640000, stale: false }");
    assert_eq!(driver.model.window(), 32_000 * 85 / 100);
    assert_eq!(driver.lossy(50, 27, Some(0)), "Cruise { left: 4 }", "the packets were sent before the answer");
    assert_eq!(driver.model.window(), 27_200 + 27_200 / 32);
    driver.lossy(50, 28, Some(0));
    assert_eq!(driver.model.window(), 28_000 * 85 / 100);
}

#[test]
fn loss_is_congestion_with_a_queue_or_when_it_is_heavy() {
    let ceiling = |rtt, packets, lost| {
        let mut driver = Driver::new();
        driver.round(50, 32);
        driver.lossy(rtt, packets, Some(lost));
        driver.model.ceiling
    };
    assert_eq!(ceiling(80, 60, 3000), 42_000);
    assert_eq!(ceiling(80, 60, 2000), MAX_WINDOW, "two packets");
    assert_eq!(ceiling(80, 200, 3000), MAX_WINDOW, "less than two percent");
    assert_eq!(ceiling(75, 60, 3000), MAX_WINDOW, "no full queue");
    assert_eq!(ceiling(50, 40, 8000), 28_000);
    assert_eq!(ceiling(50, 40, 7999), MAX_WINDOW, "less than eight packets");
    assert_eq!(ceiling(50, 60, 8000), MAX_WINDOW, "less than fifteen percent");
    assert_eq!(ceiling(50, 5, 8000), 4000, "the least window");
}

#[test]
fn the_average_packet_tells_a_full_queue() {
    let mut driver = Driver::new();
    driver.round(50, 32);
    let start = driver.now;
    for (sent, count) in [(0, 30), (30, 30)] {
        for _ in 0..count {
            driver.model.on_ack(start + ms(100), start + ms(sent), 1000);
        }
    }
    driver.model.on_congestion_event(start + ms(100), start, false, 3000);
    driver.model.on_end_acks(start + ms(100), 0, false);
    assert_eq!(driver.model.ceiling, 42_000, "85 ms on average, although the shortest took 70");
}

#[test]
fn the_path_is_measured_anew_when_its_shortest_time_is_old() {
    let mut driver = Driver::cruising();
    let measured = driver.now;
    while driver.now <= measured + ms(10_000) {
        assert!(!matches!(driver.model.state, State::ProbeRtt { .. }));
        driver.round(51, 80);
    }
    let State::ProbeRtt { until } = driver.model.state else { panic!("{:?}", driver.model.state) };
    assert_eq!(until, driver.now + PROBE_RTT);
    assert_eq!(driver.model.window(), driver.model.rates.highest() * 50 / 1000 / 2 + 3000);
    for _ in 0..3 {
        driver.round(51, 40);
        assert!(matches!(driver.model.state, State::ProbeRtt { .. }));
    }
    driver.round(47, 40);
    assert_eq!(driver.now, until);
    assert!(matches!(driver.model.state, State::Cruise { .. }), "{:?}", driver.model.state);
    assert_eq!(driver.model.shortest_rtt(), Some(ms(47)));
}
