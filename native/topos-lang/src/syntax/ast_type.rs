//! The abstract syntax of types, effect rows, constraints and session types.

use super::ast::{Ident, Path};
use crate::diagnostic::Span;

/// A type with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Type {
    /// What it is.
    pub kind: TypeKind,
    /// Where.
    pub span: Span,
}

/// Types as written.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeKind {
    /// `a`.
    Var(Ident),
    /// `Int`, `P.Config`, `Map(k, v)`, `Map k v`: a constructor and its arguments.
    Named {
        /// Its name.
        path: Path,
        /// Its arguments.
        args: Vec<Type>,
    },
    /// `f a`: a variable applied to arguments, in traits over constructors.
    Apply {
        /// The variable.
        head: Ident,
        /// Its arguments; at least one.
        args: Vec<Type>,
    },
    /// `TwoPhase.coord`: the local type of a role.
    Projection {
        /// The protocol.
        protocol: Path,
        /// The role.
        role: Ident,
    },
    /// `()`.
    Unit,
    /// Two or more.
    Tuple(Vec<Type>),
    /// `[a]`.
    List(Box<Type>),
    /// `{ a : Int, b : Text | r }`.
    Record {
        /// Its fields.
        fields: Vec<TypeField>,
        /// The row variable.
        tail: Option<Ident>,
    },
    /// `(x : A) -> B -> C / row`. Without a domain, `C / row` is `() -> C / row`.
    Function {
        /// Its domains, in order.
        domains: Vec<Domain>,
        /// What it returns.
        result: Box<Type>,
        /// The row of the last arrow; the others are pure.
        row: Option<Row>,
    },
    /// Could not be read.
    Error,
}

/// `label : T`.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeField {
    /// The label.
    pub name: Ident,
    /// Its type.
    pub ty: Type,
}

/// What stands before an arrow: `A`, or `(x : A)`, which binds `x` in the body of the flow.
#[derive(Clone, Debug, PartialEq)]
pub struct Domain {
    /// The name.
    pub name: Option<Ident>,
    /// The type.
    pub ty: Type,
}

/// The type of a flow: `forall a. C a => (x : A) -> B / row`.
#[derive(Clone, Debug, PartialEq)]
pub struct Signature {
    /// After `forall`.
    pub forall: Vec<Ident>,
    /// Before `=>`.
    pub context: Vec<Constraint>,
    /// Before the arrows; none in `T / row`, which is `() -> T / row`.
    pub domains: Vec<Domain>,
    /// After the last arrow.
    pub result: Type,
    /// After the slash; none means pure.
    pub row: Option<Row>,
    /// All of it.
    pub span: Span,
}

/// An effect row.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// The effects in braces; none in a bare variable.
    pub effects: Vec<EffectRef>,
    /// The row variable: `e` of `/ e`, `r` of `/ {IO | r}`.
    pub tail: Option<Ident>,
    /// Where.
    pub span: Span,
}

/// An effect with its arguments, which may be left out: `StateSync`, `P.Distributed`, `State Int`.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectRef {
    /// Its name.
    pub path: Path,
    /// Its arguments.
    pub args: Vec<Type>,
    /// Where.
    pub span: Span,
}

/// `C a`: a trait that must have an instance.
#[derive(Clone, Debug, PartialEq)]
pub struct Constraint {
    /// The trait.
    pub path: Path,
    /// Its arguments.
    pub args: Vec<Type>,
    /// Where.
    pub span: Span,
}

/// A binder in brackets: `a`, `a : C`, `a : C + D`.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeParam {
    /// Its name.
    pub name: Ident,
    /// The traits it must have.
    pub bounds: Vec<Path>,
    /// Where.
    pub span: Span,
}

/// A kind: `Type`, `Type -> Type`, `(Type -> Type) -> Type`.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    /// `Type`, or another name, which the checker judges.
    Named(Ident),
    /// `k -> l`.
    Arrow(Box<Kind>, Box<Kind>),
    /// Could not be read.
    Error,
}

/// A local session type with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionType {
    /// What it is.
    pub kind: SessionKind,
    /// Where.
    pub span: Span,
}

/// Local session types.
#[derive(Clone, Debug, PartialEq)]
pub enum SessionKind {
    /// `!Msg @ role -> S`.
    Send {
        /// What is sent.
        message: Type,
        /// To whom, where there are more than two.
        role: Option<Ident>,
        /// What follows.
        then: Box<SessionType>,
    },
    /// `?Msg @ role -> S`.
    Receive {
        /// What arrives.
        message: Type,
        /// From whom.
        role: Option<Ident>,
        /// What follows.
        then: Box<SessionType>,
    },
    /// `select { l -> S, .. }`: this side chooses.
    Select {
        /// Who learns it.
        role: Option<Ident>,
        /// The labels.
        branches: Vec<SessionBranch>,
    },
    /// `offer { l -> S, .. }`: the other side chooses.
    Offer {
        /// Who chooses.
        role: Option<Ident>,
        /// The labels.
        branches: Vec<SessionBranch>,
    },
    /// `rec X. S`.
    Rec {
        /// The variable.
        variable: Ident,
        /// The body.
        body: Box<SessionType>,
    },
    /// `X`, `Shop`, `Stack a`: a variable of `rec`, or another session with its arguments.
    Named {
        /// Its name.
        path: Path,
        /// Its arguments.
        args: Vec<Type>,
    },
    /// `TwoPhase.coord`.
    Projection {
        /// The protocol.
        protocol: Path,
        /// The role.
        role: Ident,
    },
    /// `dual S`.
    Dual(Box<SessionType>),
    /// `end`.
    End,
    /// Could not be read.
    Error,
}

/// `label -> S`.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionBranch {
    /// The label.
    pub label: Ident,
    /// What follows.
    pub body: SessionType,
}

/// A global type: steps in order. A sequence that does not stop with `end`, a variable or a choice ends there.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalType {
    /// In order.
    pub steps: Vec<GlobalStep>,
    /// All of it.
    pub span: Span,
}

/// One step of a global type.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalStep {
    /// What happens.
    pub kind: GlobalKind,
    /// Where.
    pub span: Span,
}

/// Steps of a global type.
#[derive(Clone, Debug, PartialEq)]
pub enum GlobalKind {
    /// `a -> b : Label(Type) via channel`.
    Message {
        /// The sender.
        from: Ident,
        /// The receiver.
        to: Ident,
        /// The message's name.
        label: Ident,
        /// What it carries.
        payload: Vec<Type>,
        /// The channel.
        channel: Option<Ident>,
    },
    /// `choice at a { | l -> G | m -> G }`.
    Choice {
        /// Who chooses.
        at: Ident,
        /// The branches.
        branches: Vec<GlobalBranch>,
    },
    /// `rec X. G`.
    Rec {
        /// The variable.
        variable: Ident,
        /// The body: the rest of the sequence.
        body: GlobalType,
    },
    /// `X`.
    Var(Ident),
    /// `P(a, b)`: another protocol.
    Call {
        /// Its name.
        protocol: Path,
        /// Who plays its roles.
        roles: Vec<Ident>,
    },
    /// `end`.
    End,
    /// Could not be read.
    Error,
}

/// `| label -> G`.
#[derive(Clone, Debug, PartialEq)]
pub struct GlobalBranch {
    /// The label.
    pub label: Ident,
    /// What follows.
    pub body: GlobalType,
}
