//! What names mean: scopes, imports and what other modules declare.

use std::{collections::BTreeMap, rc::Rc, sync::Arc};

use foldhash::{HashMap, HashMapExt, HashSet};

use super::impls;
use super::interface::{ConstraintExport, HandledByExport, Imports, Interface, RecordFieldInfo, TypeBody, TypeExport};
use super::traits::{self, Constraint, InstanceInfo, InstanceKey, MemberInfo, TraitInfo};
use super::tree::FlowId;
use crate::core::Local;
use crate::diagnostic::Span;
use crate::syntax::ast::Ident;
use crate::types::{builtin, short, Name, Store, Ty};

/// The module whose names are in scope everywhere.
pub const PRELUDE: &str = "Topos.Prelude";

/// A type that has been declared.
#[derive(Clone, Debug)]
pub(super) struct TypeInfo {
    /// Quantified variables.
    pub(super) params: Vec<Ty>,
    pub(super) body: TypeBody<Ty>,
    /// What must hold where a value of it is made.
    pub(super) constraints: Vec<Constraint>,
    pub(super) span: Option<Span>,
}

/// A constructor: its type's full name and its place there.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CtorRef {
    pub(super) ty: Name,
    pub(super) index: usize,
}

#[derive(Clone, Debug)]
pub(super) struct OperationInfo {
    pub(super) name: Name,
    pub(super) params: Vec<Ty>,
    pub(super) result: Ty,
    pub(super) row: Ty,
    /// Its own constraints: the clause is given a dictionary for each by who performs it.
    pub(super) constraints: Vec<Constraint>,
}

#[derive(Clone, Debug)]
pub(super) struct EffectInfo {
    /// For each operation the same number, instantiated together with it.
    pub(super) arity: usize,
    /// For each operation, the effect's parameters as that operation's types mention them.
    pub(super) params: Vec<Vec<Ty>>,
    pub(super) operations: Vec<OperationInfo>,
    /// What its parameters must be: a trait, and the index of the parameter. Its handlers see to that.
    pub(super) bounds: Vec<(Name, usize)>,
    pub(super) span: Option<Span>,
}

#[derive(Clone, Debug)]
pub(super) struct FlowInfo {
    /// `None` for this module.
    pub(super) module: Option<Name>,
    pub(super) name: Name,
    pub(super) arity: usize,
    /// Of a flow of another module, like its constraints, from [`Env::flow`] only.
    pub(super) ty: Ty,
    pub(super) config: bool,
    /// Its dictionaries, which it takes before its parameters.
    pub(super) constraints: Vec<Constraint>,
    /// The trait whose member it is, and which.
    pub(super) method: Option<(Name, usize)>,
    /// Where it is declared, in this module.
    pub(super) span: Option<Span>,
}

#[derive(Clone, Debug)]
pub(super) struct HandlerInfo {
    pub(super) effect: Name,
    pub(super) effect_args: Vec<Ty>,
    pub(super) params: Vec<Ty>,
    pub(super) row: Ty,
    /// Its dictionaries, which it takes before its parameters.
    pub(super) constraints: Vec<Constraint>,
    pub(super) by: HandledBy,
}

/// What answers the operations of a handler.
#[derive(Clone, Debug)]
pub(super) enum HandledBy {
    /// An Erlang module.
    Extern(Name),
    /// Clauses in a Topos module, `None` for this one; the types of the body's value and of the value of the `with`.
    Topos { module: Option<Name>, name: Name, body: Ty, answer: Ty },
}

/// The names a module gives, by namespace.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pub(super) values: HashMap<Name, FlowId>,
    pub(super) types: HashMap<Name, Name>,
    pub(super) ctors: HashMap<Name, CtorRef>,
    pub(super) effects: HashMap<Name, Name>,
    pub(super) handlers: HashMap<Name, usize>,
    pub(super) traits: HashMap<Name, Name>,
}

/// A variable in scope.
#[derive(Clone, Debug)]
pub(super) struct LocalInfo {
    pub(super) local: Local,
    pub(super) ty: Ty,
    /// Whether it is a state variable of the handler around it.
    pub(super) state: bool,
}

/// An import that brings names without a qualifier.
#[derive(Clone, Debug)]
struct Opened {
    module: Name,
    /// `None`: all of them.
    only: Option<HashSet<String>>,
}

/// The answer to a question about a name.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Lookup<T> {
    Found(T),
    Unknown,
    /// The modules that have it.
    Ambiguous(Vec<Name>),
    /// The module has no such name.
    NotExported(Name),
    /// The qualifier is no module.
    NoModule(String),
}

pub(super) struct Env {
    pub(super) module: Name,
    pub(super) types: HashMap<Name, Rc<TypeInfo>>,
    pub(super) effects: HashMap<Name, EffectInfo>,
    pub(super) flows: Vec<FlowInfo>,
    pub(super) traits: HashMap<Name, Rc<TraitInfo>>,
    pub(super) instances: HashMap<InstanceKey, Rc<InstanceInfo>>,
    pub(super) handlers: Vec<HandlerInfo>,
    pub(super) own: Names,
    modules: BTreeMap<Name, Names>,
    opened: Vec<Opened>,
    qualifiers: HashMap<String, Vec<Name>>,
    /// Flows of other modules whose types are not in the store yet: most are never used.
    waiting: Vec<Option<(Arc<Interface>, usize)>>,
    /// Evidence of flows of other modules.
    pub(super) imported_evidence: HashMap<FlowId, bool>,
    pub(super) locals: Vec<(String, LocalInfo)>,
}

impl Env {
    pub(super) fn new(module: Name, imports: &Imports, store: &mut Store) -> Self {
        let mut env = Self {
            module,
            types: HashMap::new(),
            effects: HashMap::new(),
            flows: Vec::new(),
            traits: HashMap::new(),
            instances: HashMap::new(),
            handlers: Vec::new(),
            own: Names::default(),
            modules: BTreeMap::new(),
            opened: Vec::new(),
            qualifiers: HashMap::new(),
            waiting: Vec::new(),
            imported_evidence: HashMap::new(),
            locals: Vec::new(),
        };
        for (name, interface) in imports {
            let names = env.load(name, interface, store);
            env.modules.insert(name.clone(), names);
        }
        env
    }

    pub(super) fn has_module(&self, module: &str) -> bool {
        self.modules.contains_key(module)
    }

    pub(super) fn module_names(&self) -> impl Iterator<Item = &str> {
        self.modules.keys().map(|name| &**name)
    }

    /// Lets names of a module be written without it; `only` some of them.
    pub(super) fn open_module(&mut self, module: Name, only: Option<HashSet<String>>) {
        self.opened.push(Opened { module, only });
    }

    /// Lets `qualifier.name` mean a name of the module.
    pub(super) fn add_qualifier(&mut self, qualifier: String, module: Name) {
        let modules = self.qualifiers.entry(qualifier).or_default();
        if !modules.contains(&module) {
            modules.push(module);
        }
    }

    /// Whether a module has a name in any namespace.
    pub(super) fn exports(&self, module: &str, name: &str) -> bool {
        self.modules.get(module).is_some_and(|names| {
            names.values.contains_key(name)
                || names.types.contains_key(name)
                || names.ctors.contains_key(name)
                || names.effects.contains_key(name)
                || names.handlers.contains_key(name)
                || names.traits.contains_key(name)
        })
    }

    /// All names of a module, for suggestions.
    pub(super) fn exported(&self, module: &str) -> Vec<&str> {
        self.modules.get(module).map_or_else(Vec::new, |n| {
            n.values
                .keys()
                .chain(n.types.keys())
                .chain(n.ctors.keys())
                .chain(n.effects.keys())
                .chain(n.handlers.keys())
                .chain(n.traits.keys())
                .map(|name| &**name)
                .collect()
        })
    }

    fn load(&mut self, module: &Name, interface: &Arc<Interface>, store: &mut Store) -> Names {
        let mut names = Names::default();
        for export in &interface.types {
            self.load_type(module, export, store, &mut names);
        }
        for export in &interface.effects {
            let full: Name = format!("{module}.{}", export.name).into();
            let mut params = Vec::new();
            let mut operations = Vec::new();
            for op in &export.operations {
                let vars = store.import_vars(&op.vars);
                operations.push(OperationInfo {
                    name: op.name.clone(),
                    params: op.params.iter().map(|t| store.import_tree(t, &vars)).collect(),
                    result: store.import_tree(&op.result, &vars),
                    row: store.import_tree(&op.row, &vars),
                    constraints: import_constraints(store, &vars, &op.constraints),
                });
                params.push(vars.into_iter().take(export.params).collect());
            }
            let bounds = export.bounds.clone();
            let info = EffectInfo { arity: export.params, params, operations, bounds, span: None };
            self.effects.insert(full.clone(), info);
            if export.visible {
                names.effects.insert(export.name.clone(), full);
            }
        }
        let mut by_name: HashMap<&str, FlowId> = HashMap::with_capacity(interface.flows.len());
        names.values.reserve(interface.flows.len());
        self.flows.reserve(interface.flows.len());
        for (index, export) in interface.flows.iter().enumerate() {
            let id = self.flows.len();
            by_name.insert(&export.name, id);
            self.waiting.push(Some((Arc::clone(interface), index)));
            self.flows.push(FlowInfo {
                module: Some(module.clone()),
                name: export.name.clone(),
                arity: export.arity,
                ty: Ty::NONE,
                config: export.config,
                constraints: Vec::new(),
                method: None,
                span: None,
            });
            self.imported_evidence.insert(id, export.evidence);
            if export.visible {
                names.values.insert(export.name.clone(), id);
            }
        }
        self.load_traits(module, interface, &by_name, store, &mut names);
        for export in &interface.handlers {
            let vars = store.import_vars(&export.vars);
            let info = HandlerInfo {
                effect: export.effect.clone(),
                effect_args: export.effect_args.iter().map(|t| store.import_tree(t, &vars)).collect(),
                params: export.params.iter().map(|t| store.import_tree(t, &vars)).collect(),
                row: store.import_tree(&export.row, &vars),
                constraints: import_constraints(store, &vars, &export.constraints),
                by: match &export.by {
                    HandledByExport::Extern(target) => HandledBy::Extern(target.clone()),
                    HandledByExport::Topos { body, answer } => HandledBy::Topos {
                        module: Some(module.clone()),
                        name: export.name.clone(),
                        body: store.import_tree(body, &vars),
                        answer: store.import_tree(answer, &vars),
                    },
                },
            };
            if export.visible {
                names.handlers.insert(export.name.clone(), self.handlers.len());
            }
            self.handlers.push(info);
        }
        names
    }

    /// A flow with its type and its constraints, whichever module it is from.
    pub(super) fn flow(&mut self, id: FlowId, store: &mut Store) -> &FlowInfo {
        if let Some((interface, index)) = self.waiting.get_mut(id).and_then(Option::take) {
            let export = &interface.flows[index];
            let vars = store.import_vars(&export.scheme.vars);
            self.flows[id].constraints = import_constraints(store, &vars, &export.constraints);
            self.flows[id].ty = store.import_tree(&export.scheme.body, &vars);
        }
        &self.flows[id]
    }

    fn load_traits(
        &mut self,
        module: &Name,
        interface: &Interface,
        by_name: &HashMap<&str, FlowId>,
        store: &mut Store,
        names: &mut Names,
    ) {
        for export in &interface.traits {
            let full: Name = format!("{module}.{}", export.name).into();
            let vars = store.import_vars(&export.vars);
            let mut members = Vec::new();
            for member in &export.members {
                let Some(flow) = by_name.get(&**member).copied() else { continue };
                self.flows[flow].method = Some((full.clone(), members.len()));
                let default = by_name.get(traits::default_name(&full, member).as_str()).copied();
                members.push(MemberInfo { name: member.clone(), flow, default });
            }
            let supers = import_constraints(store, &vars, &export.supers);
            let kinds = export.vars.iter().map(|(kind, _)| *kind).collect();
            let info = TraitInfo { params: vars, kinds, supers, members, span: None };
            self.traits.insert(full.clone(), info.into());
            if export.visible {
                names.traits.insert(export.name.clone(), full);
            }
        }
        for export in &interface.instances {
            let vars = store.import_vars(&export.vars);
            let key: InstanceKey = (export.of.clone(), export.head.clone());
            let members = export
                .members
                .iter()
                .filter_map(|m| by_name.get(traits::member_name(&key, m).as_str()).copied())
                .collect();
            let info = InstanceInfo {
                module: Some(module.clone()),
                args: export.args.iter().map(|t| store.import_tree(t, &vars)).collect(),
                context: import_constraints(store, &vars, &export.context),
                members,
                structural: export.structural,
                span: None,
            };
            traits::overload(store, &key);
            self.instances.insert(key, info.into());
        }
    }

    fn load_type(&mut self, module: &Name, export: &TypeExport, store: &mut Store, names: &mut Names) {
        let full: Name = format!("{module}.{}", export.name).into();
        let vars = store.import_vars(&export.vars);
        let body = match &export.body {
            TypeBody::Opaque => TypeBody::Opaque,
            TypeBody::Alias(tree) => TypeBody::Alias(store.import_tree(tree, &vars)),
            TypeBody::Shape(ctors) => TypeBody::Shape(
                ctors
                    .iter()
                    .map(|(name, fields)| (name.clone(), fields.iter().map(|t| store.import_tree(t, &vars)).collect()))
                    .collect(),
            ),
            TypeBody::Record(fields) => TypeBody::Record(
                fields
                    .iter()
                    .map(|f| RecordFieldInfo {
                        name: f.name.clone(),
                        ty: store.import_tree(&f.ty, &vars),
                        default: f.default,
                    })
                    .collect(),
            ),
        };
        if export.visible {
            names.types.insert(export.name.clone(), full.clone());
            if let TypeBody::Shape(ctors) = &body {
                for (index, (name, _)) in ctors.iter().enumerate() {
                    names.ctors.insert(name.clone(), CtorRef { ty: full.clone(), index });
                }
            }
        }
        let constraints = import_constraints(store, &vars, &export.constraints);
        let params = vars.into_iter().take(export.params).collect();
        self.types.insert(full, TypeInfo { params, body, constraints, span: None }.into());
    }

    /// What a name means in a namespace. The module's own names hide imported ones, and these hide the prelude's.
    pub(super) fn lookup<T: Clone + PartialEq>(
        &self,
        pick: fn(&Names) -> &HashMap<Name, T>,
        qualifier: &[Ident],
        name: &str,
    ) -> Lookup<T> {
        self.lookup_typed(pick, |_| None, qualifier, name)
    }

    /// As [`Env::lookup`]; `type_of` gives the full name of the type that an item belongs to.
    fn lookup_typed<T: Clone + PartialEq>(
        &self,
        pick: fn(&Names) -> &HashMap<Name, T>,
        type_of: fn(&T) -> Option<&str>,
        qualifier: &[Ident],
        name: &str,
    ) -> Lookup<T> {
        if !qualifier.is_empty() {
            return self.lookup_qualified(pick, qualifier, name);
        }
        if let Some(own) = pick(&self.own).get(name) {
            return Lookup::Found(own.clone());
        }
        let mut found: Vec<(Name, T)> = Vec::new();
        for opened in &self.opened {
            let Some(names) = self.modules.get(&opened.module) else { continue };
            if let Some(item) = pick(names).get(name) {
                // A type in an import list brings its constructors.
                let by_type = |only: &HashSet<String>| type_of(item).is_some_and(|ty| only.contains(short(ty)));
                let listed = opened.only.as_ref().is_none_or(|only| only.contains(name) || by_type(only));
                if listed && !found.iter().any(|(_, other)| other == item) {
                    found.push((opened.module.clone(), item.clone()));
                }
            }
        }
        match found.len() {
            0 => {}
            1 => return found.pop().map_or(Lookup::Unknown, |(_, item)| Lookup::Found(item)),
            _ => return Lookup::Ambiguous(found.into_iter().map(|(module, _)| module).collect()),
        }
        match self.modules.get(PRELUDE).and_then(|names| pick(names).get(name)) {
            Some(item) => Lookup::Found(item.clone()),
            None => Lookup::Unknown,
        }
    }

    fn lookup_qualified<T: Clone + PartialEq>(
        &self,
        pick: fn(&Names) -> &HashMap<Name, T>,
        qualifier: &[Ident],
        name: &str,
    ) -> Lookup<T> {
        let dotted = dotted(qualifier);
        if *dotted == *self.module {
            return pick(&self.own).get(name).cloned().map_or(Lookup::NotExported(self.module.clone()), Lookup::Found);
        }
        let Some(modules) = self.qualifiers.get(&dotted) else {
            return Lookup::NoModule(dotted);
        };
        let found: Vec<(&Name, &T)> = modules
            .iter()
            .filter_map(|m| self.modules.get(m).and_then(|names| pick(names).get(name)).map(|item| (m, item)))
            .collect();
        match found.as_slice() {
            [] => modules.first().map_or(Lookup::Unknown, |m| Lookup::NotExported(m.clone())),
            [(_, item)] => Lookup::Found((*item).clone()),
            [(_, first), rest @ ..] if rest.iter().all(|(_, item)| item == first) => Lookup::Found((*first).clone()),
            _ => Lookup::Ambiguous(found.iter().map(|(m, _)| (*m).clone()).collect()),
        }
    }

    /// A type by its written path: a built-in one, an alias of one (rule 10), or a declared one.
    pub(super) fn lookup_type(&self, qualifier: &[Ident], name: &str) -> Lookup<Name> {
        match self.lookup(|n| &n.types, qualifier, name) {
            Lookup::Unknown => {}
            other => return other,
        }
        let name = match name {
            "String" => builtin::TEXT,
            "Unit" => builtin::UNIT,
            "Option" => return self.lookup(|n| &n.types, qualifier, "Maybe"),
            other => other,
        };
        if name == builtin::UNIT {
            return Lookup::Found(builtin::UNIT.into());
        }
        match builtin::ALL.iter().find(|(known, _)| *known == name) {
            Some((known, _)) => Lookup::Found((*known).into()),
            None => Lookup::Unknown,
        }
    }

    /// A constructor by its path: `Some`, `P.FullMesh`, `P.Topology.FullMesh`.
    pub(super) fn lookup_ctor(&self, qualifier: &[Ident], name: &str) -> Lookup<CtorRef> {
        let direct = self.lookup_typed(|n| &n.ctors, |ctor| Some(&ctor.ty), qualifier, name);
        if matches!(direct, Lookup::Found(_) | Lookup::Ambiguous(_)) {
            return direct;
        }
        if let Some((last, rest)) = qualifier.split_last() {
            if let Lookup::Found(ty) = self.lookup_type(rest, &last.name) {
                if let Some(TypeBody::Shape(ctors)) = self.types.get(&ty).map(|info| &info.body) {
                    return match ctors.iter().position(|(ctor, _)| &**ctor == name) {
                        Some(index) => Lookup::Found(CtorRef { ty, index }),
                        None => Lookup::NotExported(ty),
                    };
                }
            }
        }
        direct
    }

    /// A flow or config by its path: of a module, or of the module of a type.
    pub(super) fn lookup_value(&self, qualifier: &[Ident], name: &str) -> Lookup<FlowId> {
        let direct = self.lookup(|n| &n.values, qualifier, name);
        let is_type = matches!(direct, Lookup::NoModule(_) | Lookup::NotExported(_));
        if let (true, Some((last, rest))) = (is_type, qualifier.split_last()) {
            if let Lookup::Found(ty) = self.lookup_type(rest, &last.name) {
                if let Some(id) = self.companion(&ty, name) {
                    return Lookup::Found(id);
                }
            }
        }
        direct
    }

    /// The member of a type, or the flow `name` of its module (rule 7).
    pub(super) fn companion(&self, ty: &str, name: &str) -> Option<FlowId> {
        let module = companion_module(ty);
        self.flow_of(&module, &impls::member(short(ty), name)).or_else(|| self.flow_of(&module, name))
    }

    /// A flow of a module.
    pub(super) fn flow_of(&self, module: &str, name: &str) -> Option<FlowId> {
        if *module == *self.module {
            return self.own.values.get(name).copied();
        }
        self.modules.get(module).and_then(|names| names.values.get(name)).copied()
    }

    /// The effects in scope that have an operation, and qualified by a module those of the module.
    pub(super) fn effects_with(&self, qualifier: &[Ident], operation: &str) -> Vec<Name> {
        let has = |effect: &Name| {
            self.effects.get(effect).is_some_and(|info| info.operations.iter().any(|op| &*op.name == operation))
        };
        let mut found: Vec<Name> = Vec::new();
        let mut add = |effect: &Name| {
            if has(effect) && !found.contains(effect) {
                found.push(effect.clone());
            }
        };
        if qualifier.is_empty() {
            self.own.effects.values().for_each(&mut add);
            for opened in &self.opened {
                if let Some(names) = self.modules.get(&opened.module) {
                    let listed = |name: &Name| opened.only.as_ref().is_none_or(|only| only.contains(&**name));
                    names.effects.iter().filter(|(name, _)| listed(name)).for_each(|(_, effect)| add(effect));
                }
            }
        } else {
            let dotted = dotted(qualifier);
            if *dotted == *self.module {
                self.own.effects.values().for_each(&mut add);
            }
            for module in self.qualifiers.get(&dotted).into_iter().flatten() {
                if let Some(names) = self.modules.get(module) {
                    names.effects.values().for_each(&mut add);
                }
            }
        }
        found.sort();
        found
    }

    /// Whether a qualifier is a module in scope.
    pub(super) fn is_qualifier(&self, qualifier: &[Ident]) -> bool {
        let dotted = dotted(qualifier);
        *dotted == *self.module || self.qualifiers.contains_key(&dotted)
    }

    /// Every name without a qualifier in a namespace, for suggestions.
    pub(super) fn in_scope<T: 'static>(&self, pick: fn(&Names) -> &HashMap<Name, T>) -> Vec<&str> {
        let opened = self.opened.iter().filter_map(|o| self.modules.get(&o.module).map(|names| (o, names)));
        let opened = opened.flat_map(|(o, names)| {
            pick(names).keys().filter(|name| o.only.as_ref().is_none_or(|only| only.contains(&***name)))
        });
        let prelude = self.modules.get(PRELUDE).into_iter().flat_map(|names| pick(names).keys());
        pick(&self.own).keys().chain(opened).chain(prelude).map(|name| &**name).collect()
    }

    pub(super) fn qualifiers(&self) -> impl Iterator<Item = &str> {
        self.qualifiers.keys().map(String::as_str)
    }

    /// The innermost variable of that name.
    pub(super) fn local(&self, name: &str) -> Option<&LocalInfo> {
        self.locals.iter().rev().find(|(n, _)| n == name).map(|(_, info)| info)
    }
}

fn import_constraints(store: &mut Store, vars: &[Ty], all: &[ConstraintExport]) -> Vec<Constraint> {
    all.iter()
        .map(|(of, args)| Constraint {
            of: of.clone(),
            args: args.iter().map(|t| store.import_tree(t, vars)).collect(),
        })
        .collect()
}

/// The module that holds the companion functions of a type.
pub(super) fn companion_module(ty: &str) -> String {
    match ty.rsplit_once('.') {
        // The prelude's types have modules of their own: `Topos.Maybe`.
        Some((PRELUDE, name)) => format!("Topos.{name}"),
        Some((module, _)) => module.to_owned(),
        None if ty == builtin::UNIT => "Topos.Unit".to_owned(),
        None => format!("Topos.{ty}"),
    }
}

pub(super) fn dotted(path: &[Ident]) -> String {
    path.iter().map(|i| i.name.as_str()).collect::<Vec<_>>().join(".")
}
