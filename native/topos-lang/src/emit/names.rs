//! Erlang variables for Topos locals.
//!
//! Every binding gets a variable that nothing else in the same Erlang function uses: Erlang variables have the scope of the
//! whole function, may be bound once, and mean a comparison when they occur in a pattern a second time. Where an arm
//! is emitted twice, its locals are bound twice and get two variables.

use foldhash::HashMap;

use super::forms::Variable;
use crate::core::Local;

#[derive(Default)]
pub(super) struct Names {
    /// All variables, and how many more were asked for under the name of each, so that a fresh one is found at once.
    taken: HashMap<Variable, u32>,
    /// By the numbers of the locals.
    locals: HashMap<u32, Variable>,
}

impl Names {
    /// A variable for a local, from here on.
    pub(super) fn bind(&mut self, local: &Local) -> Variable {
        let variable = self.fresh(&base(&local.name));
        self.locals.insert(local.id, Variable::clone(&variable));
        variable
    }

    /// The variable of a local. One that was never bound keeps its own name, and the Erlang compiler reports it.
    pub(super) fn of(&self, local: &Local) -> Variable {
        self.locals.get(&local.id).map_or_else(|| base(&local.name).into(), Variable::clone)
    }

    /// A variable that nothing else uses; `base` is a variable name without `@`.
    pub(super) fn fresh(&mut self, base: &str) -> Variable {
        let Some(mut count) = self.taken.get(base).copied() else { return self.take(base) };
        loop {
            count += 1;
            let variable = format!("{base}@{count}");
            if !self.taken.contains_key(variable.as_str()) {
                if let Some(known) = self.taken.get_mut(base) {
                    *known = count;
                }
                return self.take(&variable);
            }
        }
    }

    fn take(&mut self, name: &str) -> Variable {
        let variable = Variable::from(name);
        self.taken.insert(Variable::clone(&variable), 0);
        variable
    }
}

/// `node_name` is `Node_name`, `_x` is `X`, `x'` is `X@p`.
fn base(name: &str) -> String {
    let name = name.trim_start_matches('_');
    let mut out = String::with_capacity(name.len() + 1);
    for (i, c) in name.chars().enumerate() {
        match c {
            'a'..='z' if i == 0 => out.push(c.to_ascii_uppercase()),
            'A'..='Z' | 'a'..='z' => out.push(c),
            '0'..='9' | '_' if i > 0 => out.push(c),
            '0'..='9' => out.extend(['V', c]),
            '\'' => out.push_str("@p"),
            _ => out.push_str("@u"),
        }
    }
    if !out.starts_with(|c: char| c.is_ascii_uppercase()) {
        out.insert(0, 'V');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{base, Names};
    use crate::core::Local;

    #[test]
    fn locals_become_distinct_variables() {
        let mut names = Names::default();
        let x = |id| Local { name: "x".into(), id };
        assert_eq!(&*names.fresh("Ev"), "Ev");
        assert_eq!((names.bind(&x(1)), names.bind(&x(2)), names.bind(&x(1))), ("X".into(), "X@1".into(), "X@2".into()));
        assert_eq!((names.of(&x(2)), names.of(&x(1))), ("X@1".into(), "X@2".into()));
        assert_eq!(&*names.bind(&Local { name: "ev".into(), id: 3 }), "Ev@1");
    }

    #[test]
    fn every_identifier_is_a_variable() {
        for (name, variable) in [("node_name", "Node_name"), ("_", "V"), ("_x", "X"), ("_1", "V1"), ("x''", "X@p@p")] {
            assert_eq!(base(name), variable);
        }
    }
}
