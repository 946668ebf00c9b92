//! `--log-driver` and `--log-opt`: what is kept of a container's output, and how much.
//!
//! | driver | what is kept |
//! |---|---|
//! | `json-file` | everything, or what `max-size` and `max-file` say |
//! | `local` | the same, by default 20 MB in each of 5 files |
//! | `none` | nothing |

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::BadOption;

/// How the output of a container is kept.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct LogOptions {
    /// Whether, and by which defaults.
    pub driver: LogDriver,
    /// What `--log-opt` says.
    pub settings: BTreeMap<String, String>,
}

/// Docker's names for ways of keeping output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogDriver {
    /// Everything, unless there is a limit.
    #[default]
    JsonFile,
    /// With limits.
    Local,
    /// Nothing.
    None,
}

/// How much of the output is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// How many bytes a file of the log has before a new one is begun.
    pub max_size: Option<u64>,
    /// How many files there are at most.
    pub max_files: usize,
}

impl LogDriver {
    /// Docker's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::JsonFile => "json-file",
            Self::Local => "local",
            Self::None => "none",
        }
    }
}

impl LogOptions {
    /// Reads the two options; each setting is `NAME=VALUE`.
    pub fn parse(driver: Option<&str>, settings: &[String]) -> Result<Self, BadOption> {
        let driver = match driver {
            None | Some("" | "json-file") => LogDriver::JsonFile,
            Some("local") => LogDriver::Local,
            Some("none") => LogDriver::None,
            Some(other) => {
                return Err(BadOption::new(format!(
                    "there is no log driver `{other}`: output is kept in files, by `json-file` or `local`, or by `none` not at all"
                )));
            }
        };
        let mut all = BTreeMap::new();
        for setting in settings {
            let Some((name, value)) = setting.split_once('=') else {
                return Err(BadOption::new(format!(
                    "invalid logging opt format: {setting} (expected name=value)"
                )));
            };
            all.insert(name.to_owned(), value.to_owned());
        }
        let options = Self { driver, settings: all };
        options.check()?;
        Ok(options)
    }

    fn check(&self) -> Result<(), BadOption> {
        let driver = self.driver.as_str();
        if self.driver == LogDriver::None && !self.settings.is_empty() {
            return Err(BadOption::new("invalid logging opts for driver none"));
        }
        for (name, value) in &self.settings {
            match (name.as_str(), value.as_str()) {
                ("max-size" | "max-file" | "labels" | "env", _) | ("compress", "false") => {}
                // Its files are its own affair.
                ("compress", "true") if self.driver == LogDriver::Local => {}
                ("compress", _) => {
                    return Err(BadOption::new(
                        "log files are not compressed: `compress` can only be false",
                    ));
                }
                _ => {
                    return Err(BadOption::new(format!(
                        "unknown log opt '{name}' for {driver} log driver: there are max-size, max-file, labels and env"
                    )));
                }
            }
        }
        self.limits().map(|_| ())
    }

    /// Returns how much is kept.
    pub fn limits(&self) -> Result<LogLimits, BadOption> {
        let (size, files) = match self.driver {
            LogDriver::Local => (Some(20_000_000), 5),
            LogDriver::JsonFile | LogDriver::None => (None, 1),
        };
        let max_size = match self.settings.get("max-size").map(String::as_str) {
            None => size,
            Some("-1") => None,
            Some(text) => Some(human_size(text).filter(|size| *size > 0).ok_or_else(|| {
                BadOption::new(format!("invalid max-size `{text}`: it is a size, as in 10m"))
            })?),
        };
        let max_files = match self.settings.get("max-file") {
            None => files,
            Some(text) => text.parse().ok().filter(|files| *files > 0).ok_or_else(|| {
                BadOption::new(format!("invalid max-file `{text}`: it is 1 at least"))
            })?,
        };
        Ok(LogLimits { max_size, max_files })
    }

    /// Returns what is kept with each line: of all labels and variables those that are asked for.
    pub fn details<'a>(
        &self,
        labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        variables: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> BTreeMap<String, String> {
        let asked = |setting: &str, name: &str| {
            let names = self.settings.get(setting).map_or("", String::as_str);
            names.split(',').any(|asked| asked == name)
        };
        let labels = labels.into_iter().filter(|(name, _)| asked("labels", name));
        let variables = variables.into_iter().filter(|(name, _)| asked("env", name));
        let both = labels.chain(variables);
        both.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// A size in units of 1000, as log drivers count.
fn human_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        _ => return None,
    };
    let bytes = number.parse::<f64>().ok()? * factor;
    (bytes < 9.2e18).then_some(bytes as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(driver: &str, settings: &[&str]) -> Result<LogOptions, String> {
        let settings: Vec<String> = settings.iter().map(|it| (*it).to_owned()).collect();
        LogOptions::parse(Some(driver), &settings).map_err(|error| error.to_string())
    }

    #[test]
    fn limits_are_the_drivers_or_those_given() {
        let limits = |driver, settings: &[&str]| {
            let limits = parse(driver, settings).unwrap().limits().unwrap();
            (limits.max_size, limits.max_files)
        };
        assert_eq!(limits("json-file", &[]), (None, 1));
        assert_eq!(limits("", &["max-size=10m", "max-file=3"]), (Some(10_000_000), 3));
        assert_eq!(limits("local", &[]), (Some(20_000_000), 5));
        assert_eq!(limits("local", &["max-size=-1"]), (None, 5));
        assert_eq!(limits("json-file", &["max-size=1.5kB"]), (Some(1500), 1));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (driver, settings, part) in [
            ("syslog", &[] as &[&str], "no log driver `syslog`"),
            ("json-file", &["max-size"], "invalid logging opt format: max-size"),
            ("json-file", &["max-size=ten"], "max-size `ten`"),
            ("json-file", &["max-size=0"], "max-size `0`"),
            ("json-file", &["max-file=0"], "max-file `0`"),
            ("json-file", &["max-files=3"], "unknown log opt 'max-files' for json-file"),
            ("json-file", &["compress=true"], "compress"),
            ("none", &["max-size=1m"], "driver none"),
        ] {
            let error = parse(driver, settings).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
