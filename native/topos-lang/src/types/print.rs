//! Types as a user writes them.

use foldhash::{HashMap, HashMapExt};

use super::{builtin, Kind, Node, Store, Ty, GENERIC, MAX_DEPTH};

/// After so many nodes a printed type goes on as `…`.
pub const MAX_PRINTED_NODES: usize = 80;

/// Prints types so that equal variables have equal names over several types of one message.
#[derive(Debug)]
pub struct Printer<'a> {
    store: &'a Store,
    names: HashMap<Ty, String>,
    left: usize,
}

/// What surrounds a type, which decides on parentheses.
#[derive(Clone, Copy, PartialEq, PartialOrd)]
enum Place {
    Top,
    Domain,
    Argument,
}

impl Store {
    /// One type, printed alone.
    pub fn show(&self, ty: Ty) -> String {
        Printer::new(self).show(ty)
    }
}

impl<'a> Printer<'a> {
    /// A printer that has named nothing yet.
    pub fn new(store: &'a Store) -> Self {
        Self { store, names: HashMap::new(), left: MAX_PRINTED_NODES }
    }

    /// Prints a type or a row.
    pub fn show(&mut self, ty: Ty) -> String {
        self.left = MAX_PRINTED_NODES;
        let mut out = String::new();
        self.print(ty, Place::Top, &mut out, 0);
        out
    }

    fn variable(&mut self, ty: Ty, kind: Kind, hint: Option<&str>) -> String {
        if let Some(name) = self.names.get(&ty) {
            return name.clone();
        }
        let taken = |name: &str, names: &HashMap<Ty, String>| names.values().any(|n| n == name);
        let name = match hint {
            Some(hint) if !taken(hint, &self.names) => hint.to_owned(),
            _ => {
                let letters: &[&str] = match kind {
                    Kind::Type => &["a", "b", "c", "d", "f", "g", "h", "k", "l", "m", "n", "p", "q"],
                    Kind::Fields => &["r", "s", "t"],
                    Kind::Effects => &["e"],
                    Kind::Constructor(_) => &["f", "g", "m", "t"],
                };
                (0..)
                    .flat_map(|round| {
                        letters.iter().map(move |l| if round == 0 { (*l).to_owned() } else { format!("{l}{round}") })
                    })
                    .find(|name| !taken(name, &self.names))
                    .unwrap_or_default()
            }
        };
        self.names.insert(ty, name.clone());
        name
    }

    fn print(&mut self, ty: Ty, place: Place, out: &mut String, depth: usize) {
        let store = self.store;
        let ty = store.root(ty);
        if self.left == 0 || depth > MAX_DEPTH {
            out.push('…');
            return;
        }
        self.left -= 1;
        match store.node(ty) {
            Node::Var { bound, .. } if bound.default().is_some() => {
                out.push_str(bound.default().unwrap_or_default());
            }
            Node::Var { kind, name, .. } => {
                let name = self.variable(ty, *kind, name.as_deref());
                out.push_str(&name);
            }
            Node::Skolem { name, kind, .. } => {
                let name = self.variable(ty, *kind, Some(name));
                out.push_str(&name);
            }
            Node::Con(name, args) if &**name == builtin::LIST && args.len() == 1 => {
                out.push('[');
                self.print(args[0], Place::Top, out, depth + 1);
                out.push(']');
            }
            Node::Con(name, args) if &**name == builtin::HANDLER && args.len() == 2 => {
                let pure = self.is_pure(args[1]);
                let parens = place == Place::Argument || (place == Place::Domain && !pure);
                if parens {
                    out.push('(');
                }
                out.push_str("Handler(");
                let mut effect = String::new();
                self.row(args[0], &mut effect, depth + 1);
                out.push_str(effect.trim_start_matches('{').trim_end_matches('}'));
                out.push(')');
                if !pure {
                    out.push_str(" / ");
                    self.row(args[1], out, depth + 1);
                }
                if parens {
                    out.push(')');
                }
            }
            Node::Con(name, args) => {
                let parens = place == Place::Argument && !args.is_empty();
                if parens {
                    out.push('(');
                }
                // The module is left out: within one message it would only hide what differs. `check` adds it where two
                // types of the same short name meet.
                out.push_str(short(name));
                for arg in args {
                    out.push(' ');
                    self.print(*arg, Place::Argument, out, depth + 1);
                }
                if parens {
                    out.push(')');
                }
            }
            Node::App { head, args } => {
                let parens = place == Place::Argument;
                if parens {
                    out.push('(');
                }
                self.print(*head, Place::Argument, out, depth + 1);
                for arg in args {
                    out.push(' ');
                    self.print(*arg, Place::Argument, out, depth + 1);
                }
                if parens {
                    out.push(')');
                }
            }
            Node::Arrow { param, row, result } => {
                let parens = place >= Place::Domain;
                if parens {
                    out.push('(');
                }
                self.print(*param, Place::Domain, out, depth + 1);
                out.push_str(" -> ");
                if self.is_pure(*row) {
                    self.print(*result, Place::Top, out, depth + 1);
                } else {
                    // A function that is returned stands in parentheses here, or the row would seem to be its.
                    self.print(*result, Place::Domain, out, depth + 1);
                    out.push_str(" / ");
                    self.row(*row, out, depth + 1);
                }
                if parens {
                    out.push(')');
                }
            }
            Node::Tuple(parts) => {
                out.push('(');
                for (i, part) in parts.iter().enumerate() {
                    if i > 0 {
                        out.push_str(", ");
                    }
                    self.print(*part, Place::Top, out, depth + 1);
                }
                out.push(')');
            }
            Node::Record(row) => self.fields(*row, out, depth + 1),
            Node::Empty | Node::Extend { .. } => self.row(ty, out, depth + 1),
            Node::Error => out.push('?'),
            Node::Link(_) => {}
        }
    }

    fn is_pure(&self, row: Ty) -> bool {
        let row = self.store.row(row);
        row.entries.is_empty() && self.is_closed(row.tail)
    }

    /// A closed row, or one that is only open because every use opens it: the reader did not write that variable.
    fn is_closed(&self, tail: Ty) -> bool {
        match self.store.node(tail) {
            Node::Empty => true,
            Node::Var { level, kind: Kind::Effects, name: None, .. } => *level != GENERIC,
            _ => false,
        }
    }

    fn fields(&mut self, row: Ty, out: &mut String, depth: usize) {
        let row = self.store.row(row);
        out.push('{');
        for (i, (label, args)) in row.entries.iter().enumerate() {
            if i > 0 {
                out.push_str(", ");
            }
            out.push_str(label);
            out.push_str(": ");
            match args.first() {
                Some(ty) => self.print(*ty, Place::Top, out, depth + 1),
                None => out.push('?'),
            }
        }
        self.tail(row.tail, row.entries.is_empty(), out, depth);
        out.push('}');
    }

    fn row(&mut self, row: Ty, out: &mut String, depth: usize) {
        let row = self.store.row(row);
        if row.entries.is_empty() && !self.is_closed(row.tail) {
            self.print(row.tail, Place::Top, out, depth + 1);
            return;
        }
        out.push('{');
        for (i, (label, args)) in row.entries.iter().enumerate() {
            if i > 0 {
                out.push_str(", ");
            }
            out.push_str(short(label));
            for arg in args {
                out.push(' ');
                self.print(*arg, Place::Argument, out, depth + 1);
            }
        }
        self.tail(row.tail, row.entries.is_empty(), out, depth);
        out.push('}');
    }

    fn tail(&mut self, tail: Ty, first: bool, out: &mut String, depth: usize) {
        if !self.is_closed(tail) {
            out.push_str(if first { "| " } else { " | " });
            self.print(tail, Place::Top, out, depth + 1);
        }
    }
}

/// `Config` of `Topos.Partisan.Config`.
pub fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}
