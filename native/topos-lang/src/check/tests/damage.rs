//! Modules with syntax errors: what is wrong with the rest of them is told as well, and nothing else.

use super::{imports, render};
use crate::check::{check_module, check_readable, Imports, Options};
use crate::diagnostic::Diagnostic;
use crate::syntax::{ast::DeclKind, parse};

const OPTIONS: Options<'_> =
    Options { file: "test.topos", default_name: "Test", root_effects: None, test_effects: &["Topos.Lib.IO"] };

/// The syntax errors of a source, and all that is reported of it.
fn reported(source: &str, imports: &Imports) -> (Vec<Diagnostic>, Vec<Diagnostic>) {
    let parse = parse(source);
    let syntax = parse.diagnostics.clone();
    assert!(!syntax.is_empty(), "no syntax error in\n{source}");
    let all = match parse.readable() {
        Err(all) => all,
        Ok(readable) => match check_readable(&readable, imports, &OPTIONS) {
            Ok(_) => panic!("accepted with a syntax error:\n{source}"),
            Err(all) => all,
        },
    };
    (syntax, all)
}

fn told(source: &str) -> String {
    render(source, &reported(source, &imports()).1)
}

/// All that is reported are the syntax errors.
fn only_syntax(source: &str, imports: &Imports) {
    let (syntax, all) = reported(source, imports);
    assert_eq!(syntax, all, "{}\n{source}", render(source, &all));
}

#[test]
fn mistakes_of_both_kinds_are_told_in_the_order_of_the_source() {
    insta::assert_snapshot!(told(
        "flow first(x : Int) : Text = x + 1\n\nflow broken(x) = (x + )\n\nflow last : Int = unknown"
    ), @r#"
    error[TP0200]: expected `Text`, found `Int`
      1 | flow first(x : Int) : Text = x + 1
                                       ^^^^^
      1 | flow first(x : Int) : Text = x + 1
                                ---- expected because of this
      help: an f-string shows any value: `f"{..}"`
    error[TP0013]: expected an expression, found `)`
      3 | flow broken(x) = (x + )
                                ^
      help: a value belongs here: a name, a literal, a call, or a block in braces
    error[TP0100]: unknown name `unknown`
      5 | flow last : Int = unknown
                            ^^^^^^^
      help: define it, or import the module that does
    "#);
}

#[test]
fn a_flow_with_a_syntax_error_fits_wherever_it_is_used() {
    let uses = [
        "flow use : (n : Int) -> Int = broken(n, 3) + 1",
        "flow use n = broken(\"a\").foo + 2\nflow more : Int = use(3)",
        "flow use(n : Int) : Int = n |> broken",
        "flow use(n : Int) : Text = f\"{broken(n)}\" ++ show(broken(2))",
        "flow use(n : Int) : Int = match broken(n) { | Some(x) -> x | None -> 1 }",
        "flow use(n : Int) : Int = match (n, broken(n)) { | (_, Some(x)) -> x | (_, None) -> 1 }",
        "flow use(n : Int) = broken(n)\nflow more : Int = match use(1) { | Some(x) -> x | None -> 1 }",
        "flow use(n : Int) : Int = with broken(n) { 1 }",
        "flow use(n : Int) : Int = with broken { 1 }",
        "flow use(n : Int) : Int = n.broken(2)",
        "flow use : Int = Test.broken(2)",
        "flow use : [Int] = [broken, broken(1)]",
        "flow use : Bool = broken == 1 && broken(2) < broken(3)",
        "flow use(n : Int) : () = for x in broken(n) { x }",
        "flow use : Int = { let (a, b) = broken(1)\n a + b }",
        "config use : Int = broken(2)",
        "type Use = { a : Int = broken(1) }",
        "type U = | U\ninstance Show U where\n  show u = broken(u)",
        "test \"use\" { broken(1) }",
        "private flow use = broken\nexport (broken)",
    ];
    for used in uses {
        only_syntax(&format!("flow broken(x) = (x + )\n\n{used}\n"), &imports());
    }
}

#[test]
fn errors_of_other_declarations_stand_alone() {
    for damaged in [
        "type T = { a : Int, b = 3 }",
        "effect E { operation }",
        "trait T a where\n  m : -> a",
        "handler h : Handler(IO) = { print(x) => }",
        "import Topos.Lib (",
        "f(x) = 1",
    ] {
        only_syntax(&format!("{damaged}\n\nflow f : Text = 1\n"), &imports());
    }
    // A declaration may be hidden in the one with the error.
    for damaged in ["flow g = {- 1", "flow g = ( flow h = 2", "flow g = (\nh = 2", "flow g = ( 1\n  type H = | H"] {
        only_syntax(&format!("flow f : Text = 1\n\n{damaged}\n"), &imports());
    }
}

#[test]
fn clauses_of_a_flow_go_together() {
    only_syntax("flow f 0 = 1\nflow f n = n * )\nflow f 3 = \"a\"\nflow use : Text = f(1)\n", &imports());
    only_syntax("flow f : Int -> Int\nflow f n = n * )\n", &imports());
    only_syntax("flow f 0 = 1\nflow g = )\nflow f n = (\n", &imports());
    // The name of the second clause is the mistake.
    only_syntax("flow f 0 = 1\nflow F n = 2\nflow use : Int = f(1)\n", &imports());
    only_syntax("flow is-zero 0 = True\nflow use : Text = is-zero(1)\n", &imports());
    only_syntax("flow 2nd x = x\n\nflow other = 1\n\nflow use : Int = second(1)\n", &imports());
}

#[test]
fn what_stands_beside_a_broken_body_is_checked() {
    let source = "flow a = 1 + \"\"\nflow b = )\nflow c : Text = 1\n";
    let (syntax, all) = reported(source, &imports());
    assert_eq!(all.len(), syntax.len() + 2, "{}", render(source, &all));
}

#[test]
fn several_broken_flows_tests_and_properties() {
    let source = "flow a = )\ntest \"t\" { assert( }\nflow b : Text = 1\nproperty \"p\" { forall ( }\nflow c = [\n";
    let (syntax, all) = reported(source, &imports());
    assert_eq!(all.len(), syntax.len() + 1, "{}", render(source, &all));
    assert!(all.is_sorted_by_key(|d| d.primary.span.start));
}

#[test]
fn what_a_lost_flow_might_have_decided_is_not_asked() {
    only_syntax("flow broken(x) = )\nflow use : Text = { let a = broken(1)\n show(a ++ a) }\n", &imports());
    only_syntax("flow broken(x) = )\nflow use(n) : Int = broken(fn(x) -> x.len())\n", &imports());
    only_syntax("flow broken(x) = )\nproperty \"p\" { forall (x) { broken(x) } }\n", &imports());
}

/// Flows of the library and of programs that are right, each broken alone.
#[test]
fn a_broken_flow_is_the_only_mistake_of_a_module() {
    let library = super::stdlib::library();
    let folders = ["topos_stdlib/Topos", "examples", "examples/guide", "native/topos-cli/tests/cases/language"];
    let (mut broken, mut contained) = (0, 0);
    let mut wrong = String::new();
    for source in folders.into_iter().flat_map(super::stdlib::sources) {
        let whole = parse(&source);
        // A module does not import itself.
        let mut library = library.clone();
        library.remove(&*whole.module.name.as_ref().map_or_else(String::new, |name| name.dotted()));
        // Some programs are wrong on purpose, or have modules beside them.
        if !whole.diagnostics.is_empty() || check_module(&whole.module, &library, &OPTIONS).is_err() {
            continue;
        }
        for (n, decl) in whole.module.decls.iter().enumerate() {
            let DeclKind::Flow(flow) = &decl.kind else { continue };
            let Some(body) = &flow.body else { continue };
            let damage = [")", "{ let = }", "match {", "(1", "[1,,2]", "\"", "if", "1 +"][n % 8];
            let (start, end) = (body.span.start as usize, body.span.end as usize);
            let source = format!("{}{damage}{}", &source[..start], &source[end..]);
            let (syntax, all) = reported(&source, &library);
            broken += 1;
            contained += usize::from(parse(&source).readable().is_ok());
            if syntax != all {
                wrong.push_str(&format!("`{damage}` as `{}`:\n{}\n", flow.name.name, render(&source, &all)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(broken > 200 && contained * 10 > broken * 9, "of {broken} broken flows {contained} were contained");
}
