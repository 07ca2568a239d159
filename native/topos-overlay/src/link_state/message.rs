//! What two [`LinkState`](super::LinkState) machines say to each other.

use crate::{
    codec::{DecodeError, Reader, Wire, Writer},
    NodeId,
};

/// The most links that a node advertises: a hub with as many clients as it may have, and the other hubs.
pub const MAX_LINKS: usize = 8_192;

/// Whom a node has confirmed links to, in its own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advert {
    /// Whose links these are.
    pub node: NodeId,
    /// Its incarnation.
    pub epoch: u64,
    /// Grows with every change within an incarnation.
    pub version: u64,
    /// Whether it passes on what one node sends to another.
    pub relays: bool,
    /// In the order of their names, without the node itself.
    pub links: Vec<NodeId>,
}

/// What two machines say to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Adverts that may be news.
    Adverts(Vec<Advert>),
    /// A number made of all adverts the sender holds. Who has another answers with all of its own, and wants the
    /// sender's.
    Digest(u64),
    /// Send me all adverts you hold.
    Want,
}

impl Wire for Advert {
    fn write(&self, to: &mut Writer) {
        to.node(&self.node);
        to.number(self.epoch);
        to.number(self.version);
        to.byte(u8::from(self.relays));
        to.bounded_list(&self.links, MAX_LINKS, Writer::node);
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (node, epoch, version) = (from.node()?, from.number()?, from.number()?);
        let relays = match from.byte()? {
            0 => false,
            1 => true,
            kind => return Err(DecodeError::Kind(kind)),
        };
        Ok(Self { node, epoch, version, relays, links: from.bounded_list(MAX_LINKS, Reader::node)? })
    }
}

impl Wire for Message {
    fn write(&self, to: &mut Writer) {
        match self {
            Self::Adverts(adverts) => {
                to.byte(0);
                to.list(adverts, |to, advert| advert.write(to));
            }
            Self::Digest(digest) => {
                to.byte(1);
                to.number(*digest);
            }
            Self::Want => to.byte(2),
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(match from.byte()? {
            0 => Self::Adverts(from.list(Wire::read)?),
            1 => Self::Digest(from.number()?),
            2 => Self::Want,
            kind => return Err(DecodeError::Kind(kind)),
        })
    }
}
