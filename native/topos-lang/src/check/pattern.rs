//! Patterns: their types and the variables they bind.

use super::env::{LocalInfo, Lookup};
use super::tree::{self, Literal, Pattern, PatternKind};
use super::{Checker, Want, Why};
use crate::codes;
use crate::core::Local;
use crate::diagnostic::Diagnostic;
use crate::syntax::ast;
use crate::types::{builtin, Kind, Name, Node, Ty};

impl Checker<'_> {
    /// A pattern for values of a type. Its variables come into scope.
    pub(super) fn pattern(&mut self, pattern: &ast::Pattern, want: &Want) -> Pattern {
        self.distinct(std::iter::once(pattern));
        self.pattern_in(pattern, want, &[])
    }

    /// Alternatives of an arm: the same variables with the same types in each.
    pub(super) fn alternatives(&mut self, patterns: &[ast::Pattern], ty: Ty, typed: &mut Vec<Pattern>) {
        let mut first: Vec<(String, LocalInfo)> = Vec::new();
        for (i, pattern) in patterns.iter().enumerate() {
            let mark = self.env.locals.len();
            self.distinct(std::iter::once(pattern));
            typed.push(self.pattern_in(pattern, &Want::plain(ty), &first));
            let bound: Vec<(String, LocalInfo)> = self.env.locals.drain(mark..).collect();
            if i == 0 {
                first = bound;
                continue;
            }
            let missing = first
                .iter()
                .find(|(n, _)| !bound.iter().any(|(m, _)| m == n))
                .or_else(|| bound.iter().find(|(n, _)| !first.iter().any(|(m, _)| m == n)));
            if let Some((name, _)) = missing {
                let diagnostic = Diagnostic::new(
                    codes::ALTERNATIVES,
                    format!("only one of the alternatives binds `{name}`"),
                    pattern.span,
                )
                .label(patterns[0].span, "the first alternative")
                .help("all alternatives bind the same variables; `_` where a value is not needed");
                self.report(diagnostic);
            }
        }
        self.env.locals.extend(first);
    }

    /// Reports variables that several of the patterns, or one of them twice, bind.
    pub(super) fn distinct<'p>(&mut self, patterns: impl Iterator<Item = &'p ast::Pattern>) {
        let mut names: Vec<&ast::Ident> = Vec::new();
        for pattern in patterns {
            binders(pattern, &mut names);
        }
        for (i, name) in names.iter().enumerate() {
            if let Some(first) = names[..i].iter().find(|n| n.name == name.name) {
                self.report(
                    Diagnostic::new(codes::BOUND_TWICE, format!("`{}` is bound twice", name.name), name.span)
                        .label(first.span, "bound here first")
                        .help("give one of them another name, and compare with `==` if they must be equal"),
                );
            }
        }
    }

    /// `shared`: the variables of the first alternative, whose locals this one uses too.
    fn pattern_in(&mut self, pattern: &ast::Pattern, want: &Want, shared: &[(String, LocalInfo)]) -> Pattern {
        let span = pattern.span;
        let kind = match &pattern.kind {
            ast::PatternKind::Wildcard | ast::PatternKind::Error => PatternKind::Wildcard,
            ast::PatternKind::Var(name) => PatternKind::Bind(self.bind_variable(name, want.ty, shared)),
            ast::PatternKind::As(inner, name) => {
                let inner = self.pattern_in(inner, want, shared);
                PatternKind::As(Box::new(inner), self.bind_variable(name, want.ty, shared))
            }
            ast::PatternKind::Literal(literal) => {
                let (literal, ty) = self.literal(literal);
                self.subsume(ty, want, span);
                if matches!(literal, Literal::Number(_)) {
                    self.number_patterns.push((ty, span));
                }
                PatternKind::Literal(literal)
            }
            ast::PatternKind::Tuple(parts) => {
                let types: Vec<Ty> = match self.store.node(want.ty).clone() {
                    Node::Tuple(types) if types.len() == parts.len() => types,
                    _ => {
                        let types: Vec<Ty> = parts.iter().map(|_| self.fresh()).collect();
                        let ty = self.store.tuple(types.clone());
                        self.subsume(ty, want, span);
                        types
                    }
                };
                PatternKind::Tuple(
                    parts.iter().zip(types).map(|(p, ty)| self.pattern_in(p, &Want::plain(ty), shared)).collect(),
                )
            }
            ast::PatternKind::List(items) => {
                let element = self.element_type(want, span);
                let items = items.iter().map(|p| self.pattern_in(p, &Want::plain(element), shared)).collect();
                PatternKind::List(items, None)
            }
            ast::PatternKind::Cons(head, tail) => {
                let element = self.element_type(want, span);
                let list = self.store.list(element);
                let mut heads = vec![self.pattern_in(head, &Want::plain(element), shared)];
                let mut rest = &**tail;
                while let ast::PatternKind::Cons(head, tail) = &rest.kind {
                    heads.push(self.pattern_in(head, &Want::plain(element), shared));
                    rest = tail;
                }
                let tail = self.pattern_in(rest, &Want::plain(list), shared);
                PatternKind::List(heads, Some(Box::new(tail)))
            }
            ast::PatternKind::Record(fields) => self.record_pattern(fields, want, span, shared),
            ast::PatternKind::Constructor { path, args } => self.constructor_pattern(path, args, want, span, shared),
            ast::PatternKind::Annotated(inner, ty) => {
                let at = ty.span;
                let ty = self.annotation(ty);
                self.subsume(ty, want, at);
                return self.pattern_in(inner, &Want::new(ty, Why::Signature(at)), shared);
            }
        };
        Pattern { kind, ty: want.ty, span }
    }

    fn bind_variable(&mut self, name: &ast::Ident, ty: Ty, shared: &[(String, LocalInfo)]) -> Local {
        if let Some((_, first)) = shared.iter().find(|(n, _)| *n == name.name) {
            let first = first.clone();
            self.subsume(ty, &Want::plain(first.ty), name.span);
            self.env.locals.push((name.name.clone(), first.clone()));
            return first.local;
        }
        self.bind_local(&name.name, ty)
    }

    /// A new variable in scope.
    pub(super) fn bind_local(&mut self, name: &str, ty: Ty) -> Local {
        let local = self.new_local(name);
        self.env.locals.push((name.to_owned(), LocalInfo { local: local.clone(), ty, state: false }));
        local
    }

    fn element_type(&mut self, want: &Want, span: crate::diagnostic::Span) -> Ty {
        match self.store.node(want.ty) {
            Node::Con(name, args) if &**name == builtin::LIST && args.len() == 1 => args[0],
            _ => {
                let element = self.fresh();
                let list = self.store.list(element);
                self.subsume(list, want, span);
                element
            }
        }
    }

    fn record_pattern(
        &mut self,
        fields: &[ast::FieldPattern],
        want: &Want,
        span: crate::diagnostic::Span,
        shared: &[(String, LocalInfo)],
    ) -> PatternKind {
        if matches!(self.store.node(want.ty), Node::Var { .. }) {
            let tail = self.store.var(Kind::Fields, self.level);
            let record = self.store.record(tail);
            self.subsume(record, want, span);
        }
        let mut typed: Vec<(Name, Pattern)> = Vec::new();
        for field in fields {
            if typed.iter().any(|(label, _)| **label == *field.name.name) {
                self.twice("field", codes::FIELD_TWICE, &field.name);
                continue;
            }
            let ty = match self.try_select(want.ty, &field.name.name) {
                Some(ty) => ty,
                None => {
                    self.no_field(&field.name, want.ty);
                    self.store.error()
                }
            };
            let pattern = self.pattern_in(&field.pattern, &Want::plain(ty), shared);
            typed.push((field.name.name.as_str().into(), pattern));
        }
        PatternKind::Record(typed)
    }

    fn constructor_pattern(
        &mut self,
        path: &ast::Path,
        args: &[ast::Pattern],
        want: &Want,
        span: crate::diagnostic::Span,
        shared: &[(String, LocalInfo)],
    ) -> PatternKind {
        let typed = path.last().and_then(|last| {
            // The type that is matched decides between constructors of the same name, and needs no import.
            let expected = match self.store.node(want.ty) {
                Node::Con(name, _) if path.segments.len() == 1 => Some(name.clone()),
                _ => None,
            };
            let by_type = expected.and_then(|ty| {
                let info = self.env.types.get(&ty)?;
                let super::interface::TypeBody::Shape(ctors) = &info.body else { return None };
                let index = ctors.iter().position(|(name, _)| **name == *last.name)?;
                Some(super::env::CtorRef { ty, index })
            });
            let lookup = match by_type {
                Some(ctor) => Lookup::Found(ctor),
                None => self.env.lookup_ctor(path.qualifier(), &last.name),
            };
            match lookup {
                Lookup::Found(ctor) => self.constructor_type(&ctor),
                other => {
                    self.unresolved("constructor", codes::UNKNOWN_CONSTRUCTOR, &other, path);
                    None
                }
            }
        });
        let Some((name, fields, ty)) = typed else {
            let error = self.store.error();
            for arg in args {
                self.pattern_in(arg, &Want::plain(error), shared);
            }
            return PatternKind::Wildcard;
        };
        self.subsume(ty, want, span);
        if fields.len() != args.len() {
            let s = if fields.len() == 1 { "" } else { "s" };
            let shape = if fields.is_empty() {
                format!("{name}")
            } else {
                format!("{name}({})", vec!["_"; fields.len()].join(", "))
            };
            self.report(
                Diagnostic::new(
                    codes::PATTERN_ARITY,
                    format!("`{name}` has {} field{s}, but the pattern has {}", fields.len(), args.len()),
                    span,
                )
                .help(format!("write `{shape}`")),
            );
        }
        let error = self.store.error();
        let mut typed: Vec<Pattern> = Vec::new();
        for (i, arg) in args.iter().enumerate() {
            let ty = fields.get(i).copied().unwrap_or(error);
            typed.push(self.pattern_in(arg, &Want::plain(ty), shared));
        }
        typed.truncate(fields.len());
        while typed.len() < fields.len() {
            typed.push(Pattern { kind: PatternKind::Wildcard, ty: fields[typed.len()], span });
        }
        PatternKind::Construct { name, args: typed }
    }
}

fn binders<'p>(pattern: &'p ast::Pattern, out: &mut Vec<&'p ast::Ident>) {
    match &pattern.kind {
        ast::PatternKind::Var(name) => out.push(name),
        ast::PatternKind::As(inner, name) => {
            binders(inner, out);
            out.push(name);
        }
        ast::PatternKind::Tuple(parts) | ast::PatternKind::List(parts) => parts.iter().for_each(|p| binders(p, out)),
        ast::PatternKind::Cons(head, tail) => {
            binders(head, out);
            binders(tail, out);
        }
        ast::PatternKind::Record(fields) => fields.iter().for_each(|f| binders(&f.pattern, out)),
        ast::PatternKind::Constructor { args, .. } => args.iter().for_each(|p| binders(p, out)),
        ast::PatternKind::Annotated(inner, _) => binders(inner, out),
        ast::PatternKind::Wildcard | ast::PatternKind::Literal(_) | ast::PatternKind::Error => {}
    }
}

impl tree::Pattern {
    /// Whether it is a variable or `_`.
    pub(super) fn is_simple(&self) -> bool {
        matches!(self.kind, PatternKind::Bind(_) | PatternKind::Wildcard)
    }

    /// The text of a literal pattern in messages.
    pub(super) fn literal_text(literal: &Literal) -> String {
        match literal {
            Literal::Number(n) => n.clone(),
            Literal::Float(x) => format!("{x:?}"),
            Literal::Text(t) => format!("{t:?}"),
            Literal::Duration(ms) => format!("{ms}ms"),
            Literal::Bool(b) => b.to_string(),
            Literal::Unit => "()".to_owned(),
        }
    }
}
