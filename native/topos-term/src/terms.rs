//! How the crate reaches terms: two small traits, so that it knows no VM.

use crate::AtomName;

/// The kinds of Erlang terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An atom.
    Atom,
    /// A binary or another string of bits.
    Bitstring,
    /// A float.
    Float,
    /// A function.
    Function,
    /// An integer of any size.
    Integer,
    /// A list, empty or not, proper or not.
    List,
    /// A map.
    Map,
    /// A process identifier.
    Pid,
    /// A port, a reference, or a kind that this library does not know.
    Other,
    /// A tuple.
    Tuple,
}

/// Looks into terms. Functions that take a term apart answer `None` if it is not of that kind.
pub trait Inspect {
    /// A term, cheap to copy.
    type Term: Copy;
    /// An atom: equal if and only if it is the same atom.
    type Atom: Copy + Eq;
    /// The elements of a tuple.
    type Tuple: Copy;
    /// The pairs of a map that have not been seen.
    type Pairs;

    /// The kind of a term.
    fn kind(&self, term: Self::Term) -> Kind;
    /// Whether the term is that atom.
    fn is_atom(&self, term: Self::Term, atom: Self::Atom) -> bool;
    /// The atom that the term is.
    fn atom(&self, term: Self::Term) -> Option<Self::Atom>;
    /// Appends the name of an atom, in UTF-8.
    fn atom_name(&self, atom: Self::Atom, out: &mut Vec<u8>);
    /// An integer that fits.
    fn int(&self, term: Self::Term) -> Option<i64>;
    /// A float.
    fn float(&self, term: Self::Term) -> Option<f64>;
    /// The bytes of a binary; `None` for bits that are no whole bytes.
    fn binary(&self, term: Self::Term) -> Option<&[u8]>;
    /// Head and tail of a list that is not empty.
    fn cell(&self, term: Self::Term) -> Option<(Self::Term, Self::Term)>;
    /// Whether it is the empty list.
    fn is_nil(&self, term: Self::Term) -> bool;
    /// A tuple.
    fn tuple(&self, term: Self::Term) -> Option<Self::Tuple>;
    /// How many elements a tuple has.
    fn arity(&self, tuple: Self::Tuple) -> usize;
    /// An element of a tuple, from 0; the index is below the arity.
    fn element(&self, tuple: Self::Tuple, index: usize) -> Self::Term;
    /// How many pairs a map has.
    fn map_size(&self, term: Self::Term) -> Option<usize>;
    /// The value of an atom in a map.
    fn map_get(&self, term: Self::Term, key: Self::Atom) -> Option<Self::Term>;
    /// The pairs of a map, in any order.
    fn pairs(&self, term: Self::Term) -> Option<Self::Pairs>;
    /// The next pair.
    fn next_pair(&self, pairs: &mut Self::Pairs) -> Option<(Self::Term, Self::Term)>;
    /// Appends the term in external format, without the version byte, as the VM writes it. Used for what the crate does not
    /// write itself: large integers, identifiers, functions, bits. `false` if the VM cannot.
    fn external(&self, term: Self::Term, out: &mut Vec<u8>) -> bool;
}

/// Makes terms.
pub trait Build {
    /// A term, cheap to copy.
    type Term: Copy + PartialEq;
    /// An atom, as in the [`Schema`](crate::Schema).
    type Atom: Copy;

    /// A value that no term has: marks what is not made yet.
    const HOLE: Self::Term;

    /// An atom as a term.
    fn atom(&mut self, atom: Self::Atom) -> Self::Term;
    /// The atom of that name, if the VM knows it.
    fn existing_atom(&mut self, name: AtomName) -> Option<Self::Term>;
    /// The atom of that name, made if need be; `None` if it is no name of an atom.
    fn new_atom(&mut self, name: AtomName) -> Option<Self::Term>;
    /// An integer.
    fn int(&mut self, value: i64) -> Self::Term;
    /// A float; finite.
    fn float(&mut self, value: f64) -> Self::Term;
    /// A binary.
    fn binary(&mut self, bytes: &[u8]) -> Self::Term;
    /// A proper list.
    fn list(&mut self, elements: &[Self::Term]) -> Self::Term;
    /// A tuple.
    fn tuple(&mut self, elements: &[Self::Term]) -> Self::Term;
    /// A map; `None` if a key comes twice.
    fn map(&mut self, keys: &[Self::Term], values: &[Self::Term]) -> Option<Self::Term>;
    /// A map with distinct atoms as keys.
    fn record(&mut self, keys: &[Self::Atom], values: &[Self::Term]) -> Option<Self::Term>;
    /// One term of the external format, without the version byte, as the VM reads it; `None` if it cannot, or if that would
    /// make an atom.
    fn external(&mut self, bytes: &[u8]) -> Option<Self::Term>;
    /// As [`external`](Self::external), for a list or a map of integers, floats and texts alone, whose bytes have been looked
    /// over; that its floats are finite and its keys distinct has not been. `None` leaves it to the other functions.
    fn flat(&mut self, _bytes: &[u8]) -> Option<Self::Term> {
        None
    }
}
