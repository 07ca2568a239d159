//! Expressions: each is checked against a type that may be a variable, so that what is known is pushed inwards.

use super::block::Function;
use super::env::Lookup;
use super::traits::{COMBINER, COMPARABLE, NUM, ORDERABLE};
use super::tree::{Builtin, Expr, ExprKind, FormatPart, Literal};
use super::{Checker, Want, Why};
use crate::codes;
use crate::diagnostic::Span;
use crate::syntax::ast::{self, BinaryOp};
use crate::types::{builtin, Bound, Node, Ty};

impl Checker<'_> {
    /// Infers an expression's type and checks it against what is wanted.
    pub(super) fn expr(&mut self, expr: &ast::Expr, want: &Want) -> Expr {
        let span = expr.span;
        let tail = std::mem::take(&mut self.tail);
        match &expr.kind {
            ast::ExprKind::Literal(literal) => {
                let (literal, ty) = self.literal(literal);
                self.subsume(ty, want, span);
                if let Literal::Number(digits) = literal {
                    let dict = self.want_number(ty, span);
                    return Expr { kind: ExprKind::Number { digits, dict }, ty, span };
                }
                Expr { kind: ExprKind::Literal(literal), ty, span }
            }
            ast::ExprKind::Format(parts) => self.format(parts, want, span),
            ast::ExprKind::Var { qualifier, name } => {
                let head = self.variable(qualifier, name, span);
                self.subsume(head.ty, want, span);
                head
            }
            ast::ExprKind::Constructor(path) => self.constructor(path, &[], want, span),
            ast::ExprKind::Tuple(parts) => self.tuple(parts, want, span),
            ast::ExprKind::List(items) => self.list(items, want, span),
            ast::ExprKind::Record(fields) => self.record_literal(fields, want, span),
            ast::ExprKind::Update { record, fields } => self.update(record, fields, want, span),
            ast::ExprKind::Apply { function, args } => self.call(function, args, want, span),
            ast::ExprKind::Thunk(block) => self.lambda(&[], block, Function::Block, want, span),
            ast::ExprKind::MatchLambda(arms) => self.match_lambda(arms, want, span),
            ast::ExprKind::Field { record, field } => self.field(record, field, want, span),
            ast::ExprKind::Index { collection, index } => self.index(collection, index, want, span),
            ast::ExprKind::Binary { op, op_span, left, right } => self.binary(*op, *op_span, left, right, want, span),
            ast::ExprKind::Negate(operand) => self.negate(operand, want, span),
            ast::ExprKind::Match { scrutinees, arms } => self.match_(scrutinees, arms, want, span, tail),
            ast::ExprKind::If { condition, then, otherwise } => {
                let otherwise = otherwise.as_ref().map(|b| (b.stmts.as_slice(), b.span));
                self.if_(condition, then, otherwise, want, span, tail)
            }
            ast::ExprKind::Lambda { params, body } => self.lambda(params, body, Function::Lambda, want, span),
            ast::ExprKind::Perform { effect, operation, args } => {
                self.perform(effect.as_ref(), operation, args, want, span)
            }
            ast::ExprKind::With { handlers, body } => self.with(handlers, body, want, span),
            ast::ExprKind::Receive { arms, after } => self.receive(arms, after.as_deref(), want, span),
            ast::ExprKind::Ask { process, make, timeout, op_span } => {
                self.ask((process, make), timeout.as_deref(), want, span, *op_span)
            }
            ast::ExprKind::Try { body, clauses } => self.try_(body, clauses, want, span),
            ast::ExprKind::Do(block) => {
                self.tail = tail;
                self.block(block, want)
            }
            ast::ExprKind::Loop(block) => self.loop_(block, want, span),
            ast::ExprKind::Atomic(body) => self.atomic(body, want, span),
            ast::ExprKind::Forall { params, body } => self.forall(params, body, want, span),
            ast::ExprKind::LetIn { pattern, ty, value, body } => self.scoped(|c| {
                let stmt = c.let_(pattern, ty.as_deref(), value);
                let body = c.expr(body, want);
                let ty = body.ty;
                Expr { kind: ExprKind::Block(vec![stmt], Box::new(body)), ty, span }
            }),
            ast::ExprKind::Annotated { expr, ty } => {
                let at = ty.span;
                let ty = self.annotation(ty);
                let inner = self.expr(expr, &Want::new(ty, Why::Signature(at)));
                self.subsume(ty, want, span);
                inner
            }
            ast::ExprKind::Error => self.wrong(want, span),
        }
    }

    /// A type inside a flow: its variables are those of the signature, others are inferred.
    pub(super) fn annotation(&mut self, ty: &ast::Type) -> Ty {
        self.ty(ty)
    }

    /// Something that has been reported: it has whatever type is wanted.
    pub(super) fn wrong(&mut self, want: &Want, span: Span) -> Expr {
        let ty = self.store.error();
        self.subsume(ty, want, span);
        Expr { kind: ExprKind::Error, ty, span }
    }

    pub(super) fn not_supported(&mut self, diagnostic: crate::diagnostic::Diagnostic, want: &Want, span: Span) -> Expr {
        self.report(diagnostic);
        self.wrong(want, span)
    }

    /// A literal and its type; a number without a point is what its context wants (rule 8).
    pub(super) fn literal(&mut self, literal: &ast::Literal) -> (Literal, Ty) {
        match literal {
            ast::Literal::Int(digits) => {
                (Literal::Number(digits.clone()), self.store.bounded(Bound::NUMBER, self.level))
            }
            ast::Literal::Float(value) => (Literal::Float(*value), self.store.con(builtin::FLOAT, Vec::new())),
            ast::Literal::Text(text) => (Literal::Text(text.clone()), self.store.con(builtin::TEXT, Vec::new())),
            ast::Literal::Duration(ms) => (Literal::Duration(*ms), self.store.con(builtin::DURATION, Vec::new())),
            ast::Literal::Bool(value) => (Literal::Bool(*value), self.store.con(builtin::BOOL, Vec::new())),
            ast::Literal::Unit => (Literal::Unit, self.store.unit()),
        }
    }

    /// A variable, a flow, a config or a built-in function, with its type instantiated and opened.
    pub(super) fn variable(&mut self, qualifier: &[ast::Ident], name: &ast::Ident, span: Span) -> Expr {
        if qualifier.is_empty() {
            if let Some(info) = self.env.local(&name.name) {
                let (local, ty, state) = (info.local.clone(), info.ty, info.state);
                if state {
                    let bound = self.env.locals.iter().rposition(|(n, _)| *n == name.name).unwrap_or(0);
                    self.stays_here(&format!("the state variable `{}`", name.name), bound, span);
                }
                let ty = self.store.instantiate(ty, self.level);
                let ty = self.opened(ty, span, &format!("`{}`", name.name));
                let kind = if state { ExprKind::State(local) } else { ExprKind::Local(local) };
                return Expr { kind, ty, span };
            }
        }
        match self.env.lookup_value(qualifier, &name.name) {
            Lookup::Found(id) => self.use_flow(id, span),
            Lookup::Unknown if qualifier.is_empty() && matches!(name.name.as_str(), "not" | "show") => {
                let (b, param, result) = if name.name == "not" {
                    let ty = self.store.con(builtin::BOOL, Vec::new());
                    (Builtin::Not, ty, ty)
                } else {
                    let ty = self.fresh();
                    (Builtin::Show, ty, self.store.con(builtin::TEXT, Vec::new()))
                };
                let row = self.fresh_row();
                let ty = self.store.arrow(param, row, result);
                Expr { kind: ExprKind::Builtin(b), ty, span }
            }
            other => {
                if let Lookup::Found(index) = self.env.lookup(|n| &n.handlers, qualifier, &name.name) {
                    return self.handler_value(index, Vec::new(), &format!("`{}`", name.name), span);
                }
                if !self.resume(name) {
                    self.unresolved_name("name", codes::UNKNOWN_NAME, &other, qualifier, name);
                }
                Expr { kind: ExprKind::Error, ty: self.store.error(), span }
            }
        }
    }

    /// A function type whose rows along the results may be part of larger ones.
    pub(super) fn opened(&mut self, ty: Ty, span: Span, what: &str) -> Ty {
        if let Node::Con(name, args) = self.store.node(ty).clone() {
            if let (builtin::HANDLER, [effect, row]) = (&*name, args.as_slice()) {
                let row = self.open_row(*row, span, what);
                return self.store.con(name, vec![*effect, row]);
            }
        }
        let mut arrows = Vec::new();
        let mut at = self.store.root(ty);
        while let Node::Arrow { param, row, result } = *self.store.node(at) {
            arrows.push((param, row));
            at = self.store.root(result);
        }
        let mut changed = false;
        let mut opened = Vec::new();
        for (param, row) in arrows {
            let row_ = self.open_row(row, span, what);
            changed |= row_ != row;
            opened.push((param, row_));
        }
        if !changed {
            return ty;
        }
        opened.into_iter().rev().fold(at, |result, (param, row)| self.store.arrow(param, row, result))
    }

    fn format(&mut self, parts: &[ast::FormatPart], want: &Want, span: Span) -> Expr {
        let parts = parts
            .iter()
            .map(|part| match part {
                ast::FormatPart::Text(text) => FormatPart::Text(text.clone()),
                ast::FormatPart::Expr(e) => {
                    let ty = self.fresh();
                    let value = self.expr(e, &Want::plain(ty));
                    let (ty, span) = (value.ty, value.span);
                    let dict = self.want_shown(ty, span);
                    FormatPart::Expr(Expr { kind: ExprKind::Shown(Box::new(value), dict), ty, span })
                }
            })
            .collect();
        let ty = self.store.con(builtin::TEXT, Vec::new());
        self.subsume(ty, want, span);
        Expr { kind: ExprKind::Format(parts), ty, span }
    }

    fn tuple(&mut self, parts: &[ast::Expr], want: &Want, span: Span) -> Expr {
        let expected = match self.store.node(want.ty) {
            Node::Tuple(types) if types.len() == parts.len() => Some(types.clone()),
            _ => None,
        };
        let mut typed = Vec::new();
        for (i, part) in parts.iter().enumerate() {
            let inner = match &expected {
                Some(types) => Want::new(types[i], want.why.clone()),
                None => Want::plain(self.fresh()),
            };
            let part = self.expr(part, &inner);
            typed.push((part, inner.ty));
        }
        let types = typed.iter().map(|(_, ty)| *ty).collect();
        let ty = self.store.tuple(types);
        if expected.is_none() {
            self.subsume(ty, want, span);
        }
        Expr { kind: ExprKind::Tuple(typed.into_iter().map(|(e, _)| e).collect()), ty, span }
    }

    fn list(&mut self, items: &[ast::Expr], want: &Want, span: Span) -> Expr {
        let element = match self.store.node(want.ty) {
            Node::Con(name, args) if &**name == builtin::LIST && args.len() == 1 => Some(args[0]),
            _ => None,
        };
        let element_ty = match element {
            Some(ty) => ty,
            None => self.fresh(),
        };
        let mut typed = Vec::new();
        for item in items {
            let why = match items.first() {
                Some(first) if element.is_none() => Why::Like(first.span, "the first element"),
                _ => want.why.clone(),
            };
            typed.push(self.expr(item, &Want::new(element_ty, why)));
        }
        let ty = self.store.list(element_ty);
        if element.is_none() {
            self.subsume(ty, want, span);
        }
        Expr { kind: ExprKind::List(typed, None), ty, span }
    }

    fn negate(&mut self, operand: &ast::Expr, want: &Want, span: Span) -> Expr {
        let ty = self.store.bounded(Bound::NUMBER, self.level);
        let operand = self.expr(operand, &Want::new(ty, Why::Plain));
        self.subsume(ty, want, span);
        let dict = self.want(NUM, vec![ty], span, "`-`".to_owned());
        Expr { kind: ExprKind::Negate(Box::new(operand), dict), ty, span }
    }

    fn binary(
        &mut self,
        op: BinaryOp,
        op_span: Span,
        left: &ast::Expr,
        right: &ast::Expr,
        want: &Want,
        span: Span,
    ) -> Expr {
        let bool_ty = self.store.con(builtin::BOOL, Vec::new());
        let mut of = None;
        let (operand, result) = match op {
            BinaryOp::Send => return self.send(left, right, want, span, op_span),
            BinaryOp::Pipe => return self.pipe(left, right, want, span),
            BinaryOp::Cons => return self.cons(left, right, want, span),
            BinaryOp::Or | BinaryOp::And => (bool_ty, bool_ty),
            BinaryOp::Equal | BinaryOp::NotEqual | BinaryOp::Identical | BinaryOp::NotIdentical => {
                let ty = self.fresh();
                of = Some(COMPARABLE);
                (ty, bool_ty)
            }
            BinaryOp::Less | BinaryOp::Greater | BinaryOp::LessEqual | BinaryOp::GreaterEqual => {
                of = Some(ORDERABLE);
                (self.fresh(), bool_ty)
            }
            BinaryOp::Append | BinaryOp::Combine => {
                let ty = self.store.bounded(Bound::JOINED, self.level);
                // What the context wants helps the operands: `[] ++ xs : [Config]`.
                self.prefer(ty, want);
                of = Some(COMBINER);
                (ty, ty)
            }
            BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide => {
                let ty = self.store.bounded(Bound::NUMBER, self.level);
                self.prefer(ty, want);
                of = Some(NUM);
                (ty, ty)
            }
            BinaryOp::Remainder => {
                let ty = self.store.con(builtin::INT, Vec::new());
                (ty, ty)
            }
        };
        let left_why = match op {
            BinaryOp::And => Why::Demand("both operands of `&&` are Bool"),
            BinaryOp::Or => Why::Demand("both operands of `||` are Bool"),
            BinaryOp::Remainder => Why::Demand("`%` is defined on Int"),
            BinaryOp::Add => Why::Demand("`+` adds numbers; `++` joins texts and lists"),
            _ => Why::Plain,
        };
        let right_why = match &left_why {
            _ if op == BinaryOp::Add => Why::Operand(op.symbol(), op_span),
            Why::Plain => Why::Operand(op.symbol(), op_span),
            why => why.clone(),
        };
        let left = self.expr(left, &Want::new(operand, left_why));
        let right = self.expr(right, &Want::new(operand, right_why));
        self.subsume(result, want, span);
        let dict = of.map(|of| {
            self.want(of, vec![operand], if of == COMPARABLE { span } else { op_span }, format!("`{}`", op.symbol()))
        });
        Expr { kind: ExprKind::Binary { op, left: Box::new(left), right: Box::new(right), dict }, ty: result, span }
    }

    /// Takes over what is wanted if it fits; if not, the whole expression is reported later.
    fn prefer(&mut self, ty: Ty, want: &Want) {
        if let (Node::Var { bound, .. }, Node::Con(name, _)) = (self.store.node(ty), self.store.node(want.ty)) {
            if self.store.allows(*bound, name) {
                let want = want.clone();
                self.subsume(ty, &want, Span::default());
            }
        }
    }

    fn cons(&mut self, head: &ast::Expr, tail: &ast::Expr, want: &Want, span: Span) -> Expr {
        // `a :: b :: c`: a loop, for long chains.
        let element = self.fresh();
        let ty = self.store.list(element);
        self.subsume(ty, want, span);
        let mut heads = vec![self.expr(head, &Want::plain(element))];
        let mut rest = tail;
        while let ast::ExprKind::Binary { op: BinaryOp::Cons, left, right, .. } = &rest.kind {
            heads.push(self.expr(left, &Want::new(element, Why::Like(head.span, "the first element"))));
            rest = right;
        }
        let tail = self.expr(rest, &Want::new(ty, Why::Like(head.span, "with this element the list")));
        Expr { kind: ExprKind::List(heads, Some(Box::new(tail))), ty, span }
    }
}
