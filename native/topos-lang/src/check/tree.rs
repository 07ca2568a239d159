//! The typed tree: what inference makes and elaboration turns into the core once every type is known.

use super::handler::HandlerBody;
use super::traits::DictId;
use crate::core::Local;
use crate::diagnostic::Span;
use crate::syntax::ast::BinaryOp;
use crate::types::{Name, Ty};

pub(super) struct Expr {
    pub(super) kind: ExprKind,
    pub(super) ty: Ty,
    pub(super) span: Span,
}

/// A flow by its index in [`super::env::Env::flows`].
pub(super) type FlowId = usize;

pub(super) enum ExprKind {
    Local(Local),
    Literal(Literal),
    /// A flow as the head of a call or as a value.
    Flow(FlowId),
    /// A flow with constraints, or a member of a trait, and its dictionaries.
    Overloaded {
        flow: FlowId,
        dicts: Vec<DictId>,
        /// Used without a call.
        value: bool,
    },
    /// A value in an f-string, and the instance of `Show` of its type.
    Shown(Box<Expr>, DictId),
    /// A number literal of a type with an instance of `Num`.
    Number {
        digits: String,
        dict: DictId,
    },
    /// A config: its value.
    Config(FlowId),
    Constructor {
        name: Name,
        arity: usize,
    },
    Builtin(Builtin),
    /// With at least one argument; `f()` has the unit.
    App {
        function: Box<Expr>,
        args: Vec<Expr>,
        /// The last argument was written first (`x |> f(y)`, `x.f(y)`) and is evaluated first.
        last_first: bool,
    },
    Lambda {
        params: Vec<Pattern>,
        body: Box<Expr>,
    },
    /// A property's body, a `Lambda`.
    Forall(Box<Expr>),
    Block(Vec<Stmt>, Box<Expr>),
    /// Evaluates and gives `()`, by rule 3.
    Drop(Box<Expr>),
    If {
        condition: Box<Expr>,
        then: Box<Expr>,
        otherwise: Box<Expr>,
    },
    Match {
        scrutinee: Box<Expr>,
        arms: Vec<Arm>,
    },
    Tuple(Vec<Expr>),
    List(Vec<Expr>, Option<Box<Expr>>),
    Record(Vec<(Name, Expr)>),
    Update {
        record: Box<Expr>,
        fields: Vec<(Name, Expr)>,
    },
    Field {
        record: Box<Expr>,
        field: Name,
    },
    Binary {
        op: BinaryOp,
        left: Box<Expr>,
        right: Box<Expr>,
        /// Of the trait of the operator.
        dict: Option<DictId>,
    },
    Negate(Box<Expr>, DictId),
    Format(Vec<FormatPart>),
    Perform {
        effect: Name,
        operation: Name,
        args: Vec<Expr>,
        /// Of the operation's own constraints.
        dicts: Vec<DictId>,
    },
    /// `perform op(..)` that means a clause of the handler around it.
    Sibling {
        operation: Name,
        args: Vec<Expr>,
        dicts: Vec<DictId>,
    },
    With {
        effect: Name,
        by: With,
        args: Vec<Expr>,
        body: Box<Expr>,
    },
    /// A handler with its arguments as a value.
    HandlerValue {
        effect: Name,
        by: With,
        args: Vec<Expr>,
    },
    /// A state variable.
    State(Local),
    /// `atomic`: the value reads the variable.
    Assign {
        cell: Local,
        value: Box<Expr>,
        atomic: bool,
    },
    Atomic(Box<Expr>),
    Abort(Box<Expr>),
    /// `try e with { | p -> .. }`; the scrutinee of the arms is the variable of the failure.
    Try {
        body: Box<Expr>,
        scrutinee: Box<Expr>,
        again: Local,
        arms: Vec<Arm>,
    },
    /// `receive`; the scrutinee of the arms is the variable of the message.
    Receive {
        scrutinee: Box<Expr>,
        arms: Vec<Arm>,
        timeout: Option<Box<Expr>>,
        otherwise: Option<Box<Expr>>,
    },
    /// `try e with { op(x) => .. }`, and the row around it.
    TryHandler {
        parts: Box<HandlerBody>,
        row: Ty,
        body: Box<Expr>,
    },
    Leavable {
        label: Local,
        body: Box<Expr>,
    },
    Leave {
        label: Local,
        value: Box<Expr>,
    },
    /// Reported already.
    Error,
}

/// The handler of a `with`.
pub(super) enum With {
    /// An Erlang module.
    Extern(Name),
    /// A value, and the row around the `with`.
    Value { handler: Box<Expr>, row: Ty },
    /// A handler written in Topos, by its index in [`super::env::Env::handlers`], the row around the `with`, and the
    /// dictionaries of its constraints.
    Topos { index: usize, module: Option<Name>, name: Name, row: Ty, dicts: Vec<DictId> },
}

pub(super) enum Stmt {
    Let { pattern: Pattern, value: Expr },
    Expr(Expr),
}

pub(super) struct Arm {
    pub(super) patterns: Vec<Pattern>,
    pub(super) guard: Option<Expr>,
    pub(super) body: Expr,
    pub(super) span: Span,
}

pub(super) enum FormatPart {
    Text(String),
    Expr(Expr),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Builtin {
    Not,
    Show,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    /// Int, Float or Duration, as its type says.
    Number(String),
    Float(f64),
    Text(String),
    Duration(i64),
    Bool(bool),
    Unit,
}

#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) kind: PatternKind,
    pub(super) ty: Ty,
    pub(super) span: Span,
}

#[derive(Clone, Debug)]
pub(super) enum PatternKind {
    Wildcard,
    Bind(Local),
    As(Box<Pattern>, Local),
    Literal(Literal),
    Tuple(Vec<Pattern>),
    List(Vec<Pattern>, Option<Box<Pattern>>),
    Record(Vec<(Name, Pattern)>),
    Construct { name: Name, args: Vec<Pattern> },
}
