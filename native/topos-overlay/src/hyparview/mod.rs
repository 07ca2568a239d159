//! HyParView: a small active view that is kept connected, and a larger passive view to mend it from.
//!
//! Leitão, Pereira, Rodrigues, "HyParView: a membership protocol for reliable gossip-based broadcast", DSN 2007. Where this
//! machine does more than the paper:
//! - A node enters an active view only by a request that the other side answered: an edge is never one-sided for longer
//!   than some messages take. The paper's joins assume it, and implementations without it isolate joiners.
//! - Nobody is put out of a full view: a neighbour is asked to go ([`Message::Yield`]), and stays if it has no other. It is told
//!   for whom, and asks that node for a place: the edge is replaced by a path of two, so a join does not cut the
//!   graph. In the paper the neighbour is told when it is out already, and is isolated if it had no other: that was seen in
//!   one of a hundred runs of 500 nodes that joined a millisecond apart.
//! - With every shuffle one neighbour is asked to confirm the edge ([`Message::Confirm`]), so that what lost
//!   messages left one-sided is mended within `active_size` shuffles.
//! - Now and then a node exchanges a neighbour for a node that it only knows of ([`HyParViewParams::mix_period`]). Parts of the
//!   graph that were cut off, each of them full and content, find together by it as long as one node of them knows
//!   one of another.
//! - A node that has lost everybody goes back to its contacts, for ever, with a growing wait.

mod message;
mod params;
mod places;
#[cfg(test)]
mod tests;

pub use message::{Message, Priority};
pub use params::HyParViewParams;

use crate::{Action, Backoff, Event, Millis, NodeId, Overlay, OverlayError, Random};
use places::{Claimant, Places};
use std::collections::{BTreeMap, BTreeSet};

/// Why a node was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// To take this node into the cluster.
    Join,
    /// A walk of its join ended here, or it is exchanged: it has the better claim to a place.
    Walk,
    /// A place is free.
    Repair,
}

#[derive(Clone, Copy, Debug)]
struct Request {
    why: Why,
    deadline: Millis,
}

/// HyParView as a state machine; `Joined` names a contact, of which one is enough.
///
/// # Guarantees
/// - Neither view exceeds its size, they share no node, and this node is in neither.
/// - A node that was told of a contact that lives and can be reached gets a neighbour, however many join at once.
/// - A node that has a neighbour keeps one, as long as none of its neighbours fails and no message is lost or takes longer than
///   `request_timeout`.
/// - A neighbour that is reported down is out of the active view at once, and replaced from the passive view.
/// - With links that lose nothing, two nodes have each other in their active views, or are about to be told.
///
/// An event costs `O(active + passive)`.
#[derive(Clone, Debug)]
pub struct HyParView {
    params: HyParViewParams,
    backoff: Backoff,
    random: Random,
    now: Millis,
    active: Vec<NodeId>,
    passive: Vec<NodeId>,
    contacts: Vec<NodeId>,
    /// Requests without an answer yet. At most as many as the passive view has places; walks beyond that end in nothing.
    requests: BTreeMap<NodeId, Request>,
    /// Nodes that had no room, or did not answer, since the last shuffle: not asked again before the next.
    tried: BTreeSet<NodeId>,
    places: Places,
    /// What the last shuffle carried: the first to make room for what comes back.
    offered: Vec<NodeId>,
    /// Attempts in a row that left this node without neighbours.
    failures: u32,
    retry_at: Option<Millis>,
    shuffle_at: Option<Millis>,
    mix_at: Option<Millis>,
    tick_at: Option<Millis>,
    confirm_next: usize,
    changed: bool,
    actions: Vec<Action>,
}

impl HyParView {
    /// An overlay that knows nobody, or all parameters that are out of their range.
    pub fn new(params: HyParViewParams, seed: u64) -> Result<Self, OverlayError> {
        let backoff = params.check()?;
        Ok(Self {
            params,
            backoff,
            random: Random::new(seed),
            now: 0,
            active: Vec::new(),
            passive: Vec::new(),
            contacts: Vec::new(),
            requests: BTreeMap::new(),
            tried: BTreeSet::new(),
            places: Places::default(),
            offered: Vec::new(),
            failures: 0,
            retry_at: None,
            shuffle_at: None,
            mix_at: None,
            tick_at: None,
            confirm_next: 0,
            changed: false,
            actions: Vec::new(),
        })
    }

    fn full(&self) -> bool {
        self.active.len() >= self.params.active_size as usize
    }

    fn say(&mut self, to: &NodeId, message: Message) {
        self.actions.push(Action::Send { to: to.clone(), message: crate::Message::HyParView(message) });
    }

    // --- the views ---

    /// Puts a node into the active view, which has room for it or has it already.
    fn activate(&mut self, node: &NodeId) {
        self.requests.remove(node);
        if self.active.contains(node) || *node == self.params.own {
            return;
        }
        self.passive.retain(|known| known != node);
        self.active.push(node.clone());
        self.actions.push(Action::Connect(node.clone()));
        self.changed = true;
        self.failures = 0;
        self.retry_at = None;
    }

    fn deactivate(&mut self, node: &NodeId) {
        if let Some(at) = self.active.iter().position(|known| known == node) {
            self.active.swap_remove(at);
            self.actions.push(Action::Disconnect(node.clone()));
            self.changed = true;
        }
    }

    /// Puts a node into the passive view; if it is full, one of those that were offered goes, or any.
    fn learn(&mut self, node: &NodeId) {
        if *node == self.params.own || self.active.contains(node) || self.passive.contains(node) {
            return;
        }
        if self.passive.len() >= self.params.passive_size as usize {
            let offered = std::iter::from_fn(|| self.offered.pop())
                .find_map(|old| self.passive.iter().position(|known| *known == old));
            let at = offered.or_else(|| self.random.index(self.passive.len()));
            at.map(|at| self.passive.swap_remove(at));
        }
        self.passive.push(node.clone());
    }

    /// The node failed.
    fn forget(&mut self, node: &NodeId) {
        self.requests.remove(node);
        self.passive.retain(|known| known != node);
        self.deactivate(node);
        self.places.forget(node);
        self.settle();
    }

    // --- getting neighbours ---

    fn ask(&mut self, node: &NodeId, why: Why, message: Message) {
        if self.requests.len() < self.params.passive_size as usize {
            let deadline = self.now.saturating_add(self.params.request_timeout);
            self.requests.insert(node.clone(), Request { why, deadline });
            self.say(node, message);
        }
    }

    /// Asks as many nodes as there are free places. Without a neighbour one is asked with priority: more than one would
    /// push out more nodes than there is need for.
    fn repair(&mut self) {
        let asked = self.requests.values().filter(|request| request.why != Why::Walk).count();
        let free = (self.params.active_size as usize).saturating_sub(self.active.len()).saturating_sub(asked);
        let mut alone = self.active.is_empty() && asked == 0;
        if free == 0 || (alone && self.retry_at.is_some_and(|at| at > self.now)) {
            return;
        }
        let mut candidates: Vec<NodeId> = self
            .passive
            .iter()
            .filter(|node| !self.tried.contains(*node) && !self.requests.contains_key(*node))
            .cloned()
            .collect();
        // Who was never in the cluster has to join it: the walks of a join spread its name.
        if !(alone && self.passive.iter().all(|node| self.contacts.contains(node))) {
            for node in self.random.sample(&mut candidates, free).to_vec() {
                let priority = if alone { Priority::High } else { Priority::Low };
                alone = false;
                self.ask(&node, Why::Repair, Message::Neighbour(priority));
            }
        }
        if alone {
            self.join();
        }
    }

    /// Nobody of the passive view can help: a contact has to. Each attempt without success makes the next wait longer.
    fn join(&mut self) {
        let contacts: Vec<&NodeId> = self.contacts.iter().filter(|n| !self.requests.contains_key(*n)).collect();
        let Some(contact) = self.random.pick(&contacts).map(|&node| node.clone()) else {
            if !self.passive.is_empty() {
                self.wait();
            }
            return;
        };
        self.wait();
        self.ask(&contact, Why::Join, Message::Join);
    }

    fn wait(&mut self) {
        self.retry_at = Some(self.now.saturating_add(self.backoff.delay(self.failures, &mut self.random)));
        self.failures = self.failures.saturating_add(1);
    }

    fn refused(&mut self, node: &NodeId) {
        if self.requests.remove(node).is_some() {
            self.avoid(node);
        }
    }

    /// Nothing can be had of that node for now.
    fn avoid(&mut self, node: &NodeId) {
        if self.tried.len() < 4 * self.params.passive_size as usize {
            self.tried.insert(node.clone());
        }
    }

    // --- messages ---

    fn received(&mut self, from: &NodeId, message: Message) {
        match message {
            Message::Join => self.admit(from, Claimant::Joins),
            Message::ForwardJoin { node, ttl } => self.forward_join(from, &node, ttl),
            Message::Neighbour(priority) => {
                if self.active.contains(from) || priority == Priority::High || !self.full() {
                    self.admit(from, Claimant::Asks);
                } else {
                    self.learn(from);
                    self.say(from, Message::Reject);
                }
            }
            Message::Accept => self.accepted(from),
            Message::Reject => self.refused(from),
            Message::Yield { instead } => self.asked_to_go(from, instead),
            Message::Disconnect => self.gone(from),
            Message::Keep => self.stays(from),
            Message::Shuffle { origin, ttl, nodes } => self.shuffled(from, origin, ttl, nodes),
            Message::ShuffleReply(nodes) => self.integrate(&nodes),
            Message::Confirm if self.active.contains(from) => {}
            Message::Confirm if self.full() => self.say(from, Message::Yield { instead: None }),
            Message::Confirm => self.activate(from),
        }
    }

    /// Sends a walk in the name of a node that joined.
    fn spread(&mut self, node: &NodeId) {
        let walk = Message::ForwardJoin { node: node.clone(), ttl: self.params.active_walk };
        for neighbour in self.active.clone().iter().filter(|neighbour| *neighbour != node) {
            self.say(neighbour, walk.clone());
        }
    }

    fn forward_join(&mut self, from: &NodeId, node: &NodeId, ttl: u8) {
        if *node == self.params.own {
            return;
        }
        // The length is the sender's word: no walk is longer than this node's own may be.
        let ttl = ttl.min(self.params.active_walk);
        if ttl == self.params.passive_walk {
            self.learn(node);
        }
        let onward: Vec<&NodeId> = self.active.iter().filter(|next| *next != from && *next != node).collect();
        match self.random.pick(&onward).map(|&next| next.clone()) {
            Some(next) if ttl > 0 => self.say(&next, Message::ForwardJoin { node: node.clone(), ttl: ttl - 1 }),
            _ if self.active.contains(node) || self.requests.contains_key(node) => {}
            _ => self.ask(node, Why::Walk, Message::Neighbour(Priority::Low)),
        }
    }

    fn accepted(&mut self, from: &NodeId) {
        if self.active.contains(from) {
            self.requests.remove(from);
            return;
        }
        match self.requests.remove(from).map(|request| request.why) {
            Some(Why::Join | Why::Walk) => self.admit(from, Claimant::Accepted),
            // The place was filled meanwhile, or the answer came too late to be counted on.
            Some(Why::Repair) | None if self.full() => self.say(from, Message::Yield { instead: None }),
            Some(Why::Repair) | None => self.activate(from),
        }
    }

    // --- shuffles ---

    fn shuffle(&mut self) {
        self.tried.clear();
        let Some(to) = self.random.pick(&self.active).cloned() else { return };
        let mut nodes = vec![self.params.own.clone()];
        let mut active: Vec<NodeId> = self.active.iter().filter(|node| **node != to).cloned().collect();
        nodes.extend_from_slice(self.random.sample(&mut active, self.params.shuffle_active as usize));
        self.offered = self.random.sample(&mut self.passive, self.params.shuffle_passive as usize).to_vec();
        nodes.extend_from_slice(&self.offered);
        let (origin, ttl) = (self.params.own.clone(), self.params.active_walk);
        self.say(&to, Message::Shuffle { origin, ttl, nodes });
        self.confirm_next = (self.confirm_next + 1) % self.active.len();
        let asked = self.active[self.confirm_next].clone();
        self.say(&asked, Message::Confirm);
    }

    /// Asks any node but the neighbours to become one: it takes this one if another one has to go, and so does this one.
    fn mix(&mut self) {
        if !self.full() {
            return;
        }
        let known = self.contacts.iter().filter(|node| !self.passive.contains(node)).chain(&self.passive);
        let known: Vec<&NodeId> =
            known.filter(|node| !self.active.contains(node) && !self.requests.contains_key(*node)).collect();
        if let Some(node) = self.random.pick(&known).map(|&node| node.clone()) {
            self.ask(&node, Why::Walk, Message::Neighbour(Priority::High));
        }
    }

    fn shuffled(&mut self, from: &NodeId, origin: NodeId, ttl: u8, nodes: Vec<NodeId>) {
        if origin == self.params.own {
            return;
        }
        let ttl = ttl.min(self.params.active_walk).saturating_sub(1);
        let onward: Vec<&NodeId> = self.active.iter().filter(|next| *next != from && **next != origin).collect();
        match self.random.pick(&onward).map(|&next| next.clone()) {
            Some(next) if ttl > 0 => self.say(&next, Message::Shuffle { origin, ttl, nodes }),
            _ => {
                self.offered = self.random.sample(&mut self.passive, nodes.len()).to_vec();
                self.say(&origin, Message::ShuffleReply(self.offered.clone()));
                self.integrate(&nodes);
            }
        }
    }

    fn integrate(&mut self, nodes: &[NodeId]) {
        // More names than a view holds would only push each other out.
        for node in nodes.iter().take(self.params.passive_size as usize) {
            self.learn(node);
        }
        self.offered.clear();
    }

    // --- time ---

    fn expire(&mut self) {
        let late = |request: &Request| request.deadline <= self.now;
        let expired: Vec<NodeId> = self.requests.iter().filter(|(_, r)| late(r)).map(|(n, _)| n.clone()).collect();
        for node in expired {
            self.refused(&node);
        }
        self.expire_places();
        let period = self.params.shuffle_period;
        match self.shuffle_at {
            // The first falls anywhere within a period, so that nodes which start together do not shuffle together.
            None => self.shuffle_at = Some(self.now.saturating_add(self.random.between(1, period))),
            Some(at) if at <= self.now => {
                self.shuffle();
                self.shuffle_at = Some(self.now.saturating_add(period));
            }
            Some(_) => {}
        }
        let period = self.params.mix_period;
        match self.mix_at {
            None if period > 0 => self.mix_at = Some(self.now.saturating_add(self.random.between(1, period))),
            Some(at) if at <= self.now => {
                self.mix();
                self.mix_at = Some(self.now.saturating_add(period));
            }
            _ => {}
        }
        if self.retry_at.is_some_and(|at| at <= self.now) {
            self.retry_at = None;
            // Whoever had no room for a node in need has the next attempt to answer to again.
            self.tried.clear();
        }
    }

    fn schedule(&mut self) {
        let deadline = self.requests.values().map(|request| request.deadline).min();
        let next = deadline.into_iter().chain(self.places.deadline()).chain(self.retry_at);
        let next = next.chain(self.shuffle_at).chain(self.mix_at).min();
        if let Some(at) = next.filter(|_| next != self.tick_at) {
            self.actions.push(Action::ScheduleTick(at.saturating_sub(self.now)));
        }
        self.tick_at = next;
    }
}

impl Overlay for HyParView {
    fn handle(&mut self, now: Millis, event: Event) -> Result<Vec<Action>, OverlayError> {
        self.now = self.now.max(now);
        match event {
            Event::Joined(node) if node == self.params.own => {}
            Event::Joined(node) => {
                if !self.contacts.contains(&node) {
                    if self.contacts.len() >= self.params.max_contacts as usize {
                        self.random.index(self.contacts.len()).map(|at| self.contacts.swap_remove(at));
                    }
                    self.contacts.push(node.clone());
                }
                self.learn(&node);
            }
            Event::Left(node) => {
                self.contacts.retain(|known| *known != node);
                let known = self.active.contains(&node);
                self.forget(&node);
                if !known {
                    self.actions.push(Action::Disconnect(node));
                }
            }
            Event::LinkUp(_) => {}
            // Whether it has neighbours or not, it joins what it met: both sides then have an edge to the other part.
            Event::Met(node) => {
                if !self.active.contains(&node) && !self.requests.contains_key(&node) && node != self.params.own {
                    self.ask(&node, Why::Join, Message::Join);
                }
            }
            // A link of neither view that closes says nothing: links for single messages come and go.
            Event::LinkDown(node) if self.active.contains(&node) || self.requests.contains_key(&node) => {
                self.forget(&node);
            }
            Event::LinkDown(_) => {}
            Event::Received { from, message: crate::Message::HyParView(message) } if from != self.params.own => {
                self.received(&from, message);
            }
            Event::Received { .. } | Event::Wanted(_) => {}
            Event::Tick => self.tick_at = None,
        }
        self.expire();
        self.repair();
        self.schedule();
        if std::mem::take(&mut self.changed) {
            self.actions.push(Action::SetView(self.view()));
        }
        Ok(std::mem::take(&mut self.actions))
    }

    fn view(&self) -> Vec<NodeId> {
        let mut view = self.active.clone();
        view.sort_unstable();
        view
    }

    fn reserve(&self) -> Vec<NodeId> {
        self.passive.clone()
    }

    fn copy(&self) -> Box<dyn Overlay> {
        Box::new(self.clone())
    }
}
