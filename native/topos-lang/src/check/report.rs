//! Messages that several passes share.

use foldhash::HashMap;

use super::env::{dotted, Lookup, Names};
use super::{suggest, Checker, Want, Why};
use crate::codes;
use crate::diagnostic::{Code, Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{short, Kind, Name, Node, Printer, Ty, UnifyError};

/// How a use of an index is called.
pub(super) const INDEX: &str = "m[k]";
/// How an assignment of an element is called.
pub(super) const PUT_AT: &str = "m[k] := e";

/// What the flow of a name was in the program: actors, tests and the like are flows of names that nobody can write.
pub(super) fn describe(flow: &str) -> String {
    match flow.split_once(' ') {
        Some((what, name)) => format!("the {what} `{name}`"),
        None if flow.contains('.') => format!("the member `{flow}`"),
        None => format!("the flow `{flow}`"),
    }
}

/// Whether a flow whose signature is not at hand is the member of an instance: handlers, actors and tests have other names.
pub(super) fn is_member(flow: &str) -> bool {
    !flow.contains(' ') && !flow.contains('.')
}

impl Checker<'_> {
    pub(super) fn twice(&mut self, what: &str, code: Code, name: &ast::Ident) {
        self.report(Diagnostic::new(code, format!("the {what} `{}` is given twice", name.name), name.span));
    }

    /// A path that means nothing.
    pub(super) fn unresolved<T>(&mut self, what: &str, code: Code, lookup: &Lookup<T>, path: &ast::Path) {
        let (qualifier, Some(last)) = (path.qualifier(), path.last()) else { return };
        self.unresolved_name(what, code, lookup, qualifier, last);
    }

    /// A name that means nothing.
    pub(super) fn unresolved_name<T>(
        &mut self,
        what: &str,
        code: Code,
        lookup: &Lookup<T>,
        qualifier: &[ast::Ident],
        name: &ast::Ident,
    ) {
        if name.name.is_empty() {
            return; // The parser reported it.
        }
        if qualifier.is_empty() && self.unsupported_names.contains(&name.name) {
            return; // Its declaration was reported.
        }
        let span = qualifier.first().map_or(name.span, |q| q.span.to(name.span));
        let diagnostic = match lookup {
            Lookup::Found(_) => return,
            // The import that would have brought it was reported.
            Lookup::Unknown if self.names_are_missing => return,
            Lookup::NoModule(qualifier) if self.missing_qualifiers.contains(qualifier) => return,
            Lookup::Unknown => {
                let diagnostic = Diagnostic::new(code, format!("unknown {what} `{}`", name.name), name.span);
                let habit = suggest::habit(what, &name.name).map(str::to_owned);
                let near = suggest::nearest(&name.name, self.candidates(what)).map(str::to_owned);
                match near {
                    _ if habit.is_some() => Diagnostic { help: habit, ..diagnostic },
                    None if what == "name" && name.name == "abort" => diagnostic
                        .help("`abort e` stands in the clauses of a handler, and leaves the `with` with that value"),
                    Some(near) => {
                        if what == "name" && self.env.local(&near).is_some() {
                            self.missed_variables.insert(name.span, name.name.clone());
                        }
                        diagnostic.help(format!("did you mean `{near}`?"))
                    }
                    None => match self.homes(&name.name).as_slice() {
                        [] => match self.operation_homes(&name.name).as_slice() {
                            [] => {
                                if what == "name" {
                                    self.missed_variables.insert(name.span, name.name.clone());
                                }
                                diagnostic
                            }
                            [effect, ..] => diagnostic.help(operation_help(effect, &name.name)),
                        },
                        [home, ..] => diagnostic
                            .help(format!("the module `{home}` has this name: `import {home} ({})`", name.name)),
                    },
                }
            }
            Lookup::Ambiguous(modules) => {
                let list = modules.iter().map(|m| format!("`{m}`")).collect::<Vec<_>>().join(" and ");
                Diagnostic::new(codes::AMBIGUOUS_NAME, format!("`{}` is a name of {list}", name.name), span)
                    .help("write the module before it, or import the names you need in a list")
            }
            Lookup::NotExported(module) => {
                let diagnostic =
                    Diagnostic::new(codes::NOT_EXPORTED, format!("`{module}` has no {what} `{}`", name.name), span);
                let effect = self.operation_homes(&name.name).into_iter().find(|full| is_of(full, module));
                let near = suggest::nearest(&name.name, self.env.exported(module)).map(str::to_owned);
                diagnostic.help(match (effect, near) {
                    (Some(effect), _) => operation_help(&effect, &name.name),
                    (None, Some(near)) => format!("did you mean `{near}`?"),
                    (None, None) if matches!(self.env.lookup_value(&[], &name.name), Lookup::Found(_)) => {
                        format!("it is known without a module: `{}`", name.name)
                    }
                    (None, None) => "it may be private there".to_owned(),
                })
            }
            Lookup::NoModule(qualifier) => {
                let at = span;
                let diagnostic =
                    Diagnostic::new(codes::UNKNOWN_MODULE, format!("no imported module is called `{qualifier}`"), at);
                match suggest::nearest(qualifier, self.env.qualifiers()).map(str::to_owned) {
                    Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
                    // Whoever looks for modules knows which there are.
                    None => diagnostic,
                }
            }
        };
        self.report(diagnostic);
    }

    fn candidates(&self, what: &str) -> Vec<&str> {
        fn keys<T: 'static>(env: &super::env::Env, pick: fn(&Names) -> &HashMap<Name, T>) -> Vec<&str> {
            env.in_scope(pick)
        }
        match what {
            "type" => {
                let mut all = keys(&self.env, |n| &n.types);
                all.extend(crate::types::builtin::ALL.iter().map(|(name, _)| *name));
                all
            }
            "constructor" => keys(&self.env, |n| &n.ctors),
            "effect" => keys(&self.env, |n| &n.effects),
            "trait" => keys(&self.env, |n| &n.traits),
            "handler" => keys(&self.env, |n| &n.handlers),
            _ => {
                let mut all = keys(&self.env, |n| &n.values);
                all.extend(self.env.locals.iter().map(|(name, _)| name.as_str()));
                all.extend(["not", "show"]);
                all
            }
        }
    }

    /// Modules at hand that have a name.
    fn homes(&self, name: &str) -> Vec<String> {
        self.env.module_names().filter(|m| self.env.exports(m, name)).map(str::to_owned).collect()
    }

    /// The full names of effects that have an operation, in order.
    fn operation_homes(&self, operation: &str) -> Vec<String> {
        let has = |info: &super::env::EffectInfo| info.operations.iter().any(|o| &*o.name == operation);
        let mut homes: Vec<String> =
            self.env.effects.iter().filter(|(_, info)| has(info)).map(|(name, _)| name.to_string()).collect();
        homes.sort_unstable();
        homes
    }

    /// Makes an expression's type the one that is wanted; reports it if it cannot be.
    pub(super) fn subsume(&mut self, actual: Ty, want: &Want, span: Span) {
        if self.coerce(actual, want.ty) {
            self.want_made(want.ty, span);
            return;
        }
        if let Err(error) = self.store.unify(want.ty, actual) {
            self.mismatch(want, actual, &error, span);
        }
    }

    /// The message for two types that do not fit.
    pub(super) fn mismatch(&mut self, want: &Want, actual: Ty, error: &UnifyError, span: Span) {
        let mut printer = Printer::new(&self.store);
        let (expected, found) = (printer.show(want.ty), printer.show(actual));
        let mut diagnostic = match error {
            UnifyError::Mismatch(a, b) => self.heads_differ(*a, *b, &expected, &found, span),
            UnifyError::Bound(var, ty) => self.bad_operand(*var, *ty, actual, span),
            UnifyError::Occurs(..) | UnifyError::InfiniteRow => {
                Diagnostic::new(codes::INFINITE_TYPE, "this type would contain itself", span)
                    .primary(format!("`{found}` would have to be the same as `{expected}`"))
                    .help("an argument may be missing, or one too many")
            }
            UnifyError::MissingLabel { label, row } => self.label_missing(label, *row, &expected, &found, span),
            UnifyError::Escape(name) => {
                Diagnostic::new(codes::TOO_GENERAL, format!("`{name}` would leave the flow it belongs to"), span)
                    .primary(format!("has the type `{found}`"))
                    .help(format!("only inside the flow whose signature names `{name}` is it a type"))
            }
            UnifyError::TooDeep => {
                self.store.take_too_deep();
                Diagnostic::new(codes::TYPE_TOO_LARGE, "this type is nested too deeply", span)
            }
        };
        match &want.why {
            Why::Plain => {}
            Why::Signature(at) => diagnostic = diagnostic.label(*at, "expected because of this"),
            Why::Body(at) => {
                diagnostic = diagnostic.label(*at, "expected because of this").help(
                    "the parameters of a flow are named in its type, `flow f : (x : A) -> B = ..`; what follows `=` is its \
                     result",
                );
            }
            Why::Argument(name, n) => {
                if diagnostic.help.is_none() {
                    diagnostic = diagnostic.help(match (name.as_str(), n) {
                        ("!", 1) | ("?", 1) => format!("`{name}` stands behind a process, a value of the type `Pid m`"),
                        ("!", 2) => format!("this process takes messages of the type `{expected}`"),
                        ("?", 2) => {
                            "behind `?` stands what makes the message of the place for the answer: `Get`, where \
                                     `Get(Reply Int)` is one of the messages"
                                .to_owned()
                        }
                        ("?", 3) => "`after` takes a Duration: `counter ? Get after 1s`".to_owned(),
                        ("Process.start_pool", 4) => {
                            "a worker is started by a function with one argument: `child = Worker`, where \
                                                      the actor Worker has one parameter"
                                .to_owned()
                        }
                        ("Process.start_child", 4) => {
                            "a child is an actor with its arguments, `children = [Worker(1)]`, or a \
                                                       flow that answers the process it starts"
                                .to_owned()
                        }
                        ("for", 2) => "`for` goes through a list".to_owned(),
                        (INDEX | PUT_AT, 1) => format!("this collection is indexed by `{expected}`"),
                        (PUT_AT, 2) => format!("the elements of this collection have the type `{expected}`"),
                        _ => format!("argument {n} of `{name}` has the type `{expected}`"),
                    });
                }
            }
            Why::Demand(text) => {
                if diagnostic.help.is_none() {
                    diagnostic = diagnostic.help(*text);
                }
            }
            Why::Like(at, what) => diagnostic = diagnostic.label(*at, format!("{what} has the type `{expected}`")),
            Why::Field(name) => {
                if diagnostic.help.is_none() {
                    diagnostic = diagnostic.help(format!("the field `{name}` has the type `{expected}`"));
                }
            }
            Why::Operand(op, at) => {
                diagnostic = diagnostic.label(*at, format!("both operands of `{op}` have the same type"));
            }
        }
        let way = match diagnostic.code {
            // Who adds texts wants to join them.
            codes::OPERAND if matches!(want.why, Why::Demand(_)) && found == "Text" => None,
            codes::MISMATCH | codes::OPERAND => {
                suggest::conversion(&self.unlike_own(want.ty, &expected), &self.unlike_own(actual, &found))
            }
            codes::MISSING_EFFECT => {
                Some("a function may do here what its type says: give that the row, or a variable, `/ e`".to_owned())
            }
            _ => None,
        };
        if let Some(way) = way {
            diagnostic.help = Some(match diagnostic.help {
                Some(help) => format!("{help}; {way}"),
                None => way,
            });
        }
        self.report(diagnostic);
        if matches!(self.store.node(want.ty), Node::Var { .. }) {
            // What else meets this type is not compared with the one that does not fit.
            let error = self.store.error();
            let bound = self.store.unify(want.ty, error);
            debug_assert!(bound.is_ok(), "a variable takes the error type");
        }
    }

    /// A type as it is shown, with its module if that is not the prelude: a module's own `Maybe` is not the usual one.
    fn unlike_own(&self, ty: Ty, shown: &str) -> String {
        match self.store.node(ty) {
            Node::Con(name, _) => match name.rsplit_once('.') {
                Some((module, _)) if module != super::PRELUDE => format!("{module}.{shown}"),
                _ => shown.to_owned(),
            },
            _ => shown.to_owned(),
        }
    }

    fn heads_differ(&self, a: Ty, b: Ty, expected: &str, found: &str, span: Span) -> Diagnostic {
        let skolem = [a, b].into_iter().find_map(|t| match self.store.node(t) {
            Node::Skolem { name, kind, .. } => Some((name.clone(), *kind)),
            _ => None,
        });
        if let Some((name, kind)) = skolem {
            let message = match kind {
                Kind::Type | Kind::Constructor(_) => format!("the type variable `{name}` stands for any type here"),
                Kind::Effects => format!("the row variable `{name}` stands for any effects here"),
                Kind::Fields => format!("the row variable `{name}` stands for any other fields here"),
            };
            return Diagnostic::new(codes::TOO_GENERAL, message, span)
                .primary(format!("expected `{expected}`, found `{found}`"))
                .help(format!(
                    "the caller chooses what `{name}` is; change the signature if it must be something certain"
                ));
        }
        let mut diagnostic = Diagnostic::new(codes::MISMATCH, format!("expected `{expected}`, found `{found}`"), span);
        if let (Node::Con(n, _), Node::Con(m, _)) = (self.store.node(a), self.store.node(b)) {
            if n != m && short(n) == short(m) {
                return diagnostic.help(format!("`{n}` and `{m}` are different types"));
            }
        }
        let (inner_a, inner_b) = (self.store.show(a), self.store.show(b));
        if inner_a != expected && inner_b != found && inner_a != found {
            diagnostic = diagnostic.primary(format!("`{inner_b}` is not `{inner_a}`"));
        }
        match (self.store.node(a), self.store.node(b)) {
            (Node::Arrow { param, .. }, b) if !matches!(b, Node::Arrow { .. }) && self.is_unit(*param) => {
                diagnostic.help("a function without parameters is wanted: `fn() -> ..`, or `{ .. }` behind the call")
            }
            (_, Node::Arrow { .. }) if !matches!(self.store.node(a), Node::Arrow { .. }) => {
                diagnostic.help("this is a function: are arguments missing?")
            }
            _ => diagnostic,
        }
    }

    /// An operand, or the place of a number literal, of a type that it cannot have.
    fn bad_operand(&self, var: Ty, ty: Ty, actual: Ty, span: Span) -> Diagnostic {
        let Node::Var { bound, .. } = self.store.node(var) else {
            return Diagnostic::new(codes::OPERAND, "wrong operand", span);
        };
        let shown = format!("`{}`", self.store.show(ty));
        let other = match self.store.node(ty) {
            Node::Var { bound, .. } => bound.describe(),
            _ => shown,
        };
        let is_found = self.store.root(actual) == self.store.root(var);
        let (expected, found) = if is_found { (other, bound.describe()) } else { (bound.describe(), other) };
        if let Node::Skolem { name, .. } = self.store.node(ty) {
            return Diagnostic::new(
                codes::TOO_GENERAL,
                format!("the type variable `{name}` stands for any type here"),
                span,
            )
            .primary(format!("expected {expected}, found {found}"))
            .help(format!(
                "the caller chooses what `{name}` is; change the signature if it must be something certain"
            ));
        }
        Diagnostic::new(codes::OPERAND, format!("expected {expected}, found {found}"), span)
    }

    fn label_missing(&self, label: &str, row: Ty, expected: &str, found: &str, span: Span) -> Diagnostic {
        let Some(effect) = self.env.effects.get(label).map(|_| short(label)) else {
            let message = match self.store.node(row) {
                Node::Empty => format!("the field `{label}` is in one of the records only"),
                _ => format!("the field `{label}` is missing"),
            };
            return Diagnostic::new(codes::MISMATCH, message, span)
                .primary(format!("expected `{expected}`, found `{found}`"));
        };
        let of = format!("Handler({effect}");
        if expected.starts_with(&of) || found.starts_with(&of) {
            return Diagnostic::new(codes::MISMATCH, format!("expected `{expected}`, found `{found}`"), span);
        }
        if let Some(diagnostic) = self.not_portable(effect, span, "this function") {
            return diagnostic;
        }
        let what = if found.starts_with("Handler(") { "handler" } else { "function" };
        let mut diagnostic = Diagnostic::new(
            codes::MISSING_EFFECT,
            format!("this {what} has the effect `{effect}`, which is not allowed here"),
            span,
        )
        .primary(format!("expected `{expected}`, found `{found}`"));
        let within = |b: &&super::Brought| {
            b.span.start >= span.start && b.span.end <= span.end && b.effects.iter().any(|e| **e == *label)
        };
        if let Some(brought) = self.brought.iter().find(within) {
            diagnostic = diagnostic.label(brought.span, format!("{} brings `{effect}`", brought.what));
        }
        diagnostic
    }

    /// Settles what was put off: selected fields, and rigid rows that must be part of another row. What is still open is
    /// decided now if its variable is at level `from` or deeper: those are about to be generalised.
    pub(super) fn settle(&mut self, from: u32) {
        self.settle_fields(from);
        let rows = std::mem::take(&mut self.rows);
        for deferred in rows {
            let parts = self.store.row(deferred.row);
            let fits = parts.tail == self.store.root(deferred.rigid);
            match self.store.node(parts.tail) {
                // An effect with arguments could be in the rigid row too, with others: the handler found for it at run
                // time would be the wrong one.
                _ if fits && parts.entries.iter().all(|(_, args)| args.is_empty()) => {}
                Node::Error => {}
                Node::Var { level, .. } if *level < from => self.rows.push(deferred),
                Node::Var { .. } => {
                    if let Err(error) = self.store.unify(parts.tail, deferred.rigid) {
                        self.effect_mismatch(&error, deferred.rigid, deferred.span, &deferred.what);
                    }
                }
                _ => {
                    let name = self.store.show(deferred.rigid);
                    let row = self.store.show(deferred.row);
                    self.report(
                        Diagnostic::new(
                            codes::MISSING_EFFECT,
                            format!("the effects `{name}` of {} do not fit the row of its caller", deferred.what),
                            deferred.span,
                        )
                        .primary(format!("does `{name}`, where `{row}` is allowed"))
                        .help(match self.store.node(parts.tail) {
                            Node::Empty if parts.entries.is_empty() => format!(
                                "nothing can be done here, and `{name}` may be anything; if this is the flow's own row, write \
                                 `/ {name}` behind its type"
                            ),
                            Node::Empty => format!("nothing but `{row}` can be done here, and `{name}` may be more"),
                            _ => format!("end the row of the flow with `| {name}`"),
                        }),
                    );
                }
            }
        }
    }

    /// What a call is called in messages.
    pub(super) fn callee_name(function: &ast::Expr) -> String {
        match &function.kind {
            ast::ExprKind::Var { qualifier, name } if qualifier.is_empty() => format!("`{}`", name.name),
            ast::ExprKind::Var { qualifier, name } if name.name == "put_at" && dotted(qualifier) == super::PRELUDE => {
                format!("`{PUT_AT}`")
            }
            ast::ExprKind::Var { qualifier, name } => format!("`{}.{}`", dotted(qualifier), name.name),
            ast::ExprKind::Constructor(path) => format!("`{}`", path.dotted()),
            ast::ExprKind::Field { field, .. } => format!("`.{}`", field.name),
            _ => "this function".to_owned(),
        }
    }
}

/// Whether an effect's full name says that it is of that module.
fn is_of(effect: &str, module: &str) -> bool {
    effect.strip_prefix(module).is_some_and(|rest| rest.starts_with('.'))
}

fn operation_help(effect: &str, operation: &str) -> String {
    let effect = short(effect);
    format!("it is an operation of the effect `{effect}`: `perform {effect}.{operation}(..)`")
}
