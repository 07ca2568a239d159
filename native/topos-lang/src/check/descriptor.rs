//! Run-time descriptors of types: what a value that enters the program is checked against.

use super::interface::TypeBody;
use super::Checker;
use crate::core::Descriptor;
use crate::types::{builtin, Name, Node, Tree, Ty};

/// A descriptor with more nodes than this says `Any` for the rest: values are checked less deeply, not wrongly.
const MAX_NODES: usize = 2_000;
/// How often a type may stand inside itself with other arguments before `Any` takes its place: types that are not
/// regular, `shape Nest a = Nil | Cons(a, Nest (a, a))`, have no finite descriptor.
const MAX_NESTED: usize = 4;

struct Open {
    name: Name,
    key: Tree,
    reference: String,
    used: bool,
}

impl Checker<'_> {
    /// The descriptor of a type. Type variables and opaque types are `Any`.
    pub(super) fn descriptor(&mut self, ty: Ty) -> Descriptor {
        let mut budget = MAX_NODES;
        self.describe(ty, &mut Vec::new(), &mut budget)
    }

    fn describe_all(&mut self, tys: &[Ty], open: &mut Vec<Open>, budget: &mut usize) -> Vec<Descriptor> {
        tys.iter().map(|t| self.describe(*t, open, budget)).collect()
    }

    fn describe(&mut self, ty: Ty, open: &mut Vec<Open>, budget: &mut usize) -> Descriptor {
        let Some(left) = budget.checked_sub(1) else { return Descriptor::Any };
        *budget = left;
        if open.len() > 100 {
            return Descriptor::Any;
        }
        match self.store.node(ty).clone() {
            Node::Con(name, args) => match (&*name, args.as_slice()) {
                (builtin::INT | builtin::DURATION, _) => Descriptor::Int,
                (builtin::FLOAT, _) => Descriptor::Float,
                (builtin::TEXT, _) => Descriptor::Text,
                (builtin::BOOL, _) => Descriptor::Bool,
                (builtin::UNIT, _) => Descriptor::Unit,
                (builtin::NODE, _) => Descriptor::Atom,
                (builtin::PID, _) => Descriptor::Pid,
                (builtin::HANDLER, _) => Descriptor::Function,
                (builtin::LIST, [element]) => Descriptor::List(Box::new(self.describe(*element, open, budget))),
                (builtin::MAP, [key, value]) => {
                    let key = self.describe(*key, open, budget);
                    Descriptor::Map(Box::new(key), Box::new(self.describe(*value, open, budget)))
                }
                _ => self.describe_named(ty, &name, &args, open, budget),
            },
            Node::Tuple(parts) => Descriptor::Tuple(self.describe_all(&parts, open, budget)),
            Node::Arrow { .. } => Descriptor::Function,
            Node::Record(row) => {
                let row = self.store.row(row);
                if !matches!(self.store.node(row.tail), Node::Empty) {
                    return Descriptor::Any;
                }
                let fields = row.entries.into_iter().filter_map(|(label, args)| args.first().map(|t| (label, *t)));
                let mut out: Vec<(String, Descriptor)> = Vec::new();
                for (label, ty) in fields.collect::<Vec<_>>() {
                    if !out.iter().any(|(l, _)| **l == *label) {
                        out.push((label.to_string(), self.describe(ty, open, budget)));
                    }
                }
                Descriptor::Record(out)
            }
            _ => Descriptor::Any,
        }
    }

    fn describe_named(
        &mut self,
        ty: Ty,
        name: &Name,
        args: &[Ty],
        open: &mut Vec<Open>,
        budget: &mut usize,
    ) -> Descriptor {
        let Some(info) = self.env.types.get(name).cloned() else { return Descriptor::Any };
        if matches!(info.body, TypeBody::Opaque | TypeBody::Alias(_)) {
            return Descriptor::Any;
        }
        let Some(scheme) = self.store.export(ty) else { return Descriptor::Any };
        let key = scheme.body;
        if let Some(enclosing) = open.iter_mut().find(|o| o.key == key) {
            enclosing.used = true;
            return Descriptor::Reference(enclosing.reference.clone());
        }
        let nested = open.iter().filter(|o| o.name == *name).count();
        if nested >= MAX_NESTED {
            return Descriptor::Any;
        }
        let reference = if nested == 0 { name.to_string() } else { format!("{name}/{nested}") };
        open.push(Open { name: name.clone(), key, reference, used: false });
        let described = match &info.body {
            TypeBody::Shape(ctors) => {
                let mut variants = Vec::new();
                for (ctor, fields) in ctors {
                    let fields: Vec<Ty> = fields.iter().map(|f| self.apply(&info.params, args, *f)).collect();
                    variants.push((ctor.to_string(), self.describe_all(&fields, open, budget)));
                }
                Descriptor::Variant(variants)
            }
            TypeBody::Record(fields) => {
                let mut out = Vec::new();
                for field in fields {
                    let ty = self.apply(&info.params, args, field.ty);
                    out.push((field.name.to_string(), self.describe(ty, open, budget)));
                }
                Descriptor::Record(out)
            }
            TypeBody::Opaque | TypeBody::Alias(_) => Descriptor::Any,
        };
        match open.pop() {
            Some(o) if o.used => Descriptor::Recursive(o.reference, Box::new(described)),
            _ => described,
        }
    }
}
