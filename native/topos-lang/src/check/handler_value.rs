//! Handlers as values: `let h = counter(1)`, `with h { .. }`, and the type `Handler(E) / row`.
//!
//! The type holds the effect and the handler's own row, and nothing about what runs under it: so only a handler that answers
//! what its body answers, whatever that is, can be a value. Its arguments are evaluated when it is made; its state, `init` and
//! the rest begin with each `with`.

use foldhash::{HashMap, HashMapExt};

use super::call::Arg;
use super::env::HandledBy;
use super::traits::Constraint;
use super::tree::{Expr, ExprKind, With};
use super::{Checker, Want};
use crate::codes;
use crate::core;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{builtin, Name, Node, Ty, GENERIC};

impl Checker<'_> {
    /// `Handler(E)` as a type, if that is what a name and its arguments mean.
    pub(super) fn handler_type(&mut self, path: &ast::Path, args: &[ast::Type], row: Option<&ast::Row>) -> Option<Ty> {
        let [name] = path.segments.as_slice() else { return None };
        let own = matches!(self.env.lookup(|n| &n.types, &[], &name.name), super::env::Lookup::Found(_));
        if name.name != builtin::HANDLER || own {
            return None;
        }
        let effect = match args {
            [ast::Type { kind: ast::TypeKind::Named { path, args }, span }] => {
                let effect = ast::EffectRef { path: path.clone(), args: args.clone(), span: *span };
                self.effect_ref(&effect)
            }
            _ => {
                self.report(
                    Diagnostic::new(codes::TYPE_ARGUMENTS, "`Handler` is followed by an effect", path.span)
                        .help("write `Handler(E)`, or `Handler(E a)` for an effect with a parameter"),
                );
                None
            }
        };
        let row = self.effect_row(row);
        let Some((effect, effect_args)) = effect else { return Some(self.store.error()) };
        Some(self.handler_con(effect, effect_args, row))
    }

    fn handler_con(&mut self, effect: Name, effect_args: Vec<Ty>, row: Ty) -> Ty {
        let empty = self.store.empty();
        let entry = self.store.extend(effect, effect_args, empty);
        self.store.con(builtin::HANDLER, vec![entry, row])
    }

    /// A handler's name with its arguments where a value is wanted.
    pub(super) fn handler_value(&mut self, index: usize, args: Vec<Arg<'_>>, what: &str, span: Span) -> Expr {
        let info = self.env.handlers[index].clone();
        if let Err(diagnostic) = self.is_value(index, what, span) {
            self.report(*diagnostic);
            return Expr { kind: ExprKind::Error, ty: self.store.error(), span };
        }
        let mut memo = HashMap::new();
        let mut copy = |c: &mut Self, ty: Ty| c.instantiate_shared(ty, &mut memo);
        let params: Vec<Ty> = info.params.iter().map(|t| copy(self, *t)).collect();
        let effect_args: Vec<Ty> = info.effect_args.iter().map(|t| copy(self, *t)).collect();
        let row = copy(self, info.row);
        let mut constraints = Vec::new();
        for Constraint { of, args } in &info.constraints {
            let args = args.iter().map(|t| copy(self, *t)).collect();
            constraints.push(Constraint { of: of.clone(), args });
        }
        if params.len() != args.len() {
            let s = if params.len() == 1 { "" } else { "s" };
            self.report(Diagnostic::new(
                codes::ARGUMENT_COUNT,
                format!("{what} takes {} argument{s}, but {} were given", params.len(), args.len()),
                span,
            ));
            return Expr { kind: ExprKind::Error, ty: self.store.error(), span };
        }
        if matches!(info.by, HandledBy::Extern(_)) {
            self.want_bounds(&info.effect, &effect_args, span, what);
        }
        let dicts = self.want_instances(constraints, span, what);
        let args = self.arguments(args, &params, what);
        let row = self.open_row(row, span, what);
        let ty = self.handler_con(info.effect.clone(), effect_args, row);
        let by = match info.by {
            HandledBy::Extern(module) => With::Extern(module),
            HandledBy::Topos { module, name, .. } => With::Topos { index, module, name, row, dicts },
        };
        Expr { kind: ExprKind::HandlerValue { effect: info.effect, by, args }, ty, span }
    }

    /// Whether a handler answers what its body answers, whatever that is.
    fn is_value(&self, index: usize, what: &str, span: Span) -> Result<(), Box<Diagnostic>> {
        let HandledBy::Topos { body, answer, .. } = &self.env.handlers[index].by else { return Ok(()) };
        let (body, answer) = (self.store.root(*body), self.store.root(*answer));
        let diagnostic = |message: String, help: &str| {
            Err(Box::new(Diagnostic::new(codes::HANDLER_VALUE, message, span).help(help)))
        };
        let any = matches!(self.store.node(body), Node::Var { level: GENERIC, .. });
        if any && body == answer {
            return Ok(());
        }
        if matches!(self.store.node(body), Node::Var { level, .. } if *level != GENERIC) {
            return diagnostic(
                format!("{what} is checked together with this use of it, so its type is not known yet"),
                "give the flow that uses it a signature, or write the handler into the `with`",
            );
        }
        let (body, answer) = (self.store.show(body), self.store.show(answer));
        diagnostic(
            format!("{what} cannot be a value: its `with` makes `{answer}` from a body of the type `{body}`"),
            "only a handler without `abort` and without a `return` clause of another type can; write it into the `with`",
        )
    }

    /// `with e { .. }`, where e is a value.
    pub(super) fn with_value(
        &mut self,
        handler: &ast::Expr,
        rest: &[ast::Expr],
        body: &ast::Block,
        want: &Want,
        span: Span,
    ) -> Expr {
        let ty = self.fresh();
        let value = self.expr(handler, &Want::plain(ty));
        self.settle_fields(u32::MAX);
        let (entry, row) = match self.store.node(value.ty).clone() {
            Node::Con(name, args) if &*name == builtin::HANDLER && args.len() == 2 => (args[0], args[1]),
            Node::Error => return self.wrong(want, span),
            node => {
                let shown = self.store.show(value.ty);
                let diagnostic = match node {
                    Node::Var { bound, .. } if bound.default().is_none() => Diagnostic::new(
                        codes::TYPE_UNKNOWN_HERE,
                        "the type of this handler is not known yet",
                        handler.span,
                    )
                    .help("annotate it: `(h : Handler(E))`"),
                    _ => Diagnostic::new(codes::NOT_A_HANDLER, "this is not a handler", handler.span)
                        .primary(format!("has the type `{shown}`"))
                        .help("write `with handler(args) { .. }`, or a value of a type `Handler(E)`"),
                };
                self.report(diagnostic);
                return self.wrong(want, span);
            }
        };
        self.require(row, handler.span, &Self::callee_name(handler));
        let Some((effect, effect_args)) = self.store.row(entry).entries.into_iter().next() else {
            return self.wrong(want, span);
        };
        let inner = self.store.extend(effect.clone(), effect_args, self.ambient);
        let by = With::Value { handler: Box::new(value), row: self.ambient };
        let body = self.under(inner, self.ambient_of.clone(), |c| c.with(rest, body, want, span));
        let ty = body.ty;
        Expr { kind: ExprKind::With { effect, by, args: Vec::new(), body: Box::new(body) }, ty, span }
    }

    pub(super) fn core_handler_value(
        &mut self,
        effect: &Name,
        by: With,
        args: Vec<Expr>,
        (span, check): (Span, bool),
    ) -> core::ExprKind {
        let effect = effect.to_string();
        match by {
            With::Extern(module) => core::ExprKind::HandlerValue {
                effect,
                handler: core::HandlerSource::Extern(module.to_string()),
                args: self.all(args, check),
            },
            With::Topos { index, module, name, dicts, .. } => {
                let mut all = self.handler_dictionaries(index, &dicts, span);
                all.extend(self.all(args, check));
                let handler = core::HandlerRef { module: module.map(|m| m.to_string()), name: name.to_string() };
                core::ExprKind::HandlerValue { effect, handler: core::HandlerSource::Topos(handler), args: all }
            }
            // A value is made of a declared handler.
            With::Value { .. } => core::ExprKind::Fail("a handler of a handler".to_owned()),
        }
    }
}
