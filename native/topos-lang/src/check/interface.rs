//! What a module shows to others: a value without ties to the store it was made in.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::types::{Name, Scheme, Tree, Vars};

/// The interfaces of all modules that a module's imports reach, by their names.
///
/// A module that is only reached through another one must be here too: a type of it may stand in a signature.
pub type Imports = BTreeMap<Name, Arc<Interface>>;

/// A module as others see it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interface {
    /// The dotted name.
    pub module: String,
    /// Types, private ones too: a descriptor may need to look into them.
    pub types: Vec<TypeExport>,
    /// Effects.
    pub effects: Vec<EffectExport>,
    /// Flows, externs and configs.
    pub flows: Vec<FlowExport>,
    /// Handlers.
    pub handlers: Vec<HandlerExport>,
    /// Traits.
    pub traits: Vec<TraitExport>,
    /// Instances. They have no names: they count wherever the module is reached.
    pub instances: Vec<InstanceExport>,
}

/// A trait with its arguments, the types that must have an instance.
pub type ConstraintExport = (Name, Vec<Tree>);

/// A trait.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TraitExport {
    /// Its name without the module.
    pub name: Name,
    /// Whether importing modules may name it.
    pub visible: bool,
    /// Its parameters.
    pub vars: Vars,
    /// Its superclasses.
    pub supers: Vec<ConstraintExport>,
    /// The names of its members, which are flows.
    pub members: Vec<Name>,
}

/// An instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceExport {
    /// The full name of the trait.
    pub of: Name,
    /// The full name of the constructor of its first type.
    pub head: Name,
    /// Variables of the trees.
    pub vars: Vars,
    /// The types.
    pub args: Vec<Tree>,
    /// What it needs.
    pub context: Vec<ConstraintExport>,
    /// The members of the trait, in its order.
    pub members: Vec<Name>,
    /// Whether it compares all parts, as the BEAM's operators do.
    pub structural: bool,
}

/// A type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypeExport {
    /// Its name without the module.
    pub name: Name,
    /// Whether importing modules may name it.
    pub visible: bool,
    /// Its parameters and other variables of the trees.
    pub vars: Vars,
    /// How many of `vars` are parameters; they come first.
    pub params: usize,
    /// What it is.
    pub body: TypeBody<Tree>,
}

/// What a type is, over trees in an interface and over store types in the checker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum TypeBody<T> {
    /// Made by Erlang code, or built in.
    Opaque,
    /// Alternatives.
    Shape(Vec<(Name, Vec<T>)>),
    /// A nominal record.
    Record(Vec<RecordFieldInfo<T>>),
    /// Another name of a type.
    Alias(T),
}

/// A field of a nominal record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordFieldInfo<T> {
    /// Its label.
    pub name: Name,
    /// Its type.
    pub ty: T,
    /// Whether a literal may leave it out. The flow [`default_flow`] then gives its value.
    pub default: bool,
}

/// The flow that gives a field's default: exported by the module of the type, of arity 0, pure.
pub fn default_flow(type_name: &str, field: &str) -> String {
    format!("default {type_name}.{field}")
}

/// An effect.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EffectExport {
    /// Its name without the module.
    pub name: Name,
    /// Whether importing modules may name it.
    pub visible: bool,
    /// How many parameters it has.
    pub params: usize,
    /// Its operations, in order.
    pub operations: Vec<OperationExport>,
}

/// An operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperationExport {
    /// Its name.
    pub name: Name,
    /// The effect's parameters first.
    pub vars: Vars,
    /// What it takes.
    pub params: Vec<Tree>,
    /// What it returns.
    pub result: Tree,
    /// What performing it does besides.
    pub row: Tree,
}

/// A flow, an extern flow or a config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlowExport {
    /// Its name.
    pub name: Name,
    /// Its type.
    pub scheme: Scheme,
    /// Its written arity.
    pub arity: usize,
    /// Its constraints, over the variables of the scheme: it takes a dictionary for each before its parameters.
    pub constraints: Vec<ConstraintExport>,
    /// Whether it takes evidence.
    pub evidence: bool,
    /// Whether it is a config: used without a call.
    pub config: bool,
    /// Whether importing modules may name it.
    pub visible: bool,
}

/// A handler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HandlerExport {
    /// Its name.
    pub name: Name,
    /// The full name of the effect.
    pub effect: Name,
    /// Variables of the trees.
    pub vars: Vars,
    /// Arguments of the effect.
    pub effect_args: Vec<Tree>,
    /// What it takes.
    pub params: Vec<Tree>,
    /// What installing it and its clauses do.
    pub row: Tree,
    /// What answers its operations.
    pub by: HandledByExport,
    /// Whether importing modules may name it.
    pub visible: bool,
}

/// What answers the operations of a handler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum HandledByExport {
    /// The Erlang module of an extern handler.
    Extern(Name),
    /// The clauses of a handler written in Topos.
    Topos {
        /// The type of the value of what runs under it.
        body: Tree,
        /// The type of the value of its `with`.
        answer: Tree,
    },
}
