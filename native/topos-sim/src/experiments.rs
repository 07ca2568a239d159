//! The experiments of `docs/hyparview-experiments.md` as jobs that do not depend on each other, so that a caller may run several at
//! a time, and as tables in Markdown.

mod table;

pub use table::tables;

use crate::{
    detector,
    graph::{measure, Snapshot},
    report::Broadcasts,
    run::{build, disturb, settle},
    scenario::{Progress, Scenario, SimulationError},
};
use serde::Serialize;
use std::ops::ControlFlow;
use topos_overlay::{Millis, Random};

/// The shares of nodes that fail in the paper, per cent.
const FAILURES: [u32; 10] = [10, 20, 30, 40, 50, 60, 70, 80, 90, 95];
/// Milliseconds between two joins.
const GAPS: [Millis; 4] = [0, 1, 10, 100];
/// After how long joins are looked at again: twelve rounds, in which each node has exchanged a neighbour twice.
const SETTLED: Millis = 120_000;

/// A set of experiments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Experiments {
    /// Those of Leitão, Pereira and Rodrigues, DSN 2007: overlays of 10,000 nodes that lose 10 to 95 per cent of them.
    Dsn2007,
    /// Joins at several rates: is anybody isolated?
    Joins,
    /// SWIM: suspicions of nodes that live, and how long a crash stays unseen.
    Swim,
    /// What an overlay of 100 to 10,000 nodes costs each of them.
    Growth,
}

/// How large they are. The defaults are what the documentation shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Nodes of an overlay, where the experiments do not vary it.
    pub nodes: Option<u32>,
    /// How many seeds.
    pub seeds: Option<u32>,
}

/// One experiment.
#[derive(Clone, Debug, PartialEq)]
pub enum Job {
    /// An overlay that settles once, and each failure from there.
    Failures(Scenario),
    /// So many seeds of joins.
    Joins(Scenario, u32),
    /// So many seeds of the detector.
    Detector(detector::Scenario, u32),
    /// An overlay that settles, and is watched for a minute.
    Growth(Scenario),
}

/// What it found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// Of [`Job::Failures`].
    Failures {
        /// Of all random choices.
        seed: u64,
        /// Before the failures.
        settled: Box<Snapshot>,
        /// Broadcasts before the failures.
        broadcasts: Option<Broadcasts>,
        /// For each share that fails.
        failures: Vec<Failure>,
    },
    /// Of [`Job::Joins`].
    Joins(Joins),
    /// Of [`Job::Detector`].
    Detector {
        /// The run, of the first seed.
        scenario: detector::Scenario,
        /// Of each seed.
        outcomes: Vec<detector::Outcome>,
    },
    /// Of [`Job::Growth`].
    Growth {
        /// How many nodes.
        nodes: u32,
        /// The mean number of names in a view.
        links: f64,
        /// Messages of the overlay a node and second.
        messages: f64,
        /// Messages of a broadcast a node, those without the payload included.
        broadcast: f64,
        /// The mean number of links on a shortest path.
        path: f64,
        /// Bytes of memory a node of the simulation, where the caller has measured it ([`Finding::with_memory`]).
        memory: Option<u64>,
    },
}

impl Finding {
    /// Adds the bytes that [`Job::Growth`] took; this crate cannot ask for them. Other findings are not changed.
    pub fn with_memory(mut self, bytes: Option<u64>) -> Self {
        if let Self::Growth { nodes, memory, .. } = &mut self {
            *memory = bytes.map(|bytes| bytes / u64::from(*nodes));
        }
        self
    }
}

/// A share of the nodes failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Failure {
    /// Per cent.
    pub percent: u32,
    /// At that moment.
    pub failed: Snapshot,
    /// Broadcasts from that moment on.
    pub broadcasts_failed: Option<Broadcasts>,
    /// The reach of a flood after the first round.
    pub first_round: f64,
    /// After how many rounds a flood reached all.
    pub healed_after: Option<u32>,
    /// At the end.
    pub healed: Snapshot,
    /// Broadcasts at the end.
    pub broadcasts_healed: Option<Broadcasts>,
}

/// What joins came to, over several seeds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Joins {
    /// How many nodes.
    pub nodes: u32,
    /// Milliseconds between two joins.
    pub gap: Millis,
    /// How many seeds.
    pub seeds: u32,
    /// Nodes without a neighbour, ten seconds after the last join, and after twelve rounds.
    pub isolated: [u32; 2],
    /// Seeds whose overlay was in one part then.
    pub whole: [u32; 2],
    /// The least share of edges that went both ways after twelve rounds.
    pub symmetry: f64,
}

/// The experiments of a set, in the order of their tables.
pub fn jobs(experiments: Experiments, size: Size) -> Vec<Job> {
    let seeds = |default: u32| size.seeds.unwrap_or(default);
    match experiments {
        Experiments::Dsn2007 => (0..seeds(2))
            .map(|seed| {
                let nodes = size.nodes.unwrap_or(10_000);
                Job::Failures(Scenario { nodes, seed: 7 + u64::from(seed), broadcasts: 5, ..Scenario::default() })
            })
            .collect(),
        Experiments::Joins => GAPS
            .into_iter()
            .map(|join_interval| {
                let scenario = Scenario { nodes: size.nodes.unwrap_or(500), join_interval, ..Scenario::default() };
                Job::Joins(scenario, seeds(100))
            })
            .collect(),
        Experiments::Swim => {
            let nodes = size.nodes.unwrap_or(50);
            let run = |nodes, loss, pause, crash| {
                let duration = if crash { 120_000 } else { 90_000 };
                Job::Detector(detector::Scenario { nodes, seed: 0, loss, pause, crash, duration }, seeds(100))
            };
            let faults = [(0, 0), (0, 5_000), (200, 0), (200, 5_000), (200, 20_000)];
            let crashes = [10, 30, 100, 300].into_iter().map(|nodes| run(nodes, 0, 0, true));
            faults.into_iter().map(|(loss, pause)| run(nodes, loss, pause, false)).chain(crashes).collect()
        }
        Experiments::Growth => {
            let sizes = size.nodes.map_or_else(|| vec![100, 300, 1_000, 3_000, 10_000], |nodes| vec![nodes]);
            let run = |nodes| Job::Growth(Scenario { nodes, settle_rounds: 10, broadcasts: 5, ..Scenario::default() });
            sizes.into_iter().map(run).collect()
        }
    }
}

impl Job {
    /// Runs it. `progress` is called often, and may end it.
    pub fn run(&self, mut progress: impl FnMut(Progress) -> ControlFlow<()>) -> Result<Finding, SimulationError> {
        let progress: &mut dyn FnMut(Progress) -> ControlFlow<()> = &mut progress;
        match self {
            Self::Failures(scenario) => failures(scenario, progress),
            Self::Joins(scenario, seeds) => joins(scenario, *seeds, progress),
            Self::Detector(scenario, seeds) => detect(scenario, *seeds, progress),
            Self::Growth(scenario) => growth(scenario, progress),
        }
    }
}

type Step<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

fn failures(scenario: &Scenario, progress: Step<'_>) -> Result<Finding, SimulationError> {
    let settled = settle(scenario, progress)?;
    let mut failures = Vec::new();
    for percent in FAILURES {
        let scenario = Scenario { fail_percent: percent.into(), ..scenario.clone() };
        let (report, _) = disturb(&settled, &scenario, progress)?;
        failures.push(Failure {
            percent,
            failed: report.failed,
            broadcasts_failed: report.broadcasts_failed,
            first_round: report.rounds.first().map_or(0.0, |round| round.graph.reach),
            healed_after: report.healed_after,
            healed: report.healed.graph,
            broadcasts_healed: report.healed.broadcasts,
        });
    }
    let phase = settled.phase();
    let (graph, broadcasts) = (Box::new(phase.graph.clone()), phase.broadcasts);
    Ok(Finding::Failures { seed: scenario.seed, settled: graph, broadcasts, failures })
}

fn joins(scenario: &Scenario, seeds: u32, progress: Step<'_>) -> Result<Finding, SimulationError> {
    let (nodes, gap) = (scenario.nodes, scenario.join_interval);
    let mut joins = Joins { nodes, gap, seeds, isolated: [0; 2], whole: [0; 2], symmetry: 1.0 };
    for seed in 0..seeds {
        check(progress, "seeds of joins", seed, seeds)?;
        let mut world = build(&Scenario { seed: seed.into(), ..scenario.clone() }, &mut |_| ControlFlow::Continue(()))?;
        let mut random = Random::new(seed.into());
        for at in 0..2 {
            let graph = measure(&world, 5, &mut random);
            joins.isolated[at] += graph.isolated;
            joins.whole[at] += u32::from(graph.components == 1 && graph.reach_min >= 1.0);
            if at == 0 {
                world.run_until(world.now() + SETTLED)?;
            } else {
                joins.symmetry = joins.symmetry.min(graph.symmetry);
            }
        }
    }
    Ok(Finding::Joins(joins))
}

fn detect(scenario: &detector::Scenario, seeds: u32, progress: Step<'_>) -> Result<Finding, SimulationError> {
    let mut outcomes = Vec::new();
    for seed in 0..seeds {
        check(progress, "seeds of the detector", seed, seeds)?;
        outcomes.push(detector::detect(&detector::Scenario { seed: seed.into(), ..scenario.clone() })?);
    }
    Ok(Finding::Detector { scenario: scenario.clone(), outcomes })
}

fn growth(scenario: &Scenario, progress: Step<'_>) -> Result<Finding, SimulationError> {
    let settled = settle(scenario, progress)?;
    let (mut world, phase) = settled.into_parts();
    let before = world.counts().overlay;
    world.run_until(world.now() + 60_000)?;
    let sent = (world.counts().overlay - before) as f64;
    let nodes = f64::from(scenario.nodes);
    Ok(Finding::Growth {
        nodes: scenario.nodes,
        links: phase.graph.view.mean,
        messages: sent / nodes / 60.0,
        broadcast: phase.broadcasts.map_or(0.0, |b| (b.gossip + b.control) / nodes),
        path: phase.graph.path,
        memory: None,
    })
}

fn check(progress: Step<'_>, phase: &'static str, done: u32, all: u32) -> Result<(), SimulationError> {
    match progress(Progress { phase, done, all }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(()) => Err(SimulationError::Stopped),
    }
}
