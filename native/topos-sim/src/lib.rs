//! Simulation of overlays: the machines of `topos-overlay`, thousands of them, in one deterministic run.
//!
//! [`World`] is the network: a discrete event simulation with a latency of its own for each pair of nodes, loss, crashes and
//! partitions. [`simulate`] runs a [`Scenario`]: nodes join, settle, broadcast, a share of them crashes, and the rest heals; the
//! [`Report`] has the figures. [`detector`] does the same for SWIM. Nothing here reads a clock or a file, and
//! every random choice follows from the seed: the same scenario gives the same report.

pub mod detector;
mod graph;
mod html;
mod plot;
mod queue;
mod report;
mod scenario;
mod table;
mod world;

pub use graph::{measure, Snapshot, Spread};
pub use html::{graph_svg, html};
pub use report::{Broadcasts, Phase, Report, Round};
pub use scenario::{build, simulate, Progress, Scenario, SimulationError, Stopped, Topology};
pub use table::table;
pub use world::{name, number, Broadcast, Counts, Network, Unicast, World};
