//! `deriving`: instances made from the shape of a type, as syntax that is checked like any other.

use crate::diagnostic::Span;
use crate::syntax::ast::{self, BinaryOp, ExprKind, FlowHead, PatternKind, StmtKind, TypeKind};

/// The instances that the types of a module derive. An unknown trait gives one without members, which is reported.
pub(in crate::check) fn derived(module: &ast::Module) -> Vec<ast::InstanceDecl> {
    let mut out = Vec::new();
    for decl in &module.decls {
        let ast::DeclKind::Type(ty) = &decl.kind else { continue };
        for of in &ty.deriving {
            let make = Make { span: of.span };
            let members = match of.last().map(|n| n.name.as_str()) {
                Some("Eq" | "Comparable") => make.equal(ty),
                Some("Ord" | "Orderable") => make.compare(ty),
                Some("Show") => make.whole("show", "show_term"),
                Some("Serializable") => make.whole("to_bytes", "term_to_bytes"),
                _ => Vec::new(),
            };
            out.push(make.instance(of, ty, members));
        }
    }
    out
}

struct Make {
    span: Span,
}

impl Make {
    fn ident(&self, name: &str) -> ast::Ident {
        ast::Ident { name: name.to_owned(), span: self.span }
    }

    fn path(&self, name: &str) -> ast::Path {
        ast::Path { segments: vec![self.ident(name)], span: self.span }
    }

    fn prelude_path(&self, name: &str) -> ast::Path {
        ast::Path { segments: vec![self.ident("Topos"), self.ident("Prelude"), self.ident(name)], span: self.span }
    }

    fn expr(&self, kind: ExprKind) -> ast::Expr {
        ast::Expr { kind, span: self.span }
    }

    fn pattern(&self, kind: PatternKind) -> ast::Pattern {
        ast::Pattern { kind, span: self.span }
    }

    fn var(&self, name: &str) -> ast::Expr {
        self.expr(ExprKind::Var { qualifier: Vec::new(), name: self.ident(name) })
    }

    fn bool(&self, value: bool) -> ast::Expr {
        self.expr(ExprKind::Literal(ast::Literal::Bool(value)))
    }

    fn call(&self, function: &str, args: Vec<ast::Expr>) -> ast::Expr {
        // The prelude's, whatever the module calls by that name.
        let qualifier = vec![self.ident("Topos"), self.ident("Prelude")];
        let function = self.expr(ExprKind::Var { qualifier, name: self.ident(function) });
        self.expr(ExprKind::Apply { function: Box::new(function), args })
    }

    fn binary(&self, op: BinaryOp, left: ast::Expr, right: ast::Expr) -> ast::Expr {
        self.expr(ExprKind::Binary { op, op_span: self.span, left: Box::new(left), right: Box::new(right) })
    }

    fn block(&self, value: ast::Expr) -> ast::Block {
        ast::Block { stmts: vec![ast::Stmt { kind: StmtKind::Expr(value), span: self.span }], span: self.span }
    }

    fn instance(&self, of: &ast::Path, ty: &ast::TypeDecl, members: Vec<ast::FlowDecl>) -> ast::InstanceDecl {
        let vars: Vec<ast::Type> = ty
            .params
            .iter()
            .map(|p| ast::Type {
                kind: TypeKind::Var(ast::Ident { name: p.name.clone(), span: self.span }),
                span: self.span,
            })
            .collect();
        let context =
            vars.iter().map(|v| ast::Constraint { path: of.clone(), args: vec![v.clone()], span: self.span }).collect();
        let name =
            ast::Path { segments: vec![ast::Ident { name: ty.name.name.clone(), span: self.span }], span: self.span };
        let args = vec![ast::Type { kind: TypeKind::Named { path: name, args: vars }, span: self.span }];
        ast::InstanceDecl { context, trait_path: of.clone(), args, members }
    }

    fn clause(&self, name: &str, params: Vec<ast::Pattern>, body: ast::Expr) -> ast::FlowDecl {
        ast::FlowDecl {
            doc: None,
            name: self.ident(name),
            head: FlowHead::Patterns(params),
            signature: None,
            guards: Vec::new(),
            body: Some(self.block(body)),
            span: self.span,
        }
    }

    /// The patterns of a constructor, or of all fields of a record, with variables `prefix1`, `prefix2`, ...
    fn constructor(&self, variant: &ast::Variant, prefix: &str) -> ast::Pattern {
        let args = (0..variant.fields.len())
            .map(|i| self.pattern(PatternKind::Var(self.ident(&format!("{prefix}{i}")))))
            .collect();
        self.pattern(PatternKind::Constructor { path: self.path(&variant.name.name), args })
    }

    fn parts(&self, count: usize) -> Vec<(ast::Expr, ast::Expr)> {
        (0..count).map(|i| (self.var(&format!("x{i}")), self.var(&format!("y{i}")))).collect()
    }

    fn fields(&self, fields: &[ast::RecordField]) -> Vec<(ast::Expr, ast::Expr)> {
        let field = |of: &str, name: &str| {
            self.expr(ExprKind::Field { record: Box::new(self.var(of)), field: self.ident(name) })
        };
        fields.iter().map(|f| (field("x", &f.name.name), field("y", &f.name.name))).collect()
    }

    fn both(&self) -> Vec<ast::Pattern> {
        ["x", "y"].iter().map(|n| self.pattern(PatternKind::Var(self.ident(n)))).collect()
    }

    fn equal(&self, ty: &ast::TypeDecl) -> Vec<ast::FlowDecl> {
        let all = |parts: Vec<(ast::Expr, ast::Expr)>| {
            parts
                .into_iter()
                .map(|(x, y)| self.binary(BinaryOp::Equal, x, y))
                .reduce(|left, right| self.binary(BinaryOp::And, left, right))
                .unwrap_or_else(|| self.bool(true))
        };
        match &ty.definition {
            ast::TypeDefinition::Variants(variants) => {
                let mut clauses: Vec<ast::FlowDecl> = variants
                    .iter()
                    .map(|v| {
                        let params = vec![self.constructor(v, "x"), self.constructor(v, "y")];
                        self.clause("equal", params, all(self.parts(v.fields.len())))
                    })
                    .collect();
                if variants.len() > 1 {
                    let wild = || self.pattern(PatternKind::Wildcard);
                    clauses.push(self.clause("equal", vec![wild(), wild()], self.bool(false)));
                }
                clauses
            }
            ast::TypeDefinition::Record(fields) => vec![self.clause("equal", self.both(), all(self.fields(fields)))],
            _ => Vec::new(),
        }
    }

    /// By the place of the constructor in the declaration, then by the fields from left to right.
    fn compare(&self, ty: &ast::TypeDecl) -> Vec<ast::FlowDecl> {
        let lexical = |parts: Vec<(ast::Expr, ast::Expr)>| {
            parts
                .into_iter()
                .map(|(x, y)| self.call("compare", vec![x, y]))
                .rev()
                .reduce(|rest, first| {
                    let thunk = self.expr(ExprKind::Thunk(self.block(rest)));
                    self.call("compare_then", vec![first, thunk])
                })
                .unwrap_or_else(|| self.expr(ExprKind::Constructor(self.prelude_path("Same"))))
        };
        match &ty.definition {
            ast::TypeDefinition::Variants(variants) => {
                let mut clauses: Vec<ast::FlowDecl> = variants
                    .iter()
                    .map(|v| {
                        let params = vec![self.constructor(v, "x"), self.constructor(v, "y")];
                        self.clause("compare", params, lexical(self.parts(v.fields.len())))
                    })
                    .collect();
                if variants.len() > 1 {
                    let body = self.call("compare", vec![self.rank(variants, "x"), self.rank(variants, "y")]);
                    clauses.push(self.clause("compare", self.both(), body));
                }
                clauses
            }
            ast::TypeDefinition::Record(fields) => {
                vec![self.clause("compare", self.both(), lexical(self.fields(fields)))]
            }
            _ => Vec::new(),
        }
    }

    /// The place of a constructor, as a number.
    fn rank(&self, variants: &[ast::Variant], of: &str) -> ast::Expr {
        let arms = variants
            .iter()
            .enumerate()
            .map(|(rank, v)| {
                let args = v.fields.iter().map(|_| self.pattern(PatternKind::Wildcard)).collect();
                let int = ast::TypeKind::Named { path: self.path("Int"), args: Vec::new() };
                let number = self.expr(ExprKind::Literal(ast::Literal::Int(rank.to_string())));
                let number = self.expr(ExprKind::Annotated {
                    expr: Box::new(number),
                    ty: Box::new(ast::Type { kind: int, span: self.span }),
                });
                ast::Arm {
                    patterns: vec![self.pattern(PatternKind::Constructor { path: self.path(&v.name.name), args })],
                    guards: Vec::new(),
                    body: self.block(number),
                    span: self.span,
                }
            })
            .collect();
        self.expr(ExprKind::Match { scrutinees: vec![self.var(of)], arms })
    }

    /// What a flow of the prelude makes of the whole value.
    fn whole(&self, member: &str, flow: &str) -> Vec<ast::FlowDecl> {
        let x = self.pattern(PatternKind::Var(self.ident("x")));
        vec![self.clause(member, vec![x], self.call(flow, vec![self.var("x")]))]
    }
}
