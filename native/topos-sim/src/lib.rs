//! Simulation of overlays: the machines of `topos-overlay`, thousands of them, in one deterministic run.
//!
//! [`World`] is the network: a discrete event simulation with a latency of its own for each pair of nodes, loss, crashes and
//! partitions, pauses and more ([`Fault`]). [`simulate`] runs a [`Scenario`]: nodes join, settle, broadcast, a share of them
//! crashes, and the rest heals; the [`Report`] has the figures. [`detector`] does the same for SWIM. Nothing here reads a clock or a file, and
//! every random choice follows from the seed: the same scenario gives the same report.

pub mod detector;
mod drawing;
pub mod experiments;
mod graph;
mod html;
mod nemesis;
mod plot;
mod queue;
mod report;
mod run;
mod scenario;
mod table;
mod world;

pub use drawing::{graph_svg, Drawing, DrawnNode, Role, State};
pub use graph::{measure, Snapshot, Spread};
pub use html::html;
pub use nemesis::Fault;
pub use report::{Broadcasts, Disturbed, Phase, Report, Round, Unicasts};
pub use run::{build, disturb, join, settle, simulate, Settled};
pub use scenario::{Progress, Scenario, SimulationError, Stopped, Topology};
pub use table::table;
pub use world::{name, number, Broadcast, Counts, Network, Unicast, World};
