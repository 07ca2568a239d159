//! `match` → `case`.
//!
//! Alternatives are tried one after the other, each with the guard, as in Rust. A body that belongs to several alternatives
//! is written once, as a fun of the locals it binds, unless it is so small that repeating it is clearer.
//!
//! A guard that is an Erlang guard becomes one. Any other is evaluated in the clause, and where it is false the arms
//! after it are tried: they are written once, as a fun without arguments, unless they are small. So the size of the
//! output is linear in the size of the input.

use super::expr::operator;
use super::forms::{At, Clause, Expr, Variable};
use super::lower::Lowering;
use crate::core::{Arm, Expr as Core, ExprKind, Literal, Local, Pattern, Primitive};

/// A body, or the arms after a guard, of at most this many core nodes is repeated.
const SMALL: usize = 8;

/// One alternative of an arm.
struct Row<'a> {
    at: At,
    pattern: &'a Pattern,
    guard: Option<Part<'a>>,
    body: Part<'a>,
}

/// Code that belongs to a row.
#[derive(Clone)]
enum Part<'a> {
    /// Written where it is used.
    Here(&'a Core),
    /// Written once as the fun in this variable, which takes these locals.
    Lifted(Variable, &'a [Local]),
}

impl Lowering<'_> {
    pub(super) fn matching(&mut self, at: At, scrutinee: &Core, arms: &[Arm], out: &mut Vec<Expr>) -> Expr {
        let lifts = arms.iter().any(|arm| arm.patterns.len() > 1 || arm.guard.as_ref().is_some_and(|g| !is_guard(g)));
        let value = if lifts { self.once(at, scrutinee, "Value", out) } else { self.last_of(scrutinee, out) };
        let locals: Vec<Vec<Local>> = arms.iter().map(|arm| bound_by(arm.patterns.first())).collect();
        let mut rows = Vec::with_capacity(arms.len());
        for (arm, locals) in arms.iter().zip(&locals) {
            let shared = arm.patterns.len() > 1;
            let place = self.at(arm.body.span);
            let body = self.part(place, &arm.body, shared, locals, "Body", out);
            let guard = arm.guard.as_ref().map(|guard| {
                let place = self.at(guard.span);
                self.part(place, guard, shared && !is_guard(guard), locals, "Guard", out)
            });
            rows.extend(arm.patterns.iter().map(|pattern| Row {
                at: place,
                pattern,
                guard: guard.clone(),
                body: body.clone(),
            }));
        }
        self.rows(at, value, &rows, out)
    }

    fn part<'b>(
        &mut self,
        at: At,
        code: &'b Core,
        shared: bool,
        locals: &'b [Local],
        name: &str,
        out: &mut Vec<Expr>,
    ) -> Part<'b> {
        if !shared || is_small(std::slice::from_ref(&code)) {
            return Part::Here(code);
        }
        let variable = self.names.fresh(name);
        let params = self.bind_all(at, locals);
        let body = self.body(code);
        out.push(at.matches(at.var(&variable), at.fun(params, body)));
        Part::Lifted(variable, locals)
    }

    fn place_part(&mut self, at: At, part: &Part<'_>) -> Vec<Expr> {
        match part {
            Part::Here(code) => self.body(code),
            Part::Lifted(variable, locals) => {
                let args = locals.iter().map(|l| at.var(&self.names.of(l))).collect();
                vec![at.call_value(at.var(variable), args)]
            }
        }
    }

    /// The case over the rows. `value` is atomic where a row needs it twice.
    fn rows(&mut self, at: At, value: Expr, rows: &[Row<'_>], out: &mut Vec<Expr>) -> Expr {
        let split = rows.iter().position(|row| match &row.guard {
            Some(Part::Here(guard)) => !is_guard(guard),
            Some(Part::Lifted(..)) => true,
            None => false,
        });
        let Some(split) = split else {
            let clauses = rows.iter().map(|row| self.clause(row)).collect();
            return at.case(value, clauses);
        };
        let (row, rest) = (&rows[split], &rows[split + 1..]);
        let irrefutable = is_irrefutable(row.pattern);
        if rest_is_small(rest) {
            let mut clauses: Vec<Clause> = rows[..split].iter().map(|row| self.clause(row)).collect();
            clauses.push(self.guarded(row, |this| match rest {
                [] => vec![this.fail(at, "no arm of the match fits the value")],
                [last] if is_irrefutable(last.pattern) && !binds(last.pattern) => this.place_part(last.at, &last.body),
                _ => {
                    let clauses = rest.iter().map(|row| this.clause(row)).collect();
                    vec![at.case(value.clone(), clauses)]
                }
            }));
            if !irrefutable {
                clauses.extend(rest.iter().map(|row| self.clause(row)));
            }
            return at.case(value, clauses);
        }
        let next = self.names.fresh("Next");
        let mut inner = Vec::new();
        let last = self.rows(at, value.clone(), rest, &mut inner);
        inner.push(last);
        out.push(at.matches(at.var(&next), at.fun(Vec::new(), inner)));
        let go_on = || vec![at.call_value(at.var(&next), Vec::new())];
        let mut clauses: Vec<Clause> = rows[..split].iter().map(|row| self.clause(row)).collect();
        clauses.push(self.guarded(row, |_| go_on()));
        if !irrefutable {
            clauses.push(at.clause(vec![at.any()], None, go_on()));
        }
        at.case(value, clauses)
    }

    /// `Pattern [when Guard] -> Body`.
    fn clause(&mut self, row: &Row<'_>) -> Clause {
        let pattern = self.pattern(row.at, row.pattern);
        let guard = match &row.guard {
            Some(Part::Here(guard)) => Some(self.guard(guard)),
            _ => None,
        };
        let body = self.place_part(row.at, &row.body);
        row.at.clause(vec![pattern], guard, body)
    }

    /// `Pattern -> case Guard of true -> Body; false -> otherwise end`.
    fn guarded(&mut self, row: &Row<'_>, otherwise: impl FnOnce(&mut Self) -> Vec<Expr>) -> Clause {
        let pattern = self.pattern(row.at, row.pattern);
        let condition = match &row.guard {
            Some(guard) => {
                let body = self.place_part(row.at, guard);
                row.at.block(body)
            }
            None => row.at.bool(true),
        };
        let body = self.place_part(row.at, &row.body);
        let otherwise = otherwise(self);
        row.at.clause(vec![pattern], None, vec![row.at.branch(condition, body, otherwise)])
    }
}

/// Rows without a guard of their own that needs a split, and few nodes in all.
fn rest_is_small(rest: &[Row<'_>]) -> bool {
    let mut codes = Vec::with_capacity(rest.len());
    for row in rest {
        match &row.guard {
            Some(Part::Here(guard)) if is_guard(guard) => codes.push(*guard),
            Some(_) => return false,
            None => {}
        }
        if let Part::Here(body) = &row.body {
            codes.push(body);
        }
    }
    rest.len() + codes.len() <= SMALL && is_small(&codes)
}

/// The locals that a pattern binds, from left to right. All alternatives of an arm bind the same.
fn bound_by(pattern: Option<&Pattern>) -> Vec<Local> {
    let mut locals = Vec::new();
    let mut stack: Vec<&Pattern> = pattern.into_iter().collect();
    while let Some(pattern) = stack.pop() {
        match pattern {
            Pattern::Wildcard | Pattern::Literal(_) => {}
            Pattern::Bind(local) => locals.push(local.clone()),
            Pattern::As(inner, local) => {
                locals.push(local.clone());
                stack.push(inner);
            }
            Pattern::Tuple(ps) | Pattern::Construct { args: ps, .. } => stack.extend(ps.iter().rev()),
            Pattern::List(ps, tail) => {
                stack.extend(tail.as_deref());
                stack.extend(ps.iter().rev());
            }
            Pattern::Record(fields) => stack.extend(fields.iter().rev().map(|(_, p)| p)),
        }
    }
    locals
}

fn binds(pattern: &Pattern) -> bool {
    !bound_by(Some(pattern)).is_empty()
}

/// Whether a pattern that fits the type fits every value. Constructors count as refutable: the core does not say
/// whether a type has others.
fn is_irrefutable(pattern: &Pattern) -> bool {
    match pattern {
        Pattern::Wildcard | Pattern::Bind(_) | Pattern::Literal(Literal::Unit) => true,
        Pattern::As(inner, _) => is_irrefutable(inner),
        Pattern::Tuple(ps) => ps.iter().all(is_irrefutable),
        Pattern::Record(fields) => fields.iter().all(|(_, p)| is_irrefutable(p)),
        Pattern::Literal(_) | Pattern::List(..) | Pattern::Construct { .. } => false,
    }
}

/// Whether an expression means the same as an Erlang guard. There an error would count as false and stay unseen, so nothing
/// that can fail is allowed: no division, and arithmetic only where a literal shows that it is not on Floats, which can
/// overflow.
fn is_guard(e: &Core) -> bool {
    match &e.kind {
        ExprKind::Local(_) => true,
        ExprKind::Literal(literal) => !matches!(literal, Literal::Float(f) if !f.is_finite()),
        ExprKind::Field { record, .. } => is_guard(record),
        ExprKind::Tuple(es) | ExprKind::Construct { args: es, .. } => es.iter().all(is_guard),
        ExprKind::List(es, tail) => es.iter().all(is_guard) && tail.as_ref().is_none_or(|t| is_guard(t)),
        ExprKind::Primitive { op, args } => {
            let allowed = match op {
                Primitive::Add | Primitive::Subtract | Primitive::Multiply => {
                    args.iter().any(|a| matches!(&a.kind, ExprKind::Literal(Literal::Int(_) | Literal::Duration(_))))
                }
                Primitive::Negate | Primitive::Not => true,
                Primitive::DivideInt | Primitive::DivideFloat | Primitive::Remainder => false,
                Primitive::AppendList | Primitive::AppendText => false,
                other => operator(*other).is_some(),
            };
            allowed && args.iter().all(is_guard)
        }
        _ => false,
    }
}

/// Whether expressions have at most [`SMALL`] nodes in all.
fn is_small(es: &[&Core]) -> bool {
    let mut stack: Vec<&Core> = es.to_vec();
    let mut nodes = 0;
    while let Some(e) = stack.pop() {
        nodes += 1;
        if nodes + stack.len() > SMALL {
            return false;
        }
        match &e.kind {
            ExprKind::Local(_)
            | ExprKind::Literal(_)
            | ExprKind::FlowValue(_)
            | ExprKind::ConstructorValue { .. }
            | ExprKind::StateValue(_)
            | ExprKind::Again(_)
            | ExprKind::Fail(_) => {}
            ExprKind::Call { args, .. }
            | ExprKind::Construct { args, .. }
            | ExprKind::Primitive { args, .. }
            | ExprKind::Perform { args, .. }
            | ExprKind::Sibling { args, .. }
            | ExprKind::Tuple(args) => stack.extend(args),
            ExprKind::List(args, tail) => {
                stack.extend(args);
                stack.extend(tail.as_deref());
            }
            ExprKind::Field { record: value, .. }
            | ExprKind::Superclass { dictionary: value, .. }
            | ExprKind::Fits { value, .. } => stack.push(value),
            ExprKind::Abort(value) | ExprKind::Leave { value, .. } => stack.push(value),
            ExprKind::Sequence(first, then) => stack.extend([&**first, &**then]),
            ExprKind::If { condition, then, otherwise } => stack.extend([&**condition, &**then, &**otherwise]),
            ExprKind::Apply { function, args } => {
                stack.push(function);
                stack.extend(args);
            }
            // Code with bindings of its own reads better when it is written once.
            ExprKind::Lambda { .. }
            | ExprKind::Let { .. }
            | ExprKind::Match { .. }
            | ExprKind::Record(_)
            | ExprKind::Update { .. }
            | ExprKind::Format(_)
            | ExprKind::ForAll { .. }
            | ExprKind::With { .. }
            | ExprKind::Assign { .. }
            | ExprKind::Atomic(_)
            | ExprKind::Leavable { .. }
            | ExprKind::Try { .. }
            | ExprKind::HandlerValue { .. }
            | ExprKind::WithValue { .. }
            | ExprKind::WithExtern { .. } => return false,
        }
    }
    true
}
