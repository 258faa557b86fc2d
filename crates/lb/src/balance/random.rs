//! Weighted random choice (docs/reference/behaviour.md#load-balancing).

use super::View;
use super::draw::Draw;
use crate::rng::Rng;

/// Nothing but the weights.
#[derive(Debug)]
pub struct Random {
    pub(super) draw: Draw,
}

impl Random {
    /// The next backend.
    pub fn pick(&mut self, view: &View<'_>, rng: &mut Rng) -> Option<usize> {
        self.draw.draw(view, rng, |_| true)
    }
}
