//! The back end: typed core → Erlang abstract format.
//!
//! [`emit`] lowers a [`Module`] to Erlang forms by the calling convention of [`crate::core`]. The result is written in two
//! ways: [`Emitted::to_etf`] gives the bytes that the compile server (`topos_compile:forms_to_beam/1`) turns into a beam,
//! [`Emitted::to_erlang`] the same program as readable Erlang. [`server`] encodes what the command line and that server say
//! to each other.
//!
//! How it goes: `lower` makes functions of flows, `expr` expressions of expressions, `matching` clauses of arms, `dictionary` maps of instances,
//! `names` gives every Topos local an Erlang variable of its own; `tidy` then marks the variables nobody reads, so that
//! the Erlang compiler has nothing to warn about.

mod assertion;
mod descriptor;
mod dictionary;
mod doc;
mod etf;
mod expr;
mod forms;
mod handler;
mod lines;
mod lower;
mod matching;
mod names;
mod pretty;
pub mod server;
mod tidy;

pub use crate::codes::{FLOAT_OUT_OF_RANGE, NAME_TOO_LONG, RESERVED_NAME, TOO_MANY_PARAMETERS};
use crate::core::Module;
use crate::diagnostic::Diagnostic;

/// A module in Erlang abstract format.
#[derive(Clone, Debug, PartialEq)]
pub struct Emitted {
    forms: Vec<forms::Form>,
}

impl Emitted {
    /// The forms in the external term format: what `binary_to_term/1` turns into the argument of `compile:forms/2`.
    pub fn to_etf(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_etf(&mut out);
        out
    }

    /// As [`Emitted::to_etf`], appended to a buffer: one that is used again need not grow for each module.
    pub fn write_etf(&self, out: &mut Vec<u8>) {
        etf::encode(&self.forms, out);
    }

    /// The forms as Erlang text.
    pub fn to_erlang(&self) -> String {
        pretty::print(&self.forms)
    }
}

/// Lowers a module; `source` is the text its spans point into.
///
/// # Errors
/// What Erlang cannot express, one diagnostic each: [`TOO_MANY_PARAMETERS`], [`NAME_TOO_LONG`], [`FLOAT_OUT_OF_RANGE`],
/// [`RESERVED_NAME`].
pub fn emit(module: &Module, source: &str) -> Result<Emitted, Vec<Diagnostic>> {
    lower::module(module, source).map(|mut forms| {
        tidy::mark_unused(&mut forms);
        Emitted { forms }
    })
}
