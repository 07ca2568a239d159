//! Tests and properties: flows without parameters, with names that no program can write. They are checked like other flows,
//! and exported for the runner (`topos_test`); whoever builds for production leaves them out of the core.

use std::borrow::Cow;

use super::block::Function;
use super::tree::{Expr, ExprKind, PatternKind};
use super::{AmbientOf, Checker, Want};
use crate::codes;
use crate::core::Descriptor;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::short;

const TEST: &str = "test ";
const PROPERTY: &str = "property ";

/// Whether a flow is a test or a property: its name is `test` or `property`, a blank, and the title.
pub fn is_test(flow: &str) -> bool {
    flow.starts_with(TEST) || flow.starts_with(PROPERTY)
}

/// The module with flows for its tests and properties.
pub(super) fn as_flows(module: &ast::Module) -> Cow<'_, ast::Module> {
    let is_one = |decl: &ast::Decl| matches!(decl.kind, ast::DeclKind::Test(_) | ast::DeclKind::Property(_));
    if !module.decls.iter().any(is_one) {
        return Cow::Borrowed(module);
    }
    let mut module = module.clone();
    for decl in &mut module.decls {
        let (prefix, test) = match &decl.kind {
            ast::DeclKind::Test(test) => (TEST, test),
            ast::DeclKind::Property(test) => (PROPERTY, test),
            _ => continue,
        };
        decl.kind = ast::DeclKind::Flow(ast::FlowDecl {
            doc: None,
            name: ast::Ident { name: format!("{prefix}{}", test.name.value), span: test.name.span },
            head: ast::FlowHead::Params(Vec::new()),
            signature: None,
            guards: Vec::new(),
            body: Some(test.body.clone()),
            span: decl.span,
        });
    }
    Cow::Owned(module)
}

impl Checker<'_> {
    /// Tests end in `()` and have no effects but those with handlers.
    pub(super) fn tests(&mut self, effects: &[&str]) {
        let mut tests: Vec<_> =
            self.env.own.values.iter().filter(|(name, _)| is_test(name)).map(|(_, id)| *id).collect();
        tests.sort_unstable();
        for id in tests {
            let info = self.env.flows[id].clone();
            let span = info.span.unwrap_or_default();
            let (param, result, tail) = (self.fresh(), self.fresh(), self.fresh_row());
            let shape = self.store.arrow(param, tail, result);
            let ty = self.store.instantiate(info.ty, self.level);
            if self.store.is_error(ty) || self.store.unify(ty, shape).is_err() {
                continue;
            }
            let unit = self.store.unit();
            if self.store.unify(result, unit).is_err() {
                let shown = self.store.show(result);
                self.report(
                    Diagnostic::new(codes::BAD_TEST, "a test ends in `()`", span)
                        .primary(format!("ends in a value of the type `{shown}`"))
                        .help("write `assert(..)` around what must be true"),
                );
            }
            for (effect, _) in self.store.row(tail).entries {
                if !effects.contains(&&*effect) {
                    let title = format!("nothing handles the effect `{}` of this test", short(&effect));
                    let brought = self.brought.iter().find(|b| b.effects.contains(&effect)).cloned();
                    let diagnostic = Diagnostic::new(codes::BAD_TEST, title, span)
                        .help("handle it in the test with `with`, or do without it");
                    self.report(match brought {
                        Some(b) => diagnostic.label(b.span, format!("{} brings it", b.what)),
                        None => diagnostic,
                    });
                }
            }
        }
    }

    /// `forall (x : T) { .. }`: the body may do what the test may.
    pub(super) fn forall(&mut self, params: &[ast::Param], body: &ast::Block, want: &Want, span: Span) -> Expr {
        let in_test = matches!(&self.flow_row, Some((_, AmbientOf::Flow(name, _))) if is_test(name));
        if !in_test {
            self.report(
                Diagnostic::new(codes::FORALL_OUTSIDE, "`forall` stands outside of a test", span)
                    .help("move it into `property \"..\" { .. }`"),
            );
        }
        let types: Vec<_> = params.iter().map(|_| self.fresh()).collect();
        // Not checked against `()`, which would drop a Bool that was meant to fail the property.
        let unit = self.store.unit();
        let result = self.fresh();
        let ty = self.store.function(&types, self.ambient, result);
        let body = self.lambda(params, body, Function::Block, &Want::plain(ty), span);
        if self.store.unify(result, unit).is_err() {
            let shown = self.store.show(result);
            self.report(
                Diagnostic::new(codes::BAD_TEST, "the block of a `forall` ends in `()`", span)
                    .primary(format!("ends in a value of the type `{shown}`"))
                    .help("write `assert(..)` around what must be true"),
            );
        }
        self.subsume(unit, want, span);
        Expr { kind: ExprKind::Forall(Box::new(body)), ty: unit, span }
    }

    /// Names and descriptors of what is generated for the parameters of a property's body.
    pub(super) fn generated(&mut self, body: &Expr, span: Span) -> Vec<(String, Descriptor)> {
        let ExprKind::Lambda { params, .. } = &body.kind else { return Vec::new() };
        let params: Vec<_> = params
            .iter()
            .map(|p| match &p.kind {
                PatternKind::Bind(local) => (local.name.clone(), p.ty, p.span),
                _ => ("_".to_owned(), p.ty, p.span),
            })
            .collect();
        if params.is_empty() {
            self.report(
                Diagnostic::new(codes::NO_GENERATOR, "this `forall` generates nothing", span)
                    .help("write `forall (x : T) { .. }`"),
            );
        }
        let mut generated = Vec::new();
        for (name, ty, at) in params {
            let descriptor = self.descriptor(ty);
            if !can_be_made(&descriptor) {
                let shown = self.store.show(ty);
                self.report(
                    Diagnostic::new(codes::NO_GENERATOR, format!("values of `{shown}` cannot be generated"), at).help(
                        "write its type, `forall (x : T)`; a function, a process or an opaque type cannot be made",
                    ),
                );
            }
            generated.push((name, descriptor));
        }
        generated
    }
}

fn can_be_made(descriptor: &Descriptor) -> bool {
    match descriptor {
        Descriptor::Any | Descriptor::Atom | Descriptor::Pid | Descriptor::Function => false,
        Descriptor::Int | Descriptor::Float | Descriptor::Text | Descriptor::Bool | Descriptor::Unit => true,
        Descriptor::Reference(_) => true,
        Descriptor::List(element) | Descriptor::Recursive(_, element) => can_be_made(element),
        Descriptor::Tuple(elements) => elements.iter().all(can_be_made),
        Descriptor::Map(key, value) => can_be_made(key) && can_be_made(value),
        Descriptor::Record(fields) => fields.iter().all(|(_, field)| can_be_made(field)),
        Descriptor::Variant(constructors) => constructors.iter().all(|(_, fields)| fields.iter().all(can_be_made)),
    }
}
