//! A VM whose terms are numbers, so that nothing has to be freed: a term is a hash of its parts.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use topos_term::{AtomName, Build};

/// The VM, and how many atoms it had to make.
#[derive(Default)]
pub(crate) struct Hashed {
    known: HashSet<u64>,
    pub(crate) made: usize,
}

fn hash(kind: u8, value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    (kind, value).hash(&mut hasher);
    hasher.finish()
}

impl Hashed {
    pub(crate) fn intern(&mut self, name: &str) -> u64 {
        let atom = hash(0, name);
        self.known.insert(atom);
        atom
    }
}

impl Build for Hashed {
    type Term = u64;
    type Atom = u64;
    const HOLE: u64 = 0;

    fn atom(&mut self, atom: u64) -> u64 {
        assert!(self.known.contains(&atom), "an atom of another VM");
        atom
    }
    fn existing_atom(&mut self, name: AtomName) -> Option<u64> {
        let atom = hash(0, name.to_text().as_str());
        self.known.contains(&atom).then_some(atom)
    }
    fn new_atom(&mut self, name: AtomName) -> Option<u64> {
        self.made += 1;
        name.is_valid().then(|| self.intern(&name.to_text()))
    }
    fn int(&mut self, value: i64) -> u64 {
        hash(1, value)
    }
    fn float(&mut self, value: f64) -> u64 {
        assert!(value.is_finite(), "the VM takes finite floats alone");
        hash(2, value.to_bits())
    }
    fn binary(&mut self, bytes: &[u8]) -> u64 {
        hash(3, bytes)
    }
    fn list(&mut self, elements: &[u64]) -> u64 {
        hash(4, elements)
    }
    fn tuple(&mut self, elements: &[u64]) -> u64 {
        hash(5, elements)
    }
    fn map(&mut self, keys: &[u64], values: &[u64]) -> Option<u64> {
        assert_eq!(keys.len(), values.len());
        let distinct: HashSet<u64> = keys.iter().copied().collect();
        (distinct.len() == keys.len()).then(|| hash(6, (keys, values)))
    }
    fn record(&mut self, keys: &[u64], values: &[u64]) -> Option<u64> {
        assert!(!values.contains(&Self::HOLE), "every field has been read");
        self.map(keys, values)
    }
    fn external(&mut self, bytes: &[u8]) -> Option<u64> {
        Some(hash(7, bytes))
    }
}
