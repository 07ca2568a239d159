//! The external term format: tags, and a reader that never reads beyond its bytes.
//!
//! <https://www.erlang.org/doc/apps/erts/erl_ext_dist>

use crate::Fault;

pub(crate) const VERSION: u8 = 131;
pub(crate) const COMPRESSED: u8 = 80;
pub(crate) const NEW_FLOAT: u8 = 70;
pub(crate) const BIT_BINARY: u8 = 77;
pub(crate) const NEW_PID: u8 = 88;
pub(crate) const NEW_PORT: u8 = 89;
pub(crate) const NEWER_REFERENCE: u8 = 90;
pub(crate) const SMALL_INTEGER: u8 = 97;
pub(crate) const INTEGER: u8 = 98;
pub(crate) const ATOM: u8 = 100;
pub(crate) const PORT: u8 = 102;
pub(crate) const PID: u8 = 103;
pub(crate) const SMALL_TUPLE: u8 = 104;
pub(crate) const LARGE_TUPLE: u8 = 105;
pub(crate) const NIL: u8 = 106;
pub(crate) const STRING: u8 = 107;
pub(crate) const LIST: u8 = 108;
pub(crate) const BINARY: u8 = 109;
pub(crate) const SMALL_BIG: u8 = 110;
pub(crate) const LARGE_BIG: u8 = 111;
pub(crate) const NEW_FUN: u8 = 112;
pub(crate) const EXPORT: u8 = 113;
pub(crate) const NEW_REFERENCE: u8 = 114;
pub(crate) const SMALL_ATOM: u8 = 115;
pub(crate) const MAP: u8 = 116;
pub(crate) const ATOM_UTF8: u8 = 118;
pub(crate) const SMALL_ATOM_UTF8: u8 = 119;
pub(crate) const V4_PORT: u8 = 120;

/// The name of an atom as it stands in the bytes. VMs before OTP 26 write names that fit in Latin-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AtomName<'a> {
    /// One byte a character; at most 255.
    Latin1(&'a [u8]),
    /// UTF-8, if the sender is honest; at most 255 characters then.
    Utf8(&'a [u8]),
}

impl AtomName<'_> {
    /// Whether this is that name.
    pub fn is(self, name: &str) -> bool {
        match self {
            Self::Utf8(bytes) => bytes == name.as_bytes(),
            Self::Latin1(bytes) if bytes.is_ascii() => bytes == name.as_bytes(),
            Self::Latin1(bytes) => bytes.iter().map(|b| char::from(*b)).eq(name.chars()),
        }
    }

    /// The name as text; what is not UTF-8 is replaced.
    pub fn to_text(self) -> String {
        match self {
            Self::Utf8(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Latin1(bytes) => bytes.iter().map(|b| char::from(*b)).collect(),
        }
    }

    /// Whether it can be the name of an atom: 255 characters at most, and UTF-8 if it says so.
    pub fn is_valid(self) -> bool {
        match self {
            Self::Latin1(bytes) => bytes.len() <= 255,
            Self::Utf8(bytes) => std::str::from_utf8(bytes).is_ok_and(|name| name.chars().count() <= 255),
        }
    }
}

/// Bytes and how far they have been read.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    offset: usize,
}

impl<'a> Reader<'a> {
    /// After the version byte; compressed terms are refused, since their size is what the sender says.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        let mut reader = Self { bytes, offset: 0 };
        if reader.u8()? != VERSION {
            return Err(Fault::Malformed { why: "no version byte (131)", offset: 0 });
        }
        if bytes.get(1) == Some(&COMPRESSED) {
            return Err(Fault::Malformed { why: "a compressed term, which is not accepted,", offset: 1 });
        }
        Ok(reader)
    }

    pub(crate) fn offset(&self) -> usize {
        self.offset
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.offset
    }

    /// The bytes that have not been read.
    #[inline]
    pub(crate) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.offset..]
    }

    /// The bytes from `start` to where the reader is.
    pub(crate) fn since(&self, start: usize) -> &'a [u8] {
        &self.bytes[start..self.offset]
    }

    #[cold]
    pub(crate) fn malformed(&self, why: &'static str) -> Fault {
        Fault::Malformed { why, offset: self.offset }
    }

    #[inline]
    pub(crate) fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        if length > self.remaining() {
            return Err(self.malformed("the bytes end too early"));
        }
        let taken = &self.bytes[self.offset..self.offset + length];
        self.offset += length;
        Ok(taken)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        match self.bytes[self.offset..].first_chunk::<N>() {
            Some(chunk) => {
                self.offset += N;
                Ok(*chunk)
            }
            None => Err(self.malformed("the bytes end too early")),
        }
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8, Fault> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<usize, Fault> {
        self.array().map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<usize, Fault> {
        self.array().map(|bytes| u32::from_be_bytes(bytes) as usize)
    }

    #[inline]
    pub(crate) fn i32(&mut self) -> Result<i32, Fault> {
        self.array().map(i32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn f64(&mut self) -> Result<f64, Fault> {
        self.array().map(f64::from_be_bytes)
    }

    /// A number of things that follow, each of `least` bytes or more: a number that cannot be true is refused at once.
    #[inline]
    pub(crate) fn count(&mut self, least: usize) -> Result<usize, Fault> {
        let count = self.u32()?;
        if count > self.remaining() / least {
            return Err(self.malformed("a length beyond the end of the bytes"));
        }
        Ok(count)
    }

    /// The name of an atom whose tag has been read, or `None` if it is no tag of an atom.
    #[inline]
    pub(crate) fn atom_name(&mut self, tag: u8) -> Result<Option<AtomName<'a>>, Fault> {
        Ok(Some(match tag {
            SMALL_ATOM_UTF8 => {
                let length = usize::from(self.u8()?);
                AtomName::Utf8(self.take(length)?)
            }
            ATOM => {
                let length = self.u16()?;
                AtomName::Latin1(self.take(length)?)
            }
            ATOM_UTF8 => {
                let length = self.u16()?;
                AtomName::Utf8(self.take(length)?)
            }
            SMALL_ATOM => {
                let length = usize::from(self.u8()?);
                AtomName::Latin1(self.take(length)?)
            }
            _ => return Ok(None),
        }))
    }
}

/// Writes an atom in the canonical form. Names are no longer than 1,020 bytes.
pub(crate) fn write_atom(out: &mut Vec<u8>, name: &[u8]) {
    match u8::try_from(name.len()) {
        Ok(length) => out.extend_from_slice(&[SMALL_ATOM_UTF8, length]),
        Err(_) => {
            out.push(ATOM_UTF8);
            out.extend_from_slice(&(name.len() as u16).to_be_bytes());
        }
    }
    out.extend_from_slice(name);
}
