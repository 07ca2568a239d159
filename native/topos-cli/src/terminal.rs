//! Standard output and the question of colours.

use std::{
    env,
    io::{self, IsTerminal, Write},
};

use crate::{args::Color, failure::Error, render::Style};

/// What `--color` and the environment ask for; `terminal` says whether the stream is one.
pub(crate) fn style(color: Color, stream: &impl IsTerminal) -> Style {
    let no_color = env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = env::var_os("TERM").is_some_and(|value| value == "dumb");
    match color {
        Color::Always => Style::Coloured,
        Color::Auto if stream.is_terminal() && !no_color && !dumb => Style::Coloured,
        Color::Auto | Color::Never => Style::Plain,
    }
}

/// Writes to standard output.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|why| {
        Error::new(
            "TP0807",
            format!("cannot write to standard output: {why}"),
            "check where the output is redirected to",
        )
    })
}

/// Writes to standard error what is no mistake; that it is closed is none either.
pub(crate) fn remark(text: &str) {
    drop(io::stderr().lock().write_all(text.as_bytes()));
}
