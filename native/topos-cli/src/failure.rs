//! What ends a command: mistakes in sources, or one error that is about none.

use serde::Serialize;

use crate::{
    args::ErrorFormat,
    render::{self, Style},
    source::{Findings, Source},
};

/// Why a command did not do its work.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Mistakes in source files.
    Mistakes(Vec<Findings>),
    /// Anything else that the user can mend.
    Error(Error),
}

/// One error with a code and a help line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Error {
    code: &'static str,
    message: String,
    help: String,
}

impl Error {
    /// The code stands in `explain.md`.
    pub(crate) fn new(code: &'static str, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: help.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Failure {
    /// The text for standard error.
    pub(crate) fn text(&self, format: ErrorFormat, style: Style) -> String {
        match (self, format) {
            (Self::Mistakes(all), ErrorFormat::Human) => render::findings(all, style),
            (Self::Error(error), ErrorFormat::Human) => {
                render::plain_error(Some(error.code), &error.message, Some(&error.help), style) + "\n"
            }
            (Self::Mistakes(all), ErrorFormat::Json) => all.iter().flat_map(json_lines).collect::<Vec<_>>().concat(),
            (Self::Error(error), ErrorFormat::Json) => json(&Record {
                code: error.code.to_owned(),
                message: &error.message,
                file: None,
                primary: None,
                labels: Vec::new(),
                help: Some(&error.help),
            }),
        }
    }
}

/// A mistake as `--error-format json` writes it. Lines and columns count from 1, columns in characters; bytes from 0.
#[derive(Serialize)]
struct Record<'a> {
    code: String,
    message: &'a str,
    file: Option<&'a str>,
    primary: Option<Place<'a>>,
    labels: Vec<Place<'a>>,
    help: Option<&'a str>,
}

#[derive(Serialize)]
struct Place<'a> {
    start: Position,
    end: Position,
    label: &'a str,
}

#[derive(Serialize)]
struct Position {
    line: usize,
    column: usize,
    byte: usize,
}

fn json_lines(found: &Findings) -> Vec<String> {
    let line = |diagnostic: &topos_lang::diagnostic::Diagnostic| {
        json(&Record {
            code: diagnostic.code.to_string(),
            message: &diagnostic.message,
            file: Some(&found.source.path),
            primary: Some(place(&found.source, &diagnostic.primary)),
            labels: diagnostic.secondary.iter().map(|label| place(&found.source, label)).collect(),
            help: diagnostic.help.as_deref(),
        })
    };
    found.sorted().into_iter().map(line).collect()
}

fn place<'a>(source: &Source, label: &'a topos_lang::diagnostic::Label) -> Place<'a> {
    let range = source.range(label.span);
    let position = |byte: usize, at: u32| {
        let (line, column) = source.position(at);
        Position { line, column, byte }
    };
    Place {
        start: position(range.start, label.span.start),
        end: position(range.end, label.span.end),
        label: &label.message,
    }
}

fn json(record: &Record<'_>) -> String {
    // Texts and numbers alone: nothing in a record can fail to be written.
    serde_json::to_string(record).map_or_else(|error| error.to_string(), |text| text + "\n")
}
