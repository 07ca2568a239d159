//! The typed core: what the type checker hands to the back end.
//!
//! Everything that needs types has been decided here: which name is meant, which calls carry evidence, which effect a
//! `perform` belongs to, what an extern returns. The back end (`emit`) turns it into Erlang without asking a type again.
//!
//! # Calling convention
//! - A *flow* is an Erlang function of its written arity. If its row is not the closed empty row (a row variable counts as
//!   not empty), it takes one more argument, the evidence `Ev`, last. `flow f : T / row` and `fn() -> e` have written
//!   arity 0.
//! - A *function value* (closure, partial application, a flow used as a value) of `n` written parameters is an Erlang fun
//!   of `max(n, 1) + 1` arguments: the parameters (the atom `ok` for a thunk's unit) and `Ev` last, always, even where its
//!   row is empty. So a value may be passed wherever its type allows, whatever the row.
//! - [`ExprKind::Apply`] calls a function value whose arity is not known statically: the back end tests the arity and calls
//!   directly when it fits; otherwise `topos_rt:apply/3` makes a partial application, or calls and applies the rest.
//! - Evidence is a map from effect name (the atom `'Topos.IO.IO'`) to `{Module, Instance}` for a handler written in Erlang,
//!   and `perform E.op(a, b)` becomes `Module:op(Instance, a, b)`; for one written in Topos it is a tuple of the
//!   instance and a fun an operation, in the effect's order; where its `with` is in sight the clause is called directly. Where a callee has no evidence of its own to give (a pure flow), `Ev` is `#{}`.
//! - A function value that is an argument of a `perform` is tied to the performer's evidence (`topos_rt:capture/2`): its row
//!   belongs to the performer, while the handler runs with an outer evidence and may call it later, in another process.
//!   This is how `spawn` passes the spawner's evidence on.
//!
//! # Run-time representation
//! Int integer, Float float, Text UTF-8 binary, Bool `true`/`false`, `()` the atom `ok`, Duration an integer of
//! milliseconds, tuples, lists and functions as themselves, records maps with atom keys, a constructor `Some(x)` the
//! tuple `{some, X}`, a constant constructor the atom `none`, `Ok`/`Error` `{ok, X}`/`{error, E}`.
//! [`constructor_atom`] gives the atom of a constructor.

mod free;
mod handler;

pub use free::Free;
pub use handler::{Clause, Handler, HandlerRef, HandlerSource, State};

use crate::diagnostic::Span;

/// A name after resolution, unique within its function: locals are numbered so that Erlang's single assignment and
/// pattern matching never confuse two Topos variables of the same name.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Local {
    /// As written, for readable output.
    pub name: String,
    /// Makes it unique in its flow.
    pub id: u32,
}

/// A whole module, ready to be emitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// The dotted name, `Topos.Partisan`: the BEAM module is the atom of the same text.
    pub name: String,
    /// The path that stack traces show.
    pub file: String,
    /// Flows and externs, in source order.
    pub flows: Vec<Flow>,
    /// Handlers, in source order.
    pub handlers: Vec<Handler>,
}

/// A top-level flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Flow {
    /// Its name.
    pub name: String,
    /// Whether other modules may call it.
    pub exported: bool,
    /// Its parameters, in order; the written arity is their number.
    pub params: Vec<Local>,
    /// Whether it takes evidence.
    pub evidence: bool,
    /// Its body.
    pub body: FlowBody,
    /// Its types as far as a run-time descriptor can say them: the back end writes a `-spec` from it. `None` leaves the
    /// spec out.
    pub signature: Option<Signature>,
    /// The head of the flow, for line numbers.
    pub span: Span,
}

/// The type of a flow in run-time terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// One a written parameter.
    pub params: Vec<Descriptor>,
    /// What it returns.
    pub returns: Descriptor,
}

/// How a flow is made.
#[derive(Clone, Debug, PartialEq)]
pub enum FlowBody {
    /// Written in Topos.
    Expr(Expr),
    /// `extern flow f : .. = "module:function"`: calls Erlang with the written parameters, without the dictionaries of its
    /// constraints; what it returns is checked against the descriptor where it enters.
    Extern {
        /// The Erlang module.
        module: String,
        /// The Erlang function.
        function: String,
        /// The parameters that are passed on.
        args: Vec<Local>,
        /// What it returns.
        returns: Descriptor,
    },
    /// The dictionary of an instance, a record; the parameters are the dictionaries of the instance's context. Without
    /// parameters it is a constant of its module.
    Dictionary {
        /// For each superclass a field and its dictionary. [`ExprKind::Superclass`] reads it.
        supers: Vec<(String, Expr)>,
        /// For each member a field and its value, which is a function value. [`ExprKind::Field`] reads it.
        members: Vec<(String, Expr)>,
    },
}

/// An expression with its place in the source.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where it stands.
    pub span: Span,
}

/// Expressions. Evaluation is strict and left to right.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A local variable.
    Local(Local),
    /// A literal.
    Literal(Literal),
    /// A flow used as a value; the back end wraps it to the closure convention.
    FlowValue(FlowRef),
    /// A constructor used as a value, `List.map(Some, xs)`; `arity` is at least 1 (a constant constructor is
    /// [`ExprKind::Construct`]).
    ConstructorValue {
        /// The constructor, `Some`.
        constructor: String,
        /// How many fields it has.
        arity: usize,
    },
    /// A direct call of a flow with exactly its written arity.
    Call {
        /// The flow.
        flow: FlowRef,
        /// As many as its written arity.
        args: Vec<Expr>,
    },
    /// A call of a function value with at least one argument (`f()` passes one unit).
    Apply {
        /// The function.
        function: Box<Expr>,
        /// Its arguments.
        args: Vec<Expr>,
    },
    /// A lambda; no parameters means a thunk.
    Lambda {
        /// Its parameters; patterns have been turned into a `Match` on a fresh local.
        params: Vec<Local>,
        /// Its body, which runs with the evidence its caller passes: the row of the closure is part of the caller's row, so
        /// a handler installed around the *call* reaches into it. `spawn` passes the spawner's evidence on.
        body: Box<Expr>,
    },
    /// `let p = e` followed by the rest; `pattern` is irrefutable.
    Let {
        /// What is bound.
        pattern: Pattern,
        /// The value.
        value: Box<Expr>,
        /// What follows.
        body: Box<Expr>,
    },
    /// `first; then`, where the value of `first` is dropped.
    Sequence(Box<Expr>, Box<Expr>),
    /// `if`.
    If {
        /// A Bool.
        condition: Box<Expr>,
        /// When true.
        then: Box<Expr>,
        /// When false.
        otherwise: Box<Expr>,
    },
    /// `match`; several scrutinees have become a tuple. Exhaustiveness is the checker's work: where it could not prove it,
    /// it added a last arm that fails with [`ExprKind::Fail`].
    Match {
        /// What is looked at.
        scrutinee: Box<Expr>,
        /// Tried in order.
        arms: Vec<Arm>,
    },
    /// A tuple of two or more.
    Tuple(Vec<Expr>),
    /// A list with known elements and perhaps a tail.
    List(Vec<Expr>, Option<Box<Expr>>),
    /// A record literal; field defaults have been filled in.
    Record(Vec<(String, Expr)>),
    /// `{r with a = e}`.
    Update {
        /// The record.
        record: Box<Expr>,
        /// The fields that change; each exists in the record.
        fields: Vec<(String, Expr)>,
    },
    /// `r.field`.
    Field {
        /// The record.
        record: Box<Expr>,
        /// The field.
        field: String,
    },
    /// The dictionary of a superclass, from that of an instance.
    Superclass {
        /// The instance's.
        dictionary: Box<Expr>,
        /// The field.
        field: String,
    },
    /// A saturated constructor; no arguments means a constant.
    Construct {
        /// The constructor.
        constructor: String,
        /// Its fields.
        args: Vec<Expr>,
    },
    /// A primitive operator.
    Primitive {
        /// Which.
        op: Primitive,
        /// One or two operands.
        args: Vec<Expr>,
    },
    /// An f-string: texts and expressions; each expression is shown with `topos_rt:show/1`.
    Format(Vec<FormatPart>),
    /// `perform E.op(args)` through evidence.
    Perform {
        /// The effect's full name, `Topos.IO.IO`.
        effect: String,
        /// The operation.
        operation: String,
        /// Its arguments.
        args: Vec<Expr>,
        /// What the operation returns when it is answered by Erlang code; `None` where no check is needed.
        returns: Option<Descriptor>,
        /// The operation's place in the effect, from 0.
        index: usize,
        /// How many operations the effect has.
        operations: usize,
        /// For each argument whether it may be a function that performs: it is then tied to the performer's evidence.
        captures: Vec<bool>,
    },
    /// `perform op(args)` inside the handler that defines `op`: its own clause.
    Sibling {
        /// The operation.
        operation: String,
        /// Its arguments.
        args: Vec<Expr>,
    },
    /// `with h(args) { body }` for a handler written in Topos.
    With {
        /// The effect's full name.
        effect: String,
        /// Which handler.
        handler: HandlerRef,
        /// Its arguments.
        args: Vec<Expr>,
        /// Whether something under it may start a process, so that the state must be shared.
        shared: bool,
        /// Runs with the evidence extended by this handler.
        body: Box<Expr>,
    },
    /// A handler with its arguments as a value: a fun of `Shared`, the evidence around a `with`, and its body.
    HandlerValue {
        /// The effect's full name.
        effect: String,
        /// What it is made of.
        handler: HandlerSource,
        /// Its arguments, evaluated when the value is made.
        args: Vec<Expr>,
    },
    /// `with h { body }` for a value.
    WithValue {
        /// The effect's full name.
        effect: String,
        /// The value.
        handler: Box<Expr>,
        /// As in [`ExprKind::With`].
        shared: bool,
        /// Runs with the evidence extended by this handler.
        body: Box<Expr>,
    },
    /// The value of a state variable.
    StateValue(Local),
    /// `x := e`, with the value `()`.
    Assign {
        /// The cell.
        cell: Local,
        /// The new value.
        value: Box<Expr>,
        /// Whether the value depends on the variable: reading and writing are then one step for other processes.
        atomic: bool,
    },
    /// `atomic { .. }`: the block's assignments become visible together, or not at all if it fails.
    Atomic(Box<Expr>),
    /// `abort e`: leaves the `with` of the handler with this value.
    Abort(Box<Expr>),
    /// A body that a [`ExprKind::Leave`] inside of it may leave.
    Leavable {
        /// Names the body.
        label: Local,
        /// The body.
        body: Box<Expr>,
    },
    /// `return e` where it is not the value of its flow anyway.
    Leave {
        /// The body that is left.
        label: Local,
        /// Its value.
        value: Box<Expr>,
    },
    /// `try e with { | p -> .. }`: the value of `body`, or that of `caught` if it fails.
    Try {
        /// What may fail.
        body: Box<Expr>,
        /// The failure, in `caught`.
        failure: Local,
        /// How [`ExprKind::Again`] names the failure.
        again: Local,
        /// What is made of the failure.
        caught: Box<Expr>,
    },
    /// Whether a value looks as described: a message may come from anywhere.
    Fits {
        /// What is looked at.
        value: Box<Expr>,
        /// What it should look like.
        descriptor: Descriptor,
    },
    /// Fails again as the body of a [`ExprKind::Try`] did.
    Again(Local),
    /// `with h(args) { body }` for a handler written in Erlang (`extern handler`).
    WithExtern {
        /// The effect's full name.
        effect: String,
        /// The Erlang module of behaviour `topos_handler`.
        module: String,
        /// Arguments of the handler: `init(Args, OuterEv)`.
        args: Vec<Expr>,
        /// Runs with the evidence extended by this handler.
        body: Box<Expr>,
    },
    /// `forall (x : T) { .. }` in a property: calls the body with generated values, in the order of its parameters.
    ForAll {
        /// What the parameters are called, and what is generated for them.
        generated: Vec<(String, Descriptor)>,
        /// A [`ExprKind::Lambda`] with as many parameters, at least 1.
        body: Box<Expr>,
    },
    /// Ends the process with an error that shows the source line: a match that nothing matched.
    Fail(String),
}

/// A flow, by module and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FlowRef {
    /// `None` for this module.
    pub module: Option<String>,
    /// Its name.
    pub name: String,
    /// Its written arity.
    pub arity: usize,
    /// Whether it takes evidence.
    pub evidence: bool,
}

/// One arm of a match.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// Alternatives that bind the same locals; the back end repeats the body for each or lifts it out.
    pub patterns: Vec<Pattern>,
    /// A pure Bool expression; any expression, not only an Erlang guard.
    pub guard: Option<Expr>,
    /// The arm's value.
    pub body: Expr,
}

/// Patterns.
#[derive(Clone, Debug, PartialEq)]
pub enum Pattern {
    /// `_`.
    Wildcard,
    /// A variable.
    Bind(Local),
    /// `p as x`.
    As(Box<Pattern>, Local),
    /// A literal; a Float matches by `=:=`.
    Literal(Literal),
    /// A tuple.
    Tuple(Vec<Pattern>),
    /// A list, perhaps with a tail.
    List(Vec<Pattern>, Option<Box<Pattern>>),
    /// A record: the named fields, others are free.
    Record(Vec<(String, Pattern)>),
    /// A constructor.
    Construct {
        /// Which.
        constructor: String,
        /// Its fields.
        args: Vec<Pattern>,
    },
}

/// Literals.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// An integer of any size, in decimal.
    Int(String),
    /// A float.
    Float(f64),
    /// A text.
    Text(String),
    /// A duration in milliseconds.
    Duration(i64),
    /// A truth value.
    Bool(bool),
    /// `()`.
    Unit,
}

/// Part of an f-string.
#[derive(Clone, Debug, PartialEq)]
pub enum FormatPart {
    /// As it is.
    Text(String),
    /// Shown.
    Expr(Expr),
}

/// Operators whose operand types the checker has decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Primitive {
    /// `+` on Int, Float or Duration.
    Add,
    /// `-`.
    Subtract,
    /// `*`.
    Multiply,
    /// `/` on Int: truncating division; by zero is an error with its line.
    DivideInt,
    /// `/` on Float.
    DivideFloat,
    /// `%` on Int.
    Remainder,
    /// Prefix `-`.
    Negate,
    /// `==`, structural; Erlang's `=:=`.
    Equal,
    /// `!=`.
    NotEqual,
    /// `<`.
    Less,
    /// `<=`.
    LessEqual,
    /// `>`.
    Greater,
    /// `>=`.
    GreaterEqual,
    /// `&&`, short-circuit.
    And,
    /// `||`, short-circuit.
    Or,
    /// `not`.
    Not,
    /// `++` or `<>` on Text.
    AppendText,
    /// `++` or `<>` on lists.
    AppendList,
}

/// A run-time descriptor of a type: what a value that enters from Erlang, or from another node, must look like.
///
/// The same shape as `topos_term::Descriptor`; written into the emitted module as a term.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Descriptor {
    /// Anything: a type variable, an opaque type.
    Any,
    /// `Int`, `Duration`.
    Int,
    /// `Float`.
    Float,
    /// `Text`.
    Text,
    /// `Bool`.
    Bool,
    /// `()`.
    Unit,
    /// `Node` and other types that are any atom.
    Atom,
    /// `Pid m`.
    Pid,
    /// A function value; its type is not checked.
    Function,
    /// `[t]`.
    List(Box<Descriptor>),
    /// A tuple.
    Tuple(Vec<Descriptor>),
    /// `Map k v`.
    Map(Box<Descriptor>, Box<Descriptor>),
    /// A record with exactly these fields.
    Record(Vec<(String, Descriptor)>),
    /// One of several constructors; each the atom of [`constructor_atom`] and its fields.
    Variant(Vec<(String, Vec<Descriptor>)>),
    /// A type that contains itself: refers to the enclosing `Recursive` of that name.
    Reference(String),
    /// Names a descriptor so that it can refer to itself.
    Recursive(String, Box<Descriptor>),
}

/// The atom of a constructor: `Some` is `some`, `NodeDown` is `node_down`, `HTTPError` is `http_error`.
pub fn constructor_atom(constructor: &str) -> String {
    let chars: Vec<char> = constructor.chars().collect();
    let mut atom = String::with_capacity(chars.len() + 4);
    for (i, c) in chars.iter().enumerate() {
        if c.is_uppercase() {
            let after_lower = i > 0 && !chars[i - 1].is_uppercase() && chars[i - 1] != '_';
            let before_lower = i > 0 && chars.get(i + 1).is_some_and(|n| n.is_lowercase());
            if after_lower || (before_lower && chars[i - 1] != '_') {
                atom.push('_');
            }
            atom.extend(c.to_lowercase());
        } else {
            atom.push(*c);
        }
    }
    atom
}

#[cfg(test)]
mod tests {
    use super::constructor_atom;

    #[test]
    fn constructor_atoms_are_snake_case() {
        for (constructor, atom) in [
            ("Some", "some"),
            ("NodeDown", "node_down"),
            ("HTTPError", "http_error"),
            ("A", "a"),
            ("Increment2", "increment2"),
            ("Node_Down", "node_down"),
        ] {
            assert_eq!(constructor_atom(constructor), atom);
        }
    }
}
