//! kiln's own settings: `config.json`.
//!
//! ```json
//! {
//!   "registries": {
//!     "docker.io": { "mirrors": ["mirror.example", "http://10.0.0.1:5000/hub"] },
//!     "registry.example:5000": { "insecure": true },
//!     "registry.example/team": { "blocked": true },
//!     "other.example": { "ca": ["/etc/ssl/other.pem"] }
//!   }
//! }
//! ```
//!
//! The keys are hosts, or repositories below them; the longest counts. `http://` before one says that it speaks no TLS. What it does not know is an error: a slip of the
//! fingers would otherwise be found when it is too late.

use std::{collections::BTreeMap, path::Path, path::PathBuf};

use serde::Deserialize;

use super::{Mirror, Pattern, Rule, Security, Serves, Settings, location, wrong, wrong_value};
use crate::{Error, SettingsError};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    registries: BTreeMap<String, Registry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Registry {
    #[serde(default)]
    mirrors: Option<Vec<String>>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    ca: Vec<PathBuf>,
}

/// Reads the file; the path is for errors and for what is relative to it.
pub(super) fn parse(path: &Path, text: &str) -> Result<Settings, Error> {
    let file: File =
        serde_json::from_str(text).map_err(|error| wrong(path, SettingsError::Json(error)))?;
    let mut settings = Settings::default();
    for (key, registry) in file.registries {
        let (prefix, plain) =
            location(&key).map_err(|reason| wrong_value(path, "registries", &key, reason))?;
        settings.hosts.extend(plain.map(|host| (Pattern::parse(&host), Security::Plain)));
        // A bare word got a port that nobody writes in a reference.
        let prefix = if prefix.starts_with(&format!("{key}:")) { key.clone() } else { prefix };
        let host = prefix.split('/').next().unwrap_or_default().to_owned();
        if registry.insecure {
            settings.hosts.push((Pattern::parse(&host), Security::Insecure));
        }
        if !registry.ca.is_empty() {
            let folder = path.parent().unwrap_or_else(|| Path::new("."));
            let files = registry.ca.iter().map(|file| folder.join(file));
            settings.authorities.entry(host).or_default().extend(files);
        }
        let mut mirrors = Vec::new();
        for mirror in registry.mirrors.iter().flatten() {
            let (location, plain) =
                location(mirror).map_err(|reason| wrong_value(path, "mirrors", mirror, reason))?;
            settings.hosts.extend(plain.map(|host| (Pattern::parse(&host), Security::Plain)));
            mirrors.push(Mirror { location, serves: Serves::All });
        }
        // Without a word about mirrors, other files have it.
        if registry.mirrors.is_some() || registry.blocked {
            settings.rules.push(Rule {
                prefix,
                location: None,
                mirrors,
                blocked: registry.blocked,
            });
        }
    }
    Ok(settings)
}
