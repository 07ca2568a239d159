//! Emitted modules, executed.

use topos_lang::core::{Arm, Descriptor, ExprKind, FormatPart, Literal, Pattern, Primitive, Signature};

use crate::beam::{evaluate, expect};
use crate::build::*;

fn compose() -> topos_lang::core::Expr {
    lambda(&["f", "g"], lambda(&["x"], apply(var("g"), vec![apply(var("f"), vec![var("x")])])))
}

#[test]
fn function_values_take_any_number_of_arguments() {
    let add3 = || value("add3", 3, false);
    let m = module(
        "Closures",
        vec![
            flow("add3", &["a", "b", "c"], op(Primitive::Add, op(Primitive::Add, var("a"), var("b")), var("c"))),
            flow("exact", &[], let_("f", add3(), apply(var("f"), vec![int(1), int(2), int(3)]))),
            flow("partial", &[], let_("f", apply(add3(), vec![int(1)]), apply(var("f"), vec![int(2), int(3)]))),
            flow("one_by_one", &[], apply(apply(apply(add3(), vec![int(1)]), vec![int(2)]), vec![int(3)])),
            flow(
                "over",
                &[],
                let_(
                    "f",
                    compose(),
                    apply(var("f"), vec![apply(add3(), vec![int(1), int(2)]), value("negate", 1, false), int(4)]),
                ),
            ),
            flow("negate", &["x"], e(ExprKind::Primitive { op: Primitive::Negate, args: vec![var("x")] })),
            flow("thunk", &[], let_("f", lambda(&[], int(7)), apply(var("f"), vec![unit()]))),
            flow("nullary", &[], let_("f", value("thunk", 0, false), apply(var("f"), vec![unit()]))),
            flow("direct", &[], apply(lambda(&["x"], tuple(vec![var("x"), var("x")])), vec![int(1)])),
            flow(
                "constructors",
                &[],
                let_(
                    "pair",
                    e(ExprKind::ConstructorValue { constructor: "HttpPair".into(), arity: 2 }),
                    apply(apply(var("pair"), vec![int(1)]), vec![int(2)]),
                ),
            ),
            // The arguments are evaluated once, from left to right, before the call.
            flow("call2", &["f"], apply(var("f"), vec![call("swap", vec![int(1)]), call("swap", vec![int(2)])])),
            flow("swap", &["x"], call("put", vec![text("last"), var("x")])),
            external("put", &["key", "x"], "erlang", "put", Descriptor::Any),
        ],
    );
    expect(
        &m,
        &[
            ("'Closures':exact()", "6"),
            ("'Closures':partial()", "6"),
            ("'Closures':one_by_one()", "6"),
            ("'Closures':over()", "-7"),
            ("'Closures':thunk()", "7"),
            ("'Closures':nullary()", "7"),
            ("'Closures':direct()", "{1,1}"),
            ("'Closures':constructors()", "{http_pair,1,2}"),
            ("'Closures':call2(fun(A, B, _) -> {A, B, get(<<\"last\">>)} end)", "{undefined,1,2}"),
            ("(('Closures':call2(fun(A, _) -> fun(B, _) -> {A, B} end end)))", "{2,1}"),
        ],
    );
}

#[test]
fn guards_and_alternatives_try_arms_in_order() {
    let is_even = |x| op(Primitive::Equal, op(Primitive::Remainder, x, call("two", vec![])), int(0));
    let long = |name: &str| {
        tuple(vec![text(name), list(vec![int(1), int(2), int(3), int(4), int(5), int(6), int(7), int(8)])])
    };
    let alternatives = Arm {
        patterns: vec![Pattern::Tuple(vec![lit_int(0), bind("x")]), Pattern::Tuple(vec![bind("x"), lit_int(0)])],
        guard: Some(is_even(var("x"))),
        body: tuple(vec![text("even"), var("x"), list(vec![var("x"), var("x"), var("x"), var("x"), var("x")])]),
    };
    let small = Arm {
        patterns: vec![lit_int(1), lit_int(2)],
        guard: Some(op(Primitive::Greater, var("limit"), int(5))),
        body: text("few"),
    };
    let m = module(
        "Guards",
        vec![
            flow("two", &[], int(2)),
            flow(
                "classify",
                &["n"],
                match_(
                    var("n"),
                    vec![
                        arm_when(bind("a"), op(Primitive::Less, var("a"), int(0)), text("negative")),
                        arm_when(bind("b"), is_even(var("b")), text("even")),
                        arm_when(bind("c"), op(Primitive::Greater, var("c"), int(100)), long("large")),
                        arm_when(bind("d"), call("is_seven", vec![var("d")]), long("seven")),
                        arm_when(lit_int(9), not(call("is_seven", vec![var("n")])), text("nine")),
                        arm(Pattern::Wildcard, text("odd")),
                    ],
                ),
            ),
            flow("is_seven", &["n"], op(Primitive::Equal, var("n"), int(7))),
            flow(
                "pairs",
                &["p"],
                match_(var("p"), vec![alternatives, arm(Pattern::Tuple(vec![bind("y"), Pattern::Wildcard]), var("y"))]),
            ),
            flow("small", &["n", "limit"], match_(var("n"), vec![small, arm(Pattern::Wildcard, text("many"))])),
        ],
    );
    expect(
        &m,
        &[
            ("'Guards':classify(-2)", "<<\"negative\">>"),
            ("'Guards':classify(4)", "<<\"even\">>"),
            ("'Guards':classify(101)", "{<<\"large\">>,[1,2,3,4,5,6,7,8]}"),
            ("'Guards':classify(7)", "{<<\"seven\">>,[1,2,3,4,5,6,7,8]}"),
            ("'Guards':classify(9)", "<<\"nine\">>"),
            ("'Guards':classify(11)", "<<\"odd\">>"),
            ("'Guards':pairs({0, 4})", "{<<\"even\">>,4,[4,4,4,4,4]}"),
            ("'Guards':pairs({6, 0})", "{<<\"even\">>,6,[6,6,6,6,6]}"),
            // The first alternative fits but its guard is false; the second is tried with the guard.
            ("'Guards':pairs({0, 0})", "{<<\"even\">>,0,[0,0,0,0,0]}"),
            ("'Guards':pairs({5, 0})", "5"),
            ("'Guards':small(2, 6)", "<<\"few\">>"),
            ("'Guards':small(2, 5)", "<<\"many\">>"),
        ],
    );
}

#[test]
fn patterns_tell_values_apart() {
    let float_arm = |f| arm(Pattern::Literal(Literal::Float(f)), text("float"));
    let text_arm = |t: &str| arm(Pattern::Literal(Literal::Text(t.into())), text("text"));
    let m = module(
        "Patterns",
        vec![
            flow(
                "number",
                &["n"],
                match_(
                    var("n"),
                    vec![arm(lit_int(1), text("int")), float_arm(1.0), arm(Pattern::Wildcard, text("other"))],
                ),
            ),
            flow(
                "minus",
                &["n"],
                match_(
                    var("n"),
                    vec![arm(lit_int(-3), text("int")), float_arm(-2.5), arm(Pattern::Wildcard, text("other"))],
                ),
            ),
            flow(
                "word",
                &["t"],
                match_(var("t"), vec![text_arm("zażółć 🦀"), text_arm(""), arm(Pattern::Wildcard, text("other"))]),
            ),
            flow(
                "deep",
                &["v"],
                match_(
                    var("v"),
                    vec![
                        arm(
                            Pattern::As(
                                Box::new(pat(
                                    "Some",
                                    vec![Pattern::Record(vec![(
                                        "a".into(),
                                        Pattern::List(vec![bind("x"), bind("y")], Some(Box::new(bind("rest")))),
                                    )])],
                                )),
                                local("whole"),
                            ),
                            tuple(vec![var("x"), var("y"), var("rest"), var("whole")]),
                        ),
                        arm(pat("None", vec![]), text("none")),
                        arm(Pattern::Wildcard, text("other")),
                    ],
                ),
            ),
            flow(
                "swap",
                &["p"],
                let_pattern(Pattern::Tuple(vec![bind("a"), bind("b")]), var("p"), tuple(vec![var("b"), var("a")])),
            ),
            flow("upd", &["r"], update(var("r"), vec![("a", op(Primitive::Add, field(var("r"), "a"), int(1)))])),
            flow("rec", &[], update(record(vec![("a", int(1)), ("b", text("x"))]), vec![("b", text("y"))])),
        ],
    );
    expect(
        &m,
        &[
            ("'Patterns':number(1)", "<<\"int\">>"),
            ("'Patterns':number(1.0)", "<<\"float\">>"),
            ("'Patterns':number(2)", "<<\"other\">>"),
            ("'Patterns':minus(-3)", "<<\"int\">>"),
            ("'Patterns':minus(-2.5)", "<<\"float\">>"),
            ("'Patterns':word(<<\"zażółć 🦀\"/utf8>>)", "<<\"text\">>"),
            ("'Patterns':word(<<>>)", "<<\"text\">>"),
            ("'Patterns':word(<<\"z\">>)", "<<\"other\">>"),
            ("'Patterns':deep({some, #{a => [1,2,3], b => 0}})", "{1,2,[3],{some,#{a => [1,2,3],b => 0}}}"),
            ("'Patterns':deep({some, #{a => [1]}})", "<<\"other\">>"),
            ("'Patterns':deep(none)", "<<\"none\">>"),
            ("'Patterns':swap({1, 2})", "{2,1}"),
            ("'Patterns':upd(#{a => 1, b => 2})", "#{a => 2,b => 2}"),
            ("'Patterns':rec()", "#{a => 1,b => <<\"y\">>}"),
        ],
    );
}

#[test]
fn literals_and_texts_survive() {
    let huge = "123456789012345678901234567890123456789012345678901234567890";
    let deep = (0..500).rev().fold(list(vec![]), |tail, n| cons(int(n), tail));
    let m = module(
        "Literals",
        vec![
            flow("huge", &[], big(huge)),
            flow("negative", &[], big(&format!("-{huge}"))),
            flow("limits", &[], list(vec![big("4294967295"), big("4294967296"), big("2147483648"), big("0")])),
            flow("floats", &[], list(vec![float(1.5), float(-0.25), float(1e300), float(5e-324), float(100.0)])),
            flow("unicode", &[], text("zażółć \u{1}\t\"\\ 🦀\u{85}\n")),
            flow("long_list", &[], list((0..100_000).map(int).collect())),
            flow("deep_list", &[], deep),
            flow(
                "shown",
                &["x"],
                format(vec![
                    FormatPart::Text("took ".into()),
                    FormatPart::Expr(var("x")),
                    FormatPart::Text(" ms ✓".into()),
                ]),
            ),
            flow(
                "append",
                &["a"],
                op(
                    Primitive::AppendText,
                    op(Primitive::AppendText, text("ä"), var("a")),
                    op(Primitive::AppendText, text(""), text(".")),
                ),
            ),
            flow("duration", &[], e(ExprKind::Literal(Literal::Duration(300_000)))),
            // Names that Erlang has taken.
            flow("length", &["xs"], call("self", vec![var("xs")])),
            flow("self", &["xs"], tuple(vec![var("xs"), text("mine")])),
            flow("receive", &["end'"], var("end'")),
            flow("is_function", &["f"], apply(var("f"), vec![int(1)])),
        ],
    );
    expect(
        &m,
        &[
            ("'Literals':huge()", huge),
            ("'Literals':negative()", &format!("-{huge}")),
            ("'Literals':limits()", "[4294967295,4294967296,2147483648,0]"),
            ("'Literals':floats() =:= [1.5, -0.25, 1.0e300, 5.0e-324, 100.0]", "true"),
            ("'Literals':unicode() =:= <<\"zażółć \\x{1}\\t\\\"\\\\ 🦀\\x{85}\\n\"/utf8>>", "true"),
            ("'Literals':long_list() =:= lists:seq(0, 99999)", "true"),
            ("'Literals':deep_list() =:= lists:seq(0, 499)", "true"),
            ("'Literals':shown(5) =:= <<\"took 5 ms ✓\"/utf8>>", "true"),
            ("'Literals':shown([{some, <<\"a\">>}, none]) =:= <<\"took [Some(\\\"a\\\"), None] ms ✓\"/utf8>>", "true"),
            ("'Literals':append(<<\"b\">>) =:= <<\"äb.\"/utf8>>", "true"),
            ("'Literals':duration()", "300000"),
            ("'Literals':length([1])", "{[1],<<\"mine\">>}"),
            ("'Literals':'receive'(1)", "1"),
            ("'Literals':is_function(fun(X, _) -> X + 1 end)", "2"),
        ],
    );
}

#[test]
fn operators_are_strict_where_they_should_be() {
    let boom = || call("boom", vec![]);
    let m = module(
        "Operators",
        vec![
            flow("boom", &[], e(ExprKind::Fail("never".into()))),
            flow("and_", &["a"], op(Primitive::And, var("a"), boom())),
            flow("or_", &["a"], op(Primitive::Or, var("a"), boom())),
            flow("equal", &["a", "b"], op(Primitive::Equal, var("a"), var("b"))),
            flow("divide", &["a", "b"], op(Primitive::DivideInt, var("a"), var("b"))),
            flow("remainder", &["a", "b"], op(Primitive::Remainder, var("a"), var("b"))),
            flow("ratio", &["a", "b"], op(Primitive::DivideFloat, var("a"), var("b"))),
            flow("halves", &["a"], op(Primitive::DivideInt, op(Primitive::Subtract, var("a"), int(1)), int(2))),
            flow(
                "precedence",
                &["a"],
                op(
                    Primitive::Multiply,
                    op(Primitive::Add, var("a"), int(1)),
                    op(Primitive::Subtract, int(5), op(Primitive::Subtract, int(3), int(1))),
                ),
            ),
            flow("branch", &["a"], if_(not(op(Primitive::LessEqual, var("a"), int(3))), text("big"), text("small"))),
            flow(
                "lists",
                &["a"],
                op(Primitive::AppendList, list(vec![int(0)]), op(Primitive::AppendList, var("a"), var("a"))),
            ),
            flow("dropped", &[], then(op(Primitive::Add, int(1), int(2)), then(list(vec![int(1)]), int(3)))),
            flow("constant", &[], if_(boolean(true), int(1), boom())),
            flow(
                "nested",
                &[],
                op(Primitive::Add, let_("x", int(1), then(var("x"), var("x"))), let_("y", int(2), var("y"))),
            ),
        ],
    );
    let zero = "error: error[TP1060]: division by zero, at Operators.topos:1:1\n  help: handle this case in the program\n  at Operators.topos:1 in Operators.";
    let divide_zero = format!("{zero}divide");
    let remainder_zero = format!("{zero}remainder");
    let ratio_zero = format!("{zero}ratio");
    expect(
        &m,
        &[
            ("'Operators':and_(false)", "false"),
            ("'Operators':or_(true)", "true"),
            ("'Operators':equal(1, 1.0)", "false"),
            ("'Operators':divide(-7, 2)", "-3"),
            ("'Operators':divide(1, 0)", &divide_zero),
            ("'Operators':remainder(-7, 2)", "-1"),
            ("'Operators':remainder(1, 0)", &remainder_zero),
            ("'Operators':ratio(1.0, 4.0)", "0.25"),
            ("'Operators':ratio(1.0, -0.0)", &ratio_zero),
            ("'Operators':halves(9)", "4"),
            ("'Operators':precedence(2)", "9"),
            ("'Operators':branch(4)", "<<\"big\">>"),
            ("'Operators':lists([1])", "[0,1,1]"),
            ("'Operators':dropped()", "3"),
            ("'Operators':constant()", "1"),
            ("'Operators':nested()", "3"),
        ],
    );
}

#[test]
fn errors_show_the_topos_line() {
    let source = "module Where\n\nflow main(x) =\n  let y = 1\n  fails(x)\n\nflow fails(x) =\n  żółw(1 / x)\n";
    let find = |needle: &str| source.find(needle).unwrap();
    let division = ExprKind::Primitive { op: Primitive::DivideInt, args: vec![int(1), var("x")] };
    let fails = flow("fails", &["x"], tuple(vec![at(division, find("1 / x")), int(1)]));
    let call = ExprKind::Call { flow: flow_ref("fails", 1, false), args: vec![var("x")] };
    let main = flow("main", &["x"], tuple(vec![at(call, find("fails(x)")), int(1)]));
    let expressions = ["'Where':main(1)", "'Where':main(0)"];
    let results = evaluate(&module("Where", vec![main, fails]), source, &expressions);
    assert_eq!(results[0], "{{1,1},1}");
    assert_eq!(
        results[1],
        "error: error[TP1060]: division by zero, at Where.topos:8:8\n  help: handle this case in the program\n  \
         at Where.topos:8 in Where.fails\n  at Where.topos:5 in Where.main"
    );
}

#[test]
fn deep_expressions_compile() {
    // As deep as the parser lets them be, on a stack as large as a main thread's.
    let body = || (0..800).fold(var("x"), |e, _| op(Primitive::Subtract, int(1), e));
    let nested =
        || (0..800).fold(var("x"), |e, n| if n % 2 == 0 { tuple(vec![e, int(n)]) } else { construct("Some", vec![e]) });
    let run = move || {
        let m = module("Deep", vec![flow("f", &["x"], body()), flow("g", &["x"], nested())]);
        expect(&m, &[("'Deep':f(7)", "7"), ("is_tuple('Deep':g(7))", "true")]);
    };
    std::thread::Builder::new().stack_size(8 << 20).spawn(run).unwrap().join().unwrap();
}

#[test]
fn externs_are_checked_where_they_enter() {
    let maybe = Descriptor::Variant(vec![("None".into(), vec![]), ("Some".into(), vec![Descriptor::Int])]);
    let person = Descriptor::Record(vec![("name".into(), Descriptor::Text), ("age".into(), Descriptor::Int)]);
    let through = |name: &str, returns| external(name, &["x"], "erlang", "hd", returns);
    let m = module(
        "Externs",
        vec![
            through("int", Descriptor::Int),
            through("unit", Descriptor::Unit),
            through("maybe", maybe),
            through("people", Descriptor::List(Box::new(person))),
        ],
    );
    expect(
        &m,
        &[
            ("'Externs':int([1])", "1"),
            ("'Externs':unit([ok])", "ok"),
            ("'Externs':maybe([none])", "none"),
            ("'Externs':maybe([{some, 1}])", "{some,1}"),
            ("'Externs':people([[#{name => <<\"a\">>, age => 1}]])", "[#{age => 1,name => <<\"a\">>}]"),
            ("try 'Externs':int([1.0]) catch error:E -> E end", "{type_mismatch,#{expected => <<\"Int\">>,got => <<\"1.0\">>,path => <<\"extern Externs.int = \\\"erlang:hd\\\"\">>}}"),
            ("try 'Externs':unit([x]) catch error:{_, #{expected := E}} -> E end", "<<\"()\">>"),
            ("try 'Externs':maybe([{some, a}]) catch error:{_, #{path := P}} -> binary_part(P, byte_size(P), -7) end", "<<\".Some.1\">>"),
            ("try 'Externs':maybe([{none}]) catch error:{_, #{expected := E}} -> E end", "<<\"None | Some(Int)\">>"),
            ("try 'Externs':people([[#{name => <<255>>, age => 1}]]) catch error:{_, #{path := P}} -> binary_part(P, byte_size(P), -8) end", "<<\"[0].name\">>"),
        ],
    );
}

#[test]
fn evidence_reaches_through_higher_order_flows() {
    let tell = |x| perform("Log", "tell", vec![x], Some(Descriptor::Unit));
    let each = match_(
        var("xs"),
        vec![
            arm(Pattern::List(vec![], None), unit()),
            arm(
                Pattern::List(vec![bind("x")], Some(Box::new(bind("rest")))),
                then(apply(var("f"), vec![var("x")]), call_ev("each", vec![var("f"), var("rest")])),
            ),
        ],
    );
    let with_log = |body| {
        e(ExprKind::WithExtern {
            effect: "Log".into(),
            module: "topos_effect_process".into(),
            args: vec![list(vec![])],
            body: Box::new(body),
        })
    };
    let m = module(
        "Effects",
        vec![
            flow_ev("each", &["f", "xs"], each),
            flow_ev("tell_all", &["xs"], call_ev("each", vec![lambda(&["x"], tell(var("x"))), var("xs")])),
            flow_ev("tell_values", &["xs"], call_ev("each", vec![value("tell_one", 1, true), var("xs")])),
            flow_ev("tell_one", &["x"], tell(var("x"))),
            flow_ev("now", &[], perform("Topos.Time.Time", "now", vec![], Some(Descriptor::Int))),
            flow_ev("wrong", &[], perform("Topos.Time.Time", "now", vec![], Some(Descriptor::Text))),
            flow_ev("unhandled", &[], tell(int(1))),
            flow("handled", &[], with_log(perform("Log", "self", vec![], Some(Descriptor::Pid)))),
            // The spawned body performs with the evidence of the spawner, not of the root.
            flow_ev(
                "spawned",
                &["xs"],
                perform(
                    "Topos.Process.Process",
                    "spawn",
                    vec![lambda(&[], call_ev("tell_all", vec![var("xs")]))],
                    Some(Descriptor::Pid),
                ),
            ),
        ],
    );
    // A handler that sends what it is told.
    let sender = "code:load_binary(sender, \"sender\", element(3, compile:forms([{attribute,1,module,sender},{attribute,1,export,[{tell,2}]},{function,1,tell,2,[{clause,1,[{var,1,'I'},{var,1,'X'}],[],[{op,1,'!',{var,1,'I'},{var,1,'X'}},{atom,1,ok}]}]}])))";
    let collect = "[receive M -> M after 5000 -> timeout end || _ <- [1, 2]]";
    let told = |flow: &str| {
        format!("begin {sender}, 'Effects':{flow}([1, 2], maps:merge(topos_effect:root(), #{{'Log' => {{sender, self()}}}})), {collect} end")
    };
    let (all, values, spawned) = (told("tell_all"), told("tell_values"), told("spawned"));
    // Without the cluster's handler, which this test does not load.
    let install = "element(1, topos_effect:install([{'Topos.Time.Time', topos_effect_time, []}, {'Topos.Process.Process', topos_effect_process, [[]]}]))";
    expect(
        &m,
        &[
            (install, "ok"),
            (&all, "[1,2]"),
            (&values, "[1,2]"),
            (&spawned, "[1,2]"),
            ("is_integer('Effects':now())", "true"),
            ("try 'Effects':wrong() catch error:{R, #{path := P}} -> {R, P} end", "{type_mismatch,<<\"Topos.Time.Time.now\">>}"),
            ("'Effects':handled() =:= self()", "true"),
            ("'Effects':unhandled()", "error: error[TP1062]: nothing handles the effect Log here\n  help: install a handler around the call, or call it from a flow that has the effect\n  at Effects.topos:1 in Effects.unhandled"),
        ],
    );
}

#[test]
fn specs_reach_the_beam() {
    let recursive = Descriptor::Recursive(
        "Tree".into(),
        Box::new(Descriptor::Variant(vec![
            ("Leaf".into(), vec![]),
            ("Node".into(), vec![Descriptor::Reference("Tree".into()), Descriptor::Reference("Tree".into())]),
        ])),
    );
    let signature = Signature {
        params: vec![
            Descriptor::List(Box::new(Descriptor::Int)),
            Descriptor::Map(Box::new(Descriptor::Text), Box::new(Descriptor::Any)),
            recursive,
        ],
        returns: Descriptor::Tuple(vec![Descriptor::Unit, Descriptor::Record(vec![("a".into(), Descriptor::Float)])]),
    };
    let f = topos_lang::core::Flow {
        signature: Some(signature),
        ..flow_ev("f", &["a", "b", "c"], tuple(vec![unit(), record(vec![("a", float(1.0))])]))
    };
    let m = module("Specs", vec![f]);
    expect(&m, &[("'Specs':f([], #{}, leaf, #{})", "{ok,#{a => 1.0}}"), ("length('Specs':module_info(exports))", "4")]);
}
