//! Smooth weighted round robin: exact shares, spread out (docs/reference/behaviour.md#load-balancing).
//!
//! Each pick adds every weight to its counter and takes the largest, which then pays the sum. Over sum(weights)/gcd picks
//! each backend comes exactly its share of times. Backends that cannot be taken keep their counters as they are.

use super::View;

/// Counters of one worker; exact per worker, independent between workers.
#[derive(Debug)]
pub struct RoundRobin {
    credit: Box<[i64]>,
}

impl RoundRobin {
    /// All counters at zero.
    pub fn new(backends: usize) -> Self {
        Self { credit: vec![0; backends].into_boxed_slice() }
    }

    /// The next backend.
    pub fn pick(&mut self, view: &View<'_>) -> Option<usize> {
        let mut total = 0;
        let mut best: Option<(usize, i64)> = None;
        for (index, credit) in self.credit.iter_mut().enumerate() {
            let weight = i64::from(view.weight(index));
            if weight == 0 {
                continue;
            }
            *credit += weight;
            total += weight;
            if best.is_none_or(|(_, most)| *credit > most) {
                best = Some((index, *credit));
            }
        }
        let (index, _) = best?;
        if let Some(credit) = self.credit.get_mut(index) {
            *credit -= total;
        }
        Some(index)
    }
}
