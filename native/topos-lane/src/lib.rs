//! What waits for the process of a lane: the records of small messages, put together as they come, and other items as they are.
//!
//! Senders add to a [`Buffer`] without the lane's process, which takes from it when it has credit. A message between two
//! processes costs more than the network does, and one that comes while the lane has no credit would only wake it. So the
//! buffer says when the process is to be told: once after it was found empty, and not again until it is empty once more.
//!
//! What is taken comes in the order in which it was added.

use std::collections::VecDeque;

/// What is taken from a buffer at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken<T> {
    /// Whole records, one after the other: how many, and their bytes.
    Records(u32, Vec<u8>),
    /// Items that are not copied into a row.
    Items(T),
}

/// What becomes of something that is added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// It waits, and the process is to be told.
    First,
    /// It waits, and the process will come across it.
    More,
    /// The buffer was closed: it was not added.
    Closed,
}

/// The limits of what is taken at once: those of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Records or items.
    pub count: u32,
    /// Bytes, except of a record or item that is larger by itself.
    pub bytes: usize,
}

/// See the [crate]. A `T` holds several items. How much waits in all is bounded by whoever adds.
#[derive(Debug)]
pub struct Buffer<T> {
    limits: Limits,
    waiting: VecDeque<Taken<T>>,
    /// How many items the last `T` holds, and their bytes.
    last: (u32, usize),
    /// The process found the buffer empty and was not told anything since.
    idle: bool,
    closed: bool,
}

impl<T: Default> Buffer<T> {
    /// An empty buffer, whose process knows that it is.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, waiting: VecDeque::new(), last: (0, 0), idle: true, closed: false }
    }

    /// Adds a record, given as its beginning and its end.
    pub fn push(&mut self, head: &[u8], tail: &[u8]) -> Added {
        if self.closed {
            return Added::Closed;
        }
        let size = head.len() + tail.len();
        match self.waiting.back_mut() {
            Some(Taken::Records(count, bytes)) if self.limits.allow(*count, bytes.len(), size) => {
                *count += 1;
                bytes.extend_from_slice(head);
                bytes.extend_from_slice(tail);
            }
            _ => {
                let mut bytes = Vec::with_capacity(size.max(self.expected()));
                bytes.extend_from_slice(head);
                bytes.extend_from_slice(tail);
                self.waiting.push_back(Taken::Records(1, bytes));
            }
        }
        self.added()
    }

    /// Adds an item of so many bytes by `add`, which puts it into what it is given.
    pub fn push_item(&mut self, size: usize, add: impl FnOnce(&mut T)) -> Added {
        if self.closed {
            return Added::Closed;
        }
        let (count, bytes) = self.last;
        match self.waiting.back_mut() {
            Some(Taken::Items(items)) if self.limits.allow(count, bytes, size) => {
                add(items);
                self.last = (count + 1, bytes.saturating_add(size));
            }
            _ => {
                let mut items = T::default();
                add(&mut items);
                self.waiting.push_back(Taken::Items(items));
                self.last = (1, size);
            }
        }
        self.added()
    }

    /// Nothing more is added from now on. What waits can be taken.
    pub fn close(&mut self) {
        self.closed = true;
    }

    /// Takes what came first; `None` when there is nothing: then the process waits to be told.
    pub fn take(&mut self) -> Option<Taken<T>> {
        let taken = self.waiting.pop_front();
        self.idle = taken.is_none();
        taken
    }

    fn added(&mut self) -> Added {
        if std::mem::replace(&mut self.idle, false) {
            Added::First
        } else {
            Added::More
        }
    }

    /// Where much waits already more will come, and growing step by step would copy it several times.
    fn expected(&self) -> usize {
        match self.waiting.back() {
            Some(Taken::Records(_, bytes)) => bytes.len().min(self.limits.bytes),
            _ => 0,
        }
    }
}

impl Limits {
    fn allow(self, count: u32, bytes: usize, more: usize) -> bool {
        count < self.count && bytes.saturating_add(more) <= self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buffer() -> Buffer<Vec<&'static str>> {
        Buffer::new(Limits { count: 3, bytes: 10 })
    }

    #[test]
    fn records_are_put_together_within_the_limits() {
        let mut buffer = buffer();
        for record in ["ab", "c", "d", "e", "fghijklmnopq", "r"] {
            buffer.push(record.as_bytes(), b"");
        }
        assert_eq!(buffer.take(), Some(Taken::Records(3, b"abcd".to_vec())));
        assert_eq!(buffer.take(), Some(Taken::Records(1, b"e".to_vec())));
        assert_eq!(buffer.take(), Some(Taken::Records(1, b"fghijklmnopq".to_vec())));
        assert_eq!(buffer.take(), Some(Taken::Records(1, b"r".to_vec())));
        assert_eq!(buffer.take(), None);
    }

    #[test]
    fn the_process_is_told_once_until_it_finds_nothing() {
        let mut buffer = buffer();
        assert_eq!(buffer.push(b"a", b""), Added::First);
        assert_eq!(buffer.push(b"b", b""), Added::More);
        assert_eq!(buffer.take(), Some(Taken::Records(2, b"ab".to_vec())));
        assert_eq!(buffer.push(b"c", b""), Added::More, "the process is still at it");
        assert!(buffer.take().is_some());
        assert_eq!(buffer.take(), None);
        assert_eq!(buffer.push_item(1, |items| items.push("d")), Added::First);
        assert_eq!(buffer.push_item(1, |items| items.push("e")), Added::More);
    }

    #[test]
    fn what_comes_after_the_end_is_refused() {
        let mut buffer = buffer();
        buffer.push(b"a", b"");
        buffer.close();
        assert_eq!(buffer.push(b"b", b""), Added::Closed);
        assert_eq!(buffer.push_item(1, |items| items.push("c")), Added::Closed);
        assert_eq!(buffer.take(), Some(Taken::Records(1, b"a".to_vec())));
        assert_eq!(buffer.take(), None);
    }

    #[test]
    fn items_are_put_together_within_the_limits() {
        let mut buffer = buffer();
        for (item, size) in [("a", 4), ("b", 6), ("c", 1), ("d", 100), ("e", 1), ("f", 1), ("g", 1), ("h", 1)] {
            buffer.push_item(size, |items| items.push(item));
        }
        buffer.push(b"i", b"");
        buffer.push_item(1, |items| items.push("j"));
        let taken: Vec<_> = std::iter::from_fn(|| buffer.take()).collect();
        let items = |items: &[&'static str]| Taken::Items(items.to_vec());
        let expected = [
            items(&["a", "b"]),
            items(&["c"]),
            items(&["d"]),
            items(&["e", "f", "g"]),
            items(&["h"]),
            Taken::Records(1, b"i".to_vec()),
            items(&["j"]),
        ];
        assert_eq!(taken, expected);
    }
}
