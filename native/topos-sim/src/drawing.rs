//! A topology as an SVG drawing, simulated or not.

use crate::{
    scenario::Scenario,
    world::{number, World},
};
use serde::Deserialize;
use std::{collections::BTreeSet, fmt::Write};

/// The largest topology that is drawn.
pub(crate) const MAX_DRAWN: u32 = 500;

/// What a node is to the topology.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// A node like the others.
    Peer,
    /// One that others rely on.
    Hub,
    /// One that relies on hubs.
    Client,
}

/// How a node is, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// It runs.
    Alive,
    /// It does not answer, or has not yet.
    Suspect,
    /// It is gone.
    Dead,
}

/// A node of a drawing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DrawnNode {
    /// Any text.
    pub name: String,
    /// How it is.
    pub state: State,
    /// What it is to the topology.
    pub role: Role,
}

/// A topology to draw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drawing {
    /// In the order they are placed.
    pub nodes: Vec<DrawnNode>,
    /// From the place of a node in `nodes` to that of another. Others are not drawn.
    pub links: BTreeSet<(usize, usize)>,
}

impl Drawing {
    /// Hubs inside, all others on a circle; suspects are yellow, dead nodes grey and hollow, those without a link to a node that lives
    /// red. A link that goes one way only is dashed. `None` for more than 500 nodes.
    pub fn svg(&self) -> Option<String> {
        if self.nodes.len() > MAX_DRAWN as usize {
            return None;
        }
        let places = self.places();
        let mut svg = String::from(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 800" role="img" aria-label="the topology">"#,
        );
        let alive = |at: usize| self.nodes.get(at).is_some_and(|node| node.state != State::Dead);
        for &(from, to) in &self.links {
            let back = self.links.contains(&(to, from));
            let (Some((x, y)), Some((to_x, to_y))) = (places.get(from), places.get(to)) else { continue };
            if from == to || !alive(from) || (back && alive(to) && to < from) {
                continue;
            }
            let style = match (alive(to), back) {
                (false, _) => r##"stroke="#d9a08a" stroke-dasharray="2 4""##,
                (true, false) => r##"stroke="#b5542f" stroke-dasharray="5 3""##,
                (true, true) => r##"stroke="#b9c6d6""##,
            };
            // Writing to a string does not fail.
            let _ = write!(svg, r#"<line x1="{x:.1}" y1="{y:.1}" x2="{to_x:.1}" y2="{to_y:.1}" {style}/>"#);
        }
        for (at, node) in self.nodes.iter().enumerate() {
            let (x, y) = places[at];
            let linked = self.links.iter().any(|&(from, to)| from == at && to != at && alive(to));
            let (what, style) = match (node.state, linked, node.role) {
                (State::Dead, ..) => ("dead", r##"fill="#fff" stroke="#98a2ae""##),
                (State::Suspect, ..) => ("suspect", r##"fill="#e3c341""##),
                (State::Alive, false, _) => ("isolated", r##"fill="#c0392b""##),
                (State::Alive, true, Role::Hub) => ("hub", r##"fill="#d88a1d""##),
                (State::Alive, true, Role::Peer | Role::Client) => ("alive", r##"fill="#3b6ea5""##),
            };
            let radius = if node.role == Role::Hub { 9 } else { 5 };
            let name = escaped(&node.name);
            let _ = write!(
                svg,
                r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius}" {style}><title>{name}: {what}</title></circle>"#
            );
        }
        Some(svg + "</svg>")
    }

    fn places(&self) -> Vec<(f64, f64)> {
        let hubs = self.nodes.iter().filter(|node| node.role == Role::Hub).count();
        let (mut inside, mut outside) = (0, 0);
        let place = |node: &DrawnNode| {
            let (count, all, radius) = match node.role {
                Role::Hub => (&mut inside, hubs, 130.0),
                Role::Peer | Role::Client => (&mut outside, self.nodes.len() - hubs, 380.0),
            };
            let angle = f64::from(*count) / all.max(1) as f64 * std::f64::consts::TAU;
            *count += 1;
            (400.0 + radius * angle.sin(), 400.0 - radius * angle.cos())
        };
        self.nodes.iter().map(place).collect()
    }
}

/// Names of live nodes are not ours.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The overlay of a simulation as [`Drawing::svg`] draws it.
pub fn graph_svg(scenario: &Scenario, world: &World) -> Option<String> {
    let nodes = (0..world.len()).map(|node| DrawnNode {
        name: format!("node {node}"),
        state: if world.alive(node) { State::Alive } else { State::Dead },
        role: if scenario.is_hub(node) { Role::Hub } else { Role::Peer },
    });
    let links = world
        .living()
        .into_iter()
        .flat_map(|node| world.stack(node).view().iter().map(move |peer| (node as usize, number(peer) as usize)));
    Drawing { nodes: nodes.collect(), links: links.collect() }.svg()
}
