//! The compiler: no source makes it panic, lose a byte, or point outside of the source.

use std::sync::{LazyLock, Mutex, PoisonError};

use topos_lang::check::{check_module, check_readable, on_large_stack, order, Imports, Options, PRELUDE};
use topos_lang::diagnostic::Diagnostic;
use topos_lang::emit::emit;
use topos_lang::syntax::{parse, parse_bytes, tokenize, Readable, Token, TokenKind};

/// The tokens are the source, one behind the other, whatever bytes a file has.
pub fn lexed(bytes: &[u8]) {
    let whole = parse_bytes(bytes);
    let Ok(source) = std::str::from_utf8(bytes) else {
        assert_eq!(whole.diagnostics.len(), 1, "one error for bytes that are not UTF-8");
        return;
    };
    let (tokens, diagnostics) = tokenize(source);
    tiled(source, tokens.as_slice());
    located(source, &diagnostics);
    assert_eq!(tokens.as_slice(), whole.tokens.as_slice(), "the parser sees other tokens");
}

/// The parser answers, its tokens are the source, and its spans are of the source; what it says does not depend on
/// what it read before.
pub fn parsed(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let first = parse(source);
    tiled(source, first.tokens.as_slice());
    located(source, &first.diagnostics);
    let span = first.module.span;
    assert!(span.start <= span.end && source.get(span.start as usize..span.end as usize).is_some(), "{span:?}");
    let again = parse(source);
    assert_eq!(first.module, again.module);
}

/// The checker answers for every tree that the parser makes, also of a source with mistakes; what it accepts can be
/// emitted.
pub fn checked(bytes: &[u8]) {
    let Ok(source) = std::str::from_utf8(bytes) else { return };
    let parse = parse(source);
    let options = Options {
        file: "fuzz.topos",
        default_name: "Fuzz",
        root_effects: Some(&["Topos.IO.IO", "Topos.Process.Process"]),
        test_effects: &["Topos.IO.IO"],
    };
    let library = LIBRARY.lock().unwrap_or_else(PoisonError::into_inner);
    match check_module(&parse.module, &library, &options) {
        Err(diagnostics) => {
            assert!(!diagnostics.is_empty(), "refused without a word");
            located(source, &diagnostics);
        }
        // A tree of a source with mistakes is not emitted.
        Ok((core, _)) if parse.diagnostics.is_empty() => on_large_stack(|| match emit(&core, source) {
            Ok(emitted) => {
                emitted.to_etf();
                emitted.to_erlang();
            }
            Err(diagnostics) => located(source, &diagnostics),
        }),
        Ok(_) => {}
    }
    if let Ok(readable @ Readable::Rest(_)) = parse.readable() {
        match check_readable(&readable, &library, &options) {
            Err(diagnostics) => located(source, &diagnostics),
            Ok(_) => panic!("a source with syntax errors is accepted"),
        }
    }
}

/// The interfaces of the standard library.
static LIBRARY: LazyLock<Mutex<Imports>> = LazyLock::new(|| {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../topos_stdlib/Topos");
    let sources: std::collections::BTreeMap<String, String> = std::fs::read_dir(folder)
        .expect("the standard library is there")
        .map(|entry| std::fs::read_to_string(entry.expect("a readable folder").path()).expect("a readable file"))
        .map(|source| (parse(&source).module.name.expect("the library's modules have names").dotted(), source))
        .collect();
    let graph = sources
        .iter()
        .map(|(name, source)| {
            let imports = parse(source).module.imports.into_iter().map(|import| import.path.dotted());
            let prelude = (name != PRELUDE).then(|| PRELUDE.to_owned());
            (name.clone(), imports.chain(prelude).collect())
        })
        .collect();
    let mut imports = Imports::new();
    for name in order(&graph).expect("the library has no circle") {
        let options = Options { file: &name, default_name: &name, ..Options::default() };
        let (_, interface) =
            check_module(&parse(&sources[&name]).module, &imports, &options).expect("the library is without mistakes");
        imports.insert(name.as_str().into(), interface.into());
    }
    Mutex::new(imports)
});

fn tiled(source: &str, tokens: &[Token]) {
    let mut end = 0;
    for token in tokens {
        let (start, stop) = (token.span.start as usize, token.span.end as usize);
        // An f-string that is not closed ends in tokens of no bytes.
        let there = stop > start || matches!(token.kind, TokenKind::FormatClose | TokenKind::FormatEnd);
        assert!(start == end && there && source.get(start..stop).is_some(), "{token:?} after byte {end}");
        end = stop;
    }
    assert_eq!(end, source.len(), "the tokens end early");
}

fn located(source: &str, diagnostics: &[Diagnostic]) {
    for diagnostic in diagnostics {
        for label in std::iter::once(&diagnostic.primary).chain(&diagnostic.secondary) {
            let (start, end) = (label.span.start as usize, label.span.end as usize);
            assert!(start <= end && source.get(start..end).is_some(), "{diagnostic:?} lies outside of the source");
        }
    }
}
