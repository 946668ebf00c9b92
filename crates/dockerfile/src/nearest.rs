//! The nearest of several names to a mistyped one: the only place that measures how far two names are apart.

/// The one of `names` that `word` was most likely meant to be, compared without regard to case; `None` when all are too
/// far away.
///
/// One mistake is allowed in short words and two in longer ones: with more, the hint would be a guess. Of names that
/// are equally near the first wins.
pub fn nearest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let word = word.to_lowercase();
    let limit = if word.chars().count() <= 3 { 1 } else { 2 };
    names
        .into_iter()
        .map(|name| (distance(&word, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The Damerau-Levenshtein distance (optimal string alignment): how many insertions, deletions, replacements and swaps
/// of neighbours lead from `left` to `right`.
pub(crate) fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    // Names are short, so a word that is much longer is far away; this also bounds the work for hostile input.
    if left.len().abs_diff(right.len()) > 2 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, l) in left.iter().enumerate() {
        let mut current = vec![row + 1];
        for (column, r) in right.iter().enumerate() {
            let replaced = above[column] + usize::from(l != r);
            let mut best = replaced.min(above[column + 1] + 1).min(current[column] + 1);
            let swapped =
                row > 0 && column > 0 && *l == right[column - 1] && left[row - 1] == *r && l != r;
            if swapped {
                best = best.min(before[column - 1] + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut above, current);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn distances() {
        for (left, right, expect) in [
            ("", "", 0),
            ("", "ab", 2),
            ("form", "from", 1),
            ("run", "run", 0),
            ("copu", "copy", 1),
            ("exposed", "expose", 1),
            ("abcd", "badc", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(left, right), expect, "{left} {right}");
            assert_eq!(distance(right, left), expect, "{right} {left}");
        }
    }

    #[test]
    fn nearest_name() {
        let names = ["FROM", "RUN", "CMD", "COPY", "ENTRYPOINT"];
        for (word, expect) in [
            ("FORM", Some("FROM")),
            ("rum", Some("RUN")),
            ("COPYY", Some("COPY")),
            ("entripiont", Some("ENTRYPOINT")),
            ("FOO", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, names), expect, "{word}");
        }
    }
}
