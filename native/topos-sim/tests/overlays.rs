//! Laws of whole overlays, on simulated networks.

use proptest::prelude::*;
use std::{collections::BTreeMap, ops::ControlFlow};
use topos_overlay::Random;
use topos_sim::{build, graph_svg, html, measure, number, simulate, table, Scenario, Topology, Unicast, World};

fn go_on(_: topos_sim::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

fn built(scenario: &Scenario) -> World {
    build(scenario, &mut go_on).expect("a valid scenario")
}

fn wait(world: &mut World, seconds: u64) {
    world.run_until(world.now() + 1_000 * seconds).expect("no machine refuses an event");
}

/// What must hold at every moment, whatever happens.
fn assert_bounds(world: &World, scenario: &Scenario) {
    for node in world.living() {
        let (view, reserve) = (world.stack(node).view(), world.stack(node).overlay_state().reserve());
        assert!(view.len() <= scenario.active_size as usize, "node {node}: {view:?}");
        assert!(reserve.len() <= scenario.passive_size as usize);
        assert!(!view.iter().chain(&reserve).any(|other| number(other) == node), "node {node} knows itself");
        assert!(view.windows(2).all(|pair| pair[0] < pair[1]), "sorted, none twice");
        assert!(!view.iter().any(|other| reserve.contains(other)), "node {node}: one name in both views");
    }
}

/// Sends from every living node to every other and says how often each message came, and how many were confirmed.
fn all_pairs(world: &mut World) -> (BTreeMap<(u32, u32), u32>, usize, usize) {
    let living = world.living();
    world.take_unicasts();
    for &from in &living {
        for &to in &living {
            world.send(from, to, b"hello").expect("no machine refuses an event");
        }
        wait(world, 1);
    }
    wait(world, 30);
    let (mut came, mut done, mut given_up) = (BTreeMap::new(), 0, 0);
    for from in &living {
        for to in &living {
            came.insert((*from, *to), 0);
        }
    }
    for unicast in world.take_unicasts() {
        match unicast {
            Unicast::Delivered { source, target, .. } => *came.entry((source, target)).or_insert(0) += 1,
            Unicast::Done { .. } => done += 1,
            Unicast::GivenUp { .. } => given_up += 1,
        }
    }
    (came, done, given_up)
}

#[test]
fn nobody_is_isolated_at_any_rate_of_joins() {
    for seed in 0..100 {
        for join_interval in [0, 1, 20] {
            let scenario = Scenario { nodes: 40, seed, join_interval, ..Scenario::default() };
            let mut world = built(&scenario);
            assert_bounds(&world, &scenario);
            let graph = measure(&world, 40, &mut Random::new(seed));
            assert_eq!(graph.isolated, 0, "seed {seed}, {join_interval} ms");
            wait(&mut world, 120);
            let graph = measure(&world, 40, &mut Random::new(seed));
            assert_eq!((graph.isolated, graph.components), (0, 1), "seed {seed}, {join_interval} ms");
        }
    }
}

/// Steps through the joins and a minute more, so that exchanges of neighbours are seen, and looks at every node at every
/// step of five milliseconds, the shortest way between two nodes: who has a neighbour keeps one.
fn assert_nobody_loses_its_last_neighbour(scenario: &Scenario) {
    let mut world = built(scenario);
    let mut had = vec![false; scenario.nodes as usize];
    let end = world.now() + 60_000;
    while world.now() < end {
        for node in 0..scenario.nodes {
            let has = !world.stack(node).view().is_empty();
            assert!(has || !had[node as usize], "{node} has lost its last neighbour at {}: {scenario:?}", world.now());
            had[node as usize] |= has;
        }
        let next = world.now() + 5;
        world.run_until(next).expect("no machine refuses an event");
    }
    assert!(had.into_iter().all(|has| has), "{scenario:?}");
}

#[test]
fn nobody_loses_its_last_neighbour_to_one_that_joins() {
    // Of the first of these runs, node 423 was alone at its end: a neighbour exchanged it for another.
    for (nodes, join_interval, seed) in [(500, 1, 6), (120, 0, 1), (120, 10, 2), (120, 100, 3)] {
        assert_nobody_loses_its_last_neighbour(&Scenario { nodes, join_interval, seed, ..Scenario::default() });
    }
    for seed in 0..20 {
        let scenario = Scenario { nodes: 24, active_size: 2 + (seed % 2) as u32, seed, ..Scenario::default() };
        assert_nobody_loses_its_last_neighbour(&scenario);
    }
}

#[test]
fn all_pairs_of_every_topology_get_their_messages_exactly_once_before_and_after_failures() {
    for topology in [Topology::Hyparview, Topology::ClientServer, Topology::FullMesh] {
        let scenario = Scenario { topology, nodes: 25, seed: 3, ..Scenario::default() };
        let mut world = built(&scenario);
        for failed in [0..0, 2..10] {
            failed.for_each(|node| world.crash(node));
            wait(&mut world, 60);
            let (came, done, given_up) = all_pairs(&mut world);
            assert!(came.values().all(|&times| times == 1), "{topology:?}: {came:?}");
            assert_eq!((done, given_up), (came.len(), 0), "{topology:?}");
        }
    }
}

#[test]
fn clients_pass_to_hubs_that_live_and_speak_through_them() {
    let scenario =
        Scenario { topology: Topology::ClientServer, nodes: 30, hubs: 3, hubs_of_a_client: 1, ..Scenario::default() };
    let mut world = built(&scenario);
    world.crash(0);
    wait(&mut world, 30);
    for node in world.living().into_iter().filter(|&node| node >= 3) {
        let view: Vec<u32> = world.stack(node).view().iter().map(number).collect();
        assert!(view == [1] || view == [2], "a client has one hub that lives: {view:?}");
    }
    let (came, _, _) = all_pairs(&mut world);
    assert!(came.values().all(|&times| times == 1));
}

#[test]
fn parts_that_a_partition_made_find_together() {
    let scenario = Scenario { nodes: 60, seed: 5, ..Scenario::default() };
    let mut world = built(&scenario);
    wait(&mut world, 100);
    world.partition(&(0..30).collect::<Vec<_>>());
    wait(&mut world, 30);
    let graph = measure(&world, 60, &mut Random::new(1));
    assert_eq!((graph.components, graph.isolated), (2, 0), "each side mends itself");
    world.heal();
    wait(&mut world, 300);
    let graph = measure(&world, 60, &mut Random::new(1));
    assert_eq!((graph.components, graph.reach_min), (1, 1.0));
}

#[test]
fn links_that_lose_messages_leave_edges_that_are_mended() {
    let scenario = Scenario { nodes: 60, seed: 2, loss: 100, ..Scenario::default() };
    let mut world = built(&scenario);
    wait(&mut world, 600);
    assert_bounds(&world, &scenario);
    let graph = measure(&world, 60, &mut Random::new(1));
    assert_eq!((graph.isolated, graph.components), (0, 1));
    assert!(graph.symmetry > 0.9, "{graph:?}");
}

#[test]
fn a_run_is_repeated_by_its_seed_and_stops_when_asked() {
    let scenario = Scenario { nodes: 80, settle_rounds: 5, broadcasts: 3, ..Scenario::default() };
    let run = |seed| table(&simulate(&Scenario { seed, ..scenario.clone() }, go_on).expect("valid").0);
    assert_eq!(run(9), run(9));
    assert_ne!(run(9), run(10));
    let mut calls = 0;
    let stopped = simulate(&scenario, |_| {
        calls += 1;
        if calls < 3 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    });
    assert!(matches!(stopped, Err(topos_sim::SimulationError::Stopped)));
}

#[test]
fn faults_of_every_kind_pass_and_leave_an_overlay_that_is_whole() {
    let faults = ["loss 20% 30s", "partition 50% 30s", "pause 20% 20s", "hold 20% 20s", "crash 30%", "wait 10s"];
    let scenario = Scenario {
        nodes: 60,
        settle_rounds: 5,
        broadcasts: 4,
        duplicate: 100,
        reorder: 100,
        nemesis: faults.iter().map(|fault| fault.parse().expect("a fault")).collect(),
        ..Scenario::default()
    };
    for seed in 0..5 {
        let scenario = Scenario { seed, ..scenario.clone() };
        let (report, _) = simulate(&scenario, go_on).expect("valid");
        assert_eq!(report.faults.len(), faults.len());
        assert!(report.faults[1].graph.components >= 2, "seed {seed}: a partition is seen: {:?}", report.faults[1]);
        assert_eq!((report.healed.graph.living, report.healed.graph.components), (42, 1), "seed {seed}");
        let after = report.healed.broadcasts.expect("there are some");
        assert_eq!((after.reach_min, after.twice), (1.0, 0), "seed {seed}: {after:?}");
        let unicasts = report.unicasts.expect("there are some");
        // What is delivered twice would be counted twice. A sender may crash before it hears.
        assert!(
            unicasts.delivered <= unicasts.sent && unicasts.done <= unicasts.delivered,
            "seed {seed}: {unicasts:?}"
        );
        assert!(unicasts.delivered > unicasts.sent / 2, "seed {seed}: {unicasts:?}");
    }
}

#[test]
fn a_node_that_pauses_finds_all_that_came_in_its_order() {
    let mut world = built(&Scenario { nodes: 2, ..Scenario::default() });
    let deliveries = |world: &mut World| -> Vec<Vec<u8>> {
        let payload = |unicast| match unicast {
            Unicast::Delivered { payload, .. } => Some(payload.to_vec()),
            _ => None,
        };
        world.take_unicasts().into_iter().filter_map(payload).collect()
    };
    for stop in [World::pause, World::hold] {
        stop(&mut world, 1, 1_500);
        for number in 0..20u8 {
            world.send(0, 1, &[number]).expect("no machine refuses an event");
        }
        wait(&mut world, 1);
        assert_eq!(deliveries(&mut world), Vec::<Vec<u8>>::new());
        wait(&mut world, 1);
        assert_eq!(deliveries(&mut world), (0..20u8).map(|number| vec![number]).collect::<Vec<_>>());
    }
    // A node that pauses says nothing; one that is only not reached does.
    world.pause(0, 5_000);
    world.hold(1, 5_000);
    world.send(1, 0, b"x").expect("no machine refuses an event");
    wait(&mut world, 4);
    assert_eq!(world.take_unicasts(), []);
    wait(&mut world, 4);
    assert_eq!(deliveries(&mut world), [b"x"]);
}

#[test]
fn what_settled_once_is_disturbed_again_and_again() {
    let scenario = Scenario { nodes: 60, settle_rounds: 3, broadcasts: 2, ..Scenario::default() };
    let settled = topos_sim::settle(&scenario, &mut go_on).expect("valid");
    for fail_percent in [20.0, 60.0] {
        let scenario = Scenario { fail_percent, ..scenario.clone() };
        let (again, _) = topos_sim::disturb(&settled, &scenario, &mut go_on).expect("valid");
        let (whole, _) = simulate(&scenario, go_on).expect("valid");
        assert_eq!(table(&again), table(&whole), "a clone goes on as the original would");
    }
}

#[test]
fn experiments_are_the_same_for_the_same_seeds() {
    use topos_sim::experiments::{jobs, tables, Experiments, Size};
    for (set, nodes, seeds) in [
        (Experiments::Dsn2007, 60, 1),
        (Experiments::Joins, 30, 2),
        (Experiments::Swim, 10, 2),
        (Experiments::Growth, 50, 1),
    ] {
        let run = || -> Vec<_> {
            let mut jobs = jobs(set, Size { nodes: Some(nodes), seeds: Some(seeds) });
            jobs.truncate(3);
            jobs.iter().map(|job| job.run(go_on).expect("valid")).collect()
        };
        let text = tables(&run());
        assert_eq!(text, tables(&run()));
        assert!(!text.contains("NaN") && text.lines().count() > 2, "{text}");
        let stopped = jobs(set, Size { nodes: Some(nodes), seeds: Some(seeds) })[0].run(|_| ControlFlow::Break(()));
        assert!(matches!(stopped, Err(topos_sim::SimulationError::Stopped)));
    }
}

#[test]
fn a_report_is_a_page_that_needs_nothing_else() {
    let scenario = Scenario { nodes: 60, settle_rounds: 3, broadcasts: 2, fail_percent: 30.0, ..Scenario::default() };
    let (report, world) = simulate(&scenario, go_on).expect("valid");
    let page = html(&report, &world);
    assert_eq!(page.matches("<svg").count(), 6, "five plots and the drawing");
    assert_eq!(page.matches("<svg").count(), page.matches("</svg>").count());
    for outside in ["src=", "href=", "url(", "@import", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    let svg = graph_svg(&scenario, &world).expect("small enough");
    assert_eq!((svg.matches(": dead<").count(), svg.matches("<circle").count()), (18, 60));
    assert!(graph_svg(&scenario, &World::new(topos_sim::Network::default(), 1)).is_some());
}

#[test]
fn everything_wrong_with_a_scenario_is_said() {
    let scenario = Scenario { nodes: 1, fail_percent: 100.0, active_size: 90, loss: 900, ..Scenario::default() };
    let refused = simulate(&scenario, go_on).map(drop).expect_err("nothing is right").to_string();
    for name in ["nodes", "fail", "active_size", "loss"] {
        assert!(refused.contains(name), "{refused}");
    }
    let mesh = Scenario { topology: Topology::FullMesh, nodes: 2_001, ..Scenario::default() };
    assert!(simulate(&mesh, go_on).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn after_any_crashes_and_joins_views_are_bounded_symmetric_and_of_the_living(
        seed: u64, join_interval in 0..50u64, active in 2..7u32,
        steps in prop::collection::vec((any::<prop::sample::Index>(), 0..40u64), 0..12)
    ) {
        let scenario =
            Scenario { nodes: 24, seed, join_interval, active_size: active, passive_size: 12, ..Scenario::default() };
        let mut world = built(&scenario);
        for (which, seconds) in steps {
            let living = world.living();
            if living.len() > 12 {
                world.crash(*which.get(&living));
            }
            wait(&mut world, seconds);
            assert_bounds(&world, &scenario);
        }
        // Detection, repair, and a confirmation of every edge.
        wait(&mut world, 120);
        assert_bounds(&world, &scenario);
        let living = world.living();
        for &node in &living {
            for peer in world.stack(node).view().iter().map(number) {
                prop_assert!(world.alive(peer), "{} has the dead {}", node, peer);
            }
            prop_assert!(living.len() == 1 || !world.stack(node).view().is_empty(), "{} is alone", node);
        }
        // An exchange may be under way at any moment; but not between many.
        let graph = measure(&world, 24, &mut Random::new(seed));
        prop_assert!(graph.symmetry > 0.9, "{:?}", graph);
        let all = world.start_broadcast(living[0]).expect("no machine refuses an event");
        wait(&mut world, 20);
        if graph.components == 1 {
            prop_assert!(living.iter().all(|&node| world.broadcast(all).reached(node)));
        }
        prop_assert_eq!(world.broadcast(all).twice, 0);
    }
}
