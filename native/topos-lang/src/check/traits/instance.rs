//! Declarations of instances, and the flows that are their members.

use std::rc::Rc;

use foldhash::{HashMap, HashMapExt};

use super::declare::MemberType;
use super::{home, member_name, Constraint, DictId, InstanceInfo, InstanceKey, COMPARABLE, ORDERABLE};
use crate::check::suggest;
use crate::check::tree::FlowId;
use crate::check::{Checker, VarMode};
use crate::codes;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{short, Name, Node, Ty};

/// What the dictionary of an instance of this module is made of.
pub(in crate::check) struct InstanceBuild<'a> {
    pub(in crate::check) key: InstanceKey,
    /// The dictionaries of the superclasses.
    pub(super) supers: Vec<DictId>,
    /// For each member its flow, and the trait's default if that is what it does.
    pub(super) members: Vec<(FlowId, Option<FlowId>)>,
    pub(super) decl: &'a ast::InstanceDecl,
}

impl<'a> Checker<'a> {
    pub(super) fn instances(&mut self, module: &'a ast::Module, derived: &'a [ast::InstanceDecl]) {
        let mut accepted: Vec<(InstanceKey, &'a ast::InstanceDecl, HashMap<String, Ty>)> = Vec::new();
        let written = module.decls.iter().filter_map(|d| match &d.kind {
            ast::DeclKind::Instance(instance) => Some((instance, false)),
            _ => None,
        });
        for (decl, is_derived) in written.chain(derived.iter().map(|d| (d, true))) {
            if let Some((key, vars)) = self.declare_instance(decl, is_derived) {
                accepted.push((key, decl, vars));
            }
        }
        // Every instance is known before the flows of the first are made.
        for (key, decl, vars) in accepted {
            self.instance_members(&key, decl, &vars);
        }
    }

    fn declare_instance(
        &mut self,
        decl: &'a ast::InstanceDecl,
        derived: bool,
    ) -> Option<(InstanceKey, HashMap<String, Ty>)> {
        let of = self.lookup_trait(&decl.trait_path)?;
        let span = decl.args.iter().fold(decl.trait_path.span, |span, arg| span.to(arg.span));
        if derived && !super::DERIVABLE.contains(&&*of) {
            self.report(
                Diagnostic::new(
                    codes::NOT_DERIVABLE,
                    format!("the trait `{}` cannot be derived", short(&of)),
                    decl.trait_path.span,
                )
                .help("Eq, Ord, Show and Serializable can; write an instance for another one"),
            );
            return None;
        }
        let (args, context, vars) = self.with_vars(VarMode::Generic, [], |c| {
            let args = c.trait_args(&of, &decl.args, span)?;
            let known = c.type_vars.len();
            let context: Vec<Constraint> = decl.context.iter().filter_map(|w| c.constraint(w)).collect();
            if c.type_vars.len() > known {
                c.report(
                    Diagnostic::new(
                        codes::BAD_INSTANCE,
                        "the context names a type variable that the instance's types do not have",
                        decl.context.first().map_or(span, |w| w.span),
                    )
                    .help("nothing would say which type it is"),
                );
                return None;
            }
            Some((args, context, std::mem::take(&mut c.type_vars)))
        })?;
        let first = *args.first()?;
        if self.store.is_error(first) {
            return None;
        }
        let Some(head) = self.head(first) else {
            let shown = self.store.show(first);
            self.report(
                Diagnostic::new(codes::BAD_INSTANCE, format!("`{shown}` cannot have an instance"), span)
                    .help("an instance is for a named type or a tuple, with arguments if it has parameters"),
            );
            return None;
        };
        self.paterson(decl, &args, &context);
        if derived && *of == *super::SERIALIZABLE && self.has_function(first) {
            self.report(
                Diagnostic::new(
                    codes::NOT_DERIVABLE,
                    format!("`{}` holds a function, which cannot be serialised", short(&head)),
                    decl.trait_path.span,
                )
                .help("send what the function is made from, or a name for it"),
            );
            return None;
        }
        let key: InstanceKey = (of.clone(), head.clone());
        let module = self.env.module.clone();
        if home(&of) != &*module && home(&head) != &*module {
            self.report(
                Diagnostic::new(
                    codes::ORPHAN,
                    format!("this module declares neither the trait `{}` nor the type `{}`", short(&of), short(&head)),
                    span,
                )
                .help("declare the instance in one of their modules, or wrap the type in a `shape` of this one"),
            );
            return None;
        }
        if let Some(first) = self.env.instances.get(&key) {
            let message = format!("`{}` has an instance of `{}` already", short(&head), short(&of));
            let diagnostic = Diagnostic::new(codes::TWO_INSTANCES, message, span)
                .help("a trait has one instance for a type; wrap the type in a `shape` to give it another");
            let diagnostic = match first.span {
                Some(at) => diagnostic.label(at, "the first one"),
                None => diagnostic,
            };
            self.report(diagnostic);
            return None;
        }
        let compares = matches!(&*of, COMPARABLE | ORDERABLE);
        let structural = compares && (derived || &*module == crate::check::PRELUDE);
        super::overload(&mut self.store, &key);
        let info = InstanceInfo { module: None, args, context, members: Vec::new(), structural, span: Some(span) };
        self.env.instances.insert(key.clone(), info.into());
        Some((key, vars))
    }

    /// The conditions under which solving ends (M. Sulzmann and others, *Understanding functional dependencies via
    /// constraint handling rules*, 2007): each constraint of the context is smaller than the head, and names no variable
    /// more often.
    fn paterson(&mut self, decl: &ast::InstanceDecl, args: &[Ty], context: &[Constraint]) {
        let size = |c: &mut Self, tys: &[Ty]| {
            let mut nodes = 0_usize;
            let mut vars: HashMap<Ty, usize> = HashMap::new();
            let mut work = tys.to_vec();
            while let Some(ty) = work.pop() {
                nodes += 1;
                let ty = c.store.root(ty);
                match c.store.node(ty) {
                    Node::Var { .. } => *vars.entry(ty).or_insert(0) += 1,
                    Node::Con(_, args) | Node::Tuple(args) => work.extend(args),
                    Node::App { head, args } => {
                        work.push(*head);
                        work.extend(args);
                    }
                    Node::Arrow { param, result, .. } => work.extend([*param, *result]),
                    _ => {}
                }
                if nodes > 10_000 {
                    break;
                }
            }
            (nodes, vars)
        };
        let (head_size, head_vars) = size(self, args);
        for (constraint, written) in context.iter().zip(&decl.context) {
            let (own, vars) = size(self, &constraint.args);
            let too_often = vars.iter().any(|(var, n)| head_vars.get(var).copied().unwrap_or(0) < *n);
            if own >= head_size || too_often {
                self.report(
                    Diagnostic::new(
                        codes::BAD_INSTANCE,
                        "the context of an instance must be smaller than its types",
                        written.span,
                    )
                    .help("constrain the type variables of the instance: `instance Show a => Show (Box a)`"),
                );
            }
        }
    }

    fn instance_members(&mut self, key: &InstanceKey, decl: &'a ast::InstanceDecl, vars: &HashMap<String, Ty>) {
        let (Some(of), Some(instance)) = (self.env.traits.get(&key.0).cloned(), self.env.instances.get(key).cloned())
        else {
            return;
        };
        let span = instance.span.unwrap_or(decl.trait_path.span);
        let mut clauses: Vec<(&'a ast::Ident, Vec<&'a ast::FlowDecl>)> = Vec::new();
        let mut meant: Vec<String> = Vec::new();
        for member in decl.members.iter().filter(|m| !m.name.name.is_empty()) {
            if !of.members.iter().any(|m| *m.name == *member.name.name) {
                let names = || of.members.iter().map(|m| &*m.name);
                // The member that was meant is not missing too.
                meant.extend(suggest::nearest(&member.name.name, names()).map(str::to_owned));
                let diagnostic = Diagnostic::new(
                    codes::UNKNOWN_MEMBER,
                    format!("the trait `{}` has no member `{}`", short(&key.0), member.name.name),
                    member.name.span,
                );
                self.report(suggest::advise(diagnostic, &member.name.name, names(), "it has"));
                continue;
            }
            if let Some(signature) = &member.signature {
                if matches!(member.head, ast::FlowHead::Signature) {
                    self.report(
                        Diagnostic::new(
                            codes::UNKNOWN_MEMBER,
                            format!("the type of `{}` stands in its trait", member.name.name),
                            signature.span,
                        )
                        .help(format!("write `{} x = ..`", member.name.name)),
                    );
                    continue;
                }
            }
            match clauses.iter_mut().find(|(name, _)| name.name == member.name.name) {
                Some((_, all)) => all.push(member),
                None => clauses.push((&member.name, vec![member])),
            }
        }
        let mut members = Vec::new();
        let mut missing: Vec<(Name, String)> = Vec::new();
        let mut complete = true;
        for member in &of.members {
            let method = self.env.flow(member.flow, &mut self.store).clone();
            // Its first constraint says which of its variables are the trait's parameters.
            let params = method.constraints.first().map_or(&[][..], |own| &own.args);
            let mut memo: HashMap<Ty, Ty> =
                params.iter().map(|p| self.store.root(*p)).zip(instance.args.iter().copied()).collect();
            let mut copy = |c: &mut Self, ty: Ty| {
                c.store.instantiate_with(ty, &mut memo, &mut |store, kind, name| store.generic(kind, name))
            };
            let ty = copy(self, method.ty);
            let mut constraints = instance.context.clone();
            for own in method.constraints.iter().skip(1) {
                let args = own.args.iter().map(|t| copy(self, *t)).collect();
                constraints.push(Constraint { of: own.of.clone(), args });
            }
            let ty = MemberType { ty, constraints: Vec::new(), value: method.config };
            let flow_name = member_name(key, &member.name);
            let written = clauses.iter().position(|(name, _)| *name.name == *member.name);
            members.push(match written {
                Some(at) => {
                    let (name, decls) = clauses.swap_remove(at);
                    let flow = self.member_flow(flow_name, name, decls, &ty, constraints, vars.clone(), method.span);
                    (flow, None)
                }
                None => {
                    let Some(default) = member.default else {
                        complete = false;
                        if !meant.iter().any(|name| **name == *member.name) {
                            missing.push((member.name.clone(), self.store.show(ty.ty)));
                        }
                        continue;
                    };
                    let arity = self.env.flows[default].arity;
                    (self.generated_flow(flow_name, arity, &ty, constraints, span), Some(default))
                }
            });
        }
        if !missing.is_empty() {
            let list = missing.iter().map(|(m, _)| format!("`{m}`")).collect::<Vec<_>>().join(", ");
            let typed =
                missing.iter().map(|(m, ty)| format!("`{m}`, of the type `{ty}`")).collect::<Vec<_>>().join("; ");
            self.report(
                Diagnostic::new(
                    codes::MISSING_MEMBER,
                    format!("this instance of `{}` lacks {list}", short(&key.0)),
                    span,
                )
                .help(format!("add {typed}")),
            );
        }
        if !complete {
            return;
        }
        if let Some(info) = self.env.instances.get_mut(key) {
            Rc::make_mut(info).members = members.iter().map(|(flow, _)| *flow).collect();
        }
        self.instance_builds.push(InstanceBuild { key: key.clone(), supers: Vec::new(), members, decl });
    }

    /// The dictionaries of the superclasses of each instance, from the dictionaries of its context.
    pub(in crate::check) fn superclass_dictionaries(&mut self) {
        let mut builds = std::mem::take(&mut self.instance_builds);
        for build in &mut builds {
            let (Some(of), Some(instance)) =
                (self.env.traits.get(&build.key.0).cloned(), self.env.instances.get(&build.key).cloned())
            else {
                continue;
            };
            let span: Span = instance.span.unwrap_or(build.decl.trait_path.span);
            self.level += 1;
            let level = self.level;
            let mut memo = HashMap::new();
            let mut skolem = |c: &mut Self, ty: Ty| c.store.skolemise_with(ty, &mut memo, level);
            let args: Vec<Ty> = instance.args.iter().map(|t| skolem(self, *t)).collect();
            self.givens = instance
                .context
                .iter()
                .map(|c| Constraint { of: c.of.clone(), args: c.args.iter().map(|t| skolem(self, *t)).collect() })
                .collect();
            let what = format!("the instance of `{}`", short(&build.key.0));
            for Constraint { of: wanted, args: supers } in &of.supers {
                let supers = supers.iter().map(|t| self.apply(&of.params, &args, *t)).collect();
                build.supers.push(self.want(wanted, supers, span, what.clone()));
            }
            self.solve_all();
            self.givens.clear();
            self.level -= 1;
        }
        self.instance_builds = builds;
    }
}
