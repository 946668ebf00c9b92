//! Which names a container can have: Docker's rule.

/// A letter or a digit, then at least one letter, digit, `_`, `.` or `-`.
pub(super) fn is_valid(name: &str) -> bool {
    let inner = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    name.len() > 1
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.chars().all(inner)
}

#[cfg(test)]
mod tests {
    #[test]
    fn names() {
        for (name, expect) in [
            ("web", true),
            ("web-1.x_y", true),
            ("0a", true),
            ("a", false),
            ("", false),
            ("-a", false),
            ("_a", false),
            ("a/b", false),
            ("a b", false),
            ("ä1", false),
        ] {
            assert_eq!(super::is_valid(name), expect, "{name:?}");
        }
    }
}
