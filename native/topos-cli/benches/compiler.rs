//! How fast `topos check` and `topos build` are on a project of 50,000 lines: `make bench-compiler`.
//!
//! The project is generated: 250 modules of 200 lines, each importing two earlier ones, with types, records, matches,
//! recursion, lambdas and effects. Each phase is timed by the program itself (`--timings`), the front end
//! by the CPU seconds it takes, so that a busy machine does not count; the best of several runs does.
//! `TOPOS_BENCH_MODULES` chooses another size.

use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The front end's goal.
const GOAL: f64 = 200_000.0;
const FLOWS: usize = 12;

fn main() {
    let modules = env::var("TOPOS_BENCH_MODULES").ok().and_then(|n| n.parse().ok()).unwrap_or(250);
    let place = tempfile::tempdir().expect("there is room for the project");
    let source = place.path().join("src");
    let lines = generate(&source, modules);
    say(&format!("{modules} modules, {lines} lines"));
    let run = |title: &str, args: &[&str]| {
        let phases = topos(place.path(), args);
        let front: f64 =
            ["read and parse", "check", "interfaces", "emit"].iter().filter_map(|name| phase(&phases, name)).sum();
        say(&format!("\n{title}"));
        for (name, seconds) in &phases {
            say(&format!("  {name:<16}{seconds:>9.3} s{:>12.0} lines/s", rate(lines, *seconds)));
        }
        say(&format!("  {:<16}{front:>9.3} s{:>12.0} lines/s", "front end", rate(lines, front)));
        front
    };
    let least = |runs: Vec<f64>| runs.into_iter().fold(f64::INFINITY, f64::min);
    let check = least((1..=3).map(|n| run(&format!("check, run {n}"), &["check", "--timings", "src"])).collect());
    let build = ["build", "--timings", "src"];
    let cold = |n| {
        let clean = Command::new(env!("CARGO_BIN_EXE_topos")).arg("clean").current_dir(place.path()).status();
        assert!(clean.is_ok_and(|status| status.success()), "the last build can be removed");
        run(&format!("build, cold, run {n}"), &build)
    };
    let cold = least((1..=3).map(cold).collect());
    run("build, nothing changed", &build);
    let changed = source.join("Gen/M0100.topos");
    let changed = if changed.is_file() { changed } else { source.join("Gen/M0000.topos") };
    edit(&changed, "let step = 1", "let step = 2");
    run("build, one line of a body changed", &build);
    edit(&changed, "flow first_of", "flow the_first_of");
    run("build, one interface changed", &build);
    for (title, seconds) in [("check", check), ("build, cold", cold)] {
        let reached = rate(lines, seconds);
        let verdict = if reached >= GOAL { "reached" } else { "MISSED" };
        say(&format!("\n{title}: front end {reached:.0} lines a CPU second, goal {GOAL:.0}: {verdict}"));
    }
}

#[allow(clippy::print_stdout)] // What a benchmark is for.
fn say(text: &str) {
    println!("{text}");
}

#[allow(clippy::cast_precision_loss)] // Far below 2^52 lines.
fn rate(lines: usize, seconds: f64) -> f64 {
    lines as f64 / seconds.max(1e-9)
}

fn phase(phases: &[(String, f64)], name: &str) -> Option<f64> {
    phases.iter().find(|(known, _)| known == name).map(|(_, seconds)| *seconds)
}

/// Runs the program; its phases and their seconds.
fn topos(directory: &Path, args: &[&str]) -> Vec<(String, f64)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let output = Command::new(env!("CARGO_BIN_EXE_topos"))
        .args(args)
        .arg("--home")
        .arg(&root)
        .current_dir(directory)
        .output()
        .expect("the program starts");
    let table = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{args:?} failed:\n{table}");
    let row = |line: &str| {
        // The OTP compiler works in VMs of its own: of it and of the whole only the wall's clock says something.
        let (before, after) = line.split_once(" s cpu")?;
        let (name, cpu) = before.rsplit_once(' ')?;
        let wall = after.split_once(" s wall")?.0.trim();
        let seconds = if matches!(name.trim(), "OTP compiler" | "total") { wall } else { cpu };
        Some((name.trim().to_owned(), seconds.parse().ok()?))
    };
    table.lines().filter_map(row).collect()
}

fn edit(file: &PathBuf, from: &str, to: &str) {
    let text = fs::read_to_string(file).expect("the module is there");
    assert!(text.contains(from), "{} has no `{from}`", file.display());
    fs::write(file, text.replacen(from, to, 1)).expect("the module can be written");
}

/// Writes the project; how many lines it has.
fn generate(source: &Path, modules: usize) -> usize {
    let directory = source.join("Gen");
    fs::create_dir_all(&directory).expect("there is room for the project");
    let mut lines = 0;
    for index in 0..modules {
        let text = module(index).expect("a text can be written to");
        lines += text.lines().count();
        fs::write(directory.join(format!("M{index:04}.topos")), text).expect("the module can be written");
    }
    lines
}

fn module(index: usize) -> Result<String, std::fmt::Error> {
    let mut out = format!("--- Generated, module {index}.\nmodule Gen.M{index:04}\n\nimport qualified Topos.List\nimport Topos.IO (IO, print)\n");
    let imports: Vec<usize> = [index / 2, index.saturating_sub(1)].into_iter().filter(|other| *other < index).collect();
    for (n, other) in imports.iter().enumerate() {
        if !imports[..n].contains(other) {
            writeln!(out, "import qualified Gen.M{other:04} as I{n}")?;
        }
    }
    out.push_str("\ntype Item = {\n  name : Text,\n  price : Int,\n  count : Int = 1\n}\n\nshape Tree a =\n  | Leaf\n  | Node(Tree a, a, Tree a)\n");
    out.push_str("\nflow first_of : (items : [Item]) -> Maybe Item =\n  List.head(items)\n");
    for n in 0..FLOWS {
        let calls = if imports.is_empty() { "0".to_owned() } else { format!("I0.count_{n}(total / 2)") };
        write!(
            out,
            "\n--- Counts, in the manner of {n}.\nflow count_{n} : (limit : Int) -> Int =\n  let step = 1\n  let total = limit + step * {n}\n  if total > 1000 then {calls} else total - step\n\n\
             flow sum_{n} : (tree : Tree Int) -> Int =\n  match tree {{\n    | Leaf -> {n}\n    | Node(left, value, right) when value > {n} -> sum_{n}(left) + value + sum_{n}(right)\n    | Node(left, _, right) -> sum_{n}(left) + sum_{n}(right)\n  }}\n"
        )?;
    }
    out.push_str("\n--- Says what it has.\nflow report : (items : [Item]) -> () / {IO} =\n  let costs = List.map(fn(item) -> item.price * item.count, items)\n  for cost in costs { print(f\"costs {cost}\") }\n  print(f\"{List.length(items)} items\")\n");
    Ok(out)
}
