//! `topos simulate` and `topos graph`: an overlay in one process, with a progress bar.

mod bar;
mod experiments;
mod live;

use std::{
    fs, io,
    ops::ControlFlow,
    path::Path,
    sync::{
        atomic::{AtomicBool, Ordering},
        Arc,
    },
};

use bar::Bar;
use topos_sim::{Report, Scenario, SimulationError, Topology, World};

use crate::{
    args::{self, Graph, Simulate},
    failure::{Error, Failure},
    terminal,
};

/// The exit status after Ctrl-C.
const INTERRUPTED: i32 = 130;

/// `topos simulate`.
pub(crate) fn simulate(args: &Simulate) -> Result<i32, Failure> {
    if let Some(experiments) = args.experiments {
        return experiments::run(experiments, args);
    }
    let Some((report, world)) = run(&scenario(&args.scenario, 1_000, 50.0))? else { return Ok(INTERRUPTED) };
    if let Some(path) = &args.report {
        write(path, &topos_sim::html(&report, &world))?;
    }
    let text = if args.json { json(&report) } else { topos_sim::table(&report) };
    terminal::print(&text)?;
    Ok(0)
}

/// Numbers and texts alone: nothing in a report can fail to be written.
fn json(report: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(report).unwrap_or_else(|error| error.to_string()) + "\n"
}

/// `topos graph`.
pub(crate) fn graph(args: &Graph) -> Result<i32, Failure> {
    if !args.address.is_empty() {
        return deliver(args, &live::draw(&args.address)?);
    }
    let scenario = Scenario { broadcasts: 0, ..scenario(&args.scenario, 60, 0.0) };
    if scenario.nodes > 500 {
        return Err(refused(&format!("nodes must be 2..500 for a drawing, not {}", scenario.nodes)).into());
    }
    let Some((_, world)) = run(&scenario)? else { return Ok(INTERRUPTED) };
    deliver(args, &topos_sim::graph_svg(&scenario, &world).unwrap_or_default())
}

fn deliver(args: &Graph, svg: &str) -> Result<i32, Failure> {
    let svg = format!("{svg}\n");
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
        duplicate: args.duplicate,
        reorder: args.reorder,
        nemesis: args.nemesis.clone(),
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
