//! Well-typed programs never fail with a type error of the BEAM, and mutants of them are refused or do not either.
//!
//! A program is made from a tape of bytes, so that proptest shrinks it. It has no recursion and no division: whatever it does at run time
//! but give a value is a mistake of the compiler.

use std::cell::Cell;
use std::fmt::Write;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use topos_lang::check::Imports;

use crate::beam::evaluate_with;
use crate::programs::{compile, PRELUDE};

/// Declarations that the programs use.
const COMMON: &str = r#"
shape Colour = Red | Green(Int) | Blue(Text, Int) deriving [Eq, Ord, Show]
shape Box a = Box(a) | Empty deriving [Eq, Ord, Show]
type Point = { x : Int, y : Int } deriving [Eq, Ord]
shape Odd = Odd(Int)
instance Eq Odd where
  equal (Odd(a)) (Odd(b)) = a % 2 == b % 2
instance Ord Odd where
  compare (Odd(a)) (Odd(b)) = compare(b, a)
instance Show Odd where
  show (Odd(n)) = f"odd {n}"
trait Weight a where
  weight : a -> Int
  heavier : a -> a -> Bool
  heavier x y = weight(x) > weight(y)
instance Weight Int where
  weight n = n
instance Weight Text where
  weight _ = 1
  heavier _ _ = false
instance Weight a => Weight (List a) where
  weight xs = fold(fn(sum, x) -> sum + weight(x), 0, xs)
instance (Weight a, Weight b) => Weight (a, b) where
  weight (x, y) = weight(x) + weight(y)
instance Mapper Box where
  map f b = match b { | Box(x) -> Box(f(x)) | Empty -> Empty }
flow total xs = fold(fn(sum, x) -> sum + weight(x), 0, xs)
flow largest : Ord a => (default : a) -> (xs : [a]) -> a = fold(max, default, xs)
flow twice f x = f(f(x))
flow double x = x + x
flow joined x y = x ++ y ++ x
flow same x y = x == y
flow swap p = match p { | (x, y) -> (y, x) }
flow over : Mapper f => (g : a -> b) -> (x : f a) -> f b = map(g, x)
"#;

/// Types of generated expressions.
#[derive(Clone, PartialEq, Debug)]
enum Type {
    Int,
    Text,
    Bool,
    Float,
    Colour,
    Odd,
    Point,
    List(Box<Type>),
    Maybe(Box<Type>),
    Boxed(Box<Type>),
    Pair(Box<Type>, Box<Type>),
}

struct Tape<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Variables in scope.
    vars: Vec<(String, Type)>,
    fresh: usize,
}

impl Tape<'_> {
    fn next(&mut self, below: usize) -> usize {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(byte) % below
    }

    fn ty(&mut self, depth: usize) -> Type {
        let boxed = |t: &mut Self| Box::new(t.ty(depth.saturating_sub(1)));
        match self.next(if depth == 0 { 7 } else { 11 }) {
            0 => Type::Int,
            1 => Type::Text,
            2 => Type::Bool,
            3 => Type::Float,
            4 => Type::Colour,
            5 => Type::Odd,
            6 => Type::Point,
            7 => Type::List(boxed(self)),
            8 => Type::Maybe(boxed(self)),
            9 => Type::Boxed(boxed(self)),
            _ => Type::Pair(boxed(self), boxed(self)),
        }
    }

    /// A type with `Weight`.
    fn weighty(&mut self, depth: usize) -> Type {
        match self.next(if depth == 0 { 2 } else { 4 }) {
            0 => Type::Int,
            1 => Type::Text,
            2 => Type::List(Box::new(self.weighty(depth - 1))),
            _ => Type::Pair(Box::new(self.weighty(depth - 1)), Box::new(self.weighty(depth - 1))),
        }
    }

    fn bind(&mut self, ty: &Type, body: impl FnOnce(&mut Self, &str) -> String) -> String {
        let name = format!("v{}", self.fresh);
        self.fresh += 1;
        self.vars.push((name.clone(), ty.clone()));
        let out = body(self, &name);
        self.vars.pop();
        out
    }

    /// An expression of a type.
    fn expr(&mut self, ty: &Type, depth: usize) -> String {
        let known: Vec<String> = self.vars.iter().filter(|(_, t)| t == ty).map(|(n, _)| n.clone()).collect();
        if !known.is_empty() && self.next(3) == 0 {
            return known[self.next(known.len())].clone();
        }
        if depth == 0 {
            return self.leaf(ty);
        }
        let d = depth - 1;
        match self.next(10) {
            0 => {
                let other = self.ty(1);
                let value = self.expr(&other, d);
                self.bind(&other, |t, name| format!("(do {{\n let {name} = {value}\n {}\n}})", t.expr(ty, d)))
            }
            1 => format!(
                "(if ({}) {{ {} }} else {{ {} }})",
                self.expr(&Type::Bool, d),
                self.expr(ty, d),
                self.expr(ty, d)
            ),
            2 => {
                let other = self.ty(1);
                let scrutinee = self.expr(&Type::Maybe(Box::new(other.clone())), d);
                let none = self.expr(ty, d);
                self.bind(&other, |t, name| {
                    format!("(match ({scrutinee}) {{\n | Some({name}) -> {}\n | None -> {none}\n }})", t.expr(ty, d))
                })
            }
            3 => {
                let other = self.ty(1);
                let arg = self.expr(&other, d);
                self.bind(&other, |t, name| format!("(fn({name}) -> {})({arg})", t.expr(ty, d)))
            }
            4 => {
                let start = self.expr(ty, d);
                self.bind(ty, |t, name| format!("twice((fn({name}) -> {}), {start})", t.expr(ty, d)))
            }
            5 => {
                let other = self.ty(1);
                let pair = Type::Pair(Box::new(other), Box::new(ty.clone()));
                let value = self.expr(&pair, d);
                format!("(match swap({value}) {{ | (first, _) -> first }})")
            }
            6 => format!("largest({}, {})", self.expr(ty, d), self.expr(&Type::List(Box::new(ty.clone())), d)),
            _ => self.own(ty, d),
        }
    }

    fn leaf(&mut self, ty: &Type) -> String {
        match ty {
            Type::Int => format!("{}", self.next(100)),
            Type::Text => format!("\"t{}\"", self.next(5)),
            Type::Bool => ["true", "false"][self.next(2)].to_owned(),
            Type::Float => format!("{}.5", self.next(9)),
            Type::Colour => ["Red", "Green(2)", "Blue(\"b\", 1)"][self.next(3)].to_owned(),
            Type::Odd => format!("Odd({})", self.next(9)),
            Type::Point => format!("({{x = {}, y = 1}} : Point)", self.next(9)),
            Type::List(_) => "[]".to_owned(),
            Type::Maybe(_) => "None".to_owned(),
            Type::Boxed(_) => "Empty".to_owned(),
            Type::Pair(a, b) => format!("({}, {})", self.leaf(a), self.leaf(b)),
        }
    }

    fn own(&mut self, ty: &Type, d: usize) -> String {
        match ty {
            Type::Int | Type::Float => match self.next(4) {
                0 => format!("({} {} {})", self.expr(ty, d), ["+", "-", "*"][self.next(3)], self.expr(ty, d)),
                1 => format!("double({})", self.expr(ty, d)),
                2 if *ty == Type::Int => {
                    let weighty = self.weighty(2);
                    format!("weight(({} : {}))", self.expr(&weighty, d), written(&weighty))
                }
                3 if *ty == Type::Int => {
                    let weighty = self.weighty(1);
                    let list = Type::List(Box::new(weighty));
                    format!("total(({} : {}))", self.expr(&list, d), written(&list))
                }
                _ => format!("(-{})", self.leaf(ty)),
            },
            Type::Text => match self.next(3) {
                0 => format!("joined({}, {})", self.expr(ty, d), self.expr(ty, d)),
                1 => {
                    let shown = self.ty(2);
                    format!("show(({} : {}))", self.expr(&shown, d), written(&shown))
                }
                _ => {
                    let shown = self.ty(1);
                    let value = self.expr(&shown, d);
                    self.bind(&shown, |_, name| {
                        format!("(do {{\n let {name} : {} = {value}\n f\"<{{{name}}}>\"\n}})", written(&shown))
                    })
                }
            },
            Type::Bool => {
                let other = self.ty(2);
                let (x, y) = (self.expr(&other, d), self.expr(&other, d));
                match self.next(4) {
                    0 => format!("same(({x} : {}), {y})", written(&other)),
                    1 => format!("(({x} : {}) {} {y})", written(&other), ["<", ">=", "==", "!="][self.next(4)]),
                    2 => {
                        let weighty = self.weighty(1);
                        let (x, y) = (self.expr(&weighty, d), self.expr(&weighty, d));
                        format!("heavier(({x} : {}), {y})", written(&weighty))
                    }
                    _ => format!("not({})", self.expr(&Type::Bool, d)),
                }
            }
            Type::Colour => format!("Blue({}, {})", self.expr(&Type::Text, d), self.expr(&Type::Int, d)),
            Type::Odd => format!("Odd({})", self.expr(&Type::Int, d)),
            Type::Point => format!("({{x = {}, y = {}}} : Point)", self.expr(&Type::Int, d), self.expr(&Type::Int, d)),
            Type::List(element) => match self.next(3) {
                0 => format!("[{}, {}]", self.expr(element, d), self.expr(element, d)),
                1 => format!("joined({}, {})", self.expr(ty, d), self.expr(ty, d)),
                _ => self.mapped("List", element, d),
            },
            Type::Maybe(element) => match self.next(3) {
                0 => format!("Some({})", self.expr(element, d)),
                1 => {
                    let list = self.expr(&Type::List(element.clone()), d);
                    let name = format!("v{}", self.fresh);
                    self.fresh += 1;
                    format!(
                        "(do {{\n let {name} : {} = {list}\n {name}[{}]\n}})",
                        written(&Type::List(element.clone())),
                        self.next(3)
                    )
                }
                _ => self.mapped("Maybe", element, d),
            },
            Type::Boxed(element) => match self.next(2) {
                0 => format!("Box({})", self.expr(element, d)),
                _ => self.mapped("Box", element, d),
            },
            Type::Pair(a, b) => format!("({}, {})", self.expr(a, d), self.expr(b, d)),
        }
    }

    fn mapped(&mut self, of: &str, element: &Type, d: usize) -> String {
        let other = self.ty(1);
        let source = match of {
            "List" => Type::List(Box::new(other.clone())),
            "Maybe" => Type::Maybe(Box::new(other.clone())),
            _ => Type::Boxed(Box::new(other.clone())),
        };
        let value = self.expr(&source, d);
        let (text, flow) = (written(&source), ["map", "over"][self.next(2)]);
        self.bind(&other, |t, name| format!("{flow}((fn({name}) -> {}), ({value} : {text}))", t.expr(element, d)))
    }
}

fn written(ty: &Type) -> String {
    match ty {
        Type::List(t) => format!("[{}]", written(t)),
        Type::Maybe(t) => format!("Maybe({})", written(t)),
        Type::Boxed(t) => format!("Box({})", written(t)),
        Type::Pair(a, b) => format!("({}, {})", written(a), written(b)),
        simple => format!("{simple:?}"),
    }
}

/// A flow and its type from a part of the tape.
fn flow(index: usize, bytes: &[u8]) -> String {
    let mut tape = Tape { bytes, at: 0, vars: Vec::new(), fresh: 0 };
    let ty = tape.ty(2);
    let body = tape.expr(&ty, 4);
    format!("flow p{index} : () -> {} =\n  {body}\n", written(&ty))
}

/// A literal replaced by one of another type, a name by another one, or an operator by another one.
fn mutant(source: &str, choice: u8, place: u8) -> Option<String> {
    let (from, to) = [
        ("\"t1\"", "1"),
        ("1", "\"t1\""),
        ("true", "0.5"),
        ("[]", "None"),
        ("Red", "Empty"),
        ("weight(", "show("),
        ("double(", "joined(true, "),
        (" + ", " ++ "),
        (" == ", " < "),
        ("Some(", "Box("),
        ("map(", "total("),
        ("largest(", "same("),
        ("Odd(", "Green("),
        (".5", ""),
        ("v0", "v1"),
        ("swap(", "twice("),
    ][usize::from(choice) % 16];
    let head = source.find('=')?;
    let places: Vec<usize> = source[head..].match_indices(from).map(|(i, _)| head + i).collect();
    let at = *places.get(usize::from(place) % places.len().max(1))?;
    Some(format!("{}{to}{}", &source[..at], &source[at + from.len()..]))
}

fn module(flows: &[String]) -> String {
    let mut source = format!("module Generated\n{COMMON}");
    for flow in flows {
        writeln!(source, "{flow}").unwrap();
    }
    source
}

/// What each flow answers.
fn run_all(flows: &[String], numbers: &[usize], prelude: &topos_lang::core::Module, imports: &Imports) -> Vec<String> {
    let source = module(flows);
    let compiled = compile(&source, &mut imports.clone()).unwrap_or_else(|errors| {
        panic!("{}\n{}", crate::programs::render(&source, &errors), source);
    });
    let calls: Vec<String> = numbers.iter().map(|n| format!("'Generated':p{n}()")).collect();
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    evaluate_with(&[(prelude.clone(), PRELUDE)], &compiled, &source, &calls)
}

#[test]
fn well_typed_programs_run_and_mutants_are_refused_or_run() {
    let mut imports = Imports::new();
    let prelude = compile(PRELUDE, &mut imports).unwrap();
    let config = Config { cases: 4, max_shrink_iters: 8, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let tapes = proptest::collection::vec(proptest::collection::vec(any::<u8>(), 150), 1..60);
    let (programs, refused, ran) = (Cell::new(0), Cell::new(0), Cell::new(0));
    let result = runner.run(&tapes, |tapes| {
        let flows: Vec<String> = tapes.iter().enumerate().map(|(i, bytes)| flow(i, bytes)).collect();
        let mut all = flows.clone();
        let mut mutated = Vec::new();
        for (index, (source, bytes)) in flows.iter().zip(&tapes).enumerate() {
            for (choice, place) in bytes.iter().zip(bytes.iter().skip(7)).take(6) {
                let Some(mutant) = mutant(source, *choice, *place) else { continue };
                // Each mutant alone: the others of its module must not hide it.
                let number = 1_000 + mutated.len();
                let mutant = mutant.replacen(&format!("flow p{index} "), &format!("flow p{number} "), 1);
                match compile(&module(std::slice::from_ref(&mutant)), &mut imports.clone()) {
                    Ok(_) => {
                        all.push(mutant);
                        mutated.push(number);
                    }
                    Err(_) => refused.set(refused.get() + 1),
                }
            }
        }
        let numbers: Vec<usize> = (0..flows.len()).chain(mutated.iter().copied()).collect();
        let answers = run_all(&all, &numbers, &prelude, &imports);
        programs.set(programs.get() + flows.len());
        ran.set(ran.get() + mutated.len());
        for (answer, source) in answers.iter().zip(&all) {
            prop_assert!(!answer.starts_with("error") && !answer.starts_with("throw"), "{answer}\n{source}");
        }
        Ok(())
    });
    if let Err(error) = result {
        panic!("{}", error.to_string().chars().take(4_000).collect::<String>());
    }
    let (programs, refused, ran) = (programs.get(), refused.get(), ran.get());
    assert!(programs >= 40 && refused >= 40 && ran >= 5, "{programs} programs, {refused} refused, {ran} ran");
    println!("{programs} programs ran; of their mutants {refused} were refused and {ran} ran");
}
