//! The `main` of a program.

use super::Checker;
use crate::codes;
use crate::diagnostic::{Diagnostic, Span};
use crate::types::Ty;

impl Checker<'_> {
    /// Checks the program's `main` against the effects that have handlers at the start.
    pub(super) fn main(&mut self, roots: &[&str], module_span: Span) {
        let Some(id) = self.env.own.values.get("main").copied() else {
            self.report(
                Diagnostic::new(
                    codes::BAD_MAIN,
                    "this program has no `main`",
                    Span::new(module_span.start, module_span.start),
                )
                .help("add `flow main : () -> () / {..} = ..`"),
            );
            return;
        };
        let info = self.env.flows[id].clone();
        let span = info.span.unwrap_or(module_span);
        let (param, result, tail) = (self.fresh(), self.fresh(), self.fresh_row());
        let shape = self.store.arrow(param, tail, result);
        let ty = self.store.instantiate(info.ty, self.level);
        if self.store.is_error(ty) {
            return;
        }
        let fits = !info.config && info.arity <= 1 && self.store.unify(ty, shape).is_ok() && {
            let (unit, text) = (self.store.unit(), self.store.con(crate::types::builtin::TEXT, Vec::new()));
            let texts = self.store.list(text);
            self.fits(param, if info.arity == 0 { unit } else { texts }) && self.fits(result, unit)
        };
        if !fits {
            let shown = self.store.show(info.ty);
            self.report(
                Diagnostic::new(codes::BAD_MAIN, "`main` has a type that cannot be started", span)
                    .primary(format!("has the type `{shown}`"))
                    .help("write `flow main : () -> () / {..}`, or `[Text] -> () / {..}` for arguments"),
            );
            return;
        }
        for (effect, _) in self.store.row(tail).entries {
            if !roots.contains(&&*effect) {
                let short = crate::types::short(&effect).to_owned();
                let brought = self.brought.iter().find(|b| b.effects.contains(&effect)).cloned();
                let diagnostic = Diagnostic::new(
                    codes::ROOT_EFFECT,
                    format!("nothing handles the effect `{short}` of `main`"),
                    span,
                )
                .help("handle it in the program with `with`, or do without it");
                self.report(match brought {
                    Some(b) => diagnostic.label(b.span, format!("{} brings it", b.what)),
                    None => diagnostic,
                });
            }
        }
    }

    fn fits(&mut self, a: Ty, b: Ty) -> bool {
        self.store.unify(a, b).is_ok()
    }
}
