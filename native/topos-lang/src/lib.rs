//! The Topos compiler, without I/O: syntax → names → types and effects → Erlang abstract format.

pub mod core;
pub mod diagnostic;
pub mod syntax;
pub mod emit;
