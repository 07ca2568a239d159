//! Lines a second of the front end, on the guide's programs repeated to 50,000 lines: `cargo bench -p topos-lang`.
#![allow(clippy::print_stdout)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

fn main() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/guide");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("tests/golden/guide is part of the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    files.sort();
    // A file has one `module` header: the blocks are repeated without theirs.
    let guide: String = files
        .iter()
        .map(|path| std::fs::read_to_string(path).expect("a readable file") + "\n")
        .collect::<String>()
        .lines()
        .filter(|line| !line.starts_with("module "))
        .map(|line| format!("{line}\n"))
        .collect();
    let lines = guide.lines().count();
    let source = guide.repeat(50_000_usize.div_ceil(lines));
    let lines = source.lines().count();
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let begun = Instant::now();
        let parse = topos_lang::syntax::parse(&source);
        let taken = begun.elapsed();
        assert!(parse.diagnostics.is_empty(), "{:?}", parse.diagnostics.first());
        best = best.min(taken);
    }
    let rate = lines as f64 / best.as_secs_f64();
    println!("{lines} lines, {} bytes: best of 10 {best:?}, {rate:.0} lines/s", source.len());
}
