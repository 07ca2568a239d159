//! Laws of typed terms: what is written is read again, and no bytes do harm.

mod model;

use model::{atom, intern, leak, text, At, Interned, Term, Value, Vm};
use proptest::prelude::*;
use topos_term::{check, decode, encode, scan_atoms, Descriptor, Fault, Limits, Schema};

const LIMITS: Limits = Limits { depth: 1_000, new_atoms: 0, work: 1_000_000 };

fn schema(descriptor: &Descriptor) -> Schema<Interned> {
    Schema::new(descriptor, intern).expect("a valid descriptor")
}

fn bytes_of(schema: &Schema<Interned>, value: &Value) -> Result<Vec<u8>, Fault> {
    let mut out = Vec::new();
    encode(schema, &Vm::default(), At(leak(value.clone()), 0), &mut out, 1_000, 1_000_000).map(|_| out)
}

fn value_of(schema: &Schema<Interned>, bytes: &[u8]) -> Result<Term, Fault> {
    decode(schema, &mut Vm::default(), bytes, LIMITS).map(|(term, _)| term)
}

/// A descriptor and a value of it.
fn typed() -> impl Strategy<Value = (Descriptor, Value)> {
    let leaf = prop_oneof![
        any::<i64>().prop_map(|n| (Descriptor::Int, Value::Int(n))),
        (0..300i64).prop_map(|n| (Descriptor::Int, Value::Int(n))),
        any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(|f| (Descriptor::Float, Value::Float(f))),
        ".{0,12}".prop_map(|s| (Descriptor::Text, text(&s))),
        any::<bool>().prop_map(|b| (Descriptor::Bool, atom(if b { "true" } else { "false" }))),
        Just((Descriptor::Unit, atom("ok"))),
        // -(2^70), which only the VM reads.
        Just((Descriptor::Int, Value::External(vec![110, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 64]))),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            // Elements of one type: the value is repeated.
            (inner.clone(), 0..5usize).prop_map(|((d, v), n)| (Descriptor::List(Box::new(d)), Value::List(vec![v; n]))),
            prop::collection::vec(inner.clone(), 0..4).prop_map(|parts| {
                let (descriptors, values) = parts.into_iter().unzip();
                (Descriptor::Tuple(descriptors), Value::Tuple(values))
            }),
            prop::collection::btree_map("[a-zé]{1,4}", inner.clone(), 0..5).prop_map(|fields| {
                let values = fields.iter().map(|(name, (_, v))| (atom(name), v.clone())).collect();
                (Descriptor::Record(fields.into_iter().map(|(name, (d, _))| (name, d)).collect()), Value::Map(values))
            }),
            (prop::collection::btree_set(any::<i64>(), 0..5), inner.clone()).prop_map(|(keys, (d, v))| {
                let pairs = keys.into_iter().map(|key| (Value::Int(key), v.clone())).collect();
                (Descriptor::Map(Box::new(Descriptor::Int), Box::new(d)), Value::Map(pairs))
            }),
            prop::collection::vec(inner, 0..3).prop_map(|parts| {
                let (descriptors, values): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
                let constructors = vec![
                    ("none".into(), vec![]),
                    ("some".into(), vec![Descriptor::Any; 7]),
                    ("it".into(), descriptors),
                ];
                let value = if values.is_empty() {
                    atom("it")
                } else {
                    Value::Tuple([atom("it")].into_iter().chain(values).collect())
                };
                (Descriptor::Variant(constructors), value)
            }),
        ]
    })
}

/// A descriptor and a value of it that the VM may read by itself, large enough that it is asked to.
fn plain() -> impl Strategy<Value = (Descriptor, Value)> {
    let leaves = prop_oneof![
        prop::collection::vec(any::<i64>().prop_map(Value::Int), 0..40).prop_map(|v| (Descriptor::Int, v)),
        prop::collection::vec((0..300i64).prop_map(Value::Int), 0..40).prop_map(|v| (Descriptor::Int, v)),
        prop::collection::vec(any::<i32>().prop_map(|n| Value::Int(n.into())), 0..40)
            .prop_map(|v| (Descriptor::Int, v)),
        prop::collection::vec(any::<f64>().prop_filter("finite", |f| f.is_finite()).prop_map(Value::Float), 0..40)
            .prop_map(|v| (Descriptor::Float, v)),
        prop::collection::vec(".{0,90}".prop_map(|s| text(&s)), 0..40).prop_map(|v| (Descriptor::Text, v)),
        prop::collection::vec("[a-z]{0,200}".prop_map(|s| text(&s)), 0..40).prop_map(|v| (Descriptor::Text, v)),
    ];
    leaves
        .prop_recursive(3, 60, 2, |inner| {
            prop_oneof![
                // Lists of lists, of pairs, and of maps, each time of shorter ones.
                inner.clone().prop_map(|(d, v)| {
                    let lists = v.chunks(3).map(|part| Value::List(part.to_vec())).collect();
                    (Descriptor::List(Box::new(d)), lists)
                }),
                (inner.clone(), any::<i64>()).prop_map(|((d, v), n)| {
                    let pairs = v.into_iter().map(|value| Value::Tuple(vec![Value::Int(n), value])).collect();
                    (Descriptor::Tuple(vec![Descriptor::Int, d]), pairs)
                }),
                inner.prop_map(|(d, v)| {
                    let keyed = |part: &[Value]| {
                        let key = |i| text(&format!("key {i}"));
                        Value::Map(part.iter().enumerate().map(|(i, value)| (key(i), value.clone())).collect())
                    };
                    (Descriptor::Map(Box::new(Descriptor::Text), Box::new(d)), v.chunks(11).map(keyed).collect())
                }),
            ]
        })
        .prop_map(|(d, v)| (Descriptor::List(Box::new(d)), Value::List(v)))
}

/// Lists of small integers as a VM writes them.
fn with_strings(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = bytes;
    while let Some((first, after)) = rest.split_first() {
        if let [108, 0, 0, high, low, elements @ ..] = rest {
            let count = usize::from(u16::from_be_bytes([*high, *low]));
            let body = elements.get(..2 * count).filter(|body| body.chunks(2).all(|pair| pair[0] == 97));
            if let (Some(body), Some(106)) = (body, elements.get(2 * count)) {
                out.extend([107, *high, *low]);
                out.extend(body.chunks(2).map(|pair| pair[1]));
                rest = &elements[2 * count + 1..];
                continue;
            }
        }
        out.push(*first);
        rest = after;
    }
    out
}

/// The same value, with the pairs of each map in one order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::List(values) => Value::List(values.iter().map(sorted).collect()),
        Value::Tuple(values) => Value::Tuple(values.iter().map(sorted).collect()),
        Value::Map(pairs) => {
            let mut pairs: Vec<_> = pairs.iter().map(|(k, v)| (sorted(k), sorted(v))).collect();
            pairs.sort_by_key(|pair| format!("{pair:?}"));
            Value::Map(pairs)
        }
        other => other.clone(),
    }
}

/// Changes that a sloppy or a hostile peer makes.
fn damage() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
    prop::collection::vec((any::<usize>(), any::<u8>(), 0..4u8), 0..6)
}

fn damaged(mut bytes: Vec<u8>, changes: &[(usize, u8, u8)]) -> Vec<u8> {
    for (at, byte, how) in changes {
        if bytes.is_empty() {
            return bytes;
        }
        let at = at % bytes.len();
        match how {
            0 => bytes[at] = *byte,
            1 => bytes[at] ^= 1 << (byte % 8),
            2 => bytes.truncate(at),
            _ => bytes.insert(at, *byte),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn what_is_encoded_is_decoded((descriptor, value) in typed()) {
        let schema = schema(&descriptor);
        let bytes = bytes_of(&schema, &value).expect("the value is of its type");
        let again = value_of(&schema, &bytes).expect("its bytes are, too");
        prop_assert_eq!(sorted(again), sorted(&value));
        prop_assert_eq!(bytes_of(&schema, again).expect("what was decoded is of the type"), bytes);
        prop_assert!(check(&schema, &Vm::default(), At(again, 0), 1_000, 1_000_000).is_ok());
    }

    #[test]
    fn the_order_of_a_map_does_not_show(keys in prop::collection::btree_set(".{0,6}", 0..8), seed in any::<u64>()) {
        let pairs: Vec<_> = keys.iter().map(|key| (text(key), Value::Int(1))).collect();
        let mut shuffled = pairs.clone();
        shuffled.sort_by_key(|(key, _)| format!("{key:?}").bytes().fold(seed, |h, b| (h ^ u64::from(b)).wrapping_mul(31)));
        for descriptor in [Descriptor::Map(Box::new(Descriptor::Text), Box::new(Descriptor::Int)), Descriptor::Any] {
            let schema = schema(&descriptor);
            let one = bytes_of(&schema, &Value::Map(pairs.clone())).expect("valid");
            prop_assert_eq!(one, bytes_of(&schema, &Value::Map(shuffled.clone())).expect("valid"));
        }
    }

    #[test]
    fn a_check_agrees_with_the_decoder((descriptor, _) in typed(), (other, value) in typed()) {
        let bytes = bytes_of(&schema(&other), &value).expect("the value is of its type");
        let schema = schema(&descriptor);
        let checked = check(&schema, &Vm::default(), At(leak(value), 0), 1_000, 1_000_000).map(|_| ());
        let decoded = value_of(&schema, &bytes).map(|_| ());
        prop_assert_eq!(checked.is_ok(), decoded.is_ok(), "{:?} {:?}", checked, decoded);
        if let (Err(checked), Err(decoded)) = (checked, decoded) {
            let both = matches!((&checked, &decoded), (Fault::Mismatch { .. }, Fault::Mismatch { .. }));
            prop_assert!(both, "{:?} {:?}", checked, decoded);
        }
    }

    #[test]
    fn damaged_bytes_are_a_value_or_an_error((descriptor, value) in typed(), changes in damage()) {
        let schema = schema(&descriptor);
        let bytes = damaged(bytes_of(&schema, &value).expect("valid"), &changes);
        let mut vm = Vm::default();
        let decoded = decode(&schema, &mut vm, &bytes, LIMITS);
        // What is made is bounded by what came: a byte is at most one term, which may be moved into its parent.
        prop_assert!(*vm.made.borrow() <= 4 * bytes.len() + 4, "{} from {}", vm.made.borrow(), bytes.len());
        prop_assert!(vm.atoms.is_empty(), "no atom is made without a budget");
        if let Ok((term, _)) = decoded {
            prop_assert!(check(&schema, &Vm::default(), At(term, 0), 1_000, 1_000_000).is_ok());
        }
        let any = self::schema(&Descriptor::Any);
        let _ = decode(&any, &mut Vm::default(), &bytes, LIMITS);
        let _ = scan_atoms(&bytes, 10, 1_000_000, |_| false);
    }

    #[test]
    fn what_the_vm_reads_by_itself_is_the_same(
        (descriptor, value) in plain(), changes in damage(), strings in any::<bool>(), work in 0..3_000u64,
    ) {
        let schema = schema(&descriptor);
        let whole = bytes_of(&schema, &value).expect("the value is of its type");
        let whole = if strings { with_strings(&whole) } else { whole };
        for (bytes, limits) in [
            (whole.clone(), LIMITS),
            (damaged(whole.clone(), &changes), LIMITS),
            (damaged(whole.clone(), &changes[..changes.len().min(1)]), LIMITS),
            (whole, Limits { depth: work as usize % 6, work, ..LIMITS }),
        ] {
            let mut reading = Vm { reads: true, ..Vm::default() };
            let by_itself = decode(&schema, &mut reading, &bytes, limits).map(|(term, work)| (sorted(term), work));
            let by_term = decode(&schema, &mut Vm::default(), &bytes, limits).map(|(term, work)| (sorted(term), work));
            prop_assert_eq!(by_itself, by_term);
        }
    }

    #[test]
    fn any_bytes_are_a_value_or_an_error(mut bytes in prop::collection::vec(any::<u8>(), 0..200), (d, _) in typed()) {
        bytes.insert(0, 131);
        let mut vm = Vm::default();
        let _ = decode(&schema(&d), &mut vm, &bytes, LIMITS);
        prop_assert!(vm.atoms.is_empty());
        let _ = scan_atoms(&bytes, 10, 1_000_000, |_| false);
    }
}
