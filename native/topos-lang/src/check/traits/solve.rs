//! Solving constraints.

use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};

use super::{Constraint, Dict, DictId, Origin, Wanted, COMBINER, COMPARABLE, INDEX, INDEX_PUT, NUM, ORDERABLE, SHOW};
use crate::check::interface::TypeBody;
use crate::check::Checker;
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::types::{builtin, short, Bound, Kind, Name, Node, Store, Tree, Ty};

/// Constraints that a constraint may lead to, one through another, before it is given up: far more than any program needs.
const MAX_SOLVED: usize = 100_000;

/// Whether the BEAM's own operator compares values of a type as the trait says.
enum Native {
    Yes,
    /// A part is not known yet.
    Wait,
    /// A type variable, or a type with a written instance, is a part.
    No,
    /// A function is a part.
    Function,
    /// A type that cannot be ordered, or whose own instance its owner would hide.
    Part(Ty),
}

enum Solved {
    Done,
    Wait,
}

/// An operator takes types with an instance of its trait.
pub(in crate::check) fn overload(store: &mut Store, key: &super::InstanceKey) {
    match &*key.0 {
        NUM => store.overload(key.1.clone(), Bound::instance(true)),
        COMBINER => store.overload(key.1.clone(), Bound::instance(false)),
        _ => {}
    }
}

impl Checker<'_> {
    /// Solves what can be; `reduce` says whether types are as known as they will be.
    fn solve(&mut self, reduce: bool) {
        let mut budget = MAX_SOLVED;
        loop {
            let wanted = std::mem::take(&mut self.wanted);
            let before = wanted.len();
            let mut waiting = Vec::new();
            for want in wanted {
                budget = budget.saturating_sub(1);
                if budget == 0 {
                    self.report(Diagnostic::new(
                        codes::NO_INSTANCE_FOUND,
                        format!("the constraints of {} cannot be solved in bounded time", want.what),
                        want.span,
                    ));
                    self.wanted.clear();
                    return;
                }
                if matches!(self.try_solve(&want, reduce), Solved::Wait) {
                    waiting.push(want);
                }
            }
            let new = self.wanted.len();
            waiting.append(&mut self.wanted);
            self.wanted = waiting;
            if new == 0 && self.wanted.len() == before || self.wanted.is_empty() {
                return;
            }
        }
    }

    /// Solves what can be solved now.
    pub(super) fn solve_now(&mut self) {
        self.solve(false);
    }

    /// Solves constraints whose first type decides others: `m[k]`.
    pub(in crate::check) fn solve_dependent(&mut self) {
        let dependent = |w: &Wanted| w.constraint.args.len() > 1;
        if !self.wanted.iter().any(dependent) {
            return;
        }
        let (now, later): (Vec<Wanted>, Vec<Wanted>) =
            std::mem::take(&mut self.wanted).into_iter().partition(dependent);
        for want in now {
            if matches!(self.try_solve(&want, false), Solved::Wait) {
                self.wanted.push(want);
            }
        }
        self.wanted.extend(later);
    }

    /// Solves everything; what stays open is decided by default or reported.
    pub(in crate::check) fn solve_all(&mut self) {
        let nothing = HashSet::new();
        self.solve(false);
        self.decide_number_patterns();
        self.defaults(&nothing);
        self.solve(true);
        self.defaults(&nothing);
        self.solve(true);
        for want in std::mem::take(&mut self.wanted) {
            match want.origin {
                Origin::Shown => self.dicts[want.dict] = Dict::Native(want.constraint.of.clone()),
                Origin::Made => {}
                Origin::Call | Origin::Literal => self.ambiguous(&want),
            }
        }
    }

    /// Solves the constraints of flows without signatures. Those on variables of their types become theirs.
    pub(in crate::check) fn solve_inferred(&mut self, types: &[Ty], config: bool) -> Vec<Wanted> {
        let level = self.level;
        self.solve(false);
        self.decide_number_patterns();
        let mut keep = HashSet::new();
        if !config {
            for ty in types {
                self.store.walk(*ty, |at, node| {
                    if matches!(node, Node::Var { level: l, .. } if *l >= level) {
                        keep.insert(at);
                    }
                });
            }
        }
        self.defaults(&keep);
        self.solve(true);
        self.defaults(&keep);
        self.solve(true);
        let mut found: Vec<Wanted> = Vec::new();
        let mut mine: Vec<(DictId, usize)> = Vec::new();
        for want in std::mem::take(&mut self.wanted) {
            if want.origin == Origin::Shown {
                self.dicts[want.dict] = Dict::Native(want.constraint.of.clone());
                continue;
            }
            let first = want.constraint.args.first().map(|t| self.store.root(*t));
            if !first.is_some_and(|t| self.head_variable(t).is_some_and(|v| keep.contains(&v))) {
                if want.origin != Origin::Made {
                    self.ambiguous(&want);
                }
                continue;
            }
            let at = found.iter().position(|c| self.same(&c.constraint, &want.constraint));
            let at = at.unwrap_or(found.len());
            mine.push((want.dict, at));
            if at == found.len() {
                found.push(want);
            }
        }
        // A constraint that is the superclass of another is not needed.
        let givens: Vec<Constraint> = found.iter().map(|want| want.constraint.clone()).collect();
        let mut implied: HashMap<usize, DictId> = HashMap::new();
        for (at, constraint) in givens.iter().enumerate() {
            for (other, given) in givens.iter().enumerate() {
                if other != at && !implied.contains_key(&at) && !implied.contains_key(&other) {
                    let base = self.dicts.len();
                    self.dicts.push(Dict::Given(other));
                    if let Some(dict) = self.through_supers(base, given, constraint, 0) {
                        implied.insert(at, dict);
                    }
                }
            }
        }
        let mut index = HashMap::new();
        let mut kept = Vec::new();
        for (at, want) in found.into_iter().enumerate() {
            if !implied.contains_key(&at) {
                index.insert(at, kept.len());
                kept.push(want);
            }
        }
        // Both the dictionaries of the uses and the bases of superclasses were numbered before some were left out.
        for dict in implied.values() {
            let mut at = *dict;
            while let Dict::Super(base, _) = &self.dicts[at] {
                at = *base;
            }
            if let Dict::Given(old) = self.dicts[at] {
                self.dicts[at] = Dict::Given(index.get(&old).copied().unwrap_or(0));
            }
        }
        for (dict, at) in mine {
            self.dicts[dict] = match implied.get(&at) {
                Some(other) => self.dicts[*other].clone(),
                None => Dict::Given(index.get(&at).copied().unwrap_or(0)),
            };
        }
        kept
    }

    /// The variable that a type is, or applies.
    fn head_variable(&self, ty: Ty) -> Option<Ty> {
        match self.store.node(ty) {
            Node::Var { .. } => Some(self.store.root(ty)),
            Node::App { head, .. } if matches!(self.store.node(*head), Node::Var { .. }) => {
                Some(self.store.root(*head))
            }
            _ => None,
        }
    }

    /// Before a `let` is generalised: a variable with a constraint is not, since a `let` takes no dictionaries.
    pub(in crate::check) fn keep_wanted(&mut self) {
        self.solve_dependent();
        let level = self.level;
        for ty in self
            .wanted
            .iter()
            .filter(|w| w.origin != Origin::Shown)
            .flat_map(|w| w.constraint.args.clone())
            .collect::<Vec<_>>()
        {
            self.store.lower(ty, level);
        }
    }

    /// A number in a pattern is Int, Float or Duration, Int if nothing says which.
    fn decide_number_patterns(&mut self) {
        for (ty, span) in std::mem::take(&mut self.number_patterns) {
            match self.store.node(ty) {
                Node::Error => {}
                Node::Con(name, _) if matches!(&**name, builtin::INT | builtin::FLOAT | builtin::DURATION) => {}
                Node::Var { .. } => {
                    let int = self.store.con(builtin::INT, Vec::new());
                    let bound = self.store.unify(ty, int);
                    debug_assert!(bound.is_ok(), "an open number takes Int");
                }
                _ => {
                    let shown = self.store.show(ty);
                    self.report(
                        Diagnostic::new(
                            codes::OPERAND,
                            format!("a number in a pattern is Int, Float or Duration, not `{shown}`"),
                            span,
                        )
                        .help("compare with `==` in a guard"),
                    );
                }
            }
        }
    }

    /// Variables that nothing decides become Int if that is all they need to be.
    fn defaults(&mut self, keep: &HashSet<Ty>) {
        let mut vars: Vec<(Ty, bool, bool)> = Vec::new();
        for want in self.wanted.iter().filter(|w| w.origin != Origin::Shown).cloned().collect::<Vec<_>>() {
            let simple = matches!(&*want.constraint.of, NUM | COMPARABLE | ORDERABLE | SHOW);
            for arg in want.constraint.args {
                let mut found = Vec::new();
                self.store.walk(arg, |at, node| {
                    if let Node::Var { kind: Kind::Type, .. } = node {
                        found.push(at);
                    }
                });
                for var in found.into_iter().filter(|v| !keep.contains(v)) {
                    let number = &*want.constraint.of == NUM;
                    match vars.iter_mut().find(|(v, ..)| *v == var) {
                        Some((_, all, numeric)) => {
                            *all &= simple;
                            *numeric |= number;
                        }
                        None => vars.push((var, simple, number)),
                    }
                }
            }
        }
        let literals: Vec<Ty> = self
            .wanted
            .iter()
            .filter(|w| w.origin == Origin::Literal)
            .flat_map(|w| w.constraint.args.clone())
            .filter(|t| matches!(self.store.node(*t), Node::Var { .. }))
            .collect();
        for literal in literals {
            if matches!(self.store.node(literal), Node::Var { .. }) {
                let int = self.store.con(builtin::INT, Vec::new());
                let bound = self.store.unify(literal, int);
                debug_assert!(bound.is_ok(), "an open number takes Int");
            }
        }
        for (var, simple, number) in vars {
            if !matches!(self.store.node(var), Node::Var { .. }) {
                continue;
            }
            // A number is an Int even where a trait of the program asks for more.
            if simple || number {
                let int = self.store.con(builtin::INT, Vec::new());
                let error = self.store.unify(var, int);
                debug_assert!(error.is_ok(), "an open variable takes Int");
            }
        }
    }

    fn try_solve(&mut self, want: &Wanted, reduce: bool) -> Solved {
        let Constraint { of, args } = &want.constraint;
        let Some(first) = args.first().copied() else { return Solved::Done };
        match self.store.node(first) {
            Node::Error => return Solved::Done,
            Node::Var { .. } => return Solved::Wait,
            Node::App { head, .. } if matches!(self.store.node(*head), Node::Var { .. }) => return Solved::Wait,
            Node::Skolem { .. } | Node::App { .. } => {
                self.solve_by_given(want);
                return Solved::Done;
            }
            _ => {}
        }
        let compares = matches!(&**of, COMPARABLE | ORDERABLE | SHOW);
        let native = if compares { Some(self.native(of, first, 0)) } else { None };
        match native {
            Some(Native::Yes) => return self.solved(want, Dict::Native(of.clone())),
            Some(Native::Wait) if !reduce => return Solved::Wait,
            Some(Native::Function | Native::Part(_)) if &**of == SHOW => {
                return self.solved(want, Dict::Native(of.clone()));
            }
            Some(Native::Function) => {
                self.compares_functions(want);
                return Solved::Done;
            }
            _ => {}
        }
        let key = self.head(first).map(|head| (of.clone(), head));
        let instance = key.as_ref().and_then(|key| self.env.instances.get(key).cloned());
        let (Some(key), Some(instance)) = (key, instance) else {
            if self.is_operator_of(of, first) {
                return self.solved(want, Dict::Native(of.clone()));
            }
            if &**of == SHOW {
                return self.solved(want, Dict::Native(of.clone()));
            }
            if matches!(native, Some(Native::Wait)) {
                return Solved::Wait;
            }
            self.no_instance(want, native);
            return Solved::Done;
        };
        let mut memo = HashMap::new();
        for (arg, ty) in args.iter().zip(&instance.args) {
            let ty = self.instantiate_shared(*ty, &mut memo);
            if self.store.unify(*arg, ty).is_err() {
                let shown = self.show_constraint(&Constraint { of: of.clone(), args: instance.args.clone() });
                let missing = self.show_constraint(&want.constraint);
                self.report(
                    Diagnostic::new(codes::NO_INSTANCE_FOUND, format!("there is no instance `{missing}`"), want.span)
                        .primary(format!("{} needs it", want.what))
                        .help(format!("the only instance for this type constructor is `{shown}`")),
                );
                return Solved::Done;
            }
        }
        let mut context = Vec::new();
        for Constraint { of, args } in &instance.context {
            let args = args.iter().map(|t| self.instantiate_shared(*t, &mut memo)).collect();
            context.push(self.want(of, args, want.span, want.what.clone()));
        }
        self.solved(want, Dict::Instance(key, context))
    }

    fn solved(&mut self, want: &Wanted, dict: Dict) -> Solved {
        self.dicts[want.dict] = dict;
        Solved::Done
    }

    /// Operators on built-in types work without the prelude, which holds their instances.
    fn is_operator_of(&self, of: &str, ty: Ty) -> bool {
        let Node::Con(name, _) = self.store.node(ty) else { return false };
        match of {
            NUM => matches!(&**name, builtin::INT | builtin::FLOAT | builtin::DURATION),
            COMBINER => matches!(&**name, builtin::TEXT | builtin::LIST),
            _ => false,
        }
    }

    /// Whether the BEAM's comparison is the trait's: all the way down built-in types, or types that compare all parts.
    fn native(&mut self, of: &Name, ty: Ty, depth: usize) -> Native {
        let mut open = HashSet::new();
        self.native_at(of, ty, depth, &mut open)
    }

    /// Whether values of a type hold functions.
    pub(super) fn has_function(&mut self, ty: Ty) -> bool {
        matches!(self.native(&SHOW.into(), ty, 0), Native::Function)
    }

    fn native_at(&mut self, of: &Name, ty: Ty, depth: usize, open: &mut HashSet<Tree>) -> Native {
        // Showing looks into all parts, as equality does.
        let equality = &**of != ORDERABLE;
        if depth > 50 {
            return Native::No;
        }
        let parts: Vec<Ty> = match self.store.node(ty).clone() {
            Node::Error => return Native::Yes,
            Node::Var { kind: Kind::Type, .. } => return Native::Wait,
            Node::Arrow { .. } => return Native::Function,
            Node::Tuple(parts) => parts,
            Node::Record(row) if equality => {
                let row = self.store.row(row);
                let open = match self.store.node(row.tail) {
                    Node::Empty => None,
                    Node::Skolem { .. } => Some(Native::No),
                    _ => Some(Native::Wait),
                };
                if let Some(open) = open {
                    return open;
                }
                row.entries.into_iter().flat_map(|(_, args)| args).collect()
            }
            Node::Record(_) => return Native::Part(ty),
            Node::Con(name, args) => {
                if &*name == builtin::HANDLER {
                    return Native::Function;
                }
                if Self::is_scalar(&name) {
                    return Native::Yes;
                }
                let instance = self.env.instances.get(&(of.clone(), name.clone()));
                match (&*name, instance) {
                    (builtin::LIST, _) => args,
                    (builtin::MAP, _) if equality => args,
                    (builtin::MAP, _) => return Native::Part(ty),
                    (_, Some(instance)) if !instance.structural => return Native::No,
                    (_, Some(_)) if !equality => return Native::No,
                    (_, None) if !equality => return Native::Part(ty),
                    _ => match self.own_parts(&name, &args, ty, open) {
                        Some(parts) => parts,
                        None => return Native::Yes,
                    },
                }
            }
            _ => return Native::No,
        };
        let mut answer = Native::Yes;
        for part in parts {
            match self.native_at(of, part, depth + 1, open) {
                Native::Yes => {}
                Native::Wait => answer = if matches!(answer, Native::Yes) { Native::Wait } else { answer },
                other => return other,
            }
        }
        answer
    }

    /// The types of all parts of a declared type; `None` if it is being looked at already, or has none.
    fn own_parts(&mut self, name: &Name, args: &[Ty], ty: Ty, open: &mut HashSet<Tree>) -> Option<Vec<Ty>> {
        let info = self.env.types.get(name)?.clone();
        let key = self.store.export(ty).map_or_else(|| Tree::Con(name.clone(), Vec::new()), |s| s.body);
        if !open.insert(key) {
            return None;
        }
        let fields: Vec<Ty> = match &info.body {
            TypeBody::Shape(ctors) => ctors.iter().flat_map(|(_, fields)| fields.iter().copied()).collect(),
            TypeBody::Record(fields) => fields.iter().map(|f| f.ty).collect(),
            TypeBody::Opaque | TypeBody::Alias(_) => return None,
        };
        Some(fields.into_iter().map(|f| self.apply(&info.params, args, f)).collect())
    }

    fn solve_by_given(&mut self, want: &Wanted) {
        for (given, dict) in self.all_givens() {
            let base = self.dicts.len();
            self.dicts.push(dict);
            if let Some(found) = self.through_supers(base, &given, &want.constraint, 0) {
                let dict = self.dicts[found].clone();
                self.dicts[want.dict] = dict;
                return;
            }
        }
        if want.origin == Origin::Shown {
            self.dicts[want.dict] = Dict::Native(want.constraint.of.clone());
            return;
        }
        let missing = self.show_constraint(&want.constraint);
        let diagnostic =
            Diagnostic::new(codes::MISSING_CONSTRAINT, format!("the signature does not say `{missing}`"), want.span)
                .primary(format!("{} needs it", want.what));
        // In a handler it is a variable of an operation, or one that belongs to nobody's head.
        self.report(if self.in_handler {
            let of = self.trait_shown(&want.constraint.of);
            let var = want.constraint.args.first().map_or_else(String::new, |t| self.store.show(*t));
            diagnostic.help(format!("constrain it where the operation is declared: `operation op[{var} : {of}](..)`"))
        } else {
            diagnostic.help(format!("begin the type with the constraint: `{missing} => ..`"))
        });
    }

    /// The dictionary of `wanted` inside of the dictionary `base` of `given`.
    pub(super) fn through_supers(
        &mut self,
        base: DictId,
        given: &Constraint,
        wanted: &Constraint,
        depth: usize,
    ) -> Option<DictId> {
        if self.same(given, wanted) {
            return Some(base);
        }
        if depth > 20 {
            return None;
        }
        let info = self.env.traits.get(&given.of)?.clone();
        for (index, of) in info.supers.iter().enumerate() {
            let args = of.args.iter().map(|t| self.apply(&info.params, &given.args, *t)).collect();
            let constraint = Constraint { of: of.of.clone(), args };
            let dict = self.dicts.len();
            self.dicts.push(Dict::Super(base, super::super_field(index, &of.of)));
            if let Some(found) = self.through_supers(dict, &constraint, wanted, depth + 1) {
                return Some(found);
            }
        }
        None
    }

    /// Whether two constraints are the same. The first type decides the others, which then become equal.
    fn same(&mut self, a: &Constraint, b: &Constraint) -> bool {
        let (Some(x), Some(y)) = (a.args.first().copied(), b.args.first().copied()) else { return false };
        if a.of != b.of || !self.equal(x, y) {
            return false;
        }
        a.args.iter().zip(&b.args).skip(1).all(|(x, y)| self.store.unify(*x, *y).is_ok())
    }

    fn equal(&self, a: Ty, b: Ty) -> bool {
        let (a, b) = (self.store.root(a), self.store.root(b));
        if a == b {
            return true;
        }
        match (self.store.node(a), self.store.node(b)) {
            (Node::Con(n, xs), Node::Con(m, ys)) => {
                n == m && xs.len() == ys.len() && xs.iter().zip(ys).all(|(x, y)| self.equal(*x, *y))
            }
            (Node::App { head: f, args: xs }, Node::App { head: g, args: ys }) => {
                self.equal(*f, *g) && xs.len() == ys.len() && xs.iter().zip(ys).all(|(x, y)| self.equal(*x, *y))
            }
            (Node::Tuple(xs), Node::Tuple(ys)) => {
                xs.len() == ys.len() && xs.iter().zip(ys).all(|(x, y)| self.equal(*x, *y))
            }
            _ => false,
        }
    }

    fn compares_functions(&mut self, want: &Wanted) {
        let shown = want.constraint.args.first().map(|t| self.store.show(*t)).unwrap_or_default();
        let operator = want.what.starts_with("`==") || want.what.starts_with("`!=") || want.what.starts_with("`/=");
        let diagnostic = Diagnostic::new(codes::COMPARES_FUNCTIONS, "functions cannot be compared", want.span);
        self.report(diagnostic.primary(if operator {
            format!("both sides have the type `{shown}`")
        } else {
            format!("{} compares values of the type `{shown}`", want.what)
        }));
    }

    fn no_instance(&mut self, want: &Wanted, native: Option<Native>) {
        let missing = self.show_constraint(&want.constraint);
        let name = short(&want.constraint.of).to_owned();
        let declared = want.constraint.args.first().and_then(|t| self.head(*t)).filter(|h| h.contains('.'));
        let shown = want.constraint.args.first().map(|t| self.store.show(*t)).unwrap_or_default();
        let indexed = match &*want.constraint.of {
            INDEX => Some((format!("`{shown}` cannot be indexed"), "`m[k]` works on maps and lists")),
            INDEX_PUT => {
                Some((format!("elements of `{shown}` cannot be assigned"), "`m[k] := e` works on maps and lists"))
            }
            _ => None,
        };
        if let Some((message, help)) = indexed {
            let diagnostic = Diagnostic::new(codes::NO_INSTANCE_FOUND, message, want.span);
            self.report(diagnostic.help(format!("{help}, and on types with an instance of `{name}`")));
            return;
        }
        let help = match (&*want.constraint.of, declared) {
            (COMPARABLE | ORDERABLE, Some(head)) => {
                let alias = if name == "Comparable" { "Eq" } else { "Ord" };
                format!("end the declaration of `{}` with `deriving [{alias}]`, or write an instance", short(&head))
            }
            (_, Some(head)) => format!("write `instance {name} {} where ..`", short(&head)),
            _ => match native {
                Some(Native::Part(part)) => format!("`{}` has no order of its own", self.store.show(part)),
                _ => format!("this type has no instance of `{name}`"),
            },
        };
        self.report(
            Diagnostic::new(codes::NO_INSTANCE_FOUND, format!("there is no instance `{missing}`"), want.span)
                .primary(format!("{} needs it", want.what))
                .help(help),
        );
    }

    fn ambiguous(&mut self, want: &Wanted) {
        let is_error = |t: &Ty| match self.store.node(*t) {
            Node::App { head, .. } => self.store.is_error(*head),
            _ => self.store.is_error(*t),
        };
        if want.constraint.args.iter().any(is_error) {
            return;
        }
        let name = short(&want.constraint.of);
        self.report(
            Diagnostic::new(
                codes::AMBIGUOUS_INSTANCE,
                format!("nothing says which instance of `{name}` is meant"),
                want.span,
            )
            .primary(format!("{} needs one", want.what))
            .help("annotate the value: `(e : T)`"),
        );
        // Other constraints of the same value are not a second mistake.
        for arg in &want.constraint.args {
            if let Some(var) = self.head_variable(*arg) {
                let error = self.store.error();
                let bound = self.store.unify(var, error);
                debug_assert!(bound.is_ok(), "a variable takes the error type");
            }
        }
    }
}
