//! The tokens as the parser sees them: without white space and comments, with what the layout says about each.

use crate::diagnostic::Span;
use crate::syntax::lexer::ends_line;
use crate::syntax::token::{range, Token, TokenKind, Tokens};

/// A token with its layout.
#[derive(Clone, Copy)]
pub(super) struct Cursor {
    pub(super) kind: TokenKind,
    pub(super) span: Span,
    /// Its index among all tokens.
    pub(super) raw: u32,
    /// Bytes before it on its line.
    pub(super) column: u32,
    /// The column of the first token of its line.
    pub(super) indent: u32,
    /// First on its line, or behind a `;`, which was reported.
    pub(super) newline: bool,
    /// White space or a comment stands before it.
    pub(super) spaced: bool,
    /// The lexer reported something about the place just before it.
    pub(super) after_lexical_error: bool,
    /// The brackets of the declaration it begins do not pair up.
    pub(super) unbalanced: bool,
    /// They do but for a `)` or `]` that has no partner at all.
    pub(super) surplus: bool,
    /// In column 1, and begins a declaration.
    pub(super) begins_declaration: bool,
}

/// The significant tokens, and `Eof`.
pub(super) fn significant(source: &str, tokens: &Tokens) -> Vec<Cursor> {
    let mut cursor: Vec<Cursor> = Vec::with_capacity(tokens.list.len() / 2 + 1);
    let end = u32::try_from(source.len()).unwrap_or(u32::MAX);
    let eof = Token { kind: TokenKind::Eof, span: Span::new(end, end) };
    let (mut line_start, mut indent) = (0, 0);
    let (mut newline, mut spaced, mut after_lexical_error) = (true, true, false);
    for (raw, token) in tokens.list.iter().chain(std::iter::once(&eof)).enumerate() {
        let text = source.get(range(token.span)).unwrap_or_default();
        if token.kind.is_trivia() {
            spaced = true;
            if token.span.start == 0 && text == "\u{feff}" {
                line_start = token.span.end;
            }
            if let Some(last) = text.rfind('\n') {
                newline = true;
                line_start = token.span.start + u32::try_from(last + 1).unwrap_or(u32::MAX);
            }
            if token.kind == TokenKind::Unknown {
                let ends = text.starts_with(';');
                // Where the line ends with it nothing is missing.
                after_lexical_error |= !(ends && ends_line(source, range(token.span).end));
                newline |= ends;
            }
            continue;
        }
        let column = token.span.start - line_start;
        if newline {
            indent = column;
        }
        cursor.push(Cursor {
            kind: token.kind,
            span: token.span,
            raw: u32::try_from(raw).unwrap_or(u32::MAX),
            column,
            indent,
            newline,
            spaced,
            after_lexical_error,
            unbalanced: false,
            surplus: false,
            begins_declaration: false,
        });
        newline = false;
        spaced = false;
        after_lexical_error = match token.kind {
            TokenKind::Text => !is_terminated(text),
            TokenKind::FormatEnd => text.is_empty(),
            _ => false,
        };
    }
    for i in 0..cursor.len() {
        cursor[i].begins_declaration = cursor[i].column == 0 && begins_declaration(source, &cursor[i..]);
    }
    mark_unbalanced(&mut cursor);
    cursor
}

/// Finds the declarations whose brackets do not pair up.
fn mark_unbalanced(cursor: &mut [Cursor]) {
    let mut first = 0;
    let mut open: Vec<TokenKind> = Vec::new();
    let (mut balanced, mut surplus, mut lexical) = (true, false, false);
    for i in 0..cursor.len() {
        let token = cursor[i];
        if token.begins_declaration || token.kind == TokenKind::Eof {
            // What an unterminated text swallowed is not a bracket's fault.
            let broken = !balanced || !open.is_empty();
            cursor[first].unbalanced = !lexical && (broken || surplus);
            cursor[first].surplus = surplus && !broken;
            (first, balanced, surplus, lexical) = (i, true, false, false);
            open.clear();
        }
        lexical |= token.after_lexical_error;
        let opener = match token.kind {
            TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace | TokenKind::FormatOpen => {
                open.push(token.kind);
                continue;
            }
            TokenKind::RParen => TokenKind::LParen,
            TokenKind::RBracket => TokenKind::LBracket,
            TokenKind::RBrace => TokenKind::LBrace,
            TokenKind::FormatClose => TokenKind::FormatOpen,
            _ => continue,
        };
        if matches!(token.kind, TokenKind::RParen | TokenKind::RBracket) && !open.contains(&opener) {
            surplus = true;
            continue;
        }
        balanced &= open.pop() == Some(opener);
    }
}

/// Whether a text literal has its closing quote.
fn is_terminated(text: &str) -> bool {
    text.len() > 1
        && text
            .strip_suffix('"')
            .is_some_and(|rest| rest.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0)
}

/// Whether these tokens begin a declaration, if they stand in column 1.
pub(super) fn begins_declaration(source: &str, tokens: &[Cursor]) -> bool {
    use TokenKind as K;
    let Some(first) = tokens.first() else { return false };
    let next = tokens.get(1).filter(|token| !token.newline).map_or(K::Eof, |token| token.kind);
    let name = matches!(next, K::Upper | K::Lower) || next.is_keyword();
    match first.kind {
        kind if is_declaration_keyword(kind) => true,
        K::Lower => match source.get(range(first.span)).unwrap_or_default() {
            "instance" => name || next == K::LParen,
            "type" | "handler" | "config" | "impl" | "session" | "protocol" => name,
            "test" | "property" => matches!(next, K::Text | K::LBrace),
            "extern" => name,
            _ => false,
        },
        _ => false,
    }
}

/// Whether the keyword begins a declaration wherever it stands.
pub(super) const fn is_declaration_keyword(kind: TokenKind) -> bool {
    use TokenKind as K;
    matches!(
        kind,
        K::Flow
            | K::Shape
            | K::Module
            | K::Import
            | K::Export
            | K::Private
            | K::Trait
            | K::Actor
            | K::Supervisor
            | K::Effect
    )
}
