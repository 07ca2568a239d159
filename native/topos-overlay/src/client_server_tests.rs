use super::*;

fn node(n: u8) -> NodeId {
    NodeId::new(&[n]).expect("one byte")
}

/// Hubs are 1, 2 and 3.
fn machine(own: u8, change: impl FnOnce(&mut ClientServerParams)) -> ClientServer {
    let role = if own <= 3 { Role::Hub } else { Role::Client };
    let mut params = ClientServerParams::new(node(own), role, [1, 2, 3].map(node).to_vec());
    change(&mut params);
    let mut machine = ClientServer::new(params, 42).expect("valid");
    for member in 1..10 {
        machine.handle(0, Event::Joined(node(member))).expect("room");
    }
    machine
}

fn said(actions: &[Action]) -> Vec<(NodeId, Message)> {
    let message = |action: &Action| match action {
        Action::Send { to, message: crate::Message::ClientServer(message) } => Some((to.clone(), message.clone())),
        _ => None,
    };
    actions.iter().filter_map(message).collect()
}

fn hear(machine: &mut ClientServer, now: Millis, from: &NodeId, message: Message) -> Vec<Action> {
    let message = crate::Message::ClientServer(message);
    machine.handle(now, Event::Received { from: from.clone(), message }).expect("no message fails")
}

/// Whom the client asked.
fn asked(machine: &ClientServer) -> Vec<NodeId> {
    let asked = |hub: &Hub| matches!(hub.link, Link::Asked { .. });
    machine.hubs.iter().filter(|(_, hub)| asked(hub)).map(|(node, _)| node.clone()).collect()
}

#[test]
fn a_hub_links_to_the_other_hubs_and_to_clients_that_ask() {
    let mut hub = machine(1, |params| params.max_clients = 1);
    assert_eq!(hub.view(), [node(2), node(3)]);
    assert_eq!(said(&hear(&mut hub, 1, &node(7), Message::Attach)), [(node(7), Message::Attached)]);
    assert_eq!(hub.view(), [node(2), node(3), node(7)]);
    assert_eq!(said(&hear(&mut hub, 1, &node(8), Message::Attach)), [(node(8), Message::Refused)], "no room");
    hub.handle(2, Event::LinkDown(node(7))).unwrap();
    assert_eq!(hub.view(), [node(2), node(3)]);
    assert_eq!(said(&hear(&mut hub, 3, &node(8), Message::Attach)), [(node(8), Message::Attached)]);
    hear(&mut hub, 4, &node(8), Message::Detach);
    assert_eq!(hub.view(), [node(2), node(3)]);
    assert!(hub.relays());
}

#[test]
fn a_client_attaches_to_one_hub_and_turns_to_another_when_it_fails() {
    let mut client = machine(7, |_| {});
    let first = asked(&client);
    assert_eq!(first.len(), 1);
    hear(&mut client, 1, &first[0], Message::Attached);
    assert_eq!(client.view(), first);
    let failed = client.handle(2, Event::LinkDown(first[0].clone())).unwrap();
    let second = asked(&client);
    assert_eq!((client.view().len(), second.len()), (0, 1));
    assert_ne!(second, first, "the one that failed has to wait");
    assert!(failed.contains(&Action::SetView(vec![])));
    assert!(!client.relays());
}

#[test]
fn a_hub_that_refuses_or_does_not_answer_is_left_for_another_until_all_were_asked() {
    let mut client = machine(7, |params| params.request_timeout = 1_000);
    let mut tried = BTreeSet::new();
    let mut now = 0;
    for _ in 0..200 {
        now += 100;
        tried.extend(asked(&client));
        if let Some(hub) = asked(&client).first().filter(|hub| **hub == node(2)).cloned() {
            hear(&mut client, now, &hub, Message::Refused);
        }
        client.handle(now, Event::Tick).unwrap();
    }
    assert_eq!(tried.len(), 3);
    assert!(client.tick_at.is_some(), "it goes on");
}

#[test]
fn with_two_hubs_a_client_keeps_one_when_the_other_fails() {
    let mut client = machine(7, |params| params.hubs_of_a_client = 2);
    for hub in asked(&client) {
        hear(&mut client, 1, &hub, Message::Attached);
    }
    let both = client.view();
    assert_eq!((both.len(), client.reserve().len()), (2, 1));
    client.handle(2, Event::LinkDown(both[0].clone())).unwrap();
    assert_eq!(client.view(), [both[1].clone()]);
    let third = asked(&client);
    hear(&mut client, 3, &third[0], Message::Attached);
    let late = hear(&mut client, 4, &both[0], Message::Attached);
    assert_eq!(said(&late), [(both[0].clone(), Message::Detach)], "its place is taken");
}

#[test]
fn only_hubs_are_in_a_clients_view_and_hubs_that_left_are_not_asked() {
    let mut client = machine(7, |_| {});
    hear(&mut client, 1, &node(8), Message::Attached);
    assert_eq!(client.view(), []);
    assert_eq!(said(&hear(&mut client, 1, &node(8), Message::Attach)), [(node(8), Message::Refused)]);
    for hub in 1..=3 {
        client.handle(2, Event::Left(node(hub))).unwrap();
    }
    assert_eq!((asked(&client), client.reserve()), (vec![], vec![]));
    assert_eq!(said(&client.handle(100_000, Event::Tick).unwrap()), []);
}

#[test]
fn all_parameters_out_of_range_are_named() {
    let params = ClientServerParams {
        hubs_of_a_client: 20,
        max_clients: 0,
        request_timeout: 0,
        backoff_min: 0,
        ..ClientServerParams::new(node(1), Role::Client, vec![node(1)])
    };
    let Err(OverlayError::InvalidParameters(all)) = ClientServer::new(params, 0) else { panic!("nothing is right") };
    let names: BTreeSet<&str> = all.iter().map(|wrong| wrong.name).collect();
    assert_eq!(names, BTreeSet::from(["role", "hubs_of_a_client", "max_clients", "request_timeout", "backoff_min"]));
}
