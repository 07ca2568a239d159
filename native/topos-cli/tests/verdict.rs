//! All commands agree about a program, and hostile sources cost none of them much.

#![allow(clippy::panic, reason = "helpers of tests are tests")]

mod common;

use std::fs;

use common::Case;

/// `Other` uses a function of `Topos.List` that it does not reach; the program as a whole does.
#[test]
fn a_module_sees_no_more_in_a_run_than_in_a_build() {
    let place = tempfile::tempdir().expect("there is room");
    let write = |name: &str, text: &str| fs::write(place.path().join(name), text).expect("the file can be written");
    write(
        "App.topos",
        "module App\nimport Lists\nimport Other\nflow main : () -> () = { Lists.first([1])\n Other.next([1])\n () }\n",
    );
    write(
        "Lists.topos",
        "module Lists\nimport qualified Topos.List\nflow first : (xs : [Int]) -> Maybe Int = List.head(xs)\n",
    );
    write("Other.topos", "module Other\nflow next : (xs : [Int]) -> Int = xs.length()\n");
    let verdicts = [
        vec!["check", "App.topos"],
        vec!["build", "--emit", "erl", "App.topos"],
        vec!["run", "App.topos"],
        vec!["build", "App.topos"],
    ]
    .map(|args| Case::new(&args).directory(place.path()).run());
    for outcome in &verdicts {
        assert!(
            outcome.status == 1 && outcome.stderr == verdicts[0].stderr,
            "{}{}",
            verdicts[0].show(),
            outcome.show()
        );
    }
    assert!(verdicts[0].stderr.contains("Other.topos:2"), "{}", verdicts[0].show());
}

/// Sources of whatever kind take little memory and time.
#[cfg(target_os = "linux")]
mod hostile {
    use std::{
        fs,
        io::Write,
        path::Path,
        process::{Command, Stdio},
    };

    /// Of address space: the stack of the checker alone may have a quarter of a gigabyte.
    const KILOBYTES: u64 = 2_000_000;
    /// Of the processor: far above what any of these takes, far below what time out of proportion would be.
    const SECONDS: u32 = 60;

    /// The codes of the errors of `topos check` under a limit of address space and of the processor's time.
    fn codes(name: &str, source: &[u8]) -> Vec<String> {
        let place = tempfile::tempdir().expect("there is room");
        let file = place.path().join("Hostile.topos");
        fs::write(&file, source).expect("the file can be written");
        run(name, &file, &["check"])
    }

    fn run(name: &str, file: &Path, command: &[&str]) -> Vec<String> {
        let script = format!("ulimit -v {KILOBYTES}; ulimit -t {SECONDS}; ulimit -c 0; exec \"$@\"");
        let output = Command::new("bash")
            .args(["-c", &script, "bash", env!("CARGO_BIN_EXE_topos"), "--error-format", "json"])
            .args(command)
            .arg(file)
            .stdin(Stdio::null())
            .output()
            .expect("bash starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{name}: {:?}\n{:.2000}", output.status, errors);
        let code = |line: &str| {
            let error: serde_json::Value =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}: {e}: {line:.500}"));
            error["code"].as_str().expect("an error has a code").to_owned()
        };
        errors.lines().map(code).collect()
    }

    fn lets(count: usize, step: impl Fn(usize) -> String, result: &str) -> Vec<u8> {
        let steps: String = (1..=count).map(step).collect();
        format!("flow f x0 =\n{steps}  {result}\n").into_bytes()
    }

    #[test]
    fn sources_end_in_an_error_in_bounded_time_and_memory() {
        let deep = |open: &str, n: usize| format!("flow f = {}", open.repeat(n)).into_bytes();
        for (name, source, expected) in [
            ("a million nested parentheses", deep("(", 1_000_000), "TP0010"),
            ("a million nested braces", deep("{", 1_000_000), "TP0010"),
            ("a million nested lambdas", deep("fn(x) -> ", 900_000), "TP0010"),
            ("a line of 100 MB", vec![b'x'; 100 << 20], "TP0002"),
            ("100 MB of invalid UTF-8", vec![0xff; 100 << 20], "TP0002"),
            ("8 MB of invalid UTF-8", vec![0xff; 8 << 20], "TP0001"),
            ("invalid UTF-8 at the end", b"flow f = \"\xc3\"\n".to_vec(), "TP0001"),
            (
                "a type that doubles at each let",
                lets(60, |i| format!("  let x{i} = (x{0}, x{0})\n", i - 1), "x60"),
                "TP0210",
            ),
            (
                "a polymorphic type that doubles at each let",
                lets(60, |i| format!("  let x{i} = fn(y) -> (x{0}, x{0})\n", i - 1), "1"),
                "TP0210",
            ),
            (
                "a type that grows deeper at each let",
                lets(1_500, |i| format!("  let x{i} = [x{}]\n", i - 1), "x1500"),
                "TP0210",
            ),
        ] {
            let codes = codes(name, &source);
            assert!(codes.iter().any(|code| code == expected), "{name}: {codes:?}");
            assert!(codes.len() <= 501, "{name}: {} errors", codes.len());
        }
    }

    #[test]
    fn aliases_end_in_an_error_in_bounded_time_and_memory() {
        let doubling: String = (1..=60).map(|i| format!("type A{i} = (A{0}, A{0})\n", i - 1)).collect();
        let wide: String = (0..20_000).map(|i| format!("type B{i} = B{}\n", (i + 1) % 20_000)).collect();
        for (name, source) in [
            ("an alias of itself", "type A = [A]\nflow f : A = f()\n".to_owned()),
            ("a circle of aliases", "type A = [B]\ntype B = Maybe A\nflow f : A = f()\n".to_owned()),
            (
                "a circle of aliases with parameters",
                "type A a = B (A a)\ntype B b = A (B b)\nflow f : A Int = f()\n".to_owned(),
            ),
            ("a circle of 20,000 aliases", wide),
            ("aliases that double", format!("type A0 = Int\n{doubling}flow f : (x : A60) -> A60 = x\n")),
        ] {
            let codes = codes(name, source.as_bytes());
            assert!(!codes.is_empty(), "{name}");
        }
    }

    #[test]
    fn a_file_without_end_is_refused() {
        assert_eq!(run("/dev/zero", Path::new("/dev/zero"), &["check"]), ["TP0002"]);
    }

    #[test]
    fn what_is_no_file_is_refused() {
        let place = tempfile::tempdir().expect("there is room");
        let mut file = fs::File::create(place.path().join("A.topos")).expect("the file can be made");
        file.write_all(b"import B\n").expect("the file can be written");
        fs::create_dir(place.path().join("B.topos")).expect("the directory can be made");
        assert_eq!(run("a directory", &place.path().join("B.topos"), &["build", "--emit", "erl"]), ["TP0806"]);
    }
}
