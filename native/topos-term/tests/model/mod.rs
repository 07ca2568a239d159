//! A VM for the tests: terms are trees, atoms are texts, and the known ones are a set.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::cell::RefCell;
use std::collections::BTreeSet;
use topos_term::{AtomName, Build, Inspect, Kind};

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Atom(String),
    Int(i64),
    /// External format of what only the VM reads: integers of more than 64 bits, identifiers, functions, whole terms.
    External(Vec<u8>),
    Float(f64),
    Binary(Vec<u8>),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Map(Vec<(Value, Value)>),
    Hole,
}

pub fn atom(name: &str) -> Value {
    Value::Atom(name.to_owned())
}

pub fn text(text: &str) -> Value {
    Value::Binary(text.as_bytes().to_vec())
}

/// Terms are leaked, so that they are cheap to copy.
pub type Term = &'static Value;

pub fn leak(value: Value) -> Term {
    Box::leak(Box::new(value))
}

static HOLE: Value = Value::Hole;
static EMPTY: Value = Value::List(Vec::new());

/// A term, or the rest of a list from an element on.
#[derive(Clone, Copy, Debug)]
pub struct At(pub Term, pub usize);

#[derive(Clone, Copy, Debug)]
pub struct Interned(pub &'static str);

impl PartialEq for Interned {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl Eq for Interned {}

pub fn intern(name: &str) -> Option<Interned> {
    Some(Interned(Box::leak(name.to_owned().into_boxed_str())))
}

#[derive(Default)]
pub struct Vm {
    pub atoms: BTreeSet<String>,
    /// Terms made so far: no more than the bytes read allow.
    pub made: RefCell<usize>,
    /// Whether it reads plain values by itself, and how often it did.
    pub reads: bool,
    pub read: usize,
}

impl Inspect for Vm {
    type Term = At;
    type Atom = Interned;
    type Tuple = &'static [Value];
    type Pairs = std::slice::Iter<'static, (Value, Value)>;

    fn kind(&self, At(term, _): At) -> Kind {
        match term {
            Value::Atom(_) => Kind::Atom,
            Value::Int(_) => Kind::Integer,
            Value::External(bytes) if bytes[0] == 110 || bytes[0] == 111 => Kind::Integer,
            Value::External(bytes) if bytes[0] == 88 => Kind::Pid,
            Value::External(_) | Value::Hole => Kind::Other,
            Value::Float(_) => Kind::Float,
            Value::Binary(_) => Kind::Bitstring,
            Value::List(_) => Kind::List,
            Value::Tuple(_) => Kind::Tuple,
            Value::Map(_) => Kind::Map,
        }
    }
    fn is_atom(&self, At(term, _): At, atom: Interned) -> bool {
        matches!(term, Value::Atom(name) if name == atom.0)
    }
    fn atom(&self, At(term, _): At) -> Option<Interned> {
        if let Value::Atom(name) = term {
            Some(Interned(name))
        } else {
            None
        }
    }
    fn atom_name(&self, atom: Interned, out: &mut Vec<u8>) {
        out.extend_from_slice(atom.0.as_bytes());
    }
    fn int(&self, At(term, _): At) -> Option<i64> {
        if let Value::Int(value) = term {
            Some(*value)
        } else {
            None
        }
    }
    fn float(&self, At(term, _): At) -> Option<f64> {
        if let Value::Float(value) = term {
            Some(*value)
        } else {
            None
        }
    }
    fn binary(&self, At(term, _): At) -> Option<&[u8]> {
        if let Value::Binary(bytes) = term {
            Some(bytes)
        } else {
            None
        }
    }
    fn cell(&self, At(term, from): At) -> Option<(At, At)> {
        let Value::List(elements) = term else { return None };
        elements.get(from).map(|head| (At(head, 0), At(term, from + 1)))
    }
    fn is_nil(&self, At(term, from): At) -> bool {
        matches!(term, Value::List(elements) if from >= elements.len())
    }
    fn tuple(&self, At(term, _): At) -> Option<&'static [Value]> {
        if let Value::Tuple(elements) = term {
            Some(elements)
        } else {
            None
        }
    }
    fn arity(&self, tuple: &'static [Value]) -> usize {
        tuple.len()
    }
    fn element(&self, tuple: &'static [Value], index: usize) -> At {
        At(&tuple[index], 0)
    }
    fn map_size(&self, At(term, _): At) -> Option<usize> {
        if let Value::Map(pairs) = term {
            Some(pairs.len())
        } else {
            None
        }
    }
    fn map_get(&self, At(term, _): At, key: Interned) -> Option<At> {
        let Value::Map(pairs) = term else { return None };
        pairs.iter().find(|(known, _)| matches!(known, Value::Atom(name) if name == key.0)).map(|(_, v)| At(v, 0))
    }
    fn pairs(&self, At(term, _): At) -> Option<Self::Pairs> {
        if let Value::Map(pairs) = term {
            Some(pairs.iter())
        } else {
            None
        }
    }
    fn next_pair(&self, pairs: &mut Self::Pairs) -> Option<(At, At)> {
        pairs.next().map(|(key, value)| (At(key, 0), At(value, 0)))
    }
    fn external(&self, At(term, _): At, out: &mut Vec<u8>) -> bool {
        if let Value::External(bytes) = term {
            out.extend_from_slice(bytes);
            true
        } else {
            false
        }
    }
}

impl Vm {
    fn make(&self, value: Value) -> Term {
        *self.made.borrow_mut() += 1;
        leak(value)
    }

    fn values(&self, terms: &[Term]) -> Vec<Value> {
        *self.made.borrow_mut() += terms.len();
        terms.iter().map(|term| (*term).clone()).collect()
    }
}

impl Build for Vm {
    type Term = Term;
    type Atom = Interned;
    const HOLE: Term = &HOLE;

    fn atom(&mut self, atom: Interned) -> Term {
        self.make(Value::Atom(atom.0.to_owned()))
    }
    fn existing_atom(&mut self, name: AtomName) -> Option<Term> {
        let name = name.to_text();
        self.atoms.contains(&name).then(|| self.make(Value::Atom(name)))
    }
    fn new_atom(&mut self, name: AtomName) -> Option<Term> {
        self.atoms.insert(name.to_text());
        Some(self.make(Value::Atom(name.to_text())))
    }
    fn int(&mut self, value: i64) -> Term {
        self.make(Value::Int(value))
    }
    fn float(&mut self, value: f64) -> Term {
        assert!(value.is_finite(), "the VM takes finite floats alone");
        self.make(Value::Float(value))
    }
    fn binary(&mut self, bytes: &[u8]) -> Term {
        self.make(Value::Binary(bytes.to_vec()))
    }
    fn list(&mut self, elements: &[Term]) -> Term {
        if elements.is_empty() {
            return &EMPTY;
        }
        self.make(Value::List(self.values(elements)))
    }
    fn tuple(&mut self, elements: &[Term]) -> Term {
        self.make(Value::Tuple(self.values(elements)))
    }
    fn map(&mut self, keys: &[Term], values: &[Term]) -> Option<Term> {
        let keys = self.values(keys);
        let values = self.values(values);
        if keys.iter().enumerate().any(|(i, key)| keys[..i].contains(key)) {
            return None;
        }
        Some(self.make(Value::Map(keys.into_iter().zip(values).collect())))
    }
    fn record(&mut self, keys: &[Interned], values: &[Term]) -> Option<Term> {
        assert!(values.iter().all(|value| **value != Value::Hole), "every field has been read");
        let keys: Vec<Term> = keys.iter().map(|key| leak(Value::Atom(key.0.to_owned()))).collect();
        self.map(&keys, values)
    }
    fn external(&mut self, bytes: &[u8]) -> Option<Term> {
        // Like the VM: no atom that is not known.
        let mut whole = vec![131];
        whole.extend_from_slice(bytes);
        let (new, _) =
            topos_term::scan_atoms(&whole, usize::MAX, u64::MAX, |name| self.atoms.contains(&name.to_text())).ok()?;
        new.is_empty().then(|| self.make(Value::External(bytes.to_vec())))
    }
    fn flat(&mut self, bytes: &[u8]) -> Option<Term> {
        if !self.reads {
            return None;
        }
        self.read += 1;
        let mut rest = bytes;
        let value = plain(&mut rest)?;
        assert!(rest.is_empty(), "the extent is that of the value");
        Some(self.make(value))
    }
}

/// Reads a value that was looked over before: whatever is wrong but for floats and keys is a fault of who looked.
fn plain(bytes: &mut &[u8]) -> Option<Value> {
    fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
        let taken = *bytes.first_chunk::<N>().expect("the bytes do not end early");
        *bytes = &bytes[N..];
        taken
    }
    fn split(bytes: &mut &[u8], length: usize) -> Vec<u8> {
        let (taken, rest) = bytes.split_at(length);
        *bytes = rest;
        taken.to_vec()
    }
    let length = |bytes: &mut &[u8]| u32::from_be_bytes(take(bytes)) as usize;
    let [tag] = take(bytes);
    Some(match tag {
        97 => Value::Int(i64::from(take::<1>(bytes)[0])),
        98 => Value::Int(i64::from(i32::from_be_bytes(take(bytes)))),
        110 => {
            let [length, sign] = take(bytes);
            let digits = split(bytes, usize::from(length));
            let magnitude = digits.iter().rev().fold(0i128, |acc, digit| (acc << 8) | i128::from(*digit));
            let value = if sign == 0 { magnitude } else { -magnitude };
            match i64::try_from(value) {
                Ok(value) => Value::Int(value),
                Err(_) => Value::External([110, length, sign].into_iter().chain(digits).collect()),
            }
        }
        70 => Value::Float(Some(f64::from_be_bytes(take(bytes))).filter(|value| value.is_finite())?),
        109 => {
            let length = length(bytes);
            let text = split(bytes, length);
            assert!(std::str::from_utf8(&text).is_ok(), "a text is UTF-8");
            Value::Binary(text)
        }
        106 => Value::List(Vec::new()),
        107 => {
            let length = u16::from_be_bytes(take(bytes));
            let ints = split(bytes, usize::from(length));
            Value::List(ints.into_iter().map(|byte| Value::Int(i64::from(byte))).collect())
        }
        108 => {
            let length = length(bytes);
            let elements = (0..length).map(|_| plain(bytes)).collect::<Option<_>>()?;
            assert_eq!(take(bytes), [106], "a list is proper");
            Value::List(elements)
        }
        104 => {
            let [arity] = take(bytes);
            Value::Tuple((0..arity).map(|_| plain(bytes)).collect::<Option<_>>()?)
        }
        116 => {
            let length = length(bytes);
            let pairs: Vec<(Value, Value)> =
                (0..length).map(|_| Some((plain(bytes)?, plain(bytes)?))).collect::<Option<_>>()?;
            if pairs.iter().enumerate().any(|(i, (key, _))| pairs[..i].iter().any(|(other, _)| other == key)) {
                return None;
            }
            Value::Map(pairs)
        }
        other => unreachable!("the tag {other} is none of a plain value"),
    })
}
