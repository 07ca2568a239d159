//! What two [`Swim`](super::Swim) machines say to each other, and in which order news count.

use crate::{
    codec::{DecodeError, Reader, Wire, Writer},
    NodeId,
};

/// What is said of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// It answers.
    Alive,
    /// It did not answer somebody, and may still refute it.
    Suspect,
    /// It did not refute it.
    Dead,
}

/// News of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    /// Of whom.
    pub node: NodeId,
    /// Of which incarnation: only the node itself makes it greater.
    pub incarnation: u64,
    /// What is said of it.
    pub status: Status,
}

impl Update {
    /// The order of news about one node (SWIM, section 4.2): a later incarnation counts; within one, the worse. Death
    /// is refuted like a suspicion, by a later incarnation, since here a node that was only cut off comes back.
    pub(super) fn rank(incarnation: u64, status: Status) -> (u64, Status) {
        (incarnation, status)
    }
}

/// What two machines say to each other. All of it may be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Are you there?
    Ping {
        /// Repeated in the answer.
        number: u64,
        /// News.
        updates: Vec<Update>,
    },
    /// I am, or: the node that you asked me to ask is.
    Ack {
        /// Of the question.
        number: u64,
        /// News.
        updates: Vec<Update>,
    },
    /// Is that node there? It does not answer me.
    PingRequest {
        /// Repeated in the answer.
        number: u64,
        /// Whom to ask.
        target: NodeId,
        /// News.
        updates: Vec<Update>,
    },
}

impl Wire for Update {
    fn write(&self, to: &mut Writer) {
        to.node(&self.node);
        to.number(self.incarnation);
        to.byte(self.status as u8);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (node, incarnation) = (from.node()?, from.number()?);
        let status = match from.byte()? {
            0 => Status::Alive,
            1 => Status::Suspect,
            2 => Status::Dead,
            kind => return Err(DecodeError::Kind(kind)),
        };
        Ok(Self { node, incarnation, status })
    }
}

impl Wire for Message {
    fn write(&self, to: &mut Writer) {
        let (kind, number, updates) = match self {
            Self::Ping { number, updates } => (0, number, updates),
            Self::Ack { number, updates } => (1, number, updates),
            Self::PingRequest { number, updates, .. } => (2, number, updates),
        };
        to.byte(kind);
        to.number(*number);
        if let Self::PingRequest { target, .. } = self {
            to.node(target);
        }
        to.list(updates, |to, update| update.write(to));
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let kind = from.byte()?;
        let number = from.number()?;
        Ok(match kind {
            0 => Self::Ping { number, updates: from.list(Wire::read)? },
            1 => Self::Ack { number, updates: from.list(Wire::read)? },
            2 => Self::PingRequest { number, target: from.node()?, updates: from.list(Wire::read)? },
            kind => return Err(DecodeError::Kind(kind)),
        })
    }
}
