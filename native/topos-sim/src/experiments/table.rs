//! Findings as tables in Markdown. The bytes are the same for the same findings.

use super::{Failure, Finding, Joins};
use crate::{detector, graph::Snapshot, html::per_cent, report::Broadcasts};
use std::fmt::Write;

/// The tables of the findings of one set of experiments. Failures are means over the seeds.
pub fn tables(findings: &[Finding]) -> String {
    let mut text = String::new();
    failures(&mut text, findings);
    joins(&mut text, findings);
    detector(&mut text, findings);
    growth(&mut text, findings);
    text
}

fn head(text: &mut String, columns: &[&str]) {
    if !text.is_empty() {
        text.push('\n');
    }
    // Writing to a string does not fail.
    let _ = writeln!(text, "| {} |", columns.join(" | "));
    let _ = writeln!(text, "|{}", "---:|".repeat(columns.len()));
}

fn row(text: &mut String, cells: &[String]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len().max(1) as f64;
    values.sum::<f64>() / count
}

fn reach(broadcasts: Option<Broadcasts>) -> f64 {
    broadcasts.map_or(0.0, |broadcasts| broadcasts.reach)
}

fn failures(text: &mut String, findings: &[Finding]) {
    let runs: Vec<(&Snapshot, Option<Broadcasts>, &[Failure])> = findings
        .iter()
        .filter_map(|finding| match finding {
            Finding::Failures { settled, broadcasts, failures, .. } => Some((&**settled, *broadcasts, &failures[..])),
            _ => None,
        })
        .collect();
    let Some((_, _, first)) = runs.first() else { return };
    let settled = |value: fn(&Snapshot) -> f64| mean(runs.iter().map(|(graph, ..)| value(graph)));
    head(text, &["before the failures", "mean of the seeds"]);
    let last_hop = mean(runs.iter().map(|(_, b, _)| b.map_or(0.0, |b| f64::from(b.max_hops))));
    let rows = [
        ("clustering", format!("{:.5}", settled(|g| g.clustering))),
        ("shortest path, mean", format!("{:.3}", settled(|g| g.path))),
        ("shortest path, longest", format!("{:.1}", settled(|g| f64::from(g.path_max)))),
        ("links that a broadcast passes, most", format!("{last_hop:.1}")),
        ("broadcasts reach", per_cent(mean(runs.iter().map(|(_, b, _)| reach(*b))))),
        ("edges that go both ways", per_cent(settled(|g| g.symmetry))),
        ("isolated nodes", format!("{:.0}", settled(|g| f64::from(g.isolated)))),
    ];
    for (name, value) in rows {
        row(text, &[name.to_owned(), value]);
    }
    let longest = runs.iter().map(|(graph, ..)| graph.in_degree.len()).max().unwrap_or(0);
    for degree in 0..longest {
        let nodes = mean(runs.iter().map(|(g, ..)| f64::from(g.in_degree.get(degree).copied().unwrap_or(0))));
        if nodes > 0.0 {
            row(text, &[format!("nodes in {degree} views"), format!("{nodes:.1}")]);
        }
    }
    head(
        text,
        &[
            "failed %",
            "flood at once",
            "parts",
            "isolated",
            "broadcasts at once",
            "flood after a round",
            "healed after rounds",
            "flood after",
            "broadcasts after",
            "path after",
            "symmetry after",
        ],
    );
    for (at, Failure { percent, .. }) in first.iter().enumerate() {
        let all: Vec<&Failure> = runs.iter().filter_map(|(.., failures)| failures.get(at)).collect();
        let of = |value: fn(&Failure) -> f64| mean(all.iter().map(|failure| value(failure)));
        let healed: Vec<String> = all
            .iter()
            .map(|f| f.healed_after.map_or_else(|| "never".to_owned(), |rounds| rounds.to_string()))
            .collect();
        row(
            text,
            &[
                percent.to_string(),
                per_cent(of(|f| f.failed.reach)),
                format!("{:.0}", of(|f| f64::from(f.failed.components))),
                format!("{:.0}", of(|f| f64::from(f.failed.isolated))),
                per_cent(of(|f| reach(f.broadcasts_failed))),
                per_cent(of(|f| f.first_round)),
                healed.join(", "),
                per_cent(of(|f| f.healed.reach)),
                per_cent(of(|f| reach(f.broadcasts_healed))),
                format!("{:.3}", of(|f| f.healed.path)),
                per_cent(of(|f| f.healed.symmetry)),
            ],
        );
    }
}

fn joins(text: &mut String, findings: &[Finding]) {
    let mut begun = false;
    for finding in findings {
        let Finding::Joins(Joins { nodes, gap, seeds, isolated, whole, symmetry }) = finding else { continue };
        if !std::mem::replace(&mut begun, true) {
            let columns = [
                "nodes",
                "ms between joins",
                "seeds",
                "isolated 10 s after",
                "isolated after 12 rounds",
                "seeds in one part 10 s after",
                "after 12 rounds",
                "symmetry, least",
            ];
            head(text, &columns);
        }
        let [first, last] = isolated.map(|count| count.to_string());
        let [whole_first, whole_last] = whole.map(|count| count.to_string());
        row(
            text,
            &[
                nodes.to_string(),
                gap.to_string(),
                seeds.to_string(),
                first,
                last,
                whole_first,
                whole_last,
                per_cent(*symmetry),
            ],
        );
    }
}

fn detector(text: &mut String, findings: &[Finding]) {
    let runs = findings.iter().filter_map(|finding| match finding {
        Finding::Detector { scenario, outcomes } => Some((scenario, &outcomes[..])),
        _ => None,
    });
    let (crashes, faults): (Vec<_>, Vec<_>) = runs.partition(|(scenario, _)| scenario.crash);
    if !faults.is_empty() {
        suspicions(text, &faults);
    }
    if !crashes.is_empty() {
        detection(text, &crashes);
    }
}

type Runs<'a> = [(&'a detector::Scenario, &'a [detector::Outcome])];

fn suspicions(text: &mut String, runs: &Runs<'_>) {
    head(
        text,
        &[
            "nodes",
            "loss",
            "pause of one node",
            "seeds",
            "suspicions of a living node, a minute",
            "at how many of the others",
            "false deaths",
            "seeds with any",
            "paused node declared dead by",
            "wrong at the end",
            "messages a node and s",
        ],
    );
    for (scenario, outcomes) in runs {
        let others = f64::from(scenario.nodes - 1);
        let minutes = f64::from(scenario.nodes) * scenario.duration as f64 / 60_000.0;
        let of = |value: fn(&detector::Outcome) -> f64| mean(outcomes.iter().map(value));
        let sum = |value: fn(&detector::Outcome) -> u32| outcomes.iter().map(value).sum::<u32>();
        let (news, suspicions) = (of(|o| f64::from(o.suspected)), of(|o| f64::from(o.false_suspicions)));
        let spread = if news > 0.0 { suspicions / news } else { 0.0 };
        row(
            text,
            &[
                scenario.nodes.to_string(),
                format!("{} %", f64::from(scenario.loss) / 10.0),
                format!("{} s", scenario.pause / 1_000),
                outcomes.len().to_string(),
                format!("{:.2}", news / minutes),
                format!("{spread:.1} of {others}"),
                sum(|o| o.false_deaths).to_string(),
                outcomes.iter().filter(|o| o.false_deaths > 0).count().to_string(),
                format!("{:.1} of {others}", of(|o| f64::from(o.deaths_of_paused))),
                sum(|o| o.wrong_at_end).to_string(),
                format!("{:.2}", of(|o| o.messages)),
            ],
        );
    }
}

fn detection(text: &mut String, runs: &Runs<'_>) {
    head(
        text,
        &[
            "nodes",
            "seeds",
            "seen in",
            "first suspicion, mean s",
            "most",
            "first death, mean s",
            "all know, mean s",
            "messages a node and s",
        ],
    );
    for (scenario, outcomes) in runs {
        let seconds = |value: fn(&detector::Outcome) -> Option<u64>| {
            let times: Vec<f64> = outcomes.iter().filter_map(value).map(|ms| ms as f64 / 1_000.0).collect();
            (times.len(), mean(times.iter().copied()), times.iter().copied().fold(0.0, f64::max))
        };
        let (_, first, most) = seconds(|o| o.first_suspicion);
        let (_, death, _) = seconds(|o| o.first_death);
        let (seen, all, _) = seconds(|o| o.all_know);
        row(
            text,
            &[
                scenario.nodes.to_string(),
                outcomes.len().to_string(),
                seen.to_string(),
                format!("{first:.2}"),
                format!("{most:.1}"),
                format!("{death:.2}"),
                format!("{all:.2}"),
                format!("{:.2}", mean(outcomes.iter().map(|o| o.messages))),
            ],
        );
    }
}

fn growth(text: &mut String, findings: &[Finding]) {
    let mut begun = false;
    for finding in findings {
        let Finding::Growth { nodes, links, messages, broadcast, path, memory } = finding else { continue };
        if !std::mem::replace(&mut begun, true) {
            let columns = [
                "nodes",
                "links a node",
                "messages a node and s",
                "messages a node and broadcast",
                "shortest path",
                "kB a node",
            ];
            head(text, &columns);
        }
        row(
            text,
            &[
                nodes.to_string(),
                format!("{links:.2}"),
                format!("{messages:.2}"),
                format!("{broadcast:.2}"),
                format!("{path:.2}"),
                memory.map_or_else(|| "–".to_owned(), |bytes| format!("{:.1}", bytes as f64 / 1_024.0)),
            ],
        );
    }
}
