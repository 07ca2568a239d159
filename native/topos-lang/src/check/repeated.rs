//! One wrong name is one error, however often it is used: the first use is its place, later ones are labels.
//!
//! Two uses are the same mistake if they get the same message and the same help line, which says what the name was taken for. A
//! name of the module's or of another module is wrong in the whole file; a variable, or a type variable, that is not there is missed
//! by each declaration for itself.

use foldhash::{HashMap, HashMapExt};

use super::Checker;
use crate::codes;
use crate::diagnostic::{Code, Diagnostic, Label, Span};
use crate::syntax::ast;

/// So many later uses are shown; of more, how many there are.
const SHOWN: usize = 3;

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
        let mut first: HashMap<(Code, String, Option<String>, Option<String>), usize> = HashMap::new();
        let mut joined: Vec<Diagnostic> = Vec::new();
        let mut hidden: HashMap<usize, usize> = HashMap::new();
        for diagnostic in std::mem::take(&mut self.diagnostics) {
            let alone = diagnostic.primary.message.is_empty() && diagnostic.secondary.is_empty();
            if !alone || !OF_NAMES.contains(&diagnostic.code) {
                joined.push(diagnostic);
                continue;
            }
            let span = diagnostic.primary.span;
            let within = self.is_of_a_declaration(&diagnostic).then(|| declaration(module, span)).flatten();
            let key = (diagnostic.code, diagnostic.message.clone(), diagnostic.help.clone(), within);
            let index = *first.entry(key).or_insert(joined.len());
            match joined.get_mut(index) {
                None => joined.push(diagnostic),
                Some(known) if known.secondary.len() < SHOWN => {
                    known.secondary.push(Label { span, message: "also used here".to_owned() });
                }
                Some(_) => *hidden.entry(index).or_default() += 1,
            }
        }
        for (index, more) in hidden {
            if let Some(last) = joined[index].secondary.last_mut() {
                last.message = format!("also used here, and {more} more {}", if more == 1 { "time" } else { "times" });
            }
        }
        self.diagnostics = joined;
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
