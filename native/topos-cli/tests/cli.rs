//! What a user sees: output and exit status of the command, one snapshot a case.

mod common;

use common::{Case, Outcome};

#[test]
fn a_program_that_needs_no_erlang_can_be_checked_without() {
    assert_eq!(Case::new(&["check", "hello.topos"]).env("PATH", "/nowhere").input("").run().status, 0);
}

fn topos(args: &[&str]) -> Outcome {
    Case::new(args).run()
}

macro_rules! shows {
    ($($name:ident: [$($arg:expr),* $(,)?];)*) => {
        $(#[test]
        fn $name() {
            insta::assert_snapshot!(topos(&[$($arg),*]).show());
        })*
    };
}

shows! {
    check_finds_nothing: ["check", "hello.topos"];
    check_syntax: ["check", "syntax.topos"];
    check_damaged: ["check", "damaged.topos"];
    check_damaged_json: ["--error-format", "json", "check", "damaged.topos"];
    check_damaged_syntax_only: ["check", "--syntax-only", "damaged.topos"];
    run_damaged: ["run", "damaged.topos"];
    check_syntax_only_does_not_look_at_types: ["check", "--syntax-only", "types.topos", "hello.topos"];
    check_types: ["check", "types.topos"];
    check_effects: ["check", "effects.topos"];
    check_patterns: ["check", "patterns.topos"];
    check_unsupported: ["check", "unsupported.topos"];
    check_records: ["check", "records.topos"];
    check_several_files: ["check", "syntax.topos", "types.topos", "hello.topos"];
    check_imports: ["check", "imports.topos"];
    check_unknown_module: ["check", "unknown_module.topos"];
    check_unknown_qualifiers: ["check", "unknown_qualifiers.topos"];
    check_many_uses: ["check", "many_uses.topos"];
    check_many_uses_json: ["--error-format", "json", "check", "many_uses.topos"];
    check_cycle: ["check", "cycle.topos"];
    check_not_utf8: ["check", "latin.topos"];
    check_no_such_file: ["check", "nothing.topos"];
    check_directory: ["check", "App"];
    check_bad_stdlib: ["check", "--stdlib", "App", "hello.topos"];
    check_json: ["--error-format", "json", "check", "types.topos"];
    check_json_without_a_file: ["--error-format", "json", "check", "nothing.topos"];
    check_coloured: ["--color", "always", "check", "patterns.topos"];
    build_to_a_file: ["build", "--emit", "erl", "-o", "hello.topos", "hello.topos"];
    build_mistakes: ["build", "--emit", "erl", "types.topos"];
    run_unknown_engine: ["run", "--engine", "warp", "hello.topos"];
    run_unknown_host: ["run", "--host", "no.such.host.invalid", "hello.topos"];
    run_foreign_host: ["run", "--host", "192.0.2.1", "hello.topos"];
    run_without_main: ["run", "nomain.topos"];
    run_mistakes: ["run", "--nodes", "3", "effects.topos"];
    run_no_nodes: ["run", "--nodes", "0", "hello.topos"];
    run_not_built: ["run", "--home", "App", "hello.topos"];
    explain_compiler: ["explain", "TP0004"];
    explain_run_time: ["explain", "1007"];
    explain_own: ["explain", "tp801"];
    explain_unknown: ["explain", "TP0000"];
    usage_nothing: [];
    usage_unknown_command: ["fly"];
    usage_no_file: ["check"];
    help_run: ["run", "--help"];
    help_simulate: ["simulate", "--help"];
    simulate_a_failure: ["simulate", "--nodes", "60", "--settle", "3", "--broadcasts", "3", "--fail", "40%", "--seed", "7"];
    simulate_faults: ["simulate", "--nodes", "40", "--settle", "2", "--broadcasts", "2", "--loss", "20", "--duplicate", "50",
                      "--nemesis", "partition 50% 30s, pause 10% 20s, hold 5% 10s, crash 20%"];
    simulate_experiments: ["simulate", "--experiments", "dsn2007", "--nodes", "60", "--seeds", "1"];
    simulate_no_fault: ["simulate", "--nemesis", "wait 10s, burn 5% 3s"];
    simulate_out_of_range: ["simulate", "--nodes", "1", "--fail", "100", "--active", "90"];
    simulate_two_failures: ["simulate", "--nemesis", "crash 5%", "--fail", "10%"];
    graph_of_hubs: ["graph", "--topology", "client-server", "--nodes", "8", "--hubs", "2", "--settle", "1"];
    graph_too_large: ["graph", "--nodes", "501"];
    graph_of_nobody: ["graph", "--address", "127.0.0.1:1"];
}

#[test]
fn run_without_erlang() {
    insta::assert_snapshot!(Case::new(&["run", "hello.topos"]).env("PATH", "/nowhere").run().show());
}

#[test]
fn no_color_wins_on_a_terminal_and_pipes_are_never_coloured() {
    let piped = topos(&["check", "patterns.topos"]);
    assert!(!piped.stderr.contains('\u{1b}'), "{}", piped.stderr);
}

#[test]
fn the_version_is_printed() {
    let version = topos(&["--version"]);
    assert_eq!((version.status, version.stdout.trim()), (0, concat!("topos ", env!("CARGO_PKG_VERSION"))));
}

#[test]
fn a_simulation_writes_a_report_and_figures_for_programs() {
    let directory = tempfile::tempdir().unwrap();
    let report = directory.path().join("out.html").display().to_string();
    let done = topos(&["simulate", "--nodes", "50", "--settle", "1", "--json", "--report", &report]);
    let figures: serde_json::Value = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!((done.status, figures["failed"]["living"].as_u64()), (0, Some(25)), "{}", done.show());
    assert!(std::fs::read_to_string(&report).unwrap().starts_with("<!doctype html>"));
    let drawn = topos(&["graph", "--nodes", "20", "--settle", "1"]);
    assert_eq!((drawn.status, drawn.stdout.matches("<circle").count()), (0, 20));
}

#[test]
fn a_simulation_is_repeated_by_its_seed_to_the_byte() {
    let directory = tempfile::tempdir().unwrap();
    let run = |seed: &str, name: &str| {
        let report = directory.path().join(name);
        let done = topos(&[
            "simulate",
            "--nodes",
            "50",
            "--settle",
            "2",
            "--broadcasts",
            "2",
            "--reorder",
            "50",
            "--nemesis",
            "crash 30%, loss 10% 20s",
            "--json",
            "--seed",
            seed,
            "--report",
            &report.display().to_string(),
        ]);
        assert_eq!(done.stderr, "", "no bar where nobody looks");
        (done.stdout, std::fs::read_to_string(&report).unwrap())
    };
    assert_eq!(run("3", "one.html"), run("3", "two.html"));
    assert_ne!(run("3", "one.html"), run("4", "two.html"));
}

#[test]
fn readable_erlang_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().join("out").display().to_string();
    let built = topos(&["build", "--emit", "erl", "-o", &output, "hello.topos"]);
    assert_eq!(built.status, 0, "{}", built.show());
    let text = std::fs::read_to_string(directory.path().join("out/Hello.erl")).unwrap();
    insta::assert_snapshot!(text);
}
