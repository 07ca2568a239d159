//! State variables, `:=` and `atomic`, and `return` where it is not the value of its body anyway.

use super::tree::{Expr, ExprKind, Literal};
use super::{graph, unsupported, Checker, Want, Why};
use crate::codes;
use crate::core::Local;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;

/// A body that a `return` leaves.
#[derive(Clone, Debug)]
pub(super) struct Leave {
    label: Local,
    want: Want,
    used: bool,
    /// A block that is handed to a function: a `return` in it is refused.
    block: bool,
}

impl Checker<'_> {
    /// A body that a `return` leaves: of a flow, a clause or a `fn`.
    pub(super) fn leavable(&mut self, body: &ast::Block, want: &Want) -> Expr {
        self.leavable_with(want, |c| {
            c.tail = true;
            c.block(body, want)
        })
    }

    pub(super) fn leavable_with(&mut self, want: &Want, f: impl FnOnce(&mut Self) -> Expr) -> Expr {
        let label = self.new_local("label");
        self.leaves.push(Leave { label, want: want.clone(), used: false, block: false });
        let body = f(self);
        match self.leaves.pop() {
            Some(leave) if leave.used => {
                let (ty, span) = (body.ty, body.span);
                Expr { kind: ExprKind::Leavable { label: leave.label, body: Box::new(body) }, ty, span }
            }
            _ => body,
        }
    }

    /// A block that is handed to a function, which may run it later or never.
    pub(super) fn in_block_argument<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let label = self.new_local("label");
        let error = self.store.error();
        self.leaves.push(Leave { label, want: Want::plain(error), used: false, block: true });
        let result = f(self);
        self.leaves.pop();
        result
    }

    /// `return e` where more would follow: in `for`, `loop`, `with`, or before the end of a block.
    pub(super) fn leave(&mut self, value: Option<&ast::Expr>, span: Span) -> Expr {
        let error = self.store.error();
        let (label, want) = match self.leaves.last_mut() {
            Some(leave) if !leave.block => {
                leave.used = true;
                (leave.label.clone(), leave.want.clone())
            }
            _ => {
                self.report(unsupported::return_(span));
                if let Some(value) = value {
                    self.expr(value, &Want::plain(error));
                }
                return Expr { kind: ExprKind::Error, ty: error, span };
            }
        };
        let value = match value {
            Some(e) => self.expr(e, &want),
            None => {
                let ty = self.store.unit();
                self.subsume(ty, &want, span);
                Expr { kind: ExprKind::Literal(Literal::Unit), ty, span }
            }
        };
        // What follows it is never reached, so its value is of any type.
        let ty = self.fresh();
        Expr { kind: ExprKind::Leave { label, value: Box::new(value) }, ty, span }
    }

    /// `x := e`, `x.a.b := e`, `x.a[k] := e`.
    pub(super) fn assign(&mut self, place: &ast::Expr, value: &ast::Expr, span: Span) -> Option<Expr> {
        let mut at = place;
        let name = loop {
            match &at.kind {
                ast::ExprKind::Field { record, .. } => at = record,
                ast::ExprKind::Index { collection, .. } => at = collection,
                ast::ExprKind::Var { qualifier, name } if qualifier.is_empty() => break Some(name),
                _ => break None,
            }
        };
        let variable = name.and_then(|n| self.env.local(&n.name)).filter(|info| info.state);
        let Some((local, ty)) = variable.map(|info| (info.local.clone(), info.ty)) else {
            let (what, at) = match name {
                Some(name) => (format!("`{}` is not a state variable", name.name), name.span),
                None => ("this cannot be assigned to".to_owned(), place.span),
            };
            if name.is_none_or(|n| !n.name.is_empty()) {
                let diagnostic = Diagnostic::new(codes::NOT_STATE, what, at);
                let field = name.filter(|n| self.is_own_field(n));
                self.report(match field {
                    Some(name) => {
                        diagnostic.primary("a field: the value that it belongs to never changes").help(format!(
                            "answer the new value, `{{{} with {} = ..}}`, or keep the value in a `state` variable",
                            super::impls::THIS,
                            name.name
                        ))
                    }
                    None => diagnostic.help(
                        "`:=` changes a `state` variable of the handler or actor around it; bind others with `let`",
                    ),
                });
            }
            let ty = self.fresh();
            self.expr(value, &Want::plain(ty));
            return None;
        };
        let bound = name.and_then(|name| self.env.locals.iter().rposition(|(n, _)| *n == name.name)).unwrap_or(0);
        if matches!(place.kind, ast::ExprKind::Var { .. }) {
            // Elsewhere the place is read, which is said there.
            self.stays_here("a state variable", bound, place.span);
        }
        let updated;
        let source = match &place.kind {
            ast::ExprKind::Var { .. } => value,
            _ => {
                updated = self.updated(place, value.clone(), span)?;
                &updated
            }
        };
        let mut names = foldhash::HashSet::default();
        graph::expr(source, &mut names);
        let atomic = name.is_some_and(|n| names.contains(n.name.as_str()));
        let value = self.expr(source, &Want::new(ty, Why::Demand("a state variable keeps its type")));
        let unit = self.store.unit();
        Some(Expr { kind: ExprKind::Assign { cell: local, value: Box::new(value), atomic }, ty: unit, span })
    }

    /// The value of the variable of a place after the assignment: `x.a := e` is `x := {x with a = e}`, and `x[k] := e` is
    /// `x := put_at(k, e, x)`.
    fn updated(&mut self, place: &ast::Expr, value: ast::Expr, span: Span) -> Option<ast::Expr> {
        let (mut value, mut at, mut inner) = (value, place, false);
        loop {
            let kind = match &at.kind {
                ast::ExprKind::Field { record, field } => {
                    let init = ast::FieldInit { name: field.clone(), value, pun: false };
                    let kind = ast::ExprKind::Update { record: record.clone(), fields: vec![init] };
                    at = record;
                    kind
                }
                ast::ExprKind::Index { .. } if inner => {
                    self.report(
                        Diagnostic::new(codes::NOT_STATE, "only the last step of a place can be an index", at.span)
                            .primary("there may be no element here")
                            .help(
                                "take the element out with `match`, and assign what it becomes: `m[k] := {v with ..}`",
                            ),
                    );
                    return None;
                }
                ast::ExprKind::Index { collection, index } => {
                    let ident = |name: &str| ast::Ident { name: name.to_owned(), span: at.span };
                    let qualifier = super::PRELUDE.split('.').map(ident).collect();
                    let kind = ast::ExprKind::Var { qualifier, name: ident("put_at") };
                    let function = Box::new(ast::Expr { kind, span: at.span });
                    let args = vec![(**index).clone(), value, (**collection).clone()];
                    at = collection;
                    ast::ExprKind::Apply { function, args }
                }
                _ => return Some(value),
            };
            value = ast::Expr { kind, span };
            inner = true;
        }
    }

    /// Whether a name is a field of the value that the member of an `impl` under check belongs to.
    fn is_own_field(&mut self, name: &ast::Ident) -> bool {
        let this = self.env.local(super::impls::THIS).map(|info| info.ty);
        let fields = this.and_then(|ty| self.nominal_fields(ty));
        fields.is_some_and(|(_, fields)| fields.iter().any(|f| *f.name == *name.name))
    }

    /// `atomic { .. }` in a clause.
    pub(super) fn atomic(&mut self, body: &ast::Block, want: &Want, span: Span) -> Expr {
        if !self.env.locals.iter().any(|(_, info)| info.state) {
            self.report(
                Diagnostic::new(codes::NOT_STATE, "there is no state here that `atomic` could guard", span)
                    .help("`atomic` joins assignments to `state` variables of the handler around it"),
            );
        }
        if self.in_try {
            self.report(
                Diagnostic::new(codes::NOT_STATE, "`atomic` cannot stand in the clauses of a `try`", span).help(
                    "they are a handler of their own, without state: put the assignments into a clause of its handler",
                ),
            );
        }
        let body = self.block(body, want);
        let ty = body.ty;
        Expr { kind: ExprKind::Atomic(Box::new(body)), ty, span }
    }
}
