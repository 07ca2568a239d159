//! Programs with syntax errors: none is accepted, whatever the checker can make of the rest.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use topos_lang::check::{check_readable, on_large_stack, Options};
use topos_lang::diagnostic::Diagnostic;
use topos_lang::syntax::{ast::DeclKind, parse, Readable};

use crate::{library, marks, program, render, setting, Library};

/// What is put into a program, or in the place of a body.
const PIECES: &[&str] =
    &[")", "(", "{", "}", "let", "match {", "\"", ",", "= =", "1 +", "if", "end", "\n", "\nflow ", ";", "|"];

/// What is reported of a source that has syntax errors, and how many of them are; `None` if it has none.
fn reported(source: &str, library: &Library) -> Option<(Vec<Diagnostic>, Vec<Diagnostic>, bool)> {
    let parse = parse(source);
    let syntax = parse.diagnostics.clone();
    if syntax.is_empty() {
        return None;
    }
    let options = Options { file: "test.topos", default_name: "Test", root_effects: None, test_effects: &[] };
    let readable = match parse.readable() {
        Err(all) => return Some((syntax, all, false)),
        Ok(readable) => readable,
    };
    assert!(matches!(readable, Readable::Rest(_)), "taken for whole:\n{source}");
    let Err(all) = check_readable(&readable, &library.imports, &options) else {
        panic!("accepted with a syntax error:\n{source}")
    };
    Some((syntax, all, true))
}

#[test]
fn programs_with_syntax_errors_are_refused() {
    on_large_stack(|| {
        let cases = usize::try_from(setting("TOPOS_SOUNDNESS", 200)).unwrap() / 4;
        let mut seed = [1; 32];
        seed[..8].copy_from_slice(&setting("TOPOS_SOUNDNESS_SEED", 0).to_le_bytes());
        let library = library();
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
        let strategy = (proptest::collection::vec(any::<u8>(), 20..400), any::<[(u16, u8); 4]>());
        let (mut contained, mut broken) = (0, 0);
        for _ in 0..cases {
            let (tape, places) = strategy.new_tree(&mut runner).unwrap().current();
            let text = program::program(&tape).text.replace("$NAME", "P");
            let source = marks::render(&text, None).unwrap();
            for (at, piece) in places {
                let mut at = usize::from(at) % source.len();
                while !source.is_char_boundary(at) {
                    at -= 1;
                }
                let piece = PIECES[usize::from(piece) % PIECES.len()];
                let mutant = format!("{} {piece} {}", &source[..at], &source[at..]);
                if let Some((syntax, all, _)) = reported(&mutant, &library) {
                    assert!(syntax.iter().all(|error| all.contains(error)), "an error is lost:\n{mutant}");
                }
            }
            // A broken body is the one mistake of a program that is right without it.
            let module = parse(&source).module;
            let bodies = module.decls.iter().filter_map(|decl| match &decl.kind {
                DeclKind::Flow(flow) => flow.body.as_ref(),
                _ => None,
            });
            for (n, body) in bodies.enumerate() {
                let piece = PIECES[(n + usize::from(tape[0])) % PIECES.len()];
                let (start, end) = (body.span.start as usize, body.span.end as usize);
                let mutant = format!("{}{piece}{}", &source[..start], &source[end..]);
                if let Some((syntax, all, is_contained)) = reported(&mutant, &library) {
                    assert_eq!(syntax, all, "{}\n{mutant}", render(&mutant, &all));
                    contained += usize::from(is_contained);
                    broken += 1;
                }
            }
        }
        println!("of {broken} broken flows the damage of {contained} was contained");
        assert!(contained * 2 > broken && broken > cases, "of {broken} broken flows {contained} were contained");
    });
}
