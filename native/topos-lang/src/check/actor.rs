//! Actors and supervisors, in terms of effects, handlers and flows.
//!
//! `actor A(p : T) : M / row = { state ..  init() => ..  | m -> .. }` is
//!
//! ```text
//! effect 'actor A' { operation handle(message : M) }
//! handler 'actor A'(p : T) : Handler('actor A') / row = { state ..  init() => ..  handle(message) => match message { | m -> .. } }
//! flow 'actor A'(p : T) = (perform Process.spawn(fn() ->
//!     with 'actor A'(p) { perform Process.serve(fn(message) -> perform 'actor A'.handle(message)) }) : Pid M)
//! ```
//!
//! and `A(e)` calls that flow. At run time `serve` is OTP's `gen_server` loop. `supervisor S(p : T) = { children = [c, ..] }` is a
//! flow `'supervisor S'` that starts an OTP supervisor and then each child: what is written in the list runs again at each
//! restart. The names cannot be written in a program, so nothing else can have them.

use super::Checker;
use crate::codes;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{self, DeclKind, ExprKind, Ident, PatternKind, StmtKind};

pub(super) const ACTOR: &str = "actor ";
pub(super) const SUPERVISOR: &str = "supervisor ";

/// The module whose effect actors and supervisors need.
const PROCESS: [&str; 3] = ["Topos", "Process", "Process"];

/// The module with its actors and supervisors replaced; `None` if it has none.
pub(super) fn expand(module: &ast::Module) -> Option<(ast::Module, Vec<Diagnostic>)> {
    let has = module.decls.iter().any(|d| matches!(d.kind, DeclKind::Actor(_) | DeclKind::Supervisor(_)));
    if !has {
        return None;
    }
    let mut diagnostics = Vec::new();
    let mut expanded = module.clone();
    expanded.decls.clear();
    for decl in &module.decls {
        match &decl.kind {
            DeclKind::Actor(actor) => {
                for kind in actor_decls(actor, decl.span, &mut diagnostics) {
                    expanded.decls.push(ast::Decl { kind, ..decl.clone() });
                }
            }
            DeclKind::Supervisor(supervisor) => {
                let kind = supervisor_decl(supervisor, decl.span, &mut diagnostics);
                expanded.decls.push(ast::Decl { kind, ..decl.clone() });
            }
            _ => expanded.decls.push(decl.clone()),
        }
    }
    Some((expanded, diagnostics))
}

impl Checker<'_> {
    /// Actors and supervisors are made of operations of `Topos.Process`.
    /// Answers whether they are there.
    pub(super) fn needs_process(&mut self, module: &ast::Module) -> bool {
        let first = module.decls.iter().find_map(|d| match &d.kind {
            DeclKind::Actor(a) => Some(&a.name),
            DeclKind::Supervisor(s) => Some(&s.name),
            _ => None,
        });
        let Some(name) = first else { return false };
        if self.env.has_module("Topos.Process") {
            self.env.add_qualifier("Topos.Process".to_owned(), "Topos.Process".into());
            true
        } else {
            self.report(
                Diagnostic::new(codes::UNKNOWN_MODULE, "actors and supervisors need `Topos.Process`", name.span)
                    .help("add `import Topos.Process (Process)`"),
            );
            false
        }
    }
}

/// Makes syntax that all stands at one place.
struct At(Span);

impl At {
    fn ident(&self, name: &str) -> Ident {
        Ident { name: name.to_owned(), span: self.0 }
    }
    fn path(&self, names: &[&str]) -> ast::Path {
        ast::Path { segments: names.iter().map(|n| self.ident(n)).collect(), span: self.0 }
    }
    fn expr(&self, kind: ExprKind) -> ast::Expr {
        ast::Expr { kind, span: self.0 }
    }
    fn var(&self, name: &str) -> ast::Expr {
        self.expr(ExprKind::Var { qualifier: Vec::new(), name: self.ident(name) })
    }
    fn pattern(&self, name: &str) -> ast::Pattern {
        ast::Pattern { kind: PatternKind::Var(self.ident(name)), span: self.0 }
    }
    fn stmt(&self, e: ast::Expr) -> ast::Stmt {
        ast::Stmt { span: e.span, kind: StmtKind::Expr(e) }
    }
    fn block(&self, stmts: Vec<ast::Stmt>) -> ast::Block {
        ast::Block { stmts, span: self.0 }
    }
    fn of(&self, e: ast::Expr) -> ast::Block {
        self.block(vec![self.stmt(e)])
    }
    fn lambda(&self, params: &[&str], body: ast::Expr) -> ast::Expr {
        let params = params.iter().map(|p| ast::Param { pattern: self.pattern(p), ty: None, span: self.0 }).collect();
        self.expr(ExprKind::Lambda { params, body: self.of(body) })
    }
    fn perform(&self, effect: &[&str], operation: &str, args: Vec<ast::Expr>) -> ast::Expr {
        self.expr(ExprKind::Perform { effect: Some(self.path(effect)), operation: self.ident(operation), args })
    }
    fn process(&self, operation: &str, args: Vec<ast::Expr>) -> ast::Expr {
        self.perform(&PROCESS, operation, args)
    }
    fn text(&self, text: &str) -> ast::Expr {
        self.expr(ExprKind::Literal(ast::Literal::Text(text.to_owned())))
    }
    fn constructor(&self, name: &str) -> ast::Expr {
        self.expr(ExprKind::Constructor(self.path(&["Topos", "Process", name])))
    }
}

fn arguments(at: &At, params: Option<&[ast::Param]>) -> Vec<ast::Expr> {
    let names = params.unwrap_or_default().iter().filter_map(|p| match &p.pattern.kind {
        PatternKind::Var(name) => Some(at.var(&name.name)),
        _ => None,
    });
    names.collect()
}

fn actor_decls(actor: &ast::ActorDecl, span: Span, diagnostics: &mut Vec<Diagnostic>) -> Vec<DeclKind> {
    let at = At(actor.name.span);
    let name = format!("{ACTOR}{}", actor.name.name);
    let Some(message) = &actor.message else {
        diagnostics.push(
            Diagnostic::new(codes::UNTYPED_PARAMETER, "an actor says the type of its messages", actor.name.span)
                .help(format!("write `actor {}(..) : Message = {{ .. }}`", actor.name.name)),
        );
        return Vec::new();
    };
    let operation = ast::Operation {
        doc: None,
        name: at.ident("handle"),
        type_params: Vec::new(),
        params: Some(vec![ast::Param {
            pattern: at.pattern("message"),
            ty: Some(message.clone()),
            span: message.span,
        }]),
        signature: None,
        span,
    };
    let effect =
        ast::EffectDecl { name: at.ident(&name), params: actor.type_params.clone(), operations: vec![operation] };
    let vars = actor.type_params.iter().map(|p| ast::Type { kind: ast::TypeKind::Var(p.name.clone()), span: p.span });
    let arms = ExprKind::Match { scrutinees: vec![at.var("message")], arms: actor.arms.clone() };
    let mut clauses = actor.clauses.clone();
    clauses.push(ast::HandlerClause {
        head: ast::ClauseHead::Operation { name: at.ident("handle"), params: Some(vec![at.pattern("message")]) },
        body: at.of(at.expr(arms)),
        span: actor.name.span,
    });
    let handler = ast::HandlerDecl {
        name: at.ident(&name),
        type_params: actor.type_params.clone(),
        params: actor.params.clone(),
        effect: ast::EffectRef { path: at.path(&[&name]), args: vars.collect(), span: actor.name.span },
        row: actor.row.clone(),
        states: actor.states.clone(),
        clauses,
    };
    let handle = at.lambda(&["message"], at.perform(&[&name], "handle", vec![at.var("message")]));
    let args = arguments(&at, actor.params.as_deref());
    let head = at.expr(ExprKind::Apply { function: Box::new(at.var(&name)), args });
    let with = ExprKind::With { handlers: vec![head], body: at.of(at.process("serve", vec![handle])) };
    let spawn = at.process("spawn", vec![at.lambda(&[], at.expr(with))]);
    let pid = ast::TypeKind::Named { path: at.path(&["Pid"]), args: vec![message.clone()] };
    let pid = ast::Type { kind: pid, span: actor.name.span };
    let body = at.expr(ExprKind::Annotated { expr: Box::new(spawn), ty: Box::new(pid) });
    vec![DeclKind::Effect(effect), DeclKind::Handler(handler), flow(&at, &name, actor.params.as_deref(), at.of(body))]
}

fn flow(at: &At, name: &str, params: Option<&[ast::Param]>, body: ast::Block) -> DeclKind {
    let head = match params {
        Some(params) if !params.is_empty() => ast::FlowHead::Params(params.to_vec()),
        _ => ast::FlowHead::Patterns(Vec::new()),
    };
    DeclKind::Flow(ast::FlowDecl {
        doc: None,
        name: at.ident(name),
        head,
        signature: None,
        guards: Vec::new(),
        body: Some(body),
        span: at.0,
    })
}

/// Whether a strategy is that of workers that are all started by one function.
fn is_pool(strategy: &ast::Expr) -> bool {
    matches!(&strategy.kind, ExprKind::Constructor(path) if path.last().is_some_and(|n| n.name == "SimpleOneForOne"))
}

/// `supervisor S = { strategy = SimpleOneForOne, restart = .., child = Worker }`: a pool.
fn pool_decl(
    supervisor: &ast::SupervisorDecl,
    (at, name): (&At, &str),
    fields: &[ast::FieldInit],
    strategy: Span,
    diagnostics: &mut Vec<Diagnostic>,
) -> DeclKind {
    let mut bad = |at: Span, message: &str| {
        diagnostics.push(Diagnostic::new(codes::BAD_SUPERVISOR, message, at).help(
            "write `{ strategy = Process.SimpleOneForOne, restart = Process.Transient, child = Worker }`, where Worker has one \
             parameter",
        ));
    };
    let mut restart = at.constructor("Permanent");
    let mut intensity = at.expr(ExprKind::Literal(ast::Literal::Int("3".to_owned())));
    let mut period = at.expr(ExprKind::Literal(ast::Literal::Duration(5_000)));
    let mut child = None;
    for field in fields {
        match field.name.name.as_str() {
            "strategy" => {}
            "restart" => restart = field.value.clone(),
            "intensity" => intensity = field.value.clone(),
            "period" => period = field.value.clone(),
            "child" => child = Some(field.value.clone()),
            "children" => {
                bad(field.name.span, "a supervisor of this strategy has one `child`, which starts all workers")
            }
            other => bad(field.name.span, &format!("a supervisor of this strategy has no `{other}`")),
        }
    }
    let Some(child) = child else {
        if !fields.iter().any(|f| f.name.name == "children") {
            bad(strategy, "a supervisor of this strategy says how its workers are started");
        }
        return DeclKind::Error;
    };
    let start = at.process("start_pool", vec![restart, intensity, period, child]);
    flow(at, name, supervisor.params.as_deref(), at.of(start))
}

fn supervisor_decl(supervisor: &ast::SupervisorDecl, span: Span, diagnostics: &mut Vec<Diagnostic>) -> DeclKind {
    let at = At(supervisor.name.span);
    let name = format!("{SUPERVISOR}{}", supervisor.name.name);
    let mut bad = |at: Span, message: &str| {
        diagnostics.push(Diagnostic::new(codes::BAD_SUPERVISOR, message, at).help(
            "write `{ strategy = Process.OneForOne, intensity = 3, period = 5s, children = [Worker(1), Worker(2)] }`",
        ));
    };
    let ExprKind::Record(fields) = &supervisor.value.kind else {
        bad(supervisor.value.span, "a supervisor is a record of its strategy and its children");
        return DeclKind::Error;
    };
    let mut strategy = at.constructor("OneForOne");
    let mut intensity = at.expr(ExprKind::Literal(ast::Literal::Int("3".to_owned())));
    let mut period = at.expr(ExprKind::Literal(ast::Literal::Duration(5_000)));
    let mut children: &[ast::Expr] = &[];
    if let Some(pool) = fields.iter().find(|f| f.name.name == "strategy").filter(|f| is_pool(&f.value)) {
        return pool_decl(supervisor, (&at, &name), fields, pool.value.span, diagnostics);
    }
    for field in fields {
        match (field.name.name.as_str(), &field.value.kind) {
            ("child", _) => {
                bad(field.value.span, "only a supervisor of the strategy `SimpleOneForOne` has one `child`")
            }
            ("strategy", _) => strategy = field.value.clone(),
            ("intensity", _) => intensity = field.value.clone(),
            ("period", _) => period = field.value.clone(),
            ("children", ExprKind::List(items)) => children = items,
            ("children", _) => bad(field.value.span, "the children of a supervisor are written as a list"),
            _ => bad(field.name.span, &format!("a supervisor has no `{}`", field.name.name)),
        }
    }
    let started = at.process("start_supervisor", vec![strategy, intensity, period]);
    let mut stmts =
        vec![ast::Stmt { kind: StmtKind::Let { pattern: at.pattern("supervisor"), ty: None, value: started }, span }];
    for (index, child) in children.iter().enumerate() {
        let mut id = at.text(&(index + 1).to_string());
        let mut restart = at.constructor("Permanent");
        let mut start = child;
        if let ExprKind::Record(fields) = &child.kind {
            for field in fields {
                match field.name.name.as_str() {
                    "id" => id = field.value.clone(),
                    "restart" => restart = field.value.clone(),
                    "start" => start = &field.value,
                    _ => bad(field.name.span, "a child has an `id`, a `restart` and a `start`"),
                }
            }
        }
        let place = At(start.span);
        let start = place.lambda(&[], start.clone());
        stmts.push(place.stmt(place.process("start_child", vec![at.var("supervisor"), id, restart, start])));
    }
    stmts.push(at.stmt(at.var("supervisor")));
    flow(&at, &name, supervisor.params.as_deref(), at.block(stmts))
}
