//! Messages as bytes: what is written is read again, and bytes from anybody do no harm.

use proptest::{collection::vec, prelude::*};
use topos_overlay::{
    client_server, custom, hyparview, plumtree, router, swim, DecodeError, Message, NodeId, MAX_IDS, MAX_NODE_BYTES,
};

fn node() -> impl Strategy<Value = NodeId> {
    vec(any::<u8>(), 1..20).prop_map(|name| NodeId::new(&name).expect("not empty"))
}

fn view() -> impl Strategy<Value = hyparview::Message> {
    use hyparview::{Message, Priority};
    prop_oneof![
        Just(Message::Join),
        (node(), any::<u8>()).prop_map(|(node, ttl)| Message::ForwardJoin { node, ttl }),
        Just(Message::Neighbour(Priority::High)),
        Just(Message::Neighbour(Priority::Low)),
        Just(Message::Accept),
        Just(Message::Reject),
        Just(Message::Confirm),
        prop::option::of(node()).prop_map(|instead| Message::Yield { instead }),
        Just(Message::Disconnect),
        Just(Message::Keep),
        (node(), any::<u8>(), vec(node(), 0..9)).prop_map(|(origin, ttl, nodes)| Message::Shuffle {
            origin,
            ttl,
            nodes
        }),
        vec(node(), 0..9).prop_map(Message::ShuffleReply),
    ]
}

fn tree() -> impl Strategy<Value = plumtree::Message> {
    use plumtree::{BroadcastId, Message};
    let id = || {
        (node(), any::<u64>(), any::<u64>()).prop_map(|(origin, epoch, number)| BroadcastId { origin, epoch, number })
    };
    prop_oneof![
        (id(), any::<u32>(), vec(any::<u8>(), 0..50)).prop_map(|(id, hops, payload)| Message::Gossip {
            id,
            hops,
            payload: payload.into()
        }),
        vec((id(), any::<u32>()), 0..9).prop_map(Message::IHave),
        id().prop_map(Message::Graft),
        Just(Message::Prune),
    ]
}

fn route() -> impl Strategy<Value = router::Message> {
    use router::{Message, Parcel};
    let parcel = || {
        (node(), any::<u64>(), any::<u64>(), node()).prop_map(|(source, epoch, number, target)| Parcel {
            source,
            epoch,
            number,
            target,
        })
    };
    prop_oneof![
        (node(), any::<u64>(), any::<u64>(), node(), any::<u8>())
            .prop_map(|(source, epoch, number, target, ttl)| Message::Find { source, epoch, number, target, ttl }),
        (node(), node(), any::<u8>()).prop_map(|(source, target, ttl)| Message::Found { source, target, ttl }),
        (parcel(), any::<u64>(), any::<u8>(), vec(any::<u8>(), 0..50))
            .prop_map(|(parcel, floor, ttl, payload)| Message::Carry { parcel, floor, ttl, payload: payload.into() }),
        (parcel(), any::<u8>()).prop_map(|(parcel, ttl)| Message::Delivered { parcel, ttl }),
        (node(), node(), any::<u8>()).prop_map(|(source, target, ttl)| Message::Lost { source, target, ttl }),
    ]
}

fn probe() -> impl Strategy<Value = swim::Message> {
    use swim::{Message, Status, Update};
    let status = prop_oneof![Just(Status::Alive), Just(Status::Suspect), Just(Status::Dead)];
    let update =
        (node(), any::<u64>(), status).prop_map(|(node, incarnation, status)| Update { node, incarnation, status });
    (any::<u64>(), prop::option::of(node()), any::<bool>(), vec(update, 0..9)).prop_map(
        |(number, target, ack, updates)| match target {
            Some(target) => Message::PingRequest { number, target, updates },
            None if ack => Message::Ack { number, updates },
            None => Message::Ping { number, updates },
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    use client_server::Message as Hub;
    prop_oneof![
        view().prop_map(Message::HyParView),
        tree().prop_map(Message::Plumtree),
        route().prop_map(Message::Router),
        probe().prop_map(Message::Swim),
        prop_oneof![Just(custom::Message::Want), Just(custom::Message::Release)].prop_map(Message::Custom),
        prop_oneof![Just(Hub::Attach), Just(Hub::Attached), Just(Hub::Refused), Just(Hub::Detach)]
            .prop_map(Message::ClientServer),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(message in message()) {
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn every_part_of_a_message_is_refused(message in message(), cut in any::<prop::sample::Index>()) {
        let bytes = message.encode();
        prop_assert!(Message::decode(&bytes[..cut.index(bytes.len())]).is_err());
    }

    #[test]
    fn a_byte_too_many_is_refused(message in message(), byte: u8) {
        let mut bytes = message.encode();
        bytes.push(byte);
        prop_assert_eq!(Message::decode(&bytes), Err(DecodeError::Trailing(1)));
    }

    /// One way to write a message: bytes that are read are those that would be written.
    #[test]
    fn changed_bytes_are_refused_or_are_another_message(
        message in message(), at in any::<prop::sample::Index>(), byte: u8
    ) {
        let mut bytes = message.encode();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(read) = Message::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }

    #[test]
    fn any_bytes_are_refused_or_read(protocol in 0..8u8, kind in 0..12u8, rest in vec(any::<u8>(), 0..200)) {
        let bytes = [&[1, protocol, kind][..], &rest].concat();
        if let Ok(read) = Message::decode(&bytes) {
            prop_assert_eq!(read.encode(), bytes);
        }
    }
}

#[test]
fn lengths_beyond_their_bounds_are_refused_before_anything_is_allocated() {
    // A shuffle reply that announces 2^63 names, a name of 2^32 bytes, a payload of 2^40.
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    let announces = [&[1, 1, 9][..], &huge].concat();
    let limit = MAX_IDS as u64;
    assert_eq!(Message::decode(&announces), Err(DecodeError::TooLong { limit, got: (1 << 63) - 1 }));
    let name = [&[1, 1, 1][..], &[0x80, 0x80, 0x80, 0x80, 0x10]].concat();
    assert_eq!(Message::decode(&name), Err(DecodeError::Name(1 << 32)));
    assert_eq!(Message::decode(&[1, 1, 1, 0]), Err(DecodeError::Name(0)));
    let gossip = [&[1, 3, 0, 1, b'o', 0, 0, 0][..], &[0x80, 0x80, 0x80, 0x80, 0x80, 0x20]].concat();
    assert!(matches!(Message::decode(&gossip), Err(DecodeError::TooLong { got: 0x100_0000_0000, .. })));
    let long = NodeId::new(&[7; MAX_NODE_BYTES]).expect("the longest");
    let message = Message::HyParView(hyparview::Message::ShuffleReply(vec![long; MAX_IDS]));
    assert_eq!(Message::decode(&message.encode()), Ok(message));
}

#[test]
fn numbers_have_one_form_and_fit() {
    let ping = |number: &[u8]| Message::decode(&[&[1, 5, 0], number, &[0]].concat());
    assert!(ping(&[0x80, 0x01]).is_ok());
    assert_eq!(ping(&[0x80, 0x00]), Err(DecodeError::Number), "a needless byte");
    assert!(ping(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]).is_ok(), "2^64 - 1");
    assert_eq!(ping(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02]), Err(DecodeError::Number));
    assert_eq!(Message::decode(&[2, 1, 0]), Err(DecodeError::Version(2)));
}
