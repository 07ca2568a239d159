//! Types as written become types of the store.

use super::env::Lookup;
use super::interface::TypeBody;
use super::traits::Constraint;
use super::{unsupported, Checker, VarMode};
use crate::codes;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{builtin, Kind, Name, Ty};

/// The level at which flows are inferred. A variable that an annotation inside a flow names belongs to the whole flow: no
/// `let` in it may generalise it, since a later annotation may name it again.
const FLOW_LEVEL: u32 = 2;

/// A signature, taken apart.
pub(super) struct Signature {
    /// The names and types of its domains; none if its only domain is an unnamed `()`.
    pub(super) domains: Vec<(Option<ast::Ident>, Ty, Span)>,
    pub(super) result: Ty,
    pub(super) row: Ty,
    pub(super) constraints: Vec<Constraint>,
}

impl<'a> Checker<'a> {
    pub(super) fn signature(&mut self, sig: &ast::Signature) -> Signature {
        let constraints = sig.context.iter().filter_map(|c| self.constraint(c)).collect();
        let domains = if takes_unit_only(&sig.domains) {
            Vec::new()
        } else {
            sig.domains.iter().map(|d| (d.name.clone(), self.ty(&d.ty), d.ty.span)).collect()
        };
        let result = self.ty(&sig.result);
        let row = self.effect_row(sig.row.as_ref());
        Signature { domains, result, row, constraints }
    }

    /// A type.
    pub(super) fn ty(&mut self, ty: &ast::Type) -> Ty {
        match &ty.kind {
            ast::TypeKind::Var(name) => self.type_var(name, Kind::Type),
            ast::TypeKind::Named { path, args } => match self.handler_type(path, args, None) {
                Some(handler) => handler,
                None => self.named(path, args, ty.span),
            },
            ast::TypeKind::Apply { head, args } => self.applied(head, args),
            ast::TypeKind::Projection { .. } => {
                self.report(unsupported::session(ty.span));
                self.store.error()
            }
            ast::TypeKind::Unit => self.store.unit(),
            ast::TypeKind::Tuple(parts) => {
                let parts = parts.iter().map(|t| self.ty(t)).collect();
                self.store.tuple(parts)
            }
            ast::TypeKind::List(element) => {
                let element = self.ty(element);
                self.store.list(element)
            }
            ast::TypeKind::Record { fields, tail } => {
                let mut entries: Vec<(Name, Vec<Ty>)> = Vec::new();
                for field in fields {
                    if entries.iter().any(|(label, _)| **label == *field.name.name) {
                        self.twice("field", codes::FIELD_TWICE, &field.name);
                    }
                    let ty = self.ty(&field.ty);
                    entries.push((field.name.name.as_str().into(), vec![ty]));
                }
                let tail = match tail {
                    Some(name) => self.type_var(name, Kind::Fields),
                    None => self.store.empty(),
                };
                let row = self.store.make_row(entries, tail);
                self.store.record(row)
            }
            ast::TypeKind::Function { domains, result, row } => {
                // `Handler(E) / row` is no function: the row is the handler's.
                if let (true, ast::TypeKind::Named { path, args }) = (domains.is_empty(), &result.kind) {
                    if let Some(handler) = self.handler_type(path, args, row.as_ref()) {
                        return handler;
                    }
                }
                let params: Vec<Ty> = domains.iter().map(|d| self.ty(&d.ty)).collect();
                let result = self.ty(result);
                let row = self.effect_row(row.as_ref());
                self.store.function(&params, row, result)
            }
            ast::TypeKind::Error => self.store.error(),
        }
    }

    /// A row; none at all is the empty one.
    pub(super) fn effect_row(&mut self, row: Option<&ast::Row>) -> Ty {
        let Some(row) = row else { return self.store.empty() };
        let mut entries: Vec<(Name, Vec<Ty>)> = Vec::new();
        let mut broken = false;
        for effect in &row.effects {
            match self.effect_ref(effect) {
                Some(entry) => entries.push(entry),
                None => broken = true,
            }
        }
        let tail = match &row.tail {
            _ if broken => self.store.error(),
            Some(name) => self.type_var(name, Kind::Effects),
            None => self.store.empty(),
        };
        self.store.make_row(entries, tail)
    }

    /// An effect with its arguments; fresh variables for those that are left out (rule 4).
    pub(super) fn effect_ref(&mut self, effect: &ast::EffectRef) -> Option<(Name, Vec<Ty>)> {
        let last = effect.path.last()?;
        let name = match self.env.lookup(|n| &n.effects, effect.path.qualifier(), &last.name) {
            Lookup::Found(name) => name,
            other => {
                let path = effect.path.clone();
                self.unresolved("effect", codes::UNKNOWN_EFFECT, &other, &path);
                return None;
            }
        };
        let arity = self.env.effects.get(&name).map_or(0, |info| info.arity);
        let args: Vec<Ty> = effect.args.iter().map(|t| self.ty(t)).collect();
        if args.is_empty() {
            let args = (0..arity).map(|_| self.fresh()).collect();
            return Some((name, args));
        }
        if args.len() != arity {
            self.type_arguments("effect", &last.name, arity, args.len(), effect.span);
            return None;
        }
        Some((name, args))
    }

    fn named(&mut self, path: &ast::Path, args: &[ast::Type], span: Span) -> Ty {
        let Some(last) = path.last() else { return self.store.error() };
        let name = match self.env.lookup_type(path.qualifier(), &last.name) {
            Lookup::Found(name) => name,
            other => {
                args.iter().for_each(|t| {
                    self.ty(t);
                });
                self.unresolved("type", codes::UNKNOWN_TYPE, &other, path);
                return self.store.error();
            }
        };
        let args: Vec<Ty> = args.iter().map(|t| self.ty(t)).collect();
        if *name == *builtin::UNIT && args.is_empty() {
            return self.store.unit();
        }
        if let Some((_, arity)) = builtin::ALL.iter().find(|(n, _)| *n == &*name) {
            if *arity != args.len() {
                self.type_arguments("type", &last.name, *arity, args.len(), span);
                return self.store.error();
            }
            return self.store.con(name, args);
        }
        if self.aliases_open.contains(&name) {
            let diagnostic = Diagnostic::new(
                codes::ALIAS_CYCLE,
                format!("the type `{}` is another name of itself", last.name),
                span,
            )
            .primary("refers to the type that is being defined")
            .help(format!("make it a type of its own: `shape {0} = {0}(..)`", last.name));
            self.report(diagnostic);
            return self.store.error();
        }
        self.define_alias(&name);
        let Some(info) = self.env.types.get(&name).cloned() else {
            return self.store.error();
        };
        if info.params.len() != args.len() {
            self.type_arguments("type", &last.name, info.params.len(), args.len(), span);
            return self.store.error();
        }
        match &info.body {
            TypeBody::Alias(ty) => self.apply(&info.params, &args, *ty),
            _ => self.store.con(name, args),
        }
    }

    /// A type with `args` for the quantified variables `params`.
    pub(super) fn apply(&mut self, params: &[Ty], args: &[Ty], ty: Ty) -> Ty {
        let mut memo = params.iter().map(|p| self.store.root(*p)).zip(args.iter().copied()).collect();
        let level = self.level;
        self.store.instantiate_with(ty, &mut memo, &mut |store, kind, _| store.var(kind, level))
    }

    fn type_arguments(&mut self, what: &str, name: &str, expected: usize, given: usize, span: Span) {
        let plural = if expected == 1 { "" } else { "s" };
        let were = if given == 1 { "was" } else { "were" };
        self.report(
            Diagnostic::new(
                codes::TYPE_ARGUMENTS,
                format!("the {what} `{name}` has {expected} parameter{plural}, but {given} {were} given"),
                span,
            )
            .help(match expected {
                0 => format!("write `{name}` without arguments"),
                n => format!("write `{name} {}`", ["a", "b", "c", "d"].get(..n).unwrap_or_default().join(" ")),
            }),
        );
    }

    pub(super) fn type_var(&mut self, name: &ast::Ident, kind: Kind) -> Ty {
        if let Some(ty) = self.type_vars.get(&name.name).copied() {
            let known = match self.store.node(ty) {
                crate::types::Node::Var { kind, .. } | crate::types::Node::Skolem { kind, .. } => *kind,
                _ => return ty,
            };
            if known != kind {
                let describe = |kind| match kind {
                    Kind::Type => "a type".to_owned(),
                    Kind::Fields => "the rest of a record".to_owned(),
                    Kind::Effects => "a row of effects".to_owned(),
                    Kind::Constructor(1) => "a type with one argument".to_owned(),
                    Kind::Constructor(n) => format!("a type with {n} arguments"),
                };
                self.report(
                    Diagnostic::new(
                        codes::KIND,
                        format!("`{}` stands for {} and for {}", name.name, describe(known), describe(kind)),
                        name.span,
                    )
                    .primary(format!("{} here", describe(kind)))
                    .help("use another name for one of them"),
                );
                return self.store.error();
            }
            return ty;
        }
        let ty = match self.var_mode {
            VarMode::Generic => self.store.generic(kind, Some(name.name.as_str().into())),
            VarMode::Flexible => self.store.named_var(kind, FLOW_LEVEL, name.name.as_str().into()),
            VarMode::Declared => {
                self.report(
                    Diagnostic::new(
                        codes::UNKNOWN_TYPE_VARIABLE,
                        format!("the type variable `{}` is not a parameter of this type", name.name),
                        name.span,
                    )
                    .help(format!("add `{0}` after the type's name, or write a type for it", name.name)),
                );
                self.store.error()
            }
        };
        self.type_vars.insert(name.name.clone(), ty);
        ty
    }

    /// Runs `f` with type variables of its own.
    pub(super) fn with_vars<T>(
        &mut self,
        mode: VarMode,
        vars: impl IntoIterator<Item = (String, Ty)>,
        f: impl FnOnce(&mut Self) -> T,
    ) -> T {
        let saved = std::mem::replace(&mut self.type_vars, vars.into_iter().collect());
        let saved_mode = std::mem::replace(&mut self.var_mode, mode);
        let result = f(self);
        self.type_vars = saved;
        self.var_mode = saved_mode;
        result
    }
}

/// Whether the only domain is an unnamed `()`: such a flow has written arity 0, as `flow f : T / row` has.
pub(super) fn takes_unit_only(domains: &[ast::Domain]) -> bool {
    matches!(domains, [ast::Domain { name: None, ty: ast::Type { kind: ast::TypeKind::Unit, .. } }])
}
