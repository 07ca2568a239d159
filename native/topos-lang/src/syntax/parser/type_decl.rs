//! `type` and `shape`.

use super::{Delim, Parser};
use crate::syntax::ast::{Path, RecordField, TypeDecl, TypeDefinition, Variant, VariantField};
use crate::syntax::codes;
use crate::syntax::token::TokenKind;

impl Parser<'_> {
    pub(super) fn type_decl(&mut self, shape: bool) -> TypeDecl {
        let name = self.upper("the name of a type");
        let mut params = self.lowers();
        if self.at(TokenKind::LParen) || self.at(TokenKind::LBracket) || self.at(TokenKind::Less) {
            self.error(
                codes::UNEXPECTED,
                "the parameters of a type follow its name",
                self.span(),
                "write `type T a b = ..`",
            );
            self.skip(|parser| parser.at(TokenKind::Eq) || parser.newline());
            params.clear();
        }
        let mut context = Vec::new();
        let mut defined = self.eat(TokenKind::Eq);
        if self.eat(TokenKind::Colon) {
            let ty = self.applied_type();
            context = self.constraints(ty);
            if !self.eat(TokenKind::FatArrow) {
                self.unexpected_help(codes::UNEXPECTED, "`=>`", "write `type T a : C a => { .. }`");
            }
            defined = true;
        }
        let definition = if defined || (!self.newline() && !self.stopped()) || self.at(TokenKind::Bar) {
            self.definition(&name.name, shape)
        } else {
            TypeDefinition::Opaque
        };
        let deriving = self.deriving();
        TypeDecl { name, params, context, definition, deriving, shape }
    }

    fn definition(&mut self, name: &str, shape: bool) -> TypeDefinition {
        if self.at(TokenKind::LBrace) && !self.record_goes_on() {
            return TypeDefinition::Record(self.list(Delim::Record, Self::record_field));
        }
        let own = self.at(TokenKind::Upper) && (shape || self.text(self.span()) == name);
        if self.at(TokenKind::Bar) || own || self.alternatives_follow() {
            return TypeDefinition::Variants(self.variants());
        }
        if self.stopped() || (self.newline() && !self.begins_type()) {
            self.unexpected(codes::EXPECTED_TYPE, "the definition of the type");
            return TypeDefinition::Error;
        }
        let ty = self.ty();
        if matches!(ty.kind, crate::syntax::ast::TypeKind::Error) {
            return TypeDefinition::Error;
        }
        TypeDefinition::Alias(ty)
    }

    /// Whether an arrow or a slash follows the braces here, so that they are only a part of the type.
    fn record_goes_on(&self) -> bool {
        let (mut ahead, mut depth) = (0, 0_u32);
        loop {
            match self.nth(ahead) {
                TokenKind::Eof => return false,
                TokenKind::LBrace => depth += 1,
                TokenKind::RBrace => depth -= 1,
                _ => {}
            }
            ahead += 1;
            if depth == 0 {
                return matches!(self.nth(ahead), TokenKind::Arrow | TokenKind::Slash);
            }
        }
    }

    /// Whether a `|` follows in this declaration, outside of brackets.
    fn alternatives_follow(&self) -> bool {
        let (mut ahead, mut depth) = (0, 0_u32);
        loop {
            match self.nth(ahead) {
                TokenKind::Eof | TokenKind::Eq | TokenKind::Arrow if depth == 0 => return false,
                TokenKind::Eof => return false,
                TokenKind::Bar if depth == 0 => return true,
                TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace => depth += 1,
                TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace => depth = depth.saturating_sub(1),
                _ => {}
            }
            ahead += 1;
        }
    }

    fn record_field(&mut self) -> RecordField {
        let doc = self.doc();
        let name = self.lower("the name of a field");
        let start = name.span;
        if !self.eat(TokenKind::Colon) {
            self.unexpected(codes::UNEXPECTED, "`:` and the type of the field");
        }
        let ty = self.ty();
        let default = if self.eat(TokenKind::Eq) { Some(self.expr()) } else { None };
        RecordField { doc, name, ty, default, span: self.since(start) }
    }

    fn variants(&mut self) -> Vec<Variant> {
        let mut variants = Vec::new();
        let doc = self.doc();
        self.eat(TokenKind::Bar);
        variants.push(self.variant(doc));
        while self.at(TokenKind::Bar) {
            let doc = self.doc();
            self.bump();
            variants.push(self.variant(doc));
        }
        variants
    }

    fn variant(&mut self, doc: Option<crate::syntax::ast::Doc>) -> Variant {
        let name = self.upper("a constructor");
        let start = name.span;
        let mut fields = Vec::new();
        if self.at(TokenKind::LParen) && self.glued() {
            fields = self.list(Delim::Paren, |parser| {
                let name = (parser.at(TokenKind::Lower) && parser.nth(1) == TokenKind::Colon).then(|| {
                    let name = parser.ident();
                    parser.bump();
                    name
                });
                VariantField { name, ty: parser.ty() }
            });
        }
        while self.begins_type() && !self.newline() {
            fields.push(VariantField { name: None, ty: self.atom_type() });
        }
        Variant { doc, name, fields, span: self.since(start) }
    }

    /// `deriving [Show, Eq]`, if it is there.
    fn deriving(&mut self) -> Vec<Path> {
        if !self.at_word("deriving") {
            return Vec::new();
        }
        self.bump();
        if self.at(TokenKind::LBracket) {
            return self.list(Delim::Bracket, |parser| parser.path("a trait"));
        }
        self.unexpected_help(codes::UNEXPECTED, "`[`", "write `deriving [Show, Eq]`");
        if self.at(TokenKind::LParen) {
            self.list(Delim::Paren, |parser| parser.path("a trait"));
        } else {
            self.skip_line();
        }
        Vec::new()
    }
}
