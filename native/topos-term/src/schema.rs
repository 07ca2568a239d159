//! Descriptors, compiled: an arena of nodes in which a reference is an index.

use crate::Descriptor;
use std::fmt::{self, Write};

/// The most nodes a schema may have.
pub const MAX_NODES: usize = 16_384;

/// The deepest nesting of a descriptor.
pub const MAX_NESTING: usize = 128;

/// The index of a node. `Any` is always node 0.
pub(crate) type Id = u32;
pub(crate) const ANY: Id = 0;

/// A descriptor compiled for a VM whose atoms are `A`.
#[derive(Debug)]
pub struct Schema<A> {
    pub(crate) nodes: Vec<Node<A>>,
    heights: Box<[u8]>,
    pub(crate) root: Id,
    pub(crate) atom_true: A,
    pub(crate) atom_false: A,
    pub(crate) atom_ok: A,
}

#[derive(Debug)]
pub(crate) enum Node<A> {
    Any,
    Int,
    Float,
    Text,
    Bool,
    Unit,
    Atom,
    Pid,
    Function,
    List(Id),
    Tuple(Box<[Id]>),
    Map(Id, Id),
    Record(Record<A>),
    Variant(Box<[Constructor<A>]>),
}

/// The parts of the fields are apart because the VM makes a map of an array of keys and one of values.
#[derive(Debug)]
pub(crate) struct Record<A> {
    /// In the order of the names: the VM sorts them so (OTP 25), and finds them sorted.
    pub(crate) atoms: Box<[A]>,
    pub(crate) fields: Box<[(Box<str>, Id)]>,
    /// The order of the canonical form, by the bytes of the encoded names: the shorter name comes first.
    pub(crate) canonical: Box<[u32]>,
}

#[derive(Debug)]
pub(crate) struct Constructor<A> {
    pub(crate) name: Box<str>,
    pub(crate) atom: A,
    pub(crate) fields: Box<[Id]>,
}

/// Why a descriptor cannot be compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// It has too many nodes.
    #[error("it has more than {MAX_NODES} nodes")]
    TooLarge,
    /// It is nested too deeply.
    #[error("it is nested deeper than {MAX_NESTING} levels")]
    TooDeep,
    /// A reference to a name that no enclosing descriptor has.
    #[error("nothing around the reference `{0}` has that name")]
    UnknownReference(String),
    /// A name that stands for itself alone, and so for no type.
    #[error("`{0}` is defined as itself")]
    Unfounded(String),
    /// Two fields of one record with the same name.
    #[error("two fields are called `{0}`")]
    DuplicateField(String),
    /// Two constructors of one variant with the same name and number of fields.
    #[error("two constructors are called `{0}` and have as many fields")]
    DuplicateConstructor(String),
    /// A name that no atom can have.
    #[error("`{0}` is too long for an atom")]
    InvalidAtom(String),
}

impl<A: Copy> Schema<A> {
    /// Compiles a descriptor; `atom` makes the atom of a name.
    pub fn new(descriptor: &Descriptor, atom: impl FnMut(&str) -> Option<A>) -> Result<Self, SchemaError> {
        let mut compiler = Compiler { nodes: vec![Node::Any], scope: Vec::new(), atom };
        let root = compiler.node(descriptor, 0)?;
        let [atom_true, atom_false, atom_ok] = [compiler.atom("true")?, compiler.atom("false")?, compiler.atom("ok")?];
        let heights = heights(&compiler.nodes);
        Ok(Self { nodes: compiler.nodes, heights, root, atom_true, atom_false, atom_ok })
    }

    /// How many levels a plain value has: 1 for an integer, a float or a text, one more for a list, a tuple or a map of such. 0 for
    /// what is not plain, because it may hold an atom, contains itself, or is unknown.
    #[inline]
    pub(crate) fn height(&self, id: Id) -> usize {
        usize::from(self.heights[id as usize])
    }

    #[inline]
    pub(crate) fn node(&self, id: Id) -> &Node<A> {
        &self.nodes[id as usize]
    }

    /// A node as people read it, shortened: three levels, eight parts a level, and what contains itself only once.
    pub(crate) fn describe(&self, id: Id) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = self.write(&mut text, id, &mut Vec::new());
        text
    }

    fn write(&self, out: &mut String, id: Id, around: &mut Vec<Id>) -> fmt::Result {
        if around.contains(&id) || around.len() > 3 {
            return out.write_str("..");
        }
        around.push(id);
        let written = self.write_node(out, self.node(id), around);
        around.pop();
        written
    }

    fn write_node(&self, out: &mut String, node: &Node<A>, around: &mut Vec<Id>) -> fmt::Result {
        match node {
            Node::Any => out.write_str("any value"),
            Node::Int => out.write_str("Int"),
            Node::Float => out.write_str("Float"),
            Node::Text => out.write_str("Text"),
            Node::Bool => out.write_str("Bool"),
            Node::Unit => out.write_str("()"),
            Node::Atom => out.write_str("an atom"),
            Node::Pid => out.write_str("a process"),
            Node::Function => out.write_str("a function"),
            Node::List(element) => {
                out.push('[');
                self.write(out, *element, around)?;
                out.write_char(']')
            }
            Node::Map(key, value) => {
                out.push_str("Map ");
                self.write(out, *key, around)?;
                out.push(' ');
                self.write(out, *value, around)
            }
            Node::Tuple(elements) => {
                out.push('(');
                separated(out, elements, ", ", |out, id| self.write(out, *id, around))?;
                out.write_char(')')
            }
            Node::Record(record) => {
                out.push('{');
                separated(out, &record.fields, ", ", |out, (name, id)| {
                    write!(out, "{name}: ")?;
                    self.write(out, *id, around)
                })?;
                out.write_char('}')
            }
            Node::Variant(constructors) => separated(out, constructors, " | ", |out, constructor| {
                out.push_str(&constructor.name);
                if constructor.fields.is_empty() {
                    return Ok(());
                }
                out.push('(');
                separated(out, &constructor.fields, ", ", |out, id| self.write(out, *id, around))?;
                out.write_char(')')
            }),
        }
    }
}

/// Parts mostly come after what they are part of, so few passes are needed; one a level at most.
fn heights<A>(nodes: &[Node<A>]) -> Box<[u8]> {
    let mut heights = vec![0u8; nodes.len()];
    loop {
        let mut changed = false;
        for (id, node) in nodes.iter().enumerate().rev() {
            let above = |parts: &[Id]| match parts.iter().map(|part| heights[*part as usize]).min() {
                Some(0) => 0,
                _ => parts.iter().map(|part| heights[*part as usize]).max().unwrap_or(0).saturating_add(1),
            };
            let height = match node {
                Node::Int | Node::Float | Node::Text => 1,
                Node::List(element) => above(&[*element]),
                Node::Tuple(fields) => above(fields),
                Node::Map(key, value) => above(&[*key, *value]),
                _ => 0,
            };
            changed |= height != heights[id];
            heights[id] = height;
        }
        if !changed {
            return heights.into();
        }
    }
}

fn separated<T>(
    out: &mut String,
    parts: &[T],
    separator: &str,
    mut write: impl FnMut(&mut String, &T) -> fmt::Result,
) -> fmt::Result {
    for (i, part) in parts.iter().enumerate() {
        if i > 0 {
            out.push_str(separator);
        }
        if i == 8 {
            return out.write_str("..");
        }
        write(out, part)?;
    }
    Ok(())
}

struct Compiler<'d, A, F> {
    nodes: Vec<Node<A>>,
    /// Names in scope, innermost last, with the node they stand for once it is known to be one.
    scope: Vec<(&'d str, Option<Id>)>,
    atom: F,
}

impl<'d, A: Copy, F: FnMut(&str) -> Option<A>> Compiler<'d, A, F> {
    fn atom(&mut self, name: &str) -> Result<A, SchemaError> {
        (self.atom)(name).ok_or_else(|| SchemaError::InvalidAtom(name.to_owned()))
    }

    fn node(&mut self, descriptor: &'d Descriptor, depth: usize) -> Result<Id, SchemaError> {
        if depth > MAX_NESTING {
            return Err(SchemaError::TooDeep);
        }
        match descriptor {
            Descriptor::Any => return Ok(ANY),
            Descriptor::Reference(name) => {
                return match self.scope.iter().rev().find(|(known, _)| known == name) {
                    Some((_, Some(id))) => Ok(*id),
                    Some((_, None)) => Err(SchemaError::Unfounded(name.clone())),
                    None => Err(SchemaError::UnknownReference(name.clone())),
                };
            }
            Descriptor::Recursive(name, inner) => {
                self.scope.push((name, None));
                let id = self.node(inner, depth + 1);
                self.scope.pop();
                return id;
            }
            _ => {}
        }
        if self.nodes.len() >= MAX_NODES {
            return Err(SchemaError::TooLarge);
        }
        // The node takes its place first, so that what is inside can refer to it.
        let id = self.nodes.len() as Id;
        self.nodes.push(Node::Any);
        for (_, known) in self.scope.iter_mut().rev().take_while(|(_, known)| known.is_none()) {
            *known = Some(id);
        }
        self.nodes[id as usize] = self.structure(descriptor, depth + 1)?;
        Ok(id)
    }

    fn structure(&mut self, descriptor: &'d Descriptor, depth: usize) -> Result<Node<A>, SchemaError> {
        Ok(match descriptor {
            // The three that have no node of their own are handled by `node`.
            Descriptor::Any | Descriptor::Reference(_) | Descriptor::Recursive(..) => Node::Any,
            Descriptor::Int => Node::Int,
            Descriptor::Float => Node::Float,
            Descriptor::Text => Node::Text,
            Descriptor::Bool => Node::Bool,
            Descriptor::Unit => Node::Unit,
            Descriptor::Atom => Node::Atom,
            Descriptor::Pid => Node::Pid,
            Descriptor::Function => Node::Function,
            Descriptor::List(element) => Node::List(self.node(element, depth)?),
            Descriptor::Tuple(elements) => Node::Tuple(self.all(elements, depth)?),
            Descriptor::Map(key, value) => Node::Map(self.node(key, depth)?, self.node(value, depth)?),
            Descriptor::Record(fields) => Node::Record(self.record(fields, depth)?),
            Descriptor::Variant(constructors) => {
                let mut compiled: Vec<Constructor<A>> = Vec::new();
                for (name, fields) in constructors {
                    if compiled.iter().any(|c| *c.name == **name && c.fields.len() == fields.len()) {
                        return Err(SchemaError::DuplicateConstructor(name.clone()));
                    }
                    let fields = self.all(fields, depth)?;
                    compiled.push(Constructor { name: name.as_str().into(), atom: self.atom(name)?, fields });
                }
                Node::Variant(compiled.into())
            }
        })
    }

    fn all(&mut self, descriptors: &'d [Descriptor], depth: usize) -> Result<Box<[Id]>, SchemaError> {
        descriptors.iter().map(|descriptor| self.node(descriptor, depth)).collect()
    }

    fn record(&mut self, fields: &'d [(String, Descriptor)], depth: usize) -> Result<Record<A>, SchemaError> {
        let mut sorted: Vec<&(String, Descriptor)> = fields.iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(SchemaError::DuplicateField(pair[0].0.clone()));
        }
        let mut atoms = Vec::with_capacity(sorted.len());
        let mut compiled: Vec<(Box<str>, Id)> = Vec::with_capacity(sorted.len());
        for (name, descriptor) in sorted {
            atoms.push(self.atom(name)?);
            compiled.push((Box::from(name.as_str()), self.node(descriptor, depth)?));
        }
        let mut canonical: Vec<u32> = (0..compiled.len() as u32).collect();
        canonical.sort_by_cached_key(|i| {
            let mut encoded = Vec::new();
            crate::format::write_atom(&mut encoded, compiled[*i as usize].0.as_bytes());
            encoded
        });
        Ok(Record { atoms: atoms.into(), fields: compiled.into(), canonical: canonical.into() })
    }
}
