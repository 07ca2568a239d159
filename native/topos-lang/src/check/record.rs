//! Records: literals, updates, selection, and nominal types as their rows.

use super::interface::{RecordFieldInfo, TypeBody};
use super::tree::{Expr, ExprKind};
use super::{suggest, AmbientOf, Checker, DeferredField, Want, Why};
use crate::codes;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{short, Kind, Name, Node, Ty};

impl Checker<'_> {
    /// The fields of a nominal record type, with their types for its arguments.
    pub(super) fn nominal_fields(&mut self, ty: Ty) -> Option<(Name, Vec<RecordFieldInfo<Ty>>)> {
        let Node::Con(name, args) = self.store.node(ty).clone() else { return None };
        let info = self.env.types.get(&name)?;
        let TypeBody::Record(fields) = &info.body else { return None };
        let (params, mut fields) = (info.params.clone(), fields.clone());
        for field in &mut fields {
            field.ty = self.apply(&params, &args, field.ty);
        }
        Some((name, fields))
    }

    fn nominal_row(&mut self, ty: Ty) -> Option<Ty> {
        let (_, fields) = self.nominal_fields(ty)?;
        let entries = fields.into_iter().map(|f| (f.name, vec![f.ty])).collect();
        let empty = self.store.empty();
        Some(self.store.make_row(entries, empty))
    }

    /// Lets an anonymous record stand for a nominal one with the same fields, and the other way round: at run time they are
    /// the same map. Answers whether it did; if not, the caller unifies and reports.
    pub(super) fn coerce(&mut self, actual: Ty, expected: Ty) -> bool {
        let (row, nominal) = match (self.store.node(actual).clone(), self.store.node(expected).clone()) {
            (Node::Record(row), Node::Con(..)) => (row, expected),
            (Node::Con(..), Node::Record(row)) => (row, actual),
            _ => return false,
        };
        let Some(other) = self.nominal_row(nominal) else { return false };
        // The labels first: a failed unification would leave variables bound.
        let (known, given) = (self.store.row(other), self.store.row(row));
        let all_known = given.entries.iter().all(|(l, _)| known.entries.iter().any(|(k, _)| k == l));
        let all_given = known.entries.iter().all(|(k, _)| given.entries.iter().any(|(l, _)| k == l));
        let open = matches!(self.store.node(given.tail), Node::Var { .. });
        all_known && (all_given || open) && self.store.unify(row, other).is_ok()
    }

    pub(super) fn record_literal(&mut self, fields: &[ast::FieldInit], want: &Want, span: Span) -> Expr {
        for (i, field) in fields.iter().enumerate() {
            if fields[..i].iter().any(|f| f.name.name == field.name.name) {
                self.twice("field", codes::FIELD_TWICE, &field.name);
            }
        }
        if let Some((name, known)) = self.nominal_fields(want.ty) {
            return self.nominal_literal(&name, &known, fields, want, span);
        }
        let expected = match self.store.node(want.ty) {
            Node::Record(row) => Some(*row),
            _ => None,
        };
        let mut typed = Vec::new();
        let mut entries = Vec::new();
        for field in fields {
            let ty = match expected.and_then(|row| self.store.field(row, &field.name.name)) {
                Some(ty) => ty,
                None => self.fresh(),
            };
            let label: Name = field.name.name.as_str().into();
            let value = self.expr(&field.value, &Want::new(ty, Why::Field(label.clone())));
            entries.push((label.clone(), vec![ty]));
            typed.push((label, value));
        }
        let empty = self.store.empty();
        let row = self.store.make_row(entries, empty);
        let ty = self.store.record(row);
        self.subsume(ty, want, span);
        Expr { kind: ExprKind::Record(typed), ty, span }
    }

    fn nominal_literal(
        &mut self,
        name: &Name,
        known: &[RecordFieldInfo<Ty>],
        fields: &[ast::FieldInit],
        want: &Want,
        span: Span,
    ) -> Expr {
        let mut typed: Vec<(Name, Expr)> = Vec::new();
        for field in fields {
            match known.iter().find(|k| *k.name == *field.name.name) {
                Some(info) => {
                    let value = self.expr(&field.value, &Want::new(info.ty, Why::Field(info.name.clone())));
                    typed.push((info.name.clone(), value));
                }
                None => {
                    self.no_field(&field.name, want.ty);
                    let ty = self.fresh();
                    self.expr(&field.value, &Want::plain(ty));
                }
            }
        }
        let mut missing = Vec::new();
        for info in known {
            if typed.iter().any(|(label, _)| *label == info.name) {
                continue;
            }
            if info.default {
                let value = self.default_value(name, info, span);
                typed.push((info.name.clone(), value));
            } else {
                missing.push(format!("`{}`", info.name));
            }
        }
        if !missing.is_empty() && !fields.iter().any(|f| f.name.name.is_empty()) {
            let s = if missing.len() == 1 { "" } else { "s" };
            self.report(
                Diagnostic::new(
                    codes::MISSING_FIELDS,
                    format!("the field{s} {} of `{}` must be given", missing.join(", "), short(name)),
                    span,
                )
                .help("a field without a default in the type is given in each literal"),
            );
        }
        self.want_made(want.ty, span);
        Expr { kind: ExprKind::Record(typed), ty: want.ty, span }
    }

    fn default_value(&mut self, type_name: &Name, info: &RecordFieldInfo<Ty>, span: Span) -> Expr {
        let (module, short_name) = type_name.rsplit_once('.').unwrap_or(("", type_name));
        let id = self.default_flow_id(module, short_name, &info.name);
        Expr { kind: id.map_or(ExprKind::Error, ExprKind::Config), ty: info.ty, span }
    }

    pub(super) fn no_field(&mut self, field: &ast::Ident, ty: Ty) {
        if field.name.is_empty() {
            return;
        }
        let known = self.known_fields(ty);
        let shown = self.store.show(ty);
        let diagnostic =
            Diagnostic::new(codes::NO_FIELD, format!("`{shown}` has no field `{}`", field.name), field.span);
        self.report(match self.store.node(ty) {
            Node::Arrow { .. } => diagnostic.help(
                "a function has no fields: call it first, `f(x).a`; two functions are joined by `fn(x) -> f(g(x))`",
            ),
            _ => suggest::advise(diagnostic, &field.name, known.iter().map(|n| &**n), "its fields are"),
        });
    }

    pub(super) fn update(&mut self, record: &ast::Expr, fields: &[ast::FieldInit], want: &Want, span: Span) -> Expr {
        let start = if matches!(self.store.node(want.ty), Node::Con(..) | Node::Record(_)) {
            want.clone()
        } else {
            Want::plain(self.fresh())
        };
        let record = self.expr(record, &start);
        self.settle_fields(u32::MAX);
        let mut typed = Vec::new();
        for field in fields {
            let ty = self.select(record.ty, &field.name, field.name.span);
            let label: Name = field.name.name.as_str().into();
            let value = self.expr(&field.value, &Want::new(ty, Why::Field(label.clone())));
            typed.push((label, value));
        }
        let ty = record.ty;
        self.subsume(ty, want, span);
        Expr { kind: ExprKind::Update { record: Box::new(record), fields: typed }, ty, span }
    }

    pub(super) fn field(&mut self, record: &ast::Expr, field: &ast::Ident, want: &Want, span: Span) -> Expr {
        let ty = self.fresh();
        let record = self.expr(record, &Want::plain(ty));
        self.settle_fields(u32::MAX);
        let selected = self.select(record.ty, field, span);
        let selected = self.opened(selected, span, &format!("`.{}`", field.name));
        self.subsume(selected, want, span);
        let kind = ExprKind::Field { record: Box::new(record), field: field.name.as_str().into() };
        Expr { kind, ty: selected, span }
    }

    /// The type of a field; what is wrong is reported.
    fn select(&mut self, record: Ty, field: &ast::Ident, span: Span) -> Ty {
        match self.try_select(record, &field.name) {
            Some(ty) => ty,
            None if matches!(self.store.node(record), Node::Var { .. }) => {
                let result = self.fresh();
                let field = field.name.as_str().into();
                self.fields.push(DeferredField { record, field, result, span });
                result
            }
            None => {
                self.no_field(field, record);
                self.store.error()
            }
        }
    }

    /// The type of a field if the record's type is known and has it.
    pub(super) fn try_select(&mut self, record: Ty, field: &str) -> Option<Ty> {
        if let Some((_, fields)) = self.nominal_fields(record) {
            return fields.iter().find(|f| *f.name == *field).map(|f| f.ty);
        }
        match self.store.node(record).clone() {
            Node::Error => Some(self.store.error()),
            Node::Record(row) => match self.store.field(row, field) {
                Some(ty) => Some(ty),
                None => {
                    let tail = self.store.row_tail(row);
                    let Node::Var { level, .. } = *self.store.node(tail) else { return None };
                    let (ty, rest) = (self.store.var(Kind::Type, level), self.store.var(Kind::Fields, level));
                    let extended = self.store.extend(field.into(), vec![ty], rest);
                    self.store.unify(tail, extended).ok().map(|()| ty)
                }
            },
            _ => None,
        }
    }

    fn known_fields(&mut self, record: Ty) -> Vec<Name> {
        if let Some((_, fields)) = self.nominal_fields(record) {
            return fields.into_iter().map(|f| f.name).collect();
        }
        match self.store.node(record) {
            Node::Record(row) => self.store.row(*row).entries.into_iter().map(|(l, _)| l).collect(),
            _ => Vec::new(),
        }
    }

    /// Selections from records whose type has become known; of the others, those at level
    /// `from` or deeper are taken to be anonymous records.
    pub(super) fn settle_fields(&mut self, from: u32) {
        loop {
            let waiting = std::mem::take(&mut self.fields);
            let before = waiting.len();
            for deferred in waiting {
                if matches!(self.store.node(deferred.record), Node::Var { .. }) {
                    self.fields.push(deferred);
                    continue;
                }
                let ident = ast::Ident { name: deferred.field.to_string(), span: deferred.span };
                let ty = self.select(deferred.record, &ident, deferred.span);
                if let Err(error) = self.store.unify(deferred.result, ty) {
                    let want = Want::plain(deferred.result);
                    self.mismatch(&want, ty, &error, deferred.span);
                }
            }
            if self.fields.is_empty() {
                return;
            }
            if self.fields.len() == before {
                let deep =
                    |d: &DeferredField| matches!(self.store.node(d.record), Node::Var { level, .. } if *level >= from);
                let Some(first) = self.fields.iter().position(deep) else {
                    // What waits for a record is not deeper than the record: a `let` between must not generalise it.
                    for deferred in self.fields.clone() {
                        if let Node::Var { level, .. } = *self.store.node(deferred.record) {
                            self.store.lower(deferred.result, level);
                        }
                    }
                    return;
                };
                // One at a time: what it decides may make the next one known.
                let deferred = self.fields.remove(first);
                let Node::Var { level, .. } = *self.store.node(deferred.record) else { continue };
                let rest = self.store.var(Kind::Fields, level);
                let row = self.store.extend(deferred.field, vec![deferred.result], rest);
                let record = self.store.record(row);
                if let Err(error) = self.store.unify(deferred.record, record) {
                    let want = Want::plain(deferred.record);
                    self.mismatch(&want, record, &error, deferred.span);
                }
            }
        }
    }

    /// Runs `f` where nothing may be performed.
    pub(super) fn pure<T>(&mut self, of: AmbientOf, f: impl FnOnce(&mut Self) -> T) -> T {
        let empty = self.store.empty();
        self.under(empty, of, f)
    }
}
