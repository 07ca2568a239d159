//! An overlay with a broadcast tree and a router on it, as one machine: what a node runs.

use crate::{
    plumtree, router, Event, Message, Millis, NodeId, Overlay, OverlayError, Payload, Plumtree, PlumtreeParams, Router,
    RouterParams,
};

/// Parameters of what stands on the overlay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackParams {
    /// Of the broadcast tree.
    pub tree: PlumtreeParams,
    /// Of the router.
    pub router: RouterParams,
}

impl StackParams {
    /// The defaults for this node and incarnation.
    pub fn new(own: &NodeId, epoch: u64) -> Self {
        Self { tree: PlumtreeParams::new(own.clone(), epoch), router: RouterParams::new(own.clone(), epoch) }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StackEvent {
    /// What concerns the overlay, messages and ticks for all of it included.
    Overlay(Event),
    /// Send this to all nodes.
    Broadcast(Payload),
    /// Send this to one node, neighbour or not.
    Send {
        /// For whom.
        to: NodeId,
        /// Its content.
        payload: Payload,
    },
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StackAction {
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
    /// A message has come.
    Deliver {
        /// Who sent it.
        source: NodeId,
        /// Its content.
        payload: Payload,
    },
    /// The message of [`StackEvent::Send`] was taken under this number: the first action of the answer.
    Sent(u64),
    /// It was not taken.
    Refused(router::Refusal),
    /// It was delivered.
    Done(u64),
    /// It is in doubt.
    GivenUp {
        /// Its number.
        number: u64,
        /// For whom it was.
        target: NodeId,
    },
}

/// An overlay, a [`Plumtree`] and a [`Router`]; the view of the overlay is the neighbours of the other two.
pub struct Stack {
    overlay: Box<dyn Overlay>,
    tree: Plumtree,
    router: Router,
    view: Vec<NodeId>,
    now: Millis,
    overlay_tick: Option<Millis>,
    tick_at: Option<Millis>,
    actions: Vec<StackAction>,
}

impl Clone for Stack {
    fn clone(&self) -> Self {
        Self {
            overlay: self.overlay.copy(),
            tree: self.tree.clone(),
            router: self.router.clone(),
            view: self.view.clone(),
            now: self.now,
            overlay_tick: self.overlay_tick,
            tick_at: self.tick_at,
            actions: self.actions.clone(),
        }
    }
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack").field("view", &self.view).finish_non_exhaustive()
    }
}

impl Stack {
    /// Puts the two on an overlay, or names all parameters that are out of their range.
    pub fn new(overlay: Box<dyn Overlay>, params: StackParams) -> Result<Self, OverlayError> {
        let (tree, router) = match (Plumtree::new(params.tree), Router::new(params.router, overlay.relays())) {
            (Ok(tree), Ok(router)) => (tree, router),
            (Err(OverlayError::InvalidParameters(mut all)), Err(OverlayError::InvalidParameters(more))) => {
                all.extend(more);
                return Err(OverlayError::InvalidParameters(all));
            }
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        let (view, actions) = (Vec::new(), Vec::new());
        Ok(Self { overlay, tree, router, view, now: 0, overlay_tick: None, tick_at: None, actions })
    }

    /// Takes one event and answers with what is to be done, in order. An error leaves the state unchanged.
    pub fn handle(&mut self, now: Millis, event: StackEvent) -> Result<Vec<StackAction>, OverlayError> {
        self.now = self.now.max(now);
        match event {
            StackEvent::Overlay(Event::Tick) => self.tick()?,
            StackEvent::Overlay(Event::Received { from, message: Message::Plumtree(message) }) => {
                let actions = self.tree.received(self.now, &from, message);
                self.tree_actions(actions);
            }
            StackEvent::Overlay(Event::Received { from, message: Message::Router(message) }) => {
                let actions = self.router.received(self.now, &from, message);
                self.router_actions(actions);
            }
            StackEvent::Overlay(event) => self.overlay(event)?,
            StackEvent::Broadcast(payload) => {
                let (_, actions) = self.tree.broadcast(self.now, payload);
                self.tree_actions(actions);
            }
            StackEvent::Send { to, payload } => match self.router.send(self.now, &to, payload) {
                Ok((number, actions)) => {
                    self.actions.push(StackAction::Sent(number));
                    self.router_actions(actions);
                }
                Err(refusal) => self.actions.push(StackAction::Refused(refusal)),
            },
        }
        self.schedule();
        Ok(std::mem::take(&mut self.actions))
    }

    /// The neighbours, in the order of their names.
    pub fn view(&self) -> &[NodeId] {
        &self.view
    }

    /// The overlay.
    pub fn overlay_state(&self) -> &dyn Overlay {
        &*self.overlay
    }

    /// The broadcast tree.
    pub fn tree(&self) -> &Plumtree {
        &self.tree
    }

    /// The router.
    pub fn router(&self) -> &Router {
        &self.router
    }

    /// One tick for three machines: early ones do no harm.
    fn tick(&mut self) -> Result<(), OverlayError> {
        self.tick_at = None;
        if self.overlay_tick.is_some_and(|at| at <= self.now) {
            self.overlay_tick = None;
            self.overlay(Event::Tick)?;
        }
        if self.tree.next_tick().is_some_and(|at| at <= self.now) {
            let actions = self.tree.tick(self.now);
            self.tree_actions(actions);
        }
        if self.router.next_tick().is_some_and(|at| at <= self.now) {
            let actions = self.router.tick(self.now);
            self.router_actions(actions);
        }
        Ok(())
    }

    fn overlay(&mut self, event: Event) -> Result<(), OverlayError> {
        for action in self.overlay.handle(self.now, event)? {
            match action {
                crate::Action::ScheduleTick(ms) => self.overlay_tick = Some(self.now.saturating_add(ms)),
                crate::Action::SetView(view) => {
                    self.actions.push(StackAction::Overlay(crate::Action::SetView(view.clone())));
                    self.set_view(view);
                }
                action => self.actions.push(StackAction::Overlay(action)),
            }
        }
        Ok(())
    }

    fn set_view(&mut self, view: Vec<NodeId>) {
        let old = std::mem::replace(&mut self.view, view);
        for node in old.iter().filter(|node| self.view.binary_search(node).is_err()) {
            self.tree.neighbour_down(node);
            self.router.neighbour_down(node);
        }
        for node in self.view.clone().iter().filter(|node| old.binary_search(node).is_err()) {
            self.router.neighbour_up(node);
            let actions = self.tree.neighbour_up(self.now, node);
            self.tree_actions(actions);
        }
    }

    fn tree_actions(&mut self, actions: Vec<plumtree::Action>) {
        self.actions.extend(actions.into_iter().map(|action| match action {
            plumtree::Action::Send { to, message } => {
                StackAction::Overlay(crate::Action::Send { to, message: Message::Plumtree(message) })
            }
            plumtree::Action::Deliver { id, hops, payload } => StackAction::Broadcast { id, hops, payload },
        }));
    }

    fn router_actions(&mut self, actions: Vec<router::Action>) {
        self.actions.extend(actions.into_iter().map(|action| match action {
            router::Action::Send { to, message } => {
                StackAction::Overlay(crate::Action::Send { to, message: Message::Router(message) })
            }
            router::Action::Deliver { source, payload } => StackAction::Deliver { source, payload },
            router::Action::Done(number) => StackAction::Done(number),
            router::Action::GivenUp { number, target } => StackAction::GivenUp { number, target },
        }));
    }

    fn schedule(&mut self) {
        let ticks = [self.overlay_tick, self.tree.next_tick(), self.router.next_tick()];
        let next = ticks.into_iter().flatten().min();
        if let Some(at) = next.filter(|_| next != self.tick_at) {
            self.actions.push(StackAction::Overlay(crate::Action::ScheduleTick(at.saturating_sub(self.now))));
        }
        self.tick_at = next;
    }
}
