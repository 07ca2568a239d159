//! Arguments in the order of another language: `List.map(xs, fn(x) -> ..)`, where Topos takes collections last.

use super::call::{is_function_literal, Arg};
use super::{Checker, Want, Why};
use crate::codes;
use crate::diagnostic::Diagnostic;
use crate::types::{Node, Ty};

impl Checker<'_> {
    /// Reports a function that stands where a value belongs, while another argument stands where a function belongs: one mistake,
    /// after which the arguments are not looked at. False if they are not that.
    pub(super) fn swapped(&mut self, args: &[Arg<'_>], params: &[Ty], name: &str) -> bool {
        let literal = |arg: &Arg<'_>| matches!(arg, Arg::Ast(ast) if is_function_literal(ast));
        let Some(function) = (0..args.len()).find(|&i| literal(&args[i]) && self.takes_data(params[i])) else {
            return false;
        };
        let takes_function =
            |i: &usize| matches!(self.store.node(params[*i]), Node::Arrow { .. }) && !literal(&args[*i]);
        let Some((place, Arg::Ast(value))) = (0..args.len()).find(takes_function).map(|i| (i, &args[i])) else {
            return false;
        };
        let Arg::Ast(literal) = args[function] else { return false };
        let unknown = self.fresh();
        let typed = self.expr(value, &Want::new(unknown, Why::Plain));
        let diagnostic = if matches!(self.store.node(typed.ty), Node::Arrow { .. }) {
            let expected = self.store.show(params[function]);
            let message = format!("expected `{expected}`, found a function");
            let help = format!("argument {} of `{name}` has the type `{expected}`", function + 1);
            Diagnostic::new(codes::MISMATCH, message, literal.span).help(help)
        } else {
            let message = format!("the arguments of `{name}` stand in another order");
            Diagnostic::new(codes::MISMATCH, message, literal.span)
                .primary(format!("this function is argument {}", place + 1))
                .label(value.span, "and this stands in its place")
                .help(format!("a function comes before what it is applied to: `{name}(f, x)`, or `x |> {name}(f)`"))
        };
        self.report(diagnostic);
        true
    }

    /// Whether a parameter can be no function.
    fn takes_data(&self, param: Ty) -> bool {
        matches!(self.store.node(param), Node::Con(..))
    }
}
