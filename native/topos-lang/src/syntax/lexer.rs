//! The lexer: text in, tokens out. It never fails: what it cannot read becomes an [`TokenKind::Unknown`] token, a `;` between
//! elements the comma that was meant, with a diagnostic each, and reading goes on behind it. One pass, no recursion, a constant
//! amount of work a byte.

use super::codes;
use super::token::{Token, TokenKind, Tokens};
use crate::diagnostic::{Diagnostic, Span};

/// Reads all tokens of `source`, which is shorter than 4 GiB.
pub(crate) fn lex(source: &str) -> (Tokens, Vec<Diagnostic>) {
    let mut lexer = Lexer {
        source,
        bytes: source.as_bytes(),
        pos: 0,
        tokens: Vec::with_capacity(source.len() / 4),
        diagnostics: Vec::new(),
        formats: Vec::new(),
        open: Vec::new(),
    };
    lexer.run();
    (Tokens { list: lexer.tokens }, lexer.diagnostics)
}

/// An f-string that is being read.
struct Format {
    /// Where its `f"` stands.
    open: Span,
    /// Braces open in the expression that is being read.
    braces: u32,
}

struct Lexer<'s> {
    source: &'s str,
    bytes: &'s [u8],
    pos: usize,
    tokens: Vec<Token>,
    diagnostics: Vec<Diagnostic>,
    /// F-strings around the present position, the innermost last: the lexer stands in an expression of each.
    formats: Vec<Format>,
    /// Brackets that the declaration has opened and not closed.
    open: Vec<TokenKind>,
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'\''
}

impl<'s> Lexer<'s> {
    fn byte(&self, ahead: usize) -> u8 {
        self.bytes.get(self.pos + ahead).copied().unwrap_or(0)
    }

    fn span_from(&self, start: usize) -> Span {
        Span::new(offset(start), offset(self.pos))
    }

    fn push(&mut self, kind: TokenKind, start: usize) {
        let span = self.span_from(start);
        self.tokens.push(Token { kind, span });
        match kind {
            TokenKind::LParen | TokenKind::LBracket | TokenKind::LBrace => self.open.push(kind),
            TokenKind::RParen | TokenKind::RBracket | TokenKind::RBrace => drop(self.open.pop()),
            // What the declaration before forgot to close.
            _ if !kind.is_trivia() && (start == 0 || self.bytes[start - 1] == b'\n') => self.open.clear(),
            _ => {}
        }
    }

    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.bytes.get(self.pos).is_some_and(|byte| wanted(*byte)) {
            self.pos += 1;
        }
    }

    fn run(&mut self) {
        if self.source.starts_with('\u{feff}') {
            self.pos = '\u{feff}'.len_utf8();
            self.push(TokenKind::Whitespace, 0);
        }
        while self.pos < self.bytes.len() {
            self.token();
        }
        self.abandon_formats();
    }

    fn token(&mut self) {
        let start = self.pos;
        match self.byte(0) {
            b' ' | b'\t' | b'\r' | b'\n' => self.whitespace(),
            b'-' if self.byte(1) == b'-' => {
                let doc = self.byte(2) == b'-' && self.byte(3) != b'-';
                self.take_while(|byte| byte != b'\n');
                self.push(if doc { TokenKind::DocComment } else { TokenKind::Comment }, start);
            }
            b'{' if self.byte(1) == b'-' => self.block_comment(),
            b'f' if self.byte(1) == b'"' => {
                self.pos += 2;
                self.push(TokenKind::FormatStart, start);
                let open = self.span_from(start);
                self.formats.push(Format { open, braces: 0 });
                self.format_text();
            }
            b'"' => self.text(),
            b'a'..=b'z' | b'_' => {
                self.take_while(is_name_byte);
                let text = self.source.get(start..self.pos).unwrap_or_default();
                let kind = if text == "_" {
                    TokenKind::Underscore
                } else {
                    TokenKind::keyword(text).unwrap_or(TokenKind::Lower)
                };
                self.push(kind, start);
            }
            b'A'..=b'Z' => {
                self.take_while(is_name_byte);
                self.push(TokenKind::Upper, start);
            }
            b'0'..=b'9' => self.number(),
            _ => self.punctuation(),
        }
    }

    fn whitespace(&mut self) {
        let start = self.pos;
        if self.formats.is_empty() {
            self.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        } else {
            self.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r'));
            if self.pos == start {
                // An f-string ends on its line: a forgotten quote must not swallow the rest of the file.
                self.abandon_formats();
                return;
            }
        }
        self.push(TokenKind::Whitespace, start);
    }

    /// Closes all open f-strings with empty tokens, after one message about the outermost.
    fn abandon_formats(&mut self) {
        if let Some(outermost) = self.formats.first() {
            let here = self.span_from(self.pos);
            let diagnostic =
                Diagnostic::new(codes::UNTERMINATED_TEXT, "this f-string is not terminated", outermost.open)
                    .primary("it begins here")
                    .label(here, "and should have ended before this line does")
                    .help("close it with `\"`; write a line end inside a text as `\\n`");
            self.diagnostics.push(diagnostic);
        }
        while self.formats.pop().is_some() {
            self.push(TokenKind::FormatClose, self.pos);
            self.push(TokenKind::FormatEnd, self.pos);
        }
    }

    fn block_comment(&mut self) {
        let start = self.pos;
        let mut depth = 0_u32;
        while self.pos < self.bytes.len() {
            match (self.byte(0), self.byte(1)) {
                (b'{', b'-') => {
                    depth += 1;
                    self.pos += 2;
                }
                (b'-', b'}') => {
                    depth -= 1;
                    self.pos += 2;
                    if depth == 0 {
                        return self.push(TokenKind::BlockComment, start);
                    }
                }
                _ => self.pos += 1,
            }
        }
        self.push(TokenKind::BlockComment, start);
        let diagnostic = Diagnostic::new(
            codes::UNTERMINATED_COMMENT,
            "this comment is not terminated",
            Span::new(offset(start), offset(start + 2)),
        )
        .primary("it begins here and runs to the end of the file")
        .help("close it with `-}`; comments nest, so each `{-` needs its own");
        self.diagnostics.push(diagnostic);
    }

    /// `".."`, or as much as stands on the line.
    fn text(&mut self) {
        let start = self.pos;
        self.pos += 1;
        loop {
            match self.bytes.get(self.pos) {
                Some(b'"') => {
                    self.pos += 1;
                    self.push(TokenKind::Text, start);
                    return;
                }
                Some(b'\\') if self.bytes.get(self.pos + 1).is_some_and(|next| !matches!(next, b'\n' | b'\r')) => {
                    self.pos += 2;
                }
                None | Some(b'\n') => break,
                Some(_) => self.pos += 1,
            }
        }
        if self.bytes.get(self.pos.wrapping_sub(1)) == Some(&b'\r') {
            self.pos -= 1;
        }
        self.push(TokenKind::Text, start);
        if !self.formats.is_empty() {
            // The f-string around it ends on this line as well, and is what is reported.
            return;
        }
        let end = self.span_from(self.pos);
        let open = Span::new(offset(start), offset(start + 1));
        let diagnostic = Diagnostic::new(codes::UNTERMINATED_TEXT, "this text is not terminated", open)
            .primary("it begins here")
            .label(end, "and should have ended before this line does")
            .help("close it with `\"`; write a line end inside a text as `\\n`");
        self.diagnostics.push(diagnostic);
    }

    /// The text of an f-string up to its next expression or its end.
    fn format_text(&mut self) {
        let start = self.pos;
        loop {
            match self.bytes.get(self.pos) {
                Some(b'\\') if self.bytes.get(self.pos + 1).is_some_and(|next| !matches!(next, b'\n' | b'\r')) => {
                    self.pos += 2;
                }
                None | Some(b'\n' | b'"' | b'{') => break,
                Some(_) => self.pos += 1,
            }
        }
        if self.pos > start {
            self.push(TokenKind::FormatText, start);
        }
        let at = self.pos;
        match self.bytes.get(self.pos) {
            Some(b'"') => {
                self.pos += 1;
                self.formats.pop();
                self.push(TokenKind::FormatEnd, at);
            }
            Some(b'{') => {
                self.pos += 1;
                self.push(TokenKind::FormatOpen, at);
            }
            // The line or the file ends: `whitespace` or `run` says so.
            _ => {}
        }
    }

    fn number(&mut self) {
        let start = self.pos;
        let digit = |byte: u8| byte.is_ascii_digit() || byte == b'_';
        self.take_while(digit);
        let mut kind = TokenKind::Int;
        if self.byte(0) == b'.' && self.byte(1).is_ascii_digit() {
            kind = TokenKind::Float;
            self.pos += 1;
            self.take_while(digit);
        }
        if matches!(self.byte(0), b'e' | b'E') {
            let sign = usize::from(matches!(self.byte(1), b'+' | b'-'));
            if self.byte(1 + sign).is_ascii_digit() {
                kind = TokenKind::Float;
                self.pos += 1 + sign;
                self.take_while(digit);
            }
        }
        let suffix_start = self.pos;
        self.take_while(is_name_byte);
        let suffix = self.source.get(suffix_start..self.pos).unwrap_or_default();
        if !suffix.is_empty() {
            let duration = matches!(suffix, "ms" | "s" | "min" | "h");
            if !(duration && kind == TokenKind::Int) {
                let text = self.source.get(start..self.pos).unwrap_or_default();
                let help = if duration {
                    "a duration is a whole number: write `1500ms` for `1.5s`".to_owned()
                } else if suffix.starts_with(['x', 'b', 'o']) && text.starts_with('0') {
                    "numbers are written in decimal".to_owned()
                } else {
                    "durations end in `ms`, `s`, `min` or `h`; a name cannot begin with a digit".to_owned()
                };
                let diagnostic = Diagnostic::new(
                    codes::MALFORMED_NUMBER,
                    format!("`{text}` is not a number"),
                    self.span_from(start),
                )
                .primary(format!("`{suffix}` cannot follow the digits here"))
                .help(help);
                self.diagnostics.push(diagnostic);
                kind = TokenKind::Int;
            } else {
                kind = TokenKind::Duration;
            }
        }
        self.push(kind, start);
    }

    fn punctuation(&mut self) {
        use TokenKind as K;
        let start = self.pos;
        let (kind, length) = match (self.byte(0), self.byte(1), self.byte(2)) {
            (b'=', b'=', b'=') => (K::EqEqEq, 3),
            (b'!', b'=', b'=') => (K::NotEqEq, 3),
            (b'=', b'=', _) => (K::EqEq, 2),
            (b'=', b'>', _) => (K::FatArrow, 2),
            (b'!', b'=', _) | (b'/', b'=', _) => (K::NotEq, 2),
            (b':', b':', _) => (K::ColonColon, 2),
            (b':', b'=', _) => (K::ColonEq, 2),
            (b'<', b'-', _) => (K::LeftArrow, 2),
            (b'<', b'=', _) => (K::LessEq, 2),
            (b'<', b'>', _) => (K::Diamond, 2),
            (b'>', b'=', _) => (K::GreaterEq, 2),
            (b'-', b'>', _) => (K::Arrow, 2),
            (b'|', b'|', _) => (K::BarBar, 2),
            (b'|', b'>', _) => (K::Pipe, 2),
            (b'&', b'&', _) => (K::AndAnd, 2),
            (b'+', b'+', _) => (K::PlusPlus, 2),
            (b'/', b'/' | b'*', _) | (b'#', ..) => return self.foreign_comment(),
            (b'(', ..) => (K::LParen, 1),
            (b')', ..) => (K::RParen, 1),
            (b'[', ..) => (K::LBracket, 1),
            (b']', ..) => (K::RBracket, 1),
            (b'{', ..) => {
                if let Some(format) = self.formats.last_mut() {
                    format.braces += 1;
                }
                (K::LBrace, 1)
            }
            (b'}', ..) => match self.formats.last_mut() {
                Some(format) if format.braces == 0 => {
                    self.pos += 1;
                    self.push(K::FormatClose, start);
                    return self.format_text();
                }
                Some(format) => {
                    format.braces -= 1;
                    (K::RBrace, 1)
                }
                None => (K::RBrace, 1),
            },
            (b',', ..) => (K::Comma, 1),
            (b'.', ..) => (K::Dot, 1),
            (b':', ..) if self.at_format_specification() => return self.format_specification(),
            (b':', ..) => (K::Colon, 1),
            (b'=', ..) => (K::Eq, 1),
            (b'!', ..) => (K::Bang, 1),
            (b'?', ..) => (K::Question, 1),
            (b'@', ..) => (K::At, 1),
            (b'<', ..) => (K::Less, 1),
            (b'>', ..) => (K::Greater, 1),
            (b'|', ..) => (K::Bar, 1),
            (b'+', ..) => (K::Plus, 1),
            (b'-', ..) => (K::Minus, 1),
            (b'*', ..) => (K::Star, 1),
            (b'/', ..) => (K::Slash, 1),
            (b'%', ..) => (K::Percent, 1),
            (b'\\', ..) => (K::Backslash, 1),
            _ => return self.unknown(),
        };
        self.pos += length;
        self.push(kind, start);
    }

    /// `//`, `/*` and `#`: the rest of the line is passed over, as its author meant it to be.
    fn foreign_comment(&mut self) {
        let start = self.pos;
        let marker = if self.byte(0) == b'#' { 1 } else { 2 };
        self.pos += marker;
        let span = self.span_from(start);
        let text = self.source.get(start..self.pos).unwrap_or_default();
        let help = if self.byte(0) == b'[' && text == "#" {
            "there are no attributes; `deriving [Eq, Show]` stands behind a type"
        } else {
            "comments begin with `--` and run to the end of the line, or stand between `{-` and `-}`"
        };
        let diagnostic =
            Diagnostic::new(codes::FOREIGN_COMMENT, format!("`{text}` does not begin a comment"), span).help(help);
        self.diagnostics.push(diagnostic);
        self.take_while(|byte| byte != b'\n');
        self.push(TokenKind::Unknown, start);
    }

    /// Whether this `:` begins what other languages write behind a value in a text: `{price:.2f}`.
    fn at_format_specification(&self) -> bool {
        let rest = self.source.get(self.pos + 1..).unwrap_or_default();
        let length =
            rest.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || b".,+-<>^%_".contains(byte)).count();
        self.formats.last().is_some_and(|format| format.braces == 0)
            && length > 0
            && rest.as_bytes().get(length) == Some(&b'}')
    }

    fn format_specification(&mut self) {
        let start = self.pos;
        self.take_while(|byte| byte != b'}');
        self.push(TokenKind::Unknown, start);
        let diagnostic =
            Diagnostic::new(codes::FOREIGN_SYNTAX, "a value in a text has no format behind it", self.span_from(start))
                .help("write `{x}` alone; what is to be shown otherwise is made a text of its own before");
        self.diagnostics.push(diagnostic);
    }

    /// A run of characters that mean nothing in Topos: one token and one message.
    fn unknown(&mut self) {
        let start = self.pos;
        let first = self.source.get(start..).and_then(|rest| rest.chars().next()).unwrap_or('\0');
        let same_kind = |c: char| {
            if first.is_alphabetic() {
                c.is_alphanumeric() || c == '_' || c == '\''
            } else {
                c == first
            }
        };
        let rest = self.source.get(start..).unwrap_or_default();
        let operator = backquoted(rest);
        self.pos += operator.map_or_else(
            || rest.chars().take_while(|c| same_kind(*c)).map(char::len_utf8).sum::<usize>(),
            |name| name.len() + 2,
        );
        if let Some(close) = closing_quote(first).filter(|_| operator.is_none()) {
            // The quoted text is passed over with its quotes.
            let line = self.source.get(self.pos..).and_then(|rest| rest.lines().next()).unwrap_or_default();
            self.pos += line.find(close).map_or(0, |at| at + close.len_utf8());
        }
        // Between two elements on a line it is the comma that was meant.
        let divides = first == ';'
            && matches!(self.open.last(), Some(TokenKind::LParen | TokenKind::LBracket))
            && !ends_line(self.source, self.pos);
        self.push(if divides { TokenKind::Comma } else { TokenKind::Unknown }, start);
        let next = self.byte(0);
        let help = match first {
            ';' if divides => Some("elements are divided by commas"),
            ';' => Some("statements are separated by line ends"),
            '`' if operator.is_some() => Some("a function stands before its arguments: `f(a, b)`"),
            '$' => Some("arguments stand in parentheses, `f(g(x))`; or begin with the value: `x |> g |> f`"),
            '&' if self.pos == start + 1 && (next.is_ascii_alphabetic() || next == b'_') => {
                Some("there are no references: write the value itself; `and` is written `&&`")
            }
            '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{ab}' | '\u{bb}' => {
                Some("texts are written between straight quotes: `\"..\"`")
            }
            '`' => Some("texts are written between double quotes, `\"..\"`; an f-string shows values: `f\"{name}\"`"),
            '\'' | '\u{2018}' | '\u{2019}' => Some("texts are written between double quotes: `\"..\"`"),
            '&' => Some("`and` is written `&&`"),
            '\u{a0}' | '\u{2003}' | '\u{200b}' => {
                Some("this looks like a blank but is another character; type a blank instead")
            }
            '\u{2192}' => Some("an arrow is written `->`"),
            c if c.is_alphabetic() => Some("names are made of the letters a to z, digits, `_` and `'`"),
            _ => None,
        };
        let name = if first.is_control() || first.is_whitespace() || first == '\u{200b}' {
            format!("the character U+{:04X}", u32::from(first))
        } else {
            format!("`{first}`")
        };
        let mut diagnostic =
            Diagnostic::new(codes::UNKNOWN_CHARACTER, format!("{name} has no meaning here"), self.span_from(start));
        if let Some(help) = help {
            diagnostic = diagnostic.help(help);
        }
        self.diagnostics.push(diagnostic);
    }
}

/// Whether nothing but a comment follows on the line. Looks no further than what stands next on it.
pub(super) fn ends_line(source: &str, position: usize) -> bool {
    let rest = source.get(position..).unwrap_or_default().trim_start_matches([' ', '\t', '\r']);
    rest.is_empty() || rest.starts_with('\n') || rest.starts_with("--")
}

/// The name between two backquotes, as other languages make an operator of a function.
fn backquoted(rest: &str) -> Option<&str> {
    let name = rest.strip_prefix('`')?.split('`').next()?;
    let closed = rest.as_bytes().get(name.len() + 1) == Some(&b'`');
    (closed && !name.is_empty() && name.bytes().all(|byte| is_name_byte(byte) || byte == b'.')).then_some(name)
}

/// What closes a typographic quote.
const fn closing_quote(open: char) -> Option<char> {
    match open {
        '\u{201c}' | '\u{201e}' => Some('\u{201d}'),
        '\u{ab}' => Some('\u{bb}'),
        '\u{2018}' => Some('\u{2019}'),
        '`' => Some('`'),
        _ => None,
    }
}

/// An offset of a source that is shorter than 4 GiB, which [`super::parse`] makes sure of.
fn offset(position: usize) -> u32 {
    u32::try_from(position).unwrap_or(u32::MAX)
}
