//! What a program is made from: a tape of bytes, so that proptest shrinks it, and what is in scope. Behind the end of
//! the tape there are leaves alone.

use crate::marks::wrong;
use crate::types::{Row, Type};

#[derive(Clone)]
pub(crate) struct Variable {
    pub(crate) name: String,
    pub(crate) ty: Type,
    /// A state variable of the handler whose clause is being written.
    pub(crate) state: bool,
}

/// A flow that later ones may call.
#[derive(Clone)]
pub(crate) struct Helper {
    pub(crate) name: String,
    pub(crate) params: Vec<Type>,
    pub(crate) row: Row,
    pub(crate) result: Type,
}

pub(crate) struct Generator<'a> {
    tape: &'a [u8],
    at: usize,
    fresh: usize,
    pub(crate) vars: Vec<Variable>,
    pub(crate) helpers: Vec<Helper>,
    /// The constructors of the program's own shape.
    pub(crate) own: Vec<(String, Vec<Type>)>,
    /// Declarations of handlers.
    pub(crate) handlers: String,
    /// Whether the program declares the trait `Grade`.
    pub(crate) graded: bool,
    /// What may be performed here.
    pub(crate) here: Row,
    /// What was performed.
    pub(crate) used: Row,
    /// The type of the flow, where `return` may stand.
    pub(crate) returns: Option<Type>,
    /// What `abort` takes, where it may stand.
    pub(crate) aborts: Option<Type>,
    /// Whether the flow has a type parameter, and whether it needed its order.
    pub(crate) generic: bool,
    pub(crate) ordered: bool,
    /// Whether the flow says its row, so that too much in it is a mistake.
    pub(crate) signed: bool,
    /// Whether state variables may be assigned to.
    pub(crate) assigns: bool,
}

impl<'a> Generator<'a> {
    pub(crate) fn new(tape: &'a [u8]) -> Self {
        Self {
            tape,
            at: 0,
            fresh: 0,
            vars: Vec::new(),
            helpers: Vec::new(),
            own: vec![("Alone".into(), Vec::new())],
            handlers: String::new(),
            graded: false,
            here: Row::PURE,
            used: Row::PURE,
            returns: None,
            aborts: None,
            generic: false,
            ordered: false,
            signed: true,
            assigns: true,
        }
    }

    pub(crate) fn next(&mut self, below: usize) -> usize {
        let byte = self.tape.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        usize::from(byte) % below.max(1)
    }

    /// True once in so many times, and not behind the end of the tape.
    pub(crate) fn once_in(&mut self, times: usize) -> bool {
        self.next(times) == times - 1
    }

    pub(crate) fn at_end(&self) -> bool {
        self.at >= self.tape.len()
    }

    pub(crate) fn number(&mut self) -> usize {
        self.fresh += 1;
        self.fresh
    }

    /// A new variable of the type, in scope.
    pub(crate) fn variable(&mut self, ty: &Type) -> String {
        let name = format!("v{}", self.number());
        self.vars.push(Variable { name: name.clone(), ty: ty.clone(), state: false });
        name
    }

    /// A new variable as the parameter of a lambda. The row of one that is called would else be all that is around
    /// the call.
    pub(crate) fn parameter(&mut self, ty: &Type) -> String {
        let name = self.variable(ty);
        if ty.is_data() {
            name
        } else {
            format!("{name} : {}", ty.written())
        }
    }

    /// Runs `inner`; what it brought into scope is out of scope again.
    pub(crate) fn scoped<T>(&mut self, inner: impl FnOnce(&mut Self) -> T) -> T {
        let known = self.vars.len();
        let out = inner(self);
        self.vars.truncate(known);
        out
    }

    /// Runs `inner` where something else may be performed; what was performed counts only if `counts`.
    pub(crate) fn under<T>(&mut self, row: Row, counts: bool, inner: impl FnOnce(&mut Self) -> T) -> (T, Row) {
        let (here, used) = (self.here, self.used);
        (self.here, self.used) = (row, Row::PURE);
        let out = inner(self);
        let inside = self.used;
        self.here = here;
        self.used = if counts { Row::union(used, inside) } else { used };
        (out, inside)
    }

    /// Runs `inner` where no effect may be performed, as in guards.
    pub(crate) fn purely<T>(&mut self, inner: impl FnOnce(&mut Self) -> T) -> T {
        let assigns = std::mem::replace(&mut self.assigns, false);
        let (out, _) = self.under(Row::PURE, true, |g| g.inside_function(inner));
        self.assigns = assigns;
        out
    }

    /// Runs `inner` where neither `return` nor `abort` may stand.
    pub(crate) fn inside_function<T>(&mut self, inner: impl FnOnce(&mut Self) -> T) -> T {
        let (returns, aborts) = (self.returns.take(), self.aborts.take());
        let out = inner(self);
        (self.returns, self.aborts) = (returns, aborts);
        out
    }

    /// A lambda that may outlive what is around it: state variables are not for it.
    pub(crate) fn escaping<T>(&mut self, inner: impl FnOnce(&mut Self) -> T) -> T {
        let all = self.vars.clone();
        self.vars.retain(|v| !v.state);
        let out = self.inside_function(inner);
        self.vars = all;
        out
    }

    /// The use of a variable, and now and then a mutant with a name that nothing has.
    pub(crate) fn named(&mut self, name: &str) -> String {
        if self.once_in(9) {
            wrong(name, "unbound_name")
        } else {
            name.to_owned()
        }
    }

    pub(crate) fn known(&self, wanted: impl Fn(&Variable) -> bool) -> Vec<Variable> {
        self.vars.iter().filter(|v| wanted(v)).cloned().collect()
    }

    /// A type of values without functions.
    pub(crate) fn data(&mut self, depth: usize) -> Type {
        let part = |g: &mut Self| Box::new(g.data(depth.saturating_sub(1)));
        match self.next(if depth == 0 { 9 } else { 17 }) {
            0 => Type::Int,
            1 => Type::Text,
            2 => Type::Bool,
            3 => Type::Float,
            4 => Type::Colour,
            5 => Type::Odd,
            6 => Type::Point,
            7 => Type::Own,
            8 if self.generic => Type::Param,
            8 => Type::Unit,
            9 => Type::List(part(self)),
            10 => Type::Maybe(part(self)),
            11 => Type::Boxed(part(self)),
            12 => Type::Tree(part(self)),
            13 => Type::Result(part(self), part(self)),
            14 => Type::Tuple(vec![*part(self), *part(self)]),
            15 => Type::Tuple(vec![*part(self), *part(self), *part(self)]),
            _ => {
                let mut fields = vec![("x", Type::Int), ("name", Type::Text), ("part", *part(self)), ("y", Type::Int)];
                let without = self.next(5);
                if without < fields.len() {
                    fields.remove(without);
                }
                Type::Record(fields)
            }
        }
    }

    /// A type with `Ord`.
    pub(crate) fn ordered(&mut self, depth: usize) -> Type {
        let ty = self.data(depth);
        if ty.is_ordered() {
            ty
        } else {
            Type::Int
        }
    }

    /// Any type: also functions.
    pub(crate) fn any(&mut self, depth: usize) -> Type {
        if depth == 0 || !self.once_in(6) {
            return self.data(depth);
        }
        let row = Row::of(self.next(128)).and(self.here);
        Type::Fn(Box::new(self.data(depth - 1)), row, Box::new(self.data(depth - 1)))
    }

    /// A type with `Weight`.
    pub(crate) fn weighty(&mut self, depth: usize) -> Type {
        match self.next(if depth == 0 { 2 } else { 4 }) {
            0 => Type::Int,
            1 => Type::Text,
            2 => Type::List(Box::new(self.weighty(depth - 1))),
            _ => Type::Tuple(vec![self.weighty(depth - 1), self.weighty(depth - 1)]),
        }
    }
}
