//! A topology that somebody else decides: the nodes to link to are told, the machine keeps the links.

use crate::{
    codec::{DecodeError, Reader, Wire, Writer},
    params::Checks,
    Action, Event, FullMesh, FullMeshParams, Millis, NodeId, Overlay, OverlayError, MAX_IDS,
};
use std::collections::{BTreeMap, BTreeSet};

/// What two machines say to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// The sender wants a link; said again in each period.
    Want,
    /// It does not any more.
    Release,
}

/// Parameters of [`Custom`]; times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomParams {
    /// This node.
    pub own: NodeId,
    /// The time between two messages that say a link is wanted, 100 to 3,600,000. Who has heard none for three of them does not keep the
    /// link for the other's sake.
    pub period: Millis,
    /// How many links a node wants, and how many it keeps for others' sake, 1 to 255 each.
    pub max_links: u32,
    /// How long an attempt to open a link may take, 1 to 3,600,000.
    pub connect_timeout: Millis,
    /// The shortest wait between attempts: see [`crate::Backoff`].
    pub backoff_min: Millis,
    /// The longest, up to an hour.
    pub backoff_max: Millis,
    /// How many members it holds, at least 1.
    pub max_members: u32,
}

impl CustomParams {
    /// The defaults: a period of 2 s, 64 links, 5 s for an attempt, 100 ms to 10 s between attempts, 4,096 members.
    pub fn new(own: NodeId) -> Self {
        Self {
            own,
            period: 2_000,
            max_links: 64,
            connect_timeout: 5_000,
            backoff_min: 100,
            backoff_max: 10_000,
            max_members: 4_096,
        }
    }
}

/// How many periods a link is kept for the sake of a node that does not say it wants it.
const PATIENCE: u64 = 3;

/// A custom topology as a state machine.
///
/// # Guarantees
/// - The view holds the nodes of the last [`Event::Wanted`] that are members, and those members that want a link to this one: a link is in the view of
///   both of its ends, whoever decided on it, within a message of its being up.
/// - A node that was met ([`Event::Met`]) is in the view of both for three periods: long enough for those who decide to learn of the
///   other part of the cluster, and to link to it for good.
/// - Links are opened and tried again as in a [`FullMesh`] of the view.
///
/// An event costs `O(log view)`, and `O(view)` when it changes the view.
#[derive(Clone, Debug)]
pub struct Custom {
    params: CustomParams,
    /// Its members are the view.
    mesh: FullMesh,
    now: Millis,
    members: BTreeSet<NodeId>,
    wanted: BTreeSet<NodeId>,
    /// Who wants a link to this one, or was met; until when that counts.
    guests: BTreeMap<NodeId, Millis>,
    /// When links are asked for again.
    period_at: Option<Millis>,
    mesh_tick: Option<Millis>,
    tick_at: Option<Millis>,
    actions: Vec<Action>,
}

impl Custom {
    /// An overlay without members that wants nothing, or all parameters that are out of their range.
    pub fn new(params: CustomParams, seed: u64) -> Result<Self, OverlayError> {
        let mut checks = Checks::default();
        checks.range("period", params.period, 100, 3_600_000);
        checks.range("max_links", params.max_links.into(), 1, MAX_IDS as u64);
        checks.at_least_one("max_members", params.max_members);
        let mesh = FullMesh::new(
            FullMeshParams {
                connect_timeout: params.connect_timeout,
                backoff_min: params.backoff_min,
                backoff_max: params.backoff_max,
                ..FullMeshParams::new(params.own.clone())
            },
            seed,
        );
        match (checks.done(), mesh) {
            (Ok(()), Ok(mesh)) => Ok(Self {
                params,
                mesh,
                now: 0,
                members: BTreeSet::new(),
                wanted: BTreeSet::new(),
                guests: BTreeMap::new(),
                period_at: None,
                mesh_tick: None,
                tick_at: None,
                actions: Vec::new(),
            }),
            (Err(OverlayError::InvalidParameters(mut all)), Err(OverlayError::InvalidParameters(more))) => {
                all.extend(more);
                Err(OverlayError::InvalidParameters(all))
            }
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    fn say(&mut self, to: &NodeId, message: Message) {
        self.actions.push(Action::Send { to: to.clone(), message: crate::Message::Custom(message) });
    }

    fn mesh(&mut self, event: Event) -> Result<(), OverlayError> {
        for action in self.mesh.handle(self.now, event)? {
            match action {
                Action::ScheduleTick(ms) => self.mesh_tick = Some(self.now.saturating_add(ms)),
                action => self.actions.push(action),
            }
        }
        Ok(())
    }

    fn in_view(&self, node: &NodeId) -> bool {
        self.wanted.contains(node) || self.guests.contains_key(node)
    }

    /// Opens or closes the link to a node that entered or left one of the two sets.
    fn adjust(&mut self, node: &NodeId) -> Result<(), OverlayError> {
        let event = if self.in_view(node) { Event::Joined(node.clone()) } else { Event::Left(node.clone()) };
        self.mesh(event)
    }

    fn joined(&mut self, node: NodeId) -> Result<(), OverlayError> {
        if node == self.params.own || self.members.contains(&node) {
            return Ok(());
        }
        if self.members.len() >= self.params.max_members as usize {
            return Err(OverlayError::TooManyMembers { limit: self.params.max_members });
        }
        self.members.insert(node);
        Ok(())
    }

    fn left(&mut self, node: &NodeId) -> Result<(), OverlayError> {
        self.members.remove(node);
        self.wanted.remove(node);
        self.guests.remove(node);
        self.mesh(Event::Left(node.clone()))
    }

    /// Takes as many as it may want, of those that are members.
    fn want(&mut self, nodes: Vec<NodeId>) -> Result<(), OverlayError> {
        let known = nodes.into_iter().filter(|node| self.members.contains(node));
        let wanted: BTreeSet<NodeId> = known.take(self.params.max_links as usize).collect();
        let before = std::mem::replace(&mut self.wanted, wanted.clone());
        for node in before.difference(&wanted) {
            self.say(node, Message::Release);
            self.adjust(node)?;
        }
        for node in wanted.difference(&before) {
            self.adjust(node)?;
            self.say(node, Message::Want);
        }
        Ok(())
    }

    fn take_guest(&mut self, node: NodeId) -> Result<(), OverlayError> {
        let known = self.guests.contains_key(&node);
        if !self.members.contains(&node) || (!known && self.guests.len() >= self.params.max_links as usize) {
            return Ok(());
        }
        let until = self.now.saturating_add(self.params.period.saturating_mul(PATIENCE));
        self.guests.insert(node.clone(), until);
        self.adjust(&node)
    }

    fn dismiss(&mut self, node: &NodeId) -> Result<(), OverlayError> {
        match self.guests.remove(node) {
            Some(_) => self.adjust(node),
            None => Ok(()),
        }
    }

    /// Links are asked for again, and those that nobody asked for are let go.
    fn period(&mut self) -> Result<(), OverlayError> {
        let late: Vec<NodeId> =
            self.guests.iter().filter(|(_, until)| **until <= self.now).map(|(node, _)| node.clone()).collect();
        for node in late {
            self.dismiss(&node)?;
        }
        for node in self.wanted.clone() {
            self.say(&node, Message::Want);
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<(), OverlayError> {
        if self.mesh_tick.is_some_and(|at| at <= self.now) {
            self.mesh_tick = None;
            self.mesh(Event::Tick)?;
        }
        if self.period_at.is_some_and(|at| at <= self.now) {
            self.period_at = None;
            self.period()?;
        }
        if self.wanted.is_empty() && self.guests.is_empty() {
            self.period_at = None;
        } else if self.period_at.is_none() {
            self.period_at = Some(self.now.saturating_add(self.params.period));
        }
        let next = self.mesh_tick.into_iter().chain(self.period_at).min();
        if let Some(at) = next.filter(|_| next != self.tick_at) {
            self.actions.push(Action::ScheduleTick(at.saturating_sub(self.now)));
        }
        self.tick_at = next;
        Ok(())
    }

    fn on_event(&mut self, event: Event) -> Result<(), OverlayError> {
        match event {
            Event::Joined(node) => self.joined(node),
            Event::Left(node) => self.left(&node),
            Event::Wanted(nodes) => self.want(nodes),
            Event::LinkUp(node) => {
                // What was said before the link was there may be lost.
                if self.wanted.contains(&node) {
                    self.say(&node, Message::Want);
                }
                if self.in_view(&node) {
                    self.mesh(Event::LinkUp(node))
                } else {
                    Ok(())
                }
            }
            Event::LinkDown(node) => {
                self.guests.remove(&node);
                if self.wanted.contains(&node) {
                    self.mesh(Event::LinkDown(node))
                } else {
                    self.mesh(Event::Left(node))
                }
            }
            Event::Received { from, message: crate::Message::Custom(Message::Want) } => self.take_guest(from),
            Event::Received { from, message: crate::Message::Custom(Message::Release) } => self.dismiss(&from),
            Event::Met(node) => {
                self.say(&node, Message::Want);
                self.take_guest(node)
            }
            Event::Tick => {
                self.tick_at = None;
                Ok(())
            }
            Event::Received { .. } => Ok(()),
        }
    }
}

impl Overlay for Custom {
    fn handle(&mut self, now: Millis, event: Event) -> Result<Vec<Action>, OverlayError> {
        self.now = self.now.max(now);
        self.on_event(event)?;
        self.advance()?;
        Ok(std::mem::take(&mut self.actions))
    }

    fn view(&self) -> Vec<NodeId> {
        self.mesh.view()
    }

    fn copy(&self) -> Box<dyn Overlay> {
        Box::new(self.clone())
    }
}

impl Wire for Message {
    fn write(&self, to: &mut Writer) {
        to.byte(match self {
            Self::Want => 0,
            Self::Release => 1,
        });
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.byte()? {
            0 => Self::Want,
            1 => Self::Release,
            kind => return Err(DecodeError::Kind(kind)),
        })
    }
}

#[cfg(test)]
#[path = "custom_tests.rs"]
mod tests;
