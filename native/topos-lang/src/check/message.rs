//! Messages: `process ! message`, `process ? Make after time`, and `receive { | p -> .. after time -> .. }`. All are operations of
//! `Topos.Process`.
//!
//! `receive` hands its arms to the operation `select` as a function: of a message that an arm matches it answers what is
//! to be done, which happens when the message has been taken out of the mailbox.

use super::call::Arg;
use super::tree::{Expr, ExprKind};
use super::{Checker, Want, Why};
use crate::codes;
use crate::core::{self, Descriptor};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{builtin, Name, Ty};

const MODULE: &str = "Topos.Process";
const EFFECT: &str = "Topos.Process.Process";
/// How long `?` waits where nothing is said, in milliseconds: as OTP's `gen_server:call`.
const PATIENCE: i64 = 5_000;

impl Checker<'_> {
    /// Whether the module of processes is at hand; if not, that is said.
    fn has_process(&mut self, what: &str, span: Span) -> bool {
        if self.env.has_module(MODULE) || &*self.env.module == MODULE {
            return true;
        }
        // A module without the import has one mistake, however many messages it sends.
        if !self.unsupported_names.insert(MODULE.to_owned()) {
            return false;
        }
        self.report(
            Diagnostic::new(codes::UNKNOWN_MODULE, format!("{what} needs `{MODULE}`"), span)
                .help(format!("add `import {MODULE} (Process)`")),
        );
        false
    }

    /// `process ! message`.
    pub(super) fn send(&mut self, process: &ast::Expr, message: &ast::Expr, want: &Want, span: Span, op: Span) -> Expr {
        if !self.has_process("`!`", op) {
            return self.wrong(want, span);
        }
        self.process_operation("send", "`!`", vec![Arg::Ast(process), Arg::Ast(message)], want, span)
    }

    /// `process ? Make after time`.
    pub(super) fn ask(
        &mut self,
        (process, make): (&ast::Expr, &ast::Expr),
        timeout: Option<&ast::Expr>,
        want: &Want,
        span: Span,
        op: Span,
    ) -> Expr {
        if !self.has_process("`?`", op) {
            return self.wrong(want, span);
        }
        let patience = ast::Expr { kind: ast::ExprKind::Literal(ast::Literal::Duration(PATIENCE)), span: op };
        let timeout = timeout.unwrap_or(&patience);
        self.process_operation("ask", "`?`", vec![Arg::Ast(process), Arg::Ast(make), Arg::Ast(timeout)], want, span)
    }

    fn process_operation(&mut self, name: &str, what: &str, args: Vec<Arg<'_>>, want: &Want, span: Span) -> Expr {
        let effect: Name = EFFECT.into();
        let known = self.operation_type(&effect, name).filter(|(_, params, ..)| params.len() == args.len());
        let Some((effect_args, params, result, row, _)) = known else {
            return self.wrong(want, span);
        };
        self.require_process(effect_args, row, what, span);
        let args = self.arguments(args, &params, what);
        self.subsume(result, want, span);
        let kind = ExprKind::Perform { effect, operation: name.into(), args, dicts: Vec::new() };
        Expr { kind, ty: result, span }
    }

    fn require_process(&mut self, effect_args: Vec<Ty>, row: Ty, what: &str, span: Span) {
        let empty = self.store.empty();
        let entry = self.store.extend(EFFECT.into(), effect_args, empty);
        self.require(entry, span, what);
        self.require(row, span, what);
    }

    /// `receive { | p -> .. after time -> .. }`: arms need not match everything, what they do not match stays in the
    /// mailbox.
    pub(super) fn receive(
        &mut self,
        arms: &[ast::Arm],
        after: Option<&(ast::Expr, ast::Block)>,
        want: &Want,
        span: Span,
    ) -> Expr {
        let head = Span::new(span.start, span.start + "receive".len() as u32);
        if !self.has_process("`receive`", head) {
            return self.wrong(want, span);
        }
        let empty = self.store.empty();
        self.require_process(Vec::new(), empty, "`receive`", head);
        let message = self.fresh();
        let timeout = after.map(|(time, _)| {
            let duration = self.store.con(builtin::DURATION, Vec::new());
            self.expr(time, &Want::new(duration, Why::Demand("`after` takes a Duration: `after 5s -> ..`")))
        });
        let arms = self.arms(arms, &[message], want, false);
        let otherwise = after.map(|(_, body)| self.scoped(|c| c.block(body, want)));
        let local = self.new_local("message");
        let scrutinee = Expr { kind: ExprKind::Local(local), ty: message, span };
        let kind = ExprKind::Receive {
            scrutinee: Box::new(scrutinee),
            arms,
            timeout: timeout.map(Box::new),
            otherwise: otherwise.map(Box::new),
        };
        Expr { kind, ty: want.ty, span }
    }

    pub(super) fn core_receive(
        &mut self,
        scrutinee: Expr,
        arms: Vec<super::tree::Arm>,
        timeout: Option<Expr>,
        otherwise: Option<Expr>,
        (span, check): (Span, bool),
    ) -> core::ExprKind {
        let at = |kind| core::Expr { kind, span };
        let construct =
            |constructor: &str, args| at(core::ExprKind::Construct { constructor: constructor.to_owned(), args });
        let message = match &scrutinee.kind {
            ExprKind::Local(local) => local.clone(),
            _ => self.new_local("message"),
        };
        let descriptor = self.descriptor(scrutinee.ty);
        let none = construct("None", Vec::new());
        let mut chosen = self.core_arms(scrutinee, arms, check, |_| none.clone());
        if let core::ExprKind::Match { arms, .. } = &mut chosen {
            for arm in arms.iter_mut().filter(|arm| arm.body != none) {
                let body = std::mem::replace(&mut arm.body, none.clone());
                let then = core::Expr {
                    span: body.span,
                    kind: core::ExprKind::Lambda { params: Vec::new(), body: Box::new(body) },
                };
                arm.body = construct("Some", vec![then]);
            }
        }
        let mut chosen = at(chosen);
        if descriptor != Descriptor::Any {
            let value = Box::new(at(core::ExprKind::Local(message.clone())));
            let condition = Box::new(at(core::ExprKind::Fits { value, descriptor }));
            let (then, otherwise) = (Box::new(chosen), Box::new(none.clone()));
            chosen = at(core::ExprKind::If { condition, then, otherwise });
        }
        let choose = at(core::ExprKind::Lambda { params: vec![message], body: Box::new(chosen) });
        let timeout = match timeout {
            Some(time) => construct("Some", vec![self.core(time, check)]),
            None => none,
        };
        let operations = self.env.effects.get(EFFECT).map_or(&[][..], |info| &info.operations);
        let taken = core::ExprKind::Perform {
            index: operations.iter().position(|op| &*op.name == "select").unwrap_or(0),
            operations: operations.len(),
            effect: EFFECT.to_owned(),
            operation: "select".to_owned(),
            captures: vec![false, false],
            args: vec![choose, timeout],
            returns: None,
        };
        let then = self.new_local("then");
        let unit = at(core::ExprKind::Literal(core::Literal::Unit));
        let function = Box::new(at(core::ExprKind::Local(then.clone())));
        let run = at(core::ExprKind::Apply { function, args: vec![unit] });
        let some = core::Pattern::Construct { constructor: "Some".to_owned(), args: vec![core::Pattern::Bind(then)] };
        let late = match otherwise {
            Some(body) => self.core(body, check),
            None => at(core::ExprKind::Fail("a `receive` without a time came to an end".to_owned())),
        };
        let arm = |pattern, body| core::Arm { patterns: vec![pattern], guard: None, body };
        core::ExprKind::Match {
            scrutinee: Box::new(at(taken)),
            arms: vec![arm(some, run), arm(core::Pattern::Wildcard, late)],
        }
    }
}
