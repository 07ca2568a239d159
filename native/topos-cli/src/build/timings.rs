//! How long the phases of a build took.

use std::time::Duration;

use nix::time::{clock_gettime, ClockId};

/// Two clocks: the wall's, and the time this process got from the machine's cores, which others on it do not lengthen.
#[derive(Clone, Copy, Debug, Default)]
struct Moment {
    wall: Duration,
    cpu: Duration,
}

impl Moment {
    fn now() -> Self {
        // Both clocks exist wherever this program runs.
        let read = |clock| clock_gettime(clock).map(Duration::from).unwrap_or_default();
        Self { wall: read(ClockId::CLOCK_MONOTONIC), cpu: read(ClockId::CLOCK_PROCESS_CPUTIME_ID) }
    }

    fn since(self, earlier: Self) -> Self {
        Self { wall: self.wall.saturating_sub(earlier.wall), cpu: self.cpu.saturating_sub(earlier.cpu) }
    }
}

/// Phases with their sums, in the order they were first met.
#[derive(Clone, Debug)]
pub(crate) struct Timings {
    /// Lines of the modules that were asked for.
    pub(super) lines: usize,
    began: Moment,
    since: Moment,
    phases: Vec<(&'static str, Moment)>,
}

impl Default for Timings {
    fn default() -> Self {
        Self::start()
    }
}

impl Timings {
    pub(super) fn start() -> Self {
        let now = Moment::now();
        Self { lines: 0, began: now, since: now, phases: Vec::new() }
    }

    /// What follows belongs to the next phase; what was before to none.
    pub(super) fn restart(&mut self) {
        self.since = Moment::now();
    }

    /// The time since the last phase belongs to this one.
    pub(super) fn phase(&mut self, name: &'static str) {
        let now = Moment::now();
        self.sum(name, now.since(self.since));
        self.since = now;
    }

    pub(super) fn add(&mut self, other: Self) {
        for (name, spent) in other.phases {
            self.sum(name, spent);
        }
    }

    fn sum(&mut self, name: &'static str, spent: Moment) {
        match self.phases.iter_mut().find(|(known, _)| *known == name) {
            Some((_, all)) => {
                all.wall += spent.wall;
                all.cpu += spent.cpu;
            }
            None => self.phases.push((name, spent)),
        }
    }

    /// A table: one phase a line, CPU and wall seconds, lines a CPU second.
    pub(crate) fn table(&self) -> String {
        let row = |name: &str, spent: Moment| {
            // Counts of lines are far below 2^52.
            #[allow(clippy::cast_precision_loss)]
            let rate = self.lines as f64 / spent.cpu.as_secs_f64().max(1e-9);
            format!(
                "{name:<16}{:>9.3} s cpu{:>9.3} s wall{rate:>12.0} lines/cpu s\n",
                spent.cpu.as_secs_f64(),
                spent.wall.as_secs_f64()
            )
        };
        let mut table = format!("{:<16}{:>9}\n", "lines", self.lines);
        self.phases.iter().for_each(|(name, spent)| table.push_str(&row(name, *spent)));
        table.push_str(&row("total", Moment::now().since(self.began)));
        table
    }
}
