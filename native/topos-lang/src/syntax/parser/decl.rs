//! Declarations: which one it is, flows, and the short ones.

use super::{cursor, Delim, Parser};
use crate::diagnostic::Span;
use crate::syntax::ast::{
    Block, ConfigDecl, Decl, DeclKind, Doc, Expr, ExprKind, ExternFlowDecl, ExternHandlerDecl, FlowDecl, FlowHead,
    StmtKind, SupervisorDecl, TestDecl,
};
use crate::syntax::codes;
use crate::syntax::token::TokenKind;

impl Parser<'_> {
    pub(super) fn decl(&mut self) -> Decl {
        let doc = self.doc();
        let start = self.span();
        let private = (self.raw(0).kind == TokenKind::Private).then(|| self.bump_declaration());
        let kind = self.decl_kind();
        if !matches!(kind, DeclKind::Error) {
            self.end_of_decl();
        }
        Decl { doc, private, kind, span: self.since(start) }
    }

    /// What is left of a declaration that has been read: nothing, or a stray closer, or a mistake.
    fn end_of_decl(&mut self) {
        if self.stopped() || (self.newline() && cursor::is_declaration_keyword(self.kind())) {
            return;
        }
        if self.last_error == Some(self.pos) {
            self.skip_to_decl();
            return;
        }
        let here = self.pos;
        let begins = cursor::begins_declaration(self.source, &self.cursor[here..]);
        if self.newline() && begins {
            return;
        }
        if matches!(self.kind(), TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace | TokenKind::End) {
            self.report_stray();
            return self.end_of_decl_quietly();
        }
        if !self.newline() {
            self.unexpected(codes::STATEMENT_END, "the end of the declaration");
            self.skip_to_decl();
        }
    }

    /// One stray closer has been reported; more of them on its line are the same mistake.
    fn end_of_decl_quietly(&mut self) {
        while !self.stopped() && !self.newline() {
            self.bump();
        }
    }

    fn decl_kind(&mut self) -> DeclKind {
        let token = self.raw(0);
        let text = self.text(token.span);
        match token.kind {
            TokenKind::Flow => {
                let start = self.bump_declaration();
                DeclKind::Flow(self.flow(start, None, true))
            }
            TokenKind::Shape => {
                self.bump_declaration();
                DeclKind::Type(self.type_decl(true))
            }
            TokenKind::Effect => {
                self.bump_declaration();
                DeclKind::Effect(self.effect())
            }
            TokenKind::Trait => {
                let start = self.bump_declaration();
                DeclKind::Trait(self.trait_decl(start))
            }
            TokenKind::Actor => {
                self.bump_declaration();
                DeclKind::Actor(self.actor())
            }
            TokenKind::Supervisor => {
                self.bump_declaration();
                self.supervisor()
            }
            TokenKind::Lower if cursor::begins_declaration(self.source, &self.cursor[self.pos..]) => {
                if token.column != 0 && token.newline {
                    self.error(
                        codes::DECLARATION_COLUMN,
                        format!("a `{text}` declaration begins in column 1"),
                        token.span,
                        "move it to the left margin",
                    );
                }
                self.bump_declaration();
                self.contextual(text)
            }
            _ => self.not_a_declaration(),
        }
    }

    /// A declaration whose keyword is a name elsewhere; it has been passed over.
    fn contextual(&mut self, keyword: &str) -> DeclKind {
        match keyword {
            "type" => DeclKind::Type(self.type_decl(false)),
            "handler" => DeclKind::Handler(self.handler()),
            "config" => self.config(),
            "instance" => {
                let start = self.previous();
                DeclKind::Instance(self.instance(start))
            }
            "impl" => DeclKind::Impl(self.impl_decl()),
            "session" => DeclKind::Session(self.session()),
            "protocol" => DeclKind::Protocol(self.protocol()),
            "test" => DeclKind::Test(self.test()),
            "property" => DeclKind::Property(self.test()),
            _ => self.extern_decl(),
        }
    }

    fn not_a_declaration(&mut self) -> DeclKind {
        let token = self.raw(0);
        let help = self.foreign_declaration();
        if matches!(token.kind, TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace | TokenKind::End) {
            self.report_stray();
            self.end_of_decl_quietly();
            return DeclKind::Error;
        }
        let found = self.found();
        self.error(codes::NOT_A_DECLARATION, format!("expected a declaration, found {found}"), token.span, help);
        self.bump_declaration();
        self.skip_to_decl();
        DeclKind::Error
    }

    /// A flow or a member behind its keyword. `definition` says which of the two a message shows.
    pub(super) fn flow(&mut self, start: Span, doc: Option<Doc>, definition: bool) -> FlowDecl {
        let name = self.lower("the name of a flow");
        let typed =
            self.at(TokenKind::LParen) && self.nth(1) == TokenKind::Lower && matches!(self.nth(2), TokenKind::Colon);
        let head = match self.kind() {
            TokenKind::Colon => FlowHead::Signature,
            TokenKind::LParen if self.glued() || typed => FlowHead::Params(self.params()),
            _ => {
                let mut patterns = Vec::new();
                while self.begins_pattern() && !self.newline() {
                    patterns.push(self.atom_pattern());
                }
                FlowHead::Patterns(patterns)
            }
        };
        let signature = if self.at(TokenKind::Colon) {
            self.bump();
            Some(self.signature())
        } else {
            None
        };
        let guards = self.guards(false);
        let body = if self.at(TokenKind::Eq) {
            self.bump();
            Some(self.body())
        } else {
            let wrong =
                matches!(self.kind(), TokenKind::Arrow | TokenKind::FatArrow | TokenKind::ColonEq | TokenKind::LBrace);
            if signature.is_none() || (wrong && !self.newline()) {
                let result = self.at(TokenKind::Arrow) && matches!(head, FlowHead::Params(_));
                let help = if result {
                    "the body follows `=`, the type of the result a colon: `flow f(x : A) : B = ..`"
                } else if definition {
                    "write `flow f(x) = ..`"
                } else {
                    "write `name x = ..` or `name : Type`"
                };
                let expected = if signature.is_none() { "`=` or `:`" } else { "`=`" };
                self.unexpected_help(codes::UNEXPECTED, expected, help);
                self.skip_bad_body();
            }
            None
        };
        FlowDecl { doc, name, head, signature, guards, body, span: self.since(start) }
    }

    /// After a missing `=`: what was meant as the body is read for its own mistakes.
    fn skip_bad_body(&mut self) {
        match self.kind() {
            TokenKind::Arrow | TokenKind::FatArrow | TokenKind::ColonEq if !self.on_line(TokenKind::Eq) => {
                self.bump();
                self.stmts();
            }
            TokenKind::LBrace => {
                self.block(Delim::Block);
            }
            _ => {
                self.skip(|parser| parser.at(TokenKind::Eq) || parser.newline());
                if self.eat(TokenKind::Eq) {
                    self.stmts();
                }
            }
        }
    }

    /// The body of a flow: statements, or a block in braces.
    pub(super) fn body(&mut self) -> Block {
        self.body_brace = Some(self.pos);
        let block = self.stmts();
        if block.stmts.is_empty() {
            self.unexpected_help(codes::MISSING_BODY, "a body", "`()` does nothing");
        }
        unwrap_block(block)
    }

    fn config(&mut self) -> DeclKind {
        let name = self.lower("the name of a configuration");
        let ty = if self.eat(TokenKind::Colon) { Some(self.ty()) } else { None };
        self.expect(TokenKind::Eq);
        let value = self.value();
        DeclKind::Config(ConfigDecl { name, ty, value })
    }

    /// An expression that a declaration ends with.
    fn value(&mut self) -> Expr {
        if self.last_error == Some(self.pos) {
            return Expr { kind: ExprKind::Error, span: self.nothing() };
        }
        self.expr()
    }

    fn supervisor(&mut self) -> DeclKind {
        let name = self.upper("the name of a supervisor");
        let params = self.optional_params();
        let ty = if self.eat(TokenKind::Colon) { Some(self.applied_type()) } else { None };
        let row = self.row_after_slash();
        self.expect(TokenKind::Eq);
        let value = self.value();
        DeclKind::Supervisor(SupervisorDecl { name, params, ty, row, value })
    }

    fn test(&mut self) -> TestDecl {
        let name = self.text_literal("the name of the test", "say what holds: `test \"the order is kept\" { .. }`");
        let body = self.block(Delim::Block);
        TestDecl { name, body }
    }

    fn extern_decl(&mut self) -> DeclKind {
        if self.at(TokenKind::Flow) {
            self.bump();
            let name = self.lower("the name of a flow");
            if !self.eat(TokenKind::Colon) {
                self.unexpected_help(
                    codes::UNEXPECTED,
                    "`:` and a type",
                    "write `extern flow f : A -> B / {IO} = \"module:function\"`",
                );
            }
            let signature = self.signature();
            let target = self.extern_target("\"module:function\"");
            return DeclKind::ExternFlow(ExternFlowDecl { name, signature, target });
        }
        if self.at_word("handler") {
            self.bump();
            let name = self.lower("the name of a handler");
            let params = self.optional_params();
            if !self.eat(TokenKind::Colon) {
                self.unexpected_help(codes::HANDLER_TYPE, "`: Handler(..)`", "a handler says which effect it handles");
            }
            let effect = self.handler_type();
            let row = self.row_after_slash();
            let target = self.extern_target("\"module\"");
            return DeclKind::ExternHandler(ExternHandlerDecl { name, params, effect, row, target });
        }
        self.unexpected_help(
            codes::UNEXPECTED,
            "`flow` or `handler` after `extern`",
            "flows and handlers can be written in Erlang",
        );
        self.skip_to_decl();
        DeclKind::Error
    }

    fn extern_target(&mut self, form: &str) -> crate::syntax::ast::TextLiteral {
        if !self.eat(TokenKind::Eq) {
            self.unexpected_help(codes::UNEXPECTED, "`=` and a text", &format!("name the Erlang side: `= {form}`"));
            return crate::syntax::ast::TextLiteral { value: String::new(), span: self.nothing() };
        }
        self.text_literal(form, "name the Erlang side in a text")
    }
}

/// A block that consists of a block in braces is that block.
pub(super) fn unwrap_block(mut block: Block) -> Block {
    if block.stmts.len() > 1 {
        return block;
    }
    match block.stmts.pop() {
        Some(stmt) => match stmt.kind {
            StmtKind::Expr(Expr { kind: ExprKind::Do(inner), span }) if inner.span == span => inner,
            kind => {
                block.stmts.push(crate::syntax::ast::Stmt { kind, span: stmt.span });
                block
            }
        },
        None => block,
    }
}
