//! A program for every construct of the language, with what it prints: `tests/golden/language/NAME.topos` and `NAME.out`. The
//! table in `docs/language.md` says which construct is where.

mod common;

use std::{collections::BTreeSet, fs};

use common::{root, turn, Case};

/// The programs there are.
fn programs() -> BTreeSet<String> {
    let directory = root().join("tests/golden/language");
    let entries = fs::read_dir(directory).expect("the programs are there");
    let names =
        entries.map(|entry| entry.expect("the directory can be read").file_name().to_string_lossy().into_owned());
    names.filter_map(|name| name.strip_suffix(".topos").map(str::to_owned)).collect()
}

#[test]
fn every_program_prints_what_it_should() {
    let Some(_turn) = turn() else { return };
    for name in programs() {
        let program = root().join(format!("tests/golden/language/{name}.topos"));
        let wanted = fs::read_to_string(program.with_extension("out")).expect("each program has an expected output");
        let outcome = Case::new(&["run", &program.display().to_string(), "--", "one", "two"]).run();
        assert_eq!((outcome.status, outcome.stdout.as_str()), (0, wanted.as_str()), "{}", outcome.show());
    }
}

#[test]
fn tests_in_a_program_pass() {
    let Some(_turn) = turn() else { return };
    let program = root().join("tests/golden/language/testing.topos").display().to_string();
    let outcome = Case::new(&["test", "--seed", "1", &program]).run();
    assert!(outcome.status == 0 && outcome.stdout.contains("\n2 passed, 0 failed"), "{}", outcome.show());
}

/// The table names the programs there are, and each of them.
#[test]
fn the_table_of_constructs_is_whole() {
    let page = fs::read_to_string(root().join("docs/language.md")).expect("the page is there");
    let table = page.split("## A program for each construct").nth(1).expect("the page has the table");
    let rows = table.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let named: BTreeSet<String> = rows
        .filter_map(|row| row.trim_end_matches('|').rsplit('|').next())
        .flat_map(|cell| cell.split(','))
        .map(|name| name.trim().trim_matches('`').to_owned())
        .collect();
    assert_eq!(named, programs());
}
