//! What is to happen, in order of time, and in order of arrival at one time.

use std::collections::{BTreeMap, VecDeque};
use topos_overlay::Millis;

/// How many milliseconds ahead have a place of their own. Most of what happens is a message, some tens of milliseconds
/// away, or the tick of a shuffle, ten seconds away.
const AHEAD: usize = 1 << 14;

/// A queue of events, as a calendar: an event goes to the place of its millisecond, and a place is emptied from its front. That
/// is constant time where a heap of the hundred thousand events of 10,000 nodes moves each of them some
/// seventeen times. (Brown, "Calendar queues", CACM 1988.)
#[derive(Clone)]
pub(crate) struct Queue<T> {
    /// The earliest time that an event may have.
    now: Millis,
    len: usize,
    /// `now` to `now + AHEAD - 1`, each at its time modulo `AHEAD`.
    near: Vec<VecDeque<T>>,
    /// What is later.
    far: BTreeMap<Millis, VecDeque<T>>,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let near = std::iter::repeat_with(VecDeque::new).take(AHEAD).collect();
        Self { now: 0, len: 0, near, far: BTreeMap::new() }
    }
}

impl<T> Queue<T> {
    /// A time that is past counts as the time of the last event.
    pub(crate) fn push(&mut self, at: Millis, what: T) {
        let at = at.max(self.now);
        self.len += 1;
        if at - self.now < AHEAD as Millis {
            self.near[at as usize % AHEAD].push_back(what);
        } else {
            self.far.entry(at).or_default().push_back(what);
        }
    }

    /// The next event, if it is due by then.
    pub(crate) fn pop_until(&mut self, until: Millis) -> Option<(Millis, T)> {
        if self.len == 0 {
            return None;
        }
        loop {
            if self.now > until {
                return None;
            }
            let place = &mut self.near[self.now as usize % AHEAD];
            if let Some(what) = place.pop_front() {
                self.len -= 1;
                return Some((self.now, what));
            }
            // What it held is given back: 16,384 places that keep the room of their fullest moment are too much.
            *place = VecDeque::new();
            if self.now == until {
                return None;
            }
            self.now += 1;
            // The time that has come within reach: its place is the one that was just emptied.
            let reached = self.now + AHEAD as Millis - 1;
            if let Some(place) = self.far.remove(&reached) {
                self.near[reached as usize % AHEAD] = place;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Queue, AHEAD};
    use proptest::prelude::*;
    use topos_overlay::Millis;

    fn drain<T>(queue: &mut Queue<T>, until: Millis) -> Vec<(Millis, T)> {
        std::iter::from_fn(|| queue.pop_until(until)).collect()
    }

    #[test]
    fn time_first_then_arrival() {
        let mut queue = Queue::default();
        for (at, what) in [(2, 'c'), (1, 'a'), (1, 'b'), (9, 'z')] {
            queue.push(at, what);
        }
        assert_eq!(drain(&mut queue, 2), [(1, 'a'), (1, 'b'), (2, 'c')]);
    }

    #[test]
    fn what_was_far_comes_before_what_was_pushed_when_it_was_near() {
        let mut queue = Queue::default();
        let far = AHEAD as Millis + 10;
        queue.push(far, 'a');
        queue.push(20, 'x');
        assert_eq!(drain(&mut queue, 30), [(20, 'x')]);
        queue.push(far, 'b');
        queue.push(far - 1, 'y');
        assert_eq!(drain(&mut queue, far), [(far - 1, 'y'), (far, 'a'), (far, 'b')]);
    }

    proptest! {
        /// The model: all of it, sorted by time, stably.
        #[test]
        fn it_is_a_stable_sort(steps in prop::collection::vec((0..3 * AHEAD as Millis, 0..AHEAD as Millis), 1..60)) {
            let (mut queue, mut model, mut now, mut popped) = (Queue::default(), Vec::new(), 0, Vec::new());
            for (number, (after, wait)) in steps.into_iter().enumerate() {
                queue.push(now + after, number);
                model.push((now + after, number));
                now += wait;
                popped.extend(drain(&mut queue, now));
            }
            popped.extend(drain(&mut queue, now + 4 * AHEAD as Millis));
            model.sort();
            prop_assert_eq!(popped, model);
        }
    }
}
