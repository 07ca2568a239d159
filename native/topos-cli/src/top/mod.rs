//! `topos top`: peers and channels of a running node, from the endpoint that `metrics` in its configuration opens.

pub(crate) mod client;
mod view;

use std::{
    io::{self, IsTerminal},
    thread,
    time::Duration,
};

use crate::{args::Top, failure::Failure, render::Style, terminal};

/// Where the terminal's width is not told.
const WIDTH: usize = 100;
/// The cursor to the first line, and nothing below it.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// Shows the statistics once, or again and again until it is interrupted.
pub(crate) fn top(args: &Top, style: Style) -> Result<i32, Failure> {
    let redraw = !args.once && !args.json && io::stdout().is_terminal();
    loop {
        let text = client::get(&args.address, "/stats")?;
        let stats = client::parse(&args.address, &text)?;
        let frame = if args.json { format!("{text}\n") } else { view::draw(&stats, width(), style) };
        terminal::print(&if redraw { format!("{CLEAR}{frame}") } else { frame })?;
        if args.once {
            return Ok(0);
        }
        thread::sleep(Duration::from_millis(args.interval));
    }
}

fn width() -> usize {
    std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok()).unwrap_or(WIDTH)
}
