//! Dictionaries of instances → maps.
//!
//! The fields of members hold function values, those of superclasses funs without arguments. The dictionary of an instance
//! without a context is a constant: its map names exported functions only (`fun M:F/A`), and the Erlang compiler makes a
//! literal of it, which is there once and passed on as a pointer. With a context the fields are closures over its
//! dictionaries, and the map is made at each call.

use super::forms::{At, Callee, Expr, Kind};
use super::lower::Lowering;
use crate::core::{Expr as Core, Flow};

impl Lowering<'_> {
    pub(super) fn dictionary(
        &mut self,
        at: At,
        flow: &Flow,
        supers: &[(String, Core)],
        members: &[(String, Core)],
    ) -> Expr {
        let mut fields = Vec::with_capacity(supers.len() + members.len());
        for (field, dictionary) in supers {
            let dictionary = self.expr(dictionary);
            let value = self.delayed(at, dictionary);
            fields.push((at.atom(field), self.constant(flow, field, value)));
        }
        for (field, member) in members {
            let value = self.expr(member);
            fields.push((at.atom(field), self.constant(flow, field, value)));
        }
        at.map(fields)
    }

    /// A fun that gives the dictionary; the function itself, if that takes no arguments.
    fn delayed(&self, at: At, dictionary: Expr) -> Expr {
        if let Kind::Call(callee, args) = &dictionary.kind {
            match callee {
                Callee::Local(name) if args.is_empty() => return self.exported(at, name, 0),
                Callee::Remote(module, function) if args.is_empty() => {
                    if let (Kind::Atom(module), Kind::Atom(function)) = (&module.kind, &function.kind) {
                        return at.expr(Kind::RemoteFun(module.clone(), function.clone(), 0));
                    }
                }
                _ => {}
            }
        }
        at.fun(Vec::new(), vec![dictionary])
    }

    /// The value of a field, as a constant if the instance has no context: what would be a closure becomes a function.
    fn constant(&mut self, flow: &Flow, field: &str, value: Expr) -> Expr {
        if !flow.params.is_empty() {
            return value;
        }
        let at = At(value.anno);
        match value.kind {
            Kind::Fun(clause) => {
                let name = format!("{} {field} value", flow.name);
                self.check_atom(&name, flow.span);
                let function = self.exported(at, &name, clause.patterns.len());
                self.lifted.push((name, *clause));
                function
            }
            // The flow of a member.
            Kind::LocalFun(name, arity) => self.exported(at, &name, arity),
            kind => at.expr(kind),
        }
    }

    fn exported(&self, at: At, name: &str, arity: usize) -> Expr {
        at.expr(Kind::RemoteFun(self.module.name.clone(), name.to_owned(), arity))
    }
}
