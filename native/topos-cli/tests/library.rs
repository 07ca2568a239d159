//! Every exported item of the standard library has an example, every example is true, and the laws of the traits hold. An
//! example is a fence ```` ```topos ```` in a doc comment: lines that are each true, or statements and at last an expression
//! that is true. `topos test` runs them.

#![allow(clippy::panic, clippy::unwrap_used, reason = "helpers of tests are tests")]

mod common;

use std::{fmt::Write, fs};

use common::{root, turn, Case};
use topos_lang::syntax::ast::{Decl, DeclKind, Doc, Module};

/// The modules of the standard library and their texts.
fn library() -> Vec<(String, Module)> {
    let mut paths: Vec<_> = fs::read_dir(root().join("topos_stdlib/Topos"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "topos"))
        .collect();
    paths.sort();
    let modules = paths.into_iter().map(|path| topos_lang::syntax::parse(&fs::read_to_string(path).unwrap()).module);
    modules.map(|module| (module.name.as_ref().unwrap().dotted(), module)).collect()
}

/// The fences of a doc comment, each as its lines.
fn fences(doc: &Doc) -> Vec<Vec<&str>> {
    let mut fences = Vec::new();
    let mut open: Option<Vec<&str>> = None;
    for line in doc.text.lines() {
        match (line, open.as_mut()) {
            ("```topos", None) => open = Some(Vec::new()),
            ("```", Some(_)) => fences.extend(open.take()),
            (line, Some(lines)) => lines.push(line),
            _ => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed: {}", doc.text);
    fences
}

/// The bodies of the tests that a fence stands for.
fn bodies(lines: &[&str]) -> Vec<String> {
    let is_line = |line: &&str| !line.starts_with(char::is_whitespace) && !line.starts_with([')', ']', '}', '|']);
    if lines.iter().all(|line| is_line(line) && !line.starts_with("let ") && !line.starts_with("perform ")) {
        return lines.iter().map(|line| format!("assert({line})")).collect();
    }
    let last = lines.iter().rposition(is_line).unwrap();
    let statements: String = lines[..last].iter().map(|line| format!("{line}\n  ")).collect();
    vec![format!("{statements}assert({})", lines[last..].join("\n  "))]
}

/// The name of an item that wants an example, the doc comments that may have it, and those of its parts.
fn item(decl: &Decl) -> Option<(&str, Vec<&Doc>)> {
    let (name, parts): (_, Vec<&Doc>) = match &decl.kind {
        DeclKind::Flow(flow) => (&flow.name, Vec::new()),
        DeclKind::ExternFlow(flow) => (&flow.name, Vec::new()),
        DeclKind::Effect(effect) => (&effect.name, effect.operations.iter().filter_map(|o| o.doc.as_ref()).collect()),
        DeclKind::Trait(declared) => (&declared.name, declared.members.iter().filter_map(|m| m.doc.as_ref()).collect()),
        DeclKind::Handler(handler) => (&handler.name, Vec::new()),
        DeclKind::Type(declared) => (&declared.name, Vec::new()),
        _ => return None,
    };
    Some((&name.name, decl.doc.iter().chain(parts).collect()))
}

/// Types show in the examples of what works on them; they may have some of their own.
fn wants_example(decl: &Decl) -> bool {
    decl.private.is_none() && !matches!(decl.kind, DeclKind::Type(_))
}

#[test]
fn every_exported_item_has_an_example() {
    let mut lacking = Vec::new();
    for (name, module) in library() {
        for decl in module.decls.iter().filter(|decl| wants_example(decl)) {
            let Some((item, docs)) = item(decl) else { continue };
            if docs.iter().all(|doc| fences(doc).is_empty()) {
                lacking.push(format!("{name}.{item}"));
            }
        }
    }
    assert!(lacking.is_empty(), "these have no example: {lacking:#?}");
}

#[test]
fn every_example_is_true() {
    let Some(_turn) = turn() else { return };
    let mut test = String::from("module DocTests\n\nimport Topos.Test (assert)\n");
    let mut tests = String::new();
    let mut count = 0;
    for (name, module) in library() {
        if !["Topos.Prelude", "Topos.Test"].contains(&name.as_str()) {
            writeln!(test, "import qualified {name}").unwrap();
        }
        for decl in &module.decls {
            let Some((item, docs)) = item(decl) else { continue };
            let bodies = docs.iter().flat_map(|doc| fences(doc)).flat_map(|fence| bodies(&fence));
            for (number, body) in bodies.enumerate() {
                writeln!(tests, "\ntest \"{name}.{item} {}\" {{\n  {body}\n  ()\n}}", number + 1).unwrap();
                count += 1;
            }
        }
    }
    assert!(count >= 150, "the library has {count} examples");
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("DocTests.topos"), test + &tests).unwrap();
    let outcome = Case::new(&["test", "--seed", "1", "DocTests.topos"]).directory(directory.path()).run();
    assert_eq!(outcome.status, 0, "{}", outcome.show());
    assert!(outcome.stdout.contains(&format!("\n{count} passed, 0 failed")), "{}", outcome.show());
}

#[test]
fn the_laws_hold() {
    let Some(_turn) = turn() else { return };
    let laws = root().join("tests/laws").display().to_string();
    for seed in ["1", "2"] {
        let outcome = Case::new(&["test", "--seed", seed, &laws]).run();
        assert_eq!(outcome.status, 0, "{}", outcome.show());
        assert!(outcome.stdout.contains("\n25 passed, 0 failed"), "{}", outcome.show());
    }
}

#[test]
fn an_instance_that_breaks_a_law_is_found() {
    let Some(_turn) = turn() else { return };
    let laws = fs::read_to_string(root().join("tests/laws/Laws.topos")).unwrap();
    let broken = "
shape Minus = Minus(Int)
  deriving [Eq]

instance Combiner Minus where
  combine (Minus(x)) (Minus(y)) = Minus(x - y)

shape Swap a = Swap(a, a)
  deriving [Eq]

instance Mapper Swap where
  map f (Swap(x, y)) = Swap(f(y), f(x))

property \"minus\" { forall (a : Minus, b : Minus, c : Minus) { combining(a, b, c) } }
property \"swap\" { forall (a : Swap Int) { assert(map(fn(x) -> x, a) == a) } }
";
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("Laws.topos"), laws + broken).unwrap();
    let outcome = Case::new(&["test", "--seed", "1", "Laws.topos"]).directory(directory.path()).run();
    assert_eq!(outcome.status, 1, "{}", outcome.show());
    assert!(outcome.stdout.contains("\n15 passed, 2 failed"), "{}", outcome.show());
}

#[test]
fn fences_become_tests() {
    assert_eq!(bodies(&["a == b", "f(1)"]), ["assert(a == b)", "assert(f(1))"]);
    assert_eq!(bodies(&["let x = 1", "x == 1"]), ["let x = 1\n  assert(x == 1)"]);
    assert_eq!(bodies(&["f(fn(x) ->", "  x", ") == 1"]), ["assert(f(fn(x) ->\n    x\n  ) == 1)"]);
}
