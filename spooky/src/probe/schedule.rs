//! Which backend is to be looked at next: the times of all watches, the nearest on top.
//!
//! A turn costs by what is due, not by how many backends there are. Each watch is armed for one time; one that moves
//! earlier is entered again and the later entry is passed over when it comes up, one that moves later is armed again when
//! it is looked at.

use spooky_net::timer::{Deadlines, disarm};
use std::time::Instant;

/// The times of all watches.
#[derive(Default)]
pub(super) struct Schedule {
    deadlines: Deadlines<usize>,
    /// The time that counts for each watch, if it has one.
    armed: Vec<Option<Instant>>,
}

impl Schedule {
    /// Sees to it that the watch comes up at `at`, or before if it is armed for an earlier time already.
    pub(super) fn arm(&mut self, watch: usize, at: Option<Instant>) {
        let Some(at) = at else { return };
        if self.armed.len() <= watch {
            self.armed.resize(watch + 1, None);
        }
        if let Some(armed) = self.armed.get_mut(watch) {
            self.deadlines.arm(watch, at, armed);
        }
    }

    /// The next watch whose time has come; it is armed no more.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<usize> {
        while let Some((at, watch)) = self.deadlines.pop_due(now) {
            if self.armed.get_mut(watch).is_some_and(|armed| disarm(armed, at)) {
                return Some(watch);
            }
        }
        None
    }

    /// The nearest time; a watch that has moved later since may have nothing to do then.
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

    /// Backends, and turns of the loop that other events cause while their probes are not due.
    const BACKENDS: usize = 5000;

    #[test]
    fn a_turn_costs_what_is_due_and_not_what_there_is() {
        let (epoch, mut rng) = (Instant::now(), Rng::seeded(4));
        let mut schedule = Schedule::default();
        let mut probers: Vec<_> =
            (0..BACKENDS).map(|_| Prober::new(ActiveOptions::default(), Nanos::ZERO, &mut rng)).collect();
        for (watch, prober) in probers.iter().enumerate() {
            schedule.arm(watch, prober.due().to_instant(epoch));
        }
        let (mut sent, mut idle_turns) = (0, 0);
        for ms in 0..20_000 {
            let now = epoch + Duration::from_millis(ms);
            let before = (sent, schedule.deadlines.entries());
            while let Some(watch) = schedule.pop_due(now) {
                let at = Nanos::since(epoch, now);
                assert!(probers[watch].due() <= at, "{watch} came up before its time");
                probers[watch].on_start(at, &mut rng);
                schedule.arm(watch, probers[watch].due().to_instant(epoch));
                sent += 1;
            }
            idle_turns += u32::from(before == (sent, schedule.deadlines.entries()));
            assert_eq!(schedule.deadlines.entries(), BACKENDS, "each watch is entered once");
        }
        // The first probes fall within a second, the others every five with 10 % jitter: rounds at 0-1, 5-6, 9-12, 14-17, 18-23.
        assert!((4 * BACKENDS..=5 * BACKENDS).contains(&sent), "{sent} looks at a watch in 20 s");
        assert!(idle_turns > 5000, "only {idle_turns} of 20000 turns had nothing to do");
        assert!(probers.iter().all(|prober| prober.due() > Nanos::from_millis(19_999)));
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
