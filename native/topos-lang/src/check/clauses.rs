//! The clauses of a flow: one is its body, several are a `match` on its parameters.

use super::annotate::takes_unit_only;
use super::groups::Group;
use super::tree::{Arm, Expr, ExprKind, Pattern, PatternKind};
use super::{AmbientOf, Checker, Want, Why};
use crate::codes;
use crate::core::Local;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{Node, Ty};

impl Checker<'_> {
    /// The parameters and the body of a flow of that type.
    pub(super) fn clauses(
        &mut self,
        group: &Group<'_>,
        clauses: &[&'_ ast::FlowDecl],
        ty: Ty,
        why: &Why,
    ) -> Option<(Vec<Pattern>, Expr)> {
        let arity = self.env.flows[group.id].arity;
        let mut types = Vec::new();
        let mut at = ty;
        let mut row = self.store.empty();
        for _ in 0..arity.max(1) {
            let Node::Arrow { param, row: r, result } = *self.store.node(at) else {
                let head = clauses.first()?;
                self.report(
                    Diagnostic::new(
                        codes::SIGNATURE_ARITY,
                        format!("`{}` has {arity} parameters, but its signature has fewer", group.name.name),
                        head.name.span,
                    )
                    .label(group.signature_span.unwrap_or(head.name.span), "the signature"),
                );
                return None;
            };
            types.push(param);
            row = r;
            at = result;
        }
        if arity == 0 {
            let unit = self.store.unit();
            if self.store.unify(types[0], unit).is_err() {
                let head = clauses.first()?;
                let shown = self.store.show(types[0]);
                self.report(
                    Diagnostic::new(
                        codes::SIGNATURE_ARITY,
                        format!("`{}` has no parameters, but its signature takes `{shown}`", group.name.name),
                        head.name.span,
                    )
                    .help(format!("write a parameter: `flow {} x = ..`", group.name.name)),
                );
                return None;
            }
            types.clear();
        }
        let result = Want::new(at, why.clone());
        let of = AmbientOf::Flow(group.name.name.clone(), group.signature_span);
        self.flow_row = Some((row, of.clone()));
        let first = clauses.first()?;
        if let [clause] = clauses {
            if clause.guards.is_empty() {
                return self.under(row, of, |c| c.scoped(|c| c.single_clause(clause, &types, &result)));
            }
        }
        self.under(row, of, |c| c.many_clauses(clauses, &types, &result, first.span))
    }

    fn single_clause(&mut self, clause: &ast::FlowDecl, types: &[Ty], result: &Want) -> Option<(Vec<Pattern>, Expr)> {
        let mut params = Vec::new();
        match &clause.head {
            ast::FlowHead::Signature => {
                let domains = clause.signature.as_ref().map_or(&[][..], |s| &s.domains);
                let domains = if takes_unit_only(domains) { &[] } else { domains };
                let patterns: Vec<ast::Pattern> = domains
                    .iter()
                    .map(|d| match &d.name {
                        Some(name) => ast::Pattern { kind: ast::PatternKind::Var(name.clone()), span: name.span },
                        None => ast::Pattern { kind: ast::PatternKind::Wildcard, span: d.ty.span },
                    })
                    .collect();
                self.distinct(patterns.iter());
                for (pattern, ty) in patterns.iter().zip(types) {
                    params.push(self.pattern(pattern, &Want::plain(*ty)));
                }
            }
            ast::FlowHead::Patterns(patterns) => {
                self.distinct(patterns.iter());
                for (pattern, ty) in patterns.iter().zip(types) {
                    params.push(self.pattern(pattern, &Want::plain(*ty)));
                }
            }
            ast::FlowHead::Params(written) => {
                self.distinct(written.iter().map(|p| &p.pattern));
                for (param, ty) in written.iter().zip(types) {
                    params.push(self.pattern(&param.pattern, &Want::plain(*ty)));
                }
            }
        }
        let body = self.leavable(clause.body.as_ref()?, result);
        Some((params, body))
    }

    /// Several clauses, or one with guards: a `match` on the parameters.
    fn many_clauses(
        &mut self,
        clauses: &[&'_ ast::FlowDecl],
        types: &[Ty],
        result: &Want,
        span: Span,
    ) -> Option<(Vec<Pattern>, Expr)> {
        let locals: Vec<Local> = types.iter().map(|_| self.new_local("arg")).collect();
        let mut arms = Vec::new();
        for clause in clauses {
            let patterns = match &clause.head {
                ast::FlowHead::Patterns(patterns) => patterns.as_slice(),
                _ => &[],
            };
            if patterns.len() != types.len() {
                self.report(
                    Diagnostic::new(
                        codes::SIGNATURE_ARITY,
                        format!("this clause has {} parameters, others have {}", patterns.len(), types.len()),
                        clause.name.span,
                    )
                    .label(span, "the first clause"),
                );
                continue;
            }
            let arm = self.scoped(|c| {
                c.distinct(patterns.iter());
                let mut typed = Vec::new();
                for (pattern, ty) in patterns.iter().zip(types) {
                    typed.push(c.pattern(pattern, &Want::plain(*ty)));
                }
                let guard = c.guards(&clause.guards);
                let body = c.leavable(clause.body.as_ref()?, result);
                let pattern = c.tuple_of(typed, types, clause.span);
                Some(Arm { patterns: vec![pattern], guard, body, span: clause.span })
            });
            arms.extend(arm);
        }
        let params: Vec<Pattern> = locals
            .iter()
            .zip(types)
            .map(|(local, ty)| Pattern { kind: PatternKind::Bind(local.clone()), ty: *ty, span })
            .collect();
        let mut scrutinees: Vec<Expr> =
            locals.into_iter().zip(types).map(|(l, ty)| Expr { kind: ExprKind::Local(l), ty: *ty, span }).collect();
        let scrutinee = match scrutinees.len() {
            1 => scrutinees.remove(0),
            0 => {
                let ty = self.store.unit();
                Expr { kind: ExprKind::Literal(super::tree::Literal::Unit), ty, span }
            }
            _ => {
                let ty = self.store.tuple(types.to_vec());
                Expr { kind: ExprKind::Tuple(scrutinees), ty, span }
            }
        };
        let kind = ExprKind::Match { scrutinee: Box::new(scrutinee), arms };
        Some((params, Expr { kind, ty: result.ty, span }))
    }

    fn tuple_of(&mut self, mut patterns: Vec<Pattern>, types: &[Ty], span: Span) -> Pattern {
        match patterns.len() {
            0 => Pattern { kind: PatternKind::Wildcard, ty: self.store.unit(), span },
            1 => patterns.remove(0),
            _ => {
                let ty = self.store.tuple(types.to_vec());
                Pattern { kind: PatternKind::Tuple(patterns), ty, span }
            }
        }
    }
}
