//! The results of a run, as numbers and as text.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{plan::Plan, tally::Tally};

/// CPU time of the measured process.
#[derive(Clone, Copy, Debug)]
pub struct Cpu {
    /// While the connections were opened.
    pub handshakes: Duration,
    /// While the requests ran.
    pub requests: Duration,
    /// Resolution of its clock.
    pub tick: Duration,
}

/// Results of all requests of a plan.
#[derive(Clone, Debug)]
pub struct Report {
    /// Complete responses by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Requests without a complete response by reason.
    pub failures: BTreeMap<String, u64>,
    /// Connections that failed to open by reason.
    pub not_connected: BTreeMap<String, u64>,
    /// Requests that were not sent, because no connection was left or the time limit was reached.
    pub unsent: u64,
    /// Number of open connections.
    pub open: usize,
    /// Body bytes of complete responses.
    pub received: u64,
    /// Body bytes of answered requests.
    pub sent: u64,
    /// Time from the first request to the end of the last response.
    pub elapsed: Duration,
    /// CPU time of the measured process.
    pub cpu: Option<Cpu>,
    title: String,
    /// Latencies in microseconds, ascending.
    latencies: Vec<u32>,
    handshakes: Vec<Duration>,
}

impl Report {
    pub(super) fn new(
        plan: &Plan,
        open: usize,
        mut handshakes: Vec<Duration>,
        mut tally: Tally,
        elapsed: Duration,
        cpu: Option<Cpu>,
    ) -> Self {
        handshakes.sort_unstable();
        tally.latencies.sort_unstable();
        let answered: u64 = tally.statuses.values().sum();
        let failed: u64 = tally.failures.values().sum();
        Self {
            unsent: plan.requests.saturating_sub(answered + failed),
            sent: answered * plan.body.bytes,
            title: format!(
                "{} {}, body of {} bytes, {} connections x {} streams",
                plan.method, plan.uri, plan.body.bytes, plan.connections, plan.streams
            ),
            statuses: tally.statuses,
            failures: tally.failures,
            not_connected: tally.not_connected,
            latencies: tally.latencies,
            received: tally.received,
            open,
            elapsed,
            cpu,
            handshakes,
        }
    }

    /// Returns the number of complete responses with a 2xx status.
    pub fn ok(&self) -> u64 {
        self.statuses.range(200..300).map(|(_, count)| count).sum()
    }

    /// Returns the number of all other requests, including those that were not sent.
    pub fn failed(&self) -> u64 {
        self.answered() - self.ok() + self.failures.values().sum::<u64>() + self.unsent
    }

    /// Returns the number of complete responses of any status.
    pub fn answered(&self) -> u64 {
        self.statuses.values().sum()
    }

    /// Returns the number of complete responses per second.
    pub fn rate(&self) -> f64 {
        self.answered() as f64 / self.elapsed.as_secs_f64().max(f64::EPSILON)
    }

    /// Returns the latency at this quantile (0 to 1) of the complete responses.
    pub fn latency(&self, part: f64) -> Option<Duration> {
        quantile(&self.latencies, part).map(|micros| Duration::from_micros(micros.into()))
    }
}

/// Returns the value at this quantile of the sorted values.
#[expect(clippy::cast_sign_loss, reason = "the part is at least 0")]
fn quantile<T: Copy>(sorted: &[T], part: f64) -> Option<T> {
    let rank = (part.clamp(0.0, 1.0) * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

fn millis(time: Option<Duration>) -> String {
    time.map_or_else(|| "-".to_owned(), |time| format!("{:.3}", time.as_secs_f64() * 1e3))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        writeln!(
            f,
            "connections  {} open, handshake median {} ms",
            self.open,
            millis(quantile(&self.handshakes, 0.5))
        )?;
        for (reason, count) in &self.not_connected {
            writeln!(f, "  {count:>9} not: {reason}")?;
        }
        writeln!(f, "requests     {} ok, {} failed", self.ok(), self.failed())?;
        for (status, count) in &self.statuses {
            writeln!(f, "  {count:>9} {status}")?;
        }
        for (reason, count) in &self.failures {
            writeln!(f, "  {count:>9} {reason}")?;
        }
        if self.unsent > 0 {
            writeln!(f, "  {:>9} not sent", self.unsent)?;
        }
        writeln!(f, "rate         {:.0} req/s in {:.3} s", self.rate(), self.elapsed.as_secs_f64())?;
        let [min, median, p95, p99, max] = [0.0, 0.5, 0.95, 0.99, 1.0].map(|part| millis(self.latency(part)));
        writeln!(f, "latency ms   min {min}, median {median}, p95 {p95}, p99 {p99}, max {max}")?;
        write!(f, "body bytes   {} received, {} sent", self.received, self.sent)?;
        let Some(cpu) = self.cpu else { return Ok(()) };
        let each = |time: Duration, count: u64| time.as_secs_f64() * 1e6 / count.max(1) as f64;
        write!(
            f,
            "\nserver CPU   {:.1} us per answer, {:.0} us per handshake (its clock advances by {} ms)",
            each(cpu.requests, self.answered()),
            each(cpu.handshakes, self.open as u64),
            cpu.tick.as_millis()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let sorted: Vec<u32> = (1..=100).collect();
        for (part, expected) in [(0.0, 1), (0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100)] {
            assert_eq!(quantile(&sorted, part), Some(expected), "{part}");
        }
        assert_eq!(quantile::<u32>(&[], 0.5), None);
    }
}
