//! Unification: union-find over all nodes, so that equal types are compared once.

use super::{Kind, Name, Node, Store, Ty, MAX_DEPTH};

/// Why two types are not equal. The types are the innermost ones that differ.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UnifyError {
    /// Two types with different heads.
    Mismatch(Ty, Ty),
    /// A variable that may only become some built-in types met another type: the variable, the type.
    Bound(Ty, Ty),
    /// A variable would contain itself: the variable, the type.
    Occurs(Ty, Ty),
    /// A row would contain itself.
    InfiniteRow,
    /// A closed row lacks a label that the other row has.
    MissingLabel {
        /// The field or the effect.
        label: Name,
        /// The row that lacks it.
        row: Ty,
    },
    /// A type variable of a signature would leave the signature's scope.
    Escape(Name),
    /// A type nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

impl Store {
    /// Makes two types, or two rows, equal.
    ///
    /// # Errors
    /// The first difference found. Variables bound on the way stay bound.
    pub fn unify(&mut self, a: Ty, b: Ty) -> Result<(), UnifyError> {
        self.unify_at(a, b, 0)
    }

    fn unify_at(&mut self, a: Ty, b: Ty, depth: usize) -> Result<(), UnifyError> {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return Ok(());
        }
        if depth > MAX_DEPTH {
            self.too_deep = true;
            return Err(UnifyError::TooDeep);
        }
        match (self.nodes[a.0 as usize].clone(), self.nodes[b.0 as usize].clone()) {
            (Node::Var { .. }, _) => return self.bind(a, b),
            (_, Node::Var { .. }) => return self.bind(b, a).map_err(UnifyError::flip),
            (Node::Error, _) | (_, Node::Error) => return Ok(()),
            (Node::Con(n, xs), Node::Con(m, ys)) if n == m && xs.len() == ys.len() => {
                self.unify_all(&xs, &ys, depth)?;
            }
            (Node::App { head, args }, Node::App { head: other, args: others }) if args.len() == others.len() => {
                self.unify_at(head, other, depth + 1)?;
                self.unify_all(&args, &others, depth)?;
                // Their heads may have become named types.
                return Ok(());
            }
            (Node::App { head, args }, Node::Con(name, all)) | (Node::Con(name, all), Node::App { head, args })
                if all.len() >= args.len() =>
            {
                let rest = all[all.len() - args.len()..].to_vec();
                let partial = self.con(name, all[..all.len() - args.len()].to_vec());
                self.unify_at(head, partial, depth + 1).map_err(|_| UnifyError::Mismatch(a, b))?;
                return self.unify_all(&args, &rest, depth);
            }
            (Node::Tuple(xs), Node::Tuple(ys)) if xs.len() == ys.len() => self.unify_all(&xs, &ys, depth)?,
            (Node::Arrow { param: p, row: r, result: t }, Node::Arrow { param: q, row: s, result: u }) => {
                self.unify_at(p, q, depth + 1)?;
                self.unify_at(r, s, depth + 1)?;
                self.unify_at(t, u, depth + 1)?;
            }
            (Node::Record(r), Node::Record(s)) => self.unify_at(r, s, depth + 1)?,
            (Node::Extend { .. }, Node::Extend { .. } | Node::Empty | Node::Skolem { .. })
            | (Node::Empty | Node::Skolem { .. }, Node::Extend { .. }) => return self.unify_rows(a, b, depth),
            (Node::Empty, Node::Empty) => {}
            _ => return Err(UnifyError::Mismatch(a, b)),
        }
        // Equal from here on: the next comparison of the two is one step. Without it shared types cost exponential time.
        if !matches!(self.nodes[a.0 as usize], Node::Skolem { .. }) {
            self.nodes[a.0 as usize] = Node::Link(b);
        }
        Ok(())
    }

    fn unify_all(&mut self, xs: &[Ty], ys: &[Ty], depth: usize) -> Result<(), UnifyError> {
        xs.iter().zip(ys).try_for_each(|(x, y)| self.unify_at(*x, *y, depth + 1))
    }

    fn unify_rows(&mut self, a: Ty, b: Ty, depth: usize) -> Result<(), UnifyError> {
        let (mut a, mut b) = (a, b);
        loop {
            (a, b) = (self.find(a), self.find(b));
            if a == b {
                return Ok(());
            }
            match (self.nodes[a.0 as usize].clone(), self.nodes[b.0 as usize].clone()) {
                (Node::Extend { label, args, tail }, Node::Extend { .. }) => {
                    let other_tail = self.row_tail(tail);
                    let (theirs, rest) = self.take_label(b, &label, &args, other_tail)?;
                    if theirs.len() == args.len() {
                        self.unify_all(&args, &theirs, depth)?;
                    } else {
                        return Err(UnifyError::Mismatch(a, b));
                    }
                    (a, b) = (tail, rest);
                }
                (Node::Extend { label, .. }, Node::Empty | Node::Skolem { .. }) => {
                    return Err(UnifyError::MissingLabel { label, row: b });
                }
                (Node::Empty | Node::Skolem { .. }, Node::Extend { label, .. }) => {
                    return Err(UnifyError::MissingLabel { label, row: a });
                }
                _ => return self.unify_at(a, b, depth + 1),
            }
        }
    }

    /// Binds an unbound variable: the occurs check, the adjustment of levels and the check of scopes in one pass.
    pub(super) fn bind(&mut self, var: Ty, to: Ty) -> Result<(), UnifyError> {
        let Node::Var { level, kind, bound, name } = self.nodes[var.0 as usize].clone() else {
            return Err(UnifyError::Mismatch(var, to));
        };
        match &self.nodes[to.0 as usize] {
            Node::Var { kind: other, bound: other_bound, level: other_level, name: other_name } => {
                if kind != *other {
                    return Err(UnifyError::Mismatch(var, to));
                }
                let Some(both) = bound.meet(*other_bound) else {
                    return Err(UnifyError::Bound(var, to));
                };
                let joined =
                    Node::Var { level: level.min(*other_level), kind, bound: both, name: other_name.clone().or(name) };
                self.nodes[to.0 as usize] = joined;
            }
            Node::Con(constructor, _) if !self.allows(bound, constructor) => return Err(UnifyError::Bound(var, to)),
            Node::Arrow { .. } | Node::Tuple(_) | Node::Record(_) if bound != super::Bound::ANY => {
                return Err(UnifyError::Bound(var, to));
            }
            // What is unified with something wrong is wrong itself, so that it is not reported again.
            Node::Error => {}
            node => {
                let is_row = matches!(node, Node::Empty | Node::Extend { .. })
                    || matches!(node, Node::Skolem { kind: Kind::Fields | Kind::Effects, .. });
                let wants_row = matches!(kind, Kind::Fields | Kind::Effects);
                let skolem_kind = match node {
                    Node::Skolem { kind, .. } => Some(*kind),
                    _ => None,
                };
                let constructor = matches!(kind, Kind::Constructor(_));
                if is_row != wants_row
                    || (constructor && !matches!(node, Node::Con(..) | Node::Skolem { .. }))
                    || (!wants_row && skolem_kind.is_some_and(|k| k != kind))
                {
                    return Err(UnifyError::Mismatch(var, to));
                }
                self.adjust(var, level, to)?;
            }
        }
        self.nodes[var.0 as usize] = Node::Link(to);
        if matches!(kind, Kind::Constructor(_)) {
            self.settle_apps();
        }
        Ok(())
    }

    /// Lowers the levels of the variables in `ty` to `level`: something at that level depends on it.
    pub fn lower(&mut self, ty: Ty, level: u32) {
        let epoch = self.new_epoch();
        let mut work = vec![ty];
        while let Some(at) = work.pop() {
            let at = self.find(at);
            if !self.visit(at, epoch) {
                continue;
            }
            match &mut self.nodes[at.0 as usize] {
                Node::Var { level: l, .. } => *l = (*l).min(level),
                _ => self.children(at, &mut work),
            }
        }
    }

    /// Lowers the levels in `ty` to `level`, and finds `var` or a skolem that is too deep.
    fn adjust(&mut self, var: Ty, level: u32, ty: Ty) -> Result<(), UnifyError> {
        let epoch = self.new_epoch();
        let mut work = vec![ty];
        while let Some(at) = work.pop() {
            let at = self.find(at);
            if at == var {
                return Err(UnifyError::Occurs(var, ty));
            }
            if !self.visit(at, epoch) {
                continue;
            }
            match &mut self.nodes[at.0 as usize] {
                Node::Var { level: l, .. } => *l = (*l).min(level),
                Node::Skolem { level: l, name, .. } if *l > level => return Err(UnifyError::Escape(name.clone())),
                _ => self.children(at, &mut work),
            }
        }
        Ok(())
    }
}

impl UnifyError {
    fn flip(self) -> Self {
        match self {
            Self::Mismatch(a, b) => Self::Mismatch(b, a),
            other => other,
        }
    }
}
