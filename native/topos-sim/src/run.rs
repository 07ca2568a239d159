//! The run of a scenario.

use crate::{
    graph::{measure, Snapshot},
    nemesis::Fault,
    report::{Broadcasts, Disturbed, Phase, Report, Round, Unicasts},
    scenario::{Progress, Scenario, SimulationError, Stopped, Topology, ROUND},
    world::{name, Network, Unicast, World},
};
use std::ops::ControlFlow;
use topos_overlay::{Millis, OverlayError, Random, Stack, StackParams};

/// How long a broadcast has to arrive before it is looked at.
const BROADCAST_TIME: Millis = 8_000;
/// The time from one broadcast to the next.
const BETWEEN_BROADCASTS: Millis = 500;
/// How many sources floods and paths are measured from.
const SOURCES: usize = 50;
/// How many messages from node to node each fault of a list has.
const UNICASTS: u32 = 20;

/// Makes the nodes join, each as soon as its turn comes, and gives the last of them ten seconds.
pub fn build(
    scenario: &Scenario,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<World, SimulationError> {
    scenario.check()?;
    let mut random = Random::new(scenario.seed);
    let Scenario { loss, duplicate, reorder, .. } = *scenario;
    let network = Network { loss, duplicate, reorder, ..Network::default() };
    let mut world = World::new(network, random.next_u64());
    for node in 0..scenario.nodes {
        join(&mut world, scenario, &mut random)?;
        world.run_until(world.now() + scenario.join_interval)?;
        if node % 64 == 0 {
            step(progress, "nodes join", node, scenario.nodes)?;
        }
    }
    world.run_until(world.now() + ROUND)?;
    Ok(world)
}

/// Makes one more node join, of the kind that the scenario has, and answers with its number. No time passes.
pub fn join(world: &mut World, scenario: &Scenario, random: &mut Random) -> Result<u32, OverlayError> {
    let overlay = scenario.overlay(world.len(), random.next_u64())?;
    let node = world.add(Stack::new(overlay, StackParams::new(&name(world.len()), 1))?);
    match scenario.topology {
        // One contact that is there already is all that a node knows.
        Topology::Hyparview if node == 0 => {}
        Topology::Hyparview => world.joined(node, random.between(0, u64::from(node) - 1) as u32)?,
        Topology::FullMesh => {
            for other in 0..node {
                world.joined(node, other)?;
                world.joined(other, node)?;
            }
        }
        Topology::ClientServer => {
            for hub in 0..scenario.hubs.min(node) {
                world.joined(node, hub)?;
                if scenario.is_hub(node) {
                    world.joined(hub, node)?;
                }
            }
        }
    }
    Ok(node)
}

/// Runs a scenario. `progress` is called often, and may end it.
pub fn simulate(
    scenario: &Scenario,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Report, World), SimulationError> {
    let progress: &mut dyn FnMut(Progress) -> ControlFlow<()> = &mut progress;
    let settled = settle(scenario, progress)?;
    disturb(&settled, scenario, progress)
}

/// A network that has settled, and its figures so far: what comes after can start from it again and again.
#[derive(Clone)]
pub struct Settled {
    world: World,
    random: Random,
    joined: Phase,
    settled: Phase,
}

impl Settled {
    /// The figures before the faults.
    pub fn phase(&self) -> &Phase {
        &self.settled
    }

    /// The network, and the figures before the faults.
    pub fn into_parts(self) -> (World, Phase) {
        (self.world, self.settled)
    }
}

/// The first half of [`simulate`]: nodes join, settle and broadcast.
pub fn settle(
    scenario: &Scenario,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Settled, SimulationError> {
    let mut world = build(scenario, progress)?;
    // Choices of the experiment do not shift those of the run when figures are added.
    let mut random = Random::new(scenario.seed ^ 0x5eed);
    let joined = Phase { at: world.now(), graph: measure(&world, SOURCES, &mut random), broadcasts: None };
    for round in 0..scenario.settle_rounds {
        step(progress, "the overlay settles", round, scenario.settle_rounds)?;
        world.run_until(world.now() + ROUND)?;
    }
    // The first broadcasts find the tree; the others use it.
    let all = scenario.broadcasts;
    step(progress, "broadcasts", 0, 2 * all)?;
    broadcasts(&mut world, all, &mut random)?;
    step(progress, "broadcasts", all, 2 * all)?;
    let at = world.now();
    let graph = measure(&world, SOURCES, &mut random);
    let settled = Phase { at, graph, broadcasts: broadcasts(&mut world, all, &mut random)? };
    Ok(Settled { world, random, joined, settled })
}

/// The second half: the faults of the scenario, and healing. `scenario` may differ from the one that settled in
/// its faults, rounds to heal and broadcasts.
pub fn disturb(
    settled: &Settled,
    scenario: &Scenario,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Report, World), SimulationError> {
    scenario.check()?;
    let Settled { mut world, mut random, joined, settled } = settled.clone();
    let all = scenario.broadcasts;
    let (faults, sent) = nemesis(&mut world, scenario, &mut random, progress)?;
    let failed = measure(&world, SOURCES, &mut random);
    let broadcasts_failed = broadcasts(&mut world, all, &mut random)?;
    let (rounds, healed_after) = heal(&mut world, scenario, &mut random, progress)?;
    let at = world.now();
    let graph = measure(&world, SOURCES, &mut random);
    step(progress, "broadcasts", 0, all)?;
    let healed = Phase { at, graph, broadcasts: broadcasts(&mut world, all, &mut random)? };
    let report = Report {
        scenario: scenario.clone(),
        joined,
        settled,
        faults,
        failed,
        broadcasts_failed,
        rounds,
        healed_after,
        healed,
        unicasts: count_unicasts(&mut world, sent),
        counts: world.counts(),
        ended_at: world.now(),
    };
    Ok((report, world))
}

/// Where a list of faults is given, messages between nodes are under way in each of them.
fn nemesis(
    world: &mut World,
    scenario: &Scenario,
    random: &mut Random,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Vec<Disturbed>, u32), SimulationError> {
    if scenario.nemesis.is_empty() {
        Fault::Crash(scenario.fail_percent).run(world, random)?;
        return Ok((Vec::new(), 0));
    }
    let (mut faults, mut sent) = (Vec::new(), 0);
    let all = scenario.nemesis.len() as u32;
    for (&fault, done) in scenario.nemesis.iter().zip(0..) {
        step(progress, "faults", done, all)?;
        let living = world.living();
        for _ in 0..UNICASTS {
            if let (Some(&from), Some(&to)) = (random.pick(&living), random.pick(&living)) {
                world.send(from, to, b"simulated")?;
                sent += 1;
            }
        }
        let at = world.now();
        fault.run(world, random)?;
        faults.push(Disturbed { fault, at, graph: measure(world, SOURCES, random) });
    }
    Ok((faults, sent))
}

fn count_unicasts(world: &mut World, sent: u32) -> Option<Unicasts> {
    let mut result = Unicasts { sent, delivered: 0, done: 0, given_up: 0 };
    for unicast in world.take_unicasts() {
        match unicast {
            Unicast::Delivered { .. } => result.delivered += 1,
            Unicast::Done { .. } => result.done += 1,
            Unicast::GivenUp { .. } => result.given_up += 1,
        }
    }
    (sent > 0).then_some(result)
}

type Healing = (Vec<Round>, Option<u32>);

/// At least two rounds, so that a figure that holds can be told from one that passes by; then until all is well.
fn heal(
    world: &mut World,
    scenario: &Scenario,
    random: &mut Random,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Healing, SimulationError> {
    let whole = |graph: &Snapshot| graph.reach_min >= 1.0;
    let mut rounds: Vec<Round> = Vec::new();
    let mut healed_after = None;
    for round in 1..=scenario.heal_rounds {
        step(progress, "the overlay heals", round - 1, scenario.heal_rounds)?;
        world.run_until(world.now() + ROUND)?;
        let graph = measure(world, SOURCES, random);
        match healed_after {
            None if whole(&graph) => healed_after = Some(round),
            Some(_) if !whole(&graph) => healed_after = None,
            _ => {}
        }
        rounds.push(Round { round, graph });
        if healed_after.is_some_and(|at| round >= at + 2) {
            break;
        }
    }
    Ok((rounds, healed_after))
}

fn broadcasts(world: &mut World, count: u32, random: &mut Random) -> Result<Option<Broadcasts>, SimulationError> {
    let living = world.living();
    let before = world.counts();
    let mut started = Vec::new();
    for _ in 0..count {
        if let Some(&from) = random.pick(&living) {
            started.push((world.now(), world.start_broadcast(from)?));
            world.run_until(world.now() + BETWEEN_BROADCASTS)?;
        }
    }
    world.run_until(world.now() + BROADCAST_TIME)?;
    let counts = world.counts();
    if started.is_empty() {
        return Ok(None);
    }
    let mean = |sum: f64| sum / started.len() as f64;
    let mut result = Broadcasts {
        count,
        reach: 0.0,
        reach_min: 1.0,
        twice: 0,
        gossip: mean((counts.gossip - before.gossip) as f64),
        control: mean((counts.tree_control - before.tree_control) as f64),
        hops: 0.0,
        max_hops: 0,
        time: 0.0,
    };
    for &(at, index) in &started {
        let broadcast = world.broadcast(index);
        // Of the nodes that live now: one that got it and crashed does not count.
        let got = living.iter().filter(|&&node| broadcast.reached(node)).count();
        let reach = got as f64 / living.len() as f64;
        result.reach += mean(reach);
        result.reach_min = result.reach_min.min(reach);
        result.twice += broadcast.twice;
        result.hops += mean(broadcast.sum_hops as f64 / f64::from(broadcast.count.max(2) - 1));
        result.max_hops = result.max_hops.max(broadcast.max_hops);
        result.time += mean((broadcast.last_at - at) as f64);
    }
    Ok(Some(result))
}

fn step(
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
    phase: &'static str,
    done: u32,
    all: u32,
) -> Result<(), Stopped> {
    match progress(Progress { phase, done, all }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(Stopped),
    }
}
