//! Large and deep programs: time in proportion, no stack overflow, an error where a bound is met.

use super::{check, error_codes, types};
use crate::codes;

#[test]
fn types_that_double_with_each_let_are_refused_in_no_time() {
    let mut source = String::from("flow f x0 =\n");
    for i in 1..=60 {
        source.push_str(&format!("  let x{i} = fn(y) -> (x{0}, x{0})\n", i - 1));
    }
    source.push_str("  1\n");
    assert_eq!(error_codes(&source), [codes::TYPE_TOO_LARGE.0]);
}

#[test]
fn an_exported_type_that_is_too_large_is_an_error() {
    let mut source = String::from("flow f x0 =\n");
    for i in 1..=60 {
        source.push_str(&format!("  let x{i} = (x{0}, x{0})\n", i - 1));
    }
    source.push_str("  x60\n");
    assert_eq!(error_codes(&source), [codes::TYPE_TOO_LARGE.0]);
}

#[test]
fn types_that_grow_deeper_than_the_bound_are_an_error() {
    let mut source = String::from("flow f x0 =\n");
    for i in 1..=1_500 {
        source.push_str(&format!("  let x{i} = [x{}]\n", i - 1));
    }
    source.push_str("  x1500\n");
    assert!(error_codes(&source).contains(&codes::TYPE_TOO_LARGE.0));
}

#[test]
fn long_operator_chains_and_deep_nesting_do_not_overflow_the_stack() {
    let chain = (0..700).map(|i| i.to_string()).collect::<Vec<_>>().join(" + ");
    assert_eq!(types(&format!("flow f = {chain}\n")), "f : () -> Int");
    let deep = format!("flow f = {}1{}\n", "[".repeat(150), "]".repeat(150));
    assert!(check(&deep).is_ok());
    let lambdas = format!("flow f = {}1\n", "fn(x) -> ".repeat(80));
    assert!(check(&lambdas).is_ok());
    let conses = (0..700).map(|i| i.to_string()).collect::<Vec<_>>().join(" :: ");
    assert_eq!(types(&format!("flow f = {conses} :: []\n")), "f : () -> [Int]");
}

#[test]
fn deep_uses_of_handlers_messages_and_members_are_checked_or_refused() {
    let process = "import Topos.Process (Process)\n";
    let of = |open: &str, inner: &str, close: &str, depth: usize| {
        format!("flow f x = {}{inner}{}\n", open.repeat(depth), close.repeat(depth))
    };
    let effect = "effect E { operation op() : Int }\nhandler h : Handler(E) = { op() => 1 }\n";
    for source in [
        of("try ", "x", " with { | e -> x }", 30),
        format!("{effect}{}", of("try { ", "perform E.op()", " } with { op() => 2 }", 30)),
        format!("{effect}{}", of("with h { ", "perform E.op()", " }", 60)),
        format!(
            "{effect}flow f : (k : Handler(E)) -> Int = {}perform E.op(){}\n",
            "with k { ".repeat(60),
            " }".repeat(60)
        ),
        format!("{process}{}", of("receive { | 1 -> ", "x", " }", 30)),
        format!(
            "shape T = T\nimpl T {{\n{} }}\n",
            (0..500).map(|i| format!("  m{i}(n) = this.m{}(n)\n", i + 1)).collect::<String>()
        ),
        format!(
            "type T = {{ {} }}\nimpl T {{ {} }}\n",
            (0..500).map(|i| format!("f{i} : Int")).collect::<Vec<_>>().join(", "),
            (0..500).map(|i| format!("  m{i}() = f{i} + f{}\n", (i * 7) % 500)).collect::<String>()
        ),
        format!(
            "effect E[{}] {{ operation op() : () }}\n",
            (0..300).map(|i| format!("a{i} : Show")).collect::<Vec<_>>().join(", ")
        ),
        format!("flow f : (h : {}Int{}) -> Int = 1\n", "Handler(State ".repeat(60), ")".repeat(60)),
    ] {
        let start = std::time::Instant::now();
        let shown: String = source.chars().take(60).collect();
        // Whether it is accepted does not matter here.
        let _ = check(&source);
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "{shown} took {:?}", start.elapsed());
    }
}

#[test]
fn a_long_list_pattern_and_a_large_match_are_checked() {
    let items = vec!["1"; 3_000].join(", ");
    assert!(check(&format!("flow f xs = match xs {{ | [{items}] -> 1 | _ -> 2 }}\n")).is_ok());
    let ctors = (0..300).map(|i| format!("C{i}")).collect::<Vec<_>>().join(" | ");
    let arms = (0..300).map(|i| format!("| C{i} -> {i}")).collect::<Vec<_>>().join(" ");
    let source = format!("shape T = {ctors}\nflow f(t : T) : Int = match t {{ {arms} }}\n");
    assert!(check(&source).is_ok());
}

#[test]
fn a_match_that_is_hard_to_check_is_compiled_with_a_last_arm_that_fails() {
    // The classic exponential case: a diagonal of wildcards over many columns.
    let n = 18;
    let mut arms = String::new();
    for i in 0..n {
        for value in ["true", "false"] {
            let row: Vec<&str> = (0..n).map(|j| if i == j { value } else { "_" }).collect();
            if i > 0 || value == "true" {
                arms.push_str(&format!("| ({}) when x -> 1 ", row.join(", ")));
            }
        }
    }
    let vars = vec!["x"; n].join(", ");
    let source = format!("flow f(x : Bool) : Int = match ({vars}) {{ {arms} | _ -> 2 }}\n");
    assert!(check(&source).is_ok());
}

#[test]
fn a_block_with_too_many_statements_is_an_error() {
    let source = format!("flow f =\n{}  1\n", "  let x = 1\n".repeat(3_000));
    assert_eq!(error_codes(&source), [codes::TYPE_TOO_LARGE.0]);
    let source = format!("flow f =\n{}  1\n", "  let x = 1\n".repeat(1_900));
    assert!(check(&source).is_ok());
}

#[test]
fn many_flows_that_call_the_next_one_are_checked() {
    let mut source = String::new();
    for i in 0..3_000 {
        source.push_str(&format!("flow f{i} x = f{}(x)\n", i + 1));
    }
    source.push_str("flow f3000 x = x\n");
    assert!(check(&source).is_ok());
}
