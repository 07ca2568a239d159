//! Clients and hubs: every client keeps links to hubs alone, the hubs keep links to each other and to their clients.

use crate::{
    codec::{DecodeError, Reader, Wire, Writer},
    params::Checks,
    Action, Backoff, Event, FullMesh, FullMeshParams, Millis, NodeId, Overlay, OverlayError, Random, MAX_IDS,
};
use std::collections::{BTreeMap, BTreeSet};

/// What a node is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Passes on what clients say to each other.
    Hub,
    /// Talks to hubs alone.
    Client,
}

/// What two machines say to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// A client asks a hub to take it.
    Attach,
    /// The hub took it.
    Attached,
    /// The hub has no room, or is none.
    Refused,
    /// The client does not need the hub any more, or the hub the client.
    Detach,
}

/// Parameters of [`ClientServer`]; times in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientServerParams {
    /// This node.
    pub own: NodeId,
    /// What it is: it is a hub if, and only if, it is among `hubs`.
    pub role: Role,
    /// All hubs, 1 to 255: what a tag in the configuration names. The same on every node.
    pub hubs: Vec<NodeId>,
    /// How many hubs a client keeps links to, 1 to 16: with 2, the loss of one is not felt. No more than there are.
    pub hubs_of_a_client: u32,
    /// How many clients a hub takes, 1 to 1,000,000.
    pub max_clients: u32,
    /// How long an answer to a request may take, 1 to 3,600,000.
    pub request_timeout: Millis,
    /// The shortest wait between attempts: see [`Backoff`].
    pub backoff_min: Millis,
    /// The longest, up to an hour.
    pub backoff_max: Millis,
}

impl ClientServerParams {
    /// The defaults: one hub a client, 4,096 clients a hub, answers within 5 s, 100 ms to 10 s between attempts.
    pub fn new(own: NodeId, role: Role, hubs: Vec<NodeId>) -> Self {
        Self {
            own,
            role,
            hubs,
            hubs_of_a_client: 1,
            max_clients: 4_096,
            request_timeout: 5_000,
            backoff_min: 100,
            backoff_max: 10_000,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    /// Not asked, or refused, or failed: to be asked again from then on.
    Free {
        from: Millis,
    },
    Asked {
        deadline: Millis,
    },
    Attached,
}

#[derive(Clone, Copy, Debug)]
struct Hub {
    link: Link,
    failures: u32,
    member: bool,
}

/// Clients and hubs as a state machine.
///
/// # Guarantees
/// - A client's view holds hubs alone, and at most `hubs_of_a_client` of them; when one fails, another that is a member is
///   asked at once, in an order that the seed shuffles, so that the clients of a hub that failed spread over the others.
/// - A hub's view holds all other hubs that are members, as a [`FullMesh`], and the clients it took, at most `max_clients`.
/// - What one client says to another is passed on by hubs: [`crate::Router`] does it, over this view.
///
/// An event costs `O(hubs)` on a client, and `O(view)` on a hub when it changes the view.
#[derive(Clone, Debug)]
pub struct ClientServer {
    params: ClientServerParams,
    backoff: Backoff,
    random: Random,
    now: Millis,
    /// A hub's links to the other hubs; without members on a client.
    mesh: FullMesh,
    /// A client's.
    hubs: BTreeMap<NodeId, Hub>,
    /// A hub's.
    clients: BTreeSet<NodeId>,
    tick_at: Option<Millis>,
    actions: Vec<Action>,
}

impl ClientServer {
    /// An overlay without members, or all parameters that are out of their range.
    pub fn new(params: ClientServerParams, seed: u64) -> Result<Self, OverlayError> {
        const HOUR: Millis = 3_600_000;
        let hubs: BTreeSet<NodeId> = params.hubs.iter().cloned().collect();
        let mut checks = Checks::default();
        checks.range("hubs", hubs.len() as u64, 1, MAX_IDS as u64);
        let fits = hubs.contains(&params.own) == (params.role == Role::Hub);
        checks.holds(fits, "role", "hub on the nodes among the hubs and client on the others", params.role as u64);
        checks.range("hubs_of_a_client", params.hubs_of_a_client.into(), 1, 16);
        let enough = params.hubs_of_a_client as usize <= hubs.len();
        let asked = u64::from(params.hubs_of_a_client);
        checks.holds(enough, "hubs_of_a_client", "at most the number of hubs", asked);
        checks.range("max_clients", params.max_clients.into(), 1, 1_000_000);
        checks.range("request_timeout", params.request_timeout, 1, HOUR);
        let backoff = Backoff::checked(params.backoff_min, params.backoff_max, &mut checks);
        checks.done()?;
        let mesh = FullMesh::new(
            FullMeshParams {
                backoff_min: params.backoff_min,
                backoff_max: params.backoff_max,
                connect_timeout: params.request_timeout,
                ..FullMeshParams::new(params.own.clone())
            },
            seed,
        )?;
        let free = Hub { link: Link::Free { from: 0 }, failures: 0, member: false };
        Ok(Self {
            backoff,
            random: Random::new(seed),
            now: 0,
            mesh,
            hubs: hubs.into_iter().filter(|hub| *hub != params.own).map(|hub| (hub, free)).collect(),
            clients: BTreeSet::new(),
            tick_at: None,
            actions: Vec::new(),
            params,
        })
    }

    fn say(&mut self, to: &NodeId, message: Message) {
        self.actions.push(Action::Send { to: to.clone(), message: crate::Message::ClientServer(message) });
    }

    // --- a hub ---

    /// A mesh of the hubs does the work; what concerns clients is kept from it.
    fn as_hub(&mut self, event: Event) -> Result<(), OverlayError> {
        let is_hub = |node: &NodeId| self.hubs.contains_key(node);
        match &event {
            Event::Received { from, message: crate::Message::ClientServer(message) } => {
                self.hub_received(&from.clone(), message);
                return Ok(());
            }
            Event::Left(node) | Event::LinkDown(node) if !is_hub(node) => {
                if self.clients.remove(node) {
                    self.actions.push(Action::Disconnect(node.clone()));
                }
                return Ok(());
            }
            Event::Joined(node) | Event::LinkUp(node) if !is_hub(node) => return Ok(()),
            _ => {}
        }
        let actions = self.mesh.handle(self.now, event)?;
        self.actions.extend(actions.into_iter().filter(|action| !matches!(action, Action::SetView(_))));
        Ok(())
    }

    fn hub_received(&mut self, from: &NodeId, message: &Message) {
        match message {
            Message::Attach if self.hubs.contains_key(from) => self.say(from, Message::Refused),
            Message::Attach if self.clients.contains(from) => self.say(from, Message::Attached),
            Message::Attach if self.clients.len() < self.params.max_clients as usize => {
                self.clients.insert(from.clone());
                self.actions.push(Action::Connect(from.clone()));
                self.say(from, Message::Attached);
            }
            Message::Attach => self.say(from, Message::Refused),
            Message::Detach => {
                if self.clients.remove(from) {
                    self.actions.push(Action::Disconnect(from.clone()));
                }
            }
            Message::Attached | Message::Refused => {}
        }
    }

    // --- a client ---

    fn as_client(&mut self, event: Event) {
        match event {
            Event::Joined(node) => {
                if let Some(hub) = self.hubs.get_mut(&node) {
                    hub.member = true;
                }
            }
            Event::Left(node) => {
                if let Some(hub) = self.hubs.get_mut(&node) {
                    *hub = Hub { link: Link::Free { from: 0 }, failures: 0, member: false };
                    self.actions.push(Action::Disconnect(node));
                }
            }
            Event::LinkDown(node) => self.hub_failed(&node),
            Event::Received { from, message: crate::Message::ClientServer(message) } => {
                self.client_received(&from, &message);
            }
            Event::LinkUp(_) | Event::Received { .. } | Event::Met(_) | Event::Wanted(_) | Event::Tick => {}
        }
        let late = |hub: &Hub| matches!(hub.link, Link::Asked { deadline } if deadline <= self.now);
        let late: Vec<NodeId> = self.hubs.iter().filter(|(_, hub)| late(hub)).map(|(node, _)| node.clone()).collect();
        for node in late {
            self.hub_failed(&node);
        }
        self.attach();
    }

    fn client_received(&mut self, from: &NodeId, message: &Message) {
        let wanted = self.params.hubs_of_a_client as usize;
        let attached = self.attached().count();
        match (message, self.hubs.get_mut(from)) {
            // A client takes no clients.
            (Message::Attach, _) => self.say(from, Message::Refused),
            (_, None) => {}
            (Message::Attached, Some(hub)) if hub.link == Link::Attached => {}
            (Message::Attached, Some(hub)) if attached < wanted => {
                (hub.link, hub.failures) = (Link::Attached, 0);
                self.actions.push(Action::Connect(from.clone()));
            }
            // It answered too late: another one has its place.
            (Message::Attached, Some(hub)) => {
                hub.link = Link::Free { from: self.now };
                self.say(from, Message::Detach);
                self.actions.push(Action::Disconnect(from.clone()));
            }
            (Message::Refused | Message::Detach, Some(_)) => self.hub_failed(from),
        }
    }

    fn attached(&self) -> impl Iterator<Item = &NodeId> {
        self.hubs.iter().filter(|(_, hub)| hub.link == Link::Attached).map(|(node, _)| node)
    }

    fn hub_failed(&mut self, node: &NodeId) {
        let Some(hub) = self.hubs.get_mut(node).filter(|hub| !matches!(hub.link, Link::Free { .. })) else { return };
        let wait = self.backoff.delay(hub.failures, &mut self.random);
        hub.failures = hub.failures.saturating_add(1);
        hub.link = Link::Free { from: self.now.saturating_add(wait) };
        self.actions.push(Action::Disconnect(node.clone()));
    }

    fn attach(&mut self) {
        let busy = self.hubs.values().filter(|hub| !matches!(hub.link, Link::Free { .. })).count();
        let missing = (self.params.hubs_of_a_client as usize).saturating_sub(busy);
        let free = |hub: &Hub| hub.member && matches!(hub.link, Link::Free { from } if from <= self.now);
        let mut free: Vec<NodeId> = self.hubs.iter().filter(|(_, h)| free(h)).map(|(node, _)| node.clone()).collect();
        for node in self.random.sample(&mut free, missing).to_vec() {
            if let Some(hub) = self.hubs.get_mut(&node) {
                hub.link = Link::Asked { deadline: self.now.saturating_add(self.params.request_timeout) };
            }
            self.say(&node, Message::Attach);
        }
        let missing = missing.saturating_sub(free.len());
        let due = self.hubs.values().filter_map(|hub| match hub.link {
            Link::Asked { deadline } => Some(deadline),
            Link::Free { from } if hub.member && missing > 0 && from > self.now => Some(from),
            _ => None,
        });
        let next = due.min();
        if let Some(at) = next.filter(|_| next != self.tick_at) {
            self.actions.push(Action::ScheduleTick(at.saturating_sub(self.now)));
        }
        self.tick_at = next;
    }
}

impl Overlay for ClientServer {
    fn handle(&mut self, now: Millis, event: Event) -> Result<Vec<Action>, OverlayError> {
        self.now = self.now.max(now);
        if event == Event::Tick {
            self.tick_at = None;
        }
        let before = self.view();
        match self.params.role {
            Role::Hub => self.as_hub(event)?,
            Role::Client => self.as_client(event),
        }
        let after = self.view();
        if before != after {
            self.actions.push(Action::SetView(after));
        }
        Ok(std::mem::take(&mut self.actions))
    }

    fn view(&self) -> Vec<NodeId> {
        match self.params.role {
            Role::Hub => {
                let mut view = self.mesh.view();
                view.extend(self.clients.iter().cloned());
                view.sort_unstable();
                view
            }
            Role::Client => self.attached().cloned().collect(),
        }
    }

    fn reserve(&self) -> Vec<NodeId> {
        let free = self.hubs.iter().filter(|(_, hub)| hub.member && hub.link != Link::Attached);
        match self.params.role {
            Role::Hub => Vec::new(),
            Role::Client => free.map(|(node, _)| node.clone()).collect(),
        }
    }

    fn relays(&self) -> bool {
        self.params.role == Role::Hub
    }

    fn copy(&self) -> Box<dyn Overlay> {
        Box::new(self.clone())
    }
}

impl Wire for Message {
    fn write(&self, to: &mut Writer) {
        to.byte(match self {
            Self::Attach => 0,
            Self::Attached => 1,
            Self::Refused => 2,
            Self::Detach => 3,
        });
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.byte()? {
            0 => Self::Attach,
            1 => Self::Attached,
            2 => Self::Refused,
            3 => Self::Detach,
            kind => return Err(DecodeError::Kind(kind)),
        })
    }
}

#[cfg(test)]
#[path = "client_server_tests.rs"]
mod tests;
