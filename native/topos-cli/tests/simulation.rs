//! Whole programs on virtual nodes: `topos run --engine sim`.

mod common;

use std::fs;

use common::{lines_of, root, turn, Case, Outcome};

fn example(name: &str) -> String {
    root().join(format!("examples/{name}.topos")).display().to_string()
}

/// Simulates a program with these options.
fn simulate(options: &[&str], program: &str) -> Outcome {
    let mut args = vec!["run", "--engine", "sim"];
    args.extend(options);
    args.push(program);
    Case::new(&args).run()
}

#[track_caller]
fn assert_tells(outcome: &Outcome, node: &str, story: &[&str]) {
    assert_eq!(lines_of(outcome, node), story, "{}", outcome.show());
}

#[test]
fn the_quick_start_tells_its_story_with_every_seed() {
    let Some(_turn) = turn() else { return };
    for seed in ["1", "2", "3"] {
        let outcome = simulate(&["--nodes", "3", "--seed", seed], &example("quick_start"));
        assert_eq!(outcome.status, 0, "{}", outcome.show());
        assert_eq!(outcome.stdout.lines().count(), 33, "the same lines as on real engines\n{}", outcome.show());
        for remark in ["killing node3", "starting node3 again"] {
            assert_eq!(outcome.stderr.matches(remark).count(), 1, "{}", outcome.show());
        }
        let node3 = [
            "node3@127.0.0.1 is up",
            "node3 says hello",
            "node3@127.0.0.1 is down",
            "node3@127.0.0.1 is up",
            "node3 says hello",
        ];
        let seen: Vec<&str> = lines_of(&outcome, "node2").into_iter().filter(|line| line.contains("node3")).collect();
        assert_eq!(seen, node3, "{}", outcome.show());
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
    let Some(_turn) = turn() else { return };
    let run = |seed: &str| {
        let outcome =
            simulate(&["--nodes", "3", "--seed", seed, "--loss", "10%", "--trace"], &example("simulation/faults"));
        assert_eq!(outcome.status, 0, "{}", outcome.show());
        (outcome.stdout, outcome.stderr)
    };
    assert_eq!(run("7"), run("7"));
    assert_ne!(run("7").1, run("8").1);
}

#[test]
fn programs_of_one_node_print_what_they_print_on_real_ones() {
    let Some(_turn) = turn() else { return };
    for name in ["effects", "processes", "matching", "modules"] {
        let program = root().join(format!("tests/golden/language/{name}.topos"));
        let wanted = fs::read_to_string(program.with_extension("out")).expect("each program has an expected output");
        let program = program.display().to_string();
        // With the second one, children of a supervisor that told when they start told it in another order.
        for seed in ["3", "25"] {
            let outcome = Case::new(&["run", "--engine", "sim", "--seed", seed, &program, "--", "one", "two"]).run();
            assert_eq!((outcome.status, outcome.stdout.as_str()), (0, wanted.as_str()), "{}", outcome.show());
        }
    }
}

#[test]
fn programs_of_the_guide_run() {
    let Some(_turn) = turn() else { return };
    let outcome = simulate(&["--nodes", "2", "--seed", "1"], &example("guide/ServiceMesh"));
    let story = [
        r#"TheOrders(["order of user 7"])"#,
        "ServiceNotFound",
        r#"TheOrders(["nothing new"])"#,
        "ServiceTimeout",
        "ServiceTimeout",
        "CircuitOpen",
        r#"TheOrders(["order of user 8"])"#,
        r#"TheOrders(["order of user 9"])"#,
    ];
    assert_tells(&outcome, "seed", &story);
    let outcome = simulate(&["--nodes", "3", "--seed", "1"], &example("guide/DistributedState"));
    let cart = ["2 of apples", "2 of bread", "1 of butter", "1 of milk", "1 of pears", "2 of tea"];
    for node in ["seed", "node2", "node3"] {
        assert_tells(&outcome, node, &cart);
    }
    let outcome = simulate(&["--nodes", "2", "--seed", "1"], &example("guide/Migration"));
    assert_tells(&outcome, "node2", &[r#"received ["hello", "hello"]"#]);
    let outcome = simulate(&["--nodes", "2", "--seed", "1"], &example("channels"));
    assert_tells(&outcome, "node2", &["the price is 50"]);
}

/// Two clients that read, add one and write lose an update when they meet: some seed shows it, and shows it again.
#[test]
fn a_search_over_seeds_finds_a_race() {
    let Some(_turn) = turn() else { return };
    let program = example("simulation/lost_update");
    let found = simulate(&["--nodes", "3", "--seeds", "1..100"], &program);
    assert_eq!(found.status, 1, "{}", found.show());
    assert!(found.stdout.contains("2 clients counted to 1"), "{}", found.show());
    let seed = found.stderr.split("--seed ").nth(1).map(str::trim).expect("the seed is told");
    assert!(seed != "1", "most seeds are to pass\n{}", found.show());
    let again = simulate(&["--nodes", "3", "--seed", seed], &program);
    assert_eq!((again.status, &again.stdout), (1, &found.stdout), "{}", again.show());
    let one_client = simulate(&["--nodes", "2", "--seeds", "1..100"], &program);
    assert_eq!(one_client.status, 0, "{}", one_client.show());
    assert!(one_client.stderr.contains("no failure with 100 seeds"), "{}", one_client.show());
}

#[test]
fn a_program_does_what_it_likes_to_its_nodes() {
    let Some(_turn) = turn() else { return };
    let outcome = simulate(&["--nodes", "3", "--seed", "1"], &example("simulation/faults"));
    assert_eq!(outcome.status, 0, "{}", outcome.show());
    assert_tells(
        &outcome,
        "seed",
        &[
            "node3 is cut off: down within 3.5 seconds",
            "the cut is healed: up within half a second",
            "node2 stands still: down within 3.5 seconds",
            "node2 goes on: up within half a second",
            "node3 has crashed: down within half a second",
            "node3 runs again: up within half a second",
            "delivered by hand: true",
            "and again: false",
        ],
    );
    let received: Vec<&str> =
        lines_of(&outcome, "node2").into_iter().filter(|line| line.starts_with("received")).collect();
    assert_eq!(received, ["received: the second", "received: the first"], "{}", outcome.show());
}

#[test]
fn a_hundred_nodes_are_few() {
    let Some(_turn) = turn() else { return };
    let outcome = simulate(&["--nodes", "100", "--seed", "1"], &example("simulation/rumour"));
    assert_eq!(outcome.status, 0, "{}", outcome.show());
    assert_tells(&outcome, "seed", &["94 of 99 nodes heard it, most of them more than once"]);
}

#[test]
fn a_deadlock_is_told_with_who_waits_for_what() {
    let Some(_turn) = turn() else { return };
    let directory = tempfile::tempdir().expect("there is room");
    let program = directory.path().join("Stuck.topos");
    let text = "module Stuck\n\nimport Topos.Process (Process)\n\n\
                flow main : () / {Process} =\n  let _ : Int = perform Process.receive()\n  ()\n";
    fs::write(&program, text).expect("the file can be written");
    let outcome = simulate(&["--nodes", "2", "--seed", "4"], &program.display().to_string());
    assert_eq!(outcome.status, 1, "{}", outcome.show());
    for told in
        ["error[TP1083]", "seed: main waits in Process.receive", "node2: main waits in", "the same run again: --seed 4"]
    {
        assert!(outcome.stderr.contains(told), "{told}\n{}", outcome.show());
    }
}

#[test]
fn what_is_not_simulated_is_named() {
    let Some(_turn) = turn() else { return };
    let outcome = simulate(&["--nodes", "3", "--seed", "1"], &example("topology"));
    let told = "the simulation cannot do this: Distributed.route where the topology is no full mesh";
    assert!(outcome.stdout.contains(told), "{}", outcome.show());
}

#[test]
fn a_nemesis_strikes_by_schedule() {
    let Some(_turn) = turn() else { return };
    let nemesis = "wait 2s, pause node2 1500ms, crash 1% 1s";
    let outcome = simulate(&["--nodes", "3", "--seed", "5", "--nemesis", nemesis], &example("quick_start"));
    // The story of the Quick Start is over before the first fault.
    assert_eq!(outcome.status, 0, "{}", outcome.show());
    assert!(!outcome.stderr.contains("pause node2"), "{}", outcome.show());
    let outcome = simulate(
        &["--nodes", "2", "--seed", "5", "--nemesis", "pause node2 1500ms", "--max-time", "1s"],
        &example("simulation/lost_update"),
    );
    assert!(outcome.status == 1 && outcome.stderr.contains("error[TP1084]"), "{}", outcome.show());
}

#[test]
fn options_that_do_not_fit_are_refused() {
    for (args, told) in [
        (vec!["run", "--seed", "1", "x.topos"], "--seed is for simulations"),
        (vec!["run", "--nodes", "65", "x.topos"], "65 nodes would be 65 VMs of this machine"),
        (vec!["run", "--engine", "sim", "--nemesis", "crash node9", "x.topos"], "--nemesis names node9"),
        (vec!["run", "--engine", "sim", "--loss", "100%", "x.topos"], "0% to 99% is expected"),
        (vec!["run", "--engine", "sim", "--nemesis", "burn node2 1s", "x.topos"], "is no fault"),
        (vec!["run", "--engine", "sim", "--seed", "1", "--seeds", "1..2", "x.topos"], "cannot be used with"),
    ] {
        let outcome = Case::new(&args).run();
        assert!(outcome.status != 0 && outcome.stderr.contains(told), "{told}\n{}", outcome.show());
    }
}
