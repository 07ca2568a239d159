//! The progress bar: a line on standard error, if that is a terminal.

use std::{
    io::{self, IsTerminal, Write},
    time::{Duration, Instant},
};

use topos_sim::Progress;

/// A line on standard error that tells how far it is, if that is a terminal.
pub(super) struct Bar {
    shown: Option<Instant>,
    terminal: bool,
}

const BAR_WIDTH: usize = 30;

impl Bar {
    pub(super) fn new() -> Self {
        Self { shown: None, terminal: io::stderr().is_terminal() }
    }

    pub(super) fn show(&mut self, progress: Progress) {
        let soon = self.shown.is_some_and(|at| at.elapsed() < Duration::from_millis(80));
        if self.terminal && !soon {
            self.shown = Some(Instant::now());
            self.put(&format!("\r\u{1b}[K{}", line(progress)));
        }
    }

    pub(super) fn clear(&self) {
        if self.shown.is_some() {
            self.put("\r\u{1b}[K");
        }
    }

    fn put(&self, text: &str) {
        let mut stderr = io::stderr().lock();
        // A bar that cannot be drawn is no reason to end the simulation.
        drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
    }
}

fn line(Progress { phase, done, all }: Progress) -> String {
    let part = if all == 0 { 1.0 } else { f64::from(done) / f64::from(all) };
    let filled = (part * BAR_WIDTH as f64) as usize;
    let bar: String = (0..BAR_WIDTH).map(|at| if at < filled { '█' } else { '░' }).collect();
    format!("{phase:<22} {bar} {:>3.0} %", part * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_fills() {
        let at = |done| line(Progress { phase: "nodes join", done, all: 4 });
        assert!(at(0).ends_with("░   0 %") && !at(0).contains('█'));
        assert_eq!(at(2).matches('█').count(), BAR_WIDTH / 2);
        assert!(at(4).ends_with("█ 100 %"));
    }
}
