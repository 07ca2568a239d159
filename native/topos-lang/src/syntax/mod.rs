//! The front of the compiler: source text in, abstract syntax, tokens and diagnostics out.

pub mod ast;
pub mod ast_expr;
pub mod ast_type;

/// How deeply expressions, patterns, types and blocks may be nested.
pub const MAX_DEPTH: u32 = 200;
