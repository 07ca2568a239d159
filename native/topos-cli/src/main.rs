//! The `topos` command.
mod render;
mod run;
mod source;
fn main() {}
