//! Per-worker cached date and random number generator.

use spooky_bridge::message::request_id;
use spooky_lb::rng::Rng;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Interval between reads of the system clock.
const READ_EVERY: Duration = Duration::from_millis(10);

/// Returns milliseconds since the Unix epoch, by the system clock. Workers use [`Clock`].
pub(crate) fn unix_ms() -> u64 {
    let passed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(passed.as_millis()).unwrap_or(u64::MAX)
}

pub(crate) struct Clock {
    rng: Rng,
    date: Vec<u8>,
    read_at: Option<Instant>,
    unix: Duration,
}

impl Clock {
    /// `seed` is drawn by the system at start.
    pub(crate) fn new(seed: u64) -> Self {
        Self { rng: Rng::seeded(seed), date: Vec::new(), read_at: None, unix: Duration::ZERO }
    }

    /// Sets the time of this turn.
    pub(crate) fn advance(&mut self, now: Instant) {
        self.advance_by(now, SystemTime::now);
    }

    /// As [`Clock::advance`], with the system clock to read from.
    fn advance_by(&mut self, now: Instant, system: impl FnOnce() -> SystemTime) {
        let elapsed = self.read_at.map(|at| now.saturating_duration_since(at));
        if elapsed.is_some_and(|elapsed| elapsed < READ_EVERY) {
            return;
        }
        let before = self.unix.as_secs();
        self.unix = system().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.read_at = Some(now);
        if self.unix.as_secs() != before || self.date.is_empty() {
            self.date = httpdate::fmt_http_date(UNIX_EPOCH + self.unix).into_bytes();
        }
    }

    /// Returns the time of this turn, counted from 1970.
    pub(crate) fn unix(&self, now: Instant) -> Duration {
        self.unix + self.read_at.map_or(Duration::ZERO, |at| now.saturating_duration_since(at))
    }

    /// Returns the value of the `date` field.
    pub(crate) fn http_date(&self) -> &[u8] {
        &self.date
    }

    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Creates a request id (UUID version 7).
    pub(crate) fn request_id(&mut self) -> [u8; 36] {
        let (high, low) = (self.rng.next_u64().to_le_bytes(), self.rng.next_u64().to_le_bytes());
        let mut random = [0; 10];
        for (to, from) in random.iter_mut().zip(high.into_iter().chain(low)) {
            *to = from;
        }
        request_id::uuid_v7(self.unix.as_millis() as u64, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the date field after a turn at `turn_ms` at which the system clock says `unix_ms`.
    fn date(clock: &mut Clock, start: Instant, turn_ms: u64, unix_ms: u64) -> String {
        let system = || UNIX_EPOCH + Duration::from_millis(unix_ms);
        clock.advance_by(start + Duration::from_millis(turn_ms), system);
        String::from_utf8(clock.http_date().to_vec()).unwrap()
    }

    /// Returns the time in a request id.
    fn unix_ms(clock: &mut Clock) -> u64 {
        let id = String::from_utf8(clock.request_id().to_vec()).unwrap().replace('-', "");
        u64::from_str_radix(&id[..12], 16).unwrap()
    }

    #[test]
    fn the_system_clock_is_read_every_ten_milliseconds() {
        let (mut clock, start) = (Clock::new(1), Instant::now());
        assert_eq!(date(&mut clock, start, 0, 1_000), "Thu, 01 Jan 1970 00:00:01 GMT");
        assert_eq!(date(&mut clock, start, 9, 2_000), "Thu, 01 Jan 1970 00:00:01 GMT", "it was read 9 ms ago");
        assert_eq!(unix_ms(&mut clock), 1_000);
        assert_eq!(clock.unix(start + Duration::from_millis(9)), Duration::from_millis(1_009), "counted on");
        assert_eq!(date(&mut clock, start, 10, 2_000), "Thu, 01 Jan 1970 00:00:02 GMT");
        assert_eq!(date(&mut clock, start, 25, 2_015), "Thu, 01 Jan 1970 00:00:02 GMT");
        assert_eq!(unix_ms(&mut clock), 2_015, "within the same second");
        assert_eq!(date(&mut clock, start, 1_000, 3_000), "Thu, 01 Jan 1970 00:00:03 GMT");
    }

    #[test]
    fn there_is_a_date_in_the_first_second_of_the_epoch() {
        assert_eq!(date(&mut Clock::new(1), Instant::now(), 0, 0), "Thu, 01 Jan 1970 00:00:00 GMT");
    }

    #[test]
    fn request_ids_differ_and_are_uuids_of_version_7() {
        let mut clock = Clock::new(1);
        let ids = [clock.request_id(), clock.request_id()];
        assert_ne!(ids[0], ids[1]);
        for id in ids {
            assert!(request_id::is_acceptable(&id));
            assert_eq!((id[14], [8, 13, 18, 23].map(|at| id[at])), (b'7', [b'-'; 4]));
        }
    }
}
