//! The `topos` command.
mod render;
mod source;
fn main() {}
