//! Texts with places where a mutant differs. A place is `\u{1}`, what a program has there, `\u{2}`, what the mutant has
//! instead, `\u{3}`; both may hold places again. One that begins with `\u{4}` makes a mutant that need not be refused.

/// A place of a mutant that has a type error.
pub(crate) fn wrong(right: &str, wrong: &str) -> String {
    format!("\u{1}{right}\u{2}{wrong}\u{3}")
}

/// A place of a mutant that may be well typed; then it runs.
pub(crate) fn other(right: &str, other: &str) -> String {
    format!("\u{4}{right}\u{2}{other}\u{3}")
}

/// Whether each mutant of a text must be refused.
pub(crate) fn places(text: &str) -> Vec<bool> {
    text.chars().filter(|c| matches!(c, '\u{1}' | '\u{4}')).map(|c| c == '\u{1}').collect()
}

/// The program, or the mutant of one place. `None` if the place lies in what another place's mutant has.
pub(crate) fn render(text: &str, mutant: Option<usize>) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    // For each place around the present one: whether its first half is shown, and whether this is that half.
    let mut around: Vec<(bool, bool)> = Vec::new();
    let (mut number, mut seen) = (0, false);
    for c in text.chars() {
        let shown = around.iter().all(|(first, in_first)| first == in_first);
        match c {
            '\u{1}' | '\u{4}' => {
                let first = mutant != Some(number);
                seen |= !first && shown;
                around.push((first, true));
                number += 1;
            }
            '\u{2}' => around.last_mut()?.1 = false,
            '\u{3}' => drop(around.pop()?),
            c if shown => out.push(c),
            _ => {}
        }
    }
    (mutant.is_none() || seen).then_some(out)
}
