//! The report as a table for a terminal.

use crate::{
    html::{broadcast_rows, graph_rows, per_cent, title},
    report::{Disturbed, Report, Unicasts},
};
use std::fmt::Write;

/// The report as text, in columns.
pub fn table(report: &Report) -> String {
    let scenario = &report.scenario;
    let mut text = format!("{}\n\n", title(scenario));
    let mut row = |name: &str, cells: [&str; 4]| {
        let mut line = format!("{name:<28}");
        for cell in cells {
            // Writing to a string does not fail.
            let _ = write!(line, "{cell:>18}");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    };
    row("the overlay", ["joined", "settled", "failed", "healed"]);
    let graphs = [&report.joined.graph, &report.settled.graph, &report.failed, &report.healed.graph];
    for (name, value) in graph_rows() {
        let cells = graphs.map(value);
        row(name, cells.each_ref().map(String::as_str));
    }
    row("", [""; 4]);
    row("broadcasts along the tree", ["", "settled", "failed", "healed"]);
    let phases = [&None, &report.settled.broadcasts, &report.broadcasts_failed, &report.healed.broadcasts];
    for (name, value) in broadcast_rows() {
        let cells = phases.map(|phase| phase.as_ref().map(value).unwrap_or_default());
        row(name, cells.each_ref().map(String::as_str));
    }
    if !report.faults.is_empty() {
        row("", [""; 4]);
        row("faults", ["from", "reach at its end", "parts", "isolated"]);
        for Disturbed { fault, at, graph } in &report.faults {
            let (at, reach) = (format!("{} s", *at as f64 / 1_000.0), per_cent(graph.reach));
            row(&fault.to_string(), [&at, &reach, &graph.components.to_string(), &graph.isolated.to_string()]);
        }
    }
    if let Some(Unicasts { sent, delivered, done, given_up }) = report.unicasts {
        let counts = [sent, delivered, done, given_up].map(|count| count.to_string());
        row("", [""; 4]);
        row("messages between nodes", ["sent", "delivered", "confirmed", "in doubt"]);
        row("during the faults", counts.each_ref().map(String::as_str));
    }
    let healed = match report.healed_after {
        Some(rounds) => format!("healed after {rounds} round{}", if rounds == 1 { "" } else { "s" }),
        None => format!("not healed after {} rounds", report.rounds.len()),
    };
    let _ = write!(text, "\n{healed}\n");
    text
}
