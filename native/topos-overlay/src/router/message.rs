//! What two [`Router`](super::Router) machines say to each other.

use crate::{
    codec::{DecodeError, Reader, Wire, Writer},
    NodeId, Payload,
};

/// Which message from end to end: its number is the source's, within one incarnation of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parcel {
    /// Who sent it.
    pub source: NodeId,
    /// The source's incarnation.
    pub epoch: u64,
    /// Counts the source's messages.
    pub number: u64,
    /// For whom.
    pub target: NodeId,
}

/// What two machines say to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Where is the target? Passed on to all neighbours, each node once.
    Find {
        /// Who asks.
        source: NodeId,
        /// Which question of the source, together with its incarnation.
        epoch: u64,
        /// Counts the source's questions.
        number: u64,
        /// Who is looked for.
        target: NodeId,
        /// How many links it may still pass.
        ttl: u8,
    },
    /// The target was found: goes back the way the question came.
    Found {
        /// Who asked.
        source: NodeId,
        /// Who was looked for.
        target: NodeId,
        /// How many links it may still pass.
        ttl: u8,
    },
    /// A message on its way.
    Carry {
        /// Which.
        parcel: Parcel,
        /// The source sends nothing below this number to this target any more.
        floor: u64,
        /// How many links it may still pass.
        ttl: u8,
        /// Its content.
        payload: Payload,
    },
    /// It was delivered: goes from the target to the source.
    Delivered {
        /// Which.
        parcel: Parcel,
        /// How many links it may still pass.
        ttl: u8,
    },
    /// The way to the target is broken here: goes to the source.
    Lost {
        /// Who sent what cannot go on.
        source: NodeId,
        /// Who cannot be reached from here.
        target: NodeId,
        /// How many links it may still pass.
        ttl: u8,
    },
}

impl Wire for Parcel {
    fn write(&self, to: &mut Writer) {
        to.node(&self.source);
        to.number(self.epoch);
        to.number(self.number);
        to.node(&self.target);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { source: from.node()?, epoch: from.number()?, number: from.number()?, target: from.node()? })
    }
}

impl Wire for Message {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Find { source, epoch, number, target, ttl } => {
                to.byte(0);
                to.node(source);
                to.number(*epoch);
                to.number(*number);
                to.node(target);
                to.byte(*ttl);
            }
            Self::Found { source, target, ttl } => ends(to, 1, source, target, *ttl),
            Self::Carry { parcel, floor, ttl, payload } => {
                to.byte(2);
                parcel.write(to);
                to.number(*floor);
                to.byte(*ttl);
                to.bytes(payload);
            }
            Self::Delivered { parcel, ttl } => {
                to.byte(3);
                parcel.write(to);
                to.byte(*ttl);
            }
            Self::Lost { source, target, ttl } => ends(to, 4, source, target, *ttl),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.byte()? {
            0 => Self::Find {
                source: from.node()?,
                epoch: from.number()?,
                number: from.number()?,
                target: from.node()?,
                ttl: from.byte()?,
            },
            1 => Self::Found { source: from.node()?, target: from.node()?, ttl: from.byte()? },
            2 => {
                let (parcel, floor) = (Wire::read(from)?, from.number()?);
                Self::Carry { parcel, floor, ttl: from.byte()?, payload: from.payload()? }
            }
            3 => Self::Delivered { parcel: Wire::read(from)?, ttl: from.byte()? },
            4 => Self::Lost { source: from.node()?, target: from.node()?, ttl: from.byte()? },
            kind => return Err(DecodeError::Kind(kind)),
        })
    }
}

fn ends(to: &mut Writer, kind: u8, source: &NodeId, target: &NodeId, ttl: u8) {
    to.byte(kind);
    to.node(source);
    to.node(target);
    to.byte(ttl);
}
