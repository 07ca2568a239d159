//! `try` with arms and with clauses.

use super::{accepted, errors, types};

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
    an_arm_of_another_type = "flow f : Int = try 1 with { | failure -> \"none\" }";
    an_arm_for_no_failure = "flow f : Int = try 1 with { | None -> 2 | Some(x) -> x }";
    an_arm_for_an_unknown_field = "flow f : Int = try 1 with { | { kode: \"TP1021\" } -> 2 }";
    an_arm_that_never_matches = "flow f : Int = try 1 with { | failure -> 2 | { code: \"TP1021\" } -> 3 }";
    an_arm_that_performs = "flow f : Int = try 1 with { | failure -> { log(failure.message)\n 2 } }";
    a_body_that_performs = "flow f : Int = try { log(\"\")\n 1 } with { | _ -> 2 }";
    a_clause_for_no_operation = "flow f : Int = try perform State.get() with { gte() => 1\n put(x) => () }";
    a_clause_is_missing = "flow f : Int = try perform State.get() with { get() => 1 }";
    a_clause_of_another_effect = "flow f : Int = try perform State.get() with { get() => 1\n put(x) => ()\n send(x) => () }";
    a_clause_of_another_type = "flow f : Int = try perform State.get() with { get() => \"one\"\n put(x) => () }";
    a_clause_of_two_effects = "effect Other { operation get() : Int\n operation put(value : Int) : () }\nflow f : Int = try perform State.get() with { get() => 1\n put(x) => () }";
    a_clause_that_does_more = "flow f : Int = try perform State.get() with { get() => { log(\"get\")\n 1 }\n put(x) => () }";
    a_body_with_an_effect_that_is_not_handled = "flow f : Int = try { log(\"x\")\n perform State.get() } with { get() => 1\n put(x) => () }";
    no_operation_at_all = "flow f : Int = try 1 with { return x => x + 1 }";
    an_answer_of_another_type = "flow f : Int = try perform State.get() with { get() => 1\n put(x) => ()\n return x => f\"{x}\" }";
    atomic_in_a_clause = "handler h : Handler(State Int) = { state n = 1\n get() => try { perform Chan.send(1)\n 1 } with { send(x) => atomic { n := n + 1 }\n receive() => abort 2 }\n put(x) => n := x }";
}

#[test]
fn a_try_has_the_effects_of_its_parts() {
    insta::assert_snapshot!(types(
        "import Topos.Lib (IO, State, log)\n\
         flow f(x) = try { log(x)\n x } with { | failure -> failure.message }\n\
         flow g(x) = try { perform State.put(x)\n perform State.get() } with { get() => x\n put(y) => log(\"put\") }\n\
         flow h = try 1 / 0 with { | _ -> 0 }"
    ), @r"
    f : Text -> Text / {IO}
    g : a -> a / {IO}
    h : () -> Int
    ");
}

#[test]
fn clauses_take_what_they_use_as_parameters() {
    let (module, _) = accepted(
        "import Topos.Lib (State)\nflow f : Show a => (x : a) -> (unused : Int) -> (n : Text) -> Text = try {\n perform State.get() }\n with { get() => n ++ show(x)\n put(y) => () }",
    );
    let [handler] = module.handlers.as_slice() else { panic!("one handler") };
    let params: Vec<&str> = handler.params.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(params, ["n", "dictionary", "x"]);
    assert!(!handler.exported);
}
