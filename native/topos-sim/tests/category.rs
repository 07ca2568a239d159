//! The laws of a topology as a category, on simulated overlays: `docs/category-theory.md` says what they mean and what they leave out.
//!
//! Objects are the living nodes. An arrow from one to another is a route over which a message was delivered, exactly once, and its sender
//! heard so; two routes with the same ends are the same arrow. The composition of two is a relay: the node between gets
//! the message and sends it on. The identity of a node is what it sends to itself.

use proptest::prelude::*;
use std::ops::ControlFlow;
use topos_overlay::Random;
use topos_sim::{build, join, Scenario, Topology, Unicast, World};

/// An arrow: its ends, and the payload as it came out.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Arrow {
    source: u32,
    target: u32,
    payload: Vec<u8>,
}

struct Overlay {
    scenario: Scenario,
    world: World,
    random: Random,
}

impl Overlay {
    fn new(topology: Topology, nodes: u32, seed: u64) -> Self {
        let scenario = Scenario { topology, nodes, seed, hubs: 2, ..Scenario::default() };
        let world = build(&scenario, &mut |_| ControlFlow::Continue(())).expect("a valid scenario");
        let mut overlay = Self { scenario, world, random: Random::new(seed) };
        overlay.wait(60);
        overlay
    }

    fn wait(&mut self, seconds: u64) {
        self.world.run_until(self.world.now() + 1_000 * seconds).expect("no machine refuses an event");
    }

    /// The arrow from one node to another, as what it does to a payload.
    fn arrow(&mut self, source: u32, target: u32, payload: &[u8]) -> Arrow {
        self.world.take_unicasts();
        self.world.send(source, target, payload).expect("no machine refuses an event");
        // Two attempts of a route; the network loses nothing. A third one is needed where a link of the way closes meanwhile.
        self.wait(5);
        let mut happened = self.world.take_unicasts();
        if happened.is_empty() {
            self.wait(25);
            happened = self.world.take_unicasts();
        }
        let delivered: Vec<Arrow> = happened
            .iter()
            .filter_map(|unicast| match unicast {
                Unicast::Delivered { source, target, payload } => {
                    Some(Arrow { source: *source, target: *target, payload: payload.to_vec() })
                }
                _ => None,
            })
            .collect();
        let done = happened.iter().filter(|unicast| matches!(unicast, Unicast::Done { .. })).count();
        assert_eq!((delivered.len(), done), (1, 1), "{source} to {target}: {happened:?}");
        delivered.into_iter().next().expect("it was counted")
    }

    /// Relays: each node of the way sends on what it got, whatever it got.
    fn along(&mut self, way: &[u32], payload: &[u8]) -> Arrow {
        let mut carried = payload.to_vec();
        for hop in way.windows(2) {
            carried = self.arrow(hop[0], hop[1], &carried).payload;
        }
        Arrow { source: way[0], target: way[way.len() - 1], payload: carried }
    }

    /// Some node that lives.
    fn node(&self, which: prop::sample::Index) -> u32 {
        *which.get(&self.world.living())
    }

    /// All arrows among these nodes; that there is one each is what [`Overlay::arrow`] asserts.
    fn arrows(&mut self, nodes: &[u32]) -> Vec<Arrow> {
        let pairs: Vec<(u32, u32)> = nodes.iter().flat_map(|&from| nodes.iter().map(move |&to| (from, to))).collect();
        pairs.into_iter().map(|(from, to)| self.arrow(from, to, b"arrow")).collect()
    }
}

fn topology() -> impl Strategy<Value = Topology> {
    prop_oneof![Just(Topology::Hyparview), Just(Topology::ClientServer), Just(Topology::FullMesh)]
}

fn index() -> impl Strategy<Value = prop::sample::Index> {
    any::<prop::sample::Index>()
}

/// Some functions of payloads, longer and shorter ones among them.
fn change(which: u8, payload: &[u8]) -> Vec<u8> {
    match which % 4 {
        0 => payload.iter().rev().copied().collect(),
        1 => [payload, payload].concat(),
        2 => payload.iter().take(1).copied().collect(),
        _ => payload.len().to_be_bytes().to_vec(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// The identity of a node needs no network, and is neutral on both sides.
    #[test]
    fn identities(topology in topology(), nodes in 3..24u32, seed: u64, x in index(), y in index(), payload: Vec<u8>) {
        let mut overlay = Overlay::new(topology, nodes, seed);
        let (x, y) = (overlay.node(x), overlay.node(y));
        let before = overlay.world.counts().router;
        let identity = overlay.arrow(x, x, &payload);
        prop_assert_eq!(overlay.world.counts().router, before, "what a node sends to itself passes no link");
        prop_assert_eq!(&identity.payload, &payload);
        let arrow = overlay.arrow(x, y, &payload);
        prop_assert_eq!(overlay.along(&[x, x, y], &payload), arrow.clone());
        prop_assert_eq!(overlay.along(&[x, y, y], &payload), arrow);
    }

    /// A relay is the route itself, and it does not matter which two relays are taken for one.
    #[test]
    fn composition(
        topology in topology(), nodes in 4..24u32, seed: u64, w in index(), x in index(), y in index(), z in index(),
        payload: Vec<u8>
    ) {
        let mut overlay = Overlay::new(topology, nodes, seed);
        let [w, x, y, z] = [w, x, y, z].map(|which| overlay.node(which));
        let all = overlay.along(&[w, x, y, z], &payload);
        let first = overlay.along(&[w, x, y], &payload);
        prop_assert_eq!(&overlay.arrow(w, y, &payload), &first);
        prop_assert_eq!(&overlay.arrow(y, z, &first.payload).payload, &all.payload);
        let last = overlay.arrow(w, x, &payload);
        prop_assert_eq!(&overlay.arrow(x, z, &last.payload).payload, &all.payload);
        prop_assert_eq!(overlay.arrow(w, z, &payload), all);
    }

    /// Sending is natural in the payload: it does not matter whether the sender changes it, the receiver, or a relay.
    #[test]
    fn naturality(
        topology in topology(), nodes in 3..24u32, seed: u64, x in index(), y in index(), z in index(), f: u8, g: u8,
        payload: Vec<u8>
    ) {
        let mut overlay = Overlay::new(topology, nodes, seed);
        let [x, y, z] = [x, y, z].map(|which| overlay.node(which));
        let at_sender = overlay.arrow(x, z, &change(g, &change(f, &payload))).payload;
        let at_receiver = change(g, &change(f, &overlay.arrow(x, z, &payload).payload));
        prop_assert_eq!(&at_sender, &at_receiver);
        let relayed = overlay.arrow(x, y, &change(f, &payload)).payload;
        let relayed = overlay.arrow(y, z, &change(g, &relayed)).payload;
        prop_assert_eq!(relayed, at_sender);
    }

    /// A join is a functor: the nodes there are keep their identities, their arrows, and the compositions of these.
    #[test]
    fn joining(topology in topology(), nodes in 3..9u32, seed: u64, x in index(), y in index()) {
        let mut overlay = Overlay::new(topology, nodes, seed);
        let old = overlay.world.living();
        let before = overlay.arrows(&old);
        let new = join(&mut overlay.world, &overlay.scenario, &mut overlay.random).expect("there is room");
        overlay.wait(30);
        prop_assert_eq!(overlay.arrows(&old), before);
        let (x, y) = (*x.get(&old), *y.get(&old));
        let through_the_new = overlay.along(&[x, new, y], b"arrow");
        prop_assert_eq!(through_the_new, overlay.arrow(x, y, b"arrow"), "what passes the new node is the arrow there was");
    }

    /// A leave is one from the part of the category without that node: whether it goes with a word or without.
    #[test]
    fn leaving(topology in topology(), nodes in 4..9u32, seed: u64, leaver in index(), crash: bool, which in index()) {
        let mut overlay = Overlay::new(topology, nodes, seed);
        // The last hub but one may go: with no hub left, clients have no arrows but their identities.
        let leaver = overlay.node(leaver);
        let stay: Vec<u32> = overlay.world.living().into_iter().filter(|&node| node != leaver).collect();
        let before = overlay.arrows(&stay);
        if crash { overlay.world.crash(leaver) } else { overlay.world.leave(leaver) }
        overlay.wait(60);
        prop_assert_eq!(overlay.arrows(&stay), before);
        let between = *which.get(&stay);
        let relayed = overlay.along(&[stay[0], between, stay[1]], b"arrow");
        prop_assert_eq!(relayed, overlay.arrow(stay[0], stay[1], b"arrow"));
    }
}

/// A seed with which the law of joining once failed: a neighbour gives way while a message is on its way over the link to it.
#[test]
fn an_arrow_outlives_a_link_of_its_way() {
    let mut overlay = Overlay::new(Topology::Hyparview, 7, 12_712_606_175_254_522_966);
    let old = overlay.world.living();
    let before = overlay.arrows(&old);
    join(&mut overlay.world, &overlay.scenario, &mut overlay.random).expect("there is room");
    overlay.wait(30);
    assert_eq!(overlay.arrows(&old), before);
}

/// What the laws do not say: routes with the same ends differ in their time and in the order of what they carry.
#[test]
fn time_and_order_across_routes_are_no_part_of_an_arrow() {
    let mut overlay = Overlay::new(Topology::Hyparview, 24, 5);
    let (x, z) = (0, 23);
    let mut times = std::collections::BTreeSet::new();
    for between in 1..23 {
        let start = overlay.world.now();
        overlay.world.take_unicasts();
        overlay.world.send(x, between, b"").expect("no machine refuses an event");
        while !overlay.world.take_unicasts().iter().any(|unicast| matches!(unicast, Unicast::Delivered { .. })) {
            overlay.world.run_until(overlay.world.now() + 1).expect("no machine refuses an event");
        }
        times.insert(overlay.world.now() - start);
        overlay.wait(5);
        assert_eq!(overlay.along(&[x, between, z], b"same").payload, b"same");
    }
    assert!(times.len() > 5, "equal arrows took different times: {times:?}");
}
