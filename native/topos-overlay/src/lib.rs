//! Overlay state machines: `(state, event) -> (state, [action])`, no clock, no sockets.
//!
//! An overlay decides which peers a node keeps links to. It is driven by one process of the shell: the process reports what
//! happened ([`Event`]) together with the time, and carries out what comes back ([`Action`]). Nothing here reads a
//! clock, opens a socket or draws randomness that the seed does not fix, so the same events give the same actions, in
//! production and in a simulation of thousands of nodes.
//!
//! A node is an opaque, bounded string of bytes at this layer ([`NodeId`]): the shell decides what it means.
//!
//! # The driver's duties
//! - Times are milliseconds on any monotonic scale, the same for all calls on one state. A time earlier than one seen before
//!   counts as the latest one seen.
//! - [`Action::ScheduleTick`] replaces the tick scheduled before: one timer an overlay is enough. A tick that comes early or
//!   late does no harm, a tick that never comes stops the retries.
//! - [`Action::Connect`] is answered, sooner or later, by [`Event::LinkUp`] or [`Event::LinkDown`]; if neither comes within
//!   the connect time-out, the overlay takes it for a failure.
//! - [`Action::Send`] to a node without a link opens one for the message and may close it when it has been idle. What two
//!   nodes send each other arrives in order. If it cannot be sent, [`Event::LinkDown`] says so.
//! - Bytes from a peer become a [`Message`] by [`Message::decode`]; what it refuses never reaches an overlay.
//!
//! # What stands on an overlay
//! [`Plumtree`] broadcasts along the links of any overlay, [`Router`] carries a message to a node that is no neighbour;
//! [`Stack`] is the three of them in one machine. [`LinkState`] knows the ways to all nodes beforehand; [`Routed`] is an overlay
//! with a tree and these, what a live node runs. [`Swim`] detects failures, beside any overlay.

mod backoff;
pub mod client_server;
mod codec;
pub mod custom;
mod full_mesh;
pub mod hyparview;
pub mod link_state;
mod message;
mod node;
mod params;
pub mod plumtree;
mod random;
mod routed;
pub mod router;
mod stack;
pub mod swim;

pub use backoff::Backoff;
pub use client_server::{ClientServer, ClientServerParams};
pub use codec::DecodeError;
pub use custom::{Custom, CustomParams};
pub use full_mesh::{FullMesh, FullMeshParams};
pub use hyparview::{HyParView, HyParViewParams};
pub use link_state::{LinkState, LinkStateParams};
pub use message::{Message, Payload, MAX_IDS, MAX_PAYLOAD_BYTES};
pub use node::{NodeId, MAX_NODE_BYTES};
pub use params::Violation;
pub use plumtree::{Plumtree, PlumtreeParams};
pub use random::Random;
pub use routed::{Routed, RoutedAction, RoutedEvent, RoutedParams};
pub use router::{Router, RouterParams};
pub use stack::{Stack, StackAction, StackEvent, StackParams};
pub use swim::{Swim, SwimParams};

/// Milliseconds on the driver's monotonic scale.
pub type Millis = u64;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The node became a member of the cluster. Repeating it changes nothing.
    Joined(NodeId),
    /// The node is no member any more, for good: it is forgotten, and never connected to until it joins again.
    Left(NodeId),
    /// A link to the node is up, whoever opened it.
    LinkUp(NodeId),
    /// The link to the node went down, or could not be opened.
    LinkDown(NodeId),
    /// The overlay of that node sent this message to this one's.
    Received {
        /// Who sent it. The driver vouches for it.
        from: NodeId,
        /// What it says.
        message: Message,
    },
    /// There is a link to this member, and no way to it over the overlay: it belongs to another part of the cluster. The
    /// overlay is to join the two; [`Event::Joined`] came before.
    Met(NodeId),
    /// Link to these nodes, and to no others of your own accord: what decides the topology says so. For [`Custom`] alone.
    Wanted(Vec<NodeId>),
    /// The time of a scheduled tick has come.
    Tick,
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Open a link to the node, or keep the one there is. The node is in the view, or asked whether it takes this one.
    Connect(NodeId),
    /// Close the link to the node and give up any attempt to open one.
    Disconnect(NodeId),
    /// The nodes to keep links to have changed: all of them, in the order of their names, without this node.
    SetView(Vec<NodeId>),
    /// Hand the message to the overlay of that node, in order with the others to it: see the driver's duties.
    Send {
        /// For whom.
        to: NodeId,
        /// What to say.
        message: Message,
    },
    /// Send [`Event::Tick`] after this many milliseconds, instead of the tick scheduled before.
    ScheduleTick(Millis),
}

/// Why an overlay refused parameters or an event. Its state is as it was before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OverlayError {
    /// A node's name is empty or too long.
    #[error("a node's name has 1 to {MAX_NODE_BYTES} bytes, this one has {bytes}")]
    InvalidNode {
        /// The length that came.
        bytes: usize,
    },
    /// One member too many.
    #[error("the overlay holds its limit of {limit} members")]
    TooManyMembers {
        /// The limit that is configured.
        limit: u32,
    },
    /// Parameters are out of their ranges: all that are.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    InvalidParameters(Vec<Violation>),
}

/// A topology as a state machine.
pub trait Overlay: Send {
    /// Takes one event at a time of the driver's scale and answers with what is to be done, in order.
    ///
    /// An error leaves the state unchanged.
    fn handle(&mut self, now: Millis, event: Event) -> Result<Vec<Action>, OverlayError>;

    /// The nodes to keep links to, in the order of their names, without this node.
    fn view(&self) -> Vec<NodeId>;

    /// Nodes that it knows of and may turn to when it loses one of the view. Empty where the view is all there is.
    fn reserve(&self) -> Vec<NodeId> {
        Vec::new()
    }

    /// Whether the node carries what one node sends to another ([`Router`]). A client of hubs does not.
    fn relays(&self) -> bool {
        true
    }

    /// A copy of the state: given the same events, both do the same.
    fn copy(&self) -> Box<dyn Overlay>;
}
