//! `--filter KEY=VALUE`, as `images`, `ps` and `prune` take it.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::{moment::Moment, report::Failure};

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

    /// Whether something is asked of a key.
    pub(crate) fn has(&self, key: &str) -> bool {
        !self.values(key).is_empty()
    }

    /// Whether nothing is asked of a key, or one of its values fits.
    pub(crate) fn fits(&self, key: &str, fits: impl FnMut(&str) -> bool) -> bool {
        !self.has(key) || self.values(key).iter().map(String::as_str).any(fits)
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
        match last.parse::<Moment>() {
            Ok(moment) => Ok(Some(moment.at(now))),
            Err(reason) => Err(Failure::usage(format!("invalid filter '{key}={last}': {reason}"))),
        }
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

/// Whether a name is meant: a part of it, or with `^` its beginning and with `$` its end.
pub(crate) fn is_named(name: &str, wanted: &str) -> bool {
    let (from_start, wanted) = match wanted.strip_prefix('^') {
        Some(wanted) => (true, wanted),
        None => (false, wanted),
    };
    // Docker's own names begin with a slash.
    let wanted = wanted.trim_start_matches('/');
    let (to_end, wanted) = match wanted.strip_suffix('$') {
        Some(wanted) => (true, wanted),
        None => (false, wanted),
    };
    match (from_start, to_end) {
        (true, true) => name == wanted,
        (true, false) => name.starts_with(wanted),
        (false, true) => name.ends_with(wanted),
        (false, false) => name.contains(wanted),
    }
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
    fn alternatives() {
        let given = filters(&["until=a", "until=b"]).unwrap();
        assert!(given.has("until") && !given.has("label"));
        assert!(given.fits("until", |value| value == "b") && !given.fits("until", |_| false));
        assert!(given.fits("label", |_| false), "nothing is asked of it");
    }

    #[test]
    fn names() {
        for (wanted, expect) in [
            ("eb", true),
            ("^web", true),
            ("^/web", true),
            ("web$", true),
            ("^we$", false),
            ("^eb", false),
            ("x", false),
        ] {
            assert_eq!(is_named("web", wanted), expect, "{wanted}");
        }
    }

    #[test]
    fn times() {
        let now: Timestamp = "2026-01-02T12:00:00Z".parse().unwrap();
        let time = |filter| Some(filters(&[filter]).unwrap().time("until", now).ok()??.to_string());
        assert_eq!(time("until=24h").as_deref(), Some("2026-01-01T12:00:00Z"));
        assert_eq!(time("until=2025-03-04").as_deref(), Some("2025-03-04T00:00:00Z"));
        assert_eq!(time("until=yesterday"), None);
    }
}
