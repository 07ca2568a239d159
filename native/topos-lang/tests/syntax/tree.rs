//! What each construct means: source on the left, tree on the right.

use crate::render::render;
use crate::show;
use topos_lang::syntax::ast::{DeclKind, Module};
use topos_lang::syntax::parse;

fn module(source: &str) -> Module {
    let parse = parse(source);
    assert!(parse.diagnostics.is_empty(), "{source}\n{}", render(source, &parse.diagnostics));
    parse.module
}

/// The body of a flow.
#[track_caller]
fn body(source: &str, expected: &str) {
    let module = module(&format!("flow main =\n  {source}\n"));
    assert_eq!(module.decls.len(), 1, "{source}");
    let DeclKind::Flow(flow) = &module.decls[0].kind else { panic!("{source} is not a flow") };
    let block = show::block(flow.body.as_ref().expect("a body"));
    assert_eq!(&block[1..block.len() - 1], expected, "{source}");
}

/// A whole declaration, or several, joined by ` ## `.
#[track_caller]
fn decls(source: &str, expected: &str) {
    let shown: Vec<String> = module(source).decls.iter().map(show::decl).collect();
    assert_eq!(shown.join(" ## "), expected, "{source}");
}

#[test]
fn literals() {
    body(r#"(1, 1_000, 1.5, 1e3, 2.5e-1, true, false, ())"#, "(tuple 1 1000 1.5 1000.0 0.25 true false ())");
    body("[10ms, 30s, 5min, 1h]", "[10ms 30000ms 300000ms 3600000ms]");
    body(r#""a\n\t\r\\\"\u{e9}\u{1F600}""#, r#""a\n\t\r\\\"é😀""#);
    body("123456789012345678901234567890", "123456789012345678901234567890");
}

#[test]
fn format_strings() {
    body(r#"f"took {n} ms""#, r#"(format "took " n " ms")"#);
    body(r#"f"{f(x, {a = 1})}{m["k"]}""#, r#"(format (f(x (record a=1))) m["k"])"#);
    body(r#"f"a \{b\} {f"{x}"}""#, r#"(format "a {b} " (format x))"#);
    body(r#"f"""#, "(format )");
}

#[test]
fn operators_bind_as_the_page_says() {
    body("a |> b || c && d == e < f :: g + h * i", "(a |> (b || (c && (d == (e < (f :: (g + (h * i))))))))");
    body("a - b - c / d % e", "((a - b) - ((c / d) % e))");
    body("a :: b ++ c <> d", "(a :: (b ++ (c <> d)))");
    body("a |> f |> g", "((a |> f) |> g)");
    body("-a * b - -c", "(((-a) * b) - (-c))");
    body("-f x", "(-(f(x)))");
    body("a /= b && c != d && e === f && g !== h", "((((a != b) && (c != d)) && (e === f)) && (g !== h))");
    body("a <= b || c >= d", "((a <= b) || (c >= d))");
}

#[test]
fn application() {
    body("f(x, y)", "(f(x y))");
    body("f x y", "(f(x y))");
    body("f (x, y)", "(f((tuple x y)))");
    body("f(x) y { z }", "(f(x y (thunk {z})))");
    body("f()", "(f())");
    body("f ()", "(f(()))");
    body("f()(x)(y)", "(((f())(x))(y))");
    body("(f x) y", "((f(x))(y))");
    body("(fn(x) -> x) y", "((fn(x) {x})(y))");
    body("m[k] [k]", "(m[k]([k]))");
    body("f [k]", "(f([k]))");
    body("f g(x) h.i", "(f((g(x)) h.i))");
    body("Some(x)", "(Some(x))");
    body("P.Topology.FullMesh", "P.Topology.FullMesh");
    body("List.map f xs", "(List.map(f xs))");
    body("xs.fold(0) { | x -> x }", "(xs.fold(0 (cases | x -> {x})))");
    body("a.b.c(d).e", "(a.b.c(d)).e");
}

#[test]
fn braces_are_records_if_they_can_be() {
    body("x = {}", "x = (record )");
    body("x = {a = 1, b: 2, c}", "x = (record a=1 b=2 c~c)");
    body("x = {a}", "x = (record a~a)");
    body("x = {a = 1}", "x = (record a=1)");
    body("x = {a = {b = {c = 1}}}", "x = (record a=(record b=(record c=1)))");
    body("x = {r with a = 1, b}", "x = (update r a=1 b~b)");
    body("x = {f(r) with\n a = 1,\n}", "x = (update (f(r)) a=1)");
    body("x = {a = 1\n f(a)}", "x = (do {a = 1; (f(a))})");
    body("x = {f(a)\n with h { b }}", "x = (do {(f(a)); (with h {b})})");
    body("x = { | 1 -> 2 | n when n > 1, n < 9 -> n }", "x = (cases | 1 -> {2} | n when (n > 1) (n < 9) -> {n})");
    body("f {}", "(f((thunk {})))");
    body("f { a = 1 }", "(f((thunk {a = 1})))");
    body("f { a }", "(f((thunk {a})))");
    body("Cluster { a = 1, b = 2 }", "(Cluster((record a=1 b=2)))");
    body("Cluster { a }", "(Cluster((record a~a)))");
    body("if x { a } else { b }", "(if x {a} else {b})");
    body("match {a, b} { | {a: 1} -> a }", "(match (record a~a b~b) | (record a=1) -> {a})");
}

#[test]
fn bodies_in_braces_are_blocks() {
    decls("flow f() = { x }", "flow f() = {x}");
    decls("flow f() = {}\nflow g() = { a = 1 }", "flow f() = {} ## flow g() = {(record a=1)}");
    decls("flow f() = { a = 1, b = 2 }", "flow f() = {(record a=1 b=2)}");
    decls("handler h : Handler(E) = {\n  get() => { x }\n}", "handler h[] : E  get() => {x}");
}

#[test]
fn lines_go_on_where_the_page_says() {
    body("a +\n  b", "(a + b)");
    body("a\n  |> f\n  + b", "(a |> (f + b))");
    body("a\n  .b()\n  .c", "(a.b()).c");
    body("a\n  -b", "a; (-b)");
    body("(a\n  - b)", "(a - b)");
    body("f(\n  a,\n  b,\n)", "(f(a b))");
    body("f\n  (x)\n  [y]\n  { z }", "f; x; [y]; (record z~z)");
    body("if a { b }\n  else { c }", "(if a {b} else {c})");
    body("a\r\n  b\r\n", "a; b");
    body("\tx =\n\t\t1\n\tx", "x = 1; x");
}

#[test]
fn lambdas_end_where_their_bracket_does() {
    body("f(fn(a) ->\n    b(a)\n    c, d)", "(f((fn(a) {(b(a)); c}) d))");
    body("x = fn(a : Int, _) -> a\n  x", "x = (fn(a : Int _) {a}); x");
    body("f(\\a (b, c) -> a)", "(f((fn(a (tuple b c)) {a})))");
    body("fn() -> n := n + 1", "(fn() {n := (n + 1)})");
    body("f { fn(x) ->\n    a\n    b\n  }\n  c", "(f((thunk {(fn(x) {a; b})}))); c");
    body("x = {f = fn(a) -> a, g = 1}", "x = (record f=(fn(a) {a}) g=1)");
}

#[test]
fn statements() {
    body("let (a, b) : (Int, Text) = x\n  a", "let (tuple a b) : (tuple Int Text) = x; a");
    body(
        "(a, _) <- f()\n  Some(x) <- y\n  {a, b: c} <- z",
        "(tuple a _) <- (f()); Some(x) <- y; (record a=a b=c) <- z",
    );
    body("a.b[c].d := 1", "a.b[c].d := 1");
    body("for (k, v) in m { f k v }", "for (tuple k v) in m {(f(k v))}");
    body("return\n  return x + 1", "return ; return (x + 1)");
    body("let x = 1 in x + x", "(let x = 1 in (x + x))");
    body("f(let x = 1 in x)", "(f((let x = 1 in x)))");
    body("x = y == z", "x = (y == z)");
}

#[test]
fn control() {
    body(
        "match x, y { | 1, _ | _, 1 -> a\n | (b, c) -> b }",
        "(match x y | (tuple 1 _) | (tuple _ 1) -> {a} | (tuple b c) -> {b})",
    );
    body("match x of\n | 1 -> a\n | _ -> b end", "(match x | 1 -> {a} | _ -> {b})");
    body("match x | 1 -> a end", "(match x | 1 -> {a})");
    body("match f(x) {\n | A ->\n a\n b\n }", "(match (f(x)) | A -> {a; b})");
    body("if a then b else if c { d } else e", "(if a {b} else {(if c {d} else {e})})");
    body("with h(1), g { f() }", "(with (h(1)) g {(f())})");
    body("try risky() with { | Timeout -> 1 }", "(try (risky()) | Timeout -> {1})");
    body("try { risky } with | e -> 1 end", "(try (do {risky}) | e -> {1})");
    body("try f() with { get() => 1\n return x => x } end", "(try (f()) get() => {1} return x => {x})");
    body("do { x }", "(do {x})");
    body("do\n a\n b\n end", "(do {a; b})");
    body("loop { step() }", "(loop {(step())})");
    body("atomic { n := 1 }", "(atomic {n := 1})");
    body("atomic + 1", "(atomic + 1)");
    body("forall (x : Int, y : Int) { x == y }", "(forall x : Int y : Int {(x == y)})");
    body("perform P.Sub.op(1).x", "(perform P.Sub.op(1)).x");
    body("perform sync() |> f", "((perform sync()) |> f)");
    body("perform spawn(n) { work() }", "(perform spawn(n (thunk {(work())})))");
    body("(x : Int)", "(x : Int)");
    body("serve {\n | A -> a\n b\n | B -> c\n }", "(serve((cases | A -> {a; b} | B -> {c})))");
}

#[test]
fn patterns() {
    let arm = |pattern: &str, expected: &str| {
        body(&format!("match x {{ | {pattern} -> 1 }}"), &format!("(match x | {expected} -> {{1}})"))
    };
    arm("-1", "-1");
    arm("-1.5", "-1.5");
    arm("\"a\"", "\"a\"");
    arm("()", "()");
    arm("[]", "[]");
    arm("a :: b :: c", "(a :: (b :: c))");
    arm("Some x as y", "(Some(x) as y)");
    arm("Pair a (Some b)", "Pair(a Some(b))");
    arm("P.Pair(a, P.None)", "P.Pair(a P.None)");
    arm("{a: 1, b = Some(c), d}", "(record a=1 b=Some(c) d=d)");
    arm("(a : Int)", "(a : Int)");
    arm("A | B", "A | B");
}

#[test]
fn flows_in_three_forms() {
    decls("flow f : (x : Int) -> Text = x", "flow f : (x : Int) -> Text = {x}");
    decls("flow f : Int / {IO}\nflow f = 1", "flow f : Int / {IO} ## flow f  = {1}");
    decls(
        "flow f 0 [] = 1\nflow f n (x :: y) when n > 1 = n",
        "flow f 0 [] = {1} ## flow f n (x :: y) when (n > 1) = {n}",
    );
    decls("flow f(x : Int, (a, b)) : Text / {IO | e} = x", "flow f(x : Int (tuple a b)) : Text / {IO| e} = {x}");
    decls("flow f (x : Int) = x\nflow g (x, y) = x", "flow f(x : Int) = {x} ## flow g (tuple x y) = {x}");
    decls("private flow f() = 1", "private flow f() = {1}");
    decls(
        "flow f : forall a b. (Ord a, P.Show b) => a -> (a -> b / e) -> [b] / {State a, P.Log | e} = x",
        "flow f : forall a b. Ord(a) P.Show(b) => a -> (a -> b / {| e}) -> [b] / {State(a) P.Log| e} = {x}",
    );
    decls("flow f : Ord a => a -> a = x", "flow f : Ord(a) => a -> a = {x}");
    decls("flow f =\n  a\n  flow g = b", "flow f  = {a} ## flow g  = {b}");
}

#[test]
fn types() {
    let ty = |source: &str, expected: &str| {
        decls(&format!("config c : {source} = 1"), &format!("config c : {expected} = 1"))
    };
    ty("Map(k, P.V)", "Map(k P.V)");
    ty("Map k (List a)", "Map(k List(a))");
    ty("f a b", "f(a b)");
    ty("T (A, B)", "T((tuple A B))");
    ty("{a : Int, b : [Int] | r}", "(record a:Int b:[Int] | r)");
    ty("Chan (TwoPhase.coord)", "Chan(TwoPhase.coord)");
    ty("(A -> B) -> () -> C / {}", "((A -> B) -> () -> C / {})");
    ty("Int / {IO}", "(Int / {IO})");
}

#[test]
fn type_declarations() {
    decls("type T = | A | B(Int, x : Text) | C a {d : Int}", "type T() | A() | B(Int x:Text) | C(a (record d:Int))");
    decls("type T a b = A a | B\n  deriving [Show, P.Eq]", "type T(a b) | A(a) | B() +Show +P.Eq");
    decls(
        "shape T = A(Int)\ntype U = U Int\ntype V = W Int",
        "shape T() | A(Int) ## type U() | U(Int) ## type V() alias W(Int)",
    );
    decls("type T a : Ord a => { x : a, y : Int = 1 + 2 }", "type T(a) : Ord(a) (record x:a y:Int=(1 + 2))");
    decls("type T = { x : Int } -> Int\ntype P m", "type T() alias ((record x:Int) -> Int) ## type P(m) opaque");
    decls("shape T\n  | A\n  | B", "shape T() | A() | B()");
}

#[test]
fn effects_and_handlers() {
    decls(
        "effect E[a : Ord + Show] {\n  operation get[b : C](): b\n  operation put(x : a) : () / {IO}\n operation run : a -> b }",
        "effect E[a:Ord:Show] get[b:C]() : b; put[](x : a) : () / {IO}; run[] : a -> b;",
    );
    decls("effect E a b\n  operation get() : a\nend", "effect E[a b] get[]() : a;");
    decls(
        "handler h[a : C](x : a) : Handler(State a) / {IO} = {\n  state n : Int = 0\n  state m = x\n  get => n\n  put(v) => n := v\n  both(a, _) => {\n    a\n    n\n  }\n  return r => (r, n)\n}",
        "handler h[a:C](x : a) : State(a) / {IO} state n : Int = 0 state m = x get => {n} put(v) => {n := v} both(a _) => {a; n} return r => {(tuple r n)}",
    );
    decls(
        "extern flow f : A -> B / {IO} = \"m:f\"\nextern handler h(c : P.Config) : Handler(P.D) = \"m\"",
        "extern flow f : A -> B / {IO} = m:f ## extern handler h(c : P.Config) : P.D = m",
    );
}

#[test]
fn messages() {
    body("p ! a ++ b\n  p ? Get == x", "(p ! (a ++ b)); ((? p Get) == x)");
    body("x = p ? f(Get) after (t + 1)\n  q ? Get", "x = (? p (f(Get)) (t + 1)); (? q Get)");
    body("after = 1\n  f after", "after = 1; (f(after))");
    body("x = p ? f(g after) after 1s", "x = (? p (f((g(after)))) 1000ms)");
    body(
        "receive { | A -> f x\n  y\n  | B when c -> z after 5s -> w }",
        "(receive | A -> {(f(x)); y} | B when c -> {z} (after 5000ms {w}))",
    );
    body("receive { after 5s -> w }", "(receive  (after 5000ms {w}))");
    body("receive = 1\n  receive { x }\n  f(receive)", "receive = 1; (receive((thunk {x}))); (f(receive))");
}

#[test]
fn traits_and_instances() {
    decls(
        "trait Functor (f : Type -> Type) extends A f, B f where\n  map : (a -> b) -> f a -> f b\n  flow void x = map(f, x)\nend",
        "trait Functor (f : (Type -> Type)) < A(f) B(f) map : (a -> b) -> f(a) -> f(b); void x = {(map(f x))};",
    );
    decls("trait T a where\n  m : a\nflow f = 1", "trait T a <  m : a; ## flow f  = {1}");
    decls(
        "instance (Show a, Show b) => P.Show (Pair a b) where\n  show p =\n    x = f(p)\n    x ++ y\n  empty = []\n  g(a, b) = a",
        "instance Show(a) Show(b) => P.Show(Pair(a b)) show p = {x = (f(p)); (x ++ y)}; empty  = {[]}; g(a b) = {a};",
    );
    decls(
        "impl T a {\n  is_open : () -> Bool =\n    x = 1\n    x\n  close : () -> () = y := 2\n}",
        "impl T(a) is_open : () -> Bool = {x = 1; x}; close : () -> () = {y := 2};",
    );
    body("instance = 1\n  f(instance)", "instance = 1; (f(instance))");
}

#[test]
fn actors_supervisors_tests() {
    decls(
        "actor Counter(start : Int) : Msg / {IO} = {\n  state n = start\n  init() => log(n)\n  | Inc(k) -> n := n + k\n  | Stop ->\n    a\n    b\n}",
        "actor Counter[](start : Int) : Msg / {IO} state n = start init() => {(log(n))} | Inc(k) -> {n := (n + k)} | Stop -> {a; b}",
    );
    decls(
        "supervisor Shop(n : Int) / {IO} = { children = [Counter(0)] }",
        "supervisor Shop(n : Int) / {IO} = (record children=[(Counter(0))])",
    );
    decls(
        "test \"a\" {\n  x\n}\nproperty \"b\" { forall (x : Int) { x == x } }",
        "test \"a\" {x} ## property \"b\" {(forall x : Int {(x == x)})}",
    );
}

#[test]
fn sessions_and_protocols() {
    decls(
        "session Shop = rec X. offer { browse -> !Products -> X, logout -> end }",
        "session Shop() = rec X. offer{browse->!Products X logout->end}",
    );
    decls(
        "session S a = !Msg(a) @ b -> ?[Int] -> select @ c { l -> dual T a, m -> P.coord }",
        "session S(a) = !Msg(a)@b ?[Int] select@c{l->dual T(a) m->P.coord}",
    );
    decls(
        "protocol TwoPhase (coord @ local, part @ remote) =\n  coord -> part : Prepare(TxId) via control\n  part  -> coord : Vote\n  choice at coord {\n    | commit -> coord -> part : Finalize   end\n    | abort  -> coord -> part : Rollback   end\n  }",
        "protocol TwoPhase(coord@local part@remote) = coord->part:Prepare(TxId) via control; part->coord:Vote; choice coord {| commit -> coord->part:Finalize; end | abort -> coord->part:Rollback; end}",
    );
    decls("protocol P (a @ n) = rec X.\n  a -> a : M\n  Q(a, a)\n  X", "protocol P(a@n) = rec X. a->a:M; Q(a a); X");
}

#[test]
fn modules_imports_and_docs() {
    let source = "--- The module.\nmodule A.B where\n\nimport C\nimport qualified C.D as E (f, G)\nexport (f, H)\n\n--- Adds.\n---\n---     f(1)\nflow f(x) = x\n\n-------- a line\n\n--- Lost.\n\n--- Kept.\ntype T = {\n  --- A field.\n  a : Int\n}\n";
    let module = module(source);
    assert_eq!(module.doc.as_ref().map(|doc| doc.text.as_str()), Some("The module."));
    assert_eq!(module.name.as_ref().map(|path| path.dotted()).as_deref(), Some("A.B"));
    assert_eq!(module.imports.len(), 2);
    let import = &module.imports[1];
    assert_eq!((import.path.dotted().as_str(), import.qualified), ("C.D", true));
    assert_eq!(import.alias.as_ref().map(|alias| alias.name.as_str()), Some("E"));
    assert_eq!(import.names.as_ref().map(Vec::len), Some(2));
    assert_eq!(module.exports[0].names.len(), 2);
    let docs: Vec<Option<&str>> =
        module.decls.iter().map(|decl| decl.doc.as_ref().map(|doc| doc.text.as_str())).collect();
    assert_eq!(docs, [Some("Adds.\n\n    f(1)"), Some("Kept.")]);
    let DeclKind::Type(ty) = &module.decls[1].kind else { panic!("a type") };
    let topos_lang::syntax::ast::TypeDefinition::Record(fields) = &ty.definition else { panic!("a record") };
    assert_eq!(fields[0].doc.as_ref().map(|doc| doc.text.as_str()), Some("A field."));
}

#[test]
fn contextual_keywords_are_names() {
    body(
        "type = state + config\n  handler(test, property).session",
        "type = (state + config); (handler(test property)).session",
    );
    body("test \"a\" { x }", "(test(\"a\" (thunk {x})))");
    decls("flow handler(state : Int) = state", "flow handler(state : Int) = {state}");
}

#[test]
fn spans_cover_what_they_name() {
    let source = "\u{feff}type A = B\nflow f(x) = g(x) + 1 -- one\n";
    let module = module(source);
    let text = |span: topos_lang::diagnostic::Span| &source[span.start as usize..span.end as usize];
    assert_eq!(text(module.decls[1].span), "flow f(x) = g(x) + 1");
    let DeclKind::Flow(flow) = &module.decls[1].kind else { panic!("a flow") };
    assert_eq!(text(flow.body.as_ref().expect("a body").span), "g(x) + 1");
    let tokens = parse(source).tokens;
    let inside: String = tokens.within(module.decls[1].span).iter().map(|token| text(token.span)).collect();
    assert_eq!(inside, "flow f(x) = g(x) + 1");
}
