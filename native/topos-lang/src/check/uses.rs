//! The names that an expression mentions: the edges of the call graph.
//!
//! Scopes are ignored: a local variable with the name of a flow gives an edge too many, which at worst makes a group larger.

use std::collections::HashSet;

use crate::syntax::ast::{self, ExprKind, StmtKind};

pub(super) fn flow<'a>(flow: &'a ast::FlowDecl, out: &mut HashSet<&'a str>) {
    flow.guards.iter().for_each(|g| expr(g, out));
    flow.body.iter().for_each(|b| block(b, out));
}

fn block<'a>(b: &'a ast::Block, out: &mut HashSet<&'a str>) {
    for stmt in &b.stmts {
        match &stmt.kind {
            StmtKind::Let { value, .. } | StmtKind::Bind { value, .. } | StmtKind::Define { value, .. } => {
                expr(value, out);
            }
            StmtKind::Assign { place, value } => {
                expr(place, out);
                expr(value, out);
            }
            StmtKind::For { iterable, body, .. } => {
                expr(iterable, out);
                block(body, out);
            }
            StmtKind::Return(value) => value.iter().for_each(|e| expr(e, out)),
            StmtKind::Expr(e) => expr(e, out),
        }
    }
}

fn arms<'a>(arms: &'a [ast::Arm], out: &mut HashSet<&'a str>) {
    for arm in arms {
        arm.guards.iter().for_each(|g| expr(g, out));
        block(&arm.body, out);
    }
}

pub(super) fn expr<'a>(e: &'a ast::Expr, out: &mut HashSet<&'a str>) {
    match &e.kind {
        ExprKind::Literal(_) | ExprKind::Constructor(_) | ExprKind::Error => {}
        ExprKind::Var { name, .. } => {
            out.insert(&name.name);
        }
        ExprKind::Format(parts) => {
            for part in parts {
                if let ast::FormatPart::Expr(e) = part {
                    expr(e, out);
                }
            }
        }
        ExprKind::Tuple(items) | ExprKind::List(items) => items.iter().for_each(|e| expr(e, out)),
        ExprKind::Record(fields) => fields.iter().for_each(|f| expr(&f.value, out)),
        ExprKind::Update { record, fields } => {
            expr(record, out);
            fields.iter().for_each(|f| expr(&f.value, out));
        }
        ExprKind::Apply { function, args } => {
            // `e.m(args)` may call the flow `m` of this module.
            if let ExprKind::Field { field, .. } = &function.kind {
                out.insert(&field.name);
            }
            expr(function, out);
            args.iter().for_each(|e| expr(e, out));
        }
        ExprKind::Thunk(b) | ExprKind::Do(b) | ExprKind::Loop(b) | ExprKind::Atomic(b) => block(b, out),
        ExprKind::MatchLambda(a) => arms(a, out),
        ExprKind::Field { record, .. } => expr(record, out),
        ExprKind::Index { collection, index } => {
            expr(collection, out);
            expr(index, out);
        }
        ExprKind::Binary { left, right, .. } => {
            expr(left, out);
            expr(right, out);
        }
        ExprKind::Negate(operand) => expr(operand, out),
        ExprKind::Match { scrutinees, arms: a } => {
            scrutinees.iter().for_each(|e| expr(e, out));
            arms(a, out);
        }
        ExprKind::If { condition, then, otherwise } => {
            expr(condition, out);
            block(then, out);
            otherwise.iter().for_each(|b| block(b, out));
        }
        ExprKind::Lambda { body, .. } | ExprKind::Forall { body, .. } => block(body, out),
        ExprKind::Perform { args, .. } => args.iter().for_each(|e| expr(e, out)),
        ExprKind::With { handlers, body } => {
            handlers.iter().for_each(|e| expr(e, out));
            block(body, out);
        }
        ExprKind::Try { body, clauses } => {
            expr(body, out);
            if let ast::TryClauses::Arms(a) = clauses {
                arms(a, out);
            }
        }
        ExprKind::LetIn { value, body, .. } => {
            expr(value, out);
            expr(body, out);
        }
        ExprKind::Annotated { expr: inner, .. } => expr(inner, out),
    }
}
