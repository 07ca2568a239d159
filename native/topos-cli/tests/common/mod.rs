//! Runs the command as a user would.

#![allow(clippy::print_stderr, reason = "a test that is skipped says why")]
#![allow(dead_code, reason = "each suite uses a part of it")]

pub(crate) mod vms;

use std::{
    io::{Seek, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Where the programs of the cases are; commands run there.
pub(crate) fn cases() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases")
}

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository is there")
}

/// A command to run.
pub(crate) struct Case {
    args: Vec<String>,
    command: Command,
}

/// What came of it.
pub(crate) struct Outcome {
    args: Vec<String>,
    /// The exit status; -1 after a signal.
    pub(crate) status: i32,
    /// What it wrote.
    pub(crate) stdout: String,
    /// What it said.
    pub(crate) stderr: String,
}

impl Case {
    /// `topos` with these arguments.
    pub(crate) fn new(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_topos"));
        command.args(args).current_dir(cases()).stdin(Stdio::null()).env("COLUMNS", "100");
        for name in ["NO_COLOR", "TOPOS_HOME", "TOPOS_STDLIB", "TOPOS_NODE", "TOPOS_ENGINE", "TOPOS_COOKIE"] {
            command.env_remove(name);
        }
        Self { args: args.iter().map(|&arg| arg.to_owned()).collect(), command }
    }

    /// Runs it elsewhere than among the cases.
    pub(crate) fn directory(mut self, directory: &Path) -> Self {
        self.command.current_dir(directory);
        self
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Gives it this input.
    pub(crate) fn input(mut self, text: &str) -> Self {
        let mut file = tempfile::tempfile().expect("there is room for a file");
        file.write_all(text.as_bytes()).and_then(|()| file.rewind()).expect("the file takes the text");
        self.command.stdin(file);
        self
    }

    /// Runs it to its end.
    pub(crate) fn run(mut self) -> Outcome {
        let output = self.command.output().expect("the command starts");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the command writes UTF-8");
        Outcome {
            args: self.args,
            status: output.status.code().unwrap_or(-1),
            stdout: text(&output.stdout),
            stderr: text(&output.stderr),
        }
    }
}

impl Outcome {
    /// As a snapshot shows it: the command line, the exit status, and both streams. Escape sequences are made visible.
    pub(crate) fn show(&self) -> String {
        let root = root().display().to_string();
        let mut shown = format!("$ topos {}\nexit status {}\n", self.args.join(" "), self.status);
        for (name, text) in [("stdout", &self.stdout), ("stderr", &self.stderr)] {
            if !text.is_empty() {
                shown.push_str(&format!("--- {name} ---\n{}", text.replace(&root, "ROOT").replace('\u{1b}', "ESC")));
            }
        }
        shown
    }
}

/// One run at a time: each starts several VMs.
pub(crate) fn turn() -> Option<MutexGuard<'static, ()>> {
    static TURN: Mutex<()> = Mutex::new(());
    let built = root().join("_build/default/lib/topos_partisan/ebin/topos_effect.beam").is_file();
    let erlang = Command::new("erl").args(["-noshell", "-eval", "halt()."]).stdin(Stdio::null()).status();
    if !erlang.is_ok_and(|status| status.success()) {
        eprintln!("skipped: there is no Erlang on the PATH");
        None
    } else if !built {
        eprintln!("skipped: the Erlang side is not built (rebar3 compile)");
        None
    } else {
        Some(TURN.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The engines that Erlang finds here.
pub(crate) fn engines() -> Vec<&'static str> {
    let found = Command::new("erl")
        .args(["-noshell", "-eval", "halt(case code:which(partisan) of non_existing -> 1; _ -> 0 end)."])
        .stdin(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if found {
        vec!["partisan", "otp"]
    } else {
        eprintln!("skipped: the engine partisan, which is not installed here");
        vec!["otp"]
    }
}

/// What a node wrote, without its prefix.
pub(crate) fn lines_of<'a>(outcome: &'a Outcome, node: &str) -> Vec<&'a str> {
    let prefixed = outcome.stdout.lines().filter_map(|line| line.split_once('|'));
    prefixed.filter(|(name, _)| name.trim() == node).map(|(_, text)| text.trim()).collect()
}
