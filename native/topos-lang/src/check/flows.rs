//! Top-level flows in the order of their calls: those with a signature are checked against it, others inferred together with
//! what they call and that calls them.

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

use super::graph;
use super::groups::{Group, Source};
use super::handler::{HandlerBody, PREFIX};
use super::traits::Constraint;
use super::tree::{Expr, FlowId, Pattern};
use super::{AmbientOf, Checker, VarMode, Want, Why};
use crate::codes;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{Name, Node, Ty};

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

impl<'a> Checker<'a> {
    /// Checks all flows, configs and defaults of fields.
    pub(super) fn flows(&mut self, module: &'a ast::Module) -> Vec<Body> {
        let mut bodies = Vec::new();
        let mut groups = self.groups(module, &mut bodies);
        groups.append(&mut self.trait_groups);
        self.lost_flows();
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
}

/// Strongly connected components of the unsigned groups, callees first.
fn components(groups: &[Group<'_>], values: &HashMap<Name, FlowId>) -> Vec<Vec<usize>> {
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
