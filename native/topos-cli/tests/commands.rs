//! What holds for every command: its errors come as JSON where that is asked for, and Ctrl-C ends it and all it started.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    os::unix::process::ExitStatusExt,
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use common::{
    cases, turn,
    vms::{eventually, mark, signal, vms, Watched},
    Case,
};
use nix::sys::signal::Signal;

/// Of `types.topos`.
const MISTAKES: [&str; 3] = ["TP0200", "TP0200", "TP0100"];

/// Each line of standard error is an error with its code.
#[track_caller]
fn codes(args: &[&str]) -> Vec<String> {
    let place = tempfile::tempdir().unwrap();
    for file in ["types.topos", "effects.topos", "nomain.topos", "hello.topos"] {
        fs::copy(cases().join(file), place.path().join(file)).unwrap();
    }
    let outcome = Case::new(&[&["--error-format", "json"], args].concat()).directory(place.path()).run();
    assert_eq!(outcome.status, 1, "{}", outcome.show());
    let code = |line: &str| {
        let error: serde_json::Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        for text in ["message", "help"] {
            assert!(error[text].as_str().is_some_and(|text| !text.is_empty()), "no {text}: {line}");
        }
        assert!(error["file"].is_null() == error["primary"].is_null(), "{line}");
        error["code"].as_str().unwrap().to_owned()
    };
    outcome.stderr.lines().map(code).collect()
}

#[test]
fn errors_of_every_command_come_as_json() {
    assert_eq!(codes(&["check", "types.topos"]), MISTAKES);
    assert_eq!(codes(&["check", "--syntax-only", "nothing.topos"]), ["TP0806"]);
    assert_eq!(codes(&["build", "--emit", "erl", "types.topos"]), MISTAKES);
    assert_eq!(codes(&["run", "nothing.topos"]), ["TP0806"]);
    assert_eq!(codes(&["run", "nomain.topos"]).len(), 1);
    assert_eq!(codes(&["run", "--engine", "warp", "hello.topos"]), ["TP1002"]);
    assert_eq!(codes(&["demo", "--engine", "warp"]), ["TP1002"]);
    assert_eq!(codes(&["test", "--engine", "warp", "."]), ["TP1002"]);
    assert_eq!(codes(&["explain", "TP0000"]), ["TP0811"]);
    assert_eq!(codes(&["top", "--once", "--address", "127.0.0.1:1"]), ["TP0815"]);
    assert_eq!(codes(&["graph", "--nodes", "501"]), ["TP0820"]);
    assert_eq!(codes(&["simulate", "--nodes", "1"]), ["TP0820"]);
    let Some(_turn) = turn() else { return };
    assert_eq!(codes(&["build", "types.topos"]), MISTAKES);
    assert_eq!(codes(&["test", "types.topos"]), MISTAKES);
    assert_eq!(codes(&["test", "hello.topos"]), ["TP0817"]);
}

/// The exit status as a shell shows it: commands without VMs are ended by the signal itself.
fn status(child: &mut Child) -> i32 {
    let status = child.wait().unwrap();
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap())
}

/// Starts a command, and waits until it has written a line with this text. Its output stays open with the reader.
fn started(args: &[&str], directory: &Path, mark: &str, text: &str) -> (Child, Lines<BufReader<ChildStdout>>) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_topos"))
        .args(args)
        .current_dir(directory)
        .env("TOPOS_TEST_RUN", mark)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains(text)), "{args:?} ended before it wrote {text}");
    (child, lines)
}

#[test]
fn a_ctrl_c_ends_the_demo() {
    let Some(_turn) = turn() else { return };
    let mark = mark();
    let (mut child, _output) = started(&["demo"], &cases(), &mark, "Created cluster");
    signal(&child, Signal::SIGINT);
    assert_eq!(status(&mut child), 130);
    assert_eq!(vms(&mark), [0; 0]);
}

#[test]
fn a_ctrl_c_ends_top() {
    let Some(_turn) = turn() else { return };
    let node = Watched::start();
    let (mut child, _output) = started(&["top", "--address", &node.address], &cases(), &mark(), &node.name);
    signal(&child, Signal::SIGINT);
    assert_eq!(status(&mut child), 130);
    node.stop();
}

#[test]
fn a_ctrl_c_ends_a_simulation() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_topos"))
        .args(["simulate", "--nodes", "20000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    signal(&child, Signal::SIGINT);
    assert_eq!(status(&mut child), 130);
}

/// A build holds a VM that compiles: it ends with the command.
#[test]
fn a_ctrl_c_ends_a_build_and_its_vm() {
    let Some(_turn) = turn() else { return };
    let place = tempfile::tempdir().unwrap();
    for n in 0..200 {
        let flows: String = (0..200).map(|k| format!("flow f{k} : (n : Int) -> Int = n + {k}\n")).collect();
        fs::write(place.path().join(format!("M{n}.topos")), format!("module M{n}\n{flows}")).unwrap();
    }
    let mark = mark();
    let mut child = Command::new(env!("CARGO_BIN_EXE_topos"))
        .args(["build", "."])
        .current_dir(place.path())
        .env("TOPOS_TEST_RUN", &mark)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the start of the compile server", || !vms(&mark).is_empty());
    signal(&child, Signal::SIGINT);
    assert_eq!(status(&mut child), 130);
    eventually("the end of the compile server", || vms(&mark).is_empty());
}
