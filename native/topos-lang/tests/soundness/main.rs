//! Soundness by test: well-typed programs never fail with a type error of the BEAM, mutants with a type error are
//! refused, and the tokens of all of them are their source, byte for byte.
//!
//! Programs have effects, handlers with state, `return`, `abort` and `finally`, processes, traits with dictionaries,
//! records with rows, shapes with nested patterns, and functions as values. They have no recursion and divide by
//! constants alone: whatever one does at run time but give a value of its type is a mistake of the compiler.
//! `TOPOS_SOUNDNESS` says how many are made (200), and `TOPOS_SOUNDNESS_SEED` which ones.

// A helper that fails is a test that fails.
#![allow(clippy::unwrap_used, clippy::panic)]

mod damage;
mod effects;
mod expr;
mod generator;
mod marks;
mod pattern;
mod program;
mod types;
mod vm;

use std::collections::HashSet;
use std::path::Path;

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use topos_lang::check::{check_module, on_large_stack, Imports, Options};
use topos_lang::core::Module;
use topos_lang::diagnostic::Diagnostic;

/// Programs that share a VM.
const BATCH: usize = 100;
/// Mutants that are made of a program.
const MUTANTS: usize = 8;
/// Steps of making a program that fails smaller.
const SHRINKS: usize = 100;

struct Library {
    imports: Imports,
    /// What the VM needs besides the programs.
    modules: Vec<(Module, String)>,
}

fn library() -> Library {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../topos_stdlib/Topos");
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    let sources = [read("Prelude.topos"), read("Process.topos"), include_str!("common.topos").to_owned()];
    let mut library = Library { imports: Imports::new(), modules: Vec::new() };
    for source in sources {
        let (module, interface) = compile(&source, &library.imports)
            .unwrap_or_else(|errors| panic!("the library is refused: {}", render(&source, &errors)));
        library.imports.insert(interface.module.as_str().into(), interface.into());
        library.modules.push((module, source));
    }
    library
}

fn compile(source: &str, imports: &Imports) -> Result<(Module, topos_lang::check::Interface), Vec<Diagnostic>> {
    let parse = topos_lang::syntax::parse(source);
    let text: String = parse.tokens.texts(source).map(|(_, text)| text).collect();
    assert_eq!(text, source, "the tokens do not give the source back");
    if !parse.diagnostics.is_empty() {
        return Err(parse.diagnostics);
    }
    let options = Options { file: "test.topos", default_name: "Test", root_effects: None, test_effects: &[] };
    check_module(&parse.module, imports, &options)
}

fn render(source: &str, errors: &[Diagnostic]) -> String {
    let line = |at: u32| source[..(at as usize).min(source.len())].matches('\n').count() + 1;
    let shown = |e: &Diagnostic| {
        let at = source.get(e.primary.span.start as usize..).unwrap_or_default().lines().next().unwrap_or_default();
        format!("{} line {}: {} [{}] at `{at}`\n", e.code, line(e.primary.span.start), e.message, e.primary.message)
    };
    errors.iter().map(shown).collect()
}

/// A program, or a mutant that was accepted, to be run.
struct Unit {
    /// Which tape it comes from.
    tape: usize,
    source: String,
    module: Module,
    /// What its flow `p` has to give.
    descriptor: String,
}

#[derive(Default)]
struct Counts {
    programs: usize,
    refused: usize,
    ran: usize,
    /// Words of the language that the programs have in them.
    words: HashSet<&'static str>,
}

/// What programs must have in them, or they test nothing.
const WORDS: &[&str] = &[
    "with handle",
    "abort ",
    "return v",
    "finally()",
    "init()",
    "state s",
    ":= ",
    "atomic {",
    "elsewhere(",
    "perform Fail",
    "perform Around",
    "perform Flip",
    "match (",
    " when ",
    " as v",
    "grade(",
    "Ord a",
    "moved(",
    "x_of(",
    "with y",
    "Node(",
    "f\"",
    "return ",
    "for v",
    "lazily {",
    "run_all(",
    "(fn(",
    "|> ",
    "Own0",
    "choose(",
    "largest(",
];

/// Checks the program of a tape, and mutants of it; those to be run, or what is wrong.
fn units(tape: usize, bytes: &[u8], library: &Library, counts: &mut Counts) -> Result<Vec<Unit>, String> {
    let program = program::program(bytes);
    let render_as = |name: &str, mutant| marks::render(&program.text.replace("$NAME", name), mutant);
    let descriptor = program.descriptor.clone();
    let name = format!("P{tape}");
    let source = render_as(&name, None).ok_or("the marks do not pair")?;
    let (module, _) = compile(&source, &library.imports)
        .map_err(|errors| format!("refused:\n{}\n{source}", render(&source, &errors)))?;
    counts.programs += 1;
    counts.words.extend(WORDS.iter().filter(|word| source.contains(**word)));
    let mut out = vec![Unit { tape, source, module, descriptor }];
    let places = marks::places(&program.text);
    // Spread over the program by the tape's own bytes.
    let mut chosen: Vec<usize> = (0..MUTANTS)
        .map(|n| bytes.get(n * 3).map_or(n, |b| usize::from(*b) * 7 + n * 131) % places.len().max(1))
        .collect();
    chosen.sort_unstable();
    chosen.dedup();
    for place in chosen {
        let name = format!("P{tape}M{place}");
        let Some(source) = render_as(&name, Some(place)) else { continue };
        match compile(&source, &library.imports) {
            Err(_) => counts.refused += 1,
            Ok(_) if places[place] => {
                let right = render_as(&name, None).unwrap_or_default();
                return Err(format!("accepted, with a mistake in it:\n{source}\nwhich is right as\n{right}"));
            }
            Ok((module, _)) => {
                counts.ran += 1;
                out.push(Unit { tape, source, module, descriptor: "any".to_owned() });
            }
        }
    }
    Ok(out)
}

/// What is wrong with each tape of a batch.
fn failures(batch: &[&[u8]], library: &Library, counts: &mut Counts) -> Vec<(usize, String)> {
    let mut wrong = Vec::new();
    let mut run = Vec::new();
    for (tape, bytes) in batch.iter().enumerate() {
        match units(tape, bytes, library, counts) {
            Ok(more) => run.extend(more),
            Err(why) => wrong.push((tape, why)),
        }
    }
    for (unit, answer) in run.iter().zip(vm::run(&run, library)) {
        if let Err(why) = answer {
            wrong.push((unit.tape, format!("{why}\n{}", unit.source)));
        }
    }
    wrong
}

fn setting(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")),
        Err(_) => default,
    }
}

#[test]
fn well_typed_programs_run_and_mutants_are_refused() {
    on_large_stack(|| {
        let cases = usize::try_from(setting("TOPOS_SOUNDNESS", 200)).unwrap();
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&setting("TOPOS_SOUNDNESS_SEED", 0).to_le_bytes());
        let library = library();
        let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
        let mut runner = TestRunner::new_with_rng(Config { failure_persistence: None, ..Config::default() }, rng);
        let strategy = proptest::collection::vec(any::<u8>(), 20..400);
        let mut counts = Counts::default();
        while counts.programs < cases {
            let mut trees: Vec<_> = (0..BATCH).map(|_| strategy.new_tree(&mut runner).unwrap()).collect();
            let tapes: Vec<Vec<u8>> = trees.iter().map(ValueTree::current).collect();
            let batch: Vec<&[u8]> = tapes.iter().map(Vec::as_slice).collect();
            if let Some((tape, why)) = failures(&batch, &library, &mut counts).into_iter().next() {
                panic!("{}", smallest(&mut trees[tape], why, &library));
            }
        }
        let Counts { programs, refused, ran, words } = counts;
        println!("{programs} programs ran; of their mutants {refused} were refused and {ran} ran");
        assert!(refused >= programs && ran >= programs / 10, "{programs} programs, {refused} refused, {ran} ran");
        let missing: Vec<_> = WORDS.iter().filter(|word| !words.contains(*word)).collect();
        assert!(missing.is_empty() || cases < 200, "no program has {missing:?}");
    });
}

/// The smallest program that proptest finds to fail in the same way: at the same stage, with the same code.
fn smallest(tree: &mut impl ValueTree<Value = Vec<u8>>, mut why: String, library: &Library) -> String {
    let kind = |why: &str| why.lines().take(2).map(|l| l.chars().take(12).collect::<String>()).collect::<String>();
    let wanted = kind(&why);
    let at_run_time = !why.starts_with("refused") && !why.starts_with("accepted");
    let mut smaller = tree.simplify();
    for _ in 0..if at_run_time { SHRINKS / 10 } else { SHRINKS } {
        if !smaller {
            break;
        }
        let found = failures(&[&tree.current()], library, &mut Counts::default());
        smaller = match found.into_iter().find(|(_, found)| kind(found) == wanted) {
            Some((_, found)) => {
                why = found;
                tree.simplify()
            }
            None => tree.complicate(),
        };
    }
    why
}
