//! Small programs as people write them who come from Elm, Haskell, Gleam or Koka: what `topos check` tells them.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::fs;

use common::{cases, Case};

#[test]
fn habits_of_other_languages_are_answered() {
    let mut files: Vec<String> = fs::read_dir(cases().join("newcomer"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert!(files.len() >= 10, "{files:?}");
    for file in files {
        let outcome = Case::new(&["check", &file]).directory(&cases().join("newcomer")).run();
        assert_eq!(outcome.status, 1, "{}", outcome.show());
        // From here on each program has one mistake.
        if file.as_str() >= "27" {
            assert!(outcome.stderr.ends_with("\nerror: 1 error in 1 file\n"), "{}", outcome.show());
        }
        insta::assert_snapshot!(format!("newcomer_{}", file.replace(".topos", "")), outcome.show());
    }
}
