//! Which modules a build has: the files asked for, and what they import.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fs, io,
    path::{Path, PathBuf},
};

use topos_lang::syntax::{self, ast, Readable};

use super::cache::{self, Cache, Entry, Hash};
use crate::{
    failure::{Error, Failure},
    frontend,
    loader::{self, Loaded},
    source::{Findings, Source},
};

/// A module of a build. Its text is parsed only if it, or something it depends on, has changed.
#[derive(Debug)]
pub(super) struct Unit {
    /// Its dotted name.
    pub(super) name: String,
    /// Its text.
    pub(super) source: Source,
    bytes: Vec<u8>,
    /// Of its text.
    pub(super) hash: Hash,
    /// Whether it was asked for, or is imported from beside what was; not of the standard library.
    pub(super) own: bool,
    /// Whether it was asked for.
    pub(super) asked: bool,
    /// What it calls itself, if it does.
    pub(super) declared: Option<String>,
    /// What it imports, the prelude included.
    pub(super) imports: BTreeSet<String>,
    /// Whether it has a `main`.
    pub(super) main: bool,
    /// What the last build knew of this text.
    pub(super) entry: Option<Entry>,
    readable: Option<Readable>,
}

/// A file to build, and where its imports are looked for.
struct Root {
    file: PathBuf,
    directory: PathBuf,
    /// If it does not say one itself.
    name: String,
}

/// Reads what was asked for and all that it imports. Syntax errors that hide a declaration are reported at once, with those
/// of all files; a unit may have others.
pub(super) fn units(paths: &[PathBuf], stdlib: Option<&Path>, cache: &Cache) -> Result<Vec<Unit>, Failure> {
    let mut units: BTreeMap<String, Unit> = BTreeMap::new();
    let mut mistakes: Vec<Findings> = Vec::new();
    let mut readable = true;
    let mut waiting: VecDeque<(String, Option<PathBuf>)> = VecDeque::new();
    let mut accept = |unit: Result<Unit, Findings>,
                      directory: Option<&Path>,
                      units: &mut BTreeMap<String, Unit>,
                      waiting: &mut VecDeque<(String, Option<PathBuf>)>| match unit {
        Err(found) => {
            if !mistakes.iter().any(|known| known.source.path == found.source.path) {
                mistakes.push(found);
            }
            readable = false;
            Ok(())
        }
        Ok(unit) => {
            if let Some(other) = units.get(&unit.name).filter(|other| other.source.path != unit.source.path) {
                return Err(twice(&unit, other));
            }
            mistakes.extend(unit.syntax_errors().filter(|_| !units.contains_key(&unit.name)));
            waiting.extend(unit.imports.iter().map(|name| (name.clone(), directory.map(Path::to_owned))));
            units.insert(unit.name.clone(), unit);
            Ok(())
        }
    };
    for Root { file, directory, name } in roots(paths)? {
        let (source, bytes) = loader::read_bytes(&file)?;
        accept(unit(&name, false, source, bytes, true, cache), Some(&directory), &mut units, &mut waiting)?;
    }
    let mut missing = BTreeSet::new();
    while let Some((name, directory)) = waiting.pop_front() {
        if name.is_empty() || units.contains_key(&name) || missing.contains(&name) {
            continue;
        }
        match loader::locate(&name, directory.as_deref(), stdlib)? {
            Some((source, bytes)) => {
                let own = directory.as_ref().is_some_and(|own| loader::in_directory(&name, own).is_file());
                let directory = directory.filter(|_| own);
                let found = unit(&name, true, source, bytes, own, cache);
                if found.is_err() {
                    missing.insert(name);
                }
                accept(found, directory.as_deref(), &mut units, &mut waiting)?;
            }
            // The checker knows the place of the import.
            None => drop(missing.insert(name)),
        }
    }
    if readable {
        Ok(units.into_values().collect())
    } else {
        Err(Failure::Mistakes(mistakes))
    }
}

/// `imported`: its name is fixed by its file.
fn unit(
    name: &str,
    imported: bool,
    source: Source,
    bytes: Vec<u8>,
    own: bool,
    cache: &Cache,
) -> Result<Unit, Findings> {
    let hash = cache::hash([bytes.as_slice()]);
    let entry = cache.entry(&source.path, &hash).cloned();
    if let Some(known) = entry.filter(|known| !imported || known.declared.as_ref().is_none_or(|own| own == name)) {
        return Ok(Unit {
            name: known.declared.clone().unwrap_or_else(|| name.to_owned()),
            source,
            bytes,
            hash,
            own,
            asked: !imported,
            declared: known.declared.clone(),
            imports: known.imports.clone(),
            main: known.main,
            entry: Some(known),
            readable: None,
        });
    }
    let parse = syntax::parse_bytes(&bytes);
    let readable = if imported { loader::readable(name, parse) } else { parse.readable() };
    let readable = match readable {
        Ok(readable) => readable,
        Err(diagnostics) => return Err(Findings { source, diagnostics }),
    };
    let module = readable.module();
    let declared = module.name.as_ref().map(ast::Path::dotted);
    let name = declared.clone().unwrap_or_else(|| name.to_owned());
    let imports = frontend::imports(&name, module);
    let main = frontend::has_main(module);
    let asked = !imported;
    Ok(Unit { name, source, bytes, hash, own, asked, declared, imports, main, entry: None, readable: Some(readable) })
}

impl Unit {
    /// What it says. It is given away: who has checked it drops it, and the next module has its memory.
    pub(super) fn readable(&mut self) -> Readable {
        // A text that was built before has no syntax errors.
        self.readable.take().unwrap_or_else(|| Readable::Whole(syntax::parse_bytes(&self.bytes).module))
    }

    /// Its syntax errors, if it has some.
    pub(super) fn syntax_errors(&self) -> Option<Findings> {
        frontend::syntax_errors(&self.source, self.readable.as_ref()?)
    }

    /// As the checker of whole programs takes it.
    pub(super) fn loaded(&mut self) -> Loaded {
        Loaded { name: self.name.clone(), source: self.source.clone(), readable: self.readable() }
    }
}

/// The files that were asked for; of a directory all `.topos` files in it, at any depth.
fn roots(paths: &[PathBuf]) -> Result<Vec<Root>, Error> {
    let mut roots = Vec::new();
    for path in paths {
        if !path.is_dir() {
            let directory = path.parent().unwrap_or(Path::new("")).to_owned();
            let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
            roots.push(Root { file: path.clone(), directory, name: loader::module_name(&stem) });
            continue;
        }
        let mut files = Vec::new();
        walk(path, &mut files).map_err(|why| {
            Error::new(
                "TP0806",
                format!("cannot read {}: {why}", path.display()),
                "check the name of the directory and its permissions",
            )
        })?;
        files.sort();
        if files.is_empty() {
            return Err(Error::new(
                "TP0806",
                format!("there is no .topos file in {}", path.display()),
                "name a directory with Topos modules, or a file",
            ));
        }
        roots.extend(files.into_iter().map(|file| {
            let name = name_below(path, &file);
            Root { file, directory: path.clone(), name }
        }));
    }
    Ok(roots)
}

/// `Shop/Cart.topos` below the directory is `Shop.Cart`; a file whose path is no name is named like a program.
fn name_below(directory: &Path, file: &Path) -> String {
    let relative = file.strip_prefix(directory).unwrap_or(file).with_extension("");
    let parts: Vec<String> = relative.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.iter().all(|part| part.starts_with(|c: char| c.is_ascii_uppercase())) {
        parts.join(".")
    } else {
        loader::module_name(&parts.last().cloned().unwrap_or_default())
    }
}

fn walk(directory: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let path = entry.path();
        // Links to directories are not followed: they may lead in a circle.
        if entry.file_type()?.is_dir() {
            if !entry.file_name().to_string_lossy().starts_with(['.', '_']) {
                walk(&path, files)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "topos") {
            files.push(path);
        }
    }
    Ok(())
}

fn twice(unit: &Unit, other: &Unit) -> Failure {
    Error::new(
        "TP0813",
        format!("{} and {} are both the module {}", other.source.path, unit.source.path, unit.name),
        "give one of them another name with `module`",
    )
    .into()
}
