//! Literals: from their spelling to their value.

use super::Parser;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast::{Expr, ExprKind, FormatPart, Literal, TextLiteral};
use crate::syntax::codes;
use crate::syntax::token::TokenKind;

impl Parser<'_> {
    /// The literal that the current token is, if it is one.
    pub(super) fn literal(&mut self) -> Option<Literal> {
        let span = self.span();
        let text = self.text(span);
        let literal = match self.kind() {
            TokenKind::Int => Literal::Int(self.digits(text)),
            TokenKind::Float => Literal::Float(self.digits(text).parse().unwrap_or(f64::NAN)),
            TokenKind::Duration => self.duration(text, span),
            TokenKind::Text => {
                let body = text.strip_prefix('"').unwrap_or(text);
                let body = if self.raw(1).after_lexical_error { body } else { body.strip_suffix('"').unwrap_or(body) };
                Literal::Text(self.unescape(body, span.start + 1, false))
            }
            TokenKind::True => Literal::Bool(true),
            TokenKind::False => Literal::Bool(false),
            _ => return None,
        };
        self.bump();
        Some(literal)
    }

    /// The digits of a number. Of a malformed one, which the lexer has reported, what can be read.
    fn digits(&self, text: &str) -> String {
        text.chars()
            .filter(|c| *c != '_')
            .take_while(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'))
            .collect()
    }

    fn duration(&mut self, text: &str, span: Span) -> Literal {
        let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
        let (digits, unit) = text.split_at(split);
        let scale = match unit {
            "ms" => 1,
            "s" => 1_000,
            "min" => 60_000,
            _ => 3_600_000,
        };
        let value = self.digits(digits).parse::<i64>().ok().and_then(|count| count.checked_mul(scale));
        if value.is_none() {
            self.emit_always(
                Diagnostic::new(codes::MALFORMED_NUMBER, format!("the duration `{text}` is too long"), span)
                    .help("a duration has at most 9223372036854775807 milliseconds"),
            );
        }
        Literal::Duration(value.unwrap_or(i64::MAX))
    }

    /// A text where the grammar wants nothing else: `what` is expected, and `help` says how it is written.
    pub(super) fn text_literal(&mut self, what: &str, help: &str) -> TextLiteral {
        let span = self.span();
        if self.at(TokenKind::Text) {
            if let Some(Literal::Text(value)) = self.literal() {
                return TextLiteral { value, span };
            }
        }
        self.unexpected_help(codes::UNEXPECTED, what, help);
        TextLiteral { value: String::new(), span: self.nothing() }
    }

    /// Replaces the escapes of a text whose first character stands at `offset`.
    fn unescape(&mut self, text: &str, offset: u32, format: bool) -> String {
        let mut value = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            let (plain, escape) = rest.split_at(at);
            value.push_str(plain);
            let mut chars = escape.chars();
            chars.next();
            let next = chars.next();
            let mut length = 1 + next.map_or(0, char::len_utf8);
            let replaced = match next {
                Some('n') => Some('\n'),
                Some('r') => Some('\r'),
                Some('t') => Some('\t'),
                Some(c @ ('\\' | '"')) => Some(c),
                Some(c @ ('{' | '}')) if format => Some(c),
                Some('u') => {
                    let digits =
                        chars.as_str().strip_prefix('{').and_then(|inner| inner.split_once('}')).map(|(hex, _)| hex);
                    length += digits.map_or(0, |hex| hex.len() + 2);
                    digits
                        .filter(|hex| (1..=6).contains(&hex.len()) && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
                        .and_then(|hex| u32::from_str_radix(hex, 16).ok())
                        .and_then(char::from_u32)
                }
                _ => None,
            };
            let (written, after) = escape.split_at(length);
            match replaced {
                Some(c) => value.push(c),
                None => {
                    let start = offset + u32::try_from(text.len() - rest.len() + at).unwrap_or(u32::MAX);
                    let span = Span::new(start, start + u32::try_from(written.len()).unwrap_or(u32::MAX));
                    let help = if next == Some('u') {
                        "write a Unicode scalar value as one to six hexadecimal digits in braces: `\\u{1F600}`"
                    } else if format {
                        "the escapes are `\\n`, `\\r`, `\\t`, `\\\\`, `\\\"`, `\\{`, `\\}` and `\\u{..}`"
                    } else {
                        "the escapes are `\\n`, `\\r`, `\\t`, `\\\\`, `\\\"` and `\\u{..}`"
                    };
                    self.emit_always(
                        Diagnostic::new(codes::UNKNOWN_ESCAPE, format!("`{written}` is not an escape"), span)
                            .help(help),
                    );
                    value.push_str(written);
                }
            }
            rest = after;
        }
        value.push_str(rest);
        value
    }

    /// `f".. {e} .."`; the current token is its start.
    pub(super) fn format_string(&mut self) -> Expr {
        let start = self.bump();
        let mut parts = Vec::new();
        loop {
            match self.kind() {
                TokenKind::FormatText => {
                    let span = self.bump();
                    let text = self.unescape(self.text(span), span.start, true);
                    parts.push(FormatPart::Text(text));
                }
                TokenKind::FormatOpen => parts.push(FormatPart::Expr(self.format_part())),
                TokenKind::FormatClose => {
                    // The line ended inside the f-string.
                    self.bump();
                }
                TokenKind::FormatEnd => {
                    self.bump();
                    break;
                }
                _ => break,
            }
        }
        Expr { kind: ExprKind::Format(parts), span: self.since(start) }
    }

    fn format_part(&mut self) -> Expr {
        let mode = std::mem::replace(&mut self.mode, super::Mode { newlines: false, braces: true });
        // Nothing outside of the f-string can end in it.
        let outer = std::mem::take(&mut self.opens);
        self.open(super::Delim::Format);
        let expr = self.expr();
        if !self.at(TokenKind::FormatClose) && !self.stopped() {
            let diagnostic = self.unexpected_diagnostic(codes::UNEXPECTED, "`}`");
            let here = self.pos;
            self.skip(|parser| matches!(parser.kind(), TokenKind::FormatText | TokenKind::FormatEnd));
            // Not if the f-string was not terminated, which explains everything.
            if self.at_empty_end() {
                self.last_error = Some(self.pos);
            } else if self.last_error != Some(here) {
                self.emit_always(diagnostic);
                self.last_error = Some(self.pos);
            }
        }
        self.close();
        self.opens = outer;
        self.mode = mode;
        expr
    }

    /// Whether the current token is the empty end that the lexer gives an f-string that was not terminated.
    fn at_empty_end(&self) -> bool {
        let span = self.span();
        span.start == span.end && !self.stopped()
    }
}
