//! SWIM: who of the members answers, found out at a cost that does not grow with the cluster.
//!
//! Das, Gupta, Motivala, "SWIM: scalable weakly-consistent infection-style process group membership protocol", DSN 2002, with
//! suspicion, incarnations and round-robin probes (sections 4.2 and 4.3). From Lifeguard (Dadgar, Phillips, Currey, 2018) comes that a
//! node under suspicion is told so with every probe. Beyond both, whoever suspects a node asks it again before the time is up; and a node that finds it was itself stopped blames nobody for the time it
//! missed. Why this is a machine of this crate: `docs/decisions/0003-own-swim.md`.

mod message;
#[cfg(test)]
mod tests;

pub use message::{Message, Status, Update};

use crate::{params::Checks, Millis, NodeId, OverlayError, Random};
use std::collections::{BTreeMap, VecDeque};

/// Parameters of [`Swim`]; times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SwimParams {
    /// This node.
    pub own: NodeId,
    /// Its incarnation at the start, greater than that of its last life.
    pub incarnation: u64,
    /// The time between two probes, 10 to 3,600,000.
    pub period: Millis,
    /// How long a direct answer may take before others are asked to ask, 1 to `period` - 1.
    pub ping_timeout: Millis,
    /// How many others are asked, up to 32.
    pub indirect: u32,
    /// For how many periods a suspicion may be refuted, 1 to 1,000.
    pub suspicion_periods: u32,
    /// How many news go with a message, 1 to 64.
    pub updates_per_message: u32,
    /// News are passed on this many times the binary logarithm of the members, 1 to 16.
    pub retransmit: u32,
    /// How many members it watches, 1 to 1,048,576.
    pub max_members: u32,
}

impl SwimParams {
    /// The defaults: a probe every second, 300 ms for the direct answer, 3 others, 8 periods of suspicion, 8 news a message, passed on
    /// 3 log n times, 16,384 members.
    pub fn new(own: NodeId, incarnation: u64) -> Self {
        Self {
            own,
            incarnation,
            period: 1_000,
            ping_timeout: 300,
            indirect: 3,
            suspicion_periods: 8,
            updates_per_message: 8,
            retransmit: 3,
            max_members: 16_384,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The node is a member: it is watched from now on, and counts as alive until it does not answer.
    Joined(NodeId),
    /// It is no member any more.
    Left(NodeId),
    /// A message has come.
    Received {
        /// Who sent it. The driver vouches for it.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// The time of a scheduled tick has come.
    Tick,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send the message; it may be lost.
    Send {
        /// For whom.
        to: NodeId,
        /// What to say.
        message: Message,
    },
    /// What is known of a member has changed.
    Changed {
        /// Which.
        node: NodeId,
        /// What it is now.
        status: Status,
    },
    /// Send [`Event::Tick`] after this many milliseconds, instead of the tick scheduled before.
    ScheduleTick(Millis),
}

#[derive(Clone, Copy, Debug)]
struct Member {
    incarnation: u64,
    status: Status,
}

#[derive(Clone, Debug)]
struct Probe {
    target: NodeId,
    number: u64,
    /// When others are asked, until they are.
    indirect_at: Option<Millis>,
}

/// A question that this node passed on: whose it is.
#[derive(Clone, Debug)]
struct Errand {
    number: u64,
    origin: NodeId,
    asked_as: u64,
}

/// How many questions of others are under way at a time; the oldest gives way.
const MAX_ERRANDS: usize = 256;

/// The failure detector as a state machine.
///
/// # Guarantees
/// - In each period a node sends one probe, at most `indirect` messages on its behalf, and as many to
///   suspects if there are any, however many members there are; it answers what comes.
/// - A member that has stopped is probed by every other within twice as many periods as there are members, and by one
///   of them, on average, within e/(e-1) periods.
/// - A member is dead only when it was suspect for `suspicion_periods` and nobody heard it refute that.
///
/// An event costs `O(log members)` and the news in it; a period `O(suspects)` more.
#[derive(Debug)]
pub struct Swim {
    params: SwimParams,
    random: Random,
    now: Millis,
    incarnation: u64,
    members: BTreeMap<NodeId, Member>,
    /// Whom to probe next; shuffled when all had their turn.
    turns: Vec<NodeId>,
    probe: Option<Probe>,
    number: u64,
    errands: VecDeque<Errand>,
    /// What to pass on, with how often it was. One entry a node.
    news: BTreeMap<NodeId, (Update, u32)>,
    /// When a suspicion becomes a death.
    suspects: BTreeMap<NodeId, Millis>,
    period_at: Option<Millis>,
    tick_at: Option<Millis>,
    actions: Vec<Action>,
}

impl Swim {
    /// A detector that watches nobody, or all parameters that are out of their range.
    pub fn new(params: SwimParams, seed: u64) -> Result<Self, OverlayError> {
        let mut checks = Checks::default();
        checks.range("period", params.period, 10, 3_600_000);
        let timeout = params.ping_timeout;
        checks.holds((1..params.period).contains(&timeout), "ping_timeout", "at least 1 and below period", timeout);
        checks.range("indirect", params.indirect.into(), 0, 32);
        checks.range("suspicion_periods", params.suspicion_periods.into(), 1, 1_000);
        checks.range("updates_per_message", params.updates_per_message.into(), 1, 64);
        checks.range("retransmit", params.retransmit.into(), 1, 16);
        checks.range("max_members", params.max_members.into(), 1, 1 << 20);
        checks.done()?;
        Ok(Self {
            random: Random::new(seed),
            now: 0,
            incarnation: params.incarnation,
            members: BTreeMap::new(),
            turns: Vec::new(),
            probe: None,
            number: 0,
            errands: VecDeque::new(),
            news: BTreeMap::new(),
            suspects: BTreeMap::new(),
            period_at: None,
            tick_at: None,
            actions: Vec::new(),
            params,
        })
    }

    /// Takes one event at a time of the driver's scale. An error leaves the state unchanged.
    pub fn handle(&mut self, now: Millis, event: Event) -> Result<Vec<Action>, OverlayError> {
        self.now = self.now.max(now);
        match event {
            Event::Joined(node) => self.joined(node)?,
            Event::Left(node) => {
                self.members.remove(&node);
                self.suspects.remove(&node);
                self.news.remove(&node);
                self.turns.retain(|turn| *turn != node);
                self.probe = self.probe.take().filter(|probe| probe.target != node);
            }
            // Strangers are not answered: what they say is about members of another cluster.
            Event::Received { from, message } if self.members.contains_key(&from) => self.received(&from, message),
            Event::Received { .. } => {}
            Event::Tick => self.tick_at = None,
        }
        self.advance();
        Ok(std::mem::take(&mut self.actions))
    }

    /// What is known of a member.
    pub fn status(&self, node: &NodeId) -> Option<Status> {
        self.members.get(node).map(|member| member.status)
    }

    /// This node's incarnation, which grows with every suspicion that it refutes.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    fn joined(&mut self, node: NodeId) -> Result<(), OverlayError> {
        if node == self.params.own || self.members.contains_key(&node) {
            return Ok(());
        }
        if self.members.len() >= self.params.max_members as usize {
            return Err(OverlayError::TooManyMembers { limit: self.params.max_members });
        }
        // Somewhere among those that wait, so that a newcomer is not always the last.
        let at = self.random.between(0, self.turns.len() as u64) as usize;
        self.turns.push(node.clone());
        let last = self.turns.len() - 1;
        self.turns.swap(at, last);
        self.members.insert(node, Member { incarnation: 0, status: Status::Alive });
        Ok(())
    }

    // --- messages ---

    fn received(&mut self, from: &NodeId, message: Message) {
        match message {
            Message::Ping { number, updates } => {
                self.hear(updates);
                let updates = self.updates_for(from);
                self.say(from, Message::Ack { number, updates });
            }
            Message::Ack { number, updates } => {
                self.hear(updates);
                self.acknowledged(number);
            }
            Message::PingRequest { number, target, updates } => {
                self.hear(updates);
                if target != self.params.own && self.members.contains_key(&target) {
                    let asked_as = self.next_number();
                    self.errands.push_back(Errand { number, origin: from.clone(), asked_as });
                    if self.errands.len() > MAX_ERRANDS {
                        self.errands.pop_front();
                    }
                    let updates = self.updates_for(&target);
                    self.say(&target, Message::Ping { number: asked_as, updates });
                }
            }
        }
    }

    fn acknowledged(&mut self, number: u64) {
        if self.probe.as_ref().is_some_and(|probe| probe.number == number) {
            self.probe = None;
        } else if let Some(at) = self.errands.iter().position(|errand| errand.asked_as == number) {
            if let Some(errand) = self.errands.remove(at) {
                let updates = self.updates_for(&errand.origin);
                self.say(&errand.origin, Message::Ack { number: errand.number, updates });
            }
        }
    }

    fn say(&mut self, to: &NodeId, message: Message) {
        self.actions.push(Action::Send { to: to.clone(), message });
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    // --- news ---

    fn hear(&mut self, updates: Vec<Update>) {
        for update in updates {
            if update.node == self.params.own {
                self.refute(&update);
            } else {
                self.learn(update);
            }
        }
    }

    /// Only this node makes its incarnation greater. Who suspects an incarnation that is past has not heard of this one yet.
    fn refute(&mut self, update: &Update) {
        let alive = update.status == Status::Alive;
        if update.incarnation > self.incarnation || (update.incarnation == self.incarnation && !alive) {
            self.incarnation = update.incarnation.saturating_add(1);
        } else if alive {
            return;
        }
        let node = self.params.own.clone();
        self.spread(Update { node, incarnation: self.incarnation, status: Status::Alive });
    }

    fn learn(&mut self, update: Update) {
        let Some(member) = self.members.get_mut(&update.node) else { return };
        let known = Update::rank(member.incarnation, member.status);
        if Update::rank(update.incarnation, update.status) <= known {
            return;
        }
        let changed = member.status != update.status;
        member.incarnation = update.incarnation;
        member.status = update.status;
        if update.status == Status::Suspect {
            let periods = u64::from(self.params.suspicion_periods);
            let deadline = self.now.saturating_add(self.params.period.saturating_mul(periods));
            self.suspects.insert(update.node.clone(), deadline);
        } else {
            self.suspects.remove(&update.node);
        }
        if changed {
            self.actions.push(Action::Changed { node: update.node.clone(), status: update.status });
        }
        self.spread(update);
    }

    fn spread(&mut self, update: Update) {
        self.news.insert(update.node.clone(), (update, 0));
    }

    /// What the receiver may not know: first what is held against itself, so that it can refute it, then the least told.
    fn updates_for(&mut self, to: &NodeId) -> Vec<Update> {
        let mut updates = Vec::new();
        if let Some(member) = self.members.get(to).filter(|member| member.status != Status::Alive) {
            updates.push(Update { node: to.clone(), incarnation: member.incarnation, status: member.status });
        }
        let logarithm = u32::try_from(self.members.len() + 2).map_or(32, u32::ilog2) + 1;
        let often = self.params.retransmit * logarithm;
        let mut least: Vec<(u32, NodeId)> =
            self.news.iter().filter(|(node, _)| *node != to).map(|(node, (_, told))| (*told, node.clone())).collect();
        least.sort_unstable();
        let room = (self.params.updates_per_message as usize).saturating_sub(updates.len());
        for (_, node) in least.into_iter().take(room) {
            if let Some((update, told)) = self.news.get_mut(&node) {
                updates.push(update.clone());
                *told += 1;
                if *told >= often {
                    self.news.remove(&node);
                }
            }
        }
        updates
    }

    // --- time ---

    fn advance(&mut self) {
        let period = self.params.period;
        match self.period_at {
            // The first falls anywhere within a period, so that nodes which start together do not probe together.
            None => self.period_at = Some(self.now.saturating_add(self.random.between(1, period))),
            Some(at) if at <= self.now => {
                let late = self.now - at;
                if late >= period {
                    self.was_stopped(late);
                }
                self.end_probe();
                self.start_probe();
                self.ask_suspects();
                self.period_at = Some(self.now.saturating_add(period));
            }
            Some(_) => {}
        }
        self.ask_others();
        let dead: Vec<NodeId> =
            self.suspects.iter().filter(|(_, deadline)| **deadline <= self.now).map(|(node, _)| node.clone()).collect();
        for node in dead {
            let incarnation = self.members.get(&node).map_or(0, |member| member.incarnation);
            self.learn(Update { node, incarnation, status: Status::Dead });
        }
        let indirect_at = self.probe.as_ref().and_then(|probe| probe.indirect_at);
        let next = self.period_at.into_iter().chain(indirect_at).chain(self.suspects.values().copied()).min();
        if let Some(at) = next.filter(|_| next != self.tick_at) {
            self.actions.push(Action::ScheduleTick(at.saturating_sub(self.now)));
        }
        self.tick_at = next;
    }

    /// This node slept, or its machine did: answers may lie unread, and refutations too. Nobody is blamed for that time.
    fn was_stopped(&mut self, late: Millis) {
        self.probe = None;
        for deadline in self.suspects.values_mut() {
            *deadline = deadline.saturating_add(late);
        }
    }

    fn end_probe(&mut self) {
        let Some(probe) = self.probe.take() else { return };
        if let Some(member) = self.members.get(&probe.target).filter(|member| member.status == Status::Alive) {
            let incarnation = member.incarnation;
            self.learn(Update { node: probe.target, incarnation, status: Status::Suspect });
        }
    }

    fn start_probe(&mut self) {
        if self.turns.is_empty() {
            self.turns = self.members.keys().cloned().collect();
            let all = self.turns.len();
            self.random.sample(&mut self.turns, all);
        }
        // The dead have their turn too: one that was only cut off learns that it has to refute it.
        let Some(target) = self.turns.pop() else { return };
        let number = self.next_number();
        let indirect_at = Some(self.now.saturating_add(self.params.ping_timeout));
        self.probe = Some(Probe { target: target.clone(), number, indirect_at });
        let updates = self.updates_for(&target);
        self.say(&target, Message::Ping { number, updates });
    }

    /// The suspects with the least time left are asked directly: if news of their refutation was lost on the way here, they
    /// repeat it.
    fn ask_suspects(&mut self) {
        let probed = self.probe.as_ref().map(|probe| probe.target.clone());
        let others = self.suspects.iter().filter(|(node, _)| Some(*node) != probed.as_ref());
        let mut by_time: Vec<(Millis, NodeId)> = others.map(|(node, deadline)| (*deadline, node.clone())).collect();
        by_time.sort_unstable();
        for (_, suspect) in by_time.into_iter().take(self.params.indirect.max(1) as usize) {
            let number = self.next_number();
            let updates = self.updates_for(&suspect);
            self.say(&suspect, Message::Ping { number, updates });
        }
    }

    fn ask_others(&mut self) {
        let now = self.now;
        let Some(probe) = self.probe.as_mut().filter(|probe| probe.indirect_at.is_some_and(|at| at <= now)) else {
            return;
        };
        probe.indirect_at = None;
        let (target, number) = (probe.target.clone(), probe.number);
        let alive = |node: &NodeId, member: &Member| *node != target && member.status == Status::Alive;
        let mut others: Vec<NodeId> =
            self.members.iter().filter(|(node, member)| alive(node, member)).map(|(node, _)| node.clone()).collect();
        for other in self.random.sample(&mut others, self.params.indirect as usize).to_vec() {
            let updates = self.updates_for(&other);
            self.say(&other, Message::PingRequest { number, target: target.clone(), updates });
        }
    }
}
