//! The report as a table for a terminal.

use crate::{
    html::{broadcast_rows, graph_rows, name_of},
    report::Report,
};
use std::fmt::Write;

/// The report as text, in columns.
pub fn table(report: &Report) -> String {
    let scenario = &report.scenario;
    let mut text = format!(
        "{}: {} nodes, {} % fail, seed {}\n\n",
        name_of(scenario.topology),
        scenario.nodes,
        scenario.fail_percent,
        scenario.seed
    );
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
    let healed = match report.healed_after {
        Some(rounds) => format!("healed after {rounds} round{}", if rounds == 1 { "" } else { "s" }),
        None => format!("not healed after {} rounds", report.rounds.len()),
    };
    let _ = write!(text, "\n{healed}\n");
    text
}
