//! Patterns.

use super::{Delim, Parser};
use crate::diagnostic::Span;
use crate::syntax::ast::{FieldPattern, Ident, Literal, Param, Pattern, PatternKind};
use crate::syntax::codes;
use crate::syntax::token::TokenKind;

const fn error(span: Span) -> Pattern {
    Pattern { kind: PatternKind::Error, span }
}

impl Parser<'_> {
    /// `p as x`, `h :: t`, `Some x`.
    pub(super) fn pattern(&mut self) -> Pattern {
        self.nested(error, |parser| {
            let start = parser.span();
            let mut pattern = parser.cons_pattern();
            while parser.at(TokenKind::As) && parser.link() {
                parser.bump();
                let name = parser.lower("a name for the whole pattern");
                let kind = PatternKind::As(Box::new(pattern), name);
                pattern = Pattern { kind, span: parser.since(start) };
            }
            pattern
        })
    }

    fn cons_pattern(&mut self) -> Pattern {
        let mut parts = vec![self.applied_pattern()];
        while self.at(TokenKind::ColonColon) && self.link() {
            self.bump();
            parts.push(self.applied_pattern());
        }
        let last = parts.pop().unwrap_or_else(|| error(self.nothing()));
        parts.into_iter().rev().fold(last, |tail, head| {
            let span = head.span.to(tail.span);
            Pattern { kind: PatternKind::Cons(Box::new(head), Box::new(tail)), span }
        })
    }

    /// A constructor with its fields by juxtaposition, or an atom.
    fn applied_pattern(&mut self) -> Pattern {
        let mut pattern = self.atom_pattern();
        let bare = self.previous().end == pattern.span.end && self.text(self.previous()) != ")";
        if let PatternKind::Constructor { args, .. } = &mut pattern.kind {
            if bare {
                while self.begins_pattern() && !self.newline() {
                    args.push(self.atom_pattern());
                }
                pattern.span = pattern.span.to(self.previous());
            }
        }
        pattern
    }

    /// Whether the current token begins an atomic pattern.
    pub(super) fn begins_pattern(&self) -> bool {
        use TokenKind as K;
        matches!(
            self.kind(),
            K::Lower
                | K::Upper
                | K::Underscore
                | K::Int
                | K::Float
                | K::Duration
                | K::Text
                | K::True
                | K::False
                | K::LParen
                | K::LBracket
                | K::LBrace
        )
    }

    /// A pattern that needs no parentheses as a parameter.
    pub(super) fn atom_pattern(&mut self) -> Pattern {
        let start = self.span();
        let kind = match self.kind() {
            TokenKind::Underscore => {
                self.bump();
                PatternKind::Wildcard
            }
            TokenKind::Lower => PatternKind::Var(self.ident()),
            TokenKind::Upper => return self.constructor_pattern(),
            TokenKind::LParen => return self.parenthesised_pattern(),
            TokenKind::LBracket => PatternKind::List(self.list_pattern()),
            TokenKind::LBrace => PatternKind::Record(self.list(Delim::Record, Self::field_pattern)),
            TokenKind::Minus if matches!(self.nth(1), TokenKind::Int | TokenKind::Float | TokenKind::Duration) => {
                self.bump();
                match self.literal() {
                    Some(Literal::Int(digits)) => PatternKind::Literal(Literal::Int(format!("-{digits}"))),
                    Some(Literal::Float(value)) => PatternKind::Literal(Literal::Float(-value)),
                    Some(Literal::Duration(value)) => PatternKind::Literal(Literal::Duration(-value)),
                    _ => PatternKind::Error,
                }
            }
            kind if kind.is_keyword()
                && !matches!(kind, TokenKind::True | TokenKind::False)
                && !self.newline()
                && !self.awaited(kind) =>
            {
                PatternKind::Var(self.keyword_as_name("the name of a variable"))
            }
            _ => match self.literal() {
                Some(literal) => PatternKind::Literal(literal),
                None if self.at(TokenKind::FormatStart) => {
                    let span = self.span();
                    self.error(
                        codes::EXPECTED_PATTERN,
                        "an f-string cannot be a pattern",
                        span,
                        "match a plain text, or bind a name and compare in a guard",
                    );
                    self.format_string();
                    PatternKind::Error
                }
                None => {
                    self.unexpected(codes::EXPECTED_PATTERN, "a pattern");
                    return error(self.nothing());
                }
            },
        };
        Pattern { kind, span: self.since(start) }
    }

    fn constructor_pattern(&mut self) -> Pattern {
        let path = self.path("a constructor");
        let start = path.span;
        let args = if self.at(TokenKind::LParen) && self.glued() {
            self.list(Delim::Paren, Self::pattern)
        } else {
            Vec::new()
        };
        Pattern { kind: PatternKind::Constructor { path, args }, span: self.since(start) }
    }

    /// `()`, `(p)`, `(p : T)`, `(p, q)`.
    fn parenthesised_pattern(&mut self) -> Pattern {
        let start = self.span();
        let mut parts = self.list(Delim::Paren, |parser| {
            let pattern = parser.pattern();
            if !parser.eat(TokenKind::Colon) {
                return pattern;
            }
            let ty = parser.ty();
            let span = pattern.span.to(ty.span);
            Pattern { kind: PatternKind::Annotated(Box::new(pattern), Box::new(ty)), span }
        });
        let span = self.since(start);
        let kind = match parts.len() {
            0 => PatternKind::Literal(Literal::Unit),
            1 => match parts.pop() {
                // The parentheses belong to it, so that nothing is applied to `(Some) x`.
                Some(pattern) => return Pattern { kind: pattern.kind, span },
                None => PatternKind::Error,
            },
            _ => PatternKind::Tuple(parts),
        };
        Pattern { kind, span }
    }

    fn list_pattern(&mut self) -> Vec<Pattern> {
        self.list(Delim::Bracket, |parser| {
            let pattern = parser.pattern();
            if parser.at(TokenKind::Bar) {
                parser.error(
                    codes::RECORD_FIELD,
                    "a list pattern has no `|`",
                    parser.span(),
                    "write `first :: rest` for a list with at least one element",
                );
                parser.bump();
                parser.pattern();
            }
            pattern
        })
    }

    /// `a: p`, `a = p`, `a`.
    fn field_pattern(&mut self) -> FieldPattern {
        let name = self.lower("the name of a field");
        let pattern =
            if self.eat(TokenKind::Colon) || self.eat(TokenKind::Eq) { self.pattern() } else { self.pun(&name) };
        FieldPattern { name, pattern }
    }

    fn pun(&self, name: &Ident) -> Pattern {
        let kind = if name.name.is_empty() { PatternKind::Error } else { PatternKind::Var(name.clone()) };
        Pattern { kind, span: name.span }
    }

    /// `(x : A, y)`, whose parenthesis is the current token.
    pub(super) fn params(&mut self) -> Vec<Param> {
        self.list(Delim::Paren, Self::param)
    }

    /// `(x : A)` if a parenthesis is the current token.
    pub(super) fn optional_params(&mut self) -> Option<Vec<Param>> {
        self.at(TokenKind::LParen).then(|| self.params())
    }

    fn param(&mut self) -> Param {
        let pattern = self.pattern();
        let ty = if self.eat(TokenKind::Colon) { Some(self.ty()) } else { None };
        let span = ty.as_ref().map_or(pattern.span, |ty| pattern.span.to(ty.span));
        Param { pattern, ty, span }
    }

    /// Alternatives and guards of an arm. With several scrutinees `p, q` is a tuple.
    pub(super) fn alternatives(&mut self) -> Vec<Pattern> {
        let mut patterns = vec![self.alternative()];
        while self.at(TokenKind::Bar) {
            self.bump();
            patterns.push(self.alternative());
        }
        patterns
    }

    fn alternative(&mut self) -> Pattern {
        let first = self.pattern();
        if !self.at(TokenKind::Comma) {
            return first;
        }
        let start = first.span;
        let mut parts = vec![first];
        while self.eat(TokenKind::Comma) {
            parts.push(self.pattern());
        }
        Pattern { kind: PatternKind::Tuple(parts), span: self.since(start) }
    }
}
