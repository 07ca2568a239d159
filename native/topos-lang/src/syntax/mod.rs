//! The front of the compiler: source text in, abstract syntax, tokens and diagnostics out.
//!
//! [`parse`] never fails and never panics. It reads a whole file whatever is in it, reports each mistake once, and
//! gives a tree with `Error` nodes where it had to guess. The tokens carry white space and comments, so the source can
//! be written again from them byte for byte.
//!
//! The lexer is one loop over the bytes; the parser is written by hand, recursive descent for everything but operators,
//! which are read with an operator stack. Both take time linear in the source; recursion is bounded by
//! [`Limits::max_depth`].

pub mod ast;
pub mod ast_expr;
pub mod ast_type;
pub mod codes;
mod lexer;
mod parser;
mod readable;
mod token;

pub use readable::{Readable, Rest};
pub use token::{Token, TokenKind, Tokens};

use crate::diagnostic::{join, Code, Diagnostic, Span};
use parser::damage::{self, Damage};

/// How deeply expressions, patterns, types and blocks may be nested, by default.
pub const MAX_DEPTH: u32 = 200;

/// What the parser refuses, so that no input can exhaust stack or memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limits {
    /// How deeply expressions, patterns, types and blocks may be nested; a chain of operators or of calls may have
    /// four times as many links. The parser and the passes behind it recurse as deeply: the default fits into a stack
    /// of 2 MiB.
    pub max_depth: u32,
    /// The largest source, in bytes; at most 4 GiB minus one byte whatever is written here.
    pub max_source_bytes: usize,
    /// How many diagnostics a file may have; one more says that there are others.
    pub max_diagnostics: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_depth: MAX_DEPTH, max_source_bytes: 8 << 20, max_diagnostics: 500 }
    }
}

/// What [`parse`] gives.
#[derive(Clone, Debug)]
pub struct Parse {
    /// The tree, whole even if there are diagnostics.
    pub module: ast::Module,
    /// All tokens with white space and comments.
    pub tokens: Tokens,
    /// In the order of the source; empty if and only if the source is a Topos module.
    pub diagnostics: Vec<Diagnostic>,
    /// What the errors left usable.
    damage: Option<Damage>,
}

/// Mistakes that are the same wherever they are made, if they get the same message.
const HABITS: [Code; 3] = [codes::UNKNOWN_CHARACTER, codes::BINDING_TARGET, codes::FOREIGN_SYNTAX];

/// Parses a module with the default [`Limits`].
pub fn parse(source: &str) -> Parse {
    parse_with(source, &Limits::default())
}

/// Parses a module.
pub fn parse_with(source: &str, limits: &Limits) -> Parse {
    if let Some(refused) = too_large(source.len(), limits.max_source_bytes) {
        return refused;
    }
    let (tokens, lexical) = lexer::lex(source);
    let parser::Parsed { module, mut diagnostics, mut commas } = parser::parse(source, &tokens, limits);
    commas.sort_by_key(|gap| gap.start);
    // A `;` for the comma between two fields is one mistake, not two.
    let is_told = |at: Span| {
        let after = commas.partition_point(|gap| gap.start <= at.start);
        after > 0 && at.end <= commas[after - 1].end
    };
    diagnostics.extend(lexical.into_iter().filter(|d| d.code != codes::UNKNOWN_CHARACTER || !is_told(d.primary.span)));
    diagnostics.sort_by_key(|diagnostic| (diagnostic.primary.span.start, diagnostic.code));
    let counted = !diagnostics.is_empty() && diagnostics.len() <= limits.max_diagnostics;
    let damage = if counted { damage::find(source, &tokens, &module, &diagnostics) } else { None };
    // Who ends lines with `;`, or binds with `const`, does it everywhere: that is one habit.
    let of_habit = |d: &Diagnostic| HABITS.contains(&d.code).then_some(());
    let mut diagnostics = join(diagnostics, "also here", of_habit);
    if diagnostics.len() > limits.max_diagnostics {
        diagnostics.truncate(limits.max_diagnostics);
        let last = diagnostics.last().map(|diagnostic| diagnostic.primary.span).unwrap_or_default();
        diagnostics.push(
            Diagnostic::new(codes::TOO_MANY_ERRORS, "there are more errors than are shown", last)
                .help("mend the first ones and run the compiler again"),
        );
    }
    crate::advice::complete(&mut diagnostics);
    Parse { module, tokens, diagnostics, damage }
}

/// The tokens of a source alone, with what is wrong with them: for tools that need no tree. They are those of
/// [`parse`], and a source of 4 GiB or more is refused as there.
pub fn tokenize(source: &str) -> (Tokens, Vec<Diagnostic>) {
    match too_large(source.len(), usize::MAX) {
        Some(refused) => (refused.tokens, refused.diagnostics),
        None => lexer::lex(source),
    }
}

/// Parses the bytes of a file with the default [`Limits`]. Bytes that are not UTF-8 are a diagnostic, and then the
/// module is empty.
pub fn parse_bytes(bytes: &[u8]) -> Parse {
    if let Some(refused) = too_large(bytes.len(), Limits::default().max_source_bytes) {
        return refused;
    }
    match std::str::from_utf8(bytes) {
        Ok(source) => parse(source),
        Err(error) => {
            let at = u32::try_from(error.valid_up_to()).unwrap_or(u32::MAX);
            let byte = bytes.get(error.valid_up_to()).copied().unwrap_or_default();
            refuse(
                bytes.len(),
                Diagnostic::new(codes::NOT_UTF8, "this file is not UTF-8", Span::new(at, at.saturating_add(1)))
                    .primary(format!("the byte 0x{byte:02X} at offset {at} does not belong here"))
                    .help("save the file as UTF-8"),
            )
        }
    }
}

fn too_large(length: usize, limit: usize) -> Option<Parse> {
    let limit = limit.min(u32::MAX as usize);
    (length > limit).then(|| {
        // Whoever read the file may have stopped behind the limit.
        let message = format!("this file has more than {limit} bytes");
        let diagnostic = Diagnostic::new(codes::TOO_LARGE, message, Span::new(0, 0));
        refuse(length, diagnostic.help("split the module into smaller ones"))
    })
}

/// The parse of a file that is not read at all: an empty module, and one token for all of it.
fn refuse(length: usize, diagnostic: Diagnostic) -> Parse {
    let span = Span::new(0, u32::try_from(length).unwrap_or(u32::MAX));
    Parse {
        module: ast::Module {
            doc: None,
            name: None,
            imports: Vec::new(),
            exports: Vec::new(),
            decls: Vec::new(),
            span,
        },
        tokens: Tokens { list: vec![Token { kind: TokenKind::Unknown, span }] },
        diagnostics: vec![diagnostic],
        damage: None,
    }
}
