//! A seeded random number generator: xoshiro256++ with a state filled by splitmix64. Not for secrets.
//!
//! Each worker owns one; the same seed gives the same decisions (docs/reference/behaviour.md#guarantees).

/// Equal seeds give equal sequences on every platform.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

/// One step of splitmix64: a bijective mix of all bits, also used to spread hashes.
pub const fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Multiplies to 128 bits and adds the halves without carry: every input bit reaches every output bit.
pub(crate) const fn fold(word: u64) -> u64 {
    let product = word as u128 * 0x9E37_79B9_7F4A_7C15;
    (product >> 64) as u64 ^ product as u64
}

impl Rng {
    /// Creates a generator whose sequence depends only on `seed`.
    pub fn seeded(seed: u64) -> Self {
        let mut next = seed;
        let state = std::array::from_fn(|_| {
            let word = mix(next);
            next = next.wrapping_add(0x9E37_79B9_7F4A_7C15);
            word
        });
        Self { state }
    }

    /// The next 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        let [a, b, c, d] = self.state;
        let out = a.wrapping_add(d).rotate_left(23).wrapping_add(a);
        let (c2, d2) = (c ^ a, d ^ b);
        self.state = [a ^ d2, b ^ c2, c2 ^ (b << 17), d2.rotate_left(45)];
        out
    }

    /// A number in `0..bound`; 0 if `bound` is 0. The bias is below `bound / 2^64`.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// `value` changed at random by at most `percent` up or down.
    pub fn jitter(&mut self, value: std::time::Duration, percent: u32) -> std::time::Duration {
        let span = u64::try_from(value.as_nanos()).unwrap_or(u64::MAX) / 100 * u64::from(percent);
        let low = value.saturating_sub(std::time::Duration::from_nanos(span));
        low + std::time::Duration::from_nanos(self.below(span.saturating_mul(2).saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn equal_seeds_agree_and_others_differ() {
        let draw = |seed| {
            let mut rng = Rng::seeded(seed);
            std::array::from_fn::<u64, 8, _>(|_| rng.next_u64())
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn matches_the_published_xoshiro256_plus_plus_sequence() {
        let mut rng = Rng { state: [1, 2, 3, 4] };
        let drawn: [u64; 4] = std::array::from_fn(|_| rng.next_u64());
        assert_eq!(drawn, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn bounded_draws_stay_inside_and_spread_evenly() {
        let mut rng = Rng::seeded(1);
        let mut seen = [0_u32; 10];
        for _ in 0..100_000 {
            seen[rng.below(10) as usize] += 1;
        }
        assert!(seen.iter().all(|&n| (9_500..10_500).contains(&n)), "{seen:?}");
        assert_eq!(rng.below(0), 0);
    }

    #[test]
    fn jitter_stays_within_its_percentage() {
        let mut rng = Rng::seeded(3);
        for _ in 0..1000 {
            let value = rng.jitter(Duration::from_millis(100), 10);
            assert!((90..=110).contains(&value.as_millis()), "{value:?}");
        }
    }
}
