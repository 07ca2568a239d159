//! The parser: the cursor over the tokens, errors and recovery. The grammar is in the modules below, one a kind of
//! phrase.
//!
//! # Recovery
//! - A token that begins a declaration in column 1 looks like the end of the file to everything but the loop over
//!   declarations ([`Parser::kind`]), so no mistake reaches into the next declaration.
//! - [`Parser::emit`] drops an error at a token that has one already, so a parser that unwinds through several phrases
//!   says what is wrong once.
//! - A closing bracket that some phrase around waits for is never skipped; one that nothing waits for is reported and
//!   passed over ([`Parser::awaited`]).

mod brace;
mod cursor;
pub(super) mod damage;
mod decl;
mod effect;
mod expr;
mod foreign;
mod import;
mod operand;
mod pattern;
mod session;
mod stmt;
mod text;
mod traits;
mod type_decl;
mod types;

use super::ast::{Ident, Module, Path};
use super::token::{range, TokenKind, Tokens};
use super::{codes, Limits};
use crate::diagnostic::{Code, Diagnostic, Span};
use cursor::Cursor;

/// Parses the tokens of `source`.
pub(super) fn parse(source: &str, tokens: &Tokens, limits: &Limits) -> Parsed {
    let mut parser = Parser {
        source,
        tokens,
        cursor: cursor::significant(source, tokens),
        pos: 0,
        limits: *limits,
        diagnostics: Vec::new(),
        commas: Vec::new(),
        last_error: None,
        mode: Mode { newlines: true, braces: true },
        opens: Vec::new(),
        members: None,
        unbalanced: false,
        surplus: false,
        lost: false,
        failed_line: None,
        body_brace: None,
        asking: None,
        suspect: None,
        depth: 0,
        height: 0,
    };
    let module = parser.module();
    Parsed { module, diagnostics: parser.diagnostics, commas: parser.commas }
}

/// What the tokens are.
pub(super) struct Parsed {
    pub(super) module: Module,
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Places between the fields of records where a comma is missing, which the diagnostics say already.
    pub(super) commas: Vec<Span>,
}

/// What the phrase around means for the layout of the one that is being read.
#[derive(Clone, Copy)]
struct Mode {
    /// Whether a line end can end an expression; not so inside parentheses, brackets and records.
    newlines: bool,
    /// Whether `f { .. }` passes a block; not so in the heads of `if`, `match`, `for` and `with`.
    braces: bool,
}

/// A phrase that waits for its closing token.
#[derive(Clone, Copy)]
struct Open {
    delim: Delim,
    span: Span,
    /// Columns of blank space before the line of the opening token.
    indent: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Delim {
    Paren,
    Bracket,
    /// A record in braces.
    Record,
    /// Statements in braces.
    Block,
    /// The first branch of an `if`, which `else` may follow.
    IfBlock,
    /// Arms or clauses in braces.
    Arms,
    /// The arms of a `receive`, which `after` may follow.
    Receive,
    /// A phrase that ends in `end`.
    End,
    /// `if .. then`, which waits for `else`.
    Then,
    /// `let .. in`.
    Let,
    /// An expression in an f-string.
    Format,
}

impl Delim {
    const fn closer(self) -> TokenKind {
        match self {
            Self::Paren => TokenKind::RParen,
            Self::Bracket => TokenKind::RBracket,
            Self::Record | Self::Block | Self::IfBlock | Self::Arms | Self::Receive => TokenKind::RBrace,
            Self::End => TokenKind::End,
            Self::Then => TokenKind::Else,
            Self::Let => TokenKind::In,
            Self::Format => TokenKind::FormatClose,
        }
    }
}

/// Where the members of the trait or instance that is being read begin.
#[derive(Clone, Copy)]
struct Members {
    /// The column of the first one.
    column: u32,
    /// Brackets open around them.
    opens: usize,
    /// Whether a member may have a signature.
    signatures: bool,
}

struct Parser<'s> {
    source: &'s str,
    tokens: &'s Tokens,
    /// The tokens without white space and comments; the last one is `Eof`.
    cursor: Vec<Cursor>,
    /// Index into `cursor`.
    pos: usize,
    limits: Limits,
    diagnostics: Vec<Diagnostic>,
    /// Places between fields where a comma is missing.
    commas: Vec<Span>,
    /// The position of the last error.
    last_error: Option<usize>,
    mode: Mode,
    opens: Vec<Open>,
    members: Option<Members>,
    /// Whether the brackets of the declaration that is being read do not pair up.
    unbalanced: bool,
    /// Whether they would but for a `)` or `]` without a partner.
    surplus: bool,
    /// Whether nothing more is said about this declaration: its brackets do not pair up, and that has been seen.
    lost: bool,
    /// The first byte of the line on which the grammar last failed.
    failed_line: Option<u32>,
    /// The position of a `{` that opens a body rather than an operand.
    body_brace: Option<usize>,
    /// How many phrases were open at the `?` whose question is being read: there `after` is no argument.
    asking: Option<usize>,
    /// A `{` and the `}` that closes it though it stands further left: where a brace is missing, if one is.
    suspect: Option<(Span, Span)>,
    /// Phrases around the present one.
    depth: u32,
    /// A bound on the height of the trees built since the phrase around the present one began.
    height: u32,
}

impl<'s> Parser<'s> {
    fn raw(&self, ahead: usize) -> Cursor {
        let last = self.cursor.len() - 1;
        self.cursor[(self.pos + ahead).min(last)]
    }

    /// The kind of the current token; `Eof` at the start of the next declaration.
    fn kind(&self) -> TokenKind {
        self.nth(0)
    }

    fn nth(&self, ahead: usize) -> TokenKind {
        let token = self.raw(ahead);
        if token.begins_declaration {
            TokenKind::Eof
        } else {
            token.kind
        }
    }

    fn at(&self, kind: TokenKind) -> bool {
        self.kind() == kind
    }

    fn stopped(&self) -> bool {
        self.at(TokenKind::Eof)
    }

    fn span(&self) -> Span {
        self.raw(0).span
    }

    /// Whether the current token is the first of its line.
    fn newline(&self) -> bool {
        self.raw(0).newline
    }

    /// Whether the current token follows the one before it directly.
    fn glued(&self) -> bool {
        !self.raw(0).spaced
    }

    fn text(&self, span: Span) -> &'s str {
        self.source.get(range(span)).unwrap_or_default()
    }

    /// Whether the current token is the name `word`.
    fn at_word(&self, word: &str) -> bool {
        self.at(TokenKind::Lower) && self.text(self.span()) == word
    }

    fn bump(&mut self) -> Span {
        let span = self.span();
        if !self.stopped() {
            self.pos += 1;
        }
        span
    }

    /// Passes over a token even if it begins a declaration.
    fn bump_declaration(&mut self) -> Span {
        let span = self.span();
        if self.raw(0).kind != TokenKind::Eof {
            self.pos += 1;
        }
        span
    }

    fn eat(&mut self, kind: TokenKind) -> bool {
        let there = self.at(kind);
        if there {
            self.bump();
        }
        there
    }

    /// The last token that was passed over.
    fn previous(&self) -> Span {
        match self.pos.checked_sub(1) {
            Some(before) => self.cursor[before].span,
            None => Span::new(0, 0),
        }
    }

    /// From `start` to the last token that was passed over.
    fn since(&self, start: Span) -> Span {
        let end = self.previous().end;
        Span::new(start.start, end.max(start.start))
    }

    // Errors.

    /// Adds a diagnostic unless the current token has one already, or the lexer has complained about this place.
    fn emit(&mut self, diagnostic: Diagnostic) {
        let here = self.raw(0);
        let lexical = here.after_lexical_error || (here.span.start == here.span.end && here.kind != TokenKind::Eof);
        if self.last_error != Some(self.pos) && !lexical {
            self.emit_always(diagnostic);
        }
        self.last_error = Some(self.pos);
    }

    /// Adds a diagnostic that does not concern the current token.
    fn emit_always(&mut self, diagnostic: Diagnostic) {
        if self.lost {
            return;
        }
        if !is_slip(diagnostic.code) {
            // What follows on the line, or behind brackets that do not pair up, is rarely a mistake of its own.
            let here = self.raw(0);
            let line = here.span.start - here.column;
            if self.failed_line == Some(line) {
                return;
            }
            self.failed_line = Some(line);
            self.lost = self.unbalanced;
        }
        if self.diagnostics.len() <= self.limits.max_diagnostics {
            self.diagnostics.push(diagnostic);
        }
    }

    fn error(&mut self, code: Code, message: impl Into<String>, span: Span, help: &str) {
        self.emit(Diagnostic::new(code, message, span).help(help));
    }

    /// How a message names the current token.
    fn found(&self) -> String {
        let token = self.raw(0);
        match token.kind {
            TokenKind::Lower | TokenKind::Upper | TokenKind::Int | TokenKind::Float | TokenKind::Duration => {
                let text = self.text(token.span);
                if text.len() <= 40 {
                    format!("`{text}`")
                } else {
                    token.kind.describe().to_owned()
                }
            }
            kind => kind.describe().to_owned(),
        }
    }

    /// Says that something else was expected here.
    fn unexpected(&mut self, code: Code, expected: &str) {
        let diagnostic = self.unexpected_diagnostic(code, expected);
        self.emit(diagnostic);
    }

    fn unexpected_help(&mut self, code: Code, expected: &str, help: &str) {
        let diagnostic = self.unexpected_diagnostic(code, expected).help(help);
        self.emit(diagnostic);
    }

    /// Says that the current token should be another one, rather than that something is missing before it.
    fn wrong(&mut self, code: Code, expected: &str, help: &str) {
        let message = format!("expected {expected}, found {}", self.found());
        self.error(code, message, self.span(), help);
    }

    fn unexpected_diagnostic(&self, code: Code, expected: &str) -> Diagnostic {
        let message = format!("expected {expected}, found {}", self.found());
        if self.pos > 0 && (self.newline() || self.stopped()) {
            // The mistake is where something is missing, not where the next line happens to begin.
            Diagnostic::new(code, message, self.previous()).primary(format!("expected {expected} after this"))
        } else {
            Diagnostic::new(code, message, self.span())
        }
    }

    /// Passes over `kind`, or says that it is missing.
    fn expect(&mut self, kind: TokenKind) -> bool {
        let there = self.eat(kind);
        if !there {
            self.unexpected(codes::UNEXPECTED, kind.describe());
        }
        there
    }

    // Brackets.

    /// Passes over the current token, which opens `delim`.
    fn open(&mut self, delim: Delim) {
        let indent = self.raw(0).indent;
        let span = self.bump();
        self.opens.push(Open { delim, span, indent });
    }

    /// Begins to wait for `delim` without passing over a token; `span` is what began it.
    fn await_closer(&mut self, delim: Delim, span: Span) {
        let indent = self.raw(0).indent;
        self.opens.push(Open { delim, span, indent });
    }

    /// Stops waiting for the closer of the innermost phrase and passes over it, or says that it is missing.
    fn close(&mut self) -> bool {
        let Some(open) = self.opens.pop() else { return false };
        let closer = open.delim.closer();
        if self.at(closer) {
            let token = self.raw(0);
            if closer == TokenKind::RBrace && token.newline && token.column < open.indent && self.suspect.is_none() {
                self.suspect = Some((open.span, token.span));
            }
            self.bump();
            return true;
        }
        let opener = self.text(open.span).to_owned();
        let (code, message) = if open.delim == Delim::End {
            (codes::MISSING_END, format!("this `{opener}` has no `end`"))
        } else {
            (codes::UNCLOSED, format!("this `{opener}` is not closed"))
        };
        let place = self.unexpected_diagnostic(code, closer.describe()).primary;
        let remark = match self.raw(0).kind {
            TokenKind::Eof => format!("the file ends without {}", closer.describe()),
            _ if self.stopped() => format!("the declaration ends without {}", closer.describe()),
            _ => format!("expected {} {}", closer.describe(), if self.newline() { "after this" } else { "here" }),
        };
        let mut diagnostic = Diagnostic::new(code, message, open.span).label(place.span, remark);
        if let Some((opened, closed)) = self.suspect.filter(|_| closer == TokenKind::RBrace) {
            diagnostic = diagnostic
                .label(opened, "perhaps it is this `{` that lacks one:")
                .label(closed, "the `}` that closes it stands further left than its line");
        }
        self.emit(diagnostic);
        false
    }

    /// Whether a phrase around the present one ends, or goes on, with this token.
    fn awaited(&self, kind: TokenKind) -> bool {
        match kind {
            TokenKind::Else => self.opens.iter().any(|open| matches!(open.delim, Delim::Then | Delim::IfBlock)),
            TokenKind::Bar => {
                self.opens.iter().any(|open| matches!(open.delim, Delim::Arms | Delim::Receive | Delim::End))
            }
            TokenKind::Comma => matches!(
                self.opens.last().map(|open| open.delim),
                Some(Delim::Paren | Delim::Bracket | Delim::Record | Delim::Let | Delim::Then)
            ),
            TokenKind::FormatEnd | TokenKind::FormatText => self.awaited(TokenKind::FormatClose),
            _ => self.opens.iter().any(|open| open.delim.closer() == kind),
        }
    }

    /// Reads items separated by commas up to the closer of `delim`, whose opening token is the current one.
    fn list<T>(&mut self, delim: Delim, mut item: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let mode = std::mem::replace(&mut self.mode, Mode { newlines: false, braces: true });
        self.open(delim);
        let items = self.items(delim, &mut item);
        self.close();
        self.mode = mode;
        items
    }

    /// The items of [`Parser::list`], between the brackets.
    fn items<T>(&mut self, delim: Delim, item: &mut impl FnMut(&mut Self) -> T) -> Vec<T> {
        let closer = delim.closer();
        let indent = self.opens.last().map_or(0, |open| open.indent);
        let mut items = Vec::new();
        while !self.at(closer) && !self.stopped() {
            let before = self.pos;
            items.push(item(self));
            if self.eat(TokenKind::Comma) {
                continue;
            }
            if self.at(closer) || self.stopped() {
                break;
            }
            let token = self.raw(0);
            if token.newline && (token.column <= indent || self.last_error == Some(self.pos)) {
                // Indented no deeper than the line that opened the list: the closer was forgotten, not a comma.
                break;
            }
            if self.is_closer() && self.awaited(self.kind()) {
                break;
            }
            if !self.between_items(closer, indent, before) {
                break;
            }
        }
        items
    }

    /// After an item without a comma or a closer: says so, and goes to the next item. False if there is none, because
    /// the closer is missing.
    fn between_items(&mut self, closer: TokenKind, indent: u32, before: usize) -> bool {
        let token = self.raw(0);
        let expected = format!("`,` or {}", closer.describe());
        let mut diagnostic = self.unexpected_diagnostic(codes::UNEXPECTED, &expected);
        if matches!(token.kind, TokenKind::FatArrow | TokenKind::Arrow) {
            diagnostic = diagnostic.help("a function is written `fn(x) -> ..`");
        }
        if token.newline && self.pos > before {
            self.emit(diagnostic);
            return true;
        }
        let outside = |parser: &Self| parser.newline() && parser.raw(0).column <= indent;
        let here = self.pos;
        self.skip(|parser| parser.at(TokenKind::Comma) || outside(parser));
        let unclosed = self.stopped() || (outside(self) && !self.at(closer));
        let reported = self.last_error == Some(here) || token.after_lexical_error;
        let after = std::mem::replace(&mut self.pos, here);
        if !reported {
            match self.opens.last().filter(|_| unclosed) {
                Some(open) => {
                    let message = format!("this `{}` is not closed", self.text(open.span));
                    let remark = format!("expected {expected} here");
                    self.emit(Diagnostic::new(codes::UNCLOSED, message, open.span).label(token.span, remark));
                }
                None => self.emit(diagnostic),
            }
        }
        self.pos = after;
        if unclosed {
            self.last_error = Some(self.pos);
            return false;
        }
        self.eat(TokenKind::Comma) || self.pos > before
    }

    fn is_opener(&self) -> bool {
        matches!(self.kind(), TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace | TokenKind::FormatOpen)
    }

    fn is_closer(&self) -> bool {
        matches!(self.kind(), TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace | TokenKind::FormatClose)
    }

    /// Passes over tokens, brackets with what is in them, up to one where `stop` holds or which a phrase around waits
    /// for.
    fn skip(&mut self, stop: impl Fn(&Self) -> bool) {
        let mut depth = 0_u32;
        while !self.stopped() {
            if depth == 0 && (stop(self) || (self.is_closer() && self.awaited(self.kind()))) {
                return;
            }
            if self.is_opener() {
                depth += 1;
            } else if self.is_closer() {
                depth = depth.saturating_sub(1);
            }
            self.bump();
        }
    }

    /// Passes over the rest of the line, longer if brackets are open at its end.
    fn skip_line(&mut self) {
        let start = self.pos;
        self.skip(|parser| parser.newline() && parser.pos > start);
        self.last_error = Some(self.pos);
    }

    // Depth.

    /// Reads a phrase that stands in another one, or gives up the declaration if it is nested too deeply.
    fn nested<T>(&mut self, error: impl FnOnce(Span) -> T, phrase: impl FnOnce(&mut Self) -> T) -> T {
        if self.depth >= self.limits.max_depth {
            self.too_deep();
            return error(self.span());
        }
        self.depth += 1;
        let around = std::mem::replace(&mut self.height, 0);
        let result = phrase(self);
        self.depth -= 1;
        self.height = around.max(self.height + 1);
        result
    }

    /// Counts a link of a chain, whose tree is higher by one; false once it is too high.
    fn link(&mut self) -> bool {
        self.height += 1;
        let fits = self.height <= self.limits.max_depth.saturating_mul(4);
        if !fits {
            self.too_deep();
        }
        fits
    }

    fn too_deep(&mut self) {
        let depth = self.limits.max_depth;
        self.error(
            codes::TOO_DEEP,
            format!("this is nested more than {depth} levels deep"),
            self.span(),
            "bind parts of it to names",
        );
        while !self.stopped() {
            self.pos += 1;
        }
        self.last_error = Some(self.pos);
    }

    // Names.

    fn nothing(&self) -> Span {
        let end = self.previous().end;
        Span::new(end, end)
    }

    fn ident(&mut self) -> Ident {
        let span = self.bump();
        Ident { name: self.text(span).to_owned(), span }
    }

    /// A lower-case name; `what` says whose.
    fn lower(&mut self, what: &str) -> Ident {
        match self.kind() {
            TokenKind::Lower => self.ident(),
            TokenKind::Upper => {
                let span = self.span();
                let name = self.text(span);
                let mut chars = name.chars();
                let lower: String = chars.next().map(|c| c.to_ascii_lowercase()).into_iter().chain(chars).collect();
                self.error(
                    codes::WRONG_CASE,
                    format!("{what} begins with a lower-case letter, found `{name}`"),
                    span,
                    &format!("write `{lower}`"),
                );
                self.ident()
            }
            kind if kind.is_keyword() && !self.newline() => self.keyword_as_name(what),
            _ => {
                self.unexpected(codes::UNEXPECTED, what);
                Ident { name: String::new(), span: self.nothing() }
            }
        }
    }

    fn keyword_as_name(&mut self, what: &str) -> Ident {
        let span = self.span();
        let name = self.text(span);
        self.error(
            codes::KEYWORD_AS_NAME,
            format!("`{name}` is a keyword and cannot be {what}"),
            span,
            &format!("choose another name, such as `{name}_`"),
        );
        self.ident()
    }

    /// An upper-case name; `what` says whose.
    fn upper(&mut self, what: &str) -> Ident {
        match self.kind() {
            TokenKind::Upper => self.ident(),
            TokenKind::Lower => {
                self.lower_case(what, self.span());
                self.ident()
            }
            kind if kind.is_keyword() && !self.newline() => self.keyword_as_name(what),
            _ => {
                self.unexpected(codes::UNEXPECTED, what);
                Ident { name: String::new(), span: self.nothing() }
            }
        }
    }

    /// Says of a lower-case name that it should begin with an upper-case letter; `what` says whose it is.
    fn lower_case(&mut self, what: &str, span: Span) {
        let name = self.text(span);
        let message = format!("{what} begins with an upper-case letter, found `{name}`");
        self.error(codes::WRONG_CASE, message, span, &format!("write `{}`", camel(name)));
    }

    /// `A.B.C`.
    fn path(&mut self, what: &str) -> Path {
        let first = self.upper(what);
        let start = first.span;
        // `topos.list` in the wrong case is one mistake.
        let lower = self.text(start).starts_with(|c: char| c.is_ascii_lowercase());
        let mut segments = vec![first];
        while self.at(TokenKind::Dot)
            && (self.nth(1) == TokenKind::Upper || (lower && self.nth(1) == TokenKind::Lower))
            && !self.newline()
        {
            self.bump();
            segments.push(self.ident());
        }
        Path { segments, span: self.since(start) }
    }

    /// Lower-case names, as parameters of a type.
    fn lowers(&mut self) -> Vec<Ident> {
        let mut names = Vec::new();
        while self.at(TokenKind::Lower) && !self.newline() {
            names.push(self.ident());
        }
        names
    }
}

/// Whether a mistake is a slip of one token that the parser reads as meant, so that what follows is not in doubt.
fn is_slip(code: Code) -> bool {
    [
        codes::UNKNOWN_ESCAPE,
        codes::MALFORMED_NUMBER,
        codes::TOO_DEEP,
        codes::KEYWORD_AS_NAME,
        codes::WRONG_CASE,
        codes::ASSIGNMENT_IN_CONDITION,
        codes::CHAINED_COMPARISON,
        codes::MODULE_HEADER,
        codes::FIELD_DEFAULT,
        codes::FOREIGN_SYNTAX,
    ]
    .contains(&code)
}

/// `node_down` as `NodeDown`.
fn camel(name: &str) -> String {
    let words = name.split('_').filter(|word| !word.is_empty());
    words
        .flat_map(|word| {
            let mut chars = word.chars();
            chars.next().map(|c| c.to_ascii_uppercase()).into_iter().chain(chars).collect::<Vec<_>>()
        })
        .collect()
}
