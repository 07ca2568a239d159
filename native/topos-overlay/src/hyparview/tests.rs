use super::*;

fn node(name: &str) -> NodeId {
    NodeId::new(name.as_bytes()).expect("a valid name")
}

fn machine(change: impl FnOnce(&mut HyParViewParams)) -> HyParView {
    let mut params = HyParViewParams::new(node("self"));
    change(&mut params);
    HyParView::new(params, 42).expect("valid parameters")
}

fn said(actions: &[Action]) -> Vec<(NodeId, Message)> {
    let message = |action: &Action| match action {
        Action::Send { to, message: crate::Message::HyParView(message) } => Some((to.clone(), message.clone())),
        _ => None,
    };
    actions.iter().filter_map(message).collect()
}

fn hear(machine: &mut HyParView, now: Millis, from: &str, message: Message) -> Vec<Action> {
    let message = crate::Message::HyParView(message);
    machine.handle(now, Event::Received { from: node(from), message }).expect("no overlay event fails")
}

/// A machine with these neighbours.
fn with_neighbours(names: &[&str], change: impl FnOnce(&mut HyParViewParams)) -> HyParView {
    let mut machine = machine(change);
    for name in names {
        hear(&mut machine, 0, name, Message::Neighbour(Priority::High));
    }
    machine
}

#[test]
fn a_node_joins_through_its_contact_and_takes_it_when_it_answers() {
    let mut machine = machine(|_| {});
    let asked = machine.handle(0, Event::Joined(node("contact"))).unwrap();
    assert_eq!(said(&asked), [(node("contact"), Message::Join)]);
    assert_eq!(machine.view(), [], "not before it answered");
    let taken = hear(&mut machine, 10, "contact", Message::Accept);
    assert!(taken.contains(&Action::Connect(node("contact"))));
    assert!(taken.contains(&Action::SetView(vec![node("contact")])));
}

#[test]
fn a_contact_that_does_not_answer_is_asked_again_for_ever() {
    let mut machine = machine(|params| params.request_timeout = 1_000);
    machine.handle(0, Event::Joined(node("contact"))).unwrap();
    let mut asked = 0;
    for second in 1..120 {
        let actions = match second % 2 {
            0 => machine.handle(second * 1_000, Event::Tick),
            _ => machine.handle(second * 1_000, Event::LinkDown(node("contact"))),
        };
        asked += said(&actions.unwrap()).len();
    }
    assert!((5..60).contains(&asked), "again and again, with waits between: {asked}");
}

#[test]
fn who_joins_is_taken_and_walks_spread_its_name() {
    let mut machine = with_neighbours(&["a", "b", "c", "d", "e"], |_| {});
    let actions = hear(&mut machine, 1, "new", Message::Join);
    assert!(machine.view().contains(&node("new")));
    assert_eq!(machine.view().len(), 5);
    let said = said(&actions);
    let dismissed: Vec<&NodeId> = said
        .iter()
        .filter(|(_, m)| *m == Message::Disconnect { instead: Some(node("new")) })
        .map(|(to, _)| to)
        .collect();
    assert_eq!(dismissed.len(), 1, "one makes room and is told for whom");
    let walks = said.iter().filter(|(_, m)| *m == Message::ForwardJoin { node: node("new"), ttl: 6 });
    assert_eq!(walks.count(), 4);
    assert!(said.contains(&(node("new"), Message::Accept)));
    assert!(machine.reserve().contains(dismissed[0]));
}

#[test]
fn a_walk_goes_on_leaves_a_name_on_its_way_and_ends_in_an_offer() {
    // Full, so that it asks nobody on its own account.
    let mut machine = with_neighbours(&["a", "b"], |params| {
        params.active_size = 2;
        params.shuffle_active = 1;
    });
    let walk = |ttl| Message::ForwardJoin { node: node("new"), ttl };
    let on = hear(&mut machine, 1, "a", walk(4));
    assert_eq!(said(&on), [(node("b"), walk(3))]);
    assert!(!machine.reserve().contains(&node("new")));
    hear(&mut machine, 1, "a", walk(3));
    assert!(machine.reserve().contains(&node("new")));
    let end = hear(&mut machine, 1, "a", walk(0));
    assert_eq!(said(&end), [(node("new"), Message::Neighbour(Priority::Low))]);
    let hostile = hear(&mut machine, 2, "a", Message::ForwardJoin { node: node("x"), ttl: 255 });
    assert_eq!(said(&hostile), [(node("b"), Message::ForwardJoin { node: node("x"), ttl: 5 })]);
    hear(&mut machine, 3, "new", Message::Accept);
    assert!(machine.view().contains(&node("new")), "one of the two made room");
}

#[test]
fn low_priority_is_refused_without_room_and_high_is_not() {
    let mut machine = with_neighbours(&["a", "b"], |params| {
        params.active_size = 2;
        params.shuffle_active = 1;
    });
    let low = hear(&mut machine, 1, "c", Message::Neighbour(Priority::Low));
    assert_eq!(said(&low), [(node("c"), Message::Reject)]);
    let high = hear(&mut machine, 1, "d", Message::Neighbour(Priority::High));
    assert!(said(&high).contains(&(node("d"), Message::Accept)));
    assert_eq!(machine.view().len(), 2);
}

#[test]
fn who_is_dismissed_asks_the_one_that_came_instead() {
    let mut machine = with_neighbours(&["a", "b"], |_| {});
    let actions = hear(&mut machine, 1, "a", Message::Disconnect { instead: Some(node("new")) });
    assert!(said(&actions).contains(&(node("new"), Message::Neighbour(Priority::Low))));
    assert_eq!(machine.view(), [node("b")]);
    assert!(machine.reserve().contains(&node("a")));
    let alone = hear(&mut machine, 2, "b", Message::Disconnect { instead: Some(node("last")) });
    assert!(said(&alone).contains(&(node("last"), Message::Neighbour(Priority::High))), "it has nobody else");
}

#[test]
fn a_neighbour_that_fails_is_replaced_from_the_reserve() {
    let mut machine = with_neighbours(&["a", "b"], |_| {});
    hear(&mut machine, 1, "a", Message::ShuffleReply(vec![node("x"), node("self"), node("a")]));
    assert_eq!(machine.reserve(), [node("x")], "neither itself nor a neighbour");
    let actions = machine.handle(2, Event::LinkDown(node("a"))).unwrap();
    assert_eq!(machine.view(), [node("b")]);
    assert!(actions.contains(&Action::SetView(vec![node("b")])));
    assert!(!machine.reserve().contains(&node("a")));
    // The free places were asked for when the name came.
    hear(&mut machine, 3, "x", Message::Accept);
    assert_eq!(machine.view(), [node("b"), node("x")]);
}

#[test]
fn an_edge_that_one_side_does_not_know_is_mended() {
    let mut machine = with_neighbours(&["a"], |_| {});
    hear(&mut machine, 1, "b", Message::Confirm);
    assert!(machine.view().contains(&node("b")), "there is room");
    let mut full = with_neighbours(&["a"], |params| {
        params.active_size = 1;
        params.shuffle_active = 1;
    });
    let actions = hear(&mut full, 1, "b", Message::Confirm);
    assert_eq!(said(&actions), [(node("b"), Message::Disconnect { instead: None })]);
    let late = hear(&mut full, 1, "c", Message::Accept);
    assert!(said(&late).contains(&(node("c"), Message::Disconnect { instead: None })), "nor is an answer too late");
}

#[test]
fn a_shuffle_is_answered_with_as_many_names() {
    let mut machine = with_neighbours(&["a"], |_| {});
    hear(&mut machine, 1, "a", Message::ShuffleReply(["p", "q", "r"].map(node).to_vec()));
    let nodes = vec![node("o"), node("s")];
    let actions = hear(&mut machine, 2, "a", Message::Shuffle { origin: node("o"), ttl: 1, nodes });
    let reply = said(&actions).into_iter().find_map(|(to, message)| match message {
        Message::ShuffleReply(nodes) if to == node("o") => Some(nodes),
        _ => None,
    });
    assert_eq!(reply.expect("it is answered").len(), 2);
    assert!(machine.reserve().contains(&node("s")));
}

#[test]
fn who_left_is_forgotten_by_all_tables() {
    let mut machine = with_neighbours(&["a"], |_| {});
    machine.handle(1, Event::Joined(node("gone"))).unwrap();
    let actions = machine.handle(2, Event::Left(node("gone"))).unwrap();
    assert!(actions.contains(&Action::Disconnect(node("gone"))));
    machine.handle(3, Event::LinkDown(node("a"))).unwrap();
    let later = machine.handle(100_000, Event::Tick).unwrap();
    assert!(!said(&later).iter().any(|(to, _)| *to == node("gone")), "{later:?}");
}

#[test]
fn all_parameters_out_of_range_are_named() {
    let params = HyParViewParams {
        own: node("self"),
        active_size: 0,
        passive_size: 2_000,
        active_walk: 33,
        passive_walk: 34,
        shuffle_active: 1,
        shuffle_passive: 129,
        shuffle_period: 1,
        mix_period: 4_000_000,
        request_timeout: 0,
        backoff_min: 0,
        backoff_max: 3_600_001,
        max_contacts: 0,
    };
    let Err(OverlayError::InvalidParameters(all)) = HyParView::new(params, 0) else { panic!("nothing is right") };
    let names: Vec<&str> = all.iter().map(|wrong| wrong.name).collect();
    let expected = [
        "active_size",
        "passive_size",
        "active_walk",
        "passive_walk",
        "shuffle_active",
        "shuffle_passive",
        "shuffle_period",
        "mix_period",
        "request_timeout",
        "backoff_min",
        "backoff_max",
        "max_contacts",
    ];
    assert_eq!(names, expected);
}
