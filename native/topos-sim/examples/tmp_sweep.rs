#![allow(clippy::print_stdout, missing_docs)]
use std::ops::ControlFlow;
use topos_sim::{build, measure, simulate, Scenario};
fn main() {
    let args: Vec<String> = std::env::args().collect();
    if args[1] == "big" {
        let s = Scenario { nodes: 10_000, seed: 7, fail_percent: 60.0, settle_rounds: args[2].parse().unwrap(), ..Scenario::default() };
        let (r, _) = simulate(&s, |_| ControlFlow::Continue(())).unwrap();
        println!("{:?} {:?}", r.counts, r.healed_after);
        return;
    }
    let nodes: u32 = args[1].parse().unwrap();
    let gap: u64 = args[2].parse().unwrap();
    let (mut iso, mut parts) = (0, 0);
    for seed in 0..args[3].parse::<u64>().unwrap() {
        let s = Scenario { nodes, join_interval: gap, seed, ..Scenario::default() };
        let world = build(&s, &mut |_| ControlFlow::Continue(())).unwrap();
        let g = measure(&world, 5, &mut topos_overlay::Random::new(seed));
        if g.isolated > 0 || g.components > 1 {
            println!("seed {seed}: isolated {} components {} view {:?}", g.isolated, g.components, g.view);
        }
        iso += g.isolated;
        parts += u32::from(g.components > 1);
    }
    println!("isolated {iso} parted {parts}");
}
