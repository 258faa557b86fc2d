//! Weighted random choice (docs/reference/behaviour.md#load-balancing).

use super::View;
use super::draw::Draw;
use crate::rng::Rng;

/// State of the random algorithm.
#[derive(Debug)]
pub struct Random {
    pub(super) draw: Draw,
}

impl Random {
    /// Returns the next candidate.
    pub fn pick(&mut self, view: &View<'_>, rng: &mut Rng) -> Option<usize> {
        self.draw.draw(view, rng, |_| true)
    }
}
