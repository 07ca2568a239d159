//! Mistakes people make, and what they are told. Each snapshot is the program and its messages.

use crate::render::render;
use topos_lang::syntax::{codes, parse};

/// The program and what is said about it, with a blank line between.
fn told(source: &str) -> String {
    let diagnostics = parse(source).diagnostics;
    assert!(!diagnostics.is_empty(), "no diagnostic for:\n{source}");
    for diagnostic in &diagnostics {
        assert!(codes::explain(diagnostic.code).is_some(), "{} has no explanation", diagnostic.code);
    }
    format!("{}\n\n{}", source.trim_end(), render(source, &diagnostics))
}

macro_rules! mistakes {
    ($($(#[$doc:meta])* $name:ident: $source:expr;)*) => {
        $($(#[$doc])* #[test] fn $name() { insta::assert_snapshot!(told($source)); })*

        /// One mistake is one error.
        #[test]
        fn one_mistake_is_one_error() {
            let mut wrong = String::new();
            for (name, source) in [$((stringify!($name), $source)),*] {
                let diagnostics = parse(source).diagnostics;
                if diagnostics.len() != 1 && !name.starts_with("several_") {
                    wrong.push_str(&format!("{name}:\n{}\n", render(source, &diagnostics)));
                }
            }
            assert_eq!(wrong, "");
        }
    };
}

mistakes! {
    missing_brace_of_if: "
flow f(x) =
  if x > 1 {
    log(\"big\")

flow g = 1
";
    missing_brace_inside_of_another: "
flow f(x) =
  with h {
    if x > 1 {
      log(\"big\")
    log(\"done\")
  }

flow g = 1
";
    missing_brace_before_the_next_arm: "
flow f(x) =
  match x {
    | A -> if y {
        log(\"a\")
    | B -> log(\"b\")
  }
";
    missing_opening_brace: "
flow f(x) =
  if x > 1
    log(\"big\")
  }
  log(\"done\")
";
    missing_braces_as_in_python: "
flow f(x) =
  if x > 1
    log(\"big\")
  log(\"done\")
";
    missing_brace_at_the_end_of_the_file: "flow f = loop {\n  step()\n";
    missing_parenthesis: "
flow f(x) =
  log(g(x)
  done()
";
    missing_parenthesis_in_a_list_of_lines: "
flow f(x) =
  send(
    x,
    [1, 2
  )
  done()
";
    missing_comma_in_a_call: "
flow f(x) =
  send(
    node
    message
  )
";
    stray_parenthesis: "flow f(x) =\n  log(x))\n  done()\n";
    stray_brace: "flow f(x) =\n  log(x)\n}\n\nflow g = 1\n";
    stray_end: "
flow f(x) =
  match x {
    | 1 -> 2
  } end
";
    stray_else: "flow f(x) =\n  log(x)\n  else {\n    1\n  }\n";
    match_without_end: "
flow f(x) =
  match x of
    | 1 -> 2
    | _ -> 3

flow g = 1
";
    equals_in_a_condition: "flow f(x) =\n  if x = 1 { 2 } else { 3 }\n";
    equals_in_a_guard: "flow f(x) =\n  match x { | n when n = 1 -> 2 | _ -> 3 }\n";
    equals_in_an_argument: "flow f(x) = log(x = 1)\n";
    chained_comparison: "flow f(a, b, c) = a < b < c\n";
    chained_inequality: "flow f(a, b, c) = a != b != c\n";
    keyword_as_a_variable: "flow f(x) =\n  let end = 5\n  end_ + x\n";
    keyword_as_a_parameter: "flow f(loop) = 1\n";
    keyword_as_a_flow: "flow match(x) = x\n";
    keyword_as_a_field: "flow f(r) = r.end\n";
    keyword_bound: "flow f(x) =\n  of = 3\n  x\n";
    missing_arrow_in_an_arm: "
flow f(x) =
  match x {
    | Some(y) y + 1
    | None -> 0
  }
";
    fat_arrow_in_an_arm: "flow f(x) =\n  match x {\n    | Some(y) => y\n    | None -> 0\n  }\n";
    arms_without_bars: "
flow f(x) =
  match x {
    Some(y) -> y
    None -> 0
  }
";
    second_arm_without_a_bar: "
flow f(x) =
  match x {
    | Some(y) -> y
    None -> 0
  }
";
    arm_without_a_body: "flow f(x) =\n  match x {\n    | Some(y) ->\n    | None -> 0\n  }\n";
    operator_in_a_pattern: "flow f(x) =\n  match x {\n    | n + 1 -> n\n    | _ -> 0\n  }\n";
    head_and_tail_with_a_bar: "flow f(x) =\n  match x {\n    | [h | t] -> h\n    | _ -> 0\n  }\n";
    unterminated_text: "flow f(x) =\n  log(\"hello)\n  log(x)\n";
    unterminated_format: "flow f(x) =\n  log(f\"hello {x)\n  log(x)\n";
    unterminated_comment: "flow f = 1\n{- a {- b -}\nflow g = 2\n";
    several_unknown_escapes: "flow f = \"a\\qb \\u{110000}x\"\n";
    brace_escape_outside_of_a_format: "flow f = \"\\{\"\n";
    malformed_number: "flow f = wait(5sec)\n";
    fraction_of_a_duration: "flow f = wait(1.5s)\n";
    too_long_a_duration: "flow f = wait(9223372036854775807h)\n";
    semicolon: "flow f =\n  a(); b()\n";
    semicolons_at_all_line_ends: "
import Topos.IO (IO, print);

type User = { name : Text, age : Int };

flow f(x) = {
  let y = x + 1; -- one more
  a();   b(y);
  if y > 1 { a(); } else { b(); };
  match y {
    | 1 -> a();
    | _ -> b();
  };
  y;
}
";
    semicolons_between_elements: "flow f = [1; 2; 3]\nflow g = h(1; (2; 3))\n";
    semicolons_between_fields: "flow f = { a = 1; b = 2 }\n";
    several_records_with_semicolons: "
flow f = { a = 1; b = 2; c = { d = 3; e = 4 } }
flow g = {
  a = 1;
  b = 2;
}
flow h(x) = {
  a = 1; b = 2
  a + b + x
}
";
    several_mistakes_beside_semicolons: "
flow f(x) = {
  let y = [1, 2;
  a();
  let z = = y;
  b();
}

flow g(x) = h(x;

flow k(x) = $x;
";
    no_break_spaces: "flow f(x) =\n\u{a0} a()\n\u{a0} b()\n";
    smart_quotes: "flow f = log(\u{201c}hi\u{201d})\n";
    accented_name: "flow caf\u{e9} = 1\n";
    slash_comment: "flow f = 1 // one\nflow g = 2\n";
    hash_comment: "# one\nflow g = 2\n";
    lower_case_type: "type point = { x : Int }\n";
    lower_case_constructor: "type Colour = | red | Green\n";
    upper_case_flow: "flow Start(x) = x\n";
    upper_case_field: "type T = { Name : Text }\n";
    not_a_place: "flow f(x) =\n  g(x) := 1\n";
    binding_of_a_call: "flow f(x) =\n  g(x) = 1\n  x\n";
    binding_of_a_tuple: "flow f(x) =\n  (a, b) = x\n  a\n";
    binding_of_a_field: "flow f(x) =\n  x.y = 1\n  x\n";
    typed_binding_without_let: "flow f(x) =\n  y : Int = x\n  y\n";
    var_binding: "flow f(x) =\n  var y = x\n  y\n";
    bind_without_a_value: "flow f(x) =\n  y <-\n";
    let_without_a_value: "flow f(x) =\n  let y =\n\nflow g = 1\n";
    operator_without_an_operand: "flow f(x) =\n  x +\n\nflow g = 1\n";
    two_statements_on_a_line: "flow f(x) =\n  let y = x let z = y\n  z\n";
    comparison_with_a_negative_number: "flow f(x) =\n  if x <-1 { 2 } else { 3 }\n";
    perform_without_a_call: "flow f(x) =\n  perform P.members\n  x\n";
    perform_by_juxtaposition: "flow f(x) = perform P.send x\n";
    then_without_else: "flow f(x) =\n  if x then 1\n  x\n";
    record_behind_a_function: "flow f(x) =\n  init { topology = x, port = 1 }\n";
    record_without_commas: "config c : T = {\n  a = 1\n  b = 2\n}\n";
    record_without_one_comma: "config c : T = {\n  a = 1,\n  b = 2\n  c = 3\n}\n";
    record_with_a_quoted_field: "config c : T = { \"a\": 1 }\n";
    record_update_with_a_bar: "flow f(r) = { r | a = 1 }\n";
    record_spread: "flow f(r) = { ...r, a = 1 }\n";
    record_of_values: "flow f(r) = { g(r), 2 }\n";
    case_of_another_language: "flow f(x) =\n  case x of\n    | 1 -> 2\n    | _ -> 3\n  end\n";
    match_with: "flow f(x) =\n  match x with\n    | 1 -> 2\n    | _ -> 3\n\nflow g = 1\n";
    elif: "flow f(x) =\n  if x { 1 } elif y { 2 } else { 3 }\n";
    result_behind_an_arrow: "flow f(x : Int) -> Int = x\n";
    conditional_operator: "flow f(x) = x > 1 ? 2 : 3\n";
    bare_lambda: "flow f(x) =\n  let g = y -> y + 1\n  g(x)\n";
    single_quotes: "flow f = 'abc'\n";
    missing_bracket_of_a_list: "flow f = [1, 2, 3\n\nflow g = 1\n";
    two_commas: "flow f(a,, b) = a\n";
    guard_with_if: "flow f(x) =\n  match x { | n if n > 1 -> 2 | _ -> 3 }\n";
    negation_with_a_bang: "flow f(x) =\n  if !x { 1 } else { 2 }\n";
    return_in_an_expression: "flow f(x) = if x then return 1 else 2\n";
    underscore_as_a_value: "flow f(x) = g(_, x)\n";
    numbered_field: "flow f(x) = x.0\n";
    index_with_two_keys: "flow f(m) = m[1, 2]\n";
    top_level_binding: "limit = 5\n\nflow g = 1\n";
    top_level_def: "def f(x) = x\n\nflow g = 1\n";
    top_level_data: "data T = A | B\n";
    indented_declaration: "flow f = 1\n\n  type T = A | B\n";
    indented_first_declaration: "  type T = A | B\n";
    flow_inside_of_a_block: "flow f(x) =\n  with h {\n    flow g(y) = y\n    g(x)\n  }\n";
    flow_without_a_body: "flow f(x) =\n\nflow g = 1\n";
    flow_without_equals: "flow f(x) {\n  x + 1\n}\n";
    flow_with_an_arrow: "flow f(x) -> x + 1\n";
    two_parameters_before_an_arrow: "flow f : (x : Int, y : Int) -> Int = x\n";
    named_result: "flow f : Int -> (y : Int) = 1\n";
    row_without_braces: "flow f : Int -> Int / IO = 1\n";
    row_that_is_missing: "flow f : Int -> Int / = 1\n";
    nested_forall: "flow f : (forall a. a -> a) -> Int = 1\n";
    constraint_that_is_none: "flow f : a => a -> a = x\n";
    generic_type_in_angles: "type Box<a> = | Box(a)\n";
    default_in_an_anonymous_record: "flow f : { a : Int = 1 } -> Int = 1\n";
    handler_without_a_type: "handler h = {\n  get() => 1\n}\n";
    handler_of_something_else: "handler h : Counter = {\n  get() => 1\n}\n";
    clause_with_an_arrow: "handler h : Handler(E) = {\n  get() -> 1\n  put(x) => ()\n}\n";
    clause_of_two_lines: "handler h : Handler(E) = {\n  get() =>\n    log(\"x\")\n    1\n  put(x) => ()\n}\n";
    state_without_a_value: "handler h : Handler(E) = {\n  state n : Int\n  get() => n\n}\n";
    operation_without_its_keyword: "effect E {\n  get() : Int\n  operation put(x : Int) : ()\n}\n";
    effect_without_a_brace: "effect E =\n  operation get() : Int\n";
    instance_with_for: "instance Show for Point where\n  show p = \"p\"\n";
    trait_with_braces: "trait Show a {\n  show : a -> Text\n}\n";
    import_of_a_name: "import Topos.List.map\n\nflow f = 1\n";
    import_with_constructors: "import Topos.Maybe (Maybe(..), map)\n";
    late_module_header: "flow f = 1\n\nmodule M where\n";
    second_module_header: "module M where\n\nmodule N where\n";
    extern_without_a_type: "extern flow f = \"m:f\"\n";
    extern_of_a_type: "extern type T\n";
    extern_without_a_target: "extern flow f : () -> Int\n";
    test_without_a_name: "test {\n  assert(true)\n}\n";
    session_without_an_end: "session S = !Int\n";
    session_with_a_dot: "session S = !Int . ?Text . end\n";
    protocol_without_locations: "protocol P (a, b) =\n  a -> b : Hello\n";
    protocol_step_without_a_message: "protocol P (a @ local, b @ remote) =\n  a -> b\n  b -> a : Bye\n";
    protocol_choice_without_bars: "protocol P (a @ local, b @ remote) =\n  choice at a {\n    yes -> a -> b : Yes end\n  }\n";
    too_deep: &format!("flow f = {}", "(".repeat(300));
    several_mistakes_in_a_file: "
module M where

import topos.list

flow f(x) =
  if x = 1 {
    let of = 2
    log(\"one)
  }
  match x {
    | 1 => 2
    | n n
  }

type T = | a(Int) | B

flow g(x) =
  x !== 1 === 2
  perform E.op
";
    several_mistakes_in_a_block: "
flow f(x) =
  a +
  b ) c
  d = = 3
  e
";
}
