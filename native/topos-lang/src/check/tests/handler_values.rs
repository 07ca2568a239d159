//! Handlers as values.

use super::{errors, types};

macro_rules! rejected {
    ($($name:ident = $source:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let source = concat!(
                    "import Topos.Lib (IO, State, cell, log)\n\
                     effect Counter { operation next() : Int }\neffect Other { operation other() : Int }\n\
                     handler counter(start : Int) : Handler(Counter) = { state n = start\n next() => n }\n\
                     handler loud : Handler(Counter) / {IO} = { next() => { log(\"x\")\n 1 } }\n\
                     flow f : (h : Handler(Counter)) -> Int = with h { perform Counter.next() }\n",
                    $source
                );
                insta::assert_snapshot!(format!("{}\n----\n{}", $source, errors(source)));
            }
        )*
    };
}

rejected! {
    a_handler_with_effects_where_none_are_allowed = "flow a = f(loud)";
    a_handler_without_its_arguments = "flow b = f(counter)";
    a_handler_value_with_a_wrong_argument = "flow c = f(counter(\"x\"))";
    a_handler_that_aborts_as_a_value = "handler stops : Handler(Counter) = { next() => abort 1 }\nflow d = f(stops)";
    a_handler_that_answers_another_type_as_a_value = "handler turns : Handler(Counter) = { next() => 1\n return x => f\"{x}\" }\nflow e = f(turns)";
    a_handler_of_another_effect = "flow g : (h : Handler(Other)) -> Int = f(h)";
    a_with_of_a_number = "flow i : (h : Int) -> Int = with h { 1 }";
    the_row_of_a_handler_value_counts = "flow j : (h : Handler(Counter) / {IO}) -> Int = with h { perform Counter.next() }";
    a_handler_of_an_unknown_type = "flow k = fn(h) -> with h { 1 }";
    a_handler_type_of_an_unknown_effect = "flow l : (h : Handler(Nothing)) -> Int = 1";
    a_handler_type_without_an_effect = "flow m : (h : Handler) -> Int = 1";
    handlers_compared = "flow n : (h : Handler(Counter)) -> Bool = h == h";
    a_handler_value_called = "flow p : (h : Handler(Counter)) -> Int = h(1)";
    a_handler_value_does_not_handle_another_effect = "flow q : (h : Handler(Counter)) -> Int = with h { perform Other.other() }";
    a_handler_value_in_its_own_clause = "handler own : Handler(Counter) = { next() => f(own) }";
}

#[test]
fn the_types_of_handler_values() {
    insta::assert_snapshot!(types(
        "import Topos.Lib (IO, State, cell, log)\n\
         effect Counter { operation next() : Int }\n\
         handler counter(start : Int) : Handler(Counter) = { state n = start\n next() => n }\n\
         handler loud : Handler(Counter) / {IO} = { next() => { log(\"x\")\n 1 } }\n\
         flow b(n) = counter(n)\nflow c = loud\nflow d(x) = cell(x)\n\
         flow e(x) = if x { counter(1) } else { loud }\n\
         flow f(h : Handler(State Int)) = with h { perform State.get() }\n\
         flow g : (h : Handler(Counter) / {IO | e}) -> (body : () -> a / {Counter, IO | e}) -> a / {IO | e} = with h { body() }"
    ), @r"
    b : Int -> Handler(Counter) / e
    c : () -> Handler(Counter) / {IO | e}
    d : s -> Handler(State s) / e
    e : Bool -> Handler(Counter) / {IO | e}
    f : Handler(State Int) -> Int
    g : (Handler(Counter) / {IO | e}) -> (() -> a / {Counter, IO | e}) -> a / {IO | e}
    ");
}
