//! What a parse leaves for the passes behind it.

use super::parser::damage;
use super::{ast, Parse};
use crate::diagnostic::Diagnostic;

/// A module that can be checked.
#[derive(Clone, Debug)]
pub enum Readable {
    /// All of it.
    Whole(ast::Module),
    /// It has syntax errors: what they left of it. Nothing can be compiled from that.
    Rest(Rest),
}

/// A module without its flows, tests and properties that have syntax errors, where there are no others.
#[derive(Clone, Debug)]
pub struct Rest {
    /// What is left.
    pub module: ast::Module,
    /// The syntax errors, in source order; at least one.
    pub diagnostics: Vec<Diagnostic>,
    /// Names of flows that were left out. Of a flow with several clauses all are, if one has an error.
    pub lost: Vec<ast::Ident>,
    /// Whether a name that is known nowhere may be that of a flow that was left out.
    pub names_are_lost: bool,
}

impl Readable {
    /// What there is of the module.
    pub fn module(&self) -> &ast::Module {
        match self {
            Self::Whole(module) | Self::Rest(Rest { module, .. }) => module,
        }
    }

    /// The syntax errors, in source order.
    pub fn diagnostics(&self) -> &[Diagnostic] {
        match self {
            Self::Whole(_) => &[],
            Self::Rest(rest) => &rest.diagnostics,
        }
    }
}

impl Parse {
    /// What can be checked of the module.
    ///
    /// # Errors
    /// The syntax errors, if one of them lies outside of flows, tests and properties, or may hide a declaration.
    pub fn readable(self) -> Result<Readable, Vec<Diagnostic>> {
        let Self { mut module, diagnostics, damage, .. } = self;
        if diagnostics.is_empty() {
            return Ok(Readable::Whole(module));
        }
        let Some(damage) = damage else { return Err(diagnostics) };
        let (mut left, mut lost) = (Vec::with_capacity(module.decls.len()), Vec::new());
        for (decl, is_lost) in module.decls.into_iter().zip(damage.lost) {
            if is_lost {
                lost.extend(damage::name(&decl).cloned());
            } else {
                left.push(decl);
            }
        }
        module.decls = left;
        Ok(Readable::Rest(Rest { module, diagnostics, lost, names_are_lost: damage.heads }))
    }
}
