//! The `topos` command.

fn main() {}
