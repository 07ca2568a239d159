//! Modules, imports and exports.

use super::{Delim, Parser};
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{Doc, Export, Ident, Import, Module};
use crate::syntax::codes;
use crate::syntax::token::TokenKind;

impl Parser<'_> {
    pub(super) fn module(&mut self) -> Module {
        let mut module = Module {
            doc: None,
            name: None,
            imports: Vec::new(),
            exports: Vec::new(),
            decls: Vec::new(),
            span: Span::new(0, u32::try_from(self.source.len()).unwrap_or(u32::MAX)),
        };
        let mut header: Option<Span> = None;
        while self.raw(0).kind != TokenKind::Eof {
            self.opens.clear();
            self.members = None;
            self.suspect = None;
            if self.raw(0).begins_declaration || self.pos == 0 {
                self.unbalanced = self.raw(0).unbalanced;
                self.surplus = self.raw(0).surplus;
                self.lost = false;
                self.failed_line = None;
            }
            match self.raw(0).kind {
                TokenKind::Module => {
                    let doc = self.doc();
                    let span = self.bump_declaration();
                    let first = header.is_none() && module.imports.is_empty() && module.decls.is_empty();
                    if !first {
                        self.emit_always(misplaced_header(span, header));
                    }
                    header = header.or(Some(span));
                    let path = self.path("a module");
                    self.eat(TokenKind::Where);
                    self.end_decl();
                    if first {
                        module.doc = doc;
                        module.name = Some(path);
                    }
                }
                TokenKind::Import => module.imports.push(self.import()),
                TokenKind::Export => module.exports.push(self.export()),
                _ => module.decls.push(self.decl()),
            }
        }
        module
    }

    fn import(&mut self) -> Import {
        let start = self.bump_declaration();
        let mut qualified = self.eat(TokenKind::Qualified);
        if self.at(TokenKind::Lower) && self.nth(1) == TokenKind::Slash {
            let span = self.span();
            let help = "the parts begin with upper-case letters: `import A.B`";
            self.error(codes::UNEXPECTED, "the parts of a module's name are joined by `.`", span, help);
        }
        let path = self.path("a module");
        if self.at(TokenKind::Dot) && !self.newline() {
            self.unexpected_help(
                codes::UNEXPECTED,
                "a module",
                "names of a module are listed in parentheses: `import A.B (name, Type)`",
            );
            self.skip_line();
        }
        if self.at(TokenKind::Qualified) && !self.newline() {
            self.error(
                codes::UNEXPECTED,
                "`qualified` stands before the module",
                self.span(),
                "write `import qualified A.B`",
            );
            self.bump();
            qualified = true;
        }
        let alias = if self.eat(TokenKind::As) { Some(self.upper("a qualifier")) } else { None };
        let names = if self.at(TokenKind::LParen) && !self.newline() { Some(self.names()) } else { None };
        self.end_decl();
        Import { path, qualified, alias, names, span: self.since(start) }
    }

    fn export(&mut self) -> Export {
        let start = self.bump_declaration();
        let names = if self.at(TokenKind::LParen) {
            self.names()
        } else {
            self.unexpected_help(codes::UNEXPECTED, "`(`", "write `export (name, Type)`");
            self.skip_line();
            Vec::new()
        };
        self.end_decl();
        Export { names, span: self.since(start) }
    }

    /// `(a, B)`.
    fn names(&mut self) -> Vec<Ident> {
        self.list(Delim::Paren, |parser| match parser.kind() {
            TokenKind::Lower | TokenKind::Upper => {
                let name = parser.ident();
                if parser.at(TokenKind::LParen) {
                    parser.error(
                        codes::UNEXPECTED,
                        "constructors are not listed",
                        parser.span(),
                        &format!("a type brings its constructors: write `{}`", name.name),
                    );
                    parser.skip(|parser| parser.at(TokenKind::Comma));
                }
                name
            }
            kind if kind.is_keyword() => parser.keyword_as_name("a name"),
            _ => {
                parser.unexpected(codes::UNEXPECTED, "a name");
                parser.no_name()
            }
        })
    }

    /// After a declaration: its line must end here.
    pub(super) fn end_decl(&mut self) {
        if self.stopped() || (self.newline() && self.last_error != Some(self.pos)) {
            return;
        }
        let help = match self.text(self.span()) {
            "exposing" | "hiding" | "using" | "only" => {
                "names of a module are listed in parentheses, `import A.B (name)`; what a module exports stands on a line of its own, \
                 `export (name)`"
            }
            "/" => "the parts of a module's name are joined by `.`: `import A.B`",
            _ => "it ends with its line",
        };
        self.unexpected_help(codes::STATEMENT_END, "a new line", help);
        while !(self.stopped() || (self.newline() && self.raw(0).column == 0)) {
            self.bump();
        }
    }

    /// Passes over tokens up to the next one that begins a declaration.
    pub(super) fn skip_to_decl(&mut self) {
        while !(self.stopped() || (self.newline() && super::cursor::is_declaration_keyword(self.kind()))) {
            self.bump();
        }
        self.last_error = Some(self.pos);
    }

    /// The doc comment before the current token.
    pub(super) fn doc(&self) -> Option<Doc> {
        let end = self.raw(0).raw as usize;
        let start = match self.pos.checked_sub(1) {
            Some(before) => self.cursor[before].raw as usize + 1,
            None => 0,
        };
        let before = self.tokens.as_slice().get(start..end).unwrap_or_default();
        let mut lines = Vec::new();
        let mut span: Option<Span> = None;
        for token in before {
            match token.kind {
                TokenKind::DocComment => {
                    let line = self.text(token.span).strip_prefix("---").unwrap_or_default();
                    lines.push(line.strip_prefix(' ').unwrap_or(line).trim_end());
                    span = Some(span.map_or(token.span, |span| span.to(token.span)));
                }
                // A blank line or another comment between two doc comments: only the last one belongs here.
                TokenKind::Whitespace if self.text(token.span).matches('\n').count() < 2 => {}
                TokenKind::Whitespace if is_last(before, token.span) => {}
                _ => {
                    lines.clear();
                    span = None;
                }
            }
        }
        span.map(|span| Doc { text: lines.join("\n"), span })
    }
}

fn is_last(tokens: &[crate::syntax::token::Token], span: Span) -> bool {
    tokens.last().is_some_and(|token| token.span == span)
}

fn misplaced_header(span: Span, first: Option<Span>) -> Diagnostic {
    match first {
        Some(first) => Diagnostic::new(codes::MODULE_HEADER, "a file has one `module` header", span)
            .label(first, "the first one")
            .help("delete this one, or move what follows it to a file of its own"),
        None => Diagnostic::new(codes::MODULE_HEADER, "the `module` header stands at the head of the file", span)
            .help("move it before the imports and declarations"),
    }
}
