//! `assert(e)` of `Topos.Test`: a failure shows the text of `e`, and the two sides of a comparison.

use super::{
    forms::{At, Expr},
    lower::Lowering,
};
use crate::core::{Expr as Core, ExprKind, FlowRef, Primitive};

impl Lowering<'_> {
    /// The call of `topos_test` that stands for a call of `assert`; `None` for other flows.
    pub(super) fn assertion(&mut self, at: At, flow: &FlowRef, args: &[Core]) -> Option<Expr> {
        let [condition] = args else { return None };
        if flow.name != "assert" || flow.module.as_deref() != Some("Topos.Test") {
            return None;
        }
        let text = at.text(self.lines.text(condition.span));
        if let ExprKind::Primitive { op, args } = &condition.kind {
            if let (Some(symbol), [_, _]) = (comparison(*op), args.as_slice()) {
                let mut given = vec![at.text(symbol)];
                given.extend(self.exprs(args));
                given.push(text);
                return Some(at.remote("topos_test", "compare", given));
            }
        }
        Some(at.remote("topos_test", "assert", vec![self.expr(condition), text]))
    }
}

fn comparison(op: Primitive) -> Option<&'static str> {
    Some(match op {
        Primitive::Equal => "==",
        Primitive::NotEqual => "!=",
        Primitive::Less => "<",
        Primitive::LessEqual => "<=",
        Primitive::Greater => ">",
        Primitive::GreaterEqual => ">=",
        _ => return None,
    })
}
