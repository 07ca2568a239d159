//! What two [`HyParView`](super::HyParView) machines say to each other.

use crate::{
    codec::{DecodeError, Reader, Wire, Writer},
    NodeId,
};

/// How much a node that asks to be taken as a neighbour needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Priority {
    /// It has no neighbour: it is taken, if another one can go.
    High,
    /// It is taken where there is room.
    Low,
}

/// What two machines say to each other; the names are the paper's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Take me into the cluster. Answered by [`Message::Accept`], or by [`Message::Reject`] where every neighbour of the asked
    /// node has no other.
    Join,
    /// A node has joined: a random walk that ends with an offer to it.
    ForwardJoin {
        /// Who joined.
        node: NodeId,
        /// How many steps are left.
        ttl: u8,
    },
    /// Take me as a neighbour. Answered by [`Message::Accept`] or [`Message::Reject`].
    Neighbour(Priority),
    /// You are in my active view.
    Accept,
    /// You are not: there is no room.
    Reject,
    /// Let me take you out of my active view. Answered by [`Message::Disconnect`], or by [`Message::Keep`] of who has no other
    /// neighbour to rely on.
    Yield {
        /// For whom the place is needed, if it is needed for anybody: a node with room, or soon a neighbour of the sender.
        instead: Option<NodeId>,
    },
    /// You are not in my active view any more.
    Disconnect,
    /// You are all that I have: look for another place.
    Keep,
    /// A sample of somebody's views: a random walk that ends with a sample in return.
    Shuffle {
        /// Whose views.
        origin: NodeId,
        /// How many steps are left.
        ttl: u8,
        /// The sample.
        nodes: Vec<NodeId>,
    },
    /// The sample in return.
    ShuffleReply(Vec<NodeId>),
    /// Am I in your active view, as you are in mine? Who does not think so takes the sender in, or asks to be let go.
    Confirm,
}

impl Wire for Message {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Join => to.byte(0),
            Self::ForwardJoin { node, ttl } => {
                to.byte(1);
                to.node(node);
                to.byte(*ttl);
            }
            Self::Neighbour(Priority::High) => to.byte(2),
            Self::Neighbour(Priority::Low) => to.byte(3),
            Self::Accept => to.byte(4),
            Self::Reject => to.byte(5),
            Self::Yield { instead: None } => to.byte(6),
            Self::Yield { instead: Some(node) } => {
                to.byte(7);
                to.node(node);
            }
            Self::Shuffle { origin, ttl, nodes } => {
                to.byte(8);
                to.node(origin);
                to.byte(*ttl);
                to.list(nodes, Writer::node);
            }
            Self::ShuffleReply(nodes) => {
                to.byte(9);
                to.list(nodes, Writer::node);
            }
            Self::Confirm => to.byte(10),
            Self::Disconnect => to.byte(11),
            Self::Keep => to.byte(12),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.byte()? {
            0 => Self::Join,
            1 => Self::ForwardJoin { node: from.node()?, ttl: from.byte()? },
            2 => Self::Neighbour(Priority::High),
            3 => Self::Neighbour(Priority::Low),
            4 => Self::Accept,
            5 => Self::Reject,
            6 => Self::Yield { instead: None },
            7 => Self::Yield { instead: Some(from.node()?) },
            8 => Self::Shuffle { origin: from.node()?, ttl: from.byte()?, nodes: from.list(Reader::node)? },
            9 => Self::ShuffleReply(from.list(Reader::node)?),
            10 => Self::Confirm,
            11 => Self::Disconnect,
            12 => Self::Keep,
            kind => return Err(DecodeError::Kind(kind)),
        })
    }
}
