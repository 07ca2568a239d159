//! How far the syntax errors of a module reach.
//!
//! Declarations begin in column 1, and no mistake of the parser reaches into the next one. So where every error lies in a flow, a
//! test or a property, the others are as they were meant, and can be checked. Where that is in doubt nothing is: a mistake that is
//! none is worse than one that is found later.

use super::{cursor, Cursor};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{Decl, DeclKind, Ident, Module};
use crate::syntax::codes;
use crate::syntax::token::{TokenKind, Tokens};

/// What the syntax errors of a module damaged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::syntax) struct Damage {
    /// For each declaration of the module, whether it cannot be used.
    pub(in crate::syntax) lost: Vec<bool>,
    /// Whether the head of a flow is damaged, so that its name may be another one than was read.
    pub(in crate::syntax) heads: bool,
}

/// What the errors damaged; `None` if that is more than flows, tests and properties, or if it is in doubt.
pub(in crate::syntax) fn find(
    source: &str,
    tokens: &Tokens,
    module: &Module,
    diagnostics: &[Diagnostic],
) -> Option<Damage> {
    let decls = &module.decls;
    if decls.iter().any(|decl| matches!(decl.kind, DeclKind::Error)) {
        return None;
    }
    let cursor = cursor::significant(source, tokens);
    let items = Items::of(module);
    let mut hit = vec![false; decls.len()];
    let mut heads = vec![false; decls.len()];
    for diagnostic in diagnostics {
        if diagnostic.code == codes::UNTERMINATED_COMMENT {
            return None;
        }
        for label in std::iter::once(&diagnostic.primary).chain(&diagnostic.secondary) {
            let index = items.decl_at(label.span)?;
            let in_head = in_head(&cursor, decls.get(index)?, label.span)?;
            hit[index] = true;
            heads[index] |= in_head && diagnostic.code != codes::MISSING_BODY;
        }
    }
    for (index, decl) in decls.iter().enumerate() {
        if hit[index] && swallows(source, &cursor, decl, items.end_of(index)) {
            return None;
        }
    }
    Some(Damage { lost: lost(decls, &hit, &heads), heads: heads.contains(&true) })
}

/// Declarations with an error, those beside one whose head cannot be trusted (they may be clauses of it), and all clauses of a flow
/// that lost one.
fn lost(decls: &[Decl], hit: &[bool], heads: &[bool]) -> Vec<bool> {
    let beside = |index: usize| {
        let before = index.checked_sub(1).and_then(|before| heads.get(before));
        before == Some(&true) || heads.get(index + 1) == Some(&true)
    };
    let mut lost: Vec<bool> = hit.to_vec();
    for (index, decl) in decls.iter().enumerate() {
        lost[index] |= matches!(decl.kind, DeclKind::Flow(_)) && beside(index);
    }
    let names: std::collections::HashSet<&str> = decls
        .iter()
        .zip(&lost)
        .filter(|(_, lost)| **lost)
        .filter_map(|(decl, _)| name(decl))
        .map(|n| &*n.name)
        .collect();
    decls.iter().zip(&lost).map(|(decl, lost)| *lost || name(decl).is_some_and(|n| names.contains(&*n.name))).collect()
}

/// The name of a flow.
pub(in crate::syntax) fn name(decl: &Decl) -> Option<&Ident> {
    match &decl.kind {
        DeclKind::Flow(flow) => Some(&flow.name),
        _ => None,
    }
}

/// Whether a place is before the `=` of a flow; `None` where neither a flow, a test nor a property is.
fn in_head(cursor: &[Cursor], decl: &Decl, at: Span) -> Option<bool> {
    match &decl.kind {
        DeclKind::Flow(_) => {
            let from = cursor.partition_point(|token| token.span.start < decl.span.start);
            let to = cursor.partition_point(|token| token.span.start < at.start);
            Some(!cursor.get(from..to)?.iter().any(|token| token.kind == TokenKind::Eq))
        }
        DeclKind::Test(_) | DeclKind::Property(_) => Some(false),
        _ => None,
    }
}

/// Whether something may be meant as a declaration of its own that was read as part of this one, which ends before the byte `end`.
fn swallows(source: &str, cursor: &[Cursor], decl: &Decl, end: u32) -> bool {
    let from = cursor.partition_point(|token| token.span.start < decl.span.start);
    let to = cursor.partition_point(|token| token.span.start < end);
    let Some(first) = cursor.get(from) else { return false };
    let own = if first.kind == TokenKind::Private { from + 2 } else { from + 1 };
    (own..to).any(|index| {
        let token = cursor[index];
        let begins = cursor::begins_declaration(source, &cursor[index..]);
        cursor::is_declaration_keyword(token.kind)
            || (token.newline && (begins || (token.column <= first.column && !continues(token.kind))))
    })
}

/// Whether a token goes on with a declaration though it stands in its column.
const fn continues(kind: TokenKind) -> bool {
    use TokenKind as K;
    matches!(kind, K::RParen | K::RBracket | K::RBrace | K::FormatClose | K::End | K::Else | K::Bar | K::Eof)
}

/// What a module consists of, in source order: where each begins, and which declaration it is, if one.
struct Items {
    starts: Vec<(u32, Option<usize>)>,
}

impl Items {
    fn of(module: &Module) -> Self {
        let imports = module.imports.iter().map(|import| (import.span.start, None));
        let exports = module.exports.iter().map(|export| (export.span.start, None));
        let decls = module.decls.iter().enumerate().map(|(index, decl)| (decl.span.start, Some(index)));
        let mut starts: Vec<_> = imports.chain(exports).chain(decls).collect();
        starts.sort_unstable();
        Self { starts }
    }

    /// The declaration that a place belongs to.
    fn decl_at(&self, at: Span) -> Option<usize> {
        let behind = self.starts.partition_point(|(start, _)| *start <= at.start);
        self.starts.get(behind.checked_sub(1)?)?.1
    }

    /// Where what follows a declaration begins.
    fn end_of(&self, decl: usize) -> u32 {
        let own = self.starts.iter().position(|(_, index)| *index == Some(decl));
        own.and_then(|own| self.starts.get(own + 1)).map_or(u32::MAX, |(start, _)| *start)
    }
}
