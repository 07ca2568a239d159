//! From bytes: building a term that matches a schema.

use crate::fault::{excerpt, quoted, Fault};
use crate::flat::{self, Extent};
use crate::format::{self, AtomName, Reader};
use crate::scan;
use crate::schema::{Id, Node, Record, Schema};
use crate::terms::Build;

/// What bytes may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How deep values may be nested.
    pub depth: usize,
    /// How many atoms that the VM does not know may be made. Those that the schema names are known.
    pub new_atoms: usize,
    /// How much work may be done: one unit a term, and one for 64 bytes of a text.
    pub work: u64,
}

/// Builds the term that the bytes are, with the version byte first and nothing after the term, if it matches the schema;
/// answers with it and the work done.
///
/// Accepts what `term_to_binary/1` writes from OTP 25 on, uncompressed. Inside what the schema calls `Any`, and for
/// identifiers, functions and integers of more than 64 bits, the VM reads the bytes ([`Build::external`]), after their extent
/// and their atoms are known.
pub fn decode<B: Build>(
    schema: &Schema<B::Atom>,
    build: &mut B,
    bytes: &[u8],
    limits: Limits,
) -> Result<(B::Term, u64), Fault> {
    let reader = Reader::new(bytes)?;
    let mut decoder = Decoder {
        schema,
        build,
        reader,
        limits,
        work: 0,
        new_atoms: 0,
        plain: true,
        frames: Vec::new(),
        values: Vec::new(),
    };
    let mut step = Step::Descend(schema.root);
    loop {
        step = match step {
            Step::Descend(id) => decoder.begin(id)?,
            Step::Value(value) if decoder.frames.is_empty() => {
                if decoder.reader.remaining() > 0 {
                    return Err(decoder.reader.malformed("bytes after the end of the term"));
                }
                return Ok((value, decoder.work));
            }
            Step::Value(value) => decoder.accept(value)?,
        };
    }
}

/// What is to be done next.
enum Step<T> {
    /// Read a value of this node.
    Descend(Id),
    /// This value is complete: it belongs to the innermost open one.
    Value(T),
}

/// A value that is open. Its parts so far are on the stack of values, from `base` on.
struct Frame<'s, A> {
    base: usize,
    /// Parts still to come.
    left: usize,
    kind: FrameKind<'s, A>,
}

enum FrameKind<'s, A> {
    List(Id),
    Tuple(&'s [Id]),
    /// The constructor's atom is the first of the parts.
    Constructor(&'s str, &'s [Id]),
    /// Keys and values alternate.
    Map(Id, Id),
    /// The slot of the field that is being read.
    Record(&'s Record<A>, usize),
}

struct Decoder<'s, 'b, B: Build> {
    schema: &'s Schema<B::Atom>,
    build: &'b mut B,
    reader: Reader<'b>,
    limits: Limits,
    work: u64,
    new_atoms: usize,
    /// Whether plain values are still given to the VM.
    plain: bool,
    frames: Vec<Frame<'s, B::Atom>>,
    values: Vec<B::Term>,
}

impl<'s, 'b, B: Build> Decoder<'s, 'b, B> {
    #[inline]
    fn spend(&mut self, work: usize) -> Result<(), Fault> {
        self.work += work as u64;
        if self.work > self.limits.work {
            return Err(Fault::TooMuchWork { limit: self.limits.work });
        }
        Ok(())
    }

    /// Reads a value that has no parts, or opens it.
    #[inline]
    fn begin(&mut self, id: Id) -> Result<Step<B::Term>, Fault> {
        self.spend(1)?;
        let schema = self.schema;
        let start = self.reader;
        match schema.node(id) {
            Node::Int => self.int(id).map(Step::Value),
            Node::Float => self.float(id).map(Step::Value),
            Node::Text => self.text(id).map(Step::Value),
            Node::Bool => {
                let atom = match self.name()? {
                    Some(name) if name.is("true") => schema.atom_true,
                    Some(name) if name.is("false") => schema.atom_false,
                    _ => return Err(self.mismatch(id, start)),
                };
                Ok(Step::Value(self.build.atom(atom)))
            }
            Node::Unit => match self.name()? {
                Some(name) if name.is("ok") => Ok(Step::Value(self.build.atom(schema.atom_ok))),
                _ => Err(self.mismatch(id, start)),
            },
            Node::Atom => match self.name()? {
                Some(name) => self.any_atom(name).map(Step::Value),
                None => Err(self.mismatch(id, start)),
            },
            Node::Any => self.external().map(Step::Value),
            Node::Pid => self.external_of(id, &[format::NEW_PID, format::PID]),
            Node::Function => self.external_of(id, &[format::NEW_FUN, format::EXPORT]),
            Node::List(element) => self.begin_list(id, *element),
            Node::Tuple(fields) => {
                let arity = match self.reader.u8()? {
                    format::SMALL_TUPLE => usize::from(self.reader.u8()?),
                    format::LARGE_TUPLE => self.reader.count(1)?,
                    _ => return Err(self.mismatch(id, start)),
                };
                if arity != fields.len() {
                    return Err(self.mismatch(id, start));
                }
                match fields.first() {
                    None => Ok(Step::Value(self.build.tuple(&[]))),
                    Some(first) => {
                        self.open(FrameKind::Tuple(fields), arity)?;
                        Ok(Step::Descend(*first))
                    }
                }
            }
            Node::Map(key, value) => {
                if self.reader.u8()? != format::MAP {
                    return Err(self.mismatch(id, start));
                }
                let size = self.reader.count(2)?;
                if let Some(map) = self.flat(start, id, size)? {
                    return Ok(Step::Value(map));
                }
                self.open(FrameKind::Map(*key, *value), size * 2)?;
                if size == 0 {
                    return self.close();
                }
                Ok(Step::Descend(*key))
            }
            Node::Record(record) => {
                if self.reader.u8()? != format::MAP {
                    return Err(self.mismatch(id, start));
                }
                let size = self.reader.count(2)?;
                if size != record.atoms.len() {
                    return Err(self.mismatch(id, start));
                }
                self.open(FrameKind::Record(record, 0), size)?;
                // The number of fields is the schema's.
                self.values.resize(self.values.len() + size, B::HOLE);
                if size == 0 {
                    return self.close();
                }
                self.field()
            }
            Node::Variant(_) => self.begin_variant(id),
        }
    }

    fn begin_list(&mut self, id: Id, element: Id) -> Result<Step<B::Term>, Fault> {
        let start = self.reader;
        match self.reader.u8()? {
            format::NIL => Ok(Step::Value(self.build.list(&[]))),
            format::LIST => {
                let length = self.reader.count(1)?;
                if let Some(list) = self.flat(start, id, length)? {
                    return Ok(Step::Value(list));
                }
                self.open(FrameKind::List(element), length)?;
                if length == 0 {
                    return self.close();
                }
                self.leaves(element, length)
            }
            // How `term_to_binary/1` writes a list of small integers.
            format::STRING => {
                let length = self.reader.u16()?;
                if let Some(list) = self.flat(start, id, length)? {
                    return Ok(Step::Value(list));
                }
                let bytes = self.reader.take(length)?;
                self.spend(length)?;
                self.open(FrameKind::List(element), length)?;
                if let (Some(first), false) =
                    (bytes.first(), matches!(self.schema.node(element), Node::Int | Node::Any))
                {
                    let expected = self.schema.describe(element);
                    return Err(Fault::Mismatch { path: self.path(), expected, got: first.to_string() });
                }
                self.frames.pop();
                let base = self.values.len();
                for byte in bytes {
                    let value = self.build.int(i64::from(*byte));
                    self.values.push(value);
                }
                let list = self.build.list(&self.values[base..]);
                self.values.truncate(base);
                Ok(Step::Value(list))
            }
            _ => Err(self.mismatch(id, start)),
        }
    }

    /// A list or a map of `count` parts that the VM may read by itself, and does.
    #[inline]
    fn flat(&mut self, start: Reader<'b>, id: Id, count: usize) -> Result<Option<B::Term>, Fault> {
        let height = self.schema.height(id);
        if height == 0 || count < flat::LEAST || !self.plain || self.frames.len() + height - 1 > self.limits.depth {
            return Ok(None);
        }
        // Once: what did not succeed is not tried again for the parts.
        self.plain = false;
        let left = self.limits.work.saturating_sub(self.work);
        let Some(Extent { length, work }) = flat::extent(self.schema, id, start.rest(), left) else { return Ok(None) };
        let mut after = start;
        match self.build.flat(after.take(length)?) {
            Some(value) => {
                self.work += work;
                self.reader = after;
                self.plain = true;
                Ok(Some(value))
            }
            None => Ok(None),
        }
    }

    /// The elements of a list, in a loop of their own where they have no parts: it is what most long lists are made of.
    fn leaves(&mut self, element: Id, length: usize) -> Result<Step<B::Term>, Fault> {
        match self.schema.node(element) {
            Node::Int => {
                for _ in 0..length {
                    self.spend(1)?;
                    let value = self.int(element)?;
                    self.values.push(value);
                }
            }
            Node::Float => {
                for _ in 0..length {
                    self.spend(1)?;
                    let value = self.float(element)?;
                    self.values.push(value);
                }
            }
            Node::Text => {
                for _ in 0..length {
                    self.spend(1)?;
                    let value = self.text(element)?;
                    self.values.push(value);
                }
            }
            _ => return Ok(Step::Descend(element)),
        }
        self.close()
    }

    fn begin_variant(&mut self, id: Id) -> Result<Step<B::Term>, Fault> {
        let start = self.reader;
        let Node::Variant(constructors) = self.schema.node(id) else { return Err(self.mismatch(id, start)) };
        let tag = self.reader.u8()?;
        let arity = match tag {
            format::SMALL_TUPLE => usize::from(self.reader.u8()?),
            format::LARGE_TUPLE => self.reader.count(1)?,
            _ => {
                let name = self.reader.atom_name(tag)?;
                let constant = constructors.iter().find(|c| c.fields.is_empty() && name.is_some_and(|n| n.is(&c.name)));
                return match constant {
                    Some(constructor) => Ok(Step::Value(self.build.atom(constructor.atom))),
                    None => Err(self.mismatch(id, start)),
                };
            }
        };
        let name = if arity > 1 { self.name()? } else { None };
        let found = constructors.iter().find(|c| c.fields.len() + 1 == arity && name.is_some_and(|n| n.is(&c.name)));
        match found.and_then(|constructor| Some((constructor, *constructor.fields.first()?))) {
            Some((constructor, first)) => {
                self.open(FrameKind::Constructor(&constructor.name, &constructor.fields), arity - 1)?;
                let atom = self.build.atom(constructor.atom);
                self.values.push(atom);
                Ok(Step::Descend(first))
            }
            None => Err(self.mismatch(id, start)),
        }
    }

    fn open(&mut self, kind: FrameKind<'s, B::Atom>, left: usize) -> Result<(), Fault> {
        if self.frames.len() >= self.limits.depth {
            return Err(self.reader.malformed("nesting beyond the limit"));
        }
        self.frames.push(Frame { base: self.values.len(), left, kind });
        Ok(())
    }

    /// Gives a value to the innermost open one, of which there is one.
    #[inline]
    fn accept(&mut self, value: B::Term) -> Result<Step<B::Term>, Fault> {
        let Some(frame) = self.frames.last_mut() else { return Ok(Step::Value(value)) };
        frame.left -= 1;
        let left = frame.left;
        match frame.kind {
            FrameKind::Record(_, slot) => {
                self.values[frame.base + slot] = value;
                if left > 0 {
                    return self.field();
                }
            }
            FrameKind::List(element) => {
                self.values.push(value);
                if left > 0 {
                    return Ok(Step::Descend(element));
                }
            }
            FrameKind::Tuple(fields) | FrameKind::Constructor(_, fields) => {
                self.values.push(value);
                if left > 0 {
                    return Ok(Step::Descend(fields[fields.len() - left]));
                }
            }
            FrameKind::Map(key, value_id) => {
                self.values.push(value);
                if left > 0 {
                    return Ok(Step::Descend(if left % 2 == 0 { key } else { value_id }));
                }
            }
        }
        self.close()
    }

    /// All parts of the innermost open value are there.
    #[inline]
    fn close(&mut self) -> Result<Step<B::Term>, Fault> {
        let Some(frame) = self.frames.last() else { return Err(self.reader.malformed("nothing is open")) };
        let base = frame.base;
        let parts = &self.values[base..];
        let value = match frame.kind {
            FrameKind::List(_) => {
                let start = self.reader;
                if self.reader.u8()? != format::NIL {
                    self.frames.pop();
                    let got = format!("a list that ends in {}", show(start));
                    return Err(Fault::Mismatch { path: self.path(), expected: "a proper list".into(), got });
                }
                Some(self.build.list(parts))
            }
            FrameKind::Tuple(_) | FrameKind::Constructor(..) => Some(self.build.tuple(parts)),
            FrameKind::Record(record, _) => self.build.record(&record.atoms, parts),
            FrameKind::Map(..) => {
                let keys: Vec<B::Term> = parts.iter().step_by(2).copied().collect();
                let values: Vec<B::Term> = parts.iter().skip(1).step_by(2).copied().collect();
                self.build.map(&keys, &values)
            }
        };
        let Some(value) = value else { return Err(self.reader.malformed("a map with the same key twice before")) };
        self.values.truncate(base);
        self.frames.pop();
        Ok(Step::Value(value))
    }

    /// Reads the key of a record's next field.
    fn field(&mut self) -> Result<Step<B::Term>, Fault> {
        let start = self.reader;
        let name = self.name()?;
        let Some(Frame { base, left, kind: FrameKind::Record(record, slot) }) = self.frames.last_mut() else {
            return Err(start.malformed("no record is open"));
        };
        let position = record.fields.len() - *left;
        let is = |slot: usize| name.is_some_and(|name| name.is(&record.fields[slot].0));
        // Fields come in the canonical order or in that of a VM; any order is right.
        let canonical = record.canonical[position] as usize;
        let found = if is(canonical) {
            Some(canonical)
        } else if is(position) {
            Some(position)
        } else {
            (0..record.fields.len()).find(|slot| is(*slot))
        };
        match found {
            Some(found) if self.values[*base + found] == B::HOLE => {
                *slot = found;
                Ok(Step::Descend(record.fields[found].1))
            }
            Some(_) => Err(start.malformed("a record with the same field twice")),
            None => {
                let expected = "one of the record's fields".to_owned();
                self.frames.pop();
                Err(Fault::Mismatch { path: self.path(), expected, got: format!("a field named by {}", show(start)) })
            }
        }
    }

    #[inline]
    fn name(&mut self) -> Result<Option<AtomName<'b>>, Fault> {
        let tag = self.reader.u8()?;
        self.reader.atom_name(tag)
    }

    #[inline]
    fn int(&mut self, id: Id) -> Result<B::Term, Fault> {
        let start = self.reader;
        let length = match self.reader.u8()? {
            format::SMALL_INTEGER => {
                let value = self.reader.u8()?;
                return Ok(self.build.int(i64::from(value)));
            }
            format::INTEGER => {
                let value = self.reader.i32()?;
                return Ok(self.build.int(i64::from(value)));
            }
            format::SMALL_BIG => usize::from(self.reader.u8()?),
            format::LARGE_BIG => self.reader.u32()?,
            _ => return Err(self.mismatch(id, start)),
        };
        let negative = self.reader.u8()? != 0;
        let digits = self.reader.take(length)?;
        let significant = digits.iter().rposition(|digit| *digit != 0).map_or(0, |last| last + 1);
        if significant <= 8 {
            let magnitude = digits[..significant].iter().rev().fold(0u64, |acc, digit| (acc << 8) | u64::from(*digit));
            let value = if negative { -i128::from(magnitude) } else { i128::from(magnitude) };
            if let Ok(value) = i64::try_from(value) {
                return Ok(self.build.int(value));
            }
        }
        self.spend(length / 64)?;
        let bytes = self.reader.since(start.offset());
        match self.build.external(bytes) {
            Some(value) => Ok(value),
            None => Err(start.malformed("an integer that the VM does not accept")),
        }
    }

    #[inline]
    fn float(&mut self, id: Id) -> Result<B::Term, Fault> {
        let start = self.reader;
        if self.reader.u8()? != format::NEW_FLOAT {
            return Err(self.mismatch(id, start));
        }
        let value = self.reader.f64()?;
        if !value.is_finite() {
            return Err(start.malformed("a float that is no number"));
        }
        Ok(self.build.float(value))
    }

    #[inline]
    fn text(&mut self, id: Id) -> Result<B::Term, Fault> {
        let start = self.reader;
        if self.reader.u8()? != format::BINARY {
            return Err(self.mismatch(id, start));
        }
        let length = self.reader.u32()?;
        let bytes = self.reader.take(length)?;
        if !flat::is_text(bytes) {
            return Err(self.mismatch(id, start));
        }
        self.spend(length / 64)?;
        Ok(self.build.binary(bytes))
    }

    /// An atom of no particular name.
    fn any_atom(&mut self, name: AtomName<'_>) -> Result<B::Term, Fault> {
        self.spend(scan::ATOM_WORK as usize)?;
        match self.build.existing_atom(name) {
            Some(atom) => Ok(atom),
            None => self.make_atom(name),
        }
    }

    fn make_atom(&mut self, name: AtomName<'_>) -> Result<B::Term, Fault> {
        if !name.is_valid() {
            return Err(self.reader.malformed("a name that is none of an atom before"));
        }
        if self.new_atoms >= self.limits.new_atoms {
            return Err(Fault::TooManyAtoms { limit: self.limits.new_atoms });
        }
        self.new_atoms += 1;
        match self.build.new_atom(name) {
            Some(atom) => Ok(atom),
            None => Err(self.reader.malformed("a name that is none of an atom before")),
        }
    }

    fn external_of(&mut self, id: Id, tags: &[u8]) -> Result<Step<B::Term>, Fault> {
        let start = self.reader;
        if !tags.contains(&self.reader.u8()?) {
            return Err(self.mismatch(id, start));
        }
        self.reader = start;
        self.external().map(Step::Value)
    }

    /// One term that the VM reads.
    fn external(&mut self) -> Result<B::Term, Fault> {
        let start = self.reader;
        let left = self.limits.work - self.work;
        self.work += scan::skip(&mut self.reader, left, |_| Ok(())).map_err(|fault| self.total(fault))?;
        let bytes = self.reader.since(start.offset());
        self.spend(bytes.len() / 64)?;
        if let Some(term) = self.build.external(bytes) {
            return Ok(term);
        }
        // It holds atoms that the VM does not know, or it is malformed: a second try tells.
        let mut again = start;
        let mut missing = Vec::new();
        let budget = self.limits.new_atoms - self.new_atoms;
        let build = &mut *self.build;
        scan::skip(&mut again, u64::MAX, |name| {
            if !missing.contains(&name) && build.existing_atom(name).is_none() {
                if missing.len() >= budget {
                    return Err(Fault::TooManyAtoms { limit: self.limits.new_atoms });
                }
                missing.push(name);
            }
            Ok(())
        })?;
        for name in &missing {
            self.make_atom(*name)?;
        }
        match self.build.external(bytes) {
            Some(term) => Ok(term),
            None => Err(start.malformed("a term that the VM does not accept")),
        }
    }

    /// The limit that the caller gave, where only what was left of it was exceeded.
    fn total(&self, fault: Fault) -> Fault {
        match fault {
            Fault::TooMuchWork { .. } => Fault::TooMuchWork { limit: self.limits.work },
            other => other,
        }
    }

    #[cold]
    #[inline(never)]
    fn mismatch(&self, id: Id, start: Reader) -> Fault {
        Fault::Mismatch { path: self.path(), expected: self.schema.describe(id), got: show(start) }
    }

    /// Where the decoder is: the part that is being read of each open value.
    #[cold]
    fn path(&self) -> String {
        let last = self.frames.len();
        let parts = self.frames.iter().enumerate().map(|(i, frame)| {
            let end = if i + 1 < last { self.frames[i + 1].base } else { self.values.len() };
            let index = end.saturating_sub(frame.base);
            match frame.kind {
                FrameKind::List(_) => format!("[{index}]"),
                FrameKind::Tuple(_) => format!(".{index}"),
                FrameKind::Constructor(name, _) => format!(".{name}({})", index.saturating_sub(1)),
                FrameKind::Map(..) if frame.left % 2 == 0 => format!(".key {}", index / 2),
                FrameKind::Map(..) => format!("[pair {}]", index / 2),
                FrameKind::Record(record, slot) => format!(".{}", record.fields[slot].0),
            }
        });
        excerpt::path(parts)
    }
}

/// The beginning of a term as people read it.
#[cold]
fn show(mut reader: Reader) -> String {
    head(&mut reader).unwrap_or_else(|_| "bytes that end too early".to_owned())
}

fn head(reader: &mut Reader) -> Result<String, Fault> {
    let tag = reader.u8()?;
    if let Some(name) = reader.atom_name(tag)? {
        return Ok(format!("the atom {}", excerpt::text(&name.to_text())));
    }
    Ok(match tag {
        format::SMALL_INTEGER => reader.u8()?.to_string(),
        format::INTEGER => reader.i32()?.to_string(),
        format::SMALL_BIG | format::LARGE_BIG => "a large integer".into(),
        format::NEW_FLOAT => format!("{:?}", reader.f64()?),
        format::BINARY => {
            let length = reader.u32()?;
            quoted(reader.take(length)?)
        }
        format::BIT_BINARY => "bits that are no whole bytes".into(),
        format::NIL => "[]".into(),
        format::STRING | format::LIST => "a list".into(),
        format::SMALL_TUPLE => format!("a tuple of {}", reader.u8()?),
        format::LARGE_TUPLE => format!("a tuple of {}", reader.u32()?),
        format::MAP => format!("a map of {}", reader.u32()?),
        format::PID | format::NEW_PID => "a process".into(),
        format::NEW_FUN | format::EXPORT => "a function".into(),
        format::PORT | format::NEW_PORT | format::V4_PORT => "a port".into(),
        format::NEW_REFERENCE | format::NEWER_REFERENCE => "a reference".into(),
        other => format!("something with the unknown tag {other}"),
    })
}
