//! Hostile sources, through the command as users run it: an error, in bounded time and memory. Each child may use two gigabytes
//! of address space and one of the processor's minutes; the kernel ends it beyond that, which fails the test.

mod common;

use std::{
    fs,
    process::{Command, Stdio},
};

/// Seconds of the processor that a check may take; the sources take a second or less.
const LIMIT: u32 = 60;
/// In kilobytes.
const MEMORY: u32 = 2_000_000;

/// Checks a file with these contents: the codes of the errors, each once, in order.
fn codes(contents: &[u8]) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("hostile.topos");
    fs::write(&file, contents).expect("the file is written");
    let limits = format!("ulimit -v {MEMORY}; ulimit -t {LIMIT}; exec \"$0\" \"$@\"");
    let output = Command::new("sh")
        .args(["-c", &limits, env!("CARGO_BIN_EXE_topos"), "check"])
        .arg(&file)
        .stdin(Stdio::null())
        .output()
        .expect("the command starts");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    let mut codes: Vec<String> = Vec::new();
    for found in err.split("error[").skip(1) {
        let code: String = found.chars().take_while(char::is_ascii_alphanumeric).collect();
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    assert!(!codes.is_empty(), "no error has a code: {out}{err}");
    codes
}

#[test]
fn a_million_nested_parentheses() {
    assert_eq!(codes(format!("flow f = {}1{}", "(".repeat(1_000_000), ")".repeat(1_000_000)).as_bytes()), ["TP0010"]);
}

#[test]
fn a_line_of_a_hundred_megabytes() {
    let mut line = b"flow f = \"".to_vec();
    line.resize(100 << 20, b'x');
    codes(&line);
}

#[test]
fn a_million_semicolons_on_a_line() {
    // What follows each on its line was looked through to the end: 48 seconds.
    assert_eq!(codes(format!("flow f = [{}1]\n", "1;".repeat(1_000_000)).as_bytes()), ["TP0003"]);
    assert_eq!(codes(format!("flow f = {{{}1}}\n", "a;".repeat(1_000_000)).as_bytes()), ["TP0003"]);
}

#[test]
fn a_type_that_doubles_with_each_let() {
    let lets: String = (1..=200).map(|i| format!("  let x{i} = fn(y) -> (x{0}, x{0})\n", i - 1)).collect();
    assert_eq!(codes(format!("flow f x0 =\n{lets}  1\n").as_bytes()), ["TP0210"]);
}

#[test]
fn bytes_that_are_no_utf8() {
    let mut bytes = b"flow f = \"".to_vec();
    bytes.extend((0..1_000_000_u32).map(|i| (i % 256) as u8 | 0x80));
    codes(&bytes);
}

#[test]
fn aliases_that_are_each_others_other_names() {
    let aliases: String = (0..5_000).map(|i| format!("type A{i} = [A{}]\n", (i + 1) % 5_000)).collect();
    assert_eq!(codes(aliases.as_bytes()), ["TP0116"]);
}

#[test]
fn aliases_that_double() {
    let aliases: String = (1..=200).map(|i| format!("type A{i} = (A{0}, A{0})\n", i - 1)).collect();
    let source = format!("type A0 = Int\n{aliases}flow f : (x : A200) -> Int = 1\n");
    assert_eq!(codes(source.as_bytes()), ["TP0210"]);
}

#[test]
fn traits_that_extend_each_other_and_instances_that_grow() {
    let traits: String =
        (0..500).map(|i| format!("trait T{i} a extends T{} a where\n  m{i} : a -> Int\n", (i + 1) % 500)).collect();
    assert!(codes(traits.as_bytes()).contains(&"TP0502".to_owned()));
}
