//! Moments as people write them for `--since`, `--until` and the filters of that name: a time, or how long ago.

use std::str::FromStr;

use jiff::{SignedDuration, Timestamp, civil};

/// A moment: fixed, or as far from now as it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A time.
    At(Timestamp),
    /// So long ago.
    Ago(SignedDuration),
}

impl Moment {
    /// Returns the time that is meant.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(time) => time,
            // Before all time is before everything.
            Self::Ago(duration) => now.checked_sub(duration).unwrap_or(Timestamp::MIN),
        }
    }
}

impl FromStr for Moment {
    type Err = String;

    /// Reads what Docker does: seconds since 1970 with or without a fraction, RFC 3339, the same without an offset (which
    /// is UTC here), a date alone, or a duration such as `1h30m`.
    fn from_str(text: &str) -> Result<Self, String> {
        let time = seconds(text).or_else(|| text.parse().ok()).or_else(|| without_offset(text));
        if let Some(time) = time {
            return Ok(Self::At(time));
        }
        duration(text).map(Self::Ago).ok_or_else(|| {
            "it is a time like `2026-01-02T03:04:05Z` or `2026-01-02`, seconds since 1970, or an age like `24h` or `1h30m`"
                .to_owned()
        })
    }
}

fn seconds(text: &str) -> Option<Timestamp> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let nanoseconds = format!("{fraction:0<9}").get(..9)?.parse().ok()?;
    Timestamp::new(whole.parse().ok()?, nanoseconds).ok()
}

/// jiff takes a date alone for midnight; Docker lets the minutes and seconds be missing as well.
fn without_offset(text: &str) -> Option<Timestamp> {
    let time = text.trim_end_matches('Z');
    let padded = match time.len() {
        13 => format!("{time}:00:00"),
        16 => format!("{time}:00"),
        _ => time.to_owned(),
    };
    let time: civil::DateTime = padded.parse().ok()?;
    Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

/// Reads a duration as Go writes it: numbers with units, one after the other.
pub(crate) fn duration(text: &str) -> Option<SignedDuration> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3600.0),
    ];
    let is_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c| !is_number(c))?);
        let (unit, after) = after.split_at(after.find(is_number).unwrap_or(after.len()));
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        total += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    if text.is_empty() { None } else { SignedDuration::try_from_secs_f64(total).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Option<&str>) {
        let now: Timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        let at = text.parse::<Moment>().ok().map(|moment| moment.at(now).to_string());
        assert_eq!(at.as_deref(), expect, "{text}");
    }

    #[test]
    fn times() {
        check("1136073845", Some("2006-01-01T00:04:05Z"));
        check("1136073845.000000001", Some("2006-01-01T00:04:05.000000001Z"));
        check("1136073845.5", Some("2006-01-01T00:04:05.5Z"));
        check("2006-01-02T15:04:05Z", Some("2006-01-02T15:04:05Z"));
        check("2006-01-02T15:04:05.999+02:00", Some("2006-01-02T13:04:05.999Z"));
        check("2006-01-02T15:04:05", Some("2006-01-02T15:04:05Z"));
        check("2006-01-02T15:04", Some("2006-01-02T15:04:00Z"));
        check("2006-01-02T15", Some("2006-01-02T15:00:00Z"));
        check("2006-01-02", Some("2006-01-02T00:00:00Z"));
    }

    #[test]
    fn durations() {
        check("1h30m", Some("2026-01-02T01:34:05Z"));
        check("1.5h", Some("2026-01-02T01:34:05Z"));
        check("9999999999h", Some(&Timestamp::MIN.to_string()));
        check("0.5s", Some("2026-01-02T03:04:04.5Z"));
        check("100ms", Some("2026-01-02T03:04:04.9Z"));
        for wrong in ["", "h", "1x", "1h30", "yesterday", "2006-13-01", "-", "-1h"] {
            check(wrong, None);
        }
    }
}
