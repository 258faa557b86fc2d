//! The deadlines in virtual time: which phase runs when, and which pauses count against nobody.

use super::*;

const AT: fn(u64) -> Nanos = Nanos::from_millis;

/// Deadlines with their options, so that a test says only what happens.
struct Bench {
    options: DeadlineOptions,
    deadlines: Deadlines,
}

impl Bench {
    fn new() -> Self {
        Self::with(DeadlineOptions::default())
    }

    fn with(options: DeadlineOptions) -> Self {
        Self { deadlines: Deadlines::new(&options, AT(0)), options }
    }

    fn upload(&mut self, wait: UploadWait, read: u64, ms: u64) {
        self.deadlines.on_upload(&self.options, wait, read, AT(ms));
    }

    fn head(&mut self, kind: BodyKind, ms: u64) {
        self.deadlines.on_head(&self.options, kind, AT(ms));
    }

    /// Body bytes come from the backend and the client's connection takes all of them, or leaves some.
    fn body(&mut self, is_waiting: bool, ms: u64) {
        self.deadlines.on_body(&self.options, AT(ms));
        let taken = u64::from(!is_waiting);
        self.deadlines.on_client(&self.options, !is_waiting, taken, is_waiting, AT(ms));
    }

    /// The client makes room and takes so many bytes.
    fn takes(&mut self, bytes: u64, is_waiting: bool, ms: u64) {
        self.deadlines.on_client(&self.options, true, bytes, is_waiting, AT(ms));
    }

    fn next(&self) -> (u64, Expiry) {
        let (until, expiry) = self.deadlines.next(&self.options);
        (until.millis(), expiry)
    }

    fn never(&self) -> bool {
        self.deadlines.next(&self.options).0 == Nanos::NEVER
    }
}

#[test]
fn phases_follow_one_another() {
    let mut bench = Bench::new();
    assert!(bench.never());
    bench.upload(UploadWait::Client, 0, 100);
    assert_eq!(bench.next(), (10_100, Expiry::Upload));
    bench.upload(UploadWait::Backend, 5, 200);
    assert!(bench.never());
    bench.head(BodyKind::Ordinary, 200);
    assert_eq!(bench.next(), (30_200, Expiry::ClientStall), "whether the head waits is looked at then");
    bench.deadlines.on_nothing_waits(&bench.options, AT(30_200));
    assert_eq!(bench.next(), (60_200, Expiry::FirstByte));
    bench.body(false, 30_300);
    assert_eq!(bench.next(), (60_300, Expiry::BodyIdle));
    bench.deadlines.on_body_end();
    assert_eq!(bench.next().1, Expiry::ClientStall);
}

#[test]
fn only_bytes_of_the_body_end_the_silence_of_an_upload() {
    let mut bench = Bench::new();
    bench.upload(UploadWait::Client, 0, 0);
    bench.upload(UploadWait::Client, 0, 9_000);
    assert_eq!(
        bench.next(),
        (10_000, Expiry::Upload),
        "frames without bytes, and room at the backend, are no progress"
    );
    bench.upload(UploadWait::Client, 1, 9_500);
    assert_eq!(bench.next().0, 10_000, "but one byte in ten seconds is below the minimum rate");
    assert_eq!(bench.next().1, Expiry::UploadRate);
}

#[test]
fn an_upload_that_spooky_or_the_backend_holds_up_costs_the_client_nothing() {
    for wait in [UploadWait::Proxy, UploadWait::Backend] {
        let mut bench = Bench::new();
        bench.upload(UploadWait::Client, 0, 0);
        bench.upload(wait, 100, 4_000);
        assert!(bench.never(), "{wait:?}");
        bench.upload(UploadWait::Client, 0, 100_000);
        assert_eq!(bench.next(), (106_000, Expiry::UploadRate), "{wait:?}: four seconds of grace were used");
        bench.upload(UploadWait::Client, 2_400_000, 100_001);
        assert_eq!(bench.next(), (110_001, Expiry::Upload), "{wait:?}");
    }
}

#[test]
fn back_pressure_stops_the_backends_clock_and_room_starts_it_anew() {
    let mut bench = Bench::new();
    bench.head(BodyKind::Ordinary, 0);
    bench.body(true, 1);
    assert_eq!(bench.next(), (10_001, Expiry::DownloadRate));
    bench.takes(10_000_000, true, 9_000);
    assert_eq!(bench.next(), (39_000, Expiry::ClientStall));
    bench.takes(10, false, 60_000);
    assert_eq!(bench.next().0, 90_000);
    bench.body(false, 80_000);
    bench.deadlines.on_nothing_waits(&bench.options, AT(89_000));
    assert_eq!(bench.next(), (110_000, Expiry::BodyIdle));
}

#[test]
fn a_first_byte_that_comes_while_the_client_has_no_room_is_the_first() {
    let (first_byte, body_idle) = (Duration::from_secs(5), Duration::from_secs(2));
    let mut bench = Bench::with(DeadlineOptions { first_byte, body_idle, ..DeadlineOptions::default() });
    bench.head(BodyKind::Ordinary, 0);
    bench.deadlines.on_client(&bench.options, false, 0, true, AT(0));
    assert_ne!(bench.next().1, Expiry::FirstByte);
    bench.takes(0, false, 100);
    assert_eq!(bench.next(), (5_100, Expiry::FirstByte));
    bench.deadlines.on_client(&bench.options, false, 0, true, AT(200));
    bench.body(true, 300);
    bench.takes(1, false, 400);
    assert_eq!(bench.next(), (2_400, Expiry::BodyIdle));
}

#[test]
fn a_client_that_takes_nothing_stalls_from_the_moment_at_which_something_waits() {
    let options = DeadlineOptions { client_min_rate: 0, ..DeadlineOptions::default() };
    for kind in [BodyKind::Ordinary, BodyKind::LongLived] {
        let mut bench = Bench::with(options);
        bench.head(kind, 0);
        bench.body(false, 10);
        bench.body(true, 25_000);
        assert_eq!(bench.next(), (55_000, Expiry::ClientStall), "{kind:?}");
        bench.body(true, 40_000);
        assert_eq!(bench.next().0, 55_000, "{kind:?}: more from the backend is no progress of the client");
        bench.takes(0, true, 54_000);
        assert_eq!(bench.next().0, 84_000, "{kind:?}: the client made room");
        bench.deadlines.on_body_end();
        assert_eq!(bench.next(), (84_000, Expiry::ClientStall), "{kind:?}: also when the backend is through");
    }
}

#[test]
fn a_slow_reader_is_measured_only_while_something_waits_for_it() {
    let mut bench = Bench::new();
    bench.head(BodyKind::Ordinary, 0);
    // One byte every three seconds: within the stall timeout, below the rate.
    bench.body(true, 0);
    for ms in (3_000..10_000).step_by(3_000) {
        bench.takes(1, true, ms);
    }
    assert_eq!(bench.next(), (10_000, Expiry::DownloadRate));
    assert_eq!(Expiry::DownloadRate.reason(), None);
    // The same from a backend that has no more: nobody is slow.
    let mut bench = Bench::new();
    bench.head(BodyKind::Ordinary, 0);
    for ms in (0..100_000).step_by(3_000) {
        bench.body(false, ms);
        assert!(!matches!(bench.next().1, Expiry::DownloadRate | Expiry::ClientStall) || bench.next().0 > ms + 20_000);
    }
}

#[test]
fn streams_without_end_need_no_rate() {
    for kind in [BodyKind::LongLived, BodyKind::Tunnel] {
        let mut bench = Bench::new();
        bench.upload(UploadWait::Client, 0, 0);
        bench.head(kind, 5);
        bench.upload(UploadWait::Client, 1, 10);
        bench.body(true, 10);
        for ms in (20_000..200_000).step_by(20_000) {
            bench.takes(1, true, ms);
            bench.upload(UploadWait::Client, 1, ms);
            assert!(bench.next().0 > ms + 20_000, "{kind:?}: {:?}", bench.next());
        }
    }
    let options = DeadlineOptions { upload_idle: Duration::from_secs(60), ..DeadlineOptions::default() };
    let mut exempt = Deadlines::new(&options, AT(0)).without_rate(true);
    exempt.on_upload(&options, UploadWait::Client, 0, AT(0));
    assert_eq!(exempt.next(&options), (AT(60_000), Expiry::Upload));
}

#[test]
fn bytes_in_either_direction_keep_a_tunnel_open_and_nothing_else_does() {
    let mut bench = Bench::new();
    bench.head(BodyKind::Tunnel, 0);
    assert_eq!(bench.next(), (300_000, Expiry::TunnelIdle));
    bench.body(false, 10);
    assert_eq!(bench.next(), (300_010, Expiry::TunnelIdle));
    bench.upload(UploadWait::Client, 1, 20);
    assert_eq!(bench.next(), (300_020, Expiry::TunnelIdle));
    bench.upload(UploadWait::Backend, 1, 30);
    assert_eq!(bench.next(), (300_030, Expiry::TunnelIdle), "also when the backend takes no more");
    bench.upload(UploadWait::Client, 0, 40);
    assert_eq!(bench.next(), (300_030, Expiry::TunnelIdle));
    // A client that does not read stops no clock: its tunnel is as idle as it looks.
    bench.body(true, 50);
    assert_eq!(bench.next(), (300_050, Expiry::TunnelIdle));
    bench.takes(1, true, 60);
    assert_eq!(bench.next(), (300_060, Expiry::TunnelIdle));
}

#[test]
fn the_lifetime_ends_everything() {
    let mut bench = Bench::with(DeadlineOptions { lifetime: Some(Duration::from_secs(1)), ..Default::default() });
    bench.head(BodyKind::Ordinary, 0);
    assert_eq!(bench.next(), (1000, Expiry::Lifetime));
    assert_eq!(Expiry::Lifetime.reason(), Some(Reason::Lifetime));
    assert_eq!(Expiry::BodyIdle.reason(), None);
    assert_eq!(Expiry::Upload.reset(), Reset::RequestBodyIdle);
}
