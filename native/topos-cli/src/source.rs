//! Source files and what was found in them.

use topos_lang::diagnostic::{Diagnostic, Span};

/// A file as the user knows it.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    /// As messages show it: relative to the working directory where that is shorter.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

impl Source {
    /// Line and column of a byte, both from 1; the column counts characters. A byte past the end is the end.
    pub(crate) fn position(&self, byte: u32) -> (usize, usize) {
        let before = &self.text[..self.boundary(byte)];
        let line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (line, before[start..].chars().count() + 1)
    }

    /// The span as a range of whole characters that lies inside the text, whatever the span says.
    pub(crate) fn range(&self, span: Span) -> std::ops::Range<usize> {
        let start = self.boundary(span.start);
        start..self.boundary(span.end).max(start)
    }

    /// The nearest character boundary at or before the byte.
    fn boundary(&self, byte: u32) -> usize {
        let mut at = usize::try_from(byte).unwrap_or(usize::MAX).min(self.text.len());
        while !self.text.is_char_boundary(at) {
            at -= 1;
        }
        at
    }
}

/// A source file and the mistakes in it.
#[derive(Clone, Debug)]
pub(crate) struct Findings {
    /// The file.
    pub(crate) source: Source,
    /// Its mistakes, in any order.
    pub(crate) diagnostics: Vec<Diagnostic>,
}

impl Findings {
    /// The mistakes by place, then code, each once.
    pub(crate) fn sorted(&self) -> Vec<&Diagnostic> {
        let mut sorted: Vec<&Diagnostic> = self.diagnostics.iter().collect();
        sorted.sort_by_key(|found| (found.primary.span, found.code));
        sorted.dedup();
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(text: &str) -> Source {
        Source { path: "a.topos".into(), text: text.into() }
    }

    #[test]
    fn positions_count_characters() {
        let source = source("é = 1\nb");
        assert_eq!(source.position(0), (1, 1));
        assert_eq!(source.position(2), (1, 2));
        assert_eq!(source.position(7), (2, 1));
        assert_eq!(source.position(999), (2, 2));
    }

    #[test]
    fn ranges_never_split_a_character_or_leave_the_text() {
        let source = source("é");
        assert_eq!(source.range(Span::new(1, 1)), 0..0);
        assert_eq!(source.range(Span::new(0, 9)), 0..2);
        assert_eq!(source.range(Span::new(9, 2)), 2..2);
    }
}
