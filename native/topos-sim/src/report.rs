//! What a run found, as data.

use crate::{graph::Snapshot, nemesis::Fault, scenario::Scenario, world::Counts};
use serde::Serialize;

/// What a run found. Times in simulated milliseconds.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// What was run.
    pub scenario: Scenario,
    /// After the joins, before the nodes had time to settle.
    pub joined: Phase,
    /// Before the failure.
    pub settled: Phase,
    /// After each fault of a list.
    pub faults: Vec<Disturbed>,
    /// At the moment of the failure, before anybody noticed; after the last fault of a list.
    pub failed: Snapshot,
    /// Broadcasts that began at that moment.
    pub broadcasts_failed: Option<Broadcasts>,
    /// Round by round after the failure.
    pub rounds: Vec<Round>,
    /// After how many rounds a flood reached everybody from every sampled source; nothing if it never did.
    pub healed_after: Option<u32>,
    /// At the end.
    pub healed: Phase,
    /// Messages from node to node that were sent during the faults, where there is a list of them.
    pub unicasts: Option<Unicasts>,
    /// All messages.
    pub counts: Counts,
    /// The simulated time at the end.
    pub ended_at: u64,
}

/// The graph at the end of a phase, and broadcasts from then on.
#[derive(Clone, Debug, Serialize)]
pub struct Phase {
    /// When.
    pub at: u64,
    /// The graph.
    pub graph: Snapshot,
    /// Broadcasts, where the phase has any.
    pub broadcasts: Option<Broadcasts>,
}

/// A fault that has passed.
#[derive(Clone, Debug, Serialize)]
pub struct Disturbed {
    /// Which.
    pub fault: Fault,
    /// When it began.
    pub at: u64,
    /// The graph at its end.
    pub graph: Snapshot,
}

/// What became of messages from node to node. A message to a node that crashed is in doubt, and one of a node that crashed has
/// nobody to hear of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Unicasts {
    /// How many were sent.
    pub sent: u32,
    /// How many came, each once: one that came twice is counted twice.
    pub delivered: u32,
    /// Of how many their senders heard that they came.
    pub done: u32,
    /// Of how many their senders do not know.
    pub given_up: u32,
}

/// A round after the failure.
#[derive(Clone, Debug, Serialize)]
pub struct Round {
    /// Its number, from 1.
    pub round: u32,
    /// The graph at its end.
    pub graph: Snapshot,
}

/// What broadcasts along the tree came to: means over all of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Broadcasts {
    /// How many there were.
    pub count: u32,
    /// Of the living nodes, how many got one, 0 to 1.
    pub reach: f64,
    /// The least.
    pub reach_min: f64,
    /// Deliveries beyond the first, of all of them: 0.
    pub twice: u32,
    /// Messages with the payload, for one broadcast. A perfect tree has one less than there are nodes.
    pub gossip: f64,
    /// Messages without: announcements, grafts, prunes.
    pub control: f64,
    /// The mean number of links that it passed.
    pub hops: f64,
    /// The largest.
    pub max_hops: u32,
    /// Until the last node that got it did, in milliseconds: the mean.
    pub time: f64,
}
