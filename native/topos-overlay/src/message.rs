//! What the machines of two nodes say to each other.

use crate::{
    client_server,
    codec::{DecodeError, Reader, Wire, Writer},
    custom, hyparview, link_state, plumtree, router, swim,
};
use std::sync::Arc;

/// The version of the format; a message of another one is refused.
pub(crate) const VERSION: u8 = 1;

/// The longest list in a message: names, announcements, updates.
pub const MAX_IDS: usize = 255;

/// The largest payload of a broadcast or a routed message: 64 MiB, the frame's own bound being the shell's.
pub const MAX_PAYLOAD_BYTES: usize = 64 << 20;

/// Bytes that a message carries for a user; cheap to copy.
pub type Payload = Arc<[u8]>;

/// A message between two machines, of the protocol that understands it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Between two [`crate::HyParView`].
    HyParView(hyparview::Message),
    /// Between two [`crate::ClientServer`].
    ClientServer(client_server::Message),
    /// Between two [`crate::Plumtree`].
    Plumtree(plumtree::Message),
    /// Between two [`crate::Router`].
    Router(router::Message),
    /// Between two [`crate::Swim`].
    Swim(swim::Message),
    /// Between two [`crate::LinkState`].
    LinkState(link_state::Message),
    /// Between two [`crate::Custom`].
    Custom(custom::Message),
}

impl Message {
    /// The bytes: version, protocol, kind, fields. A message has one way to be written.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer::default();
        to.byte(VERSION);
        match self {
            Self::HyParView(message) => tagged(&mut to, 1, message),
            Self::ClientServer(message) => tagged(&mut to, 2, message),
            Self::Plumtree(message) => tagged(&mut to, 3, message),
            Self::Router(message) => tagged(&mut to, 4, message),
            Self::Swim(message) => tagged(&mut to, 5, message),
            Self::LinkState(message) => tagged(&mut to, 6, message),
            Self::Custom(message) => tagged(&mut to, 7, message),
        }
        to.finish()
    }

    /// Reads what [`Message::encode`] wrote. Any bytes may come: lengths are held against their bounds and against what is
    /// there before anything is allocated.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let version = from.byte()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let message = match from.byte()? {
            1 => Self::HyParView(Wire::read(&mut from)?),
            2 => Self::ClientServer(Wire::read(&mut from)?),
            3 => Self::Plumtree(Wire::read(&mut from)?),
            4 => Self::Router(Wire::read(&mut from)?),
            5 => Self::Swim(Wire::read(&mut from)?),
            6 => Self::LinkState(Wire::read(&mut from)?),
            7 => Self::Custom(Wire::read(&mut from)?),
            kind => return Err(DecodeError::Kind(kind)),
        };
        from.end()?;
        Ok(message)
    }
}

fn tagged(to: &mut Writer, protocol: u8, message: &impl Wire) {
    to.byte(protocol);
    message.write(to);
}
