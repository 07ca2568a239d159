//! Handlers, each declared for the `with` that uses it, and assignments to their state.

use std::fmt::Write;

use crate::generator::{Generator, Variable};
use crate::marks::{other, wrong};
use crate::types::{Row, Type, AROUND, CELL, COUNTER, EFFECTS, EMIT, FAIL, FLIP, PROCESS};

impl Generator<'_> {
    /// A value that is made under a handler.
    pub(crate) fn handled(&mut self, ty: &Type, d: usize) -> String {
        let outer = self.here;
        let effect = self.next(6);
        let body_ty = if self.next(2) == 0 { ty.clone() } else { self.data(1) };
        let row = Row::of(self.next(128)).and(outer);
        // What leaves a `with` must do so in its own process.
        let row = if outer.has(PROCESS) { row.without(FAIL) } else { row };
        // `body` does what it does beside the row: an effect with arguments in that would have to be all of them.
        let row = if effect == AROUND { row.without(CELL) } else { row };
        let head = self.handler(effect, row, ty, &body_ty, d);
        self.used = self.used.union(row);
        let aborts = self.aborts.take();
        let (body, inside) = self.under(outer.with(effect), false, |g| g.expr(&body_ty, d));
        self.aborts = aborts;
        // What the handler answers is none of the flow's row, even if that has the same effect for something else.
        self.used = self.used.union(inside.without(effect));
        // Without its handler an operation is one too much for the row, if the flow says its row.
        let lost = if inside.has(effect) && !outer.has(effect) && self.signed { wrong } else { other };
        format!("({} {{ {body} }})", lost(&format!("with {head}"), "do"))
    }

    /// Declares a handler of the effect; what stands in the `with`.
    fn handler(&mut self, effect: usize, row: Row, ty: &Type, body_ty: &Type, d: usize) -> String {
        let name = format!("handle{}", self.number());
        let param = self.data(1);
        let arg = self.expr(&param, d);
        let aborts = (effect == FAIL || !self.here.has(PROCESS)).then(|| ty.clone());
        let outside = (std::mem::take(&mut self.vars), self.returns.take(), self.aborts.take(), self.signed);
        self.signed = true;
        let start = self.variable(&param);
        let mut states = String::new();
        for _ in 0..self.next(3) {
            let state = format!("s{}", self.number());
            let of = self.data(1);
            let value = self.purely(|g| g.expr(&of, d.min(1)));
            writeln!(states, "  state {state} : {} = {value}", of.written()).unwrap();
            self.vars.push(Variable { name: state, ty: of, state: true });
        }
        let (mut clauses, mut used) = self.under(row, false, |g| {
            g.aborts = aborts;
            let clauses = g.clauses(effect, d);
            g.aborts = None;
            clauses
        });
        if body_ty != ty || self.next(2) == 0 {
            let (clause, more) = self.under(row, false, |g| {
                g.scoped(|g| {
                    let x = g.variable(body_ty);
                    format!("  return {x} => {}\n", g.expr(ty, d))
                })
            });
            used = used.union(more);
            clauses.push_str(&other(&clause, ""));
        }
        for at_end in ["init", "finally"] {
            if self.next(3) == 0 {
                let (clause, more) = self.under(row.without(FAIL), false, |g| g.block(&Type::Unit, d.min(1)));
                used = used.union(more);
                writeln!(clauses, "  {at_end}() => {{ {clause} }}").unwrap();
            }
        }
        clauses.push_str(&wrong("", "  no_such_operation() => ()\n"));
        let written = used.effects().fold(row.written(), |text, effect| wrong(&text, &row.without(effect).written()));
        let declaration = format!(
            "handler {name}({start} : {}) : Handler({}){written} = {{\n{states}{clauses}}}\n",
            param.written(),
            EFFECTS[effect],
        );
        self.handlers.push_str(&declaration);
        (self.vars, self.returns, self.aborts, self.signed) = outside;
        format!("{name}({arg}{})", wrong("", ", ()"))
    }

    fn clauses(&mut self, effect: usize, d: usize) -> String {
        match effect {
            COUNTER => {
                let next = self.clause("next", &[Type::Int], &Type::Int, d);
                let mut reset = self.clause("reset", &[], &Type::Unit, d);
                if self.next(2) == 0 {
                    reset = reset.replacen("{\n", "{\n    perform next(1)\n", 1);
                }
                next + &reset
            }
            CELL => self.clause("get", &[], &Type::Text, d) + &self.clause("put", &[Type::Text], &Type::Unit, d),
            EMIT => self.clause("emit", &[Type::Text], &Type::Unit, d),
            FLIP => self.clause("flip", &[Type::Int], &Type::Bool, d),
            AROUND => {
                let (before, after) = (self.unit(d), self.unit(d));
                wrong(
                    &format!(
                        "  around(body) => {{\n    {before}\n    let made = body()\n    {after}\n    made\n  }}\n"
                    ),
                    "",
                )
            }
            _ => {
                let text = self.scoped(|g| {
                    let text = g.variable(&Type::Text);
                    let ty = g.aborts.take().unwrap_or(Type::Unit);
                    let before = g.unit(d);
                    format!(
                        "  fail({text}) => {{\n    {before}\n    {} ({})\n  }}\n",
                        wrong("abort", "resume"),
                        g.expr(&ty, d)
                    )
                });
                wrong(&text, "")
            }
        }
    }

    fn clause(&mut self, name: &str, params: &[Type], result: &Type, d: usize) -> String {
        let text = self.scoped(|g| {
            let names: Vec<String> = params.iter().map(|t| g.variable(t)).collect();
            let mut out = format!("  {name}({}) => {{\n    {}\n", names.join(", "), g.unit(d));
            if let (Some(ty), true) = (g.aborts.clone(), g.once_in(4)) {
                let (cond, value) = g.inside_function(|g| (g.expr(&Type::Bool, d.min(1)), g.expr(&ty, d)));
                writeln!(out, "    if {cond} {{ abort ({value}) }}").unwrap();
            }
            let value = g.inside_function(|g| g.expr(result, d));
            format!("{out}    {value}\n  }}\n")
        });
        wrong(&text, "")
    }

    /// An assignment to a state variable, alone or in a block of one step.
    pub(crate) fn assigned(&mut self, name: &str, ty: &Type, d: usize) -> String {
        let (name, field) = match ty {
            Type::Point if self.next(2) == 0 => (format!("{name}.x"), Type::Int),
            _ => (name.to_owned(), ty.clone()),
        };
        let value = self.purely(|g| g.expr(&field, d.min(2)));
        let value = match field {
            Type::Unit => value,
            _ => wrong(&value, "()"),
        };
        match self.next(4) {
            0 => format!("atomic {{ {name} := {value} }}"),
            _ => format!("{name} := {value}"),
        }
    }
}
