//! `topos run`: a compiled program on real nodes.

pub(crate) mod cluster;
mod input;
mod lines;
pub(crate) mod output;
mod protocol;
mod vm;
