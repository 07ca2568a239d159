//! Reads a program and the modules it imports.

use std::{
    collections::{BTreeSet, VecDeque},
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
};

use topos_lang::{
    check::PRELUDE,
    diagnostic::{Code, Diagnostic},
    syntax::{self, ast, Limits, Parse, Readable},
};

use crate::{
    failure::{Error, Failure},
    source::{Findings, Source},
    stdlib::BUILT_IN,
};

/// The module in a file has another name than the file.
const MISNAMED: Code = Code(810);

/// A module that was read.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// Its dotted name.
    pub(crate) name: String,
    /// Its text.
    pub(crate) source: Source,
    /// What it says, as far as its syntax errors let it be read.
    pub(crate) readable: Readable,
}

/// Reads one file, without its imports.
pub(crate) fn read(path: &Path) -> Result<(Source, Parse), Error> {
    let (source, bytes) = read_bytes(path)?;
    let parse = syntax::parse_bytes(&bytes);
    Ok((source, parse))
}

/// Reads one file: its text, and its bytes, which need not be UTF-8.
pub(crate) fn read_bytes(path: &Path) -> Result<(Source, Vec<u8>), Error> {
    // One byte more than the parser takes: what is longer it refuses, without more of it having been read.
    let limit = u64::try_from(Limits::default().max_source_bytes).map_or(u64::MAX, |most| most + 1);
    let mut bytes = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|why| unreadable(path, &why))?;
    Ok((Source { path: shown(path), text: String::from_utf8_lossy(&bytes).into_owned() }, bytes))
}

/// Reads a program: its own module first, then those it needs, each once. Syntax errors that hide a declaration are
/// reported at once, with those of all files; an import that is found nowhere is left to the checker, which knows its place.
pub(crate) fn load(file: &Path, stdlib: Option<&Path>) -> Result<Vec<Loaded>, Failure> {
    let (source, parse) = read(file)?;
    let directory = file.parent().unwrap_or(Path::new(""));
    let stem = file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    load_parsed(module_name(&stem), source, parse, Some(directory), stdlib)
}

/// Reads a program whose own text is at hand; `path` is what messages call it.
pub(crate) fn load_text(path: &str, text: &str, stdlib: Option<&Path>) -> Result<Vec<Loaded>, Failure> {
    let source = Source { path: path.to_owned(), text: text.to_owned() };
    load_parsed("Main".to_owned(), source, syntax::parse(text), None, stdlib)
}

fn load_parsed(
    default_name: String,
    source: Source,
    parse: Parse,
    directory: Option<&Path>,
    stdlib: Option<&Path>,
) -> Result<Vec<Loaded>, Failure> {
    let mut read = Vec::new();
    let name = parse.module.name.as_ref().map_or(default_name, ast::Path::dotted);
    let mut seen = BTreeSet::from([name.clone()]);
    let mut waiting = VecDeque::from([(name, source, parse)]);
    while let Some((name, source, parse)) = waiting.pop_front() {
        for name in parse.module.imports.iter().map(|import| import.path.dotted()).chain([PRELUDE.to_owned()]) {
            if !name.is_empty() && !seen.contains(&name) {
                if let Some((source, parse)) = find(&name, directory, stdlib)? {
                    waiting.push_back((name.clone(), source, parse));
                }
                seen.insert(name);
            }
        }
        let readable = readable(&name, parse);
        read.push((name, source, readable));
    }
    if read.iter().all(|(_, _, readable)| readable.is_ok()) {
        let loaded =
            |(name, source, readable): (_, _, Result<_, _>)| Some(Loaded { name, source, readable: readable.ok()? });
        return Ok(read.into_iter().filter_map(loaded).collect());
    }
    let found = read.into_iter().map(|(_, source, readable)| Findings {
        source,
        diagnostics: readable.map_or_else(|found| found, |readable| readable.diagnostics().to_vec()),
    });
    Err(Failure::Mistakes(found.filter(|found| !found.diagnostics.is_empty()).collect()))
}

/// What can be checked of a module that is known by a name, or all its syntax errors.
pub(crate) fn readable(name: &str, mut parse: Parse) -> Result<Readable, Vec<Diagnostic>> {
    match misnamed(name, &parse.module) {
        None => parse.readable(),
        Some(misnamed) => {
            parse.diagnostics.push(misnamed);
            Err(parse.diagnostics)
        }
    }
}

/// The mistake of a module that calls itself otherwise than its file is called.
fn misnamed(name: &str, module: &ast::Module) -> Option<Diagnostic> {
    let path = module.name.as_ref().filter(|path| path.dotted() != name)?;
    Some(
        Diagnostic::new(MISNAMED, format!("this file is module {name} for those who import it"), path.span)
            .primary(format!("but it calls itself {}", path.dotted()))
            .help(format!("write `module {name}`, or move the file")),
    )
}

/// Looks for `A.B` in `A/B.topos` next to the program, then in the standard library.
fn find(name: &str, directory: Option<&Path>, stdlib: Option<&Path>) -> Result<Option<(Source, Parse)>, Error> {
    let found = locate(name, directory, stdlib)?;
    Ok(found.map(|(source, bytes)| (source, syntax::parse_bytes(&bytes))))
}

/// Where a module of that name would be in a directory.
pub(crate) fn in_directory(name: &str, directory: &Path) -> PathBuf {
    directory.join(name.replace('.', "/")).with_extension("topos")
}

/// The text of module `A.B`: of `A/B.topos` next to the program, else in the standard library.
pub(crate) fn locate(
    name: &str,
    directory: Option<&Path>,
    stdlib: Option<&Path>,
) -> Result<Option<(Source, Vec<u8>)>, Error> {
    let relative = in_directory(name, Path::new(""));
    for place in [directory, stdlib].into_iter().flatten() {
        let path = in_directory(name, place);
        if path.is_file() {
            return read_bytes(&path).map(Some);
        }
    }
    let built_in = BUILT_IN.iter().find(|(known, _)| stdlib.is_none() && *known == name);
    Ok(built_in.map(|(_, text)| {
        let source = Source { path: format!("<built in>/{}", relative.display()), text: (*text).to_owned() };
        (source, text.as_bytes().to_vec())
    }))
}

/// The name of a program without a `module` line: `quick_start.topos` is `QuickStart`.
pub(crate) fn module_name(stem: &str) -> String {
    let words = stem.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let name: String = words
        .map(|word| {
            let (first, rest) = word.split_at(1);
            first.to_ascii_uppercase() + rest
        })
        .collect();
    match name.bytes().next() {
        Some(first) if first.is_ascii_uppercase() => name,
        _ => format!("Main{name}"),
    }
}

/// The path as the user gave it, or relative to the working directory if it lies below.
fn shown(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

fn unreadable(path: &Path, why: &io::Error) -> Error {
    let why = match why.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => why.to_string(),
    };
    Error::new(
        "TP0806",
        format!("cannot read {}: {why}", path.display()),
        "check the name of the file and its permissions",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_named_after_its_file() {
        for (stem, name) in
            [("quick_start", "QuickStart"), ("a-b.c", "ABC"), ("Main", "Main"), ("2048", "Main2048"), ("日本", "Main")]
        {
            assert_eq!(module_name(stem), name);
        }
    }
}
