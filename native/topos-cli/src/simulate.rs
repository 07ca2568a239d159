//! `topos simulate` and `topos graph`: an overlay in one process, with a progress bar.

use std::{
    fs,
    io::{self, IsTerminal, Write},
    ops::ControlFlow,
    path::Path,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
    time::{Duration, Instant},
};

use topos_sim::{Progress, Report, Scenario, SimulationError, Topology, World};

use crate::{
    args::{self, Graph, Simulate},
    failure::{Error, Failure},
    terminal,
};

/// The exit status after Ctrl-C.
const INTERRUPTED: i32 = 130;

/// `topos simulate`.
pub(crate) fn simulate(args: &Simulate) -> Result<i32, Failure> {
    let Some((report, world)) = run(&scenario(&args.scenario, 1_000, 50.0))? else { return Ok(INTERRUPTED) };
    if let Some(path) = &args.report {
        write(path, &topos_sim::html(&report, &world))?;
    }
    let text = if args.json {
        // Numbers and texts alone: nothing in a report can fail to be written.
        serde_json::to_string_pretty(&report).unwrap_or_else(|error| error.to_string()) + "\n"
    } else {
        topos_sim::table(&report)
    };
    terminal::print(&text)?;
    Ok(0)
}

/// `topos graph`.
pub(crate) fn graph(args: &Graph) -> Result<i32, Failure> {
    let scenario = Scenario { broadcasts: 0, ..scenario(&args.scenario, 60, 0.0) };
    if scenario.nodes > 500 {
        return Err(refused(&format!("nodes must be 2..500 for a drawing, not {}", scenario.nodes)).into());
    }
    let Some((_, world)) = run(&scenario)? else { return Ok(INTERRUPTED) };
    let svg = topos_sim::graph_svg(&scenario, &world).unwrap_or_default() + "\n";
    match &args.output {
        Some(path) => write(path, &svg)?,
        None => terminal::print(&svg)?,
    }
    Ok(0)
}

fn scenario(args: &args::Overlay, nodes: u32, fail_percent: f64) -> Scenario {
    Scenario {
        topology: match args.topology {
            args::Topology::Hyparview => Topology::Hyparview,
            args::Topology::FullMesh => Topology::FullMesh,
            args::Topology::ClientServer => Topology::ClientServer,
        },
        nodes: args.nodes.unwrap_or(nodes),
        seed: args.seed,
        fail_percent: args.fail.unwrap_or(fail_percent),
        join_interval: args.join_interval,
        settle_rounds: args.settle,
        heal_rounds: args.heal,
        broadcasts: args.broadcasts,
        active_size: args.active,
        passive_size: args.passive,
        active_walk: args.active_walk,
        passive_walk: args.passive_walk,
        hubs: args.hubs,
        hubs_of_a_client: args.hubs_of_a_client,
        loss: args.loss,
    }
}

/// `None` after Ctrl-C.
fn run(scenario: &Scenario) -> Result<Option<(Report, World)>, Error> {
    let stop = interrupted().map_err(|why| {
        Error::new("TP0820", format!("Ctrl-C cannot be waited for: {why}"), "check that threads are allowed")
    })?;
    let mut bar = Bar::new();
    let done = topos_sim::simulate(scenario, |progress| {
        bar.show(progress);
        if stop.load(Ordering::Relaxed) {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    bar.clear();
    match done {
        Ok(done) => Ok(Some(done)),
        Err(SimulationError::Stopped) => Ok(None),
        Err(error) => Err(refused(&error.to_string())),
    }
}

fn refused(why: &str) -> Error {
    Error::new("TP0820", why, "`topos simulate --help` lists the parameters")
}

/// A flag that Ctrl-C raises. The thread that waits for it ends with the program.
fn interrupted() -> io::Result<Arc<AtomicBool>> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut signal = {
        let _context = runtime.enter();
        tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())?
    };
    std::thread::Builder::new().name("ctrl-c".to_owned()).spawn(move || {
        if runtime.block_on(signal.recv()).is_some() {
            raised.store(true, Ordering::Relaxed);
        }
    })?;
    Ok(flag)
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(|why| {
        Error::new(
            "TP0807",
            format!("cannot write {}: {why}", path.display()),
            "choose another place, or check its permissions and the room on its disk",
        )
    })
}

/// A line on standard error that tells how far it is, if that is a terminal.
struct Bar {
    shown: Option<Instant>,
    terminal: bool,
}

const BAR_WIDTH: usize = 30;

impl Bar {
    fn new() -> Self {
        Self { shown: None, terminal: io::stderr().is_terminal() }
    }

    fn show(&mut self, progress: Progress) {
        let soon = self.shown.is_some_and(|at| at.elapsed() < Duration::from_millis(80));
        if self.terminal && !soon {
            self.shown = Some(Instant::now());
            self.put(&format!("\r\u{1b}[K{}", line(progress)));
        }
    }

    fn clear(&self) {
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
