//! "Did you mean ..?"

/// The candidate nearest to a misspelt name, if it is near enough to be meant: at most a third of its letters differ.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count().max(3)) / 3;
    candidates
        .into_iter()
        .filter(|c| *c != name)
        .filter_map(|c| distance(name, c, limit).map(|d| (d, c)))
        .min()
        .map(|(_, c)| c)
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
        assert_eq!(nearest("x", ["y"]), Some("y"));
        assert_eq!(nearest("print", ["sort"]), None);
        assert_eq!(nearest("maybe", ["Maybe"]), Some("Maybe"));
    }
}
