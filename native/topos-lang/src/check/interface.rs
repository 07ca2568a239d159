//! What a module shows to others: a value without ties to the store it was made in.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::types::{Name, Scheme, Tree, Vars};

/// The interfaces of the modules that a module imports, by their names.
///
/// A module that is only reached through another one must be here too if a type of it may come out of a signature
/// ([`Interface::mentions`], again and again).
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

impl Interface {
    /// The modules whose types and effects stand in this interface: who imports this module needs theirs too.
    pub fn mentions(&self) -> BTreeSet<String> {
        let mut trees: Vec<&Tree> = Vec::new();
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for ty in &self.types {
            match &ty.body {
                TypeBody::Opaque => {}
                TypeBody::Alias(tree) => trees.push(tree),
                TypeBody::Shape(constructors) => trees.extend(constructors.iter().flat_map(|(_, fields)| fields)),
                TypeBody::Record(fields) => trees.extend(fields.iter().map(|field| &field.ty)),
            }
        }
        for operation in self.effects.iter().flat_map(|effect| &effect.operations) {
            trees.extend(operation.params.iter().chain([&operation.result, &operation.row]));
        }
        for bound in self.effects.iter().flat_map(|effect| &effect.bounds) {
            names.insert(&bound.0);
        }
        trees.extend(self.flows.iter().map(|flow| &flow.scheme.body));
        for handler in &self.handlers {
            names.insert(&handler.effect);
            trees.extend(handler.effect_args.iter().chain(&handler.params).chain([&handler.row]));
        }
        // An instance stands in the module of its trait or of its type: who knows both finds it.
        for instance in &self.instances {
            names.extend([&*instance.of, &*instance.head]);
            trees.extend(&instance.args);
        }
        let supers = self.traits.iter().flat_map(|of| &of.supers);
        let constraints = self.flows.iter().flat_map(|flow| &flow.constraints);
        let contexts = self.instances.iter().flat_map(|instance| &instance.context);
        let operations = self.effects.iter().flat_map(|effect| &effect.operations);
        let operations = operations.flat_map(|operation| &operation.constraints);
        let handlers = self.handlers.iter().flat_map(|handler| &handler.constraints);
        let types = self.types.iter().flat_map(|ty| &ty.constraints);
        let constraints = constraints.chain(operations).chain(handlers).chain(types);
        for (of, args) in supers.chain(constraints).chain(contexts) {
            names.insert(of);
            trees.extend(args);
        }
        while let Some(tree) = trees.pop() {
            match tree {
                Tree::Generic(_) | Tree::Empty | Tree::Error => {}
                Tree::Con(name, args) => {
                    names.insert(name);
                    trees.extend(args);
                }
                Tree::Arrow(parts) => trees.extend(parts.iter()),
                Tree::App(function, args) => {
                    trees.push(function);
                    trees.extend(args);
                }
                Tree::Tuple(parts) => trees.extend(parts),
                Tree::Record(row) => trees.push(row),
                // The label of a record's field has no dot and so no module.
                Tree::Extend(label, args, rest) => {
                    names.insert(label);
                    trees.extend(args);
                    trees.push(rest);
                }
            }
        }
        let modules = names.into_iter().filter_map(|name| name.rsplit_once('.')).map(|(module, _)| module);
        modules.filter(|module| *module != self.module).map(str::to_owned).collect()
    }
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
    /// What must hold where a value of it is made, over `vars`.
    pub constraints: Vec<ConstraintExport>,
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
    /// What its parameters must be: a trait, and the index of the parameter. Each handler of it must have seen to that.
    pub bounds: Vec<(Name, usize)>,
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
    /// Its own constraints: it takes a dictionary for each before its parameters.
    pub constraints: Vec<ConstraintExport>,
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
    /// Its constraints, over `vars`: it takes a dictionary for each before its parameters.
    pub constraints: Vec<ConstraintExport>,
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
