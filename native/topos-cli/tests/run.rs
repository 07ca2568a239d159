//! Programs on real nodes. Without Erlang, or before `rebar3 compile`, each test says that it is skipped and why.

#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use common::{
    cases, engines, lines_of, root, turn,
    vms::{eventually, mark, signal, vms, Watched},
    Case, Outcome,
};

fn run(args: &[&str]) -> Outcome {
    let mark = mark();
    let outcome = Case::new(args).env("TOPOS_TEST_RUN", &mark).run();
    assert_eq!(vms(&mark), [0; 0], "VMs are left after {}", outcome.show());
    outcome
}

/// Whether the lines contain the wanted ones in this order, perhaps with others between.
#[track_caller]
fn assert_tells(outcome: &Outcome, node: &str, story: &[&str]) {
    let lines = lines_of(outcome, node);
    let mut rest = lines.iter();
    for wanted in story {
        assert!(rest.any(|line| line == wanted), "{node} does not say {wanted:?} in its turn\n{}", outcome.show());
    }
}

/// How long this machine takes for a VM that does nothing.
fn start_of_a_vm() -> Duration {
    let start = Instant::now();
    let ended = Command::new("erl").args(["-noshell", "-eval", "halt()."]).stdin(Stdio::null()).status();
    assert!(ended.unwrap().success());
    start.elapsed()
}

#[test]
fn the_demo_tells_its_story_on_every_engine() {
    let Some(_turn) = turn() else { return };
    for engine in engines() {
        let before = start_of_a_vm();
        let start = Instant::now();
        let demo = run(&["demo", "--engine", engine]);
        let took = start.elapsed();
        assert_eq!(demo.status, 0, "{}", demo.show());
        // Half a minute is promised where a VM starts in a third of a second.
        let promised = Duration::from_secs(30).max(90 * before.max(start_of_a_vm()));
        assert!(took < promised, "the demo took {took:?} of {promised:?} on {engine}");
        assert!(demo.stderr.contains(&format!("engine {engine}")), "{}", demo.show());
        // The event that a peer is up comes before its first message.
        let life = |up: &'static str, hello: &'static str, down: &'static str| [up, hello, down, up, hello];
        let of_node3 = life("node3@127.0.0.1 is up", "node3 says hello", "node3@127.0.0.1 is down");
        let stories: [(&str, &[&str]); 7] = [
            (
                "seed",
                &[
                    "Created cluster as seed node",
                    "Everybody has greeted everybody: now one of us is killed",
                    "node3@127.0.0.1 is down",
                    "All others have noticed: it may come back",
                    "We are all together again: good-bye",
                    "Everybody else has left",
                    "Left the cluster",
                ],
            ),
            ("seed", &of_node3),
            ("seed", &["node2@127.0.0.1 is up", "node2 says hello"]),
            ("node2", &["Joined cluster", "Left the cluster"]),
            ("node2", &of_node3),
            ("node2", &["seed@127.0.0.1 is up", "seed says hello"]),
            (
                "node3",
                &[
                    "seed@127.0.0.1 is up",
                    "seed says hello",
                    "seed@127.0.0.1 is up",
                    "seed says hello",
                    "Left the cluster",
                ],
            ),
        ];
        assert_eq!(demo.stdout.lines().count(), 33, "the same lines on every engine\n{}", demo.show());
        for (node, story) in stories {
            assert_tells(&demo, node, story);
        }
        assert!(!demo.stderr.contains("REPORT"), "a report of Erlang's\n{}", demo.show());
        for remark in ["killing node3 (SIGKILL)", "starting node3 again"] {
            assert_eq!(demo.stderr.matches(remark).count(), 1, "{}", demo.show());
        }
    }
}

#[test]
fn the_readme_shows_a_program_that_runs() {
    let readme = fs::read_to_string(root().join("README.md")).unwrap();
    let program = fs::read_to_string(root().join("examples/hello.topos")).unwrap();
    assert!(
        readme.contains(&format!("```topos\n{program}```")),
        "README.md shows another program than examples/hello.topos"
    );
    let Some(_turn) = turn() else { return };
    for engine in engines() {
        let outcome = run(&["run", "--nodes", "2", "--engine", engine, "../../../../examples/hello.topos"]);
        assert_eq!(outcome.status, 0, "{}", outcome.show());
        assert_tells(&outcome, "seed", &["node2@127.0.0.1 is up", "heard: good morning"]);
        assert_tells(&outcome, "node2", &["seed@127.0.0.1 is up", "heard: good morning"]);
    }
}

/// Names of nodes are names of a host's port mapper: each run has its own.
#[test]
fn two_runs_at_once_do_not_meet() {
    let Some(_turn) = turn() else { return };
    let runs = [(); 2].map(|()| {
        std::thread::spawn(|| {
            Case::new(&["run", "--nodes", "2", "--engine", "otp", "../../../../examples/hello.topos"]).run()
        })
    });
    for outcome in runs.map(|run| run.join().unwrap()) {
        assert_eq!(outcome.status, 0, "{}", outcome.show());
    }
}

#[test]
fn channels_keep_their_promises_on_every_engine() {
    let Some(_turn) = turn() else { return };
    let program = root().join("examples/channels.topos").display().to_string();
    for engine in engines() {
        let outcome = run(&["run", "--nodes", "2", "--engine", engine, &program]);
        assert_eq!(outcome.status, 0, "{}", outcome.show());
        let seed = [
            "node2@127.0.0.1 has 400 orders",
            "orders: 400 out, 400 acknowledged, 0 lost",
            "there is no channel called orders",
        ];
        assert_eq!(lines_of(&outcome, "seed"), seed, "{}", outcome.show());
        assert_eq!(lines_of(&outcome, "node2"), ["the price is 50"], "{}", outcome.show());
    }
}

#[test]
fn a_flow_decides_on_the_topology_on_every_engine() {
    let Some(_turn) = turn() else { return };
    let program = root().join("examples/ring.topos").display().to_string();
    for engine in engines() {
        let outcome = run(&["run", "--nodes", "4", "--engine", engine, &program]);
        assert_eq!(outcome.status, 0, "{}", outcome.show());
        let mut seed = lines_of(&outcome, "seed");
        seed.sort_unstable();
        // By name the seed is the last: node2 and node4 are beside it.
        let told = [
            "node2@127.0.0.1 has 2 neighbours and reaches me over 1 connection(s)",
            "node3@127.0.0.1 has 2 neighbours and reaches me over 2 connection(s)",
            "node4@127.0.0.1 has 2 neighbours and reaches me over 1 connection(s)",
        ];
        assert_eq!(seed, told, "{}", outcome.show());
    }
}

/// With another engine, and in a simulation, it is refused with the reason.
#[test]
fn a_manager_of_partisans_own_carries_a_program() {
    let Some(_turn) = turn() else { return };
    let program = root().join("examples/native.topos").display().to_string();
    if engines().contains(&"partisan") {
        let outcome = run(&["run", "--nodes", "2", "--engine", "partisan", &program]);
        assert_eq!(outcome.status, 0, "{}", outcome.show());
        assert_eq!(lines_of(&outcome, "seed"), ["node2@127.0.0.1 says hello", "TP1046"], "{}", outcome.show());
        assert_eq!(lines_of(&outcome, "node2"), ["Welcome"], "{}", outcome.show());
    }
    for (engine, part) in [("otp", "engine: expected partisan"), ("sim", "there is no Partisan in it")] {
        let outcome = run(&["run", "--engine", engine, &program]);
        assert_eq!(outcome.status, 1, "{}", outcome.show());
        assert!(outcome.show().contains(part), "{}", outcome.show());
    }
}

#[test]
fn a_scope_chooses_the_channel_of_what_is_sent_in_it() {
    let Some(_turn) = turn() else { return };
    for engine in engines() {
        let outcome = run(&["run", "--nodes", "2", "--engine", engine, "default_channel.topos"]);
        assert_eq!(outcome.status, 0, "{}", outcome.show());
        let seed = [
            "a child sends in orders",
            "TP1015",
            "outside: data",
            "orders: 3, prices: 2",
            "from there: bulk, 1 in bulk",
        ];
        assert_eq!(lines_of(&outcome, "seed"), seed, "{}", outcome.show());
    }
}

#[test]
fn top_shows_a_running_node() {
    let Some(_turn) = turn() else { return };
    let node = Watched::start();
    let (name, address) = (node.name.clone(), node.address.clone());
    let shown = Case::new(&["top", "--once", "--address", &address]).run();
    let json = Case::new(&["top", "--once", "--json", "--address", &address]).run();
    node.stop();
    assert_eq!((shown.status, json.status), (0, 0), "{}", shown.show());
    assert!(shown.stdout.starts_with(&format!("{name} · otp · cluster topos · 1 of 1 members up")), "{}", shown.show());
    assert!(json.stdout.starts_with('{') && json.stdout.contains(&format!(r#""node":"{name}""#)), "{}", json.show());
    let gone = Case::new(&["top", "--once", "--address", &address]).run();
    assert!(gone.status == 1 && gone.stderr.contains("TP0815"), "{}", gone.show());
}

#[test]
fn a_node_that_comes_back_can_be_told_something_at_once() {
    let Some(_turn) = turn() else { return };
    for engine in engines() {
        let outcome = run(&["run", "--nodes", "2", "--engine", engine, "restarts.topos"]);
        assert_eq!(outcome.status, 0, "{}", outcome.show());
        assert_eq!(outcome.stderr.matches("starting node2 again").count(), 12, "{}", outcome.show());
    }
}

#[test]
fn a_program_on_one_node_has_the_terminal_to_itself() {
    let Some(_turn) = turn() else { return };
    insta::assert_snapshot!(run(&["run", "hello.topos"]).show());
}

#[test]
fn arguments_reach_the_program() {
    let Some(_turn) = turn() else { return };
    let arguments = ["run", "echo.topos", "--", "one", "-x", "drei süße"];
    insta::assert_snapshot!(run(&arguments).show());
    // The same where no locale is set.
    let outcome = Case::new(&arguments).env("LC_ALL", "C").run();
    insta::assert_snapshot!("arguments_reach_the_program", outcome.show());
}

#[test]
fn the_programs_exit_status_is_passed_on() {
    let Some(_turn) = turn() else { return };
    insta::assert_snapshot!(run(&["run", "status.topos"]).show());
    assert_eq!(run(&["run", "--nodes", "2", "--engine", "otp", "status.topos"]).status, 7);
}

#[test]
fn an_error_of_the_program_names_its_line() {
    let Some(_turn) = turn() else { return };
    insta::assert_snapshot!(run(&["run", "fails.topos"]).show());
}

#[test]
fn errors_of_the_run_time_are_one_error_each() {
    let Some(_turn) = turn() else { return };
    for engine in engines() {
        for (name, file) in
            [("a_contact_that_is_not_there", "badjoin.topos"), ("a_bad_configuration", "badconfig.topos")]
        {
            let shown = run(&["run", "--engine", engine, file]).show();
            // The same on every engine.
            let shown = shown.replace(&format!("--engine {engine}"), "--engine ENGINE");
            insta::assert_snapshot!(name, shown.replace(&format!("| engine {engine}"), "| engine ENGINE"));
        }
    }
}

#[test]
fn beams_are_built() {
    let Some(_turn) = turn() else { return };
    let directory = tempfile::tempdir().unwrap();
    let output = directory.path().display().to_string();
    let built =
        run(&["build", "--cache", &directory.path().join("cache").display().to_string(), "-o", &output, "hello.topos"]);
    assert_eq!(built.status, 0, "{}", built.show());
    for module in ["Hello", "Topos.IO", "Topos.Prelude"] {
        assert!(directory.path().join(format!("{module}.beam")).is_file(), "{module}: {}", built.show());
    }
}

/// A run of `forever.topos` whose nodes have all said that they run.
fn forever(mark: &str) -> (std::process::Child, Lines<BufReader<std::process::ChildStdout>>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_topos"))
        .args(["run", "--nodes", "2", "forever.topos"])
        .current_dir(cases())
        .env("TOPOS_TEST_RUN", mark)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..2 {
        let line = lines.next().expect("a node ended").unwrap();
        assert!(line.ends_with("running"), "{line}");
    }
    assert_eq!(vms(mark).len(), 2);
    // A command whose output is closed before it ends says so by its status.
    (child, lines)
}

#[test]
fn a_ctrl_c_ends_every_node() {
    let Some(_turn) = turn() else { return };
    let mark = mark();
    let (mut child, _lines) = forever(&mark);
    signal(&child, nix::sys::signal::Signal::SIGINT);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(vms(&mark), [0; 0]);
}

#[test]
fn nodes_end_even_when_the_runner_is_killed() {
    let Some(_turn) = turn() else { return };
    let mark = mark();
    let (mut child, _lines) = forever(&mark);
    signal(&child, nix::sys::signal::Signal::SIGKILL);
    child.wait().unwrap();
    eventually("the end of the nodes", || vms(&mark).is_empty());
}

#[test]
fn the_standard_library_answers() {
    let Some(_turn) = turn() else { return };
    insta::assert_snapshot!(run(&["run", "stdlib.topos"]).show());
}

#[test]
fn handlers_and_their_state_work() {
    let Some(_turn) = turn() else { return };
    insta::assert_snapshot!(run(&["run", "handlers.topos"]).show());
}

#[test]
fn actors_and_supervisors_work() {
    let Some(_turn) = turn() else { return };
    insta::assert_snapshot!(run(&["run", "actors.topos"]).show());
}

#[test]
fn input_belongs_to_a_single_node() {
    let Some(_turn) = turn() else { return };
    let ask = |nodes| Case::new(&["run", "--nodes", nodes, "ask.topos"]).input("Ada\n").run();
    let single = ask("1");
    assert_eq!((single.status, single.stdout.as_str()), (0, "name? hello Ada\nno more\n"), "{}", single.show());
    let several = ask("2");
    assert_eq!(lines_of(&several, "seed"), ["name? nobody there", "no more"], "{}", several.show());
}

#[test]
fn a_reader_that_goes_away_ends_the_nodes() {
    let Some(_turn) = turn() else { return };
    let mark = mark();
    let mut child = Command::new(env!("CARGO_BIN_EXE_topos"))
        .args(["run", "--nodes", "2", "chatter.topos"])
        .current_dir(cases())
        .env("TOPOS_TEST_RUN", &mark)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    lines.next().expect("a node ended").unwrap();
    drop(lines);
    assert_eq!(child.wait().unwrap().code(), Some(141));
    eventually("the end of the nodes", || vms(&mark).is_empty());
}
