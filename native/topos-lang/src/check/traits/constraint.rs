//! Constraints as written, kinds, and uses of flows that have constraints.

use foldhash::{HashMap, HashMapExt};

use super::{builtin_arity, Constraint, Dict, DictId, Origin, Wanted, ALIASES};
use crate::check::env::Lookup;
use crate::check::interface::TypeBody;
use crate::check::tree::{Expr, ExprKind, FlowId};
use crate::check::Checker;
use crate::codes;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{builtin, short, Kind, Name, Ty};

impl Checker<'_> {
    /// A trait by its path, or by another language's name of it.
    pub(in crate::check) fn lookup_trait(&mut self, path: &ast::Path) -> Option<Name> {
        let last = path.last()?;
        let mut lookup = self.env.lookup(|n| &n.traits, path.qualifier(), &last.name);
        if matches!(lookup, Lookup::Unknown) {
            if let Some((_, name)) = ALIASES.iter().find(|(alias, _)| *alias == last.name) {
                lookup = self.env.lookup(|n| &n.traits, path.qualifier(), name);
            }
        }
        match lookup {
            Lookup::Found(name) => {
                self.trait_names.entry(name.clone()).or_insert_with(|| last.name.clone());
                Some(name)
            }
            other => {
                self.unresolved("trait", codes::UNKNOWN_TRAIT, &other, path);
                None
            }
        }
    }

    pub(in crate::check) fn constraint(&mut self, written: &ast::Constraint) -> Option<Constraint> {
        let of = self.lookup_trait(&written.path)?;
        let args = self.trait_args(&of, &written.args, written.span)?;
        Some(Constraint { of, args })
    }

    /// The arguments of a trait, each of the kind of its parameter.
    pub(super) fn trait_args(&mut self, of: &Name, args: &[ast::Type], span: Span) -> Option<Vec<Ty>> {
        let kinds = self.env.traits.get(of).map(|info| info.kinds.clone())?;
        if kinds.len() != args.len() {
            let plural = if kinds.len() == 1 { "" } else { "s" };
            self.report(Diagnostic::new(
                codes::TRAIT_ARGUMENTS,
                format!(
                    "the trait `{}` has {} parameter{plural}, but {} were given",
                    short(of),
                    kinds.len(),
                    args.len()
                ),
                span,
            ));
            return None;
        }
        Some(args.iter().zip(kinds).map(|(arg, kind)| self.ty_of_kind(arg, kind)).collect())
    }

    /// A type, or a type constructor that wants some more arguments.
    pub(super) fn ty_of_kind(&mut self, ty: &ast::Type, kind: Kind) -> Ty {
        let Kind::Constructor(wanted) = kind else { return self.ty(ty) };
        match &ty.kind {
            ast::TypeKind::Var(name) => self.type_var(name, kind),
            ast::TypeKind::Named { path, args } => {
                let Some(last) = path.last() else { return self.store.error() };
                let name = match self.env.lookup_type(path.qualifier(), &last.name) {
                    Lookup::Found(name) => name,
                    other => {
                        self.unresolved("type", codes::UNKNOWN_TYPE, &other, path);
                        return self.store.error();
                    }
                };
                let alias = self.env.types.get(&name).is_some_and(|i| matches!(i.body, TypeBody::Alias(_)));
                let arity = builtin_arity(&name).or_else(|| self.env.types.get(&name).map(|i| i.params.len()));
                if alias || arity != Some(args.len() + wanted) {
                    return self.wrong_kind(ty.span, &last.name, wanted);
                }
                let args = args.iter().map(|t| self.ty(t)).collect();
                self.store.con(name, args)
            }
            ast::TypeKind::Error => self.store.error(),
            _ => self.wrong_kind(ty.span, "this type", wanted),
        }
    }

    fn wrong_kind(&mut self, span: Span, name: &str, wanted: usize) -> Ty {
        let s = if wanted == 1 { "" } else { "s" };
        self.report(
            Diagnostic::new(
                codes::KIND,
                format!("a type constructor that wants {wanted} more argument{s} is needed here"),
                span,
            )
            .primary(format!("`{name}` is not one"))
            .help("name a type without its last argument: `Maybe`, `List`, `Map k`"),
        );
        self.store.error()
    }

    /// `f a`.
    pub(in crate::check) fn applied(&mut self, head: &ast::Ident, args: &[ast::Type]) -> Ty {
        let head = self.type_var(head, Kind::Constructor(args.len()));
        let args = args.iter().map(|t| self.ty(t)).collect();
        self.store.app(head, args)
    }

    /// A constraint that must hold, and the place of its dictionary.
    pub(in crate::check) fn want(&mut self, of: &str, args: Vec<Ty>, span: Span, what: String) -> DictId {
        let dict = self.dicts.len();
        self.dicts.push(Dict::Pending);
        self.wanted.push(Wanted {
            dict,
            constraint: Constraint { of: of.into(), args },
            span,
            what,
            origin: Origin::Call,
        });
        dict
    }

    /// As [`Checker::want`] for a value of an f-string.
    pub(in crate::check) fn want_shown(&mut self, ty: Ty, span: Span) -> DictId {
        let dict = self.want(super::SHOW, vec![ty], span, "this f-string".to_owned());
        if let Some(want) = self.wanted.last_mut() {
            want.origin = Origin::Shown;
        }
        dict
    }

    /// As [`Checker::want`] for a number literal.
    pub(in crate::check) fn want_number(&mut self, ty: Ty, span: Span) -> DictId {
        let dict = self.want(super::NUM, vec![ty], span, "this number".to_owned());
        if let Some(want) = self.wanted.last_mut() {
            want.origin = Origin::Literal;
        }
        dict
    }

    /// A use of a flow: its type with fresh variables, and its constraints wanted.
    pub(in crate::check) fn use_flow(&mut self, id: FlowId, span: Span) -> Expr {
        let info = self.env.flow(id, &mut self.store);
        let (ty, config, method) = (info.ty, info.config, info.method.is_some());
        let (name, constraints) = (info.name.clone(), info.constraints.clone());
        let mut memo = HashMap::new();
        let ty = self.instantiate_shared(ty, &mut memo);
        let mut dicts = Vec::new();
        for Constraint { of, args } in constraints {
            let args = args.into_iter().map(|t| self.instantiate_shared(t, &mut memo)).collect();
            dicts.push(self.want(&of, args, span, format!("`{name}`")));
        }
        let ty = self.opened(ty, span, &format!("`{name}`"));
        let kind = match (dicts.is_empty() && !method, config) {
            (false, value) => ExprKind::Overloaded { flow: id, dicts, value },
            (true, true) => ExprKind::Config(id),
            (true, false) => ExprKind::Flow(id),
        };
        Expr { kind, ty, span }
    }

    /// As [`crate::types::Store::instantiate`], for several types that share variables.
    pub(in crate::check) fn instantiate_shared(&mut self, ty: Ty, memo: &mut HashMap<Ty, Ty>) -> Ty {
        let level = self.level;
        self.store.instantiate_with(ty, memo, &mut |store, kind, name| match name {
            Some(name) => store.named_var(kind, level, name),
            None => store.var(kind, level),
        })
    }

    /// The head of a type that has instances.
    pub(super) fn head(&self, ty: Ty) -> Option<Name> {
        use crate::types::Node;
        match self.store.node(ty) {
            Node::Con(name, _) => Some(name.clone()),
            Node::Tuple(parts) => Some(tuple_head(parts.len())),
            _ => None,
        }
    }

    /// The trait's own name in messages, with its arguments: `Ord [a]`.
    pub(in crate::check) fn show_constraint(&self, constraint: &Constraint) -> String {
        let mut shown = self.trait_shown(&constraint.of);
        for arg in &constraint.args {
            let arg = self.store.show(*arg);
            let closed = !arg.contains(' ') || arg.starts_with(['[', '(', '{']) && !arg.contains("->");
            shown.push_str(&if closed { format!(" {arg}") } else { format!(" ({arg})") });
        }
        shown
    }

    /// A trait as the program calls it: by the name that the module wrote, else by the one that signatures of the
    /// prelude have.
    pub(in crate::check) fn trait_shown(&self, of: &str) -> String {
        match (self.trait_names.get(of), of) {
            (Some(written), _) => written.clone(),
            (None, super::COMPARABLE) => "Eq".to_owned(),
            (None, super::ORDERABLE) => "Ord".to_owned(),
            _ => short(of).to_owned(),
        }
    }

    /// Whether a type is built in and has operators of its own.
    pub(super) fn is_scalar(name: &str) -> bool {
        builtin::ALL
            .iter()
            .any(|(n, arity)| *n == name && (*arity == 0 || matches!(*n, builtin::PID | builtin::REMOTE_REF)))
            || name == builtin::UNIT
    }
}

/// The head of tuples of so many parts.
pub(super) fn tuple_head(parts: usize) -> Name {
    format!("({})", ",".repeat(parts.saturating_sub(1))).into()
}
