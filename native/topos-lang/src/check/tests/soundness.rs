//! Programs that a checker with one of the classic bugs would accept.

use super::{check, error_codes, types};
use crate::codes;

fn refused(source: &str, code: crate::diagnostic::Code) {
    assert_eq!(error_codes(source), [code.0], "\n{source}");
}

#[test]
fn what_a_call_returns_is_not_generalised() {
    // A cell of `Maybe a` that were generalised could be written as Int and read as Text.
    refused(
        "import Topos.Lib\nflow f : (new : () -> [a] / {IO}) -> ([Int], [Text]) / {IO} =\n  let xs = id(new())\n  (1 :: xs, [])\n\
         flow id x = x",
        codes::TOO_GENERAL,
    );
    let source =
        "flow mk : (x : a) -> (a -> a) = fn(y) -> x\nflow f =\n  let g = mk(None)\n  (g(Some(1)), g(Some(\"t\")))";
    refused(source, codes::OPERAND);
}

#[test]
fn what_a_perform_returns_is_not_generalised() {
    let source = "import Topos.Lib\nflow f() =\n  let x = perform Chan.receive()\n  let y = x ++ \"t\"\n  x + 1";
    refused(source, codes::OPERAND);
}

#[test]
fn a_parameter_is_not_generalised() {
    refused("flow f g = (g(1), g(\"t\"))", codes::OPERAND);
    refused("flow f x =\n  let y = fn(z) -> x\n  (y(1) + 1, y(2) ++ \"t\")", codes::OPERAND);
    refused("flow f x =\n  let y = [x]\n  let g = fn(u) -> y\n  (1 :: g(1), \"a\" :: g(2))", codes::OPERAND);
}

#[test]
fn a_field_of_a_parameter_is_not_generalised() {
    // The record's type is not known at the `let`, so its field's type waits, at the record's level and not the `let`'s.
    refused("flow f r =\n  let g = fn(x) -> r.a\n  (g(1) + 1, g(2) ++ \"t\")", codes::OPERAND);
    refused("flow f r =\n  let g = fn(x) -> if true { x } else { r }.a\n  (g(r) + 1, g(r) ++ \"t\")", codes::OPERAND);
    refused("flow f r =\n  let g = fn(x) -> {\n    let y = x.a\n    let _z = [x, r]\n    y\n  }\n  (g(r) + 1, g(r) ++ \"t\")", codes::OPERAND);
}

#[test]
fn a_named_variable_of_an_annotation_is_one_type_in_the_whole_flow() {
    let source = "flow f =\n  let g = fn(x : b) -> x\n  let h = fn(y : b) -> y + 1\n  (g(1), g(\"t\"))";
    refused(source, codes::OPERAND);
}

#[test]
fn a_recursive_flow_without_a_signature_is_not_polymorphic_in_itself() {
    refused("flow f x = { f(1)\n f(\"t\")\n x }", codes::OPERAND);
    assert_eq!(types("flow f : (x : a) -> Int = { f(1)\n f(\"t\") }"), "f : a -> Int");
}

#[test]
fn rigid_variables_are_not_equal_and_do_not_escape() {
    refused("flow f : (x : a) -> (y : b) -> a = y", codes::TOO_GENERAL);
    refused("flow f : (x : a) -> [a] = [1]", codes::MISSING_CONSTRAINT);
    refused("flow f : (g : a -> a) -> a = g(1)", codes::MISSING_CONSTRAINT);
    // A variable outside the flow (an effect's argument that is left out) must not become the flow's own variable.
    refused("import Topos.Lib\nflow f : (x : a) -> () / {State} = perform State.put(x)", codes::TOO_GENERAL);
}

#[test]
fn a_record_does_not_lose_or_gain_fields() {
    refused("flow f : (r : {a: Int | r}) -> {a: Int | r} = {a = 1}", codes::TOO_GENERAL);
    refused("flow f : (r : {a: Int}) -> {a: Int, b: Int} = r", codes::MISMATCH);
    refused("flow f r = {r with self = r}", codes::INFINITE_TYPE);
    refused("type P = {a : Int}\nflow f : (p : P) -> {a : Int, b : Int} = p", codes::MISMATCH);
    refused("type P = {a : Int}\nflow f : (p : P) -> {a : Text} = p", codes::MISMATCH);
    refused("type P = {a : Int}\ntype Q = {a : Int}\nflow f : (p : P) -> Q = p", codes::MISMATCH);
}

#[test]
fn an_effect_is_not_lost_on_any_way() {
    let lib = "import Topos.Lib\n";
    for source in [
        "flow f : () -> Int = { log(\"x\")\n 1 }",
        "flow f : () -> Int = { let g = fn() -> log(\"x\")\n g()\n 1 }",
        "flow f : () -> [()] = map(log, [\"x\"])",
        "flow f : () -> [()] = [\"x\"] |> map(fn(t) -> log(t))",
        "flow f : () -> () = { r = { go = log }\n r.go(\"x\") }",
        "flow f : (g : Text -> ()) -> () = g(\"x\")\nflow h : () -> () = f(log)",
        "flow g x = log(x)\nflow f : () -> () = g(\"x\")",
        "flow f : () -> () = match [log] { | g :: _ -> g(\"x\") | [] -> () }",
        "flow f : (g : () -> () / e) -> () / {IO} = g()",
        "flow f : () -> (() -> ()) = fn() -> log(\"x\")",
        "flow f : () -> () = { let {go} = {go = log}\n go(\"x\") }",
        "flow f : () -> () = { let g = if true { log } else { fn(x) -> () }\n g(\"x\") }",
        "flow f : () -> () / {Process} = perform Process.spawn() { log(\"x\") }",
        "flow f : () -> () = with console(\"x\") { perform Process.sleep(1) }",
        "flow f : () -> () / {IO} = with cell(1) { perform Chan.send(1) }",
    ] {
        let source = format!("{lib}{source}");
        let Err(errors) = check(&source) else { panic!("accepted:\n{source}") };
        assert!(
            errors.iter().all(|e| e.code == codes::MISSING_EFFECT || e.code == codes::MISMATCH),
            "{source}\n{errors:#?}"
        );
    }
}

#[test]
fn a_rigid_row_does_not_take_the_place_of_an_effect_with_arguments() {
    // `e` may hold `State Text`: a handler for `State Int` must not be found for it.
    refused(
        "import Topos.Lib\nflow f : (g : () -> Text / e) -> Text / {State Int | e} = { perform State.put(1)\n g() }",
        codes::MISSING_EFFECT,
    );
    let source = "import Topos.Lib\nflow f : (g : () -> Text / e) -> Text / e = with cell(1) { g() }";
    refused(source, codes::MISSING_EFFECT);
}

#[test]
fn handlers_of_one_effect_with_different_arguments_are_told_apart() {
    let source =
        "import Topos.Lib\nflow f : () -> Int =\n  with cell(\"outer\") {\n    with cell(1) { perform State.get() + 1 }\n  }";
    assert!(check(source).is_ok());
    let source = "import Topos.Lib\nflow f : () -> Text =\n  with cell(\"outer\") {\n    with cell(1) { perform State.get() }\n  }";
    assert!(check(source).is_err());
}

#[test]
fn an_operator_is_generalised_over_types_with_an_instance_only() {
    assert_eq!(types("flow double x = x + x\nflow f = double(2.5)"), "double : a -> a\nf : () -> Float");
    refused("flow double x = x + x\nflow f = double(\"a\")", codes::NO_INSTANCE_FOUND);
    // A literal is an Int where nothing else is said, and a `let` takes no dictionaries.
    refused("flow next x = x + 1\nflow f = next(2.5)", codes::MISMATCH);
    refused("flow f = { let twice = fn(x) -> x + x\n (twice(1.5), twice(\"a\")) }", codes::MISMATCH);
    // A number in a pattern is a number of a known type.
    assert_eq!(types("flow f 0 = 1\nflow f n = f(n)"), "f : Int -> Int");
    refused("flow f : Num a => (x : a) -> Bool = match x { | 0 -> true | _ -> false }", codes::OPERAND);
}

#[test]
fn errors_inside_unsupported_parts_do_not_panic() {
    // Whatever the construct, checking goes on.
    for source in [
        "handler h : Handler(Unknown) = { op() => perform op() }\nflow f = with h { 1 }",
        "impl T { get : Int = 1 }\nflow f = get(1)",
        "flow f = atomic { 1 }",
        "flow f : Show a => a -> Text = 1",
        "effect E[a : Shoow] { operation op() : a }",
        "type T a : Show a => [a]\nflow f : T Int = []",
        "property \"p\" { forall (x : Int) { true } }",
        "flow f : (c : P.coord) -> Int = 1",
    ] {
        let parse = crate::syntax::parse(source);
        let options = super::super::Options { file: "t", default_name: "T", ..Default::default() };
        let result = super::super::check_module(&parse.module, &super::imports(), &options);
        assert!(result.is_err(), "accepted: {source}");
    }
}

#[test]
fn a_rigid_row_that_waits_is_not_lost_in_a_let() {
    let lib = "import Topos.Lib\n";
    for body in [
        "flow f : (g : () -> () / e) -> () = { let h = fn() -> g()\n h() }",
        "flow f : (g : () -> () / e) -> (() -> ()) = { let h = fn() -> g()\n h }",
        "flow f : (g : () -> () / e) -> () = { let r = { go = fn() -> g() }\n r.go() }",
        "flow f : (g : () -> () / e) -> (h : () -> () / d) -> () / e = { g()\n h() }",
        "flow f : (g : () -> () / e) -> [()] / d = map(fn(x) -> g(), [1])",
    ] {
        let source = format!("{lib}{body}");
        let Err(errors) = check(&source) else { panic!("accepted:\n{source}") };
        assert!(
            errors.iter().all(|e| e.code == codes::MISSING_EFFECT || e.code == codes::TOO_GENERAL),
            "{source}\n{errors:#?}"
        );
    }
    assert_eq!(
        types(&format!("{lib}flow f : (g : () -> Int / e) -> (Int, Int) / {{IO | e}} = {{ let h = fn() -> g()\n log(\"x\")\n (h(), h()) }}")),
        "f : (() -> Int / e) -> (Int, Int) / {IO | e}"
    );
}

#[test]
fn clauses_of_an_unsigned_flow_do_not_hide_its_effects() {
    assert_eq!(
        types("import Topos.Lib\nflow f 0 = log(\"x\")\nflow f n = f(n - 1)\nflow g(n : Int) = f(n)"),
        "f : Int -> () / {IO}\ng : Int -> () / {IO}"
    );
}
