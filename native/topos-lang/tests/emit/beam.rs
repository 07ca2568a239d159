//! Runs emitted modules on a real BEAM.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use topos_lang::core::Module;
use topos_lang::emit::emit;

static RUNS: AtomicU32 = AtomicU32::new(0);

/// A directory of this run, removed when it ends.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind lies in cargo's own temporary directory.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// Compiles the module without a warning, checks that its text means the same as its forms, evaluates each Erlang
/// expression and answers what came of it, `~tp` or `class: reason`.
pub(crate) fn evaluate(module: &Module, source: &str, expressions: &[&str]) -> Vec<String> {
    evaluate_with(&[], module, source, expressions)
}

/// As [`evaluate`], with modules that the module calls and their sources.
pub(crate) fn evaluate_with(
    imports: &[(Module, &str)],
    module: &Module,
    source: &str,
    expressions: &[&str],
) -> Vec<String> {
    let emitted = emit(module, source).unwrap();
    let number = RUNS.fetch_add(1, Ordering::Relaxed);
    let scratch = Scratch(Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("emit-{}-{number}", std::process::id())));
    let dir = &scratch.0;
    std::fs::create_dir_all(dir).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::write(dir.join("forms.etf"), emitted.to_etf()).unwrap();
    for (number, (import, source)) in imports.iter().enumerate() {
        let forms = emit(import, source).unwrap();
        std::fs::write(dir.join(format!("import-{number:03}.etf")), forms.to_etf()).unwrap();
    }
    std::fs::write(dir.join("text.erl"), emitted.to_erlang()).unwrap();
    std::fs::write(dir.join("expressions"), expressions.join("\n")).unwrap();
    std::fs::write(dir.join("run.escript"), include_str!("run.escript")).unwrap();
    let output = Command::new("escript").arg(dir.join("run.escript")).arg(dir).arg(root).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stdout}{stderr}\n{}", emitted.to_erlang());
    let results: Vec<String> = stdout.split('\u{1e}').filter(|s| !s.is_empty()).map(str::to_owned).collect();
    assert_eq!(results.len(), expressions.len(), "{stdout}{stderr}\n{}", emitted.to_erlang());
    results
}

/// Each expression must have this result.
pub(crate) fn expect(module: &Module, expected: &[(&str, &str)]) {
    let expressions: Vec<&str> = expected.iter().map(|(e, _)| *e).collect();
    let results = evaluate(module, "", &expressions);
    for ((expression, expected), result) in expected.iter().zip(results) {
        assert_eq!(&result, expected, "{expression}\n{}", emit(module, "").unwrap().to_erlang());
    }
}
