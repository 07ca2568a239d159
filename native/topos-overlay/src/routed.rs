//! An overlay with a broadcast tree and link-state routes on it, as one machine: what a live node runs.

use crate::{
    link_state, plumtree, Event, LinkState, LinkStateParams, Message, Millis, NodeId, Overlay, OverlayError, Payload,
    Plumtree, PlumtreeParams,
};
use std::collections::BTreeSet;

/// Parameters of what stands on the overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoutedParams {
    /// Of the broadcast tree.
    pub tree: PlumtreeParams,
    /// Of the routes.
    pub links: LinkStateParams,
}

impl RoutedParams {
    /// The defaults for this node and incarnation.
    pub fn new(own: &NodeId, epoch: u64) -> Self {
        Self { tree: PlumtreeParams::new(own.clone(), epoch), links: LinkStateParams::new(own.clone(), epoch) }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutedEvent {
    /// What concerns the overlay, messages and ticks for all of it included.
    Overlay(Event),
    /// The link to this node carries messages both ways: it answered. Whether it is in the view does not matter. Told again where the
    /// way to it is another one than before, and what was sent a moment ago may be lost.
    Confirmed(NodeId),
    /// It does not any more, or nobody knows.
    Unconfirmed(NodeId),
    /// Send this to all nodes.
    Broadcast(Payload),
    /// This node begins a new life, with this incarnation.
    LiveAgain(u64),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RoutedAction {
    /// What the overlay asks for, messages and ticks for all of it included.
    Overlay(crate::Action),
    /// A broadcast has come.
    Broadcast {
        /// Which.
        id: plumtree::BroadcastId,
        /// How many links it passed.
        hops: u32,
        /// Its content.
        payload: Payload,
    },
    /// Routes are new or different.
    Routes(Vec<(NodeId, link_state::Route)>),
    /// No way leads to these nodes any more.
    Lost(Vec<NodeId>),
}

/// What stands on the overlay, where it does.
struct Upper {
    tree: Plumtree,
    links: LinkState,
}

/// An overlay, a [`Plumtree`] and a [`LinkState`]. The neighbours of the other two are the nodes of the view whose
/// links are confirmed. Without parameters for them it is the overlay alone: in a full mesh every node is a neighbour.
pub struct Routed {
    overlay: Box<dyn Overlay>,
    upper: Option<Upper>,
    view: Vec<NodeId>,
    confirmed: BTreeSet<NodeId>,
    neighbours: BTreeSet<NodeId>,
    now: Millis,
    overlay_tick: Option<Millis>,
    tick_at: Option<Millis>,
    actions: Vec<RoutedAction>,
}

impl std::fmt::Debug for Routed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Routed").field("view", &self.view).finish_non_exhaustive()
    }
}

impl Routed {
    /// Puts the two on an overlay, or names all parameters that are out of their range.
    pub fn new(overlay: Box<dyn Overlay>, params: Option<RoutedParams>, seed: u64) -> Result<Self, OverlayError> {
        let upper = match params {
            None => None,
            Some(params) => {
                let links = LinkState::new(params.links, overlay.relays(), seed);
                match (Plumtree::new(params.tree), links) {
                    (Ok(tree), Ok(links)) => Some(Upper { tree, links }),
                    (Err(OverlayError::InvalidParameters(mut all)), Err(OverlayError::InvalidParameters(more))) => {
                        all.extend(more);
                        return Err(OverlayError::InvalidParameters(all));
                    }
                    (Err(error), _) | (_, Err(error)) => return Err(error),
                }
            }
        };
        Ok(Self {
            overlay,
            upper,
            view: Vec::new(),
            confirmed: BTreeSet::new(),
            neighbours: BTreeSet::new(),
            now: 0,
            overlay_tick: None,
            tick_at: None,
            actions: Vec::new(),
        })
    }

    /// Takes one event and answers with what is to be done, in order. An error leaves the state unchanged.
    pub fn handle(&mut self, now: Millis, event: RoutedEvent) -> Result<Vec<RoutedAction>, OverlayError> {
        self.now = self.now.max(now);
        match event {
            RoutedEvent::Overlay(Event::Tick) => self.tick()?,
            RoutedEvent::Overlay(Event::Received { from, message: Message::Plumtree(message) }) => {
                let now = self.now;
                self.on_tree(|tree| tree.received(now, &from, message));
            }
            RoutedEvent::Overlay(Event::Received { from, message: Message::LinkState(message) }) => {
                let now = self.now;
                self.on_links(|links| links.received(now, &from, message));
            }
            RoutedEvent::Overlay(Event::Left(node)) => {
                self.overlay(Event::Left(node.clone()))?;
                self.confirmed.remove(&node);
                self.adjust();
                let now = self.now;
                self.on_links(|links| links.forget(now, &node));
            }
            RoutedEvent::Overlay(event) => self.overlay(event)?,
            RoutedEvent::Confirmed(node) => {
                if self.upper.is_some() && self.confirmed.insert(node.clone()) {
                    self.adjust();
                } else if self.neighbours.contains(&node) {
                    let now = self.now;
                    self.on_links(|links| links.renewed(now, &node));
                    self.on_tree(|tree| tree.renewed(now, &node));
                }
            }
            RoutedEvent::Unconfirmed(node) => {
                if self.confirmed.remove(&node) {
                    self.adjust();
                }
            }
            RoutedEvent::Broadcast(payload) => {
                let now = self.now;
                self.on_tree(|tree| tree.broadcast(now, payload).1);
            }
            RoutedEvent::LiveAgain(epoch) => {
                let now = self.now;
                if let Some(upper) = &mut self.upper {
                    upper.tree.live_again(epoch);
                }
                self.on_links(|links| links.live_again(now, epoch));
            }
        }
        self.schedule();
        Ok(std::mem::take(&mut self.actions))
    }

    /// The nodes to keep links to, in the order of their names.
    pub fn view(&self) -> Vec<NodeId> {
        self.overlay.view()
    }

    /// The overlay.
    pub fn overlay_state(&self) -> &dyn Overlay {
        &*self.overlay
    }

    /// The routes; `None` where every node is a neighbour.
    pub fn links(&self) -> Option<&LinkState> {
        self.upper.as_ref().map(|upper| &upper.links)
    }

    /// How much work the last calls were beside the actions they returned, in links looked at.
    pub fn take_work(&mut self) -> u64 {
        self.upper.as_mut().map_or(0, |upper| upper.links.take_work())
    }

    /// One tick for three machines: early ones do no harm.
    fn tick(&mut self) -> Result<(), OverlayError> {
        let now = self.now;
        self.tick_at = None;
        if self.overlay_tick.is_some_and(|at| at <= now) {
            self.overlay_tick = None;
            self.overlay(Event::Tick)?;
        }
        self.on_tree(|tree| if tree.next_tick().is_some_and(|at| at <= now) { tree.tick(now) } else { Vec::new() });
        self.on_links(|links| if links.next_tick().is_some_and(|at| at <= now) { links.tick(now) } else { Vec::new() });
        Ok(())
    }

    fn overlay(&mut self, event: Event) -> Result<(), OverlayError> {
        for action in self.overlay.handle(self.now, event)? {
            match action {
                crate::Action::ScheduleTick(ms) => self.overlay_tick = Some(self.now.saturating_add(ms)),
                crate::Action::SetView(view) => {
                    self.view.clone_from(&view);
                    self.actions.push(RoutedAction::Overlay(crate::Action::SetView(view)));
                    self.adjust();
                }
                action => self.actions.push(RoutedAction::Overlay(action)),
            }
        }
        Ok(())
    }

    /// The neighbours are those of the view that are confirmed.
    fn adjust(&mut self) {
        if self.upper.is_none() {
            return;
        }
        let neighbours: BTreeSet<NodeId> =
            self.view.iter().filter(|node| self.confirmed.contains(*node)).cloned().collect();
        let before = std::mem::replace(&mut self.neighbours, neighbours.clone());
        let now = self.now;
        for node in before.difference(&neighbours) {
            self.on_tree(|tree| {
                tree.neighbour_down(node);
                Vec::new()
            });
            self.on_links(|links| links.neighbour_down(now, node));
        }
        for node in neighbours.difference(&before) {
            self.on_links(|links| links.neighbour_up(now, node));
            self.on_tree(|tree| tree.neighbour_up(now, node));
        }
    }

    fn on_tree(&mut self, call: impl FnOnce(&mut Plumtree) -> Vec<plumtree::Action>) {
        let Some(upper) = &mut self.upper else { return };
        let actions = call(&mut upper.tree);
        self.actions.extend(actions.into_iter().map(|action| match action {
            plumtree::Action::Send { to, message } => {
                RoutedAction::Overlay(crate::Action::Send { to, message: Message::Plumtree(message) })
            }
            plumtree::Action::Deliver { id, hops, payload } => RoutedAction::Broadcast { id, hops, payload },
        }));
    }

    fn on_links(&mut self, call: impl FnOnce(&mut LinkState) -> Vec<link_state::Action>) {
        let Some(upper) = &mut self.upper else { return };
        let actions = call(&mut upper.links);
        self.actions.extend(actions.into_iter().map(|action| match action {
            link_state::Action::Send { to, message } => {
                RoutedAction::Overlay(crate::Action::Send { to, message: Message::LinkState(message) })
            }
            link_state::Action::Changed(routes) => RoutedAction::Routes(routes),
            link_state::Action::Lost(nodes) => RoutedAction::Lost(nodes),
        }));
    }

    fn schedule(&mut self) {
        let upper = self.upper.as_ref().map(|upper| [upper.tree.next_tick(), upper.links.next_tick()]);
        let next = std::iter::once(self.overlay_tick).chain(upper.into_iter().flatten()).flatten().min();
        if let Some(at) = next.filter(|_| next != self.tick_at) {
            self.actions.push(RoutedAction::Overlay(crate::Action::ScheduleTick(at.saturating_sub(self.now))));
        }
        self.tick_at = next;
    }
}

#[cfg(test)]
#[path = "routed_tests.rs"]
mod tests;
