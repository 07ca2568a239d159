//! Types, rows and the union-find store they live in.
//!
//! A type is a [`Ty`]: an index into a [`Store`], so that types share structure and a unification variable is bound by
//! overwriting one node. Levels are Rémy's: a variable carries the depth of the `let` that may generalise it, binding a
//! variable lowers the levels of what it is bound to in the same pass as the occurs check, and [`Store::generalise`]
//! quantifies exactly the variables that are deeper than the place where the `let` stands. (D. Rémy, *Extension of ML
//! type system with a sorted equational theory on types*, 1992; O. Kiselyov, *How OCaml type checker works*.)
//!
//! Rows, of record fields and of effects, are D. Leijen's (*Extensible records with scoped labels*, 2005): a label may
//! occur several times, the first is the one that is seen.

mod print;
mod row;
mod scheme;
#[cfg(test)]
mod tests;
mod unify;

pub use print::{short, Printer, MAX_PRINTED_NODES};
pub use scheme::{Scheme, Tree, Vars};
pub use unify::UnifyError;

use foldhash::{HashMap, HashMapExt};
use std::sync::Arc;

/// A name: of a type, a field, an effect, a variable.
pub type Name = Arc<str>;

/// Types nested deeper than this are not worked on: the program gets an error, not a stack overflow.
pub const MAX_DEPTH: usize = 400;

/// The level of a quantified variable.
pub const GENERIC: u32 = u32::MAX;

/// A type or a row: an index into its [`Store`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Ty(u32);

impl Ty {
    /// No type of any store: one that has to be made before it is asked for.
    pub(crate) const NONE: Self = Self(u32::MAX);
}

/// What a variable stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum Kind {
    /// A type.
    Type,
    /// The rest of a row of record fields.
    Fields,
    /// The rest of a row of effects.
    Effects,
    /// A type constructor that wants so many arguments: the `f` of `f a`.
    Constructor(usize),
}

/// The types that the operand of an operator, or a number literal, may have: so that one that fits never is reported at
/// its place. Which instance it means is the work of the traits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Bound(u8);

impl Bound {
    const INT: u8 = 1;
    const FLOAT: u8 = 2;
    const DURATION: u8 = 4;
    const TEXT: u8 = 8;
    const BOOL: u8 = 16;
    const LIST: u8 = 32;
    /// Types with an instance of `Num`.
    const NUM: u8 = 64;
    /// Types with an instance of `Combiner`.
    const COMBINER: u8 = 128;
    /// Any type at all.
    pub const ANY: Self = Self(u8::MAX);
    /// What a number literal and `+` may be.
    pub const NUMBER: Self = Self(Self::INT | Self::FLOAT | Self::DURATION | Self::NUM);
    /// What `++` joins.
    pub const JOINED: Self = Self(Self::TEXT | Self::LIST | Self::COMBINER);

    /// Types that both allow; `None` if there are none.
    #[must_use]
    pub fn meet(self, other: Self) -> Option<Self> {
        let both = self.0 & other.0;
        (both != 0).then_some(Self(both))
    }

    /// What a type with an instance of `Num` (`numbers`) or of `Combiner` may stand for.
    #[must_use]
    pub fn instance(numbers: bool) -> Self {
        Self(if numbers { Self::NUM } else { Self::COMBINER })
    }

    /// Whether it allows the type constructor of that full name.
    pub fn allows(self, constructor: &str) -> bool {
        let bit = match constructor {
            builtin::INT => Self::INT,
            builtin::FLOAT => Self::FLOAT,
            builtin::DURATION => Self::DURATION,
            builtin::TEXT => Self::TEXT,
            builtin::BOOL => Self::BOOL,
            builtin::LIST => Self::LIST,
            _ => return self == Self::ANY,
        };
        self.0 & bit != 0
    }

    /// The type a variable becomes when nothing else decides it: Int for numbers and comparisons.
    pub fn default(self) -> Option<&'static str> {
        if self == Self::ANY {
            None
        } else if self.0 & Self::INT != 0 {
            Some(builtin::INT)
        } else if self.0 == Self::TEXT {
            Some(builtin::TEXT)
        } else {
            None
        }
    }

    /// For messages: `a number`, `Int, Float or Text`.
    pub fn describe(self) -> String {
        if self == Self::ANY {
            return "any type".to_owned();
        }
        if self == Self::NUMBER {
            return "a number".to_owned();
        }
        if self == Self::JOINED {
            return "a Text or a list".to_owned();
        }
        let names: Vec<&str> = [
            (Self::INT, "Int"),
            (Self::FLOAT, "Float"),
            (Self::DURATION, "Duration"),
            (Self::TEXT, "Text"),
            (Self::BOOL, "Bool"),
            (Self::LIST, "a list"),
        ]
        .iter()
        .filter(|(bit, _)| self.0 & bit != 0)
        .map(|(_, name)| *name)
        .collect();
        match names.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => "no type".to_owned(),
        }
    }
}

/// The full names of the types that the compiler itself knows. They belong to no module.
pub mod builtin {
    /// Integers.
    pub const INT: &str = "Int";
    /// Floats.
    pub const FLOAT: &str = "Float";
    /// Milliseconds.
    pub const DURATION: &str = "Duration";
    /// UTF-8 text.
    pub const TEXT: &str = "Text";
    /// Truth values.
    pub const BOOL: &str = "Bool";
    /// The one value `()`.
    pub const UNIT: &str = "()";
    /// Lists.
    pub const LIST: &str = "List";
    /// Maps.
    pub const MAP: &str = "Map";
    /// Names of nodes.
    pub const NODE: &str = "Node";
    /// Processes that take messages of one type.
    pub const PID: &str = "Pid";
    /// References to remote processes.
    pub const REMOTE_REF: &str = "RemoteRef";
    /// Unique references.
    pub const REF: &str = "Ref";
    /// Bytes that are not text.
    pub const BYTES: &str = "Bytes";
    /// The type of `fail`'s result and of other values that never come to be is a variable; there is no `Never`.
    ///
    /// `Handler(E) / row`: the effect as a closed row of one, and the handler's own row. It is written with an effect, so it
    /// is none of [`ALL`].
    pub const HANDLER: &str = "Handler";

    /// Each built-in type with the number of its parameters.
    pub const ALL: &[(&str, usize)] = &[
        (INT, 0),
        (FLOAT, 0),
        (DURATION, 0),
        (TEXT, 0),
        (BOOL, 0),
        (LIST, 1),
        (MAP, 2),
        (NODE, 0),
        (PID, 1),
        (REMOTE_REF, 1),
        (REF, 0),
        (BYTES, 0),
    ];
}

/// One node of the graph of types.
#[derive(Clone, Debug)]
pub enum Node {
    /// Bound: the same type as the other node.
    Link(Ty),
    /// A unification variable, or a quantified one if its level is [`GENERIC`].
    Var {
        /// The depth of the `let` that may generalise it.
        level: u32,
        /// What it stands for.
        kind: Kind,
        /// Which built-in types it may become.
        bound: Bound,
        /// The name a signature gave it.
        name: Option<Name>,
    },
    /// A type variable of a signature while its definition is checked: equal to itself only.
    Skolem {
        /// As written.
        name: Name,
        /// Where it was made; it must not get into anything shallower.
        level: u32,
        /// What it stands for.
        kind: Kind,
    },
    /// A named type with its arguments.
    Con(Name, Vec<Ty>),
    /// A function of one argument with the row of its effects.
    Arrow {
        /// What it takes.
        param: Ty,
        /// What calling it does.
        row: Ty,
        /// What it returns.
        result: Ty,
    },
    /// A variable of kind [`Kind::Constructor`] with its arguments; it becomes a [`Node::Con`] when the variable does.
    App {
        /// The variable.
        head: Ty,
        /// As many as its kind says.
        args: Vec<Ty>,
    },
    /// A tuple of two or more.
    Tuple(Vec<Ty>),
    /// An anonymous record with its row of fields.
    Record(Ty),
    /// The end of a closed row.
    Empty,
    /// A row entry: a field with its one type, or an effect with its arguments.
    Extend {
        /// The field, or the full name of the effect.
        label: Name,
        /// The type of the field, or the arguments of the effect.
        args: Vec<Ty>,
        /// The rest of the row.
        tail: Ty,
    },
    /// The type of something that is wrong already: equal to everything, so that one mistake gives one message.
    Error,
}

/// All types of one module under check.
#[derive(Debug)]
pub struct Store {
    nodes: Vec<Node>,
    marks: Vec<u32>,
    epoch: u32,
    empty: Ty,
    error: Ty,
    too_deep: bool,
    /// Applications of variables, to be looked at again when one is bound.
    apps: Vec<Ty>,
    /// Types that an operator takes because they have an instance.
    overloads: HashMap<Name, u8>,
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

impl Store {
    /// An empty store.
    pub fn new() -> Self {
        Self {
            nodes: vec![Node::Empty, Node::Error],
            marks: vec![0, 0],
            epoch: 0,
            empty: Ty(0),
            error: Ty(1),
            too_deep: false,
            apps: Vec::new(),
            overloads: HashMap::new(),
        }
    }

    fn add(&mut self, node: Node) -> Ty {
        // Four thousand million nodes need more memory than a compiler may have; the source size is bounded long before.
        let index = u32::try_from(self.nodes.len()).unwrap_or(u32::MAX);
        self.nodes.push(node);
        self.marks.push(0);
        Ty(index)
    }

    /// The representative of a type, with path compression.
    pub fn find(&mut self, ty: Ty) -> Ty {
        let mut root = ty;
        while let Node::Link(next) = self.nodes[root.0 as usize] {
            root = next;
        }
        let mut at = ty;
        while let Node::Link(next) = self.nodes[at.0 as usize] {
            self.nodes[at.0 as usize] = Node::Link(root);
            at = next;
        }
        root
    }

    /// The representative, without compression.
    pub fn root(&self, ty: Ty) -> Ty {
        let mut root = ty;
        while let Node::Link(next) = self.nodes[root.0 as usize] {
            root = next;
        }
        root
    }

    /// The node of a type's representative: never a [`Node::Link`].
    pub fn node(&self, ty: Ty) -> &Node {
        &self.nodes[self.root(ty).0 as usize]
    }

    /// A new variable.
    pub fn var(&mut self, kind: Kind, level: u32) -> Ty {
        self.add(Node::Var { level, kind, bound: Bound::ANY, name: None })
    }

    /// A new variable of kind [`Kind::Type`] that may become only some built-in types.
    pub fn bounded(&mut self, bound: Bound, level: u32) -> Ty {
        self.add(Node::Var { level, kind: Kind::Type, bound, name: None })
    }

    /// A quantified variable with a name.
    pub fn generic(&mut self, kind: Kind, name: Option<Name>) -> Ty {
        self.add(Node::Var { level: GENERIC, kind, bound: Bound::ANY, name })
    }

    /// A named variable at a level.
    pub fn named_var(&mut self, kind: Kind, level: u32, name: Name) -> Ty {
        self.add(Node::Var { level, kind, bound: Bound::ANY, name: Some(name) })
    }

    /// A rigid variable.
    pub fn skolem(&mut self, name: Name, kind: Kind, level: u32) -> Ty {
        self.add(Node::Skolem { name, level, kind })
    }

    /// A named type.
    pub fn con(&mut self, name: impl Into<Name>, args: Vec<Ty>) -> Ty {
        self.add(Node::Con(name.into(), args))
    }

    /// `f a`, or the named type if the head is one already.
    pub fn app(&mut self, head: Ty, args: Vec<Ty>) -> Ty {
        if let Node::Con(name, first) = self.node(head) {
            let (name, mut all) = (name.clone(), first.clone());
            all.extend(args);
            return self.con(name, all);
        }
        if self.is_error(head) {
            return self.error;
        }
        let ty = self.add(Node::App { head, args });
        self.apps.push(ty);
        ty
    }

    /// Applications whose variable has been bound become named types.
    pub(super) fn settle_apps(&mut self) {
        let apps = std::mem::take(&mut self.apps);
        for app in apps {
            let Node::App { head, args } = self.nodes[app.0 as usize].clone() else { continue };
            match self.node(head) {
                Node::Con(name, first) => {
                    let (name, mut all) = (name.clone(), first.clone());
                    all.extend(args);
                    self.nodes[app.0 as usize] = Node::Con(name, all);
                }
                Node::Error => self.nodes[app.0 as usize] = Node::Error,
                _ => self.apps.push(app),
            }
        }
    }

    /// Lets an operator take a type that has an instance of its trait.
    pub fn overload(&mut self, constructor: Name, bound: Bound) {
        *self.overloads.entry(constructor).or_insert(0) |= bound.0;
    }

    /// Whether a variable with that bound may become that type.
    pub fn allows(&self, bound: Bound, constructor: &str) -> bool {
        bound.allows(constructor) || self.overloads.get(constructor).is_some_and(|bits| bits & bound.0 != 0)
    }

    /// `()`.
    pub fn unit(&mut self) -> Ty {
        self.con(builtin::UNIT, Vec::new())
    }

    /// `[element]`.
    pub fn list(&mut self, element: Ty) -> Ty {
        self.con(builtin::LIST, vec![element])
    }

    /// A function of one argument.
    pub fn arrow(&mut self, param: Ty, row: Ty, result: Ty) -> Ty {
        self.add(Node::Arrow { param, row, result })
    }

    /// A function of several arguments: the row stands on the last arrow, the others do nothing. Without a parameter the
    /// function takes `()`.
    pub fn function(&mut self, params: &[Ty], row: Ty, result: Ty) -> Ty {
        let Some((last, init)) = params.split_last() else {
            let unit = self.unit();
            return self.arrow(unit, row, result);
        };
        let mut ty = self.arrow(*last, row, result);
        for param in init.iter().rev() {
            ty = self.arrow(*param, self.empty, ty);
        }
        ty
    }

    /// A tuple.
    pub fn tuple(&mut self, parts: Vec<Ty>) -> Ty {
        self.add(Node::Tuple(parts))
    }

    /// An anonymous record.
    pub fn record(&mut self, row: Ty) -> Ty {
        self.add(Node::Record(row))
    }

    /// The closed empty row.
    pub fn empty(&self) -> Ty {
        self.empty
    }

    /// A row with one more entry.
    pub fn extend(&mut self, label: Name, args: Vec<Ty>, tail: Ty) -> Ty {
        self.add(Node::Extend { label, args, tail })
    }

    /// The type of what is wrong already.
    pub fn error(&self) -> Ty {
        self.error
    }

    /// Whether it is the error type.
    pub fn is_error(&self, ty: Ty) -> bool {
        matches!(self.node(ty), Node::Error)
    }

    /// Whether a type deeper than [`MAX_DEPTH`] was met since the last question.
    pub fn take_too_deep(&mut self) -> bool {
        std::mem::take(&mut self.too_deep)
    }

    fn new_epoch(&mut self) -> u32 {
        self.epoch += 1;
        self.epoch
    }

    /// Whether the node was met for the first time in this epoch.
    fn visit(&mut self, ty: Ty, epoch: u32) -> bool {
        let mark = &mut self.marks[ty.0 as usize];
        let first = *mark != epoch;
        *mark = epoch;
        first
    }

    fn children(&self, ty: Ty, out: &mut Vec<Ty>) {
        match &self.nodes[ty.0 as usize] {
            Node::Link(to) => out.push(*to),
            Node::Con(_, args) | Node::Tuple(args) => out.extend(args),
            Node::Arrow { param, row, result } => out.extend([*param, *row, *result]),
            Node::Record(row) => out.push(*row),
            Node::App { head, args } => {
                out.push(*head);
                out.extend(args);
            }
            Node::Extend { args, tail, .. } => {
                out.extend(args);
                out.push(*tail);
            }
            Node::Var { .. } | Node::Skolem { .. } | Node::Empty | Node::Error => {}
        }
    }

    /// Visits every node reachable from a type once.
    pub fn walk(&mut self, ty: Ty, mut f: impl FnMut(Ty, &Node)) {
        let epoch = self.new_epoch();
        let mut work = vec![ty];
        while let Some(at) = work.pop() {
            let at = self.find(at);
            if self.visit(at, epoch) {
                f(at, &self.nodes[at.0 as usize]);
                self.children(at, &mut work);
            }
        }
    }

    /// Whether a part of a type is unknown for a mistake.
    pub fn contains_error(&mut self, ty: Ty) -> bool {
        let mut found = false;
        self.walk(ty, |_, node| found |= matches!(node, Node::Error));
        found
    }

    /// Whether a function occurs anywhere in a type.
    pub fn contains_arrow(&mut self, ty: Ty) -> bool {
        let mut found = false;
        self.walk(ty, |_, node| found |= matches!(node, Node::Arrow { .. }));
        found
    }
}
