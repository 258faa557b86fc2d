//! Limits of how many backends passive health may eject together and how many circuits may be open.
//!
//! Clients can provoke failures by the requests that they choose, so neither may remove the last backend. A backend is marked
//! first and counted afterwards: of two workers that do so concurrently, both may undo it, but never neither.

use super::{Member, Pool};
use crate::attempt::breaker::{Count, Pass};
use crate::health::{PassiveOptions, Transition};
use crate::time::Nanos;

impl Pool {
    /// Counts a failure for the circuit of a backend. Returns whether that opened it.
    pub(super) fn on_circuit_failure(&self, index: usize, pass: Pass, now: Nanos) -> bool {
        let (Some(options), Some(member)) = (&self.options.breaker, self.members.get(index)) else { return false };
        let breaker = &member.state.breaker;
        match breaker.on_failure(pass, now, options) {
            Count::Unchanged => false,
            Count::Reopened => true,
            Count::Reached => {
                let is_open = |member: &Member| !member.state.breaker.is_closed();
                let most = self.share(options.max_open_percent);
                if self.members.iter().filter(|member| is_open(member)).count() >= most
                    || options.max_open_percent < 100 && !self.serves_without(index)
                    || !breaker.open(now, options)
                {
                    return false;
                }
                if self.members.iter().filter(|member| is_open(member)).count() > most {
                    breaker.close();
                    return false;
                }
                true
            }
        }
    }

    /// Counts a failed request for the passive health of a backend. Returns the transition if that ejected it.
    pub(super) fn on_passive_failure(
        &self,
        index: usize,
        is_trial: bool,
        reason: &'static str,
        now: Nanos,
        options: &PassiveOptions,
    ) -> Option<Transition> {
        let health = &self.members.get(index)?.state.health;
        if !health.on_request_failure(is_trial, now, options) {
            return None;
        }
        let percent = self.options.max_ejected_percent;
        let most = if self.members.len() == 1 { 0 } else { self.share(percent) };
        let ejected = || self.members.iter().filter(|member| !member.state.health.passive_up()).count();
        if ejected() >= most || percent < 100 && !self.serves_without(index) {
            return None;
        }
        let transition = health.eject(reason, now, options);
        if ejected() > most {
            health.undo_eject();
            return None;
        }
        transition
    }

    /// Number of backends that are `percent` of the pool, rounded down.
    fn share(&self, percent: u32) -> usize {
        self.members.len() * percent.min(100) as usize / 100
    }

    /// Returns whether another backend is healthy, not drained, and has a closed circuit.
    fn serves_without(&self, index: usize) -> bool {
        let serves = |member: &Member| {
            let health = &member.state.health;
            health.is_healthy() && !health.is_draining() && member.state.breaker.is_closed()
        };
        self.members.iter().enumerate().any(|(other, member)| other != index && serves(member))
    }
}
