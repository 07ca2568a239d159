//! Exhaustiveness and redundancy of patterns by usefulness (L. Maranget, *Warnings for pattern matching*, 2007).
//!
//! One question answers both: is there a value that a row of patterns matches and no row before it does? Asked of `_`, an
//! answer is the counter-example of a `match` that is not exhaustive; asked of an arm, no answer means that it never
//! matches. The question is NP-complete, so it is given a budget.

use super::interface::TypeBody;
use super::tree::{Literal, Pattern, PatternKind};
use super::Checker;
use crate::types::{builtin, Name, Node, Ty};

/// Steps after which a question stays open: the match then gets a last arm that fails, and nothing is reported.
const BUDGET: usize = 100_000;
/// A list pattern with more elements takes no part in the check.
const MAX_ELEMENTS: usize = 100;
/// Recursion depth after which a question stays open.
const MAX_DEPTH: usize = 400;

/// A pattern without variables.
#[derive(Clone, Debug)]
enum Shape {
    Any,
    Node(Head, Vec<Shape>),
}

#[derive(Clone, Debug, PartialEq)]
enum Head {
    Constructor(Name, usize),
    Tuple(usize),
    Nil,
    Cons,
    Literal(String),
    Record(Vec<Name>),
}

/// The answer to whether there is a value.
pub(super) enum Useful {
    /// Such a value, printed.
    Yes(String),
    No,
    /// The budget was used up.
    Unknown,
}

struct Stop;

type Answer = Result<Option<Vec<Shape>>, Stop>;

impl Checker<'_> {
    /// Whether some value of the type is matched by `pattern` (any value if `None`) and by none of `before`.
    pub(super) fn useful(&mut self, before: &[&Pattern], pattern: Option<&Pattern>, ty: Ty) -> Useful {
        if pattern.is_some_and(is_long) {
            return Useful::Unknown;
        }
        // A row that is left out makes more values seem unmatched, never fewer.
        let rows: Vec<Vec<Shape>> = before.iter().filter(|p| !is_long(p)).map(|p| vec![shape(p)]).collect();
        let query = vec![pattern.map_or(Shape::Any, shape)];
        let mut budget = BUDGET;
        match self.witness(&rows, &query, &[ty], &mut budget, 0) {
            Err(Stop) => Useful::Unknown,
            Ok(None) => Useful::No,
            // What has no type for another mistake may have these values alone.
            Ok(Some(_)) if pattern.is_none() && self.store.contains_error(ty) => Useful::Unknown,
            Ok(Some(values)) => Useful::Yes(values.first().map_or_else(|| "_".to_owned(), |v| show(v, false))),
        }
    }

    fn witness(
        &mut self,
        rows: &[Vec<Shape>],
        query: &[Shape],
        types: &[Ty],
        budget: &mut usize,
        depth: usize,
    ) -> Answer {
        *budget = budget.checked_sub(1 + rows.len()).ok_or(Stop)?;
        if depth > MAX_DEPTH {
            return Err(Stop);
        }
        let (Some((first, rest)), Some((ty, rest_types))) = (query.split_first(), types.split_first()) else {
            return Ok(rows.is_empty().then(Vec::new));
        };
        let ty = *ty;
        // A record pattern names some fields: all that this column names, in one order, make it a tuple.
        let fields = record_fields(rows, first);
        if let Some(fields) = fields {
            let rows: Vec<Vec<Shape>> = rows.iter().map(|row| with_record(row, &fields)).collect();
            let query = with_record(query, &fields);
            let head = Head::Record(fields);
            return self.specialised(&rows, &query, &head, ty, rest_types, budget, depth);
        }
        if let Shape::Node(head, _) = first {
            return self.specialised(rows, query, &head.clone(), ty, rest_types, budget, depth);
        }
        let used: Vec<Head> = rows.iter().filter_map(|row| row.first().and_then(head_of)).cloned().collect();
        let all = self.all_heads(ty, &used);
        if let Some(all) = &all {
            if all.iter().all(|(head, _)| used.contains(head)) {
                for (head, _) in all {
                    if let Some(found) = self.specialised(rows, query, head, ty, rest_types, budget, depth)? {
                        return Ok(Some(found));
                    }
                }
                return Ok(None);
            }
        }
        let default: Vec<Vec<Shape>> =
            rows.iter().filter(|row| matches!(row.first(), Some(Shape::Any))).map(|row| row[1..].to_vec()).collect();
        let Some(mut found) = self.witness(&default, rest, rest_types, budget, depth + 1)? else { return Ok(None) };
        let missing = all.filter(|_| !used.is_empty()).and_then(|all| {
            all.into_iter()
                .find(|(head, _)| !used.contains(head))
                .map(|(head, n)| Shape::Node(head, vec![Shape::Any; n]))
        });
        found.insert(0, missing.unwrap_or(Shape::Any));
        Ok(Some(found))
    }

    #[allow(clippy::too_many_arguments)]
    fn specialised(
        &mut self,
        rows: &[Vec<Shape>],
        query: &[Shape],
        head: &Head,
        ty: Ty,
        rest_types: &[Ty],
        budget: &mut usize,
        depth: usize,
    ) -> Answer {
        let mut types = self.parts(head, ty);
        let arity = types.len();
        types.extend_from_slice(rest_types);
        let rows: Vec<Vec<Shape>> = rows.iter().filter_map(|row| specialise(row, head, arity)).collect();
        let Some(query) = specialise(query, head, arity) else { return Ok(None) };
        let Some(mut found) = self.witness(&rows, &query, &types, budget, depth + 1)? else { return Ok(None) };
        let rest = found.split_off(arity.min(found.len()));
        let mut out = vec![Shape::Node(head.clone(), found)];
        out.extend(rest);
        Ok(Some(out))
    }

    /// All heads of a type with their arities, if they are finitely many.
    fn all_heads(&mut self, ty: Ty, used: &[Head]) -> Option<Vec<(Head, usize)>> {
        match self.store.node(ty).clone() {
            Node::Con(name, _) => match &*name {
                builtin::BOOL => Some(vec![(Head::Literal("true".into()), 0), (Head::Literal("false".into()), 0)]),
                builtin::UNIT => Some(vec![(Head::Literal("()".into()), 0)]),
                builtin::LIST => Some(vec![(Head::Nil, 0), (Head::Cons, 2)]),
                _ => match &self.env.types.get(&name)?.body {
                    TypeBody::Shape(ctors) => {
                        Some(ctors.iter().map(|(n, f)| (Head::Constructor(n.clone(), f.len()), f.len())).collect())
                    }
                    _ => None,
                },
            },
            Node::Tuple(parts) => Some(vec![(Head::Tuple(parts.len()), parts.len())]),
            _ => match used.first() {
                Some(Head::Tuple(n)) => Some(vec![(Head::Tuple(*n), *n)]),
                _ => None,
            },
        }
    }

    /// The types of a head's parts.
    fn parts(&mut self, head: &Head, ty: Ty) -> Vec<Ty> {
        let error = self.store.error();
        match (head, self.store.node(ty).clone()) {
            (Head::Constructor(name, arity), Node::Con(ty_name, args)) => {
                let info = self.env.types.get(&ty_name).cloned();
                let fields = info.as_ref().and_then(|i| match &i.body {
                    TypeBody::Shape(ctors) => ctors.iter().find(|(n, _)| n == name).map(|(_, f)| f.clone()),
                    _ => None,
                });
                match (info, fields) {
                    (Some(info), Some(fields)) => {
                        fields.into_iter().map(|f| self.apply(&info.params, &args, f)).collect()
                    }
                    _ => vec![error; *arity],
                }
            }
            (Head::Tuple(_), Node::Tuple(parts)) => parts,
            (Head::Cons, Node::Con(_, args)) => vec![args.first().copied().unwrap_or(error), ty],
            (Head::Record(fields), _) => fields.iter().map(|f| self.try_select(ty, f).unwrap_or(error)).collect(),
            (Head::Constructor(_, n) | Head::Tuple(n), _) => vec![error; *n],
            (Head::Cons, _) => vec![error; 2],
            (Head::Nil | Head::Literal(_), _) => Vec::new(),
        }
    }
}

/// Whether a pattern has a list of so many elements that it is not looked at: each nests the rest one deeper.
fn is_long(pattern: &Pattern) -> bool {
    match &pattern.kind {
        PatternKind::Wildcard | PatternKind::Bind(_) | PatternKind::Literal(_) => false,
        PatternKind::As(inner, _) => is_long(inner),
        PatternKind::Tuple(parts) | PatternKind::Construct { args: parts, .. } => parts.iter().any(is_long),
        PatternKind::List(items, tail) => {
            items.len() > MAX_ELEMENTS || items.iter().any(is_long) || tail.as_ref().is_some_and(|t| is_long(t))
        }
        PatternKind::Record(fields) => fields.iter().any(|(_, p)| is_long(p)),
    }
}

fn head_of(shape: &Shape) -> Option<&Head> {
    match shape {
        Shape::Any => None,
        Shape::Node(head, _) => Some(head),
    }
}

fn record_fields(rows: &[Vec<Shape>], query: &Shape) -> Option<Vec<Name>> {
    let mut all: Vec<Name> = Vec::new();
    let mut any = false;
    for shape in rows.iter().filter_map(|row| row.first()).chain([query]) {
        if let Shape::Node(Head::Record(fields), _) = shape {
            any = true;
            all.extend(fields.iter().cloned());
        }
    }
    all.sort();
    all.dedup();
    any.then_some(all)
}

fn with_record(row: &[Shape], all: &[Name]) -> Vec<Shape> {
    let mut row = row.to_vec();
    if let Some(first) = row.first_mut() {
        if let Shape::Node(Head::Record(fields), parts) = first {
            let parts = all
                .iter()
                .map(|name| fields.iter().position(|f| f == name).map_or(Shape::Any, |i| parts[i].clone()))
                .collect();
            *first = Shape::Node(Head::Record(all.to_vec()), parts);
        }
    }
    row
}

fn specialise(row: &[Shape], head: &Head, arity: usize) -> Option<Vec<Shape>> {
    let (first, rest) = row.split_first()?;
    let mut out = match first {
        Shape::Any => vec![Shape::Any; arity],
        Shape::Node(h, parts) if h == head => parts.clone(),
        Shape::Node(..) => return None,
    };
    out.extend_from_slice(rest);
    Some(out)
}

fn shape(pattern: &Pattern) -> Shape {
    match &pattern.kind {
        PatternKind::Wildcard | PatternKind::Bind(_) => Shape::Any,
        PatternKind::As(inner, _) => shape(inner),
        PatternKind::Literal(literal) => Shape::Node(Head::Literal(literal_key(literal)), Vec::new()),
        PatternKind::Tuple(parts) => Shape::Node(Head::Tuple(parts.len()), parts.iter().map(shape).collect()),
        PatternKind::List(items, tail) => {
            let end = tail.as_ref().map_or(Shape::Node(Head::Nil, Vec::new()), |t| shape(t));
            items.iter().rev().fold(end, |tail, item| Shape::Node(Head::Cons, vec![shape(item), tail]))
        }
        PatternKind::Record(fields) => Shape::Node(
            Head::Record(fields.iter().map(|(n, _)| n.clone()).collect()),
            fields.iter().map(|(_, p)| shape(p)).collect(),
        ),
        PatternKind::Construct { name, args } => {
            Shape::Node(Head::Constructor(name.clone(), args.len()), args.iter().map(shape).collect())
        }
    }
}

fn literal_key(literal: &Literal) -> String {
    match literal {
        // `1000` and `1s` are the same Duration.
        Literal::Duration(ms) => ms.to_string(),
        other => Pattern::literal_text(other),
    }
}

fn show(shape: &Shape, nested: bool) -> String {
    let Shape::Node(head, parts) = shape else { return "_".to_owned() };
    let all = |parts: &[Shape]| parts.iter().map(|p| show(p, false)).collect::<Vec<_>>().join(", ");
    match head {
        Head::Literal(text) => text.clone(),
        Head::Constructor(name, 0) => name.to_string(),
        Head::Constructor(name, _) => format!("{name}({})", all(parts)),
        Head::Tuple(_) => format!("({})", all(parts)),
        Head::Nil => "[]".to_owned(),
        Head::Cons => {
            let ends: Vec<String> = match parts.as_slice() {
                [head, tail] => vec![show(head, true), show(tail, false)],
                other => other.iter().map(|p| show(p, true)).collect(),
            };
            let text = ends.join(" :: ");
            if nested {
                format!("({text})")
            } else {
                text
            }
        }
        Head::Record(names) => {
            let fields: Vec<String> =
                names.iter().zip(parts).map(|(name, part)| format!("{name}: {}", show(part, false))).collect();
            format!("{{{}}}", fields.join(", "))
        }
    }
}
