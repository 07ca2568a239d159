//! The standard library and the examples pass the checker.

use std::collections::{BTreeMap, BTreeSet};

use super::{check_with, parse, render};
use crate::check::{order, Imports, PRELUDE};

pub(super) fn sources(folder: &str) -> Vec<String> {
    let path = format!("{}/../../{folder}", env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<_> = std::fs::read_dir(&path)
        .unwrap_or_else(|e| panic!("{path}: {e}"))
        .map(|entry| entry.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "topos"))
        .collect();
    files.sort();
    files.iter().map(|p| std::fs::read_to_string(p).unwrap()).collect()
}

pub(super) fn library() -> Imports {
    let mut by_name = BTreeMap::new();
    let mut graph = BTreeMap::new();
    for source in sources("topos_stdlib/Topos") {
        let module = parse(&source);
        let name = module.name.as_ref().unwrap().dotted();
        let mut of: BTreeSet<String> = module.imports.iter().map(|i| i.path.dotted()).collect();
        if name != PRELUDE {
            of.insert(PRELUDE.to_owned());
        }
        graph.insert(name.clone(), of);
        by_name.insert(name, source);
    }
    let mut imports = Imports::new();
    for name in order(&graph).unwrap() {
        let source = &by_name[&name];
        let (_, interface) =
            check_with(source, &imports, None).unwrap_or_else(|e| panic!("{name}\n{}", render(source, &e)));
        imports.insert(name.as_str().into(), interface.into());
    }
    imports
}

#[test]
fn the_standard_library_is_accepted() {
    let library = library();
    assert!(library.len() >= 10, "{:?}", library.keys());
}

#[test]
fn the_examples_are_programs() {
    let library = library();
    let roots = [
        "Topos.IO.IO",
        "Topos.Process.Process",
        "Topos.Partisan.Distributed",
        "Topos.Channel.Channel",
        "Topos.Time.Time",
        "Topos.Runner.Runner",
    ];
    for source in sources("examples") {
        if let Err(errors) = check_with(&source, &library, Some(&roots)) {
            panic!("{}", render(&source, &errors));
        }
    }
}
