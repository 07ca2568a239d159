//! Has a program checked, module by module in the order of its imports.

use std::collections::{BTreeMap, BTreeSet};

use topos_lang::{
    check::{self, Imports, Options, PRELUDE},
    codes, core,
    diagnostic::Diagnostic,
    syntax::{ast, Readable},
};

use crate::{
    failure::Failure,
    loader::Loaded,
    source::{Findings, Source},
    stdlib::BUILT_IN,
    visible::Visible,
};

/// The effects that `topos_effect` installs handlers for when a program starts.
pub(crate) const ROOT_EFFECTS: &[&str] = &[
    "Topos.IO.IO",
    "Topos.Process.Process",
    "Topos.Time.Time",
    "Topos.Random.Random",
    "Topos.Runner.Runner",
    "Topos.Partisan.Distributed",
    "Topos.Channel.Channel",
];

/// A module without mistakes.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// Typed.
    pub(crate) core: core::Module,
    /// Its text.
    pub(crate) source: Source,
}

/// What the first module of a program is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It will be run: it must have a `main` whose effects have handlers.
    Program,
    /// It may be a library; if it has a `main`, that is checked like a program's.
    Module,
}

/// Checks the modules of a program; the answer has them in the given order, the program's own first. The mistakes of
/// all modules are reported together; of a module that imports one with mistakes, its syntax errors alone.
pub(crate) fn check(program: Vec<Loaded>, role: Role) -> Result<Vec<Compiled>, Failure> {
    let imports: BTreeMap<String, BTreeSet<String>> =
        program.iter().map(|loaded| (loaded.name.clone(), imports(&loaded.name, loaded.readable.module()))).collect();
    let unread = || program.iter().filter_map(|loaded| syntax_errors(&loaded.source, &loaded.readable));
    let order =
        check::order(&imports).map_err(|cycle| unread_first(unread()).unwrap_or_else(|| cyclic(&program, &cycle)))?;
    let main = program
        .first()
        .filter(|own| role == Role::Program || has_main(own.readable.module()))
        .map(|own| own.name.clone());
    let mut interfaces = Imports::new();
    let mut visible = Visible::default();
    let mut cores = BTreeMap::new();
    let mut wrong = BTreeSet::new();
    let mut mistakes = Vec::new();
    for name in &order {
        let Some(loaded) = program.iter().find(|loaded| loaded.name == *name) else { continue };
        let seen = visible.of(name, &imports[name]);
        if imports[name].iter().any(|import| wrong.contains(import)) {
            wrong.insert(name.clone());
            mistakes.extend(syntax_errors(&loaded.source, &loaded.readable));
            continue;
        }
        let options = Options {
            file: &loaded.source.path,
            default_name: name,
            root_effects: (Some(name) == main.as_ref()).then_some(ROOT_EFFECTS),
            test_effects: ROOT_EFFECTS,
        };
        let mut reached = Imports::new();
        for name in &seen {
            if let Some(interface) = interfaces.get(name.as_str()) {
                reached.insert(name.as_str().into(), interface.clone());
            }
        }
        match check::check_readable(&loaded.readable, &reached, &options) {
            Ok((mut core, interface)) => {
                core.flows.retain(|flow| !check::is_test(&flow.name));
                visible.shows(name, interface.mentions());
                interfaces.insert(name.as_str().into(), interface.into());
                cores.insert(name.clone(), core);
            }
            Err(mut diagnostics) => {
                wrong.insert(name.clone());
                diagnostics.iter_mut().for_each(|found| say_where_modules_are(found, &loaded.source));
                mistakes.push(Findings { source: loaded.source.clone(), diagnostics });
            }
        }
    }
    if !mistakes.is_empty() {
        return Err(Failure::Mistakes(mistakes));
    }
    let compiled = program
        .into_iter()
        .filter_map(|Loaded { name, source, .. }| cores.remove(&name).map(|core| Compiled { core, source }));
    Ok(compiled.collect())
}

/// The syntax errors of a module of which a part could be read.
pub(crate) fn syntax_errors(source: &Source, readable: &Readable) -> Option<Findings> {
    let diagnostics = readable.diagnostics().to_vec();
    (!diagnostics.is_empty()).then(|| Findings { source: source.clone(), diagnostics })
}

/// The syntax errors of a program whose modules have no order.
pub(crate) fn unread_first(found: impl Iterator<Item = Findings>) -> Option<Failure> {
    let found: Vec<_> = found.collect();
    (!found.is_empty()).then_some(Failure::Mistakes(found))
}

pub(crate) fn has_main(module: &ast::Module) -> bool {
    module.decls.iter().any(|decl| matches!(&decl.kind, ast::DeclKind::Flow(flow) if flow.name.name == "main"))
}

/// What a module imports; all but the prelude import the prelude.
pub(crate) fn imports(name: &str, module: &ast::Module) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = module.imports.iter().map(|import| import.path.dotted()).collect();
    if name != PRELUDE {
        names.insert(PRELUDE.to_owned());
    }
    names
}

/// The checker does not know which modules there are, and that they are files.
pub(crate) fn say_where_modules_are(found: &mut Diagnostic, source: &Source) {
    if found.code != codes::UNKNOWN_MODULE || found.help.is_some() {
        return;
    }
    let Some(name) = found.message.split('`').nth(1) else { return };
    let is_import = source.text.get(source.range(found.primary.span)) == Some(name);
    found.help = Some(if is_import { where_it_was_looked_for(name) } else { which_to_import(name) });
}

fn where_it_was_looked_for(name: &str) -> String {
    let file = name.replace('.', "/");
    let near = check::nearest(name, BUILT_IN.iter().map(|(module, _)| *module));
    let meant = near.map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    format!("looked for {file}.topos next to the program and in the standard library{meant}")
}

/// What brings a qualifier that no import has: its module, one of nearly that name, or one that other languages call so.
fn which_to_import(qualifier: &str) -> String {
    let modules = || BUILT_IN.iter().map(|(module, _)| *module);
    let short = |module: &'static str| module.strip_prefix("Topos.").unwrap_or(module);
    if let Some(module) = modules().find(|module| *module == qualifier || short(module) == qualifier) {
        return format!("import it: `import {module}`");
    }
    let usual = match qualifier {
        "Enum" | "Seq" | "Array" | "Data.List" => Some("List"),
        "String" | "Str" | "Data.Text" => Some("Text"),
        "Dict" | "HashMap" | "Data.Map" => Some("Map"),
        "HashSet" | "MapSet" | "Data.Set" => Some("Set"),
        "Option" | "Data.Maybe" => Some("Maybe"),
        "Console" | "System.IO" => Some("IO"),
        _ => {
            check::nearest(qualifier, modules().map(short)).or_else(|| check::nearest(qualifier, modules()).map(short))
        }
    };
    match usual {
        Some(name) => format!("did you mean `{name}`? `import Topos.{name}` brings it"),
        None => format!("import the module that is meant: `import .. as {qualifier}`"),
    }
}

/// A circle of imports, shown at the import that leads back into it.
pub(crate) fn cyclic(program: &[Loaded], cycle: &[String]) -> Failure {
    let importer = cycle.last().and_then(|name| program.iter().find(|loaded| loaded.name == *name));
    let target = cycle.first();
    let place = importer.and_then(|loaded| {
        let import = loaded.readable.module().imports.iter().find(|import| Some(&import.path.dotted()) == target)?;
        Some((loaded, import.path.span))
    });
    let findings = place.into_iter().map(|(loaded, span)| Findings {
        source: loaded.source.clone(),
        diagnostics: vec![Diagnostic::new(codes::IMPORT_CYCLE, "modules import each other in a circle", span)
            .primary(check::show_cycle(cycle))
            .help("move what they share into a module that both import")],
    });
    Failure::Mistakes(findings.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_effects_are_those_of_the_run_time() {
        let run_time = include_str!("../../../erlang/effect/topos_effect.erl");
        let (_, table) = run_time.split_once("\nstandard(Arguments, Ends) ->").unwrap();
        let (table, _) = table.split_once("\n    ].").unwrap();
        let mut installed: Vec<&str> = table.split("{'").skip(1).filter_map(|row| row.split('\'').next()).collect();
        let mut known = ROOT_EFFECTS.to_vec();
        installed.sort_unstable();
        known.sort_unstable();
        assert_eq!(known, installed);
    }
}
