//! Expressions of a type.

use crate::generator::Generator;
use crate::marks::{other, wrong};
use crate::types::{Row, Type, AROUND, CELL, COUNTER, EMIT, FAIL, FLIP, PROCESS};

impl Generator<'_> {
    pub(crate) fn expr(&mut self, ty: &Type, depth: usize) -> String {
        let known = self.known(|v| v.ty == *ty);
        if !known.is_empty() && self.next(3) == 0 {
            let at = self.next(known.len());
            return self.named(&known[at].name);
        }
        if depth == 0 || self.at_end() {
            return self.leaf(ty);
        }
        let d = depth - 1;
        match self.next(20) {
            0 => self.leaf(ty),
            1 | 2 => self.block(ty, d),
            3 => {
                let cond = self.expr(&Type::Bool, d);
                let (yes, no) = (self.expr(ty, d), self.expr(ty, d));
                format!("(if ({}) {{ {yes} }} else {{ {no} }})", wrong(&cond, "\"no condition\""))
            }
            4 | 5 => self.matched(ty, d),
            6 => {
                let other = self.any(1);
                let arg = self.expr(&other, d);
                self.scoped(|g| {
                    let name = g.parameter(&other);
                    let body = g.inside_function(|g| g.expr(ty, d));
                    format!("(fn({name}) -> {body})({arg})")
                })
            }
            7 => {
                let flow = if self.here == Row::PURE { "twice" } else { "twice_in" };
                let start = self.expr(ty, d);
                let body = self.lambda(ty, ty, d);
                match self.next(2) {
                    0 => format!("{flow}({body}, {start})"),
                    _ => format!("({start} |> {flow}({body}))"),
                }
            }
            8 => {
                let (first, second) = (self.any(1), self.expr(ty, d));
                let first = self.expr(&first, d);
                format!("(match swap(({first}, {second})) {{ | (first, _) -> first }})")
            }
            9 if ty.is_ordered() => {
                self.ordered |= !ty.all_but_param();
                let default = self.fixed(ty, d);
                format!("largest({default}, {})", self.expr(&Type::List(Box::new(ty.clone())), d))
            }
            10 | 11 => self.called(ty, d),
            12 => {
                let from = self.data(1);
                let maybe = self.expr(&Type::Maybe(Box::new(from.clone())), d);
                let (some, none) = (self.lambda(&from, ty, d), self.inside_function(|g| g.expr(ty, d)));
                format!("choose({maybe}, {some}, fn() -> {none})")
            }
            13 | 14 if ty.is_data() && !self.generic => self.handled(ty, d),
            15 | 16 if self.here != Row::PURE => self.performed(ty, d),
            _ => self.own(ty, d),
        }
    }

    /// An expression that says its type. An operand of something overloaded needs it: `perform Fail.fail(..)` has any
    /// type, and so may all operands.
    fn fixed(&mut self, ty: &Type, depth: usize) -> String {
        format!("({} : {})", self.expr(ty, depth), ty.written())
    }

    pub(crate) fn leaf(&mut self, ty: &Type) -> String {
        match ty {
            Type::Int => {
                let n = self.next(100);
                match n % 3 {
                    0 => format!("({} : Int)", wrong(&n.to_string(), "\"text\"")),
                    1 => other(&n.to_string(), "1.5"),
                    _ => n.to_string(),
                }
            }
            Type::Text => match self.next(6) {
                0 => format!("({} : Text)", wrong("\"t0\"", "0")),
                1 => "\"\\u{1F600} \\\"q\\\"\"".to_owned(),
                n => other(&format!("\"t{n}\""), "()"),
            },
            Type::Bool => other(["true", "false"][self.next(2)], "0"),
            Type::Float => format!("{}.5", self.next(9)),
            Type::Unit => "()".to_owned(),
            Type::Colour => ["Red", "Green(2)", "Blue(\"b\", 1)"][self.next(3)].to_owned(),
            Type::Odd => format!("Odd({})", self.next(9)),
            Type::Point => format!("({{{} = {}}} : Point)", wrong("x", "z"), self.next(9)),
            Type::Param => {
                // The parameter itself is always in scope.
                let known = self.known(|v| v.ty == Type::Param);
                let at = self.next(known.len());
                known[at].name.clone()
            }
            Type::List(_) => other("[]", "None"),
            Type::Maybe(_) => other("None", "Empty"),
            Type::Boxed(_) => "Empty".to_owned(),
            Type::Tree(_) => "Leaf".to_owned(),
            Type::Result(a, b) => match self.next(2) {
                0 => format!("Ok({})", self.leaf(a)),
                _ => format!("Error({})", self.leaf(b)),
            },
            Type::Tuple(ts) => {
                let parts: Vec<String> = ts.iter().map(|t| self.leaf(t)).collect();
                format!("({})", parts.join(", "))
            }
            Type::Record(fields) => self.record(fields, 0),
            Type::Own => {
                let (name, fields) = self.own[self.own.len() - 1].clone();
                self.construct(&name, &fields, 0)
            }
            Type::Fn(_, _, to) => format!("(fn(_) -> {})", self.leaf(to)),
        }
    }

    fn record(&mut self, fields: &[(&'static str, Type)], d: usize) -> String {
        let parts: Vec<String> = fields.iter().map(|(f, t)| format!("{f} = {}", self.expr(t, d))).collect();
        format!("{{{}}}", parts.join(", "))
    }

    fn construct(&mut self, name: &str, fields: &[Type], d: usize) -> String {
        let parts: Vec<String> = fields.iter().map(|t| self.expr(t, d)).collect();
        match parts.len() {
            0 => name.to_owned(),
            _ => format!("{name}({}{})", parts.join(", "), wrong("", ", 1")),
        }
    }

    /// A lambda that is called here and now.
    fn lambda(&mut self, from: &Type, to: &Type, d: usize) -> String {
        self.scoped(|g| {
            let name = g.parameter(from);
            let body = if to.is_data() { g.inside_function(|g| g.expr(to, d)) } else { g.escaping(|g| g.expr(to, d)) };
            format!("(fn({name}) -> {body})")
        })
    }

    /// What only some types have.
    fn own(&mut self, ty: &Type, d: usize) -> String {
        match ty {
            Type::Int => self.int(d),
            Type::Float => match self.next(3) {
                0 => format!("({} {} {})", self.fixed(ty, d), ["+", "-"][self.next(2)], self.expr(ty, d)),
                1 => format!("({} / {}.5)", self.expr(ty, d), 1 + self.next(4)),
                _ => format!("(-{})", self.leaf(ty)),
            },
            Type::Text => self.text(d),
            Type::Bool => self.bool(d),
            Type::Colour => format!("Blue({}, {})", self.expr(&Type::Text, d), self.expr(&Type::Int, d)),
            Type::Odd => format!("Odd({})", self.expr(&Type::Int, d)),
            Type::Point => match self.next(2) {
                0 => format!("({{x = {}, y = {}}} : Point)", self.expr(&Type::Int, d), self.expr(&Type::Int, d)),
                _ => {
                    let old = self.expr(ty, d);
                    let new = self.expr(&Type::Int, d);
                    self.scoped(|g| {
                        let name = g.variable(ty);
                        format!(
                            "(do {{\n let {name} : Point = {old}\n ({{{name} with {} = {new}}} : Point)\n}})",
                            wrong("y", "z")
                        )
                    })
                }
            },
            Type::List(element) => match self.next(5) {
                0 => format!("[{}, {}]", self.expr(element, d), self.expr(element, d)),
                1 => format!("({} :: {})", self.expr(element, d), self.expr(ty, d)),
                2 if d <= 1 => format!("joined({}, {})", self.fixed(ty, d), self.expr(ty, d)),
                3 => {
                    let bodies: Vec<String> = (0..2).map(|_| self.inside_function(|g| g.expr(element, d))).collect();
                    format!("run_all([fn() -> {}, fn() -> {}])", bodies[0], bodies[1])
                }
                _ => {
                    let from = self.data(1);
                    let list = self.expr(&Type::List(Box::new(from.clone())), d);
                    format!("each({}, {list})", self.lambda(&from, element, d))
                }
            },
            Type::Maybe(element) => match self.next(4) {
                0 => format!("Some({})", self.expr(element, d)),
                1 => {
                    let list = self.expr(&Type::List(element.clone()), d);
                    let (name, at) = (format!("v{}", self.number()), self.next(3));
                    format!("(do {{\n let {name} : [{}] = {list}\n {name}[{at}]\n}})", element.written())
                }
                2 => {
                    let body = self.inside_function(|g| g.expr(element, d));
                    format!("lazily {{ {body} }}")
                }
                _ => self.mapped(&Type::Maybe, element, d),
            },
            Type::Boxed(element) => match self.next(2) {
                0 => format!("Box({})", self.expr(element, d)),
                _ => self.mapped(&Type::Boxed, element, d),
            },
            Type::Tree(element) => match self.next(2) {
                0 => format!("Node({}, {}, {})", self.expr(ty, d), self.expr(element, d), self.leaf(ty)),
                _ => self.mapped(&Type::Tree, element, d),
            },
            Type::Tuple(ts) => {
                let parts: Vec<String> = ts.iter().map(|t| self.expr(t, d)).collect();
                format!("({})", parts.join(", "))
            }
            Type::Result(a, b) => match self.next(2) {
                0 => format!("Ok({})", self.expr(a, d)),
                _ => format!("Error({})", self.expr(b, d)),
            },
            Type::Record(fields) => self.record(fields, d),
            Type::Own => {
                let at = self.next(self.own.len());
                let (name, fields) = self.own[at].clone();
                self.construct(&name, &fields, d)
            }
            Type::Fn(from, row, to) => self.function(from, *row, to, d),
            Type::Unit => format!("(do {{\n {}\n}})", self.unit(d)),
            Type::Param => self.leaf(ty),
        }
    }

    fn function(&mut self, from: &Type, row: Row, to: &Type, d: usize) -> String {
        let (text, _) = self.under(row, false, |g| {
            g.escaping(|g| {
                g.scoped(|g| {
                    let name = g.variable(from);
                    format!("fn({name}) -> {}", g.expr(to, d))
                })
            })
        });
        format!("(({text}) : {})", Type::Fn(Box::new(from.clone()), row, Box::new(to.clone())).written())
    }

    fn int(&mut self, d: usize) -> String {
        let int = Type::Int;
        match self.next(8) {
            0 => format!("({} {} {})", self.fixed(&int, d), other(["+", "-"][self.next(2)], "++"), self.expr(&int, d)),
            1 => format!("({} * {})", self.expr(&int, d), self.next(5)),
            2 => format!("({} {} {})", self.expr(&int, d), ["/", "%"][self.next(2)], 1 + self.next(6)),
            3 => {
                let weighty = self.weighty(2);
                format!("weight({})", self.fixed(&weighty, d))
            }
            4 => {
                let list = Type::List(Box::new(self.weighty(1)));
                format!("total({})", self.fixed(&list, d))
            }
            5 => {
                // What is made must stand in the text: it may be why the flow has an effect in its row.
                let fields = [("x", int.clone()), ("z", self.data(1))];
                match self.next(3) {
                    0 => format!("both({}, {})", self.record(&fields, d), self.expr(&Type::Point, d)),
                    1 => {
                        let record = self.record(&fields, d);
                        format!("moved({record}, {}).{}", self.expr(&int, d), wrong("x", "w"))
                    }
                    _ => format!("x_of({})", self.expr(&Type::Point, d)),
                }
            }
            6 if self.graded => match self.next(2) {
                0 => format!("grade({})", self.fixed(&Type::Maybe(Box::new(Type::Colour)), d)),
                _ => format!("graded([{}, {}])", self.fixed(&int, d), self.expr(&int, d)),
            },
            _ => format!("double({})", self.fixed(&int, d)),
        }
    }

    fn text(&mut self, d: usize) -> String {
        match self.next(4) {
            0 if d <= 1 => format!("joined({}, {})", self.fixed(&Type::Text, d), self.expr(&Type::Text, d)),
            1 => {
                let shown = self.ordered(2);
                format!("show({})", self.fixed(&shown, d))
            }
            2 if self.graded => format!("label({})", self.fixed(&Type::Maybe(Box::new(Type::Int)), d)),
            _ => {
                let shown = self.data(1);
                let value = self.expr(&shown, d);
                let more = self.leaf(&Type::Int);
                self.scoped(|g| {
                    let name = g.variable(&shown);
                    format!(
                        "(do {{\n let {name} : {} = {value}\n f\"<{{{name}}} \\{{{{{more} + 1}}>\"\n}})",
                        shown.written()
                    )
                })
            }
        }
    }

    fn bool(&mut self, d: usize) -> String {
        match self.next(5) {
            0 => {
                let ty = self.ordered(2);
                format!("same({}, {})", self.fixed(&ty, d), self.expr(&ty, d))
            }
            1 | 2 => {
                let ty = self.ordered(2);
                self.ordered |= !ty.all_but_param();
                let operator = ["<", ">=", "==", "!="][self.next(4)];
                format!("({} {operator} {})", self.fixed(&ty, d), self.expr(&ty, d))
            }
            3 => {
                let weighty = self.weighty(1);
                format!("heavier({}, {})", self.fixed(&weighty, d), self.expr(&weighty, d))
            }
            _ => format!(
                "(not({}) {} {})",
                self.expr(&Type::Bool, d),
                ["&&", "||"][self.next(2)],
                self.expr(&Type::Bool, d)
            ),
        }
    }

    fn mapped(&mut self, of: &dyn Fn(Box<Type>) -> Type, element: &Type, d: usize) -> String {
        let from = self.data(1);
        let source = of(Box::new(from.clone()));
        let value = self.expr(&source, d);
        let flow = ["map", "over"][self.next(2)];
        let function = self.purely(|g| g.lambda(&from, element, d));
        format!("{flow}({function}, ({value} : {}))", source.written())
    }

    /// Statements, and a value.
    pub(crate) fn block(&mut self, ty: &Type, d: usize) -> String {
        self.scoped(|g| {
            let mut out = String::from("(do {\n");
            for _ in 0..=g.next(2) {
                let statement = g.statement(d);
                out.push_str(&format!(" {statement}\n"));
            }
            format!("{out} {}\n}})", g.expr(ty, d))
        })
    }

    pub(crate) fn statement(&mut self, d: usize) -> String {
        match self.next(7) {
            0 | 1 => {
                let ty = self.any(1);
                let value = self.expr(&ty, d);
                let name = self.variable(&ty);
                let annotation =
                    if ty.is_data() && self.next(2) == 0 { String::new() } else { format!(" : {}", ty.written()) };
                format!("let {name}{annotation} = {value}")
            }
            2 => {
                let ty = Type::Tuple(vec![self.data(1), self.data(1)]);
                let value = self.expr(&ty, d);
                let Type::Tuple(parts) = &ty else { return "()".to_owned() };
                let names: Vec<String> = parts.iter().map(|t| self.variable(t)).collect();
                format!("let ({}) : {} = {value}", names.join(", "), ty.written())
            }
            3 => {
                let ty = self.data(1);
                let list = self.expr(&Type::List(Box::new(ty.clone())), d);
                let body = self.scoped(|g| {
                    let name = g.variable(&ty);
                    let body = g.unit(d);
                    format!("{name} in ({list} : [{}]) {{ {body} }}", ty.written())
                });
                format!("for {body}")
            }
            4 => match self.returns.clone() {
                Some(ty) => format!("if {} {{ return {} }}", self.expr(&Type::Bool, d), self.expr(&ty, d)),
                None => self.unit(d),
            },
            _ => self.unit(d),
        }
    }

    /// Something that is done for its effect.
    pub(crate) fn unit(&mut self, d: usize) -> String {
        let states = if self.assigns { self.known(|v| v.state) } else { Vec::new() };
        if !states.is_empty() && self.next(2) == 0 {
            let at = self.next(states.len());
            return self.assigned(&states[at].name, &states[at].ty, d);
        }
        let effects: Vec<usize> = [COUNTER, CELL, EMIT].into_iter().filter(|e| self.here.has(*e)).collect();
        if effects.is_empty() {
            return "()".to_owned();
        }
        let effect = effects[self.next(effects.len())];
        self.used = self.used.with(effect);
        match effect {
            COUNTER => "perform Counter.reset()".to_owned(),
            CELL => format!("perform Cell.put({})", self.expr(&Type::Text, d)),
            _ => format!("perform Emit.emit({}{})", self.expr(&Type::Text, d), wrong("", ", 1")),
        }
    }

    /// The value that an operation makes, or that is made around one.
    fn performed(&mut self, ty: &Type, d: usize) -> String {
        let mut ways: Vec<usize> = self.here.effects().collect();
        ways.retain(|effect| match *effect {
            COUNTER => *ty == Type::Int,
            CELL => *ty == Type::Text,
            FLIP => *ty == Type::Bool,
            AROUND | PROCESS => ty.is_data(),
            EMIT => false,
            _ => true,
        });
        if ways.is_empty() {
            return self.block(ty, d);
        }
        let effect = ways[self.next(ways.len())];
        self.used = self.used.with(effect);
        match effect {
            COUNTER => format!("(perform Counter.{}({}))", wrong("next", "nothing"), self.expr(&Type::Int, d)),
            CELL => "(perform Cell.get())".to_owned(),
            FLIP => format!("(perform Flip.flip({}))", self.expr(&Type::Int, d)),
            FAIL => format!("(perform Fail.fail({}))", wrong(&self.expr(&Type::Text, d), "true")),
            AROUND => format!("(perform Around.around(fn() -> {}))", self.inside_function(|g| g.expr(ty, d))),
            // What leaves a `with` has to stay in its process.
            _ => {
                let row = self.here.without(FAIL);
                let (body, _) = self.under(row, true, |g| g.inside_function(|g| g.expr(ty, d)));
                format!("elsewhere(fn() -> {body})")
            }
        }
    }

    /// A call of a flow or of a variable, or what is made of its value.
    fn called(&mut self, ty: &Type, d: usize) -> String {
        let row = self.here;
        let functions = self.known(|v| matches!(&v.ty, Type::Fn(_, r, _) if r.within(row)));
        let helpers: Vec<_> = self.helpers.iter().filter(|h| h.row.within(row)).cloned().collect();
        let at = self.next(functions.len() + helpers.len());
        let (call, result) = if let Some(Type::Fn(from, row, to)) = functions.get(at).map(|v| &v.ty) {
            self.used = self.used.union(*row);
            let name = functions[at].name.clone();
            (format!("{name}({})", self.expr(from, d)), (**to).clone())
        } else if let Some(helper) = at.checked_sub(functions.len()).and_then(|at| helpers.get(at)) {
            self.used = self.used.union(helper.row);
            let args: Vec<String> = helper.params.iter().map(|t| self.expr(t, d)).collect();
            let more = if args.is_empty() { "1" } else { ", 1" };
            let more = if helper.result.is_data() { wrong("", more) } else { String::new() };
            (format!("{}({}{more})", helper.name, args.join(", ")), helper.result.clone())
        } else {
            return self.own(ty, d);
        };
        if result == *ty {
            return call;
        }
        self.scoped(|g| {
            let name = g.variable(&result);
            format!("(do {{\n let {name} : {} = {call}\n {}\n}})", result.written(), g.expr(ty, d))
        })
    }

    fn matched(&mut self, ty: &Type, d: usize) -> String {
        let of = match self.next(3) {
            0 => Type::Tuple(vec![self.data(2), self.data(1)]),
            _ => self.data(2),
        };
        let scrutinee = self.expr(&of, d);
        let arms = self.patterns(&of);
        let mut out = format!("(match ({scrutinee} : {}) {{", of.written());
        let alone = arms.len() == 1;
        for arm in &arms {
            let text = self.scoped(|g| {
                let known = g.vars.len();
                let pattern = g.pattern(arm);
                let guarded = if g.once_in(5) {
                    let guard = g.purely(|g| g.expr(&Type::Bool, d.min(1)));
                    let impure = if g.here.has(FLIP) { wrong(&guard, "perform Flip.flip(1)") } else { guard };
                    format!("\n | {pattern} when {impure} -> {}", g.expr(ty, d))
                } else {
                    String::new()
                };
                // Names of variables in the two arms are the same, their scopes are not.
                let whole =
                    if pattern.starts_with("v") || g.vars.len() == known { pattern } else { g.alias(pattern, &of) };
                (guarded, format!("\n | {whole} -> {}", g.expr(ty, d)))
            });
            out.push_str(&text.0);
            out.push_str(&if alone || arm.is_partial() { other(&text.1, "") } else { wrong(&text.1, "") });
        }
        out + "\n })"
    }

    fn alias(&mut self, pattern: String, of: &Type) -> String {
        if !self.once_in(4) {
            return pattern;
        }
        let name = self.variable(of);
        format!("{pattern} as {name}")
    }
}
