//! Expressions → expressions.
//!
//! [`Lowering::body`] gives the expressions of a clause body, [`Lowering::expr`] one expression, with `begin .. end` where
//! it takes several. Evaluation stays strict and left to right: what must be evaluated before something else, and once,
//! is bound to a variable first, unless it is a variable or a constant.

use super::descriptor::checked;
use super::forms::{At, Expr, Kind, Segment};
use super::lower::Lowering;
use super::FLOAT_OUT_OF_RANGE;
use crate::core::{constructor_atom, Expr as Core, ExprKind, FlowRef, FormatPart, Literal, Pattern, Primitive};
use crate::diagnostic::Span;

impl Lowering<'_> {
    /// The expressions of a body; the last is its value.
    pub(super) fn body(&mut self, e: &Core) -> Vec<Expr> {
        let mut out = Vec::new();
        let mut rest = e;
        // Along the spine of a block, so that a block of ten thousand statements does not nest.
        loop {
            let at = self.at(rest.span);
            match &rest.kind {
                ExprKind::Let { pattern, value, body } => {
                    let value = self.last_of(value, &mut out);
                    let pattern = self.pattern(at, pattern);
                    out.push(at.matches(pattern, value));
                    rest = body;
                }
                ExprKind::Sequence(first, then) => {
                    let value = self.last_of(first, &mut out);
                    out.push(at.matches(at.any(), value));
                    rest = then;
                }
                _ => {
                    let last = self.last_of(rest, &mut out);
                    out.push(last);
                    return out;
                }
            }
        }
    }

    pub(super) fn expr(&mut self, e: &Core) -> Expr {
        let mut before = Vec::new();
        let last = self.last_of(e, &mut before);
        before.push(last);
        self.at(e.span).block(before)
    }

    pub(super) fn exprs(&mut self, es: &[Core]) -> Vec<Expr> {
        es.iter().map(|e| self.expr(e)).collect()
    }

    /// The value of `e`; what has to come before it is added to `out`.
    pub(super) fn last_of(&mut self, e: &Core, out: &mut Vec<Expr>) -> Expr {
        let at = self.at(e.span);
        match &e.kind {
            ExprKind::Let { .. } | ExprKind::Sequence(..) => {
                let mut body = self.body(e);
                let last = body.pop().unwrap_or_else(|| at.atom("ok"));
                out.append(&mut body);
                last
            }
            ExprKind::Local(local) => at.var(&self.names.of(local)),
            ExprKind::Literal(literal) => self.literal(at, literal, e.span),
            ExprKind::FlowValue(flow) => self.flow_value(at, flow),
            ExprKind::ConstructorValue { constructor, arity } => {
                self.check_parameters(*arity, constructor, e.span);
                let fields: Vec<Expr> = (0..*arity).map(|_| at.var(&self.names.fresh("Field"))).collect();
                let mut params = fields.clone();
                params.push(at.any());
                let body = vec![self.construct(at, constructor, fields, e.span)];
                at.fun(params, body)
            }
            ExprKind::Call { flow, args } => {
                if let Some(assertion) = self.assertion(at, flow, args) {
                    return assertion;
                }
                let args = match args.split_first() {
                    // A loop runs its body with the handlers around it, so these stay in sight.
                    Some((body, rest)) if is_loop(flow) => {
                        let mut all = vec![self.lambda(body)];
                        all.extend(self.exprs(rest));
                        all
                    }
                    _ => self.exprs(args),
                };
                self.call(at, flow, args)
            }
            ExprKind::Apply { function, args } => self.apply(at, function, args, out),
            ExprKind::Lambda { .. } => self.out_of_sight(|this| this.lambda(e)),
            ExprKind::ForAll { generated, body } => {
                let term = |(name, descriptor): &(String, _)| {
                    at.tuple(vec![at.text(name), super::descriptor::term(at, descriptor)])
                };
                let generated = at.list(generated.iter().map(term).collect(), None);
                let body = self.expr(body);
                let evidence = self.evidence(at);
                at.remote("topos_test", "for_all", vec![generated, body, evidence])
            }
            ExprKind::If { condition, then, otherwise } => {
                let condition = self.expr(condition);
                let then = self.body(then);
                let otherwise = self.body(otherwise);
                at.branch(condition, then, otherwise)
            }
            ExprKind::Match { scrutinee, arms } => self.matching(at, scrutinee, arms, out),
            ExprKind::Tuple(elements) => at.tuple(self.exprs(elements)),
            ExprKind::List(elements, tail) => {
                // `a :: b :: c :: rest` is one list, not four.
                let mut elements = self.exprs(elements);
                let mut tail = tail.as_deref();
                while let Some(Core { kind: ExprKind::List(more, rest), .. }) = tail {
                    elements.extend(self.exprs(more));
                    tail = rest.as_deref();
                }
                let tail = tail.map(|t| self.expr(t));
                at.list(elements, tail)
            }
            ExprKind::Record(fields) => {
                let fields = self.fields(at, fields, e.span);
                at.map(fields)
            }
            ExprKind::Update { record, fields } => {
                let record = self.expr(record);
                let fields = self.fields(at, fields, e.span);
                at.expr(Kind::MapUpdate(Box::new(record), fields))
            }
            ExprKind::Field { record, field } => {
                self.check_atom(field, e.span);
                self.field(at, record, field)
            }
            ExprKind::Superclass { dictionary, field } => {
                let fun = self.field(at, dictionary, field);
                at.call_value(fun, Vec::new())
            }
            ExprKind::Fits { value, descriptor } => {
                let descriptor = super::descriptor::term(at, descriptor);
                at.remote("topos_rt", "fits", vec![descriptor, self.expr(value)])
            }
            ExprKind::Construct { constructor, args } => {
                let args = self.exprs(args);
                self.construct(at, constructor, args, e.span)
            }
            ExprKind::Primitive { op, args } => self.primitive(at, *op, args, e.span, out),
            ExprKind::Format(parts) => self.format(at, parts),
            ExprKind::Perform { .. } => self.perform(e, out),
            ExprKind::WithExtern { effect, module, args, body } => {
                self.check_atom(effect, e.span);
                self.check_atom(module, e.span);
                let args = at.list(self.exprs(args), None);
                let outer = self.evidence(at);
                let body = self.with_evidence(|this, evidence| {
                    this.under_extern(effect, |this| {
                        let body = this.body(body);
                        at.fun(vec![at.var(evidence)], body)
                    })
                });
                at.remote("topos_effect", "with_handler", vec![at.atom(effect), at.atom(module), args, outer, body])
            }
            ExprKind::With { effect, handler, args, shared, body } => {
                self.with(at, effect, handler, args, *shared, body)
            }
            ExprKind::Sibling { .. }
            | ExprKind::StateValue(_)
            | ExprKind::Assign { .. }
            | ExprKind::Atomic(_)
            | ExprKind::Abort(_)
            | ExprKind::Leavable { .. }
            | ExprKind::Leave { .. }
            | ExprKind::Try { .. }
            | ExprKind::WithValue { .. }
            | ExprKind::Again(_) => self.handling(at, e),
            ExprKind::HandlerValue { effect, handler, args } => self.handler_value(at, effect, handler, args, out),
            ExprKind::Fail(message) => self.fail(at, message),
        }
    }

    /// `perform E.op(args)`.
    fn perform(&mut self, e: &Core, out: &mut Vec<Expr>) -> Expr {
        let at = self.at(e.span);
        let ExprKind::Perform { effect, operation, args, returns, index, operations, captures } = &e.kind else {
            return self.fail(at, "the compiler took this for a `perform`");
        };
        self.check_atom(effect, e.span);
        self.check_atom(operation, e.span);
        let mut values = Vec::with_capacity(args.len() + 1);
        for (arg, captured) in args.iter().zip(captures) {
            let value = self.expr(arg);
            let value = if *captured && may_be_function(arg) {
                at.remote("topos_rt", "capture", vec![value, self.evidence(at)])
            } else {
                value
            };
            values.push(value);
        }
        if let Some(call) = self.clause_in_sight(at, effect, operation, &values) {
            return call;
        }
        let values: Vec<Expr> = values.into_iter().map(|v| self.bound(at, v, "Arg", out)).collect();
        let (module, instance) = (at.var(&self.names.fresh("Handler")), at.var(&self.names.fresh("Instance")));
        // A handler written in Topos: its instance and a fun an operation.
        let (own, clause) = (at.var(&self.names.fresh("Instance")), at.var(&self.names.fresh("Clause")));
        let mut entry = vec![own.clone()];
        entry.extend((0..*operations).map(|place| if place == *index { clause.clone() } else { at.any() }));
        let mut topos = vec![own];
        topos.extend(values.iter().cloned());
        let topos = at.call_value(clause, topos);
        let mut given = vec![instance.clone()];
        given.extend(values);
        let answer = at.remote_value(module.clone(), operation, given);
        let answer = match returns {
            Some(descriptor) => {
                let variable = self.names.fresh("Answer");
                checked(at, descriptor, answer, &variable, &format!("{effect}.{operation}"))
            }
            None => answer,
        };
        let is_extern = at.remote("erlang", "is_atom", vec![module.clone()]);
        // A pattern, since the BEAM looks a key up in a pattern about three times as fast as `map_get/2` does.
        let found = |entry: Expr| vec![at.expr(Kind::MapPattern(vec![(at.atom(effect), entry)]))];
        let none = at.remote("erlang", "error", vec![at.remote("topos_rt", "no_handler", vec![at.atom(effect)])]);
        at.case(
            self.evidence(at),
            vec![
                at.clause(found(at.tuple(vec![module, instance])), Some(is_extern), vec![answer]),
                at.clause(found(at.tuple(entry)), None, vec![topos]),
                at.clause(vec![at.any()], None, vec![none]),
            ],
        )
    }

    /// `record.field`; in a pattern, as [`Lowering::perform`] looks for a handler, where a pattern may stand.
    fn field(&mut self, at: At, record: &Core, field: &str) -> Expr {
        let record = self.expr(record);
        if self.in_guard {
            return at.remote("erlang", "map_get", vec![at.atom(field), record]);
        }
        let value = at.var(&self.names.fresh("Field"));
        let pattern = at.expr(Kind::MapPattern(vec![(at.atom(field), value.clone())]));
        at.case(record, vec![at.clause(vec![pattern], None, vec![value])])
    }

    /// What stands behind `when`.
    pub(super) fn guard(&mut self, e: &Core) -> Expr {
        let outer = std::mem::replace(&mut self.in_guard, true);
        let guard = self.expr(e);
        self.in_guard = outer;
        guard
    }

    /// A function in place; other expressions as they are.
    fn lambda(&mut self, e: &Core) -> Expr {
        let ExprKind::Lambda { params, body } = &e.kind else { return self.expr(e) };
        let at = self.at(e.span);
        self.check_parameters(params.len(), "this function", e.span);
        self.with_evidence(|this, evidence| {
            let mut heads = this.bind_all(at, params);
            if heads.is_empty() {
                heads.push(at.any());
            }
            heads.push(at.var(evidence));
            let body = this.body(body);
            at.fun(heads, body)
        })
    }

    /// `erlang:error({program_failed, #{..}})`, a `topos_error:t()` that knows its place even without a stack trace.
    pub(super) fn fail(&self, at: At, message: &str) -> Expr {
        let details = at.map(vec![
            (at.atom("message"), at.text(message)),
            (at.atom("file"), at.text(&self.module.file)),
            (at.atom("line"), at.integer(&at.0.line.to_string())),
            (at.atom("column"), at.integer(&at.0.column.to_string())),
        ]);
        at.remote("erlang", "error", vec![at.tuple(vec![at.atom("program_failed"), details])])
    }

    fn fields(&mut self, at: At, fields: &[(String, Core)], span: Span) -> Vec<(Expr, Expr)> {
        let mut out = Vec::with_capacity(fields.len());
        for (field, value) in fields {
            self.check_atom(field, span);
            out.push((at.atom(field), self.expr(value)));
        }
        out
    }

    pub(super) fn literal(&mut self, at: At, literal: &Literal, span: Span) -> Expr {
        match literal {
            Literal::Int(decimal) => at.integer(decimal),
            Literal::Float(value) if value.is_finite() => at.float(*value),
            Literal::Float(_) => {
                let message = "this number is too large for a Float".to_string();
                self.refuse(FLOAT_OUT_OF_RANGE, message, span, "the largest Float is about 1.8e308");
                at.float(0.0)
            }
            Literal::Text(text) => at.text(text),
            Literal::Duration(ms) => at.integer(&ms.to_string()),
            Literal::Bool(value) => at.bool(*value),
            Literal::Unit => at.atom("ok"),
        }
    }

    pub(super) fn construct(&mut self, at: At, constructor: &str, mut args: Vec<Expr>, span: Span) -> Expr {
        let atom = constructor_atom(constructor);
        self.check_atom(&atom, span);
        let atom = at.atom(&atom);
        if args.is_empty() {
            return atom;
        }
        args.insert(0, atom);
        at.tuple(args)
    }

    fn call(&mut self, at: At, flow: &FlowRef, mut args: Vec<Expr>) -> Expr {
        if flow.evidence {
            args.push(self.evidence(at));
        }
        match &flow.module {
            Some(module) if *module != self.module.name => at.remote(module, &flow.name, args),
            _ => at.call(&flow.name, args),
        }
    }

    /// A flow in the closure convention: `max(arity, 1)` parameters and the evidence.
    fn flow_value(&mut self, at: At, flow: &FlowRef) -> Expr {
        if flow.evidence && flow.arity > 0 {
            return match &flow.module {
                Some(module) if *module != self.module.name => {
                    at.expr(Kind::RemoteFun(module.clone(), flow.name.clone(), flow.arity + 1))
                }
                _ => at.expr(Kind::LocalFun(flow.name.clone(), flow.arity + 1)),
            };
        }
        let args: Vec<Expr> = (0..flow.arity).map(|_| at.var(&self.names.fresh("Arg"))).collect();
        let mut params = args.clone();
        if params.is_empty() {
            params.push(at.any());
        }
        self.with_evidence(|this, evidence| {
            params.push(at.var(evidence));
            let body = vec![this.call(at, flow, args)];
            at.fun(params, body)
        })
    }

    fn apply(&mut self, at: At, function: &Core, args: &[Core], out: &mut Vec<Expr>) -> Expr {
        // What is known statically needs no test of the arity.
        match &function.kind {
            ExprKind::FlowValue(flow) if flow.arity == args.len() => {
                let args = self.exprs(args);
                return self.call(at, flow, args);
            }
            ExprKind::FlowValue(flow) if flow.arity == 0 && is_unit(args) => return self.call(at, flow, Vec::new()),
            ExprKind::ConstructorValue { constructor, arity } if *arity == args.len() => {
                let args = self.exprs(args);
                return self.construct(at, constructor, args, function.span);
            }
            ExprKind::Lambda { params, .. } if params.len().max(1) == args.len() => {
                let function = self.expr(function);
                let mut args = self.exprs(args);
                args.push(self.evidence(at));
                return at.call_value(function, args);
            }
            _ => {}
        }
        let function = self.once(at, function, "Function", out);
        let args: Vec<Expr> = args.iter().map(|arg| self.once(at, arg, "Arg", out)).collect();
        let evidence = self.evidence(at);
        let arity = at.integer(&(args.len() + 1).to_string());
        let fits = at.remote("erlang", "is_function", vec![function.clone(), arity]);
        let general = vec![function.clone(), at.list(args.clone(), None), evidence.clone()];
        let mut direct = args;
        direct.push(evidence);
        at.branch(fits, vec![at.call_value(function, direct)], vec![at.remote("topos_rt", "apply", general)])
    }

    /// The value of `e` as something that may be written twice.
    pub(super) fn once(&mut self, at: At, e: &Core, name: &str, out: &mut Vec<Expr>) -> Expr {
        let value = self.last_of(e, out);
        self.bound(at, value, name, out)
    }

    pub(super) fn bound(&mut self, at: At, value: Expr, name: &str, out: &mut Vec<Expr>) -> Expr {
        if value.is_atomic() {
            return value;
        }
        let variable = at.var(&self.names.fresh(name));
        out.push(at.matches(variable.clone(), value));
        variable
    }

    fn format(&mut self, at: At, parts: &[FormatPart]) -> Expr {
        let mut segments = Vec::with_capacity(parts.len());
        for part in parts {
            match part {
                FormatPart::Text(text) if text.is_empty() => {}
                FormatPart::Text(text) => segments.push(Segment::Text(text.clone())),
                FormatPart::Expr(e) => {
                    let place = self.at(e.span);
                    segments.push(Segment::Value(place.remote("topos_rt", "show", vec![self.expr(e)])));
                }
            }
        }
        at.binary(segments)
    }

    fn primitive(&mut self, at: At, op: Primitive, args: &[Core], span: Span, out: &mut Vec<Expr>) -> Expr {
        match (op, args) {
            (Primitive::DivideInt | Primitive::Remainder | Primitive::DivideFloat, [left, right]) => {
                self.divide(at, op, left, right, out)
            }
            (Primitive::AppendText, [_, _]) => {
                let mut segments = Vec::new();
                self.append_text(args, &mut segments);
                at.binary(segments)
            }
            (op, [left, right]) => match operator(op) {
                Some(operator) => {
                    let left = self.expr(left);
                    let right = self.expr(right);
                    at.op(operator, left, right)
                }
                None => self.fail(at, &format!("the compiler gave {op:?} two operands at {span:?}")),
            },
            (Primitive::Negate, [operand]) => at.unary("-", self.expr(operand)),
            (Primitive::Not, [operand]) => at.unary("not", self.expr(operand)),
            (op, _) => self.fail(at, &format!("the compiler gave {op:?} {} operands at {span:?}", args.len())),
        }
    }

    /// `a <> b <> c` as one binary, however it is nested.
    fn append_text(&mut self, args: &[Core], segments: &mut Vec<Segment>) {
        for arg in args {
            match &arg.kind {
                ExprKind::Primitive { op: Primitive::AppendText, args } => self.append_text(args, segments),
                ExprKind::Literal(Literal::Text(text)) if text.is_empty() => {}
                ExprKind::Literal(Literal::Text(text)) => segments.push(Segment::Text(text.clone())),
                _ => segments.push(Segment::Value(self.expr(arg))),
            }
        }
    }

    /// Division by a constant is the operator; any other divisor is compared with zero first, because Erlang's `badarith`
    /// does not say what was wrong.
    fn divide(&mut self, at: At, op: Primitive, left: &Core, right: &Core, out: &mut Vec<Expr>) -> Expr {
        let operator = match op {
            Primitive::DivideInt => "div",
            Primitive::Remainder => "rem",
            _ => "/",
        };
        if is_nonzero(right) {
            let left = self.expr(left);
            let right = self.expr(right);
            return at.op(operator, left, right);
        }
        let left = self.once(at, left, "Dividend", out);
        let right = self.expr(right);
        let divisor = at.var(&self.names.fresh("Divisor"));
        // `/=` compares numbers: it is false for -0.0 too.
        let usable = at.op("/=", divisor.clone(), at.integer("0"));
        let clauses = vec![
            at.clause(vec![divisor.clone()], Some(usable), vec![at.op(operator, left, divisor)]),
            at.clause(vec![at.any()], None, vec![self.fail(at, "division by zero")]),
        ];
        at.case(right, clauses)
    }

    /// A pattern; its locals are bound from here on.
    pub(super) fn pattern(&mut self, at: At, pattern: &Pattern) -> Expr {
        // Patterns carry no spans of their own: they stand where their arm or their `let` stands.
        match pattern {
            Pattern::Wildcard => at.any(),
            Pattern::Bind(local) => at.var(&self.names.bind(local)),
            Pattern::As(inner, local) => {
                let inner = self.pattern(at, inner);
                at.matches(inner, at.var(&self.names.bind(local)))
            }
            Pattern::Literal(literal) => self.literal(at, literal, Span::default()),
            Pattern::Tuple(elements) => at.tuple(elements.iter().map(|p| self.pattern(at, p)).collect()),
            Pattern::List(elements, tail) => {
                let elements = elements.iter().map(|p| self.pattern(at, p)).collect();
                let tail = tail.as_ref().map(|t| self.pattern(at, t));
                at.list(elements, tail)
            }
            Pattern::Record(fields) => {
                let fields = fields.iter().map(|(f, p)| (at.atom(f), self.pattern(at, p))).collect();
                at.expr(Kind::MapPattern(fields))
            }
            Pattern::Construct { constructor, args } => {
                let args = args.iter().map(|p| self.pattern(at, p)).collect();
                self.construct(at, constructor, args, Span::default())
            }
        }
    }
}

/// The Erlang operator of a binary primitive; `None` where there is none.
pub(super) fn operator(op: Primitive) -> Option<&'static str> {
    Some(match op {
        Primitive::Add => "+",
        Primitive::Subtract => "-",
        Primitive::Multiply => "*",
        Primitive::DivideInt => "div",
        Primitive::DivideFloat => "/",
        Primitive::Remainder => "rem",
        Primitive::Equal => "=:=",
        Primitive::NotEqual => "=/=",
        Primitive::Less => "<",
        Primitive::LessEqual => "=<",
        Primitive::Greater => ">",
        Primitive::GreaterEqual => ">=",
        Primitive::And => "andalso",
        Primitive::Or => "orelse",
        Primitive::AppendList => "++",
        Primitive::AppendText | Primitive::Negate | Primitive::Not => return None,
    })
}

/// Whether a flow is what `for` or `loop` becomes: it calls its first argument with the evidence that it was given.
fn is_loop(flow: &FlowRef) -> bool {
    flow.module.as_deref() == Some("Topos.Prelude") && matches!(flow.name.as_str(), "for_each" | "forever")
}

fn is_unit(args: &[Core]) -> bool {
    matches!(args, [Core { kind: ExprKind::Literal(Literal::Unit), .. }])
}

/// A number literal that is not zero.
pub(super) fn is_nonzero(e: &Core) -> bool {
    match &e.kind {
        ExprKind::Literal(Literal::Int(decimal)) => decimal.bytes().any(|b| (b'1'..=b'9').contains(&b)),
        ExprKind::Literal(Literal::Float(value)) => *value != 0.0,
        ExprKind::Literal(Literal::Duration(ms)) => *ms != 0,
        _ => false,
    }
}

/// Whether the value could be a function, going by the form of the expression.
fn may_be_function(e: &Core) -> bool {
    match &e.kind {
        ExprKind::Literal(_)
        | ExprKind::Tuple(_)
        | ExprKind::List(..)
        | ExprKind::Record(_)
        | ExprKind::Update { .. }
        | ExprKind::Construct { .. }
        | ExprKind::ConstructorValue { .. }
        | ExprKind::Primitive { .. }
        | ExprKind::Format(_)
        | ExprKind::Fail(_) => false,
        ExprKind::FlowValue(flow) => flow.evidence,
        ExprKind::Let { body, .. } | ExprKind::Sequence(_, body) => may_be_function(body),
        ExprKind::If { then, otherwise, .. } => may_be_function(then) || may_be_function(otherwise),
        _ => true,
    }
}
