//! The abstract syntax of statements, expressions and patterns.

use super::ast::{HandlerClause, Ident, Param, Path};
use super::ast_type::Type;
use crate::diagnostic::Span;

/// Statements in order; the value is that of the last one. Never empty in a flow, may be in `{ }`.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// The statements.
    pub stmts: Vec<Stmt>,
    /// With its braces, if it has any.
    pub span: Span,
}

/// A statement with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Stmt {
    /// What it does.
    pub kind: StmtKind,
    /// Where.
    pub span: Span,
}

/// Statements.
#[derive(Clone, Debug, PartialEq)]
pub enum StmtKind {
    /// `let p : T = e`.
    Let {
        /// What is bound.
        pattern: Pattern,
        /// Its type.
        ty: Option<Type>,
        /// The value.
        value: Expr,
    },
    /// `p <- e`.
    Bind {
        /// What is bound.
        pattern: Pattern,
        /// The value.
        value: Expr,
    },
    /// `x = e`: as `let x = e`.
    Define {
        /// What is bound.
        name: Ident,
        /// The value.
        value: Expr,
    },
    /// `place := e`.
    Assign {
        /// A variable, a field of a place, or an index into a place.
        place: Expr,
        /// The value.
        value: Expr,
    },
    /// `for p in e { .. }`.
    For {
        /// What each element is bound to.
        pattern: Pattern,
        /// The elements.
        iterable: Expr,
        /// What is done.
        body: Block,
    },
    /// `return e`.
    Return(Option<Expr>),
    /// An expression.
    Expr(Expr),
}

/// An expression with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: ExprKind,
    /// Where; parentheses around it are not part of it.
    pub span: Span,
}

/// Expressions as written.
#[derive(Clone, Debug, PartialEq)]
pub enum ExprKind {
    /// A literal.
    Literal(Literal),
    /// `f"took {n} ms"`.
    Format(Vec<FormatPart>),
    /// `x`, `List.map`: a lower-case name, perhaps with the module or type it belongs to.
    Var {
        /// The path before the name; empty when there is none.
        qualifier: Vec<Ident>,
        /// The name.
        name: Ident,
    },
    /// `Some`, `P.Topology.FullMesh`: an upper-case name: a constructor, or a handler or actor by its name.
    Constructor(Path),
    /// Two or more in parentheses.
    Tuple(Vec<Expr>),
    /// `[a, b]`.
    List(Vec<Expr>),
    /// `{ a = e, b : e, c }`.
    Record(Vec<FieldInit>),
    /// `{ e with a = e }`.
    Update {
        /// The record.
        record: Box<Expr>,
        /// What changes.
        fields: Vec<FieldInit>,
    },
    /// `f(x, y)`, `f x y`, `f(x) { .. }`: one node with all arguments. `f()` has none. A trailing `{ .. }` is an
    /// argument of kind [`ExprKind::Thunk`] or [`ExprKind::MatchLambda`].
    ///
    /// A parenthesised call with at least one argument and what follows it by juxtaposition are one node:
    /// `xs.fold(0) { | x -> .. }` has two arguments (rule 7 puts `xs` after both). `f()(x)`, `f(x)(y)` and `f() { .. }`
    /// are nodes in nodes.
    Apply {
        /// What is called. `e.m(args)` is a call of a [`ExprKind::Field`].
        function: Box<Expr>,
        /// Its arguments.
        args: Vec<Expr>,
    },
    /// `{ body }` after a function: an argument of type `() -> a`.
    Thunk(Block),
    /// `{ | p -> e }`: a function of one argument, as an operand or after a function.
    MatchLambda(Vec<Arm>),
    /// `e.field`.
    Field {
        /// The record, or the receiver of a method.
        record: Box<Expr>,
        /// The label.
        field: Ident,
    },
    /// `m[k]`.
    Index {
        /// The collection.
        collection: Box<Expr>,
        /// The key.
        index: Box<Expr>,
    },
    /// `a + b`.
    Binary {
        /// The operator.
        op: BinaryOp,
        /// Where it stands.
        op_span: Span,
        /// The left operand.
        left: Box<Expr>,
        /// The right operand.
        right: Box<Expr>,
    },
    /// `-a`.
    Negate(Box<Expr>),
    /// `match a, b { | p, q -> e }`.
    Match {
        /// One or more.
        scrutinees: Vec<Expr>,
        /// The arms. With several scrutinees an arm's alternatives are [`PatternKind::Tuple`]s of as many.
        arms: Vec<Arm>,
    },
    /// `if c { a } else { b }`, `if c then a else b`.
    If {
        /// The condition.
        condition: Box<Expr>,
        /// When true.
        then: Block,
        /// When false; `else if` is a block of one expression.
        otherwise: Option<Block>,
    },
    /// `fn(x : A, y) -> e`, `\ x y -> e`.
    Lambda {
        /// The parameters; none in `fn() -> e`.
        params: Vec<Param>,
        /// The body.
        body: Block,
    },
    /// `perform E.op(args)`.
    Perform {
        /// The effect; none calls the sibling clause, or the only operation of that name in scope.
        effect: Option<Path>,
        /// The operation.
        operation: Ident,
        /// The arguments, a trailing block among them.
        args: Vec<Expr>,
    },
    /// `with h1, h2 { body }`.
    With {
        /// One or more, the outermost first.
        handlers: Vec<Expr>,
        /// What runs under them.
        body: Block,
    },
    /// `try e with ..`.
    Try {
        /// What is tried.
        body: Box<Expr>,
        /// What catches.
        clauses: TryClauses,
    },
    /// `receive { | p -> e  after t -> e }`.
    Receive {
        /// What is taken out of the mailbox.
        arms: Vec<Arm>,
        /// How long is waited for it, and what happens then.
        after: Option<Box<(Expr, Block)>>,
    },
    /// `p ? Make after t`.
    Ask {
        /// Who is asked.
        process: Box<Expr>,
        /// What makes the message of the place for the answer.
        make: Box<Expr>,
        /// How long is waited.
        timeout: Option<Box<Expr>>,
        /// Where the operator stands.
        op_span: Span,
    },
    /// `do { .. }`, or a block in operand position.
    Do(Block),
    /// `loop { .. }`.
    Loop(Block),
    /// `atomic { .. }`.
    Atomic(Block),
    /// `forall (x : T) { .. }`, in a property.
    Forall {
        /// What is generated.
        params: Vec<Param>,
        /// What must hold.
        body: Block,
    },
    /// `let p : T = e in e`.
    LetIn {
        /// What is bound.
        pattern: Pattern,
        /// Its type.
        ty: Option<Box<Type>>,
        /// The value.
        value: Box<Expr>,
        /// Where it holds.
        body: Box<Expr>,
    },
    /// `(e : T)`.
    Annotated {
        /// The expression.
        expr: Box<Expr>,
        /// Its type.
        ty: Box<Type>,
    },
    /// Could not be read; a diagnostic was reported.
    Error,
}

/// What stands after `with` in a `try`.
#[derive(Clone, Debug, PartialEq)]
pub enum TryClauses {
    /// `| p -> e`: what an error may be.
    Arms(Vec<Arm>),
    /// `op(x) => e`: clauses of a handler.
    Handler(Vec<HandlerClause>),
}

/// A field of a record literal or update.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldInit {
    /// The label.
    pub name: Ident,
    /// The value; a pun `{ x }` has the variable `x`.
    pub value: Expr,
    /// Whether it is a pun.
    pub pun: bool,
}

/// `| p | q when g -> stmts`.
#[derive(Clone, Debug, PartialEq)]
pub struct Arm {
    /// Alternatives, at least one.
    pub patterns: Vec<Pattern>,
    /// All must be true.
    pub guards: Vec<Expr>,
    /// The body.
    pub body: Block,
    /// All of it.
    pub span: Span,
}

/// Part of an f-string.
#[derive(Clone, Debug, PartialEq)]
pub enum FormatPart {
    /// As it is, escapes replaced.
    Text(String),
    /// In braces.
    Expr(Expr),
}

/// Literals.
#[derive(Clone, Debug, PartialEq)]
pub enum Literal {
    /// Decimal digits without `_`; in a pattern perhaps with a leading `-`.
    Int(String),
    /// A float.
    Float(f64),
    /// A text, escapes replaced.
    Text(String),
    /// Milliseconds.
    Duration(i64),
    /// `true`, `false`.
    Bool(bool),
    /// `()`.
    Unit,
}

/// Infix operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `!`.
    Send,
    /// `|>`.
    Pipe,
    /// `||`.
    Or,
    /// `&&`.
    And,
    /// `==`.
    Equal,
    /// `!=`, also written `/=`.
    NotEqual,
    /// `===`.
    Identical,
    /// `!==`.
    NotIdentical,
    /// `<`.
    Less,
    /// `>`.
    Greater,
    /// `<=`.
    LessEqual,
    /// `>=`.
    GreaterEqual,
    /// `::`.
    Cons,
    /// `++`.
    Append,
    /// `<>`.
    Combine,
    /// `+`.
    Add,
    /// `-`.
    Subtract,
    /// `*`.
    Multiply,
    /// `/`.
    Divide,
    /// `%`.
    Remainder,
}

impl BinaryOp {
    /// The operator as it is written.
    pub const fn symbol(self) -> &'static str {
        match self {
            Self::Send => "!",
            Self::Pipe => "|>",
            Self::Or => "||",
            Self::And => "&&",
            Self::Equal => "==",
            Self::NotEqual => "!=",
            Self::Identical => "===",
            Self::NotIdentical => "!==",
            Self::Less => "<",
            Self::Greater => ">",
            Self::LessEqual => "<=",
            Self::GreaterEqual => ">=",
            Self::Cons => "::",
            Self::Append => "++",
            Self::Combine => "<>",
            Self::Add => "+",
            Self::Subtract => "-",
            Self::Multiply => "*",
            Self::Divide => "/",
            Self::Remainder => "%",
        }
    }
}

/// A pattern with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// What it is.
    pub kind: PatternKind,
    /// Where.
    pub span: Span,
}

/// Patterns as written.
#[derive(Clone, Debug, PartialEq)]
pub enum PatternKind {
    /// `_`.
    Wildcard,
    /// `x`.
    Var(Ident),
    /// `p as x`.
    As(Box<Pattern>, Ident),
    /// A literal.
    Literal(Literal),
    /// Two or more.
    Tuple(Vec<Pattern>),
    /// `[a, b]`.
    List(Vec<Pattern>),
    /// `h :: t`.
    Cons(Box<Pattern>, Box<Pattern>),
    /// `{ a: p, b = p, c }`: the named fields, others are free.
    Record(Vec<FieldPattern>),
    /// `None`, `Some(x)`, `Pair a b`.
    Constructor {
        /// Its name.
        path: Path,
        /// Its fields.
        args: Vec<Pattern>,
    },
    /// `(p : T)`.
    Annotated(Box<Pattern>, Box<Type>),
    /// Could not be read; a diagnostic was reported.
    Error,
}

/// A field in a record pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldPattern {
    /// The label.
    pub name: Ident,
    /// What it must match; a pun `{ x }` has the variable `x`.
    pub pattern: Pattern,
}
