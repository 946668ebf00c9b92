//! Sizes in bytes and truth values, as the command lines of Docker write them.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::BadOption;

/// A number of bytes: `64m`, `1.5GB`, `2KiB`, `1024`. Every unit is a power of 1024.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = BadOption;

    fn from_str(text: &str) -> Result<Self, BadOption> {
        let invalid = || BadOption::new(format!("invalid size: '{text}'"));
        let last =
            text.rfind(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').ok_or_else(invalid)?;
        let (number, suffix) = text.split_at(last + 1);
        let number: f64 = number.trim_end_matches(' ').parse().map_err(|_| invalid())?;
        let factor =
            factor(suffix).ok_or_else(|| BadOption::new(format!("invalid suffix: '{suffix}'")))?;
        let bytes = number * factor;
        // Beyond that, numbers of Docker's type overflow.
        if !bytes.is_finite() || !(0.0..9.2e18).contains(&bytes) {
            return Err(invalid());
        }
        Ok(Self(bytes as u64))
    }
}

impl fmt::Display for ByteSize {
    /// In the greatest unit that leaves at least one, with a decimal if there is a rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
        let fits = |power: &usize| *power == 0 || self.0 >> (10 * power) > 0;
        let power = (0..UNITS.len()).rev().find(fits).unwrap_or(0);
        let (unit, name) = (1 << (10 * power), UNITS[power]);
        match self.0 % unit {
            0 => write!(f, "{} {name}", self.0 / unit),
            _ => write!(f, "{:.1} {name}", self.0 as f64 / unit as f64),
        }
    }
}

fn factor(suffix: &str) -> Option<f64> {
    let suffix = suffix.to_ascii_lowercase();
    if suffix.is_empty() || suffix == "b" {
        return Some(1.0);
    }
    let mut letters = suffix.chars();
    let power = "kmgtp".find(letters.next()?)?;
    matches!(letters.as_str(), "" | "b" | "ib")
        .then(|| 1024_f64.powi(i32::try_from(power).unwrap_or(0) + 1))
}

/// Reads a truth value in any of Go's forms.
pub fn parse_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::ByteSize;

    fn check(text: &str, expected: Result<u64, &str>) {
        let actual = text.parse::<ByteSize>().map(|size| size.0).map_err(|error| error.to_string());
        assert_eq!(actual, expected.map_err(str::to_owned), "{text}");
    }

    #[test]
    fn sizes() {
        check("1024", Ok(1024));
        check("64m", Ok(64 << 20));
        check("64M", Ok(64 << 20));
        check("1.5GB", Ok(3 << 29));
        check("2KiB", Ok(2048));
        check("32 b", Ok(32));
        check("1t", Ok(1 << 40));
        check("1p", Ok(1 << 50));
        check("0", Ok(0));
    }

    #[test]
    fn shown() {
        for (bytes, text) in [
            (0, "0 B"),
            (1000, "1000 B"),
            (20 << 20, "20 MiB"),
            (3 << 29, "1.5 GiB"),
            (1 << 60, "1024 PiB"),
        ] {
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
    }

    #[test]
    fn no_sizes() {
        check("z", Err("invalid size: 'z'"));
        check("", Err("invalid size: ''"));
        check("1x", Err("invalid suffix: 'x'"));
        check("1kib1", Err("invalid size: '1kib1'"));
        check("1kxb", Err("invalid suffix: 'kxb'"));
        check("-5m", Err("invalid size: '-5m'"));
        check("1.2.3", Err("invalid size: '1.2.3'"));
        check("99999p", Err("invalid size: '99999p'"));
    }
}
