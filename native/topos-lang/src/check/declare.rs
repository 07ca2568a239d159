//! Imports, types, effects and extern handlers.

use std::rc::Rc;

use foldhash::HashSet;

use super::env::{CtorRef, EffectInfo, HandledBy, HandlerInfo, Lookup, OperationInfo, TypeInfo};
use super::interface::{RecordFieldInfo, TypeBody};
use super::{suggest, unsupported, Checker, VarMode};
use crate::codes;
use crate::core::constructor_atom;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{Kind, Name, Ty};

impl<'a> Checker<'a> {
    /// Brings imported names into scope.
    pub(super) fn imports(&mut self, module: &'a ast::Module) {
        if self.env.has_module(super::PRELUDE) {
            self.env.add_qualifier(super::PRELUDE.to_owned(), super::PRELUDE.into());
        }
        for import in &module.imports {
            let path = import.path.dotted();
            if path.is_empty() {
                continue;
            }
            if !self.env.has_module(&path) {
                let near = suggest::nearest(&path, self.env.module_names()).map(str::to_owned);
                let diagnostic =
                    Diagnostic::new(codes::UNKNOWN_MODULE, format!("there is no module `{path}`"), import.path.span);
                self.report(match near {
                    Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                    None => diagnostic,
                });
                self.missing_import(import);
                continue;
            }
            let name: Name = path.as_str().into();
            for item in import.names.iter().flatten() {
                if !self.env.exports(&path, &item.name) {
                    self.unresolved_name::<()>(
                        "name",
                        codes::NOT_EXPORTED,
                        &Lookup::NotExported(name.clone()),
                        &[],
                        item,
                    );
                    // Its uses are the same mistake.
                    self.unsupported_names.insert(item.name.clone());
                }
            }
            match &import.alias {
                Some(alias) => self.env.add_qualifier(alias.name.clone(), name.clone()),
                None => {
                    self.env.add_qualifier(path.clone(), name.clone());
                    if let Some(last) = import.path.last() {
                        self.env.add_qualifier(last.name.clone(), name.clone());
                    }
                }
            }
            let only = import.names.as_ref().map(|names| names.iter().map(|n| n.name.clone()).collect::<HashSet<_>>());
            if !import.qualified && (import.alias.is_none() || only.is_some()) {
                self.env.open_module(name, only);
            }
        }
    }

    /// What a module that is not there would have brought: no use of it is another mistake.
    fn missing_import(&mut self, import: &ast::Import) {
        let last = import.path.last().map(|last| last.name.clone());
        self.missing_qualifiers.extend([import.path.dotted()]);
        self.missing_qualifiers.extend(import.alias.as_ref().map(|alias| alias.name.clone()).or(last));
        match &import.names {
            Some(names) => self.unsupported_names.extend(names.iter().map(|name| name.name.clone())),
            // Any name that is not known may be one of its.
            None => self.names_are_missing |= !import.qualified && import.alias.is_none(),
        }
    }

    /// Declares types, effects and handlers; reports what is not supported.
    pub(super) fn declarations(&mut self, module: &'a ast::Module) {
        let mut types = Vec::new();
        let mut effects = Vec::new();
        for decl in &module.decls {
            match &decl.kind {
                ast::DeclKind::Type(ty) => {
                    if self.declare_type_name(decl, ty) {
                        types.push((decl, ty));
                    }
                }
                ast::DeclKind::Effect(effect) => {
                    if self.declare_effect_name(decl, effect) {
                        effects.push((decl, effect));
                    }
                }
                ast::DeclKind::Session(s) => self.report(unsupported::session(s.name.span)),
                ast::DeclKind::Protocol(p) => self.report(unsupported::protocol(p.name.span)),
                ast::DeclKind::Flow(_)
                | ast::DeclKind::Config(_)
                | ast::DeclKind::ExternFlow(_)
                | ast::DeclKind::ExternHandler(_)
                | ast::DeclKind::Trait(_)
                | ast::DeclKind::Instance(_)
                | ast::DeclKind::Handler(_)
                // Flows by now.
                | ast::DeclKind::Test(_)
                | ast::DeclKind::Property(_)
                // Replaced by what they mean; left only where that was refused.
                | ast::DeclKind::Impl(_)
                | ast::DeclKind::Actor(_)
                | ast::DeclKind::Supervisor(_)
                | ast::DeclKind::Error => {}
            }
            self.note_unsupported(&decl.kind);
        }
        for (_, ty) in &types {
            self.declare_type(ty);
        }
        for (_, effect) in effects {
            self.declare_effect(effect);
        }
        for decl in &module.decls {
            match &decl.kind {
                ast::DeclKind::ExternHandler(handler) => self.declare_handler(decl, handler),
                ast::DeclKind::Handler(handler) => self.declare_topos_handler(decl, handler),
                _ => {}
            }
        }
    }

    /// What is not supported has a name all the same: using it is not a second mistake.
    fn note_unsupported(&mut self, kind: &ast::DeclKind) {
        let names: Vec<&ast::Ident> = match kind {
            ast::DeclKind::Impl(i) => i.members.iter().map(|m| &m.name).collect(),
            ast::DeclKind::Session(s) => vec![&s.name],
            ast::DeclKind::Protocol(p) => vec![&p.name],
            // Left only where they could not be compiled, which was reported.
            ast::DeclKind::Actor(a) => vec![&a.name],
            ast::DeclKind::Supervisor(s) => vec![&s.name],
            _ => Vec::new(),
        };
        self.unsupported_names.extend(names.into_iter().map(|n| n.name.clone()));
    }

    pub(super) fn full(&self, name: &str) -> Name {
        format!("{}.{name}", self.env.module).into()
    }

    pub(super) fn defined_twice(&mut self, what: &str, name: &ast::Ident, first: Option<Span>) {
        // A test is a flow of a name that no program can write: `test title`.
        let shown = match name.name.split_once(' ') {
            Some((what, title)) if super::is_test(&name.name) => format!("{what} `{title}`"),
            _ => format!("{what} `{}`", name.name),
        };
        let diagnostic = Diagnostic::new(codes::DEFINED_TWICE, format!("the {shown} is defined twice"), name.span);
        self.report(match first {
            Some(first) => diagnostic.label(first, "first defined here"),
            None => diagnostic,
        });
    }

    fn declare_type_name(&mut self, decl: &'a ast::Decl, ty: &'a ast::TypeDecl) -> bool {
        let full = self.full(&ty.name.name);
        if let Some(first) = self.env.types.get(&full) {
            let span = first.span;
            self.defined_twice("type", &ty.name, span);
            return false;
        }
        if decl.private.is_some() {
            self.private.insert(ty.name.name.clone());
        }
        let mut params: Vec<Ty> = Vec::new();
        for (i, param) in ty.params.iter().enumerate() {
            if ty.params[..i].iter().any(|p| p.name == param.name) {
                self.twice("type parameter", codes::BOUND_TWICE, param);
            }
            params.push(self.store.generic(Kind::Type, Some(param.name.as_str().into())));
        }
        let body = match &ty.definition {
            ast::TypeDefinition::Variants(variants) => {
                for (index, variant) in variants.iter().enumerate() {
                    let atom = constructor_atom(&variant.name.name);
                    if let Some(other) = variants[..index]
                        .iter()
                        .find(|v| v.name.name != variant.name.name && constructor_atom(&v.name.name) == atom)
                    {
                        self.report(
                            Diagnostic::new(
                                codes::SAME_ATOM,
                                format!(
                                    "`{}` and `{}` are both `{atom}` at run time",
                                    other.name.name, variant.name.name
                                ),
                                variant.name.span,
                            )
                            .label(other.name.span, "the other constructor")
                            .help("give one of them another name"),
                        );
                    }
                    let ctor = CtorRef { ty: full.clone(), index };
                    if variant.name.name.is_empty() {
                        continue;
                    }
                    if self.env.own.ctors.insert(variant.name.name.as_str().into(), ctor).is_some() {
                        self.defined_twice("constructor", &variant.name, None);
                    }
                }
                TypeBody::Shape(variants.iter().map(|v| (v.name.name.as_str().into(), Vec::new())).collect())
            }
            ast::TypeDefinition::Alias(_) => {
                self.aliases.insert(full.clone(), decl);
                TypeBody::Opaque
            }
            _ => TypeBody::Opaque,
        };
        self.env.own.types.insert(ty.name.name.as_str().into(), full.clone());
        let info = TypeInfo { params, body, constraints: Vec::new(), span: Some(ty.name.span) };
        self.env.types.insert(full, info.into());
        true
    }

    /// The parameters of a declared type as scoped type variables.
    pub(super) fn param_vars(&self, full: &Name, ty: &ast::TypeDecl) -> Vec<(String, Ty)> {
        let params = self.env.types.get(full).map_or(&[][..], |info| &info.params);
        ty.params.iter().map(|p| p.name.clone()).zip(params.iter().copied()).collect()
    }

    fn declare_type(&mut self, ty: &'a ast::TypeDecl) {
        let full = self.full(&ty.name.name);
        let vars = self.param_vars(&full, ty);
        let body = match &ty.definition {
            ast::TypeDefinition::Alias(_) => {
                self.define_alias(&full);
                return;
            }
            ast::TypeDefinition::Opaque => TypeBody::Opaque,
            ast::TypeDefinition::Error => TypeBody::Alias(self.store.error()),
            ast::TypeDefinition::Variants(variants) => self.with_vars(VarMode::Declared, vars, |c| {
                TypeBody::Shape(
                    variants
                        .iter()
                        .map(|v| (v.name.name.as_str().into(), v.fields.iter().map(|f| c.ty(&f.ty)).collect()))
                        .collect(),
                )
            }),
            ast::TypeDefinition::Record(fields) => self.with_vars(VarMode::Declared, vars, |c| {
                let mut infos: Vec<RecordFieldInfo<Ty>> = Vec::new();
                for field in fields {
                    if infos.iter().any(|f| *f.name == *field.name.name) {
                        c.twice("field", codes::FIELD_TWICE, &field.name);
                        continue;
                    }
                    let ty = c.ty(&field.ty);
                    infos.push(RecordFieldInfo {
                        name: field.name.name.as_str().into(),
                        ty,
                        default: field.default.is_some(),
                    });
                }
                TypeBody::Record(infos)
            }),
        };
        if let Some(info) = self.env.types.get_mut(&full) {
            Rc::make_mut(info).body = body;
        }
    }

    /// Defines an alias before its first use.
    pub(super) fn define_alias(&mut self, full: &Name) {
        let Some(decl) = self.aliases.remove(full) else { return };
        let ast::DeclKind::Type(ty) = &decl.kind else { return };
        let ast::TypeDefinition::Alias(definition) = &ty.definition else { return };
        self.aliases_open.push(full.clone());
        let vars = self.param_vars(full, ty);
        let body = self.with_vars(VarMode::Declared, vars, |c| c.ty(definition));
        self.aliases_open.pop();
        if let Some(info) = self.env.types.get_mut(full) {
            Rc::make_mut(info).body = TypeBody::Alias(body);
        }
    }

    fn declare_effect_name(&mut self, decl: &ast::Decl, effect: &'a ast::EffectDecl) -> bool {
        let full = self.full(&effect.name.name);
        if let Some(first) = self.env.effects.get(&full) {
            let span = first.span;
            self.defined_twice("effect", &effect.name, span);
            return false;
        }
        if decl.private.is_some() {
            self.private.insert(effect.name.name.clone());
        }
        let arity = effect.params.len() + shared_binders(effect).len();
        self.env.own.effects.insert(effect.name.name.as_str().into(), full.clone());
        let info = EffectInfo {
            arity,
            params: Vec::new(),
            operations: Vec::new(),
            bounds: Vec::new(),
            span: Some(effect.name.span),
        };
        self.env.effects.insert(full, info);
        true
    }

    fn declare_effect(&mut self, effect: &'a ast::EffectDecl) {
        let full = self.full(&effect.name.name);
        let shared = shared_binders(effect);
        let names: Vec<&str> =
            effect.params.iter().map(|p| p.name.name.as_str()).chain(shared.iter().copied()).collect();
        let mut params: Vec<Vec<Ty>> = Vec::new();
        let mut operations: Vec<OperationInfo> = Vec::new();
        for op in &effect.operations {
            if operations.iter().any(|o| *o.name == *op.name.name) {
                self.defined_twice("operation", &op.name, None);
                continue;
            }
            let own: Vec<Ty> = names.iter().map(|n| self.store.generic(Kind::Type, Some((*n).into()))).collect();
            let vars: Vec<(String, Ty)> = names.iter().map(|n| (*n).to_owned()).zip(own.iter().copied()).collect();
            let (info, vars) = self.with_vars(VarMode::Generic, vars, |c| {
                let info = c.operation(op);
                (info, std::mem::take(&mut c.type_vars))
            });
            self.operation_vars.insert((full.clone(), op.name.name.clone()), vars);
            params.push(own);
            operations.push(info);
        }
        if let Some(info) = self.env.effects.get_mut(&full) {
            info.params = params;
            info.operations = operations;
        }
    }

    fn operation(&mut self, op: &ast::Operation) -> OperationInfo {
        let mut params: Vec<Ty> = op.params.iter().flatten().map(|p| self.declared_param(p)).collect();
        let (result, row) = match &op.signature {
            Some(signature) => {
                let parts = self.signature(signature);
                if op.params.is_none() {
                    params = parts.domains.iter().map(|(_, ty, _)| *ty).collect();
                    (parts.result, parts.row)
                } else if parts.domains.is_empty() {
                    (parts.result, parts.row)
                } else {
                    let domains: Vec<Ty> = parts.domains.iter().map(|(_, ty, _)| *ty).collect();
                    (self.store.function(&domains, parts.row, parts.result), self.store.empty())
                }
            }
            None => (self.store.unit(), self.store.empty()),
        };
        OperationInfo { name: op.name.name.as_str().into(), params, result, row, constraints: Vec::new() }
    }

    /// A parameter of an operation or an extern handler, which must say its type.
    pub(super) fn declared_param(&mut self, param: &ast::Param) -> Ty {
        match &param.ty {
            Some(ty) => self.ty(ty),
            None => {
                self.report(
                    Diagnostic::new(codes::UNTYPED_PARAMETER, "this parameter needs a type", param.span)
                        .help("write `name : Type`"),
                );
                self.store.error()
            }
        }
    }

    fn declare_handler(&mut self, decl: &ast::Decl, handler: &'a ast::ExternHandlerDecl) {
        if self.env.own.handlers.contains_key(handler.name.name.as_str()) {
            self.defined_twice("handler", &handler.name, None);
            return;
        }
        if !is_module_name(&handler.target.value) {
            self.report(
                Diagnostic::new(codes::BAD_EXTERN, "this is not the name of an Erlang module", handler.target.span)
                    .help("write `= \"my_handler\"`, a module of the behaviour `topos_handler`"),
            );
        }
        if decl.private.is_some() {
            self.private.insert(handler.name.name.clone());
        }
        let (params, entry, row) = self.with_vars(VarMode::Generic, [], |c| {
            let params: Vec<Ty> = handler.params.iter().flatten().map(|p| c.declared_param(p)).collect();
            let entry = c.effect_ref(&handler.effect);
            let row = c.effect_row(handler.row.as_ref());
            (params, entry, row)
        });
        let Some((effect, effect_args)) = entry else { return };
        // Arguments of the effect that are left out are variables of the handler.
        for arg in &effect_args {
            self.store.generalise(*arg, 0);
        }
        let info = HandlerInfo {
            effect,
            effect_args,
            params,
            row,
            constraints: Vec::new(),
            by: HandledBy::Extern(handler.target.value.as_str().into()),
        };
        self.env.own.handlers.insert(handler.name.name.as_str().into(), self.env.handlers.len());
        self.env.handlers.push(info);
    }
}

/// Binders that every operation has (rule 5), in the order of the first one.
pub(super) fn shared_binders(effect: &ast::EffectDecl) -> Vec<&str> {
    let Some((first, rest)) = effect.operations.split_first() else { return Vec::new() };
    first
        .type_params
        .iter()
        .map(|p| p.name.name.as_str())
        .filter(|name| rest.iter().all(|op| op.type_params.iter().any(|p| p.name.name == **name)))
        .filter(|name| effect.params.iter().all(|p| p.name.name != **name))
        .collect()
}

/// Whether a text can be written as an Erlang atom without quotes, as module and function names are.
pub(super) fn is_module_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '@')
}
