//! Traits, instances and `impl`: declarations with members.

use super::{Delim, Members, Parser};
use crate::diagnostic::Span;
use crate::syntax::ast::{Constraint, FlowDecl, ImplDecl, InstanceDecl, Path, TraitDecl, TraitParam, TypeKind};
use crate::syntax::codes;
use crate::syntax::token::TokenKind;

impl Parser<'_> {
    pub(super) fn trait_decl(&mut self, start: Span) -> TraitDecl {
        let name = self.upper("the name of a trait");
        let mut params = Vec::new();
        loop {
            match self.kind() {
                TokenKind::Lower if !self.newline() => params.push(TraitParam { name: self.ident(), kind: None }),
                TokenKind::LParen if !self.newline() => {
                    let mut group = self.list(Delim::Paren, |parser| {
                        let name = parser.lower("a type variable");
                        let kind = if parser.eat(TokenKind::Colon) { Some(parser.kind_of_param()) } else { None };
                        TraitParam { name, kind }
                    });
                    params.append(&mut group);
                }
                _ => break,
            }
        }
        let extends = if self.eat(TokenKind::Extends) { self.context() } else { Vec::new() };
        let members = self.where_members(start, true, "trait T a where");
        TraitDecl { name, params, extends, members }
    }

    pub(super) fn instance(&mut self, start: Span) -> InstanceDecl {
        let mut context = Vec::new();
        let mut head = self.applied_type();
        if self.at(TokenKind::FatArrow) {
            self.bump();
            context = self.constraints(head);
            head = self.applied_type();
        }
        let span = head.span;
        let (trait_path, args) = match head.kind {
            TypeKind::Named { path, args } => (path, args),
            kind => {
                if !matches!(kind, TypeKind::Error) {
                    self.unexpected_help(codes::UNEXPECTED, "a trait", "write `instance Show Point where`");
                }
                (Path { segments: vec![self.no_name()], span }, Vec::new())
            }
        };
        if self.at(TokenKind::For) {
            self.error(
                codes::FOREIGN_SYNTAX,
                "an instance names its type without `for`",
                self.span(),
                "write `instance Show Point where`",
            );
            self.bump();
            self.applied_type();
        }
        let members = self.where_members(start, false, "instance T Point where");
        InstanceDecl { context, trait_path, args, members }
    }

    /// Constraints behind `extends`.
    fn context(&mut self) -> Vec<Constraint> {
        let mut all = Vec::new();
        loop {
            let ty = self.applied_type();
            all.append(&mut self.constraints(ty));
            if !self.eat(TokenKind::Comma) {
                return all;
            }
        }
    }

    /// `where` members `end`, or up to the next declaration.
    fn where_members(&mut self, start: Span, signatures: bool, form: &str) -> Vec<FlowDecl> {
        if !self.eat(TokenKind::Where) {
            self.unexpected_help(codes::UNEXPECTED, "`where`", &format!("write `{form}` and the members below it"));
            if self.at(TokenKind::LBrace) {
                self.skip_to_decl();
                return Vec::new();
            }
        }
        let braced = self.at(TokenKind::LBrace);
        if braced {
            self.error(
                codes::UNEXPECTED,
                "members stand below `where`, without braces",
                self.span(),
                &format!("write `{form}`, the members, and perhaps `end`"),
            );
            self.skip_to_decl();
            return Vec::new();
        }
        self.await_closer(Delim::End, start);
        let members = self.members(signatures);
        self.opens.pop();
        self.eat(TokenKind::End);
        members
    }

    pub(super) fn impl_decl(&mut self) -> ImplDecl {
        let name = self.path("a type");
        let params = self.lowers();
        if !self.at(TokenKind::LBrace) {
            let help = if self.at(TokenKind::For) {
                "an `impl` has no trait: write `instance Show Point where` and the members below it"
            } else {
                "write `impl T { member : A -> B = .. }`"
            };
            self.unexpected_help(codes::UNEXPECTED, "`{`", help);
            self.skip_to_decl();
            return ImplDecl { name, params, members: Vec::new() };
        }
        self.open(Delim::Block);
        let members = self.members(true);
        self.close();
        ImplDecl { name, params, members }
    }

    /// Members up to the closer of the innermost phrase, or a declaration.
    fn members(&mut self, signatures: bool) -> Vec<FlowDecl> {
        let mut members = Vec::new();
        self.members = Some(Members { column: self.raw(0).column, opens: self.opens.len(), signatures });
        loop {
            match self.kind() {
                TokenKind::Eof | TokenKind::RBrace | TokenKind::End => break,
                TokenKind::Comma => {
                    self.bump();
                }
                TokenKind::Flow | TokenKind::Lower => {
                    let doc = self.doc();
                    let start = self.span();
                    self.eat(TokenKind::Flow);
                    let before = self.pos;
                    members.push(self.flow(start, doc, false));
                    self.eat(TokenKind::Comma);
                    self.end_member(before);
                }
                _ => {
                    self.wrong(codes::UNEXPECTED, "a member", "a member is `name : Type` or `name x = ..`");
                    self.skip_line();
                }
            }
        }
        self.members = None;
        members
    }

    fn end_member(&mut self, before: usize) {
        let fits = self.stopped() || self.newline() || matches!(self.kind(), TokenKind::RBrace | TokenKind::End);
        if fits && self.pos > before && self.last_error != Some(self.pos) {
            return;
        }
        if !fits {
            self.unexpected(codes::STATEMENT_END, "a new line");
        }
        if !self.at_member(true) && !matches!(self.kind(), TokenKind::RBrace | TokenKind::End) {
            self.skip_line();
        }
    }
}
