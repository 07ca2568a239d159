use super::*;

fn node(n: u8) -> NodeId {
    NodeId::new(&[n]).expect("one byte")
}

fn detector(members: u8) -> Swim {
    let mut swim = Swim::new(SwimParams::new(node(0), 5), 42).expect("valid");
    for member in 1..=members {
        swim.handle(0, Event::Joined(node(member))).expect("room");
    }
    swim
}

fn sent(actions: &[Action]) -> Vec<(NodeId, Message)> {
    let message = |action: &Action| match action {
        Action::Send { to, message } => Some((to.clone(), message.clone())),
        _ => None,
    };
    actions.iter().filter_map(message).collect()
}

fn changed(actions: &[Action]) -> Vec<Status> {
    let status = |action: &Action| if let Action::Changed { status, .. } = action { Some(*status) } else { None };
    actions.iter().filter_map(status).collect()
}

fn update(n: u8, incarnation: u64, status: Status) -> Update {
    Update { node: node(n), incarnation, status }
}

fn hear(swim: &mut Swim, now: Millis, update: Update) -> Vec<Action> {
    let message = Message::Ping { number: 1, updates: vec![update] };
    swim.handle(now, Event::Received { from: node(1), message }).expect("no message fails")
}

#[test]
fn a_probe_without_an_answer_goes_through_others_and_becomes_a_suspicion_and_a_death() {
    let mut swim = detector(4);
    let probe = sent(&swim.handle(1_000, Event::Tick).unwrap());
    assert_eq!(probe.len(), 1);
    let target = probe[0].0.clone();
    let asked = sent(&swim.handle(1_300, Event::Tick).unwrap());
    assert_eq!(asked.len(), 3);
    assert!(asked
        .iter()
        .all(|(to, m)| *to != target && matches!(m, Message::PingRequest { target: t, .. } if *t == target)));
    assert_eq!(changed(&swim.handle(2_000, Event::Tick).unwrap()), [Status::Suspect]);
    assert_eq!(swim.status(&target), Some(Status::Suspect));
    let mut now = 2_000;
    while swim.status(&target) == Some(Status::Suspect) {
        now += 100;
        swim.handle(now, Event::Tick).unwrap();
    }
    assert_eq!(now, 10_000, "eight periods later");
    assert_eq!(swim.status(&target), Some(Status::Dead));
}

#[test]
fn an_answer_direct_or_through_another_ends_the_probe() {
    let mut swim = detector(2);
    let probe = sent(&swim.handle(1_000, Event::Tick).unwrap());
    let (target, Message::Ping { number, .. }) = probe[0].clone() else { panic!("{probe:?}") };
    let other = if target == node(1) { node(2) } else { node(1) };
    swim.handle(1_400, Event::Received { from: other, message: Message::Ack { number, updates: vec![] } }).unwrap();
    assert_eq!(changed(&swim.handle(2_000, Event::Tick).unwrap()), []);
}

#[test]
fn a_question_for_another_is_passed_on_and_its_answer_back() {
    let mut swim = detector(2);
    let request = Message::PingRequest { number: 77, target: node(2), updates: vec![] };
    let passed = sent(&swim.handle(1, Event::Received { from: node(1), message: request }).unwrap());
    let [(to, Message::Ping { number, .. })] = passed.as_slice() else { panic!("{passed:?}") };
    assert_eq!(*to, node(2));
    let ack = Message::Ack { number: *number, updates: vec![] };
    let back = sent(&swim.handle(2, Event::Received { from: node(2), message: ack }).unwrap());
    assert_eq!(back, [(node(1), Message::Ack { number: 77, updates: vec![] })]);
}

#[test]
fn news_count_by_incarnation_and_then_by_gravity() {
    let mut swim = detector(3);
    assert_eq!(changed(&hear(&mut swim, 1, update(2, 3, Status::Suspect))), [Status::Suspect]);
    assert_eq!(changed(&hear(&mut swim, 1, update(2, 3, Status::Alive))), [], "not refuted by the same incarnation");
    assert_eq!(changed(&hear(&mut swim, 1, update(2, 4, Status::Alive))), [Status::Alive]);
    assert_eq!(changed(&hear(&mut swim, 1, update(2, 3, Status::Dead))), [], "of an incarnation that is past");
    assert_eq!(changed(&hear(&mut swim, 1, update(2, 4, Status::Dead))), [Status::Dead]);
    assert_eq!(changed(&hear(&mut swim, 1, update(2, 5, Status::Alive))), [Status::Alive], "it was only cut off");
    assert_eq!(changed(&hear(&mut swim, 1, update(9, 5, Status::Dead))), [], "no member");
}

#[test]
fn a_suspicion_of_oneself_is_refuted_at_once_and_so_is_one_of_an_earlier_incarnation() {
    let mut swim = detector(2);
    for (said, expected) in [(5, 6), (0, 6), (6, 7)] {
        let answer = sent(&hear(&mut swim, 1, update(0, said, Status::Suspect)));
        let [(_, Message::Ack { updates, .. })] = answer.as_slice() else { panic!("{answer:?}") };
        assert_eq!(updates.as_slice(), [update(0, expected, Status::Alive)]);
    }
    assert_eq!(swim.incarnation(), 7);
}

#[test]
fn a_detector_that_was_stopped_blames_nobody() {
    let mut swim = detector(4);
    swim.handle(1_000, Event::Tick).unwrap();
    assert_eq!(changed(&swim.handle(61_000, Event::Tick).unwrap()), []);
    hear(&mut swim, 61_001, update(2, 0, Status::Suspect));
    let woken = swim.handle(200_000, Event::Tick).unwrap();
    assert!(!changed(&woken).contains(&Status::Dead), "there was no time to refute it: {woken:?}");
}

#[test]
fn strangers_are_not_answered_and_members_are_bounded() {
    let mut swim = detector(1);
    let message = Message::Ping { number: 1, updates: vec![] };
    assert_eq!(sent(&swim.handle(1, Event::Received { from: node(9), message }).unwrap()), []);
    let mut full = Swim::new(SwimParams { max_members: 1, ..SwimParams::new(node(0), 1) }, 1).expect("valid");
    full.handle(0, Event::Joined(node(1))).unwrap();
    assert_eq!(full.handle(0, Event::Joined(node(2))), Err(OverlayError::TooManyMembers { limit: 1 }));
    full.handle(0, Event::Left(node(1))).unwrap();
    full.handle(0, Event::Joined(node(2))).unwrap();
    assert_eq!(full.status(&node(1)), None);
}

#[test]
fn a_message_carries_no_more_news_than_it_may() {
    let mut swim = detector(200);
    for member in 2..200 {
        hear(&mut swim, 1, update(member, 1, Status::Suspect));
    }
    let answer = sent(&hear(&mut swim, 2, update(3, 0, Status::Alive)));
    assert!(answer.iter().all(|(_, m)| matches!(m, Message::Ack { updates, .. } if updates.len() <= 8)));
}
