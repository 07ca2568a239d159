//! Names of nodes.

use crate::OverlayError;
use std::{cmp::Ordering, fmt, hash, sync::Arc};

/// The longest name of a node, in bytes. An Erlang node name has at most 255 characters of up to four bytes.
pub const MAX_NODE_BYTES: usize = 1020;

/// Names up to this length are kept in place. Overlays compare names all the time: without a pointer to follow, a
/// simulation of 10,000 nodes takes half the time, and most names of real nodes (`node12@192.168.100.1`) fit.
const IN_PLACE: usize = 22;

/// A node's name: opaque bytes, 1 to [`MAX_NODE_BYTES`] of them, cheap to copy. Ordered as its bytes are.
#[derive(Clone)]
pub struct NodeId(Name);

#[derive(Clone)]
enum Name {
    /// The bytes beyond the length are zero.
    Short { bytes: [u8; IN_PLACE], len: u8 },
    /// Longer than [`IN_PLACE`]: a name has one form.
    Long(Arc<[u8]>),
}

impl NodeId {
    /// Takes a name, or says why it is none.
    pub fn new(name: &[u8]) -> Result<Self, OverlayError> {
        let len = name.len();
        if len == 0 || len > MAX_NODE_BYTES {
            return Err(OverlayError::InvalidNode { bytes: len });
        }
        let mut bytes = [0; IN_PLACE];
        Ok(Self(match bytes.get_mut(..len) {
            Some(place) => {
                place.copy_from_slice(name);
                Name::Short { bytes, len: len as u8 }
            }
            None => Name::Long(Arc::from(name)),
        }))
    }

    /// The bytes of the name.
    pub fn as_bytes(&self) -> &[u8] {
        match &self.0 {
            Name::Short { bytes, len } => &bytes[..usize::from(*len)],
            Name::Long(bytes) => bytes,
        }
    }
}

impl PartialEq for NodeId {
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            // Whole arrays: a comparison of a fixed length is a few instructions.
            (Name::Short { bytes, len }, Name::Short { bytes: others, len: of_other }) => {
                bytes == others && len == of_other
            }
            (Name::Long(bytes), Name::Long(others)) => bytes == others,
            _ => false,
        }
    }
}

impl Eq for NodeId {}

impl Ord for NodeId {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            // Zeros fill the shorter one; where they are of the longer name, the lengths decide. This is the order of slices.
            (Name::Short { bytes, len }, Name::Short { bytes: others, len: of_other }) => {
                bytes.cmp(others).then(len.cmp(of_other))
            }
            _ => self.as_bytes().cmp(other.as_bytes()),
        }
    }
}

impl PartialOrd for NodeId {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl hash::Hash for NodeId {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.as_bytes().hash(state);
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({:?})", self.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_has_its_bounds() {
        assert!(NodeId::new(b"").is_err());
        assert!(NodeId::new(&[7; MAX_NODE_BYTES + 1]).is_err());
        assert_eq!(std::mem::size_of::<NodeId>(), 24, "as large as a vector");
    }

    proptest! {
        /// Zeros and lengths around the bound are where a name in place could be taken for another.
        #[test]
        fn names_are_what_their_bytes_are(
            one in prop::collection::vec(0..3u8, 1..30), other in prop::collection::vec(0..3u8, 1..30)
        ) {
            let (a, b) = (NodeId::new(&one).unwrap(), NodeId::new(&other).unwrap());
            prop_assert_eq!(a.as_bytes(), &one[..]);
            prop_assert_eq!(a.cmp(&b), one.cmp(&other));
            prop_assert_eq!(a == b, one == other);
            prop_assert_eq!(a.clone(), a);
        }

        #[test]
        fn a_name_and_a_longer_one_that_begins_with_it(name in prop::collection::vec(any::<u8>(), 1..40), more in 1..40usize) {
            let long = [&name[..], &vec![0; more]].concat();
            let (short, long) = (NodeId::new(&name).unwrap(), NodeId::new(&long).unwrap());
            prop_assert!(short < long && short != long);
        }
    }
}
