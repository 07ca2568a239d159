//! Programs with mistakes, with their messages.

use super::{check_with, error_codes, errors, imports, render};

macro_rules! rejected {
    ($($name:ident = $source:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let source = $source;
                insta::assert_snapshot!(format!("{source}\n----\n{}", errors(source)));
            }
        )*
    };
}

rejected! {
    unknown_name = "flow f(count : Int) : Int = cuont + 1";
    unknown_name_of_an_import = "import Topos.Lib\nflow f = lenght([1])";
    unknown_name_of_a_module_at_hand = "flow f = log(\"x\")";
    unknown_type = "flow f : (x : Itn) -> Int = 1";
    unknown_constructor = "flow f = Sme(1)";
    unknown_effect = "import Topos.Lib\nflow f : () / {OI} = ()";
    unknown_operation = "import Topos.Lib\nflow f : () / {IO} = perform IO.prnt(\"x\")";
    unknown_module = "import Topos.Lbi\nflow f = 1";
    names_of_other_languages = "flow f a b = a and b\nflow g a b = g(a, b) or b\nflow h = null\nflow i = Just(1)\nflow j = Nothing\nflow k = True\nflow l = False\nflow m = Err(1)\nflow n = Right(1)\nflow o = Nil\nflow p = range(3)\nflow q = len([1])\nflow r = toString(1)\nflow s = println(1)\nflow t = even(1)\nflow u = odd(1)\nflow v = foldl(1)\nflow w = forEach(1)";
    types_of_other_languages = "flow f : (a : Integer) -> Double = 1\nflow g : (a : Boolean) -> Char = 1\nflow h : (a : Void) -> Array Int = 1\nflow i : (a : Dict Int Int) -> Either Int Text = 1";
    own_operators_of_foreign_names = "flow and x y = x && y\nflow f g = g(and, true)\nflow h or = h(or, 1) + true";
    own_types_of_usual_names = "type Failure = { at : Int }\nshape Maybe a = Nil | One(a)\nflow f : Failure = \"x\"\nflow g : Int = One(1)\nflow h : Maybe Int = 1";
    failure_of_the_prelude = "flow f : Failure = \"x\"";
    unknown_qualifier = "import Topos.Lib as L\nflow f = M.length([1])";
    not_exported = "import Topos.Lib as L\nflow f = L.hidden()";
    import_of_an_unknown_name = "import Topos.Lib (logg)\nflow f = 1";
    export_of_an_unknown_name = "export (f, g)\nflow f = 1";
    defined_twice = "flow f = 1\nflow g = 2\nflow f = 3\nshape A = X | X";
    bound_twice = "flow f x x = x\nflow g = fn((a, b), a) -> a";
    alias_cycle = "type A = [B]\ntype B = (A, Int)\nflow f : (x : A) -> Int = 1";
    type_parameter_missing = "shape Box a = Box(b)";
    type_arguments = "flow f : (x : Maybe) -> Map Int = 1";
    same_atom = "shape E = NodeUp | Node_Up";

    argument_mismatch = "flow f : (x : Int) -> (y : Text) -> Text = y\nflow g = f(1, 2)";
    result_mismatch = "flow f : (x : Int) -> Text = x + 1";
    branch_mismatch = "flow f x = if x { 1 } else { \"a\" }";
    arm_mismatch = "flow f x = match x { | 1 -> \"one\" | _ -> 2.5 }";
    condition_mismatch = "flow f = if 1 { 2 } else { 3 }";
    element_mismatch = "flow f = [1, \"b\", true]";
    operand_mismatch = "flow f = \"a\" + 1\nflow g = true && 1\nflow h = 1 + 2.5 + \"x\"";
    joined_mismatch = "flow f = \"a\" ++ [1]";
    missing_argument = "flow f : (x : Int) -> (y : Int) -> Int = x + y\nflow g : Int = f(1)";
    too_many_arguments = "flow f : (x : Int) -> Int = x\nflow g = f(1, 2)\nflow h(x : Int) : Int = x(2)";
    infinite_type = "flow f x = x(x)";
    a_block_where_a_function_is_wanted = "import Topos.Lib\nflow f : () / {Process} = perform Process.spawn(())";
    no_such_field = "type P = { name : Text, size : Int }\nflow f : (p : P) -> Int = p.sise\nflow g = { a = 1 }.b";
    missing_fields = "import Topos.Lib as L\nconfig c : L.Config = { channels = 2 }\nconfig d : L.Config = { name = \"n\", chanels = 2 }";
    no_companion = "import Topos.Lib\nflow f : (xs : [Int]) -> Int = xs.size()\nflow g = fn(x) -> x.size()";
    functions_compared = "flow f : (g : Int -> Int) -> Bool = g == g";
    function_not_called = "import Topos.Lib\nflow f : () / {IO} =\n  log\n  ()";
    order_of_a_variable = "flow f : (x : a) -> (y : a) -> Bool = x < y\nflow g : (x : Maybe Int) -> Bool = x < None";
    ambiguous_operands = "flow f : Text = { let x = empty ++ empty\n \"\" }";
    unknown_trait = "flow f : Ordd a => (x : a) -> a = x\ninstance Shw Int where";
    trait_arguments = "flow f : Ord a b => (x : a) -> a = x\ntrait T where\n  m : Int";
    superclass_cycle = "trait A a extends B a where\n  x : a -> Int\ntrait B a extends A a where\n  y : a -> Int";
    untyped_member = "trait A a where\n  x y = y";
    unknown_member = "shape T = T\ninstance Ord T where\n  compar x y = Same\n  compare x y = Same\ninstance Eq T where\n  equal : T -> T -> Bool\n  equal x y = true";
    missing_member = "shape T = T\ninstance Num T where\n  add x y = x";
    member_of_another_type = "shape T = T\ninstance Eq T where\n  equal x y = 1";
    member_with_an_effect = "import Topos.Lib\nshape T = T\ninstance Show T where\n  show x = { log(\"x\")\n \"T\" }";
    bad_instances = "trait A a where\n  x : a -> Int\ninstance A a where\n  x y = 1\ninstance A (Int -> Int) where\n  x y = 1\ninstance A {a : Int} where\n  x y = 1";
    unknown_variable_in_a_context = "trait A a where\n  x : a -> Int\ninstance A b => A [c] where\n  x y = 1";
    paterson_conditions = "trait A a where\n  x : a -> Int\ninstance A [[c]] => A [c] where\n  x y = 1";
    orphan = "instance Num Text where\n  add x y = x";
    two_instances = "trait A a where\n  x : a -> Int\ninstance A Int where\n  x y = 1\ninstance A Int where\n  x y = 2";
    superclass_instance_missing = "trait A a where\n  x : a -> Int\ntrait B a extends A a where\n  y : a -> Int\ninstance B Int where\n  y n = n";
    no_instance_for_a_call = "trait A a where\n  x : a -> Int\nflow f = x(\"t\")\nflow g : A a => (y : a) -> Int = x(y)\nflow h = g([1])";
    no_instance_for_an_operator = "shape T = T(Int) | U\nflow f = T(1) < U\nflow g : (m : Map Int Int) -> Bool = m < m\nflow h = { a = 1 } < { a = 2 }";
    no_num_instance = "shape T = T\nflow f = T + T\nflow g : T = 1";
    instance_of_other_arguments = "trait A a where\n  x : a -> Int\ninstance A [Int] where\n  x y = 1\nflow f = x([\"t\"])";
    constraint_missing = "flow max3 : (x : a) -> (y : a) -> a = max(x, y)\nflow same : (x : a) -> (y : a) -> Bool = x == y\nflow all : Mapper f => (x : f a) -> f Text = map(show, x)";
    ambiguous_instance = "flow f : Text = { let x = empty\n \"\" }\ntrait Default a where\n  make : () -> a\nflow g : Text = show(make())";
    functions_in_a_structure = "shape T = T(Int -> Int)\nflow f : (x : T) -> Bool = [x] == [x]\nflow g = (1, fn(x) -> x) == (1, fn(x) -> x)";
    own_equality_is_not_hidden = "shape M = M(Int)\ninstance Eq M where\n  equal x y = true\nshape W = W(M)\nflow f = W(M(1)) == W(M(2))";
    not_derivable = "shape T = T deriving [Num]\nshape U = U(Int -> Int) deriving [Eq]\nshape V = V(Int -> Int) deriving [Serializable]";
    derived_part_without_an_instance = "shape T = T\nshape U = U(T) deriving [Ord]";
    kinds = "flow f : Mapper f => (x : f) -> Int = 1\ninstance Mapper Int where\n  map f x = x\nflow g : (x : f a) -> (y : f a b) -> Int = 1";
    index_of_another_key = "flow f : (m : Map Text Int) -> Maybe Int = m[1]\nflow g : (x : Int) -> Int = x[1]";
    constraint_in_an_incomplete_signature = "flow f(x : a, y) : Ord a => a = x";
    literal_out_of_range = "flow f : Duration = 99999999999999999999";

    test_that_ends_in_a_value = "test \"t\" { 1 == 1 }";
    test_with_an_effect_without_handler = "effect E { operation e() : () }\ntest \"t\" { perform E.e() }";
    tests_of_one_name = "test \"t\" { () }\ntest \"t\" { () }";
    mistake_in_a_test = "test \"t\" { let x = 1 + \"a\" }\nproperty \"p\" { forall (x : Int) { undefined(x) } }";
    forall_without_a_generator = "property \"p\" { forall (f : Int -> Int, n : Node) { () } }";
    forall_of_any_type = "property \"p\" { forall (x) { () } }";
    forall_outside_of_a_test = "flow f : () -> () = forall (x : Int) { () }";

    less_general_than_signed = "flow f : (x : a) -> a = 1\nflow g : (x : a) -> (y : b) -> a = y";
    incomplete_signature_less_general = "flow f(x : a, y) : a = x + 1";
    skolem_escapes = "import Topos.Lib\nflow f : (x : a) -> [a] = { let g = fn(y : a) -> [y]\n g(1) }";
    no_body = "flow f : Int -> Int\nflow g = 1";
    clause_arity = "flow f 0 = 1\nflow f 1 2 = 3";
    kind_of_a_variable = "flow f : (x : e) -> (g : () -> Int / e) -> Int = 1";

    missing_effect = "import Topos.Lib\nflow f : (x : Int) -> Int =\n  log(\"x\")\n  x";
    missing_effect_of_perform = "import Topos.Lib\nflow f : Int / {Process} =\n  perform IO.print(\"x\")\n  1";
    missing_effect_in_a_lambda = "import Topos.Lib\nflow pure_map : (f : Int -> Int) -> Int = f(1)\nflow g : Int / {IO} = pure_map(fn(x) -> { log(\"x\")\n x })";
    missing_effect_of_a_value = "import Topos.Lib\nflow each : (f : Text -> ()) -> () = f(\"x\")\nflow g : () / {IO} = each(log)";
    missing_effect_under_a_handler = "import Topos.Lib\nflow f : () -> () / {Process} = with console(\"x\") { perform State.put(1) }";
    missing_effect_in_a_function_of_the_flow = "import Topos.Lib\nflow f : () -> [()] / {Process} = map(fn(x) -> log(x), [\"x\"])";
    rigid_row_missing = "flow f : (g : () -> Int / e) -> Int = g()";
    effect_arguments = "import Topos.Lib\nflow f : Int / {State Int} = { perform State.put(\"x\")\n perform State.get() }";
    guard_performs = "import Topos.Lib\nflow f : (x : Int) -> Int / {IO} = match x { | 1 when perform IO.read() == None -> 2 | _ -> 3 }";
    config_performs = "import Topos.Lib\nconfig c : Maybe Text = perform IO.read()";
    config_with_a_function_that_performs = "import Topos.Lib\nflow pure_one : Int = 1\nconfig c : (Text -> ()) = fn(x) -> log(x)";
    operation_arguments = "import Topos.Lib\nflow f : () / {IO} = perform IO.print()";
    not_a_handler = "import Topos.Lib\nflow f = with 1 { 2 }\nflow g = with consle(\"x\") { 2 }";

    pattern_arity = "flow f x = match x { | Some(a, b) -> a | None -> 1 }";
    not_exhaustive = "flow f : (x : (Maybe Int, Bool)) -> Int = match x { | (Some(_), true) -> 1 | (None, _) -> 2 }";
    not_exhaustive_lists = "flow f xs = match xs { | [] -> 0 | [x] -> x }\nflow g 0 = 1";
    guards_do_not_count = "flow f : (x : Bool) -> Int = match x { | true when x -> 1 | false -> 2 }";
    redundant = "flow f x = match x { | Some(_) -> 1 | None -> 2 | _ -> 3 }\nflow g b = match b { | true | true -> 1 | false -> 2 }";
    refutable_let = "flow f x = { let Some(y) = x\n y }\nflow g = fn([a]) -> a";
    alternatives_differ = "flow f x = match x { | Some(a) | None -> 1 }";
    scrutinees = "flow f x y = match x, y { | 1 -> 2 | _ -> 3 }";

    bad_extern = "extern flow f : Int -> Int = \"no colon\"\neffect E { operation op(x) : Int }";
    not_supported_declarations = "trait Show a where\n  show_it : a -> Text\nend\ninstance Show Int where\n  show_it x = \"\"\nend\nhandler h : Handler(E) = { op() => 1 }\neffect E { operation op() : Int }\ntest \"t\" { 1 }\nsession S = end";
    not_supported_expressions = "flow f xs =\n  for x in xs { return x }\n  1\nflow g m = m[1]\nflow h = try 1 with | _ -> 2 end\nflow k = atomic { 1 }\nflow l x = x := 1\nflow m = fn(x) -> { return x }";
    return_of_another_type = "flow f(x : Int) = {\n  if x < 0 { return \"a\" }\n  x\n}";
    for_over_no_list = "import Topos.Lib\nflow f : () -> () = { for x in 3 { x }\n for Some(y) in [None] { log(y) } }";
}

#[test]
fn one_mistake_gives_one_message() {
    // An unknown name has a type that fits everywhere, however often what depends on it is used.
    let source = "flow f(x : Int) : Int = { let y = unknown(x)\n let z = y + 1\n z.field ++ y.method(z) == [y] }";
    assert_eq!(error_codes(source).len(), 2, "the unknown name, and the Bool that is not an Int");
    let source = "flow f = unknown\nflow g = f() + 1\nflow h = g() ++ \"x\"";
    assert_eq!(error_codes(source), [100]);
}

#[test]
fn all_mistakes_of_a_file_are_reported_in_its_order() {
    let source = "flow a = x1\nflow b : Int = \"t\"\nflow c : T = 1\nflow d = match true { | true -> 1 }";
    assert_eq!(error_codes(source), [100, 200, 101, 401]);
}

#[test]
fn ambiguous_names_are_reported_where_they_are_used() {
    let mut imports = imports();
    let other = "module Topos.Other\nflow log x = x\neffect IO2 { operation print(text : Text) : () }";
    let (_, interface) = check_with(other, &imports, None).unwrap();
    imports.insert("Topos.Other".into(), interface.into());
    let source = "import Topos.Lib\nimport Topos.Other\nflow f = Lib.length([1])\nflow g = log(\"x\")\nflow h = perform print(\"x\")";
    let errors = check_with(source, &imports, None).unwrap_err();
    insta::assert_snapshot!(render(source, &errors));
}

#[test]
fn main_is_checked_against_the_root_effects() {
    let roots: &[&str] = &["Topos.Lib.IO"];
    for source in [
        "flow f = 1",
        "flow main : (x : Int) -> () = ()",
        "flow main : Int = 1",
        "import Topos.Lib\nflow main : () -> () / {IO, Process} =\n  log(\"x\")\n  perform Process.sleep(1s)",
    ] {
        let errors = check_with(source, &imports(), Some(roots)).unwrap_err();
        insta::assert_snapshot!(format!("{source}\n----\n{}", render(source, &errors)));
    }
    for source in [
        "import Topos.Lib\nflow main : () -> () / {IO} = log(\"x\")",
        "import Topos.Lib\nflow main : (args : [Text]) -> () / {IO} = map(log, args)",
        "flow main = ()",
        "flow main : () = ()",
    ] {
        if let Err(errors) = check_with(source, &imports(), Some(roots)) {
            panic!("{}", render(source, &errors));
        }
    }
}

#[test]
fn a_name_that_is_wrong_at_many_places_is_one_error() {
    for source in [
        // A variable that a flow lacks; another flow lacks it for itself.
        "flow f : (n : Int) -> Int = {\n  let m = n + user\n  m + user\n}\nflow g : Int = user * user",
        // More uses than are shown, and one more.
        "flow f : Int = x1 + x1 + x1 + x1 + x1 + x1",
        "flow f : Int = x1 + x1 + x1 + x1 + x1",
        // A flow that the file lacks, called or passed on; clauses are one flow.
        "flow f(x) = helper(x)\nflow g(x) = helper(x) + 1\nflow h = [helper]",
        "flow f 0 = missing\nflow f n = missing",
        // A flow of this module, and of another one.
        "flow total : (n : Int) -> Int = n\nflow f : Int = totl(1)\nflow g : Int = 1 |> totl",
        "import Topos.Lib\nflow f = lenght([1])\nflow g = lenght([2])",
        "flow f = log\nflow g = log",
        "type T = { a : Dat, b : [Dat] }\nflow f : (x : Dat) -> Dat = x",
        "shape Box a = Box(b) | Pair(b, b)\nshape Other a = Other(b)",
        "flow f = Sme(1)\nflow g x = match x { | Sme(y) -> y | _ -> 1 }",
        "import Topos.Lib\nflow f : () / {OI} = ()\nflow g : () / {OI} = perform OI.print(\"x\")",
        "import Topos.Lib\nflow f : () / {IO} = { perform IO.prnt(\"x\")\n perform IO.prnt(\"y\") }",
        "import Topos.Lib as L\nflow f = M.length([1]) + M.size([1])\nflow g : (x : M.T) -> Int = 1",
        "import Topos.Lib as L\nflow f = L.hidden()\nflow g = L.hidden()",
        "flow f : Ordd a => (x : a) -> a = x\nflow g : Ordd b => (x : b) -> b = x",
        "type P = { name : Text }\nflow f : (p : P) -> Text = p.nmae ++ p.nmae",
        "test \"a\" { x1() }\ntest \"b\" { x1() }\nproperty \"p\" { forall (n : Int) { y1 == y1 } }",
        "import Topos.Lib\nflow f = with consle(\"x\") { 2 }\nflow g = with consle(\"y\") { 2 }",
    ] {
        insta::assert_snapshot!(format!("{source}\n----\n{}", errors(source)));
    }
}

#[test]
fn uses_of_a_name_that_was_meant_differently_are_different_errors() {
    for source in [
        // Each was taken for another variable.
        "flow f : (count : Int) -> Int = cuont\nflow g : (cuonts : Int) -> Int = cuont",
        // A variable in one flow, missing in the other.
        "flow f : (count : Int) -> Int = cuont\nflow g : Int = cuont",
        // Of different kinds, and of different types.
        "flow f : Foo = Foo(1)\nflow g : () / {Foo} = foo",
        "type A = { a : Int }\ntype B = { b : Int }\nflow f : (x : A) -> (y : B) -> Int = x.c + y.c",
        // In scope at first, and no longer.
        "flow f : (x : Maybe Int) -> Int = {\n  let n = match x { | Some(y) -> y | None -> 0 }\n  n + y\n}",
    ] {
        insta::assert_snapshot!(format!("{source}\n----\n{}", errors(source)));
    }
}
