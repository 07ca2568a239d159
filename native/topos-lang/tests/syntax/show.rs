//! The tree as one line of text with everything in parentheses, so that tests can say what a source means.

use topos_lang::syntax::ast::*;

fn join<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    items.iter().map(show).collect::<Vec<_>>().join(" ")
}

fn names(items: &[Ident]) -> String {
    join(items, |name| name.name.clone())
}

pub(crate) fn block(block: &Block) -> String {
    format!("{{{}}}", block.stmts.iter().map(stmt).collect::<Vec<_>>().join("; "))
}

pub(crate) fn stmt(stmt: &Stmt) -> String {
    match &stmt.kind {
        StmtKind::Let { pattern, ty, value } => {
            format!("let {}{} = {}", pat(pattern), annotation(ty.as_ref()), expr(value))
        }
        StmtKind::Bind { pattern, value } => format!("{} <- {}", pat(pattern), expr(value)),
        StmtKind::Define { name, value } => format!("{} = {}", name.name, expr(value)),
        StmtKind::Assign { place, value } => format!("{} := {}", expr(place), expr(value)),
        StmtKind::For { pattern, iterable, body } => {
            format!("for {} in {} {}", pat(pattern), expr(iterable), block(body))
        }
        StmtKind::Return(value) => format!("return {}", value.as_ref().map_or(String::new(), expr)),
        StmtKind::Expr(value) => expr(value),
    }
}

fn annotation(annotated: Option<&Type>) -> String {
    annotated.map_or(String::new(), |annotated| format!(" : {}", ty(annotated)))
}

fn fields(fields: &[FieldInit]) -> String {
    join(fields, |field| {
        let mark = if field.pun { "~" } else { "=" };
        format!("{}{mark}{}", field.name.name, expr(&field.value))
    })
}

pub(crate) fn expr(e: &Expr) -> String {
    match &e.kind {
        ExprKind::Literal(value) => literal(value),
        ExprKind::Format(parts) => {
            let parts = join(parts, |part| match part {
                FormatPart::Text(text) => format!("{text:?}"),
                FormatPart::Expr(e) => expr(e),
            });
            format!("(format {parts})")
        }
        ExprKind::Var { qualifier, name } => {
            qualifier.iter().chain([name]).map(|name| name.name.as_str()).collect::<Vec<_>>().join(".")
        }
        ExprKind::Constructor(path) => path.dotted(),
        ExprKind::Tuple(parts) => format!("(tuple {})", join(parts, expr)),
        ExprKind::List(parts) => format!("[{}]", join(parts, expr)),
        ExprKind::Record(inits) => format!("(record {})", fields(inits)),
        ExprKind::Update { record, fields: inits } => format!("(update {} {})", expr(record), fields(inits)),
        ExprKind::Apply { function, args } => format!("({}({}))", expr(function), join(args, expr)),
        ExprKind::Thunk(body) => format!("(thunk {})", block(body)),
        ExprKind::MatchLambda(list) => format!("(cases {})", arms(list)),
        ExprKind::Field { record, field } => format!("{}.{}", expr(record), field.name),
        ExprKind::Index { collection, index } => format!("{}[{}]", expr(collection), expr(index)),
        ExprKind::Binary { op, left, right, .. } => format!("({} {} {})", expr(left), op.symbol(), expr(right)),
        ExprKind::Negate(inner) => format!("(-{})", expr(inner)),
        ExprKind::Match { scrutinees, arms: list } => format!("(match {} {})", join(scrutinees, expr), arms(list)),
        ExprKind::If { condition, then, otherwise } => {
            let otherwise = otherwise.as_ref().map_or(String::new(), |body| format!(" else {}", block(body)));
            format!("(if {} {}{otherwise})", expr(condition), block(then))
        }
        ExprKind::Lambda { params: list, body } => format!("(fn({}) {})", params(list), block(body)),
        ExprKind::Perform { effect, operation, args } => {
            let effect = effect.as_ref().map_or(String::new(), |path| format!("{}.", path.dotted()));
            format!("(perform {effect}{}({}))", operation.name, join(args, expr))
        }
        ExprKind::With { handlers, body } => format!("(with {} {})", join(handlers, expr), block(body)),
        ExprKind::Try { body, clauses } => match clauses {
            TryClauses::Arms(list) => format!("(try {} {})", expr(body), arms(list)),
            TryClauses::Handler(list) => format!("(try {} {})", expr(body), join(list, clause)),
        },
        ExprKind::Receive { arms: list, after } => {
            let after = after.as_ref().map_or(String::new(), |a| format!(" (after {} {})", expr(&a.0), block(&a.1)));
            format!("(receive {}{after})", arms(list))
        }
        ExprKind::Ask { process, make, timeout, .. } => {
            let timeout = timeout.as_ref().map_or(String::new(), |t| format!(" {}", expr(t)));
            format!("(? {} {}{timeout})", expr(process), expr(make))
        }
        ExprKind::Do(body) => format!("(do {})", block(body)),
        ExprKind::Loop(body) => format!("(loop {})", block(body)),
        ExprKind::Atomic(body) => format!("(atomic {})", block(body)),
        ExprKind::Forall { params: list, body } => format!("(forall {} {})", params(list), block(body)),
        ExprKind::LetIn { pattern, ty, value, body } => {
            format!("(let {}{} = {} in {})", pat(pattern), annotation(ty.as_deref()), expr(value), expr(body))
        }
        ExprKind::Annotated { expr: inner, ty: annotated } => format!("({} : {})", expr(inner), ty(annotated)),
        ExprKind::Error => "ERROR".to_owned(),
    }
}

fn arms(list: &[Arm]) -> String {
    join(list, |arm| {
        let guards = if arm.guards.is_empty() { String::new() } else { format!(" when {}", join(&arm.guards, expr)) };
        let patterns: Vec<String> = arm.patterns.iter().map(pat).collect();
        format!("| {}{guards} -> {}", patterns.join(" | "), block(&arm.body))
    })
}

fn literal(literal: &Literal) -> String {
    match literal {
        Literal::Int(digits) => digits.clone(),
        Literal::Float(value) => format!("{value:?}"),
        Literal::Text(text) => format!("{text:?}"),
        Literal::Duration(ms) => format!("{ms}ms"),
        Literal::Bool(value) => value.to_string(),
        Literal::Unit => "()".to_owned(),
    }
}

pub(crate) fn pat(p: &Pattern) -> String {
    match &p.kind {
        PatternKind::Wildcard => "_".to_owned(),
        PatternKind::Var(name) => name.name.clone(),
        PatternKind::As(inner, name) => format!("({} as {})", pat(inner), name.name),
        PatternKind::Literal(value) => literal(value),
        PatternKind::Tuple(parts) => format!("(tuple {})", join(parts, pat)),
        PatternKind::List(parts) => format!("[{}]", join(parts, pat)),
        PatternKind::Cons(head, tail) => format!("({} :: {})", pat(head), pat(tail)),
        PatternKind::Record(list) => {
            format!("(record {})", join(list, |field| format!("{}={}", field.name.name, pat(&field.pattern))))
        }
        PatternKind::Constructor { path, args } if args.is_empty() => path.dotted(),
        PatternKind::Constructor { path, args } => format!("{}({})", path.dotted(), join(args, pat)),
        PatternKind::Annotated(inner, annotated) => format!("({} : {})", pat(inner), ty(annotated)),
        PatternKind::Error => "ERROR".to_owned(),
    }
}

fn params(list: &[Param]) -> String {
    join(list, |param| format!("{}{}", pat(&param.pattern), annotation(param.ty.as_ref())))
}

fn arrows(domains: &[Domain], result: &Type, row: Option<&Row>) -> String {
    let domains: String = domains
        .iter()
        .map(|domain| match &domain.name {
            Some(name) => format!("({} : {}) -> ", name.name, ty(&domain.ty)),
            None => format!("{} -> ", ty(&domain.ty)),
        })
        .collect();
    format!("{domains}{}{}", ty(result), row.map_or(String::new(), |row| format!(" / {}", show_row(row))))
}

fn show_row(row: &Row) -> String {
    let tail = row.tail.as_ref().map_or(String::new(), |tail| format!("| {}", tail.name));
    format!("{{{}{tail}}}", join(&row.effects, effect))
}

fn effect(effect: &EffectRef) -> String {
    applied(&effect.path.dotted(), &effect.args)
}

fn applied(name: &str, args: &[Type]) -> String {
    if args.is_empty() {
        name.to_owned()
    } else {
        format!("{name}({})", join(args, ty))
    }
}

pub(crate) fn ty(t: &Type) -> String {
    match &t.kind {
        TypeKind::Var(name) => name.name.clone(),
        TypeKind::Named { path, args } => applied(&path.dotted(), args),
        TypeKind::Apply { head, args } => applied(&head.name, args),
        TypeKind::Projection { protocol, role } => format!("{}.{}", protocol.dotted(), role.name),
        TypeKind::Unit => "()".to_owned(),
        TypeKind::Tuple(parts) => format!("(tuple {})", join(parts, ty)),
        TypeKind::List(inner) => format!("[{}]", ty(inner)),
        TypeKind::Record { fields, tail } => {
            let tail = tail.as_ref().map_or(String::new(), |tail| format!(" | {}", tail.name));
            format!("(record {}{tail})", join(fields, |field| format!("{}:{}", field.name.name, ty(&field.ty))))
        }
        TypeKind::Function { domains, result, row } => format!("({})", arrows(domains, result, row.as_ref())),
        TypeKind::Error => "ERROR".to_owned(),
    }
}

fn constraints(list: &[Constraint]) -> String {
    join(list, |constraint| applied(&constraint.path.dotted(), &constraint.args))
}

pub(crate) fn signature(s: &Signature) -> String {
    let forall = if s.forall.is_empty() { String::new() } else { format!("forall {}. ", names(&s.forall)) };
    let context = if s.context.is_empty() { String::new() } else { format!("{} => ", constraints(&s.context)) };
    format!("{forall}{context}{}", arrows(&s.domains, &s.result, s.row.as_ref()))
}

fn flow(flow: &FlowDecl) -> String {
    let head = match &flow.head {
        FlowHead::Signature => String::new(),
        FlowHead::Patterns(patterns) => format!(" {}", join(patterns, pat)),
        FlowHead::Params(list) => format!("({})", params(list)),
    };
    let ty = flow.signature.as_ref().map_or(String::new(), |s| format!(" : {}", signature(s)));
    let guards = if flow.guards.is_empty() { String::new() } else { format!(" when {}", join(&flow.guards, expr)) };
    let body = flow.body.as_ref().map_or(String::new(), |body| format!(" = {}", block(body)));
    let doc = flow.doc.as_ref().map_or(String::new(), |doc| format!("{:?} ", doc.text));
    format!("{doc}{}{head}{ty}{guards}{body}", flow.name.name)
}

fn clause(clause: &HandlerClause) -> String {
    let head = match &clause.head {
        ClauseHead::Operation { name, params: None } => name.name.clone(),
        ClauseHead::Operation { name, params: Some(list) } => format!("{}({})", name.name, join(list, pat)),
        ClauseHead::Return(pattern) => format!("return {}", pat(pattern)),
    };
    format!("{head} => {}", block(&clause.body))
}

fn type_params(list: &[TypeParam]) -> String {
    join(list, |param| {
        let bounds: String = param.bounds.iter().map(|bound| format!(":{}", bound.dotted())).collect();
        format!("{}{bounds}", param.name.name)
    })
}

fn optional_params(list: Option<&[Param]>) -> String {
    list.map_or(String::new(), |list| format!("({})", params(list)))
}

fn states(list: &[StateVar]) -> String {
    join(list, |state| format!("state {}{} = {}", state.name.name, annotation(state.ty.as_ref()), expr(&state.initial)))
}

fn definition(definition: &TypeDefinition) -> String {
    match definition {
        TypeDefinition::Variants(variants) => join(variants, |variant| {
            let fields = join(&variant.fields, |field| {
                let name = field.name.as_ref().map_or(String::new(), |name| format!("{}:", name.name));
                format!("{name}{}", ty(&field.ty))
            });
            format!("| {}({fields})", variant.name.name)
        }),
        TypeDefinition::Record(fields) => {
            let fields = join(fields, |field| {
                let default = field.default.as_ref().map_or(String::new(), |value| format!("={}", expr(value)));
                format!("{}:{}{default}", field.name.name, ty(&field.ty))
            });
            format!("(record {fields})")
        }
        TypeDefinition::Alias(alias) => format!("alias {}", ty(alias)),
        TypeDefinition::Opaque => "opaque".to_owned(),
        TypeDefinition::Error => "ERROR".to_owned(),
    }
}

fn kind(k: &Kind) -> String {
    match k {
        Kind::Named(name) => name.name.clone(),
        Kind::Arrow(left, right) => format!("({} -> {})", kind(left), kind(right)),
        Kind::Error => "ERROR".to_owned(),
    }
}

pub(crate) fn decl(decl: &Decl) -> String {
    let doc = decl.doc.as_ref().map_or(String::new(), |doc| format!("{:?} ", doc.text));
    let private = if decl.private.is_some() { "private " } else { "" };
    format!("{doc}{private}{}", decl_kind(&decl.kind))
}

fn decl_kind(kind_of: &DeclKind) -> String {
    match kind_of {
        DeclKind::Flow(f) => format!("flow {}", flow(f)),
        DeclKind::Type(t) => {
            let word = if t.shape { "shape" } else { "type" };
            let context = if t.context.is_empty() { String::new() } else { format!(" : {}", constraints(&t.context)) };
            let deriving: String = t.deriving.iter().map(|path| format!(" +{}", path.dotted())).collect();
            format!("{word} {}({}){context} {}{deriving}", t.name.name, names(&t.params), definition(&t.definition))
        }
        DeclKind::Effect(e) => {
            let operations = join(&e.operations, |op| {
                let ty = op.signature.as_ref().map_or(String::new(), |s| format!(" : {}", signature(s)));
                format!(
                    "{}[{}]{}{ty};",
                    op.name.name,
                    type_params(&op.type_params),
                    optional_params(op.params.as_deref())
                )
            });
            format!("effect {}[{}] {operations}", e.name.name, type_params(&e.params))
        }
        DeclKind::Handler(h) => format!(
            "handler {}[{}]{} : {}{} {} {}",
            h.name.name,
            type_params(&h.type_params),
            optional_params(h.params.as_deref()),
            effect(&h.effect),
            h.row.as_ref().map_or(String::new(), |row| format!(" / {}", show_row(row))),
            states(&h.states),
            join(&h.clauses, clause)
        ),
        DeclKind::Trait(t) => {
            let params = join(&t.params, |param| match &param.kind {
                Some(k) => format!("({} : {})", param.name.name, kind(k)),
                None => param.name.name.clone(),
            });
            format!("trait {} {params} < {} {}", t.name.name, constraints(&t.extends), members(&t.members))
        }
        DeclKind::Instance(i) => format!(
            "instance {} => {} {}",
            constraints(&i.context),
            applied(&i.trait_path.dotted(), &i.args),
            members(&i.members)
        ),
        DeclKind::Config(c) => format!("config {}{} = {}", c.name.name, annotation(c.ty.as_ref()), expr(&c.value)),
        DeclKind::Impl(i) => format!("impl {}({}) {}", i.name.dotted(), names(&i.params), members(&i.members)),
        DeclKind::Session(s) => format!("session {}({}) = {}", s.name.name, names(&s.params), session(&s.body)),
        DeclKind::Protocol(p) => {
            let roles = join(&p.roles, |role| format!("{}@{}", role.role.name, role.location.name));
            format!("protocol {}({roles}) = {}", p.name.name, global(&p.body))
        }
        DeclKind::Actor(a) => format!(
            "actor {}[{}]{}{}{} {} {} {}",
            a.name.name,
            type_params(&a.type_params),
            optional_params(a.params.as_deref()),
            annotation(a.message.as_ref()),
            a.row.as_ref().map_or(String::new(), |row| format!(" / {}", show_row(row))),
            states(&a.states),
            join(&a.clauses, clause),
            arms(&a.arms)
        ),
        DeclKind::Supervisor(s) => format!(
            "supervisor {}{}{}{} = {}",
            s.name.name,
            optional_params(s.params.as_deref()),
            annotation(s.ty.as_ref()),
            s.row.as_ref().map_or(String::new(), |row| format!(" / {}", show_row(row))),
            expr(&s.value)
        ),
        DeclKind::ExternFlow(e) => {
            format!("extern flow {} : {} = {}", e.name.name, signature(&e.signature), e.target.value)
        }
        DeclKind::ExternHandler(e) => format!(
            "extern handler {}{} : {} = {}",
            e.name.name,
            optional_params(e.params.as_deref()),
            effect(&e.effect),
            e.target.value
        ),
        DeclKind::Test(t) => format!("test {:?} {}", t.name.value, block(&t.body)),
        DeclKind::Property(t) => format!("property {:?} {}", t.name.value, block(&t.body)),
        DeclKind::Error => "ERROR".to_owned(),
    }
}

fn members(list: &[FlowDecl]) -> String {
    list.iter().map(|member| format!("{};", flow(member))).collect::<Vec<_>>().join(" ")
}

fn session(s: &SessionType) -> String {
    let at = |role: &Option<Ident>| role.as_ref().map_or(String::new(), |role| format!("@{}", role.name));
    let branches =
        |list: &[SessionBranch]| join(list, |branch| format!("{}->{}", branch.label.name, session(&branch.body)));
    match &s.kind {
        SessionKind::Send { message, role, then } => format!("!{}{} {}", ty(message), at(role), session(then)),
        SessionKind::Receive { message, role, then } => format!("?{}{} {}", ty(message), at(role), session(then)),
        SessionKind::Select { role, branches: list } => format!("select{}{{{}}}", at(role), branches(list)),
        SessionKind::Offer { role, branches: list } => format!("offer{}{{{}}}", at(role), branches(list)),
        SessionKind::Rec { variable, body } => format!("rec {}. {}", variable.name, session(body)),
        SessionKind::Named { path, args } => applied(&path.dotted(), args),
        SessionKind::Projection { protocol, role } => format!("{}.{}", protocol.dotted(), role.name),
        SessionKind::Dual(inner) => format!("dual {}", session(inner)),
        SessionKind::End => "end".to_owned(),
        SessionKind::Error => "ERROR".to_owned(),
    }
}

fn global(g: &GlobalType) -> String {
    g.steps
        .iter()
        .map(|step| match &step.kind {
            GlobalKind::Message { from, to, label, payload, channel } => {
                let via = channel.as_ref().map_or(String::new(), |channel| format!(" via {}", channel.name));
                format!("{}->{}:{}{via}", from.name, to.name, applied(&label.name, payload))
            }
            GlobalKind::Choice { at, branches } => {
                let branches = join(branches, |branch| format!("| {} -> {}", branch.label.name, global(&branch.body)));
                format!("choice {} {{{branches}}}", at.name)
            }
            GlobalKind::Rec { variable, body } => format!("rec {}. {}", variable.name, global(body)),
            GlobalKind::Var(name) => name.name.clone(),
            GlobalKind::Call { protocol, roles } => format!("{}({})", protocol.dotted(), names(roles)),
            GlobalKind::End => "end".to_owned(),
            GlobalKind::Error => "ERROR".to_owned(),
        })
        .collect::<Vec<_>>()
        .join("; ")
}
