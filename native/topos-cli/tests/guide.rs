//! The nine blocks of the practical guide, as the programs that `docs/guide-differences.md` describes.

mod common;

use common::{engines, root, turn, Case, Outcome};

fn program(name: &str) -> String {
    root().join(format!("examples/guide/{name}.topos")).display().to_string()
}

/// The lines of the output in any fair order: those of one node stay in theirs, nodes are sorted.
fn story(outcome: &Outcome) -> Vec<&str> {
    let mut lines: Vec<&str> = outcome.stdout.lines().collect();
    lines.sort_by_key(|line| line.split_once('|').map_or("", |(node, _)| node.trim()));
    lines
}

/// Runs it on so many nodes, on every engine and simulated.
#[track_caller]
fn expect(name: &str, nodes: &str, wanted: &[&str]) {
    let Some(_turn) = turn() else { return };
    for engine in engines().into_iter().chain(["sim"]) {
        let outcome = Case::new(&["run", "--nodes", nodes, "--engine", engine, &program(name)]).run();
        assert_eq!(outcome.status, 0, "{}", outcome.show());
        assert_eq!(story(&outcome), wanted, "{}", outcome.show());
        assert!(!outcome.stderr.contains("error["), "{}", outcome.show());
    }
}

#[test]
fn my_distributed_app() {
    expect(
        "MyDistributedApp",
        "3",
        &[
            "node2 | Joined cluster",
            "node3 | Joined cluster",
            "seed  | Created cluster as seed node",
            "seed  | Everybody is here",
        ],
    );
}

#[test]
fn reliable_rpc() {
    expect(
        "ReliableRPC",
        "3",
        &[
            "seed  | Timeout on attempt 1, retrying...",
            "seed  | Timeout on attempt 2, retrying...",
            "seed  | fetched user 7",
            "seed  | Timeout on attempt 1, retrying...",
            "seed  | Timeout on attempt 2, retrying...",
            "seed  | fetched nobody",
        ],
    );
}

#[test]
fn distributed_state() {
    let cart = ["2 of apples", "2 of bread", "1 of butter", "1 of milk", "1 of pears", "2 of tea"];
    let lines: Vec<String> = ["node2 |", "node3 |", "seed  |"]
        .iter()
        .flat_map(|node| cart.iter().map(move |line| format!("{node} {line}")))
        .collect();
    expect("DistributedState", "3", &lines.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn adaptive_topology() {
    expect(
        "AdaptiveTopology",
        "3",
        &[
            "node2 | Heard every number",
            "node3 | Heard every number",
            "seed  | Switching topology from FullMesh to PeerToPeer({active_view = 6, active_walk = 6, passive_view = 30, passive_walk = 3, shuffle_period = 10000})",
            "seed  | Topology switch complete",
            r#"seed  | Switching topology from PeerToPeer({active_view = 6, active_walk = 6, passive_view = 30, passive_walk = 3, shuffle_period = 10000}) to ClientServer({hubs = ["seed@127.0.0.1"], hubs_of_a_client = 1})"#,
            "seed  | Topology switch complete",
            r#"seed  | Switching topology from ClientServer({hubs = ["seed@127.0.0.1"], hubs_of_a_client = 1}) to PeerToPeer({active_view = 8, active_walk = 6, passive_view = 30, passive_walk = 3, shuffle_period = 2000})"#,
            "seed  | Topology switch complete",
            "seed  | Switching topology from PeerToPeer({active_view = 8, active_walk = 6, passive_view = 30, passive_walk = 3, shuffle_period = 2000}) to FullMesh",
            "seed  | Topology switch complete",
        ],
    );
}

#[test]
fn partition_tolerant() {
    let detected =
        |text: &'static str, healed: &'static str, summary: &'static str| [text, text, healed, healed, summary];
    let healed = "Partition healed, normal operations resumed";
    let merge = "Partition detected, logging operations for merge";
    let read_only = "Partition detected, entering read-only mode";
    let local = "Partition detected, continuing with local operations";
    let mut wanted = Vec::new();
    wanted.extend(detected(merge, healed, "MergeOnReconnect: counted [true, true], parted [11, 101], together 111"));
    wanted.extend(detected(read_only, healed, "ReadOnlyMode: counted [false, false], parted [1, 1], together 1"));
    wanted.push("Not leader in partition, entering read-only mode");
    wanted.extend([healed, healed, "ElectLeader: counted [true, false], parted [11, 1], together 11"]);
    wanted.extend(detected(local, healed, "ContinueLocal: counted [true, true], parted [11, 101], together 111"));
    expect("PartitionTolerant", "1", &wanted);
}

#[test]
fn service_mesh() {
    expect(
        "ServiceMesh",
        "2",
        &[
            r#"seed  | TheOrders(["order of user 7"])"#,
            "seed  | ServiceNotFound",
            r#"seed  | TheOrders(["nothing new"])"#,
            "seed  | ServiceTimeout",
            "seed  | ServiceTimeout",
            "seed  | CircuitOpen",
            r#"seed  | TheOrders(["order of user 8"])"#,
            r#"seed  | TheOrders(["order of user 9"])"#,
        ],
    );
}

#[test]
fn partisan_test() {
    let Some(_turn) = turn() else { return };
    let outcome = Case::new(&["test", "--seed", "1", &program("PartisanTest")]).run();
    assert_eq!(outcome.status, 0, "{}", outcome.show());
    for line in [
        "ok   PartisanTest: consensus reached under partition",
        "ok   PartisanTest: causal delivery preserves order",
        "2 passed, 0 failed",
    ] {
        assert!(outcome.stdout.contains(line), "{}", outcome.show());
    }
}

/// The tests of block 7 find what they are for: nodes that do not tell those who come back, and messages out of order.
#[test]
fn the_tests_of_the_guide_can_fail() {
    let Some(_turn) = turn() else { return };
    let right = std::fs::read_to_string(program("PartisanTest")).expect("the program is there");
    let faults = [
        ("tell_all([node], Greatest(value))", "()", "FAIL PartisanTest: consensus reached under partition"),
        (
            "    P.require(perform P.send(cluster.at(1), Msg1))\n    P.require(perform P.send(cluster.at(2), Msg2))",
            "    P.require(perform P.send(cluster.at(1), Msg1))\n    P.require(perform P.send(cluster.at(2), Msg1))",
            "FAIL PartisanTest: causal delivery preserves order",
        ),
    ];
    for (code, fault, failure) in faults {
        assert!(right.contains(code), "{code}");
        let directory = tempfile::tempdir().expect("there is room");
        // The test gives up after one second instead of ten.
        let wrong = right.replace(code, fault).replace("wait_until_timeout(10s,", "wait_until_timeout(1s,");
        let file = directory.path().join("PartisanTest.topos");
        std::fs::write(&file, wrong).expect("the file can be written");
        let outcome = Case::new(&["test", "--seed", "1", "PartisanTest.topos"]).directory(directory.path()).run();
        assert!(outcome.status == 1 && outcome.stdout.contains(failure), "{}", outcome.show());
    }
}

#[test]
fn channel_pool() {
    expect(
        "ChannelPool",
        "2",
        &[
            r#"node2 | received ["first", "second"]"#,
            "seed  | one more channel",
            "seed  | pool_1 is idle",
            "seed  | pool_2 is idle",
            r#"seed  | sent Map {"pool_more": 2}"#,
        ],
    );
}

#[test]
fn migration() {
    expect(
        "Migration",
        "2",
        &[
            r#"node2 | received ["hello", "hello"]"#,
            "seed  | inbox at node2@127.0.0.1 ! hello",
            "seed  | monitor_node(node2@127.0.0.1, true)",
            "seed  | node2@127.0.0.1 is gone",
        ],
    );
}
