//! What a module says about each of its flows: clauses joined, signatures, configs, defaults of fields, externs.

use foldhash::{HashMap, HashMapExt};

use super::env::FlowInfo;
use super::flows::{Body, BodyKind};
use super::interface::default_flow;
use super::tree::FlowId;
use super::{Checker, VarMode};
use crate::codes;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::Ty;

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
    pub(super) fn add_flow(&mut self, name: &ast::Ident, info: FlowInfo, private: bool) -> Option<FlowId> {
        if let Some(first) = self.env.own.values.get(name.name.as_str()) {
            let span = self.env.flows[*first].span;
            self.defined_twice(if name.name.contains('.') { "member" } else { "flow" }, name, span);
            return None;
        }
        let id = self.env.flows.len();
        self.env.flows.push(info);
        self.env.own.values.insert(name.name.as_str().into(), id);
        if private {
            self.private.insert(name.name.clone());
        }
        Some(id)
    }

    /// What is written about each flow of a module; an extern needs no more, and becomes one of the bodies.
    pub(super) fn groups(&mut self, module: &'a ast::Module, bodies: &mut Vec<Body>) -> Vec<Group<'a>> {
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

    /// Flows that were left out for their syntax errors are there all the same, and their types fit everywhere.
    pub(super) fn lost_flows(&mut self) {
        for name in std::mem::take(&mut self.lost) {
            // One whose head has an error may have been read as a constructor.
            self.unsupported_names.insert(name.name.clone());
            if name.name.is_empty() || self.env.own.values.contains_key(name.name.as_str()) {
                continue;
            }
            let info = FlowInfo {
                module: None,
                name: name.name.as_str().into(),
                arity: 0,
                ty: self.store.error(),
                config: false,
                constraints: Vec::new(),
                method: None,
                span: Some(name.span),
            };
            self.add_flow(name, info, false);
        }
    }

    fn default_groups(&mut self, ty: &'a ast::TypeDecl, groups: &mut Vec<Group<'a>>) {
        let ast::TypeDefinition::Record(fields) = &ty.definition else { return };
        let Some(full) = self.env.own.types.get(ty.name.name.as_str()).cloned() else { return };
        let Some(info) = self.env.types.get(&full).cloned() else { return };
        let super::interface::TypeBody::Record(infos) = &info.body else { return };
        for field in fields {
            let Some(default) = &field.default else { continue };
            let Some(info) = infos.iter().find(|i| *i.name == *field.name.name) else { continue };
            let name = default_flow(&ty.name.name, &field.name.name);
            if self.env.own.values.contains_key(name.as_str()) {
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
            self.env.own.values.insert(name.into(), id);
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
            return self.env.own.values.get(name.as_str()).copied();
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
}

/// Whether a declaration may be one more clause of the flow before it.
fn is_clause(flow: &ast::FlowDecl) -> bool {
    matches!(flow.head, ast::FlowHead::Patterns(_))
}
