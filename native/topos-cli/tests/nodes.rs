//! `topos test` on several nodes. Without Erlang, or before `rebar3 compile`, each test says that it is skipped and why.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

use common::{
    cases, engines, root, turn,
    vms::{eventually, mark, signal, vms},
    Case, Outcome,
};
use nix::sys::signal::Signal;
use tempfile::TempDir;

/// A project with one of the cases: builds leave their cache where they run.
fn project(name: &str) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let file = format!("{name}.topos");
    fs::copy(cases().join("nodes").join(&file), directory.path().join(file)).unwrap();
    directory
}

/// Runs the tests of a case; no VM may be left.
fn test(name: &str, args: &[&str]) -> Outcome {
    let (project, mark) = (project(name), mark());
    let args = [&["test", "--seed", "1"], args].concat();
    let outcome = Case::new(&args).directory(project.path()).env("TOPOS_TEST_RUN", &mark).run();
    eventually("the end of the VMs", || vms(&mark).is_empty());
    outcome
}

/// Without what differs from run to run, or between engines.
fn steady(outcome: &Outcome, engine: &str) -> String {
    let shown = outcome.show().replace(&format!("--engine {engine}"), "--engine ENGINE");
    shown.lines().map(|line| without_library_line(&steady_line(line)) + "\n").collect()
}

fn steady_line(line: &str) -> String {
    match (line.find(" failed ("), line.find("the process <")) {
        (Some(at), _) => format!("{} failed (TIME)", &line[..at]),
        (_, Some(at)) => format!("{}the process PID{}", &line[..at], line[at..].split_once('>').unwrap().1),
        _ => line.to_owned(),
    }
}

/// A place in the standard library without its line, which moves with the documentation around it.
fn without_library_line(line: &str) -> String {
    match line.split_once("ROOT/topos_stdlib/").and_then(|(start, place)| Some((start, place.split_once(".topos:")?))) {
        Some((start, (module, rest))) => {
            let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ':');
            format!("{start}ROOT/topos_stdlib/{module}.topos:LINE{rest}")
        }
        None => line.to_owned(),
    }
}

#[test]
fn lines_of_the_library_are_left_out() {
    let shown = "       at ROOT/topos_stdlib/Topos/Runner.topos:104 in Topos.Runner.first_names";
    let wanted = "       at ROOT/topos_stdlib/Topos/Runner.topos:LINE in Topos.Runner.first_names";
    assert_eq!(without_library_line(shown), wanted);
    assert_eq!(without_library_line(&shown.replace("104", "7:12")), wanted);
    let own = "     ./Failing.topos:8";
    assert_eq!(without_library_line(own), own);
}

/// Real nodes and virtual ones: the same tests, the same words.
#[test]
fn tests_run_on_nodes_of_every_engine() {
    let Some(_turn) = turn() else { return };
    for engine in engines().into_iter().chain(["sim"]) {
        let outcome = test("Passing", &["--nodes", "3", "--runs", "20", "--engine", engine]);
        insta::assert_snapshot!("passing_on_nodes", steady(&outcome, engine));
    }
}

#[test]
fn what_fails_on_a_node_fails_its_test_alone() {
    let Some(_turn) = turn() else { return };
    for engine in engines() {
        let outcome = test("Failing", &["--nodes", "2", "--engine", engine]);
        insta::assert_snapshot!("failing_on_nodes", steady(&outcome, engine));
    }
}

/// As above, and each failure tells the command that repeats it.
#[test]
fn what_fails_on_a_virtual_node_fails_its_test_alone() {
    let Some(_turn) = turn() else { return };
    let outcome = test("Failing", &["--nodes", "2", "--engine", "sim"]);
    insta::assert_snapshot!("failing_on_virtual_nodes", steady(&outcome, "sim"));
}

#[test]
fn a_simulated_test_is_stuck_or_cut_off_in_no_time() {
    let Some(_turn) = turn() else { return };
    let options = ["--nodes", "3", "--engine", "sim", "--delay", "2ms", "--loss", "5%", "--runs", "7"];
    insta::assert_snapshot!("stuck_on_virtual_nodes", steady(&test("Stuck", &options), "sim"));
}

/// Two clients that read, add one and write lose an update when they meet: some seed shows it, and the command that is told
/// shows it again.
#[test]
fn a_search_over_seeds_finds_a_race_between_nodes() {
    let Some(_turn) = turn() else { return };
    let directory = tempfile::tempdir().unwrap();
    let source = root().join("examples/simulation/counter_test.topos");
    fs::copy(source, directory.path().join("counter_test.topos")).unwrap();
    let run = |args: &[&str]| Case::new(args).directory(directory.path()).run();
    let found = run(&["test", "--engine", "sim", "--nodes", "3", "--seeds", "1..300", "--runs", "3"]);
    assert_eq!(found.status, 1, "{}", found.show());
    for told in [
        "3 tests, seeds 1 to 300, --nodes 3 --engine sim\n",
        "\nok   CounterTest: one client counts to one\n",
        "\nFAIL CounterTest: two clients count to two\n",
        "left:  1\n       right: 2\n",
        "\nok   CounterTest: a client counts on from any number\n",
        "\n2 passed, 1 failed (",
    ] {
        assert!(found.stdout.contains(told), "{told}\n{}", found.show());
    }
    let again = found.stdout.split("again: topos ").nth(1).and_then(|rest| rest.lines().next()).unwrap();
    let seed = again.strip_prefix("test --seed ").and_then(|rest| rest.split(' ').next()).unwrap();
    assert_eq!(
        again,
        format!("test --seed {seed} --filter 'two clients count to two' --nodes 3 --engine sim --runs 3")
    );
    let args = again.replace("'two clients count to two'", "two");
    let alone = run(&args.split(' ').collect::<Vec<_>>());
    assert!(alone.status == 1 && alone.stdout.contains("left:  1\n       right: 2\n"), "{}", alone.show());
}

#[test]
fn the_same_seed_gives_a_test_the_same_network_whichever_others_run() {
    let Some(_turn) = turn() else { return };
    let run = |seed: &str, filter: &str| {
        let directory = project("Passing");
        let args = ["test", "--engine", "sim", "--nodes", "3", "--seed", seed, "--trace", "--loss", "20%"];
        let outcome = Case::new(&[&args[..], &["--filter", filter]].concat()).directory(directory.path()).run();
        assert_eq!(outcome.status, 0, "{}", outcome.show());
        outcome.stderr
    };
    let both = run("7", "n");
    assert_eq!(both, run("7", "n"));
    assert_ne!(both, run("8", "n"));
    let one = run("7", "what is sent arrives");
    assert!(!one.is_empty() && both.contains(&one), "{both}\n---\n{one}");
}

#[test]
fn simulated_tests_refuse_options_that_do_not_fit() {
    for (args, told) in [
        (["--loss", "5%", "."], r#"{"code":"TP0818","message":"--loss is for simulations""#),
        (["--engine", "sim", "--nemesis=crash seed 1s"], r#""message":"--nemesis crashes seed, which runs the tests""#),
        (
            ["--engine", "sim", "--nemesis=pause node2 1s"],
            r#""message":"--nemesis names node2, but there are 1 nodes""#,
        ),
    ] {
        let outcome = Case::new(&[&["--error-format", "json", "test"][..], &args].concat()).run();
        assert!(outcome.status == 1 && outcome.stderr.contains(told), "{told}\n{}", outcome.show());
    }
}

#[test]
fn without_nodes_a_test_says_what_it_lacks() {
    let Some(_turn) = turn() else { return };
    insta::assert_snapshot!(steady(&test("Passing", &["--filter", "what is sent"]), "none"));
}

#[test]
fn programs_on_nodes_are_called_by_nobody() {
    let Some(_turn) = turn() else { return };
    let outcome = Case::new(&["run", "--nodes", "2", "--engine", "otp", "calls.topos"]).run();
    assert!(outcome.status == 1 && outcome.stderr.contains("error[TP1056]"), "{}", outcome.show());
}

#[test]
fn a_wrong_engine_or_number_of_nodes_is_refused() {
    for args in [["--engine", "warp"], ["--nodes", "65"]] {
        let outcome = test("Passing", &args);
        assert_ne!(outcome.status, 0, "{}", outcome.show());
        insta::assert_snapshot!(outcome.show());
    }
}

/// A run of the endless tests that has begun the chosen one.
fn endless(mark: &str, filter: &str, nodes: usize) -> (Child, Lines<BufReader<ChildStdout>>, TempDir) {
    let project = project("Endless");
    let mut child = Command::new(env!("CARGO_BIN_EXE_topos"))
        .args(["test", "--nodes", &nodes.to_string(), "--filter", filter])
        .current_dir(project.path())
        .env("TOPOS_TEST_RUN", mark)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap() == "running"), "the tests ended");
    eventually("the start of the nodes", || vms(mark).len() == nodes);
    // A command whose output is closed before it ends says so by its status.
    (child, lines, project)
}

#[test]
fn a_ctrl_c_ends_tests_and_their_nodes() {
    let Some(_turn) = turn() else { return };
    for (filter, nodes) in [("for ever", 1), ("for ever elsewhere", 3)] {
        let mark = mark();
        let (mut child, _lines, _project) = endless(&mark, filter, nodes);
        signal(&child, Signal::SIGINT);
        assert_eq!(child.wait().unwrap().code(), Some(130));
        assert_eq!(vms(&mark), [0; 0]);
    }
}

#[test]
fn nodes_of_tests_end_even_when_the_command_is_killed() {
    let Some(_turn) = turn() else { return };
    let mark = mark();
    let (mut child, _lines, _project) = endless(&mark, "for ever elsewhere", 2);
    signal(&child, Signal::SIGKILL);
    child.wait().unwrap();
    eventually("the end of the nodes", || vms(&mark).is_empty());
}
