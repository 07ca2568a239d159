//! Marks variables that are bound and never read with a leading `_`, as an Erlang programmer would.
//!
//! A variable that occurs once in its function is bound there and read nowhere. This is exact because
//! [`super::names`] never uses a variable for two bindings.

use foldhash::{HashMap, HashMapExt};

use super::forms::{Callee, Clause, Expr, Form, Kind, Segment, Variable};

pub(super) fn mark_unused(forms: &mut [Form]) {
    for form in forms {
        if let Form::Function { clause, .. } = form {
            let mut counts: HashMap<Variable, u32> = HashMap::new();
            each_variable(clause, &mut |name| match counts.get_mut(name) {
                Some(count) => *count += 1,
                None => drop(counts.insert(Variable::clone(name), 1)),
            });
            if counts.values().all(|count| *count > 1) {
                continue;
            }
            each_variable(clause, &mut |name| {
                if counts.get(name) == Some(&1) {
                    *name = format!("_{name}").into();
                }
            });
        }
    }
}

fn each_variable(clause: &mut Clause, f: &mut impl FnMut(&mut Variable)) {
    let Clause { patterns, guard, body, .. } = clause;
    for e in patterns.iter_mut().chain(guard).chain(body) {
        walk(e, f);
    }
}

fn walk(e: &mut Expr, f: &mut impl FnMut(&mut Variable)) {
    match &mut e.kind {
        Kind::Var(name) => f(name),
        Kind::Any | Kind::Atom(_) | Kind::Integer(_) | Kind::Float(_) | Kind::LocalFun(..) | Kind::RemoteFun(..) => {}
        Kind::Binary(segments) => {
            for segment in segments {
                if let Segment::Value(e) = segment {
                    walk(e, f);
                }
            }
        }
        Kind::Tuple(es) | Kind::Block(es) => es.iter_mut().for_each(|e| walk(e, f)),
        Kind::List(es, tail) => {
            es.iter_mut().for_each(|e| walk(e, f));
            if let Some(tail) = tail {
                walk(tail, f);
            }
        }
        Kind::Map(fields) | Kind::MapPattern(fields) => walk_fields(fields, f),
        Kind::MapUpdate(base, fields) => {
            walk(base, f);
            walk_fields(fields, f);
        }
        Kind::Call(callee, args) => {
            match callee {
                Callee::Local(_) => {}
                Callee::Remote(module, function) => {
                    walk(module, f);
                    walk(function, f);
                }
                Callee::Value(function) => walk(function, f),
            }
            args.iter_mut().for_each(|e| walk(e, f));
        }
        Kind::Fun(clause) => each_variable(clause, f),
        Kind::Case(scrutinee, clauses) => {
            walk(scrutinee, f);
            clauses.iter_mut().for_each(|c| each_variable(c, f));
        }
        Kind::Match(a, b) | Kind::Binary2(_, a, b) => {
            walk(a, f);
            walk(b, f);
        }
        Kind::Unary(_, a) => walk(a, f),
    }
}

fn walk_fields(fields: &mut [(Expr, Expr)], f: &mut impl FnMut(&mut Variable)) {
    for (key, value) in fields {
        walk(key, f);
        walk(value, f);
    }
}
