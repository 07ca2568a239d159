//! A network of nodes that run a [`Stack`] each, as a discrete event simulation.

use crate::queue::Queue;
use std::collections::BTreeSet;
use topos_overlay::{
    Action, Event, Message, Millis, NodeId, OverlayError, Payload, Random, Stack, StackAction, StackEvent,
};

/// How messages travel; times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// The shortest way between two nodes takes this long.
    pub latency_min: Millis,
    /// The longest. A pair of nodes has its own time, the same for all their messages, so that they keep their order.
    pub latency_max: Millis,
    /// How many of a thousand messages are lost.
    pub loss: u32,
    /// How many of a thousand messages come twice, the second one up to `latency_max` later.
    pub duplicate: u32,
    /// How many of a thousand messages take up to ten times `latency_max` more, so that later ones overtake them. Overlays are
    /// promised the order of what two nodes send each other: this breaks the promise.
    pub reorder: u32,
    /// When the peers of a node that crashed see their links go down; who sends it something sees it after the way there and back.
    pub detect_after: Millis,
}

impl Default for Network {
    fn default() -> Self {
        Self { latency_min: 5, latency_max: 50, loss: 0, duplicate: 0, reorder: 0, detect_after: 1_000 }
    }
}

/// Counts of messages since the start of the run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Of the overlays.
    pub overlay: u64,
    /// Of the trees, with a payload.
    pub gossip: u64,
    /// Of the trees, without.
    pub tree_control: u64,
    /// Of the routers.
    pub router: u64,
}

/// What became of one broadcast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Broadcast {
    reached: Vec<bool>,
    /// How many nodes got it, its origin included.
    pub count: u32,
    /// How often one that had it got it again: never, that is.
    pub twice: u32,
    /// The longest way it took, in links.
    pub max_hops: u32,
    /// Of all ways together.
    pub sum_hops: u64,
    /// When the last node got it.
    pub last_at: Millis,
}

impl Broadcast {
    /// Whether the node has it.
    pub fn reached(&self, node: u32) -> bool {
        self.reached.get(node as usize).copied().unwrap_or(false)
    }
}

/// What became of a message from one node to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unicast {
    /// It came, this often is said twice if it came twice.
    Delivered {
        /// From whom.
        source: u32,
        /// To whom.
        target: u32,
        /// What its sender wrote.
        payload: Payload,
    },
    /// Its sender heard that it came.
    Done {
        /// Who sent it.
        source: u32,
        /// Its number.
        number: u64,
    },
    /// Its sender does not know whether it came.
    GivenUp {
        /// Who sent it.
        source: u32,
        /// Its number.
        number: u64,
    },
}

#[derive(Clone)]
enum Happening {
    Event(Event),
    Tick(u64),
    /// A pause or a hold is over.
    Release,
}

/// What a node does with what comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Runs,
    /// Nothing, ticks included: a process that is stopped, a machine that swaps.
    Paused,
    /// Its own ticks alone: what others send waits on the way.
    Held,
}

#[derive(Clone)]
struct Node {
    stack: Stack,
    alive: bool,
    links: BTreeSet<u32>,
    /// Counts the ticks that were asked for: an earlier one is void.
    tick: u64,
    mode: Mode,
    /// What came meanwhile, in its order.
    waiting: Vec<Happening>,
}

/// The network. The same calls on one seed give the same run; a clone goes on as the original would.
#[derive(Clone)]
pub struct World {
    network: Network,
    seed: u64,
    random: Random,
    now: Millis,
    queue: Queue<(u32, Happening)>,
    nodes: Vec<Node>,
    broadcasts: Vec<Broadcast>,
    unicasts: Vec<Unicast>,
    counts: Counts,
    /// For each node whether it is on the second side of a partition; empty without one.
    sides: Vec<bool>,
}

/// The name of a node: its number, as four bytes.
pub fn name(node: u32) -> NodeId {
    // Four bytes are a name by definition of `NodeId`.
    NodeId::new(&node.to_be_bytes()).unwrap_or_else(|_| unreachable!("four bytes are a name"))
}

/// The number of a node.
pub fn number(node: &NodeId) -> u32 {
    node.as_bytes().try_into().map_or(u32::MAX, u32::from_be_bytes)
}

impl World {
    /// A network without nodes.
    pub fn new(network: Network, seed: u64) -> Self {
        Self {
            network,
            seed,
            random: Random::new(seed),
            now: 0,
            queue: Queue::default(),
            nodes: Vec::new(),
            broadcasts: Vec::new(),
            unicasts: Vec::new(),
            counts: Counts::default(),
            sides: Vec::new(),
        }
    }

    /// Adds a node that knows nobody; its number is how many there were.
    pub fn add(&mut self, stack: Stack) -> u32 {
        let node = self.nodes.len() as u32;
        let (links, waiting) = (BTreeSet::new(), Vec::new());
        self.nodes.push(Node { stack, alive: true, links, tick: 0, mode: Mode::Runs, waiting });
        node
    }

    /// How many nodes there are, the dead included.
    pub fn len(&self) -> u32 {
        self.nodes.len() as u32
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The time.
    pub fn now(&self) -> Millis {
        self.now
    }

    /// The messages so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Whether the node lives.
    pub fn alive(&self, node: u32) -> bool {
        self.nodes.get(node as usize).is_some_and(|node| node.alive)
    }

    /// The nodes that live.
    pub fn living(&self) -> Vec<u32> {
        (0..self.len()).filter(|&node| self.alive(node)).collect()
    }

    /// What the node runs.
    pub fn stack(&self, node: u32) -> &Stack {
        &self.nodes[node as usize].stack
    }

    /// Tells a node that another is a member, or a contact.
    pub fn joined(&mut self, node: u32, member: u32) -> Result<(), OverlayError> {
        self.give(node, StackEvent::Overlay(Event::Joined(name(member))))
    }

    /// Ends a node without a word.
    pub fn crash(&mut self, node: u32) {
        let Some(crashed) = self.nodes.get_mut(node as usize).filter(|node| node.alive) else { return };
        crashed.alive = false;
        for peer in std::mem::take(&mut crashed.links) {
            self.nodes[peer as usize].links.remove(&node);
            self.later(self.network.detect_after, peer, Event::LinkDown(name(node)));
        }
    }

    /// Lets a node leave: all others hear of it, and forget it.
    pub fn leave(&mut self, node: u32) {
        if !self.alive(node) {
            return;
        }
        self.nodes[node as usize].alive = false;
        for peer in std::mem::take(&mut self.nodes[node as usize].links) {
            self.nodes[peer as usize].links.remove(&node);
        }
        for peer in self.living() {
            self.later(self.latency(node, peer), peer, Event::Left(name(node)));
        }
    }

    /// Cuts the network in two: these nodes and the others hear nothing of each other until [`World::heal`].
    pub fn partition(&mut self, one_side: &[u32]) {
        self.sides = vec![false; self.nodes.len()];
        for &node in one_side {
            self.sides[node as usize] = true;
        }
        for node in 0..self.len() {
            let cut: Vec<u32> =
                self.nodes[node as usize].links.iter().copied().filter(|&peer| self.cut(node, peer)).collect();
            for peer in cut {
                self.nodes[node as usize].links.remove(&peer);
                self.later(self.network.detect_after, node, Event::LinkDown(name(peer)));
            }
        }
    }

    /// Ends the partition. Nobody is told.
    pub fn heal(&mut self) {
        self.sides.clear();
    }

    /// The network from now on: what is under way is not touched.
    pub fn set_network(&mut self, network: Network) {
        self.network = network;
    }

    /// How messages travel.
    pub fn network(&self) -> Network {
        self.network
    }

    /// Stops a node for so long: it does nothing, and finds all that came meanwhile when it goes on. Its links stay up.
    pub fn pause(&mut self, node: u32, time: Millis) {
        self.stop(node, time, Mode::Paused);
    }

    /// Holds back for so long what others send to a node, in its order. Its own ticks, and what it sends, go on.
    pub fn hold(&mut self, node: u32, time: Millis) {
        self.stop(node, time, Mode::Held);
    }

    /// A node that is stopped already goes on when it would have.
    fn stop(&mut self, node: u32, time: Millis, mode: Mode) {
        if let Some(there) = self.nodes.get_mut(node as usize).filter(|node| node.mode == Mode::Runs) {
            there.mode = mode;
            self.queue.push(self.now.saturating_add(time), (node, Happening::Release));
        }
    }

    /// Broadcasts from a node; the answer is its place in [`World::broadcast`].
    pub fn start_broadcast(&mut self, from: u32) -> Result<usize, OverlayError> {
        let index = self.broadcasts.len();
        let mut reached = vec![false; self.nodes.len()];
        reached[from as usize] = true;
        self.broadcasts.push(Broadcast { reached, count: 1, last_at: self.now, ..Broadcast::default() });
        let payload: Payload = (index as u64).to_be_bytes().to_vec().into();
        self.give(from, StackEvent::Broadcast(payload))?;
        Ok(index)
    }

    /// What became of a broadcast so far.
    pub fn broadcast(&self, index: usize) -> &Broadcast {
        &self.broadcasts[index]
    }

    /// Sends a message from one node to another.
    pub fn send(&mut self, from: u32, to: u32, payload: &[u8]) -> Result<(), OverlayError> {
        self.give(from, StackEvent::Send { to: name(to), payload: payload.into() })
    }

    /// What became of messages since the last call.
    pub fn take_unicasts(&mut self) -> Vec<Unicast> {
        std::mem::take(&mut self.unicasts)
    }

    /// Lets time pass.
    pub fn run_until(&mut self, until: Millis) -> Result<(), OverlayError> {
        while let Some((at, (node, happening))) = self.queue.pop_until(until) {
            self.now = at;
            self.happen(node, happening)?;
        }
        self.now = until;
        Ok(())
    }

    fn happen(&mut self, node: u32, happening: Happening) -> Result<(), OverlayError> {
        let there = &mut self.nodes[node as usize];
        match (there.mode, &happening) {
            (_, Happening::Release) => {
                there.mode = Mode::Runs;
                for waited in std::mem::take(&mut there.waiting) {
                    self.happen(node, waited)?;
                }
                return Ok(());
            }
            (Mode::Paused, _) | (Mode::Held, Happening::Event(_)) => {
                there.waiting.push(happening);
                return Ok(());
            }
            _ => {}
        }
        let there = &self.nodes[node as usize];
        let event = match happening {
            Happening::Tick(tick) if there.alive && there.tick == tick => Event::Tick,
            Happening::Tick(_) | Happening::Release => return Ok(()),
            Happening::Event(Event::Received { from, .. }) if !there.alive || self.cut(node, number(&from)) => {
                // The sender learns that its message did not arrive.
                let back = self.latency(node, number(&from));
                self.later(back, number(&from), Event::LinkDown(name(node)));
                return Ok(());
            }
            Happening::Event(_) if !there.alive => return Ok(()),
            // The link has been opened again since: a driver tells the end of the link that there is, not of the one before.
            Happening::Event(Event::LinkDown(peer)) if there.links.contains(&number(&peer)) => return Ok(()),
            Happening::Event(event) => event,
        };
        self.give(node, StackEvent::Overlay(event))
    }

    fn give(&mut self, node: u32, event: StackEvent) -> Result<(), OverlayError> {
        for action in self.nodes[node as usize].stack.handle(self.now, event)? {
            match action {
                StackAction::Overlay(action) => self.act(node, action),
                StackAction::Broadcast { hops, payload, .. } => self.count_broadcast(node, hops, &payload),
                StackAction::Deliver { source, payload } => {
                    self.unicasts.push(Unicast::Delivered { source: number(&source), target: node, payload });
                }
                StackAction::Done(number) => self.unicasts.push(Unicast::Done { source: node, number }),
                StackAction::GivenUp { number, .. } => self.unicasts.push(Unicast::GivenUp { source: node, number }),
                StackAction::Sent(_) | StackAction::Refused(_) => {}
            }
        }
        Ok(())
    }

    fn act(&mut self, node: u32, action: Action) {
        match action {
            Action::Connect(peer) => self.connect(node, number(&peer)),
            Action::Disconnect(peer) => {
                let peer = number(&peer);
                if self.nodes[node as usize].links.remove(&peer) {
                    self.nodes[peer as usize].links.remove(&node);
                    self.later(self.latency(node, peer), peer, Event::LinkDown(name(node)));
                }
            }
            Action::SetView(_) => {}
            Action::Send { to, message } => self.carry(node, number(&to), message),
            Action::ScheduleTick(ms) => {
                let there = &mut self.nodes[node as usize];
                there.tick += 1;
                let tick = there.tick;
                self.queue.push(self.now.saturating_add(ms), (node, Happening::Tick(tick)));
            }
        }
    }

    fn connect(&mut self, node: u32, peer: u32) {
        let way = self.latency(node, peer);
        if !self.alive(peer) || self.cut(node, peer) {
            self.later(2 * way, node, Event::LinkDown(name(peer)));
        } else if self.nodes[node as usize].links.insert(peer) {
            self.nodes[peer as usize].links.insert(node);
            self.later(way, peer, Event::LinkUp(name(node)));
            self.later(way, node, Event::LinkUp(name(peer)));
        }
    }

    fn carry(&mut self, from: u32, to: u32, message: Message) {
        match &message {
            Message::HyParView(_) | Message::ClientServer(_) | Message::Swim(_) | Message::Custom(_) => {
                self.counts.overlay += 1;
            }
            Message::Plumtree(topos_overlay::plumtree::Message::Gossip { .. }) => self.counts.gossip += 1,
            Message::Plumtree(_) => self.counts.tree_control += 1,
            Message::Router(_) | Message::LinkState(_) => self.counts.router += 1,
        }
        if self.drawn(self.network.loss) || to as usize >= self.nodes.len() {
            return;
        }
        let mut way = self.latency(from, to);
        if self.drawn(self.network.reorder) {
            way += self.random.between(1, 10 * self.network.latency_max.max(1));
        }
        if self.drawn(self.network.duplicate) {
            let again = way + self.random.between(0, self.network.latency_max);
            self.later(again, to, Event::Received { from: name(from), message: message.clone() });
        }
        self.later(way, to, Event::Received { from: name(from), message });
    }

    /// Whether it falls to one of so many of a thousand. What is off draws nothing: its runs stay what they were.
    fn drawn(&mut self, of_thousand: u32) -> bool {
        of_thousand > 0 && self.random.between(0, 999) < u64::from(of_thousand)
    }

    fn count_broadcast(&mut self, node: u32, hops: u32, payload: &[u8]) {
        let index = payload.try_into().map_or(usize::MAX, |bytes| u64::from_be_bytes(bytes) as usize);
        let Some(broadcast) = self.broadcasts.get_mut(index) else { return };
        match broadcast.reached.get_mut(node as usize) {
            Some(reached) if !*reached => {
                *reached = true;
                broadcast.count += 1;
                broadcast.max_hops = broadcast.max_hops.max(hops);
                broadcast.sum_hops += u64::from(hops);
                broadcast.last_at = self.now;
            }
            Some(_) => broadcast.twice += 1,
            // A node that was added after the broadcast began, and got it as news.
            None => {}
        }
    }

    fn later(&mut self, after: Millis, node: u32, event: Event) {
        self.queue.push(self.now.saturating_add(after), (node, Happening::Event(event)));
    }

    fn cut(&self, one: u32, other: u32) -> bool {
        let side = |node: u32| self.sides.get(node as usize).copied().unwrap_or(false);
        side(one) != side(other)
    }

    /// The same both ways.
    fn latency(&self, one: u32, other: u32) -> Millis {
        let pair = (u64::from(one.min(other)) << 32) | u64::from(one.max(other));
        Random::new(self.seed ^ pair).between(self.network.latency_min, self.network.latency_max)
    }
}
