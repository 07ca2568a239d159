//! Patterns that are exhaustive together and of which none is redundant: a wildcard, whose parts are split by the
//! constructors of their types until there are enough.

use crate::generator::Generator;
use crate::types::Type;

#[derive(Clone, Debug)]
pub(crate) enum Pattern {
    Any(Type),
    /// What stands before, between and behind the parts.
    Parts(Vec<String>, Vec<Pattern>),
    Literal(String),
}

impl Pattern {
    /// Whether it holds a literal, so that the arms behind it match as well.
    pub(crate) fn is_partial(&self) -> bool {
        match self {
            Self::Any(_) => false,
            Self::Literal(_) => true,
            Self::Parts(_, parts) => parts.iter().any(Self::is_partial),
        }
    }

    fn holes(&self) -> usize {
        match self {
            Self::Any(_) => 1,
            Self::Literal(_) => 0,
            Self::Parts(_, parts) => parts.iter().map(Self::holes).sum(),
        }
    }

    fn hole(&mut self, mut number: usize) -> Option<&mut Self> {
        match self {
            Self::Any(_) => (number == 0).then_some(self),
            Self::Literal(_) => None,
            Self::Parts(_, parts) => {
                for part in parts {
                    let holes = part.holes();
                    if number < holes {
                        return part.hole(number);
                    }
                    number -= holes;
                }
                None
            }
        }
    }
}

fn constructor(name: &str, fields: Vec<Type>) -> Pattern {
    if fields.is_empty() {
        return Pattern::Parts(vec![name.to_owned()], Vec::new());
    }
    let mut texts = vec![format!("{name}(")];
    texts.extend(vec![", ".to_owned(); fields.len() - 1]);
    texts.push(")".to_owned());
    Pattern::Parts(texts, fields.into_iter().map(Pattern::Any).collect())
}

impl Generator<'_> {
    /// The patterns of a `match` on a value of the type.
    pub(crate) fn patterns(&mut self, ty: &Type) -> Vec<Pattern> {
        let mut arms = vec![Pattern::Any(ty.clone())];
        for _ in 0..=self.next(4) {
            let at = self.next(arms.len());
            let holes = arms[at].holes();
            if holes == 0 {
                continue;
            }
            let hole = self.next(holes);
            let Some(Pattern::Any(of)) = arms[at].hole(hole).cloned() else { continue };
            let parts = self.split(&of);
            if arms.len() + parts.len() > 7 {
                break;
            }
            let arm = arms.remove(at);
            for (offset, part) in parts.into_iter().enumerate() {
                let mut copy = arm.clone();
                if let Some(place) = copy.hole(hole) {
                    *place = part;
                }
                arms.insert(at + offset, copy);
            }
        }
        arms
    }

    fn split(&mut self, ty: &Type) -> Vec<Pattern> {
        let one = |t: &Type| vec![t.clone()];
        let any = || Pattern::Any(ty.clone());
        match ty {
            Type::Bool => vec![constructor("true", vec![]), constructor("false", vec![])],
            Type::Maybe(t) => vec![constructor("None", vec![]), constructor("Some", one(t))],
            Type::Boxed(t) => vec![constructor("Box", one(t)), constructor("Empty", vec![])],
            Type::Result(a, b) => vec![constructor("Ok", one(a)), constructor("Error", one(b))],
            Type::Tree(t) => {
                vec![constructor("Leaf", vec![]), constructor("Node", vec![ty.clone(), (**t).clone(), ty.clone()])]
            }
            Type::Colour => vec![
                constructor("Red", vec![]),
                constructor("Green", vec![Type::Int]),
                constructor("Blue", vec![Type::Text, Type::Int]),
            ],
            Type::Odd => vec![constructor("Odd", vec![Type::Int])],
            Type::Own => self.own.clone().into_iter().map(|(name, fields)| constructor(&name, fields)).collect(),
            Type::List(t) => {
                let texts = ["(", " :: ", ")"].map(str::to_owned).to_vec();
                let cons = Pattern::Parts(texts, vec![Pattern::Any((**t).clone()), any()]);
                vec![cons, Pattern::Parts(vec!["[]".into()], vec![])]
            }
            Type::Tuple(ts) => vec![constructor("", ts.clone())],
            Type::Point => vec![record(&[("x", Type::Int), ("y", Type::Int)])],
            Type::Record(fields) => vec![record(fields)],
            Type::Int => vec![Pattern::Literal(self.number().to_string()), any()],
            Type::Text => vec![Pattern::Literal(format!("\"t{}\"", self.number())), any()],
            _ => vec![any()],
        }
    }

    /// A pattern as text; its variables come into scope.
    pub(crate) fn pattern(&mut self, pattern: &Pattern, depth: usize) -> String {
        match pattern {
            Pattern::Literal(text) => text.clone(),
            Pattern::Any(ty) => match self.next(4) {
                0 => "_".to_owned(),
                _ => self.variable(ty),
            },
            Pattern::Parts(texts, parts) => {
                let mut out = texts[0].clone();
                for (part, text) in parts.iter().zip(&texts[1..]) {
                    out.push_str(&self.pattern(part, depth + 1));
                    out.push_str(text);
                }
                out
            }
        }
    }
}

fn record(fields: &[(&'static str, Type)]) -> Pattern {
    let mut texts: Vec<String> =
        fields.iter().enumerate().map(|(i, (f, _))| format!("{}{f} = ", if i == 0 { "{" } else { ", " })).collect();
    texts.push("}".to_owned());
    Pattern::Parts(texts, fields.iter().map(|(_, t)| Pattern::Any(t.clone())).collect())
}
