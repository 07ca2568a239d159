//! The examples in the standard library's documentation: each line of a fence is true.

use std::fmt::Write;

use crate::programs::{library, run, PRELUDE};

/// The lines of all fences of a module.
fn examples(source: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut inside = false;
    for line in source.lines() {
        let Some(text) = line.trim().strip_prefix("---") else {
            inside = false;
            continue;
        };
        match text.trim() {
            "```topos" => inside = true,
            "```" => inside = false,
            text if inside && !text.is_empty() => out.push(text.to_owned()),
            _ => {}
        }
    }
    out
}

#[test]
fn every_example_is_true() {
    let library = library();
    let mut test = String::from("module DocTests\n");
    let mut wanted = Vec::new();
    let mut flows = String::new();
    for source in std::iter::once(PRELUDE).chain(library.iter().map(String::as_str)) {
        let name = topos_lang::syntax::parse(source).module.name.unwrap().dotted();
        if name != "Topos.Prelude" {
            writeln!(test, "import qualified {name}").unwrap();
        }
        for example in examples(source) {
            let flow = format!("example{}", wanted.len());
            writeln!(flows, "flow {flow} : Bool =\n  {example}").unwrap();
            wanted.push((
                format!("{{'DocTests':{flow}(), <<{example:?}/utf8>>}}"),
                format!("{{true,<<{example:?}/utf8>>}}"),
            ));
        }
    }
    assert!(wanted.len() >= 50, "the library has {} examples", wanted.len());
    test.push_str(&flows);
    let mut sources: Vec<&str> = library.iter().map(String::as_str).collect();
    sources.push(&test);
    // The text beside the answer says which example is wrong; it is compared by the BEAM, since it may be printed otherwise.
    let expected: Vec<(String, &str)> =
        wanted.iter().map(|(got, want)| (format!("{got} =:= {want}"), "true")).collect();
    let expected: Vec<(&str, &str)> = expected.iter().map(|(e, w)| (e.as_str(), *w)).collect();
    run(&sources, &expected);
}
