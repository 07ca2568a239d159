//! Top-level flows: clauses joined, signatures, groups along the call graph, bodies.

use std::collections::{HashMap, HashSet};

use super::annotate::takes_unit_only;
use super::env::FlowInfo;
use super::graph;
use super::handler::{HandlerBody, PREFIX};
use super::interface::default_flow;
use super::traits::Constraint;
use super::tree::{Arm, Expr, ExprKind, FlowId, Pattern, PatternKind};
use super::{AmbientOf, Checker, VarMode, Want, Why};
use crate::codes;
use crate::core::Local;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{Node, Ty};

/// A flow whose body has been checked.
pub(super) struct Body {
    pub(super) flow: FlowId,
    pub(super) span: Span,
    pub(super) kind: BodyKind,
    /// Whether nothing was wrong in it: its patterns are checked only then.
    pub(super) clean: bool,
}

pub(super) enum BodyKind {
    Topos { params: Vec<Pattern>, body: Expr },
    Extern { module: String, function: String },
    Handler(Box<HandlerBody>),
}

/// What is written about one flow.
pub(super) struct Group<'a> {
    pub(super) id: FlowId,
    pub(super) name: &'a ast::Ident,
    pub(super) source: Source<'a>,
    /// Whether its signature says everything, so that its callers need not wait for its body.
    pub(super) signed: bool,
    /// Type variables of the signature.
    pub(super) vars: HashMap<String, Ty>,
    pub(super) signature_span: Option<Span>,
}

pub(super) enum Source<'a> {
    Clauses(Vec<&'a ast::FlowDecl>),
    Config(&'a ast::Expr),
    Default(&'a ast::Expr),
    /// With its index.
    Handler(&'a ast::HandlerDecl, usize),
}

impl<'a> Checker<'a> {
    /// Checks all flows, configs and defaults of fields.
    pub(super) fn flows(&mut self, module: &'a ast::Module) -> Vec<Body> {
        let mut bodies = Vec::new();
        let mut groups = self.groups(module, &mut bodies);
        groups.append(&mut self.trait_groups);
        let mut done: Vec<Body> = Vec::new();
        for component in components(&groups, &self.env.own.values) {
            done.extend(self.component(&mut groups, &component));
        }
        for group in groups.iter().filter(|g| g.signed) {
            done.extend(self.signed(group));
        }
        bodies.extend(done);
        bodies.sort_by_key(|b| b.span);
        self.superclass_dictionaries();
        bodies
    }

    pub(super) fn add_flow(&mut self, name: &ast::Ident, info: FlowInfo, private: bool) -> Option<FlowId> {
        if let Some(first) = self.env.own.values.get(&name.name) {
            let span = self.env.flows[*first].span;
            self.defined_twice(if name.name.contains('.') { "member" } else { "flow" }, name, span);
            return None;
        }
        let id = self.env.flows.len();
        self.env.flows.push(info);
        self.env.own.values.insert(name.name.clone(), id);
        if private {
            self.private.insert(name.name.clone());
        }
        Some(id)
    }

    fn groups(&mut self, module: &'a ast::Module, bodies: &mut Vec<Body>) -> Vec<Group<'a>> {
        let mut groups: Vec<Group<'a>> = Vec::new();
        let mut decls = module.decls.iter().peekable();
        while let Some(decl) = decls.next() {
            match &decl.kind {
                ast::DeclKind::Flow(flow) => {
                    let mut clauses = vec![flow];
                    let mut private = decl.private.is_some();
                    while let Some(next) = decls.peek() {
                        let ast::DeclKind::Flow(other) = &next.kind else { break };
                        let complete = matches!(flow.head, ast::FlowHead::Signature) && flow.body.is_some();
                        if other.name.name != flow.name.name || complete || !is_clause(other) {
                            break;
                        }
                        private |= next.private.is_some();
                        clauses.push(other);
                        decls.next();
                    }
                    if let Some(group) = self.flow_group(clauses, private) {
                        groups.push(group);
                    }
                }
                ast::DeclKind::ExternFlow(flow) => {
                    if let Some(body) = self.extern_flow(flow, decl) {
                        bodies.push(body);
                    }
                }
                ast::DeclKind::Config(config) => {
                    let ty = self.store.error();
                    let info = FlowInfo {
                        module: None,
                        name: config.name.name.as_str().into(),
                        arity: 0,
                        ty,
                        config: true,
                        constraints: Vec::new(),
                        method: None,
                        span: Some(config.name.span),
                    };
                    let Some(id) = self.add_flow(&config.name, info, decl.private.is_some()) else { continue };
                    let signed = config.ty.is_some();
                    let signature_span = config.ty.as_ref().map(|t| t.span);
                    if let Some(ty) = &config.ty {
                        self.env.flows[id].ty = self.with_vars(VarMode::Declared, [], |c| c.ty(ty));
                    }
                    let source = Source::Config(&config.value);
                    let vars = HashMap::new();
                    groups.push(Group { id, name: &config.name, source, signed, vars, signature_span });
                }
                ast::DeclKind::Handler(handler) => {
                    let Some((id, index)) = self.handler_flow(handler) else { continue };
                    groups.push(Group {
                        id,
                        name: &handler.name,
                        source: Source::Handler(handler, index),
                        signed: false,
                        vars: HashMap::new(),
                        signature_span: None,
                    });
                }
                ast::DeclKind::Type(ty) => self.default_groups(ty, &mut groups),
                _ => {}
            }
        }
        groups
    }

    fn default_groups(&mut self, ty: &'a ast::TypeDecl, groups: &mut Vec<Group<'a>>) {
        let ast::TypeDefinition::Record(fields) = &ty.definition else { return };
        let Some(full) = self.env.own.types.get(&ty.name.name).cloned() else { return };
        let Some(info) = self.env.types.get(&full).cloned() else { return };
        let super::interface::TypeBody::Record(infos) = &info.body else { return };
        for field in fields {
            let Some(default) = &field.default else { continue };
            let Some(info) = infos.iter().find(|i| *i.name == *field.name.name) else { continue };
            let name = default_flow(&ty.name.name, &field.name.name);
            if self.env.own.values.contains_key(&name) {
                continue;
            }
            let id = self.env.flows.len();
            self.env.flows.push(FlowInfo {
                module: None,
                name: name.as_str().into(),
                arity: 0,
                ty: info.ty,
                config: true,
                constraints: Vec::new(),
                method: None,
                span: Some(field.name.span),
            });
            self.env.own.values.insert(name, id);
            groups.push(Group {
                id,
                name: &field.name,
                source: Source::Default(default),
                signed: true,
                vars: HashMap::new(),
                signature_span: Some(field.ty.span),
            });
        }
    }

    /// The flow of a field's default, in this module or another one.
    pub(super) fn default_flow_id(&self, module: &str, type_name: &str, field: &str) -> Option<FlowId> {
        let name = default_flow(type_name, field);
        if *module == *self.env.module {
            return self.env.own.values.get(&name).copied();
        }
        self.env.flows.iter().position(|f| f.module.as_deref() == Some(module) && *f.name == *name)
    }

    fn extern_flow(&mut self, flow: &'a ast::ExternFlowDecl, decl: &ast::Decl) -> Option<Body> {
        let (ty, arity, constraints) = self.with_vars(VarMode::Generic, [], |c| {
            let parts = c.signature(&flow.signature);
            let params: Vec<Ty> = parts.domains.iter().map(|(_, ty, _)| *ty).collect();
            (c.store.function(&params, parts.row, parts.result), params.len(), parts.constraints)
        });
        self.store.generalise(ty, 0);
        let span = flow.name.span;
        let info = FlowInfo {
            module: None,
            name: flow.name.name.as_str().into(),
            arity,
            ty,
            config: false,
            constraints,
            method: None,
            span: Some(span),
        };
        let flow_id = self.add_flow(&flow.name, info, decl.private.is_some())?;
        let target = flow.target.value.split_once(':');
        let Some((module, function)) =
            target.filter(|(m, f)| super::declare::is_module_name(m) && super::declare::is_module_name(f))
        else {
            self.report(
                Diagnostic::new(codes::BAD_EXTERN, "this does not name an Erlang function", flow.target.span)
                    .help("write `= \"module:function\"`"),
            );
            return None;
        };
        let kind = BodyKind::Extern { module: module.to_owned(), function: function.to_owned() };
        Some(Body { flow: flow_id, span: decl.span, kind, clean: true })
    }

    /// The type of a flow as far as it is written, and its written arity.
    fn flow_group(&mut self, clauses: Vec<&'a ast::FlowDecl>, private: bool) -> Option<Group<'a>> {
        let first = *clauses.first()?;
        let with_body: Vec<&'a ast::FlowDecl> = clauses.iter().copied().filter(|c| c.body.is_some()).collect();
        let alone =
            clauses.iter().find(|c| matches!(c.head, ast::FlowHead::Signature)).and_then(|c| c.signature.as_ref());
        let patterns = with_body.iter().find_map(|c| match &c.head {
            ast::FlowHead::Patterns(patterns) => Some(patterns.len()),
            ast::FlowHead::Params(params) => Some(params.len()),
            ast::FlowHead::Signature => None,
        });
        let mut vars = HashMap::new();
        let mut signed = false;
        let mut signature_span = None;
        let error = self.store.error();
        let mut constraints = Vec::new();
        let (ty, arity) = match (alone, &first.head) {
            (Some(signature), _) => {
                signed = true;
                signature_span = Some(signature.span);
                let (parts, scope) = self.with_vars(VarMode::Generic, [], |c| {
                    c.names_of(&signature.forall);
                    let parts = c.signature(signature);
                    (parts, std::mem::take(&mut c.type_vars))
                });
                vars = scope;
                let params: Vec<Ty> = parts.domains.iter().map(|(_, ty, _)| *ty).collect();
                let count = params.len();
                constraints = parts.constraints;
                let ty = self.store.function(&params, parts.row, parts.result);
                (ty, patterns.unwrap_or(count))
            }
            (None, ast::FlowHead::Params(params)) => {
                let complete = first.signature.is_some() && params.iter().all(|p| p.ty.is_some());
                signed = complete;
                signature_span = first.signature.as_ref().map(|s| s.span);
                let mode = if complete { VarMode::Generic } else { VarMode::Flexible };
                self.level += 1;
                let (ty, scope, written) = self.with_vars(mode, [], |c| {
                    let mut written = Vec::new();
                    let types: Vec<Ty> = params
                        .iter()
                        .map(|p| match &p.ty {
                            Some(ty) => c.ty(ty),
                            None => c.fresh(),
                        })
                        .collect();
                    let (result, row) = match &first.signature {
                        Some(signature) => {
                            c.names_of(&signature.forall);
                            let mut parts = c.signature(signature);
                            written = std::mem::take(&mut parts.constraints);
                            if signature.domains.is_empty() {
                                (parts.result, parts.row)
                            } else {
                                let domains: Vec<Ty> = parts.domains.iter().map(|(_, ty, _)| *ty).collect();
                                (c.store.function(&domains, parts.row, parts.result), c.store.empty())
                            }
                        }
                        None => (c.fresh(), c.fresh_row()),
                    };
                    (c.store.function(&types, row, result), std::mem::take(&mut c.type_vars), written)
                });
                self.level -= 1;
                if complete {
                    constraints = written;
                } else if let (Some(constraint), Some(signature)) = (written.first(), &first.signature) {
                    let shown = self.show_constraint(constraint);
                    self.report(
                        Diagnostic::new(
                            codes::MISSING_CONSTRAINT,
                            format!("`{shown}` stands in a signature that leaves something out"),
                            signature.span,
                        )
                        .help("give each parameter its type, or leave the constraint to be inferred"),
                    );
                }
                vars = scope;
                (ty, params.len())
            }
            _ => (error, patterns.unwrap_or(0)),
        };
        let info = FlowInfo {
            module: None,
            name: first.name.name.as_str().into(),
            arity,
            ty,
            config: false,
            constraints,
            method: None,
            span: Some(first.name.span),
        };
        let id = self.add_flow(&first.name, info, private)?;
        if with_body.is_empty() {
            self.report(
                Diagnostic::new(codes::NO_BODY, format!("the flow `{}` has no body", first.name.name), first.name.span)
                    .help("write `= ..` after its type, or `extern flow` for a function written in Erlang"),
            );
            return None;
        }
        let source = Source::Clauses(with_body);
        Some(Group { id, name: &first.name, source, signed, vars, signature_span })
    }

    /// Names after `forall` come first, so that they are known as type variables.
    fn names_of(&mut self, forall: &[ast::Ident]) {
        for (i, name) in forall.iter().enumerate() {
            if forall[..i].iter().any(|n| n.name == name.name) {
                self.twice("type variable", codes::BOUND_TWICE, name);
            }
        }
    }

    /// Flows without signatures that call each other: inferred together, then generalised.
    fn component(&mut self, groups: &mut [Group<'a>], component: &[usize]) -> Vec<Body> {
        self.level += 1;
        self.givens.clear();
        let mut declared: HashMap<usize, Vec<Constraint>> = HashMap::new();
        for index in component {
            let id = groups[*index].id;
            if let Source::Handler(handler, at) = groups[*index].source {
                let (vars, constraints) = self.open_handler(at, handler);
                groups[*index].vars = vars;
                declared.insert(at, constraints);
                self.in_handler = true;
                continue;
            }
            if self.store.is_error(self.env.flows[id].ty) {
                self.env.flows[id].ty = if self.env.flows[id].config {
                    self.fresh()
                } else {
                    let arity = self.env.flows[id].arity;
                    let params: Vec<Ty> = (0..arity).map(|_| self.fresh()).collect();
                    let (row, result) = (self.fresh_row(), self.fresh());
                    self.store.function(&params, row, result)
                };
            }
        }
        let mut bodies = Vec::new();
        for index in component {
            let group = &groups[*index];
            let ty = self.env.flows[group.id].ty;
            let vars = group.vars.clone();
            bodies.extend(self.body(group, ty, vars));
        }
        self.settle(0);
        let mut types: Vec<Ty> = component.iter().map(|i| self.env.flows[groups[*i].id].ty).collect();
        let mut config = false;
        for index in component {
            match groups[*index].source {
                Source::Handler(_, at) => types.extend(self.handler_types(at)),
                _ => config |= self.env.flows[groups[*index].id].config,
            }
        }
        let wanted = self.solve_inferred(&types, config);
        self.in_handler = false;
        for index in component {
            if let Source::Handler(_, at) = groups[*index].source {
                let declared = declared.remove(&at).unwrap_or_default();
                self.undeclared_constraints(&wanted, &declared, &groups[*index].vars);
            }
        }
        let constraints: Vec<Constraint> = wanted.into_iter().map(|want| want.constraint).collect();
        self.level -= 1;
        for index in component {
            let group = &groups[*index];
            let ty = self.env.flows[group.id].ty;
            self.store.generalise(ty, self.level);
            for arg in constraints.iter().flat_map(|c| &c.args) {
                self.store.generalise(*arg, self.level);
            }
            self.env.flows[group.id].constraints = constraints.clone();
            self.store.close_spine(ty);
            if let Source::Handler(_, at) = group.source {
                self.close_handler(at, &constraints);
            }
            self.rigid_names(group);
        }
        self.check_depth(groups, component);
        bodies
    }

    /// The variables of an incomplete signature must have stayed what they say: any type, each its own.
    fn rigid_names(&mut self, group: &Group<'_>) {
        let mut seen: Vec<(Ty, &str)> = Vec::new();
        let mut names: Vec<(&String, &Ty)> = group.vars.iter().collect();
        names.sort();
        for (name, ty) in names {
            let root = self.store.root(*ty);
            let problem = match self.store.node(root) {
                // A row variable that only the flow's own row mentions was closed.
                Node::Error | Node::Empty => None,
                Node::Var { .. } => {
                    seen.iter().find(|(t, _)| *t == root).map(|(_, other)| format!("the same type as `{other}`"))
                }
                _ => Some(format!("`{}`", self.store.show(root))),
            };
            if let Some(problem) = problem {
                self.report(
                    Diagnostic::new(
                        codes::TOO_GENERAL,
                        format!("the type variable `{name}` stands for any type, but here it is {problem}"),
                        group.name.span,
                    )
                    .help("write the type that is meant"),
                );
                continue;
            }
            seen.push((root, name));
        }
    }

    fn check_depth(&mut self, groups: &[Group<'_>], component: &[usize]) {
        if self.store.take_too_deep() {
            if let Some(group) = component.first().map(|i| &groups[*i]) {
                self.report(
                    Diagnostic::new(
                        codes::TYPE_TOO_LARGE,
                        format!("a type in the flow `{}` is nested too deeply", group.name.name),
                        group.name.span,
                    )
                    .help("give a part of it a name with `shape`"),
                );
            }
        }
    }

    /// A flow with a complete signature: its variables are rigid in its body.
    fn signed(&mut self, group: &Group<'_>) -> Option<Body> {
        self.level += 1;
        let mut memo = HashMap::new();
        let scheme = self.env.flows[group.id].ty;
        let level = self.level;
        let ty = self.store.skolemise_with(scheme, &mut memo, level);
        let mut vars = HashMap::new();
        for (name, var) in &group.vars {
            let var = self.store.skolemise_with(*var, &mut memo, level);
            vars.insert(name.clone(), var);
        }
        let constraints = self.env.flows[group.id].constraints.clone();
        self.givens = constraints
            .into_iter()
            .map(|c| {
                let args = c.args.iter().map(|t| self.store.skolemise_with(*t, &mut memo, level)).collect();
                Constraint { of: c.of, args }
            })
            .collect();
        let body = self.body(group, ty, vars);
        self.settle(0);
        self.solve_all();
        self.givens.clear();
        self.level -= 1;
        // What the signature left open (arguments of effects, rule 4) is decided now.
        self.store.generalise(scheme, 0);
        if self.store.take_too_deep() {
            self.report(Diagnostic::new(codes::TYPE_TOO_LARGE, "a type here is nested too deeply", group.name.span));
        }
        body
    }

    fn body(&mut self, group: &Group<'_>, ty: Ty, vars: HashMap<String, Ty>) -> Option<Body> {
        let why = group.signature_span.map_or(Why::Plain, Why::Signature);
        let errors = self.diagnostics.len();
        self.flow_row = None;
        let (span, kind) = match &group.source {
            Source::Config(value) | Source::Default(value) => {
                let what =
                    if matches!(group.source, Source::Config(_)) { "a config" } else { "the default of a field" };
                let want = Want::new(ty, why);
                let body = self
                    .with_vars(VarMode::Flexible, vars, |c| c.pure(AmbientOf::Config(what), |c| c.expr(value, &want)));
                (group.name.span.to(value.span), BodyKind::Topos { params: Vec::new(), body })
            }
            Source::Handler(handler, index) => {
                let parts = self.with_vars(VarMode::Flexible, vars, |c| c.handler_body(*index, handler))?;
                (group.name.span, BodyKind::Handler(Box::new(parts)))
            }
            Source::Clauses(clauses) => {
                let (params, body) =
                    self.with_vars(VarMode::Flexible, vars, |c| c.clauses(group, clauses, ty, &why))?;
                (clauses.first()?.span, BodyKind::Topos { params, body })
            }
        };
        self.env.locals.clear();
        let clean = self.diagnostics.len() == errors;
        Some(Body { flow: group.id, span, kind, clean })
    }

    fn clauses(
        &mut self,
        group: &Group<'_>,
        clauses: &[&'_ ast::FlowDecl],
        ty: Ty,
        why: &Why,
    ) -> Option<(Vec<Pattern>, Expr)> {
        let arity = self.env.flows[group.id].arity;
        let mut types = Vec::new();
        let mut at = ty;
        let mut row = self.store.empty();
        for _ in 0..arity.max(1) {
            let Node::Arrow { param, row: r, result } = *self.store.node(at) else {
                let head = clauses.first()?;
                self.report(
                    Diagnostic::new(
                        codes::SIGNATURE_ARITY,
                        format!("`{}` has {arity} parameters, but its signature has fewer", group.name.name),
                        head.name.span,
                    )
                    .label(group.signature_span.unwrap_or(head.name.span), "the signature"),
                );
                return None;
            };
            types.push(param);
            row = r;
            at = result;
        }
        if arity == 0 {
            let unit = self.store.unit();
            if self.store.unify(types[0], unit).is_err() {
                let head = clauses.first()?;
                let shown = self.store.show(types[0]);
                self.report(
                    Diagnostic::new(
                        codes::SIGNATURE_ARITY,
                        format!("`{}` has no parameters, but its signature takes `{shown}`", group.name.name),
                        head.name.span,
                    )
                    .help(format!("write a parameter: `flow {} x = ..`", group.name.name)),
                );
                return None;
            }
            types.clear();
        }
        let result = Want::new(at, why.clone());
        let of = AmbientOf::Flow(group.name.name.clone(), group.signature_span);
        self.flow_row = Some((row, of.clone()));
        let first = clauses.first()?;
        if let [clause] = clauses {
            if clause.guards.is_empty() {
                return self.under(row, of, |c| c.scoped(|c| c.single_clause(clause, &types, &result)));
            }
        }
        self.under(row, of, |c| c.many_clauses(clauses, &types, &result, first.span))
    }

    fn single_clause(&mut self, clause: &ast::FlowDecl, types: &[Ty], result: &Want) -> Option<(Vec<Pattern>, Expr)> {
        let mut params = Vec::new();
        match &clause.head {
            ast::FlowHead::Signature => {
                let domains = clause.signature.as_ref().map_or(&[][..], |s| &s.domains);
                let domains = if takes_unit_only(domains) { &[] } else { domains };
                let patterns: Vec<ast::Pattern> = domains
                    .iter()
                    .map(|d| match &d.name {
                        Some(name) => ast::Pattern { kind: ast::PatternKind::Var(name.clone()), span: name.span },
                        None => ast::Pattern { kind: ast::PatternKind::Wildcard, span: d.ty.span },
                    })
                    .collect();
                self.distinct(patterns.iter());
                for (pattern, ty) in patterns.iter().zip(types) {
                    params.push(self.pattern(pattern, &Want::plain(*ty)));
                }
            }
            ast::FlowHead::Patterns(patterns) => {
                self.distinct(patterns.iter());
                for (pattern, ty) in patterns.iter().zip(types) {
                    params.push(self.pattern(pattern, &Want::plain(*ty)));
                }
            }
            ast::FlowHead::Params(written) => {
                self.distinct(written.iter().map(|p| &p.pattern));
                for (param, ty) in written.iter().zip(types) {
                    params.push(self.pattern(&param.pattern, &Want::plain(*ty)));
                }
            }
        }
        let body = self.leavable(clause.body.as_ref()?, result);
        Some((params, body))
    }

    /// Several clauses, or one with guards: a `match` on the parameters.
    fn many_clauses(
        &mut self,
        clauses: &[&'_ ast::FlowDecl],
        types: &[Ty],
        result: &Want,
        span: Span,
    ) -> Option<(Vec<Pattern>, Expr)> {
        let locals: Vec<Local> = types.iter().map(|_| self.new_local("arg")).collect();
        let mut arms = Vec::new();
        for clause in clauses {
            let patterns = match &clause.head {
                ast::FlowHead::Patterns(patterns) => patterns.as_slice(),
                _ => &[],
            };
            if patterns.len() != types.len() {
                self.report(
                    Diagnostic::new(
                        codes::SIGNATURE_ARITY,
                        format!("this clause has {} parameters, others have {}", patterns.len(), types.len()),
                        clause.name.span,
                    )
                    .label(span, "the first clause"),
                );
                continue;
            }
            let arm = self.scoped(|c| {
                c.distinct(patterns.iter());
                let mut typed = Vec::new();
                for (pattern, ty) in patterns.iter().zip(types) {
                    typed.push(c.pattern(pattern, &Want::plain(*ty)));
                }
                let guard = c.guards(&clause.guards);
                let body = c.leavable(clause.body.as_ref()?, result);
                let pattern = c.tuple_of(typed, types, clause.span);
                Some(Arm { patterns: vec![pattern], guard, body, span: clause.span })
            });
            arms.extend(arm);
        }
        let params: Vec<Pattern> = locals
            .iter()
            .zip(types)
            .map(|(local, ty)| Pattern { kind: PatternKind::Bind(local.clone()), ty: *ty, span })
            .collect();
        let mut scrutinees: Vec<Expr> =
            locals.into_iter().zip(types).map(|(l, ty)| Expr { kind: ExprKind::Local(l), ty: *ty, span }).collect();
        let scrutinee = match scrutinees.len() {
            1 => scrutinees.remove(0),
            0 => {
                let ty = self.store.unit();
                Expr { kind: ExprKind::Literal(super::tree::Literal::Unit), ty, span }
            }
            _ => {
                let ty = self.store.tuple(types.to_vec());
                Expr { kind: ExprKind::Tuple(scrutinees), ty, span }
            }
        };
        let kind = ExprKind::Match { scrutinee: Box::new(scrutinee), arms };
        Some((params, Expr { kind, ty: result.ty, span }))
    }

    fn tuple_of(&mut self, mut patterns: Vec<Pattern>, types: &[Ty], span: Span) -> Pattern {
        match patterns.len() {
            0 => Pattern { kind: PatternKind::Wildcard, ty: self.store.unit(), span },
            1 => patterns.remove(0),
            _ => {
                let ty = self.store.tuple(types.to_vec());
                Pattern { kind: PatternKind::Tuple(patterns), ty, span }
            }
        }
    }

    /// Checks the program's `main` against the effects that have handlers at the start.
    pub(super) fn main(&mut self, roots: &[&str], module_span: Span) {
        let Some(id) = self.env.own.values.get("main").copied() else {
            self.report(
                Diagnostic::new(
                    codes::BAD_MAIN,
                    "this program has no `main`",
                    Span::new(module_span.start, module_span.start),
                )
                .help("add `flow main : () -> () / {..} = ..`"),
            );
            return;
        };
        let info = self.env.flows[id].clone();
        let span = info.span.unwrap_or(module_span);
        let (param, result, tail) = (self.fresh(), self.fresh(), self.fresh_row());
        let shape = self.store.arrow(param, tail, result);
        let ty = self.store.instantiate(info.ty, self.level);
        if self.store.is_error(ty) {
            return;
        }
        let fits = !info.config && info.arity <= 1 && self.store.unify(ty, shape).is_ok() && {
            let (unit, text) = (self.store.unit(), self.store.con(crate::types::builtin::TEXT, Vec::new()));
            let texts = self.store.list(text);
            self.fits(param, if info.arity == 0 { unit } else { texts }) && self.fits(result, unit)
        };
        if !fits {
            let shown = self.store.show(info.ty);
            self.report(
                Diagnostic::new(codes::BAD_MAIN, "`main` has a type that cannot be started", span)
                    .primary(format!("has the type `{shown}`"))
                    .help("write `flow main : () -> () / {..}`, or `[Text] -> () / {..}` for arguments"),
            );
            return;
        }
        for (effect, _) in self.store.row(tail).entries {
            if !roots.contains(&&*effect) {
                let short = crate::types::short(&effect).to_owned();
                let brought = self.brought.iter().find(|b| b.effects.contains(&effect)).cloned();
                let diagnostic = Diagnostic::new(
                    codes::ROOT_EFFECT,
                    format!("nothing handles the effect `{short}` of `main`"),
                    span,
                )
                .help("handle it in the program with `with`, or do without it");
                self.report(match brought {
                    Some(b) => diagnostic.label(b.span, format!("{} brings it", b.what)),
                    None => diagnostic,
                });
            }
        }
    }

    fn fits(&mut self, a: Ty, b: Ty) -> bool {
        self.store.unify(a, b).is_ok()
    }
}

/// Whether a declaration may be one more clause of the flow before it.
fn is_clause(flow: &ast::FlowDecl) -> bool {
    matches!(flow.head, ast::FlowHead::Patterns(_))
}

/// Strongly connected components of the unsigned groups, callees first.
fn components(groups: &[Group<'_>], values: &HashMap<String, FlowId>) -> Vec<Vec<usize>> {
    let by_id: HashMap<FlowId, usize> =
        groups.iter().enumerate().filter(|(_, g)| !g.signed).map(|(i, g)| (g.id, i)).collect();
    // `e.m(..)` may call the member `m` of any `impl`.
    let members: Vec<(&str, usize)> = by_id
        .values()
        .filter_map(|index| groups[*index].name.name.split_once('.').map(|(_, name)| (name, *index)))
        .collect();
    let edges: Vec<Vec<usize>> = groups
        .iter()
        .map(|group| {
            if group.signed {
                return Vec::new();
            }
            let mut names = HashSet::new();
            match &group.source {
                Source::Clauses(clauses) => clauses.iter().for_each(|c| graph::flow(c, &mut names)),
                Source::Config(e) | Source::Default(e) => graph::expr(e, &mut names),
                Source::Handler(handler, _) => graph::handler(handler, &mut names),
            }
            let handlers: Vec<String> = names.iter().map(|n| format!("{PREFIX}{n}")).collect();
            let mut out: Vec<usize> = names
                .iter()
                .copied()
                .chain(handlers.iter().map(String::as_str))
                .filter_map(|n| values.get(n))
                .filter_map(|id| by_id.get(id))
                .copied()
                .chain(members.iter().filter(|(name, _)| names.contains(*name)).map(|(_, index)| *index))
                .collect();
            out.sort_unstable();
            out
        })
        .collect();
    graph::tarjan(&edges, |i| !groups[i].signed)
}
