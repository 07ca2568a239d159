//! Laws of every overlay that aims at a full mesh, on random histories.

#![allow(clippy::panic, reason = "helpers of tests are tests")]

use proptest::prelude::*;
use std::collections::BTreeSet;
use topos_overlay::{Action, Event, FullMesh, FullMeshParams, Millis, NodeId, Overlay};

#[derive(Clone, Debug)]
enum Step {
    Joined(u8),
    Left(u8),
    LinkUp(u8),
    LinkDown(u8),
    /// Time passes, with a tick if one is due.
    Wait(u16),
}

fn node(n: u8) -> NodeId {
    NodeId::new(&[n]).expect("one byte")
}

const OWN: u8 = 0;

fn step() -> impl Strategy<Value = Step> {
    let id = 0..8u8;
    prop_oneof![
        id.clone().prop_map(Step::Joined),
        id.clone().prop_map(Step::Left),
        id.clone().prop_map(Step::LinkUp),
        id.prop_map(Step::LinkDown),
        (0..20_000u16).prop_map(Step::Wait),
    ]
}

/// A driver as the documentation of the crate asks for, which keeps the laws while it runs.
struct Driver {
    mesh: FullMesh,
    now: Millis,
    tick_at: Option<Millis>,
    members: BTreeSet<NodeId>,
    up: BTreeSet<NodeId>,
    tried: BTreeSet<NodeId>,
    log: Vec<Action>,
}

impl Driver {
    fn new(seed: u64, max_connecting: u32) -> Self {
        let params = FullMeshParams { max_connecting, ..FullMeshParams::new(node(OWN)) };
        let mesh = FullMesh::new(params, seed).expect("valid");
        let none = BTreeSet::new;
        Self { mesh, now: 0, tick_at: None, members: none(), up: none(), tried: none(), log: Vec::new() }
    }

    fn event(&mut self, event: Event) {
        match &event {
            Event::Joined(n) if *n != node(OWN) => drop(self.members.insert(n.clone())),
            Event::Left(n) => {
                self.members.remove(n);
                self.up.remove(n);
            }
            Event::LinkUp(n) => drop(self.up.insert(n.clone())),
            Event::LinkDown(n) => drop(self.up.remove(n)),
            Event::Tick => self.tick_at = None,
            Event::Joined(_) | Event::Received { .. } | Event::Met(_) | Event::Wanted(_) => {}
        }
        let before = self.mesh.view();
        let actions = self.mesh.handle(self.now, event).expect("within the limits");
        let after = self.mesh.view();
        for action in &actions {
            match action {
                Action::Connect(n) => {
                    assert!(self.members.contains(n), "connects to {n:?}, which is no member");
                    assert!(!self.up.contains(n), "connects to {n:?}, which is up");
                    self.tried.insert(n.clone());
                }
                Action::Disconnect(n) => assert!(!self.members.contains(n), "disconnects the member {n:?}"),
                Action::SetView(view) => assert_eq!(*view, after),
                Action::Send { .. } => panic!("a mesh has nothing to say"),
                Action::ScheduleTick(ms) => self.tick_at = Some(self.now + ms),
            }
        }
        assert_eq!(before != after, actions.iter().any(|a| matches!(a, Action::SetView(_))), "each change, once");
        assert!(after.iter().eq(self.members.iter()), "the view is the members without this node");
        self.log.extend(actions);
    }

    /// Lets the time run; every tick comes when it was asked for.
    fn wait(&mut self, ms: Millis) {
        let until = self.now + ms;
        while let Some(at) = self.tick_at.filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.event(Event::Tick);
        }
        self.now = until;
    }

    fn run(&mut self, steps: &[Step]) {
        for step in steps {
            match step {
                Step::Joined(n) => self.event(Event::Joined(node(*n))),
                Step::Left(n) => self.event(Event::Left(node(*n))),
                // The shell reports a link that this node has, and no link to itself.
                Step::LinkUp(n) if *n != OWN => self.event(Event::LinkUp(node(*n))),
                Step::LinkDown(n) if *n != OWN => self.event(Event::LinkDown(node(*n))),
                Step::LinkUp(_) | Step::LinkDown(_) => {}
                Step::Wait(ms) => self.wait(Millis::from(*ms)),
            }
        }
    }
}

proptest! {
    #[test]
    fn every_member_that_is_down_is_tried_again(
        seed: u64, max_connecting in 1..4u32, steps in prop::collection::vec(step(), 0..80)
    ) {
        let mut driver = Driver::new(seed, max_connecting);
        driver.run(&steps);
        driver.tried.clear();
        // Seven attempts that nobody answers, one after the other, each 5 s and 10 s of waiting: twice that.
        driver.wait(2 * 7 * (5_000 + 10_000));
        let down: BTreeSet<NodeId> = driver.members.difference(&driver.up).cloned().collect();
        prop_assert_eq!(driver.tried, down);
    }

    #[test]
    fn the_same_seed_and_events_give_the_same_actions(seed: u64, steps in prop::collection::vec(step(), 0..60)) {
        let mut first = Driver::new(seed, 64);
        let mut second = Driver::new(seed, 64);
        first.run(&steps);
        second.run(&steps);
        prop_assert_eq!(first.log, second.log);
    }

    #[test]
    fn when_every_attempt_succeeds_the_mesh_is_complete(seed: u64, steps in prop::collection::vec(step(), 0..60)) {
        let mut driver = Driver::new(seed, 2);
        driver.run(&steps);
        for _ in 0..40 {
            driver.tried.clear();
            driver.wait(10_000);
            for node in std::mem::take(&mut driver.tried) {
                driver.event(Event::LinkUp(node));
            }
        }
        prop_assert!(driver.members.is_subset(&driver.up));
    }
}
