use super::*;

fn node(name: &str) -> NodeId {
    NodeId::new(name.as_bytes()).expect("a valid name")
}

fn machine(change: impl FnOnce(&mut HyParViewParams)) -> HyParView {
    let mut params = HyParViewParams::new(node("self"));
    change(&mut params);
    HyParView::new(params, 42).expect("valid parameters")
}

/// Full with two neighbours.
fn pair(params: &mut HyParViewParams) {
    params.active_size = 2;
    params.shuffle_active = 1;
}

fn text(name: &NodeId) -> &str {
    std::str::from_utf8(name.as_bytes()).expect("a name of these tests")
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
    let asked = said(&hear(&mut machine, 1, "new", Message::Join));
    let [(goes, Message::Yield { instead: Some(instead) })] = &asked[..] else {
        panic!("one is asked to go: {asked:?}")
    };
    assert_eq!((instead, machine.view().len()), (&node("new"), 5));
    assert!(machine.view().contains(goes), "it has not answered yet");
    let actions = hear(&mut machine, 2, text(goes), Message::Disconnect);
    assert!(machine.view().contains(&node("new")));
    assert_eq!(machine.view().len(), 5);
    let said = said(&actions);
    let walks = said.iter().filter(|(_, m)| *m == Message::ForwardJoin { node: node("new"), ttl: 6 });
    assert_eq!(walks.count(), 4);
    assert!(said.contains(&(node("new"), Message::Accept)));
    assert!(machine.reserve().contains(goes));
}

#[test]
fn who_has_no_other_neighbour_stays_and_another_is_asked() {
    let mut machine = with_neighbours(&["a", "b"], pair);
    let mut asked = said(&hear(&mut machine, 1, "new", Message::Join));
    let mut stayed = Vec::new();
    while let [(goes, Message::Yield { instead: Some(_) })] = &asked[..] {
        stayed.push(goes.clone());
        let name = text(goes).to_owned();
        asked = said(&hear(&mut machine, 2, &name, Message::Keep));
    }
    stayed.sort();
    assert_eq!(stayed, [node("a"), node("b")]);
    assert_eq!(asked, [(node("new"), Message::Reject)], "both know of it, and have room");
    assert_eq!(machine.view(), [node("a"), node("b")]);
}

#[test]
fn nobody_relies_on_a_neighbour_that_was_asked_to_go() {
    let mut machine = with_neighbours(&["a", "b"], pair);
    let asked = said(&hear(&mut machine, 1, "new", Message::Join));
    let [(goes, Message::Yield { .. })] = &asked[..] else { panic!("one is asked to go: {asked:?}") };
    let other = if *goes == node("a") { "b" } else { "a" };
    let answer = said(&hear(&mut machine, 1, other, Message::Yield { instead: None }));
    assert_eq!(answer, [(node(other), Message::Keep)]);
    let answer = said(&hear(&mut machine, 1, text(goes), Message::Yield { instead: None }));
    assert!(answer.contains(&(goes.clone(), Message::Disconnect)), "the other one stays: {answer:?}");
    assert!(answer.contains(&(node("new"), Message::Accept)), "there is room now");
}

#[test]
fn who_waits_for_a_place_does_not_wait_for_ever() {
    let mut machine = with_neighbours(&["a", "b"], pair);
    hear(&mut machine, 1, "new", Message::Join);
    let late = machine.handle(5_001, Event::Tick).unwrap();
    assert!(said(&late).contains(&(node("new"), Message::Reject)), "{late:?}");
    for name in 0..100 {
        hear(&mut machine, 6_000, &format!("n{name}"), Message::Neighbour(Priority::High));
    }
    let told = said(&machine.handle(12_000, Event::Tick).unwrap());
    let rejected = told.iter().filter(|(_, message)| *message == Message::Reject).count();
    assert_eq!(rejected, machine.params.passive_size as usize, "the others were told at once");
}

#[test]
fn a_walk_goes_on_leaves_a_name_on_its_way_and_ends_in_an_offer() {
    // Full, so that it asks nobody on its own account.
    let mut machine = with_neighbours(&["a", "b"], pair);
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
    let asked = said(&hear(&mut machine, 3, "new", Message::Accept));
    let [(goes, Message::Yield { .. })] = &asked[..] else { panic!("one is asked to go: {asked:?}") };
    hear(&mut machine, 3, text(goes), Message::Disconnect);
    assert!(machine.view().contains(&node("new")), "one of the two made room");
}

#[test]
fn low_priority_is_refused_without_room_and_high_is_not() {
    let mut machine = with_neighbours(&["a", "b"], pair);
    let low = hear(&mut machine, 1, "c", Message::Neighbour(Priority::Low));
    assert_eq!(said(&low), [(node("c"), Message::Reject)]);
    let high = hear(&mut machine, 1, "d", Message::Neighbour(Priority::High));
    assert!(matches!(&said(&high)[..], [(_, Message::Yield { instead: Some(new) })] if *new == node("d")));
    assert_eq!(machine.view().len(), 2);
}

#[test]
fn who_is_asked_to_go_goes_and_asks_the_one_that_comes_instead() {
    let mut machine = with_neighbours(&["a", "b"], |_| {});
    let told = said(&hear(&mut machine, 1, "a", Message::Yield { instead: Some(node("new")) }));
    assert!(told.contains(&(node("a"), Message::Disconnect)));
    assert!(told.contains(&(node("new"), Message::Neighbour(Priority::Low))));
    assert!(!told.contains(&(node("a"), Message::Neighbour(Priority::Low))), "not who has just had no room");
    assert_eq!(machine.view(), [node("b")]);
    assert!(machine.reserve().contains(&node("a")));
    let told = said(&hear(&mut machine, 2, "b", Message::Yield { instead: Some(node("last")) }));
    assert!(told.contains(&(node("b"), Message::Keep)), "it has nobody else");
    assert!(told.contains(&(node("last"), Message::Neighbour(Priority::Low))));
    assert_eq!(machine.view(), [node("b")]);
    let told = said(&hear(&mut machine, 3, "stranger", Message::Yield { instead: None }));
    assert_eq!(told, [(node("stranger"), Message::Disconnect)]);
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
    let mut full = with_neighbours(&["a", "b"], pair);
    let actions = hear(&mut full, 1, "c", Message::Confirm);
    assert_eq!(said(&actions), [(node("c"), Message::Yield { instead: None })]);
    let late = hear(&mut full, 1, "d", Message::Accept);
    assert_eq!(said(&late), [(node("d"), Message::Yield { instead: None })], "nor is an answer too late");
    let stays = said(&hear(&mut full, 2, "c", Message::Keep));
    assert!(matches!(&stays[..], [(_, Message::Yield { instead: Some(relies) })] if *relies == node("c")), "{stays:?}");
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
        active_size: 1,
        passive_size: 2_000,
        active_walk: 33,
        passive_walk: 34,
        shuffle_active: 2,
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
