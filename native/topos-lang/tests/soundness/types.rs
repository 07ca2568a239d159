//! Types of generated expressions, and rows of effects.

/// A set of the effects of `common.topos`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Row(u8);

/// How an effect is written in a row; the position is its bit.
pub(crate) const EFFECTS: [&str; 7] = ["Counter", "Cell Text", "Emit", "Fail", "Flip", "Around", "Process"];
pub(crate) const COUNTER: usize = 0;
pub(crate) const CELL: usize = 1;
pub(crate) const EMIT: usize = 2;
pub(crate) const FAIL: usize = 3;
pub(crate) const FLIP: usize = 4;
pub(crate) const AROUND: usize = 5;
pub(crate) const PROCESS: usize = 6;

impl Row {
    pub(crate) const PURE: Self = Self(0);

    pub(crate) fn of(bits: usize) -> Self {
        Self(u8::try_from(bits & 0x7f).unwrap())
    }
    pub(crate) fn has(self, effect: usize) -> bool {
        self.0 & (1 << effect) != 0
    }
    pub(crate) fn with(self, effect: usize) -> Self {
        Self(self.0 | 1 << effect)
    }
    pub(crate) fn without(self, effect: usize) -> Self {
        Self(self.0 & !(1 << effect))
    }
    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
    pub(crate) fn within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }
    pub(crate) fn effects(self) -> impl Iterator<Item = usize> {
        (0..EFFECTS.len()).filter(move |effect| self.has(*effect))
    }

    /// ` / {..}`, nothing for a pure one.
    pub(crate) fn written(self) -> String {
        if self == Self::PURE {
            return String::new();
        }
        let names: Vec<&str> = self.effects().map(|effect| EFFECTS[effect]).collect();
        format!(" / {{{}}}", names.join(", "))
    }
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Type {
    Int,
    Text,
    Bool,
    Float,
    Unit,
    Colour,
    Odd,
    Point,
    /// A type parameter `a` of the flow.
    Param,
    List(Box<Type>),
    Maybe(Box<Type>),
    Boxed(Box<Type>),
    Tree(Box<Type>),
    Result(Box<Type>, Box<Type>),
    Tuple(Vec<Type>),
    Record(Vec<(&'static str, Type)>),
    /// The shape that the program declares.
    Own,
    /// One argument.
    Fn(Box<Type>, Row, Box<Type>),
}

impl Type {
    pub(crate) fn written(&self) -> String {
        let all = |ts: &[Self]| ts.iter().map(Self::written).collect::<Vec<_>>().join(", ");
        match self {
            Self::Unit => "()".into(),
            Self::Param => "a".into(),
            Self::List(t) => format!("[{}]", t.written()),
            Self::Maybe(t) => format!("Maybe({})", t.written()),
            Self::Boxed(t) => format!("Box({})", t.written()),
            Self::Tree(t) => format!("Tree({})", t.written()),
            Self::Result(a, b) => format!("Result({}, {})", a.written(), b.written()),
            Self::Tuple(ts) => format!("({})", all(ts)),
            Self::Record(fields) => {
                let fields: Vec<String> = fields.iter().map(|(f, t)| format!("{f} : {}", t.written())).collect();
                format!("{{{}}}", fields.join(", "))
            }
            Self::Fn(from, row, to) => format!("({} -> {}{})", from.written(), to.written(), row.written()),
            simple => format!("{simple:?}"),
        }
    }

    fn parts(&self) -> Vec<&Self> {
        match self {
            Self::List(t) | Self::Maybe(t) | Self::Boxed(t) | Self::Tree(t) => vec![t],
            Self::Result(a, b) => vec![a, b],
            Self::Fn(a, _, b) => vec![a, b],
            Self::Tuple(ts) => ts.iter().collect(),
            Self::Record(fields) => fields.iter().map(|(_, t)| t).collect(),
            _ => Vec::new(),
        }
    }

    fn all(&self, wanted: fn(&Self) -> bool) -> bool {
        wanted(self) && self.parts().iter().all(|part| part.all(wanted))
    }

    /// The type with another one for the type parameter.
    pub(crate) fn instantiated(&self, by: &Self) -> Self {
        let part = |t: &Self| Box::new(t.instantiated(by));
        match self {
            Self::Param => by.clone(),
            Self::List(t) => Self::List(part(t)),
            Self::Maybe(t) => Self::Maybe(part(t)),
            Self::Boxed(t) => Self::Boxed(part(t)),
            Self::Tree(t) => Self::Tree(part(t)),
            Self::Result(a, b) => Self::Result(part(a), part(b)),
            Self::Fn(a, row, b) => Self::Fn(part(a), *row, part(b)),
            Self::Tuple(ts) => Self::Tuple(ts.iter().map(|t| t.instantiated(by)).collect()),
            Self::Record(fields) => Self::Record(fields.iter().map(|(f, t)| (*f, t.instantiated(by))).collect()),
            simple => simple.clone(),
        }
    }

    /// Whether no function is in it.
    pub(crate) fn is_data(&self) -> bool {
        self.all(|t| !matches!(t, Self::Fn(..)))
    }

    /// Whether the type parameter is not in it.
    pub(crate) fn all_but_param(&self) -> bool {
        self.all(|t| *t != Self::Param)
    }

    /// Whether it has `Ord` (and `Eq`, and `Show`).
    pub(crate) fn is_ordered(&self) -> bool {
        self.all(|t| match t {
            Self::Unit | Self::Record(_) | Self::Fn(..) => false,
            Self::Tuple(ts) => ts.len() <= 3,
            _ => true,
        })
    }

    /// What `topos_rt:check/3` holds a value of the type against, as Erlang text.
    pub(crate) fn descriptor(&self) -> String {
        let all = |ts: &[Self]| ts.iter().map(|t| t.descriptor()).collect::<Vec<_>>().join(", ");
        match self {
            Self::Int => "int".into(),
            Self::Text => "text".into(),
            Self::Bool => "bool".into(),
            Self::Float => "float".into(),
            Self::Unit => "unit".into(),
            Self::Param => "any".into(),
            Self::Fn(..) => "function".into(),
            Self::Colour => "{variant, [{red, []}, {green, [int]}, {blue, [text, int]}]}".into(),
            Self::Odd => "{variant, [{odd, [int]}]}".into(),
            Self::Point => "{record, [{x, int}, {y, int}]}".into(),
            Self::List(t) => format!("{{list, {}}}", t.descriptor()),
            Self::Maybe(t) => format!("{{variant, [{{none, []}}, {{some, [{}]}}]}}", t.descriptor()),
            Self::Boxed(t) => format!("{{variant, [{{empty, []}}, {{box, [{}]}}]}}", t.descriptor()),
            Self::Tree(t) => format!(
                "{{recursive, <<\"Tree\">>, {{variant, [{{leaf, []}}, {{node, [{{reference, <<\"Tree\">>}}, {}, {{reference, <<\"Tree\">>}}]}}]}}}}",
                t.descriptor()
            ),
            Self::Result(a, b) => format!("{{variant, [{{ok, [{}]}}, {{error, [{}]}}]}}", a.descriptor(), b.descriptor()),
            Self::Tuple(ts) => format!("{{tuple, [{}]}}", all(ts)),
            Self::Record(fields) => {
                let fields: Vec<String> = fields.iter().map(|(f, t)| format!("{{{f}, {}}}", t.descriptor())).collect();
                format!("{{record, [{}]}}", fields.join(", "))
            }
            Self::Own => "any".into(),
        }
    }
}
