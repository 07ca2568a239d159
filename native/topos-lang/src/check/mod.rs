//! Names, types and effects: from the abstract syntax to the typed core.
//!
//! [`check_module`] checks one module against the [`Interface`]s of the modules it imports. It does no I/O: whoever
//! calls it loads the files, orders them with `order` and keeps the interfaces.
//!
//! The passes, in order: imports and declarations (`declare`, `annotate`), flows group by group along the call graph
//! (`groups`, `flows`, `clauses`, `infer` and its neighbours) into a typed tree (`tree`), and, once every type is known, the core
//! (`elaborate`, with the checks of patterns in `exhaustive`).

mod actor;
mod annotate;
mod assign;
mod block;
mod call;
mod clauses;
mod declare;
mod descriptor;
mod elaborate;
mod env;
mod exhaustive;
mod export;
mod flows;
mod graph;
mod groups;
mod handler;
mod handler_value;
mod impls;
mod infer;
mod interface;
mod message;
mod modules;
mod pattern;
mod program;
mod record;
mod remote;
mod repeated;
mod report;
mod rows;
mod suggest;
mod swapped;
mod testing;
#[cfg(test)]
mod tests;
mod traits;
mod tree;
mod try_;
mod unsupported;

use std::{
    cell::Cell,
    sync::{Mutex, PoisonError},
};

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

pub use env::PRELUDE;
pub use interface::{
    default_flow, ConstraintExport, EffectExport, FlowExport, HandledByExport, HandlerExport, Imports, InstanceExport,
    Interface, OperationExport, RecordFieldInfo, TraitExport, TypeBody, TypeExport,
};
pub use modules::{order, show_cycle};
pub use suggest::nearest;
pub use testing::is_test;

use crate::codes;
use crate::core;
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::syntax::{ast, Readable, Rest};
use crate::types::{Kind, Name, Store, Ty};
use env::Env;

/// What a check needs to know besides the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    /// The path that stack traces show.
    pub file: &'a str,
    /// The name of the module if it does not say one itself.
    pub default_name: &'a str,
    /// Full names of the effects that have handlers at the start of a program. `None` for a module that is not the
    /// program's: its `main`, if it has one, is a flow like others.
    pub root_effects: Option<&'a [&'a str]>,
    /// Full names of the effects that have handlers in tests and properties.
    pub test_effects: &'a [&'a str],
}

/// Checks a module: its core and its interface, or everything that is wrong with it, in source order.
///
/// `imports` holds the interfaces of all modules that the module reaches; the prelude, if it is there, is in scope.
///
/// # Errors
/// At least one diagnostic. One mistake gives one, as far as can be told.
pub fn check_module(
    module: &ast::Module,
    imports: &Imports,
    options: &Options<'_>,
) -> Result<(core::Module, Interface), Vec<Diagnostic>> {
    on_large_stack(|| check_here(module, None, imports, options))
}

/// What is said where nothing decides a type: a flow that was left out might have.
const UNDECIDED: [Code; 5] = [
    codes::TYPE_UNKNOWN_HERE,
    codes::AMBIGUOUS_TYPE,
    codes::AMBIGUOUS_OPERATION,
    codes::AMBIGUOUS_INSTANCE,
    codes::NO_GENERATOR,
];

/// Checks what can be read of a module. One with syntax errors is never accepted: those are in the answer, with what is wrong with
/// the rest, in source order. Uses of flows that have syntax errors are no mistakes.
///
/// # Errors
/// As [`check_module`].
pub fn check_readable(
    readable: &Readable,
    imports: &Imports,
    options: &Options<'_>,
) -> Result<(core::Module, Interface), Vec<Diagnostic>> {
    let rest = match readable {
        Readable::Whole(module) => return check_module(module, imports, options),
        Readable::Rest(rest) => rest,
    };
    let mut diagnostics = rest.diagnostics.clone();
    let checked = on_large_stack(|| check_here(&rest.module, Some(rest), imports, options).err());
    diagnostics.extend(checked.into_iter().flatten().filter(|d| !UNDECIDED.contains(&d.code)));
    diagnostics.sort_by_key(|d| (d.primary.span.start, d.code));
    Err(diagnostics)
}

thread_local! {
    static LARGE: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` where the checker has room: its passes recurse as deeply as the parser let the tree become. That is a thread with a
/// large stack, so that the caller's may be small; inside of `work` no other one is made. Nothing but the stack differs: where no
/// thread can be had, the caller's has to do.
pub fn on_large_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    if LARGE.get() {
        return work();
    }
    let work = Mutex::new(Some(work));
    let once = || {
        let work = work.lock().unwrap_or_else(PoisonError::into_inner).take();
        work.map(|work| work())
    };
    let done = std::thread::scope(|scope| {
        let there = || {
            LARGE.set(true);
            once()
        };
        match std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, there) {
            Ok(thread) => thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)),
            Err(_) => once(),
        }
    });
    done.unwrap_or_else(|| unreachable!("the work was taken once"))
}

/// Only the part that is used becomes memory.
const STACK_BYTES: usize = 256 << 20;

/// `rest`: what the module was before syntax errors, if it has some.
fn check_here(
    module: &ast::Module,
    rest: Option<&Rest>,
    imports: &Imports,
    options: &Options<'_>,
) -> Result<(core::Module, Interface), Vec<Diagnostic>> {
    let written = module;
    let name: Name = module.name.as_ref().map_or_else(|| options.default_name.to_owned(), ast::Path::dotted).into();
    let module = &*testing::as_flows(module);
    let members = impls::expand(module);
    let (module, mut reported) = match &members {
        Some((expanded, diagnostics)) => (expanded, diagnostics.clone()),
        None => (module, Vec::new()),
    };
    let derived = traits::derived(module);
    let mut expanded = actor::expand(module);
    let mut checker = Checker::new(name.clone(), imports);
    checker.diagnostics.append(&mut reported);
    if let Some(rest) = rest {
        checker.lost = rest.lost.iter().collect();
        checker.names_are_missing = rest.names_are_lost;
    }
    checker.imports(module);
    if !checker.needs_process(module) {
        expanded = None;
    }
    let module = match &expanded {
        Some((expanded, diagnostics)) => {
            checker.diagnostics.extend(diagnostics.iter().cloned());
            expanded
        }
        None => module,
    };
    checker.declarations(module);
    checker.traits(module, &derived);
    checker.binders(module);
    let bodies = checker.flows(module);
    if let Some(roots) = options.root_effects {
        checker.main(roots, module.span);
    }
    checker.tests(options.test_effects);
    checker.exports(module);
    let (flows, handlers) = checker.elaborate(bodies);
    let interface = checker.interface();
    if checker.diagnostics.is_empty() {
        Ok((core::Module { name: name.to_string(), file: options.file.to_owned(), flows, handlers }, interface))
    } else {
        checker.diagnostics.sort_by_key(|d| (d.primary.span, d.code));
        checker.diagnostics.dedup();
        checker.join_uses(written);
        crate::advice::complete(&mut checker.diagnostics);
        Err(checker.diagnostics)
    }
}

/// Why a type is expected: it becomes a label of the message.
#[derive(Clone, Debug)]
enum Why {
    /// Nothing to say.
    Plain,
    /// A signature or an annotation.
    Signature(Span),
    /// As before, where a function stands that is none of it.
    Body(Span),
    /// The n-th argument (from 1) of what is called.
    Argument(String, usize),
    /// A fixed demand: "the condition of an `if` is a Bool".
    Demand(&'static str),
    /// Something that was met before: "the first branch".
    Like(Span, &'static str),
    /// A field of a record.
    Field(Name),
    /// An operator's operand.
    Operand(&'static str, Span),
}

/// A type that is expected, perhaps a variable, and why.
#[derive(Clone, Debug)]
struct Want {
    ty: Ty,
    why: Why,
}

/// Whose row the ambient row is.
#[derive(Clone, Debug)]
enum AmbientOf {
    Flow(String, Option<Span>),
    Lambda(Span),
    Guard,
    Config(&'static str),
}

/// A field selected from a record whose type was not known yet.
#[derive(Clone, Debug)]
struct DeferredField {
    record: Ty,
    field: Name,
    result: Ty,
    span: Span,
}

/// The effects of a rigid row variable must be among those of a row: `fn(x) -> f(x)` for `f : a -> b / e`.
#[derive(Clone, Debug)]
struct DeferredRow {
    rigid: Ty,
    row: Ty,
    span: Span,
    what: String,
}

/// An effect, and the call or `perform` that brought it into a row.
#[derive(Clone, Debug)]
struct Brought {
    effects: Vec<Name>,
    span: Span,
    what: String,
}

/// How a type variable is understood that has not been met yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum VarMode {
    /// Quantified, by a signature.
    Generic,
    /// An error: the parameters are all there are.
    Declared,
    /// A unification variable at the current level.
    Flexible,
}

struct Checker<'a> {
    store: Store,
    env: Env,
    diagnostics: Vec<Diagnostic>,
    level: u32,
    ambient: Ty,
    ambient_of: AmbientOf,
    /// The row of the flow under check, and its name and signature.
    flow_row: Option<(Ty, AmbientOf)>,
    next_local: u32,
    /// The handler whose clauses are checked.
    handling: Option<handler::Handling>,
    /// Type variables of the heads of handlers, by the handlers' names.
    handler_vars: HashMap<String, handler::HeadVars>,
    /// Type variables of operations, by effect and operation.
    operation_vars: HashMap<(Name, String), HashMap<String, Ty>>,
    /// Bodies of `for` and `loop`: a `return` in one leaves what is around the loop.
    loop_bodies: HashSet<Span>,
    /// What a `return` leaves, the innermost last.
    leaves: Vec<assign::Leave>,
    /// Whether the value of what is checked next is the value of its flow: a `return` may stand there.
    tail: bool,
    type_vars: HashMap<String, Ty>,
    var_mode: VarMode,
    fields: Vec<DeferredField>,
    rows: Vec<DeferredRow>,
    /// Constraints that are not solved yet, the places of dictionaries, and what the flow under check is given.
    wanted: Vec<traits::Wanted>,
    dicts: Vec<traits::Dict>,
    number_patterns: Vec<(Ty, Span)>,
    trait_groups: Vec<groups::Group<'a>>,
    givens: Vec<traits::Constraint>,
    /// What the clause under check is given by who performs its operation.
    local_givens: Vec<(traits::Constraint, core::Local)>,
    /// Whether a handler is under check, or a flow that is checked together with one.
    in_handler: bool,
    /// How the module wrote the name of a trait first: `Ord`, or `Orderable`.
    trait_names: HashMap<Name, String>,
    instance_builds: Vec<traits::InstanceBuild<'a>>,
    /// The locals that hold the dictionaries of the flow that is being elaborated.
    dict_locals: Vec<core::Local>,
    brought: Vec<Brought>,
    aliases: HashMap<Name, &'a ast::Decl>,
    aliases_open: Vec<Name>,
    /// Whether a flow takes evidence, once it is known.
    evidence: HashMap<tree::FlowId, bool>,
    /// Handlers without names, from `try`.
    lifted: Vec<core::Handler>,
    /// How many variables were in scope where arguments begin that travel to another node.
    remote: Option<usize>,
    /// Whether the clauses of a `try` are under check.
    in_try: bool,
    private: HashSet<String>,
    export_list: Option<HashSet<String>>,
    /// Names of declarations that this version does not compile: using them is not a second mistake.
    unsupported_names: HashSet<String>,
    /// Qualifiers of modules that are not there, and whether one of those would have brought all its names: likewise.
    missing_qualifiers: HashSet<String>,
    names_are_missing: bool,
    /// Names of flows that were left out for their syntax errors.
    lost: Vec<&'a ast::Ident>,
    /// Unknown names that nothing outside of their declaration explains, by place, and those that are called somewhere.
    missed_variables: HashMap<Span, String>,
    missed_flows: HashSet<String>,
}

impl<'a> Checker<'a> {
    fn new(module: Name, imports: &Imports) -> Self {
        let mut store = Store::new();
        let mut env = Env::new(module, imports, &mut store);
        let ambient = store.empty();
        let evidence = std::mem::take(&mut env.imported_evidence);
        Self {
            store,
            env,
            diagnostics: Vec::new(),
            level: 1,
            ambient,
            ambient_of: AmbientOf::Config("this"),
            flow_row: None,
            next_local: 0,
            handling: None,
            handler_vars: HashMap::new(),
            operation_vars: HashMap::new(),
            loop_bodies: HashSet::new(),
            leaves: Vec::new(),
            tail: false,
            type_vars: HashMap::new(),
            var_mode: VarMode::Declared,
            fields: Vec::new(),
            rows: Vec::new(),
            wanted: Vec::new(),
            dicts: Vec::new(),
            number_patterns: Vec::new(),
            trait_groups: Vec::new(),
            givens: Vec::new(),
            local_givens: Vec::new(),
            in_handler: false,
            trait_names: HashMap::new(),
            instance_builds: Vec::new(),
            dict_locals: Vec::new(),
            brought: Vec::new(),
            aliases: HashMap::new(),
            aliases_open: Vec::new(),
            evidence,
            lifted: Vec::new(),
            remote: None,
            in_try: false,
            private: HashSet::new(),
            export_list: None,
            unsupported_names: HashSet::new(),
            missing_qualifiers: HashSet::new(),
            names_are_missing: false,
            lost: Vec::new(),
            missed_variables: HashMap::new(),
            missed_flows: HashSet::new(),
        }
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    fn fresh(&mut self) -> Ty {
        self.store.var(Kind::Type, self.level)
    }

    fn fresh_row(&mut self) -> Ty {
        self.store.var(Kind::Effects, self.level)
    }

    /// A variable of the program.
    fn new_local(&mut self, name: &str) -> core::Local {
        let id = self.next_local;
        self.next_local += 1;
        core::Local { name: name.to_owned(), id }
    }

    /// Runs `f` with another ambient row.
    fn under<T>(&mut self, row: Ty, of: AmbientOf, f: impl FnOnce(&mut Self) -> T) -> T {
        let ambient = std::mem::replace(&mut self.ambient, row);
        let ambient_of = std::mem::replace(&mut self.ambient_of, of);
        let result = f(self);
        self.ambient = ambient;
        self.ambient_of = ambient_of;
        result
    }

    /// Runs `f` and forgets the variables that it brought into scope.
    fn scoped<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let mark = self.env.locals.len();
        let result = f(self);
        self.env.locals.truncate(mark);
        result
    }
}

impl Want {
    fn new(ty: Ty, why: Why) -> Self {
        Self { ty, why }
    }

    fn plain(ty: Ty) -> Self {
        Self { ty, why: Why::Plain }
    }
}
