//! Topos type descriptors and checked conversion of Erlang terms.
//!
//! Values enter a Topos program from three sides: from Erlang (what an `extern` returns), from a peer (bytes), and from
//! storage (bytes). A [`Descriptor`] says what they must look like; compiled into a [`Schema`] it
//! - checks a term of the VM ([`check`]),
//! - writes a term as canonical bytes ([`encode`]),
//! - builds a term from bytes and refuses all others ([`decode()`]).
//!
//! The crate knows no VM: terms are reached through [`Inspect`] and made through [`Build`], which the NIF library implements
//! for the BEAM and the tests implement for a tree.
//!
//! # Bytes
//! Values travel in Erlang's external term format, so that `binary_to_term/1` reads what [`encode`] writes, and [`decode()`]
//! reads what `term_to_binary/1` writes. [`encode`] writes one form of each value, a subset of the format: atoms as
//! `SMALL_ATOM_UTF8_EXT` or `ATOM_UTF8_EXT`; integers as the shortest of `SMALL_INTEGER_EXT`, `INTEGER_EXT`, `SMALL_BIG_EXT`
//! and `LARGE_BIG_EXT`; floats as `NEW_FLOAT_EXT`; lists always as `LIST_EXT` (never `STRING_EXT`) or `NIL_EXT`; tuples as
//! `SMALL_TUPLE_EXT` where the arity fits; maps with their pairs in the order of the keys' bytes. Equal values have equal
//! bytes, with the exceptions that Erlang makes: `0.0` and `-0.0`, and what is inside functions.
//!
//! # Bytes of strangers
//! What decodes is bounded by the size of the input, never by a number in it: nothing is reserved before its bytes have
//! been seen, nesting is kept on the heap and limited ([`Limits::depth`]), compressed terms are refused, and atoms that the
//! VM does not know are made only within a budget ([`Limits::new_atoms`]).

mod decode;
mod descriptor;
mod fault;
mod flat;
mod format;
mod scan;
mod schema;
mod terms;
mod walk;

pub use decode::{decode, Limits};
pub use descriptor::Descriptor;
pub use fault::Fault;
pub use format::AtomName;
pub use scan::scan_atoms;
pub use schema::{Schema, SchemaError, MAX_NESTING, MAX_NODES};
pub use terms::{Build, Inspect, Kind};
pub use walk::{check, encode};
