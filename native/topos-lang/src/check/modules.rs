//! The order in which the modules of a program are checked.

use std::collections::{BTreeMap, BTreeSet};

/// Orders modules so that each comes after those it imports. A module that is not a key of `imports` is left out: its
/// absence is reported where it is imported.
///
/// # Errors
/// A cycle, as the names along it: the first one imports the second, the last one the first.
pub fn order(imports: &BTreeMap<String, BTreeSet<String>>) -> Result<Vec<String>, Vec<String>> {
    let mut ordered = Vec::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    for root in imports.keys() {
        // Depth first without recursion: the chain of imports may be as long as the program has modules.
        let mut path: Vec<(&str, Vec<&str>)> = Vec::new();
        let mut on_path: BTreeSet<&str> = BTreeSet::new();
        let mut next = Some(root.as_str());
        loop {
            if let Some(module) = next.take() {
                if on_path.contains(module) {
                    let from = path.iter().skip_while(|(name, _)| *name != module);
                    return Err(from.map(|(name, _)| (*name).to_owned()).collect());
                }
                if !done.contains(module) {
                    if let Some(of) = imports.get(module) {
                        on_path.insert(module);
                        path.push((module, of.iter().rev().map(String::as_str).collect()));
                    }
                }
            }
            match path.last_mut() {
                None => break,
                Some((_, rest)) => match rest.pop() {
                    Some(module) => next = Some(module),
                    None => {
                        if let Some((module, _)) = path.pop() {
                            on_path.remove(module);
                            done.insert(module);
                            ordered.push(module.to_owned());
                        }
                    }
                },
            }
        }
    }
    Ok(ordered)
}

/// A cycle as a message shows it: `A → B → A`.
pub fn show_cycle(cycle: &[String]) -> String {
    cycle.iter().chain(cycle.first()).cloned().collect::<Vec<_>>().join(" → ")
}

#[cfg(test)]
mod tests {
    use super::{order, show_cycle};
    use std::collections::{BTreeMap, BTreeSet};

    fn graph(edges: &[(&str, &[&str])]) -> BTreeMap<String, BTreeSet<String>> {
        edges.iter().map(|(m, of)| ((*m).to_owned(), of.iter().map(|x| (*x).to_owned()).collect())).collect()
    }

    #[test]
    fn modules_come_after_what_they_import() {
        let g = graph(&[("A", &["B", "C"]), ("B", &["D"]), ("C", &["D"]), ("D", &[])]);
        assert_eq!(order(&g).unwrap(), ["D", "B", "C", "A"]);
    }

    #[test]
    fn a_cycle_is_shown_from_where_it_closes() {
        let g = graph(&[("A", &["B"]), ("B", &["C"]), ("C", &["B"])]);
        let cycle = order(&g).unwrap_err();
        assert_eq!(show_cycle(&cycle), "B → C → B");
        assert_eq!(show_cycle(&order(&graph(&[("A", &["A"])])).unwrap_err()), "A → A");
    }

    #[test]
    fn modules_that_are_not_there_are_left_out() {
        assert_eq!(order(&graph(&[("A", &["Missing"])])).unwrap(), ["A"]);
    }

    #[test]
    fn a_long_chain_does_not_overflow_the_stack() {
        let names: Vec<String> = (0..100_000).map(|i| format!("M{i:06}")).collect();
        let g = names
            .iter()
            .enumerate()
            .map(|(i, n)| (n.clone(), names.get(i + 1).cloned().into_iter().collect()))
            .collect();
        assert!(order(&g).is_ok());
    }
}
