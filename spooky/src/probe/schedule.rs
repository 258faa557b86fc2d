//! A timer queue for the probes.
//!
//! The cost of a turn depends on the number of probes that are due, not on the number of backends. If a probe becomes due
//! earlier, a second entry is added and the later one is skipped; if it becomes due later, it is armed again when the entry
//! expires.

use spooky_net::timer::{Deadlines, disarm};
use std::time::Instant;

#[derive(Default)]
pub(super) struct Schedule {
    deadlines: Deadlines<usize>,
    /// The valid entry of each probe.
    armed: Vec<Option<Instant>>,
}

impl Schedule {
    /// Makes the probe due at `at`, unless it is already due earlier.
    pub(super) fn arm(&mut self, probe: usize, at: Option<Instant>) {
        let Some(at) = at else { return };
        if self.armed.len() <= probe {
            self.armed.resize(probe + 1, None);
        }
        if let Some(armed) = self.armed.get_mut(probe) {
            self.deadlines.arm(probe, at, armed);
        }
    }

    /// Removes and returns a probe that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        while let Some((at, probe)) = self.deadlines.pop_due(now) {
            if self.armed.get_mut(probe).is_some_and(|armed| disarm(armed, at)) {
                return Some(probe);
            }
        }
        None
    }

    /// Returns the earliest time. The probe may have become due later since.
    pub(super) fn next(&self) -> Option<Instant> {
        self.deadlines.next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spooky_lb::{
        health::{ActiveOptions, Prober},
        rng::Rng,
        time::Nanos,
    };
    use std::time::Duration;

    const BACKENDS: usize = 5000;

    #[test]
    fn a_turn_costs_what_is_due_and_not_what_there_is() {
        let (epoch, mut rng) = (Instant::now(), Rng::seeded(4));
        let mut schedule = Schedule::default();
        let mut probers: Vec<_> =
            (0..BACKENDS).map(|_| Prober::new(ActiveOptions::default(), Nanos::ZERO, &mut rng)).collect();
        for (probe, prober) in probers.iter().enumerate() {
            schedule.arm(probe, prober.due().to_instant(epoch));
        }
        let (mut sent, mut idle_turns) = (0, 0);
        for ms in 0..20_000 {
            let now = epoch + Duration::from_millis(ms);
            let before = sent;
            while let Some(probe) = schedule.pop_due(now) {
                let at = Nanos::since(epoch, now);
                assert!(probers[probe].due() <= at, "{probe} came up before its time");
                probers[probe].on_start(at, &mut rng);
                schedule.arm(probe, probers[probe].due().to_instant(epoch));
                sent += 1;
            }
            idle_turns += u32::from(before == sent);
        }
        // First probes start within a second, later ones every 5 s with 10 % jitter: rounds at 0-1, 5-6, 9-12, 14-17, 18-23 s.
        assert!((4 * BACKENDS..=5 * BACKENDS).contains(&sent), "{sent} looks at a probe in 20 s");
        assert!(idle_turns > 5000, "only {idle_turns} of 20000 turns had nothing to do");
        let later = epoch + Duration::from_secs(60);
        let entries = std::iter::from_fn(|| schedule.deadlines.pop_due(later)).count();
        assert_eq!(entries, BACKENDS, "each probe is entered once");
        assert!(probers.iter().all(|prober| prober.due() > Nanos::ZERO + Duration::from_millis(19_999)));
    }

    #[test]
    fn an_earlier_time_counts_at_once_and_a_later_one_when_it_is_looked_at() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut schedule = Schedule::default();
        schedule.arm(3, None);
        assert_eq!(schedule.next(), None);
        schedule.arm(3, Some(at(50)));
        schedule.arm(3, Some(at(90)));
        assert_eq!(schedule.next(), Some(at(50)));
        schedule.arm(3, Some(at(20)));
        schedule.arm(1, Some(at(30)));
        assert_eq!(schedule.pop_due(at(19)), None);
        assert_eq!((schedule.pop_due(at(60)), schedule.pop_due(at(60))), (Some(3), Some(1)));
        assert_eq!(schedule.pop_due(at(60)), None, "the entry of 50 ms is void");
        assert_eq!(schedule.next(), None);
    }
}
