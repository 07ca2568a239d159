//! Bytes of messages: numbers of variable length, names and lists with their lengths in front, all of them bounded.

use crate::{NodeId, MAX_IDS, MAX_NODE_BYTES, MAX_PAYLOAD_BYTES};
use std::sync::Arc;

/// Why bytes are no message. Nothing is kept of them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end within a field.
    #[error("the message ends within a field")]
    Truncated,
    /// Another version of the format.
    #[error("the message is of version {0}, not {version}", version = crate::message::VERSION)]
    Version(u8),
    /// A kind of message, or of a part of one, that does not exist.
    #[error("there is no message or part of one of kind {0}")]
    Kind(u8),
    /// A number that does not fit, or is written longer than it needs to be.
    #[error("a number is too large, or written with needless bytes")]
    Number,
    /// A name that is empty or too long.
    #[error("a node's name has 1 to {MAX_NODE_BYTES} bytes, not {0}")]
    Name(u64),
    /// A list or a payload over its bound.
    #[error("a list or payload has {got} elements, more than {limit}")]
    TooLong {
        /// The bound.
        limit: u64,
        /// The length that was announced.
        got: u64,
    },
    /// Bytes after the end.
    #[error("{0} bytes follow the message")]
    Trailing(usize),
}

/// What can be written as bytes and read again.
pub(crate) trait Wire: Sized {
    fn write(&self, to: &mut Writer);
    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

#[derive(Debug, Default)]
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    pub(crate) fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    /// LEB128: seven bits a byte, the least first, the highest bit set on all bytes but the last.
    pub(crate) fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn node(&mut self, node: &NodeId) {
        self.bytes(node.as_bytes());
    }

    pub(crate) fn list<T>(&mut self, items: &[T], write: impl Fn(&mut Self, &T)) {
        self.bounded_list(items, MAX_IDS, write);
    }

    pub(crate) fn bounded_list<T>(&mut self, items: &[T], max: usize, write: impl Fn(&mut Self, &T)) {
        // The machines never make a longer list than a reader takes: their parameters are bounded by it.
        debug_assert!(items.len() <= max);
        let items = &items[..items.len().min(max)];
        self.number(items.len() as u64);
        for item in items {
            write(self, item);
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let (&first, rest) = self.0.split_first().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(first)
    }

    pub(crate) fn number(&mut self) -> Result<u64, DecodeError> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            let shifted = bits.checked_shl(shift).filter(|value| value >> shift == bits);
            number |= shifted.ok_or(DecodeError::Number)?;
            if byte & 0x80 == 0 {
                // One way to write a number: the last byte of several is not zero.
                return if byte == 0 && shift > 0 { Err(DecodeError::Number) } else { Ok(number) };
            }
        }
        Err(DecodeError::Number)
    }

    pub(crate) fn small(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.number()?).map_err(|_| DecodeError::Number)
    }

    /// The length is held against what is there before anything is allocated.
    fn take(&mut self, len: u64) -> Result<&'a [u8], DecodeError> {
        let len = usize::try_from(len).map_err(|_| DecodeError::Truncated)?;
        if len > self.0.len() {
            return Err(DecodeError::Truncated);
        }
        let (taken, rest) = self.0.split_at(len);
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn payload(&mut self) -> Result<Arc<[u8]>, DecodeError> {
        let len = self.number()?;
        let limit = MAX_PAYLOAD_BYTES as u64;
        if len > limit {
            return Err(DecodeError::TooLong { limit, got: len });
        }
        self.take(len).map(Arc::from)
    }

    pub(crate) fn node(&mut self) -> Result<NodeId, DecodeError> {
        let len = self.number()?;
        if len == 0 || len > MAX_NODE_BYTES as u64 {
            return Err(DecodeError::Name(len));
        }
        NodeId::new(self.take(len)?).map_err(|_| DecodeError::Name(len))
    }

    pub(crate) fn list<T>(
        &mut self,
        read: impl Fn(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        self.bounded_list(MAX_IDS, read)
    }

    /// The list grows with what is read: a length alone allocates nothing.
    pub(crate) fn bounded_list<T>(
        &mut self,
        max: usize,
        read: impl Fn(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<Vec<T>, DecodeError> {
        let len = self.number()?;
        let limit = max as u64;
        if len > limit {
            return Err(DecodeError::TooLong { limit, got: len });
        }
        (0..len).map(|_| read(self)).collect()
    }

    pub(crate) fn end(self) -> Result<(), DecodeError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(DecodeError::Trailing(self.0.len()))
        }
    }
}
