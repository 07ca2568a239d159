//! The Topos compiler, without I/O: syntax → names → types and effects → Erlang abstract format.

mod advice;
pub mod check;
pub mod codes;
pub mod core;
pub mod diagnostic;
pub mod emit;
pub mod syntax;
pub mod types;
