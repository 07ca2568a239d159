//! `try e with { .. }`: arms that catch failures, or clauses that answer the operations of an effect.
//!
//! With arms, a failure of e (an error of the run time, of Erlang code, of a `match` that nothing matched) is a `Failure` of the
//! prelude; one that no arm matches goes on. What leaves e by `abort` or `return`, and the end of the process, is none.
//!
//! With clauses it is a `with` of a handler that has no name. Its clauses may use the variables around them, which become its
//! parameters once they are known.

use std::collections::BTreeMap;

use super::env::{HandledBy, HandlerInfo};
use super::handler::{HandlerBody, Handling};
use super::tree::{Expr, ExprKind};
use super::{unsupported, Checker, Want};
use crate::codes;
use crate::core::{self, Free};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{short, Name, Ty};

/// Handlers without a name are called this and a number.
pub(super) const PREFIX: &str = "try ";

/// The type of what arms catch.
const FAILURE: &str = "Failure";

impl Checker<'_> {
    pub(super) fn try_(&mut self, body: &ast::Expr, clauses: &ast::TryClauses, want: &Want, span: Span) -> Expr {
        match clauses {
            ast::TryClauses::Arms(arms) => self.try_arms(body, arms, want, span),
            ast::TryClauses::Handler(clauses) => self.try_clauses(body, clauses, want, span),
        }
    }

    fn try_arms(&mut self, body: &ast::Expr, arms: &[ast::Arm], want: &Want, span: Span) -> Expr {
        let full: Name = format!("{}.{FAILURE}", super::PRELUDE).into();
        if !self.env.types.contains_key(&full) {
            return self.not_supported(unsupported::try_(span), want, span);
        }
        let failure_ty = self.store.con(full, Vec::new());
        let body = self.expr(body, want);
        self.settle(u32::MAX);
        let arms = self.arms(arms, &[failure_ty], want, false);
        let (failure, again) = (self.new_local("failure"), self.new_local("again"));
        let scrutinee = Expr { kind: ExprKind::Local(failure), ty: failure_ty, span };
        let kind = ExprKind::Try { body: Box::new(body), scrutinee: Box::new(scrutinee), again, arms };
        Expr { kind, ty: want.ty, span }
    }

    fn try_clauses(&mut self, body: &ast::Expr, clauses: &[ast::HandlerClause], want: &Want, span: Span) -> Expr {
        let Some((effect, head)) = self.effect_of_clauses(clauses, span) else {
            // Which effect the body may have is not known: nothing more is said about it.
            let error = self.store.error();
            self.under(error, self.ambient_of.clone(), |c| c.expr(body, &Want::plain(error)));
            return self.wrong(want, span);
        };
        let arity = self.env.effects.get(&effect).map_or(0, |info| info.arity);
        let effect_args: Vec<Ty> = (0..arity).map(|_| self.fresh()).collect();
        let (body_ty, answer) = if clauses.iter().any(|c| matches!(c.head, ast::ClauseHead::Return(_))) {
            (self.fresh(), self.fresh())
        } else {
            let ty = self.fresh();
            (ty, ty)
        };
        self.subsume(answer, want, span);
        let inner = self.store.extend(effect.clone(), effect_args.clone(), self.ambient);
        let body = self.under(inner, self.ambient_of.clone(), |c| c.expr(body, &Want::plain(body_ty)));
        let name: Name = format!("{PREFIX}{}", self.env.handlers.len()).into();
        let info = HandlerInfo {
            effect: effect.clone(),
            effect_args: effect_args.clone(),
            params: Vec::new(),
            row: self.ambient,
            constraints: Vec::new(),
            by: HandledBy::Topos { module: None, name: name.clone(), body: body_ty, answer },
        };
        self.want_bounds(&effect, &effect_args, head, "`try`");
        let index = self.env.handlers.len();
        self.env.handlers.push(info.clone());
        let declared = ast::HandlerDecl {
            name: ast::Ident { name: "try".to_owned(), span: head },
            type_params: Vec::new(),
            params: None,
            effect: ast::EffectRef {
                path: ast::Path { segments: Vec::new(), span: head },
                args: Vec::new(),
                span: head,
            },
            row: None,
            states: Vec::new(),
            clauses: clauses.to_vec(),
        };
        let mut parts = HandlerBody::new(index, name.to_string(), effect.clone(), head);
        let outer = self.handling.replace(Handling::new(effect, effect_args, answer, self.env.locals.len()));
        let outer_try = std::mem::replace(&mut self.in_try, true);
        self.handler_clauses(&declared, &info, body_ty, &mut parts);
        self.in_try = outer_try;
        self.handling = outer;
        let kind = ExprKind::TryHandler { parts: Box::new(parts), row: self.ambient, body: Box::new(body) };
        Expr { kind, ty: answer, span }
    }

    /// The only effect in scope that has all the operations of the clauses, and the place of the first.
    fn effect_of_clauses(&mut self, clauses: &[ast::HandlerClause], span: Span) -> Option<(Name, Span)> {
        let mut operations: Vec<&ast::Ident> = clauses
            .iter()
            .filter_map(|c| match &c.head {
                ast::ClauseHead::Operation { name, .. } if !name.name.is_empty() => Some(name),
                _ => None,
            })
            .collect();
        operations.retain(|name| !matches!(name.name.as_str(), "init" | "finally"));
        let Some(first) = operations.first() else {
            self.report(
                Diagnostic::new(codes::UNKNOWN_OPERATION, "this `try` has no clause for an operation", span)
                    .help("write `op(x) => ..` for each operation of an effect, or arms, `| failure -> ..`"),
            );
            return None;
        };
        // A clause too many, or with a slip in its name, does not hide which effect is meant.
        let mut found: BTreeMap<Name, usize> = BTreeMap::new();
        for name in &operations {
            for effect in self.env.effects_with(&[], &name.name) {
                *found.entry(effect).or_insert(0) += 1;
            }
        }
        let mut best: Vec<(usize, Name)> = found.into_iter().map(|(effect, known)| (known, effect)).collect();
        best.sort_by_key(|(known, _)| std::cmp::Reverse(*known));
        match best.as_slice() {
            [] => {
                let diagnostic = Diagnostic::new(
                    codes::UNKNOWN_OPERATION,
                    format!("no effect in scope has an operation `{}`", first.name),
                    first.span,
                );
                let all: Vec<Name> =
                    self.env.effects.values().flat_map(|i| i.operations.iter().map(|op| op.name.clone())).collect();
                let near = super::suggest::nearest(&first.name, all.iter().map(|n| &**n));
                self.report(match near {
                    Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                    None => diagnostic,
                });
                None
            }
            [(a, first_effect), (b, second), ..] if a == b => {
                self.report(
                    Diagnostic::new(
                        codes::AMBIGUOUS_OPERATION,
                        format!("the clauses of this `try` could be those of `{first_effect}` and of `{second}`"),
                        first.span,
                    )
                    .help(format!("write a handler: `handler h : Handler({}) = {{ .. }}`", short(first_effect))),
                );
                None
            }
            [(_, effect), ..] => Some((effect.clone(), first.span)),
        }
    }

    /// The arms in the core: what none of them matches goes on.
    pub(super) fn core_try(
        &mut self,
        body: Expr,
        scrutinee: Expr,
        again: core::Local,
        arms: Vec<super::tree::Arm>,
        (span, check): (Span, bool),
    ) -> core::ExprKind {
        let failure = match &scrutinee.kind {
            ExprKind::Local(local) => local.clone(),
            _ => self.new_local("failure"),
        };
        let body = self.boxed(body, check);
        let goes_on = core::Expr { kind: core::ExprKind::Again(again.clone()), span };
        let caught = self.core_arms(scrutinee, arms, check, |_| goes_on);
        core::ExprKind::Try { body, failure, again, caught: Box::new(core::Expr { kind: caught, span }) }
    }

    /// A `with` of the handler that the clauses are, which becomes one of the module.
    pub(super) fn core_try_handler(
        &mut self,
        parts: HandlerBody,
        row: Ty,
        body: Expr,
        (span, check): (Span, bool),
    ) -> core::ExprKind {
        let shared = self.can_spawn(row);
        let mut handler = self.core_parts(parts, check);
        let mut free = Free::default();
        for clause in &handler.clauses {
            clause.params.iter().for_each(|p| free.bind(p));
            free.expr(&clause.body);
        }
        if let Some((param, body)) = &handler.returns {
            free.bind(param);
            free.expr(body);
        }
        handler.init.iter().chain(&handler.finally).for_each(|e| free.expr(e));
        handler.params = free.finish();
        let args = handler.params.iter().map(|l| core::Expr { kind: core::ExprKind::Local(l.clone()), span }).collect();
        let with = core::ExprKind::With {
            effect: handler.effect.clone(),
            handler: core::HandlerRef { module: None, name: handler.name.clone() },
            args,
            shared,
            body: self.boxed(body, check),
        };
        self.lifted.push(handler);
        with
    }
}

impl HandlerBody {
    /// A handler without anything yet.
    pub(super) fn new(index: usize, name: String, effect: Name, span: Span) -> Self {
        Self {
            index,
            name,
            effect,
            params: Vec::new(),
            states: Vec::new(),
            clauses: Vec::new(),
            init: None,
            finally: None,
            returns: None,
            span,
        }
    }
}
