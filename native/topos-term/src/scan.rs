//! Passing over terms without building them.

use crate::format::{self, AtomName, Reader};
use crate::Fault;
use std::collections::HashSet;

/// An atom costs as much as this many other terms, since its name is looked up in the VM's table.
pub(crate) const ATOM_WORK: u64 = 5;

/// Passes over one term and shows each of its atoms. Needs no stack: what is open is one number, how many terms are to come.
///
/// Accepts what `term_to_binary/1` of OTP 25 and later writes. Returns the work done.
pub(crate) fn skip<'a>(
    reader: &mut Reader<'a>,
    work_limit: u64,
    mut atom: impl FnMut(AtomName<'a>) -> Result<(), Fault>,
) -> Result<u64, Fault> {
    let mut pending: usize = 1;
    let mut work = 0;
    while pending > 0 {
        pending -= 1;
        work += 1;
        if work > work_limit {
            return Err(Fault::TooMuchWork { limit: work_limit });
        }
        let tag = reader.u8()?;
        if let Some(name) = reader.atom_name(tag)? {
            work += ATOM_WORK;
            atom(name)?;
            continue;
        }
        let (skipped, opened) = match tag {
            format::SMALL_INTEGER => (1, 0),
            format::INTEGER => (4, 0),
            format::NEW_FLOAT if reader.f64()?.is_finite() => (0, 0),
            format::NEW_FLOAT => return Err(reader.malformed("a float that is no number before")),
            format::NIL => (0, 0),
            format::STRING => (reader.u16()?, 0),
            format::BINARY => (reader.u32()?, 0),
            format::BIT_BINARY => (reader.u32()?.saturating_add(1), 0),
            format::SMALL_BIG => (usize::from(reader.u8()?) + 1, 0),
            format::LARGE_BIG => (reader.u32()?.saturating_add(1), 0),
            format::SMALL_TUPLE => (0, usize::from(reader.u8()?)),
            format::LARGE_TUPLE => (0, reader.count(1)?),
            // The elements and the tail.
            format::LIST => (0, reader.count(1)? + 1),
            format::MAP => (0, reader.count(2)? * 2),
            format::EXPORT => (0, 3),
            format::PID => skip_after_node(reader, &mut atom, 9)?,
            format::NEW_PID => skip_after_node(reader, &mut atom, 12)?,
            format::PORT => skip_after_node(reader, &mut atom, 5)?,
            format::NEW_PORT => skip_after_node(reader, &mut atom, 8)?,
            format::V4_PORT => skip_after_node(reader, &mut atom, 12)?,
            format::NEW_REFERENCE => {
                let words = reader.u16()?;
                skip_after_node(reader, &mut atom, 1 + 4 * words)?
            }
            format::NEWER_REFERENCE => {
                let words = reader.u16()?;
                skip_after_node(reader, &mut atom, 4 + 4 * words)?
            }
            // Size, arity, uniq and index; then module, old index, old uniq, pid, and the free variables.
            format::NEW_FUN => {
                reader.take(4 + 1 + 16 + 4)?;
                (0, reader.count(1)? + 4)
            }
            _ => return Err(reader.malformed("an unknown or obsolete tag before")),
        };
        reader.take(skipped)?;
        // Each term has a byte at least, so that many open ones cannot be true.
        pending += opened;
        if pending > reader.remaining() {
            return Err(reader.malformed("the bytes end too early"));
        }
    }
    Ok(work)
}

/// Identifiers: the node's name, then so many bytes.
fn skip_after_node<'a>(
    reader: &mut Reader<'a>,
    atom: &mut impl FnMut(AtomName<'a>) -> Result<(), Fault>,
    bytes: usize,
) -> Result<(usize, usize), Fault> {
    let tag = reader.u8()?;
    match reader.atom_name(tag)? {
        Some(name) => atom(name)?,
        None => return Err(reader.malformed("an identifier without a node's name")),
    }
    Ok((bytes, 0))
}

/// The names of the atoms in a whole message, which starts with the version byte, that `exists` does not know, each once, at
/// most `max` of them; and the work done.
pub fn scan_atoms<'a>(
    bytes: &'a [u8],
    max: usize,
    work_limit: u64,
    mut exists: impl FnMut(AtomName<'a>) -> bool,
) -> Result<(Vec<AtomName<'a>>, u64), Fault> {
    let mut reader = Reader::new(bytes)?;
    let mut new = Vec::new();
    let mut seen = HashSet::new();
    let work = skip(&mut reader, work_limit, |name| {
        if seen.contains(&name) || exists(name) {
            return Ok(());
        }
        if !name.is_valid() {
            return Err(Fault::Malformed { why: "a name that is none of an atom,", offset: 0 });
        }
        if new.len() >= max {
            return Err(Fault::TooManyAtoms { limit: max });
        }
        seen.insert(name);
        new.push(name);
        Ok(())
    })?;
    if reader.remaining() > 0 {
        return Err(reader.malformed("bytes after the end of the term"));
    }
    Ok((new, work))
}
