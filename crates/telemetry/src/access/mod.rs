//! The access log: one line for each request, and with `log.connections` one for each connection.
//!
//! Each worker formats into a buffer of its own. It hands the buffer to the writer's thread when it is large enough or old
//! enough, because waking that thread in every turn would cost more than the lines. Nothing on the way is locked, and no line
//! is allocated.

mod fields;
mod format;
mod line;
mod output;
mod timestamp;
mod write;

use crate::{ConnectionRecord, RequestRecord, RouteRecord, queue::LineQueue};
use fields::Record;
pub(crate) use line::LineFormat;
use line::Time;
pub use output::AccessOutput;
pub(crate) use output::{Destination, Settings, Wanted, sample_threshold};
use spooky_lb::rng::Rng;
use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};
use timestamp::Timestamp;

/// Size from which a buffer is handed over.
const FULL: usize = 32 * 1024;
/// Room for the line that makes a buffer full. A longer one makes it grow.
const LAST_LINE: usize = 1024;
/// Time after which a line is handed over, even if its buffer is not full.
const MAX_DELAY: Duration = Duration::from_millis(50);

/// The access log of one worker. Dropping it hands over its lines.
pub struct AccessLog {
    output: Arc<AccessOutput>,
    settings: Arc<Settings>,
    requests: Buffer,
    connections: Buffer,
    timestamp: Timestamp,
    /// The time of this turn, and the same counted from 1970.
    now: Instant,
    unix: Duration,
    rng: Rng,
}

/// Lines that are not handed over yet.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
    lines: u32,
    /// When the first of them must be handed over.
    due: Option<Instant>,
}

impl AccessLog {
    /// Creates the log of a worker. `seed` decides which requests `sample_ratio` selects.
    pub fn new(output: Arc<AccessOutput>, seed: u64, now: Instant) -> Self {
        Self {
            settings: output.settings(),
            output,
            requests: Buffer::default(),
            connections: Buffer::default(),
            timestamp: Timestamp::default(),
            now,
            unix: Duration::ZERO,
            rng: Rng::seeded(seed),
        }
    }

    /// Applies the current settings, after a reload.
    pub fn reload(&mut self) {
        self.flush();
        self.settings = self.output.settings();
    }

    /// Sets the time of this turn. `unix` counts from 1970.
    pub fn advance(&mut self, now: Instant, unix: Duration) {
        (self.now, self.unix) = (now, unix);
    }

    /// Writes the line of a request that has ended.
    pub fn request(&mut self, record: &RequestRecord<'_>) {
        if self.output.has_requests() && self.is_selected(record) {
            self.write_request(record);
        }
    }

    /// Writes the line that says where a request goes.
    pub fn route(&mut self, record: &RouteRecord<'_>) {
        if self.output.has_requests() {
            self.write_request(record);
        }
    }

    /// Returns whether connections must be reported when they end.
    pub fn has_connections(&self) -> bool {
        self.output.has_connections()
    }

    /// Writes the line of a connection that has ended.
    pub fn connection(&mut self, record: &ConnectionRecord) {
        if self.output.has_connections() {
            let Self { settings, connections, timestamp, now, unix, .. } = self;
            connections.write(record, &settings.connections, &mut Time { timestamp, unix: *unix }, *now);
        }
    }

    /// Hands over the lines that have waited long enough. Called at the end of every turn.
    pub fn end_turn(&mut self) {
        if self.deadline().is_some_and(|due| due <= self.now) {
            self.flush();
        }
    }

    /// Returns when [`AccessLog::end_turn`] must be called next.
    pub fn deadline(&self) -> Option<Instant> {
        [self.requests.due, self.connections.due].into_iter().flatten().min()
    }

    fn flush(&mut self) {
        self.requests.hand_over(&self.settings.requests.queue);
        self.connections.hand_over(&self.settings.connections.queue);
    }

    fn write_request(&mut self, record: &impl Record) {
        let Self { settings, requests, timestamp, now, unix, .. } = self;
        requests.write(record, &settings.requests, &mut Time { timestamp, unix: *unix }, *now);
    }

    fn is_selected(&mut self, record: &RequestRecord<'_>) -> bool {
        let Some(threshold) = self.settings.sample_threshold else { return true };
        record.status.is_none_or(|status| status >= 400) || self.rng.next_u64() < threshold
    }
}

impl Drop for AccessLog {
    fn drop(&mut self) {
        self.flush();
    }
}

impl Buffer {
    fn write(&mut self, record: &impl Record, to: &Destination, time: &mut Time<'_>, now: Instant) {
        if self.bytes.capacity() == 0 {
            self.bytes.reserve(FULL + LAST_LINE);
            self.due = Some(now + MAX_DELAY);
        }
        to.format.write(&mut self.bytes, record, &to.fields, time);
        self.lines += 1;
        if self.bytes.len() >= FULL {
            self.hand_over(&to.queue);
        }
    }

    fn hand_over(&mut self, queue: &LineQueue) {
        let Self { bytes, lines, .. } = mem::take(self);
        if lines > 0 {
            queue.push(bytes, lines);
        }
    }
}

#[cfg(test)]
mod tests;
