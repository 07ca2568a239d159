//! Places in a full active view: who waits for one, and who was asked to give one up.
//!
//! A place is given up by consent. The node that needs it asks a neighbour to go; the neighbour takes it out of its own view
//! and says so, or says that it has no other neighbour that it could rely on. Those that were asked to go themselves
//! are not relied on: two nodes cannot each count on the other's place.

use super::{HyParView, Message, Priority, Why};
use crate::{Millis, NodeId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What a node needs the place for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claimant {
    /// It joins the cluster.
    Joins,
    /// It asked to be a neighbour.
    Asks,
    /// It took this node in when it was asked to.
    Accepted,
}

#[derive(Clone, Debug)]
struct Claim {
    node: NodeId,
    claimant: Claimant,
    deadline: Millis,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Places {
    /// Nodes that wait for a place, at most as many as the passive view has.
    claims: VecDeque<Claim>,
    /// Neighbours that were asked to go, and until when they may answer.
    asked: BTreeMap<NodeId, Millis>,
    /// Neighbours that stay, as long as anybody waits.
    stay: BTreeSet<NodeId>,
}

impl Places {
    pub(super) fn forget(&mut self, node: &NodeId) {
        self.claims.retain(|claim| claim.node != *node);
        self.asked.remove(node);
        self.stay.remove(node);
    }

    /// When something has to be given up.
    pub(super) fn deadline(&self) -> Option<Millis> {
        self.claims.iter().map(|claim| claim.deadline).chain(self.asked.values().copied()).min()
    }
}

impl HyParView {
    /// Takes a node in, now or as soon as a neighbour has made room.
    pub(super) fn admit(&mut self, node: &NodeId, claimant: Claimant) {
        self.requests.remove(node);
        if self.active.contains(node) || !self.full() {
            self.activate(node);
            self.welcome(node, claimant);
        } else if self.places.claims.len() >= self.params.passive_size as usize {
            self.turn_away(node, claimant);
        } else if !self.places.claims.iter().any(|claim| claim.node == *node) {
            let deadline = self.now.saturating_add(self.params.request_timeout);
            self.places.claims.push_back(Claim { node: node.clone(), claimant, deadline });
            self.make_room();
        }
    }

    fn welcome(&mut self, node: &NodeId, claimant: Claimant) {
        if claimant != Claimant::Accepted {
            self.say(node, Message::Accept);
        }
        if claimant == Claimant::Joins {
            self.spread(node);
        }
    }

    fn turn_away(&mut self, node: &NodeId, claimant: Claimant) {
        self.learn(node);
        match claimant {
            Claimant::Joins | Claimant::Asks => self.say(node, Message::Reject),
            // It has this node as a neighbour already: it goes if it can.
            Claimant::Accepted => self.say(node, Message::Yield { instead: None }),
        }
    }

    /// Asks a neighbour for each node that waits. Where all stay, each has room itself, knows who waits, and has asked
    /// it to be its neighbour.
    fn make_room(&mut self) {
        while self.places.asked.len() < self.places.claims.len() {
            let may_go = |node: &&NodeId| !self.places.asked.contains_key(*node) && !self.places.stay.contains(*node);
            let candidates: Vec<&NodeId> = self.active.iter().filter(may_go).collect();
            let Some(node) = self.random.pick(&candidates).map(|&node| node.clone()) else { break };
            let instead = self.places.claims.get(self.places.asked.len()).map(|claim| claim.node.clone());
            self.places.asked.insert(node.clone(), self.now.saturating_add(self.params.request_timeout));
            self.say(&node, Message::Yield { instead });
        }
        if self.places.asked.is_empty() {
            for claim in std::mem::take(&mut self.places.claims) {
                self.turn_away(&claim.node, claim.claimant);
            }
            self.places.stay.clear();
        }
    }

    /// Gives free places to those that wait.
    pub(super) fn settle(&mut self) {
        while !self.full() {
            let Some(claim) = self.places.claims.pop_front() else { break };
            self.activate(&claim.node);
            self.welcome(&claim.node, claim.claimant);
        }
        self.make_room();
    }

    /// A node needs the place that this one has in its view.
    pub(super) fn asked_to_go(&mut self, from: &NodeId, instead: Option<NodeId>) {
        let relies_on = |node: &&NodeId| *node != from && !self.places.asked.contains_key(*node);
        if self.active.contains(from) && !self.active.iter().any(|node| relies_on(&node)) {
            self.say(from, Message::Keep);
        } else {
            self.say(from, Message::Disconnect);
            self.let_go(from);
        }
        let Some(node) = instead.filter(|node| *node != self.params.own) else { return };
        if !self.full() && !self.active.contains(&node) && !self.requests.contains_key(&node) {
            let priority = if self.active.is_empty() { Priority::High } else { Priority::Low };
            self.ask(&node, Why::Repair, Message::Neighbour(priority));
        }
    }

    /// A node has taken this one out of its view.
    pub(super) fn gone(&mut self, from: &NodeId) {
        self.places.asked.remove(from);
        self.let_go(from);
    }

    fn let_go(&mut self, node: &NodeId) {
        if self.active.contains(node) {
            self.deactivate(node);
            self.learn(node);
            // It has no room for this node: that is why they parted.
            self.avoid(node);
            self.settle();
        }
    }

    /// A node that was asked to go has no other neighbour.
    pub(super) fn stays(&mut self, from: &NodeId) {
        if !self.active.contains(from) {
            // It relies on a node that does not have it in its view: it must be there.
            self.admit(from, Claimant::Accepted);
        } else if self.places.asked.remove(from).is_some() {
            self.places.stay.insert(from.clone());
            self.make_room();
        }
    }

    /// Gives up what took too long.
    pub(super) fn expire_places(&mut self) {
        let now = self.now;
        if self.places.deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        self.places.asked.retain(|_, deadline| *deadline > now);
        let (waiting, late) = std::mem::take(&mut self.places.claims).into_iter().partition(|c| c.deadline > now);
        self.places.claims = waiting;
        let late: VecDeque<Claim> = late;
        for claim in late {
            self.turn_away(&claim.node, claim.claimant);
        }
        self.make_room();
    }
}
