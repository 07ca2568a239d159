use super::{Action, Advert, LinkState, LinkStateParams, Message, Route};
use crate::{Millis, NodeId};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

fn name(number: usize) -> NodeId {
    NodeId::new(format!("n{number:03}").as_bytes()).expect("a name")
}

/// Nodes, symmetric links between them, and messages that arrive in the order they were sent, unless they are lost.
struct Net {
    now: Millis,
    nodes: Vec<LinkState>,
    relays: Vec<bool>,
    edges: BTreeSet<(usize, usize)>,
    queue: VecDeque<(usize, NodeId, Message)>,
    lossy: bool,
}

impl Net {
    fn new(relays: &[bool]) -> Self {
        let node = |(at, relays): (usize, &bool)| {
            LinkState::new(LinkStateParams::new(name(at), 1), *relays, at as u64).expect("parameters")
        };
        Self {
            now: 0,
            nodes: relays.iter().enumerate().map(node).collect(),
            relays: relays.to_vec(),
            edges: BTreeSet::new(),
            queue: VecDeque::new(),
            lossy: false,
        }
    }

    fn number(&self, node: &NodeId) -> usize {
        (0..self.nodes.len()).find(|at| name(*at) == *node).expect("a node of this net")
    }

    fn carry_out(&mut self, at: usize, actions: Vec<Action>) {
        for action in actions {
            if let Action::Send { to, message } = action {
                let message = crate::Message::LinkState(message);
                let crate::Message::LinkState(message) =
                    crate::Message::decode(&message.encode()).expect("what was written")
                else {
                    unreachable!()
                };
                let to = self.number(&to);
                if !self.lossy {
                    self.queue.push_back((to, name(at), message));
                }
            }
        }
    }

    fn link(&mut self, a: usize, b: usize) {
        if a != b && self.edges.insert((a.min(b), a.max(b))) {
            for (at, other) in [(a, b), (b, a)] {
                let actions = self.nodes[at].neighbour_up(self.now, &name(other));
                self.carry_out(at, actions);
            }
        }
    }

    fn cut(&mut self, a: usize, b: usize) {
        if self.edges.remove(&(a.min(b), a.max(b))) {
            for (at, other) in [(a, b), (b, a)] {
                let actions = self.nodes[at].neighbour_down(self.now, &name(other));
                self.carry_out(at, actions);
            }
        }
    }

    /// Until nothing is under way and digests have been compared for so long.
    fn settle(&mut self, time: Millis) {
        let end = self.now + time;
        loop {
            while let Some((to, from, message)) = self.queue.pop_front() {
                let actions = self.nodes[to].received(self.now, &from, message);
                self.carry_out(to, actions);
            }
            let next = self.nodes.iter().filter_map(LinkState::next_tick).min();
            let Some(at) = next.filter(|at| *at <= end) else { break };
            self.now = self.now.max(at);
            for at in 0..self.nodes.len() {
                let actions = self.nodes[at].tick(self.now);
                self.carry_out(at, actions);
            }
        }
        self.now = end;
    }

    /// Hops by a search on the true graph.
    fn hops(&self, from: usize) -> BTreeMap<usize, u32> {
        let mut hops = BTreeMap::from([(from, 0)]);
        let mut queue = VecDeque::from([from]);
        while let Some(at) = queue.pop_front() {
            if at != from && !self.relays[at] {
                continue;
            }
            for &(a, b) in &self.edges {
                let next = if a == at { b } else { a };
                if (a == at || b == at) && !hops.contains_key(&next) {
                    hops.insert(next, hops[&at] + 1);
                    queue.push_back(next);
                }
            }
        }
        hops.remove(&from);
        hops
    }

    fn check(&self) -> Result<(), TestCaseError> {
        for from in 0..self.nodes.len() {
            let expected = self.hops(from);
            for to in (0..self.nodes.len()).filter(|to| *to != from) {
                let route = self.nodes[from].route(&name(to));
                prop_assert_eq!(route.map(|r| r.hops), expected.get(&to).copied(), "from {} to {}", from, to);
                let path = self.nodes[from].path(&name(to));
                prop_assert_eq!(path.len(), expected.get(&to).map_or(0, |hops| *hops as usize));
                prop_assert_eq!(path.first(), route.map(|r| &r.via));
                // Following the next hops of each node ends at the target.
                let mut at = from;
                for _ in 0..expected.get(&to).copied().unwrap_or(0) {
                    let via = self.nodes[at].route(&name(to)).map(|r| r.via.clone());
                    prop_assert!(via.is_some());
                    at = via.map_or(at, |via| self.number(&via));
                }
                prop_assert!(!expected.contains_key(&to) || at == to);
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn after_any_changes_all_routes_are_shortest_ways(
        relays in prop::collection::vec(prop::bool::weighted(0.8), 2..9),
        changes in prop::collection::vec((any::<bool>(), 0..9usize, 0..9usize, any::<bool>()), 0..40),
    ) {
        let mut net = Net::new(&relays);
        for (up, a, b, settle) in changes {
            let (a, b) = (a % relays.len(), b % relays.len());
            if up { net.link(a, b) } else { net.cut(a, b) }
            if settle { net.settle(20) }
        }
        net.settle(50);
        net.check()?;
    }

    #[test]
    fn what_lost_messages_left_is_mended_by_digests(
        lost in prop::collection::vec((any::<bool>(), 0..6usize, 0..6usize), 0..20),
    ) {
        let mut net = Net::new(&[true; 6]);
        for at in 1..6 { net.link(at - 1, at) }
        net.settle(50);
        net.lossy = true;
        for (up, a, b) in lost {
            if up { net.link(a, b) } else { net.cut(a, b) }
        }
        net.settle(1);
        net.lossy = false;
        // Ten rounds: every neighbour is drawn with near certainty.
        net.settle(60_000);
        net.check()?;
    }
}

#[test]
fn a_node_that_is_gone_is_out_of_reach_whatever_it_said_last() {
    let mut net = Net::new(&[true; 4]);
    for (a, b) in [(0, 1), (1, 2), (1, 3), (2, 3)] {
        net.link(a, b);
    }
    net.settle(50);
    assert_eq!(net.nodes[0].route(&name(3)), Some(&Route { via: name(1), hops: 2 }));
    // 3 dies without a word: only its neighbours tell.
    for at in [1, 2] {
        let actions = net.nodes[at].neighbour_down(net.now, &name(3));
        net.carry_out(at, actions);
    }
    net.settle(50);
    assert_eq!(net.nodes[0].route(&name(3)), None);
    assert_eq!(net.nodes[0].path(&name(3)), Vec::new());
}

#[test]
fn adverts_of_the_unreachable_are_forgotten_and_their_number_is_bounded() {
    let params = LinkStateParams { max_nodes: 2, ..LinkStateParams::new(name(0), 1) };
    let mut node = LinkState::new(params, true, 1).expect("parameters");
    node.neighbour_up(0, &name(1));
    let advert = |at: usize| Advert { node: name(at), epoch: 1, version: 1, relays: true, links: vec![] };
    node.received(0, &name(1), Message::Adverts((1..9).map(advert).collect()));
    assert_eq!(node.nodes(), 2);
    let mut now = 0;
    while let Some(at) = node.next_tick().filter(|at| *at < 70_000) {
        now = at;
        node.tick(now);
    }
    assert!(now > 60_000);
    assert_eq!(node.nodes(), 0);
}

#[test]
fn a_foreign_advert_of_this_node_is_outdone() {
    let mut node = LinkState::new(LinkStateParams::new(name(0), 7), true, 1).expect("parameters");
    node.neighbour_up(0, &name(1));
    let forged = Advert { node: name(0), epoch: 7, version: 99, relays: true, links: vec![name(5)] };
    let actions = node.received(1, &name(1), Message::Adverts(vec![forged]));
    let [Action::Send { message: Message::Adverts(adverts), .. }] = &actions[..] else { panic!("{actions:?}") };
    assert_eq!((adverts[0].version, &adverts[0].links), (100, &vec![name(1)]));
}

#[test]
fn parameters_out_of_range_are_all_named() {
    let params = LinkStateParams { max_nodes: 0, settle: 2_000, ..LinkStateParams::new(name(0), 1) };
    let error = LinkState::new(params, true, 1).expect_err("two are wrong").to_string();
    assert!(error.contains("max_nodes") && error.contains("settle"), "{error}");
}
