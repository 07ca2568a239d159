use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

fn node(n: u8) -> NodeId {
    NodeId::new(&[n]).expect("one byte")
}

fn machine(own: u8, members: u8) -> Custom {
    let mut machine = Custom::new(CustomParams::new(node(own)), 7).expect("valid");
    for member in 1..=members {
        machine.handle(0, Event::Joined(node(member))).expect("room");
    }
    machine
}

fn want(machine: &mut Custom, now: Millis, nodes: &[u8]) -> Vec<Action> {
    machine.handle(now, Event::Wanted(nodes.iter().map(|n| node(*n)).collect())).expect("no event fails")
}

fn received(machine: &mut Custom, now: Millis, from: u8, message: Message) -> Vec<Action> {
    let event = Event::Received { from: node(from), message: crate::Message::Custom(message) };
    machine.handle(now, event).expect("no message fails")
}

#[test]
fn parameters_are_checked_together() {
    let params = CustomParams { period: 99, max_links: 0, backoff_min: 0, ..CustomParams::new(node(1)) };
    let Err(OverlayError::InvalidParameters(all)) = Custom::new(params, 1) else { panic!("refused") };
    assert_eq!(all.iter().map(|wrong| wrong.name).collect::<Vec<_>>(), ["period", "max_links", "backoff_min"]);
}

#[test]
fn what_is_wanted_is_linked_and_what_is_not_any_more_is_let_go() {
    let mut machine = machine(1, 4);
    let actions = want(&mut machine, 1, &[2, 3, 1, 9]);
    assert!(actions.contains(&Action::Connect(node(2))) && actions.contains(&Action::Connect(node(3))));
    assert_eq!(machine.view(), [node(2), node(3)], "neither itself nor a stranger");
    let actions = want(&mut machine, 2, &[3, 4]);
    assert!(actions.contains(&Action::Disconnect(node(2))));
    assert_eq!(machine.view(), [node(3), node(4)]);
    machine.handle(3, Event::Left(node(3))).unwrap();
    assert_eq!(machine.view(), [node(4)]);
}

#[test]
fn a_link_that_the_other_side_wants_is_kept_while_it_says_so() {
    let mut machine = machine(1, 3);
    received(&mut machine, 1, 2, Message::Want);
    assert_eq!(machine.view(), [node(2)]);
    received(&mut machine, 5_000, 2, Message::Want);
    machine.handle(10_900, Event::Tick).unwrap();
    assert_eq!(machine.view(), [node(2)]);
    received(&mut machine, 10_950, 2, Message::Release);
    assert!(machine.view().is_empty());
    received(&mut machine, 11_000, 3, Message::Want);
    for now in [13_000, 15_000, 17_000, 19_000] {
        machine.handle(now, Event::Tick).unwrap();
    }
    assert!(machine.view().is_empty(), "it has not said so for three periods");
    received(&mut machine, 20_000, 9, Message::Want);
    assert!(machine.view().is_empty(), "no member");
}

#[test]
fn links_kept_for_others_are_bounded() {
    let params = CustomParams { max_links: 2, ..CustomParams::new(node(1)) };
    let mut machine = Custom::new(params, 7).unwrap();
    for member in 2..=9 {
        machine.handle(0, Event::Joined(node(member))).unwrap();
        received(&mut machine, 1, member, Message::Want);
    }
    assert_eq!(machine.view().len(), 2);
    want(&mut machine, 2, &[7, 8, 9]);
    assert_eq!(machine.view().len(), 4);
}

/// Machines whose links come up when both ends have one in their view, over a network that delivers in order or loses.
struct Net {
    machines: Vec<Custom>,
    now: Millis,
    inbox: VecDeque<(usize, Event)>,
}

impl Net {
    fn new(count: u8) -> Self {
        let machines = (1..=count).map(|own| machine(own, count)).collect();
        Self { machines, now: 0, inbox: VecDeque::new() }
    }

    fn give(&mut self, at: usize, event: Event) {
        self.inbox.push_back((at, event));
    }

    fn run(&mut self, lose: &mut impl FnMut() -> bool) {
        while let Some((at, event)) = self.inbox.pop_front() {
            let from = node(at as u8 + 1);
            for action in self.machines[at].handle(self.now, event).unwrap() {
                match action {
                    Action::Send { to, message } if !lose() => {
                        let to = usize::from(to.as_bytes()[0]) - 1;
                        self.inbox.push_back((to, Event::Received { from: from.clone(), message }));
                    }
                    Action::Connect(to) => self.inbox.push_back((at, Event::LinkUp(to))),
                    _ => {}
                }
            }
        }
    }
}

proptest! {
    /// Whatever is wanted in which order, and whatever was lost on the way: once the network is good, the view of each is what it wants and what the
    /// others want of it.
    #[test]
    fn views_are_what_either_side_wants(
        orders in prop::collection::vec((0..6usize, prop::collection::vec(1..=6u8, 0..4)), 1..20),
        losses in prop::collection::vec(any::<bool>(), 200),
    ) {
        let mut net = Net::new(6);
        let mut losses = losses.into_iter();
        let mut wants = vec![Vec::new(); 6];
        for (at, nodes) in orders {
            wants[at] = nodes.iter().filter(|n| usize::from(**n) != at + 1).copied().collect();
            net.now += 300;
            net.give(at, Event::Wanted(nodes.iter().map(|n| node(*n)).collect()));
            net.run(&mut || losses.next().unwrap_or(false));
        }
        for _ in 0..50 {
            net.now += 250;
            for at in 0..6 {
                net.give(at, Event::Tick);
            }
            net.run(&mut || false);
        }
        for at in 0..6 {
            let own = at as u8 + 1;
            let mut expected: BTreeSet<NodeId> = wants[at].iter().map(|n| node(*n)).collect();
            expected.extend((0..6).filter(|other| wants[*other].contains(&own)).map(|other| node(other as u8 + 1)));
            prop_assert_eq!(net.machines[at].view(), expected.into_iter().collect::<Vec<_>>());
        }
    }
}

#[test]
fn parts_that_meet_are_linked_for_a_while() {
    let mut net = Net::new(2);
    net.give(0, Event::Met(node(2)));
    net.run(&mut || false);
    assert_eq!((net.machines[0].view(), net.machines[1].view()), (vec![node(2)], vec![node(1)]));
    for _ in 0..40 {
        net.now += 250;
        net.give(0, Event::Tick);
        net.give(1, Event::Tick);
        net.run(&mut || false);
    }
    assert!(net.machines[0].view().is_empty() && net.machines[1].view().is_empty());
}

#[test]
fn ticks_stop_when_there_is_nothing_to_keep() {
    let mut machine = machine(1, 2);
    assert!(want(&mut machine, 1, &[2]).iter().any(|action| matches!(action, Action::ScheduleTick(_))));
    machine.handle(2, Event::LinkUp(node(2))).unwrap();
    want(&mut machine, 3, &[]);
    machine.handle(10_000, Event::Tick).unwrap();
    assert_eq!(machine.tick_at, None);
}
