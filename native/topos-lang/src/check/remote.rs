//! What can travel: the bodies of `Topos.Remote.spawn_on`, `spawn_with` and `Topos.Runner.on_node` run on another node, with that node's handlers.
//!
//! Its type has the row of the effects that every node handles, so another effect is a missing one; the messages here say why.
//! What belongs to a `with` of this node cannot be captured either: its state, its clauses, the way out of it.

use super::tree::{Expr, ExprKind};
use super::Checker;
use crate::codes;
use crate::diagnostic::{Diagnostic, Span};

/// The flows whose arguments travel, with their modules.
const TRAVELLING: [(&str, &str); 3] =
    [("Topos.Remote", "spawn_on"), ("Topos.Remote", "spawn_with"), ("Topos.Runner", "on_node")];

impl Checker<'_> {
    /// Whether the arguments of a call travel to another node.
    pub(super) fn travels(&self, head: &Expr) -> bool {
        match head.kind {
            ExprKind::Flow(id) => {
                let flow = &self.env.flows[id];
                TRAVELLING.iter().any(|&(module, name)| flow.module.as_deref() == Some(module) && &*flow.name == name)
            }
            _ => false,
        }
    }

    /// Runs `f`, which checks arguments that travel if `travels` says so.
    pub(super) fn travelling<T>(&mut self, travels: bool, f: impl FnOnce(&mut Self) -> T) -> T {
        if !travels {
            return f(self);
        }
        // Variables that are bound outside are captured.
        let outer = self.remote.replace(self.env.locals.len());
        let result = f(self);
        self.remote = outer;
        result
    }

    /// The message for an effect that the other node does not handle.
    pub(super) fn not_portable(&self, effect: &str, span: Span, what: &str) -> Option<Diagnostic> {
        self.remote?;
        let diagnostic =
            Diagnostic::new(codes::NOT_PORTABLE, format!("the effect `{effect}` cannot travel to another node"), span)
                .primary(format!("{what} brings `{effect}`, whose handler is on this node"));
        Some(diagnostic.help(format!(
            "handle `{effect}` inside of what is spawned, or let it send messages to a process of this node"
        )))
    }

    /// Reports a use of something that belongs to a handler of this node.
    pub(super) fn stays_here(&mut self, name: &str, bound: usize, span: Span) {
        if self.remote.is_some_and(|outer| bound < outer) {
            self.report(
                Diagnostic::new(codes::NOT_PORTABLE, format!("{name} cannot travel to another node"), span)
                    .primary("belongs to a handler of this node")
                    .help("take what is needed of it into a variable before, and capture that"),
            );
        }
    }
}
