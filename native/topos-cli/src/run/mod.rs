//! `topos run`: a compiled program on nodes.
//!
//! [`vm`] is one VM, [`cluster`] all of them; [`lines`] takes apart what they write, [`output`] shows it, [`protocol`]
//! is what they ask of the runner, [`input`] the user's own input, [`epmd`] the port mapper of a run on Distributed Erlang.
//! [`sim`] runs all nodes in one VM instead, simulated.

mod cluster;
mod epmd;
mod input;
mod lines;
mod output;
mod protocol;
pub(crate) mod sim;
mod vm;

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    io,
    net::{IpAddr, SocketAddr},
    path::Path,
};

use tokio::process::Command;

use crate::{home::Home, render::Style};
use cluster::{Cluster, Launch};
use epmd::Epmd;
use output::Output;

/// What to run, and how.
#[derive(Debug)]
pub(crate) struct Plan<'a> {
    /// Where Erlang and the application are.
    pub(crate) home: &'a Home,
    /// Where the program's beams are.
    pub(crate) beams: &'a Path,
    /// What the nodes do.
    pub(crate) work: Work<'a>,
    /// The engine to use; without one the nodes choose the best.
    pub(crate) engine: Option<&'a str>,
    /// Whether to say on which engine and nodes it runs.
    pub(crate) announce: bool,
    /// How many nodes, at least 1.
    pub(crate) nodes: usize,
    /// The part of the names after the @.
    pub(crate) host: &'a str,
    /// The address that the nodes listen on.
    pub(crate) address: IpAddr,
}

/// What the nodes do.
#[derive(Debug)]
pub(crate) enum Work<'a> {
    /// Each runs this program.
    Program {
        /// Its module.
        main: &'a str,
        /// For it.
        args: &'a [String],
    },
    /// The first one runs tests; the others do what these call.
    Tests {
        /// Of `topos_test_runner`.
        args: &'a [String],
    },
}

/// Runs the nodes to their end and answers the exit status.
pub(crate) fn run(plan: &Plan<'_>, style: Style) -> io::Result<i32> {
    let names = names(plan.nodes);
    let tests = matches!(plan.work, Work::Tests { .. });
    let output = Output::new(&names, tests, style);
    if let (true, Some(engine)) = (plan.announce, plan.engine) {
        output.remark(&format!("engine {engine}, nodes {}", names.join(", ")))?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(async {
        let epmd = if plan.engine == Some("otp") { Epmd::start(&plan.home.erl, plan.address).await? } else { None };
        let launch = Launcher { plan, cookie: cookie(), epmd };
        Cluster::new(&names, plan.host, launch, output, tests).run().await
    });
    match ended {
        // Nobody reads the output any more (`topos run .. | head`): that ends the run, as it ends other programs.
        Err(why) if why.kind() == io::ErrorKind::BrokenPipe => Ok(128 + nix::sys::signal::Signal::SIGPIPE as i32),
        ended => ended,
    }
}

/// `seed`, `node2`, `node3`, ...
fn names(nodes: usize) -> Vec<String> {
    (1..=nodes).map(|n| if n == 1 { "seed".to_owned() } else { format!("node{n}") }).collect()
}

/// The secret of this run's cluster: nodes of another run that listens nearby cannot join by mistake. From the seeds
/// that the standard library draws from the operating system.
fn cookie() -> String {
    let word = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", word(), word())
}

struct Launcher<'a> {
    plan: &'a Plan<'a>,
    cookie: String,
    epmd: Option<Epmd>,
}

impl Launch for Launcher<'_> {
    fn command(&self, index: usize, node: &str) -> Command {
        let plan = self.plan;
        let mut command = Command::from(plan.home.vm());
        // Several VMs share the machine: schedulers without work sleep at once.
        command.args(["+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"]);
        command.arg("-pa").arg(plan.beams).args(&plan.home.ebins);
        command.args(["-kernel", "logger", LOGGER, "logger_level", "warning", "logger_sasl_compatible", "true"]);
        const RUNNER: [&str; 3] = ["-s", "topos_runner", "start"];
        match plan.work {
            Work::Program { main, args } => {
                command.args(RUNNER).args(["-s", "topos_effect", "main", "-extra", main]).args(args);
            }
            Work::Tests { args } if index == 0 => {
                command.args(RUNNER).args(["-s", "topos_test_runner", "main", "-extra"]).args(args);
            }
            // Its handlers are there before the first call can come.
            Work::Tests { .. } => {
                command.args(["-s", "topos_test_runner", "serve"]).args(RUNNER);
            }
        }
        command.env("TOPOS_NODE", node).env("TOPOS_COOKIE", &self.cookie);
        match plan.engine {
            Some(engine) => command.env("TOPOS_ENGINE", engine),
            None => command.env_remove("TOPOS_ENGINE"),
        };
        // Any free port: the node tells which, and its peers ask for it.
        command.env("TOPOS_LISTEN", SocketAddr::new(plan.address, 0).to_string());
        if let Some(epmd) = &self.epmd {
            command.env(epmd::PORT, epmd.port.to_string());
        }
        // A node that is killed leaves no dump in the user's directory.
        command.env("ERL_CRASH_DUMP_SECONDS", "0");
        command
    }
}

/// Standard output is the program's: Erlang's log goes to standard error. Reports of supervisors are left out
/// (`logger_sasl_compatible`): what they say a program learns as the error of its own call.
const LOGGER: &str = "[{handler,default,logger_std_h,#{config=>#{type=>standard_error}}}]";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_node_is_the_seed() {
        assert_eq!(names(3), ["seed", "node2", "node3"]);
    }

    #[test]
    fn cookies_differ() {
        assert_ne!(cookie(), cookie());
        assert_eq!(cookie().len(), 32);
    }
}
