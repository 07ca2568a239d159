//! A model of Erlang abstract format: as much of it as Topos needs, and one constructor a form.
//!
//! Two writers read it: [`super::etf`] turns it into the terms that `compile:forms/2` takes, [`super::pretty`] into text.
//! Patterns, guards and expressions share one type, as in abstract format itself.

use std::sync::Arc;

/// The name of a variable. It stands wherever the variable does, so that the places share it.
pub(super) type Variable = Arc<str>;

/// Where a form comes from in the `.topos` file: line and column, both counted from 1, the column in characters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Anno {
    pub(super) line: u32,
    pub(super) column: u32,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Form {
    /// `-file("X.topos", 1).`: what stack traces show.
    File(String),
    Module(String),
    Export(Vec<(String, usize)>),
    /// `-compile([..]).`, option atoms only.
    Compile(Vec<&'static str>),
    Spec {
        anno: Anno,
        name: String,
        params: Vec<Type>,
        returns: Type,
    },
    Function {
        anno: Anno,
        name: String,
        clause: Clause,
    },
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Clause {
    pub(super) anno: Anno,
    pub(super) patterns: Vec<Expr>,
    pub(super) guard: Option<Expr>,
    /// At least one.
    pub(super) body: Vec<Expr>,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) struct Expr {
    pub(super) anno: Anno,
    pub(super) kind: Kind,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Kind {
    Var(Variable),
    /// `_`.
    Any,
    Atom(String),
    /// Decimal digits without a sign; a negative number is an [`Kind::Unary`].
    Integer(String),
    /// Finite and not negative.
    Float(f64),
    Binary(Vec<Segment>),
    Tuple(Vec<Expr>),
    List(Vec<Expr>, Option<Box<Expr>>),
    /// `#{k => v}`.
    Map(Vec<(Expr, Expr)>),
    /// `#{k := p}`, a pattern.
    MapPattern(Vec<(Expr, Expr)>),
    /// `M#{k := v}`.
    MapUpdate(Box<Expr>, Vec<(Expr, Expr)>),
    Call(Callee, Vec<Expr>),
    Fun(Box<Clause>),
    /// `fun name/arity`.
    LocalFun(String, usize),
    /// `fun module:name/arity`.
    RemoteFun(String, String, usize),
    Case(Box<Expr>, Vec<Clause>),
    /// `begin .. end`, two expressions or more.
    Block(Vec<Expr>),
    Match(Box<Expr>, Box<Expr>),
    Binary2(&'static str, Box<Expr>, Box<Expr>),
    Unary(&'static str, Box<Expr>),
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Segment {
    /// `"text"/utf8`.
    Text(String),
    /// `(E)/binary`.
    Value(Expr),
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Callee {
    Local(String),
    Remote(Box<Expr>, Box<Expr>),
    Value(Box<Expr>),
}

/// A type in a `-spec`.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Type {
    /// `name(..)`.
    Named(&'static str, Vec<Type>),
    Atom(String),
    Tuple(Vec<Type>),
    /// `#{field := T}`.
    Record(Vec<(String, Type)>),
    /// `#{K => V}`.
    Map(Box<Type>, Box<Type>),
    /// `map()`.
    AnyMap,
    /// Two or more.
    Union(Vec<Type>),
}

/// Makes expressions that all come from one place.
#[derive(Clone, Copy)]
pub(super) struct At(pub(super) Anno);

impl At {
    pub(super) fn expr(self, kind: Kind) -> Expr {
        Expr { anno: self.0, kind }
    }
    pub(super) fn var(self, name: &Variable) -> Expr {
        self.expr(Kind::Var(Variable::clone(name)))
    }
    pub(super) fn any(self) -> Expr {
        self.expr(Kind::Any)
    }
    pub(super) fn atom(self, name: &str) -> Expr {
        self.expr(Kind::Atom(name.to_string()))
    }
    pub(super) fn bool(self, value: bool) -> Expr {
        self.atom(if value { "true" } else { "false" })
    }
    /// Takes decimal text, perhaps with a sign.
    pub(super) fn integer(self, decimal: &str) -> Expr {
        match decimal.strip_prefix('-') {
            Some(digits) => self.unary("-", self.expr(Kind::Integer(digits.to_string()))),
            None => self.expr(Kind::Integer(decimal.to_string())),
        }
    }
    /// Takes a finite number.
    pub(super) fn float(self, value: f64) -> Expr {
        let magnitude = self.expr(Kind::Float(value.abs()));
        if value.is_sign_negative() {
            self.unary("-", magnitude)
        } else {
            magnitude
        }
    }
    pub(super) fn text(self, text: &str) -> Expr {
        self.expr(Kind::Binary(if text.is_empty() { Vec::new() } else { vec![Segment::Text(text.to_string())] }))
    }
    pub(super) fn binary(self, segments: Vec<Segment>) -> Expr {
        self.expr(Kind::Binary(segments))
    }
    pub(super) fn tuple(self, elements: Vec<Expr>) -> Expr {
        self.expr(Kind::Tuple(elements))
    }
    pub(super) fn list(self, elements: Vec<Expr>, tail: Option<Expr>) -> Expr {
        self.expr(Kind::List(elements, tail.map(Box::new)))
    }
    pub(super) fn map(self, fields: Vec<(Expr, Expr)>) -> Expr {
        self.expr(Kind::Map(fields))
    }
    pub(super) fn call(self, function: &str, args: Vec<Expr>) -> Expr {
        self.expr(Kind::Call(Callee::Local(function.to_string()), args))
    }
    pub(super) fn remote(self, module: &str, function: &str, args: Vec<Expr>) -> Expr {
        self.remote_value(self.atom(module), function, args)
    }
    pub(super) fn remote_value(self, module: Expr, function: &str, args: Vec<Expr>) -> Expr {
        self.expr(Kind::Call(Callee::Remote(Box::new(module), Box::new(self.atom(function))), args))
    }
    pub(super) fn call_value(self, function: Expr, args: Vec<Expr>) -> Expr {
        self.expr(Kind::Call(Callee::Value(Box::new(function)), args))
    }
    pub(super) fn fun(self, params: Vec<Expr>, body: Vec<Expr>) -> Expr {
        self.expr(Kind::Fun(Box::new(self.clause(params, None, body))))
    }
    pub(super) fn clause(self, patterns: Vec<Expr>, guard: Option<Expr>, body: Vec<Expr>) -> Clause {
        Clause { anno: self.0, patterns, guard, body }
    }
    pub(super) fn case(self, scrutinee: Expr, clauses: Vec<Clause>) -> Expr {
        self.expr(Kind::Case(Box::new(scrutinee), clauses))
    }
    /// `case Condition of true -> ..; false -> .. end`.
    pub(super) fn branch(self, condition: Expr, then: Vec<Expr>, otherwise: Vec<Expr>) -> Expr {
        let clauses =
            vec![self.clause(vec![self.bool(true)], None, then), self.clause(vec![self.bool(false)], None, otherwise)];
        self.case(condition, clauses)
    }
    /// One expression as it is, several as `begin .. end`.
    pub(super) fn block(self, mut body: Vec<Expr>) -> Expr {
        match body.pop() {
            Some(only) if body.is_empty() => only,
            Some(last) => {
                body.push(last);
                self.expr(Kind::Block(body))
            }
            None => self.atom("ok"),
        }
    }
    pub(super) fn matches(self, pattern: Expr, value: Expr) -> Expr {
        self.expr(Kind::Match(Box::new(pattern), Box::new(value)))
    }
    pub(super) fn op(self, op: &'static str, left: Expr, right: Expr) -> Expr {
        self.expr(Kind::Binary2(op, Box::new(left), Box::new(right)))
    }
    pub(super) fn unary(self, op: &'static str, operand: Expr) -> Expr {
        self.expr(Kind::Unary(op, Box::new(operand)))
    }
}

impl Expr {
    /// Whether evaluating it twice, or later, makes no difference and costs nothing.
    pub(super) fn is_atomic(&self) -> bool {
        match &self.kind {
            Kind::Var(_) | Kind::Atom(_) | Kind::Integer(_) | Kind::Float(_) => true,
            Kind::Binary(segments) => segments.is_empty(),
            Kind::List(elements, tail) => elements.is_empty() && tail.is_none(),
            _ => false,
        }
    }
}
