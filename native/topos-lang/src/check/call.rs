//! Calls: of flows and function values, constructors, companion functions, operations, and `with`.

use foldhash::{HashMap, HashMapExt};

use super::actor::{ACTOR, SUPERVISOR};
use super::env::{CtorRef, HandledBy, Lookup};
use super::interface::TypeBody;
use super::report::{INDEX, PUT_AT};
use super::traits::Constraint;
use super::tree::{Expr, ExprKind, Literal, With};
use super::{suggest, unsupported, Checker, Want, Why};
use crate::codes;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{short, Name, Node, Ty};

/// An argument: still to be checked, or checked already (the left side of `|>`, a receiver).
pub(super) enum Arg<'e> {
    Ast(&'e ast::Expr),
    Done(Expr),
}

/// What `e.m` is as the head of a call.
enum Method {
    /// A field that holds a function.
    Field(Expr),
    /// A flow of the receiver's module, which takes the receiver as its last argument.
    Companion { head: Expr, receiver: Expr },
}

impl Checker<'_> {
    pub(super) fn call(&mut self, function: &ast::Expr, args: &[ast::Expr], want: &Want, span: Span) -> Expr {
        if let Some(abort) = self.abort(function, args, want, span) {
            return abort;
        }
        if let Some(at) = args.iter().position(|argument| self.is_foreign_operator(argument)) {
            let any = Want::plain(self.store.error());
            match &args[..at] {
                [] => self.expr(function, &any),
                own => self.call(function, own, &any, span),
            };
            for operand in &args[at..] {
                self.expr(operand, &any);
            }
            return self.wrong(want, span);
        }
        let args: Vec<Arg<'_>> = args.iter().map(Arg::Ast).collect();
        self.call_with(function, args, false, want, span)
    }

    /// Whether an argument is the operator of `a and b`, of other languages, which was read as a call of `a`: the wrong name is the
    /// one mistake.
    fn is_foreign_operator(&self, argument: &ast::Expr) -> bool {
        let ast::ExprKind::Var { qualifier, name } = &argument.kind else { return false };
        matches!(name.name.as_str(), "and" | "or")
            && qualifier.is_empty()
            && self.env.local(&name.name).is_none()
            && matches!(self.env.lookup_value(qualifier, &name.name), Lookup::Unknown)
    }

    /// `x |> f(y)` is `f(y, x)`, with x evaluated first.
    pub(super) fn pipe(&mut self, left: &ast::Expr, right: &ast::Expr, want: &Want, span: Span) -> Expr {
        let ty = self.fresh();
        let left = self.expr(left, &Want::plain(ty));
        let (function, args) = match &right.kind {
            ast::ExprKind::Apply { function, args } => (&**function, args.as_slice()),
            _ => (right, &[][..]),
        };
        let mut all: Vec<Arg<'_>> = args.iter().map(Arg::Ast).collect();
        all.push(Arg::Done(left));
        self.call_with(function, all, true, want, span)
    }

    fn call_with(
        &mut self,
        function: &ast::Expr,
        mut args: Vec<Arg<'_>>,
        mut last_first: bool,
        want: &Want,
        span: Span,
    ) -> Expr {
        let what = Self::callee_name(function);
        let head = match &function.kind {
            ast::ExprKind::Constructor(path) => match self.starter(path) {
                Some(head) => head,
                None => return self.construct(path, args, last_first, want, span),
            },
            ast::ExprKind::Var { qualifier, name } => match self.declared_handler(qualifier, name) {
                Some(index) => {
                    let value = self.handler_value(index, args, &what, span);
                    self.subsume(value.ty, want, span);
                    return value;
                }
                None => {
                    let head = self.variable(qualifier, name, function.span);
                    if matches!(head.kind, ExprKind::Error) {
                        self.missed_flows.insert(name.name.clone());
                    }
                    head
                }
            },
            ast::ExprKind::Field { record, field } => {
                let ty = self.fresh();
                let receiver = self.expr(record, &Want::plain(ty));
                match self.method(receiver, field, function.span) {
                    Method::Field(head) => head,
                    Method::Companion { head, receiver } => {
                        args.push(Arg::Done(receiver));
                        last_first = true;
                        head
                    }
                }
            }
            _ => {
                let ty = self.fresh();
                self.expr(function, &Want::plain(ty))
            }
        };
        self.apply_head(head, &what, args, last_first, want, span)
    }

    /// The handler of a name, where no variable or flow has it.
    fn declared_handler(&self, qualifier: &[ast::Ident], name: &ast::Ident) -> Option<usize> {
        if qualifier.is_empty() && self.env.local(&name.name).is_some() {
            return None;
        }
        match (self.env.lookup(|n| &n.handlers, qualifier, &name.name), self.env.lookup_value(qualifier, &name.name)) {
            (Lookup::Found(index), value) if !matches!(value, Lookup::Found(_)) => Some(index),
            _ => None,
        }
    }

    /// `e.m` as the head of a call (rule 7): a field of `e`, or the companion function and `e`, its last argument.
    fn method(&mut self, receiver: Expr, field: &ast::Ident, span: Span) -> Method {
        self.settle_fields(u32::MAX);
        let error = self.store.error();
        let wrong = |ty| Expr { kind: ExprKind::Error, ty, span };
        if let Node::Con(name, _) = self.store.node(receiver.ty).clone() {
            let is_field =
                self.nominal_fields(receiver.ty).is_some_and(|(_, f)| f.iter().any(|f| *f.name == *field.name));
            if !is_field {
                let Some(id) = self.env.companion(&name, &field.name) else {
                    self.no_companion(&name, receiver.ty, field);
                    return Method::Field(wrong(error));
                };
                return Method::Companion { head: self.use_flow(id, span), receiver };
            }
        }
        if matches!(self.store.node(receiver.ty), Node::Var { .. }) {
            self.report(
                Diagnostic::new(
                    codes::TYPE_UNKNOWN_HERE,
                    format!("the type of this is not known yet, so `{}` cannot be looked up", field.name),
                    receiver.span,
                )
                .help(format!("annotate it, or call the function by its name: `Module.{}(..)`", field.name)),
            );
            return Method::Field(wrong(error));
        }
        match self.try_select(receiver.ty, &field.name) {
            Some(ty) => {
                let ty = self.opened(ty, span, &format!("`.{}`", field.name));
                let kind = ExprKind::Field { record: Box::new(receiver), field: field.name.as_str().into() };
                Method::Field(Expr { kind, ty, span })
            }
            None => {
                let shown = self.store.show(receiver.ty);
                self.report(Diagnostic::new(
                    codes::NO_FIELD,
                    format!("`{shown}` has no field `{}`, and no module of functions", field.name),
                    field.span,
                ));
                Method::Field(wrong(error))
            }
        }
    }

    fn no_companion(&mut self, type_name: &str, ty: Ty, field: &ast::Ident) {
        if self.unsupported_names.contains(&field.name) {
            return; // The `impl` that has it was refused.
        }
        let module = super::env::companion_module(type_name);
        let shown = self.store.show(ty);
        let known = self.env.has_module(&module) || *module == *self.env.module;
        let diagnostic = if known {
            Diagnostic::new(
                codes::NO_FIELD,
                format!("`{shown}` has no field `{0}`, and `{module}` no function `{0}`", field.name),
                field.span,
            )
        } else {
            Diagnostic::new(
                codes::NO_FIELD,
                format!("`{shown}` has no field `{}`, and its module `{module}` is not imported", field.name),
                field.span,
            )
            .help(format!("add `import {module}`, if there is such a module"))
        };
        let members = if known { self.members_of(type_name) } else { Vec::new() };
        let near = suggest::nearest(&field.name, members.iter().map(String::as_str));
        self.report(match near {
            Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
            None => diagnostic,
        });
    }

    /// `loop { body }` is `forever` of the prelude with the body as its argument.
    pub(super) fn loop_(&mut self, body: &ast::Block, want: &Want, span: Span) -> Expr {
        let Some(head) = self.prelude("forever", span) else {
            return self.not_supported(unsupported::loop_(span), want, span);
        };
        let body = ast::Expr { kind: ast::ExprKind::Thunk(body.clone()), span: body.span };
        self.loop_bodies.insert(body.span);
        self.apply_head(head, "`loop`", vec![Arg::Ast(&body)], false, want, span)
    }

    /// `for p in xs { body }` is `for_each` of the prelude with a function of `p` and `xs`.
    pub(super) fn for_(&mut self, p: &ast::Pattern, xs: &ast::Expr, body: &ast::Block, span: Span) -> Expr {
        let unit = self.store.unit();
        let want = Want::plain(unit);
        let Some(head) = self.prelude("for_each", span) else {
            return self.not_supported(unsupported::for_(span), &want, span);
        };
        let param = ast::Param { pattern: p.clone(), ty: None, span: p.span };
        let kind = ast::ExprKind::Lambda { params: vec![param], body: body.clone() };
        let body = ast::Expr { kind, span: body.span };
        self.loop_bodies.insert(body.span);
        self.apply_head(head, "`for`", vec![Arg::Ast(&body), Arg::Ast(xs)], false, &want, span)
    }

    /// `m[k]` is `index(k, m)` of the prelude, with m evaluated first.
    pub(super) fn index(&mut self, collection: &ast::Expr, index: &ast::Expr, want: &Want, span: Span) -> Expr {
        let Some(head) = self.prelude("index", span) else {
            return self.not_supported(unsupported::index(span), want, span);
        };
        let ty = self.fresh();
        let collection = self.expr(collection, &Want::plain(ty));
        let ty = self.fresh();
        let what = format!("`{INDEX}`");
        let element =
            self.apply_head(head, &what, vec![Arg::Ast(index), Arg::Done(collection)], true, &Want::plain(ty), span);
        self.solve_dependent();
        self.subsume(element.ty, want, span);
        element
    }

    fn prelude(&mut self, name: &str, span: Span) -> Option<Expr> {
        let id = self.env.flow_of(super::PRELUDE, name)?;
        Some(self.use_flow(id, span))
    }

    fn apply_head(
        &mut self,
        head: Expr,
        what: &str,
        args: Vec<Arg<'_>>,
        last_first: bool,
        want: &Want,
        span: Span,
    ) -> Expr {
        let args = if args.is_empty() {
            let ty = self.store.unit();
            vec![Arg::Done(Expr { kind: ExprKind::Literal(Literal::Unit), ty, span: Span::new(span.end, span.end) })]
        } else {
            args
        };
        let count = args.len();
        let mut params = Vec::new();
        let mut rows = Vec::new();
        let mut at = head.ty;
        for n in 0..count {
            match self.store.node(at).clone() {
                Node::Arrow { param, row, result } => {
                    params.push(param);
                    rows.push(row);
                    at = result;
                }
                Node::Var { .. } => {
                    let (param, row, result) = (self.fresh(), self.fresh_row(), self.fresh());
                    let arrow = self.store.arrow(param, row, result);
                    if let Err(error) = self.store.unify(at, arrow) {
                        self.mismatch(&Want::plain(at), arrow, &error, head.span);
                    }
                    params.push(param);
                    rows.push(row);
                    at = result;
                }
                Node::Error => {
                    let error = self.store.error();
                    params.push(error);
                    at = error;
                }
                _ => {
                    self.too_many(what, &head, n, count, span);
                    let error = self.store.error();
                    params.push(error);
                    at = error;
                }
            }
        }
        let result = at;
        // What is wanted of the result helps the arguments, where both have the same head.
        if let (Node::Con(a, _), Node::Con(b, _)) = (self.store.node(result), self.store.node(want.ty)) {
            if a == b {
                self.subsume(result, want, span);
            }
        }
        for row in rows {
            self.require(row, span, what);
        }
        let args = if self.decides_by_last(&head, what) {
            self.arguments_by_last(args, &params, what)
        } else {
            self.travelling(self.travels(&head), |c| c.arguments(args, &params, what))
        };
        self.subsume(result, want, span);
        Expr { kind: ExprKind::App { function: Box::new(head), args, last_first }, ty: result, span }
    }

    /// Checks arguments: functions last, when the types that others give are known.
    pub(super) fn arguments(&mut self, args: Vec<Arg<'_>>, params: &[Ty], what: &str) -> Vec<Expr> {
        let name = what.trim_matches('`').to_owned();
        if self.swapped(&args, params, &name) {
            return Vec::new();
        }
        let mut typed: Vec<Option<Expr>> = args.iter().map(|_| None).collect();
        let mut later = Vec::new();
        for (i, arg) in args.into_iter().enumerate() {
            let want = Want::new(params[i], Why::Argument(name.clone(), i + 1));
            match arg {
                Arg::Done(done) => {
                    let (ty, at) = (done.ty, done.span);
                    self.subsume(ty, &want, at);
                    typed[i] = Some(done);
                }
                Arg::Ast(ast) if is_function_literal(ast) => later.push((i, ast, want)),
                Arg::Ast(ast) => typed[i] = Some(self.expr(ast, &want)),
            }
        }
        for (i, ast, want) in later {
            typed[i] = Some(self.expr(ast, &want));
        }
        typed.into_iter().flatten().collect()
    }

    /// Whether the type of the collection, the last argument, decides those of the others: `m[k]`, `m[k] := e`.
    fn decides_by_last(&self, head: &Expr, what: &str) -> bool {
        let name = what.trim_matches('`');
        (name == INDEX || name == PUT_AT) && matches!(head.kind, ExprKind::Overloaded { .. })
    }

    /// As [`Checker::arguments`]: the last one first, so that messages about the others say what the collection wants.
    fn arguments_by_last(&mut self, mut args: Vec<Arg<'_>>, params: &[Ty], what: &str) -> Vec<Expr> {
        let (Some(last), Some((ty, others))) = (args.pop(), params.split_last()) else { return Vec::new() };
        let last = self.arguments(vec![last], std::slice::from_ref(ty), what);
        self.settle_fields(u32::MAX);
        self.solve_dependent();
        let mut typed = self.arguments(args, others, what);
        typed.extend(last);
        typed
    }

    fn too_many(&mut self, what: &str, head: &Expr, taken: usize, given: usize, span: Span) {
        let shown = self.store.show(head.ty);
        let diagnostic = if taken == 0 {
            Diagnostic::new(codes::NOT_A_FUNCTION, format!("{what} is not a function"), head.span)
                .primary(format!("has the type `{shown}`"))
        } else {
            let s = if taken == 1 { "" } else { "s" };
            Diagnostic::new(
                codes::NOT_A_FUNCTION,
                format!("{what} takes {taken} argument{s}, but {given} {} given", were(given)),
                span,
            )
            .label(head.span, format!("has the type `{shown}`"))
            .help("give as many arguments as it has parameters")
        };
        self.report(diagnostic);
    }

    /// The flow that starts the actor or supervisor of a name.
    pub(super) fn starter(&mut self, path: &ast::Path) -> Option<Expr> {
        let last = path.last()?;
        if matches!(self.env.lookup_ctor(path.qualifier(), &last.name), Lookup::Found(_)) {
            return None;
        }
        [ACTOR, SUPERVISOR].iter().find_map(|kind| {
            let name = format!("{kind}{}", last.name);
            match self.env.lookup_value(path.qualifier(), &name) {
                Lookup::Found(_) => {
                    let name = ast::Ident { name, span: last.span };
                    Some(self.variable(path.qualifier(), &name, path.span))
                }
                _ => None,
            }
        })
    }

    /// A constructor's fields and type, instantiated.
    pub(super) fn constructor_type(&mut self, ctor: &CtorRef) -> Option<(Name, Vec<Ty>, Ty)> {
        let info = self.env.types.get(&ctor.ty)?.clone();
        let TypeBody::Shape(ctors) = &info.body else { return None };
        let (name, fields) = ctors.get(ctor.index)?.clone();
        let args: Vec<Ty> = info.params.iter().map(|_| self.fresh()).collect();
        let fields = fields.into_iter().map(|ty| self.apply(&info.params, &args, ty)).collect();
        let ty = self.store.con(ctor.ty.clone(), args);
        Some((name, fields, ty))
    }

    pub(super) fn constructor(&mut self, path: &ast::Path, args: &[ast::Expr], want: &Want, span: Span) -> Expr {
        if let Some(head) = self.starter(path) {
            self.subsume(head.ty, want, span);
            return head;
        }
        let args = args.iter().map(Arg::Ast).collect();
        self.construct(path, args, false, want, span)
    }

    fn is_record(&self, qualifier: &[ast::Ident], name: &str) -> bool {
        matches!(self.env.lookup_type(qualifier, name), Lookup::Found(ty)
            if self.env.types.get(&ty).is_some_and(|info| matches!(info.body, TypeBody::Record(..))))
    }

    fn construct(&mut self, path: &ast::Path, args: Vec<Arg<'_>>, last_first: bool, want: &Want, span: Span) -> Expr {
        let Some(last) = path.last() else { return self.wrong(want, span) };
        let lookup = self.env.lookup_ctor(path.qualifier(), &last.name);
        let typed = match &lookup {
            Lookup::Found(ctor) => self.constructor_type(ctor),
            Lookup::Unknown if self.is_record(path.qualifier(), &last.name) => {
                self.report(
                    Diagnostic::new(
                        codes::UNKNOWN_CONSTRUCTOR,
                        format!("`{}` is a record type, and no constructor", last.name),
                        last.span,
                    )
                    .help("a record stands without the name of its type, which its place says: `{ a = 1 }`"),
                );
                None
            }
            other => {
                self.unresolved("constructor", codes::UNKNOWN_CONSTRUCTOR, other, path);
                None
            }
        };
        if let Some((_, _, ty)) = &typed {
            self.want_made(*ty, span);
        }
        let Some((name, fields, ty)) = typed else {
            for arg in args {
                if let Arg::Ast(ast) = arg {
                    let ty = self.store.error();
                    self.expr(ast, &Want::plain(ty));
                }
            }
            return self.wrong(want, span);
        };
        if args.is_empty() {
            let arity = fields.len();
            let ty = if arity == 0 {
                ty
            } else {
                let rows: Vec<Ty> = fields.iter().map(|_| self.fresh_row()).collect();
                fields.iter().zip(rows).rev().fold(ty, |result, (field, row)| self.store.arrow(*field, row, result))
            };
            self.subsume(ty, want, span);
            return Expr { kind: ExprKind::Constructor { name, arity }, ty, span };
        }
        if fields.len() != args.len() {
            let s = if fields.len() == 1 { "" } else { "s" };
            self.report(Diagnostic::new(
                codes::ARGUMENT_COUNT,
                format!("`{name}` has {} field{s}, but {} were given", fields.len(), args.len()),
                span,
            ));
            return self.wrong(want, span);
        }
        // The wanted type first: it gives record literals inside their nominal type.
        self.subsume(ty, want, span);
        let args = self.arguments(args, &fields, &format!("`{}`", path.dotted()));
        let arity = args.len();
        let head = Expr { kind: ExprKind::Constructor { name, arity }, ty, span: path.span };
        Expr { kind: ExprKind::App { function: Box::new(head), args, last_first }, ty, span }
    }

    pub(super) fn perform(
        &mut self,
        path: Option<&ast::Path>,
        operation: &ast::Ident,
        args: &[ast::Expr],
        want: &Want,
        span: Span,
    ) -> Expr {
        if let Some(sibling) = self.sibling(path, operation, args, want, span) {
            return sibling;
        }
        let Some(effect) = self.effect_of(path, operation) else {
            for arg in args {
                let ty = self.store.error();
                self.expr(arg, &Want::plain(ty));
            }
            return self.wrong(want, span);
        };
        let Some((effect_args, params, result, row, constraints)) = self.operation_type(&effect, &operation.name)
        else {
            return self.wrong(want, span);
        };
        let what = format!("`perform {}.{}`", short(&effect), operation.name);
        if params.len() != args.len() {
            let s = if params.len() == 1 { "" } else { "s" };
            self.report(
                Diagnostic::new(
                    codes::ARGUMENT_COUNT,
                    format!("`{}` takes {} argument{s}, but {} were given", operation.name, params.len(), args.len()),
                    span,
                )
                .help("an operation is given all its arguments at once"),
            );
            return self.wrong(want, span);
        }
        let empty = self.store.empty();
        let entry = self.store.extend(effect.clone(), effect_args, empty);
        self.require(entry, span, &what);
        self.require(row, span, &what);
        let dicts = self.want_instances(constraints, span, &what);
        let args = args.iter().map(Arg::Ast).collect();
        let args = self.arguments(args, &params, &format!("`{}.{}`", short(&effect), operation.name));
        self.subsume(result, want, span);
        let kind = ExprKind::Perform { effect, operation: operation.name.as_str().into(), args, dicts };
        Expr { kind, ty: result, span }
    }

    /// The effect that `perform path.op` means: an effect, or a module's only effect with that operation.
    fn effect_of(&mut self, path: Option<&ast::Path>, operation: &ast::Ident) -> Option<Name> {
        let has = |c: &Self, effect: &Name| {
            c.env.effects.get(effect).is_some_and(|i| i.operations.iter().any(|op| *op.name == *operation.name))
        };
        let mut named = None;
        let (qualifier, span) = match path {
            Some(path) => {
                let last = path.last()?;
                let lookup = self.env.lookup(|n| &n.effects, path.qualifier(), &last.name);
                match lookup {
                    Lookup::Found(effect) if has(self, &effect) => return Some(effect),
                    Lookup::Found(effect) => named = Some(effect),
                    other if !self.env.is_qualifier(&path.segments) => {
                        self.unresolved("effect", codes::UNKNOWN_EFFECT, &other, path);
                        return None;
                    }
                    _ => {}
                }
                (path.segments.as_slice(), path.span.to(operation.span))
            }
            None => (&[][..], operation.span),
        };
        let mut found = self.env.effects_with(qualifier, &operation.name);
        if found.len() > 1 {
            let list = found.iter().map(|e| format!("`{e}`")).collect::<Vec<_>>().join(" and ");
            self.report(
                Diagnostic::new(
                    codes::AMBIGUOUS_OPERATION,
                    format!("`{}` is an operation of {list}", operation.name),
                    span,
                )
                .help(format!(
                    "write the effect before it: `perform {}.{}(..)`",
                    short(&found[0]),
                    operation.name
                )),
            );
            return None;
        }
        if let Some(effect) = found.pop() {
            return Some(effect);
        }
        if operation.name.is_empty() {
            return None;
        }
        let (message, candidates) = match &named {
            Some(effect) => (
                format!("the effect `{}` has no operation `{}`", short(effect), operation.name),
                self.env
                    .effects
                    .get(effect)
                    .map_or_else(Vec::new, |i| i.operations.iter().map(|op| op.name.clone()).collect::<Vec<_>>()),
            ),
            None => (
                format!("no effect in scope has an operation `{}`", operation.name),
                self.env.effects.values().flat_map(|i| i.operations.iter().map(|op| op.name.clone())).collect(),
            ),
        };
        let diagnostic = Diagnostic::new(codes::UNKNOWN_OPERATION, message, operation.span);
        let there = if named.is_some() { "its operations are" } else { "there are" };
        self.report(suggest::advise(diagnostic, &operation.name, candidates.iter().map(|n| &**n), there));
        None
    }

    /// The effect's arguments, and an operation's parameters, result, row and constraints, instantiated together.
    #[allow(clippy::type_complexity, reason = "the parts of one type")]
    pub(super) fn operation_type(
        &mut self,
        effect: &Name,
        operation: &str,
    ) -> Option<(Vec<Ty>, Vec<Ty>, Ty, Ty, Vec<Constraint>)> {
        let info = self.env.effects.get(effect)?;
        let index = info.operations.iter().position(|op| &*op.name == operation)?;
        let (effect_params, op) = (info.params[index].clone(), info.operations[index].clone());
        let mut memo = HashMap::new();
        let level = self.level;
        let mut copy = |c: &mut Self, ty: Ty| {
            c.store.instantiate_with(ty, &mut memo, &mut |store, kind, _| store.var(kind, level))
        };
        let effect_args = effect_params.iter().map(|t| copy(self, *t)).collect();
        let params = op.params.iter().map(|t| copy(self, *t)).collect();
        let result = copy(self, op.result);
        let row = copy(self, op.row);
        let mut constraints = Vec::new();
        for Constraint { of, args } in op.constraints {
            let args = args.iter().map(|t| copy(self, *t)).collect();
            constraints.push(Constraint { of, args });
        }
        Some((effect_args, params, result, row, constraints))
    }

    /// `with h1, h2 { body }`: the first is the outermost.
    pub(super) fn with(&mut self, handlers: &[ast::Expr], body: &ast::Block, want: &Want, span: Span) -> Expr {
        let Some((first, rest)) = handlers.split_first() else { return self.block(body, want) };
        let (head, args) = match &first.kind {
            ast::ExprKind::Apply { function, args } => (&**function, args.as_slice()),
            _ => (first, &[][..]),
        };
        let lookup = match &head.kind {
            ast::ExprKind::Var { qualifier, name } if qualifier.is_empty() && self.env.local(&name.name).is_some() => {
                None
            }
            ast::ExprKind::Var { qualifier, name } => {
                Some((self.env.lookup(|n| &n.handlers, qualifier, &name.name), qualifier, name))
            }
            _ => None,
        };
        let (index, info) = match lookup {
            Some((Lookup::Found(id), _, _)) => (id, self.env.handlers[id].clone()),
            Some((_, qualifier, name)) if matches!(self.env.lookup_value(qualifier, &name.name), Lookup::Found(_)) => {
                return self.with_value(first, rest, body, want, span);
            }
            Some((other, qualifier, name)) => {
                if self.unsupported_names.contains(&name.name) {
                    // Its declaration has been reported.
                } else {
                    self.unresolved_name("handler", codes::UNKNOWN_NAME, &other, qualifier, name);
                }
                return self.wrong(want, span);
            }
            None => return self.with_value(first, rest, body, want, span),
        };
        let mut memo = HashMap::new();
        let level = self.level;
        let mut copy = |c: &mut Self, ty: Ty| {
            c.store.instantiate_with(ty, &mut memo, &mut |store, kind, _| store.var(kind, level))
        };
        let params: Vec<Ty> = info.params.iter().map(|t| copy(self, *t)).collect();
        let effect_args: Vec<Ty> = info.effect_args.iter().map(|t| copy(self, *t)).collect();
        let row = copy(self, info.row);
        let mut constraints = Vec::new();
        for Constraint { of, args } in &info.constraints {
            let args = args.iter().map(|t| copy(self, *t)).collect();
            constraints.push(Constraint { of: of.clone(), args });
        }
        let what = Self::callee_name(head);
        if params.len() != args.len() {
            let s = if params.len() == 1 { "" } else { "s" };
            self.report(Diagnostic::new(
                codes::ARGUMENT_COUNT,
                format!("{what} takes {} argument{s}, but {} were given", params.len(), args.len()),
                first.span,
            ));
            return self.wrong(want, span);
        }
        self.require(row, first.span, &what);
        if matches!(info.by, HandledBy::Extern(_)) {
            self.want_bounds(&info.effect, &effect_args, first.span, &what);
        }
        let dicts = self.want_instances(constraints, first.span, &what);
        let args = self.arguments(args.iter().map(Arg::Ast).collect(), &params, &what);
        let inner = self.store.extend(info.effect.clone(), effect_args, self.ambient);
        let (by, inner_want) = match info.by {
            HandledBy::Extern(module) => (With::Extern(module), want.clone()),
            HandledBy::Topos { module, name, body, answer } => {
                let (body, answer) = (copy(self, body), copy(self, answer));
                self.subsume(answer, want, span);
                (With::Topos { index, module, name, row: self.ambient, dicts }, Want::plain(body))
            }
        };
        let body = self.under(inner, self.ambient_of.clone(), |c| c.with(rest, body, &inner_want, span));
        let ty = if matches!(by, With::Topos { .. }) { want.ty } else { body.ty };
        let kind = ExprKind::With { effect: info.effect, by, args, body: Box::new(body) };
        Expr { kind, ty, span }
    }
}

fn were(count: usize) -> &'static str {
    if count == 1 {
        "was"
    } else {
        "were"
    }
}

pub(super) fn is_function_literal(expr: &ast::Expr) -> bool {
    matches!(expr.kind, ast::ExprKind::Lambda { .. } | ast::ExprKind::Thunk(_) | ast::ExprKind::MatchLambda(_))
}
