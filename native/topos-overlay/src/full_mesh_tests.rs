use super::*;

fn node(name: &str) -> NodeId {
    NodeId::new(name.as_bytes()).expect("a valid name")
}

fn mesh(change: impl FnOnce(&mut FullMeshParams)) -> FullMesh {
    let mut params = FullMeshParams::new(node("self"));
    change(&mut params);
    FullMesh::new(params, 42).expect("valid parameters")
}

fn connects(actions: &[Action]) -> Vec<NodeId> {
    actions.iter().filter_map(|a| if let Action::Connect(n) = a { Some(n.clone()) } else { None }).collect()
}

fn tick_in(actions: &[Action]) -> Option<Millis> {
    actions.iter().find_map(|a| if let Action::ScheduleTick(ms) = a { Some(*ms) } else { None })
}

#[test]
fn a_member_that_joins_enters_the_view_and_is_connected_to() {
    let mut mesh = mesh(|_| {});
    let actions = mesh.handle(10, Event::Joined(node("b"))).unwrap();
    let expected = [Action::SetView(vec![node("b")]), Action::Connect(node("b")), Action::ScheduleTick(5_000)];
    assert_eq!(actions, expected);
    assert_eq!(mesh.handle(11, Event::Joined(node("b"))).unwrap(), [], "joining twice changes nothing");
    assert_eq!(mesh.handle(12, Event::Joined(node("self"))).unwrap(), [], "nor does joining oneself");
}

#[test]
fn a_link_that_was_up_is_retried_after_the_shortest_wait() {
    let mut mesh = mesh(|_| {});
    mesh.handle(0, Event::Joined(node("b"))).unwrap();
    assert_eq!(mesh.handle(5, Event::LinkUp(node("b"))).unwrap(), []);
    let down = mesh.handle(100, Event::LinkDown(node("b"))).unwrap();
    let wait = tick_in(&down).expect("a tick is scheduled");
    assert!((50..=100).contains(&wait), "{wait}");
    assert_eq!(connects(&mesh.handle(100 + wait - 1, Event::Tick).unwrap()), [], "not before its time");
    assert_eq!(connects(&mesh.handle(100 + wait, Event::Tick).unwrap()), [node("b")]);
}

#[test]
fn failures_lengthen_the_wait_up_to_its_bound_and_success_resets_it() {
    let mut mesh = mesh(|p| p.backoff_max = 1_000);
    mesh.handle(0, Event::Joined(node("b"))).unwrap();
    let mut now = 0;
    let mut waits = Vec::new();
    for _ in 0..8 {
        let wait = tick_in(&mesh.handle(now, Event::LinkDown(node("b"))).unwrap()).expect("a retry");
        waits.push(wait);
        now += wait;
        assert_eq!(connects(&mesh.handle(now, Event::Tick).unwrap()), [node("b")]);
    }
    assert!(waits[0] <= 200 && (500..=1_000).contains(&waits[7]), "{waits:?}");
    mesh.handle(now, Event::LinkUp(node("b"))).unwrap();
    let wait = tick_in(&mesh.handle(now, Event::LinkDown(node("b"))).unwrap()).expect("a retry");
    assert!(wait <= 100, "{wait}");
}

#[test]
fn an_attempt_without_an_answer_is_a_failure() {
    let mut mesh = mesh(|p| p.connect_timeout = 300);
    mesh.handle(0, Event::Joined(node("b"))).unwrap();
    let timed_out = mesh.handle(300, Event::Tick).unwrap();
    assert_eq!(connects(&timed_out), []);
    let wait = tick_in(&timed_out).expect("a retry");
    assert_eq!(connects(&mesh.handle(300 + wait, Event::Tick).unwrap()), [node("b")]);
}

#[test]
fn a_node_that_left_is_disconnected_and_forgotten() {
    let mut mesh = mesh(|_| {});
    mesh.handle(0, Event::Joined(node("b"))).unwrap();
    mesh.handle(0, Event::LinkDown(node("b"))).unwrap();
    let left = mesh.handle(1, Event::Left(node("b"))).unwrap();
    assert_eq!(left, [Action::SetView(vec![]), Action::Disconnect(node("b"))]);
    assert_eq!(mesh.handle(60_000, Event::Tick).unwrap(), [], "its retry went with it");
    assert_eq!(mesh.handle(60_001, Event::Left(node("b"))).unwrap(), []);
}

#[test]
fn a_link_that_came_before_its_member_joined_counts() {
    let mut mesh = mesh(|_| {});
    assert_eq!(mesh.handle(0, Event::LinkUp(node("b"))).unwrap(), []);
    assert_eq!(mesh.handle(1, Event::Joined(node("b"))).unwrap(), [Action::SetView(vec![node("b")])]);
    mesh.handle(2, Event::LinkUp(node("c"))).unwrap();
    assert_eq!(mesh.handle(3, Event::Left(node("c"))).unwrap(), [Action::Disconnect(node("c"))]);
    mesh.handle(4, Event::LinkUp(node("d"))).unwrap();
    mesh.handle(5, Event::LinkDown(node("d"))).unwrap();
    assert_eq!(connects(&mesh.handle(6, Event::Joined(node("d"))).unwrap()), [node("d")]);
}

#[test]
fn attempts_are_limited_and_the_rest_follow() {
    let mut mesh = mesh(|p| p.max_connecting = 2);
    let mut asked = Vec::new();
    for name in ["a", "b", "c", "d"] {
        asked.extend(connects(&mesh.handle(0, Event::Joined(node(name))).unwrap()));
    }
    assert_eq!(asked, [node("a"), node("b")]);
    assert_eq!(connects(&mesh.handle(1, Event::LinkUp(node("a"))).unwrap()), [node("c")]);
    assert_eq!(connects(&mesh.handle(2, Event::LinkDown(node("b"))).unwrap()), [node("d")]);
}

#[test]
fn members_are_limited_and_an_error_changes_nothing() {
    let mut mesh = mesh(|p| p.max_members = 1);
    mesh.handle(0, Event::Joined(node("b"))).unwrap();
    let refused = mesh.handle(0, Event::Joined(node("c")));
    assert_eq!(refused, Err(OverlayError::TooManyMembers { limit: 1 }));
    assert_eq!(mesh.view(), [node("b")]);
}

#[test]
fn all_parameters_out_of_range_are_named() {
    let params = FullMeshParams {
        own: node("self"),
        backoff_min: 0,
        backoff_max: 3_600_001,
        connect_timeout: 0,
        max_connecting: 0,
        max_members: 0,
    };
    let refused = FullMesh::new(params, 0).expect_err("nothing is right").to_string();
    for name in ["backoff_min", "backoff_max", "connect_timeout", "max_connecting", "max_members"] {
        assert!(refused.contains(name), "{refused}");
    }
    let params = FullMeshParams { backoff_max: 50, ..FullMeshParams::new(node("self")) };
    let refused = FullMesh::new(params, 0).expect_err("less than the shortest");
    assert_eq!(refused.to_string(), "backoff_max must be at least backoff_min and at most 3600000, not 50");
}

#[test]
fn time_never_runs_backwards() {
    let mut mesh = mesh(|_| {});
    mesh.handle(1_000, Event::Joined(node("b"))).unwrap();
    mesh.handle(0, Event::LinkUp(node("b"))).unwrap();
    let wait = tick_in(&mesh.handle(0, Event::LinkDown(node("b"))).unwrap()).expect("a retry");
    assert_eq!(connects(&mesh.handle(999 + wait, Event::Tick).unwrap()), []);
    assert_eq!(connects(&mesh.handle(1_000 + wait, Event::Tick).unwrap()), [node("b")]);
}
