//! How long to wait before the next attempt to open a link.

use crate::{params::Checks, Millis, OverlayError, Random};

/// Exponential back-off with equal jitter: after `n` failures in a row, a time drawn from the upper half of
/// `min(max, min * 2^n)`. Half is kept so that a peer that answers is not hammered, half is drawn so that nodes which lost
/// the same peer at the same moment do not return at the same moment. (Brooker, "Exponential Backoff And Jitter", 2015.)
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    min: Millis,
    max: Millis,
}

impl Backoff {
    /// The largest `max`: one hour.
    pub const LIMIT: Millis = 3_600_000;

    /// `1 <= min <= max <= LIMIT`, in milliseconds.
    pub fn new(min: Millis, max: Millis) -> Result<Self, OverlayError> {
        let mut checks = Checks::default();
        let backoff = Self::checked(min, max, &mut checks);
        checks.done()?;
        Ok(backoff)
    }

    /// As [`Backoff::new`], for parameters with others: what is wrong is noted.
    pub(crate) fn checked(min: Millis, max: Millis, checks: &mut Checks) -> Self {
        checks.range("backoff_min", min, 1, Self::LIMIT);
        let expected = "at least backoff_min and at most 3600000";
        checks.holds((min..=Self::LIMIT).contains(&max), "backoff_max", expected, max);
        Self { min, max }
    }

    /// The wait after so many failures in a row (0 for a link that had been up).
    pub fn delay(&self, failures: u32, random: &mut Random) -> Millis {
        // 2^22 ms is over the limit already: a larger shift changes nothing and could overflow.
        let full = (self.min << failures.min(22)).min(self.max);
        random.between(full.div_ceil(2), full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_bound_and_stays_there() {
        let backoff = Backoff::new(100, 5_000).expect("valid");
        let mut random = Random::new(1);
        for (failures, low, high) in [(0, 50, 100), (1, 100, 200), (5, 1_600, 3_200), (6, 2_500, 5_000)] {
            for _ in 0..100 {
                assert!((low..=high).contains(&backoff.delay(failures, &mut random)));
            }
        }
        assert!((2_500..=5_000).contains(&backoff.delay(u32::MAX, &mut random)));
    }

    #[test]
    fn refuses_what_is_out_of_range() {
        assert!(Backoff::new(0, 10).is_err());
        assert!(Backoff::new(10, 9).is_err());
        assert!(Backoff::new(1, Backoff::LIMIT + 1).is_err());
        assert!(Backoff::new(Backoff::LIMIT, Backoff::LIMIT).is_ok());
    }
}
