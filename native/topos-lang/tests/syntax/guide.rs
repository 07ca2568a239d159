//! The guide's nine programs parse as they are.

use crate::render::render;
use std::path::PathBuf;
use topos_lang::syntax::ast::DeclKind;
use topos_lang::syntax::parse;

/// The guide's blocks with their file names, in the guide's order.
pub(crate) fn blocks() -> Vec<(String, String)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/guide");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .expect("tests/golden/guide is part of the repository")
        .map(|entry| entry.expect("a readable folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "topos"))
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let name = path.file_stem().expect("a file").to_string_lossy().into_owned();
            (name, std::fs::read_to_string(&path).expect("a readable file"))
        })
        .collect()
}

#[test]
fn the_nine_blocks_parse_without_a_diagnostic() {
    let blocks = blocks();
    assert_eq!(blocks.len(), 9);
    for (name, source) in blocks {
        let parse = parse(&source);
        assert!(parse.diagnostics.is_empty(), "{name}:\n{}", render(&source, &parse.diagnostics));
    }
}

#[test]
fn the_nine_blocks_hold_what_they_seem_to_hold() {
    let outline: Vec<String> = blocks()
        .iter()
        .map(|(name, source)| {
            let module = parse(source).module;
            let decls: Vec<String> = module.decls.iter().map(|decl| outline(&decl.kind)).collect();
            format!("{name}: {} imports\n  {}", module.imports.len(), decls.join("\n  "))
        })
        .collect();
    insta::assert_snapshot!(outline.join("\n"));
}

/// A declaration in a line: its name and how many parts it has.
fn outline(kind: &DeclKind) -> String {
    match kind {
        DeclKind::Flow(flow) => {
            let domains = flow.signature.as_ref().map_or(0, |signature| signature.domains.len());
            let row = flow.signature.as_ref().and_then(|signature| signature.row.as_ref());
            let effects = row.map_or(0, |row| row.effects.len());
            let stmts = flow.body.as_ref().map_or(0, |body| body.stmts.len());
            format!("flow {}: {domains} domains, {effects} effects, {stmts} statements", flow.name.name)
        }
        DeclKind::Type(ty) => format!("type {}: {}", ty.name.name, definition(&ty.definition)),
        DeclKind::Effect(effect) => format!("effect {}: {} operations", effect.name.name, effect.operations.len()),
        DeclKind::Handler(handler) => {
            let (states, clauses) = (handler.states.len(), handler.clauses.len());
            format!("handler {}: {states} states, {clauses} clauses", handler.name.name)
        }
        DeclKind::Trait(decl) => format!("trait {}: {} members", decl.name.name, decl.members.len()),
        DeclKind::Instance(decl) => format!("instance {}: {} members", decl.trait_path.dotted(), decl.members.len()),
        DeclKind::Impl(decl) => format!("impl {}: {} members", decl.name.dotted(), decl.members.len()),
        DeclKind::Config(decl) => format!("config {}", decl.name.name),
        other => format!("{other:?}"),
    }
}

fn definition(definition: &topos_lang::syntax::ast::TypeDefinition) -> String {
    use topos_lang::syntax::ast::TypeDefinition as D;
    match definition {
        D::Variants(variants) => format!("{} variants", variants.len()),
        D::Record(fields) => format!("{} fields", fields.len()),
        D::Alias(_) => "alias".to_owned(),
        D::Opaque => "opaque".to_owned(),
        D::Error => "error".to_owned(),
    }
}

/// Programs that people read first must not be the ones that break.
#[test]
fn the_library_the_examples_and_the_documentation_parse() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut sources = Vec::new();
    for folder in ["topos_stdlib/Topos", "examples"] {
        for entry in std::fs::read_dir(root.join(folder)).expect("part of the repository") {
            let path = entry.expect("a readable folder").path();
            if path.extension().is_some_and(|extension| extension == "topos") {
                sources.push((path.display().to_string(), std::fs::read_to_string(&path).expect("a readable file")));
            }
        }
    }
    let page = std::fs::read_to_string(root.join("docs/language.md")).expect("part of the repository");
    for block in page.split("```topos\n").skip(1) {
        sources.push(("docs/language.md".to_owned(), block.split("```").next().unwrap_or_default().to_owned()));
    }
    assert!(sources.len() > 10);
    for (name, source) in sources {
        let parse = parse(&source);
        assert!(parse.diagnostics.is_empty(), "{name}:\n{}", render(&source, &parse.diagnostics));
    }
}
