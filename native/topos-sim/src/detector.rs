//! SWIM on a network that loses messages, with a node that crashes and one that is paused.

use crate::{
    queue::Queue,
    world::{name, number},
};
use serde::Serialize;
use std::collections::BTreeSet;
use topos_overlay::{
    swim::{Action, Event, Status},
    Millis, OverlayError, Random, Swim, SwimParams,
};

/// A run of the detector. Times in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scenario {
    /// How many nodes, at least 2; all know each other.
    pub nodes: u32,
    /// Decides every random choice.
    pub seed: u64,
    /// How many of a thousand messages are lost.
    pub loss: u32,
    /// Node 0 stands still for so long, from 30 s on; what is sent to it meanwhile arrives after.
    pub pause: Millis,
    /// Node 1 crashes at 30 s.
    pub crash: bool,
    /// How long the run takes; one with a crash ends as soon as all know of it.
    pub duration: Millis,
}

/// What it came to.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Outcome {
    /// How often a node began to suspect one that lived and was not paused.
    pub false_suspicions: u32,
    /// How often one that lived and was not paused came under suspicion: what spreads from node to node counts once.
    pub suspected: u32,
    /// How often a node declared one dead that lived and was not paused.
    pub false_deaths: u32,
    /// How often one was declared dead that was only paused.
    pub deaths_of_paused: u32,
    /// Pairs of living nodes of which one holds the other for dead at the end.
    pub wrong_at_end: u32,
    /// From the crash to the first suspicion that lasted.
    pub first_suspicion: Option<Millis>,
    /// From the crash to the first declaration of death.
    pub first_death: Option<Millis>,
    /// From the crash until every living node knew.
    pub all_know: Option<Millis>,
    /// Messages a node and second.
    pub messages: f64,
}

/// When the fault begins.
const FAULT: Millis = 30_000;

enum Happening {
    Event(Event),
    Tick(u64),
}

struct Run {
    scenario: Scenario,
    random: Random,
    now: Millis,
    queue: Queue<(u32, Happening)>,
    nodes: Vec<(Swim, u64)>,
    outcome: Outcome,
    know: u32,
    sent: u64,
    /// Of each node, who suspects it at present.
    suspected_by: Vec<BTreeSet<u32>>,
}

/// Runs it.
pub fn detect(scenario: &Scenario) -> Result<Outcome, OverlayError> {
    let mut random = Random::new(scenario.seed);
    let mut nodes = Vec::new();
    for node in 0..scenario.nodes {
        nodes.push((Swim::new(SwimParams::new(name(node), 1), random.next_u64())?, 0));
    }
    let mut run = Run {
        scenario: scenario.clone(),
        random,
        now: 0,
        queue: Queue::default(),
        nodes,
        outcome: Outcome::default(),
        know: 0,
        sent: 0,
        suspected_by: vec![BTreeSet::new(); scenario.nodes as usize],
    };
    for node in 0..scenario.nodes {
        for other in (0..scenario.nodes).filter(|&other| other != node) {
            run.give(node, Event::Joined(name(other)))?;
        }
    }
    while let Some((at, (node, happening))) = run.queue.pop_until(scenario.duration) {
        run.now = at;
        run.happen(node, happening)?;
        if run.outcome.all_know.is_some() {
            break;
        }
    }
    Ok(run.end())
}

impl Run {
    fn crashed(&self, node: u32) -> bool {
        self.scenario.crash && node == 1 && self.now >= FAULT
    }

    fn paused_until(&self, node: u32) -> Option<Millis> {
        let until = FAULT + self.scenario.pause;
        (node == 0 && (FAULT..until).contains(&self.now)).then_some(until)
    }

    fn happen(&mut self, node: u32, happening: Happening) -> Result<(), OverlayError> {
        if self.crashed(node) {
            return Ok(());
        }
        if let Some(until) = self.paused_until(node) {
            self.queue.push(until, (node, happening));
            return Ok(());
        }
        let event = match happening {
            Happening::Tick(tick) if tick == self.nodes[node as usize].1 => Event::Tick,
            Happening::Tick(_) => return Ok(()),
            Happening::Event(event) => event,
        };
        self.give(node, event)
    }

    fn give(&mut self, node: u32, event: Event) -> Result<(), OverlayError> {
        for action in self.nodes[node as usize].0.handle(self.now, event)? {
            match action {
                Action::Send { to, message } => {
                    self.sent += 1;
                    if self.random.between(0, 999) >= u64::from(self.scenario.loss) {
                        let at = self.now + self.random.between(5, 50);
                        let event = Event::Received { from: name(node), message };
                        self.queue.push(at, (number(&to), Happening::Event(event)));
                    }
                }
                Action::Changed { node: of, status } => self.changed(node, number(&of), status),
                Action::ScheduleTick(ms) => {
                    self.nodes[node as usize].1 += 1;
                    let tick = self.nodes[node as usize].1;
                    self.queue.push(self.now + ms, (node, Happening::Tick(tick)));
                }
            }
        }
        Ok(())
    }

    fn changed(&mut self, node: u32, of: u32, status: Status) {
        let since = self.now.saturating_sub(FAULT);
        if self.crashed(of) {
            match status {
                Status::Suspect => drop(self.outcome.first_suspicion.get_or_insert(since)),
                Status::Dead => {
                    self.outcome.first_death.get_or_insert(since);
                    self.know += 1;
                    if self.know == self.scenario.nodes - 1 {
                        self.outcome.all_know = Some(since);
                    }
                }
                Status::Alive => {}
            }
            return;
        }
        // What is said of the paused node while it stands still, and until it had the time to refute it, is no mistake.
        let paused = self.scenario.pause > 0 && of == 0 && self.now >= FAULT;
        let suspected_by = &mut self.suspected_by[of as usize];
        if status != Status::Suspect {
            suspected_by.remove(&node);
        } else if suspected_by.insert(node) && suspected_by.len() == 1 && !paused {
            self.outcome.suspected += 1;
        }
        match status {
            Status::Suspect if !paused => self.outcome.false_suspicions += 1,
            Status::Dead if paused => self.outcome.deaths_of_paused += 1,
            Status::Dead => self.outcome.false_deaths += 1,
            _ => {}
        }
    }

    fn end(mut self) -> Outcome {
        let living: Vec<u32> = (0..self.scenario.nodes).filter(|&node| !(self.scenario.crash && node == 1)).collect();
        for &node in &living {
            let (swim, _) = &self.nodes[node as usize];
            let wrong = |other: &&u32| swim.status(&name(**other)) == Some(Status::Dead);
            self.outcome.wrong_at_end += living.iter().filter(wrong).count() as u32;
        }
        let ended = if self.outcome.all_know.is_some() { self.now } else { self.scenario.duration };
        let seconds = ended as f64 / 1_000.0;
        self.outcome.messages = self.sent as f64 / f64::from(self.scenario.nodes) / seconds;
        self.outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(nodes: u32, seed: u64) -> Scenario {
        Scenario { nodes, seed, loss: 0, pause: 0, crash: false, duration: 90_000 }
    }

    #[test]
    fn without_faults_nobody_is_suspected() {
        let outcome = detect(&scenario(40, 1)).expect("valid");
        assert_eq!((outcome.false_suspicions, outcome.false_deaths), (0, 0));
        assert!((1.9..2.1).contains(&outcome.messages), "a probe and an answer each second: {}", outcome.messages);
    }

    #[test]
    fn a_crash_is_known_to_all_within_the_bound() {
        for nodes in [10, 100] {
            let outcome = detect(&Scenario { crash: true, ..scenario(nodes, 3) }).expect("valid");
            assert!(outcome.first_suspicion.is_some_and(|at| at < 8_000), "{outcome:?}");
            // Suspicion lasts 8 s; then the news has a logarithmic number of rounds to go.
            assert!(outcome.all_know.is_some_and(|at| at < 25_000), "{outcome:?}");
            assert_eq!(outcome.false_deaths, 0);
        }
    }

    #[test]
    fn with_a_fifth_of_the_messages_lost_suspicions_are_refuted() {
        let mut suspicions = 0;
        for seed in 0..5 {
            let outcome = detect(&Scenario { loss: 200, ..scenario(40, seed) }).expect("valid");
            suspicions += outcome.suspected;
            assert!(outcome.suspected <= outcome.false_suspicions);
            assert_eq!((outcome.false_deaths, outcome.wrong_at_end), (0, 0), "seed {seed}: {outcome:?}");
        }
        assert!(suspicions > 0, "the test sees what it is about");
    }

    #[test]
    fn a_paused_node_blames_nobody_and_comes_back() {
        for seed in 0..5 {
            let outcome = detect(&Scenario { pause: 20_000, ..scenario(40, seed) }).expect("valid");
            assert_eq!(outcome.false_deaths, 0, "seed {seed}: {outcome:?}");
            assert!(outcome.deaths_of_paused > 0, "20 s are more than a suspicion lasts");
            assert_eq!(outcome.wrong_at_end, 0, "seed {seed}: {outcome:?}");
        }
    }
}
