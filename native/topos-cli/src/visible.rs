//! Which interfaces a module is checked against. It is one answer for every command: what `topos check` accepts,
//! `topos build` and `topos run` accept too, whichever other modules are read along with it.

use std::collections::{BTreeMap, BTreeSet};

/// What is known of the modules that have been checked, in the order of their imports.
#[derive(Debug, Default)]
pub(crate) struct Visible {
    /// For each module those whose types stand in its interface.
    mentions: BTreeMap<String, BTreeSet<String>>,
    /// For each module those of the standard library that it reaches by imports.
    library: BTreeMap<String, BTreeSet<String>>,
}

impl Visible {
    /// Comes to a module, behind those that it imports. Answers the modules whose interfaces decide about it: its
    /// imports, those whose types stand in the interfaces of these, and what it reaches of the standard library:
    /// `xs.map(f)` on a list finds `Topos.List`.
    pub(crate) fn of(&mut self, name: &str, imports: &BTreeSet<String>) -> BTreeSet<String> {
        let known = imports.iter().flat_map(|import| self.library.get(import).into_iter().flatten());
        let own = imports.iter().filter(|import| import.starts_with("Topos."));
        let library: BTreeSet<String> = known.chain(own).cloned().collect();
        let mut waiting: Vec<&str> = imports.iter().chain(&library).map(String::as_str).collect();
        let mut seen = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            if seen.insert(name.to_owned()) {
                waiting.extend(self.mentions.get(name).into_iter().flatten().map(String::as_str));
            }
        }
        self.library.insert(name.to_owned(), library);
        seen
    }

    /// The module has been checked: the modules whose types its interface mentions.
    pub(crate) fn shows(&mut self, name: &str, mentions: BTreeSet<String>) {
        self.mentions.insert(name.to_owned(), mentions);
    }
}
