//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Compiles Topos programs and runs them on clusters of BEAM nodes.
#[derive(Debug, Parser)]
#[command(
    name = "topos",
    version,
    max_term_width = 100,
    after_help = "Examples:\n  topos demo                          the Quick Start on three nodes, one of them \
                  killed\n  topos check app.topos               look for mistakes\n  \
                  topos run --nodes 3 app.topos       run on three nodes: seed, node2, node3\n  \
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
    /// Remove the beams of the last build and what it remembers.
    Clean(Clean),
    /// Compile a program and run it on one node or on several.
    #[command(after_help = "Examples:\n  topos run app.topos\n  topos run --nodes 3 --engine otp app.topos\n  \
                            topos run app.topos -- one two\n\n\
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
    /// How many nodes, 1 to 64. With several, each line of output begins with the name of its node.
    #[arg(short, long, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    pub(crate) nodes: u8,
    /// What carries the bytes: partisan or otp (Distributed Erlang). Default: partisan where it is installed.
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
