//! "Did you mean": the known name nearest to one that was mistyped.

/// The candidate that `name` most likely meant, if any is near enough to be worth saying.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str> + Clone,
) -> Option<&'a str> {
    same_leaf(name, candidates.clone()).or_else(|| {
        let (distance, candidate) =
            candidates.map(|candidate| (edit_distance(name, candidate), candidate)).min()?;
        (distance <= (name.chars().count() / 3).max(1)).then_some(candidate)
    })
}

/// A key under the wrong section, or under none: `limits.listen` for `server.listen`.
fn same_leaf<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let leaf = |key: &str| key.rsplit('.').next().map(str::to_owned);
    let mut found = candidates.filter(|candidate| leaf(candidate) == leaf(name));
    // Two sections with that key would make this a guess.
    match (found.next(), found.next()) {
        (Some(only), None) => Some(only),
        _ => None,
    }
}

/// Levenshtein distance: insertions, deletions and replacements from one to the other.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::{edit_distance, nearest};

    #[test]
    fn distances() {
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("same", "same"), 0);
    }

    #[test]
    fn names_only_what_is_near() {
        let keys = ["server.listen", "limits.journal_bytes", "checkpoint.journal_bytes"];
        let find = |name| nearest(name, keys.into_iter());
        assert_eq!(find("server.lisen"), Some("server.listen"));
        assert_eq!(find("http.listen"), Some("server.listen"));
        assert_eq!(find("listen"), Some("server.listen"));
        assert_eq!(find("limit.journal_bytes"), Some("limits.journal_bytes"));
        assert_eq!(find("colour"), None);
    }
}
