//! Smooth weighted round robin: exact shares, evenly spread (docs/reference/behaviour.md#load-balancing).
//!
//! Each pick adds every weight to the backend's counter, picks the largest counter and subtracts the sum of weights from it.
//! Over sum(weights)/gcd picks each backend is picked exactly in proportion. Counters of unavailable backends do not change.

use super::View;

/// State of the round-robin algorithm; the shares are exact for each worker.
#[derive(Debug)]
pub struct RoundRobin {
    credit: Box<[i64]>,
}

impl RoundRobin {
    /// Creates a balancer for this many backends.
    pub fn new(backends: usize) -> Self {
        Self { credit: vec![0; backends].into_boxed_slice() }
    }

    /// Returns the next candidate.
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
