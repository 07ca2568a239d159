//! Full mesh: every member keeps a link to every other.

use crate::{params::Checks, Action, Backoff, Event, Millis, NodeId, Overlay, OverlayError, Random};
use std::collections::{BTreeMap, BTreeSet};

/// Parameters of [`FullMesh`]; times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FullMeshParams {
    /// This node, which is never in its own view.
    pub own: NodeId,
    /// The wait after the first failure: see [`Backoff`].
    pub backoff_min: Millis,
    /// The longest wait between two attempts, up to an hour.
    pub backoff_max: Millis,
    /// How long an attempt may take before it counts as failed, 1 to 3,600,000.
    pub connect_timeout: Millis,
    /// How many attempts may run at once, at least 1: a node that joins a large cluster does not open all its links in
    /// one moment.
    pub max_connecting: u32,
    /// How many members it holds, at least 1; it remembers as many links of nodes that are not members (yet).
    pub max_members: u32,
}

impl FullMeshParams {
    /// The defaults: 100 ms to 10 s between attempts of at most 5 s, 64 at once, 4,096 members.
    pub fn new(own: NodeId) -> Self {
        Self {
            own,
            backoff_min: 100,
            backoff_max: 10_000,
            connect_timeout: 5_000,
            max_connecting: 64,
            max_members: 4_096,
        }
    }
}

/// The link to a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    Up,
    /// Asked for; a failure if it is not up at the deadline.
    Connecting {
        deadline: Millis,
    },
    /// Down; to be tried at that time, or as soon after it as `max_connecting` allows.
    Waiting {
        retry_at: Millis,
    },
}

#[derive(Clone, Copy, Debug)]
struct Peer {
    link: Link,
    /// Failures in a row since the link was up last.
    failures: u32,
}

/// Every member keeps a link to every other; a link that is down is tried again for as long as its node is a member.
///
/// # Guarantees
/// - The view is the members without this node.
/// - A member whose link is down is connected to again within [`FullMeshParams::backoff_max`], plus the time it takes until
///   fewer than `max_connecting` attempts run, provided ticks arrive.
/// - A node that is no member is never connected to. A link that such a node opened is left alone, since its membership may
///   be on its way, until it is said to have left.
///
/// An event costs `O(log members)`, and `O(members)` when it changes the view.
#[derive(Clone, Debug)]
pub struct FullMesh {
    own: NodeId,
    backoff: Backoff,
    connect_timeout: Millis,
    max_connecting: u32,
    max_members: u32,
    random: Random,
    now: Millis,
    members: BTreeMap<NodeId, Peer>,
    /// When the waiting members are due, earliest first.
    waiting: BTreeSet<(Millis, NodeId)>,
    /// When the running attempts time out, earliest first.
    connecting: BTreeSet<(Millis, NodeId)>,
    /// Links of nodes that are not members: when they join, they are up.
    strangers: BTreeSet<NodeId>,
    /// The tick that the driver has been asked for.
    tick_at: Option<Millis>,
}

impl FullMesh {
    /// An overlay without members, or all parameters that are out of their range.
    pub fn new(params: FullMeshParams, seed: u64) -> Result<Self, OverlayError> {
        let mut checks = Checks::default();
        let backoff = Backoff::checked(params.backoff_min, params.backoff_max, &mut checks);
        checks.range("connect_timeout", params.connect_timeout, 1, 3_600_000);
        checks.at_least_one("max_connecting", params.max_connecting);
        checks.at_least_one("max_members", params.max_members);
        checks.done()?;
        Ok(Self {
            own: params.own,
            backoff,
            connect_timeout: params.connect_timeout,
            max_connecting: params.max_connecting,
            max_members: params.max_members,
            random: Random::new(seed),
            now: 0,
            members: BTreeMap::new(),
            waiting: BTreeSet::new(),
            connecting: BTreeSet::new(),
            strangers: BTreeSet::new(),
            tick_at: None,
        })
    }

    fn joined(&mut self, node: NodeId, actions: &mut Vec<Action>) -> Result<(), OverlayError> {
        if node == self.own || self.members.contains_key(&node) {
            return Ok(());
        }
        if self.members.len() >= self.max_members as usize {
            return Err(OverlayError::TooManyMembers { limit: self.max_members });
        }
        let link = if self.strangers.remove(&node) { Link::Up } else { Link::Waiting { retry_at: self.now } };
        self.members.insert(node.clone(), Peer { link: Link::Up, failures: 0 });
        self.set_link(&node, link);
        actions.push(Action::SetView(self.view()));
        Ok(())
    }

    fn left(&mut self, node: NodeId, actions: &mut Vec<Action>) {
        let stranger = self.strangers.remove(&node);
        let member = self.members.contains_key(&node);
        if member {
            self.set_link(&node, Link::Up);
            self.members.remove(&node);
            actions.push(Action::SetView(self.view()));
        }
        if member || stranger {
            actions.push(Action::Disconnect(node));
        }
    }

    fn link_up(&mut self, node: NodeId) {
        if self.members.contains_key(&node) {
            self.set_link(&node, Link::Up);
            if let Some(peer) = self.members.get_mut(&node) {
                peer.failures = 0;
            }
        } else if node != self.own && self.strangers.len() < self.max_members as usize {
            self.strangers.insert(node);
        }
    }

    fn link_down(&mut self, node: &NodeId) {
        self.strangers.remove(node);
        match self.members.get(node).map(|peer| peer.link) {
            Some(Link::Up) => self.wait(node, 0),
            Some(Link::Connecting { .. }) => self.failed(node),
            // Told twice: the retry is under way already.
            Some(Link::Waiting { .. }) | None => {}
        }
    }

    fn failed(&mut self, node: &NodeId) {
        let failures = self.members.get(node).map_or(0, |peer| peer.failures.saturating_add(1));
        self.wait(node, failures);
    }

    fn wait(&mut self, node: &NodeId, failures: u32) {
        let retry_at = self.now.saturating_add(self.backoff.delay(failures, &mut self.random));
        if let Some(peer) = self.members.get_mut(node) {
            peer.failures = failures;
        }
        self.set_link(node, Link::Waiting { retry_at });
    }

    /// The one place that changes a link, so that the two queues always agree with the members.
    fn set_link(&mut self, node: &NodeId, link: Link) {
        let Some(peer) = self.members.get_mut(node) else { return };
        match std::mem::replace(&mut peer.link, link) {
            Link::Up => {}
            Link::Connecting { deadline } => drop(self.connecting.remove(&(deadline, node.clone()))),
            Link::Waiting { retry_at } => drop(self.waiting.remove(&(retry_at, node.clone()))),
        }
        match link {
            Link::Up => {}
            Link::Connecting { deadline } => drop(self.connecting.insert((deadline, node.clone()))),
            Link::Waiting { retry_at } => drop(self.waiting.insert((retry_at, node.clone()))),
        }
    }

    /// What time brings: attempts that timed out, members that are due, the next tick.
    fn advance(&mut self, actions: &mut Vec<Action>) {
        while let Some((_, node)) = self.connecting.first().filter(|(deadline, _)| *deadline <= self.now).cloned() {
            self.failed(&node);
        }
        while self.connecting.len() < self.max_connecting as usize {
            let Some((_, node)) = self.waiting.first().filter(|(retry_at, _)| *retry_at <= self.now).cloned() else {
                break;
            };
            self.set_link(&node, Link::Connecting { deadline: self.now.saturating_add(self.connect_timeout) });
            actions.push(Action::Connect(node));
        }
        let deadline = self.connecting.first().map(|(deadline, _)| *deadline);
        // With all attempts running, nothing that waits can start before one of them ends.
        let full = self.connecting.len() >= self.max_connecting as usize;
        let retry = if full { None } else { self.waiting.first().map(|(retry_at, _)| *retry_at) };
        let next = deadline.into_iter().chain(retry).min();
        if let Some(at) = next.filter(|_| next != self.tick_at) {
            actions.push(Action::ScheduleTick(at.saturating_sub(self.now)));
        }
        // Without anything to wait for, an old tick may still come: it finds nothing to do.
        self.tick_at = next;
    }
}

impl Overlay for FullMesh {
    fn handle(&mut self, now: Millis, event: Event) -> Result<Vec<Action>, OverlayError> {
        self.now = self.now.max(now);
        let mut actions = Vec::new();
        match event {
            Event::Joined(node) => self.joined(node, &mut actions)?,
            Event::Left(node) => self.left(node, &mut actions),
            Event::LinkUp(node) => self.link_up(node),
            Event::LinkDown(node) => self.link_down(&node),
            Event::Tick => self.tick_at = None,
            // A mesh has nothing to say: who is a member, and whose link is up, is all it needs.
            Event::Received { .. } | Event::Met(_) | Event::Wanted(_) => {}
        }
        self.advance(&mut actions);
        Ok(actions)
    }

    fn view(&self) -> Vec<NodeId> {
        self.members.keys().cloned().collect()
    }

    fn copy(&self) -> Box<dyn Overlay> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
#[path = "full_mesh_tests.rs"]
mod tests;
