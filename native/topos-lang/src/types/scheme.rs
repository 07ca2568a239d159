//! Generalisation, instantiation, and types that outlive their store.

use foldhash::{HashMap, HashMapExt};

use serde::{Deserialize, Serialize};

use super::{Bound, Kind, Name, Node, Store, Ty, GENERIC, MAX_DEPTH};

/// A type as a tree, independent of any store: what a module's interface holds.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Tree {
    /// A quantified variable, by its index in [`Scheme::vars`].
    Generic(usize),
    /// A named type.
    Con(Name, Vec<Tree>),
    /// Parameter, row, result.
    Arrow(Box<[Tree; 3]>),
    /// A variable with its arguments.
    App(Box<Tree>, Vec<Tree>),
    /// A tuple.
    Tuple(Vec<Tree>),
    /// A record with its row.
    Record(Box<Tree>),
    /// A closed row's end.
    Empty,
    /// A row entry.
    Extend(Name, Vec<Tree>, Box<Tree>),
    /// Something that is wrong already.
    Error,
}

/// Quantified variables, perhaps of several trees: their kinds and the names that signatures gave them.
pub type Vars = Vec<(Kind, Option<Name>)>;

/// A type with its quantified variables.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Scheme {
    /// The kind of each variable and the name its signature gave it.
    pub vars: Vars,
    /// The type.
    pub body: Tree,
}

/// Exported types with more nodes than this are refused: HM types can be exponential in the source.
const MAX_TREE: usize = 20_000;

/// A type with more different nodes than this is not instantiated: nested `let`s can double it each time.
const MAX_INSTANCE: usize = 5_000;

impl Store {
    /// Quantifies the variables of `ty` that are deeper than `level`.
    ///
    /// What a constraint waits for must have been made a constraint of the flow, or kept from being deep, before.
    pub fn generalise(&mut self, ty: Ty, level: u32) {
        let mut deep = Vec::new();
        self.walk(ty, |at, node| {
            if matches!(node, Node::Var { level: l, .. } if *l > level && *l != GENERIC) {
                deep.push(at);
            }
        });
        for at in deep {
            if let Node::Var { level, bound, .. } = &mut self.nodes[at.0 as usize] {
                *level = GENERIC;
                *bound = Bound::ANY;
            }
        }
    }

    /// Closes the quantified effect rows of a function's results that nothing else mentions: `a -> b / {IO | e}` becomes
    /// `a -> b / {IO}`. They are opened again at each use, so nothing is lost, and a function that does nothing is seen
    /// to need no evidence.
    pub fn close_spine(&mut self, ty: Ty) {
        let mut tails: Vec<Ty> = Vec::new();
        let mut at = self.root(ty);
        while let Node::Arrow { row, result, .. } = self.nodes[at.0 as usize] {
            let tail = self.row_tail(row);
            if matches!(self.node(tail), Node::Var { level: GENERIC, kind: Kind::Effects, .. }) {
                tails.push(tail);
            }
            at = self.root(result);
        }
        if tails.is_empty() {
            return;
        }
        let uses = self.count_uses(ty, &tails);
        for tail in tails {
            if uses.get(&tail) == Some(&1) {
                self.nodes[tail.0 as usize] = Node::Link(self.empty);
            }
        }
    }

    /// How often each of `vars` is mentioned by a distinct node; a shared node counts for each path up to two.
    fn count_uses(&mut self, ty: Ty, vars: &[Ty]) -> HashMap<Ty, usize> {
        let mut paths: HashMap<Ty, usize> = HashMap::new();
        let mut work = vec![ty];
        let mut children = Vec::new();
        while let Some(at) = work.pop() {
            let at = self.find(at);
            let seen = paths.entry(at).or_insert(0);
            *seen += 1;
            // A node is expanded at most twice: enough to tell "once" from "more than once".
            if *seen <= 2 {
                self.children(at, &mut children);
                work.append(&mut children);
            }
        }
        vars.iter().map(|v| (*v, paths.get(v).copied().unwrap_or(0))).collect()
    }

    /// A copy of a type with fresh variables for the quantified ones.
    pub fn instantiate(&mut self, ty: Ty, level: u32) -> Ty {
        self.instantiate_with(ty, &mut HashMap::new(), &mut |store, kind, name| match name {
            Some(name) => store.named_var(kind, level, name),
            None => store.var(kind, level),
        })
    }

    /// A copy of a type with rigid variables for the quantified ones.
    pub fn skolemise(&mut self, ty: Ty, level: u32) -> Ty {
        self.skolemise_with(ty, &mut HashMap::new(), level)
    }

    /// As [`Store::skolemise`]; `memo` tells which variable became which skolem.
    pub fn skolemise_with(&mut self, ty: Ty, memo: &mut HashMap<Ty, Ty>, level: u32) -> Ty {
        self.instantiate_with(ty, memo, &mut |store, kind, name| {
            let name = name.unwrap_or_else(|| if kind == Kind::Effects { "e".into() } else { "a".into() });
            store.skolem(name, kind, level)
        })
    }

    /// A copy of a type with `fresh` for each quantified variable; `memo` is shared by types that share variables.
    pub fn instantiate_with(
        &mut self,
        ty: Ty,
        memo: &mut HashMap<Ty, Ty>,
        fresh: &mut dyn FnMut(&mut Self, Kind, Option<Name>) -> Ty,
    ) -> Ty {
        self.copy(ty, memo, fresh, 0)
    }

    fn copy(
        &mut self,
        ty: Ty,
        memo: &mut HashMap<Ty, Ty>,
        fresh: &mut dyn FnMut(&mut Self, Kind, Option<Name>) -> Ty,
        depth: usize,
    ) -> Ty {
        let ty = self.find(ty);
        if let Some(done) = memo.get(&ty) {
            return *done;
        }
        if depth > MAX_DEPTH || memo.len() > MAX_INSTANCE {
            self.too_deep = true;
            return self.error;
        }
        let copied = match self.nodes[ty.0 as usize].clone() {
            Node::Var { level: GENERIC, kind, name, .. } => fresh(self, kind, name),
            Node::Var { .. } | Node::Skolem { .. } | Node::Empty | Node::Error | Node::Link(_) => ty,
            Node::Con(name, args) => match self.copy_all(&args, memo, fresh, depth) {
                Some(args) => self.add(Node::Con(name, args)),
                None => ty,
            },
            Node::App { head, mut args } => {
                args.insert(0, head);
                match self.copy_all(&args, memo, fresh, depth) {
                    Some(mut parts) => {
                        let head = parts.remove(0);
                        self.app(head, parts)
                    }
                    None => ty,
                }
            }
            Node::Tuple(parts) => match self.copy_all(&parts, memo, fresh, depth) {
                Some(parts) => self.add(Node::Tuple(parts)),
                None => ty,
            },
            Node::Arrow { param, row, result } => match self.copy_all(&[param, row, result], memo, fresh, depth) {
                Some(parts) => self.arrow(parts[0], parts[1], parts[2]),
                None => ty,
            },
            Node::Record(row) => match self.copy_all(&[row], memo, fresh, depth) {
                Some(parts) => self.record(parts[0]),
                None => ty,
            },
            Node::Extend { label, mut args, tail } => {
                args.push(tail);
                match self.copy_all(&args, memo, fresh, depth) {
                    Some(mut parts) => match parts.pop() {
                        Some(tail) => self.extend(label, parts, tail),
                        None => ty,
                    },
                    None => ty,
                }
            }
        };
        memo.insert(ty, copied);
        copied
    }

    /// `None` if nothing changed, so that what is not polymorphic stays shared.
    fn copy_all(
        &mut self,
        tys: &[Ty],
        memo: &mut HashMap<Ty, Ty>,
        fresh: &mut dyn FnMut(&mut Self, Kind, Option<Name>) -> Ty,
        depth: usize,
    ) -> Option<Vec<Ty>> {
        let copies: Vec<Ty> = tys.iter().map(|t| self.copy(*t, memo, fresh, depth + 1)).collect();
        let changed = copies.iter().zip(tys).any(|(copy, ty)| self.root(*ty) != *copy);
        changed.then_some(copies)
    }

    /// A type as a tree; every unbound variable counts as quantified. `None` if it is too large or too deep.
    pub fn export(&self, ty: Ty) -> Option<Scheme> {
        let mut vars = Vec::new();
        let mut seen = HashMap::new();
        let mut budget = MAX_TREE;
        let body = self.export_tree(ty, &mut vars, &mut seen, &mut budget, 0)?;
        Some(Scheme { vars, body })
    }

    /// Several types that share their variables, as one tuple-like scheme.
    pub fn export_all(&self, tys: &[Ty], vars: &[Ty]) -> Option<(Vars, Vec<Tree>)> {
        let mut kinds = Vec::new();
        let mut seen = HashMap::new();
        let mut budget = MAX_TREE;
        for var in vars {
            self.export_tree(*var, &mut kinds, &mut seen, &mut budget, 0)?;
        }
        let trees = tys
            .iter()
            .map(|t| self.export_tree(*t, &mut kinds, &mut seen, &mut budget, 0))
            .collect::<Option<Vec<_>>>()?;
        Some((kinds, trees))
    }

    fn export_tree(
        &self,
        ty: Ty,
        vars: &mut Vec<(Kind, Option<Name>)>,
        seen: &mut HashMap<Ty, usize>,
        budget: &mut usize,
        depth: usize,
    ) -> Option<Tree> {
        *budget = budget.checked_sub(1)?;
        if depth > MAX_DEPTH {
            return None;
        }
        let ty = self.root(ty);
        let mut all = |tys: &[Ty], budget: &mut usize| {
            tys.iter().map(|t| self.export_tree(*t, vars, seen, budget, depth + 1)).collect::<Option<Vec<_>>>()
        };
        Some(match &self.nodes[ty.0 as usize] {
            Node::Var { kind, name, .. } => Tree::Generic(*seen.entry(ty).or_insert_with(|| {
                vars.push((*kind, name.clone()));
                vars.len() - 1
            })),
            Node::Con(name, args) => Tree::Con(name.clone(), all(args, budget)?),
            Node::App { head, args } => {
                let head = all(&[*head], budget)?.pop()?;
                Tree::App(Box::new(head), all(args, budget)?)
            }
            Node::Tuple(parts) => Tree::Tuple(all(parts, budget)?),
            Node::Arrow { param, row, result } => {
                Tree::Arrow(Box::new(all(&[*param, *row, *result], budget)?.try_into().ok()?))
            }
            Node::Record(row) => Tree::Record(Box::new(all(&[*row], budget)?.pop()?)),
            Node::Extend { label, args, tail } => {
                let args = all(args, budget)?;
                let tail = all(&[*tail], budget)?.pop()?;
                Tree::Extend(label.clone(), args, Box::new(tail))
            }
            Node::Empty => Tree::Empty,
            Node::Skolem { .. } | Node::Error | Node::Link(_) => Tree::Error,
        })
    }

    /// A scheme of another module as a type of this store with quantified variables.
    pub fn import(&mut self, scheme: &Scheme) -> Ty {
        let vars = self.import_vars(&scheme.vars);
        self.import_tree(&scheme.body, &vars)
    }

    /// Quantified variables for trees that share them.
    pub fn import_vars(&mut self, vars: &[(Kind, Option<Name>)]) -> Vec<Ty> {
        vars.iter().map(|(kind, name)| self.generic(*kind, name.clone())).collect()
    }

    /// A tree whose variables are `vars`.
    pub fn import_tree(&mut self, tree: &Tree, vars: &[Ty]) -> Ty {
        match tree {
            Tree::Generic(index) => vars.get(*index).copied().unwrap_or(self.error),
            Tree::Con(name, args) => {
                let args = args.iter().map(|t| self.import_tree(t, vars)).collect();
                self.con(name.clone(), args)
            }
            Tree::App(head, args) => {
                let head = self.import_tree(head, vars);
                let args = args.iter().map(|t| self.import_tree(t, vars)).collect();
                self.app(head, args)
            }
            Tree::Tuple(parts) => {
                let parts = parts.iter().map(|t| self.import_tree(t, vars)).collect();
                self.tuple(parts)
            }
            Tree::Arrow(parts) => {
                let [param, row, result] = &**parts;
                let (param, row) = (self.import_tree(param, vars), self.import_tree(row, vars));
                let result = self.import_tree(result, vars);
                self.arrow(param, row, result)
            }
            Tree::Record(row) => {
                let row = self.import_tree(row, vars);
                self.record(row)
            }
            Tree::Empty => self.empty,
            Tree::Extend(label, args, tail) => {
                let args = args.iter().map(|t| self.import_tree(t, vars)).collect();
                let tail = self.import_tree(tail, vars);
                self.extend(label.clone(), args, tail)
            }
            Tree::Error => self.error,
        }
    }
}
