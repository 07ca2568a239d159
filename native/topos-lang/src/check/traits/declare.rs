//! Declarations of traits: their parameters' kinds, superclasses, members and defaults.

use std::rc::Rc;

use foldhash::HashMap;

use super::{default_name, Constraint, MemberInfo, TraitInfo};
use crate::check::annotate::takes_unit_only;
use crate::check::env::FlowInfo;
use crate::check::groups::{Group, Source};
use crate::check::tree::FlowId;
use crate::check::{Checker, VarMode};
use crate::codes;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{short, Kind, Name, Ty};

/// The type of a member.
pub(super) struct MemberType {
    pub(super) ty: Ty,
    pub(super) constraints: Vec<Constraint>,
    /// A member that is no function is used without a call.
    pub(super) value: bool,
}

impl<'a> Checker<'a> {
    /// Declares traits and instances, the derived ones among them. Their flows are checked with the others.
    pub(in crate::check) fn traits(&mut self, module: &'a ast::Module, derived: &'a [ast::InstanceDecl]) {
        let mut traits = Vec::new();
        for decl in &module.decls {
            let ast::DeclKind::Trait(of) = &decl.kind else { continue };
            let full: Name = format!("{}.{}", self.env.module, of.name.name).into();
            if of.name.name.is_empty() {
                continue;
            }
            if let Some(first) = self.env.traits.get(&full) {
                let span = first.span;
                self.defined_twice("trait", &of.name, span);
                continue;
            }
            if decl.private.is_some() {
                self.private.insert(of.name.name.clone());
                self.private.extend(of.members.iter().map(|m| m.name.name.clone()));
            }
            let kinds: Vec<Kind> = of.params.iter().map(|p| kind_of(p, of)).collect();
            let params = of
                .params
                .iter()
                .zip(&kinds)
                .map(|(p, kind)| self.store.generic(*kind, Some(p.name.name.as_str().into())))
                .collect();
            if of.params.is_empty() {
                self.report(
                    Diagnostic::new(codes::TRAIT_ARGUMENTS, "this trait has no parameter", of.name.span)
                        .help(format!("write `trait {} a where`", of.name.name)),
                );
                self.unsupported_names.insert(of.name.name.clone());
                continue;
            }
            self.env.own.traits.insert(of.name.name.as_str().into(), full.clone());
            let info = TraitInfo { params, kinds, supers: Vec::new(), members: Vec::new(), span: Some(of.name.span) };
            self.env.traits.insert(full.clone(), info.into());
            traits.push((full, of));
        }
        for (full, of) in &traits {
            self.superclasses(full, of);
        }
        self.superclass_cycles(&traits);
        for (full, of) in &traits {
            self.trait_members(full, of);
        }
        self.instances(module, derived);
    }

    fn scope_of(&self, full: &Name, of: &ast::TraitDecl) -> Vec<(String, Ty)> {
        let params = self.env.traits.get(full).map_or(&[][..], |info| &info.params);
        of.params.iter().map(|p| p.name.name.clone()).zip(params.iter().copied()).collect()
    }

    fn superclasses(&mut self, full: &Name, of: &'a ast::TraitDecl) {
        let scope = self.scope_of(full, of);
        let supers: Vec<Constraint> = self.with_vars(VarMode::Declared, scope, |c| {
            of.extends.iter().filter_map(|written| c.constraint(written)).collect()
        });
        if let Some(info) = self.env.traits.get_mut(full) {
            Rc::make_mut(info).supers = supers;
        }
    }

    /// A trait cannot be its own superclass: its dictionary would contain itself.
    fn superclass_cycles(&mut self, traits: &[(Name, &'a ast::TraitDecl)]) {
        for (full, of) in traits {
            // Each trait that is reached, with the one that extends it.
            let mut seen: Vec<(Name, Name)> = Vec::new();
            let mut work: Vec<Name> = vec![full.clone()];
            while let Some(at) = work.pop() {
                let supers = self.env.traits.get(&at).map_or(&[][..], |i| &i.supers);
                for Constraint { of, .. } in supers {
                    if !seen.iter().any(|(name, _)| name == of) {
                        seen.push((of.clone(), at.clone()));
                        work.push(of.clone());
                    }
                }
            }
            if seen.iter().any(|(name, _)| name == full) {
                let mut circle = vec![full.clone()];
                let mut at = full;
                while let Some((_, by)) = seen.iter().find(|(name, _)| name == at) {
                    circle.push(by.clone());
                    at = by;
                    if at == full {
                        break;
                    }
                }
                let circle = circle.iter().rev().map(|name| format!("`{}`", short(name))).collect::<Vec<_>>();
                let help = match &circle[..] {
                    [_, _] => "a trait is not its own superclass: leave out `extends`".to_owned(),
                    _ => format!("{}: leave out one of these `extends`", circle.join(" extends ")),
                };
                self.report(
                    Diagnostic::new(
                        codes::SUPERCLASS_CYCLE,
                        format!("the trait `{}` extends itself", of.name.name),
                        of.extends.first().map_or(of.name.span, |c| c.span),
                    )
                    .help(help),
                );
                if let Some(info) = self.env.traits.get_mut(full) {
                    Rc::make_mut(info).supers.clear();
                }
            }
        }
    }

    fn trait_members(&mut self, full: &Name, of: &'a ast::TraitDecl) {
        let mut clauses: Vec<(&'a ast::Ident, Vec<&'a ast::FlowDecl>)> = Vec::new();
        for member in &of.members {
            match clauses.iter_mut().find(|(name, _)| name.name == member.name.name) {
                Some((_, all)) => all.push(member),
                None => clauses.push((&member.name, vec![member])),
            }
        }
        for (name, decls) in clauses {
            let Some(signature) = decls.iter().find_map(|d| d.signature.as_ref()) else {
                self.report(
                    Diagnostic::new(
                        codes::UNTYPED_MEMBER,
                        format!("the member `{}` has no type", name.name),
                        name.span,
                    )
                    .help(format!("write `{} : ..` before it", name.name)),
                );
                continue;
            };
            let scope = self.scope_of(full, of);
            let (member, vars) = self.with_vars(VarMode::Generic, scope, |c| {
                let member = c.member_type(signature);
                (member, std::mem::take(&mut c.type_vars))
            });
            let params = self.env.traits.get(full).map_or_else(Vec::new, |info| info.params.clone());
            let mut constraints = vec![Constraint { of: full.clone(), args: params }];
            constraints.extend(member.constraints.iter().cloned());
            let index = self.env.traits.get(full).map_or(0, |info| info.members.len());
            let info = FlowInfo {
                module: None,
                name: name.name.as_str().into(),
                arity: if member.value { 0 } else { signature.domains.len() },
                ty: member.ty,
                config: member.value,
                constraints: constraints.clone(),
                method: Some((full.clone(), index)),
                span: Some(name.span),
            };
            let private = self.private.contains(&of.name.name);
            let Some(flow) = self.add_flow(name, info, private) else { continue };
            let bodies: Vec<&'a ast::FlowDecl> = decls.iter().copied().filter(|d| d.body.is_some()).collect();
            let default = (!bodies.is_empty()).then(|| {
                let flow_name = default_name(full, &name.name);
                self.member_flow(flow_name, name, bodies, &member, constraints, vars, Some(signature.span))
            });
            let member = MemberInfo { name: name.name.as_str().into(), flow, default };
            if let Some(info) = self.env.traits.get_mut(full) {
                Rc::make_mut(info).members.push(member);
            }
        }
    }

    fn member_type(&mut self, signature: &ast::Signature) -> MemberType {
        let parts = self.signature(signature);
        let value = signature.domains.is_empty() && signature.row.is_none();
        let params: Vec<Ty> = parts.domains.iter().map(|(_, ty, _)| *ty).collect();
        let ty = if value { parts.result } else { self.store.function(&params, parts.row, parts.result) };
        MemberType { ty, constraints: parts.constraints, value }
    }

    /// A flow that is a member of an instance, or a default: checked with the others against the type it must have.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn member_flow(
        &mut self,
        flow_name: String,
        name: &'a ast::Ident,
        clauses: Vec<&'a ast::FlowDecl>,
        member: &MemberType,
        constraints: Vec<Constraint>,
        vars: HashMap<String, Ty>,
        signature_span: Option<Span>,
    ) -> FlowId {
        let arity = clauses.iter().map(|c| written_arity(c)).next().unwrap_or(0);
        let id = self.generated_flow(flow_name, arity, member, constraints, name.span);
        let source = Source::Clauses(clauses);
        self.trait_groups.push(Group { id, name, source, signed: true, vars, signature_span });
        id
    }

    /// A flow without a name of its own.
    pub(super) fn generated_flow(
        &mut self,
        flow_name: String,
        arity: usize,
        member: &MemberType,
        constraints: Vec<Constraint>,
        span: Span,
    ) -> FlowId {
        let empty = self.store.empty();
        let ty = if member.value { self.store.function(&[], empty, member.ty) } else { member.ty };
        let id = self.env.flows.len();
        self.env.flows.push(FlowInfo {
            module: None,
            name: flow_name.as_str().into(),
            arity,
            ty,
            config: false,
            constraints,
            method: None,
            span: Some(span),
        });
        self.env.own.values.insert(flow_name.into(), id);
        id
    }
}

/// How many parameters a clause writes.
pub(super) fn written_arity(clause: &ast::FlowDecl) -> usize {
    match &clause.head {
        ast::FlowHead::Patterns(patterns) => patterns.len(),
        ast::FlowHead::Params(params) => params.len(),
        ast::FlowHead::Signature => {
            clause.signature.as_ref().map_or(0, |s| if takes_unit_only(&s.domains) { 0 } else { s.domains.len() })
        }
    }
}

/// The kind that a parameter is declared to have, or how its members use it.
fn kind_of(param: &ast::TraitParam, of: &ast::TraitDecl) -> Kind {
    let count = match &param.kind {
        Some(kind) => arrows(kind),
        None => of
            .members
            .iter()
            .filter_map(|m| m.signature.as_ref())
            .flat_map(|s| s.domains.iter().map(|d| &d.ty).chain([&s.result]))
            .find_map(|ty| applied_to(ty, &param.name.name))
            .unwrap_or(0),
    };
    if count == 0 {
        Kind::Type
    } else {
        Kind::Constructor(count)
    }
}

fn arrows(kind: &ast::Kind) -> usize {
    match kind {
        ast::Kind::Arrow(_, rest) => 1 + arrows(rest),
        _ => 0,
    }
}

/// How many arguments a type gives to a variable.
fn applied_to(ty: &ast::Type, name: &str) -> Option<usize> {
    let all = |types: &[ast::Type]| types.iter().find_map(|t| applied_to(t, name));
    match &ty.kind {
        ast::TypeKind::Apply { head, args } if head.name == name => Some(args.len()),
        ast::TypeKind::Apply { args, .. } | ast::TypeKind::Named { args, .. } | ast::TypeKind::Tuple(args) => all(args),
        ast::TypeKind::List(element) => applied_to(element, name),
        ast::TypeKind::Record { fields, .. } => fields.iter().find_map(|f| applied_to(&f.ty, name)),
        ast::TypeKind::Function { domains, result, .. } => {
            domains.iter().find_map(|d| applied_to(&d.ty, name)).or_else(|| applied_to(result, name))
        }
        _ => None,
    }
}
