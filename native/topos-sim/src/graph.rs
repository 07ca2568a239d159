//! Figures of an overlay as a graph: the living nodes, and an edge for each name in a view.

use crate::world::{number, World};
use serde::Serialize;
use topos_overlay::Random;

/// What a graph looks like at one time.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// How many nodes live.
    pub living: u32,
    /// Of the living nodes, how many a flood along the views reaches: the mean over sampled sources, 0 to 1, the source
    /// included.
    pub reach: f64,
    /// The least of them.
    pub reach_min: f64,
    /// Nodes without a living neighbour.
    pub isolated: u32,
    /// Parts that no edge connects.
    pub components: u32,
    /// The size of the view: smallest, mean, largest; dead names included.
    pub view: Spread,
    /// The size of the reserve.
    pub reserve: Spread,
    /// Of the edges between living nodes, how many go both ways, 0 to 1.
    pub symmetry: f64,
    /// Of the names in views, how many are of dead nodes, 0 to 1.
    pub dead: f64,
    /// How many nodes are in so many views.
    pub in_degree: Vec<u32>,
    /// The mean number of links on a shortest path between sampled sources and all they reach.
    pub path: f64,
    /// The longest of these.
    pub path_max: u32,
    /// The mean, over nodes with two neighbours or more, of the share of their pairs that are neighbours of each other.
    pub clustering: f64,
}

/// Smallest, mean and largest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The smallest.
    pub min: u32,
    /// The mean.
    pub mean: f64,
    /// The largest.
    pub max: u32,
}

impl Spread {
    fn of(values: impl Iterator<Item = u32>) -> Self {
        let (mut min, mut max, mut sum, mut count) = (u32::MAX, 0, 0u64, 0u32);
        for value in values {
            (min, max) = (min.min(value), max.max(value));
            sum += u64::from(value);
            count += 1;
        }
        Self { min: if count == 0 { 0 } else { min }, mean: ratio(sum as f64, f64::from(count)), max }
    }
}

fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 {
        0.0
    } else {
        part / whole
    }
}

/// Edges between living nodes, by number.
struct Graph {
    living: Vec<u32>,
    edges: Vec<Vec<u32>>,
    names: u64,
}

impl Graph {
    fn of(world: &World) -> Self {
        let living = world.living();
        let mut edges = vec![Vec::new(); world.len() as usize];
        let mut names = 0;
        for &node in &living {
            let view = world.stack(node).view();
            names += view.len() as u64;
            edges[node as usize] = view.iter().map(number).filter(|&peer| world.alive(peer)).collect();
        }
        Self { living, edges, names }
    }

    fn of_node(&self, node: u32) -> &[u32] {
        &self.edges[node as usize]
    }

    /// How many nodes are reached from there, the sum of the distances, and the largest.
    fn flood(&self, source: u32, distance: &mut [u32]) -> (u32, u64, u32) {
        distance.fill(u32::MAX);
        distance[source as usize] = 0;
        let mut front = vec![source];
        let (mut count, mut sum, mut depth) = (1, 0u64, 0);
        while !front.is_empty() {
            let mut next = Vec::new();
            for node in front {
                for &peer in self.of_node(node) {
                    if distance[peer as usize] == u32::MAX {
                        distance[peer as usize] = depth + 1;
                        count += 1;
                        sum += u64::from(depth) + 1;
                        next.push(peer);
                    }
                }
            }
            front = next;
            depth += u32::from(!front.is_empty());
        }
        (count, sum, depth)
    }

    fn components(&self) -> u32 {
        let mut both: Vec<Vec<u32>> = self.edges.clone();
        for &node in &self.living {
            for &peer in self.of_node(node) {
                both[peer as usize].push(node);
            }
        }
        let mut seen = vec![false; both.len()];
        let mut count = 0;
        for &start in &self.living {
            if std::mem::replace(&mut seen[start as usize], true) {
                continue;
            }
            count += 1;
            let mut stack = vec![start];
            while let Some(node) = stack.pop() {
                for &peer in &both[node as usize] {
                    if !std::mem::replace(&mut seen[peer as usize], true) {
                        stack.push(peer);
                    }
                }
            }
        }
        count
    }

    /// Of a full mesh of 1,000 nodes it would take 10^9 comparisons: sampled where views are large.
    fn clustering(&self, random: &mut Random) -> f64 {
        let mut nodes: Vec<u32> = self.living.iter().copied().filter(|&node| self.of_node(node).len() >= 2).collect();
        let largest = nodes.iter().map(|&node| self.of_node(node).len()).max().unwrap_or(0);
        let count = if largest > 64 { 20 } else { nodes.len() };
        let sampled = random.sample(&mut nodes, count);
        let share = |&node: &u32| {
            let peers = self.of_node(node);
            let pairs = peers.len() * (peers.len() - 1);
            let closed =
                |&peer: &u32| peers.iter().filter(|other| self.of_node(peer).binary_search(other).is_ok()).count();
            peers.iter().map(closed).sum::<usize>() as f64 / pairs as f64
        };
        ratio(sampled.iter().map(share).sum(), sampled.len() as f64)
    }
}

/// Measures the overlay; paths and floods start at so many nodes.
pub fn measure(world: &World, sources: usize, random: &mut Random) -> Snapshot {
    let graph = Graph::of(world);
    let living = graph.living.len() as u32;
    let mut degree = vec![0u32; world.len() as usize];
    let (mut edges, mut both) = (0u64, 0u64);
    for &node in &graph.living {
        for &peer in graph.of_node(node) {
            degree[peer as usize] += 1;
            edges += 1;
            both += u64::from(graph.of_node(peer).binary_search(&node).is_ok());
        }
    }
    let mut in_degree = Vec::new();
    for &node in &graph.living {
        let at = degree[node as usize] as usize;
        if in_degree.len() <= at {
            in_degree.resize(at + 1, 0);
        }
        in_degree[at] += 1;
    }
    let mut shuffled = graph.living.clone();
    let sampled = random.sample(&mut shuffled, sources);
    let mut distance = vec![0; world.len() as usize];
    let (mut reached, mut least, mut sum, mut longest) = (0u64, living, 0, 0);
    for &source in sampled.iter() {
        let (count, distances, depth) = graph.flood(source, &mut distance);
        reached += u64::from(count);
        least = least.min(count);
        sum += distances;
        longest = longest.max(depth);
    }
    let of_all = f64::from(living) * sampled.len() as f64;
    let isolated = |node: &&u32| graph.of_node(**node).is_empty() && degree[**node as usize] == 0;
    let path = ratio(sum as f64, (reached - sampled.len() as u64) as f64);
    Snapshot {
        living,
        reach: ratio(reached as f64, of_all),
        reach_min: ratio(f64::from(least), f64::from(living)),
        isolated: graph.living.iter().filter(isolated).count() as u32,
        components: graph.components(),
        view: Spread::of(graph.living.iter().map(|&node| world.stack(node).view().len() as u32)),
        reserve: Spread::of(graph.living.iter().map(|&n| world.stack(n).overlay_state().reserve().len() as u32)),
        symmetry: if edges == 0 { 1.0 } else { ratio(both as f64, edges as f64) },
        dead: ratio((graph.names - edges) as f64, graph.names as f64),
        in_degree,
        path,
        path_max: longest,
        clustering: graph.clustering(random),
    }
}
