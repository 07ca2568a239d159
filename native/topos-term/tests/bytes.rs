//! Single messages: hostile ones, those of older VMs, and what errors say.

mod model;

use model::{atom, intern, leak, text, At, Interned, Term, Value, Vm};
use topos_term::{check, decode, encode, scan_atoms, Descriptor, Fault, Limits, Schema, SchemaError};
use Descriptor::{Any, Atom, Bool, Float, Int, List, Map, Record, Recursive, Reference, Text, Tuple, Unit, Variant};

const LIMITS: Limits = Limits { depth: 100, new_atoms: 0, work: 100_000 };

fn schema(descriptor: &Descriptor) -> Schema<Interned> {
    Schema::new(descriptor, intern).expect("a valid descriptor")
}

fn read(descriptor: &Descriptor, bytes: &[u8]) -> Result<Term, Fault> {
    decode(&schema(descriptor), &mut Vm::default(), bytes, LIMITS).map(|(term, _)| term)
}

fn list(of: Descriptor) -> Descriptor {
    List(Box::new(of))
}

fn person() -> Descriptor {
    Record(vec![("name".into(), Text), ("age".into(), Int), ("tags".into(), list(Atom))])
}

fn tree() -> Descriptor {
    let node = vec![Reference("tree".into()), Int, Reference("tree".into())];
    Recursive("tree".into(), Box::new(Variant(vec![("leaf".into(), vec![]), ("node".into(), node)])))
}

#[test]
fn hostile_bytes_are_errors() {
    let deep: Vec<u8> = [131].into_iter().chain([104, 1].repeat(100_000)).chain([106]).collect();
    let messages: &[&[u8]] = &[
        &[],
        &[131],
        &[130, 97, 1],
        &[131, 108, 255, 255, 255, 255],
        &[131, 105, 255, 255, 255, 255],
        &[131, 116, 255, 255, 255, 255],
        &[131, 116, 255, 255, 255, 255, 97, 1, 97, 2],
        &[131, 109, 255, 255, 255, 255],
        &[131, 107, 255, 255, 1],
        &[131, 111, 255, 255, 255, 255, 0, 1],
        &[131, 119, 255, 97],
        &[131, 118, 255, 255, 97],
        &[131, 104, 255],
        &[131, 80, 0, 0, 0, 1, 120, 156, 75, 100, 4, 0, 0, 98, 0, 98],
        &[131, 70, 127, 248, 0, 0, 0, 0, 0, 0],
        &[131, 82, 0],
        &[131, 77, 255, 255, 255, 255, 9],
        &[131, 112, 255, 255, 255, 255],
        &[131, 90, 255, 255, 119, 1, 97],
        &deep,
    ];
    for bytes in messages {
        for descriptor in
            [Any, Int, Float, Text, Bool, Unit, Atom, list(Any), list(Int), Tuple(vec![Any]), person(), tree()]
        {
            assert!(read(&descriptor, bytes).is_err(), "{descriptor:?} {:?}", &bytes[..bytes.len().min(20)]);
        }
    }
    for bytes in &messages[..messages.len() - 1] {
        assert!(scan_atoms(bytes, 10, 1_000, |_| true).is_err(), "{bytes:?}");
    }
}

#[test]
fn nesting_is_limited_where_a_type_recurs() {
    let nested = |levels: usize| {
        let node: Vec<u8> = [104, 4, 119, 4].into_iter().chain(*b"node").collect();
        let leaf: Vec<u8> = [119, 4].into_iter().chain(*b"leaf").collect();
        let rest: Vec<u8> = [97, 0].into_iter().chain(leaf.iter().copied()).collect();
        [vec![131], node.repeat(levels), leaf, rest.repeat(levels)].concat()
    };
    assert!(read(&tree(), &nested(100)).is_ok());
    assert!(matches!(read(&tree(), &nested(101)), Err(Fault::Malformed { why: "nesting beyond the limit", .. })));
    assert!(matches!(read(&tree(), &nested(50_000)), Err(Fault::Malformed { .. })));
    let mut value = atom("leaf");
    for _ in 0..101 {
        value = Value::Tuple(vec![atom("node"), value, Value::Int(0), atom("leaf")]);
    }
    let checked = check(&schema(&tree()), &Vm::default(), At(leak(value), 0), 100, 100_000);
    let Err(Fault::Mismatch { path, expected, .. }) = checked else { panic!("{checked:?}") };
    assert_eq!(expected, "at most 100 levels of nesting");
    assert_eq!(path, [".node(0)".repeat(8), "...".into(), ".node(0)".repeat(8)].concat(), "a long path is shortened");
}

#[test]
fn errors_name_the_place_what_was_expected_and_what_came() {
    let users = Record(vec![("users".into(), list(person()))]);
    let user = |age: Value| {
        let fields = vec![(atom("name"), text("Ada")), (atom("age"), age), (atom("tags"), Value::List(vec![]))];
        Value::Map(fields)
    };
    let value = |bad: Value| Value::Map(vec![(atom("users"), Value::List(vec![user(Value::Int(1)), user(bad)]))]);
    let table = [
        (users.clone(), value(text("old")), "at .users[1].age: expected Int, got the text \"old\""),
        (users, value(atom("old")), "at .users[1].age: expected Int, got the atom old"),
        (Int, text(&"x".repeat(100)), &*format!("at value: expected Int, got the text \"{}..\"", "x".repeat(40))),
        (Text, Value::Binary(vec![255]), "at value: expected Text, got a binary of 1 bytes that is no UTF-8"),
        (Tuple(vec![Int, Int]), Value::Tuple(vec![Value::Int(1)]), "at value: expected (Int, Int), got a tuple of 1"),
        (Tuple(vec![Int, Unit]), Value::Tuple(vec![Value::Int(1), atom("no")]), "at .1: expected (), got the atom no"),
        (
            Map(Box::new(Text), Box::new(Int)),
            Value::Map(vec![(Value::Int(7), Value::Int(7))]),
            "at .key 0: expected Text, got 7",
        ),
        (
            tree(),
            Value::Tuple(vec![atom("node"), atom("leaf"), Value::Float(1.5), atom("leaf")]),
            "at .node(1): expected Int, got 1.5",
        ),
        (tree(), Value::Tuple(vec![atom("root")]), "at value: expected leaf | node(.., Int, ..), got a tuple of 1"),
    ];
    for (descriptor, value, message) in table {
        let schema = schema(&descriptor);
        let fault = check(&schema, &Vm::default(), At(leak(value.clone()), 0), 100, 10_000).expect_err(message);
        assert!(fault.to_string().starts_with(message), "{fault}\n{message}");
        // The bytes of the same value get the same answer.
        let mut bytes = Vec::new();
        encode(&self::schema(&Any), &Vm::default(), At(leak(value), 0), &mut bytes, 100, 10_000).expect("any value");
        let fault = read(&descriptor, &bytes).expect_err(message);
        assert!(fault.to_string().starts_with(message), "{fault}\n{message}");
    }
}

#[test]
fn records_have_exactly_their_fields() {
    let point = Record(vec![("x".into(), Int), ("y".into(), Int)]);
    let field = |name: u8| [119, 1, name, 97, 1];
    let message = |fields: &[u8]| {
        let head = [131, 116, 0, 0, 0, fields.len() as u8];
        head.into_iter().chain(fields.iter().flat_map(|name| field(*name))).collect::<Vec<u8>>()
    };
    assert!(read(&point, &message(b"xy")).is_ok());
    assert!(read(&point, &message(b"yx")).is_ok(), "in any order");
    for wrong in [&b"x"[..], b"xyz", b"xz", b"xx", b""] {
        assert!(read(&point, &message(wrong)).is_err(), "{wrong:?}");
    }
}

#[test]
fn atoms_are_made_within_the_budget_alone() {
    let message = |names: &[&str]| {
        let mut bytes = vec![131, 108, 0, 0, 0, names.len() as u8];
        for name in names {
            bytes.extend_from_slice(&[119, name.len() as u8]);
            bytes.extend_from_slice(name.as_bytes());
        }
        bytes.push(106);
        bytes
    };
    for descriptor in [list(Atom), list(Any), Any] {
        let schema = schema(&descriptor);
        let mut vm = Vm { atoms: ["known".to_owned()].into(), ..Vm::default() };
        let bytes = message(&["known", "new", "new", "newer"]);
        let refused = decode(&schema, &mut vm, &bytes, Limits { new_atoms: 1, ..LIMITS });
        assert_eq!(refused.map(|_| ()), Err(Fault::TooManyAtoms { limit: 1 }), "{descriptor:?}");
        assert!(vm.atoms.len() <= 2, "{:?}", vm.atoms);
        assert!(decode(&schema, &mut vm, &bytes, Limits { new_atoms: 2, ..LIMITS }).is_ok(), "{descriptor:?}");
    }
    let bytes = message(&["known", "new", "new", "newer"]);
    let known = |name: topos_term::AtomName| name.is("known");
    let (names, _) = scan_atoms(&bytes, 2, 1_000, known).expect("two of them");
    assert_eq!(names.into_iter().map(|name| name.to_text()).collect::<Vec<_>>(), ["new", "newer"]);
    assert_eq!(scan_atoms(&bytes, 1, 1_000, known), Err(Fault::TooManyAtoms { limit: 1 }));
    // 256 characters are no atom, and neither is what is not UTF-8.
    assert!(scan_atoms(&[131, 119, 1, 255], 9, 99, |_| false).is_err());
    let long: Vec<u8> = [131, 118, 1, 0].into_iter().chain([b'a'; 256]).collect();
    assert!(scan_atoms(&long, 9, 99, |_| false).is_err());
}

#[test]
fn what_older_virtual_machines_write_is_read() {
    let latin1 = [131, 100, 0, 2, b'o', b'k'];
    assert_eq!(read(&Unit, &latin1), Ok(leak(atom("ok"))));
    let accent = Variant(vec![("é".into(), vec![])]);
    assert_eq!(read(&accent, &[131, 100, 0, 1, 0xE9]), Ok(leak(atom("é"))));
    assert_eq!(read(&accent, &[131, 119, 2, 0xC3, 0xA9]), Ok(leak(atom("é"))));
    let string = [131, 107, 0, 2, 1, 255];
    let values = Value::List(vec![Value::Int(1), Value::Int(255)]);
    assert_eq!(read(&list(Int), &string), Ok(leak(values)));
    let fault = read(&list(Text), &string).expect_err("no texts");
    assert_eq!(fault.to_string(), "at [0]: expected Text, got 1");
    // An integer with zeros in front is the integer; the smallest of 64 bits fits, its opposite is the VM's.
    assert_eq!(read(&Int, &[131, 110, 3, 1, 5, 0, 0]), Ok(leak(Value::Int(-5))));
    assert_eq!(read(&Int, &[131, 110, 8, 1, 0, 0, 0, 0, 0, 0, 0, 128]), Ok(leak(Value::Int(i64::MIN))));
    let positive = [110, 8, 0, 0, 0, 0, 0, 0, 0, 0, 128];
    assert_eq!(read(&Int, &[&[131], &positive[..]].concat()), Ok(leak(Value::External(positive.to_vec()))));
}

#[test]
fn work_is_counted_and_limited() {
    let value = Value::List(vec![Value::Int(1); 1_000]);
    let schema = schema(&list(Int));
    let vm = Vm::default();
    let term = At(leak(value), 0);
    assert_eq!(check(&schema, &vm, term, 10, 1_001), Ok(1_001));
    assert_eq!(check(&schema, &vm, term, 10, 1_000), Err(Fault::TooMuchWork { limit: 1_000 }));
    let mut bytes = Vec::new();
    assert_eq!(encode(&schema, &vm, term, &mut bytes, 10, 1_001), Ok(1_001));
    let limits = |work| Limits { work, ..LIMITS };
    assert_eq!(decode(&schema, &mut Vm::default(), &bytes, limits(1_001)).map(|(_, work)| work), Ok(1_001));
    for descriptor in [list(Int), Any] {
        let refused = decode(&self::schema(&descriptor), &mut Vm::default(), &bytes, limits(1_000)).map(|_| ());
        assert_eq!(refused, Err(Fault::TooMuchWork { limit: 1_000 }));
    }
    assert_eq!(scan_atoms(&bytes, 9, 1_000, |_| true), Err(Fault::TooMuchWork { limit: 1_000 }));
}

#[test]
fn descriptors_that_are_none_are_refused() {
    let recursive = |inner| Recursive("t".into(), Box::new(inner));
    let deep = (0..200).fold(Int, |inner, _| list(inner));
    let long = Variant(vec![("a".repeat(256), vec![])]);
    let limited = |name: &str| (name.len() <= 255).then_some(()).and(intern(name));
    for (descriptor, expected) in [
        (Reference("t".into()), SchemaError::UnknownReference("t".into())),
        (recursive(Reference("t".into())), SchemaError::Unfounded("t".into())),
        (recursive(Recursive("u".into(), Box::new(Reference("t".into())))), SchemaError::Unfounded("t".into())),
        (Tuple(vec![recursive(Int), Reference("t".into())]), SchemaError::UnknownReference("t".into())),
        (Record(vec![("a".into(), Int), ("a".into(), Text)]), SchemaError::DuplicateField("a".into())),
        (
            Variant(vec![("a".into(), vec![Int]), ("a".into(), vec![Text])]),
            SchemaError::DuplicateConstructor("a".into()),
        ),
        (deep, SchemaError::TooDeep),
        (Tuple(vec![Int; 20_000]), SchemaError::TooLarge),
        (long, SchemaError::InvalidAtom("a".repeat(256))),
    ] {
        assert_eq!(Schema::new(&descriptor, limited).map(|_| ()), Err(expected));
    }
    // Inner names hide outer ones; both levels recur.
    let inner = Recursive("t".into(), Box::new(list(Reference("t".into()))));
    assert!(Schema::new(&recursive(Tuple(vec![inner, list(Reference("t".into()))])), intern).is_ok());
}

#[test]
fn the_vm_reads_plain_values_by_itself() {
    let ints: Vec<u8> = [131, 108, 0, 0, 0, 9].into_iter().chain([97, 7].repeat(9)).chain([106]).collect();
    let counted = |descriptor: &Descriptor, bytes: &[u8]| {
        let mut vm = Vm { reads: true, ..Vm::default() };
        let decoded = decode(&schema(descriptor), &mut vm, bytes, LIMITS);
        (decoded.is_ok(), vm.read)
    };
    assert_eq!(counted(&list(Int), &ints), (true, 1));
    assert_eq!(counted(&list(Any), &ints), (true, 0));
    // Too few to be worth it.
    let few: Vec<u8> = [131, 108, 0, 0, 0, 7].into_iter().chain([97, 7].repeat(7)).chain([106]).collect();
    assert_eq!(counted(&list(Int), &few), (true, 0));
    // Once for the outermost; and not again for the parts of what could not be read whole.
    let nested = |last: &[u8]| -> Vec<u8> {
        let mut bytes = vec![131, 108, 0, 0, 0, 9];
        (0..8).for_each(|_| bytes.extend_from_slice(&ints[1..]));
        bytes.extend_from_slice(last);
        bytes.push(106);
        bytes
    };
    assert_eq!(counted(&list(list(Int)), &nested(&ints[1..])), (true, 1));
    assert_eq!(counted(&list(list(Int)), &nested(&[109, 0, 0, 0, 0])), (false, 0));
    // A type that holds atoms, or itself, is none of these.
    let trees = Recursive("t".into(), Box::new(list(Reference("t".into()))));
    let empty: Vec<u8> = [131, 108, 0, 0, 0, 9].into_iter().chain([106].repeat(10)).collect();
    assert_eq!(counted(&trees, &empty), (true, 0));
    assert_eq!(counted(&list(list(Atom)), &empty), (true, 0));
    assert_eq!(counted(&list(list(Int)), &empty), (true, 1));
}
