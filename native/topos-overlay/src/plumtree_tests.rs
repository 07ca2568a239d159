use super::*;

fn node(n: u8) -> NodeId {
    NodeId::new(&[n]).expect("one byte")
}

fn tree(neighbours: &[u8], change: impl FnOnce(&mut PlumtreeParams)) -> Plumtree {
    let mut params = PlumtreeParams::new(node(0), 1);
    change(&mut params);
    let mut tree = Plumtree::new(params).expect("valid");
    for &neighbour in neighbours {
        assert_eq!(tree.neighbour_up(0, &node(neighbour)), []);
    }
    tree
}

fn id(number: u64) -> BroadcastId {
    BroadcastId { origin: node(9), epoch: 1, number }
}

fn gossip(number: u64, hops: u32) -> Message {
    Message::Gossip { id: id(number), hops, payload: Payload::from(&b"news"[..]) }
}

fn sent(actions: &[Action]) -> Vec<(NodeId, Message)> {
    let message = |action: &Action| match action {
        Action::Send { to, message } => Some((to.clone(), message.clone())),
        Action::Deliver { .. } => None,
    };
    actions.iter().filter_map(message).collect()
}

#[test]
fn a_broadcast_is_delivered_once_and_passed_on_to_all_others() {
    let mut tree = tree(&[1, 2, 3], |_| {});
    let actions = tree.received(0, &node(1), gossip(0, 1));
    let deliver = Action::Deliver { id: id(0), hops: 1, payload: Payload::from(&b"news"[..]) };
    assert_eq!(actions[0], deliver);
    assert_eq!(sent(&actions), [(node(2), gossip(0, 2)), (node(3), gossip(0, 2))]);
    let copy = tree.received(1, &node(2), gossip(0, 4));
    assert_eq!(copy, [Action::Send { to: node(2), message: Message::Prune }]);
    assert_eq!(tree.lazy().collect::<Vec<_>>(), [&node(2)]);
    let next = tree.received(2, &node(1), gossip(1, 1));
    assert!(sent(&next).contains(&(node(2), Message::IHave(vec![(id(1), 2)]))), "announced only: {next:?}");
}

#[test]
fn ones_own_broadcast_comes_back_as_a_copy() {
    let mut tree = tree(&[1], |_| {});
    let (own, actions) = tree.broadcast(0, Payload::from(&b"mine"[..]));
    assert_eq!(sent(&actions).len(), 1);
    let back = Message::Gossip { id: own, hops: 3, payload: Payload::from(&b"mine"[..]) };
    assert_eq!(tree.received(1, &node(1), back), [Action::Send { to: node(1), message: Message::Prune }]);
}

#[test]
fn what_was_announced_and_does_not_come_is_asked_for_from_one_announcer_after_the_other() {
    let mut tree = tree(&[1, 2], |_| {});
    tree.received(0, &node(1), Message::Prune);
    tree.received(0, &node(1), Message::IHave(vec![(id(0), 1)]));
    tree.received(5, &node(2), Message::IHave(vec![(id(0), 1)]));
    assert_eq!(tree.next_tick(), Some(1_000));
    assert_eq!(tree.tick(999), []);
    assert_eq!(tree.tick(1_000), [Action::Send { to: node(1), message: Message::Graft(id(0)) }]);
    assert!(tree.eager().any(|eager| *eager == node(1)), "it is in the tree again");
    assert_eq!(tree.tick(1_250), [Action::Send { to: node(2), message: Message::Graft(id(0)) }]);
    tree.tick(1_500);
    assert_eq!(tree.next_tick(), None, "nobody is left to ask");
    tree.received(1_600, &node(1), Message::IHave(vec![(id(0), 1)]));
    tree.received(1_700, &node(1), gossip(0, 1));
    assert_eq!(tree.next_tick(), None, "it came by itself");
}

#[test]
fn who_asks_gets_the_broadcast_and_whatever_comes() {
    let mut tree = tree(&[1, 2], |_| {});
    tree.received(0, &node(1), gossip(0, 1));
    tree.received(0, &node(2), Message::Prune);
    let actions = tree.received(1, &node(2), Message::Graft(id(0)));
    assert_eq!(sent(&actions), [(node(2), gossip(0, 2))]);
    assert_eq!(tree.lazy().count(), 0);
    assert_eq!(tree.received(2, &node(2), Message::Graft(id(7))), [], "it does not have that");
}

#[test]
fn a_much_nearer_announcer_takes_the_senders_place() {
    let mut tree = tree(&[1, 2], |params| params.threshold = 3);
    tree.received(0, &node(2), Message::IHave(vec![(id(0), 2)]));
    let actions = sent(&tree.received(1, &node(1), gossip(0, 5)));
    assert!(actions.contains(&(node(2), Message::Graft(id(0)))) && actions.contains(&(node(1), Message::Prune)));
}

#[test]
fn a_new_neighbour_hears_of_what_is_recent() {
    let mut tree = tree(&[1], |_| {});
    tree.received(0, &node(1), gossip(0, 1));
    tree.received(4_000, &node(1), gossip(1, 1));
    let told = sent(&tree.neighbour_up(6_000, &node(2)));
    assert_eq!(told, [(node(2), Message::IHave(vec![(id(1), 2)]))]);
}

#[test]
fn tables_keep_their_bounds() {
    let change = |params: &mut PlumtreeParams| {
        (params.max_seen, params.max_cached_bytes, params.max_missing) = (8, 10, 4);
    };
    let mut tree = tree(&[1, 2], change);
    for number in 0..100 {
        tree.received(number, &node(1), gossip(number, 1));
        tree.received(number, &node(2), Message::IHave(vec![(id(1_000 + number), 1)]));
        assert!(tree.seen.len() <= 8 && tree.order.len() <= 8 && tree.missing.len() <= 4);
        assert!(tree.cached_bytes <= 10 && tree.cached.len() <= 2);
        let kept: u64 = tree.seen.values().filter_map(|seen| seen.payload.as_ref()).map(|p| p.len() as u64).sum();
        assert_eq!(kept, tree.cached_bytes);
    }
    let huge = Message::Gossip { id: id(500), hops: 1, payload: vec![0; 11].into() };
    tree.received(200, &node(1), huge);
    assert!(tree.known(&id(500)) && tree.cached_bytes <= 10, "known, and not kept");
}

#[test]
fn a_stranger_changes_nothing_in_the_tree() {
    let mut tree = tree(&[1], |_| {});
    tree.received(0, &node(7), Message::Graft(id(0)));
    tree.received(0, &node(7), Message::IHave(vec![(id(0), 1)]));
    assert_eq!((tree.eager().count(), tree.lazy().count(), tree.next_tick()), (1, 0, None));
    tree.neighbour_down(&node(1));
    assert_eq!(tree.eager().count(), 0);
}

#[test]
fn what_is_announced_before_this_end_knows_of_the_link_is_asked_for() {
    let mut tree = tree(&[1], |_| {});
    tree.received(0, &node(7), Message::IHave(vec![(id(0), 1), (id(1), 1)]));
    tree.received(0, &node(8), Message::IHave(vec![(id(2), 1)]));
    tree.received(1, &node(1), gossip(1, 1));
    assert_eq!(tree.next_tick(), None);
    tree.neighbour_up(10, &node(7));
    let due = tree.next_tick().expect("something is missing");
    assert_eq!(sent(&tree.tick(due)), [(node(7), Message::Graft(id(0)))], "neither what came nor what a stranger has");
    let late = 10 + tree.params.announce_for + 1;
    tree.neighbour_up(late, &node(8));
    assert_eq!(tree.missing.len(), 1, "what was announced long ago is no news");
}

#[test]
fn strangers_take_a_bounded_place() {
    let mut tree = tree(&[1], |_| {});
    for number in 0..1_000 {
        tree.received(0, &node(7), Message::IHave(vec![(id(number), 1)]));
    }
    assert_eq!(tree.early.len(), EARLY);
    tree.neighbour_up(0, &node(7));
    assert_eq!((tree.early.len(), tree.missing.len()), (0, EARLY));
}
