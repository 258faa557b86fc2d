//! Per-worker cached date and random number generator.

use spooky_bridge::message::request_id;
use spooky_lb::rng::Rng;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Interval between reads of the system clock.
const READ_EVERY: Duration = Duration::from_millis(10);

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
        let elapsed = self.read_at.map(|at| now.saturating_duration_since(at));
        if elapsed.is_some_and(|elapsed| elapsed < READ_EVERY) {
            return;
        }
        let before = self.unix.as_secs();
        self.unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.read_at = Some(now);
        if self.unix.as_secs() != before || self.date.is_empty() {
            self.date = httpdate::fmt_http_date(UNIX_EPOCH + self.unix).into_bytes();
        }
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
