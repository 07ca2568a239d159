//! The report as one HTML page, and the overlay as a drawing; nothing in them comes from elsewhere.

use crate::{
    drawing::{graph_svg, MAX_DRAWN},
    graph::Snapshot,
    plot::{bars, lines, Line},
    report::{Broadcasts, Disturbed, Report, Unicasts},
    scenario::{Scenario, Topology},
    world::World,
};
use std::fmt::Write;

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:62rem;margin:2rem auto;padding:0 1rem;color:#1c2430}\
    h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem}table{border-collapse:collapse}\
    td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #dde3ea}td:first-child,th:first-child{text-align:left}\
    svg{width:100%;max-width:40rem;height:auto;font:11px system-ui,sans-serif}.grid{stroke:#e4e8ee}\
    .plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(24rem,1fr));gap:1rem}";

/// The report as a page. `world` is the one that the run ended with: it is drawn when it is small enough to be seen.
pub fn html(report: &Report, world: &World) -> String {
    let scenario = &report.scenario;
    let title = title(scenario);
    let mut page = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
    );
    let healed = match report.healed_after {
        Some(1) => "Healed after one round: a flood from every sampled node reaches all that live.".to_owned(),
        Some(rounds) => format!("Healed after {rounds} rounds: a flood from every sampled node reaches all that live."),
        None => format!("Not healed after {} rounds.", report.rounds.len()),
    };
    // Writing to a string does not fail.
    let _ = write!(page, "<p>{healed}</p>");
    page.push_str("<h2>The overlay</h2><table><tr><th></th><th>after the joins</th><th>before the failure</th><th>at the failure</th><th>at the end</th></tr>");
    let graphs = [&report.joined.graph, &report.settled.graph, &report.failed, &report.healed.graph];
    for (name, value) in graph_rows() {
        let _ = write!(page, "<tr><td>{name}</td>");
        for graph in graphs {
            let _ = write!(page, "<td>{}</td>", value(graph));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table><h2>Broadcasts along the tree</h2><table><tr><th></th><th>before the failure</th><th>at the failure</th><th>at the end</th></tr>");
    let phases = [&report.settled.broadcasts, &report.broadcasts_failed, &report.healed.broadcasts];
    for (name, value) in broadcast_rows() {
        let _ = write!(page, "<tr><td>{name}</td>");
        for phase in phases {
            let _ = write!(page, "<td>{}</td>", phase.as_ref().map_or_else(|| "–".to_owned(), value));
        }
        page.push_str("</tr>");
    }
    page.push_str("</table>");
    page.push_str(&faults(report));
    page.push_str("<h2>Plots</h2><div class=\"plots\">");
    page.push_str(&plots(report));
    page.push_str("</div>");
    if world.len() <= MAX_DRAWN {
        let _ = write!(page, "<h2>The overlay at the end</h2>{}", graph_svg(scenario, world).unwrap_or_default());
    }
    page + "</html>\n"
}

fn faults(report: &Report) -> String {
    let mut text = String::new();
    if !report.faults.is_empty() {
        text.push_str("<h2>Faults</h2><table><tr><th></th><th>from</th><th>reach at its end</th><th>parts</th><th>isolated</th></tr>");
        for Disturbed { fault, at, graph } in &report.faults {
            let (at, reach) = (*at as f64 / 1_000.0, per_cent(graph.reach));
            let (parts, isolated) = (graph.components, graph.isolated);
            let _ = write!(
                text,
                "<tr><td>{fault}</td><td>{at} s</td><td>{reach}</td><td>{parts}</td><td>{isolated}</td></tr>"
            );
        }
        text.push_str("</table>");
    }
    if let Some(Unicasts { sent, delivered, done, given_up }) = report.unicasts {
        let _ = write!(
            text,
            "<p>Messages from node to node during the faults: {sent} sent, {delivered} delivered, {done} confirmed, {given_up} in \
             doubt.</p>"
        );
    }
    text
}

fn plots(report: &Report) -> String {
    let rounds = |value: fn(&Snapshot) -> f64| {
        let first = std::iter::once((0.0, value(&report.failed)));
        first.chain(report.rounds.iter().map(|round| (f64::from(round.round), value(&round.graph)))).collect::<Vec<_>>()
    };
    let reach = [
        Line { name: "mean", colour: "#3b6ea5", points: rounds(|graph| 100.0 * graph.reach) },
        Line { name: "least", colour: "#b5542f", points: rounds(|graph| 100.0 * graph.reach_min) },
    ];
    let parts = rounds(|graph| f64::from(graph.components));
    let most = parts.iter().map(|(_, parts)| *parts).fold(1.0, f64::max);
    let parts = [Line { name: "parts", colour: "#3b6ea5", points: parts }];
    let dead = [
        Line { name: "dead in views", colour: "#b5542f", points: rounds(|graph| 100.0 * graph.dead) },
        Line { name: "edges both ways", colour: "#3b6ea5", points: rounds(|graph| 100.0 * graph.symmetry) },
    ];
    [
        lines("Reach of a flood", "rounds after the failure", "% of the living nodes reached", 100.0, &reach),
        lines("Parts", "rounds after the failure", "parts of the overlay", most, &parts),
        lines("Views", "rounds after the failure", "%", 100.0, &dead),
        bars("In-degree", "in how many views (before the failure)", "nodes", &report.settled.graph.in_degree),
        bars("In-degree", "in how many views (at the end)", "nodes", &report.healed.graph.in_degree),
    ]
    .concat()
}

/// A row of a table: its title, and how its cell is made.
pub(crate) type Row<T> = (&'static str, fn(&T) -> String);

/// The figures of a graph, as tables show them.
pub(crate) fn graph_rows() -> [Row<Snapshot>; 12] {
    [
        ("living nodes", |g| g.living.to_string()),
        ("reach of a flood, mean", |g| per_cent(g.reach)),
        ("reach of a flood, least", |g| per_cent(g.reach_min)),
        ("isolated nodes", |g| g.isolated.to_string()),
        ("parts", |g| g.components.to_string()),
        ("view: least, mean, most", |g| format!("{}, {:.2}, {}", g.view.min, g.view.mean, g.view.max)),
        ("reserve: least, mean, most", |g| format!("{}, {:.1}, {}", g.reserve.min, g.reserve.mean, g.reserve.max)),
        ("edges both ways", |g| per_cent(g.symmetry)),
        ("dead in views", |g| per_cent(g.dead)),
        ("path, mean", |g| format!("{:.3}", g.path)),
        ("path, longest", |g| g.path_max.to_string()),
        ("clustering", |g| format!("{:.5}", g.clustering)),
    ]
}

/// The figures of broadcasts, as tables show them.
pub(crate) fn broadcast_rows() -> [Row<Broadcasts>; 8] {
    [
        ("broadcasts", |b| b.count.to_string()),
        ("reach, mean", |b| per_cent(b.reach)),
        ("reach, least", |b| per_cent(b.reach_min)),
        ("delivered twice", |b| b.twice.to_string()),
        ("messages with the payload", |b| format!("{:.1}", b.gossip)),
        ("messages without", |b| format!("{:.1}", b.control)),
        ("links passed: mean, most", |b| format!("{:.2}, {}", b.hops, b.max_hops)),
        ("time to the last node", |b| format!("{:.0} ms", b.time)),
    ]
}

pub(crate) fn per_cent(share: f64) -> String {
    // Rounded down: 100 % is said of all, and of nothing less.
    format!("{:.2} %", (share * 10_000.0 + 1e-6).floor() / 100.0)
}

/// What is run, in a line.
pub(crate) fn title(scenario: &Scenario) -> String {
    let Scenario { topology, nodes, fail_percent, seed, nemesis, .. } = scenario;
    let what = match nemesis.len() {
        0 => format!("{fail_percent} % fail"),
        1 => "1 fault".to_owned(),
        count => format!("{count} faults"),
    };
    format!("{}: {nodes} nodes, {what}, seed {seed}", name_of(*topology))
}

fn name_of(topology: Topology) -> &'static str {
    match topology {
        Topology::Hyparview => "HyParView",
        Topology::FullMesh => "Full mesh",
        Topology::ClientServer => "Clients and hubs",
    }
}
