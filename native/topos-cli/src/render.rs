//! Draws diagnostics for people: one block an error, with the source it is about, in the manner of rustc.

use std::ops::Range;

use annotate_snippets::{renderer::DecorStyle, AnnotationKind, Level, Renderer, Snippet};
use topos_lang::diagnostic::Diagnostic;

use crate::source::{Findings, Source};

/// Widest line that is drawn; longer source lines are cut around the label.
const WIDTH: usize = 140;

/// A longer line, in bytes, is not drawn as a whole: to look for what fits takes time in proportion to it.
const LONGEST_LINE: usize = 4_000;

/// How many bytes of it are drawn on each side of the mistake.
const AROUND: usize = 60;

/// How a diagnostic is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Text alone.
    Plain,
    /// With ANSI colours.
    Coloured,
}

/// All findings, file by file in the given order, and a last line that counts them. Empty if nothing was found.
pub(crate) fn findings(all: &[Findings], style: Style) -> String {
    let mut out = String::new();
    for found in all {
        for diagnostic in found.sorted() {
            out.push_str(&draw(&found.source, diagnostic, style));
            out.push_str("\n\n");
        }
    }
    if let Some(summary) = summary(all) {
        out.push_str(&headline(&summary, style));
        out.push('\n');
    }
    out
}

/// An error that is about no source file: `error[TP0301]: message` and a help line.
pub(crate) fn plain_error(code: Option<&str>, message: &str, help: Option<&str>, style: Style) -> String {
    let title = Level::ERROR.primary_title(message);
    let group = match code {
        Some(code) => title.id(code).elements(help.map(|text| Level::HELP.message(text))),
        None => title.elements(help.map(|text| Level::HELP.message(text))),
    };
    renderer(style).render(&[group])
}

/// `3 errors in 2 files`; nothing for no errors.
pub(crate) fn summary(all: &[Findings]) -> Option<String> {
    let counts: Vec<usize> = all.iter().map(|found| found.sorted().len()).filter(|&count| count > 0).collect();
    let errors: usize = counts.iter().sum();
    (errors > 0).then(|| format!("{} in {}", plural(errors, "error"), plural(counts.len(), "file")))
}

/// `1 error`, `2 errors`.
pub(crate) fn plural(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

fn headline(text: &str, style: Style) -> String {
    renderer(style).render(&[Level::ERROR.primary_title(text).elements(None::<annotate_snippets::Message<'_>>)])
}

fn draw(source: &Source, diagnostic: &Diagnostic, style: Style) -> String {
    let code = diagnostic.code.to_string();
    let excerpt = Excerpt::of(source, source.range(diagnostic.primary.span));
    let primary = AnnotationKind::Primary.span(excerpt.range(source.range(diagnostic.primary.span)));
    let mut snippet = Snippet::source(excerpt.text)
        .path(excerpt.path.as_str())
        .line_start(excerpt.line)
        .annotation(primary.label(label(&diagnostic.primary.message)));
    for other in &diagnostic.secondary {
        let range = source.range(other.span);
        if excerpt.holds(&range) {
            let context = AnnotationKind::Context.span(excerpt.range(range));
            snippet = snippet.annotation(context.label(label(&other.message)));
        }
    }
    let group = Level::ERROR
        .primary_title(diagnostic.message.as_str())
        .id(code.as_str())
        .element(snippet)
        .elements(diagnostic.help.as_deref().map(|text| Level::HELP.message(text)));
    renderer(style).render(&[group])
}

/// The part of a source that is drawn: all of it, but of a line that no screen holds only what is around the mistake.
struct Excerpt<'s> {
    text: &'s str,
    path: String,
    /// The line at which the text begins, from 1.
    line: usize,
    /// The byte at which it begins.
    start: usize,
}

impl<'s> Excerpt<'s> {
    fn of(source: &'s Source, primary: Range<usize>) -> Self {
        let text = source.text.as_str();
        let before = text[..primary.start].rfind('\n').map_or(0, |newline| newline + 1);
        let after = text[primary.start..].find('\n').map_or(text.len(), |newline| primary.start + newline);
        if after - before <= LONGEST_LINE {
            return Self { text, path: source.path.clone(), line: 1, start: 0 };
        }
        let mut start = primary.start.saturating_sub(AROUND).max(before);
        let mut end = (primary.start + AROUND).min(after);
        while !text.is_char_boundary(start) {
            start -= 1;
        }
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let line = text[..before].matches('\n').count() + 1;
        let path = format!("{}, a line of {} bytes from byte {}", source.path, after - before, start - before);
        Self { text: &text[start..end], path, line, start }
    }

    fn holds(&self, range: &Range<usize>) -> bool {
        range.start >= self.start && range.end <= self.start + self.text.len()
    }

    fn range(&self, range: Range<usize>) -> Range<usize> {
        let inside = |byte: usize| byte.saturating_sub(self.start).min(self.text.len());
        inside(range.start)..inside(range.end)
    }
}

/// An empty remark would draw a blank after the marker.
fn label(message: &str) -> Option<&str> {
    (!message.is_empty()).then_some(message)
}

fn renderer(style: Style) -> Renderer {
    let renderer = match style {
        Style::Plain => Renderer::plain(),
        Style::Coloured => Renderer::styled(),
    };
    renderer.decor_style(DecorStyle::Ascii).term_width(WIDTH)
}

#[cfg(test)]
mod tests {
    use topos_lang::diagnostic::{Code, Span};

    use super::*;

    fn span(text: &str, part: &str) -> Span {
        let start = text.find(part).expect("the part is in the text");
        Span::new(u32::try_from(start).unwrap(), u32::try_from(start + part.len()).unwrap())
    }

    fn found(text: &str, diagnostics: Vec<Diagnostic>) -> Findings {
        Findings { source: Source { path: "demo.topos".into(), text: text.into() }, diagnostics }
    }

    fn drawn(text: &str, diagnostics: Vec<Diagnostic>) -> String {
        findings(&[found(text, diagnostics)], Style::Plain)
    }

    #[test]
    fn a_primary_and_a_secondary_label() {
        let text = "module Demo\n\nflow f : (n : Int) -> Text =\n  n + 1\n";
        let diagnostic = Diagnostic::new(Code(201), "expected Text, found Int", span(text, "n + 1"))
            .primary("this is an Int")
            .label(span(text, "Text"), "the signature says Text")
            .help("show the number: f\"{n + 1}\"");
        insta::assert_snapshot!(drawn(text, vec![diagnostic]));
    }

    #[test]
    fn labels_of_several_lines() {
        let text = "flow f : Int =\n  match x {\n    | 1 -> 2\n  }\n";
        let diagnostic = Diagnostic::new(Code(401), "the match does not cover all values", span(text, &text[17..42]))
            .primary("no arm for 0")
            .label(span(text, "x"), "of type Int");
        insta::assert_snapshot!(drawn(text, vec![diagnostic]));
    }

    #[test]
    fn tabs_and_wide_characters_keep_the_markers_in_place() {
        let text = "flow f : Text =\n\t\"日本語 ünï\" ++ oops\n";
        let diagnostic = Diagnostic::new(Code(101), "nothing is called oops", span(text, "oops")).primary("unknown");
        insta::assert_snapshot!(drawn(text, vec![diagnostic]));
    }

    #[test]
    fn the_end_of_the_file_can_be_pointed_at() {
        let text = "flow f : Int =";
        let diagnostic = Diagnostic::new(Code(9), "the flow has no body", Span::new(14, 14)).primary("expected here");
        insta::assert_snapshot!(drawn(text, vec![diagnostic]));
    }

    #[test]
    fn an_empty_file_can_be_pointed_at() {
        insta::assert_snapshot!(drawn("", vec![Diagnostic::new(Code(3), "there is no module here", Span::new(0, 0))]));
    }

    #[test]
    fn carriage_returns_do_not_shift_markers() {
        let text = "module Demo\r\nflow f : Int = oops\r\n";
        let diagnostic = Diagnostic::new(Code(101), "nothing is called oops", span(text, "oops"));
        insta::assert_snapshot!(drawn(text, vec![diagnostic]));
    }

    #[test]
    fn several_errors_come_in_order_of_place_and_once() {
        let text = "flow f : Int = a\nflow g : Int = b\n";
        let error = |name: &str| {
            Diagnostic::new(Code(101), format!("nothing is called {name}"), span(text, &format!("= {name}")))
        };
        let first = found(text, vec![error("b"), error("a"), error("b")]);
        let mut second = found("flow c = ?", vec![Diagnostic::new(Code(2), "? is no token", Span::new(9, 10))]);
        second.source.path = "other.topos".into();
        insta::assert_snapshot!(findings(&[first, second], Style::Plain));
    }

    #[test]
    fn of_a_very_long_line_only_what_is_around_the_mistake_is_drawn() {
        let text =
            format!("module A\nflow f = \"{}\" + oops ++ \"{}\"\n", "é".repeat(1_000_000), "x".repeat(1_000_000));
        let diagnostic = Diagnostic::new(Code(101), "nothing is called oops", span(&text, "oops"))
            .primary("unknown")
            .label(span(&text, "flow"), "in this flow");
        insta::assert_snapshot!(drawn(&text, vec![diagnostic]));
    }

    #[test]
    fn an_error_without_a_place() {
        insta::assert_snapshot!(plain_error(
            Some("TP1002"),
            "there is no engine called warp",
            Some("the engines of this release are partisan and otp"),
            Style::Plain
        ));
    }

    #[test]
    fn colours_are_ansi_and_only_where_asked() {
        let text = "flow f : Int = a";
        let all = [found(text, vec![Diagnostic::new(Code(101), "nothing is called a", span(text, "= a"))])];
        assert!(findings(&all, Style::Coloured).contains("\u{1b}["));
        assert!(!findings(&all, Style::Plain).contains('\u{1b}'));
    }

    #[test]
    fn control_characters_of_the_source_do_not_reach_the_terminal() {
        let text = "flow f : Text = \"\u{1b}[31m\" + x";
        let drawn = drawn(text, vec![Diagnostic::new(Code(101), "nothing is called x", span(text, "x"))]);
        assert!(!drawn.contains('\u{1b}'), "{drawn}");
    }
}
