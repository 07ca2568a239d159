//! Sets of experiments, two at a time.

use std::{
    fs,
    ops::ControlFlow,
    sync::{
        atomic::{AtomicUsize, Ordering},
        Mutex, PoisonError,
    },
    thread,
};

use topos_sim::{
    experiments::{self, Finding, Size},
    SimulationError,
};

use super::{bar::Bar, interrupted, json, refused, INTERRUPTED};
use crate::{
    args::{Experiments, Simulate},
    failure::{Error, Failure},
    terminal,
};

/// The documentation's figures are of two cores.
const THREADS: usize = 2;

pub(super) fn run(set: Experiments, args: &Simulate) -> Result<i32, Failure> {
    let (set, threads) = match set {
        Experiments::Dsn2007 => (experiments::Experiments::Dsn2007, THREADS),
        Experiments::Joins => (experiments::Experiments::Joins, THREADS),
        Experiments::Swim => (experiments::Experiments::Swim, THREADS),
        // One after the other: each is to be told by the memory of the whole program.
        Experiments::Growth => (experiments::Experiments::Growth, 1),
    };
    let jobs = experiments::jobs(set, Size { nodes: args.scenario.nodes, seeds: args.seeds });
    let Some(findings) = side_by_side(&jobs, threads)? else { return Ok(INTERRUPTED) };
    let text = if args.json { json(&findings) } else { experiments::tables(&findings) };
    terminal::print(&text)?;
    Ok(0)
}

/// The findings in the order of the jobs, whichever ends first; `None` after Ctrl-C.
fn side_by_side(jobs: &[experiments::Job], threads: usize) -> Result<Option<Vec<Finding>>, Error> {
    let stop = interrupted().map_err(|why| {
        Error::new("TP0820", format!("Ctrl-C cannot be waited for: {why}"), "check that threads are allowed")
    })?;
    let (next, failed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let found: Vec<Mutex<Option<Result<Finding, SimulationError>>>> = jobs.iter().map(|_| Mutex::new(None)).collect();
    let bar = Mutex::new(Bar::new());
    let work = || loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some(job) = jobs.get(at) else { return };
        let before = resident();
        let done = job.run(|progress| {
            if let Ok(mut bar) = bar.try_lock() {
                bar.show(progress);
            }
            if stop.load(Ordering::Relaxed) || failed.load(Ordering::Relaxed) > 0 {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        });
        if done.is_err() {
            failed.fetch_add(1, Ordering::Relaxed);
        }
        let done = done.map(|finding| with_memory(finding, threads, before));
        *found[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
    };
    thread::scope(|scope| {
        for _ in 1..threads.min(jobs.len()) {
            scope.spawn(work);
        }
        work();
    });
    bar.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let (mut findings, mut error) = (Vec::new(), None);
    for done in found.into_iter().filter_map(|found| found.into_inner().unwrap_or_else(PoisonError::into_inner)) {
        match done {
            Ok(finding) => findings.push(finding),
            Err(SimulationError::Stopped) => {}
            Err(why) => error = Some(refused(&why.to_string())),
        }
    }
    match error {
        Some(error) => Err(error),
        None if findings.len() < jobs.len() => Ok(None),
        None => Ok(Some(findings)),
    }
}

/// What the process had in memory at most beyond what it had before, by node.
fn with_memory(finding: Finding, threads: usize, before: Option<(u64, u64)>) -> Finding {
    let memory = match (before, resident()) {
        (Some((at_start, peak_before)), Some((_, peak))) if threads == 1 && peak > peak_before => {
            Some(peak.saturating_sub(at_start))
        }
        _ => None,
    };
    finding.with_memory(memory)
}

/// The resident memory of this process and the most it had, in bytes; `None` where the system does not tell.
fn resident() -> Option<(u64, u64)> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let value = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| 1_024 * kilobytes)
    };
    Some((value("VmRSS:")?, value("VmHWM:")?))
}
