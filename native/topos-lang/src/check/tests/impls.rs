//! `impl`.

use super::{accepted, check_with, errors, imports, types};

macro_rules! rejected {
    ($($name:ident = $source:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let source = concat!("import Topos.Lib (IO, log)\ntype B = { n : Int, open : Bool = false }\n", $source);
                insta::assert_snapshot!(format!("{source}\n----\n{}", errors(source)));
            }
        )*
    };
}

rejected! {
    an_impl_of_another_module = "impl Maybe a { size : Int = 1 }\nflow f : (b : Maybe Int) -> Int = b.size()";
    an_impl_of_another_name = "type C = B\nimpl C { size : Int = n }";
    an_impl_with_too_many_parameters = "impl B a { size : Int = n }";
    a_member_that_assigns_a_field = "impl B { add : (k : Int) -> () = n := n + k }";
    a_member_twice = "impl B {\n size : Int = n\n twice : Int = 2 * n\n}\nimpl B { size : Int = 1 }";
    a_member_of_another_type = "impl B { size : Text = n }";
    a_member_that_performs = "impl B { show_it : () = log(f\"{n}\") }";
    an_unknown_member = "impl B { size : Int = n }\nflow f : (b : B) -> Int = b.sise()";
    a_member_without_its_value = "impl B { size : Int = n }\nflow f = size()";
    a_member_with_another_argument = "impl B { add : (k : Int) -> Int = n + k }\nflow f : (b : B) -> Int = b.add(\"1\")";
}

#[test]
fn members_without_signatures_are_inferred_before_those_that_call_them() {
    insta::assert_snapshot!(types(
        "type B = { n : Int }\nflow last(b : B) = b.next().n\nimpl B {\n  next() = { this with n = step() }\n}\nflow step = 2"
    ), @r"
    last : B -> Int
    B.next : B -> B
    step : () -> Int
    ");
}

#[test]
fn members_are_found_in_other_modules_and_no_private_ones() {
    let mut imports = imports();
    let shop = "module Shop\ntype B = { n : Int }\nimpl B { size : Int = n }\ntype P = { n : Int }\nprivate impl P { size : Int = n }";
    let (_, interface) = check_with(shop, &imports, None).unwrap();
    imports.insert("Shop".into(), interface.into());
    let codes = |body: &str| match check_with(&format!("import Shop as S\n{body}"), &imports, None) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(|e| e.code.0).collect(),
    };
    assert_eq!(codes("flow f : (b : S.B) -> Int = b.size() + S.B.size(b)"), [0; 0]);
    assert_eq!(codes("flow f : (p : S.P) -> Int = p.size()"), [205]);
}

#[test]
fn the_code_of_a_member_is_that_of_a_flow() {
    let (module, _) = accepted("type B = { n : Int }\nimpl B { add : (n : Int) -> Int = n + this.n }");
    assert_eq!(module.flows[0].name, "B.add");
    assert_eq!(module.flows[0].params.len(), 2);
}
