//! How long the phases of a build took.

use std::time::{Duration, Instant};

/// Phases with their sums, in the order they were first met.
#[derive(Clone, Debug)]
pub(crate) struct Timings {
    /// Lines of the modules that were asked for.
    pub(super) lines: usize,
    began: Instant,
    since: Instant,
    phases: Vec<(&'static str, Duration)>,
}

impl Default for Timings {
    fn default() -> Self {
        Self::start()
    }
}

impl Timings {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        Self { lines: 0, began: now, since: now, phases: Vec::new() }
    }

    /// What follows belongs to the next phase; what was before to none.
    pub(super) fn restart(&mut self) {
        self.since = Instant::now();
    }

    /// The time since the last phase belongs to this one.
    pub(super) fn phase(&mut self, name: &'static str) {
        let now = Instant::now();
        self.sum(name, now - self.since);
        self.since = now;
    }

    pub(super) fn add(&mut self, other: Self) {
        for (name, spent) in other.phases {
            self.sum(name, spent);
        }
    }

    fn sum(&mut self, name: &'static str, spent: Duration) {
        match self.phases.iter_mut().find(|(known, _)| *known == name) {
            Some((_, all)) => *all += spent,
            None => self.phases.push((name, spent)),
        }
    }

    /// A table: one phase a line, seconds and lines a second.
    pub(crate) fn table(&self) -> String {
        let row = |name: &str, spent: Duration| {
            // Counts of lines are far below 2^52.
            #[allow(clippy::cast_precision_loss)]
            let rate = self.lines as f64 / spent.as_secs_f64().max(1e-9);
            format!("{name:<16}{:>9.3} s{rate:>12.0} lines/s\n", spent.as_secs_f64())
        };
        let mut table = format!("{:<16}{:>9}\n", "lines", self.lines);
        self.phases.iter().for_each(|(name, spent)| table.push_str(&row(name, *spent)));
        table.push_str(&row("total", self.began.elapsed()));
        table
    }
}
