//! Writes the nodes' lines to the terminal, each with its node's name in its own colour.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style as Ansi};

use crate::render::Style;

/// Colours of the nodes, in their order; then they repeat.
const COLOURS: [AnsiColor; 8] = [
    AnsiColor::Cyan,
    AnsiColor::Yellow,
    AnsiColor::Green,
    AnsiColor::Magenta,
    AnsiColor::Blue,
    AnsiColor::BrightCyan,
    AnsiColor::BrightYellow,
    AnsiColor::BrightGreen,
];

/// Which stream a line goes to: the one it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// Puts the prefix before lines. With a single node there is none.
#[derive(Debug)]
pub(crate) struct Output {
    prefixes: Vec<String>,
    own: String,
}

impl Output {
    /// For nodes of these short names; `first_alone` leaves the lines of the first as they are, whoever else there is.
    pub(crate) fn new(names: &[String], first_alone: bool, style: Style) -> Self {
        let single = names.len() < 2;
        let width = names.iter().map(String::len).max().unwrap_or(0).max("topos".len());
        let prefixes = names.iter().zip(COLOURS.iter().cycle()).enumerate().map(|(index, (name, &colour))| {
            if single || (first_alone && index == 0) {
                String::new()
            } else {
                paint(&format!("{name:width$} |"), Ansi::new().fg_color(Some(colour.into())).bold(), style)
            }
        });
        Self { prefixes: prefixes.collect(), own: paint(&format!("{:width$} |", "topos"), Ansi::new().dimmed(), style) }
    }

    /// A whole line of a node.
    pub(crate) fn line(&self, node: usize, stream: Stream, text: &str) -> io::Result<()> {
        let prefix = &self.prefixes[node];
        let gap = if prefix.is_empty() || text.is_empty() { "" } else { " " };
        write(stream, &format!("{prefix}{gap}{text}\n"))
    }

    /// The beginning of a line of the only node.
    pub(crate) fn part(stream: Stream, text: &str) -> io::Result<()> {
        write(stream, text)
    }

    /// A remark of the runner itself, to standard error: standard output is the program's.
    pub(crate) fn remark(&self, text: &str) -> io::Result<()> {
        write(Stream::Err, &format!("{} {text}\n", self.own))
    }
}

fn paint(text: &str, colour: Ansi, style: Style) -> String {
    match style {
        Style::Plain => text.to_owned(),
        Style::Coloured => format!("{colour}{text}{colour:#}"),
    }
}

fn write(stream: Stream, text: &str) -> io::Result<()> {
    match stream {
        Stream::Out => {
            let mut out = io::stdout().lock();
            out.write_all(text.as_bytes())?;
            out.flush()
        }
        Stream::Err => io::stderr().lock().write_all(text.as_bytes()),
    }
}
