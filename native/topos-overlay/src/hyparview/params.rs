//! Parameters of HyParView.

use crate::{params::Checks, Backoff, Millis, NodeId, OverlayError};

/// Parameters of [`HyParView`](super::HyParView); times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HyParViewParams {
    /// This node, which is never in a view of its own.
    pub own: NodeId,
    /// Size of the active view, 2 to 64: how many links a node keeps. The fan-out of a broadcast plus one. With one link there
    /// would be pairs of nodes, and no overlay.
    pub active_size: u32,
    /// Size of the passive view, 1 to 1,024: the reserve.
    pub passive_size: u32,
    /// ARWL, the length of random walks, 1 to 32.
    pub active_walk: u8,
    /// PRWL, 0 to ARWL: the steps left when a walk of a join leaves the joiner's name in a passive view.
    pub passive_walk: u8,
    /// How many names of the active view go into a shuffle, up to `active_size`.
    pub shuffle_active: u32,
    /// How many names of the passive view go into a shuffle, up to `passive_size`, and up to 128.
    pub shuffle_passive: u32,
    /// The time between two shuffles, 100 to 3,600,000.
    pub shuffle_period: Millis,
    /// The time after which a node exchanges a neighbour for one of its passive view or its contacts, up to 3,600,000; 0 for
    /// never. It rejoins parts that joins or failures cut off, each of which looks healthy from within.
    pub mix_period: Millis,
    /// How long an answer to a request may take, 1 to 3,600,000.
    pub request_timeout: Millis,
    /// The shortest wait before a node without neighbours tries again: see [`Backoff`].
    pub backoff_min: Millis,
    /// The longest, up to an hour.
    pub backoff_max: Millis,
    /// How many contacts it remembers for when it has lost everybody, 1 to 1,024.
    pub max_contacts: u32,
}

impl HyParViewParams {
    /// The defaults: views of 5 and 30, walks of 6 and 3 steps, shuffles of 3 and 4 names every 10 s, an
    /// exchange every 60 s, answers within 5 s, 100 ms to 10 s between attempts of a lonely node, 16 contacts.
    pub fn new(own: NodeId) -> Self {
        Self {
            own,
            active_size: 5,
            passive_size: 30,
            active_walk: 6,
            passive_walk: 3,
            shuffle_active: 3,
            shuffle_passive: 4,
            shuffle_period: 10_000,
            mix_period: 60_000,
            request_timeout: 5_000,
            backoff_min: 100,
            backoff_max: 10_000,
            max_contacts: 16,
        }
    }

    /// The back-off, or all that is out of range.
    pub(super) fn check(&self) -> Result<Backoff, OverlayError> {
        const HOUR: Millis = 3_600_000;
        let mut checks = Checks::default();
        checks.range("active_size", self.active_size.into(), 2, 64);
        checks.range("passive_size", self.passive_size.into(), 1, 1_024);
        checks.range("active_walk", self.active_walk.into(), 1, 32);
        let walk = self.passive_walk;
        checks.holds(walk <= self.active_walk, "passive_walk", "at most active_walk", walk.into());
        let (active, passive) = (self.shuffle_active, self.shuffle_passive);
        checks.holds(active <= self.active_size, "shuffle_active", "at most active_size", active.into());
        let fits = passive <= self.passive_size.min(128);
        checks.holds(fits, "shuffle_passive", "at most passive_size, and at most 128", passive.into());
        checks.range("shuffle_period", self.shuffle_period, 100, HOUR);
        checks.range("mix_period", self.mix_period, 0, HOUR);
        checks.range("request_timeout", self.request_timeout, 1, HOUR);
        let backoff = Backoff::checked(self.backoff_min, self.backoff_max, &mut checks);
        checks.range("max_contacts", self.max_contacts.into(), 1, 1_024);
        checks.done()?;
        Ok(backoff)
    }
}
