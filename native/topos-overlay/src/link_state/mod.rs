//! Routes to every node, from what all nodes say about their links.
//!
//! Link-state routing as in OSPF (Moy, RFC 2328), reduced to what an overlay needs: each node advertises its confirmed
//! links, an advert is flooded to all neighbours by who learns it, and each node computes the shortest ways on the
//! graph of all adverts. A link counts when both of its ends advertise it, so a node whose neighbours have dropped it
//! is out of reach at once, whatever its own last advert says. Neighbours compare a digest of all they hold now and
//! then, which mends what lost messages left.
//!
//! [`crate::Router`] finds a way when one is needed, for clusters of tens of thousands; here every node knows all ways
//! beforehand, and how far everybody is, at the price of one advert a node in memory and two flooded adverts a change
//! of a link. `docs/decisions/0006-link-state-routes.md` says why live nodes do this.

mod message;
#[cfg(test)]
mod tests;

pub use message::{Advert, Message, MAX_LINKS};

use crate::{params::Checks, Millis, NodeId, OverlayError, Random};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Parameters of [`LinkState`]; times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkStateParams {
    /// This node.
    pub own: NodeId,
    /// Its incarnation, greater with each boot.
    pub epoch: u64,
    /// How many nodes' adverts are held, 1 to 1,048,576; those of further nodes are ignored.
    pub max_nodes: u32,
    /// How long changes are gathered before routes are computed, 0 to 1,000.
    pub settle: Millis,
    /// The time between two digests to a neighbour, 100 to 3,600,000.
    pub sync_period: Millis,
    /// How long the advert of a node out of reach is kept, 1,000 to 3,600,000.
    pub forget_after: Millis,
}

impl LinkStateParams {
    /// The defaults: 4,096 nodes, 10 ms, digests every 2 s, forgotten after a minute.
    pub fn new(own: NodeId, epoch: u64) -> Self {
        Self { own, epoch, max_nodes: 4_096, settle: 10, sync_period: 2_000, forget_after: 60_000 }
    }
}

/// The way to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The neighbour that what is for the node goes to.
    pub via: NodeId,
    /// How many links it passes, 1 for a neighbour.
    pub hops: u32,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hand the message to the machine of a neighbour.
    Send {
        /// For whom.
        to: NodeId,
        /// What to say.
        message: Message,
    },
    /// Routes are new or different.
    Changed(Vec<(NodeId, Route)>),
    /// No way leads to these nodes any more.
    Lost(Vec<NodeId>),
}

#[derive(Debug)]
struct Held {
    advert: Advert,
    /// When the node was last in reach, or its advert came.
    at: Millis,
}

/// How many adverts go into one message.
const CHUNK: usize = 32;

/// Link-state routing as a state machine. Its driver tells it the confirmed links, and asks [`LinkState::next_tick`]
/// after each call.
///
/// # Guarantees
/// - Once links have stopped changing and all adverts have passed, every node has a route to every node that the graph
///   of links and relaying nodes connects it to, the hops along it are as many as each node on it believes, and no
///   shorter way exists.
/// - Until then two nodes may think differently of the ways: what is carried needs a bound on its hops.
///
/// Computing routes costs `O(links)`; an advert costs `O(its links)` and a message a neighbour.
#[derive(Debug)]
pub struct LinkState {
    params: LinkStateParams,
    relays: bool,
    random: Random,
    now: Millis,
    version: u64,
    neighbours: BTreeSet<NodeId>,
    /// The adverts of the others.
    table: BTreeMap<NodeId, Held>,
    routes: BTreeMap<NodeId, Route>,
    /// Routes are to be computed then.
    settle_at: Option<Millis>,
    sync_at: Option<Millis>,
    work: u64,
    actions: Vec<Action>,
}

impl LinkState {
    /// A node without links, or all parameters that are out of their range.
    pub fn new(params: LinkStateParams, relays: bool, seed: u64) -> Result<Self, OverlayError> {
        let mut checks = Checks::default();
        checks.range("max_nodes", params.max_nodes.into(), 1, 1 << 20);
        checks.range("settle", params.settle, 0, 1_000);
        checks.range("sync_period", params.sync_period, 100, 3_600_000);
        checks.range("forget_after", params.forget_after, 1_000, 3_600_000);
        checks.done()?;
        Ok(Self {
            params,
            relays,
            random: Random::new(seed),
            now: 0,
            version: 0,
            neighbours: BTreeSet::new(),
            table: BTreeMap::new(),
            routes: BTreeMap::new(),
            settle_at: None,
            sync_at: None,
            work: 0,
            actions: Vec::new(),
        })
    }

    /// The node begins a new life, with a greater incarnation: its adverts of before are outdated.
    pub fn live_again(&mut self, now: Millis, epoch: u64) -> Vec<Action> {
        self.now = self.now.max(now);
        if epoch > self.params.epoch {
            self.params.epoch = epoch;
            self.version = 0;
            self.advertise();
        }
        std::mem::take(&mut self.actions)
    }

    /// A link to the node was confirmed.
    pub fn neighbour_up(&mut self, now: Millis, node: &NodeId) -> Vec<Action> {
        self.now = self.now.max(now);
        if *node != self.params.own && self.neighbours.len() < MAX_LINKS && self.neighbours.insert(node.clone()) {
            // To the new neighbour goes all, this node's own advert with it.
            self.version += 1;
            self.send_all(node);
            let own = self.own_advert();
            self.flood(Some(node), &[own]);
            self.changed();
            if self.sync_at.is_none() {
                self.sync_at = Some(self.now.saturating_add(self.random.between(1, self.params.sync_period)));
            }
        }
        std::mem::take(&mut self.actions)
    }

    /// The way to a neighbour is another one than before: what was under way on the earlier one may be lost, so it is told all again.
    pub fn renewed(&mut self, now: Millis, node: &NodeId) -> Vec<Action> {
        self.now = self.now.max(now);
        if self.neighbours.contains(node) {
            self.send_all(node);
        }
        std::mem::take(&mut self.actions)
    }

    /// The link to the node is gone.
    pub fn neighbour_down(&mut self, now: Millis, node: &NodeId) -> Vec<Action> {
        self.now = self.now.max(now);
        if self.neighbours.remove(node) {
            self.advertise();
        }
        std::mem::take(&mut self.actions)
    }

    /// The node left for good: what it advertised is dropped.
    pub fn forget(&mut self, now: Millis, node: &NodeId) -> Vec<Action> {
        self.now = self.now.max(now);
        if self.table.remove(node).is_some() {
            self.changed();
        }
        let mut more = self.neighbour_down(now, node);
        self.actions.append(&mut more);
        std::mem::take(&mut self.actions)
    }

    /// The machine of another node sent a message.
    pub fn received(&mut self, now: Millis, from: &NodeId, message: Message) -> Vec<Action> {
        self.now = self.now.max(now);
        match message {
            Message::Adverts(adverts) => {
                let mut news = Vec::new();
                for advert in adverts {
                    self.work += advert.links.len() as u64;
                    if advert.node == self.params.own {
                        self.refute(&advert);
                    } else if self.take(&advert) {
                        news.push(advert);
                    }
                }
                if !news.is_empty() {
                    self.flood(Some(from), &news);
                    self.changed();
                }
            }
            Message::Digest(theirs) if theirs == self.digest() => {}
            Message::Digest(_) => {
                self.send_all(from);
                self.say(from, Message::Want);
            }
            Message::Want => self.send_all(from),
        }
        std::mem::take(&mut self.actions)
    }

    /// When [`LinkState::tick`] is due, on the driver's scale.
    pub fn next_tick(&self) -> Option<Millis> {
        self.settle_at.into_iter().chain(self.sync_at).min()
    }

    /// Computes routes, compares digests: whatever is due.
    pub fn tick(&mut self, now: Millis) -> Vec<Action> {
        self.now = self.now.max(now);
        if self.sync_at.is_some_and(|at| at <= self.now) {
            self.sync();
        }
        if self.settle_at.is_some_and(|at| at <= self.now) {
            self.settle_at = None;
            self.compute();
        }
        std::mem::take(&mut self.actions)
    }

    /// The way to a node.
    pub fn route(&self, target: &NodeId) -> Option<&Route> {
        self.routes.get(target)
    }

    /// The nodes on the way to the target, it and the first neighbour included, this node not. Empty if no way is
    /// known.
    pub fn path(&self, target: &NodeId) -> Vec<NodeId> {
        let (_, parents) = self.search();
        let mut path = Vec::new();
        let mut at = target;
        while *at != self.params.own {
            path.push(at.clone());
            match parents.get(at) {
                Some(parent) => at = parent,
                None => return Vec::new(),
            }
        }
        path.reverse();
        path
    }

    /// Every node in reach with its confirmed links to others in reach, this node first.
    pub fn graph(&self) -> Vec<(NodeId, Vec<NodeId>)> {
        let reached = |node: &NodeId| *node == self.params.own || self.routes.contains_key(node);
        let own = (self.params.own.clone(), self.neighbours.iter().cloned().collect());
        let others = self.table.iter().filter(|(node, _)| reached(node)).map(|(node, held)| {
            let links = held.advert.links.iter().filter(|to| reached(to) && self.links_to(to, node));
            (node.clone(), links.cloned().collect())
        });
        std::iter::once(own).chain(others).collect()
    }

    /// How many links were looked at since this was asked last: what the driver charges.
    pub fn take_work(&mut self) -> u64 {
        std::mem::take(&mut self.work)
    }

    /// How many nodes' adverts are held.
    pub fn nodes(&self) -> usize {
        self.table.len()
    }

    // --- adverts ---

    fn say(&mut self, to: &NodeId, message: Message) {
        self.actions.push(Action::Send { to: to.clone(), message });
    }

    fn own_advert(&self) -> Advert {
        Advert {
            node: self.params.own.clone(),
            epoch: self.params.epoch,
            version: self.version,
            relays: self.relays,
            links: self.neighbours.iter().cloned().collect(),
        }
    }

    fn advertise(&mut self) {
        self.version += 1;
        let own = self.own_advert();
        self.flood(None, &[own]);
        self.changed();
    }

    fn flood(&mut self, except: Option<&NodeId>, adverts: &[Advert]) {
        let to: Vec<NodeId> = self.neighbours.iter().filter(|to| Some(*to) != except).cloned().collect();
        for to in to {
            self.send_adverts(&to, adverts);
        }
    }

    fn send_adverts(&mut self, to: &NodeId, adverts: &[Advert]) {
        for chunk in adverts.chunks(CHUNK) {
            self.say(to, Message::Adverts(chunk.to_vec()));
        }
    }

    fn send_all(&mut self, to: &NodeId) {
        let mut all = vec![self.own_advert()];
        all.extend(self.table.values().map(|held| held.advert.clone()));
        self.work += all.iter().map(|advert| advert.links.len() as u64).sum::<u64>();
        self.send_adverts(to, &all);
    }

    /// Whether the advert is news.
    fn take(&mut self, advert: &Advert) -> bool {
        let full = self.table.len() >= self.params.max_nodes as usize;
        match self.table.get_mut(&advert.node) {
            Some(held) if (advert.epoch, advert.version) <= (held.advert.epoch, held.advert.version) => return false,
            Some(held) => *held = Held { advert: advert.clone(), at: self.now },
            None if full => return false,
            None => {
                self.table.insert(advert.node.clone(), Held { advert: advert.clone(), at: self.now });
            }
        }
        true
    }

    /// Somebody holds an advert of this node that it did not make, or made before a failure.
    fn refute(&mut self, advert: &Advert) {
        let ours = self.own_advert();
        if advert.epoch == ours.epoch && advert.version >= ours.version && *advert != ours {
            self.version = advert.version;
            self.advertise();
        }
    }

    /// FNV-1a over who advertises and in which version; it finds accidents, not attacks.
    fn digest(&self) -> u64 {
        let own = self.own_advert();
        let mut all: Vec<(&NodeId, u64, u64)> =
            self.table.values().map(|held| (&held.advert.node, held.advert.epoch, held.advert.version)).collect();
        all.push((&own.node, own.epoch, own.version));
        all.sort_unstable();
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut feed = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for (node, epoch, version) in all {
            feed(node.as_bytes());
            feed(&epoch.to_be_bytes());
            feed(&version.to_be_bytes());
        }
        hash
    }

    fn sync(&mut self) {
        self.sync_at = Some(self.now.saturating_add(self.params.sync_period));
        let oldest = self.now.saturating_sub(self.params.forget_after);
        let routes = &self.routes;
        for (node, held) in &mut self.table {
            if routes.contains_key(node) {
                held.at = self.now;
            }
        }
        self.table.retain(|_, held| held.at >= oldest);
        let neighbours: Vec<NodeId> = self.neighbours.iter().cloned().collect();
        self.work += 2 * self.table.len() as u64;
        match self.random.pick(&neighbours) {
            Some(to) => self.say(&to.clone(), Message::Digest(self.digest())),
            None => self.sync_at = None,
        }
    }

    // --- routes ---

    fn changed(&mut self) {
        let at = self.now.saturating_add(self.params.settle);
        self.settle_at.get_or_insert(at);
    }

    fn links_to(&self, from: &NodeId, to: &NodeId) -> bool {
        if *from == self.params.own {
            return self.neighbours.contains(to);
        }
        self.table.get(from).is_some_and(|held| held.advert.links.binary_search(to).is_ok())
    }

    /// Breadth first from this node: routes, and by whom each node was reached. Among ways of equal length the one over
    /// the first name is taken, on every node, so that a change elsewhere moves nothing.
    fn search(&self) -> (BTreeMap<NodeId, Route>, BTreeMap<NodeId, NodeId>) {
        let own = &self.params.own;
        let mut routes = BTreeMap::new();
        let mut parents = BTreeMap::new();
        let mut queue = VecDeque::new();
        for node in self.neighbours.iter().filter(|node| self.links_to(node, own)) {
            routes.insert(node.clone(), Route { via: node.clone(), hops: 1 });
            parents.insert(node.clone(), own.clone());
            queue.push_back(node.clone());
        }
        while let Some(node) = queue.pop_front() {
            let (Some(Held { advert, .. }), Some(Route { via, hops })) =
                (self.table.get(&node), routes.get(&node).cloned())
            else {
                continue;
            };
            if !advert.relays {
                continue;
            }
            for next in &advert.links {
                if next != own && !routes.contains_key(next) && self.links_to(next, &node) {
                    routes.insert(next.clone(), Route { via: via.clone(), hops: hops + 1 });
                    parents.insert(next.clone(), node.clone());
                    queue.push_back(next.clone());
                }
            }
        }
        (routes, parents)
    }

    fn compute(&mut self) {
        let (routes, _) = self.search();
        self.work += self.table.values().map(|held| 4 * held.advert.links.len() as u64 + 1).sum::<u64>();
        let changed: Vec<(NodeId, Route)> = routes
            .iter()
            .filter(|(node, route)| self.routes.get(*node) != Some(*route))
            .map(|(node, route)| (node.clone(), route.clone()))
            .collect();
        let lost: Vec<NodeId> = self.routes.keys().filter(|node| !routes.contains_key(*node)).cloned().collect();
        self.routes = routes;
        if !changed.is_empty() {
            self.actions.push(Action::Changed(changed));
        }
        if !lost.is_empty() {
            self.actions.push(Action::Lost(lost));
        }
    }
}
