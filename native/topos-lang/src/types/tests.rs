use proptest::prelude::*;

use super::{Bound, Kind, Node, Printer, Store, Ty, UnifyError, GENERIC, MAX_DEPTH};

fn int(store: &mut Store) -> Ty {
    store.con("Int", vec![])
}

fn text(store: &mut Store) -> Ty {
    store.con("Text", vec![])
}

#[test]
fn a_variable_takes_the_type_it_meets() {
    let mut s = Store::new();
    let (v, i) = (s.var(Kind::Type, 1), int(&mut s));
    s.unify(v, i).unwrap();
    assert_eq!(s.show(v), "Int");
    let t = text(&mut s);
    assert!(matches!(s.unify(v, t), Err(UnifyError::Mismatch(..))));
}

#[test]
fn a_variable_cannot_contain_itself() {
    let mut s = Store::new();
    let v = s.var(Kind::Type, 1);
    let list = s.list(v);
    assert!(matches!(s.unify(v, list), Err(UnifyError::Occurs(..))));
}

#[test]
fn a_row_cannot_contain_itself() {
    // {a: Int | r} and {b: Int | r}: extending r by a asks for r to be extended by b, and so on for ever.
    let mut s = Store::new();
    let (r, i) = (s.var(Kind::Fields, 1), int(&mut s));
    let a = s.extend("a".into(), vec![i], r);
    let b = s.extend("b".into(), vec![i], r);
    assert_eq!(s.unify(a, b), Err(UnifyError::InfiniteRow));
}

#[test]
fn a_record_row_cannot_contain_its_record() {
    let mut s = Store::new();
    let r = s.var(Kind::Fields, 1);
    let record = s.record(r);
    let row = s.extend("self".into(), vec![record], r);
    assert!(s.unify(r, row).is_err());
}

#[test]
fn rows_are_equal_in_any_order_of_different_labels() {
    let mut s = Store::new();
    let (i, t, e) = (int(&mut s), text(&mut s), s.empty());
    let b = s.extend("b".into(), vec![t], e);
    let ab = s.extend("a".into(), vec![i], b);
    let a = s.extend("a".into(), vec![i], e);
    let ba = s.extend("b".into(), vec![t], a);
    s.unify(ab, ba).unwrap();
}

#[test]
fn the_order_of_equal_labels_matters() {
    let mut s = Store::new();
    let (i, t, e) = (int(&mut s), text(&mut s), s.empty());
    let it = {
        let inner = s.extend("a".into(), vec![t], e);
        s.extend("a".into(), vec![i], inner)
    };
    let ti = {
        let inner = s.extend("a".into(), vec![i], e);
        s.extend("a".into(), vec![t], inner)
    };
    assert!(s.unify(it, ti).is_err());
}

#[test]
fn an_open_row_gets_the_labels_it_lacks() {
    let mut s = Store::new();
    let (i, e) = (int(&mut s), s.empty());
    let tail = s.var(Kind::Fields, 1);
    let open = s.extend("a".into(), vec![i], tail);
    let b = s.extend("b".into(), vec![i], e);
    let closed = s.extend("a".into(), vec![i], b);
    s.unify(open, closed).unwrap();
    let record = s.record(open);
    assert_eq!(s.show(record), "{a: Int, b: Int}");
}

#[test]
fn a_closed_row_names_the_label_it_lacks() {
    let mut s = Store::new();
    let (i, e) = (int(&mut s), s.empty());
    let a = s.extend("a".into(), vec![i], e);
    assert!(matches!(s.unify(a, e), Err(UnifyError::MissingLabel { label, .. }) if &*label == "a"));
}

#[test]
fn binding_lowers_the_levels_of_what_is_bound() {
    // let f = fn(x) -> let y = x in y: y's variable must not be generalised inside.
    let mut s = Store::new();
    let outer = s.var(Kind::Type, 1);
    let inner = s.var(Kind::Type, 3);
    let list = s.list(inner);
    s.unify(outer, list).unwrap();
    s.generalise(list, 1);
    assert!(matches!(s.node(inner), Node::Var { level: 1, .. }));
}

#[test]
fn two_variables_keep_the_lower_level() {
    let mut s = Store::new();
    let (a, b) = (s.var(Kind::Type, 5), s.var(Kind::Type, 2));
    s.unify(b, a).unwrap();
    s.generalise(a, 2);
    assert!(matches!(s.node(a), Node::Var { level: 2, .. }));
}

#[test]
fn a_skolem_does_not_leave_its_scope() {
    let mut s = Store::new();
    let outer = s.var(Kind::Type, 1);
    let skolem = s.skolem("a".into(), Kind::Type, 2);
    let list = s.list(skolem);
    assert_eq!(s.unify(outer, list), Err(UnifyError::Escape("a".into())));
    let inner = s.var(Kind::Type, 2);
    s.unify(inner, list).unwrap();
}

#[test]
fn two_skolems_are_different() {
    let mut s = Store::new();
    let (a, b) = (s.skolem("a".into(), Kind::Type, 1), s.skolem("a".into(), Kind::Type, 1));
    assert!(s.unify(a, b).is_err());
    s.unify(a, a).unwrap();
}

#[test]
fn bounded_variables_meet() {
    let mut s = Store::new();
    let (n, o) = (s.bounded(Bound::NUMBER, 1), s.bounded(Bound::JOINED, 1));
    assert!(matches!(s.unify(n, o), Err(UnifyError::Bound(..))));
    let (n, t) = (s.bounded(Bound::NUMBER, 1), text(&mut s));
    assert!(matches!(s.unify(n, t), Err(UnifyError::Bound(..))));
}

#[test]
fn a_type_with_an_instance_is_an_operand() {
    let mut s = Store::new();
    s.overload("M.Money".into(), Bound::instance(true));
    let money = s.con("M.Money", Vec::new());
    let (n, j) = (s.bounded(Bound::NUMBER, 1), s.bounded(Bound::JOINED, 1));
    assert_eq!(s.show(n), "Int");
    s.unify(n, money).unwrap();
    assert!(matches!(s.unify(j, money), Err(UnifyError::Bound(..))));
}

#[test]
fn an_application_becomes_a_type_when_its_head_does() {
    let mut s = Store::new();
    let f = s.var(Kind::Constructor(1), 1);
    let (a, int) = (s.var(Kind::Type, 1), s.con("Int", Vec::new()));
    let app = s.app(f, vec![a]);
    let map = s.con("Map", vec![int, int]);
    s.unify(app, map).unwrap();
    assert_eq!((s.show(app), s.show(f), s.show(a)), ("Map Int Int".into(), "Map Int".into(), "Int".into()));
    let g = s.var(Kind::Constructor(1), 1);
    let other = s.app(g, vec![int]);
    s.unify(g, f).unwrap();
    assert_eq!(s.show(other), "Map Int Int");
    let (h, scalar) = (s.var(Kind::Constructor(1), 1), s.con("Text", Vec::new()));
    let wrong = s.app(h, vec![int]);
    assert!(matches!(s.unify(wrong, scalar), Err(UnifyError::Mismatch(..))));
}

#[test]
fn instantiation_shares_what_is_not_quantified() {
    let mut s = Store::new();
    let (mono, poly) = (s.var(Kind::Type, 1), s.var(Kind::Type, 2));
    let list = s.list(mono);
    let pair = s.tuple(vec![list, poly]);
    s.generalise(pair, 1);
    let copy = s.instantiate(pair, 1);
    let Node::Tuple(parts) = s.node(copy).clone() else { panic!("a tuple") };
    assert_eq!(parts[0], list);
    assert_ne!(s.root(parts[1]), s.root(poly));
    assert!(matches!(s.node(poly), Node::Var { level: GENERIC, .. }));
}

#[test]
fn an_effect_row_only_the_result_mentions_is_closed() {
    let mut s = Store::new();
    let (i, e) = (int(&mut s), s.var(Kind::Effects, 2));
    let f = s.arrow(i, e, i);
    s.generalise(f, 1);
    s.close_spine(f);
    assert_eq!(s.show(f), "Int -> Int");
}

#[test]
fn an_effect_row_a_parameter_mentions_stays_open() {
    let mut s = Store::new();
    let (i, e) = (int(&mut s), s.var(Kind::Effects, 2));
    let callback = s.arrow(i, e, i);
    let f = s.arrow(callback, e, i);
    s.generalise(f, 1);
    s.close_spine(f);
    assert_eq!(s.show(f), "(Int -> Int / e) -> Int / e");
}

#[test]
fn a_shared_callback_counts_as_many_uses() {
    // The same node twice in a type is two uses of what it mentions, not one.
    let mut s = Store::new();
    let (i, e) = (int(&mut s), s.var(Kind::Effects, 2));
    let callback = s.arrow(i, e, i);
    let f = s.arrow(i, s.empty(), callback);
    let pair = s.tuple(vec![f, f]);
    let empty = s.empty();
    let g = s.arrow(pair, empty, callback);
    s.generalise(g, 1);
    s.close_spine(g);
    assert!(s.show(g).contains("/ e"));
}

#[test]
fn opening_a_spine_leaves_parameters_alone() {
    let mut s = Store::new();
    let (i, e) = (int(&mut s), s.empty());
    let callback = s.arrow(i, e, i);
    let f = s.arrow(callback, e, i);
    let opened = s.open_spine(f, 1);
    let Node::Arrow { row, .. } = *s.node(opened) else { panic!("an arrow") };
    assert!(matches!(s.node(row), Node::Var { kind: Kind::Effects, .. }));
    assert_eq!(s.show(opened), "(Int -> Int) -> Int", "a reader does not see what only a use opened");
}

#[test]
fn a_type_that_doubles_with_each_let_stays_cheap() {
    // let x1 = (x0, x0); let x2 = (x1, x1) ...: the tree has 2^100 leaves, the graph 100 nodes.
    let mut s = Store::new();
    let build = |s: &mut Store| {
        let mut ty = s.var(Kind::Type, 2);
        for _ in 0..100 {
            ty = s.tuple(vec![ty, ty]);
        }
        ty
    };
    let (a, b) = (build(&mut s), build(&mut s));
    s.unify(a, b).unwrap();
    s.generalise(a, 1);
    let copy = s.instantiate(a, 1);
    s.unify(copy, a).unwrap_or(());
    assert!(s.show(copy).len() < 2_000);
    assert!(s.export(copy).is_none());
}

#[test]
fn a_type_too_deep_is_an_error_and_not_a_stack_overflow() {
    let mut s = Store::new();
    let build = |s: &mut Store| {
        let mut ty = s.var(Kind::Type, 2);
        for _ in 0..MAX_DEPTH * 100 {
            ty = s.list(ty);
        }
        ty
    };
    let (a, b) = (build(&mut s), build(&mut s));
    assert_eq!(s.unify(a, b), Err(UnifyError::TooDeep));
    s.generalise(a, 1);
    let copy = s.instantiate(a, 1);
    assert!(s.take_too_deep());
    assert!(s.show(copy).len() < 2_000);
}

#[test]
fn types_print_as_they_are_written() {
    let mut s = Store::new();
    let (i, e) = (int(&mut s), s.empty());
    let a = s.generic(Kind::Type, None);
    let maybe = s.con("Topos.Prelude.Maybe", vec![a]);
    let list = s.list(maybe);
    let io = s.extend("Topos.IO.IO".into(), vec![], e);
    let f = s.arrow(i, io, list);
    let pid = s.con("Pid", vec![f]);
    let g = s.arrow(f, e, pid);
    let mut p = Printer::new(&s);
    assert_eq!(p.show(g), "(Int -> [Maybe a] / {IO}) -> Pid (Int -> [Maybe a] / {IO})");
}

#[test]
fn what_is_exported_is_imported_unchanged() {
    let mut s = Store::new();
    let (a, e) = (s.generic(Kind::Type, Some("item".into())), s.generic(Kind::Effects, None));
    let list = s.list(a);
    let f = s.arrow(a, e, list);
    let g = s.function(&[f, list], e, a);
    let shown = s.show(g);
    let scheme = s.export(g).unwrap();
    let mut other = Store::new();
    let imported = other.import(&scheme);
    assert_eq!(other.show(imported), shown);
    assert_eq!(other.export(imported).unwrap(), scheme);
}

/// A small random type over a few shared variables.
fn arbitrary() -> impl Strategy<Value = Shape> {
    let leaf = prop_oneof![(0usize..4).prop_map(Shape::Var), Just(Shape::Int), Just(Shape::Text)];
    leaf.prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|t| Shape::List(Box::new(t))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Shape::Tuple(Box::new(a), Box::new(b))),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| Shape::Arrow(Box::new(a), Box::new(b))),
            (prop::collection::vec((0usize..3, inner), 0..3), any::<bool>())
                .prop_map(|(fields, open)| Shape::Record(fields, open)),
        ]
    })
}

#[derive(Clone, Debug)]
enum Shape {
    Var(usize),
    Int,
    Text,
    List(Box<Shape>),
    Tuple(Box<Shape>, Box<Shape>),
    Arrow(Box<Shape>, Box<Shape>),
    Record(Vec<(usize, Shape)>, bool),
}

fn build(s: &mut Store, vars: &[Ty], tail: Ty, shape: &Shape) -> Ty {
    match shape {
        Shape::Var(i) => vars[*i],
        Shape::Int => int(s),
        Shape::Text => text(s),
        Shape::List(t) => {
            let t = build(s, vars, tail, t);
            s.list(t)
        }
        Shape::Tuple(a, b) => {
            let parts = vec![build(s, vars, tail, a), build(s, vars, tail, b)];
            s.tuple(parts)
        }
        Shape::Arrow(a, b) => {
            let (a, b, e) = (build(s, vars, tail, a), build(s, vars, tail, b), s.empty());
            s.arrow(a, e, b)
        }
        Shape::Record(fields, open) => {
            let entries =
                fields.iter().map(|(l, t)| (["x", "y", "z"][*l].into(), vec![build(s, vars, tail, t)])).collect();
            let end = if *open { tail } else { s.empty() };
            let row = s.make_row(entries, end);
            s.record(row)
        }
    }
}

proptest! {
    #[test]
    fn unified_types_are_equal_and_unification_is_symmetric(a in arbitrary(), b in arbitrary()) {
        let run = |flip: bool| {
            let mut s = Store::new();
            let vars: Vec<Ty> = (0..4).map(|_| s.var(Kind::Type, 1)).collect();
            let tail = s.var(Kind::Fields, 1);
            let (x, y) = (build(&mut s, &vars, tail, &a), build(&mut s, &vars, tail, &b));
            let result = if flip { s.unify(y, x) } else { s.unify(x, y) };
            if result.is_ok() {
                // A second unification finds nothing to do, and both print alike up to the order of labels.
                assert_eq!(s.unify(x, y), Ok(()));
                let exported = s.export(x);
                assert!(exported.is_some());
            }
            result.is_ok()
        };
        prop_assert_eq!(run(false), run(true));
    }

    #[test]
    fn an_instance_of_a_generalised_type_unifies_with_what_it_came_from(a in arbitrary()) {
        let mut s = Store::new();
        let vars: Vec<Ty> = (0..4).map(|_| s.var(Kind::Type, 2)).collect();
        let tail = s.var(Kind::Fields, 2);
        let ty = build(&mut s, &vars, tail, &a);
        s.generalise(ty, 1);
        let (one, two) = (s.instantiate(ty, 1), s.instantiate(ty, 1));
        prop_assert!(s.unify(one, two).is_ok());
    }
}
