//! Handlers written in Topos → functions (see [`crate::core::Handler`]).

use super::forms::{At, Expr, Form, Kind, Variable};
use super::lower::Lowering;
use crate::core::{Clause, Expr as Core, ExprKind, Handler, HandlerRef, HandlerSource, Local};

/// The run-time module of handlers.
const SCOPE: &str = "topos_scope";

/// A `with` whose body is being lowered.
#[derive(Clone)]
pub(super) struct InSight {
    effect: String,
    /// Its handler, if it is written in Topos, and the variable of its instance.
    handler: Option<(HandlerRef, Variable)>,
}

/// The handler whose parts are being lowered.
#[derive(Clone)]
pub(super) struct Inside {
    handler: String,
    instance: Variable,
    scope: Variable,
}

fn with_name(handler: &str) -> String {
    format!("handler {handler}")
}

/// A clause of an operation; a part such as `init` has a blank before it instead of the point.
fn clause_name(handler: &str, operation: &str) -> String {
    format!("{handler}.{operation}")
}

fn part_name(handler: &str, part: &str) -> String {
    format!("{handler} {part}")
}

/// What a handler exports.
pub(super) fn exports(handler: &Handler) -> Vec<(String, usize)> {
    let mut exports = vec![(with_name(&handler.name), handler.params.len() + 3)];
    exports.extend(handler.clauses.iter().map(|c| (clause_name(&handler.name, &c.operation), c.params.len() + 1)));
    exports
}

impl Lowering<'_> {
    /// A clause, or another part of a handler, as a function of the instance and its parameters.
    pub(super) fn handler_part(&mut self, handler: &Handler, part: Part<'_>) -> Form {
        let (name, params, body, span) = match part {
            Part::Clause(clause) => {
                (clause_name(&handler.name, &clause.operation), clause.params.as_slice(), &clause.body, clause.span)
            }
            Part::Other(name, params, body) => (part_name(&handler.name, name), params, body, body.span),
        };
        self.check_atom(&name, span);
        self.check_parameters(params.len(), &format!("`{name}`"), span);
        let at = self.at(span);
        let scope = self.names.fresh("Scope");
        let instance = self.names.fresh("Instance");
        self.inside = Some(Inside { handler: handler.name.clone(), instance: instance.clone(), scope: scope.clone() });
        self.with_evidence(|this, evidence| {
            let mut elements = vec![at.var(&scope), at.var(evidence)];
            elements.extend(this.bind_all(at, &handler.params));
            for state in &handler.states {
                elements.push(at.var(&this.names.bind(&state.cell)));
            }
            let mut patterns = vec![at.matches(at.tuple(elements), at.var(&instance))];
            patterns.extend(this.bind_all(at, params));
            let body = this.body(body);
            Form::Function { anno: at.0, name, clause: at.clause(patterns, None, body) }
        })
    }

    /// `'handler h'(P1, .., Shared, Ev, Body)`.
    pub(super) fn handler_with(&mut self, handler: &Handler) -> Form {
        let at = self.at(handler.span);
        let name = with_name(&handler.name);
        self.check_atom(&name, handler.span);
        self.check_atom(&handler.effect, handler.span);
        let mut params = self.bind_all(at, &handler.params);
        let parameters = params.clone();
        let (shared, body) = (at.var(&self.names.fresh("Shared")), at.var(&self.names.fresh("Body")));
        let (scope, instance) = (self.names.fresh("Scope"), self.names.fresh("Instance"));
        self.inside = Some(Inside { handler: handler.name.clone(), instance: instance.clone(), scope: scope.clone() });
        let clause = self.with_evidence(|this, evidence| {
            params.extend([shared.clone(), at.var(evidence), body.clone()]);
            let setup = this.setup(at, handler, &parameters, &scope, evidence);
            let part = |part: &Option<Core>, name| match part {
                Some(_) => {
                    let call = at.call(&part_name(&handler.name, name), vec![at.var(&instance)]);
                    at.fun(vec![at.var(&instance)], vec![call])
                }
                None => at.atom("none"),
            };
            let (init, finally) = (part(&handler.init, "init"), part(&handler.finally, "finally"));
            // The instance, then a fun an operation that takes it.
            let mut entry = vec![at.var(&instance)];
            entry.extend(handler.clauses.iter().map(|c| {
                let name = clause_name(&handler.name, &c.operation);
                at.expr(Kind::LocalFun(name, c.params.len() + 1))
            }));
            let clauses = at.tuple(entry);
            let entry = vec![at.atom(&handler.effect), clauses, at.var(evidence)];
            let inner = at.remote("maps", "put", entry);
            let mut value = at.call_value(body, vec![inner, at.var(&instance)]);
            if handler.returns.is_some() {
                value = at.call(&part_name(&handler.name, "return"), vec![at.var(&instance), value]);
            }
            let run = at.fun(vec![at.var(&instance)], vec![value]);
            at.clause(params, None, vec![at.remote(SCOPE, "run", vec![shared, setup, init, run, finally])])
        });
        Form::Function { anno: at.0, name, clause }
    }

    /// Makes the instance: evaluates the first values of the state, in order.
    fn setup(&mut self, at: At, handler: &Handler, parameters: &[Expr], scope: &Variable, evidence: &Variable) -> Expr {
        let mut body = Vec::new();
        let mut elements = vec![at.var(scope), at.var(evidence)];
        elements.extend(parameters.iter().cloned());
        for state in &handler.states {
            let initial = self.last_of(&state.initial, &mut body);
            let cell = at.var(&self.names.bind(&state.cell));
            body.push(at.matches(cell.clone(), at.remote(SCOPE, "cell", vec![at.var(scope), initial])));
            elements.push(cell);
        }
        body.push(at.tuple(elements));
        at.fun(vec![at.var(scope)], body)
    }

    /// All functions of a handler but [`Lowering::handler_with`].
    pub(super) fn parts(handler: &Handler) -> Vec<Part<'_>> {
        let mut parts: Vec<Part<'_>> = handler.clauses.iter().map(Part::Clause).collect();
        parts.extend(handler.init.as_ref().map(|e| Part::Other("init", &[], e)));
        parts.extend(handler.finally.as_ref().map(|e| Part::Other("finally", &[], e)));
        parts.extend(handler.returns.as_ref().map(|(p, e)| Part::Other("return", std::slice::from_ref(p), e)));
        parts
    }

    /// Expressions that have to do with handlers written in Topos.
    pub(super) fn handling(&mut self, at: At, e: &Core) -> Expr {
        let (scope, instance, inside) = match &self.inside {
            Some(i) => (at.var(&i.scope), at.var(&i.instance), i.handler.clone()),
            // The checker lets these stand in handlers only.
            None => (at.atom("none"), at.atom("none"), String::new()),
        };
        match &e.kind {
            ExprKind::Sibling { operation, args } => {
                let mut values = vec![instance];
                values.extend(self.exprs(args));
                at.call(&clause_name(&inside, operation), values)
            }
            ExprKind::StateValue(cell) => at.remote(SCOPE, "get", vec![at.var(&self.names.of(cell))]),
            ExprKind::Assign { cell, value, atomic: false } => {
                let cell = at.var(&self.names.of(cell));
                let value = self.expr(value);
                at.remote(SCOPE, "put", vec![cell, value])
            }
            ExprKind::Assign { cell, value, atomic: true } => {
                let cell = at.var(&self.names.of(cell));
                let value = self.body(value);
                at.remote(SCOPE, "update", vec![cell, at.fun(Vec::new(), value)])
            }
            ExprKind::Atomic(body) => {
                let body = self.body(body);
                at.remote(SCOPE, "atomic", vec![scope, at.fun(Vec::new(), body)])
            }
            ExprKind::Abort(value) => at.remote(SCOPE, "abort", vec![scope, self.expr(value)]),
            ExprKind::Leavable { label, body } => {
                let label = at.var(&self.names.bind(label));
                let body = self.body(body);
                at.remote("topos_rt", "leavable", vec![at.fun(vec![label], body)])
            }
            ExprKind::Leave { label, value } => {
                let label = at.var(&self.names.of(label));
                at.remote("topos_rt", "leave", vec![label, self.expr(value)])
            }
            ExprKind::Try { body, failure, again, caught } => {
                let body = self.body(body);
                let params = vec![at.var(&self.names.bind(failure)), at.var(&self.names.bind(again))];
                let caught = self.body(caught);
                at.remote("topos_rt", "attempt", vec![at.fun(Vec::new(), body), at.fun(params, caught)])
            }
            ExprKind::WithValue { effect, handler, shared, body } => {
                let handler = self.expr(handler);
                let outer = self.evidence(at);
                let body = self.with_evidence(|this, evidence| {
                    this.under_extern(effect, |this| {
                        let body = this.body(body);
                        at.fun(vec![at.var(evidence), at.any()], body)
                    })
                });
                at.call_value(handler, vec![at.bool(*shared), outer, body])
            }
            ExprKind::Again(again) => at.call_value(at.var(&self.names.of(again)), Vec::new()),
            _ => self.fail(at, "the compiler took this for a part of a handler"),
        }
    }

    /// `with h(args) { body }`.
    pub(super) fn with(
        &mut self,
        at: At,
        effect: &str,
        handler: &HandlerRef,
        args: &[Core],
        shared: bool,
        body: &Core,
    ) -> Expr {
        let mut args = self.exprs(args);
        args.extend([at.bool(shared), self.evidence(at)]);
        let instance = self.names.fresh("Instance");
        let sight = InSight { effect: effect.to_owned(), handler: Some((handler.clone(), instance.clone())) };
        args.push(self.with_evidence(|this, evidence| {
            this.in_sight.push(sight);
            let body = this.body(body);
            this.in_sight.pop();
            at.fun(vec![at.var(evidence), at.var(&instance)], body)
        }));
        let name = with_name(&handler.name);
        match &handler.module {
            Some(module) if *module != self.module.name => at.remote(module, &name, args),
            _ => at.call(&name, args),
        }
    }

    /// A handler as a value: `fun(Shared, Ev, Body)`.
    pub(super) fn handler_value(
        &mut self,
        at: At,
        effect: &str,
        handler: &HandlerSource,
        args: &[Core],
        out: &mut Vec<Expr>,
    ) -> Expr {
        let mut values = Vec::with_capacity(args.len() + 3);
        for arg in args {
            let value = self.expr(arg);
            values.push(self.bound(at, value, "Arg", out));
        }
        let [shared, evidence, body] = ["Shared", "Ev", "Body"].map(|name| at.var(&self.names.fresh(name)));
        match handler {
            HandlerSource::Topos(handler) => {
                values.extend([shared.clone(), evidence.clone(), body.clone()]);
                let name = with_name(&handler.name);
                let call = match &handler.module {
                    Some(module) if *module != self.module.name => at.remote(module, &name, values),
                    _ => at.call(&name, values),
                };
                at.fun(vec![shared, evidence, body], vec![call])
            }
            HandlerSource::Extern(module) => {
                let inner = at.var(&self.names.fresh("Ev"));
                let run = at.call_value(body.clone(), vec![inner.clone(), at.atom("none")]);
                let (effect, module) = (at.atom(effect), at.atom(module));
                let args =
                    vec![effect, module, at.list(values, None), evidence.clone(), at.fun(vec![inner], vec![run])];
                at.fun(vec![at.any(), evidence, body], vec![at.remote("topos_effect", "with_handler", args)])
            }
        }
    }

    /// Lowers the body of a `with` for a handler written in Erlang: it hides handlers of the same effect.
    pub(super) fn under_extern(&mut self, effect: &str, f: impl FnOnce(&mut Self) -> Expr) -> Expr {
        self.in_sight.push(InSight { effect: effect.to_owned(), handler: None });
        let result = f(self);
        self.in_sight.pop();
        result
    }

    /// Lowers a function in place: who calls it may have other handlers.
    pub(super) fn out_of_sight<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let in_sight = std::mem::take(&mut self.in_sight);
        let result = f(self);
        self.in_sight = in_sight;
        result
    }

    /// The call of the clause that answers an operation, if the `with` is in sight.
    pub(super) fn clause_in_sight(&self, at: At, effect: &str, operation: &str, args: &[Expr]) -> Option<Expr> {
        let sight = self.in_sight.iter().rev().find(|s| s.effect == effect)?;
        let (handler, instance) = sight.handler.as_ref()?;
        let mut values = vec![at.var(instance)];
        values.extend_from_slice(args);
        let name = clause_name(&handler.name, operation);
        Some(match &handler.module {
            Some(module) if *module != self.module.name => at.remote(module, &name, values),
            _ => at.call(&name, values),
        })
    }
}

/// A part of a handler that is a function.
pub(super) enum Part<'a> {
    Clause(&'a Clause),
    Other(&'static str, &'a [Local], &'a Core),
}
