//! The free variables of expressions: those that no binder inside of them binds.
//!
//! Locals are numbered within a module, so a use is free exactly if nothing in the expression binds its number.

use foldhash::{HashSet, HashSetExt};

use super::{Arm, Expr, ExprKind, FormatPart, Local, Pattern};

/// Collects the variables that are used and bound.
#[derive(Default)]
pub struct Free {
    used: Vec<Local>,
    bound: HashSet<u32>,
}

impl Free {
    /// The variables that were used and not bound, in the order of their first use.
    pub fn finish(self) -> Vec<Local> {
        let mut seen = HashSet::new();
        self.used.into_iter().filter(|l| !self.bound.contains(&l.id) && seen.insert(l.id)).collect()
    }

    /// A variable that is bound.
    pub fn bind(&mut self, local: &Local) {
        self.bound.insert(local.id);
    }

    /// An expression.
    pub fn expr(&mut self, e: &Expr) {
        match &e.kind {
            ExprKind::Local(local) | ExprKind::StateValue(local) => self.used.push(local.clone()),
            ExprKind::Literal(_) | ExprKind::FlowValue(_) | ExprKind::ConstructorValue { .. } | ExprKind::Fail(_) => {}
            ExprKind::Call { args, .. }
            | ExprKind::Tuple(args)
            | ExprKind::Construct { args, .. }
            | ExprKind::Primitive { args, .. }
            | ExprKind::Perform { args, .. }
            | ExprKind::HandlerValue { args, .. }
            | ExprKind::Sibling { args, .. } => self.all(args),
            ExprKind::Apply { function, args } => {
                self.expr(function);
                self.all(args);
            }
            ExprKind::Lambda { params, body } => {
                params.iter().for_each(|p| self.bind(p));
                self.expr(body);
            }
            ExprKind::Let { pattern, value, body } => {
                self.expr(value);
                self.pattern(pattern);
                self.expr(body);
            }
            ExprKind::Sequence(first, then) => {
                self.expr(first);
                self.expr(then);
            }
            ExprKind::If { condition, then, otherwise } => {
                self.expr(condition);
                self.expr(then);
                self.expr(otherwise);
            }
            ExprKind::Match { scrutinee, arms } => {
                self.expr(scrutinee);
                arms.iter().for_each(|arm| self.arm(arm));
            }
            ExprKind::List(items, tail) => {
                self.all(items);
                tail.iter().for_each(|t| self.expr(t));
            }
            ExprKind::Record(fields) => fields.iter().for_each(|(_, e)| self.expr(e)),
            ExprKind::Update { record, fields } => {
                self.expr(record);
                fields.iter().for_each(|(_, e)| self.expr(e));
            }
            ExprKind::Field { record: value, .. }
            | ExprKind::Superclass { dictionary: value, .. }
            | ExprKind::Fits { value, .. } => self.expr(value),
            ExprKind::Format(parts) => {
                for part in parts {
                    if let FormatPart::Expr(e) = part {
                        self.expr(e);
                    }
                }
            }
            ExprKind::With { args, body, .. } | ExprKind::WithExtern { args, body, .. } => {
                self.all(args);
                self.expr(body);
            }
            ExprKind::WithValue { handler, body, .. } => {
                self.expr(handler);
                self.expr(body);
            }
            ExprKind::Assign { cell, value, .. } => {
                self.used.push(cell.clone());
                self.expr(value);
            }
            ExprKind::Atomic(body) | ExprKind::Abort(body) | ExprKind::ForAll { body, .. } => self.expr(body),
            ExprKind::Leavable { label, body } => {
                self.bind(label);
                self.expr(body);
            }
            ExprKind::Leave { label, value } => {
                self.used.push(label.clone());
                self.expr(value);
            }
            ExprKind::Try { body, failure, again, caught } => {
                self.expr(body);
                self.bind(failure);
                self.bind(again);
                self.expr(caught);
            }
            ExprKind::Again(again) => self.used.push(again.clone()),
        }
    }

    fn all(&mut self, es: &[Expr]) {
        es.iter().for_each(|e| self.expr(e));
    }

    fn arm(&mut self, arm: &Arm) {
        arm.patterns.iter().for_each(|p| self.pattern(p));
        arm.guard.iter().for_each(|g| self.expr(g));
        self.expr(&arm.body);
    }

    fn pattern(&mut self, pattern: &Pattern) {
        match pattern {
            Pattern::Wildcard | Pattern::Literal(_) => {}
            Pattern::Bind(local) => self.bind(local),
            Pattern::As(inner, local) => {
                self.bind(local);
                self.pattern(inner);
            }
            Pattern::Tuple(parts) | Pattern::Construct { args: parts, .. } => {
                parts.iter().for_each(|p| self.pattern(p))
            }
            Pattern::List(items, tail) => {
                items.iter().for_each(|p| self.pattern(p));
                tail.iter().for_each(|t| self.pattern(t));
            }
            Pattern::Record(fields) => fields.iter().for_each(|(_, p)| self.pattern(p)),
        }
    }
}
