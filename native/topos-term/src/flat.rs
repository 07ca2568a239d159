//! Flat lists and maps, of integers, floats and texts alone: what the VM may read by itself.
//!
//! The VM makes a thousand such terms faster than this library can ask for one after the other, and they hold neither atoms
//! nor anything else that needs looking up. So their bytes are only looked over here, and the VM is handed them whole. Whoever
//! gets `None` reads them term by term, and finds out what is wrong with them, if anything is.

use crate::format::{self, LIST, MAP, NIL};
use crate::schema::Node;

/// Shorter ones gain nothing.
pub(crate) const LEAST: usize = 8;

/// A type of terms without parts.
#[derive(Clone, Copy)]
pub(crate) enum Leaf {
    Int,
    Float,
    Text,
}

impl Leaf {
    #[inline]
    pub(crate) fn of<A>(node: &Node<A>) -> Option<Self> {
        match node {
            Node::Int => Some(Self::Int),
            Node::Float => Some(Self::Float),
            Node::Text => Some(Self::Text),
            _ => None,
        }
    }
}

/// Bytes that were looked over.
pub(crate) struct Extent {
    /// How many they are.
    pub(crate) length: usize,
    /// The work that their texts are worth.
    pub(crate) work: usize,
}

/// Whether the bytes are UTF-8. Most texts are ASCII, which is found out much faster.
#[inline]
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
}

/// The list that the bytes begin with, if it is a proper one of that many such elements.
pub(crate) fn list(element: Leaf, count: usize, bytes: &[u8]) -> Option<Extent> {
    debug_assert_eq!(bytes.first(), Some(&LIST));
    let mut scan = Scan { bytes, at: 5, work: 0 };
    match element {
        Leaf::Int => scan.ints(count)?,
        Leaf::Float => scan.floats(count)?,
        Leaf::Text => scan.texts(count)?,
    }
    (*bytes.get(scan.at)? == NIL).then_some(Extent { length: scan.at + 1, work: scan.work })
}

/// The map that the bytes begin with, if it has that many such pairs.
pub(crate) fn map(key: Leaf, value: Leaf, count: usize, bytes: &[u8]) -> Option<Extent> {
    debug_assert_eq!(bytes.first(), Some(&MAP));
    let mut scan = Scan { bytes, at: 5, work: 0 };
    for _ in 0..count {
        scan.one(key)?;
        scan.one(value)?;
    }
    Some(Extent { length: scan.at, work: scan.work })
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    work: usize,
}

impl Scan<'_> {
    #[inline]
    fn one(&mut self, leaf: Leaf) -> Option<()> {
        match leaf {
            Leaf::Int => self.int(),
            Leaf::Float => self.floats(1),
            Leaf::Text => {
                let text = self.text()?;
                is_text(&self.bytes[text.0..text.1]).then_some(())
            }
        }
    }

    #[inline]
    fn int(&mut self) -> Option<()> {
        self.at += match *self.bytes.get(self.at)? {
            format::INTEGER => 5,
            format::SMALL_INTEGER => 2,
            format::SMALL_BIG => self.big()?,
            _ => return None,
        };
        (self.at <= self.bytes.len()).then_some(())
    }

    /// How long an integer is that fits in 64 bits and is written as the VM writes it.
    fn big(&self) -> Option<usize> {
        let length = usize::from(*self.bytes.get(self.at + 1)?);
        let last = *self.bytes.get(self.at + 2 + length)?;
        ((4..=8).contains(&length) && last != 0).then_some(3 + length)
    }

    #[inline]
    fn ints(&mut self, count: usize) -> Option<()> {
        let mut left = count;
        // Runs of those of 32 bits, eight at a time.
        while left >= 8 {
            match self.bytes[self.at..].first_chunk::<40>() {
                Some(run) if [0, 5, 10, 15, 20, 25, 30, 35].iter().all(|at| run[*at] == format::INTEGER) => {
                    self.at += 40;
                    left -= 8;
                }
                _ => {
                    for _ in 0..8 {
                        self.int()?;
                    }
                    left -= 8;
                }
            }
        }
        for _ in 0..left {
            self.int()?;
        }
        Some(())
    }

    /// That they are finite the VM finds out.
    #[inline]
    fn floats(&mut self, count: usize) -> Option<()> {
        let end = self.at + count.checked_mul(9)?;
        let floats = self.bytes.get(self.at..end)?;
        self.at = end;
        floats.chunks_exact(9).all(|float| float[0] == format::NEW_FLOAT).then_some(())
    }

    /// Where a text begins and ends; not whether it is UTF-8.
    #[inline]
    fn text(&mut self) -> Option<(usize, usize)> {
        let head = self.bytes.get(self.at..)?.first_chunk::<5>()?;
        if head[0] != format::BINARY {
            return None;
        }
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        let begin = self.at + 5;
        self.at = begin.checked_add(length)?;
        self.work += length / 64;
        (self.at <= self.bytes.len()).then_some((begin, self.at))
    }

    #[inline]
    fn texts(&mut self, count: usize) -> Option<()> {
        let begin = self.at;
        for _ in 0..count {
            self.text()?;
        }
        // In one go, with what stands between them: tags, and lengths that are mostly below 128.
        if self.bytes[begin..self.at].is_ascii() {
            return Some(());
        }
        self.at = begin;
        self.work = 0;
        for _ in 0..count {
            let (from, to) = self.text()?;
            if !is_text(&self.bytes[from..to]) {
                return None;
            }
        }
        Some(())
    }
}
