//! The tutorial is what it says: its listings are written, its commands run, and their output compared.

#![allow(clippy::panic, clippy::print_stderr, clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
};

use common::root;

/// One fenced block: what stands behind the fence, and its lines.
struct Block {
    info: Vec<String>,
    lines: Vec<String>,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut open = false;
    for line in text.lines() {
        match line.strip_prefix("```") {
            Some(_) if open => open = false,
            Some(info) => {
                open = true;
                blocks.push(Block { info: info.split_whitespace().map(str::to_owned).collect(), lines: Vec::new() });
            }
            None if open => blocks.last_mut().unwrap().lines.push(line.to_owned()),
            None => {}
        }
    }
    blocks
}

/// The commands of a block, each with the output it shall have.
fn commands(block: &Block) -> Vec<(&str, Vec<&str>)> {
    let mut commands: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in &block.lines {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push((command, Vec::new())),
            (None, Some((_, output))) => output.push(line),
            (None, None) => panic!("output before the first command: {line}"),
        }
    }
    commands
}

/// Both streams of the command, in the order they were written.
fn run(command: &str, directory: &Path) -> Vec<String> {
    let program = Path::new(env!("CARGO_BIN_EXE_topos")).parent().unwrap();
    let path = env::join_paths([program.to_owned()].into_iter().chain(env::split_paths(&env::var_os("PATH").unwrap())));
    let output = Command::new("sh")
        .args(["-c", &format!("{{ {command}; }} 2>&1")])
        .current_dir(directory)
        .env("PATH", path.unwrap())
        .env("TOPOS_HOME", root())
        .env_remove("NO_COLOR")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // What the runner remarks is no output of the program.
    text.lines().filter(|line| !line.starts_with("topos |")).map(str::to_owned).collect()
}

/// `...` alone stands for any lines, at the end or the beginning of a line for the rest of it.
fn same(expected: &[&str], got: &[String]) -> bool {
    match (expected, got) {
        ([], []) => true,
        (["...", rest @ ..], _) => same(rest, got) || got.split_first().is_some_and(|(_, more)| same(expected, more)),
        ([first, rest @ ..], [line, more @ ..]) => {
            let matches = match (first.strip_suffix("..."), first.strip_prefix("...")) {
                (Some(start), _) => line.starts_with(start),
                (_, Some(end)) => line.ends_with(end),
                _ => first == line,
            };
            matches && same(rest, more)
        }
        _ => false,
    }
}

#[test]
fn the_tutorial_works() {
    if !root().join("_build/default/lib/topos_partisan/ebin/topos_test.beam").is_file() {
        eprintln!("skipped: the Erlang side is not built (rebar3 compile)");
        return;
    }
    let text = fs::read_to_string(root().join("docs/tutorial.md")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut ran = 0;
    for block in blocks(&text) {
        let info: Vec<&str> = block.info.iter().map(String::as_str).collect();
        match info[..] {
            ["topos", file] => {
                let file = directory.path().join(file);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, block.lines.join("\n") + "\n").unwrap();
            }
            ["console", ref more @ ..] => {
                for (command, mut expected) in commands(&block) {
                    let mut got = run(command, directory.path());
                    if more == ["any-order"] {
                        expected.sort_unstable();
                        got.sort_unstable();
                    }
                    assert!(same(&expected, &got), "$ {command}\nexpected\n{expected:#?}\ngot\n{got:#?}");
                    ran += 1;
                }
            }
            _ => panic!("the tutorial has a block that is neither a listing nor a console: {info:?}"),
        }
    }
    assert!(ran >= 8, "only {ran} commands");
}

#[test]
fn the_comparison_can_fail() {
    let got = ["a".to_owned(), "b c".to_owned()];
    assert!(same(&["a", "b..."], &got) && same(&["...", "...c"], &got) && same(&["..."], &got));
    assert!(!same(&["a"], &got) && !same(&["a", "c..."], &got) && !same(&["...", "a"], &got) && !same(&[], &got));
}
