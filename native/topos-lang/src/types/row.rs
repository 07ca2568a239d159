//! Rows with scoped labels.

use super::{Kind, Name, Node, Store, Ty, UnifyError};

/// A row, taken apart.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its entries, the visible one of equal labels first.
    pub entries: Vec<(Name, Vec<Ty>)>,
    /// A variable, a skolem, [`Node::Empty`] or [`Node::Error`].
    pub tail: Ty,
}

impl Store {
    /// The entries of a row and what ends it.
    pub fn row(&self, row: Ty) -> Row {
        let mut entries = Vec::new();
        let mut at = self.root(row);
        while let Node::Extend { label, args, tail } = &self.nodes[at.0 as usize] {
            entries.push((label.clone(), args.clone()));
            at = self.root(*tail);
        }
        Row { entries, tail: at }
    }

    /// What ends a row.
    pub fn row_tail(&self, row: Ty) -> Ty {
        let mut at = self.root(row);
        while let Node::Extend { tail, .. } = &self.nodes[at.0 as usize] {
            at = self.root(*tail);
        }
        at
    }

    /// A row with these entries before `tail`.
    pub fn make_row(&mut self, entries: Vec<(Name, Vec<Ty>)>, tail: Ty) -> Ty {
        entries.into_iter().rev().fold(tail, |tail, (label, args)| self.extend(label, args, tail))
    }

    /// The type of a field of a record's row, if the row shows it.
    pub fn field(&self, row: Ty, field: &str) -> Option<Ty> {
        let row = self.row(row);
        row.entries.iter().find(|(label, _)| &**label == field).and_then(|(_, args)| args.first().copied())
    }

    /// Whether a row is the closed empty one.
    pub fn is_empty_row(&self, row: Ty) -> bool {
        matches!(self.node(row), Node::Empty)
    }

    /// The same row with a fresh tail if it is closed: what is called may do less than its caller.
    pub fn open(&mut self, row: Ty, level: u32) -> Ty {
        let Row { entries, tail } = self.row(row);
        if matches!(self.node(tail), Node::Empty) {
            let tail = self.var(Kind::Effects, level);
            self.make_row(entries, tail)
        } else {
            row
        }
    }

    /// Opens the rows along the results of a function type: what it does when it is given its arguments.
    ///
    /// Sound for any expression, since a function with fewer effects can stand where one with more is wanted; only the
    /// rows in positive positions are opened.
    pub fn open_spine(&mut self, ty: Ty, level: u32) -> Ty {
        let mut arrows = Vec::new();
        let mut at = self.root(ty);
        let mut closed = false;
        while let Node::Arrow { param, row, result } = self.nodes[at.0 as usize] {
            closed |= matches!(self.node(self.row_tail(row)), Node::Empty);
            arrows.push((param, row));
            at = self.root(result);
        }
        if !closed {
            return ty;
        }
        arrows.into_iter().rev().fold(at, |result, (param, row)| {
            let row = self.open(row, level);
            self.arrow(param, row, result)
        })
    }

    /// Takes the first entry with a label out of a row: its arguments and the row without it.
    ///
    /// An open row without the label gets it, with `args`; `other_tail` ends the row that is unified with this one, and
    /// extending that same tail would never end (the side condition of Leijen's `(uni-row)`).
    pub(super) fn take_label(
        &mut self,
        row: Ty,
        label: &Name,
        args: &[Ty],
        other_tail: Ty,
    ) -> Result<(Vec<Ty>, Ty), UnifyError> {
        let mut before = Vec::new();
        let mut at = self.find(row);
        loop {
            match self.nodes[at.0 as usize].clone() {
                Node::Extend { label: l, args, tail } if l == *label => return Ok((args, self.make_row(before, tail))),
                Node::Extend { label, args, tail } => {
                    before.push((label, args));
                    at = self.find(tail);
                }
                Node::Var { level, kind, .. } => {
                    if at == other_tail {
                        return Err(UnifyError::InfiniteRow);
                    }
                    let rest = self.var(kind, level);
                    let extended = self.extend(label.clone(), args.to_vec(), rest);
                    self.bind(at, extended)?;
                    return Ok((args.to_vec(), self.make_row(before, rest)));
                }
                Node::Error => return Ok((args.to_vec(), row)),
                _ => return Err(UnifyError::MissingLabel { label: label.clone(), row }),
            }
        }
    }
}
