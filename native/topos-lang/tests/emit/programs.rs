//! Topos sources, checked, emitted and executed.

use topos_lang::check::{check_module, Imports, Options};
use topos_lang::core::Module;
use topos_lang::diagnostic::Diagnostic;

use crate::beam::evaluate_with;

pub(crate) const PRELUDE: &str = include_str!("../../../../topos_stdlib/Topos/Prelude.topos");

/// Checks a module and adds its interface to the imports.
pub(crate) fn compile(source: &str, imports: &mut Imports) -> Result<Module, Vec<Diagnostic>> {
    let parse = topos_lang::syntax::parse(source);
    if !parse.diagnostics.is_empty() {
        return Err(parse.diagnostics);
    }
    let options = Options { file: "test.topos", default_name: "Test", root_effects: None, test_effects: &[] };
    let (module, interface) = check_module(&parse.module, imports, &options)?;
    imports.insert(interface.module.as_str().into(), interface.into());
    Ok(module)
}

/// Checks and runs modules on a BEAM, each after those it imports; the last one's flows are `Module:flow(..)` in the
/// Erlang expressions. The prelude comes first.
pub(crate) fn run(sources: &[&str], expected: &[(&str, &str)]) {
    let mut imports = Imports::new();
    let mut modules = Vec::new();
    for source in std::iter::once(&PRELUDE).chain(sources) {
        let module = compile(source, &mut imports).unwrap_or_else(|errors| panic!("{}", render(source, &errors)));
        modules.push((module, *source));
    }
    let (last, source) = modules.pop().unwrap();
    let expressions: Vec<&str> = expected.iter().map(|(e, _)| *e).collect();
    let results = evaluate_with(&modules, &last, source, &expressions);
    let wrong: Vec<String> = expected
        .iter()
        .zip(&results)
        .filter(|((_, expected), result)| expected != result)
        .map(|((expression, expected), result)| format!("{expression}\n  is    {result}\n  wants {expected}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Diagnostics with their lines.
pub(crate) fn render(source: &str, errors: &[Diagnostic]) -> String {
    let line = |at: u32| source[..(at as usize).min(source.len())].matches('\n').count() + 1;
    errors
        .iter()
        .map(|e| {
            let help = e.help.as_deref().unwrap_or_default();
            format!("{} line {}: {} [{}] {help}\n", e.code, line(e.primary.span.start), e.message, e.primary.message)
        })
        .collect()
}
