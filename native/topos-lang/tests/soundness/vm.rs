//! Runs programs in one VM.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use topos_lang::emit::emit;

use crate::{Library, Unit};

static RUNS: AtomicU32 = AtomicU32::new(0);

/// A directory of this run, removed when it ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind lies in cargo's own temporary directory.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// For each unit, whether its flow `p` gave a value of its type, or what happened.
pub(crate) fn run(units: &[Unit], library: &Library) -> Vec<Result<(), String>> {
    if units.is_empty() {
        return Vec::new();
    }
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let scratch =
        Scratch(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sound-{}-{number}", std::process::id())));
    let dir = &scratch.0;
    std::fs::create_dir_all(dir).unwrap();
    let write = |name: String, text: &[u8]| std::fs::write(dir.join(name), text).unwrap();
    for (number, (module, source)) in library.modules.iter().enumerate() {
        write(format!("library-{number:03}.etf"), &emit(module, source).unwrap().to_etf());
    }
    let mut calls = String::new();
    for (number, unit) in units.iter().enumerate() {
        let emitted = emit(&unit.module, &unit.source).unwrap_or_else(|e| panic!("{e:?}\n{}", unit.source));
        write(format!("{number}.etf"), &emitted.to_etf());
        write(format!("{number}.erl"), emitted.to_erlang().as_bytes());
        calls.push_str(&format!("{{{number}, '{}', {}}}.\n", unit.module.name, unit.descriptor));
    }
    write("calls".to_owned(), calls.as_bytes());
    write("run.escript".to_owned(), include_bytes!("run.escript"));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new("escript").arg(dir.join("run.escript")).arg(dir).arg(root).output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let answers: Vec<Result<(), String>> = stdout
        .split('\u{1e}')
        .filter(|answer| !answer.is_empty())
        .map(|answer| if answer == "ok" { Ok(()) } else { Err(answer.to_owned()) })
        .collect();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && answers.len() == units.len(), "{stdout}{stderr}");
    answers
}
