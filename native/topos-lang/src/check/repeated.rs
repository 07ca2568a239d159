//! One wrong name is one error, however often it is used: the first use is its place, later ones are labels.
//!
//! Two uses are the same mistake if they get the same message and the same help line, which says what the name was taken for. A
//! name of the module's or of another module is wrong in the whole file; a variable, or a type variable, that is not there is missed
//! by each declaration for itself.

use super::Checker;
use crate::codes;
use crate::diagnostic::{join, Code, Diagnostic, Span};
use crate::syntax::ast;

/// Mistakes that are the same at each use of a name.
const OF_NAMES: [Code; 12] = [
    codes::UNKNOWN_NAME,
    codes::UNKNOWN_TYPE,
    codes::UNKNOWN_CONSTRUCTOR,
    codes::UNKNOWN_EFFECT,
    codes::UNKNOWN_OPERATION,
    codes::UNKNOWN_MODULE,
    codes::NOT_EXPORTED,
    codes::AMBIGUOUS_NAME,
    codes::UNKNOWN_TYPE_VARIABLE,
    codes::NO_FIELD,
    codes::AMBIGUOUS_OPERATION,
    codes::UNKNOWN_TRAIT,
];

impl Checker<'_> {
    /// Joins the uses of one wrong name. The diagnostics are in source order.
    pub(super) fn join_uses(&mut self, module: &ast::Module) {
        let diagnostics = std::mem::take(&mut self.diagnostics);
        self.diagnostics = join(diagnostics, "also used here", |diagnostic| {
            let within = || declaration(module, diagnostic.primary.span);
            let named = OF_NAMES.contains(&diagnostic.code);
            named.then(|| self.is_of_a_declaration(diagnostic).then(within).flatten())
        });
    }

    /// Whether each declaration misses the name for itself.
    fn is_of_a_declaration(&self, diagnostic: &Diagnostic) -> bool {
        let variable = self.missed_variables.get(&diagnostic.primary.span);
        diagnostic.code == codes::UNKNOWN_TYPE_VARIABLE
            || variable.is_some_and(|name| !self.missed_flows.contains(name))
    }
}

/// The declaration that a place is in: by its name if it is a flow, as clauses are declarations of their own.
fn declaration(module: &ast::Module, at: Span) -> Option<String> {
    let holds = |decl: &&ast::Decl| decl.span.start <= at.start && at.end <= decl.span.end;
    let decl = module.decls.iter().find(holds)?;
    Some(match &decl.kind {
        ast::DeclKind::Flow(flow) => flow.name.name.clone(),
        _ => format!("{:?}", decl.span),
    })
}
