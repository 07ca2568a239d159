//! The abstract syntax: what a Topos module says, without its layout.
//!
//! Plain owned data with a [`Span`] on every node. Names are not resolved, operators keep their written form, and
//! nothing is desugared that a message to the user would have to sugar again. Layout, comments and the exact spelling
//! live in the token stream ([`super::Tokens`]); spans tie the two together.
//!
//! # After a mistake
//! Where the parser had to recover there is an `Error` node ([`ExprKind::Error`], [`PatternKind::Error`],
//! [`TypeKind::Error`], [`DeclKind::Error`], ...), and a diagnostic has been reported for it. A later pass gives such
//! a node whatever type fits and says nothing. A module with diagnostics is still a whole tree.
//!
//! # Depth
//! No path from the root is longer than about five times [`super::Limits::max_depth`] nodes: the parser refuses deeper
//! input with one error, so passes may recurse.
//!
//! Declarations are in this file; what stands inside them in [`super::ast_expr`] and [`super::ast_type`], re-exported
//! here.

use crate::diagnostic::Span;

pub use super::ast_expr::*;
pub use super::ast_type::*;

/// A single name, lower or upper case, without its qualifier. Empty after an error.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ident {
    /// As written.
    pub name: String,
    /// Where.
    pub span: Span,
}

/// A dotted path of upper-case names, `Topos.Partisan`, `P.Topology.FullMesh`. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Path {
    /// The names in order.
    pub segments: Vec<Ident>,
    /// From the first to the last.
    pub span: Span,
}

impl Path {
    /// The path as it is written, `Topos.Partisan`.
    pub fn dotted(&self) -> String {
        let mut text = String::new();
        for (i, segment) in self.segments.iter().enumerate() {
            if i > 0 {
                text.push('.');
            }
            text.push_str(&segment.name);
        }
        text
    }

    /// The last segment: the name itself.
    pub fn last(&self) -> Option<&Ident> {
        self.segments.last()
    }

    /// All segments but the last.
    pub fn qualifier(&self) -> &[Ident] {
        self.segments.split_last().map_or(&[], |(_, rest)| rest)
    }
}

/// A documentation comment: consecutive lines that begin with `---`, before a declaration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Doc {
    /// Markdown: the lines without `---` and one following space, joined by `\n`.
    pub text: String,
    /// From the first line to the last.
    pub span: Span,
}

/// One source file.
#[derive(Clone, Debug, PartialEq)]
pub struct Module {
    /// The doc comment before `module`.
    pub doc: Option<Doc>,
    /// `module A.B where`; a file may leave it out.
    pub name: Option<Path>,
    /// In source order.
    pub imports: Vec<Import>,
    /// `export (a, B)`; without one, everything that is not `private` is exported.
    pub exports: Vec<Export>,
    /// In source order.
    pub decls: Vec<Decl>,
    /// The whole file.
    pub span: Span,
}

/// `import qualified A.B as C (d, E)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// Which module.
    pub path: Path,
    /// Whether `qualified` stands before the path: names are then reached through the qualifier only.
    pub qualified: bool,
    /// The qualifier after `as`.
    pub alias: Option<Ident>,
    /// The names in parentheses; `None` when there is no list.
    pub names: Option<Vec<Ident>>,
    /// The whole line.
    pub span: Span,
}

/// `export (a, B)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Export {
    /// Flows, types, effects, handlers, ... by their names.
    pub names: Vec<Ident>,
    /// The whole declaration.
    pub span: Span,
}

/// A declaration.
#[derive(Clone, Debug, PartialEq)]
pub struct Decl {
    /// The doc comment before it.
    pub doc: Option<Doc>,
    /// Where `private` stands, if it does.
    pub private: Option<Span>,
    /// What is declared.
    pub kind: DeclKind,
    /// The whole declaration, without the doc comment.
    pub span: Span,
}

/// What a declaration declares.
#[derive(Clone, Debug, PartialEq)]
pub enum DeclKind {
    /// `flow ..`.
    Flow(FlowDecl),
    /// `type ..` or `shape ..`.
    Type(TypeDecl),
    /// `effect ..`.
    Effect(EffectDecl),
    /// `handler ..`.
    Handler(HandlerDecl),
    /// `trait ..`.
    Trait(TraitDecl),
    /// `instance ..`.
    Instance(InstanceDecl),
    /// `config ..`.
    Config(ConfigDecl),
    /// `impl ..`.
    Impl(ImplDecl),
    /// `session ..`.
    Session(SessionDecl),
    /// `protocol ..`.
    Protocol(ProtocolDecl),
    /// `actor ..`.
    Actor(ActorDecl),
    /// `supervisor ..`.
    Supervisor(SupervisorDecl),
    /// `extern flow ..`.
    ExternFlow(ExternFlowDecl),
    /// `extern handler ..`.
    ExternHandler(ExternHandlerDecl),
    /// `test ".." ..`.
    Test(TestDecl),
    /// `property ".." ..`.
    Property(TestDecl),
    /// Something that could not be read; a diagnostic was reported.
    Error,
}

/// A flow, or a member of a trait, an instance or an `impl`.
///
/// Several clauses of one flow (`flow f 0 = ..` `flow f n = ..`) and a signature of its own (`flow f : Int -> Int`) are
/// separate declarations here; the checker joins neighbours with the same name.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowDecl {
    /// The doc comment, for a member; a top-level flow has it in its [`Decl`].
    pub doc: Option<Doc>,
    /// Its name.
    pub name: Ident,
    /// Which of the three forms.
    pub head: FlowHead,
    /// `: SType`.
    pub signature: Option<Signature>,
    /// After `when`: all must be true.
    pub guards: Vec<Expr>,
    /// After `=`; none is a signature alone.
    pub body: Option<Block>,
    /// From the name (or `flow`) to the end of the body.
    pub span: Span,
}

/// How a flow's parameters are written.
#[derive(Clone, Debug, PartialEq)]
pub enum FlowHead {
    /// `flow f : (x : A) -> B = ..`: they are the named domains of the signature.
    Signature,
    /// `flow f 0 [] = ..`: one clause; none at all in `flow f = ..`.
    Patterns(Vec<Pattern>),
    /// `flow f(x : A, y) : B = ..`, where the signature, if any, is that of the result (and its row).
    Params(Vec<Param>),
}

/// A parameter in parentheses: `x`, `x : T`, `(a, b) : (T, U)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// What is bound.
    pub pattern: Pattern,
    /// `: T`.
    pub ty: Option<Type>,
    /// Both.
    pub span: Span,
}

/// `type T a b = ..` or `shape T a b = ..`.
#[derive(Clone, Debug, PartialEq)]
pub struct TypeDecl {
    /// Its name.
    pub name: Ident,
    /// Its parameters.
    pub params: Vec<Ident>,
    /// `: C a =>` before the definition.
    pub context: Vec<Constraint>,
    /// What it is.
    pub definition: TypeDefinition,
    /// `deriving [Show, Eq]`.
    pub deriving: Vec<Path>,
    /// Whether the keyword was `shape`.
    pub shape: bool,
}

/// What a type is.
#[derive(Clone, Debug, PartialEq)]
pub enum TypeDefinition {
    /// `| A | B(Int)`. A single alternative without a bar is one if the keyword is `shape`, or if it has the name of
    /// the type.
    Variants(Vec<Variant>),
    /// `{ a : Int, b : Text = "" }`: a nominal record.
    Record(Vec<RecordField>),
    /// Any other type: another name for it.
    Alias(Type),
    /// Nothing after the head: `type T a`, an opaque type that Erlang code makes.
    Opaque,
    /// Could not be read.
    Error,
}

/// A constructor and its fields.
#[derive(Clone, Debug, PartialEq)]
pub struct Variant {
    /// The doc comment before it.
    pub doc: Option<Doc>,
    /// Its name.
    pub name: Ident,
    /// Its fields, in order.
    pub fields: Vec<VariantField>,
    /// Name and fields.
    pub span: Span,
}

/// A field of a constructor, `Int` or `count : Int`.
#[derive(Clone, Debug, PartialEq)]
pub struct VariantField {
    /// A name for readers.
    pub name: Option<Ident>,
    /// Its type.
    pub ty: Type,
}

/// A field of a nominal record.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordField {
    /// The doc comment before it.
    pub doc: Option<Doc>,
    /// Its label.
    pub name: Ident,
    /// Its type.
    pub ty: Type,
    /// `= e`.
    pub default: Option<Expr>,
    /// All of it.
    pub span: Span,
}

/// `effect E[a : C] { operation .. }`.
#[derive(Clone, Debug, PartialEq)]
pub struct EffectDecl {
    /// Its name.
    pub name: Ident,
    /// Its parameters.
    pub params: Vec<TypeParam>,
    /// In order.
    pub operations: Vec<Operation>,
}

/// `operation op[a : C](x : A) : B / row`.
#[derive(Clone, Debug, PartialEq)]
pub struct Operation {
    /// The doc comment before it.
    pub doc: Option<Doc>,
    /// Its name.
    pub name: Ident,
    /// Its binders.
    pub type_params: Vec<TypeParam>,
    /// In parentheses; `None` when there are none, not even empty ones.
    pub params: Option<Vec<Param>>,
    /// What follows the colon: the result, or the whole type if there are no parentheses.
    pub signature: Option<Signature>,
    /// All of it.
    pub span: Span,
}

/// `handler h[a](x : A) : Handler(E) / row = { .. }`.
#[derive(Clone, Debug, PartialEq)]
pub struct HandlerDecl {
    /// Its name.
    pub name: Ident,
    /// Its binders.
    pub type_params: Vec<TypeParam>,
    /// Its parameters; `None` when there are no parentheses.
    pub params: Option<Vec<Param>>,
    /// The `E` of `Handler(E)`.
    pub effect: EffectRef,
    /// Its own row.
    pub row: Option<Row>,
    /// `state` variables, in order.
    pub states: Vec<StateVar>,
    /// Clauses, in order, `init` and `finally` among them.
    pub clauses: Vec<HandlerClause>,
}

/// `state x : T = e`.
#[derive(Clone, Debug, PartialEq)]
pub struct StateVar {
    /// Its name.
    pub name: Ident,
    /// Its type.
    pub ty: Option<Type>,
    /// Its first value.
    pub initial: Expr,
    /// All of it.
    pub span: Span,
}

/// A clause of a handler: `op(x, y) => ..` or `return x => ..`.
#[derive(Clone, Debug, PartialEq)]
pub struct HandlerClause {
    /// Which.
    pub head: ClauseHead,
    /// After `=>`; an expression is a block of one statement.
    pub body: Block,
    /// All of it.
    pub span: Span,
}

/// What a handler clause answers.
#[derive(Clone, Debug, PartialEq)]
pub enum ClauseHead {
    /// An operation (or `init`, `finally`).
    Operation {
        /// Its name.
        name: Ident,
        /// In parentheses; `None` when there are none.
        params: Option<Vec<Pattern>>,
    },
    /// The value of the handled block.
    Return(Pattern),
}

/// `trait T a (f : Type -> Type) extends C a where ..`.
#[derive(Clone, Debug, PartialEq)]
pub struct TraitDecl {
    /// Its name.
    pub name: Ident,
    /// Its parameters.
    pub params: Vec<TraitParam>,
    /// Its superclasses.
    pub extends: Vec<Constraint>,
    /// Signatures (no body) and defaults (a body), in order.
    pub members: Vec<FlowDecl>,
}

/// A parameter of a trait.
#[derive(Clone, Debug, PartialEq)]
pub struct TraitParam {
    /// Its name.
    pub name: Ident,
    /// `: Kind`.
    pub kind: Option<Kind>,
}

/// `instance C a => T (List a) where ..`.
#[derive(Clone, Debug, PartialEq)]
pub struct InstanceDecl {
    /// What must hold.
    pub context: Vec<Constraint>,
    /// Which trait.
    pub trait_path: Path,
    /// For which types.
    pub args: Vec<Type>,
    /// In order.
    pub members: Vec<FlowDecl>,
}

/// `config c : T = e`.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigDecl {
    /// Its name.
    pub name: Ident,
    /// Its type.
    pub ty: Option<Type>,
    /// Its value.
    pub value: Expr,
}

/// `impl T a { member : .. = .. }`: flows on a record type, whose fields and `:=` they use as their own.
#[derive(Clone, Debug, PartialEq)]
pub struct ImplDecl {
    /// The type.
    pub name: Path,
    /// Its parameters.
    pub params: Vec<Ident>,
    /// In order.
    pub members: Vec<FlowDecl>,
}

/// `session S a = ..`.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionDecl {
    /// Its name.
    pub name: Ident,
    /// Its parameters.
    pub params: Vec<Ident>,
    /// The local type.
    pub body: SessionType,
}

/// `protocol P (a @ local, b @ remote) = ..`.
#[derive(Clone, Debug, PartialEq)]
pub struct ProtocolDecl {
    /// Its name.
    pub name: Ident,
    /// Its roles and where they are.
    pub roles: Vec<RoleDecl>,
    /// The global type.
    pub body: GlobalType,
}

/// `coord @ local`.
#[derive(Clone, Debug, PartialEq)]
pub struct RoleDecl {
    /// The role.
    pub role: Ident,
    /// `local`, `remote`, or a variable that is bound to a node when the session opens.
    pub location: Ident,
}

/// `actor A[t](x : T) : Message / row = { state .. init() => .. | p -> .. }`.
#[derive(Clone, Debug, PartialEq)]
pub struct ActorDecl {
    /// Its name.
    pub name: Ident,
    /// Its binders.
    pub type_params: Vec<TypeParam>,
    /// Its parameters; `None` when there are no parentheses.
    pub params: Option<Vec<Param>>,
    /// The type of its messages.
    pub message: Option<Type>,
    /// Its row.
    pub row: Option<Row>,
    /// `state` variables, in order.
    pub states: Vec<StateVar>,
    /// `init() => ..`, `finally() => ..`.
    pub clauses: Vec<HandlerClause>,
    /// What it does with a message.
    pub arms: Vec<Arm>,
}

/// `supervisor S(x : T) / row = e`, where `e` is its specification, usually a record.
#[derive(Clone, Debug, PartialEq)]
pub struct SupervisorDecl {
    /// Its name.
    pub name: Ident,
    /// Its parameters; `None` when there are no parentheses.
    pub params: Option<Vec<Param>>,
    /// `: T`.
    pub ty: Option<Type>,
    /// Its row.
    pub row: Option<Row>,
    /// Its specification.
    pub value: Expr,
}

/// `extern flow f : T = "module:function"`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternFlowDecl {
    /// Its name.
    pub name: Ident,
    /// Its type.
    pub signature: Signature,
    /// Which Erlang function.
    pub target: TextLiteral,
}

/// `extern handler h(x : A) : Handler(E) = "module"`.
#[derive(Clone, Debug, PartialEq)]
pub struct ExternHandlerDecl {
    /// Its name.
    pub name: Ident,
    /// Its parameters; `None` when there are no parentheses.
    pub params: Option<Vec<Param>>,
    /// The `E` of `Handler(E)`.
    pub effect: EffectRef,
    /// Its own row.
    pub row: Option<Row>,
    /// Which Erlang module.
    pub target: TextLiteral,
}

/// A text literal where the grammar wants one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextLiteral {
    /// Its value, escapes replaced.
    pub value: String,
    /// With its quotes.
    pub span: Span,
}

/// `test "name" { .. }` or `property "name" { .. }`.
#[derive(Clone, Debug, PartialEq)]
pub struct TestDecl {
    /// Its name.
    pub name: TextLiteral,
    /// What it does.
    pub body: Block,
}
