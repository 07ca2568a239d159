//! Effects and the rows that allow them: what a call may do where it stands, and the messages about effects that a signature lacks.

use super::env::Lookup;
use super::report::{describe, is_member};
use super::{AmbientOf, Checker};
use crate::codes;
use crate::diagnostic::{Diagnostic, Span};
use crate::syntax::ast;
use crate::types::{short, Node, Ty, UnifyError};

/// Other places of one mistake that a message shows.
const MAX_PLACES: usize = 4;

impl Checker<'_> {
    /// Adds the effects of something that is called to the ambient row.
    pub(super) fn require(&mut self, row: Ty, span: Span, what: &str) {
        let row = self.open_row(row, span, what);
        let effects = self.store.row(row).entries.into_iter().map(|(label, _)| label).collect::<Vec<_>>();
        if !effects.is_empty() {
            self.brought.push(super::Brought { effects, span, what: what.to_owned() });
        }
        if let Err(error) = self.store.unify(row, self.ambient) {
            self.effect_mismatch(&error, row, span, what);
        }
    }

    /// A row that a larger one may take the place of.
    pub(super) fn open_row(&mut self, row: Ty, span: Span, what: &str) -> Ty {
        let parts = self.store.row(row);
        match self.store.node(parts.tail) {
            Node::Empty => {
                let tail = self.fresh_row();
                self.store.make_row(parts.entries, tail)
            }
            Node::Skolem { .. } => {
                let tail = self.fresh_row();
                self.rows.push(super::DeferredRow { rigid: parts.tail, row: tail, span, what: what.to_owned() });
                self.store.make_row(parts.entries, tail)
            }
            _ => row,
        }
    }

    pub(super) fn effect_mismatch(&mut self, error: &UnifyError, row: Ty, span: Span, what: &str) {
        let ambient = self.store.show(self.ambient);
        let diagnostic = match error {
            UnifyError::MissingLabel { label, .. } => self.missing_effect(label, span, what),
            UnifyError::TooDeep => Diagnostic::new(codes::TYPE_TOO_LARGE, "this row is too large", span),
            _ => Diagnostic::new(
                codes::MISSING_EFFECT,
                format!("the effects of {what} do not fit the row of {}", self.ambient_name()),
                span,
            )
            .primary(format!("does `{}`, where `{ambient}` is allowed", self.store.show(row)))
            .help("an effect has the same arguments everywhere: say them in both rows, as in `/ {Cell Int}`"),
        };
        self.report_effect(diagnostic);
    }

    /// Reports an effect that a signature does not allow: once, with the other places that bring it.
    pub(super) fn report_effect(&mut self, diagnostic: Diagnostic) {
        let place = |d: &Diagnostic| d.secondary.first().map(|label| label.span);
        let same = |d: &&mut Diagnostic| {
            d.code == diagnostic.code && d.message == diagnostic.message && place(d) == place(&diagnostic)
        };
        if place(&diagnostic).is_none() {
            return self.report(diagnostic);
        }
        match self.diagnostics.iter_mut().find(same) {
            Some(known) if known.secondary.len() < MAX_PLACES => known.secondary.push(diagnostic.primary),
            Some(_) => {}
            None => self.report(diagnostic),
        }
    }

    /// How the module can write an effect, given by its full name.
    fn written(&self, effect: &str) -> String {
        let own = short(effect);
        let names_it = |qualifier: &[ast::Ident]| {
            let found = self.env.lookup(|names| &names.effects, qualifier, own);
            matches!(found, Lookup::Found(name) if *name == *effect)
        };
        if names_it(&[]) {
            return own.to_owned();
        }
        let mut qualified: Vec<String> = (self.env.qualifiers())
            .filter(|q| names_it(&[ast::Ident { name: (*q).to_owned(), span: Span::default() }]))
            .map(|q| format!("{q}.{own}"))
            .collect();
        qualified.sort_unstable_by_key(|name| (name.len(), name.clone()));
        qualified.into_iter().next().unwrap_or_else(|| own.to_owned())
    }

    /// The message for an effect, given by its full name, that is not allowed here.
    pub(super) fn missing_effect(&self, label: &str, span: Span, what: &str) -> Diagnostic {
        let effect = short(label);
        let ambient = self.store.show(self.ambient);
        // A function written in place that may do what its flow may: it is the flow's row that is too small.
        let of = match (&self.ambient_of, &self.flow_row) {
            (AmbientOf::Lambda(_), Some((row, flow))) if self.store.root(*row) == self.store.root(self.ambient) => flow,
            (of, _) => of,
        };
        match of {
            AmbientOf::Guard => Diagnostic::new(codes::GUARD_PERFORMS, "a guard must be pure", span)
                .primary(format!("{what} has the effect `{effect}`"))
                .help("compute the value before the `match`, or use `if` in the arm"),
            AmbientOf::Config(what_) => Diagnostic::new(codes::CONFIG_PERFORMS, format!("{what_} must be pure"), span)
                .primary(format!("{what} has the effect `{effect}`"))
                .help("make it a flow"),
            AmbientOf::Flow(name, at) => {
                // Not the ambient row: inside a `with` that has the handled effect too.
                let row = self.flow_row.as_ref().map_or(self.ambient, |(row, _)| *row);
                let allowed = self.store.show(row);
                let diagnostic = Diagnostic::new(
                    codes::MISSING_EFFECT,
                    format!("{} may not have the effect `{effect}`", describe(name)),
                    span,
                )
                .primary(format!("{what} brings `{effect}`"));
                let diagnostic = match at {
                    Some(at) => diagnostic.label(*at, format!("this signature allows `{allowed}`")),
                    None => diagnostic,
                };
                let parts = self.store.row(row);
                let mut names: Vec<String> = parts.entries.iter().map(|(l, _)| self.written(l)).collect();
                names.push(self.written(label));
                let tail = match self.store.node(parts.tail) {
                    Node::Skolem { name, .. } => format!(" | {name}"),
                    _ => String::new(),
                };
                diagnostic.help(if at.is_none() && is_member(name) {
                    format!("the trait says what `{name}` may do, and allows `{allowed}`: answer a value instead")
                } else {
                    format!("add it to the row: `/ {{{}{tail}}}`", names.join(", "))
                })
            }
            AmbientOf::Lambda(at) => self.not_portable(effect, span, what).unwrap_or_else(|| {
                Diagnostic::new(
                    codes::MISSING_EFFECT,
                    format!("the effect `{effect}` is not allowed in this function"),
                    span,
                )
                .primary(format!("{what} brings `{effect}`"))
                .label(*at, format!("this may do `{ambient}` only"))
                .help("who takes the function says what it may do: let its parameter's type end in `/ e`, and its own row in `e`")
            }),
        }
    }

    fn ambient_name(&self) -> String {
        match &self.ambient_of {
            AmbientOf::Flow(name, _) => describe(name),
            AmbientOf::Lambda(_) => "this function".to_owned(),
            AmbientOf::Guard => "a guard".to_owned(),
            AmbientOf::Config(what) => (*what).to_owned(),
        }
    }
}
