//! Tests of the checker: programs in, inferred types, core or messages out.

mod accept;
mod constrained;
mod damage;
mod elaborated;
mod handler_values;
mod handlers;
mod impls;
mod limits;
mod messages;
mod reject;
mod remote;
mod robust;
mod soundness;
mod stdlib;
mod tries;

use super::{check_module, Imports, Interface, Options};
use crate::core;
use crate::diagnostic::Diagnostic;
use crate::types::{Printer, Store};

const PRELUDE: &str = include_str!("../../../../../topos_stdlib/Topos/Prelude.topos");

/// A module of effects, types and flows that the tests import.
const LIB: &str = r#"
module Topos.Lib

effect IO {
  operation print(text : Text) : ()
  operation read() : Maybe Text
}
effect State s {
  operation get() : s
  operation put(value : s) : ()
}
effect Chan {
  operation send[m](message : m) : ()
  operation receive[m]() : m
}
effect Process {
  operation spawn[e](body : () -> () / e) : Pid Int / e
  operation sleep(time : Duration) : ()
}
type Config = { name : Text, topology : Topology = FullMesh, channels : Int = 1 }
shape Topology = FullMesh | Star(Int)
type Opaque
type Pair a b = (a, b)

flow log : (text : Text) -> () / {IO} = perform IO.print(text)
flow map : (f : a -> b / e) -> (xs : [a]) -> [b] / e =
  match xs { | [] -> [] | x :: rest -> f(x) :: map(f, rest) }
flow fold : (f : acc -> a -> acc / e) -> (start : acc) -> (xs : [a]) -> acc / e =
  match xs { | [] -> start | x :: rest -> fold(f, f(start, x), rest) }
extern flow length : (xs : [a]) -> Int = "erlang:length"
extern flow members : () -> [Node] / {IO} = "lib:members"
extern handler console(prefix : Text) : Handler(IO) = "topos_console"
extern handler cell(initial : s) : Handler(State s) = "topos_cell"
private flow hidden : () -> Int = 1
"#;

fn parse(source: &str) -> crate::syntax::ast::Module {
    let parse = crate::syntax::parse(source);
    assert!(parse.diagnostics.is_empty(), "{source}\n{:#?}", parse.diagnostics);
    parse.module
}

fn check_with(
    source: &str,
    imports: &Imports,
    roots: Option<&[&str]>,
) -> Result<(core::Module, Interface), Vec<Diagnostic>> {
    let options =
        Options { file: "test.topos", default_name: "Test", root_effects: roots, test_effects: &["Topos.Lib.IO"] };
    check_module(&parse(source), imports, &options)
}

/// The prelude and [`LIB`].
fn imports() -> Imports {
    let mut imports = Imports::new();
    for source in [PRELUDE, LIB] {
        let (_, interface) =
            check_with(source, &imports, None).unwrap_or_else(|errors| panic!("{}", render(source, &errors)));
        imports.insert(interface.module.as_str().into(), interface.into());
    }
    imports
}

fn check(source: &str) -> Result<(core::Module, Interface), Vec<Diagnostic>> {
    check_with(source, &imports(), None)
}

fn accepted(source: &str) -> (core::Module, Interface) {
    check(source).unwrap_or_else(|errors| panic!("{}", render(source, &errors)))
}

/// The types of a module's flows, one a line.
fn types(source: &str) -> String {
    let (_, interface) = accepted(source);
    let mut lines: Vec<String> = Vec::new();
    for flow in interface.flows.iter().filter(|f| !f.name.starts_with("default ")) {
        let mut store = Store::new();
        let ty = store.import(&flow.scheme);
        lines.push(format!("{} : {}", flow.name, Printer::new(&store).show(ty)));
    }
    lines.join("\n")
}

/// Diagnostics as a user sees them, without colours.
fn render(source: &str, errors: &[Diagnostic]) -> String {
    let mut out = String::new();
    for error in errors {
        out.push_str(&format!("error[{}]: {}\n", error.code, error.message));
        out.push_str(&place(source, error.primary.span, '^', &error.primary.message));
        for label in &error.secondary {
            out.push_str(&place(source, label.span, '-', &label.message));
        }
        if let Some(help) = &error.help {
            out.push_str(&format!("  help: {help}\n"));
        }
    }
    out
}

fn place(source: &str, span: crate::diagnostic::Span, mark: char, message: &str) -> String {
    let (start, end) = (span.start as usize, (span.end as usize).min(source.len()));
    let line_start = source[..start].rfind('\n').map_or(0, |i| i + 1);
    let line_end = source[start..].find('\n').map_or(source.len(), |i| start + i);
    let number = source[..start].matches('\n').count() + 1;
    let width = end.min(line_end).saturating_sub(start).max(1);
    let prefix = format!("{number:>3} | ");
    let marks: String = std::iter::repeat_n(mark, width).collect();
    format!(
        "{prefix}{}\n{}{marks} {message}\n",
        &source[line_start..line_end],
        " ".repeat(prefix.len() + start - line_start)
    )
    .replace(" \n", "\n")
}

/// The messages for a program that must be refused.
fn errors(source: &str) -> String {
    match check(source) {
        Ok(_) => panic!("accepted:\n{source}"),
        Err(errors) => render(source, &errors),
    }
}

/// The codes of the messages for a program that must be refused.
fn error_codes(source: &str) -> Vec<u16> {
    match check(source) {
        Ok(_) => panic!("accepted:\n{source}"),
        Err(errors) => errors.iter().map(|e| e.code.0).collect(),
    }
}
