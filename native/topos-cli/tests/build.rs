//! Incremental builds and `topos test`, as a user runs them. Before `rebar3 compile` each test says that it is skipped.

#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use common::{root, Case, Outcome};

const CART: &str =
    "module Shop.Cart\n\n--- Sums up.\nflow total : (xs : [Int]) -> Int =\n  match xs {\n    | [] -> 0\n    \
                    | x :: rest -> x + total(rest)\n  }\n";
const APP: &str = "module App\n\nimport Shop.Cart (total)\nimport Topos.IO (IO, print)\n\nflow main : () / {IO} =\n  \
                   print(f\"{total([1, 2])}\")\n";

struct Project(tempfile::TempDir);

impl Project {
    fn new(files: &[(&str, &str)]) -> Option<Self> {
        if !root().join("_build/default/lib/topos_partisan/ebin/topos_test.beam").is_file() {
            eprintln!("skipped: the Erlang side is not built (rebar3 compile)");
            return None;
        }
        let project = Self(tempfile::tempdir().unwrap());
        files.iter().for_each(|(name, text)| project.write(name, text));
        Some(project)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn topos(&self, args: &[&str]) -> Outcome {
        Case::new(args).directory(self.0.path()).env("TOPOS_HOME", &root().display().to_string()).run()
    }

    /// The modules that a build compiled.
    fn build(&self) -> BTreeSet<String> {
        let done = self.topos(&["build", "-o", "ebin", "src"]);
        assert_eq!(done.status, 0, "{}", done.show());
        let beams = done.stdout.lines().filter_map(|line| line.strip_prefix("ebin/")?.strip_suffix(".beam"));
        beams.map(str::to_owned).collect()
    }
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn shop() -> Option<Project> {
    Project::new(&[("src/Shop/Cart.topos", CART), ("src/app.topos", APP)])
}

fn index(directory: &Path) -> PathBuf {
    let cache = fs::read_dir(directory.join("_build/topos")).unwrap().next().unwrap().unwrap();
    cache.path().join("index")
}

#[test]
fn only_what_changed_is_built() {
    let Some(project) = shop() else { return };
    assert_eq!(project.build(), set(&["App", "Shop.Cart", "Topos.IO", "Topos.Prelude"]));
    assert_eq!(project.build(), set(&[]));

    // A body: nobody who imports it is built again.
    project.write("src/Shop/Cart.topos", &CART.replace("x + total(rest)", "total(rest) + x"));
    assert_eq!(project.build(), set(&["Shop.Cart"]));

    // An interface: those who import it are.
    let wider = CART.to_owned() + "\nflow more : Int = 1\n";
    project.write("src/Shop/Cart.topos", &wider);
    assert_eq!(project.build(), set(&["App", "Shop.Cart"]));
    assert_eq!(project.build(), set(&[]));
}

#[test]
fn an_importer_notices_that_an_interface_changed() {
    let Some(project) = shop() else { return };
    project.build();
    project.write("src/Shop/Cart.topos", &CART.replace("total", "sum"));
    let done = project.topos(&["build", "-o", "ebin", "src"]);
    assert_eq!(done.status, 1, "{}", done.show());
    assert!(done.stderr.contains("src/app.topos:3"), "{}", done.show());
}

#[test]
fn nothing_is_built_of_a_module_with_a_syntax_error() {
    let Some(project) = shop() else { return };
    project.write("src/Shop/Cart.topos", &(CART.to_owned() + "\nflow broken = )\n\nflow wrong : Text = 1\n"));
    project.write("src/app.topos", &(APP.to_owned() + "\nflow wrong : Text = total([broken, 1])\n\nflow more = (\n"));
    for _ in 0..2 {
        let done = project.topos(&["build", "-o", "ebin", "src"]);
        assert_eq!(done.status, 1, "{}", done.show());
        let place = |line: &str| line.trim_start().strip_prefix("--> ").map(str::to_owned);
        let places: Vec<_> = done.stderr.lines().filter_map(place).collect();
        // Of a module that imports one with mistakes, its syntax errors alone.
        let expected = ["src/Shop/Cart.topos:10:15", "src/Shop/Cart.topos:12:21", "src/app.topos:11:13"];
        assert_eq!(places, expected, "{}", done.show());
        assert!(!project.path("ebin").exists(), "{}", done.show());
    }
    // Neither is anything remembered of it.
    project.write("src/app.topos", APP);
    project.write("src/Shop/Cart.topos", CART);
    assert_eq!(project.build(), set(&["App", "Shop.Cart", "Topos.IO", "Topos.Prelude"]));
    // What was built before stays as it was.
    let beam = fs::read(project.path("ebin/Shop.Cart.beam")).unwrap();
    project.write("src/Shop/Cart.topos", &(CART.to_owned() + "\nflow broken = )\n"));
    let done = project.topos(&["build", "-o", "ebin", "src"]);
    assert_eq!(done.status, 1, "{}", done.show());
    assert_eq!(fs::read(project.path("ebin/Shop.Cart.beam")).unwrap(), beam);
}

#[test]
fn a_type_that_comes_through_another_module_is_noticed() {
    let deep = "module Deep\ntype Point = { x : Int, y : Int }\n";
    let middle = "module Middle\nimport Deep (Point)\nflow origin : () -> Point = { x = 0, y = 0 }\n";
    let top = "module Top\nimport Middle (origin)\nflow left : () -> Int = origin().x\n";
    let files = [("src/Deep.topos", deep), ("src/Middle.topos", middle), ("src/Top.topos", top)];
    let Some(project) = Project::new(&files) else { return };
    project.build();
    project.write("src/Deep.topos", &deep.replace("x : Int", "x : Float"));
    let done = project.topos(&["build", "-o", "ebin", "src"]);
    assert!(done.stderr.contains("src/Top.topos:3"), "{}", done.show());
}

#[test]
fn beams_that_are_gone_or_changed_are_built_again() {
    let Some(project) = shop() else { return };
    project.build();
    fs::remove_file(project.path("ebin/App.beam")).unwrap();
    fs::write(project.path("ebin/Shop.Cart.beam"), b"no beam").unwrap();
    assert_eq!(project.build(), set(&["App", "Shop.Cart"]));
}

#[test]
fn beams_of_modules_that_are_gone_are_removed() {
    let Some(project) = shop() else { return };
    project.build();
    fs::remove_file(project.path("src/app.topos")).unwrap();
    assert_eq!(project.build(), set(&[]));
    assert!(!project.path("ebin/App.beam").exists() && project.path("ebin/Shop.Cart.beam").exists());
}

#[test]
fn a_damaged_cache_means_a_new_build() {
    let Some(project) = shop() else { return };
    let all = project.build();
    let index = index(project.0.path());
    let whole = fs::read(&index).unwrap();
    for damaged in [whole[..whole.len() / 2].to_vec(), Vec::new(), vec![0xff; 4096]] {
        fs::write(&index, damaged).unwrap();
        assert_eq!(project.build(), all);
    }
    let interfaces = index.with_file_name("interfaces");
    fs::write(&interfaces, b"damaged").unwrap();
    assert_eq!(project.build(), all);
    // The interface of one module: those of the others are whole.
    let mut bytes = fs::read(&interfaces).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&interfaces, bytes).unwrap();
    assert_eq!(project.build().len(), 1);
}

#[test]
fn clean_removes_what_build_made() {
    let Some(project) = shop() else { return };
    project.build();
    project.write("ebin/other.beam", "not ours");
    let nothing = project.topos(&["clean"]);
    assert_eq!(
        (nothing.status, nothing.stdout.as_str()),
        (0, "nothing was built into _topos; `-o` names another directory\n")
    );
    let cleaned = project.topos(&["clean", "-o", "ebin"]);
    assert!(cleaned.status == 0 && cleaned.stdout.ends_with(" beams removed from ebin\n"), "{}", cleaned.show());
    let left: Vec<_> = fs::read_dir(project.path("ebin")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["other.beam"]);
}

#[test]
fn two_files_cannot_be_one_module() {
    let Some(project) = Project::new(&[("src/a.topos", "module M\n"), ("src/b.topos", "module M\n")]) else { return };
    let done = project.topos(&["build", "-o", "ebin", "src"]);
    assert_eq!(done.status, 1);
    assert!(done.stderr.contains("TP0813") && done.stderr.contains("src/a.topos"), "{}", done.show());
}

const TESTS: &str = "module Tests\n\nimport Topos.Test (assert, fail)\nimport Topos.IO (IO, print)\n\nshape Tree =\n  | Leaf\n  \
                     | Node(Tree, Int, Tree)\n\nflow size : (t : Tree) -> Int =\n  match t {\n    | Leaf -> 0\n    | Node(l, _, \
                     r) -> size(l) + 1 + size(r)\n  }\n\ntest \"good\" {\n  print(\"said by good\")\n  assert(1 + 1 == 2)\n}\n\ntest \
                     \"bad\" {\n  assert(1 + 1 == 3)\n}\n\nproperty \"small trees\" {\n  forall (t : Tree, b : Bool) {\n    \
                     assert(size(t) < 2 || b)\n  }\n}\n\ntest \"failing\" {\n  fail(\"on purpose\")\n}\n";

#[test]
fn tests_are_run_and_failures_shown() {
    let Some(project) = Project::new(&[("src/Tests.topos", TESTS)]) else { return };
    let done = project.topos(&["test", "--seed", "5", "src"]);
    assert_eq!(done.status, 1, "{}", done.show());
    for part in [
        "4 tests, seed 5\n",
        "said by good\n",
        "ok   Tests: good\n",
        "FAIL Tests: bad\n     src/Tests.topos:21\n     assert(1 + 1 == 3)\n       left:  2\n       right: 3\n",
        "on purpose",
        "1 passed, 3 failed",
        "topos test --seed 5",
    ] {
        assert!(done.stdout.contains(part), "{part:?} is not in\n{}", done.show());
    }
    // The smallest counterexample: a tree of two nodes.
    let line = done.stdout.lines().find(|line| line.trim_start().starts_with("t = ")).unwrap();
    assert_eq!(line.matches("Node").count(), 2, "{line}");
    assert!(!line.contains(|c: char| c.is_ascii_digit() && c != '0'), "{line}");
    assert!(done.stdout.contains("b = false"));

    // The same seed fails in the same way; another run needs no new build.
    let again = project.topos(&["test", "--seed", "5", "src"]);
    let timeless = |outcome: &Outcome| outcome.stdout.split(" failed (").next().map(str::to_owned);
    assert_eq!(timeless(&again), timeless(&done));
}

#[test]
fn the_laws_of_routes_hold() {
    let Some(project) = Project::new(&[("RoutesLaws.topos", include_str!("cases/RoutesLaws.topos"))]) else { return };
    let done = project.topos(&["test", "--seed", "1", "--runs", "200", "RoutesLaws.topos"]);
    assert_eq!(done.status, 0, "{}", done.show());
    assert!(done.stdout.contains("4 passed, 0 failed"), "{}", done.show());
}

#[test]
fn tests_are_chosen_by_name() {
    let Some(project) = Project::new(&[("src/Tests.topos", TESTS)]) else { return };
    let good = project.topos(&["test", "--filter", "good", "src"]);
    assert_eq!(good.status, 0, "{}", good.show());
    assert!(good.stdout.contains("1 passed, 0 failed"), "{}", good.show());
    let none = project.topos(&["test", "--filter", "nothing like this", "src"]);
    assert_eq!(none.status, 1);
    assert!(none.stderr.contains("TP0817") && none.stderr.contains("none of the 4 tests"), "{}", none.show());
}

#[test]
fn a_test_that_hangs_is_ended() {
    let hangs = "module Hangs\nflow spin : (n : Int) -> () = spin(n + 1)\ntest \"hangs\" { spin(0) }\ntest \"goes on\" { () }\n";
    let Some(project) = Project::new(&[("Hangs.topos", hangs)]) else { return };
    let done = project.topos(&["test", "--timeout", "4", "Hangs.topos"]);
    assert_eq!(done.status, 1);
    assert!(
        done.stdout.contains("not done after 4000 ms") && done.stdout.contains("ok   Hangs: goes on"),
        "{}",
        done.show()
    );
}

#[test]
fn beams_of_a_build_have_no_tests() {
    let Some(project) = Project::new(&[("src/Tests.topos", TESTS)]) else { return };
    project.build();
    let beam = fs::read(project.path("ebin/Tests.beam")).unwrap();
    assert!(!String::from_utf8_lossy(&beam).contains("small trees"));
}
