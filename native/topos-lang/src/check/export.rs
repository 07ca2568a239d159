//! The interface of a module that has been checked.

use foldhash::{HashSet, HashSetExt};

use super::actor::{ACTOR, SUPERVISOR};
use super::env::HandledBy;
use super::interface::{
    EffectExport, FlowExport, HandledByExport, HandlerExport, Interface, OperationExport, RecordFieldInfo, TypeBody,
    TypeExport,
};
use super::{suggest, testing, Checker};
use crate::codes;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{short, Ty};

impl Checker<'_> {
    /// Whether other modules may name something.
    pub(super) fn is_visible(&self, name: &str) -> bool {
        let name = name.strip_prefix(ACTOR).or_else(|| name.strip_prefix(SUPERVISOR)).unwrap_or(name);
        // A member of an `impl` is as visible as its type.
        let of = name.split_once('.').map_or(name, |(of, _)| of);
        !self.private.contains(name)
            && !self.private.contains(of)
            && self.export_list.as_ref().is_none_or(|list| list.contains(of))
    }

    /// Reads the `export` lists; names that are not declared are reported.
    pub(super) fn exports(&mut self, module: &ast::Module) {
        if module.exports.is_empty() {
            return;
        }
        let mut list = HashSet::new();
        for name in module.exports.iter().flat_map(|e| &e.names) {
            let own = &self.env.own;
            let known = own.values.contains_key(name.name.as_str())
                || own.values.contains_key(format!("{ACTOR}{}", name.name).as_str())
                || own.values.contains_key(format!("{SUPERVISOR}{}", name.name).as_str())
                || own.types.contains_key(name.name.as_str())
                || own.effects.contains_key(name.name.as_str())
                || own.handlers.contains_key(name.name.as_str())
                || own.traits.contains_key(name.name.as_str())
                || self.unsupported_names.contains(&name.name);
            if !known && !name.name.is_empty() {
                let all =
                    own.values.keys().chain(own.types.keys()).chain(own.effects.keys()).chain(own.handlers.keys());
                let near = suggest::nearest(&name.name, all.map(|name| &**name)).map(str::to_owned);
                let diagnostic = Diagnostic::new(
                    codes::UNKNOWN_EXPORT,
                    format!("this module declares no `{}`", name.name),
                    name.span,
                );
                self.report(match near {
                    Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                    None => diagnostic,
                });
            }
            list.insert(name.name.clone());
        }
        self.export_list = Some(list);
    }

    /// What the module shows to others.
    pub(super) fn interface(&mut self) -> Interface {
        let mut interface = Interface { module: self.env.module.to_string(), ..Interface::default() };
        let mut names: Vec<_> = self.env.own.types.clone().into_iter().collect();
        names.sort();
        for (name, full) in names {
            let Some(info) = self.env.types.get(&full).cloned() else { continue };
            let at = info.span;
            let tys: Vec<Ty> = match &info.body {
                TypeBody::Opaque => Vec::new(),
                TypeBody::Alias(ty) => vec![*ty],
                TypeBody::Shape(ctors) => ctors.iter().flat_map(|(_, fields)| fields.iter().copied()).collect(),
                TypeBody::Record(fields) => fields.iter().map(|f| f.ty).collect(),
            };
            let constrained = info.constraints.iter().flat_map(|c| c.args.iter().copied());
            let tys: Vec<Ty> = tys.into_iter().chain(constrained).collect();
            let Some((vars, trees)) = self.store.export_all(&tys, &info.params) else {
                self.too_large(&name, at);
                continue;
            };
            let mut trees = trees.into_iter();
            let mut next = || trees.next().unwrap_or(crate::types::Tree::Error);
            let body = match &info.body {
                TypeBody::Opaque => TypeBody::Opaque,
                TypeBody::Alias(_) => TypeBody::Alias(next()),
                TypeBody::Shape(ctors) => TypeBody::Shape(
                    ctors.iter().map(|(n, fields)| (n.clone(), fields.iter().map(|_| next()).collect())).collect(),
                ),
                TypeBody::Record(fields) => TypeBody::Record(
                    fields
                        .iter()
                        .map(|f| RecordFieldInfo { name: f.name.clone(), ty: next(), default: f.default })
                        .collect(),
                ),
            };
            let visible = self.is_visible(&name);
            let constraints = Self::constraint_exports(&info.constraints, &mut trees);
            let params = info.params.len();
            interface.types.push(TypeExport { name, visible, vars, params, body, constraints });
        }
        self.export_effects(&mut interface);
        self.export_flows(&mut interface);
        self.export_handlers(&mut interface);
        self.export_traits(&mut interface);
        interface
    }

    fn too_large(&mut self, name: &str, span: Option<Span>) {
        // What is made of a type that is too large, or wrong, is no second mistake, and an interface with one is of no use.
        if !self.diagnostics.is_empty() {
            return;
        }
        self.report(
            Diagnostic::new(
                codes::TYPE_TOO_LARGE,
                format!("the type of `{name}` is too large"),
                span.unwrap_or_default(),
            )
            .help("give a part of it a name with `shape`"),
        );
    }

    fn export_effects(&mut self, interface: &mut Interface) {
        let mut names: Vec<_> = self.env.own.effects.clone().into_iter().collect();
        names.sort();
        for (name, full) in names {
            let Some(info) = self.env.effects.get(&full).cloned() else { continue };
            let mut operations = Vec::new();
            for (op, params) in info.operations.iter().zip(&info.params) {
                let mut tys = op.params.clone();
                tys.extend([op.result, op.row]);
                tys.extend(op.constraints.iter().flat_map(|c| c.args.iter().copied()));
                let Some((vars, trees)) = self.store.export_all(&tys, params) else {
                    self.too_large(&op.name, info.span);
                    continue;
                };
                let mut trees = trees.into_iter();
                let params = trees.by_ref().take(op.params.len()).collect();
                let (Some(result), Some(row)) = (trees.next(), trees.next()) else { continue };
                let constraints = Self::constraint_exports(&op.constraints, &mut trees);
                operations.push(OperationExport { name: op.name.clone(), vars, params, result, row, constraints });
            }
            let visible = self.is_visible(&name);
            let (params, bounds) = (info.arity, info.bounds);
            interface.effects.push(EffectExport { name, visible, params, bounds, operations });
        }
    }

    fn export_flows(&mut self, interface: &mut Interface) {
        let mut ids: Vec<_> = self.env.own.values.clone().into_iter().collect();
        ids.sort_by_key(|(_, id)| *id);
        for (name, id) in ids {
            if testing::is_test(&name) {
                continue;
            }
            let info = self.env.flows[id].clone();
            if name.starts_with(super::handler::PREFIX) {
                continue;
            }
            let mut tys = vec![info.ty];
            tys.extend(info.constraints.iter().flat_map(|c| c.args.iter().copied()));
            let Some((vars, trees)) = self.store.export_all(&tys, &[]) else {
                self.too_large(&name, info.span);
                continue;
            };
            let mut trees = trees.into_iter();
            let Some(body) = trees.next() else { continue };
            let scheme = crate::types::Scheme { vars, body };
            let constraints = Self::constraint_exports(&info.constraints, &mut trees);
            interface.flows.push(FlowExport {
                name: info.name,
                scheme,
                arity: info.arity,
                constraints,
                evidence: self.evidence.get(&id).copied().unwrap_or(false),
                config: info.config,
                visible: self.is_visible(&name) && !super::traits::is_generated(&name),
            });
        }
    }

    fn export_handlers(&mut self, interface: &mut Interface) {
        let mut names: Vec<_> = self.env.own.handlers.clone().into_iter().collect();
        names.sort();
        for (name, id) in names {
            let info = self.env.handlers[id].clone();
            let mut tys = info.effect_args.clone();
            let args = tys.len();
            tys.extend(&info.params);
            if let HandledBy::Topos { body, answer, .. } = &info.by {
                tys.extend([*body, *answer]);
            }
            tys.push(info.row);
            let known = tys.len();
            tys.extend(info.constraints.iter().flat_map(|c| c.args.iter().copied()));
            let Some((vars, mut trees)) = self.store.export_all(&tys, &[]) else {
                self.too_large(short(&name), None);
                continue;
            };
            let constraints = Self::constraint_exports(&info.constraints, &mut trees.split_off(known).into_iter());
            let Some(row) = trees.pop() else { continue };
            let mut params = trees.split_off(args);
            let by = match info.by {
                HandledBy::Extern(target) => HandledByExport::Extern(target),
                HandledBy::Topos { .. } => {
                    let (Some(answer), Some(body)) = (params.pop(), params.pop()) else { continue };
                    HandledByExport::Topos { body, answer }
                }
            };
            interface.handlers.push(HandlerExport {
                visible: self.is_visible(&name),
                name,
                effect: info.effect,
                vars,
                effect_args: trees,
                params,
                row,
                constraints,
                by,
            });
        }
    }
}
