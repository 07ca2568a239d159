//! Constraints that are not those of flows: of effects and their operations, of handlers, and of declared types.
//!
//! - An operation's own constraint, `operation put[a : Show](x : a)`, is a dictionary that who performs it passes before the
//!   arguments, and that its clauses may use.
//! - A handler's, `handler h[a : Mergeable](initial : a)`, is a dictionary that the `with` passes.
//! - An effect's, `effect Sync[a : Mergeable]`, is no dictionary: each handler of the effect has seen to it that there
//!   is an instance, so that who performs needs none.
//! - A declared type's, `type Box a : Ord a => {..}`, is looked at where a value of it is made.

use std::rc::Rc;

use foldhash::{HashMap, HashMapExt, HashSet};

use super::{Constraint, Dict, DictId, Origin, Wanted};
use crate::check::handler::HeadVars;
use crate::check::{unsupported, Checker};
use crate::codes;
use crate::core::Local;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{Name, Ty};

impl<'a> Checker<'a> {
    /// Reads the constraints of effects, operations, handlers and types: after the traits, which they name.
    pub(in crate::check) fn binders(&mut self, module: &'a ast::Module) {
        for decl in &module.decls {
            match &decl.kind {
                ast::DeclKind::Type(ty) => self.type_constraints(ty),
                ast::DeclKind::Effect(effect) => self.effect_constraints(effect),
                ast::DeclKind::Handler(handler) => self.handler_constraints(handler),
                _ => {}
            }
        }
    }

    fn type_constraints(&mut self, ty: &'a ast::TypeDecl) {
        let Some(first) = ty.context.first() else { return };
        if matches!(ty.definition, ast::TypeDefinition::Alias(_) | ast::TypeDefinition::Opaque) {
            self.report(unsupported::constraint(first.span));
            return;
        }
        let full = self.full(&ty.name.name);
        let vars = self.param_vars(&full, ty);
        let constraints = self.with_vars(crate::check::VarMode::Declared, vars, |c| {
            ty.context.iter().filter_map(|written| c.constraint(written)).collect()
        });
        if let Some(info) = self.env.types.get_mut(&full) {
            Rc::make_mut(info).constraints = constraints;
        }
    }

    /// The traits of a binder, `a : C + D`. A trait with other than one parameter cannot stand there.
    fn bounds(&mut self, binder: &ast::TypeParam) -> Vec<Name> {
        let mut bounds: Vec<Name> = Vec::new();
        for path in &binder.bounds {
            let Some(of) = self.lookup_trait(path) else { continue };
            let kinds = self.env.traits.get(&of).map_or(0, |info| info.kinds.len());
            if kinds != 1 {
                self.report(
                    Diagnostic::new(
                        codes::TRAIT_ARGUMENTS,
                        format!(
                            "the trait `{}` has {kinds} parameters, so `{}` alone cannot have it",
                            crate::types::short(&of),
                            binder.name.name
                        ),
                        path.span,
                    )
                    .help("a binder takes traits with one parameter"),
                );
            } else if !bounds.contains(&of) {
                bounds.push(of);
            }
        }
        bounds
    }

    fn effect_constraints(&mut self, effect: &'a ast::EffectDecl) {
        let full = self.full(&effect.name.name);
        let shared = crate::check::declare::shared_binders(effect);
        let names: Vec<&str> =
            effect.params.iter().map(|p| p.name.name.as_str()).chain(shared.iter().copied()).collect();
        let mut of_effect: Vec<(Name, usize)> = Vec::new();
        let mut of_operations: HashMap<&str, Vec<Constraint>> = HashMap::new();
        for binder in &effect.params {
            self.bound_parameter(binder, &names, &mut of_effect);
        }
        for op in &effect.operations {
            let mut own: Vec<Constraint> = Vec::new();
            for binder in &op.type_params {
                if names.contains(&binder.name.name.as_str()) {
                    self.bound_parameter(binder, &names, &mut of_effect);
                    continue;
                }
                let bounds = self.bounds(binder);
                let key = (full.clone(), op.name.name.clone());
                let var = self.operation_vars.get(&key).and_then(|vars| vars.get(&binder.name.name)).copied();
                match var {
                    Some(var) => own.extend(bounds.into_iter().map(|of| Constraint { of, args: vec![var] })),
                    None if !bounds.is_empty() => self.unused_binder(binder, "operation", &op.name.name),
                    None => {}
                }
            }
            of_operations.insert(&op.name.name, own);
        }
        if let Some(info) = self.env.effects.get_mut(&full) {
            info.bounds = of_effect;
            for op in &mut info.operations {
                op.constraints = of_operations.remove(&*op.name).unwrap_or_default();
            }
        }
    }

    fn bound_parameter(&mut self, binder: &ast::TypeParam, names: &[&str], out: &mut Vec<(Name, usize)>) {
        let Some(index) = names.iter().position(|n| *n == binder.name.name) else { return };
        for of in self.bounds(binder) {
            if !out.contains(&(of.clone(), index)) {
                out.push((of, index));
            }
        }
    }

    fn handler_constraints(&mut self, handler: &'a ast::HandlerDecl) {
        let Some(index) = self.env.own.handlers.get(handler.name.name.as_str()).copied() else { return };
        let mut constraints = Vec::new();
        for binder in &handler.type_params {
            let bounds = self.bounds(binder);
            let var = self.handler_vars.get(&handler.name.name).and_then(|vars| vars.get(&binder.name.name)).copied();
            match var {
                Some(var) => constraints.extend(bounds.into_iter().map(|of| Constraint { of, args: vec![var] })),
                None if !bounds.is_empty() => self.unused_binder(binder, "handler", &handler.name.name),
                None => {}
            }
        }
        self.env.handlers[index].constraints = constraints;
    }

    /// A constrained binder that no type mentions: nothing would ever say which instance is meant.
    fn unused_binder(&mut self, binder: &ast::TypeParam, what: &str, name: &str) {
        let binder_name = &binder.name.name;
        self.report(
            Diagnostic::new(
                codes::AMBIGUOUS_INSTANCE,
                format!("nothing says which type `{binder_name}` is: the {what} `{name}` has no parameter with it"),
                binder.span,
            )
            .help(format!("use `{binder_name}` in a type of the {what}, or leave it out")),
        );
    }

    /// What the head of a handler, and its effect, demand of its type variables while its clauses are checked.
    pub(in crate::check) fn want_of_handler(&mut self, index: usize, declared: &[Constraint], span: Span) {
        let info = self.env.handlers[index].clone();
        let name = format!("`Handler({})`", crate::types::short(&info.effect));
        for Constraint { of, args } in declared {
            self.want(of, args.clone(), span, name.clone());
        }
        self.want_bounds(&info.effect, &info.effect_args, span, &name);
    }

    /// An effect's constraints on its arguments.
    pub(in crate::check) fn want_bounds(&mut self, effect: &str, args: &[Ty], span: Span, what: &str) {
        let bounds = self.env.effects.get(effect).map_or_else(Vec::new, |info| info.bounds.clone());
        for (of, index) in bounds {
            if let Some(arg) = args.get(index) {
                self.want(&of, vec![*arg], span, what.to_owned());
            }
        }
    }

    /// A type's constraints, where a value of it is made.
    pub(in crate::check) fn want_made(&mut self, ty: Ty, span: Span) {
        let Some(name) = self.head(ty) else { return };
        let crate::types::Node::Con(_, args) = self.store.node(ty).clone() else { return };
        let Some(info) = self.env.types.get(&name).filter(|info| !info.constraints.is_empty()).cloned() else { return };
        for Constraint { of, args: of_args } in &info.constraints {
            let of_args = of_args.iter().map(|t| self.apply(&info.params, &args, *t)).collect();
            self.want(of, of_args, span, format!("a value of the type `{}`", crate::types::short(&name)));
            if let Some(want) = self.wanted.last_mut() {
                want.origin = Origin::Made;
            }
        }
    }

    /// Dictionaries for the constraints of an operation or a handler that is used.
    pub(in crate::check) fn want_instances(
        &mut self,
        constraints: Vec<Constraint>,
        span: Span,
        what: &str,
    ) -> Vec<DictId> {
        constraints.into_iter().map(|c| self.want(&c.of, c.args, span, what.to_owned())).collect()
    }

    /// Runs `f`, which checks a clause, with dictionaries for the operation's own constraints, and solves what needs them:
    /// its type variables are not known outside.
    pub(in crate::check) fn given_in_clause<T>(
        &mut self,
        constraints: Vec<Constraint>,
        f: impl FnOnce(&mut Self) -> T,
    ) -> (Vec<Local>, T) {
        let mut locals = Vec::new();
        let outer = self.local_givens.len();
        for constraint in constraints {
            let local = self.new_local("dictionary");
            locals.push(local.clone());
            self.local_givens.push((constraint, local));
        }
        let result = f(self);
        if !locals.is_empty() {
            self.settle(self.level);
            self.solve_now();
        }
        self.local_givens.truncate(outer);
        (locals, result)
    }

    /// What the flow or clause under check is given.
    pub(super) fn all_givens(&self) -> Vec<(Constraint, Dict)> {
        let flow = self.givens.iter().enumerate().map(|(index, given)| (given.clone(), Dict::Given(index)));
        let clause = self.local_givens.iter().map(|(given, local)| (given.clone(), Dict::Local(local.clone())));
        flow.chain(clause).collect()
    }

    /// Reports a constraint that the clauses of a handler need on a type variable of its head, and that the head does
    /// not have.
    pub(in crate::check) fn undeclared_constraints(
        &mut self,
        found: &[Wanted],
        declared: &[Constraint],
        vars: &HeadVars,
    ) {
        let named: HashSet<Ty> = vars.values().map(|ty| self.store.root(*ty)).collect();
        for want in found {
            let Some(first) = want.constraint.args.first().map(|t| self.store.root(*t)) else { continue };
            if !named.contains(&first) || self.is_implied(declared, &want.constraint) {
                continue;
            }
            let missing = self.show_constraint(&want.constraint);
            let (name, of) = (self.store.show(first), self.trait_shown(&want.constraint.of));
            self.report(
                Diagnostic::new(
                    codes::MISSING_CONSTRAINT,
                    format!("the head of the handler does not say `{missing}`"),
                    want.span,
                )
                .primary(format!("{} needs it", want.what))
                .help(format!("constrain the type variable: `[{name} : {of}]` behind the name of the handler")),
            );
        }
    }

    fn is_implied(&mut self, declared: &[Constraint], wanted: &Constraint) -> bool {
        let base = self.dicts.len();
        self.dicts.push(Dict::Pending);
        let found = declared.iter().any(|given| self.through_supers(base, given, wanted, 0).is_some());
        self.dicts.truncate(base);
        found
    }

    /// The dictionaries of a `with`. A handler that was checked together with its `with` has the constraints of both.
    pub(in crate::check) fn handler_dictionaries(
        &mut self,
        index: usize,
        dicts: &[DictId],
        span: Span,
    ) -> Vec<crate::core::Expr> {
        let own = self.env.handlers[index].constraints.len();
        if own == dicts.len() {
            return self.dictionaries(dicts, span);
        }
        let given = self.dict_locals.clone().into_iter();
        given.map(|local| crate::core::Expr { kind: crate::core::ExprKind::Local(local), span }).collect()
    }
}
