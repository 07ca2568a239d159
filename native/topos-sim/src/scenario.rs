//! What is simulated.

use crate::{nemesis::Fault, world::name};
use serde::Serialize;
use topos_overlay::{
    client_server::Role, ClientServer, ClientServerParams, FullMesh, FullMeshParams, HyParView, HyParViewParams,
    Millis, Overlay, OverlayError,
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
    /// How many of a thousand messages come twice, up to 1,000.
    pub duplicate: u32,
    /// How many of a thousand messages are overtaken by later ones, up to 1,000.
    pub reorder: u32,
    /// What happens after the nodes have settled, instead of one crash of `fail_percent`; up to 100 faults.
    pub nemesis: Vec<Fault>,
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
            duplicate: 0,
            reorder: 0,
            nemesis: Vec::new(),
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
pub(crate) const ROUND: Millis = 10_000;

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
        range("duplicate", self.duplicate.into(), 0, 1_000);
        range("reorder", self.reorder.into(), 0, 1_000);
        range("faults", self.nemesis.len() as u64, 0, 100);
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

    pub(crate) fn overlay(&self, node: u32, seed: u64) -> Result<Box<dyn Overlay>, OverlayError> {
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
