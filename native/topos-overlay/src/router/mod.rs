//! Carrying a message to a node that is no neighbour, over any overlay.
//!
//! The way is found when it is needed, as in AODV (Perkins, Belding-Royer, Das, RFC 3561): a question goes to all nodes,
//! each of which passes it on once and remembers from whom it first came; the target answers along these
//! remembered steps, and both ends have a route. From end to end a message is numbered, acknowledged, and sent again until it
//! is; the target recognises copies. What that guarantees stands at [`Router`], and why it is done like this in
//! `docs/decisions/0004-routes-on-demand.md`.

mod inbox;
mod message;
#[cfg(test)]
mod tests;

pub use message::{Message, Parcel};

use crate::{params::Checks, Millis, NodeId, OverlayError, Payload};
use inbox::{Inbox, Verdict};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Parameters of [`Router`]; times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterParams {
    /// This node.
    pub own: NodeId,
    /// Its incarnation, greater with each boot.
    pub epoch: u64,
    /// How many links a message passes at most, 1 to 255.
    pub max_hops: u8,
    /// How long an acknowledgement may take before the message is sent again, over a new route, 1 to 3,600,000.
    pub retry_after: Millis,
    /// How often a message is sent, 1 to 100, before its sender is told that it is in doubt.
    pub attempts: u32,
    /// How many messages of this node may be unacknowledged to one target, 1 to 4,096.
    pub window: u32,
    /// How many to all targets, 1 to 1,048,576.
    pub max_unacknowledged: u32,
    /// How many routes are remembered, 1 to 1,048,576; the one that was learned longest ago gives way.
    pub max_routes: u32,
    /// How many questions are remembered so as to be passed on once, 1 to 1,048,576.
    pub max_questions: u32,
    /// How many sources may send to this node at a time, 1 to 1,048,576.
    pub max_sources: u32,
}

impl RouterParams {
    /// The defaults: 32 links, 5 attempts every 2 s, 64 unacknowledged a target and 4,096 in all, 4,096 routes and
    /// questions, 16,384 sources.
    pub fn new(own: NodeId, epoch: u64) -> Self {
        Self {
            own,
            epoch,
            max_hops: 32,
            retry_after: 2_000,
            attempts: 5,
            window: 64,
            max_unacknowledged: 4_096,
            max_routes: 4_096,
            max_questions: 4_096,
            max_sources: 16_384,
        }
    }
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Hand the message to the router of a neighbour.
    Send {
        /// For whom.
        to: NodeId,
        /// What to say.
        message: Message,
    },
    /// A message for this node has come.
    Deliver {
        /// Who sent it.
        source: NodeId,
        /// Its content.
        payload: Payload,
    },
    /// The message with this number was delivered.
    Done(u64),
    /// The message with this number is in doubt: it was not acknowledged, and is not sent again.
    GivenUp {
        /// Its number.
        number: u64,
        /// For whom it was.
        target: NodeId,
    },
}

/// Why a message is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Too many are unacknowledged.
    #[error("{limit} messages are unacknowledged already")]
    Overloaded {
        /// The bound that is reached.
        limit: u32,
    },
}

#[derive(Clone, Debug)]
struct Outgoing {
    payload: Payload,
    /// Zero while it waits for a route.
    attempts: u32,
    deadline: Millis,
}

/// Routing as a state machine. Its driver tells it the neighbours of the overlay, and asks [`Router::next_tick`] after each
/// call.
///
/// # Guarantees
/// - A message is delivered at most once, to the target's present life. When its source hears [`Action::Done`] it was delivered
///   exactly once; after [`Action::GivenUp`] it was delivered once or not at all, and the source knows that it does not know.
/// - As long as the overlay connects the two nodes, a failure on the way costs one more attempt.
/// - Order is not kept: lanes above do that.
///
/// A question costs each node one message a link. A node whose neighbour is the target asks nobody else.
#[derive(Clone, Debug)]
pub struct Router {
    params: RouterParams,
    relays: bool,
    now: Millis,
    number: u64,
    questions: u64,
    neighbours: BTreeSet<NodeId>,
    /// Target to neighbour.
    routes: BTreeMap<NodeId, NodeId>,
    routes_by_age: VecDeque<NodeId>,
    outgoing: BTreeMap<(NodeId, u64), Outgoing>,
    asked: BTreeSet<(NodeId, u64, u64)>,
    asked_by_age: VecDeque<(NodeId, u64, u64)>,
    inbox: Inbox,
    actions: Vec<Action>,
}

impl Router {
    /// A router without neighbours, or all parameters that are out of their range. Who does not relay passes nothing on.
    pub fn new(params: RouterParams, relays: bool) -> Result<Self, OverlayError> {
        let mut checks = Checks::default();
        checks.range("max_hops", params.max_hops.into(), 1, 255);
        checks.range("retry_after", params.retry_after, 1, 3_600_000);
        checks.range("attempts", params.attempts.into(), 1, 100);
        checks.range("window", params.window.into(), 1, 4_096);
        for (name, got) in [
            ("max_unacknowledged", params.max_unacknowledged),
            ("max_routes", params.max_routes),
            ("max_questions", params.max_questions),
            ("max_sources", params.max_sources),
        ] {
            checks.range(name, got.into(), 1, 1 << 20);
        }
        checks.done()?;
        // A source's last copy may be under way for this long after the first.
        let idle = params.retry_after.saturating_mul(u64::from(params.attempts) + 1);
        Ok(Self {
            relays,
            now: 0,
            number: 0,
            questions: 0,
            neighbours: BTreeSet::new(),
            routes: BTreeMap::new(),
            routes_by_age: VecDeque::new(),
            outgoing: BTreeMap::new(),
            asked: BTreeSet::new(),
            asked_by_age: VecDeque::new(),
            inbox: Inbox::new(params.max_sources as usize, idle),
            actions: Vec::new(),
            params,
        })
    }

    /// The overlay has a new neighbour.
    pub fn neighbour_up(&mut self, node: &NodeId) {
        self.neighbours.insert(node.clone());
    }

    /// The overlay lost a neighbour, and with it the routes over it.
    pub fn neighbour_down(&mut self, node: &NodeId) {
        self.neighbours.remove(node);
        self.routes.retain(|_, via| via != node);
        let routes = &self.routes;
        self.routes_by_age.retain(|target| routes.contains_key(target));
    }

    /// Sends a message; its number is in [`Action::Done`] or [`Action::GivenUp`] later.
    pub fn send(&mut self, now: Millis, target: &NodeId, payload: Payload) -> Result<(u64, Vec<Action>), Refusal> {
        self.now = self.now.max(now);
        let limit = self.params.max_unacknowledged;
        if self.outgoing.len() >= limit as usize {
            return Err(Refusal::Overloaded { limit });
        }
        let limit = self.params.window;
        if self.unacknowledged(target).count() >= limit as usize {
            return Err(Refusal::Overloaded { limit });
        }
        let number = self.number;
        self.number += 1;
        if *target == self.params.own {
            self.actions.push(Action::Deliver { source: target.clone(), payload });
            self.actions.push(Action::Done(number));
        } else {
            let waiting = self.unacknowledged(target).any(|(_, sent)| sent.attempts == 0);
            let deadline = self.now.saturating_add(self.params.retry_after);
            self.outgoing.insert((target.clone(), number), Outgoing { payload, attempts: 0, deadline });
            // A question for the target is under way already if another message waits for its answer.
            if self.next_hop(target).is_some() {
                self.dispatch(target, number);
            } else if !waiting {
                self.ask(target);
            }
        }
        Ok((number, std::mem::take(&mut self.actions)))
    }

    /// A neighbour's router sent a message.
    pub fn received(&mut self, now: Millis, from: &NodeId, message: Message) -> Vec<Action> {
        self.now = self.now.max(now);
        match message {
            Message::Find { source, epoch, number, target, ttl } => self.find(from, source, epoch, number, target, ttl),
            Message::Found { source, target, ttl } => {
                self.learn(&target, from);
                if source == self.params.own {
                    for number in self.waiting(&target) {
                        self.dispatch(&target, number);
                    }
                } else {
                    self.pass(&source.clone(), ttl, |ttl| Message::Found { source, target, ttl });
                }
            }
            Message::Carry { parcel, floor, ttl, payload } => self.carry(from, parcel, floor, ttl, payload),
            Message::Delivered { parcel, ttl } => {
                self.learn_first(&parcel.target, from);
                if parcel.source != self.params.own {
                    self.pass(&parcel.source.clone(), ttl, |ttl| Message::Delivered { parcel, ttl });
                } else if parcel.epoch == self.params.epoch
                    && self.outgoing.remove(&(parcel.target, parcel.number)).is_some()
                {
                    self.actions.push(Action::Done(parcel.number));
                }
            }
            Message::Lost { source, target, ttl } => {
                if self.routes.get(&target) == Some(from) {
                    self.unlearn(&target);
                }
                if source == self.params.own {
                    self.lost(&target);
                } else {
                    self.pass(&source.clone(), ttl, |ttl| Message::Lost { source, target, ttl });
                }
            }
        }
        std::mem::take(&mut self.actions)
    }

    /// When [`Router::tick`] is due, on the driver's scale.
    pub fn next_tick(&self) -> Option<Millis> {
        self.outgoing.values().map(|sent| sent.deadline).min()
    }

    /// Sends again what was not acknowledged in time, over a new route, or gives it up.
    pub fn tick(&mut self, now: Millis) -> Vec<Action> {
        self.now = self.now.max(now);
        let due = self.outgoing.iter().filter(|(_, sent)| sent.deadline <= self.now).map(|(key, _)| key.clone());
        let due: Vec<(NodeId, u64)> = due.collect();
        let mut targets = BTreeSet::new();
        for key in due {
            let Some(sent) = self.outgoing.get_mut(&key) else { continue };
            // A question without an answer counts as an attempt.
            sent.attempts += 1;
            sent.deadline = self.now.saturating_add(self.params.retry_after);
            if sent.attempts > self.params.attempts {
                self.outgoing.remove(&key);
                self.actions.push(Action::GivenUp { number: key.1, target: key.0 });
            } else {
                targets.insert(key.0);
            }
        }
        for target in targets {
            self.lost(&target);
        }
        std::mem::take(&mut self.actions)
    }

    /// The neighbour that a message to the target goes to, if that is known.
    pub fn next_hop(&self, target: &NodeId) -> Option<&NodeId> {
        self.neighbours.get(target).or_else(|| self.routes.get(target))
    }

    // --- this node's messages ---

    fn unacknowledged(&self, target: &NodeId) -> impl Iterator<Item = (u64, &Outgoing)> {
        let range = (target.clone(), 0)..=(target.clone(), u64::MAX);
        self.outgoing.range(range).map(|((_, number), sent)| (*number, sent))
    }

    fn waiting(&self, target: &NodeId) -> Vec<u64> {
        self.unacknowledged(target).map(|(number, _)| number).collect()
    }

    fn dispatch(&mut self, target: &NodeId, number: u64) {
        let Some(to) = self.next_hop(target).cloned() else { return };
        let floor = self.unacknowledged(target).next().map_or(number, |(lowest, _)| lowest);
        let Some(sent) = self.outgoing.get_mut(&(target.clone(), number)) else { return };
        sent.attempts = sent.attempts.max(1);
        let parcel =
            Parcel { source: self.params.own.clone(), epoch: self.params.epoch, number, target: target.clone() };
        let message = Message::Carry { parcel, floor, ttl: self.params.max_hops, payload: sent.payload.clone() };
        self.actions.push(Action::Send { to, message });
    }

    fn ask(&mut self, target: &NodeId) {
        let (source, epoch, number) = (self.params.own.clone(), self.params.epoch, self.questions);
        self.questions += 1;
        self.remember_question((source.clone(), epoch, number));
        let (target, ttl) = (target.clone(), self.params.max_hops);
        self.flood(None, Message::Find { source, epoch, number, target, ttl });
    }

    /// The route is broken. A neighbour needs none; anybody else is looked for again.
    fn lost(&mut self, target: &NodeId) {
        self.unlearn(target);
        if self.neighbours.contains(target) {
            for number in self.waiting(target) {
                self.dispatch(target, number);
            }
        } else if self.unacknowledged(target).next().is_some() {
            self.ask(target);
        }
    }

    // --- on the way ---

    fn find(&mut self, from: &NodeId, source: NodeId, epoch: u64, number: u64, target: NodeId, ttl: u8) {
        if source == self.params.own || !self.remember_question((source.clone(), epoch, number)) {
            return;
        }
        self.learn(&source, from);
        if target == self.params.own {
            let ttl = self.params.max_hops;
            self.actions.push(Action::Send { to: from.clone(), message: Message::Found { source, target, ttl } });
        } else if self.relays && ttl > 1 {
            let message = Message::Find { source, epoch, number, target: target.clone(), ttl: ttl - 1 };
            if self.neighbours.contains(&target) {
                self.actions.push(Action::Send { to: target, message });
            } else {
                self.flood(Some(from), message);
            }
        }
    }

    fn carry(&mut self, from: &NodeId, parcel: Parcel, floor: u64, ttl: u8, payload: Payload) {
        self.learn_first(&parcel.source, from);
        if parcel.target != self.params.own {
            let (source, target) = (parcel.source.clone(), parcel.target.clone());
            let message = |ttl| Message::Carry { parcel, floor, ttl, payload };
            if self.relays && self.pass(&target, ttl, message) == Passed::NoRoute {
                self.unlearn(&target);
                let lost = |ttl| Message::Lost { source: source.clone(), target, ttl };
                self.pass(&source.clone(), self.params.max_hops, lost);
            }
            return;
        }
        let verdict = self.inbox.take(self.now, &parcel.source, parcel.epoch, parcel.number, floor);
        if verdict == Verdict::New {
            self.actions.push(Action::Deliver { source: parcel.source.clone(), payload });
        }
        // Without room to recognise copies it is not taken, and not acknowledged: the source tries again.
        if verdict != Verdict::NoRoom {
            // Back the way it came: that is where the source can be reached from, now.
            let message = Message::Delivered { parcel, ttl: self.params.max_hops };
            self.actions.push(Action::Send { to: from.clone(), message });
        }
    }

    fn pass(&mut self, target: &NodeId, ttl: u8, message: impl FnOnce(u8) -> Message) -> Passed {
        if !self.relays || ttl <= 1 {
            return Passed::Ended;
        }
        let Some(to) = self.next_hop(target).cloned() else { return Passed::NoRoute };
        self.actions.push(Action::Send { to, message: message(ttl - 1) });
        Passed::On
    }

    fn flood(&mut self, except: Option<&NodeId>, message: Message) {
        for to in self.neighbours.iter().filter(|to| Some(*to) != except) {
            self.actions.push(Action::Send { to: to.clone(), message: message.clone() });
        }
    }

    // --- what is remembered ---

    fn learn(&mut self, target: &NodeId, via: &NodeId) {
        if *target == self.params.own || !self.neighbours.contains(via) {
            return;
        }
        if self.routes.insert(target.clone(), via.clone()).is_none() {
            self.routes_by_age.push_back(target.clone());
            if self.routes.len() > self.params.max_routes as usize {
                if let Some(oldest) = self.routes_by_age.pop_front() {
                    self.routes.remove(&oldest);
                }
            }
        }
    }

    /// A message that passes shows a way back; one that is known may be shorter.
    fn learn_first(&mut self, target: &NodeId, via: &NodeId) {
        if !self.routes.contains_key(target) {
            self.learn(target, via);
        }
    }

    fn unlearn(&mut self, target: &NodeId) {
        if self.routes.remove(target).is_some() {
            self.routes_by_age.retain(|known| known != target);
        }
    }

    /// Whether it is new.
    fn remember_question(&mut self, question: (NodeId, u64, u64)) -> bool {
        if !self.asked.insert(question.clone()) {
            return false;
        }
        self.asked_by_age.push_back(question);
        if self.asked.len() > self.params.max_questions as usize {
            if let Some(oldest) = self.asked_by_age.pop_front() {
                self.asked.remove(&oldest);
            }
        }
        true
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Passed {
    On,
    /// It had passed enough links, or this node does not relay.
    Ended,
    NoRoute,
}
