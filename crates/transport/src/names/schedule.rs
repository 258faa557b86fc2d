//! When a name is looked up, and what its lookups mean. Decides without a clock and without a socket.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use super::family::{Answer, Family};

/// Shortest time between two lookups of a name, whatever its TTL.
const SHORTEST: Duration = Duration::from_secs(1);
/// Shortest time before a lookup that a failed connection has requested.
const SHORTEST_ON_REQUEST: Duration = Duration::from_millis(250);
/// Pause after a failed lookup; it doubles, up to the refresh interval.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// How long the addresses of one family wait for those of the other (RFC 8305 section 3).
const RESOLUTION_DELAY: Duration = Duration::from_millis(50);

/// A record type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    A,
    Aaaa,
}

/// The lookups of one name.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    v4: Family,
    v6: Family,
    /// When the last lookup began.
    started: Option<Instant>,
    /// When the next one begins without a request.
    due: Option<Instant>,
    /// When what is known is published without the family that is still missing.
    partial_at: Option<Instant>,
    failures: u32,
}

impl Schedule {
    pub(super) fn is_running(&self) -> bool {
        self.v4.is_pending || self.v6.is_pending
    }

    /// Returns when the next lookup begins; `None` if one is in progress or none is needed.
    pub(super) fn next(&self, is_requested: bool) -> Option<Instant> {
        if self.is_running() {
            return None;
        }
        let Some(started) = self.started else { return self.due };
        let requested = is_requested.then(|| started + SHORTEST_ON_REQUEST);
        [requested, self.due].into_iter().flatten().min()
    }

    /// Returns whether a lookup begins now.
    pub(super) fn is_due(&self, is_requested: bool, now: Instant) -> bool {
        let is_first = self.started.is_none() && is_requested;
        !self.is_running() && (is_first || self.next(is_requested).is_some_and(|at| at <= now))
    }

    pub(super) fn start(&mut self, now: Instant) {
        (self.v4.is_pending, self.v6.is_pending) = (true, true);
        (self.started, self.due, self.partial_at) = (Some(now), None, None);
    }

    /// Handles the end of the lookup of one record type. Returns the result to publish once both have ended.
    pub(super) fn finish(
        &mut self,
        kind: Kind,
        answer: Answer,
        refresh: Option<Duration>,
        now: Instant,
    ) -> Option<Result<Vec<IpAddr>, String>> {
        match kind {
            Kind::A => self.v4.finish(answer),
            Kind::Aaaa => self.v6.finish(answer),
        }
        if self.is_running() {
            let has_found = self.v4.has_found() || self.v6.has_found();
            self.partial_at = has_found.then(|| now + RESOLUTION_DELAY);
            return None;
        }
        self.partial_at = None;
        let result = self.result();
        self.failures = if result.is_ok() { 0 } else { self.failures.saturating_add(1) };
        self.due = refresh.map(|interval| now + self.pause(interval));
        Some(result)
    }

    /// Returns what is known so far if a family has been missing for too long.
    pub(super) fn partial(&mut self, now: Instant) -> Option<Vec<IpAddr>> {
        self.partial_at.take_if(|at| *at <= now)?;
        Some(self.addresses())
    }

    /// Returns when [`Schedule::partial`] must be called.
    pub(super) fn partial_at(&self) -> Option<Instant> {
        self.partial_at
    }

    /// Moves the next lookup after a change of the refresh interval.
    pub(super) fn set_refresh(&mut self, refresh: Option<Duration>, now: Instant) {
        if !self.is_running() && self.started.is_some() {
            self.due = refresh.map(|interval| now + self.pause(interval));
        }
    }

    /// IPv6 first (RFC 8305 section 4).
    fn addresses(&self) -> Vec<IpAddr> {
        self.v6.addresses().iter().chain(self.v4.addresses()).copied().collect()
    }

    /// A family whose lookup has failed keeps its addresses, as long as the other was answered. A name that has no address
    /// any more keeps those that it had.
    fn result(&self) -> Result<Vec<IpAddr>, String> {
        if self.v4.has_found() || self.v6.has_found() {
            return Ok(self.addresses());
        }
        let error = self.v4.error().or(self.v6.error());
        Err(error.unwrap_or("the name has no address").to_owned())
    }

    fn pause(&self, interval: Duration) -> Duration {
        let ttl = [self.v4.ttl(), self.v6.ttl()].into_iter().flatten().min();
        let pause = match ttl {
            _ if self.failures > 0 => FIRST_RETRY * 2_u32.saturating_pow(self.failures.min(16) - 1),
            Some(ttl) => ttl.max(SHORTEST),
            None => interval,
        };
        pause.min(interval)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Option<Duration> = Some(Duration::from_secs(30));

    fn found(list: &[&str], ttl: u64) -> Answer {
        Answer::Addresses(list.iter().map(|text| text.parse().unwrap()).collect(), Duration::from_secs(ttl))
    }

    fn failed() -> Answer {
        Answer::Failed("timeout".to_owned())
    }

    fn texts(addresses: &[IpAddr]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    /// Starts a lookup at `now` and ends it at once. Returns the result, and the pause before the next one.
    fn round(
        schedule: &mut Schedule,
        answers: [Answer; 2],
        refresh: Option<Duration>,
        now: Instant,
    ) -> (Result<Vec<String>, String>, Option<Duration>) {
        let [v4, v6] = answers;
        schedule.start(now);
        assert_eq!((schedule.next(true), schedule.is_due(true, now)), (None, false), "one lookup at a time");
        assert_eq!(schedule.finish(Kind::Aaaa, v6, refresh, now), None);
        let result = schedule.finish(Kind::A, v4, refresh, now).unwrap();
        (result.map(|addresses| texts(&addresses)), schedule.next(false).map(|at| at - now))
    }

    #[test]
    fn the_smaller_ttl_decides_within_bounds() {
        let (now, mut schedule) = (Instant::now(), Schedule::default());
        assert!(schedule.is_due(true, now), "the first lookup begins at once");
        for (ttls, pause) in [([7, 9], 7), ([9, 7], 7), ([0, 9], 1), ([300, 600], 30)] {
            let answers = [found(&["10.0.0.1"], ttls[0]), found(&["::1"], ttls[1])];
            let (result, next) = round(&mut schedule, answers, INTERVAL, now);
            assert_eq!(result.unwrap(), ["::1", "10.0.0.1"]);
            assert_eq!(next, Some(Duration::from_secs(pause)), "{ttls:?}");
        }
        // The TTL of an empty answer says nothing about the addresses.
        let (result, next) = round(&mut schedule, [found(&["10.0.0.1"], 20), found(&[], 2)], INTERVAL, now);
        assert_eq!((result.unwrap(), next), (vec!["10.0.0.1".to_owned()], Some(Duration::from_secs(20))));
    }

    #[test]
    fn failures_are_repeated_with_pauses_that_double_and_change_no_address() {
        let (now, mut schedule) = (Instant::now(), Schedule::default());
        drop(round(&mut schedule, [found(&["10.0.0.1"], 5), found(&[], 5)], INTERVAL, now));
        for pause in [1, 2, 4, 8, 16, 30, 30] {
            let (result, next) = round(&mut schedule, [failed(), failed()], INTERVAL, now);
            assert_eq!((result, next), (Err("timeout".to_owned()), Some(Duration::from_secs(pause))));
        }
        let (result, next) = round(&mut schedule, [found(&["10.0.0.2"], 5), failed()], INTERVAL, now);
        assert_eq!((result.unwrap(), next), (vec!["10.0.0.2".to_owned()], Some(Duration::from_secs(5))));
        let (result, _) = round(&mut schedule, [found(&[], 5), found(&[], 5)], INTERVAL, now);
        assert_eq!(result, Err("the name has no address".to_owned()));
    }

    #[test]
    fn a_family_that_fails_keeps_its_addresses_while_the_other_answers() {
        let (now, mut schedule) = (Instant::now(), Schedule::default());
        drop(round(&mut schedule, [found(&["10.0.0.1"], 5), found(&["::1"], 5)], INTERVAL, now));
        let (result, _) = round(&mut schedule, [found(&["10.0.0.2"], 5), failed()], INTERVAL, now);
        assert_eq!(result.unwrap(), ["::1", "10.0.0.2"]);
        let (result, _) = round(&mut schedule, [found(&["10.0.0.2"], 5), found(&[], 5)], INTERVAL, now);
        assert_eq!(result.unwrap(), ["10.0.0.2"]);
    }

    #[test]
    fn one_family_waits_a_moment_for_the_other() {
        let (now, mut schedule) = (Instant::now(), Schedule::default());
        drop(round(&mut schedule, [found(&["10.0.0.1"], 5), found(&["::1"], 5)], INTERVAL, now));
        schedule.start(now);
        assert_eq!(schedule.finish(Kind::A, found(&["10.0.0.2"], 5), INTERVAL, now), None);
        assert_eq!((schedule.partial_at(), schedule.partial(now)), (Some(now + RESOLUTION_DELAY), None));
        let partial = schedule.partial(now + RESOLUTION_DELAY).unwrap();
        assert_eq!(texts(&partial), ["::1", "10.0.0.2"], "the missing family keeps its addresses");
        assert_eq!(schedule.partial_at(), None);
        let result = schedule.finish(Kind::Aaaa, found(&[], 5), INTERVAL, now).unwrap();
        assert_eq!(texts(&result.unwrap()), ["10.0.0.2"]);
        // A family without addresses does not wait.
        schedule.start(now);
        assert_eq!(schedule.finish(Kind::Aaaa, found(&[], 5), INTERVAL, now), None);
        assert_eq!(schedule.partial_at(), None);
    }

    #[test]
    fn without_refresh_only_a_request_causes_a_lookup() {
        let (now, mut schedule) = (Instant::now(), Schedule::default());
        let (_, next) = round(&mut schedule, [found(&["10.0.0.1"], 5), found(&[], 5)], None, now);
        assert_eq!(next, None);
        assert_eq!(schedule.next(true), Some(now + SHORTEST_ON_REQUEST));
        assert!(!schedule.is_due(true, now) && schedule.is_due(true, now + SHORTEST_ON_REQUEST));
        schedule.set_refresh(INTERVAL, now);
        assert_eq!(schedule.next(false), Some(now + Duration::from_secs(5)));
        schedule.set_refresh(None, now);
        assert_eq!(schedule.next(false), None);
    }
}
