//! Byte offsets to lines and columns.

use std::cell::Cell;

use super::forms::Anno;
use crate::diagnostic::Span;

pub(super) struct Lines<'a> {
    source: &'a str,
    /// The offset at which each line begins.
    starts: Vec<usize>,
    /// The line of the last answer, from 1: most questions are about it again.
    last: Cell<usize>,
}

impl<'a> Lines<'a> {
    pub(super) fn new(source: &'a str) -> Self {
        let starts = std::iter::once(0).chain(source.match_indices('\n').map(|(i, _)| i + 1)).collect();
        Self { source, starts, last: Cell::new(1) }
    }

    /// The text of a span that ends on character boundaries; else nothing.
    pub(super) fn text(&self, span: Span) -> &str {
        self.source.get(span.start as usize..span.end as usize).unwrap_or_default()
    }

    /// The line and column of an offset, both from 1, the column in characters. An offset past the end, or inside a
    /// character, is taken as the nearest place before it.
    pub(super) fn place(&self, offset: u32) -> Anno {
        let mut offset = (offset as usize).min(self.source.len());
        while !self.source.is_char_boundary(offset) {
            offset -= 1;
        }
        let mut line = self.last.get();
        let within = |line: usize| self.starts[line - 1] <= offset && self.starts.get(line).is_none_or(|s| offset < *s);
        if !within(line) {
            line = self.starts.partition_point(|start| *start <= offset);
            self.last.set(line);
        }
        let start = self.starts[line - 1];
        let column = self.source[start..offset].chars().count() + 1;
        Anno { line: number(line), column: number(column) }
    }
}

fn number(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::Lines;
    use crate::emit::forms::Anno;

    #[test]
    fn offsets_become_lines_and_character_columns() {
        let lines = Lines::new("ab\nçd\n");
        let at = |offset| {
            let Anno { line, column } = lines.place(offset);
            (line, column)
        };
        assert_eq!([at(0), at(1), at(2)], [(1, 1), (1, 2), (1, 3)]);
        assert_eq!([at(3), at(4), at(5)], [(2, 1), (2, 1), (2, 2)], "4 is inside the ç");
        assert_eq!([at(7), at(99)], [(3, 1), (3, 1)]);
        assert_eq!((Lines::new("").place(0).line, Lines::new("").place(0).column), (1, 1));
    }
}
