//! The core that programs become, in a short notation: `call`, `apply`, `!` after a flow that takes evidence.

use super::accepted;
use crate::core::{Arm, Descriptor, Expr, ExprKind, FlowBody, FlowRef, FormatPart, Literal, Local, Pattern};

fn flow(source: &str, name: &str) -> String {
    let (module, _) = accepted(source);
    let flow = module.flows.iter().find(|f| f.name == name).unwrap();
    let params: Vec<String> = flow.params.iter().map(local).collect();
    let evidence = if flow.evidence { "!" } else { "" };
    let body = match &flow.body {
        FlowBody::Expr(e) => expr(e),
        FlowBody::Extern { module, function, returns, .. } => format!("{module}:{function} returns {returns:?}"),
        FlowBody::Dictionary { supers, members } => format!("dictionary {{{}; {}}}", fields(supers), fields(members)),
    };
    format!("{name}{evidence}({}) = {body}", params.join(", "))
}

fn local(l: &Local) -> String {
    l.name.clone()
}

fn flow_ref(f: &FlowRef) -> String {
    let module = f.module.as_ref().map_or(String::new(), |m| format!("{m}:"));
    format!("{module}{}/{}{}", f.name, f.arity, if f.evidence { "!" } else { "" })
}

fn all(exprs: &[Expr]) -> String {
    exprs.iter().map(expr).collect::<Vec<_>>().join(", ")
}

fn fields(fields: &[(String, Expr)]) -> String {
    fields.iter().map(|(n, e)| format!("{n}={}", expr(e))).collect::<Vec<_>>().join(", ")
}

fn literal(l: &Literal) -> String {
    match l {
        Literal::Int(n) => n.clone(),
        Literal::Float(x) => format!("{x:?}f"),
        Literal::Text(t) => format!("{t:?}"),
        Literal::Duration(ms) => format!("{ms}ms"),
        Literal::Bool(b) => b.to_string(),
        Literal::Unit => "()".to_owned(),
    }
}

fn arm(a: &Arm) -> String {
    let patterns: Vec<String> = a.patterns.iter().map(pattern).collect();
    let guard = a.guard.as_ref().map_or(String::new(), |g| format!(" when {}", expr(g)));
    format!("| {}{guard} -> {}", patterns.join(" | "), expr(&a.body))
}

fn pattern(p: &Pattern) -> String {
    let all = |ps: &[Pattern]| ps.iter().map(pattern).collect::<Vec<_>>().join(", ");
    match p {
        Pattern::Wildcard => "_".to_owned(),
        Pattern::Bind(l) => local(l),
        Pattern::As(p, l) => format!("{} as {}", pattern(p), local(l)),
        Pattern::Literal(l) => literal(l),
        Pattern::Tuple(ps) => format!("({})", all(ps)),
        Pattern::List(ps, None) => format!("[{}]", all(ps)),
        Pattern::List(ps, Some(t)) => format!("[{} | {}]", all(ps), pattern(t)),
        Pattern::Record(fs) => {
            format!("{{{}}}", fs.iter().map(|(n, p)| format!("{n}={}", pattern(p))).collect::<Vec<_>>().join(", "))
        }
        Pattern::Construct { constructor, args } => format!("{constructor}({})", all(args)),
    }
}

fn expr(e: &Expr) -> String {
    match &e.kind {
        ExprKind::Local(l) => local(l),
        ExprKind::Literal(l) => literal(l),
        ExprKind::FlowValue(f) => format!("value {}", flow_ref(f)),
        ExprKind::ConstructorValue { constructor, arity } => format!("value {constructor}/{arity}"),
        ExprKind::Call { flow, args } => format!("call {}({})", flow_ref(flow), all(args)),
        ExprKind::Apply { function, args } => format!("apply {}({})", expr(function), all(args)),
        ExprKind::Lambda { params, body } => {
            format!("fn({}) -> {}", params.iter().map(local).collect::<Vec<_>>().join(", "), expr(body))
        }
        ExprKind::Let { pattern: p, value, body } => format!("let {} = {}; {}", pattern(p), expr(value), expr(body)),
        ExprKind::Sequence(a, b) => format!("{}; {}", expr(a), expr(b)),
        ExprKind::If { condition, then, otherwise } => {
            format!("if {} then {} else {}", expr(condition), expr(then), expr(otherwise))
        }
        ExprKind::Match { scrutinee, arms } => {
            format!("match {} {{{}}}", expr(scrutinee), arms.iter().map(arm).collect::<Vec<_>>().join(" "))
        }
        ExprKind::Tuple(es) => format!("({})", all(es)),
        ExprKind::List(es, None) => format!("[{}]", all(es)),
        ExprKind::List(es, Some(t)) => format!("[{} | {}]", all(es), expr(t)),
        ExprKind::Record(fs) => format!("{{{}}}", fields(fs)),
        ExprKind::Update { record, fields: fs } => format!("{{{} with {}}}", expr(record), fields(fs)),
        ExprKind::Field { record, field } | ExprKind::Superclass { dictionary: record, field } => {
            format!("{}.{field}", expr(record))
        }
        ExprKind::Construct { constructor, args } => format!("{constructor}({})", all(args)),
        ExprKind::Primitive { op, args } => format!("{op:?}({})", all(args)),
        ExprKind::Format(parts) => {
            let parts: Vec<String> = parts
                .iter()
                .map(|p| match p {
                    FormatPart::Text(t) => format!("{t:?}"),
                    FormatPart::Expr(e) => expr(e),
                })
                .collect();
            format!("format[{}]", parts.join(", "))
        }
        ExprKind::Perform { effect, operation, args, returns, .. } => {
            format!("perform {effect}.{operation}({}) returns {returns:?}", all(args))
        }
        ExprKind::WithExtern { effect, module, args, body } => {
            format!("with {effect} by {module}({}) {{{}}}", all(args), expr(body))
        }
        other => format!("{other:?}"),
    }
}

fn becomes(source: &str, name: &str, expected: &str) {
    assert_eq!(flow(source, name), expected, "\n{source}");
}

#[test]
fn calls_of_flows_are_saturated() {
    let add = "flow add : (x : Int) -> (y : Int) -> Int = x + y\n";
    becomes(&format!("{add}flow f = add(1, 2)"), "f", "f() = call add/2(1, 2)");
    becomes(&format!("{add}flow f = add(1)"), "f", "f() = fn(arg) -> call add/2(1, arg)");
    becomes(&format!("{add}flow f = add"), "f", "f() = value add/2");
    let part = format!("{add}flow f = add(add(1, 2))");
    becomes(&part, "f", "f() = let given = call add/2(1, 2); fn(arg) -> call add/2(given, arg)");
    let over = "flow mk : (x : Int) -> (Int -> Int) = fn(y) -> x + y\nflow f = mk(1, 2)";
    becomes(over, "f", "f() = apply call mk/1(1)(2)");
    becomes("flow f = 1\nflow g = f() + f()", "g", "g() = Add(call f/0(), call f/0())");
    becomes("flow f : () -> Int = 1\nflow g(u) = { f(u)\n u }", "g", "g(u) = u; call f/0(); u");
}

#[test]
fn evidence_follows_the_row() {
    let source = "import Topos.Lib\nflow a() = perform IO.print(\"x\")\nflow b() = a()\nflow c(f) = f(1)\nflow d = c(fn(x) -> x)";
    becomes(source, "a", "a!() = perform Topos.Lib.IO.print(\"x\") returns Some(Unit)");
    becomes(source, "b", "b!() = call a/0!()");
    becomes(source, "c", "c!(f) = apply f(1)");
    becomes(source, "d", "d() = call c/1!(fn(x) -> x)");
    becomes(
        "import Topos.Lib\nflow f = Lib.map(show, [1])",
        "f",
        "f() = call Topos.Lib:map/2!(fn(x) -> format[x], [1])",
    );
}

#[test]
fn the_left_side_of_a_pipe_and_a_receiver_are_evaluated_first() {
    let lib = "import Topos.Lib\n";
    becomes(
        &format!("{lib}flow f() = perform IO.read() |> pair(perform IO.read())\nflow pair a b = (b, a)"),
        "f",
        "f!() = let piped = perform Topos.Lib.IO.read() returns Some(Variant([(\"None\", []), (\"Some\", [Text])])); \
         call pair/2(perform Topos.Lib.IO.read() returns Some(Variant([(\"None\", []), (\"Some\", [Text])])), piped)",
    );
    becomes("flow f(x : Int) = x |> g(1)\nflow g a b = (a, b)", "f", "f(x) = call g/2(1, x)");
    let companion =
        "type B = { v : Int }\nflow add : (n : Int) -> (b : B) -> Int = b.v + n\nflow f : (b : B) -> Int = b.add(1)";
    becomes(companion, "f", "f(b) = call add/2(1, b)");
}

#[test]
fn numbers_and_operators_are_decided() {
    becomes("flow f : Float = 1 / 2 + -3", "f", "f() = Add(DivideFloat(1.0f, 2.0f), Negate(3.0f))");
    becomes("flow f = 7 / 2", "f", "f() = DivideInt(7, 2)");
    becomes("flow f : Duration = 5 + 1s", "f", "f() = Add(5ms, 1000ms)");
    becomes("flow f x = x ++ \"a\"", "f", "f(x) = AppendText(x, \"a\")");
    becomes("flow f x = x <> [1]", "f", "f(x) = AppendList(x, [1])");
    becomes("flow f a b = not(a) && a != b", "f", "f(a, b) = And(Not(a), NotEqual(a, b))");
    becomes(
        "flow f : (x : Float) -> Bool = match x { | 1 -> true | _ -> false }",
        "f",
        "f(x) = match x {| 1.0f -> true | _ -> false}",
    );
}

#[test]
fn defaults_are_filled_in() {
    let source = "import Topos.Lib as L\nflow f : L.Config = { name = \"n\" }";
    becomes(
        source,
        "f",
        "f() = {name=\"n\", topology=call Topos.Lib:default Config.topology/0(), channels=call Topos.Lib:default Config.channels/0()}",
    );
    let source = "type T = { a : Int = 1 }\nconfig c : T = {}\nflow f = c.a";
    becomes(source, "default T.a", "default T.a() = 1");
    becomes(source, "c", "c() = {a=call default T.a/0()}");
    becomes(source, "f", "f() = call c/0().a");
}

#[test]
fn clauses_and_patterns_become_matches() {
    becomes(
        "flow f 0 y = y\nflow f x y when x > y = x\nflow f _ y = y",
        "f",
        "f(arg, arg) = match (arg, arg) {| (0, y) -> y | (x, y) when Greater(x, y) -> x | (_, y) -> y}",
    );
    becomes("flow f (a, b) = a", "f", "f(arg) = let (a, b) = arg; a");
    becomes("flow f {a} _ = a", "f", "f(arg, _) = let {a=a} = arg; a");
    becomes("flow f = { | Some(x) -> x | None -> 0 }", "f", "f() = fn(it) -> match it {| Some(x) -> x | None() -> 0}");
}

#[test]
fn a_dropped_value_keeps_tail_calls() {
    let source = "flow f : (x : Int) -> () = g(x)\nflow g : (x : Int) -> () = f(x)\nflow h : (x : Int) -> () = x + 1";
    becomes(source, "f", "f(x) = call g/1(x)");
    becomes(source, "h", "h(x) = Add(x, 1); ()");
}

#[test]
fn handlers_become_installations() {
    becomes(
        "import Topos.Lib\nflow f : () -> Int = with cell(1), console(\">\") { perform State.get() }",
        "f",
        "f() = with Topos.Lib.State by topos_cell(1) {with Topos.Lib.IO by topos_console(\">\") \
         {perform Topos.Lib.State.get() returns Some(Int)}}",
    );
}

#[test]
fn descriptors_follow_types() {
    let returns = |ty: &str, decls: &str| {
        let source = format!("{decls}\nextern flow f : () -> {ty} = \"m:f\"");
        let (module, _) = accepted(&source);
        let flow = module.flows.into_iter().find(|f| f.name == "f").unwrap();
        match flow.body {
            FlowBody::Extern { returns, .. } => returns,
            FlowBody::Expr(_) | FlowBody::Dictionary { .. } => panic!("an extern"),
        }
    };
    assert_eq!(returns("a", ""), Descriptor::Any);
    assert_eq!(
        returns("[(Int, Node)]", ""),
        Descriptor::List(Box::new(Descriptor::Tuple(vec![Descriptor::Int, Descriptor::Atom])))
    );
    assert_eq!(returns("T", "type T"), Descriptor::Any);
    assert_eq!(returns("{a : Int -> Int}", ""), Descriptor::Record(vec![("a".into(), Descriptor::Function)]));
    let tree = returns("Tree Int", "shape Tree a = Leaf | Node(Tree a, a, Tree a)");
    let Descriptor::Recursive(name, body) = tree else { panic!("{tree:?}") };
    assert_eq!(name, "Test.Tree");
    let reference = Descriptor::Reference(name);
    assert_eq!(
        *body,
        Descriptor::Variant(vec![
            ("Leaf".into(), vec![]),
            ("Node".into(), vec![reference.clone(), Descriptor::Int, reference])
        ])
    );
    // A type that is not regular has no finite descriptor: it is checked to a depth.
    let nest = returns("Nest Int", "shape Nest a = Nil | Cons(a, Nest (a, a))");
    assert!(format!("{nest:?}").contains("Any"));
}

#[test]
fn loops_and_returns_become_calls_and_branches() {
    becomes(
        "import Topos.Lib\nflow f : (xs : [Text]) -> () / {IO} = for x in xs { log(x) }",
        "f",
        "f!(xs) = call Topos.Prelude:for_each/2!(fn(x) -> call Topos.Lib:log/1!(x), xs); ()",
    );
    becomes(
        "flow f(x : Int) = {\n  if x < 0 { return 1 }\n  let y = x\n  if y == 2 { return 3 }\n  y\n}",
        "f",
        "f(x) = if Less(x, 0) then 1 else let y = x; if Equal(y, 2) then 3 else y",
    );
}
