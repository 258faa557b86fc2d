//! Size of reads from a socket, adapted to what the peer sends.

/// Bounds of the size.
const MIN_READ: usize = 16 * 1024;
const MAX_READ: usize = 128 * 1024;

pub(super) struct ReadSize(usize);

impl Default for ReadSize {
    fn default() -> Self {
        Self(MIN_READ)
    }
}

impl ReadSize {
    pub(super) fn get(&self) -> usize {
        self.0
    }

    /// Adapts the size after a read of `n` bytes into `room` bytes of space.
    pub(super) fn adapt(&mut self, n: usize, room: usize) {
        if n == room {
            self.0 = (self.0 * 2).min(MAX_READ);
        } else if n < self.0 / 8 {
            self.0 = (self.0 / 2).max(MIN_READ);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn full_reads_grow_the_size_and_small_ones_shrink_it() {
        let mut size = ReadSize::default();
        (0..9).for_each(|_| size.adapt(MIN_READ, MIN_READ));
        assert_eq!(size.get(), MAX_READ);
        size.adapt(MAX_READ / 8, MAX_READ);
        assert_eq!(size.get(), MAX_READ);
        size.adapt(1, MAX_READ);
        assert_eq!(size.get(), MAX_READ / 2);
        (0..9).for_each(|_| size.adapt(1, MAX_READ));
        assert_eq!(size.get(), MIN_READ);
    }
}
