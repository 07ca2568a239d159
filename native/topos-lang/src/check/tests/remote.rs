//! What cannot travel to another node.

use super::stdlib::library;
use super::{check_with, render};

fn remote_errors(source: &str) -> String {
    match check_with(source, &library(), None) {
        Ok(_) => String::new(),
        Err(errors) => render(source, &errors),
    }
}

const HEAD: &str = "import Topos.Remote as R\nimport Topos.Partisan as P\n\
    effect Counter {\n operation next() : Int\n operation far(node : Node) : ()\n}\n";

#[test]
fn state_and_clauses_stay_where_they_are() {
    let source = format!(
        "{HEAD}handler counter(start : Int) : Handler(Counter) / {{P.Distributed}} = {{
  state n = start
  next() => n
  far(node) => {{
    let seen = n
    R.spawn_on(node, fn() -> drop(seen + start))
    R.spawn_on(node, fn() -> drop(n))
    R.spawn_on(node, fn() -> n := 2)
    R.spawn_on(node, fn() -> drop(perform next()))
    R.spawn_on(node, fn() -> abort ())
    R.spawn_with(\"bulk\", node, fn() -> drop(n))
    R.spawn_on(node, fn() -> with counter(1) {{ drop(perform Counter.next()) }})
    ()
  }}
}}
flow drop : (n : Int) -> () = ()
"
    );
    insta::assert_snapshot!(remote_errors(&source));
}

#[test]
fn effects_of_this_node_stay_here() {
    let source = format!(
        "{HEAD}flow count : () / {{Counter}} = drop(perform Counter.next())
flow drop : (n : Int) -> () = ()
flow f : (node : Node) -> () / {{Counter, P.Distributed}} = {{
  R.spawn_on(node, fn() -> drop(perform Counter.next()))
  R.spawn_on(node, count)
  R.spawn_with(\"bulk\", node, count)
  ()
}}
flow g : (node : Node) -> (body : () -> () / e) -> () / {{P.Distributed | e}} = {{
  R.spawn_on(node, body)
  ()
}}
"
    );
    insta::assert_snapshot!(remote_errors(&source));
}
