//! Traits: declarations, instances, constraints, and the dictionaries that carry them (P. Wadler, S. Blott, *How to make
//! ad-hoc polymorphism less ad hoc*, 1989; M. P. Jones, *Typing Haskell in Haskell*, 2000).
//!
//! A constraint that an expression brings is a [`Wanted`] with a place for its dictionary. It is solved when the types of
//! its flow are known ([`solve`]): by a dictionary that the flow is given, a superclass of one, an instance, or the
//! BEAM's own operators. What is left on a variable of a flow without a signature becomes a constraint of that flow.
//! [`dictionary`] turns solved ones into the core: members of known instances are called directly.
//!
//! A trait with several parameters has one instance for a type constructor of the first, which decides the others.

mod binder;
mod constraint;
mod declare;
mod derive;
mod dictionary;
mod instance;
mod solve;

pub(super) use derive::derived;
pub(super) use instance::InstanceBuild;
pub(super) use solve::overload;

use super::tree::FlowId;
use crate::core::Local;
use crate::diagnostic::Span;
use crate::types::{builtin, Kind, Name, Ty};

/// `==`, and `Eq`.
pub(super) const COMPARABLE: &str = "Topos.Prelude.Comparable";
/// `<`, and `Ord`.
pub(super) const ORDERABLE: &str = "Topos.Prelude.Orderable";
/// `show` and f-strings.
pub(super) const SHOW: &str = "Topos.Prelude.Show";
/// Number literals, `+ - * /`.
pub(super) const NUM: &str = "Topos.Prelude.Num";
/// `++` and `<>`.
pub(super) const COMBINER: &str = "Topos.Prelude.Combiner";
/// `m[k]`.
pub(super) const INDEX: &str = "Topos.Prelude.Index";
/// `m[k] := e`.
pub(super) const INDEX_PUT: &str = "Topos.Prelude.IndexPut";

/// What may cross nodes.
pub(super) const SERIALIZABLE: &str = "Topos.Prelude.Serializable";
/// What `deriving` makes.
const DERIVABLE: &[&str] = &[COMPARABLE, ORDERABLE, SHOW, SERIALIZABLE];

/// Names that other languages use for the prelude's traits.
const ALIASES: &[(&str, &str)] = &[
    ("Eq", "Comparable"),
    ("Ord", "Orderable"),
    ("Semigroup", "Combiner"),
    ("Monoid", "Accumulator"),
    ("Functor", "Mapper"),
    ("Applicative", "Applicator"),
    ("Monad", "Chainable"),
];

/// `C a`: types that must have an instance of a trait.
#[derive(Clone, Debug)]
pub(super) struct Constraint {
    pub(super) of: Name,
    pub(super) args: Vec<Ty>,
}

/// The place of a dictionary, in `Checker::dicts`.
pub(super) type DictId = usize;

/// Where a dictionary comes from.
#[derive(Clone, Debug)]
pub(super) enum Dict {
    /// Not known yet; or never, after an error.
    Pending,
    /// The n-th one that the flow is given.
    Given(usize),
    /// The variable that holds it: one that a clause is given by who performs its operation.
    Local(Local),
    /// A superclass of another: the field of its record.
    Super(DictId, String),
    /// An instance with the dictionaries of its context.
    Instance(InstanceKey, Vec<DictId>),
    /// The BEAM's own operators: `=:=`, `<`.
    Native(Name),
}

/// A trait and the head of a type.
pub(super) type InstanceKey = (Name, Name);

/// A constraint that an expression brings.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) dict: DictId,
    pub(super) constraint: Constraint,
    pub(super) span: Span,
    /// What brings it: "the call of `max`".
    pub(super) what: String,
    pub(super) origin: Origin,
}

/// What kind of expression brings a constraint.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Origin {
    /// A call or an operator.
    Call,
    /// A number literal: its type is Int if nothing else decides it. A flow is not generic over its literals.
    Literal,
    /// A value of a type with a constraint: nothing takes its dictionary.
    Made,
    /// An f-string, which shows every value: without an instance as the BEAM sees it.
    Shown,
}

#[derive(Clone, Debug)]
pub(super) struct TraitInfo {
    /// Quantified variables.
    pub(super) params: Vec<Ty>,
    pub(super) kinds: Vec<Kind>,
    pub(super) supers: Vec<Constraint>,
    pub(super) members: Vec<MemberInfo>,
    pub(super) span: Option<Span>,
}

#[derive(Clone, Debug)]
pub(super) struct MemberInfo {
    pub(super) name: Name,
    /// The flow that users name. Its first constraint is the trait's own.
    pub(super) flow: FlowId,
    /// The flow of its default.
    pub(super) default: Option<FlowId>,
}

#[derive(Clone, Debug)]
pub(super) struct InstanceInfo {
    /// `None` for this module.
    pub(super) module: Option<Name>,
    /// Types with quantified variables.
    pub(super) args: Vec<Ty>,
    pub(super) context: Vec<Constraint>,
    /// For each member of the trait the flow that is it.
    pub(super) members: Vec<FlowId>,
    /// Whether it compares all parts, as the BEAM's operators do.
    pub(super) structural: bool,
    pub(super) span: Option<Span>,
}

/// The flow that makes the dictionary of an instance.
pub(super) fn dictionary_name(key: &InstanceKey) -> String {
    format!("instance {} {}", key.0, key.1)
}

/// The flow that is a member of an instance.
pub(super) fn member_name(key: &InstanceKey, member: &str) -> String {
    format!("instance {} {} {member}", key.0, key.1)
}

/// The flow of a member's default.
pub(super) fn default_name(of: &str, member: &str) -> String {
    format!("trait {of} {member}")
}

/// The field of a dictionary that holds the dictionary of the n-th superclass.
pub(super) fn super_field(index: usize, of: &str) -> String {
    format!("super {index} {of}")
}

/// Whether a flow was made by the checker for a trait.
pub(super) fn is_generated(flow: &str) -> bool {
    flow.starts_with("instance ") || flow.starts_with("trait ")
}

/// The module that a type belongs to; built-in ones belong to the prelude.
fn home(head: &str) -> &str {
    head.rsplit_once('.').map_or(super::PRELUDE, |(module, _)| module)
}

/// How many parameters a built-in type has.
fn builtin_arity(name: &str) -> Option<usize> {
    builtin::ALL.iter().find(|(n, _)| *n == name).map(|(_, arity)| *arity)
}
