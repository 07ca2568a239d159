//! Plain values, of integers, floats, texts, and lists, tuples and maps of them: what the VM may read by itself.
//!
//! The VM makes a thousand such terms faster than this library can ask for one after the other, and they hold neither atoms
//! nor anything else that needs looking up. So their bytes are only looked over here, and the VM is handed them whole. Whoever
//! gets `None` reads them term by term, and finds out what is wrong with them, if anything is.

use crate::format;
use crate::schema::{Id, Node, Schema};

/// A list or map of fewer elements gains nothing.
pub(crate) const LEAST: usize = 8;

/// Bytes that were looked over.
pub(crate) struct Extent {
    /// How many they are.
    pub(crate) length: usize,
    /// The work they are worth, without one for the value as a whole.
    pub(crate) work: u64,
}

/// Whether the bytes are UTF-8. Most texts are ASCII, which is found out much faster.
#[inline]
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    bytes.is_ascii() || std::str::from_utf8(bytes).is_ok()
}

/// How much of the bytes is a value of the node, which is [plain](Schema::height), written as the VM writes it. `None` as well
/// if it is more work than that.
pub(crate) fn extent<A: Copy>(schema: &Schema<A>, id: Id, bytes: &[u8], work_limit: u64) -> Option<Extent> {
    let mut scan = Scan { schema, bytes, at: 0, work: 0, work_limit };
    scan.one(id)?;
    Some(Extent { length: scan.at, work: scan.work - 1 })
}

struct Scan<'a, A> {
    schema: &'a Schema<A>,
    bytes: &'a [u8],
    at: usize,
    work: u64,
    work_limit: u64,
}

impl<A: Copy> Scan<'_, A> {
    #[inline(always)]
    fn one(&mut self, id: Id) -> Option<()> {
        self.spend(1)?;
        match self.schema.node(id) {
            Node::Int => self.int(),
            Node::Float => self.floats(1),
            Node::Text => {
                let (from, to) = self.text()?;
                self.spend((to - from) / 64)?;
                is_text(&self.bytes[from..to]).then_some(())
            }
            node => self.parts(node),
        }
    }

    /// Calls itself as deep as the descriptor of a plain value is nested: the bytes have no say in it.
    fn parts(&mut self, node: &Node<A>) -> Option<()> {
        match node {
            Node::List(element) => self.list(*element),
            Node::Tuple(fields) => {
                let [tag, arity] = self.take()?;
                if tag != format::SMALL_TUPLE || usize::from(arity) != fields.len() {
                    return None;
                }
                for field in fields {
                    self.one(*field)?;
                }
                Some(())
            }
            Node::Map(key, value) => {
                let [tag, size @ ..] = self.take::<5>()?;
                if tag != format::MAP {
                    return None;
                }
                for _ in 0..u32::from_be_bytes(size) {
                    self.one(*key)?;
                    self.one(*value)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    fn list(&mut self, element: Id) -> Option<()> {
        match self.take::<1>()? {
            [format::NIL] => Some(()),
            [format::LIST] => {
                let count = u32::from_be_bytes(self.take()?) as usize;
                self.many(element, count)?;
                (self.take::<1>()? == [format::NIL]).then_some(())
            }
            [format::STRING] if matches!(self.schema.node(element), Node::Int) => {
                let count = usize::from(u16::from_be_bytes(self.take()?));
                self.spend(count)?;
                self.skip(count)
            }
            _ => None,
        }
    }

    #[inline]
    fn many(&mut self, element: Id, count: usize) -> Option<()> {
        match self.schema.node(element) {
            Node::Int => {
                self.spend(count)?;
                self.ints(count)
            }
            Node::Float => {
                self.spend(count)?;
                self.floats(count)
            }
            Node::Text => {
                self.spend(count)?;
                self.texts(count)
            }
            _ => (0..count).try_for_each(|_| self.one(element)),
        }
    }

    #[inline]
    fn spend(&mut self, work: usize) -> Option<()> {
        self.work += work as u64;
        (self.work <= self.work_limit).then_some(())
    }

    #[inline]
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let taken = *self.bytes.get(self.at..)?.first_chunk::<N>()?;
        self.at += N;
        Some(taken)
    }

    #[inline]
    fn skip(&mut self, length: usize) -> Option<()> {
        self.at = self.at.checked_add(length)?;
        (self.at <= self.bytes.len()).then_some(())
    }

    #[inline]
    fn int(&mut self) -> Option<()> {
        let length = match *self.bytes.get(self.at)? {
            format::INTEGER => 5,
            format::SMALL_INTEGER => 2,
            format::SMALL_BIG => self.big()?,
            _ => return None,
        };
        self.skip(length)
    }

    /// How long an integer is that fits in 64 bits and is written as the VM writes it.
    fn big(&self) -> Option<usize> {
        let length = usize::from(*self.bytes.get(self.at + 1)?);
        let last = *self.bytes.get(self.at + 2 + length)?;
        ((4..=8).contains(&length) && last != 0).then_some(3 + length)
    }

    #[inline]
    fn ints(&mut self, count: usize) -> Option<()> {
        // Most are of 32 bits: these are passed eight at a time.
        for _ in 0..count / 8 {
            match self.bytes.get(self.at..)?.first_chunk::<40>() {
                Some(run) if [0, 5, 10, 15, 20, 25, 30, 35].iter().all(|at| run[*at] == format::INTEGER) => {
                    self.at += 40;
                }
                _ => (0..8).try_for_each(|_| self.int())?,
            }
        }
        (0..count % 8).try_for_each(|_| self.int())
    }

    /// That they are finite the VM finds out.
    #[inline]
    fn floats(&mut self, count: usize) -> Option<()> {
        let end = self.at.checked_add(count.checked_mul(9)?)?;
        let floats = self.bytes.get(self.at..end)?;
        self.at = end;
        floats.chunks_exact(9).all(|float| float[0] == format::NEW_FLOAT).then_some(())
    }

    /// Where a text begins and ends; not whether it is UTF-8.
    #[inline]
    fn text(&mut self) -> Option<(usize, usize)> {
        let [tag, length @ ..] = self.take::<5>()?;
        if tag != format::BINARY {
            return None;
        }
        let from = self.at;
        self.skip(u32::from_be_bytes(length) as usize)?;
        Some((from, self.at))
    }

    fn texts(&mut self, count: usize) -> Option<()> {
        let (bytes, begin) = (self.bytes, self.at);
        let (mut at, mut work) = (begin, 0);
        for _ in 0..count {
            let [tag, length @ ..] = bytes.get(at..)?.first_chunk::<5>()?;
            if *tag != format::BINARY {
                return None;
            }
            let length = u32::from_be_bytes(*length) as usize;
            work += length / 64;
            at = at.checked_add(5 + length)?;
        }
        let texts = bytes.get(begin..at)?;
        self.spend(work)?;
        // In one go, with what stands between them: tags, and lengths that are mostly below 128.
        if !texts.is_ascii() {
            for _ in 0..count {
                let (from, to) = self.text()?;
                if !is_text(&bytes[from..to]) {
                    return None;
                }
            }
        }
        self.at = at;
        Some(())
    }
}
