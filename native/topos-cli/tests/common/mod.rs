//! Runs the command as a user would.

use std::{
    io::{Seek, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
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
