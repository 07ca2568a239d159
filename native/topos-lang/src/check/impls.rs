//! `impl T a { .. }` in terms of flows.
//!
//! A member `m : A -> B = e` of `impl T a` is the flow `'T.m' : A -> (this : T a) -> B = e`. Where T is a record, the fields that the
//! body mentions are bound before it, `let f = this.f`, unless a parameter has the name. `e.m(x)` and `T.m(x, e)` find the flow
//! before other flows of the module that are called `m` ([`super::env::Env::companion`]). No program can write its name.

use foldhash::{HashMap, HashSet, HashSetExt};

use super::{graph, Checker};
use crate::codes;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{self, DeclKind, ExprKind, Ident, PatternKind, StmtKind};

/// What a member calls the value that it belongs to.
pub(super) const THIS: &str = "this";

/// The flow of a member.
pub(super) fn member(of: &str, name: &str) -> String {
    format!("{of}.{name}")
}

impl Checker<'_> {
    /// The members of a type, and the flows of its module, for suggestions.
    pub(super) fn members_of(&self, type_name: &str) -> Vec<String> {
        let module = super::env::companion_module(type_name);
        let all: Vec<&str> = if *module == *self.env.module {
            self.env.own.values.keys().map(|name| &**name).collect()
        } else {
            self.env.exported(&module)
        };
        let of = crate::types::short(type_name);
        let own = |name: &str| match name.split_once('.') {
            Some((prefix, member)) => (prefix == of).then(|| member.to_owned()),
            None => (!name.contains(' ')).then(|| name.to_owned()),
        };
        all.into_iter().filter_map(own).collect()
    }
}

/// The module with flows for the members of its `impl`s, and what is wrong with them; `None` if it has no `impl`.
/// An `impl` that is refused stays as it is.
pub(super) fn expand(module: &ast::Module) -> Option<(ast::Module, Vec<Diagnostic>)> {
    if !module.decls.iter().any(|d| matches!(d.kind, DeclKind::Impl(_))) {
        return None;
    }
    let types: HashMap<&str, &ast::TypeDecl> = module
        .decls
        .iter()
        .filter_map(|d| match &d.kind {
            DeclKind::Type(ty) => Some((ty.name.name.as_str(), ty)),
            _ => None,
        })
        .collect();
    let mut diagnostics = Vec::new();
    let mut expanded = module.clone();
    expanded.decls.clear();
    for decl in &module.decls {
        let DeclKind::Impl(written) = &decl.kind else {
            expanded.decls.push(decl.clone());
            continue;
        };
        match target(written, &types) {
            Ok(ty) => {
                for flow in &written.members {
                    let doc = flow.doc.clone();
                    let kind = DeclKind::Flow(member_flow(flow, written, ty));
                    expanded.decls.push(ast::Decl { doc, private: decl.private, kind, span: flow.span });
                }
            }
            Err(diagnostic) => {
                diagnostics.extend(diagnostic);
                expanded.decls.push(decl.clone());
            }
        }
    }
    Some((expanded, diagnostics))
}

/// The type that an `impl` is for: one of this module's own.
fn target<'t>(
    written: &ast::ImplDecl,
    types: &HashMap<&str, &'t ast::TypeDecl>,
) -> Result<&'t ast::TypeDecl, Option<Diagnostic>> {
    let name = written.name.dotted();
    if name.is_empty() {
        return Err(None); // The parser reported it.
    }
    let bad = |message: String, help: &str| {
        Err(Some(Diagnostic::new(codes::BAD_IMPL, message, written.name.span).help(help)))
    };
    let Some(ty) = types.get(name.as_str()) else {
        return bad(
            format!("this module declares no type `{name}`"),
            "an `impl` stands in the module of its type; elsewhere, write flows that take it as their last parameter",
        );
    };
    if matches!(ty.definition, ast::TypeDefinition::Alias(_)) {
        return bad(
            format!("`{name}` is another name of a type, and has no members of its own"),
            "make it a type of its own: a `shape` with a constructor, or a record",
        );
    }
    if !written.params.is_empty() && written.params.len() != ty.params.len() {
        let s = if ty.params.len() == 1 { "" } else { "s" };
        return bad(
            format!(
                "the type `{name}` has {} parameter{s}, the `impl` names {}",
                ty.params.len(),
                written.params.len()
            ),
            "name all of them, or none",
        );
    }
    Ok(ty)
}

fn member_flow(flow: &ast::FlowDecl, written: &ast::ImplDecl, ty: &ast::TypeDecl) -> ast::FlowDecl {
    let at = flow.name.span;
    let this = Ident { name: THIS.to_owned(), span: at };
    let named = |name: &Ident| ast::Type { kind: ast::TypeKind::Var(name.clone()), span: at };
    let path = ast::Path { segments: vec![Ident { span: at, ..ty.name.clone() }], span: at };
    let params = if written.params.is_empty() { &ty.params } else { &written.params };
    let of = ast::Type { kind: ast::TypeKind::Named { path, args: params.iter().map(named).collect() }, span: at };
    let mut member_flow = flow.clone();
    member_flow.name.name = member(&ty.name.name, &flow.name.name);
    let mut bound: HashSet<String> = std::iter::once(THIS.to_owned()).collect();
    match &mut member_flow.head {
        ast::FlowHead::Signature => {
            if let Some(signature) = &mut member_flow.signature {
                if super::annotate::takes_unit_only(&signature.domains) {
                    signature.domains.clear();
                }
                bound.extend(signature.domains.iter().filter_map(|d| d.name.as_ref()).map(|n| n.name.clone()));
                signature.domains.push(ast::Domain { name: Some(this), ty: of });
            }
        }
        ast::FlowHead::Patterns(patterns) => {
            patterns.iter().for_each(|p| names(p, &mut bound));
            let this = ast::Pattern { kind: PatternKind::Var(this), span: at };
            patterns.push(ast::Pattern { kind: PatternKind::Annotated(Box::new(this), Box::new(of)), span: at });
        }
        ast::FlowHead::Params(params) => {
            params.iter().for_each(|p| names(&p.pattern, &mut bound));
            let pattern = ast::Pattern { kind: PatternKind::Var(this), span: at };
            params.push(ast::Param { pattern, ty: Some(of), span: at });
        }
    }
    if let (Some(body), ast::TypeDefinition::Record(fields)) = (&mut member_flow.body, &ty.definition) {
        let mut mentioned = HashSet::new();
        graph::block(body, &mut mentioned);
        let fields: Vec<ast::Stmt> = fields
            .iter()
            .filter(|f| mentioned.contains(f.name.name.as_str()) && !bound.contains(&f.name.name))
            .map(|f| field(&f.name.name, at))
            .collect();
        body.stmts.splice(0..0, fields);
    }
    member_flow
}

/// `let f = this.f`.
fn field(name: &str, at: Span) -> ast::Stmt {
    let ident = || Ident { name: name.to_owned(), span: at };
    let this = Ident { name: THIS.to_owned(), span: at };
    let record = ast::Expr { kind: ExprKind::Var { qualifier: Vec::new(), name: this }, span: at };
    let value = ast::Expr { kind: ExprKind::Field { record: Box::new(record), field: ident() }, span: at };
    let pattern = ast::Pattern { kind: PatternKind::Var(ident()), span: at };
    ast::Stmt { kind: StmtKind::Let { pattern, ty: None, value }, span: at }
}

/// The variables of a pattern.
fn names(pattern: &ast::Pattern, out: &mut HashSet<String>) {
    match &pattern.kind {
        PatternKind::Var(name) => {
            out.insert(name.name.clone());
        }
        PatternKind::As(inner, name) => {
            out.insert(name.name.clone());
            names(inner, out);
        }
        PatternKind::Annotated(inner, _) => names(inner, out),
        PatternKind::Constructor { args, .. } => args.iter().for_each(|p| names(p, out)),
        PatternKind::Tuple(parts) | PatternKind::List(parts) => parts.iter().for_each(|p| names(p, out)),
        PatternKind::Cons(head, tail) => {
            names(head, out);
            names(tail, out);
        }
        PatternKind::Record(fields) => fields.iter().for_each(|f| names(&f.pattern, out)),
        PatternKind::Wildcard | PatternKind::Literal(_) | PatternKind::Error => {}
    }
}
