//! A small seeded generator, so that a run can be repeated.

/// SplitMix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
///
/// Statistically sound for jitter and peer sampling; not for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The same seed gives the same numbers, on every machine.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from `low` to `high`, both included. Without bias by Lemire's multiplication: the remaining error is
    /// below 2^-32 for any range of milliseconds.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        debug_assert!(low <= high);
        let range = u128::from(high.saturating_sub(low)) + 1;
        low + ((u128::from(self.next_u64()) * range) >> 64) as u64
    }

    /// A position in a list of that length; `None` for an empty one.
    pub fn index(&mut self, len: usize) -> Option<usize> {
        (len > 0).then(|| self.between(0, len as u64 - 1) as usize)
    }

    /// An element of the list; `None` for an empty one.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        self.index(from.len()).map(|at| &from[at])
    }

    /// Puts up to `count` elements, chosen without preference and in random order, first (Fisher and Yates), and returns
    /// them.
    pub fn sample<'a, T>(&mut self, from: &'a mut [T], count: usize) -> &'a mut [T] {
        let count = count.min(from.len());
        for at in 0..count {
            let other = self.between(at as u64, from.len() as u64 - 1) as usize;
            from.swap(at, other);
        }
        &mut from[..count]
    }
}

#[cfg(test)]
mod tests {
    use super::Random;

    #[test]
    fn the_reference_sequence() {
        // The values of the authors' C program for the seed 1234567.
        let mut random = Random::new(1_234_567);
        let values: Vec<u64> = (0..3).map(|_| random.next_u64()).collect();
        assert_eq!(values, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);
    }

    #[test]
    fn between_stays_in_its_range_and_reaches_both_ends() {
        let mut random = Random::new(7);
        let drawn: Vec<u64> = (0..1000).map(|_| random.between(3, 6)).collect();
        assert!(drawn.iter().all(|n| (3..=6).contains(n)));
        assert!((3..=6).all(|n| drawn.contains(&n)));
        assert_eq!(random.between(5, 5), 5);
        random.between(0, u64::MAX);
    }
}
