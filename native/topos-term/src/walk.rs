//! From terms: checking them against a schema and writing them as bytes, in one walk.

use crate::fault::{excerpt, quoted, Fault};
use crate::flat::is_text;
use crate::format;
use crate::schema::{Id, Node, Record, Schema, ANY};
use crate::terms::{Inspect, Kind};

/// Checks a term against a schema; answers with the work done, in terms visited (64 bytes of a text count as one).
///
/// What the schema calls `Any` is not looked into. Fails with [`Fault::Mismatch`] at the first place that differs, or with
/// [`Fault::TooMuchWork`] beyond `work_limit`.
pub fn check<I: Inspect>(
    schema: &Schema<I::Atom>,
    inspect: &I,
    term: I::Term,
    depth: usize,
    work_limit: u64,
) -> Result<u64, Fault> {
    let mut out = Vec::new();
    Walk::<I, false>::new(schema, inspect, &mut out, depth, work_limit).run(term)
}

/// Appends the canonical bytes of a term, with the version byte, if it matches the schema; answers with the work done.
///
/// Fails as [`check`] does. What `out` holds after a failure is of no use.
pub fn encode<I: Inspect>(
    schema: &Schema<I::Atom>,
    inspect: &I,
    term: I::Term,
    out: &mut Vec<u8>,
    depth: usize,
    work_limit: u64,
) -> Result<u64, Fault> {
    out.push(format::VERSION);
    Walk::<I, true>::new(schema, inspect, out, depth, work_limit).run(term)
}

/// A term that is open: where in it the walk is. Kept on the heap, so that nesting costs no stack.
enum Frame<'s, I: Inspect> {
    List {
        id: Id,
        element: Id,
        rest: I::Term,
        index: usize,
        /// Where the number of elements belongs in the output.
        count_at: usize,
        /// The tail of an improper list is being visited.
        in_tail: bool,
    },
    Tuple {
        /// `None` for any fields.
        fields: Option<&'s [Id]>,
        tuple: I::Tuple,
        /// The constructor, if it is that of a variant: its atom is the first element, and no field.
        constructor: Option<&'s str>,
        next: usize,
    },
    Record {
        record: &'s Record<I::Atom>,
        map: I::Term,
        next: usize,
    },
    Pairs {
        key: Id,
        value: Id,
        pairs: I::Pairs,
        /// The pair that is being visited, and whether its value is.
        current: Option<(I::Term, I::Term)>,
        in_value: bool,
        index: usize,
        /// Where this map's pairs begin among the marks.
        first_mark: usize,
    },
}

struct Walk<'s, 'o, I: Inspect, const WRITE: bool> {
    schema: &'s Schema<I::Atom>,
    inspect: &'s I,
    out: &'o mut Vec<u8>,
    depth: usize,
    work: u64,
    work_limit: u64,
    frames: Vec<Frame<'s, I>>,
    /// Where the pairs of the open maps begin in the output.
    marks: Vec<usize>,
}

impl<'s, 'o, I: Inspect, const WRITE: bool> Walk<'s, 'o, I, WRITE> {
    fn new(schema: &'s Schema<I::Atom>, inspect: &'s I, out: &'o mut Vec<u8>, depth: usize, work_limit: u64) -> Self {
        Self { schema, inspect, out, depth, work: 0, work_limit, frames: Vec::new(), marks: Vec::new() }
    }

    fn run(mut self, term: I::Term) -> Result<u64, Fault> {
        let mut next = Some((self.schema.root, term));
        while let Some((id, term)) = next {
            self.spend(1)?;
            self.visit(id, term)?;
            next = self.advance()?;
        }
        Ok(self.work)
    }

    #[inline]
    fn spend(&mut self, work: usize) -> Result<(), Fault> {
        self.work += work as u64;
        if self.work > self.work_limit {
            return Err(Fault::TooMuchWork { limit: self.work_limit });
        }
        Ok(())
    }

    /// Writes a term that has no parts, or opens it.
    #[inline]
    fn visit(&mut self, id: Id, term: I::Term) -> Result<(), Fault> {
        let schema = self.schema;
        let inspect = self.inspect;
        match schema.node(id) {
            Node::Any => {
                if WRITE {
                    self.visit_any(term)?;
                }
                Ok(())
            }
            Node::Int if WRITE => match inspect.int(term) {
                Some(value) => {
                    self.put_small(value);
                    Ok(())
                }
                None => self.visit_external(id, term, Kind::Integer),
            },
            Node::Int => match inspect.kind(term) {
                Kind::Integer => Ok(()),
                _ => Err(self.mismatch(id, term)),
            },
            Node::Float => match inspect.float(term) {
                Some(value) => {
                    self.put_float(value);
                    Ok(())
                }
                None => Err(self.mismatch(id, term)),
            },
            Node::Text => match inspect.binary(term) {
                Some(bytes) if is_text(bytes) => {
                    self.spend(bytes.len() / 64)?;
                    self.put_binary(bytes);
                    Ok(())
                }
                _ => Err(self.mismatch(id, term)),
            },
            Node::Bool if inspect.is_atom(term, schema.atom_true) => {
                self.put_name(b"true");
                Ok(())
            }
            Node::Bool if inspect.is_atom(term, schema.atom_false) => {
                self.put_name(b"false");
                Ok(())
            }
            Node::Unit if inspect.is_atom(term, schema.atom_ok) => {
                self.put_name(b"ok");
                Ok(())
            }
            Node::Bool | Node::Unit => Err(self.mismatch(id, term)),
            Node::Atom => match inspect.atom(term) {
                Some(atom) => {
                    self.put_atom(atom);
                    Ok(())
                }
                None => Err(self.mismatch(id, term)),
            },
            Node::Pid => self.visit_external(id, term, Kind::Pid),
            Node::Function => self.visit_external(id, term, Kind::Function),
            Node::List(element) => {
                if inspect.kind(term) != Kind::List {
                    return Err(self.mismatch(id, term));
                }
                self.open_list(id, *element, term)
            }
            Node::Tuple(fields) => match inspect.tuple(term) {
                Some(tuple) if inspect.arity(tuple) == fields.len() => self.open_tuple(Some(fields), tuple, None),
                _ => Err(self.mismatch(id, term)),
            },
            Node::Map(key, value) => match inspect.map_size(term) {
                Some(size) => self.open_map(*key, *value, term, size),
                None => Err(self.mismatch(id, term)),
            },
            Node::Record(record) => match inspect.map_size(term) {
                Some(size) if size == record.atoms.len() => {
                    self.put_header(format::MAP, size)?;
                    self.open(Frame::Record { record, map: term, next: 0 })
                }
                _ => Err(self.mismatch(id, term)),
            },
            Node::Variant(constructors) => {
                if let Some(tuple) = inspect.tuple(term) {
                    let arity = inspect.arity(tuple);
                    let tag = if arity > 0 { Some(inspect.element(tuple, 0)) } else { None };
                    let found = constructors.iter().find(|constructor| {
                        constructor.fields.len() + 1 == arity
                            && tag.is_some_and(|tag| inspect.is_atom(tag, constructor.atom))
                    });
                    // A tuple of the atom alone is no form of a constant.
                    if let Some(constructor) = found.filter(|constructor| !constructor.fields.is_empty()) {
                        return self.open_tuple(Some(&constructor.fields), tuple, Some(&constructor.name));
                    }
                    return Err(self.mismatch(id, term));
                }
                let constant = constructors
                    .iter()
                    .find(|constructor| constructor.fields.is_empty() && inspect.is_atom(term, constructor.atom));
                match constant {
                    Some(constructor) => {
                        self.put_name(constructor.name.as_bytes());
                        Ok(())
                    }
                    None => Err(self.mismatch(id, term)),
                }
            }
        }
    }

    /// A term of a type that is not known, which is written all the same in the canonical form.
    fn visit_any(&mut self, term: I::Term) -> Result<(), Fault> {
        let inspect = self.inspect;
        match inspect.kind(term) {
            Kind::Integer => match inspect.int(term) {
                Some(value) => {
                    self.put_small(value);
                    Ok(())
                }
                None => self.put_external(ANY, term),
            },
            Kind::List => self.open_list(ANY, ANY, term),
            Kind::Atom => {
                if let Some(atom) = inspect.atom(term) {
                    self.put_atom(atom);
                }
                Ok(())
            }
            Kind::Float => {
                if let Some(value) = inspect.float(term) {
                    self.put_float(value);
                }
                Ok(())
            }
            Kind::Tuple => match inspect.tuple(term) {
                Some(tuple) => self.open_tuple(None, tuple, None),
                None => Ok(()),
            },
            Kind::Map => self.open_map(ANY, ANY, term, inspect.map_size(term).unwrap_or(0)),
            Kind::Bitstring => match inspect.binary(term) {
                Some(bytes) => {
                    self.spend(bytes.len() / 64)?;
                    self.put_binary(bytes);
                    Ok(())
                }
                None => self.put_external(ANY, term),
            },
            Kind::Pid | Kind::Function | Kind::Other => self.put_external(ANY, term),
        }
    }

    fn visit_external(&mut self, id: Id, term: I::Term, kind: Kind) -> Result<(), Fault> {
        if self.inspect.kind(term) != kind {
            return Err(self.mismatch(id, term));
        }
        self.put_external(id, term)
    }

    fn open(&mut self, frame: Frame<'s, I>) -> Result<(), Fault> {
        if self.frames.len() >= self.depth {
            let expected = format!("at most {} levels of nesting", self.depth);
            return Err(Fault::Mismatch { path: self.path(), expected, got: "more".into() });
        }
        self.frames.push(frame);
        Ok(())
    }

    fn open_list(&mut self, id: Id, element: Id, term: I::Term) -> Result<(), Fault> {
        if self.inspect.is_nil(term) {
            if WRITE {
                self.out.push(format::NIL);
            }
            return Ok(());
        }
        if WRITE {
            self.out.push(format::LIST);
        }
        let count_at = self.out.len();
        if WRITE {
            self.out.extend_from_slice(&[0; 4]);
        }
        self.open(Frame::List { id, element, rest: term, index: 0, count_at, in_tail: false })
    }

    fn open_tuple(
        &mut self,
        fields: Option<&'s [Id]>,
        tuple: I::Tuple,
        constructor: Option<&'s str>,
    ) -> Result<(), Fault> {
        let arity = self.inspect.arity(tuple);
        if WRITE {
            match u8::try_from(arity) {
                Ok(arity) => self.out.extend_from_slice(&[format::SMALL_TUPLE, arity]),
                Err(_) => self.put_header(format::LARGE_TUPLE, arity)?,
            }
            if let Some(name) = constructor {
                self.put_name(name.as_bytes());
            }
        }
        self.open(Frame::Tuple { fields, tuple, constructor, next: 0 })
    }

    fn open_map(&mut self, key: Id, value: Id, term: I::Term, size: usize) -> Result<(), Fault> {
        self.put_header(format::MAP, size)?;
        let Some(pairs) = self.inspect.pairs(term) else { return Err(self.mismatch(ANY, term)) };
        let first_mark = self.marks.len();
        self.open(Frame::Pairs { key, value, pairs, current: None, in_value: false, index: 0, first_mark })
    }

    /// The next term of the innermost open one; closes those that have none left.
    #[inline]
    fn advance(&mut self) -> Result<Option<(Id, I::Term)>, Fault> {
        let inspect = self.inspect;
        loop {
            let Some(frame) = self.frames.last_mut() else { return Ok(None) };
            match frame {
                Frame::List { id, element, rest, index, count_at, in_tail } => {
                    if !*in_tail {
                        if let Some((head, tail)) = inspect.cell(*rest) {
                            *rest = tail;
                            *index += 1;
                            return Ok(Some((*element, head)));
                        }
                        if WRITE {
                            let at = *count_at;
                            let Ok(count) = u32::try_from(*index) else { return Err(too_long()) };
                            self.out[at..at + 4].copy_from_slice(&count.to_be_bytes());
                        }
                        if !inspect.is_nil(*rest) {
                            let (id, tail) = (*id, *rest);
                            if id != ANY {
                                self.frames.pop();
                                let expected = format!("a proper list, {}", self.schema.describe(id));
                                let got = format!("a list that ends in {}", self.show(tail));
                                return Err(Fault::Mismatch { path: self.path(), expected, got });
                            }
                            *in_tail = true;
                            return Ok(Some((ANY, tail)));
                        }
                        if WRITE {
                            self.out.push(format::NIL);
                        }
                    }
                    self.frames.pop();
                }
                Frame::Tuple { fields, tuple, constructor, next } => {
                    let first = usize::from(constructor.is_some());
                    let index = *next;
                    if first + index < inspect.arity(*tuple) {
                        *next += 1;
                        let id = fields.map_or(ANY, |fields| fields[index]);
                        return Ok(Some((id, inspect.element(*tuple, first + index))));
                    }
                    self.frames.pop();
                }
                Frame::Record { record, map, next } => {
                    let (record, map) = (*record, *map);
                    if let Some(field) = record.canonical.get(*next) {
                        *next += 1;
                        let (name, id) = &record.fields[*field as usize];
                        let Some(value) = inspect.map_get(map, record.atoms[*field as usize]) else {
                            return Err(self.missing_field(*id));
                        };
                        self.put_name(name.as_bytes());
                        return Ok(Some((*id, value)));
                    }
                    self.frames.pop();
                }
                Frame::Pairs { key, value, pairs, current, in_value, index, first_mark } => {
                    if let (Some((_, term)), false) = (*current, *in_value) {
                        *in_value = true;
                        return Ok(Some((*value, term)));
                    }
                    if let Some(pair) = inspect.next_pair(pairs) {
                        *current = Some(pair);
                        *in_value = false;
                        *index += 1;
                        if WRITE {
                            self.marks.push(self.out.len());
                        }
                        return Ok(Some((*key, pair.0)));
                    }
                    let first_mark = *first_mark;
                    self.frames.pop();
                    if WRITE {
                        self.sort_pairs(first_mark)?;
                    }
                }
            }
        }
    }

    /// Puts the pairs of a map into the order of their bytes, which is that of their keys: no encoding is the beginning of
    /// another, so two pairs differ within their keys.
    fn sort_pairs(&mut self, first_mark: usize) -> Result<(), Fault> {
        let marks = &self.marks[first_mark..];
        if let Some(begin) = marks.first().copied() {
            let ends = marks.iter().skip(1).copied().chain([self.out.len()]);
            let mut pairs: Vec<&[u8]> = marks.iter().zip(ends).map(|(start, end)| &self.out[*start..end]).collect();
            if !pairs.is_sorted() {
                pairs.sort_unstable();
                let sorted = pairs.concat();
                self.out[begin..].copy_from_slice(&sorted);
            }
            let work = marks.len() + (self.out.len() - begin) / 64;
            self.marks.truncate(first_mark);
            self.spend(work)?;
        }
        Ok(())
    }

    #[inline]
    fn put_small(&mut self, value: i64) {
        if let Ok(byte) = u8::try_from(value) {
            self.out.extend_from_slice(&[format::SMALL_INTEGER, byte]);
        } else if let Ok(word) = i32::try_from(value) {
            self.out.push(format::INTEGER);
            self.out.extend_from_slice(&word.to_be_bytes());
        } else {
            let magnitude = value.unsigned_abs().to_le_bytes();
            let length = magnitude.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            self.out.extend_from_slice(&[format::SMALL_BIG, length as u8, u8::from(value < 0)]);
            self.out.extend_from_slice(&magnitude[..length]);
        }
    }

    fn put_float(&mut self, value: f64) {
        if WRITE {
            self.out.push(format::NEW_FLOAT);
            self.out.extend_from_slice(&value.to_be_bytes());
        }
    }

    fn put_binary(&mut self, bytes: &[u8]) {
        if WRITE {
            self.out.push(format::BINARY);
            // The VM has no binaries of 4 GB or more in a term of this size: `spend` ends the walk first.
            self.out.extend_from_slice(&(bytes.len() as u32).to_be_bytes());
            self.out.extend_from_slice(bytes);
        }
    }

    fn put_header(&mut self, tag: u8, count: usize) -> Result<(), Fault> {
        if WRITE {
            let count = u32::try_from(count).map_err(|_| too_long())?;
            self.out.push(tag);
            self.out.extend_from_slice(&count.to_be_bytes());
        }
        Ok(())
    }

    fn put_name(&mut self, name: &[u8]) {
        if WRITE {
            format::write_atom(self.out, name);
        }
    }

    fn put_atom(&mut self, atom: I::Atom) {
        if WRITE {
            let mut name = Vec::new();
            self.inspect.atom_name(atom, &mut name);
            self.put_name(&name);
        }
    }

    fn put_external(&mut self, id: Id, term: I::Term) -> Result<(), Fault> {
        if WRITE {
            let before = self.out.len();
            if !self.inspect.external(term, self.out) {
                return Err(self.mismatch(id, term));
            }
            let work = (self.out.len() - before) / 64;
            self.spend(work)?;
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn mismatch(&self, id: Id, term: I::Term) -> Fault {
        Fault::Mismatch { path: self.path(), expected: self.schema.describe(id), got: self.show(term) }
    }

    /// The map has as many keys as the record has fields, but not this one.
    #[cold]
    fn missing_field(&self, id: Id) -> Fault {
        Fault::Mismatch { path: self.path(), expected: self.schema.describe(id), got: "no such field".into() }
    }

    /// Where the walk is: the current part of each open term.
    #[cold]
    fn path(&self) -> String {
        let parts = self.frames.iter().map(|frame| match frame {
            Frame::List { index, in_tail: false, .. } => format!("[{}]", index.saturating_sub(1)),
            Frame::List { .. } => "[tail]".to_owned(),
            Frame::Tuple { constructor: None, next, .. } => format!(".{}", next.saturating_sub(1)),
            Frame::Tuple { constructor: Some(name), next, .. } => format!(".{name}({})", next.saturating_sub(1)),
            Frame::Record { record, next, .. } => {
                let field = record.canonical.get(next.saturating_sub(1)).map(|i| &*record.fields[*i as usize].0);
                format!(".{}", field.unwrap_or(""))
            }
            Frame::Pairs { in_value: false, index, .. } => format!(".key {}", index.saturating_sub(1)),
            Frame::Pairs { current: Some((key, _)), .. } => format!("[{}]", self.show(*key)),
            Frame::Pairs { .. } => "[]".to_owned(),
        });
        excerpt::path(parts)
    }

    /// A term as people read it, shortened.
    #[cold]
    fn show(&self, term: I::Term) -> String {
        let inspect = self.inspect;
        match inspect.kind(term) {
            Kind::Atom => {
                let mut name = Vec::new();
                if let Some(atom) = inspect.atom(term) {
                    inspect.atom_name(atom, &mut name);
                }
                format!("the atom {}", excerpt::text(&String::from_utf8_lossy(&name)))
            }
            Kind::Integer => inspect.int(term).map_or_else(|| "a large integer".into(), |value| value.to_string()),
            Kind::Float => inspect.float(term).map_or_else(|| "a float".into(), |value| format!("{value:?}")),
            Kind::Bitstring => match inspect.binary(term) {
                Some(bytes) => quoted(bytes),
                None => "bits that are no whole bytes".into(),
            },
            Kind::List if inspect.is_nil(term) => "[]".into(),
            Kind::List => "a list".into(),
            Kind::Tuple => {
                let arity = inspect.tuple(term).map_or(0, |tuple| inspect.arity(tuple));
                let tag = inspect.tuple(term).filter(|_| arity > 0).map(|tuple| inspect.element(tuple, 0));
                match tag.filter(|tag| inspect.kind(*tag) == Kind::Atom) {
                    Some(tag) => format!("a tuple of {arity} that begins with {}", self.show(tag)),
                    None => format!("a tuple of {arity}"),
                }
            }
            Kind::Map => format!("a map of {}", inspect.map_size(term).unwrap_or(0)),
            Kind::Pid => "a process".into(),
            Kind::Function => "a function".into(),
            Kind::Other => "a port or a reference".into(),
        }
    }
}

#[cold]
fn too_long() -> Fault {
    let expected = "fewer than 4294967296 parts".to_owned();
    Fault::Mismatch { path: "value".to_owned(), expected, got: "more".to_owned() }
}
