//! From the typed tree to the core, once every type is known: calls saturated, operators decided, descriptors made,
//! patterns checked.

use super::exhaustive::Useful;
use super::flows::{Body, BodyKind};
use super::traits::DictId;
use super::tree::{self, Builtin, Expr, ExprKind, FlowId, Literal, Pattern, PatternKind, Stmt};
use super::{testing, Checker};
use crate::codes;
use crate::core::{self, Descriptor, FlowRef, Local, Primitive};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::BinaryOp;
use crate::types::{builtin, Node, Ty};

impl Checker<'_> {
    pub(super) fn elaborate(&mut self, bodies: Vec<Body>) -> (Vec<core::Flow>, Vec<core::Handler>) {
        for id in 0..self.env.flows.len() {
            if self.env.flows[id].module.is_none() {
                let takes = self.takes_evidence(id);
                self.evidence.insert(id, takes);
            }
        }
        let (mut flows, mut handlers) = (Vec::new(), Vec::new());
        for body in bodies {
            match body.kind {
                BodyKind::Handler(parts) => handlers.push(self.core_handler(*parts, body.clean)),
                BodyKind::Topos { .. } | BodyKind::Extern { .. } => flows.extend(self.flow_body(body)),
            }
        }
        flows.extend(self.instance_flows());
        handlers.append(&mut self.lifted);
        (flows, handlers)
    }

    /// Whether the row of a flow's last written arrow is anything but the closed empty one.
    fn takes_evidence(&self, id: FlowId) -> bool {
        let info = &self.env.flows[id];
        if info.config {
            return false;
        }
        let mut at = info.ty;
        let mut last = None;
        for _ in 0..info.arity.max(1) {
            let Node::Arrow { row, result, .. } = *self.store.node(at) else { break };
            last = Some(row);
            at = result;
        }
        last.is_some_and(|row| !self.store.is_empty_row(row))
    }

    /// The types of a flow's written parameters and of what it returns then.
    fn written_types(&self, id: FlowId) -> (Vec<Ty>, Ty) {
        let info = &self.env.flows[id];
        if info.config {
            return (Vec::new(), info.ty);
        }
        let mut params = Vec::new();
        let mut at = info.ty;
        for _ in 0..info.arity.max(1) {
            let Node::Arrow { param, result, .. } = *self.store.node(at) else { break };
            params.push(param);
            at = result;
        }
        if info.arity == 0 {
            params.clear();
        }
        (params, at)
    }

    fn flow_body(&mut self, body: Body) -> Option<core::Flow> {
        let info = self.env.flows[body.flow].clone();
        let (param_types, result) = self.written_types(body.flow);
        self.dict_locals = info.constraints.iter().map(|_| self.new_local("dictionary")).collect();
        let dictionaries = self.dict_locals.clone();
        let signature = core::Signature {
            params: std::iter::repeat_n(Descriptor::Any, dictionaries.len())
                .chain(param_types.iter().map(|t| self.descriptor(*t)).collect::<Vec<_>>())
                .collect(),
            returns: self.descriptor(result),
        };
        let (params, flow_body) = match body.kind {
            BodyKind::Extern { module, function } => {
                // Erlang code has no use for dictionaries.
                let args: Vec<Local> = param_types.iter().map(|_| self.new_local("arg")).collect();
                let params = dictionaries.into_iter().chain(args.iter().cloned()).collect();
                let returns = signature.returns.clone();
                (params, core::FlowBody::Extern { module, function, args, returns })
            }
            BodyKind::Topos { params, body: expr } => {
                let expr = self.core(expr, body.clean);
                let (params, expr) = self.params(params, expr, body.clean);
                (dictionaries.into_iter().chain(params).collect(), core::FlowBody::Expr(expr))
            }
            BodyKind::Handler(_) => return None,
        };
        let name = info.name.to_string();
        Some(core::Flow {
            exported: self.is_visible(&name)
                || name == "main"
                || testing::is_test(&name)
                || name.starts_with("default ")
                || super::traits::is_generated(&name),
            name,
            params,
            evidence: self.evidence.get(&body.flow).copied().unwrap_or(false),
            body: flow_body,
            signature: Some(signature),
            span: info.span.unwrap_or(body.span),
        })
    }

    /// Parameters as locals; patterns become a `let` before the body.
    pub(super) fn params(
        &mut self,
        patterns: Vec<Pattern>,
        mut body: core::Expr,
        check: bool,
    ) -> (Vec<Local>, core::Expr) {
        let mut locals = Vec::new();
        let mut lets = Vec::new();
        for pattern in patterns {
            self.irrefutable(&pattern, "a parameter", check);
            match pattern.kind {
                PatternKind::Bind(local) => locals.push(local),
                PatternKind::Wildcard => locals.push(self.new_local("_")),
                _ => {
                    let local = self.new_local("arg");
                    locals.push(local.clone());
                    lets.push((pattern, local));
                }
            }
        }
        for (pattern, local) in lets.into_iter().rev() {
            let span = pattern.span;
            let pattern = self.core_pattern(pattern);
            let value = core::Expr { kind: core::ExprKind::Local(local), span };
            let at = body.span;
            let kind = core::ExprKind::Let { pattern, value: Box::new(value), body: Box::new(body) };
            body = core::Expr { kind, span: at };
        }
        (locals, body)
    }

    fn irrefutable(&mut self, pattern: &Pattern, place: &str, check: bool) {
        if !check || pattern.is_simple() {
            return;
        }
        if let Useful::Yes(missing) = self.useful(&[pattern], None, pattern.ty) {
            self.report(
                Diagnostic::new(codes::REFUTABLE, format!("{place} needs a pattern that always matches"), pattern.span)
                    .primary(if missing == "_" {
                        "matches some values only".to_owned()
                    } else {
                        format!("does not match `{missing}`")
                    })
                    .help("use `match`, or a clause of the flow for each case"),
            );
        }
    }

    pub(super) fn flow_ref(&self, id: FlowId) -> FlowRef {
        let info = &self.env.flows[id];
        FlowRef {
            module: info.module.as_ref().map(|m| m.to_string()),
            name: info.name.to_string(),
            arity: info.arity,
            evidence: self.evidence.get(&id).copied().unwrap_or(false),
        }
    }

    pub(super) fn all(&mut self, exprs: Vec<Expr>, check: bool) -> Vec<core::Expr> {
        exprs.into_iter().map(|e| self.core(e, check)).collect()
    }

    pub(super) fn boxed(&mut self, expr: Expr, check: bool) -> Box<core::Expr> {
        Box::new(self.core(expr, check))
    }

    /// An expression; `check` says whether its patterns are checked (not in a flow that has errors already).
    pub(super) fn core(&mut self, expr: Expr, check: bool) -> core::Expr {
        let Expr { kind, ty, span } = expr;
        let kind = match kind {
            ExprKind::Local(local) => core::ExprKind::Local(local),
            ExprKind::Literal(literal) => core::ExprKind::Literal(self.core_literal(literal, ty, span)),
            ExprKind::Flow(id) => {
                let head = self.plain_head(id);
                return self.head_value(head, span);
            }
            ExprKind::Overloaded { flow, dicts, value } => return self.overloaded_value(flow, &dicts, value, span),
            ExprKind::Shown(value, dict) => {
                let value = self.core(*value, check);
                if self.is_native(Some(dict)) {
                    return value;
                }
                return self.shown(dict, value);
            }
            ExprKind::Number { digits, dict } => {
                if self.is_built_in_number(ty) {
                    core::ExprKind::Literal(self.core_literal(Literal::Number(digits), ty, span))
                } else {
                    let kind = core::ExprKind::Literal(core::Literal::Int(digits));
                    return self.number_member("from_int", dict, core::Expr { kind, span });
                }
            }
            ExprKind::Config(id) => core::ExprKind::Call { flow: self.flow_ref(id), args: Vec::new() },
            ExprKind::Constructor { name, arity: 0 } => {
                core::ExprKind::Construct { constructor: name.to_string(), args: Vec::new() }
            }
            ExprKind::Constructor { name, arity } => {
                core::ExprKind::ConstructorValue { constructor: name.to_string(), arity }
            }
            ExprKind::Builtin(b) => self.builtin_value(b, span),
            ExprKind::App { function, args, last_first } => return self.app(*function, args, last_first, span, check),
            ExprKind::Lambda { params, body } => {
                let body = self.core(*body, check);
                let (params, body) = self.params(params, body, check);
                core::ExprKind::Lambda { params, body: Box::new(body) }
            }
            ExprKind::Forall(body) => {
                let generated = self.generated(&body, span);
                core::ExprKind::ForAll { generated, body: self.boxed(*body, check) }
            }
            ExprKind::Block(stmts, last) => return self.core_block(stmts, *last, check),
            ExprKind::Drop(value) => {
                let is_unit = self.is_unit(value.ty);
                let value = self.core(*value, check);
                if is_unit {
                    return value;
                }
                let unit = core::Expr { kind: core::ExprKind::Literal(core::Literal::Unit), span };
                core::ExprKind::Sequence(Box::new(value), Box::new(unit))
            }
            ExprKind::If { condition, then, otherwise } => core::ExprKind::If {
                condition: self.boxed(*condition, check),
                then: self.boxed(*then, check),
                otherwise: self.boxed(*otherwise, check),
            },
            ExprKind::Match { scrutinee, arms } => self.core_match(*scrutinee, arms, span, check),
            ExprKind::Tuple(parts) => core::ExprKind::Tuple(self.all(parts, check)),
            ExprKind::List(items, tail) => {
                let items = self.all(items, check);
                core::ExprKind::List(items, tail.map(|t| self.boxed(*t, check)))
            }
            ExprKind::Record(fields) => core::ExprKind::Record(self.core_fields(fields, check)),
            ExprKind::Update { record, fields } => {
                let record = self.boxed(*record, check);
                core::ExprKind::Update { record, fields: self.core_fields(fields, check) }
            }
            ExprKind::Field { record, field } => {
                core::ExprKind::Field { record: self.boxed(*record, check), field: field.to_string() }
            }
            ExprKind::Binary { op, left, right, dict } if !self.is_primitive(op, left.ty, dict) => {
                let left = self.core(*left, check);
                let args = vec![left, self.core(*right, check)];
                match dict {
                    Some(dict) => return self.overloaded_operator(op, dict, args, span),
                    None => core::ExprKind::Fail("an operator without an instance".to_owned()),
                }
            }
            ExprKind::Binary { op, left, right, .. } => {
                let op = self.primitive(op, left.ty);
                let left = self.core(*left, check);
                core::ExprKind::Primitive { op, args: vec![left, self.core(*right, check)] }
            }
            ExprKind::Negate(operand, dict) if !self.is_built_in_number(operand.ty) => {
                let operand = self.core(*operand, check);
                return self.number_member("negate", dict, operand);
            }
            ExprKind::Negate(operand, _) => {
                core::ExprKind::Primitive { op: Primitive::Negate, args: vec![self.core(*operand, check)] }
            }
            ExprKind::Format(parts) => core::ExprKind::Format(
                parts
                    .into_iter()
                    .map(|part| match part {
                        tree::FormatPart::Text(text) => core::FormatPart::Text(text),
                        tree::FormatPart::Expr(e) => core::FormatPart::Expr(self.core(e, check)),
                    })
                    .collect(),
            ),
            ExprKind::Perform { effect, operation, args, dicts } => {
                let returns = Some(self.descriptor(ty)).filter(|d| *d != Descriptor::Any);
                let operations = self.env.effects.get(&effect).map_or(&[][..], |info| &info.operations);
                core::ExprKind::Perform {
                    captures: std::iter::repeat_n(false, dicts.len())
                        .chain(args.iter().map(|arg| self.may_perform(arg.ty)))
                        .collect(),
                    index: operations.iter().position(|op| op.name == operation).unwrap_or(0),
                    operations: operations.len(),
                    effect: effect.to_string(),
                    operation: operation.to_string(),
                    args: self.with_dictionaries(&dicts, args, span, check),
                    returns,
                }
            }
            ExprKind::With { effect, by, args, body } => self.core_with(&effect, by, args, *body, (span, check)),
            ExprKind::HandlerValue { effect, by, args } => self.core_handler_value(&effect, by, args, (span, check)),
            ExprKind::Sibling { operation, args, dicts } => core::ExprKind::Sibling {
                operation: operation.to_string(),
                args: self.with_dictionaries(&dicts, args, span, check),
            },
            ExprKind::State(local) => core::ExprKind::StateValue(local),
            ExprKind::Assign { cell, value, atomic } => {
                core::ExprKind::Assign { cell, value: self.boxed(*value, check), atomic }
            }
            ExprKind::Atomic(body) => core::ExprKind::Atomic(self.boxed(*body, check)),
            ExprKind::Abort(value) => core::ExprKind::Abort(self.boxed(*value, check)),
            ExprKind::Try { body, scrutinee, again, arms } => {
                self.core_try(*body, *scrutinee, again, arms, (span, check))
            }
            ExprKind::Receive { scrutinee, arms, timeout, otherwise } => {
                let (timeout, otherwise) = (timeout.map(|e| *e), otherwise.map(|e| *e));
                self.core_receive(*scrutinee, arms, timeout, otherwise, (span, check))
            }
            ExprKind::TryHandler { parts, row, body } => self.core_try_handler(*parts, row, *body, (span, check)),
            ExprKind::Leavable { label, body } => core::ExprKind::Leavable { label, body: self.boxed(*body, check) },
            ExprKind::Leave { label, value } => core::ExprKind::Leave { label, value: self.boxed(*value, check) },
            ExprKind::Error => core::ExprKind::Fail("this expression has an error".to_owned()),
        };
        core::Expr { kind, span }
    }

    /// Dictionaries, then arguments.
    fn with_dictionaries(&mut self, dicts: &[DictId], args: Vec<Expr>, span: Span, check: bool) -> Vec<core::Expr> {
        let mut all = self.dictionaries(dicts, span);
        all.extend(self.all(args, check));
        all
    }

    /// Whether a value of the type may be a function that has effects.
    fn may_perform(&self, ty: Ty) -> bool {
        match self.store.node(ty) {
            Node::Arrow { row, result, .. } => !self.store.is_empty_row(*row) || self.may_perform(*result),
            Node::Var { .. } | Node::Skolem { .. } | Node::Error => true,
            _ => false,
        }
    }

    fn core_fields(&mut self, fields: Vec<(crate::types::Name, Expr)>, check: bool) -> Vec<(String, core::Expr)> {
        fields.into_iter().map(|(name, e)| (name.to_string(), self.core(e, check))).collect()
    }

    fn core_block(&mut self, stmts: Vec<Stmt>, last: Expr, check: bool) -> core::Expr {
        enum Done {
            Let(core::Pattern, core::Expr),
            Expr(core::Expr),
        }
        let mut done = Vec::new();
        for stmt in stmts {
            match stmt {
                Stmt::Let { pattern, value } => {
                    let value = self.core(value, check);
                    self.irrefutable(&pattern, "a `let`", check);
                    done.push(Done::Let(self.core_pattern(pattern), value));
                }
                Stmt::Expr(e) => done.push(Done::Expr(self.core(e, check))),
            }
        }
        let mut body = self.core(last, check);
        for stmt in done.into_iter().rev() {
            let (kind, span) = match stmt {
                Done::Let(pattern, value) => {
                    let span = value.span.to(body.span);
                    (core::ExprKind::Let { pattern, value: Box::new(value), body: Box::new(body) }, span)
                }
                Done::Expr(e) => {
                    let span = e.span.to(body.span);
                    (core::ExprKind::Sequence(Box::new(e), Box::new(body)), span)
                }
            };
            body = core::Expr { kind, span };
        }
        body
    }

    pub(super) fn builtin_value(&mut self, b: Builtin, span: Span) -> core::ExprKind {
        let local = self.new_local("x");
        let arg = core::Expr { kind: core::ExprKind::Local(local.clone()), span };
        let body = core::Expr { kind: builtin_call(b, arg), span };
        core::ExprKind::Lambda { params: vec![local], body: Box::new(body) }
    }

    /// A call: direct with exactly the written arity, a lambda if arguments are missing, an `Apply` of what is left over.
    fn app(&mut self, function: Expr, args: Vec<Expr>, last_first: bool, span: Span, check: bool) -> core::Expr {
        let head_span = function.span;
        let head = match function.kind {
            ExprKind::Flow(id) => self.plain_head(id),
            ExprKind::Overloaded { flow, dicts, value: false } => self.overloaded_head(flow, &dicts, head_span),
            ExprKind::Constructor { name, .. } => Head::Constructor(name.to_string()),
            ExprKind::Builtin(b) => Head::Builtin(b),
            kind => Head::Value(Box::new(self.core(Expr { kind, ty: function.ty, span: head_span }, check))),
        };
        let mut args = self.all(args, check);
        let mut first = None;
        if last_first && args.len() > 1 && !args[..args.len() - 1].iter().all(is_atomic) {
            if let Some(last) = args.pop() {
                let local = self.new_local("piped");
                args.push(core::Expr { kind: core::ExprKind::Local(local.clone()), span: last.span });
                first = Some((local, last));
            }
        }
        let call = self.saturate(head, args, span);
        match first {
            None => call,
            Some((local, value)) => {
                let kind = core::ExprKind::Let {
                    pattern: core::Pattern::Bind(local),
                    value: Box::new(value),
                    body: Box::new(call),
                };
                core::Expr { kind, span }
            }
        }
    }

    pub(super) fn saturate(&mut self, head: Head, mut args: Vec<core::Expr>, span: Span) -> core::Expr {
        let expr = |kind| core::Expr { kind, span };
        match head {
            Head::Value(function) => expr(core::ExprKind::Apply { function, args }),
            Head::Constructor(constructor) => expr(core::ExprKind::Construct { constructor, args }),
            Head::Builtin(b) => match args.pop() {
                Some(arg) => expr(builtin_call(b, arg)),
                None => expr(core::ExprKind::Fail("a built-in function without an argument".to_owned())),
            },
            Head::Primitive(op) => {
                if args.len() < 2 {
                    let function = self.head_value(Head::Primitive(op), span);
                    return expr(core::ExprKind::Apply { function: Box::new(function), args });
                }
                let rest = args.split_off(2);
                apply_rest(expr(core::ExprKind::Primitive { op, args }), rest, span)
            }
            Head::Flow(flow, dicts) if flow.arity == dicts.len() => {
                let unit = args.remove(0);
                let call = expr(core::ExprKind::Call { flow, args: dicts });
                let call = if matches!(unit.kind, core::ExprKind::Literal(core::Literal::Unit)) {
                    call
                } else {
                    expr(core::ExprKind::Sequence(Box::new(unit), Box::new(call)))
                };
                apply_rest(call, args, span)
            }
            Head::Flow(flow, mut dicts) if dicts.len() + args.len() >= flow.arity => {
                let rest = args.split_off(flow.arity - dicts.len());
                dicts.append(&mut args);
                let args = dicts;
                apply_rest(expr(core::ExprKind::Call { flow, args }), rest, span)
            }
            Head::Flow(flow, dicts) => {
                // The arguments that are there are evaluated now, not when the rest comes.
                let mut given = dicts;
                let mut lets = Vec::new();
                for arg in args {
                    if is_atomic(&arg) {
                        given.push(arg);
                        continue;
                    }
                    let local = self.new_local("given");
                    given.push(core::Expr { kind: core::ExprKind::Local(local.clone()), span: arg.span });
                    lets.push((local, arg));
                }
                let params: Vec<Local> = (given.len()..flow.arity).map(|_| self.new_local("arg")).collect();
                given.extend(params.iter().map(|p| expr(core::ExprKind::Local(p.clone()))));
                let call = expr(core::ExprKind::Call { flow, args: given });
                let lambda = expr(core::ExprKind::Lambda { params, body: Box::new(call) });
                lets.into_iter().rev().fold(lambda, |body, (local, value)| {
                    expr(core::ExprKind::Let {
                        pattern: core::Pattern::Bind(local),
                        value: Box::new(value),
                        body: Box::new(body),
                    })
                })
            }
        }
    }

    fn core_match(&mut self, scrutinee: Expr, arms: Vec<tree::Arm>, span: Span, check: bool) -> core::ExprKind {
        let complete = !check || self.check_arms(&arms, scrutinee.ty, scrutinee.span);
        let otherwise =
            (!complete).then(|| core::Expr { kind: core::ExprKind::Fail("no arm matches".to_owned()), span });
        self.core_match_or(scrutinee, arms, check, otherwise)
    }

    /// Arms that need not match everything: `otherwise` is for the rest, and is told whether there is any.
    pub(super) fn core_arms(
        &mut self,
        scrutinee: Expr,
        arms: Vec<tree::Arm>,
        check: bool,
        otherwise: impl FnOnce(&mut Self) -> core::Expr,
    ) -> core::ExprKind {
        let complete = check && {
            let before = self.check_redundancy(&arms, scrutinee.ty);
            matches!(self.useful(&before, None, scrutinee.ty), Useful::No)
        };
        let otherwise = (!complete).then(|| otherwise(self));
        self.core_match_or(scrutinee, arms, check, otherwise)
    }

    fn core_match_or(
        &mut self,
        scrutinee: Expr,
        arms: Vec<tree::Arm>,
        check: bool,
        otherwise: Option<core::Expr>,
    ) -> core::ExprKind {
        let scrutinee = self.boxed(scrutinee, check);
        let mut core_arms: Vec<core::Arm> = Vec::new();
        for arm in arms {
            let patterns = arm.patterns.into_iter().map(|p| self.core_pattern(p)).collect();
            let guard = arm.guard.map(|g| self.core(g, check));
            let body = self.core(arm.body, check);
            core_arms.push(core::Arm { patterns, guard, body });
        }
        if let Some(body) = otherwise {
            core_arms.push(core::Arm { patterns: vec![core::Pattern::Wildcard], guard: None, body });
        }
        core::ExprKind::Match { scrutinee, arms: core_arms }
    }

    /// Reports arms that never match; answers the patterns without guards.
    fn check_redundancy<'p>(&mut self, arms: &'p [tree::Arm], ty: Ty) -> Vec<&'p Pattern> {
        let mut before: Vec<&Pattern> = Vec::new();
        for arm in arms {
            for pattern in &arm.patterns {
                if matches!(self.useful(&before, Some(pattern), ty), Useful::No) {
                    let what = if arm.patterns.len() > 1 { "this alternative" } else { "this arm" };
                    self.report(
                        Diagnostic::new(codes::REDUNDANT, format!("{what} never matches"), pattern.span)
                            .primary("the arms before it match all of this")
                            .help("remove it, or move it up"),
                    );
                }
                if arm.guard.is_none() {
                    before.push(pattern);
                }
            }
        }
        before
    }

    /// Reports arms that never match and a match that is not exhaustive; answers whether it was proved to be.
    fn check_arms(&mut self, arms: &[tree::Arm], ty: Ty, span: Span) -> bool {
        let before = self.check_redundancy(arms, ty);
        match self.useful(&before, None, ty) {
            Useful::No => true,
            Useful::Unknown => false,
            Useful::Yes(missing) => {
                let guarded = arms.iter().any(|a| a.guard.is_some());
                let diagnostic = Diagnostic::new(
                    codes::NOT_EXHAUSTIVE,
                    if missing == "_" {
                        "there are values that no arm matches".to_owned()
                    } else {
                        format!("`{missing}` is not matched by any arm")
                    },
                    span,
                )
                .primary(if missing == "_" { "" } else { "may have this value" });
                let diagnostic = match arms.last() {
                    Some(last) => diagnostic.label(last.span, "the last arm"),
                    None => diagnostic,
                };
                let help = if missing == "_" {
                    "add a last arm `| _ -> ..`".to_owned()
                } else {
                    format!("add `| {missing} -> ..`, or a last arm `| _ -> ..`")
                };
                self.report(diagnostic.help(if guarded {
                    format!("{help}; an arm with a guard does not count")
                } else {
                    help
                }));
                false
            }
        }
    }

    fn core_pattern(&mut self, pattern: Pattern) -> core::Pattern {
        match pattern.kind {
            PatternKind::Wildcard => core::Pattern::Wildcard,
            PatternKind::Bind(local) => core::Pattern::Bind(local),
            PatternKind::As(inner, local) => core::Pattern::As(Box::new(self.core_pattern(*inner)), local),
            PatternKind::Literal(literal) => {
                core::Pattern::Literal(self.core_literal(literal, pattern.ty, pattern.span))
            }
            PatternKind::Tuple(parts) => {
                core::Pattern::Tuple(parts.into_iter().map(|p| self.core_pattern(p)).collect())
            }
            PatternKind::List(items, tail) => {
                let items = items.into_iter().map(|p| self.core_pattern(p)).collect();
                core::Pattern::List(items, tail.map(|t| Box::new(self.core_pattern(*t))))
            }
            PatternKind::Record(fields) => core::Pattern::Record(
                fields.into_iter().map(|(name, p)| (name.to_string(), self.core_pattern(p))).collect(),
            ),
            PatternKind::Construct { name, args } => core::Pattern::Construct {
                constructor: name.to_string(),
                args: args.into_iter().map(|p| self.core_pattern(p)).collect(),
            },
        }
    }

    fn is_built_in_number(&self, ty: Ty) -> bool {
        match self.store.node(ty) {
            Node::Con(name, _) => matches!(&**name, builtin::INT | builtin::FLOAT | builtin::DURATION),
            Node::Error => true,
            _ => false,
        }
    }

    /// Whether an operator is the BEAM's own for these operands.
    fn is_primitive(&self, op: BinaryOp, operand: Ty, dict: Option<DictId>) -> bool {
        match op {
            BinaryOp::Add | BinaryOp::Subtract | BinaryOp::Multiply | BinaryOp::Divide => {
                self.is_built_in_number(operand)
            }
            BinaryOp::Append | BinaryOp::Combine => match self.store.node(operand) {
                Node::Con(name, _) => matches!(&**name, builtin::TEXT | builtin::LIST),
                Node::Error => true,
                _ => false,
            },
            _ => self.is_native(dict),
        }
    }

    /// The built-in type an overloaded operand has, by default if nothing decided it.
    fn overloaded(&self, ty: Ty) -> Option<String> {
        match self.store.node(ty) {
            Node::Con(name, _) => Some(name.to_string()),
            Node::Var { bound, .. } => bound.default().map(str::to_owned),
            _ => None,
        }
    }

    fn core_literal(&mut self, literal: Literal, ty: Ty, span: Span) -> core::Literal {
        match literal {
            Literal::Float(x) => core::Literal::Float(x),
            Literal::Text(text) => core::Literal::Text(text),
            Literal::Duration(ms) => core::Literal::Duration(ms),
            Literal::Bool(b) => core::Literal::Bool(b),
            Literal::Unit => core::Literal::Unit,
            Literal::Number(digits) => match self.overloaded(ty).as_deref() {
                Some(builtin::FLOAT) => match digits.parse::<f64>() {
                    Ok(x) if x.is_finite() => core::Literal::Float(x),
                    _ => self.out_of_range("a Float", span),
                },
                Some(builtin::DURATION) => match digits.parse::<i64>() {
                    Ok(ms) => core::Literal::Duration(ms),
                    Err(_) => self.out_of_range("a Duration", span),
                },
                _ => core::Literal::Int(digits),
            },
        }
    }

    fn out_of_range(&mut self, what: &str, span: Span) -> core::Literal {
        self.report(Diagnostic::new(codes::LITERAL_RANGE, format!("this number is too large for {what}"), span));
        core::Literal::Int("0".to_owned())
    }

    fn primitive(&self, op: BinaryOp, operand: Ty) -> Primitive {
        let ty = self.overloaded(operand);
        let ty = ty.as_deref();
        match op {
            BinaryOp::Or => Primitive::Or,
            BinaryOp::And => Primitive::And,
            BinaryOp::NotEqual | BinaryOp::NotIdentical => Primitive::NotEqual,
            BinaryOp::Less => Primitive::Less,
            BinaryOp::Greater => Primitive::Greater,
            BinaryOp::LessEqual => Primitive::LessEqual,
            BinaryOp::GreaterEqual => Primitive::GreaterEqual,
            BinaryOp::Add => Primitive::Add,
            BinaryOp::Subtract => Primitive::Subtract,
            BinaryOp::Multiply => Primitive::Multiply,
            BinaryOp::Divide if ty == Some(builtin::FLOAT) => Primitive::DivideFloat,
            BinaryOp::Divide => Primitive::DivideInt,
            BinaryOp::Remainder => Primitive::Remainder,
            BinaryOp::Append | BinaryOp::Combine => match ty {
                Some(builtin::TEXT) => Primitive::AppendText,
                _ => Primitive::AppendList,
            },
            // `|>`, `::` and `!` have become something else.
            BinaryOp::Equal | BinaryOp::Identical | BinaryOp::Send | BinaryOp::Pipe | BinaryOp::Cons => {
                Primitive::Equal
            }
        }
    }
}

pub(super) enum Head {
    /// With the dictionaries that it takes first; its arity counts them.
    Flow(FlowRef, Vec<core::Expr>),
    Primitive(Primitive),
    Constructor(String),
    Builtin(Builtin),
    Value(Box<core::Expr>),
}

fn builtin_call(b: Builtin, arg: core::Expr) -> core::ExprKind {
    match b {
        Builtin::Not => core::ExprKind::Primitive { op: Primitive::Not, args: vec![arg] },
        Builtin::Show => core::ExprKind::Format(vec![core::FormatPart::Expr(arg)]),
    }
}

fn apply_rest(call: core::Expr, rest: Vec<core::Expr>, span: Span) -> core::Expr {
    if rest.is_empty() {
        return call;
    }
    core::Expr { kind: core::ExprKind::Apply { function: Box::new(call), args: rest }, span }
}

/// Whether evaluating something early or late makes no difference.
fn is_atomic(expr: &core::Expr) -> bool {
    matches!(
        expr.kind,
        core::ExprKind::Local(_)
            | core::ExprKind::Literal(_)
            | core::ExprKind::FlowValue(_)
            | core::ExprKind::ConstructorValue { .. }
            | core::ExprKind::Lambda { .. }
    )
}
