//! What is to happen, in order of time, and in order of arrival at one time.

use std::{cmp::Reverse, collections::BinaryHeap};
use topos_overlay::Millis;

struct Entry<T> {
    at: Millis,
    number: u64,
    what: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.at, self.number) == (other.at, other.number)
    }
}
impl<T> Eq for Entry<T> {}
impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

/// A queue of events.
pub(crate) struct Queue<T> {
    entries: BinaryHeap<Reverse<Entry<T>>>,
    number: u64,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self { entries: BinaryHeap::new(), number: 0 }
    }
}

impl<T> Queue<T> {
    pub(crate) fn push(&mut self, at: Millis, what: T) {
        self.entries.push(Reverse(Entry { at, number: self.number, what }));
        self.number += 1;
    }

    /// The next event, if it is due by then.
    pub(crate) fn pop_until(&mut self, until: Millis) -> Option<(Millis, T)> {
        if self.entries.peek()?.0.at > until {
            return None;
        }
        self.entries.pop().map(|Reverse(entry)| (entry.at, entry.what))
    }
}

#[cfg(test)]
mod tests {
    use super::Queue;

    #[test]
    fn time_first_then_arrival() {
        let mut queue = Queue::default();
        for (at, what) in [(2, 'c'), (1, 'a'), (1, 'b'), (9, 'z')] {
            queue.push(at, what);
        }
        let mut due = Vec::new();
        while let Some(next) = queue.pop_until(2) {
            due.push(next);
        }
        assert_eq!(due, [(1, 'a'), (1, 'b'), (2, 'c')]);
    }
}
