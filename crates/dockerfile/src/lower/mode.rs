//! `--chmod`: whether it can be read. What it does to a file is decided where files are.

/// True for an octal number up to 7777, and for symbolic modes such as `u=rwX,go-w`.
pub(super) fn is_mode(text: &str) -> bool {
    let octal = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if octal {
        return u32::from_str_radix(text, 8).is_ok_and(|mode| mode <= 0o7777);
    }
    text.split(',').all(is_clause)
}

/// Whom it is for, then one or more operations, each with permissions or another class to take them from.
fn is_clause(clause: &str) -> bool {
    let actions = clause.trim_start_matches(['u', 'g', 'o', 'a']);
    let mut parts = actions.split(['+', '-', '=']);
    let starts_with_operation = parts.next() == Some("");
    let mut parts = parts.peekable();
    starts_with_operation
        && parts.peek().is_some()
        && parts.all(|permissions| {
            matches!(permissions, "u" | "g" | "o")
                || permissions.chars().all(|c| matches!(c, 'r' | 'w' | 'x' | 'X' | 's' | 't'))
        })
}

#[cfg(test)]
mod tests {
    use super::is_mode;

    #[test]
    fn octal_and_symbolic() {
        for mode in ["0", "644", "7777", "+x", "u=rwX,go=rX", "g=u", "a+X", "u+s-w", "o=", "ug+rw"]
        {
            assert!(is_mode(mode), "{mode}");
        }
        for mode in ["", "8", "10000", "64x", "u", "rw", "u+z", "u=rw,", "x+u", "-1", "u=gr"] {
            assert!(!is_mode(mode), "{mode}");
        }
    }
}
