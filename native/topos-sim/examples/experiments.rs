//! The tables of docs/hyparview-experiments.md: `cargo run --release -p topos-sim --example experiments [failures|joins|swim|detection]`.
#![allow(clippy::print_stdout, reason = "a program for the terminal")]

use std::ops::ControlFlow;
use topos_sim::{build, detector, measure, simulate, Scenario, SimulationError};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let asked: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|arg| arg == name);
    if wanted("failures") {
        failures()?;
    }
    if wanted("joins") {
        joins()?;
    }
    if wanted("swim") {
        swim()?;
    }
    if wanted("detection") {
        detection()?;
    }
    Ok(())
}

fn go_on(_: topos_sim::Progress) -> ControlFlow<()> {
    ControlFlow::Continue(())
}

/// 10,000 nodes, views of 5 and 30, failures of 10 to 95 per cent.
fn failures() -> Result<(), SimulationError> {
    println!("| failed % | flood at once | parts | isolated | broadcasts at once | round 1 | healed after | flood after | broadcasts after | path | symmetry |");
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    // Some of the shares only, if any are named: the rows of several processes make one table.
    let named: Vec<u32> = std::env::args().filter_map(|arg| arg.parse().ok()).collect();
    let shares = [10, 20, 30, 40, 50, 60, 70, 80, 90, 95];
    for percent in shares.into_iter().filter(|share| named.is_empty() || named.contains(share)) {
        let scenario = Scenario { nodes: 1_000, seed: 7, fail_percent: f64::from(percent), ..Scenario::default() };
        let (report, _) = simulate(&scenario, go_on)?;
        let tree = |phase: Option<topos_sim::Broadcasts>| phase.map_or(0.0, |b| 100.0 * b.reach);
        println!(
            "| {percent} | {:.2} % | {} | {} | {:.2} % | {:.2} % | {} | {:.2} % | {:.2} % | {:.3} | {:.2} % |",
            100.0 * report.failed.reach,
            report.failed.components,
            report.failed.isolated,
            tree(report.broadcasts_failed),
            100.0 * report.rounds.first().map_or(0.0, |round| round.graph.reach),
            report.healed_after.map_or_else(|| "–".to_owned(), |rounds| rounds.to_string()),
            100.0 * report.healed.graph.reach,
            tree(report.healed.broadcasts),
            report.healed.graph.path,
            100.0 * report.healed.graph.symmetry,
        );
        if percent == 10 {
            let graph = &report.settled.graph;
            println!(
                "<!-- settled: path {:.5}, longest {}, clustering {:.5}, in-degree {:?}, symmetry {:.4}, {:?} -->",
                graph.path,
                graph.path_max,
                graph.clustering,
                graph.in_degree,
                graph.symmetry,
                report.settled.broadcasts
            );
        }
    }
    Ok(())
}

/// 100 seeds of joins at each of several rates.
fn joins() -> Result<(), SimulationError> {
    println!("| nodes | ms between joins | seeds | isolated | seeds in one part 10 s after | after 12 rounds | symmetry, least |");
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    for nodes in [50, 500] {
        for join_interval in [0, 1, 10, 100] {
            let (mut isolated, mut whole, mut settled, mut symmetry) = (0, 0, 0, 1.0f64);
            for seed in 0..100 {
                let scenario = Scenario { nodes, join_interval, seed, ..Scenario::default() };
                let mut world = build(&scenario, &mut go_on)?;
                let mut random = topos_overlay::Random::new(seed);
                let graph = measure(&world, 5, &mut random);
                isolated += graph.isolated;
                whole += u32::from(graph.components == 1);
                world.run_until(world.now() + 120_000)?;
                let graph = measure(&world, 5, &mut random);
                isolated += graph.isolated;
                settled += u32::from(graph.components == 1 && graph.reach_min >= 1.0);
                symmetry = symmetry.min(graph.symmetry);
            }
            println!(
                "| {nodes} | {join_interval} | 100 | {isolated} | {whole} | {settled} | {:.2} % |",
                100.0 * symmetry
            );
        }
    }
    Ok(())
}

/// 100 seeds of 50 nodes for two minutes, a fifth of the messages lost, one node paused.
fn swim() -> Result<(), SimulationError> {
    println!("| loss | pause | seeds | suspicions of the living, a node and minute | false deaths | seeds with any | paused node declared dead by | wrong at the end | messages a node and s |");
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for (loss, pause) in [(0, 0), (0, 5_000), (200, 0), (200, 5_000), (200, 20_000)] {
        let (nodes, duration) = (50, 120_000);
        let (mut suspicions, mut deaths, mut seeds, mut paused, mut wrong, mut messages) = (0, 0, 0, 0, 0, 0.0);
        for seed in 0..100 {
            let scenario = detector::Scenario { nodes, seed, loss, pause, crash: false, duration };
            let outcome = detector::detect(&scenario)?;
            suspicions += outcome.false_suspicions;
            deaths += outcome.false_deaths;
            seeds += u32::from(outcome.false_deaths > 0);
            paused += outcome.deaths_of_paused;
            wrong += outcome.wrong_at_end;
            messages += outcome.messages / 100.0;
        }
        let rate = f64::from(suspicions) / 100.0 / f64::from(nodes) / (duration as f64 / 60_000.0);
        let (loss, pause) = (f64::from(loss) / 10.0, pause / 1_000);
        println!(
            "| {loss} % | {pause} s | 100 | {rate:.2} | {deaths} | {seeds} | {:.1} of 49 | {wrong} | {messages:.2} |",
            f64::from(paused) / 100.0
        );
    }
    Ok(())
}

/// How long a crash stays unseen, by the size of the cluster.
fn detection() -> Result<(), SimulationError> {
    println!("| nodes | seeds | first suspicion, mean s | most | first death, mean s | all know, mean s | messages a node and s |");
    println!("|---:|---:|---:|---:|---:|---:|---:|");
    for nodes in [10, 30, 100, 300, 1_000] {
        let seeds = 20;
        let (mut first, mut most, mut death, mut all, mut messages) = (0.0, 0, 0.0, 0.0, 0.0);
        for seed in 0..seeds {
            let scenario = detector::Scenario { nodes, seed, loss: 0, pause: 0, crash: true, duration: 75_000 };
            let outcome = detector::detect(&scenario)?;
            let seconds = |at: Option<u64>| at.map_or(f64::NAN, |at| at as f64 / 1_000.0 / seeds as f64);
            first += seconds(outcome.first_suspicion);
            most = most.max(outcome.first_suspicion.unwrap_or(0));
            death += seconds(outcome.first_death);
            all += seconds(outcome.all_know);
            messages += outcome.messages / seeds as f64;
        }
        let most = most as f64 / 1_000.0;
        println!("| {nodes} | {seeds} | {first:.2} | {most:.1} | {death:.2} | {all:.2} | {messages:.2} |");
    }
    Ok(())
}
