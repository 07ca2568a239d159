//! What a target has taken of each source, so that a copy is recognised.

use crate::{Millis, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// How far a source's numbers may run ahead of its floor: its window, at most.
const MAX_AHEAD: usize = 4_096;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    New,
    /// A copy, or something of an earlier life of its source.
    Known,
    /// It cannot be remembered, so it must not be delivered.
    NoRoom,
}

#[derive(Clone, Debug)]
struct Source {
    epoch: u64,
    /// Every number below it is settled.
    floor: u64,
    taken: BTreeSet<u64>,
    heard: Millis,
}

#[derive(Clone, Debug)]
pub(super) struct Inbox {
    max_sources: usize,
    /// A source that was silent for so long has no copy under way.
    idle: Millis,
    sources: BTreeMap<NodeId, Source>,
}

impl Inbox {
    pub(super) fn new(max_sources: usize, idle: Millis) -> Self {
        Self { max_sources, idle, sources: BTreeMap::new() }
    }

    pub(super) fn take(&mut self, now: Millis, source: &NodeId, epoch: u64, number: u64, floor: u64) -> Verdict {
        if !self.sources.contains_key(source) && self.sources.len() >= self.max_sources {
            let idle = self.idle;
            self.sources.retain(|_, known| now.saturating_sub(known.heard) <= idle);
            if self.sources.len() >= self.max_sources {
                return Verdict::NoRoom;
            }
        }
        let fresh = || Source { epoch, floor: 0, taken: BTreeSet::new(), heard: now };
        let known = self.sources.entry(source.clone()).or_insert_with(fresh);
        if known.epoch > epoch {
            return Verdict::Known;
        }
        if known.epoch < epoch {
            *known = fresh();
        }
        known.heard = now;
        if floor > known.floor {
            known.floor = floor;
            known.taken = known.taken.split_off(&floor);
        }
        if number < known.floor || known.taken.contains(&number) {
            return Verdict::Known;
        }
        if known.taken.len() >= MAX_AHEAD {
            return Verdict::NoRoom;
        }
        known.taken.insert(number);
        Verdict::New
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8) -> NodeId {
        NodeId::new(&[n]).expect("one byte")
    }

    #[test]
    fn copies_and_earlier_lives_are_recognised() {
        let mut inbox = Inbox::new(10, 100);
        assert_eq!(inbox.take(0, &node(1), 5, 3, 0), Verdict::New);
        assert_eq!(inbox.take(0, &node(1), 5, 3, 0), Verdict::Known);
        assert_eq!(inbox.take(0, &node(1), 5, 2, 0), Verdict::New, "order does not matter");
        assert_eq!(inbox.take(0, &node(1), 5, 4, 4), Verdict::New);
        assert_eq!(inbox.take(0, &node(1), 5, 1, 0), Verdict::Known, "below the floor");
        assert_eq!(inbox.take(0, &node(1), 4, 9, 0), Verdict::Known, "an earlier life");
        assert_eq!(inbox.take(0, &node(1), 6, 1, 0), Verdict::New, "a later life");
    }

    #[test]
    fn without_room_nothing_is_taken_until_a_source_is_idle() {
        let mut inbox = Inbox::new(1, 100);
        assert_eq!(inbox.take(0, &node(1), 1, 0, 0), Verdict::New);
        assert_eq!(inbox.take(100, &node(2), 1, 0, 0), Verdict::NoRoom);
        assert_eq!(inbox.take(101, &node(2), 1, 0, 0), Verdict::New);
    }
}
