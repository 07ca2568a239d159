//! Programs for the constructs of the language, compiled and run: what they print is the snapshot. Without Erlang, or before
//! `rebar3 compile`, each test says that it is skipped and why.

#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::process::{Command, Stdio};

use common::{root, Case};

/// Whether programs can be run here.
fn ready() -> bool {
    let erlang = Command::new("erl").args(["-noshell", "-eval", "halt()."]).stdin(Stdio::null()).status();
    let built = root().join("_build/default/lib/topos_partisan/ebin/topos_effect.beam").is_file();
    if !erlang.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no Erlang on the PATH");
    } else if !built {
        eprintln!("skipped: the Erlang side is not built (rebar3 compile)");
    } else {
        return true;
    }
    false
}

macro_rules! programs {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                if ready() {
                    let program = concat!("language/", stringify!($name), ".topos");
                    let shown = Case::new(&["run", program]).run().show();
                    // Lines of the library move with its documentation.
                    let own: Vec<&str> = shown.lines().filter(|line| !line.contains("/topos_stdlib/")).collect();
                    insta::assert_snapshot!(own.join("\n"));
                }
            }
        )*
    };
}

#[test]
fn a_function_runs_on_another_node_with_that_nodes_handlers() {
    if ready() {
        let outcome = Case::new(&["run", "--nodes", "2", "--engine", "otp", "language/remote.topos"]).run();
        let mut lines: Vec<&str> = outcome.stdout.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["node2 | bye", "seed  | node2 answers 42"], "{}", outcome.show());
        assert_eq!(outcome.status, 0, "{}", outcome.show());
    }
}

#[test]
fn what_stays_on_its_node_is_refused_in_a_simulation_as_on_nodes() {
    if ready() {
        let on = |engine| Case::new(&["run", "--engine", engine, "language/stays_here.topos"]).run();
        let (node, virtual_node) = (on("otp"), on("sim"));
        assert_eq!(node.status, 0, "{}", node.show());
        assert_eq!(virtual_node.stdout, node.stdout, "{}", virtual_node.show());
    }
}

programs! {
    captures
    constraints
    handler_values
    impls
    messages
    places
    stays_here
    tries
}
