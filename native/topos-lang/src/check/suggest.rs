//! "Did you mean ..?"

use crate::diagnostic::Diagnostic;

/// More names than these are no help.
const MAX_LISTED: usize = 12;

/// The candidate nearest to a misspelt name, if it is near enough to be meant: at most a third of its letters differ, of a dotted
/// name a third of those of its last part. A single letter is not misspelt: any other one would be as near. Of those as near as
/// others the one of the same letters, in another order, is meant.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = name.rsplit('.').next().map_or(0, |last| last.chars().count());
    let limit = if letters == 1 { 0 } else { letters.max(3) / 3 };
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.to_lowercase().chars().collect();
        letters.sort_unstable();
        letters
    };
    let own = sorted(name);
    candidates
        .into_iter()
        .filter(|c| *c != name)
        .filter_map(|c| distance(name, c, limit).map(|d| (d, sorted(c) != own, c)))
        .min()
        .map(|(_, _, c)| c)
}

/// Says which name was meant, or, if none is near, which there are: `there` begins that list.
pub(crate) fn advise<'a>(
    diagnostic: Diagnostic,
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
    there: &str,
) -> Diagnostic {
    let candidates: Vec<&str> = candidates.into_iter().collect();
    match nearest(name, candidates.iter().copied()) {
        Some(near) => diagnostic.help(format!("did you mean `{near}`?")),
        None if candidates.is_empty() || candidates.len() > MAX_LISTED => diagnostic,
        None => {
            let list = candidates.iter().map(|c| format!("`{c}`")).collect::<Vec<_>>();
            diagnostic.help(format!("{there} {}", list.join(", ")))
        }
    }
}

/// What other languages call something that has another name here.
pub(crate) fn habit(what: &str, name: &str) -> Option<&'static str> {
    Some(match (what, name) {
        ("name", "and") => "`and` is written `&&`",
        ("name", "or") => "`or` is written `||`",
        ("name", "null" | "nil" | "undefined" | "none") | ("constructor", "Nothing") => {
            "what may be missing is a `Maybe`: `None`, or `Some(..)`"
        }
        ("constructor", "Just") => "did you mean `Some`?",
        ("constructor", "True") => "did you mean `true`?",
        ("constructor", "False") => "did you mean `false`?",
        ("constructor", "Err" | "Left") => "did you mean `Error`?",
        ("constructor", "Right") => "did you mean `Ok`?",
        ("constructor", "Nil") => "an empty list is `[]`",
        ("name", "range") => "`Topos.List` has it, with the last number: `List.range(0, 9)`",
        ("name", "len") => "lists and texts have it in their modules: `List.length(..)`, `Text.length(..)`",
        ("name", "to_string" | "toString" | "inspect") => {
            "`show(..)` makes a text of a value, and so does an f-string: `f\"{..}\"`"
        }
        ("name", "println" | "puts" | "putStrLn" | "printf") => {
            "`Topos.IO` writes lines: `import Topos.IO (IO, print)`"
        }
        ("name", "even") => "`n % 2 == 0` says it",
        ("name", "odd") => "`n % 2 /= 0` says it",
        ("name", "reduce" | "foldl" | "foldr") => "`Topos.List` has `List.fold(f, start, xs)`",
        ("name", "forEach" | "mapM_") => {
            "`for_each(f, xs)` does something with each element, and so does `for x in xs { .. }`"
        }
        ("type", "Integer" | "Nat" | "Long") => "did you mean `Int`?",
        ("type", "Double" | "Number") => "did you mean `Float`?",
        ("type", "Boolean") => "did you mean `Bool`?",
        ("type", "Char" | "Str") => "did you mean `Text`?",
        ("type", "Void") => "did you mean `()`?",
        ("type", "Array" | "Vec" | "Seq") => "a list is written `[Int]`, or `List Int`",
        ("type", "Dict" | "HashMap" | "Dictionary") => "did you mean `Map`?",
        ("type", "Either") => "did you mean `Result`? Its value stands first: `Result Int Text`",
        _ => return None,
    })
}

/// How a value of the type that was found becomes one of the type that is expected, where there is a usual way. Types as they are
/// printed.
pub(crate) fn conversion(expected: &str, found: &str) -> Option<String> {
    let number = |ty: &str| ty == "a number" || ty == "Int" || ty == "Float";
    let inside = |ty: &str, head: &str| ty.strip_prefix(head).map(|inner| inner.trim_matches(['(', ')']).to_owned());
    let is = |inner: &str, ty: &str| inner == ty || (number(ty) && number(inner));
    let text = match (expected, found) {
        ("Failure", _) => {
            "an arm of `try` takes a failure apart: `| { code: \"TP1021\" } -> ..`, or binds it: `| failure -> ..`"
        }
        (_, f) if inside(f, "Maybe ").is_some_and(|inner| is(&inner, expected)) => {
            "it may be `None`: take it apart with `match`, or say what then, `Maybe.with_default(..)`"
        }
        (_, f) if inside(f, "Result ").is_some_and(|inner| inner.starts_with(expected)) => {
            "it may be an `Error`: take it apart with `match`"
        }
        (e, f) if inside(e, "Maybe ").is_some_and(|inner| is(&inner, f)) => "`Some(..)` makes a `Maybe` of it",
        (e, f) if inside(e, "Result ").is_some_and(|inner| inner.starts_with(f)) => "`Ok(..)` makes a `Result` of it",
        ("Text", f) if !f.contains("->") => "an f-string shows any value: `f\"{..}\"`",
        ("Int" | "a number", "Text") => "`Text.to_int` reads a number from a text",
        ("Float", "Text") => "`Text.to_float` reads a number from a text",
        ("Float", "Int") => "`from_int(..)` makes a Float of an Int",
        ("Bool", f) if number(f) => "compare the number, as in `n != 0`",
        _ => return None,
    };
    Some(text.to_owned())
}

/// Optimal string alignment distance (insert, delete, replace, swap neighbours), or `None` above `limit`.
fn distance(a: &str, b: &str, limit: usize) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    if a.len().abs_diff(b.len()) > limit || a.len().max(b.len()) > 100 {
        return None;
    }
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().filter(|d| *d <= limit)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        assert_eq!(nearest("lenght", ["length", "last"]), Some("length"));
        assert_eq!(nearest("fo", ["fold", "for_each"]), None);
        assert_eq!(nearest("fliter", ["filter"]), Some("filter"));
        assert_eq!(nearest("x", ["y"]), None);
        assert_eq!(nearest("x", ["X"]), Some("X"));
        assert_eq!(nearest("mn", ["min", "nm"]), Some("nm"));
        assert_eq!(nearest("print", ["sort"]), None);
        assert_eq!(nearest("maybe", ["Maybe"]), Some("Maybe"));
        assert_eq!(nearest("Topos.List", ["Topos.IO", "Topos.Set"]), None);
        assert_eq!(nearest("Topso.List", ["Topos.List", "Topos.Set"]), Some("Topos.List"));
    }
}
