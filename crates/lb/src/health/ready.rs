//! How many backends are healthy. The runtime knows the other conditions of readiness.

use crate::pool::Pool;

/// Number of healthy backends of all upstreams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Backends that are healthy, drained ones included.
    pub healthy: usize,
    /// All backends.
    pub total: usize,
    /// Indices of the upstreams without a healthy backend.
    pub unavailable: Vec<usize>,
}

impl Readiness {
    /// Counts the backends of `pools`, the upstreams in their order.
    pub fn of<'a>(pools: impl IntoIterator<Item = &'a Pool>) -> Self {
        let mut counted = Self::default();
        for (number, pool) in pools.into_iter().enumerate() {
            let healthy = pool.healthy();
            counted.healthy += healthy;
            counted.total += pool.members().len();
            if healthy == 0 {
                counted.unavailable.push(number);
            }
        }
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::{ActiveOptions, Prober};
    use crate::pool::{PoolOptions, tests::pool};
    use crate::rng::Rng;
    use crate::time::Nanos;

    #[test]
    fn upstreams_without_a_healthy_backend_are_named() {
        let pools = [pool(&[1, 1], PoolOptions::default()), pool(&[1], PoolOptions::default())];
        assert_eq!(Readiness::of(&pools), Readiness { healthy: 3, total: 3, unavailable: Vec::new() });
        let mut prober = Prober::new(ActiveOptions::default(), Nanos::ZERO, &mut Rng::seeded(1));
        prober.on_result(&pools[1].members()[0].state.health, false, Nanos::from_millis(1));
        prober.on_result(&pools[0].members()[0].state.health, false, Nanos::from_millis(1));
        let ready = Readiness::of(&pools);
        assert_eq!(ready, Readiness { healthy: 1, total: 3, unavailable: vec![1] });
    }
}
