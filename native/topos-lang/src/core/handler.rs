//! Handlers written in Topos, in the core.
//!
//! A handler is run by `topos_scope:run/5`. Each clause is a function of its own, `'h.op'(Instance, A1, .., An)`, where the
//! instance is the tuple `{Scope, Ev, P1, .., C1, ..}` of the scope of the `with`, the evidence around it, the handler's
//! parameters and the cells of its state. Where the `with` is in sight a `perform` calls that function; elsewhere it finds
//! under the effect's name in the evidence a tuple of the instance and a fun for each operation, which takes the instance.

use super::{Expr, Local};
use crate::diagnostic::Span;

/// `handler h(params) : Handler(E) = { .. }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Handler {
    /// Its name.
    pub name: String,
    /// Whether other modules may install it.
    pub exported: bool,
    /// The effect's full name.
    pub effect: String,
    /// Its parameters.
    pub params: Vec<Local>,
    /// Its state variables, in order; each may use those before it.
    pub states: Vec<State>,
    /// One an operation, in the order in which the effect declares them.
    pub clauses: Vec<Clause>,
    /// Runs before the body.
    pub init: Option<Expr>,
    /// Runs when the body has ended, however it did.
    pub finally: Option<Expr>,
    /// What becomes of the body's value.
    pub returns: Option<(Local, Expr)>,
    /// Its head, for line numbers.
    pub span: Span,
}

/// A state variable.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Its cell.
    pub cell: Local,
    /// Its first value.
    pub initial: Expr,
}

/// The clause of an operation.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause {
    /// Which operation.
    pub operation: String,
    /// Its parameters.
    pub params: Vec<Local>,
    /// What it answers.
    pub body: Expr,
    /// Where it stands.
    pub span: Span,
}

/// A handler, by module and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HandlerRef {
    /// `None` for this module.
    pub module: Option<String>,
    /// Its name.
    pub name: String,
}

/// What a handler value is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandlerSource {
    /// A handler written in Topos.
    Topos(HandlerRef),
    /// An Erlang module of behaviour `topos_handler`.
    Extern(String),
}
