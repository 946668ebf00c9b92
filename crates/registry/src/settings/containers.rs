//! What podman's, buildah's and skopeo's `registries.conf` says about registries (containers-registries.conf(5)), in both of
//! its forms. Short names and their aliases are left out.

use std::path::Path;

use serde::Deserialize;

use super::{Mirror, Pattern, Rule, Security, Serves, Settings, location, wrong, wrong_value};
use crate::{Error, SettingsError, error::harmless};

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    registry: Vec<Registry>,
    /// The older form.
    #[serde(default)]
    registries: Older,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Registry {
    prefix: Option<String>,
    location: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<MirrorOf>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorOf {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<String>,
}

#[derive(Default, Deserialize)]
struct Older {
    #[serde(default)]
    insecure: Hosts,
    #[serde(default)]
    block: Hosts,
}

#[derive(Default, Deserialize)]
struct Hosts {
    #[serde(default)]
    registries: Vec<String>,
}

/// Reads the file; the path is for errors.
pub(super) fn parse(path: &Path, text: &str) -> Result<Settings, Error> {
    let file: File = toml::from_str(text).map_err(|error| {
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        wrong(path, SettingsError::Toml { line, reason: harmless(error.message()) })
    })?;
    let mut settings = Settings::default();
    for host in file.registries.insecure.registries {
        settings.hosts.push((Pattern::parse(&host), Security::Insecure));
    }
    for prefix in file.registries.block.registries {
        settings.rules.push(Rule { prefix, blocked: true, ..Rule::default() });
    }
    for registry in file.registry {
        add(&mut settings, path, registry)?;
    }
    Ok(settings)
}

fn add(settings: &mut Settings, path: &Path, registry: Registry) -> Result<(), Error> {
    let place = |key: &'static str, given: &str| {
        location(given)
            .map(|(place, _)| place)
            .map_err(|reason| wrong_value(path, key, given, reason))
    };
    let own = registry.location.filter(|own| !own.is_empty());
    let own = own.map(|own| place("location", &own)).transpose()?;
    let prefix = match registry.prefix.filter(|prefix| !prefix.is_empty()) {
        Some(prefix) if prefix.starts_with("*.") => prefix,
        Some(prefix) => place("prefix", &prefix)?,
        None => own.clone().ok_or_else(|| {
            wrong_value(path, "registry", "", "it has neither a `prefix` nor a `location`")
        })?,
    };
    if registry.insecure {
        let host = own.as_ref().unwrap_or(&prefix);
        settings.hosts.push((Pattern::parse(host), Security::Insecure));
    }
    let mut mirrors = Vec::new();
    for mirror in registry.mirror {
        let location = place("mirror", &mirror.location)?;
        if mirror.insecure {
            settings.hosts.push((Pattern::parse(&location), Security::Insecure));
        }
        let serves = match mirror.pull_from_mirror.as_deref() {
            Some("digest-only") => Serves::Digests,
            Some("tag-only") => Serves::Tags,
            _ if registry.mirror_by_digest_only => Serves::Digests,
            _ => Serves::All,
        };
        mirrors.push(Mirror { location, serves });
    }
    let location = own.filter(|own| *own != prefix);
    settings.rules.push(Rule { prefix, location, mirrors, blocked: registry.blocked });
    Ok(())
}
