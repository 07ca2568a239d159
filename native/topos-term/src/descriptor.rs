//! What a value must look like.

/// A run-time descriptor of a Topos type; the same shape as the compiler writes into the modules it emits.
///
/// Atoms are those of the run-time representation: the constructor `Some(x)` is described by the name `some`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Descriptor {
    /// Anything: a type variable, an opaque type.
    Any,
    /// An integer of any size: `Int`, `Duration`.
    Int,
    /// A float.
    Float,
    /// A binary of valid UTF-8.
    Text,
    /// `true` or `false`.
    Bool,
    /// The atom `ok`.
    Unit,
    /// Any atom: `Node`.
    Atom,
    /// A process identifier.
    Pid,
    /// A function; its type is not checked.
    Function,
    /// A proper list of such elements.
    List(Box<Descriptor>),
    /// A tuple of exactly these elements.
    Tuple(Vec<Descriptor>),
    /// A map from such keys to such values.
    Map(Box<Descriptor>, Box<Descriptor>),
    /// A map with exactly these atoms as keys.
    Record(Vec<(String, Descriptor)>),
    /// One of these: an atom, or a tuple of an atom and fields. Two may have the same atom if they differ in their number
    /// of fields.
    Variant(Vec<(String, Vec<Descriptor>)>),
    /// The enclosing [`Descriptor::Recursive`] of that name.
    Reference(String),
    /// Names a descriptor, so that it can refer to itself.
    Recursive(String, Box<Descriptor>),
}
