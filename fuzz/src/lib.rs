//! What must hold for every input. A target is one line around one of these; a finding panics, and libFuzzer keeps
//! the input.

mod hashed;
mod language;

use topos_overlay::Message;
use topos_term::{decode, scan_atoms, Descriptor, Limits, Schema};

use hashed::Hashed;
pub use language::{checked, lexed, parsed};

/// What a message may cost in these runs.
const LIMITS: Limits = Limits { depth: 64, new_atoms: 8, work: 100_000 };

/// Bytes of a stranger as a term: the first byte chooses the type that they should have. Decoding answers, spends no
/// more than it may, and makes no more atoms than it may.
pub fn term(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let types = descriptors();
    let mut vm = Hashed::default();
    let schema = Schema::new(&types[usize::from(*choice) % types.len()], |name| Some(vm.intern(name)))
        .expect("the descriptors are sound");
    if let Ok((_, work)) = decode(&schema, &mut vm, bytes, LIMITS) {
        assert!(work <= LIMITS.work, "{work} units of work were done");
    }
    assert!(vm.made <= LIMITS.new_atoms, "{} atoms were made", vm.made);
    if let Ok((atoms, _)) = scan_atoms(bytes, LIMITS.new_atoms, LIMITS.work, |name| name.is("ok")) {
        assert!(atoms.len() <= LIMITS.new_atoms && atoms.iter().all(|name| name.is_valid() && !name.is("ok")));
    }
}

/// Types with every kind of node.
fn descriptors() -> Vec<Descriptor> {
    use Descriptor::{Any, Atom, Bool, Float, Function, Int, List, Map, Pid, Record, Recursive, Reference, Text, Tuple, Unit, Variant};
    let maybe = |of: Descriptor| Variant(vec![("none".into(), vec![]), ("some".into(), vec![of])]);
    vec![
        Any,
        List(Box::new(Any)),
        List(Box::new(Int)),
        Map(Box::new(Text), Box::new(List(Box::new(Float)))),
        Tuple(vec![Bool, Unit, Atom, Pid, Function]),
        Record(vec![("name".into(), Text), ("age".into(), Int), ("tags".into(), List(Box::new(maybe(Text))))]),
        Recursive(
            "Tree".into(),
            Box::new(Variant(vec![
                ("leaf".into(), vec![]),
                ("node".into(), vec![Reference("Tree".into()), Any, Reference("Tree".into())]),
            ])),
        ),
    ]
}

/// Bytes of a stranger as a message between overlays: what is read is written the same way again.
pub fn overlay(bytes: &[u8]) {
    if let Ok(message) = Message::decode(bytes) {
        assert_eq!(message.encode(), bytes, "{message:?} has another form");
    }
}
