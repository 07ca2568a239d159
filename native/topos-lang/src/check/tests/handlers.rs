//! Handlers written in Topos, their state, `return`, actors and supervisors.

use super::{accepted, check_with, errors, imports, render, types};
use crate::core::{Expr, ExprKind};

macro_rules! rejected {
    ($($name:ident = $source:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let source = concat!("import Topos.Lib (IO, State, Chan, Process, log)\n", $source);
                insta::assert_snapshot!(format!("{source}\n----\n{}", errors(source)));
            }
        )*
    };
}

rejected! {
    a_clause_is_missing = "handler h : Handler(State Int) = { get() => 1 }";
    a_clause_of_no_operation = "handler h : Handler(State Int) = { get() => 1\n put(x) => ()\n gte() => 2 }";
    a_clause_twice = "handler h : Handler(State Int) = { get() => 1\n get() => 2\n put(x) => () }";
    a_clause_with_a_continuation = "handler h : Handler(State Int) = { get(k) => k(1)\n put(x) => () }";
    a_clause_that_resumes = "handler h : Handler(State Int) = { get() => resume(1) + resume(2)\n put(x) => () }";
    a_clause_of_another_type = "handler h : Handler(State Int) = { get() => \"x\"\n put(x) => () }";
    a_clause_does_more_than_its_row = "handler h : Handler(State Int) = { get() => { log(\"get\")\n 1 }\n put(x) => () }";
    a_clause_performs_what_it_handles = "handler h : Handler(State Int) = { get() => perform State.get()\n put(x) => () }";
    a_clause_less_general_than_its_operation = "handler h : Handler(Chan) = { send(x) => log(x)\n receive() => 1 }";
    a_handler_less_general_than_it_says = "handler h(start : s) : Handler(State s) = { get() => 1\n put(x) => () }";
    a_handler_of_an_unknown_effect = "handler h : Handler(Stat) = { get() => 1 }\nflow f = with h { 1 }";
    a_handler_twice = "handler h : Handler(State Int) = { get() => 1\n put(x) => () }\nhandler h : Handler(State Int) = { get() => 1\n put(x) => () }";
    a_state_changes_its_type = "handler h : Handler(State Int) = { state x = 0\n get() => x\n put(y) => x := \"a\" }";
    a_state_before_its_declaration = "handler h : Handler(State Int) = { state x = y\n state y = 1\n get() => x\n put(y) => x := y }";
    an_assignment_to_a_variable = "flow f(x : Int) = { x := 1\n x }";
    an_assignment_to_a_parameter = "handler h(x : Int) : Handler(State Int) = { get() => x\n put(y) => x := y }";
    an_assignment_to_an_unknown_field = "handler h : Handler(State Int) = { state r = { a = 1 }\n get() => r.a\n put(y) => r.b := y }";
    assignments_at_an_index = "handler h(c : Map Text Int) : Handler(State Int) = {\n state m = c\n state xs = [{ a = 1 }]\n state n = 1\n get() => {\n  m[1] := 2\n  m[\"a\"] := \"b\"\n  xs[0].a := 2\n  n[1] := 2\n  c[\"x\"] := 1\n  xs[0] := { a = \"\" }\n  n\n }\n put(x) => () }";
    atomic_without_state = "flow f = atomic { 1 }";
    abort_with_another_type = "effect Stop { operation stop() : () }\nhandler h : Handler(Stop) = { stop() => abort \"x\"\n return x => x + 1 }";
    abort_outside_of_a_handler = "flow f = abort 1";
    init_with_parameters = "handler h : Handler(State Int) = { init(x) => ()\n get() => 1\n put(x) => () }";
    a_handler_with_too_few_arguments = "handler h(a : Int) : Handler(State Int) = { get() => a\n put(x) => () }\nflow f = with h { perform State.get() }";
    the_row_of_a_handler_counts = "handler h : Handler(State Int) / {IO} = { get() => { log(\"x\")\n 1 }\n put(x) => () }\nflow f : Int = with h { perform State.get() }";
    return_in_a_block_that_is_an_argument = "flow run : (f : () -> ()) -> () = f()\nflow g : Int = { run { return 1 }\n 2 }";
    return_of_another_type = "flow g : (xs : [Int]) -> Int = { for x in xs { return \"a\" }\n 2 }";
}

#[test]
fn actors_need_the_module_of_processes() {
    let message = errors("shape M = On\nactor A : M = { | On -> () }");
    assert!(message.contains("actors and supervisors need `Topos.Process`"), "{message}");
}

/// With the module of processes, which actors are made of.
pub(super) fn actor_errors(source: &str) -> String {
    let mut imports = imports();
    let process = include_str!("../../../../../topos_stdlib/Topos/Process.topos");
    let (_, interface) = check_with(process, &imports, None).unwrap_or_else(|e| panic!("{}", render(process, &e)));
    imports.insert("Topos.Process".into(), interface.into());
    match check_with(source, &imports, None) {
        Ok(_) => panic!("accepted:\n{source}"),
        Err(errors) => format!("{source}\n----\n{}", render(source, &errors)),
    }
}

#[test]
fn mistakes_in_actors_and_supervisors() {
    let head = "import Topos.Process (Process)\nshape M = On | Off(Int)\nactor A(n : Int) : M = { state x = n\n | On -> x := 1\n | Off(k) -> x := k }\n";
    for (name, source) in [
        ("no_message_type", "actor B = { | x -> () }"),
        ("a_message_that_no_arm_matches", "actor B : M = { | On -> () }"),
        ("an_arm_does_more_than_the_row", "actor B : M = { | _ -> Process.sleep(1s) }"),
        ("an_actor_with_a_wrong_argument", "flow f = A(\"x\")"),
        ("an_actor_is_told_something_else", "flow f = Process.tell(1, A(1))"),
        ("a_supervisor_that_is_no_record", "supervisor S = 1"),
        ("a_supervisor_with_an_unknown_field", "supervisor S = { strategies = 1, children = [A(1)] }"),
        ("a_child_that_is_no_process", "supervisor S = { children = [A(1), 2] }"),
    ] {
        insta::assert_snapshot!(name, actor_errors(&format!("{head}{source}")));
    }
}

const COUNTER: &str = "effect Counter { operation next() : Int }\n\
    handler counter(n : Int) : Handler(Counter) = { state x = n\n next() => { x := x + 1\n x } }\n";

fn with_of(source: &str, name: &str) -> bool {
    let (module, _) = accepted(source);
    let flow = module.flows.iter().find(|f| f.name == name).unwrap();
    let crate::core::FlowBody::Expr(Expr { kind: ExprKind::With { shared, .. }, .. }) = &flow.body else {
        panic!("{flow:#?}")
    };
    *shared
}

#[test]
fn state_is_shared_where_something_may_be_spawned() {
    let lib = format!("import Topos.Lib (IO, Process, State)\n{COUNTER}");
    let body = "= with counter(1) { perform Counter.next() }";
    for (row, shared) in [("", false), ("/ {IO}", false), ("/ {State Int}", false), ("/ {IO, Process}", true)] {
        assert_eq!(with_of(&format!("{lib}flow f : () -> Int {row} {body}"), "f"), shared, "{row}");
    }
    let open = "flow f : (g : () -> Int / {Counter | e}) -> Int / e = with counter(1) { g() }";
    assert!(with_of(&format!("{lib}{open}"), "f"), "what `e` is nobody knows");
    // A state of functions may carry their evidence to another process.
    assert!(with_of(&format!("{lib}flow f : () -> Int / {{State (() -> () / {{IO}})}} {body}"), "f"));
}

#[test]
fn the_value_of_a_with_is_what_its_handler_makes_of_it() {
    let source = "effect Fail { operation fail[a](why : Text) : a }\n\
        handler result : Handler(Fail) = { fail(why) => abort Error(why)\n return x => Ok(x) }\n\
        handler maybe : Handler(Fail) = { return x => Some(x)\n fail(_) => abort None }\n\
        flow f(x) = with result { if x == 0 { perform Fail.fail(\"zero\") } else { x } }\n\
        flow g = with maybe, result { true }";
    assert_eq!(types(source), "f : Int -> Result Int Text\ng : () -> Maybe (Result Bool Text)");
}

#[test]
fn handlers_are_polymorphic_and_may_use_flows_that_use_them() {
    let source = "import Topos.Lib (State)\n\
        handler cell(start : s) : Handler(State s) = { state x = start\n get() => x\n put(y) => x := y }\n\
        handler pair(start : s) : Handler(State s) = { state x = start\n get() => x\n put(y) => x := y\n return r => (r, x) }\n\
        flow both = (with cell(1) { perform State.get() }, with pair(\"a\") { perform State.get() })\n\
        handler odd : Handler(State Int) = { get() => { let r = helper(0)\n r }\n put(_) => () }\n\
        flow helper n = if n == 0 { 1 } else { with odd { helper(n - 1) } }";
    assert_eq!(types(source), "both : () -> (Int, (Text, Text))\nhelper : Int -> Int");
}

#[test]
fn an_early_return_from_loops_and_handlers() {
    let source = format!(
        "{COUNTER}flow find : (x : Int) -> (xs : [Int]) -> Maybe Int = {{\n for y in xs {{\n if x == y {{ return Some(y) }}\n }}\n None }}\n\
         flow spin : Int = with counter(0) {{ loop {{ let n = perform Counter.next()\n if n > 9 {{ return n }}\n () }} }}\n\
         flow inner = fn(x) -> {{ if x == 1 {{ return 10 }}\n x }}"
    );
    assert_eq!(types(&source), "find : Int -> [Int] -> Maybe Int\nspin : () -> Int\ninner : () -> Int -> Int");
}
