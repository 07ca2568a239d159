//! Programs that are accepted, with their inferred types.

use super::types;

fn infers(source: &str, expected: &str) {
    assert_eq!(types(source), expected, "\n{source}");
}

#[test]
fn flows_without_signatures_are_generalised() {
    infers("flow id x = x", "id : a -> a");
    infers("flow pair x y = (x, y)", "pair : a -> b -> (a, b)");
    infers("flow compose f g x = f(g(x))", "compose : (a -> b / e) -> (c -> a / e) -> c -> b / e");
    infers("flow twice f x = f(f(x))", "twice : (a -> a / e) -> a -> a / e");
}

#[test]
fn flows_that_call_each_other_are_inferred_together() {
    infers(
        "flow even n = if n == 0 { true } else { odd(n - 1) }\nflow odd n = if n == 0 { false } else { even(n - 1) }",
        "even : Int -> Bool\nodd : Int -> Bool",
    );
    infers("flow b x = a(x)\nflow a x = x\nflow c = (b(1), b(\"t\"))", "b : a -> a\na : a -> a\nc : () -> (Int, Text)");
}

#[test]
fn tests_and_properties_are_flows_that_nobody_sees() {
    let source =
        "import Topos.Lib\ntest \"says\" { log(\"x\") }\nproperty \"holds\" { forall (x : Int, ys : [Maybe Text]) \
                  { let z = x + 1 } }\nflow one = 1";
    infers(source, "one : () -> Int");
}

#[test]
fn effects_are_inferred() {
    infers(
        "import Topos.Lib\nflow f() = perform IO.print(\"x\")\nflow g() = { f()\n log(\"y\")\n 1 }\nflow h(x) = x",
        "f : () -> () / {IO}\ng : () -> Int / {IO}\nh : a -> a",
    );
    infers("import Topos.Lib\nflow each f xs = map(f, xs)", "each : (a -> b / e) -> [a] -> [b] / e");
}

#[test]
fn clauses_guards_and_literals() {
    infers("flow f 0 _ = \"zero\"\nflow f n s when n > 10 = s\nflow f _ s = s ++ \"!\"", "f : Int -> Text -> Text");
    infers("flow f : Int -> Text\nflow f 0 = \"a\"\nflow f _ = \"b\"", "f : Int -> Text");
}

#[test]
fn numbers_take_the_type_of_their_context() {
    infers(
        "flow a = 1\nflow b : Float = 1 + 2\nflow c : Duration = 5000\nflow d(x : Float) = x * 2\nflow e = 10ms + 5",
        "a : () -> Int\nb : () -> Float\nc : () -> Duration\nd : Float -> Float\ne : () -> Duration",
    );
}

#[test]
fn records_are_structural_rows() {
    infers("flow f r = r.a + 1", "f : {a: Int | r} -> Int");
    infers("flow f r = {r with a = 1}", "f : {a: Int | r} -> {a: Int | r}");
    infers("flow f = { a = 1, b = \"x\" }\nflow g = f().b", "f : () -> {a: Int, b: Text}\ng : () -> Text");
    infers("flow f {a, b} = a + b", "f : {a: a, b: a | r} -> a");
}

#[test]
fn nominal_records_take_defaults_and_anonymous_records() {
    infers(
        "import Topos.Lib as L\nconfig c : L.Config = { name = \"n\" }\nflow f : () -> Text = c.name\n\
         flow g : (c : L.Config) -> Int = c.channels\nflow h = g({name = \"x\", topology = L.Topology.Star(2)})\n\
         flow k = { r = {name = \"x\", topology = L.FullMesh, channels = 3}\n g(r) }",
        "c : Config\nf : () -> Text\ng : Config -> Int\nh : () -> Int\nk : () -> Int",
    );
}

#[test]
fn a_field_of_a_type_that_becomes_known_later() {
    infers(
        "import Topos.Lib\nflow names : (cs : [Config]) -> [Text] = map(fn(c) -> c.name, cs)\n\
         flow f : (xs : [Config]) -> [Int] = xs |> map(fn(c) -> c.channels + length(xs))",
        "names : [Config] -> [Text]\nf : [Config] -> [Int]",
    );
}

#[test]
fn companion_functions_come_from_the_module_of_the_type() {
    infers(
        "type Box a = { value : a }\nflow get : (box : Box a) -> a = box.value\nflow add(n : Int, box : Box Int) : Int = box.value + n\n\
         flow f : (b : Box Int) -> Int = b.get() + b.add(2)\nflow g : (r : {go : Int -> Text}) -> Text = r.go(1)",
        "get : Box a -> a\nadd : Int -> Box Int -> Int\nf : Box Int -> Int\ng : {go: Int -> Text} -> Text",
    );
}

#[test]
fn a_row_variable_is_part_of_a_larger_row() {
    infers(
        "import Topos.Lib\nflow f : (g : () -> a / e) -> a / {IO | e} = { log(\"x\")\n g() }\n\
         flow h : (g : Int -> Int / e) -> [Int] / {IO | e} = map(fn(x) -> { let y = g(x)\n log(\"y\")\n y }, [1])\n\
         flow k : (g : Int -> Int / e) -> [Int] / {IO | e} = map(g, [1])",
        "f : (() -> a / e) -> a / {IO | e}\nh : (Int -> Int / e) -> [Int] / {IO | e}\nk : (Int -> Int / e) -> [Int] / {IO | e}",
    );
}

#[test]
fn spawned_bodies_may_do_what_their_spawner_may() {
    infers(
        "import Topos.Lib\nflow f : () -> () / {Process, IO} =\n  perform Process.spawn() {\n    log(\"x\")\n    perform sleep(10)\n  }",
        "f : () -> () / {Process, IO}",
    );
}

#[test]
fn blocks_against_unit_drop_their_last_value() {
    infers("import Topos.Lib\nflow f : (x : Int) -> () = if x > 1 { length([x]) } else { 2 }", "f : Int -> ()");
}

#[test]
fn lets_generalise_values() {
    infers(
        "flow f = { let id = fn(x) -> x\n (id(1), id(\"a\")) }\nflow g = { empty = []\n (1 :: empty, \"a\" :: empty) }",
        "f : () -> (Int, Text)\ng : () -> ([Int], [Text])",
    );
}

#[test]
fn handlers_written_in_erlang_handle_their_effect() {
    infers(
        "import Topos.Lib\nflow f : () -> Int =\n  with cell(1), console(\"> \") {\n    log(\"x\")\n    perform State.put(2)\n    perform State.get()\n  }",
        "f : () -> Int",
    );
    infers(
        "import Topos.Lib\nflow f() = with cell(\"a\") { perform State.put(perform State.get() ++ \"b\") }",
        "f : () -> ()",
    );
}

#[test]
fn operations_with_shared_binders_are_parameters_of_the_effect() {
    infers(
        "import Topos.Lib\nflow f() = { perform Chan.send(1)\n perform Chan.receive() }\nflow g : Text / {Chan} = perform receive()",
        "f : () -> Int / {Chan Int}\ng : () -> Text / {Chan Text}",
    );
}

#[test]
fn aliases_of_rule_ten() {
    infers("flow f : (x : Option String) -> Unit = match x { | Some(_) -> () | None -> () }", "f : Maybe Text -> ()");
    infers(
        "import Topos.Lib\nflow f : (p : Pair Int Text) -> Int = match p { | (a, _) -> a }",
        "f : (Int, Text) -> Int",
    );
}

#[test]
fn local_names_hide_flows_and_imports() {
    infers("import Topos.Lib\nflow log x = x\nflow f length = length + 1", "log : a -> a\nf : Int -> Int");
}

#[test]
fn qualified_constructors() {
    infers(
        "import Topos.Lib as L\nflow f : L.Topology = L.Topology.FullMesh\nflow g : L.Topology = L.Star(2)\n\
         flow h t = match t { | L.FullMesh -> 0 | L.Topology.Star(n) -> n }",
        "f : () -> Topology\ng : () -> Topology\nh : Topology -> Int",
    );
}

#[test]
fn matching_lambdas_alternatives_and_as() {
    infers(
        "flow f = { | (Some(x), _) | (None, x) when x > 0 -> x | (y as z, _) -> match z { | Some(n) -> n | _ -> 0 } }",
        "f : () -> (Maybe Int, Int) -> Int",
    );
}

#[test]
fn loops_go_through_the_prelude() {
    infers(
        "import Topos.Lib\nflow f xs = { for (x, _) in xs { log(x) }\n length(xs) }\nflow g() = loop { log(\"x\") }\nflow h : Int / {IO} = loop { log(\"x\") }",
        "f : [(Text, a)] -> Int / {IO}\ng : () -> a / {IO}\nh : () -> Int / {IO}",
    );
}

#[test]
fn a_flow_may_return_early() {
    infers(
        "import Topos.Lib\nflow f(x : Int) =\n  if x < 0 { return \"negative\" }\n  let y = x * 2\n  if y > 10 {\n    log(\"big\")\n    return \"big\"\n  }\n\
         \x20 match y {\n    | 0 -> return \"zero\"\n    | n -> f\"{n}\"\n  }\nflow g : (x : Int) -> () = { if x == 1 { return }\n x }",
        "f : Int -> Text / {IO}\ng : Int -> ()",
    );
}
