//! Diagnostics as plain text, for snapshots: the source line, carets below it, labels, help.

use std::fmt::Write;
use topos_lang::diagnostic::{Diagnostic, Label, Span};

/// All diagnostics of a source, one after the other.
pub(crate) fn render(source: &str, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        writeln!(out, "error[{}]: {}", diagnostic.code, diagnostic.message).expect("writing to a string");
        label(&mut out, source, &diagnostic.primary, '^');
        for secondary in &diagnostic.secondary {
            label(&mut out, source, secondary, '-');
        }
        if let Some(help) = &diagnostic.help {
            writeln!(out, "  help: {help}").expect("writing to a string");
        }
        out.push('\n');
    }
    out.trim_end().to_owned()
}

fn label(out: &mut String, source: &str, label: &Label, mark: char) {
    let Span { start, end } = label.span;
    let (start, end) = (start as usize, end as usize);
    assert!(start <= end && end <= source.len(), "span {start}..{end} lies outside of the source");
    let line_start = source[..start].rfind('\n').map_or(0, |at| at + 1);
    let line_end = source[start..].find('\n').map_or(source.len(), |at| start + at);
    let number = source[..start].matches('\n').count() + 1;
    let line = source[line_start..line_end].trim_end_matches('\r');
    let column = source[line_start..start].chars().count();
    let width = source[start..end.min(line_end).max(start)].chars().count().max(1);
    let marks: String = std::iter::repeat_n(mark, width).collect();
    writeln!(out, "{number:4} | {line}").expect("writing to a string");
    writeln!(out, "     | {:column$}{marks} {}", "", label.message).expect("writing to a string");
    let trimmed = out.trim_end().len();
    out.truncate(trimmed);
    out.push('\n');
}
