//! The `topos` command: checks, builds and runs Topos programs.
//!
//! The compiler is `topos_lang` and does no I/O; this crate reads the files, draws what the compiler finds, and starts the
//! VMs. How it goes: [`args`] is the command line, [`commands`] what each command does, [`loader`] reads a program,
//! [`frontend`] has it checked, [`server`] turns the generated code into beams, [`run`] runs them on nodes.
//! [`mod@simulate`] runs overlays of `topos_sim` instead. What ends a command early is a [`failure::Failure`].

mod args;
mod build;
mod commands;
mod explain;
mod failure;
mod frontend;
mod home;
mod loader;
mod render;
mod run;
mod server;
mod simulate;
mod source;
mod stdlib;
mod terminal;
mod testing;
mod top;
mod visible;

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;

use args::{Cli, Command};

/// The compiler makes and drops many small values: this takes a third off its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let style = terminal::style(cli.color, &io::stdout());
    let done = match &cli.command {
        Command::Check(args) => commands::check(args),
        Command::Build(args) => commands::build(args),
        Command::Clean(args) => commands::clean(args),
        Command::Test(args) => testing::test(args, style),
        Command::Run(args) => commands::run(args, style),
        Command::Demo(args) => commands::demo(args, style),
        Command::Top(args) => top::top(args, style),
        Command::Explain(args) => commands::explain(args),
        Command::Simulate(args) => simulate::simulate(args),
        Command::Graph(args) => simulate::graph(args),
    };
    let status = done.unwrap_or_else(|failure| {
        let text = failure.text(cli.error_format, terminal::style(cli.color, &io::stderr()));
        // Where even standard error is closed, the exit status alone must tell.
        drop(io::stderr().lock().write_all(text.as_bytes()));
        1
    });
    ExitCode::from(u8::try_from(status).unwrap_or(1))
}
