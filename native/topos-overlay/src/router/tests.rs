use super::*;

fn node(n: u8) -> NodeId {
    NodeId::new(&[n]).expect("one byte")
}

/// Routers on a line: 0 - 1 - 2 - ..., whose messages arrive in order; what `lose` names is lost.
struct Line {
    routers: Vec<Router>,
    now: Millis,
    delivered: Vec<(u8, u8, Vec<u8>)>,
    done: Vec<u64>,
    given_up: Vec<u64>,
    messages: usize,
}

impl Line {
    fn new(count: u8, change: impl Fn(&mut RouterParams)) -> Self {
        let router = |n| {
            let mut params = RouterParams::new(node(n), 1);
            change(&mut params);
            let mut router = Router::new(params, true).expect("valid");
            (n > 0).then(|| router.neighbour_up(&node(n - 1)));
            (n + 1 < count).then(|| router.neighbour_up(&node(n + 1)));
            router
        };
        let routers = (0..count).map(router).collect();
        Self { routers, now: 0, delivered: Vec::new(), done: Vec::new(), given_up: Vec::new(), messages: 0 }
    }

    fn carry(&mut self, from: u8, actions: Vec<Action>, lose: &mut dyn FnMut(&Message) -> bool) {
        let mut queue: VecDeque<(u8, Action)> = actions.into_iter().map(|action| (from, action)).collect();
        while let Some((at, action)) = queue.pop_front() {
            match action {
                Action::Send { message, .. } if lose(&message) => {}
                Action::Send { to, message } => {
                    self.messages += 1;
                    let to = to.as_bytes()[0];
                    let more = self.routers[to as usize].received(self.now, &node(at), message);
                    queue.extend(more.into_iter().map(|action| (to, action)));
                }
                Action::Deliver { source, payload } => {
                    self.delivered.push((source.as_bytes()[0], at, payload.to_vec()));
                }
                Action::Done(number) => self.done.push(number),
                Action::GivenUp { number, .. } => self.given_up.push(number),
            }
        }
    }

    fn send(&mut self, from: u8, to: u8, payload: &[u8], lose: &mut dyn FnMut(&Message) -> bool) {
        let (_, actions) = self.routers[from as usize].send(self.now, &node(to), payload.into()).expect("room");
        self.carry(from, actions, lose);
    }

    fn tick(&mut self, of: u8, lose: &mut dyn FnMut(&Message) -> bool) {
        self.now = self.routers[of as usize].next_tick().expect("something waits");
        let actions = self.routers[of as usize].tick(self.now);
        self.carry(of, actions, lose);
    }
}

fn keep(_: &Message) -> bool {
    false
}

#[test]
fn a_message_finds_its_way_and_the_answer_needs_no_question() {
    let mut line = Line::new(6, |_| {});
    line.send(0, 5, b"there", &mut keep);
    assert_eq!((line.delivered.as_slice(), line.done.as_slice()), (&[(0, 5, b"there".to_vec())][..], &[0][..]));
    line.messages = 0;
    line.send(5, 0, b"back", &mut keep);
    assert_eq!(line.delivered[1], (5, 0, b"back".to_vec()));
    assert_eq!(line.messages, 10, "five links there, five for the acknowledgement");
}

#[test]
fn a_message_to_oneself_and_one_to_a_neighbour_ask_nobody() {
    let mut line = Line::new(2, |_| {});
    line.send(0, 0, b"me", &mut keep);
    line.send(0, 1, b"you", &mut keep);
    assert_eq!((line.delivered.len(), line.done.as_slice(), line.messages), (2, &[0, 1][..], 2));
}

#[test]
fn a_lost_acknowledgement_costs_a_copy_that_is_not_delivered() {
    let mut line = Line::new(4, |_| {});
    line.send(0, 3, b"once", &mut |message| matches!(message, Message::Delivered { .. }));
    assert_eq!((line.delivered.len(), line.done.len()), (1, 0));
    line.tick(0, &mut keep);
    assert_eq!((line.delivered.len(), line.done.as_slice()), (1, &[0][..]));
}

#[test]
fn what_is_never_acknowledged_is_given_up_and_said() {
    let mut line = Line::new(3, |params| params.attempts = 3);
    line.send(0, 2, b"lost", &mut |message| matches!(message, Message::Carry { .. }));
    while line.routers[0].next_tick().is_some() {
        line.tick(0, &mut |message| matches!(message, Message::Carry { .. }));
    }
    assert_eq!((line.delivered.len(), line.done.len(), line.given_up.as_slice()), (0, 0, &[0][..]));
}

#[test]
fn a_broken_way_is_reported_and_another_looked_for() {
    let mut line = Line::new(4, |_| {});
    line.send(0, 3, b"first", &mut keep);
    // 2 and 3 lose each other; the message gets as far as 2, which says so. Then they are neighbours again.
    line.routers[2].neighbour_down(&node(3));
    line.routers[3].neighbour_down(&node(2));
    let mut lost = 0;
    line.send(0, 3, b"second", &mut |message| {
        lost += usize::from(matches!(message, Message::Lost { .. }));
        false
    });
    assert_eq!((line.delivered.len(), lost), (1, 2));
    line.routers[2].neighbour_up(&node(3));
    line.routers[3].neighbour_up(&node(2));
    line.tick(0, &mut keep);
    assert_eq!((line.delivered.len(), line.done.as_slice()), (2, &[0, 1][..]));
}

#[test]
fn who_does_not_relay_passes_nothing_on() {
    let mut client = Router::new(RouterParams::new(node(1), 1), false).expect("valid");
    client.neighbour_up(&node(0));
    client.neighbour_up(&node(2));
    let find = |target| Message::Find { source: node(0), epoch: 1, number: 0, target: node(target), ttl: 9 };
    assert_eq!(client.received(0, &node(0), find(7)), []);
    let mut other = Router::new(RouterParams::new(node(1), 1), false).expect("valid");
    other.neighbour_up(&node(0));
    let found = Message::Found { source: node(0), target: node(1), ttl: 32 };
    assert_eq!(other.received(0, &node(0), find(1)), [Action::Send { to: node(0), message: found }]);
}

#[test]
fn a_window_and_a_total_bound_what_is_under_way() {
    let mut params = RouterParams::new(node(0), 1);
    (params.window, params.max_unacknowledged) = (2, 3);
    let mut router = Router::new(params, true).expect("valid");
    for target in [1, 1, 2] {
        router.send(0, &node(target), Payload::from(&b"x"[..])).expect("room");
    }
    let refused = |router: &mut Router, to| router.send(0, &node(to), Payload::from(&b"x"[..])).expect_err("full");
    assert_eq!(refused(&mut router, 3), Refusal::Overloaded { limit: 3 });
    let mut one = Router::new(RouterParams { window: 1, ..RouterParams::new(node(0), 1) }, true).expect("valid");
    one.send(0, &node(1), Payload::from(&b"x"[..])).expect("room");
    assert_eq!(refused(&mut one, 1), Refusal::Overloaded { limit: 1 });
}

#[test]
fn tables_keep_their_bounds() {
    let params = RouterParams { max_routes: 2, max_questions: 2, ..RouterParams::new(node(0), 1) };
    let mut router = Router::new(params, true).expect("valid");
    router.neighbour_up(&node(1));
    for source in 2..20 {
        let find = Message::Find { source: node(source), epoch: 1, number: 0, target: node(99), ttl: 9 };
        router.received(0, &node(1), find);
        assert!(router.routes.len() <= 2 && router.routes_by_age.len() == router.routes.len());
        assert!(router.asked.len() <= 2 && router.asked_by_age.len() == router.asked.len());
    }
    assert_eq!(router.next_hop(&node(19)), Some(&node(1)), "the newest stays");
}

#[test]
fn a_message_travels_no_further_than_its_bound() {
    let mut line = Line::new(6, |params| (params.max_hops, params.attempts) = (3, 1));
    line.send(0, 5, b"far", &mut keep);
    line.tick(0, &mut keep);
    line.tick(0, &mut keep);
    assert_eq!((line.delivered.len(), line.given_up.as_slice()), (0, &[0][..]));
}
