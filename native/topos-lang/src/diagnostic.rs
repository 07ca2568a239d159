//! Diagnostics: what the compiler tells a user about a mistake.
//!
//! An error is a value with a stable code, a primary span, labels and a help line. Drawing it for a terminal is the
//! command line's work: a [`Diagnostic`] knows nothing of colours or files.

use std::{collections::HashMap, fmt, hash::Hash};

/// A half-open range of byte offsets into one source file.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// A span from `start` up to, not including, `end`.
    pub const fn new(start: u32, end: u32) -> Self {
        Self { start, end }
    }

    /// The smallest span that covers both.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

/// A stable error code: `TP0001` to `TP0999`. The run time's codes start at `TP1000`.
///
/// Ranges: 0001-0099 lexer and parser, 0100-0199 names and modules, 0200-0299 types, 0300-0399 effects and handlers,
/// 0400-0499 patterns, 0500-0599 traits, 0600-0699 sessions, 0900-0999 not supported yet.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Code(pub u16);

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TP{:04}", self.0)
    }
}

/// A place in the source with a remark.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Label {
    /// Where.
    pub span: Span,
    /// What is to be said about it; may be empty for the primary span.
    pub message: String,
}

/// One mistake of the user's program.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    /// The stable code.
    pub code: Code,
    /// One line, no trailing full stop: what is wrong.
    pub message: String,
    /// The place to look at first.
    pub primary: Label,
    /// Other places that matter, in the order in which they explain the mistake.
    pub secondary: Vec<Label>,
    /// How to mend it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// A diagnostic with its code, its message and its primary span.
    pub fn new(code: Code, message: impl Into<String>, span: Span) -> Self {
        Self {
            code,
            message: message.into(),
            primary: Label { span, message: String::new() },
            secondary: Vec::new(),
            help: None,
        }
    }

    /// Says what the primary span is.
    #[must_use]
    pub fn primary(mut self, message: impl Into<String>) -> Self {
        self.primary.message = message.into();
        self
    }

    /// Adds another place.
    #[must_use]
    pub fn label(mut self, span: Span, message: impl Into<String>) -> Self {
        self.secondary.push(Label { span, message: message.into() });
        self
    }

    /// Adds the help line.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// So many later places of a mistake are shown; of more, how many there are.
const SHOWN: usize = 3;

/// Joins the places of one mistake: the first stays its primary span, later ones become labels with that remark. Places are of one
/// mistake if code, message, help and what `same` answers are equal; where it answers nothing, and where a diagnostic has labels of
/// its own, it stays alone. The diagnostics keep their order.
pub(crate) fn join<K: Eq + Hash>(
    diagnostics: Vec<Diagnostic>,
    remark: &str,
    same: impl Fn(&Diagnostic) -> Option<K>,
) -> Vec<Diagnostic> {
    let mut first = HashMap::new();
    let mut joined: Vec<(Diagnostic, usize)> = Vec::new();
    for diagnostic in diagnostics {
        let alone = diagnostic.primary.message.is_empty() && diagnostic.secondary.is_empty();
        let Some(key) = alone.then(|| same(&diagnostic)).flatten() else {
            joined.push((diagnostic, 0));
            continue;
        };
        let key = (key, diagnostic.code, diagnostic.message.clone(), diagnostic.help.clone());
        let index = *first.entry(key).or_insert(joined.len());
        match joined.get_mut(index) {
            None => joined.push((diagnostic, 0)),
            Some((known, _)) if known.secondary.len() < SHOWN => {
                known.secondary.push(Label { span: diagnostic.primary.span, message: remark.to_owned() });
            }
            Some((_, hidden)) => *hidden += 1,
        }
    }
    let tell = |(mut diagnostic, hidden): (Diagnostic, usize)| {
        if let Some(last) = diagnostic.secondary.last_mut().filter(|_| hidden > 0) {
            let times = if hidden == 1 { "time" } else { "times" };
            last.message = format!("{remark}, and {hidden} more {times}");
        }
        diagnostic
    };
    joined.into_iter().map(tell).collect()
}
