//! `--filter KEY=VALUE`, as `images`, `ps` and `prune` take it.

use std::collections::BTreeMap;

use jiff::{Timestamp, civil, tz::TimeZone};

use crate::report::Failure;

/// What was filtered by: the values of each key, in their order.
#[derive(Debug, Default)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    /// Reads filters; `known` are the keys that there are.
    pub(crate) fn parse(given: &[String], known: &[&str]) -> Result<Self, Failure> {
        let mut filters: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for given in given.iter().filter(|given| !given.is_empty()) {
            let Some((key, value)) = given.split_once('=') else {
                let message = format!("bad format of filter `{given}` (expected name=value)");
                return Err(Failure::usage(message));
            };
            let key = key.trim().to_lowercase();
            if !known.contains(&key.as_str()) {
                let known = known.join(", ");
                return Err(Failure::usage(format!("invalid filter '{key}': there are {known}")));
            }
            filters.entry(key).or_default().push(value.trim().to_owned());
        }
        Ok(Self(filters))
    }

    /// Returns the values of a key.
    pub(crate) fn values(&self, key: &str) -> &[String] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }

    /// Returns what a key that is true or false says, if it says anything.
    pub(crate) fn truth(&self, key: &str) -> Result<Option<bool>, Failure> {
        let [.., last] = self.values(key) else { return Ok(None) };
        match last.to_lowercase().as_str() {
            "1" | "true" => Ok(Some(true)),
            "0" | "false" => Ok(Some(false)),
            _ => Err(Failure::usage(format!("invalid filter '{key}={last}': it is true or false"))),
        }
    }

    /// Returns the time that a key says: an age, or a point in time.
    pub(crate) fn time(&self, key: &str, now: Timestamp) -> Result<Option<Timestamp>, Failure> {
        let [.., last] = self.values(key) else { return Ok(None) };
        time(last, now).map(Some).ok_or_else(|| {
            Failure::usage(format!(
                "invalid filter '{key}={last}': it is an age like `24h` or `1h30m`, or a time like `2026-01-02T15:04:05`"
            ))
        })
    }

    /// Whether labels have what the filters by `label` ask for, and nothing that those by `label!` do.
    pub(crate) fn fit_labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((name, value)) => labels.get(name).is_some_and(|found| found == value),
            None => labels.contains_key(wanted),
        };
        self.values("label").iter().all(has) && !self.values("label!").iter().any(has)
    }
}

/// Reads a point in time: how long ago it was, or RFC 3339 with or without a zone (UTC then), or seconds since 1970.
fn time(text: &str, now: Timestamp) -> Option<Timestamp> {
    if let Some(age) = age(text) {
        return now.checked_sub(age).ok();
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if let Ok(seconds) = text.split('.').next()?.parse::<i64>() {
        return Timestamp::from_second(seconds).ok();
    }
    let time = text.trim_end_matches('Z');
    // Docker lets the seconds, the minutes and the hours be missing.
    let padded = match time.len() {
        13 => format!("{time}:00:00"),
        16 => format!("{time}:00"),
        _ => time.to_owned(),
    };
    let time: civil::DateTime = padded.parse().ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Reads a duration as Go writes it: `1h30m`, `2.5h`, `90s`.
fn age(text: &str) -> Option<jiff::SignedDuration> {
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit_end =
            rest[end..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |at| end + at);
        seconds += number
            * match &rest[end..unit_end] {
                "h" => 3600.0,
                "m" => 60.0,
                "s" => 1.0,
                "ms" => 1e-3,
                "us" | "µs" => 1e-6,
                "ns" => 1e-9,
                _ => return None,
            };
        rest = &rest[unit_end..];
    }
    if text.is_empty() { None } else { jiff::SignedDuration::try_from_secs_f64(seconds).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(given: &[&str]) -> Result<Filters, Failure> {
        let given: Vec<String> = given.iter().map(|given| (*given).to_owned()).collect();
        Filters::parse(&given, &["label", "label!", "until", "dangling"])
    }

    #[test]
    fn keys_and_values() {
        let given = filters(&["label=a=b", "label=c", "dangling=True"]).unwrap();
        assert_eq!(given.values("label"), ["a=b", "c"]);
        assert_eq!(given.truth("dangling").unwrap(), Some(true));
        assert_eq!(given.truth("until").unwrap(), None);
        for wrong in ["label", "foo=bar"] {
            assert!(filters(&[wrong]).is_err(), "{wrong}");
        }
        assert!(filters(&["dangling=maybe"]).unwrap().truth("dangling").is_err());
    }

    #[test]
    fn labels() {
        let labels: BTreeMap<String, String> =
            [("a", "1"), ("b", "")].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
        for (given, fits) in [
            (&["label=a"] as &[&str], true),
            (&["label=a=1", "label=b"], true),
            (&["label=a=2"], false),
            (&["label=a", "label=c"], false),
            (&["label!=a"], false),
            (&["label!=a=2", "label!=c"], true),
        ] {
            // `label!=x` is the key `label!`.
            assert_eq!(filters(given).unwrap().fit_labels(&labels), fits, "{given:?}");
        }
    }

    #[test]
    fn times() {
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
        for (given, expected) in [
            ("24h", "2026-01-01T12:00:00Z"),
            ("1h30m", "2026-01-02T10:30:00Z"),
            ("1.5h", "2026-01-02T10:30:00Z"),
            ("90s", "2026-01-02T11:58:30Z"),
            ("2025-03-04T05:06:07Z", "2025-03-04T05:06:07Z"),
            ("2025-03-04T05:06:07+02:00", "2025-03-04T03:06:07Z"),
            ("2025-03-04T05:06:07", "2025-03-04T05:06:07Z"),
            ("2025-03-04T05:06", "2025-03-04T05:06:00Z"),
            ("2025-03-04T05", "2025-03-04T05:00:00Z"),
            ("2025-03-04", "2025-03-04T00:00:00Z"),
            ("1000", "1970-01-01T00:16:40Z"),
            ("1000.5", "1970-01-01T00:16:40Z"),
        ] {
            assert_eq!(
                time(given, now).map(|time| time.to_string()).as_deref(),
                Some(expected),
                "{given}"
            );
        }
        for wrong in ["", "h", "5x", "yesterday", "1h-", "99999999999999h", "2025-13-01"] {
            assert_eq!(time(wrong, now), None, "{wrong}");
        }
    }
}
