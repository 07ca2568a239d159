//! x
use topos_sim::*;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let n: u32 = a[1].parse().unwrap();
    let f: f64 = a[2].parse().unwrap();
    let ji: u64 = a[3].parse().unwrap();
    for seed in a[4].parse::<u64>().unwrap()..a[5].parse().unwrap() {
        let s = Scenario { nodes: n, fail_percent: f, join_interval: ji, seed, ..Scenario::default() };
        let t = std::time::Instant::now();
        let (r, _) = simulate(&s, |_| std::ops::ControlFlow::Continue(())).unwrap();
        let g = |s: &Snapshot| format!("reach {:.4}/{:.4} iso {} comp {} view {:?} sym {:.4} dead {:.3} path {:.2}/{} cl {:.5}", s.reach, s.reach_min, s.isolated, s.components, s.view, s.symmetry, s.dead, s.path, s.path_max, s.clustering);
        println!("seed {seed} {:?}\n joined {}\n settled {}\n   {:?}\n failed {}\n  {:?}", t.elapsed(), g(&r.joined.graph), g(&r.settled.graph), r.settled.broadcasts, g(&r.failed), r.broadcasts_failed);
        for x in &r.rounds { println!("  r{} {}", x.round, g(&x.graph)); }
        println!(" healed {:?} {}\n  {:?} {:?}\n in {:?}", r.healed_after, g(&r.healed.graph), r.healed.broadcasts, r.counts, r.settled.graph.in_degree);
    }
}
