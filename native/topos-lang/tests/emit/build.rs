//! Builds core values as tersely as Topos is written.

use topos_lang::core::{
    Arm, Descriptor, Expr, ExprKind, Flow, FlowBody, FlowRef, FormatPart, Literal, Local, Module, Pattern, Primitive,
};
use topos_lang::diagnostic::Span;

pub(crate) fn at(kind: ExprKind, start: usize) -> Expr {
    let start = u32::try_from(start).unwrap();
    Expr { kind, span: Span::new(start, start + 1) }
}

pub(crate) fn e(kind: ExprKind) -> Expr {
    at(kind, 0)
}

/// The number of a local is all that counts: here it stands for the name.
pub(crate) fn local(name: &str) -> Local {
    let id = name.bytes().fold(7, |id: u32, byte| id.wrapping_mul(131).wrapping_add(u32::from(byte)));
    Local { name: name.into(), id }
}

pub(crate) fn var(name: &str) -> Expr {
    e(ExprKind::Local(local(name)))
}

pub(crate) fn int(n: i64) -> Expr {
    big(&n.to_string())
}

pub(crate) fn big(decimal: &str) -> Expr {
    e(ExprKind::Literal(Literal::Int(decimal.into())))
}

pub(crate) fn float(value: f64) -> Expr {
    e(ExprKind::Literal(Literal::Float(value)))
}

pub(crate) fn text(s: &str) -> Expr {
    e(ExprKind::Literal(Literal::Text(s.into())))
}

pub(crate) fn boolean(b: bool) -> Expr {
    e(ExprKind::Literal(Literal::Bool(b)))
}

pub(crate) fn unit() -> Expr {
    e(ExprKind::Literal(Literal::Unit))
}

pub(crate) fn op(op: Primitive, left: Expr, right: Expr) -> Expr {
    e(ExprKind::Primitive { op, args: vec![left, right] })
}

pub(crate) fn not(operand: Expr) -> Expr {
    e(ExprKind::Primitive { op: Primitive::Not, args: vec![operand] })
}

pub(crate) fn flow_ref(name: &str, arity: usize, evidence: bool) -> FlowRef {
    FlowRef { module: None, name: name.into(), arity, evidence }
}

pub(crate) fn call(name: &str, args: Vec<Expr>) -> Expr {
    e(ExprKind::Call { flow: flow_ref(name, args.len(), false), args })
}

pub(crate) fn call_ev(name: &str, args: Vec<Expr>) -> Expr {
    e(ExprKind::Call { flow: flow_ref(name, args.len(), true), args })
}

pub(crate) fn value(name: &str, arity: usize, evidence: bool) -> Expr {
    e(ExprKind::FlowValue(flow_ref(name, arity, evidence)))
}

pub(crate) fn apply(function: Expr, args: Vec<Expr>) -> Expr {
    e(ExprKind::Apply { function: Box::new(function), args })
}

pub(crate) fn lambda(params: &[&str], body: Expr) -> Expr {
    e(ExprKind::Lambda { params: params.iter().map(|p| local(p)).collect(), body: Box::new(body) })
}

pub(crate) fn let_(name: &str, value: Expr, body: Expr) -> Expr {
    let_pattern(bind(name), value, body)
}

pub(crate) fn let_pattern(pattern: Pattern, value: Expr, body: Expr) -> Expr {
    e(ExprKind::Let { pattern, value: Box::new(value), body: Box::new(body) })
}

pub(crate) fn then(first: Expr, second: Expr) -> Expr {
    e(ExprKind::Sequence(Box::new(first), Box::new(second)))
}

pub(crate) fn if_(condition: Expr, then: Expr, otherwise: Expr) -> Expr {
    e(ExprKind::If { condition: Box::new(condition), then: Box::new(then), otherwise: Box::new(otherwise) })
}

pub(crate) fn tuple(elements: Vec<Expr>) -> Expr {
    e(ExprKind::Tuple(elements))
}

pub(crate) fn list(elements: Vec<Expr>) -> Expr {
    e(ExprKind::List(elements, None))
}

pub(crate) fn cons(head: Expr, tail: Expr) -> Expr {
    e(ExprKind::List(vec![head], Some(Box::new(tail))))
}

pub(crate) fn record(fields: Vec<(&str, Expr)>) -> Expr {
    e(ExprKind::Record(fields.into_iter().map(|(f, v)| (f.into(), v)).collect()))
}

pub(crate) fn field(record: Expr, field: &str) -> Expr {
    e(ExprKind::Field { record: Box::new(record), field: field.into() })
}

pub(crate) fn update(record: Expr, fields: Vec<(&str, Expr)>) -> Expr {
    let fields = fields.into_iter().map(|(f, v)| (f.into(), v)).collect();
    e(ExprKind::Update { record: Box::new(record), fields })
}

pub(crate) fn construct(constructor: &str, args: Vec<Expr>) -> Expr {
    e(ExprKind::Construct { constructor: constructor.into(), args })
}

pub(crate) fn format(parts: Vec<FormatPart>) -> Expr {
    e(ExprKind::Format(parts))
}

pub(crate) fn perform(effect: &str, operation: &str, args: Vec<Expr>, returns: Option<Descriptor>) -> Expr {
    let captures = args.iter().map(|_| true).collect();
    let (effect, operation) = (effect.into(), operation.into());
    e(ExprKind::Perform { effect, operation, args, returns, index: 0, operations: 1, captures })
}

pub(crate) fn bind(name: &str) -> Pattern {
    Pattern::Bind(local(name))
}

pub(crate) fn lit_int(n: i64) -> Pattern {
    Pattern::Literal(Literal::Int(n.to_string()))
}

pub(crate) fn pat(constructor: &str, args: Vec<Pattern>) -> Pattern {
    Pattern::Construct { constructor: constructor.into(), args }
}

pub(crate) fn arm(pattern: Pattern, body: Expr) -> Arm {
    Arm { patterns: vec![pattern], guard: None, body }
}

pub(crate) fn arm_when(pattern: Pattern, guard: Expr, body: Expr) -> Arm {
    Arm { patterns: vec![pattern], guard: Some(guard), body }
}

pub(crate) fn match_(scrutinee: Expr, arms: Vec<Arm>) -> Expr {
    e(ExprKind::Match { scrutinee: Box::new(scrutinee), arms })
}

pub(crate) fn flow(name: &str, params: &[&str], body: Expr) -> Flow {
    Flow {
        name: name.into(),
        exported: true,
        params: params.iter().map(|p| local(p)).collect(),
        evidence: false,
        body: FlowBody::Expr(body),
        signature: None,
        span: Span::new(0, 1),
    }
}

pub(crate) fn flow_ev(name: &str, params: &[&str], body: Expr) -> Flow {
    Flow { evidence: true, ..flow(name, params, body) }
}

pub(crate) fn external(name: &str, params: &[&str], module: &str, function: &str, returns: Descriptor) -> Flow {
    let args = params.iter().map(|p| local(p)).collect();
    let body = FlowBody::Extern { module: module.into(), function: function.into(), args, returns };
    Flow { body, ..flow(name, params, unit()) }
}

pub(crate) fn module(name: &str, flows: Vec<Flow>) -> Module {
    Module { name: name.into(), file: format!("{name}.topos"), flows, handlers: Vec::new() }
}
