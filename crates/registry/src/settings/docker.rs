//! What Docker's `daemon.json` says about registries. All mirrors are Docker Hub's.

use std::path::Path;

use serde::Deserialize;

use super::{Mirror, Pattern, Rule, Security, Serves, Settings, location, wrong, wrong_value};
use crate::{Error, SettingsError};

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    registry_mirrors: Vec<String>,
    #[serde(default)]
    insecure_registries: Vec<String>,
}

/// Reads the file; the path is for errors.
pub(super) fn parse(path: &Path, text: &str) -> Result<Settings, Error> {
    let file: File =
        serde_json::from_str(text).map_err(|error| wrong(path, SettingsError::Json(error)))?;
    let mut settings = Settings::default();
    let insecure = file.insecure_registries.iter();
    settings.hosts.extend(insecure.map(|host| {
        let host = host.split_once("://").map_or(host.as_str(), |(_, host)| host);
        (Pattern::parse(host), Security::Insecure)
    }));
    let mut mirrors = Vec::new();
    for mirror in &file.registry_mirrors {
        let (location, plain) = location(mirror)
            .map_err(|reason| wrong_value(path, "registry-mirrors", mirror, reason))?;
        settings.hosts.extend(plain.map(|host| (Pattern::parse(&host), Security::Plain)));
        mirrors.push(Mirror { location, serves: Serves::All });
    }
    if !mirrors.is_empty() {
        let prefix = "docker.io".to_owned();
        settings.rules.push(Rule { prefix, mirrors, ..Rule::default() });
    }
    Ok(settings)
}
