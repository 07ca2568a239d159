//! Effects, handlers and actors.

use super::{decl, Delim, Mode, Parser};
use crate::syntax::ast::{
    ActorDecl, Block, ClauseHead, EffectDecl, Expr, ExprKind, HandlerClause, HandlerDecl, Operation, StateVar,
    TypeParam,
};
use crate::syntax::codes;
use crate::syntax::token::TokenKind;

/// What stands in the braces of a handler or an actor.
#[derive(Default)]
struct Items {
    states: Vec<StateVar>,
    clauses: Vec<HandlerClause>,
    arms: Vec<crate::syntax::ast::Arm>,
}

impl Parser<'_> {
    pub(super) fn effect(&mut self) -> EffectDecl {
        let keyword = self.previous();
        let what = "the name of an effect";
        let lower = self.at(TokenKind::Lower);
        let name = if lower { self.ident() } else { self.upper(what) };
        let params = if self.at(TokenKind::LBracket) {
            self.type_params()
        } else {
            let names = self.lowers();
            names.into_iter().map(|name| TypeParam { span: name.span, bounds: Vec::new(), name }).collect()
        };
        if lower && matches!(self.kind(), TokenKind::LBrace | TokenKind::Operation | TokenKind::End) {
            self.lower_case(what, name.span);
        }
        if self.at(TokenKind::LBrace) {
            self.open(Delim::Block);
        } else {
            if !self.at(TokenKind::Operation) && !self.at(TokenKind::End) {
                let shown = if name.name.is_empty() { "E".to_owned() } else { super::camel(&name.name) };
                let binder = if self.at(TokenKind::Less) { "[a]" } else { "" };
                let help = format!("write `effect {shown}{binder} {{ operation op(x : Int) : Text }}`");
                self.unexpected_help(codes::UNEXPECTED, "`{`", &help);
                // With a lower-case name, and without what opens it, this is another language's declaration: one mistake.
                self.lost |= lower;
                return EffectDecl { name, params, operations: Vec::new() };
            }
            self.await_closer(Delim::End, keyword);
        }
        let operations = self.operations();
        self.close();
        EffectDecl { name, params, operations }
    }

    fn operations(&mut self) -> Vec<Operation> {
        let mut operations = Vec::new();
        loop {
            match self.kind() {
                TokenKind::Operation => operations.push(self.operation()),
                TokenKind::Comma => {
                    self.bump();
                }
                TokenKind::Eof | TokenKind::RBrace => return operations,
                TokenKind::End if self.awaited(TokenKind::End) => return operations,
                _ => {
                    self.wrong(codes::UNEXPECTED, "`operation`", "write `operation op(x : Int) : Text`");
                    self.skip(|parser| parser.at(TokenKind::Operation));
                }
            }
        }
    }

    fn operation(&mut self) -> Operation {
        let doc = self.doc();
        let start = self.bump();
        let name = self.lower("the name of an operation");
        let type_params = self.type_params();
        let params = self.optional_params();
        let signature = if self.eat(TokenKind::Colon) { Some(self.signature()) } else { None };
        if !self.newline()
            && !self.stopped()
            && !matches!(self.kind(), TokenKind::RBrace | TokenKind::Comma | TokenKind::Operation | TokenKind::End)
        {
            self.unexpected(codes::STATEMENT_END, "a new line");
            self.skip_line();
        }
        Operation { doc, name, type_params, params, signature, span: self.since(start) }
    }

    pub(super) fn handler(&mut self) -> HandlerDecl {
        let name = self.lower("the name of a handler");
        let type_params = self.type_params();
        let params = self.optional_params();
        let effect = if self.eat(TokenKind::Colon) {
            self.handler_type()
        } else {
            self.unexpected_help(
                codes::HANDLER_TYPE,
                "`: Handler(..)`",
                "a handler says which effect it handles: `handler h : Handler(E) = { .. }`",
            );
            let name = self.no_name();
            let span = name.span;
            let path = crate::syntax::ast::Path { segments: vec![name], span };
            crate::syntax::ast::EffectRef { path, args: Vec::new(), span }
        };
        let row = self.row_after_slash();
        if !self.eat(TokenKind::Eq) {
            self.unexpected(codes::UNEXPECTED, "`=`");
        }
        let items = self.braced_items(false);
        HandlerDecl { name, type_params, params, effect, row, states: items.states, clauses: items.clauses }
    }

    pub(super) fn actor(&mut self) -> ActorDecl {
        let name = self.upper("the name of an actor");
        let type_params = self.type_params();
        let params = self.optional_params();
        let message = if self.eat(TokenKind::Colon) { Some(self.applied_type()) } else { None };
        let row = self.row_after_slash();
        self.expect(TokenKind::Eq);
        let items = self.braced_items(true);
        ActorDecl {
            name,
            type_params,
            params,
            message,
            row,
            states: items.states,
            clauses: items.clauses,
            arms: items.arms,
        }
    }

    fn braced_items(&mut self, arms: bool) -> Items {
        let mut items = Items::default();
        if !self.at(TokenKind::LBrace) {
            self.unexpected(codes::UNEXPECTED, "`{`");
            return items;
        }
        let mode = std::mem::replace(&mut self.mode, Mode { newlines: true, braces: true });
        self.open(Delim::Arms);
        self.items_of(&mut items, arms);
        self.close();
        self.mode = mode;
        items
    }

    /// Clauses of a `try`, up to the closer of the innermost phrase.
    pub(super) fn clauses(&mut self) -> Vec<HandlerClause> {
        let mode = std::mem::replace(&mut self.mode, Mode { newlines: true, braces: true });
        let mut items = Items::default();
        self.items_of(&mut items, false);
        self.mode = mode;
        items.clauses
    }

    fn items_of(&mut self, items: &mut Items, arms: bool) {
        loop {
            match self.kind() {
                TokenKind::Eof => return,
                _ if self.is_closer() && self.awaited(self.kind()) => return,
                TokenKind::Comma => {
                    self.bump();
                }
                TokenKind::Bar if arms => items.arms.push(self.arm()),
                TokenKind::Lower
                    if self.at_word("state") && matches!(self.nth(1), TokenKind::Lower | TokenKind::Upper) =>
                {
                    items.states.push(self.state_var());
                }
                TokenKind::Lower | TokenKind::Return => items.clauses.push(self.clause()),
                _ => {
                    let expected = if arms { "`state`, a clause or `|`" } else { "`state` or a clause" };
                    self.wrong(codes::UNEXPECTED, expected, "a clause is `operation(arguments) => body`");
                    self.skip_line();
                }
            }
        }
    }

    fn state_var(&mut self) -> StateVar {
        let start = self.bump();
        let name = self.lower("the name of a state variable");
        let ty = if self.eat(TokenKind::Colon) { Some(self.ty()) } else { None };
        let initial = if self.eat(TokenKind::Eq) {
            self.expr()
        } else {
            self.unexpected_help(codes::UNEXPECTED, "`=` and a first value", "write `state count : Int = 0`");
            Expr { kind: ExprKind::Error, span: self.nothing() }
        };
        self.end_item("write one state variable or clause a line");
        StateVar { name, ty, initial, span: self.since(start) }
    }

    fn clause(&mut self) -> HandlerClause {
        let unread = |span| HandlerClause {
            head: ClauseHead::Return(crate::syntax::ast::Pattern {
                kind: crate::syntax::ast::PatternKind::Error,
                span,
            }),
            body: Block { stmts: Vec::new(), span },
            span,
        };
        self.nested(unread, |parser| {
            let start = parser.span();
            let head = if parser.eat(TokenKind::Return) {
                ClauseHead::Return(parser.pattern())
            } else {
                parser.operation_head()
            };
            let body = parser.clause_body();
            HandlerClause { head, body, span: parser.since(start) }
        })
    }

    fn operation_head(&mut self) -> ClauseHead {
        let name = self.ident();
        let params = self.at(TokenKind::LParen).then(|| {
            self.list(Delim::Paren, |parser| {
                let pattern = parser.pattern();
                if parser.at(TokenKind::Colon) {
                    parser.error(
                        codes::UNEXPECTED,
                        "the parameters of a clause have no types",
                        parser.span(),
                        "the effect's `operation` gives them",
                    );
                    parser.bump();
                    parser.ty();
                }
                pattern
            })
        });
        ClauseHead::Operation { name, params }
    }

    fn clause_body(&mut self) -> Block {
        let nothing = self.nothing();
        if !self.eat(TokenKind::FatArrow) {
            let found = self.found();
            if matches!(self.kind(), TokenKind::Arrow | TokenKind::Eq | TokenKind::Colon | TokenKind::LBrace)
                && !self.newline()
            {
                let diagnostic_help = "write `operation(arguments) => body`";
                self.error(
                    codes::CLAUSE_ARROW,
                    format!("a clause has `=>` before its body, found {found}"),
                    self.span(),
                    diagnostic_help,
                );
                if !self.at(TokenKind::LBrace) {
                    self.bump();
                }
            } else {
                self.unexpected_help(codes::CLAUSE_ARROW, "`=>`", "a clause is `operation(arguments) => body`");
                self.skip_line();
                return Block { stmts: Vec::new(), span: nothing };
            }
        }
        if self.stopped() || self.is_closer() {
            self.unexpected_help(codes::MISSING_BODY, "a body", "`()` does nothing");
            return Block { stmts: Vec::new(), span: nothing };
        }
        self.body_brace = Some(self.pos);
        let stmt = self.stmt();
        let block = decl::unwrap_block(Block { span: stmt.span, stmts: vec![stmt] });
        self.end_item("put a body of several statements into braces: `operation(arguments) => { .. }`");
        block
    }

    /// After a state variable or a clause: the next item, or the end.
    fn end_item(&mut self, help: &str) {
        if self.stopped() || (self.is_closer() && self.awaited(self.kind())) || self.at(TokenKind::Comma) {
            return;
        }
        let item = match self.kind() {
            TokenKind::Lower => {
                self.at_word("state") || matches!(self.nth(1), TokenKind::FatArrow) || self.clause_follows()
            }
            TokenKind::Return | TokenKind::Bar => true,
            _ => false,
        };
        if item && self.newline() {
            return;
        }
        self.error(codes::STATEMENT_END, format!("the clause should end before {}", self.found()), self.span(), help);
        self.skip_to_item();
    }

    /// Whether `name(..) =>` stands here.
    fn clause_follows(&self) -> bool {
        let mut depth = 0_u32;
        for ahead in 1..512 {
            match self.nth(ahead) {
                TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace => depth += 1,
                TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace => match depth.checked_sub(1) {
                    // A clause that lacks its arrow says so itself, if nothing but a body can follow here.
                    Some(0) => {
                        return matches!(
                            self.nth(ahead + 1),
                            TokenKind::FatArrow | TokenKind::Arrow | TokenKind::Eq | TokenKind::LBrace
                        )
                    }
                    Some(less) => depth = less,
                    None => return false,
                },
                TokenKind::Eof => return false,
                _ if depth == 0 => return false,
                _ => {}
            }
        }
        false
    }

    fn skip_to_item(&mut self) {
        let start = self.pos;
        self.skip(|parser| {
            parser.pos > start
                && parser.newline()
                && ((parser.at(TokenKind::Lower) && (parser.at_word("state") || parser.clause_follows()))
                    || parser.at(TokenKind::Return))
        });
        self.last_error = Some(self.pos);
    }
}
