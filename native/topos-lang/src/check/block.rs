//! Blocks and statements, `let`, lambdas, `if` and `match`.

use super::tree::{Arm, Expr, ExprKind, Literal, Pattern, PatternKind, Stmt};
use super::{AmbientOf, Checker, Want, Why};
use crate::codes;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{builtin, Node, Ty};

/// A block with more statements than this is refused: each nests the rest of the block one deeper in the core.
const MAX_STATEMENTS: usize = 2_000;

impl Checker<'_> {
    pub(super) fn is_unit(&self, ty: Ty) -> bool {
        matches!(self.store.node(ty), Node::Con(name, _) if &**name == builtin::UNIT)
    }

    /// A block; one that is wanted to be `()` drops its last value (rule 3).
    pub(super) fn block(&mut self, block: &ast::Block, want: &Want) -> Expr {
        self.block_of(&block.stmts, block.span, want)
    }

    fn block_of(&mut self, stmts: &[ast::Stmt], span: Span, want: &Want) -> Expr {
        self.scoped(|c| c.statements(stmts, span, want))
    }

    fn statements(&mut self, stmts: &[ast::Stmt], span: Span, want: &Want) -> Expr {
        let tail = std::mem::take(&mut self.tail);
        if stmts.len() > MAX_STATEMENTS {
            self.report(
                Diagnostic::new(
                    codes::TYPE_TOO_LARGE,
                    format!("this block has {} statements; {MAX_STATEMENTS} are the most", stmts.len()),
                    span,
                )
                .help("make flows of its parts"),
            );
            return self.wrong(want, span);
        }
        let Some((last, init)) = stmts.split_last() else {
            let ty = self.store.unit();
            self.subsume(ty, want, span);
            return Expr { kind: ExprKind::Literal(Literal::Unit), ty, span };
        };
        let mut typed = Vec::new();
        for (i, stmt) in init.iter().enumerate() {
            if let (true, Some((condition, then))) = (tail, early_return(stmt)) {
                let rest = (&stmts[i + 1..], stmt.span.to(last.span));
                let value = self.if_(condition, then, Some(rest), want, stmt.span, true);
                return in_block(typed, value, span);
            }
            if let Some(stmt) = self.statement(stmt) {
                typed.push(stmt);
            }
            self.settle(u32::MAX);
        }
        let value = match &last.kind {
            ast::StmtKind::Expr(e) => {
                self.tail = tail;
                self.last_value(e, want)
            }
            ast::StmtKind::Return(Some(e)) if tail => self.last_value(e, want),
            ast::StmtKind::Return(None) if tail => {
                let ty = self.store.unit();
                self.subsume(ty, want, last.span);
                Expr { kind: ExprKind::Literal(Literal::Unit), ty, span: last.span }
            }
            ast::StmtKind::Return(value) => {
                let mut value = self.leave(value.as_ref(), last.span);
                value.ty = want.ty;
                value
            }
            _ => {
                if let Some(stmt) = self.statement(last) {
                    typed.push(stmt);
                }
                let ty = self.store.unit();
                self.subsume(ty, want, last.span);
                Expr { kind: ExprKind::Literal(Literal::Unit), ty, span: last.span }
            }
        };
        in_block(typed, value, span)
    }

    fn last_value(&mut self, e: &ast::Expr, want: &Want) -> Expr {
        if !self.is_unit(want.ty) || is_branching(e) {
            return self.expr(e, want);
        }
        self.tail = false;
        let ty = self.fresh();
        let value = self.expr(e, &Want::plain(ty));
        self.dropped(&value);
        Expr { ty: want.ty, span: value.span, kind: ExprKind::Drop(Box::new(value)) }
    }

    /// A value that nobody looks at should at least not be a function that was not called.
    fn dropped(&mut self, value: &Expr) {
        if matches!(self.store.node(value.ty), Node::Arrow { .. }) {
            let shown = self.store.show(value.ty);
            self.report(
                Diagnostic::new(codes::DROPPED_FUNCTION, "this function is not called", value.span)
                    .primary(format!("has the type `{shown}`"))
                    .help("give it its arguments, `()` if it takes none"),
            );
        }
    }

    fn statement(&mut self, stmt: &ast::Stmt) -> Option<Stmt> {
        match &stmt.kind {
            ast::StmtKind::Let { pattern, ty, value } => Some(self.let_(pattern, ty.as_ref(), value)),
            ast::StmtKind::Bind { pattern, value } => Some(self.let_(pattern, None, value)),
            ast::StmtKind::Define { name, value } => {
                let pattern = ast::Pattern { kind: ast::PatternKind::Var(name.clone()), span: name.span };
                Some(self.let_(&pattern, None, value))
            }
            ast::StmtKind::Assign { place, value } => self.assign(place, value, stmt.span).map(Stmt::Expr),
            ast::StmtKind::For { pattern, iterable, body } => {
                Some(Stmt::Expr(self.for_(pattern, iterable, body, stmt.span)))
            }
            ast::StmtKind::Return(value) => Some(Stmt::Expr(self.leave(value.as_ref(), stmt.span))),
            ast::StmtKind::Expr(e) => {
                let ty = self.fresh();
                let value = self.expr(e, &Want::plain(ty));
                self.dropped(&value);
                Some(Stmt::Expr(value))
            }
        }
    }

    /// `let p : T = e`. A variable bound to a value (a function, a constructor of values ..) is generalised.
    pub(super) fn let_(&mut self, pattern: &ast::Pattern, ty: Option<&ast::Type>, value: &ast::Expr) -> Stmt {
        let annotation = match &pattern.kind {
            ast::PatternKind::Annotated(_, ty) => Some(&**ty),
            _ => ty,
        };
        let generalise = annotation.is_none() && matches!(pattern.kind, ast::PatternKind::Var(_)) && is_value(value);
        if generalise {
            self.level += 1;
        }
        let want = match ty {
            Some(ty) => {
                let at = ty.span;
                Want::new(self.annotation(ty), Why::Signature(at))
            }
            None => Want::plain(self.fresh()),
        };
        let value = self.expr(value, &want);
        if generalise {
            self.settle(self.level);
            self.level -= 1;
            self.keep_wanted();
            self.store.generalise(want.ty, self.level);
            self.store.close_spine(want.ty);
        }
        let pattern = self.pattern(pattern, &want);
        Stmt::Let { pattern, value }
    }

    /// `fn(x, y) -> body`, `{ body }`.
    pub(super) fn lambda(
        &mut self,
        params: &[ast::Param],
        body: &ast::Block,
        kind: Function,
        want: &Want,
        span: Span,
    ) -> Expr {
        let shape = self.function_shape(params.len().max(1), want, span);
        self.scoped(|c| {
            let mut patterns = Vec::new();
            if params.is_empty() {
                let unit = c.store.unit();
                c.subsume(unit, &Want::new(shape.params[0], want.why.clone()), span);
            }
            c.distinct(params.iter().map(|p| &p.pattern));
            for (param, ty) in params.iter().zip(&shape.params) {
                if let Some(annotation) = &param.ty {
                    let at = annotation.span;
                    let annotated = c.annotation(annotation);
                    c.subsume(annotated, &Want::new(*ty, want.why.clone()), at);
                }
                patterns.push(c.pattern(&param.pattern, &Want::plain(*ty)));
            }
            let result = Want::new(shape.result, want.why.clone());
            let of_loop = c.loop_bodies.contains(&span);
            let body = c.under(shape.row, AmbientOf::Lambda(span), |c| match (of_loop, kind) {
                (true, _) => c.block(body, &result),
                (false, Function::Lambda) => c.leavable(body, &result),
                (false, Function::Block) => c.in_block_argument(|c| c.block(body, &result)),
            });
            let ty = shape.ty;
            Expr { kind: ExprKind::Lambda { params: patterns, body: Box::new(body) }, ty, span }
        })
    }

    /// `{ | p -> e }`.
    pub(super) fn match_lambda(&mut self, arms: &[ast::Arm], want: &Want, span: Span) -> Expr {
        let shape = self.function_shape(1, want, span);
        let param = self.new_local("it");
        let result = Want::new(shape.result, want.why.clone());
        let arms = self.under(shape.row, AmbientOf::Lambda(span), |c| {
            c.in_block_argument(|c| c.arms(arms, &[shape.params[0]], &result, false))
        });
        let scrutinee = Expr { kind: ExprKind::Local(param.clone()), ty: shape.params[0], span };
        let body = Expr { kind: ExprKind::Match { scrutinee: Box::new(scrutinee), arms }, ty: shape.result, span };
        let pattern = Pattern { kind: PatternKind::Bind(param), ty: shape.params[0], span };
        Expr { kind: ExprKind::Lambda { params: vec![pattern], body: Box::new(body) }, ty: shape.ty, span }
    }

    /// The parameters, the row and the result of a function of `arity` parameters that is wanted.
    fn function_shape(&mut self, arity: usize, want: &Want, span: Span) -> Shape {
        let mut params = Vec::new();
        let mut rows = Vec::new();
        let mut at = want.ty;
        while params.len() < arity {
            let Node::Arrow { param, row, result } = *self.store.node(at) else { break };
            params.push(param);
            rows.push(row);
            at = result;
        }
        if params.len() == arity {
            let row = rows.pop().unwrap_or_else(|| self.store.empty());
            return Shape { params, row, result: at, ty: want.ty };
        }
        let missing: Vec<(Ty, Ty)> = (params.len()..arity).map(|_| (self.fresh(), self.fresh_row())).collect();
        let result = self.fresh();
        let rest = missing.iter().rev().fold(result, |result, (param, row)| self.store.arrow(*param, *row, result));
        // What a function wanted there says so far is kept, whether the rest fits or not.
        let known: Vec<(Ty, Ty)> = params.iter().copied().zip(rows.iter().copied()).collect();
        let ty = known.iter().rev().fold(rest, |result, (param, row)| self.store.arrow(*param, *row, result));
        match want.why {
            Why::Signature(at) if params.is_empty() => self.subsume(ty, &Want::new(want.ty, Why::Body(at)), span),
            _ => self.subsume(ty, want, span),
        }
        params.extend(missing.iter().map(|(param, _)| *param));
        let row = missing.last().map_or_else(|| self.store.empty(), |(_, row)| *row);
        Shape { params, row, result, ty }
    }

    pub(super) fn if_(
        &mut self,
        condition: &ast::Expr,
        then: &ast::Block,
        otherwise: Option<(&[ast::Stmt], Span)>,
        want: &Want,
        span: Span,
        tail: bool,
    ) -> Expr {
        let bool_ty = self.store.con(builtin::BOOL, Vec::new());
        let condition = self.expr(condition, &Want::new(bool_ty, Why::Demand("the condition of an `if` is a Bool")));
        let (then, otherwise) = match otherwise {
            Some((stmts, at)) => {
                let then_span = then.stmts.last().map_or(then.span, |s| s.span);
                let returns = then.stmts.last().is_some_and(|s| matches!(s.kind, ast::StmtKind::Return(_)));
                let what = if returns { "this `return`" } else { "the first branch" };
                self.tail = tail;
                let then = self.block(then, want);
                let want = match want.why {
                    Why::Plain => Want::new(want.ty, Why::Like(then_span, what)),
                    _ => want.clone(),
                };
                self.tail = tail;
                (then, self.block_of(stmts, at, &want))
            }
            None => {
                let unit = self.store.unit();
                let want_unit = Want::new(unit, Why::Demand("an `if` without `else` has no value"));
                self.tail = tail;
                let then = self.block(then, &want_unit);
                self.subsume(unit, want, span);
                (then, Expr { kind: ExprKind::Literal(Literal::Unit), ty: unit, span })
            }
        };
        let kind =
            ExprKind::If { condition: Box::new(condition), then: Box::new(then), otherwise: Box::new(otherwise) };
        Expr { kind, ty: want.ty, span }
    }

    pub(super) fn match_(
        &mut self,
        scrutinees: &[ast::Expr],
        arms: &[ast::Arm],
        want: &Want,
        span: Span,
        tail: bool,
    ) -> Expr {
        let mut typed = Vec::new();
        let mut types = Vec::new();
        for scrutinee in scrutinees {
            let ty = self.fresh();
            let scrutinee = self.expr(scrutinee, &Want::plain(ty));
            types.push(scrutinee.ty);
            typed.push(scrutinee);
        }
        self.settle(u32::MAX);
        let arms = self.arms(arms, &types, want, tail);
        let scrutinee = if typed.len() == 1 {
            typed.remove(0)
        } else {
            let at = scrutinees.iter().map(|s| s.span).reduce(Span::to).unwrap_or(span);
            let ty = self.store.tuple(types);
            Expr { kind: ExprKind::Tuple(typed), ty, span: at }
        };
        Expr { kind: ExprKind::Match { scrutinee: Box::new(scrutinee), arms }, ty: want.ty, span }
    }

    /// Arms over one or several scrutinees.
    pub(super) fn arms(&mut self, arms: &[ast::Arm], types: &[Ty], want: &Want, tail: bool) -> Vec<Arm> {
        let scrutinee = match types {
            [one] => *one,
            many => self.store.tuple(many.to_vec()),
        };
        let mut first: Option<Span> = None;
        let mut typed = Vec::new();
        for arm in arms {
            let want = match (&want.why, first) {
                (Why::Plain, Some(at)) => Want::new(want.ty, Why::Like(at, "the first arm")),
                _ => want.clone(),
            };
            typed.push(self.arm(arm, scrutinee, types.len(), &want, tail));
            first = first.or_else(|| arm.body.stmts.last().map(|s| s.span));
        }
        typed
    }

    fn arm(&mut self, arm: &ast::Arm, scrutinee: Ty, count: usize, want: &Want, tail: bool) -> Arm {
        self.scoped(|c| {
            let mut patterns = Vec::new();
            let mut scrutinee = scrutinee;
            for pattern in &arm.patterns {
                if count > 1
                    && !matches!(&pattern.kind, ast::PatternKind::Tuple(p) if p.len() == count)
                    && !matches!(pattern.kind, ast::PatternKind::Wildcard | ast::PatternKind::Error)
                {
                    c.report(
                        Diagnostic::new(
                            codes::SCRUTINEES,
                            format!("this `match` looks at {count} values, so an arm has {count} patterns"),
                            pattern.span,
                        )
                        .help("separate them by commas: `| p, q -> ..`"),
                    );
                    scrutinee = c.store.error();
                }
            }
            c.alternatives(&arm.patterns, scrutinee, &mut patterns);
            let guard = c.guards(&arm.guards);
            c.tail = tail;
            let body = c.block(&arm.body, want);
            Arm { patterns, guard, body, span: arm.span }
        })
    }

    /// Guards, all of which must be true, as one expression.
    pub(super) fn guards(&mut self, guards: &[ast::Expr]) -> Option<Expr> {
        let bool_ty = self.store.con(builtin::BOOL, Vec::new());
        let want = Want::new(bool_ty, Why::Demand("a guard is a Bool"));
        let typed: Vec<Expr> = self.pure(AmbientOf::Guard, |c| guards.iter().map(|g| c.expr(g, &want)).collect());
        typed.into_iter().reduce(|left, right| {
            let span = left.span.to(right.span);
            let kind =
                ExprKind::Binary { op: ast::BinaryOp::And, left: Box::new(left), right: Box::new(right), dict: None };
            Expr { kind, ty: bool_ty, span }
        })
    }
}

/// `if c { ..; return e }` without an `else`: what follows it is its `else`.
fn early_return(stmt: &ast::Stmt) -> Option<(&ast::Expr, &ast::Block)> {
    let ast::StmtKind::Expr(e) = &stmt.kind else { return None };
    let ast::ExprKind::If { condition, then, otherwise: None } = &e.kind else { return None };
    matches!(then.stmts.last()?.kind, ast::StmtKind::Return(_)).then_some((condition, then))
}

fn in_block(stmts: Vec<Stmt>, value: Expr, span: Span) -> Expr {
    if stmts.is_empty() {
        return value;
    }
    let ty = value.ty;
    Expr { kind: ExprKind::Block(stmts, Box::new(value)), ty, span }
}

/// How a function in place is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Function {
    /// `fn(x) -> e`: a `return` leaves it.
    Lambda,
    /// `{ .. }`: it looks like a part of what is around it, so a `return` in it would be misread.
    Block,
}

struct Shape {
    params: Vec<Ty>,
    row: Ty,
    result: Ty,
    ty: Ty,
}

/// Whether an expression passes what is wanted on to blocks, which drop values themselves.
fn is_branching(e: &ast::Expr) -> bool {
    matches!(
        e.kind,
        ast::ExprKind::If { .. } | ast::ExprKind::Match { .. } | ast::ExprKind::Do(_) | ast::ExprKind::With { .. }
    )
}

/// Whether evaluating an expression does nothing, so that its type may be generalised (the value restriction).
fn is_value(e: &ast::Expr) -> bool {
    match &e.kind {
        ast::ExprKind::Literal(_)
        | ast::ExprKind::Var { .. }
        | ast::ExprKind::Constructor(_)
        | ast::ExprKind::Lambda { .. }
        | ast::ExprKind::Thunk(_)
        | ast::ExprKind::MatchLambda(_) => true,
        ast::ExprKind::Tuple(parts) | ast::ExprKind::List(parts) => parts.iter().all(is_value),
        ast::ExprKind::Record(fields) => fields.iter().all(|f| is_value(&f.value)),
        ast::ExprKind::Apply { function, args } => {
            matches!(function.kind, ast::ExprKind::Constructor(_)) && args.iter().all(is_value)
        }
        _ => false,
    }
}
