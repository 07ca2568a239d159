//! Constraints of effects, operations, handlers, externs and types.

use super::{accepted, check_with, errors, imports, types};

const LIB: &str = "
module Sync
trait Mergeable a where
  merge : a -> a -> a
instance Mergeable Int where
  merge x y = x + y
effect Sync {
  operation get[a : Mergeable]() : a
  operation join[a : Mergeable](other : a) : ()
}
effect Store {
  operation put[k : Show](key : k) : Text
  operation size() : Int
}
type Box a : Mergeable a => { value : a }
handler cell[a : Mergeable](initial : a) : Handler(Sync) = {
  state box : Box a = { value = initial }
  get() => box.value
  join(other) => box := { value = merge(box.value, other) }
}
extern handler remote(initial : a) : Handler(Sync a) = \"remote_sync\"
";

macro_rules! rejected {
    ($($name:ident = $source:literal;)*) => {
        $(
            #[test]
            fn $name() {
                let source = format!("{LIB}{}", $source);
                let shown = errors(&source);
                insta::assert_snapshot!(format!("{}\n----\n{shown}", $source));
            }
        )*
    };
}

rejected! {
    an_effect_constraint_that_the_handler_does_not_say =
        "handler h[a](x : a) : Handler(Sync) = {\n get() => x\n join(y) => () }";
    a_clause_that_needs_more =
        "handler h[a : Mergeable](x : a) : Handler(Sync) = {\n get() => x\n join(y) => if y < x { () } }";
    a_handler_of_a_type_without_the_instance = "handler h : Handler(Sync Text) = {\n get() => \"\"\n join(y) => () }";
    a_with_of_a_type_without_the_instance = "flow f : Text = with cell(\"x\") { perform Sync.get() }";
    an_extern_handler_of_a_type_without_the_instance = "flow f : Text = with remote(\"x\") { perform Sync.get() }";
    an_operation_of_a_variable_without_the_instance =
        "flow f : (x : b) -> Text / {Store} = perform Store.put(x)";
    a_clause_without_the_constraint_of_its_operation =
        "handler h : Handler(Store) = {\n put(key) => if key == key { show(key) } else { \"\" }\n size() => 0 }";
    a_value_of_a_constrained_type = "flow f : (x : a) -> Box a = { value = x }\nconfig c : Box Text = { value = \"\" }";
    a_constraint_of_another_name = "type Other a : Mergeable a => [a]\nshape S a : Mergeable a => | S(a)";
    a_constrained_binder_that_nothing_has = "handler h[z : Mergeable] : Handler(Store) = {\n put(k) => \"\"\n size() => 0 }";
    a_trait_that_a_binder_cannot_have = "effect E {\n operation put[k : Index](key : k) : Text\n operation no() : () }";
    an_unknown_trait_of_a_binder = "handler h[z : Nowhere](x : z) : Handler(Store) = {\n put(k) => \"\"\n size() => 0 }";
    an_extern_without_the_instance = "extern flow least : Ord a => (xs : [a]) -> a = \"lists:min\"\nflow f = least([Some(fn(x) -> x + 1)])";
}

#[test]
fn constraints_cross_modules() {
    let mut imports = imports();
    let (_, interface) = check_with(LIB, &imports, None).unwrap();
    imports.insert("Sync".into(), interface.into());
    let use_of = |body: &str| check_with(&format!("import Sync\n{body}"), &imports, None).map(|_| ());
    assert_eq!(use_of("flow f : Int = with cell(1) { perform Sync.get() }"), Ok(()));
    assert_eq!(use_of("flow f : Show b => (x : b) -> Text / {Store} = perform Store.put([x])"), Ok(()));
    for bad in [
        "flow f : Text = with cell(\"\") { perform Sync.get() }",
        "flow f : (x : b) -> Text / {Store} = perform Store.put([x])",
        "flow f : Box Text = { value = \"\" }",
        "handler h : Handler(Sync Text) = { get() => \"\"\n join(x) => () }",
    ] {
        let found: Vec<u16> = use_of(bad).unwrap_err().iter().map(|e| e.code.0).collect();
        assert!(found == [509] || found == [510], "{bad}: {found:?}");
    }
}

#[test]
fn a_flow_is_generic_over_what_its_with_needs() {
    let source = format!("{LIB}flow run x = with cell(x) {{\n perform Sync.join(x)\n perform Sync.get() }}");
    let (_, interface) = accepted(&source);
    let run = interface.flows.iter().find(|f| &*f.name == "run").unwrap();
    assert_eq!(run.constraints.len(), 1);
    assert_eq!(&*run.constraints[0].0, "Sync.Mergeable");
}

#[test]
fn a_handler_and_flows_that_need_each_other_share_their_constraints() {
    let source = format!(
        "{LIB}
handler h[a : Mergeable](x : a) : Handler(Sync) = {{
  get() => nested(x, 0)
  join(y) => ()
}}
flow nested(x, n) = if n > 2 {{ x }} else {{ with h(x) {{ perform Sync.get() }} }}"
    );
    let (module, _) = accepted(&source);
    let handler = module.handlers.iter().find(|h| h.name == "h").unwrap();
    // One dictionary and the written parameter.
    assert_eq!(handler.params.len(), 2);
}

#[test]
fn an_unnamed_variable_of_an_effect_may_be_constrained_by_the_clauses() {
    insta::assert_snapshot!(types(
        "
effect Best {
  operation offer[a](x : a) : ()
  operation best[a]() : Maybe a
}
handler best : Handler(Best) = {
  state found = None
  offer(x) => match found { | Some(y) when y >= x -> () | _ -> found := Some(x) }
  best() => found
}
flow f : Maybe Int = with best {
  perform Best.offer(1)
  perform Best.best()
}"
    ), @"f : () -> Maybe Int");
}
