//! Descriptors as Erlang terms (what `topos_rt:check/3` reads), as inline tests, and as types of a `-spec`.

use super::forms::{At, Expr, Type, Variable};
use crate::core::{constructor_atom, Descriptor};

/// The term of a descriptor, `topos_rt:descriptor()`.
pub(super) fn term(at: At, descriptor: &Descriptor) -> Expr {
    let tagged = |tag: &str, mut rest: Vec<Expr>| {
        rest.insert(0, at.atom(tag));
        at.tuple(rest)
    };
    let terms = |ds: &[Descriptor]| at.list(ds.iter().map(|d| term(at, d)).collect(), None);
    match descriptor {
        Descriptor::Any => at.atom("any"),
        Descriptor::Int => at.atom("int"),
        Descriptor::Float => at.atom("float"),
        Descriptor::Text => at.atom("text"),
        Descriptor::Bool => at.atom("bool"),
        Descriptor::Unit => at.atom("unit"),
        Descriptor::Atom => at.atom("atom"),
        Descriptor::Pid => at.atom("pid"),
        Descriptor::Function => at.atom("function"),
        Descriptor::List(element) => tagged("list", vec![term(at, element)]),
        Descriptor::Tuple(elements) => tagged("tuple", vec![terms(elements)]),
        Descriptor::Map(key, value) => tagged("map", vec![term(at, key), term(at, value)]),
        Descriptor::Record(fields) => {
            let fields = fields.iter().map(|(f, d)| at.tuple(vec![at.atom(f), term(at, d)])).collect();
            tagged("record", vec![at.list(fields, None)])
        }
        Descriptor::Variant(constructors) => {
            let constructor =
                |(c, ds): &(String, Vec<Descriptor>)| at.tuple(vec![at.atom(&constructor_atom(c)), terms(ds)]);
            tagged("variant", vec![at.list(constructors.iter().map(constructor).collect(), None)])
        }
        Descriptor::Reference(name) => tagged("reference", vec![at.text(name)]),
        Descriptor::Recursive(name, inner) => tagged("recursive", vec![at.text(name), term(at, inner)]),
    }
}

/// `value`, checked: one test where the type has one, else a call of `topos_rt:check/3`, which also builds the error.
/// `variable` is fresh; `what` names the border that the value crosses.
pub(super) fn checked(at: At, descriptor: &Descriptor, value: Expr, variable: &Variable, what: &str) -> Expr {
    let check = |value| at.remote("topos_rt", "check", vec![term(at, descriptor), value, at.text(what)]);
    let test = match descriptor {
        Descriptor::Any => return value,
        Descriptor::Int => "is_integer",
        Descriptor::Float => "is_float",
        Descriptor::Bool => "is_boolean",
        Descriptor::Atom => "is_atom",
        Descriptor::Pid => "is_pid",
        Descriptor::Function => "is_function",
        Descriptor::Unit => {
            let clauses = vec![
                at.clause(vec![at.atom("ok")], None, vec![at.atom("ok")]),
                at.clause(vec![at.var(variable)], None, vec![check(at.var(variable))]),
            ];
            return at.case(value, clauses);
        }
        _ => return check(value),
    };
    let passes = at.remote("erlang", test, vec![at.var(variable)]);
    let clauses = vec![
        at.clause(vec![at.var(variable)], Some(passes), vec![at.var(variable)]),
        at.clause(vec![at.var(variable)], None, vec![check(at.var(variable))]),
    ];
    at.case(value, clauses)
}

/// The Erlang type of a descriptor. A type that contains itself is `term()` where it recurs.
pub(super) fn spec(descriptor: &Descriptor) -> Type {
    let named = |name| Type::Named(name, Vec::new());
    match descriptor {
        Descriptor::Any | Descriptor::Reference(_) => named("term"),
        Descriptor::Int => named("integer"),
        Descriptor::Float => named("float"),
        Descriptor::Text => named("binary"),
        Descriptor::Bool => named("boolean"),
        Descriptor::Unit => Type::Atom("ok".into()),
        Descriptor::Atom => named("atom"),
        Descriptor::Pid => named("pid"),
        Descriptor::Function => named("function"),
        Descriptor::List(element) => Type::Named("list", vec![spec(element)]),
        Descriptor::Tuple(elements) => Type::Tuple(elements.iter().map(spec).collect()),
        Descriptor::Map(key, value) => Type::Map(Box::new(spec(key)), Box::new(spec(value))),
        Descriptor::Record(fields) => Type::Record(fields.iter().map(|(f, d)| (f.clone(), spec(d))).collect()),
        Descriptor::Variant(constructors) => {
            let mut members: Vec<Type> = constructors.iter().map(|(c, ds)| constructor(c, ds)).collect();
            match members.len() {
                0 => named("no_return"),
                1 => members.remove(0),
                _ => Type::Union(members),
            }
        }
        Descriptor::Recursive(_, inner) => spec(inner),
    }
}

fn constructor(name: &str, fields: &[Descriptor]) -> Type {
    let atom = Type::Atom(constructor_atom(name));
    if fields.is_empty() {
        return atom;
    }
    Type::Tuple(std::iter::once(atom).chain(fields.iter().map(spec)).collect())
}
