//! Emitted Erlang as a person reads it.

use topos_lang::core::{Arm, Descriptor, ExprKind, Flow, FormatPart, Module, Pattern, Primitive, Signature};
use topos_lang::emit::{emit, FLOAT_OUT_OF_RANGE, NAME_TOO_LONG, RESERVED_NAME, TOO_MANY_PARAMETERS};

use crate::build::*;

fn erlang(module: &Module) -> String {
    emit(module, "").unwrap().to_erlang()
}

#[test]
fn a_pure_module() {
    let sum = match_(
        var("xs"),
        vec![
            arm(Pattern::List(vec![], None), int(0)),
            arm(
                Pattern::List(vec![bind("x")], Some(Box::new(bind("rest")))),
                op(Primitive::Add, var("x"), call("sum", vec![var("rest")])),
            ),
        ],
    );
    let signature = Signature { params: vec![Descriptor::List(Box::new(Descriptor::Int))], returns: Descriptor::Int };
    let sum = Flow { signature: Some(signature), ..flow("sum", &["xs"], sum) };
    let greet = format(vec![FormatPart::Text("hello ".into()), FormatPart::Expr(var("name"))]);
    let m = module("Demo.Pure", vec![sum, flow("greet", &["name", "unused"], greet)]);
    insta::assert_snapshot!(erlang(&m));
}

#[test]
fn effects_and_closures() {
    let print = |x| perform("Topos.IO.IO", "print", vec![x], Some(Descriptor::Unit));
    let main = let_(
        "greeting",
        text("hello"),
        then(
            print(var("greeting")),
            call_ev("each", vec![lambda(&["x"], print(format(vec![FormatPart::Expr(var("x"))]))), list(vec![int(1)])]),
        ),
    );
    let twice = apply(var("f"), vec![apply(var("f"), vec![var("x")])]);
    let m = module(
        "Demo",
        vec![
            flow_ev("main", &[], main),
            Flow { exported: false, ..flow_ev("each", &["f", "xs"], unit()) },
            flow_ev("twice", &["f", "x"], twice),
            flow(
                "values",
                &[],
                tuple(vec![value("twice", 2, true), value("main", 0, true), value("values", 0, false)]),
            ),
            external("members", &[], "topos_partisan", "members", Descriptor::List(Box::new(Descriptor::Atom))),
            external("count", &["xs"], "erlang", "length", Descriptor::Int),
        ],
    );
    insta::assert_snapshot!(erlang(&m));
}

#[test]
fn matches_with_guards_and_alternatives() {
    let valid = |x: &str| call("valid", vec![var(x)]);
    let body = |x: &str| {
        record(vec![
            ("shape", text("round")),
            ("size", op(Primitive::Multiply, var(x), var(x))),
            ("tags", list(vec![])),
        ])
    };
    let shapes = Arm {
        patterns: vec![pat("Circle", vec![bind("r")]), pat("Sphere", vec![bind("r")])],
        guard: None,
        body: body("r"),
    };
    let area = match_(
        var("shape"),
        vec![
            shapes,
            arm_when(pat("Square", vec![bind("a")]), valid("a"), body("a")),
            arm_when(pat("Line", vec![bind("l")]), op(Primitive::Greater, var("l"), int(0)), body("l")),
            arm(Pattern::Wildcard, e(ExprKind::Fail("not a shape".into()))),
        ],
    );
    let short =
        match_(var("n"), vec![arm_when(bind("m"), valid("m"), text("valid")), arm(Pattern::Wildcard, text("invalid"))]);
    let m = module(
        "Shapes",
        vec![
            flow("area", &["shape"], area),
            flow("short", &["n"], short),
            flow("valid", &["x"], op(Primitive::Less, var("x"), int(9))),
        ],
    );
    insta::assert_snapshot!(erlang(&m));
}

#[test]
fn many_guards_grow_linearly() {
    let size = |n: usize| {
        let arms = (0..n)
            .map(|i| arm_when(bind("x"), call("valid", vec![var("x")]), tuple((0..9).map(|_| int(i as i64)).collect())))
            .chain([arm(Pattern::Wildcard, int(0))])
            .collect();
        let m = module("Big", vec![flow("f", &["v"], match_(var("v"), arms)), flow("valid", &["x"], boolean(false))]);
        emit(&m, "").unwrap().to_etf().len()
    };
    let (ten, twenty, forty) = (size(10), size(20), size(40));
    assert!(forty - twenty <= 2 * (twenty - ten) + 100, "{ten} {twenty} {forty}");
}

#[test]
fn what_erlang_cannot_express_is_refused() {
    let params: Vec<String> = (0..251).map(|i| format!("p{i}")).collect();
    let params: Vec<&str> = params.iter().map(String::as_str).collect();
    let long = "n".repeat(256);
    let m = module(
        "Refused",
        vec![
            flow("wide", &params, unit()),
            flow(&long, &[], unit()),
            flow("inf", &[], float(f64::INFINITY)),
            flow("module_info", &[], unit()),
            flow("effect", &[], perform("E", &long, vec![], None)),
        ],
    );
    let codes: Vec<_> = emit(&m, "").unwrap_err().iter().map(|d| d.code).collect();
    assert_eq!(codes, [TOO_MANY_PARAMETERS, NAME_TOO_LONG, FLOAT_OUT_OF_RANGE, RESERVED_NAME, NAME_TOO_LONG]);
}
