//! `--max NAME=NUMBER`: one of the limits that are described in `engine::limits`, as people set it.

use std::str::FromStr;

use engine::{LimitName, Limits, container::options::ByteSize};

/// One limit and what it is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LimitSetting {
    name: LimitName,
    value: u64,
}

impl LimitSetting {
    /// Returns the limits with these set; of one that is set twice, the last counts.
    pub(crate) fn all(settings: &[Self]) -> Limits {
        let mut limits = Limits::STANDARD;
        for setting in settings {
            limits.set(setting.name, setting.value);
        }
        limits
    }
}

impl FromStr for LimitSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) =
            text.split_once('=').ok_or("it is written NAME=NUMBER, as in layer-bytes=500g")?;
        let Some(name) = LimitName::parse(name) else {
            let usual = |name: LimitName| format!("{name}={}", Limits::STANDARD.get(name));
            let known: Vec<String> = LimitName::ALL.into_iter().map(usual).collect();
            return Err(format!("there is no limit `{name}`; there are {}", known.join(", ")));
        };
        // Counts may be written like sizes too.
        let value: ByteSize = value
            .parse()
            .map_err(|_| format!("`{value}` is not a number such as 5000, 64k or 500g"))?;
        Ok(Self { name, value: value.0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_set_by_name() {
        let read = |texts: &[&str]| {
            let settings: Result<Vec<_>, _> = texts.iter().map(|text| text.parse()).collect();
            settings.map(|settings| LimitSetting::all(&settings))
        };
        let limits = read(&["layer-bytes=2k", "layers=3", "layers=4"]).unwrap();
        assert_eq!((limits.layer.bytes, limits.layers), (2048, 4));
        assert_eq!(read(&[]).unwrap(), Limits::STANDARD);
        for (wrong, says) in [
            ("layer-bytes", "NAME=NUMBER"),
            ("layerbytes=1", "layer-bytes=274877906944"),
            ("layers=", "is not a number"),
            ("layers=-1", "is not a number"),
            ("layers=many", "is not a number"),
        ] {
            let error = read(&[wrong]).unwrap_err();
            assert!(error.contains(says), "{wrong}: {error}");
        }
    }
}
