//! Laying out text: a small version of Wadler's "A prettier printer" (2003), with forced line breaks.

/// A document that can be laid out in several ways.
#[derive(Clone, Debug)]
pub(super) enum Doc {
    Nothing,
    Text(String),
    /// A space, or a line break when the group does not fit.
    Line,
    /// Nothing, or a line break when the group does not fit.
    SoftLine,
    /// Always a line break; every group around it is broken.
    HardLine,
    Concat(Vec<Doc>),
    /// Four more columns after each line break inside.
    Nest(Box<Doc>),
    /// On one line if it fits.
    Group(Box<Doc>),
}

const INDENT: usize = 4;

pub(super) fn text(s: impl Into<String>) -> Doc {
    Doc::Text(s.into())
}

pub(super) fn concat(docs: Vec<Doc>) -> Doc {
    Doc::Concat(docs)
}

pub(super) fn nest(doc: Doc) -> Doc {
    Doc::Nest(Box::new(doc))
}

pub(super) fn group(doc: Doc) -> Doc {
    Doc::Group(Box::new(doc))
}

/// The documents with `separator` between them.
pub(super) fn join(docs: Vec<Doc>, separator: &Doc) -> Doc {
    let mut out = Vec::with_capacity(docs.len() * 2);
    for (i, doc) in docs.into_iter().enumerate() {
        if i > 0 {
            out.push(separator.clone());
        }
        out.push(doc);
    }
    Doc::Concat(out)
}

impl Doc {
    fn is_forced(&self) -> bool {
        match self {
            Doc::HardLine => true,
            Doc::Concat(docs) => docs.iter().any(Doc::is_forced),
            Doc::Nest(doc) | Doc::Group(doc) => doc.is_forced(),
            _ => false,
        }
    }

    /// The text, no line wider than `width` where a break allows it.
    pub(super) fn render(&self, width: usize) -> String {
        let mut out = String::new();
        let mut column = 0;
        let mut stack: Vec<(usize, bool, &Doc)> = vec![(0, false, self)];
        while let Some((indent, flat, doc)) = stack.pop() {
            match doc {
                Doc::Nothing => {}
                Doc::Text(s) => {
                    out.push_str(s);
                    column += s.chars().count();
                }
                Doc::Line if flat => {
                    out.push(' ');
                    column += 1;
                }
                Doc::SoftLine if flat => {}
                Doc::Line | Doc::SoftLine | Doc::HardLine => {
                    out.push('\n');
                    out.extend(std::iter::repeat_n(' ', indent));
                    column = indent;
                }
                Doc::Concat(docs) => stack.extend(docs.iter().rev().map(|d| (indent, flat, d))),
                Doc::Nest(doc) => stack.push((indent + INDENT, flat, doc)),
                Doc::Group(doc) => {
                    let fits = flat || (!doc.is_forced() && fits(doc, width.saturating_sub(column)));
                    stack.push((indent, fits, doc));
                }
            }
        }
        out
    }
}

/// Whether the document, laid out flat, takes at most `room` columns.
fn fits(doc: &Doc, room: usize) -> bool {
    let mut used = 0;
    let mut stack = vec![doc];
    while let Some(doc) = stack.pop() {
        match doc {
            Doc::Text(s) => used += s.chars().count(),
            Doc::Line => used += 1,
            Doc::Concat(docs) => stack.extend(docs.iter().rev()),
            Doc::Nest(doc) | Doc::Group(doc) => stack.push(doc),
            Doc::Nothing | Doc::SoftLine | Doc::HardLine => {}
        }
        if used > room {
            return false;
        }
    }
    true
}
