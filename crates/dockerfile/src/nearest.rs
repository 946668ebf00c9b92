//! The nearest of several names to a mistyped one: the only place that measures how far two names are apart.

/// How many differences two names may have that have anything to do with each other.
const MOST: usize = 2;

/// How many names are compared with a mistyped one: nobody has more to choose from, but a file may.
const NAMES: usize = 1000;

/// The one of `names` that `word` was most likely meant to be, compared without regard to case; `None` when all are too
/// far away.
///
/// One mistake is allowed in short words and two in longer ones, and two letters may be missing at the end: with more, the
/// hint would be a guess. Of names that are equally near the first wins.
pub fn nearest<'n>(word: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let word = word.to_lowercase();
    let short = word.chars().count() <= 3;
    let near = |name: &str| {
        let name = name.to_lowercase();
        let limit = if short && (word.len() < 2 || !name.starts_with(&word)) { 1 } else { MOST };
        distance(&word, &name).filter(|distance| *distance <= limit)
    };
    let names = names.into_iter().take(NAMES);
    let near = names.filter_map(|name| Some((near(name)?, name)));
    near.min_by_key(|(distance, _)| *distance).map(|(_, name)| name)
}

/// The nearest name with its distance, upper and lower case being different letters.
pub(crate) fn nearest_by_letter<'n>(
    word: &str,
    names: impl IntoIterator<Item = &'n str>,
) -> Option<(usize, &'n str)> {
    let names = names.into_iter().take(NAMES);
    let near = names.filter_map(|name| Some((distance(word, name)?, name)));
    near.min_by_key(|(distance, _)| *distance)
}

/// The Damerau-Levenshtein distance (optimal string alignment): how many insertions, deletions, replacements and swaps
/// of neighbours lead from `left` to `right`. `None` if there are more than [`MOST`].
fn distance(left: &str, right: &str) -> Option<usize> {
    if left.is_ascii() && right.is_ascii() {
        return distance_of(left.as_bytes(), right.as_bytes());
    }
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    distance_of(&left, &right)
}

/// Only cells near the diagonal count: what is further away has too many differences already.
fn distance_of<T: PartialEq>(left: &[T], right: &[T]) -> Option<usize> {
    const WIDTH: usize = 2 * MOST + 1;
    const FAR: usize = MOST + 1;
    if left.len().abs_diff(right.len()) > MOST {
        return None;
    }
    // Cell `k` of row `i` stands for the first `i` of the left and the first `i + k - MOST` of the right.
    let mut before = [FAR; WIDTH];
    let mut above = [FAR; WIDTH];
    for row in 0..=left.len() {
        let mut current = [FAR; WIDTH];
        for k in 0..WIDTH {
            let Some(column) = (row + k).checked_sub(MOST).filter(|it| *it <= right.len()) else {
                continue;
            };
            let mut best = if row == 0 { column } else { FAR };
            if row > 0 && k + 1 < WIDTH {
                best = best.min(above[k + 1] + 1);
            }
            if column > 0 && k > 0 {
                best = best.min(current[k - 1] + 1);
            }
            if row > 0 && column > 0 {
                let differs = left[row - 1] != right[column - 1];
                best = best.min(above[k] + usize::from(differs));
                let swapped = row > 1
                    && column > 1
                    && left[row - 1] == right[column - 2]
                    && left[row - 2] == right[column - 1];
                if swapped && differs {
                    best = best.min(before[k] + 1);
                }
            }
            current[k] = best.min(FAR);
        }
        if current.iter().all(|cell| *cell == FAR) {
            return None;
        }
        (before, above) = (above, current);
    }
    Some(above[MOST + right.len() - left.len()]).filter(|distance| *distance <= MOST)
}

#[cfg(test)]
mod tests {
    use super::{distance, nearest};

    #[test]
    fn distances() {
        for (left, right, expect) in [
            ("", "", Some(0)),
            ("", "ab", Some(2)),
            ("form", "from", Some(1)),
            ("run", "run", Some(0)),
            ("copu", "copy", Some(1)),
            ("exposed", "expose", Some(1)),
            ("abcd", "badc", Some(2)),
            ("äß", "ßä", Some(1)),
            ("abc", "abcde", Some(2)),
            ("abcde", "cde", Some(2)),
            ("abc", "xyz", None),
            ("kitten", "sitting", None),
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
            ("c", None),
            ("CO", Some("COPY")),
            ("", None),
        ] {
            assert_eq!(nearest(word, names), expect, "{word}");
        }
    }
}
