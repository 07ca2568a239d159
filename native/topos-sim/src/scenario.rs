//! What is simulated, and the run.

use crate::{
    graph::{measure, Snapshot},
    report::{Broadcasts, Phase, Report, Round},
    world::{name, Network, World},
};
use serde::Serialize;
use std::ops::ControlFlow;
use topos_overlay::{
    client_server::Role, ClientServer, ClientServerParams, FullMesh, FullMeshParams, HyParView, HyParViewParams,
    Millis, Overlay, OverlayError, Random, Stack, StackParams,
};

/// Which overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Topology {
    /// [`HyParView`].
    Hyparview,
    /// [`FullMesh`].
    FullMesh,
    /// [`ClientServer`].
    ClientServer,
}

/// A run. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// Which overlay.
    pub topology: Topology,
    /// How many nodes, 2 to 100,000; a full mesh at most 2,000, since each node of it knows all others.
    pub nodes: u32,
    /// Decides every random choice.
    pub seed: u64,
    /// How many per cent of the nodes crash, 0 to 99.
    pub fail_percent: f64,
    /// The time between two joins, up to 60,000; 0 for all at once.
    pub join_interval: Millis,
    /// How many rounds the nodes settle before the failure, up to 1,000. A round is a shuffle period.
    pub settle_rounds: u32,
    /// How many rounds they have to heal, up to 1,000.
    pub heal_rounds: u32,
    /// How many broadcasts each phase has, up to 1,000.
    pub broadcasts: u32,
    /// The size of HyParView's active view.
    pub active_size: u32,
    /// The size of HyParView's passive view.
    pub passive_size: u32,
    /// The length of HyParView's random walks.
    pub active_walk: u8,
    /// The steps left when a walk reaches a passive view.
    pub passive_walk: u8,
    /// How many hubs a client-server overlay has.
    pub hubs: u32,
    /// How many hubs a client of it keeps links to.
    pub hubs_of_a_client: u32,
    /// How many of a thousand messages are lost, up to 500.
    pub loss: u32,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            topology: Topology::Hyparview,
            nodes: 1_000,
            seed: 1,
            fail_percent: 50.0,
            join_interval: 10,
            settle_rounds: 50,
            heal_rounds: 20,
            broadcasts: 10,
            active_size: 5,
            passive_size: 30,
            active_walk: 6,
            passive_walk: 3,
            hubs: 5,
            hubs_of_a_client: 2,
            loss: 0,
        }
    }
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// What is going on.
    pub phase: &'static str,
    /// How much of it is done.
    pub done: u32,
    /// How much there is.
    pub all: u32,
}

/// The caller asked for the run to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stopped;

/// Why a run gave no report.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The scenario is not valid: everything that is wrong with it.
    #[error("{}", .0.join("; "))]
    Scenario(Vec<String>),
    /// A machine refused an event.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// The caller asked for the end.
    #[error("the simulation was stopped")]
    Stopped,
}

impl From<Stopped> for SimulationError {
    fn from(Stopped: Stopped) -> Self {
        Self::Stopped
    }
}

/// A round: HyParView's shuffle period.
const ROUND: Millis = 10_000;
/// How long a broadcast has to arrive before it is looked at.
const BROADCAST_TIME: Millis = 8_000;
/// The time from one broadcast to the next.
const BETWEEN_BROADCASTS: Millis = 500;
/// How many sources floods and paths are measured from.
const SOURCES: usize = 50;

impl Scenario {
    /// Everything that is out of its range.
    pub fn check(&self) -> Result<(), SimulationError> {
        let mut wrong = Vec::new();
        let mut range = |name: &str, got: u64, low: u64, high: u64| {
            if !(low..=high).contains(&got) {
                wrong.push(format!("{name} must be {low}..{high}, not {got}"));
            }
        };
        let most = if self.topology == Topology::FullMesh { 2_000 } else { 100_000 };
        range("nodes", self.nodes.into(), 2, most);
        range("join_interval", self.join_interval, 0, 60_000);
        range("settle_rounds", self.settle_rounds.into(), 0, 1_000);
        range("heal_rounds", self.heal_rounds.into(), 0, 1_000);
        range("broadcasts", self.broadcasts.into(), 0, 1_000);
        range("loss", self.loss.into(), 0, 500);
        if self.topology == Topology::ClientServer && self.hubs >= self.nodes {
            range("hubs", self.hubs.into(), 1, u64::from(self.nodes.saturating_sub(1)));
        }
        if !(0.0..=99.0).contains(&self.fail_percent) {
            wrong.push(format!("fail must be 0..99 %, not {} %", self.fail_percent));
        }
        // The overlay's own parameters are checked by the overlay, for the last node: one that is no hub.
        if let Err(OverlayError::InvalidParameters(all)) = self.overlay(self.nodes.saturating_sub(1), 0).map(drop) {
            wrong.extend(all.iter().map(ToString::to_string));
        }
        if wrong.is_empty() {
            Ok(())
        } else {
            Err(SimulationError::Scenario(wrong))
        }
    }

    fn overlay(&self, node: u32, seed: u64) -> Result<Box<dyn Overlay>, OverlayError> {
        let own = name(node);
        Ok(match self.topology {
            Topology::Hyparview => {
                let params = HyParViewParams {
                    active_size: self.active_size,
                    passive_size: self.passive_size,
                    active_walk: self.active_walk,
                    passive_walk: self.passive_walk,
                    shuffle_active: self.active_size.min(3),
                    shuffle_passive: self.passive_size.min(4),
                    shuffle_period: ROUND,
                    ..HyParViewParams::new(own)
                };
                Box::new(HyParView::new(params, seed)?)
            }
            Topology::FullMesh => Box::new(FullMesh::new(FullMeshParams::new(own), seed)?),
            Topology::ClientServer => {
                let hubs = (0..self.hubs).map(name).collect();
                let role = if self.is_hub(node) { Role::Hub } else { Role::Client };
                let params = ClientServerParams {
                    hubs_of_a_client: self.hubs_of_a_client,
                    max_clients: 100_000,
                    ..ClientServerParams::new(own, role, hubs)
                };
                Box::new(ClientServer::new(params, seed)?)
            }
        })
    }

    /// Whether the node is a hub of a client-server overlay.
    pub fn is_hub(&self, node: u32) -> bool {
        self.topology == Topology::ClientServer && node < self.hubs
    }
}

/// Makes the nodes join, each as soon as its turn comes, and gives the last of them ten seconds.
pub fn build(
    scenario: &Scenario,
    progress: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<World, SimulationError> {
    scenario.check()?;
    let mut random = Random::new(scenario.seed);
    let network = Network { loss: scenario.loss, ..Network::default() };
    let mut world = World::new(network, random.next_u64());
    for node in 0..scenario.nodes {
        let stack = Stack::new(scenario.overlay(node, random.next_u64())?, StackParams::new(&name(node), 1))?;
        world.add(stack);
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
        world.run_until(world.now() + scenario.join_interval)?;
        if node % 64 == 0 {
            step(progress, "nodes join", node, scenario.nodes)?;
        }
    }
    world.run_until(world.now() + ROUND)?;
    Ok(world)
}

/// Runs a scenario. `progress` is called often, and may end it.
pub fn simulate(
    scenario: &Scenario,
    mut progress: impl FnMut(Progress) -> ControlFlow<()>,
) -> Result<(Report, World), SimulationError> {
    let progress: &mut dyn FnMut(Progress) -> ControlFlow<()> = &mut progress;
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

    fail(&mut world, scenario, &mut random);
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
        failed,
        broadcasts_failed,
        rounds,
        healed_after,
        healed,
        counts: world.counts(),
        ended_at: world.now(),
    };
    Ok((report, world))
}

fn fail(world: &mut World, scenario: &Scenario, random: &mut Random) {
    let mut living = world.living();
    let count = (f64::from(scenario.nodes) * scenario.fail_percent / 100.0).round() as usize;
    // Somebody has to be there to heal.
    let count = count.min(living.len().saturating_sub(1));
    for &node in random.sample(&mut living, count).iter() {
        world.crash(node);
    }
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
