use super::{Routed, RoutedAction, RoutedEvent, RoutedParams};
use crate::{
    client_server::Role, Action, ClientServer, ClientServerParams, Event, FullMesh, FullMeshParams, HyParView,
    HyParViewParams, Message, NodeId, Overlay,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

fn name(number: usize) -> NodeId {
    NodeId::new(format!("n{number:03}").as_bytes()).expect("a name")
}

/// Drivers as the Erlang side has them: a link is made when one end asks, and confirmed at both ends a little later.
struct Net {
    now: u64,
    nodes: BTreeMap<NodeId, Routed>,
    ticks: BTreeMap<NodeId, u64>,
    links: BTreeSet<(NodeId, NodeId)>,
    queue: VecDeque<(NodeId, RoutedEvent)>,
    routes: BTreeMap<(NodeId, NodeId), u32>,
    delivered: BTreeMap<(NodeId, Vec<u8>), u32>,
}

impl Net {
    fn new(overlays: Vec<Box<dyn Overlay>>) -> Self {
        let nodes = overlays.into_iter().enumerate().map(|(at, overlay)| {
            let node = Routed::new(overlay, Some(RoutedParams::new(&name(at), 1)), at as u64).expect("parameters");
            (name(at), node)
        });
        Self {
            now: 0,
            nodes: nodes.collect(),
            ticks: BTreeMap::new(),
            links: BTreeSet::new(),
            queue: VecDeque::new(),
            routes: BTreeMap::new(),
            delivered: BTreeMap::new(),
        }
    }

    fn give(&mut self, node: &NodeId, event: RoutedEvent) {
        let Some(machine) = self.nodes.get_mut(node) else { return };
        for action in machine.handle(self.now, event).expect("an event of a driver") {
            self.carry_out(node, action);
        }
    }

    fn carry_out(&mut self, node: &NodeId, action: RoutedAction) {
        match action {
            RoutedAction::Overlay(Action::Connect(to)) => {
                if self.nodes.contains_key(&to) {
                    self.links.insert((node.clone(), to.clone()));
                    self.links.insert((to.clone(), node.clone()));
                    self.queue.push_back((node.clone(), RoutedEvent::Confirmed(to.clone())));
                    self.queue.push_back((to, RoutedEvent::Confirmed(node.clone())));
                } else {
                    self.queue.push_back((node.clone(), RoutedEvent::Overlay(Event::LinkDown(to))));
                }
            }
            RoutedAction::Overlay(Action::Disconnect(_) | Action::SetView(_)) => {}
            RoutedAction::Overlay(Action::Send { to, message }) => {
                let message = Message::decode(&message.encode()).expect("what was written");
                let event = if self.nodes.contains_key(&to) {
                    (to, RoutedEvent::Overlay(Event::Received { from: node.clone(), message }))
                } else {
                    (node.clone(), RoutedEvent::Overlay(Event::LinkDown(to)))
                };
                self.queue.push_back(event);
            }
            RoutedAction::Overlay(Action::ScheduleTick(ms)) => {
                self.ticks.insert(node.clone(), self.now + ms);
            }
            RoutedAction::Broadcast { payload, .. } => {
                *self.delivered.entry((node.clone(), payload.to_vec())).or_default() += 1;
            }
            RoutedAction::Routes(routes) => {
                for (to, route) in routes {
                    self.routes.insert((node.clone(), to), route.hops);
                }
            }
            RoutedAction::Lost(nodes) => {
                for to in nodes {
                    self.routes.remove(&(node.clone(), to));
                }
            }
        }
    }

    fn run(&mut self, time: u64) {
        let end = self.now + time;
        loop {
            while let Some((node, event)) = self.queue.pop_front() {
                self.give(&node, event);
            }
            let next = self.ticks.iter().min_by_key(|(_, at)| **at).map(|(node, at)| (node.clone(), *at));
            let Some((node, at)) = next.filter(|(_, at)| *at <= end) else { break };
            self.now = self.now.max(at);
            self.ticks.remove(&node);
            self.give(&node, RoutedEvent::Overlay(Event::Tick));
        }
        self.now = end;
    }

    fn kill(&mut self, node: &NodeId) {
        self.nodes.remove(node);
        self.ticks.remove(node);
        self.routes.retain(|(from, _), _| from != node);
        for other in self.nodes.keys().cloned().collect::<Vec<_>>() {
            if self.links.remove(&(other.clone(), node.clone())) {
                self.queue.push_back((other.clone(), RoutedEvent::Unconfirmed(node.clone())));
                self.queue.push_back((other, RoutedEvent::Overlay(Event::LinkDown(node.clone()))));
            }
        }
    }

    fn all_reach_all(&self) -> bool {
        let expected: BTreeSet<(NodeId, NodeId)> = self
            .nodes
            .keys()
            .flat_map(|a| self.nodes.keys().filter(move |b| *b != a).map(move |b| (a.clone(), b.clone())))
            .collect();
        self.routes.keys().cloned().collect::<BTreeSet<_>>() == expected
    }

    fn broadcast_reaches_all_once(&mut self, from: &NodeId, payload: &[u8]) {
        self.give(from, RoutedEvent::Broadcast(payload.into()));
        self.run(5_000);
        for node in self.nodes.keys() {
            let got = self.delivered.get(&(node.clone(), payload.to_vec())).copied().unwrap_or(0);
            assert_eq!(got, u32::from(node != from), "{node:?}");
        }
    }
}

#[test]
fn hyparview_routes_everywhere_and_again_after_a_third_has_failed() {
    let overlay = |at| -> Box<dyn Overlay> {
        Box::new(HyParView::new(HyParViewParams::new(name(at)), 11 * at as u64).expect("parameters"))
    };
    let mut net = Net::new((0..30).map(overlay).collect());
    for at in 1..30 {
        net.give(&name(at), RoutedEvent::Overlay(Event::Joined(name(0))));
    }
    net.run(30_000);
    assert!(net.all_reach_all());
    assert!(net.routes.values().any(|hops| *hops > 1));
    net.broadcast_reaches_all_once(&name(7), b"one");
    for at in (0..30).step_by(3) {
        net.kill(&name(at));
    }
    net.run(30_000);
    assert!(net.all_reach_all());
    net.broadcast_reaches_all_once(&name(1), b"two");
}

#[test]
fn clients_reach_each_other_over_hubs_and_over_another_when_theirs_fails() {
    let hubs: Vec<NodeId> = (0..2).map(name).collect();
    let overlay = |at| -> Box<dyn Overlay> {
        let role = if at < 2 { Role::Hub } else { Role::Client };
        Box::new(ClientServer::new(ClientServerParams::new(name(at), role, hubs.clone()), at as u64).expect("params"))
    };
    let mut net = Net::new((0..9).map(overlay).collect());
    for at in 0..9 {
        for hub in 0..2 {
            net.give(&name(at), RoutedEvent::Overlay(Event::Joined(name(hub))));
        }
    }
    net.run(10_000);
    assert!(net.all_reach_all());
    assert!(net.routes.iter().all(|(_, hops)| *hops <= 3));
    net.broadcast_reaches_all_once(&name(5), b"one");
    net.kill(&name(0));
    net.run(10_000);
    assert!(net.all_reach_all());
    net.broadcast_reaches_all_once(&name(5), b"two");
}

#[test]
fn two_parts_that_meet_become_one() {
    let overlay = |at| -> Box<dyn Overlay> {
        Box::new(HyParView::new(HyParViewParams::new(name(at)), at as u64).expect("parameters"))
    };
    let mut net = Net::new((0..20).map(overlay).collect());
    for at in (0..20).filter(|at| *at != 0 && *at != 10) {
        net.give(&name(at), RoutedEvent::Overlay(Event::Joined(name(at / 10 * 10))));
    }
    net.run(10_000);
    assert!(!net.all_reach_all());
    net.give(&name(3), RoutedEvent::Overlay(Event::Joined(name(17))));
    net.give(&name(3), RoutedEvent::Overlay(Event::Met(name(17))));
    net.run(2_000);
    assert!(net.all_reach_all());
}

/// Seen after a partition healed: a session was opened anew while both ends went on to count each other as neighbours, and what had been
/// sent in the earlier one, three broadcasts, never came.
#[test]
fn what_is_lost_with_the_way_to_a_neighbour_is_announced_again() {
    let overlay = |at| -> Box<dyn Overlay> {
        Box::new(HyParView::new(HyParViewParams::new(name(at)), at as u64).expect("parameters"))
    };
    let mut net = Net::new((0..2).map(overlay).collect());
    net.give(&name(1), RoutedEvent::Overlay(Event::Joined(name(0))));
    net.run(2_000);
    assert!(net.all_reach_all());
    let now = net.now;
    let machine = net.nodes.get_mut(&name(0)).expect("it is there");
    let lost = machine.handle(now, RoutedEvent::Broadcast(b"lost"[..].into())).expect("a broadcast");
    assert!(!lost.is_empty());
    let came = (name(1), b"lost".to_vec());
    net.run(3_000);
    assert_eq!(net.delivered.get(&came), None);
    net.give(&name(0), RoutedEvent::Confirmed(name(1)));
    net.run(3_000);
    assert_eq!(net.delivered.get(&came), Some(&1));
}

#[test]
fn a_full_mesh_has_nothing_on_top() {
    let mesh = FullMesh::new(FullMeshParams::new(name(0)), 1).expect("parameters");
    let mut node = Routed::new(Box::new(mesh), None, 1).expect("no parameters");
    let actions = node.handle(0, RoutedEvent::Overlay(Event::Joined(name(1)))).expect("a node");
    assert!(actions.contains(&RoutedAction::Overlay(Action::Connect(name(1)))));
    assert_eq!(node.handle(1, RoutedEvent::Confirmed(name(1))), Ok(vec![]));
    assert_eq!(node.handle(2, RoutedEvent::Broadcast(b"x"[..].into())), Ok(vec![]));
    assert!(node.links().is_none());
}
