//! Plumtree: a broadcast along a tree that the broadcasts themselves find, mended by announcements on the other links.
//!
//! Leitão, Pereira, Rodrigues, "Epidemic broadcast trees", SRDS 2007. Works over any overlay whose edges go both ways. Beyond
//! the paper, a new neighbour is told what was broadcast a moment ago ([`PlumtreeParams::announce_for`]): a repair of the
//! overlay then mends a broadcast that was under way; and so is a neighbour that is reached in another way than before. One end of a link knows of it before the other, so what comes from a
//! node that is no neighbour yet is kept until it is one.

use crate::{
    codec::{DecodeError, Reader, Wire, Writer},
    params::Checks,
    Millis, NodeId, OverlayError, Payload,
};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Which broadcast.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BroadcastId {
    /// Who made it.
    pub origin: NodeId,
    /// The origin's incarnation: its numbers begin anew with each.
    pub epoch: u64,
    /// Counts the origin's broadcasts.
    pub number: u64,
}

/// What two machines say to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The broadcast itself, eagerly.
    Gossip {
        /// Which.
        id: BroadcastId,
        /// How many links it has passed.
        hops: u32,
        /// Its content.
        payload: Payload,
    },
    /// Broadcasts that the sender has, with the links they passed.
    IHave(Vec<(BroadcastId, u32)>),
    /// Send me this, and whatever comes, eagerly.
    Graft(BroadcastId),
    /// Announce only: I get it from another.
    Prune,
}

/// Parameters of [`Plumtree`]; times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlumtreeParams {
    /// This node.
    pub own: NodeId,
    /// Its incarnation, greater with each boot.
    pub epoch: u64,
    /// How long an announced broadcast may take to come by itself, 1 to 3,600,000: longer than the slowest path of the
    /// tree.
    pub missing_timeout: Millis,
    /// How long one that was asked for may take before the next announcer is asked, 1 to 3,600,000.
    pub graft_timeout: Millis,
    /// An announcer takes the sender's place in the tree when its path is this much shorter, at least 1.
    pub threshold: u32,
    /// How many broadcasts it remembers to recognise a second copy, 1 to 1,048,576.
    pub max_seen: u32,
    /// How many bytes of them it keeps to answer who asks, up to 1 GiB.
    pub max_cached_bytes: u64,
    /// How many announced broadcasts it waits for, 1 to 1,048,576.
    pub max_missing: u32,
    /// For how long a broadcast is announced to new neighbours, up to 3,600,000; 0 for never. A node that joins within that
    /// time gets it too.
    pub announce_for: Millis,
}

impl PlumtreeParams {
    /// The defaults: 1 s and 250 ms, threshold 7, 16,384 broadcasts, 16 MiB, 4,096 missing, announced for 5 s.
    pub fn new(own: NodeId, epoch: u64) -> Self {
        Self {
            own,
            epoch,
            missing_timeout: 1_000,
            graft_timeout: 250,
            threshold: 7,
            max_seen: 16_384,
            max_cached_bytes: 16 << 20,
            max_missing: 4_096,
            announce_for: 5_000,
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hand the message to the tree of a neighbour.
    Send {
        /// For whom.
        to: NodeId,
        /// What to say.
        message: Message,
    },
    /// A broadcast of another node has come, for the first time.
    Deliver {
        /// Which.
        id: BroadcastId,
        /// How many links it passed.
        hops: u32,
        /// Its content.
        payload: Payload,
    },
}

#[derive(Clone, Debug)]
struct Seen {
    payload: Option<Payload>,
    hops: u32,
    at: Millis,
}

#[derive(Clone, Debug)]
struct Missing {
    announcers: VecDeque<(NodeId, u32)>,
    deadline: Millis,
}

#[derive(Clone, Debug)]
struct Early {
    from: NodeId,
    id: BroadcastId,
    hops: u32,
    at: Millis,
}

/// How many announcements of nodes that are no neighbours are remembered.
const EARLY: usize = 256;
/// How many broadcasts a new neighbour is told of.
const ANNOUNCED: usize = 32;
/// How many announcers of one broadcast are remembered.
const ANNOUNCERS: usize = 8;

/// The tree as a state machine. Its driver tells it the neighbours of the overlay, and asks [`Plumtree::next_tick`] after
/// each call.
///
/// # Guarantees
/// - A broadcast is delivered at most once, as long as no copy comes after `max_seen` others; its origin delivers nothing.
/// - It reaches all nodes that stay connected by neighbours that live; that, and no more, is what an unacknowledged broadcast
///   promises.
#[derive(Clone, Debug)]
pub struct Plumtree {
    params: PlumtreeParams,
    now: Millis,
    number: u64,
    eager: BTreeSet<NodeId>,
    lazy: BTreeSet<NodeId>,
    seen: BTreeMap<BroadcastId, Seen>,
    /// In the order they came.
    order: VecDeque<BroadcastId>,
    /// Those whose payload is kept, in the order they came.
    cached: VecDeque<BroadcastId>,
    cached_bytes: u64,
    missing: BTreeMap<BroadcastId, Missing>,
    /// Announced by nodes that are no neighbours yet, in the order they came.
    early: VecDeque<Early>,
    actions: Vec<Action>,
}

impl Plumtree {
    /// A tree without neighbours, or all parameters that are out of their range.
    pub fn new(params: PlumtreeParams) -> Result<Self, OverlayError> {
        const HOUR: Millis = 3_600_000;
        let mut checks = Checks::default();
        checks.range("missing_timeout", params.missing_timeout, 1, HOUR);
        checks.range("graft_timeout", params.graft_timeout, 1, HOUR);
        checks.at_least_one("threshold", params.threshold);
        checks.range("max_seen", params.max_seen.into(), 1, 1 << 20);
        checks.range("max_cached_bytes", params.max_cached_bytes, 0, 1 << 30);
        checks.range("max_missing", params.max_missing.into(), 1, 1 << 20);
        checks.range("announce_for", params.announce_for, 0, HOUR);
        checks.done()?;
        Ok(Self {
            params,
            now: 0,
            number: 0,
            eager: BTreeSet::new(),
            lazy: BTreeSet::new(),
            seen: BTreeMap::new(),
            order: VecDeque::new(),
            cached: VecDeque::new(),
            cached_bytes: 0,
            missing: BTreeMap::new(),
            early: VecDeque::new(),
            actions: Vec::new(),
        })
    }

    /// The node begins a new life, with a greater incarnation.
    pub fn live_again(&mut self, epoch: u64) {
        if epoch > self.params.epoch {
            (self.params.epoch, self.number) = (epoch, 0);
        }
    }

    /// The overlay has a new neighbour. It is a child of the tree until it says otherwise.
    pub fn neighbour_up(&mut self, now: Millis, node: &NodeId) -> Vec<Action> {
        self.now = self.now.max(now);
        if !self.eager.contains(node) && !self.lazy.contains(node) {
            self.eager.insert(node.clone());
            self.announce_recent(node);
            let since = self.now.saturating_sub(self.params.announce_for);
            let (theirs, others): (VecDeque<_>, _) = self.early.drain(..).partition(|early| early.from == *node);
            self.early = others;
            for early in theirs.into_iter().filter(|early| early.at >= since) {
                self.announced(node, early.id, early.hops);
            }
        }
        std::mem::take(&mut self.actions)
    }

    /// The way to a neighbour is another one than before: what was under way on the earlier one may be lost, and nobody asks for
    /// what he never heard of.
    pub fn renewed(&mut self, now: Millis, node: &NodeId) -> Vec<Action> {
        self.now = self.now.max(now);
        if self.eager.contains(node) || self.lazy.contains(node) {
            self.announce_recent(node);
        }
        std::mem::take(&mut self.actions)
    }

    /// The overlay lost a neighbour.
    pub fn neighbour_down(&mut self, node: &NodeId) {
        self.eager.remove(node);
        self.lazy.remove(node);
        for missing in self.missing.values_mut() {
            missing.announcers.retain(|(announcer, _)| announcer != node);
        }
    }

    /// Broadcasts a payload of this node.
    pub fn broadcast(&mut self, now: Millis, payload: Payload) -> (BroadcastId, Vec<Action>) {
        self.now = self.now.max(now);
        let id = BroadcastId { origin: self.params.own.clone(), epoch: self.params.epoch, number: self.number };
        self.number += 1;
        self.remember(&id, 0, &payload);
        self.push(&id, 0, &payload, None);
        (id, std::mem::take(&mut self.actions))
    }

    /// A neighbour's tree sent a message.
    pub fn received(&mut self, now: Millis, from: &NodeId, message: Message) -> Vec<Action> {
        self.now = self.now.max(now);
        match message {
            Message::Gossip { id, hops, payload } if self.known(&id) => {
                drop((id, hops, payload));
                self.prune(from);
                self.say(from, Message::Prune);
            }
            Message::Gossip { id, hops, payload } => self.gossip(from, id, hops, payload),
            Message::IHave(ids) => {
                for (id, hops) in ids {
                    self.announced(from, id, hops);
                }
            }
            Message::Graft(id) => {
                self.graft(from);
                if let Some(Seen { payload: Some(payload), hops, .. }) = self.seen.get(&id) {
                    let message = Message::Gossip { hops: hops.saturating_add(1), payload: payload.clone(), id };
                    self.say(from, message);
                }
            }
            Message::Prune => self.prune(from),
        }
        std::mem::take(&mut self.actions)
    }

    /// When [`Plumtree::tick`] is due, on the driver's scale.
    pub fn next_tick(&self) -> Option<Millis> {
        self.missing.values().map(|missing| missing.deadline).min()
    }

    /// Asks for the broadcasts that were announced and did not come.
    pub fn tick(&mut self, now: Millis) -> Vec<Action> {
        self.now = self.now.max(now);
        let due = self.missing.iter().filter(|(_, missing)| missing.deadline <= self.now);
        for id in due.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            let announcer = self.missing.get_mut(&id).and_then(|missing| {
                missing.deadline = self.now.saturating_add(self.params.graft_timeout);
                missing.announcers.pop_front()
            });
            if let Some((announcer, _)) = announcer {
                self.graft(&announcer);
                self.say(&announcer, Message::Graft(id));
            } else {
                // Nobody is left to ask. It is missing again when it is announced again.
                self.missing.remove(&id);
            }
        }
        std::mem::take(&mut self.actions)
    }

    /// The neighbours that broadcasts go to at once.
    pub fn eager(&self) -> impl Iterator<Item = &NodeId> {
        self.eager.iter()
    }

    /// The neighbours that broadcasts are only announced to.
    pub fn lazy(&self) -> impl Iterator<Item = &NodeId> {
        self.lazy.iter()
    }

    fn announce_recent(&mut self, node: &NodeId) {
        let since = self.now.saturating_sub(self.params.announce_for);
        let recent = self.order.iter().rev().take(ANNOUNCED).filter_map(|id| Some((id, self.seen.get(id)?)));
        let ids: Vec<_> = recent
            .filter(|(_, seen)| self.params.announce_for > 0 && seen.at >= since && seen.payload.is_some())
            .map(|(id, seen)| (id.clone(), seen.hops.saturating_add(1)))
            .collect();
        if !ids.is_empty() {
            self.say(node, Message::IHave(ids));
        }
    }

    fn say(&mut self, to: &NodeId, message: Message) {
        self.actions.push(Action::Send { to: to.clone(), message });
    }

    fn known(&self, id: &BroadcastId) -> bool {
        // What is of this node, it has made: an earlier life's is no news to it.
        id.origin == self.params.own || self.seen.contains_key(id)
    }

    fn gossip(&mut self, from: &NodeId, id: BroadcastId, hops: u32, payload: Payload) {
        self.actions.push(Action::Deliver { id: id.clone(), hops, payload: payload.clone() });
        self.remember(&id, hops, &payload);
        self.graft(from);
        let missing = self.missing.remove(&id);
        self.push(&id, hops, &payload, Some(from));
        // Section 3.8 of the paper: an announcer much nearer to the origin takes the sender's place.
        let nearest = missing.into_iter().flat_map(|m| m.announcers).min_by_key(|(_, hops)| *hops);
        if let Some((announcer, shorter)) = nearest {
            if shorter.saturating_add(self.params.threshold) <= hops && announcer != *from {
                self.graft(&announcer);
                self.prune(from);
                self.say(&announcer, Message::Graft(id));
                self.say(from, Message::Prune);
            }
        }
    }

    fn push(&mut self, id: &BroadcastId, hops: u32, payload: &Payload, except: Option<&NodeId>) {
        let hops = hops.saturating_add(1);
        for to in self.eager.iter().filter(|to| Some(*to) != except) {
            let message = Message::Gossip { id: id.clone(), hops, payload: payload.clone() };
            self.actions.push(Action::Send { to: to.clone(), message });
        }
        for to in self.lazy.iter().filter(|to| Some(*to) != except) {
            self.actions.push(Action::Send { to: to.clone(), message: Message::IHave(vec![(id.clone(), hops)]) });
        }
    }

    fn announced(&mut self, from: &NodeId, id: BroadcastId, hops: u32) {
        if self.known(&id) {
            return;
        }
        if !self.eager.contains(from) && !self.lazy.contains(from) {
            if self.early.len() >= EARLY {
                self.early.pop_front();
            }
            self.early.push_back(Early { from: from.clone(), id, hops, at: self.now });
            return;
        }
        if !self.missing.contains_key(&id) && self.missing.len() >= self.params.max_missing as usize {
            return;
        }
        let deadline = self.now.saturating_add(self.params.missing_timeout);
        let missing = self.missing.entry(id).or_insert_with(|| Missing { announcers: VecDeque::new(), deadline });
        if missing.announcers.len() < ANNOUNCERS {
            missing.announcers.push_back((from.clone(), hops));
        }
    }

    /// Only neighbours are in the tree: a message that was under way when the overlay dropped its sender changes nothing.
    fn graft(&mut self, node: &NodeId) {
        if self.lazy.remove(node) {
            self.eager.insert(node.clone());
        }
    }

    fn prune(&mut self, node: &NodeId) {
        if self.eager.remove(node) {
            self.lazy.insert(node.clone());
        }
    }

    fn remember(&mut self, id: &BroadcastId, hops: u32, payload: &Payload) {
        if self.order.len() >= self.params.max_seen as usize {
            if let Some(seen) = self.order.pop_front().and_then(|oldest| self.seen.remove(&oldest)) {
                if let Some(payload) = seen.payload {
                    self.cached_bytes -= payload.len() as u64;
                    self.cached.pop_front();
                }
            }
        }
        let size = payload.len() as u64;
        let kept = size <= self.params.max_cached_bytes;
        while kept && self.cached_bytes + size > self.params.max_cached_bytes {
            let Some(oldest) = self.cached.pop_front() else { break };
            let dropped = self.seen.get_mut(&oldest).and_then(|seen| seen.payload.take());
            self.cached_bytes -= dropped.map_or(0, |payload| payload.len() as u64);
        }
        if kept {
            self.cached_bytes += size;
            self.cached.push_back(id.clone());
        }
        self.order.push_back(id.clone());
        self.seen.insert(id.clone(), Seen { payload: kept.then(|| payload.clone()), hops, at: self.now });
    }
}

impl Wire for BroadcastId {
    fn write(&self, to: &mut Writer) {
        to.node(&self.origin);
        to.number(self.epoch);
        to.number(self.number);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { origin: from.node()?, epoch: from.number()?, number: from.number()? })
    }
}

impl Wire for Message {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Gossip { id, hops, payload } => {
                to.byte(0);
                id.write(to);
                to.number((*hops).into());
                to.bytes(payload);
            }
            Self::IHave(ids) => {
                to.byte(1);
                to.list(ids, |to, (id, hops)| {
                    id.write(to);
                    to.number((*hops).into());
                });
            }
            Self::Graft(id) => {
                to.byte(2);
                id.write(to);
            }
            Self::Prune => to.byte(3),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.byte()? {
            0 => Self::Gossip { id: Wire::read(from)?, hops: from.small()?, payload: from.payload()? },
            1 => Self::IHave(from.list(|from| Ok((Wire::read(from)?, from.small()?)))?),
            2 => Self::Graft(Wire::read(from)?),
            3 => Self::Prune,
            kind => return Err(DecodeError::Kind(kind)),
        })
    }
}

#[cfg(test)]
#[path = "plumtree_tests.rs"]
mod tests;
