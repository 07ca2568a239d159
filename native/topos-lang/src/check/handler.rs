//! Handlers written in Topos: their declarations, their clauses, and what they become in the core.
//!
//! A handler's type variables are inferred like those of an incomplete signature, and must have stayed what they say.
//! Clauses are checked under the handler's own row, which is the row around the `with`. Of the row of an operation only the
//! variable counts: what it stands for can be done through a function that the performer gave, and such a function
//! carries the performer's evidence; the evidence of the clause itself is that around the `with`.

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

use super::call::Arg;
use super::env::{FlowInfo, HandledBy, HandlerInfo, LocalInfo};
use super::traits::Constraint;
use super::tree::{Expr, ExprKind, FlowId, Pattern};
use super::{AmbientOf, Checker, VarMode, Want, Why};
use crate::codes;
use crate::core::{self, Local};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{builtin, short, Kind, Name, Node, Ty};

/// A handler takes part in the call graph as a value of this name before its own; no flow can have it.
pub(super) const PREFIX: &str = "handler ";

/// The type variables of the head of a handler.
pub(super) type HeadVars = HashMap<String, Ty>;

/// The handler whose clauses are checked.
#[derive(Clone, Debug)]
pub(super) struct Handling {
    effect: Name,
    effect_args: Vec<Ty>,
    /// The type of the value of the `with`.
    answer: Ty,
    /// How many variables are in scope around it.
    outside: usize,
}

impl Handling {
    pub(super) fn new(effect: Name, effect_args: Vec<Ty>, answer: Ty, outside: usize) -> Self {
        Self { effect, effect_args, answer, outside }
    }
}

/// A handler whose parts have been checked.
pub(super) struct HandlerBody {
    pub(super) index: usize,
    pub(super) name: String,
    pub(super) effect: Name,
    pub(super) params: Vec<Local>,
    pub(super) states: Vec<(Local, Expr)>,
    pub(super) clauses: Vec<ClauseBody>,
    pub(super) init: Option<Expr>,
    pub(super) finally: Option<Expr>,
    pub(super) returns: Option<(Pattern, Expr)>,
    pub(super) span: Span,
}

pub(super) struct ClauseBody {
    operation: Name,
    /// The dictionaries of the operation's own constraints.
    dicts: Vec<Local>,
    params: Vec<Pattern>,
    body: Expr,
    span: Span,
}

impl<'a> Checker<'a> {
    /// Declares a handler by what its head says.
    pub(super) fn declare_topos_handler(&mut self, decl: &ast::Decl, handler: &'a ast::HandlerDecl) {
        let name = &handler.name;
        if self.env.own.handlers.contains_key(name.name.as_str()) {
            self.defined_twice("handler", name, None);
            return;
        }
        if decl.private.is_some() {
            self.private.insert(name.name.clone());
        }
        let (params, entry, row, vars) = self.with_vars(VarMode::Generic, [], |c| {
            let params: Vec<Ty> = handler.params.iter().flatten().map(|p| c.declared_param(p)).collect();
            let entry = c.effect_ref(&handler.effect);
            let row = c.effect_row(handler.row.as_ref());
            (params, entry, row, std::mem::take(&mut c.type_vars))
        });
        let Some((effect, effect_args)) = entry else {
            // The effect has been reported; a use of the handler is not a second mistake.
            self.unsupported_names.insert(name.name.clone());
            return;
        };
        for arg in &effect_args {
            self.store.generalise(*arg, 0);
        }
        let error = self.store.error();
        let by = HandledBy::Topos { module: None, name: name.name.as_str().into(), body: error, answer: error };
        let info = HandlerInfo { effect, effect_args, params, row, constraints: Vec::new(), by };
        self.handler_vars.insert(name.name.clone(), vars);
        self.env.own.handlers.insert(name.name.as_str().into(), self.env.handlers.len());
        self.env.handlers.push(info);
    }

    /// The place of a declared handler in the call graph: its flow and its index.
    pub(super) fn handler_flow(&mut self, handler: &ast::HandlerDecl) -> Option<(FlowId, usize)> {
        let index = *self.env.own.handlers.get(handler.name.name.as_str())?;
        let name = format!("{PREFIX}{}", handler.name.name);
        if self.env.own.values.contains_key(name.as_str()) {
            return None;
        }
        let id = self.env.flows.len();
        let ty = self.store.unit();
        let span = Some(handler.name.span);
        let info = FlowInfo {
            module: None,
            name: name.as_str().into(),
            arity: 0,
            ty,
            config: true,
            constraints: Vec::new(),
            method: None,
            span,
        };
        self.env.flows.push(info);
        self.env.own.values.insert(name.into(), id);
        Some((id, index))
    }

    /// Gives a handler types that its clauses may still decide, and answers its type variables and the constraints that its
    /// head says.
    pub(super) fn open_handler(&mut self, index: usize, handler: &ast::HandlerDecl) -> (HeadVars, Vec<Constraint>) {
        let info = self.env.handlers[index].clone();
        let level = self.level;
        let mut memo = HashMap::new();
        let mut copy = |c: &mut Self, ty: Ty| {
            c.store.instantiate_with(ty, &mut memo, &mut |store, kind, name| match name {
                Some(name) => store.named_var(kind, level, name),
                None => store.var(kind, level),
            })
        };
        let params = info.params.iter().map(|t| copy(self, *t)).collect();
        let effect_args = info.effect_args.iter().map(|t| copy(self, *t)).collect();
        let row = copy(self, info.row);
        let scope = self.handler_vars.get(&handler.name.name).cloned().unwrap_or_default();
        let vars = scope.into_iter().map(|(name, ty)| (name, copy(self, ty))).collect();
        let declared: Vec<Constraint> = info
            .constraints
            .iter()
            .map(|c| Constraint { of: c.of.clone(), args: c.args.iter().map(|t| copy(self, *t)).collect() })
            .collect();
        let body = self.fresh();
        let returns = handler.clauses.iter().any(|c| matches!(c.head, ast::ClauseHead::Return(_)));
        let answer = if returns { self.fresh() } else { body };
        let by = HandledBy::Topos { module: None, name: handler.name.name.as_str().into(), body, answer };
        // All of its constraints are known when its clauses have been checked.
        let constraints = Vec::new();
        self.env.handlers[index] = HandlerInfo { effect: info.effect, effect_args, params, row, constraints, by };
        self.want_of_handler(index, &declared, handler.effect.span);
        (vars, declared)
    }

    /// All types of a handler.
    pub(super) fn handler_types(&self, index: usize) -> Vec<Ty> {
        let info = self.env.handlers[index].clone();
        let mut types = info.params;
        types.extend(info.effect_args);
        types.push(info.row);
        if let HandledBy::Topos { body, answer, .. } = info.by {
            types.extend([body, answer]);
        }
        types
    }

    /// Quantifies what the clauses left open.
    pub(super) fn close_handler(&mut self, index: usize, constraints: &[Constraint]) {
        for ty in self.handler_types(index) {
            self.store.generalise(ty, self.level);
        }
        self.env.handlers[index].constraints = constraints.to_vec();
    }

    /// Checks the parts of a handler.
    pub(super) fn handler_body(&mut self, index: usize, handler: &ast::HandlerDecl) -> Option<HandlerBody> {
        let info = self.env.handlers[index].clone();
        let HandledBy::Topos { body, answer, .. } = info.by else { return None };
        let name = &handler.name.name;
        let described = if name.contains(' ') { name.clone() } else { format!("{PREFIX}{name}") };
        let of = AmbientOf::Flow(described, handler.row.as_ref().map(|r| r.span));
        self.handling = Some(Handling::new(info.effect.clone(), info.effect_args.clone(), answer, 0));
        self.flow_row = Some((info.row, of.clone()));
        let checked = self.under(info.row, of, |c| {
            c.scoped(|c| {
                let params = c.handler_params(handler, &info.params);
                let states = c.handler_states(&handler.states);
                let effect = info.effect.clone();
                let mut parts = HandlerBody::new(index, handler.name.name.clone(), effect, handler.name.span);
                (parts.params, parts.states) = (params, states);
                c.handler_clauses(handler, &info, body, &mut parts);
                parts
            })
        });
        self.handling = None;
        Some(checked)
    }

    fn handler_params(&mut self, handler: &ast::HandlerDecl, types: &[Ty]) -> Vec<Local> {
        let written = handler.params.as_deref().unwrap_or_default();
        self.distinct(written.iter().map(|p| &p.pattern));
        let mut params = Vec::new();
        for (param, ty) in written.iter().zip(types) {
            let name = match &param.pattern.kind {
                ast::PatternKind::Var(name) => name.name.as_str(),
                ast::PatternKind::Wildcard | ast::PatternKind::Error => "_",
                _ => {
                    self.report(
                        Diagnostic::new(codes::REFUTABLE, "a parameter of a handler is a name", param.pattern.span)
                            .help("take it apart with `match` in the clauses"),
                    );
                    "_"
                }
            };
            params.push(self.bind_in_handler(name, *ty, false));
        }
        params
    }

    fn bind_in_handler(&mut self, name: &str, ty: Ty, state: bool) -> Local {
        let local = self.new_local(name);
        if name != "_" {
            self.env.locals.push((name.to_owned(), LocalInfo { local: local.clone(), ty, state }));
        }
        local
    }

    /// State variables in order; each is known to those after it.
    pub(super) fn handler_states(&mut self, states: &[ast::StateVar]) -> Vec<(Local, Expr)> {
        let mut typed = Vec::new();
        for (i, state) in states.iter().enumerate() {
            if states[..i].iter().any(|s| s.name.name == state.name.name) {
                self.twice("state variable", codes::BOUND_TWICE, &state.name);
            }
            let want = match &state.ty {
                Some(ty) => Want::new(self.annotation(ty), Why::Signature(ty.span)),
                None => Want::plain(self.fresh()),
            };
            let initial = self.expr(&state.initial, &want);
            self.settle(u32::MAX);
            let cell = self.bind_in_handler(&state.name.name, want.ty, true);
            typed.push((cell, initial));
        }
        typed
    }

    pub(super) fn handler_clauses(
        &mut self,
        handler: &ast::HandlerDecl,
        info: &HandlerInfo,
        body_ty: Ty,
        parts: &mut HandlerBody,
    ) {
        let operations: Vec<Name> = self
            .env
            .effects
            .get(&info.effect)
            .map_or_else(Vec::new, |e| e.operations.iter().map(|op| op.name.clone()).collect());
        let mut seen: HashSet<&str> = HashSet::new();
        let mut meant: HashSet<String> = HashSet::new();
        for clause in &handler.clauses {
            let (name, params) = match &clause.head {
                ast::ClauseHead::Return(pattern) => {
                    if parts.returns.is_some() {
                        self.clause_twice("return", clause.span);
                        continue;
                    }
                    let (Some(handling), want) = (self.handling.clone(), Want::plain(body_ty)) else { continue };
                    parts.returns = Some(self.scoped(|c| {
                        let pattern = c.pattern(pattern, &want);
                        (pattern, c.leavable(&clause.body, &Want::plain(handling.answer)))
                    }));
                    continue;
                }
                ast::ClauseHead::Operation { name, params } => (name, params.as_deref().unwrap_or_default()),
            };
            if name.name.is_empty() {
                continue;
            }
            let is_operation = operations.iter().any(|op| **op == *name.name);
            if !seen.insert(&name.name) {
                self.clause_twice(&name.name, clause.span);
                continue;
            }
            match name.name.as_str() {
                "init" | "finally" if !is_operation => {
                    if let Some(first) = params.first() {
                        self.report(Diagnostic::new(
                            codes::ARGUMENT_COUNT,
                            format!("`{}` takes no parameters", name.name),
                            first.span,
                        ));
                    }
                    let unit = self.store.unit();
                    let body = self.leavable(&clause.body, &Want::plain(unit));
                    if name.name == "init" { &mut parts.init } else { &mut parts.finally }.replace(body);
                }
                _ if is_operation => parts.clauses.extend(self.clause(info, name, params, clause)),
                _ => {
                    let effect = short(&info.effect);
                    let diagnostic = Diagnostic::new(
                        codes::UNKNOWN_CLAUSE,
                        format!("the effect `{effect}` has no operation `{}`", name.name),
                        name.span,
                    );
                    let names = || operations.iter().map(|n| &**n);
                    // The clause that was meant is not missing too.
                    meant.extend(super::suggest::nearest(&name.name, names()).map(str::to_owned));
                    self.report(super::suggest::advise(diagnostic, &name.name, names(), "its operations are"));
                }
            }
        }
        let missing: Vec<String> = operations
            .iter()
            .filter(|op| !seen.contains(&***op) && !meant.contains(&***op))
            .map(|op| format!("`{op}`"))
            .collect();
        if !missing.is_empty() {
            let s = if missing.len() == 1 { "" } else { "s" };
            self.report(
                Diagnostic::new(
                    codes::MISSING_CLAUSE,
                    format!("`{}` has no clause for the operation{s} {}", handler.name.name, missing.join(", ")),
                    handler.name.span,
                )
                .help(format!("a handler of `{}` answers each of its operations", short(&info.effect))),
            );
        }
        parts.clauses.sort_by_key(|c| operations.iter().position(|op| *op == c.operation));
    }

    fn clause_twice(&mut self, name: &str, span: Span) {
        self.report(Diagnostic::new(codes::DEFINED_TWICE, format!("the handler has two clauses for `{name}`"), span));
    }

    fn clause(
        &mut self,
        info: &HandlerInfo,
        name: &ast::Ident,
        params: &[ast::Pattern],
        clause: &ast::HandlerClause,
    ) -> Option<ClauseBody> {
        self.level += 1;
        let level = self.level;
        let typed = self.clause_type(info, &name.name, level).and_then(|(types, result, op_row, constraints)| {
            if types.len() != params.len() {
                self.clause_arity(name, types.len(), params.len());
                return None;
            }
            // Effects of the performer can be done through its functions.
            let row = self.store.row(info.row);
            let tail = self.store.row_tail(op_row);
            let closed = matches!(self.store.node(row.tail), Node::Empty);
            let ambient = if closed && matches!(self.store.node(tail), Node::Skolem { .. }) {
                self.store.make_row(row.entries, tail)
            } else {
                info.row
            };
            let of = self.ambient_of.clone();
            Some(self.under(ambient, of, |c| {
                c.scoped(|c| {
                    c.distinct(params.iter());
                    let (dicts, (params, body)) = c.given_in_clause(constraints, |c| {
                        let typed = params.iter().zip(&types).map(|(p, ty)| c.pattern(p, &Want::plain(*ty))).collect();
                        (typed, c.leavable(&clause.body, &Want::plain(result)))
                    });
                    let operation = name.name.as_str().into();
                    ClauseBody { operation, dicts, params, body, span: clause.span }
                })
            }))
        });
        self.settle(self.level);
        self.level -= 1;
        typed
    }

    /// The parameters, the result and the row of an operation as its clause sees them: its own variables are rigid.
    #[allow(clippy::type_complexity, reason = "the parts of one type")]
    fn clause_type(
        &mut self,
        info: &HandlerInfo,
        operation: &str,
        level: u32,
    ) -> Option<(Vec<Ty>, Ty, Ty, Vec<Constraint>)> {
        let effect = self.env.effects.get(&info.effect)?;
        let index = effect.operations.iter().position(|op| &*op.name == operation)?;
        let (effect_params, op) = (effect.params[index].clone(), effect.operations[index].clone());
        let mut memo: HashMap<Ty, Ty> =
            effect_params.iter().map(|p| self.store.root(*p)).zip(info.effect_args.iter().copied()).collect();
        let params = op.params.iter().map(|t| self.store.skolemise_with(*t, &mut memo, level)).collect();
        let result = self.store.skolemise_with(op.result, &mut memo, level);
        let row = self.store.skolemise_with(op.row, &mut memo, level);
        let mut constraints = Vec::new();
        for Constraint { of, args } in op.constraints {
            let args = args.iter().map(|t| self.store.skolemise_with(*t, &mut memo, level)).collect();
            constraints.push(Constraint { of, args });
        }
        Some((params, result, row, constraints))
    }

    fn clause_arity(&mut self, name: &ast::Ident, expected: usize, given: usize) {
        let s = if expected == 1 { "" } else { "s" };
        let diagnostic = Diagnostic::new(
            codes::ARGUMENT_COUNT,
            format!("the operation `{}` has {expected} parameter{s}, but its clause has {given}", name.name),
            name.span,
        );
        self.report(if given == expected + 1 {
            diagnostic.help("a clause has no parameter for the continuation: its value is what the `perform` answers")
        } else {
            diagnostic
        });
    }

    /// `perform op(..)` without a path, inside the handler that defines `op` (rule 6).
    pub(super) fn sibling(
        &mut self,
        path: Option<&ast::Path>,
        operation: &ast::Ident,
        args: &[ast::Expr],
        want: &Want,
        span: Span,
    ) -> Option<Expr> {
        if path.is_some() {
            return None;
        }
        let handling = self.handling.clone()?;
        self.stays_here("a clause of this handler", handling.outside, span);
        let (effect_args, params, result, row, constraints) = self.operation_type(&handling.effect, &operation.name)?;
        if params.len() != args.len() {
            // The error of any other `perform` says what is wrong.
            return None;
        }
        for (arg, known) in effect_args.iter().zip(&handling.effect_args) {
            if let Err(error) = self.store.unify(*arg, *known) {
                self.mismatch(&Want::plain(*known), *arg, &error, span);
            }
        }
        let what = format!("`perform {}`", operation.name);
        let dicts = self.want_instances(constraints, span, &what);
        self.require(row, span, &what);
        let args = self.arguments(args.iter().map(Arg::Ast).collect(), &params, &format!("`{}`", operation.name));
        self.subsume(result, want, span);
        Some(Expr {
            kind: ExprKind::Sibling { operation: operation.name.as_str().into(), args, dicts },
            ty: result,
            span,
        })
    }

    /// `abort e` in a clause. `None` where `abort` is an ordinary name.
    pub(super) fn abort(&mut self, function: &ast::Expr, args: &[ast::Expr], want: &Want, span: Span) -> Option<Expr> {
        let ast::ExprKind::Var { qualifier, name } = &function.kind else { return None };
        if name.name != "abort" || !qualifier.is_empty() || self.env.local("abort").is_some() {
            return None;
        }
        let handling = self.handling.clone()?;
        self.stays_here("the way out of a `with`", handling.outside, span);
        let value = match args {
            [] => {
                let ty = self.store.unit();
                self.subsume(ty, &Want::plain(handling.answer), span);
                Expr { kind: ExprKind::Literal(super::tree::Literal::Unit), ty, span }
            }
            [value] => {
                self.expr(value, &Want::new(handling.answer, Why::Demand("`abort e` gives the `with` its value")))
            }
            _ => {
                self.report(Diagnostic::new(
                    codes::ARGUMENT_COUNT,
                    format!("`abort` takes one value, but {} were given", args.len()),
                    span,
                ));
                return Some(self.wrong(want, span));
            }
        };
        // It does not come back, so it has any type.
        Some(Expr { kind: ExprKind::Abort(Box::new(value)), ty: want.ty, span })
    }

    /// A name that clauses of other languages have and Topos does not.
    pub(super) fn resume(&mut self, name: &ast::Ident) -> bool {
        if self.handling.is_none() || name.name != "resume" {
            return false;
        }
        self.report(
            Diagnostic::new(
                codes::RESUMES,
                "a clause resumes once, when it ends: it cannot resume twice or later",
                name.span,
            )
            .primary("there is no continuation to call")
            .help("the last expression of the clause is what the `perform` answers; `abort e` leaves the `with`"),
        );
        true
    }

    /// Whether something under this row could run in another process: some operation takes a function that may have
    /// effects, or a value of any type, or the row is not known to its end.
    pub(super) fn can_spawn(&mut self, row: Ty) -> bool {
        let row = self.store.row(row);
        if !matches!(self.store.node(row.tail), Node::Empty) {
            return true;
        }
        for (effect, args) in row.entries {
            let Some(info) = self.env.effects.get(&effect).cloned() else { return true };
            for (op, params) in info.operations.iter().zip(&info.params) {
                let mut memo: HashMap<Ty, Ty> =
                    params.iter().map(|p| self.store.root(*p)).zip(args.iter().copied()).collect();
                let types: Vec<Ty> = op.params.iter().map(|t| self.store.skolemise_with(*t, &mut memo, 0)).collect();
                if types.into_iter().any(|ty| self.may_carry_evidence(ty)) {
                    return true;
                }
            }
        }
        false
    }

    fn may_carry_evidence(&mut self, ty: Ty) -> bool {
        let (mut rows, mut open) = (Vec::new(), false);
        self.store.walk(ty, |_, node| match node {
            Node::Arrow { row, .. } => rows.push(*row),
            Node::Con(name, args) if &**name == builtin::HANDLER => rows.extend(args.get(1)),
            Node::Var { kind: Kind::Type, .. } | Node::Skolem { kind: Kind::Type, .. } => open = true,
            _ => {}
        });
        open || rows.into_iter().any(|row| !self.store.is_empty_row(row))
    }

    // Elaboration.

    pub(super) fn core_with(
        &mut self,
        effect: &Name,
        by: super::tree::With,
        args: Vec<Expr>,
        body: Expr,
        (span, check): (Span, bool),
    ) -> core::ExprKind {
        let effect = effect.to_string();
        match by {
            super::tree::With::Extern(module) => core::ExprKind::WithExtern {
                effect,
                module: module.to_string(),
                args: self.all(args, check),
                body: self.boxed(body, check),
            },
            // The state of an actor is its process's own, whatever its arms start.
            super::tree::With::Value { handler, row } => core::ExprKind::WithValue {
                shared: self.can_spawn(row),
                effect,
                handler: self.boxed(*handler, check),
                body: self.boxed(body, check),
            },
            super::tree::With::Topos { index, module, name, row, dicts } => core::ExprKind::With {
                args: {
                    let mut all = self.handler_dictionaries(index, &dicts, span);
                    all.extend(self.all(args, check));
                    all
                },
                shared: !name.starts_with(super::actor::ACTOR) && self.can_spawn(row),
                effect,
                handler: core::HandlerRef { module: module.map(|m| m.to_string()), name: name.to_string() },
                body: self.boxed(body, check),
            },
        }
    }

    pub(super) fn core_handler(&mut self, parts: HandlerBody, clean: bool) -> core::Handler {
        let constraints = self.env.handlers[parts.index].constraints.len();
        self.dict_locals = (0..constraints).map(|_| self.new_local("dictionary")).collect();
        let dictionaries = self.dict_locals.clone();
        let mut handler = self.core_parts(parts, clean);
        handler.params.splice(0..0, dictionaries);
        handler
    }

    /// The parts of a handler, without dictionaries.
    pub(super) fn core_parts(&mut self, parts: HandlerBody, clean: bool) -> core::Handler {
        let states = parts
            .states
            .into_iter()
            .map(|(cell, initial)| core::State { cell, initial: self.core(initial, clean) })
            .collect();
        let mut clauses = Vec::new();
        for clause in parts.clauses {
            let body = self.core(clause.body, clean);
            let (params, body) = self.params(clause.params, body, clean);
            let params = clause.dicts.into_iter().chain(params).collect();
            clauses.push(core::Clause { operation: clause.operation.to_string(), params, body, span: clause.span });
        }
        let init = parts.init.map(|e| self.core(e, clean));
        let finally = parts.finally.map(|e| self.core(e, clean));
        let returns = parts.returns.and_then(|(pattern, body)| {
            let body = self.core(body, clean);
            let (mut params, body) = self.params(vec![pattern], body, clean);
            params.pop().map(|param| (param, body))
        });
        core::Handler {
            exported: self.is_visible(&parts.name) && !parts.name.starts_with(super::try_::PREFIX),
            name: parts.name,
            effect: parts.effect.to_string(),
            params: parts.params,
            states,
            clauses,
            init,
            finally,
            returns,
            span: parts.span,
        }
    }
}
