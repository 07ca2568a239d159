//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::run::sim::{NodeFault, Seeds, Share, Time, Times};

/// Compiles Topos programs and runs them on clusters of BEAM nodes.
#[derive(Debug, Parser)]
#[command(
    name = "topos",
    version,
    max_term_width = 100,
    after_help = "Examples:\n  topos demo                          the Quick Start on three nodes, one of them \
                  killed\n  topos check app.topos               look for mistakes\n  \
                  topos run --nodes 3 app.topos       run on three nodes: seed, node2, node3\n  \
                  topos simulate --nodes 1000         an overlay that loses half of its nodes\n  \
                  topos explain TP0201                what an error code means\n\n\
                  Exit status: that of the program for `run`; 0 success, 1 a mistake in what was given, 2 wrong usage, \
                  130 after Ctrl-C."
)]
pub(crate) struct Cli {
    /// When to use colours.
    #[arg(long, global = true, value_enum, default_value_t = Color::Auto, value_name = "WHEN")]
    pub(crate) color: Color,
    /// How mistakes are reported: for people, or as one JSON object a line.
    #[arg(long, global = true, value_enum, default_value_t = ErrorFormat::Human, value_name = "FORMAT")]
    pub(crate) error_format: ErrorFormat,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// How mistakes are reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ErrorFormat {
    /// With the source they are about.
    Human,
    /// One JSON object a line.
    Json,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Look for mistakes in programs and the modules they import.
    #[command(after_help = "Examples:\n  topos check app.topos\n  topos check --syntax-only examples/*.topos\n  \
                            topos --error-format json check app.topos")]
    Check(Check),
    /// Compile programs to beams, or to readable Erlang.
    #[command(
        after_help = "Examples:\n  topos build app.topos\n  topos build -o ebin src\n  topos build --emit erl -o generated app.topos"
    )]
    Build(Build),
    /// Run the tests and properties of modules.
    #[command(after_help = "Examples:\n  topos test\n  topos test --filter \"a cart\" src\n  \
                            topos test --seed 42 --runs 1000 src\n  topos test --nodes 3 --engine otp src\n  \
                            topos test --nodes 3 --engine sim --seeds 1..1000 --loss 10% src\n\n\
                            With --nodes, tests run on the first node, seed; Topos.Runner has what they do with the others: \
                            form_cluster and on_node. Each test finds fresh nodes.\n\n\
                            With --engine sim the nodes are virtual and time is, too; what is left to chance follows from the seed \
                            and the test's name. A test that fails tells the command that repeats it.\n\n\
                            Exit status: 0 if all passed, 1 if one failed, 130 after Ctrl-C.")]
    Test(Test),
    /// Remove the beams of the last build and what it remembers.
    Clean(Clean),
    /// Compile a program and run it on one node or on several.
    #[command(after_help = "Examples:\n  topos run app.topos\n  topos run --nodes 3 --engine otp app.topos\n  \
                            topos run app.topos -- one two\n  \
                            topos run --engine sim --nodes 5 --seed 7 --loss 10% --nemesis \"wait 1s, crash node2 3s\" app.topos\n  \
                            topos run --engine sim --nodes 3 --seeds 1..1000 app.topos\n\n\
                            The nodes are called seed@127.0.0.1, node2@127.0.0.1, ...; each is a BEAM VM of its own \
                            that runs the program's `main`. The run ends when all of them have; its exit status is \
                            the first that was not 0. A node that fails stops the others.")]
    Run(Run),
    /// Run the Quick Start: three nodes form a cluster, one is killed, comes back, and all leave.
    Demo(Demo),
    /// Show the peers and channels of a running node: rates, queues, round trips, and what is blocked.
    #[command(after_help = "Examples:\n  topos top --address 127.0.0.1:9100\n  topos top --once --json\n\n\
                      The node must serve its statistics: metrics = #{listen => \"127.0.0.1:9100\"} in its configuration. \
                      Ctrl-C ends it.")]
    Top(Top),
    /// Simulate an overlay: nodes join, broadcast, fail and heal.
    #[command(after_help = "Examples:\n  topos simulate --nodes 10000 --fail 60% --seed 7\n  \
                            topos simulate --topology client-server --nodes 500 --hubs 5 --fail 20%\n  \
                            topos simulate --nodes 1000 --fail 80% --report out.html --json\n  \
                            topos simulate --nodes 200 --loss 50 --nemesis \"partition 50% 30s, pause 10% 20s, crash 30%\"\n  \
                            topos simulate --experiments dsn2007\n\n\
                            The same parameters and seed give the same figures on every machine. Times are simulated; a round is \
                            10 s of them.")]
    Simulate(Simulate),
    /// Draw an overlay of up to 500 nodes as SVG, coloured by role and state: a simulated one, or a live cluster.
    #[command(after_help = "Examples:\n  topos graph --nodes 60 --fail 30% --heal 0 -o overlay.svg\n  \
                            topos graph --address 127.0.0.1:9100 -o cluster.svg")]
    Graph(Graph),
    /// Say what an error code means and how to mend it.
    #[command(after_help = "Example:\n  topos explain TP1007")]
    Explain(Explain),
}

/// Where the compiler finds what it needs.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct Places {
    /// Directory of topos_partisan, built with `rebar3 compile`. Default: the one this program or the working directory
    /// is in.
    #[arg(long, env = "TOPOS_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Directory of the standard library. Default: that of the home, else the one built in.
    #[arg(long, env = "TOPOS_STDLIB", value_name = "DIR")]
    pub(crate) stdlib: Option<PathBuf>,
}

/// `topos check`.
#[derive(Args, Debug)]
pub(crate) struct Check {
    /// Read the files only; do not look at imports, names, types and effects.
    #[arg(long)]
    pub(crate) syntax_only: bool,
    /// Say on standard error how long each phase took.
    #[arg(long)]
    pub(crate) timings: bool,
    /// Where to find things.
    #[command(flatten)]
    pub(crate) places: Places,
    /// Programs or modules; of a directory all `.topos` files in it.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
}

/// What `topos build` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Emit {
    /// Erlang source.
    Erl,
    /// Beams, with debug information.
    Beam,
}

/// `topos build`.
#[derive(Args, Debug)]
pub(crate) struct Build {
    /// What to write.
    #[arg(long, value_enum, default_value_t = Emit::Beam, value_name = "WHAT")]
    pub(crate) emit: Emit,
    /// Where to.
    #[arg(short, long, default_value = "_topos", value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Where interfaces and hashes are kept, so that only what changed is compiled again.
    #[arg(long, default_value = "_build/topos", value_name = "DIR")]
    pub(crate) cache: PathBuf,
    /// Leave out the beams of the standard library: the application topos_partisan brings them.
    #[arg(long)]
    pub(crate) without_stdlib: bool,
    /// Say on standard error how long each phase took.
    #[arg(long)]
    pub(crate) timings: bool,
    /// Where to find things.
    #[command(flatten)]
    pub(crate) places: Places,
    /// Programs or modules; of a directory all `.topos` files in it.
    #[arg(required = true, value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
}

/// How many values a `forall` tries, if nothing is said.
pub(crate) const RUNS: u32 = 100;
/// How many seconds a test may take, if nothing is said.
pub(crate) const TIMEOUT: u32 = 60;

/// `topos test`.
#[derive(Args, Debug)]
pub(crate) struct Test {
    /// Only tests with this text in their module or title.
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) filter: Option<String>,
    /// The seed of generated values: the same one gives the same values. With --engine sim it decides everything else that is left to
    /// chance, too. Default: another one in each run; it is shown.
    #[arg(short, long, value_name = "N")]
    pub(crate) seed: Option<u64>,
    /// How many values each `forall` tries.
    #[arg(short, long, default_value_t = RUNS, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) runs: u32,
    /// How many nodes the tests have: 1 to 64, VMs of this machine; 1 to 10000 simulated ones.
    #[arg(short, long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) nodes: u16,
    /// What carries the bytes: partisan, otp (Distributed Erlang), or sim, where all nodes are virtual. Default: partisan where it is
    /// installed.
    #[arg(short, long, value_name = "ENGINE")]
    pub(crate) engine: Option<String>,
    /// How many seconds a test may take; with --engine sim, of virtual time.
    #[arg(long, default_value_t = TIMEOUT, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) timeout: u32,
    /// Where interfaces, hashes and beams are kept.
    #[arg(long, default_value = "_build/topos", value_name = "DIR")]
    pub(crate) cache: PathBuf,
    /// Where to find things.
    #[command(flatten)]
    pub(crate) places: Places,
    /// Modules; of a directory all `.topos` files in it.
    #[arg(default_value = ".", value_name = "PATH")]
    pub(crate) files: Vec<PathBuf>,
    /// How to simulate.
    #[command(flatten)]
    pub(crate) simulation: Simulation,
}

/// `topos clean`.
#[derive(Args, Debug)]
pub(crate) struct Clean {
    /// Where the beams are.
    #[arg(short, long, default_value = "_topos", value_name = "DIR")]
    pub(crate) output: PathBuf,
    /// Where the cache is.
    #[arg(long, default_value = "_build/topos", value_name = "DIR")]
    pub(crate) cache: PathBuf,
}

/// `topos run`.
#[derive(Args, Debug)]
pub(crate) struct Run {
    /// How many nodes, 1 to 64; 1 to 10000 simulated ones. With several, each line of output begins with the name of its node.
    #[arg(short, long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub(crate) nodes: u16,
    /// What carries the bytes: partisan, otp (Distributed Erlang), or sim, where all nodes are virtual. Default: partisan where it is
    /// installed.
    #[arg(short, long, value_name = "ENGINE")]
    pub(crate) engine: Option<String>,
    /// The part of the nodes' names after the @: a name or an address of this machine.
    #[arg(long, default_value = "127.0.0.1", value_name = "HOST")]
    pub(crate) host: String,
    /// Where to find things.
    #[command(flatten)]
    pub(crate) places: Places,
    /// The program: a module with a flow `main`.
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
    /// For the program.
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) args: Vec<String>,
    /// Decides everything that is left to chance: the same seed gives the same run. Default: another one in each run; it is shown.
    #[arg(long, value_name = "N", help_heading = SIMULATION)]
    pub(crate) seed: Option<u64>,
    /// How much virtual time a run may take. Default: 1h.
    #[arg(long, value_name = "TIME", help_heading = SIMULATION)]
    pub(crate) max_time: Option<Time>,
    /// How to simulate.
    #[command(flatten)]
    pub(crate) simulation: Simulation,
}

const SIMULATION: &str = "Simulation (--engine sim)";

/// What goes with `--engine sim` alone.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = SIMULATION)]
pub(crate) struct Simulation {
    /// Try these seeds, 1..100, until the program, or each test, fails with one, and show that run.
    #[arg(long, value_name = "FIRST..LAST", conflicts_with = "seed")]
    pub(crate) seeds: Option<Seeds>,
    /// How long a message takes, 5ms or 5ms..50ms. Default: 1ms..10ms.
    #[arg(long, value_name = "TIME")]
    pub(crate) delay: Option<Times>,
    /// How many per cent of the packets are lost, and sent again later.
    #[arg(long, value_name = "PERCENT")]
    pub(crate) loss: Option<Share>,
    /// How many per cent of the packets come twice. Programs do not notice: the link drops the second.
    #[arg(long, value_name = "PERCENT")]
    pub(crate) duplicate: Option<Share>,
    /// What happens, one after the other, divided by commas: wait TIME; crash NODES; crash NODES TIME (then they start again);
    /// partition, pause or hold NODES TIME; loss PERCENT TIME. NODES are names, or a share drawn by lot: 30%.
    #[arg(long, value_name = "FAULTS", value_delimiter = ',')]
    pub(crate) nemesis: Vec<NodeFault>,
    /// How many operations and events a run may have. Default: 100000000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_steps: Option<u64>,
    /// Write on standard error what the network delivers and how nodes see each other, with virtual times.
    #[arg(long)]
    pub(crate) trace: bool,
}

/// `topos demo`.
#[derive(Args, Debug)]
pub(crate) struct Demo {
    /// What carries the bytes: partisan or otp (Distributed Erlang). Default: partisan where it is installed.
    #[arg(short, long, value_name = "ENGINE")]
    pub(crate) engine: Option<String>,
    /// Where to find things.
    #[command(flatten)]
    pub(crate) places: Places,
}

/// `topos top`.
#[derive(Args, Debug)]
pub(crate) struct Top {
    /// Where the node serves its statistics.
    #[arg(short, long, env = "TOPOS_METRICS", default_value = "127.0.0.1:9100", value_name = "ADDRESS")]
    pub(crate) address: String,
    /// Show them once.
    #[arg(long)]
    pub(crate) once: bool,
    /// As one JSON object a line, all that the node tells.
    #[arg(long)]
    pub(crate) json: bool,
    /// Milliseconds between two looks.
    #[arg(long, default_value_t = 1000, value_name = "MS", value_parser = clap::value_parser!(u64).range(100..=3_600_000))]
    pub(crate) interval: u64,
}

/// `topos explain`.
#[derive(Args, Debug)]
pub(crate) struct Explain {
    /// As it stands in the error, TP0201; the zeros and the letters may be left out.
    #[arg(value_name = "CODE")]
    pub(crate) code: String,
}

/// An overlay to simulate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Topology {
    /// A few links a node, repaired from a reserve.
    Hyparview,
    /// Every node a link to every other.
    FullMesh,
    /// Clients that keep links to hubs alone.
    ClientServer,
}

/// What is simulated.
#[derive(Args, Clone, Debug)]
pub(crate) struct Overlay {
    /// The overlay.
    #[arg(short, long, value_enum, default_value_t = Topology::Hyparview, value_name = "TOPOLOGY")]
    pub(crate) topology: Topology,
    /// How many nodes, 2 to 100000; a full mesh at most 2000.
    #[arg(short, long, value_name = "N")]
    pub(crate) nodes: Option<u32>,
    /// How many per cent of them crash at once, 0 to 99.
    #[arg(short, long, value_name = "PERCENT", value_parser = per_cent)]
    pub(crate) fail: Option<f64>,
    /// Decides every random choice.
    #[arg(short, long, default_value_t = 1, value_name = "N")]
    pub(crate) seed: u64,
    /// The time between two joins in milliseconds; 0 for all at once.
    #[arg(long, default_value_t = 10, value_name = "MS")]
    pub(crate) join_interval: u64,
    /// Rounds before the failure.
    #[arg(long, default_value_t = 50, value_name = "ROUNDS")]
    pub(crate) settle: u32,
    /// Rounds after it, at most.
    #[arg(long, default_value_t = 20, value_name = "ROUNDS")]
    pub(crate) heal: u32,
    /// Broadcasts in each phase.
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub(crate) broadcasts: u32,
    /// HyParView: size of the active view.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub(crate) active: u32,
    /// HyParView: size of the passive view.
    #[arg(long, default_value_t = 30, value_name = "N")]
    pub(crate) passive: u32,
    /// HyParView: length of random walks.
    #[arg(long, default_value_t = 6, value_name = "N")]
    pub(crate) active_walk: u8,
    /// HyParView: steps left when a walk reaches a passive view.
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub(crate) passive_walk: u8,
    /// Client-server: how many nodes are hubs.
    #[arg(long, default_value_t = 5, value_name = "N")]
    pub(crate) hubs: u32,
    /// Client-server: how many hubs a client keeps links to.
    #[arg(long, default_value_t = 2, value_name = "N")]
    pub(crate) hubs_of_a_client: u32,
    /// How many of a thousand messages are lost, up to 500.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) loss: u32,
    /// How many of a thousand messages come twice.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) duplicate: u32,
    /// How many of a thousand messages are overtaken by later ones.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) reorder: u32,
    /// What happens instead of the crash, one after the other, divided by commas: wait TIME, crash PERCENT, or partition, pause,
    /// hold or loss PERCENT TIME.
    #[arg(long, value_name = "FAULTS", value_delimiter = ',', conflicts_with = "fail")]
    pub(crate) nemesis: Vec<topos_sim::Fault>,
}

/// `60` or `60%`.
fn per_cent(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text).trim_end();
    number.parse().map_err(|_| "a number of per cent is expected, as 60 or 60%".to_owned())
}

/// `topos simulate`.
#[derive(Args, Debug)]
pub(crate) struct Simulate {
    /// What is simulated.
    #[command(flatten)]
    pub(crate) scenario: Overlay,
    /// Write a page with tables and plots, which needs nothing from elsewhere.
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Print the figures as JSON.
    #[arg(long)]
    pub(crate) json: bool,
    /// Run a set of experiments of the documentation instead, two at a time, and print their tables as Markdown. Of the other
    /// options, --nodes and --json go with it.
    #[arg(long, value_enum, value_name = "SET", conflicts_with_all = [
        "topology", "fail", "seed", "join_interval", "settle", "heal", "broadcasts", "active", "passive", "active_walk",
        "passive_walk", "hubs", "hubs_of_a_client", "loss", "duplicate", "reorder", "nemesis", "report",
    ])]
    pub(crate) experiments: Option<Experiments>,
    /// How many seeds each experiment has.
    #[arg(long, value_name = "N", requires = "experiments", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) seeds: Option<u32>,
}

/// A set of experiments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Experiments {
    /// HyParView's paper: 10,000 nodes lose 10 to 95 per cent of them.
    Dsn2007,
    /// 500 nodes join at several rates.
    Joins,
    /// The failure detector: false suspicions, and how long a crash stays unseen.
    Swim,
    /// What an overlay of 100 to 10,000 nodes costs each of them.
    Growth,
}

/// `topos graph`.
#[derive(Args, Debug)]
pub(crate) struct Graph {
    /// Draw a live cluster instead: where one of its nodes serves its statistics (`metrics` in its configuration). Of several nodes,
    /// the drawing shows what they know together.
    #[arg(short, long, value_name = "ADDRESS")]
    pub(crate) address: Vec<String>,
    /// What is simulated.
    #[command(flatten)]
    pub(crate) scenario: Overlay,
    /// Where to. Default: standard output.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}
