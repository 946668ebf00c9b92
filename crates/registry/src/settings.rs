//! What files say about registries: where else their images can be had, whom to trust without proof, whom to leave alone.
//!
//! | file | what is taken from it |
//! |---|---|
//! | kiln's `config.json` ([`kiln`]) | everything; it goes before the others |
//! | Docker's `daemon.json` ([`docker`]) | `registry-mirrors`, `insecure-registries` |
//! | `registries.conf` of podman ([`containers`]) | `[[registry]]` with its mirrors; the older `insecure` and `block` |
//!
//! A short name means Docker Hub whatever they say: the same Dockerfile builds upon the same base everywhere.

mod containers;
mod docker;
mod hosts;
mod kiln;

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use oci::Reference;

use self::hosts::Pattern;
use crate::{Error, Places, SettingsError, error::harmless};

/// Everything that is known of registries before one is asked.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// In the order in which they were read; of those that fit equally well the first counts.
    rules: Vec<Rule>,
    /// By pattern: how a host is spoken to. The first counts.
    hosts: Vec<(Pattern, Security)>,
    /// By `host[:port]`: files of further authorities.
    authorities: BTreeMap<String, Vec<PathBuf>>,
}

/// How much a host has to prove.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Security {
    /// Nothing: any certificate will do, and plain http where it speaks no TLS.
    Insecure,
    /// Nothing, and plain http at once.
    Plain,
}

/// What is known of the repositories with a prefix.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Rule {
    /// `host[:port][/path]`, or `*.domain`.
    prefix: String,
    /// What stands in place of the prefix where the registry itself is asked.
    location: Option<String>,
    /// Where to ask first.
    mirrors: Vec<Mirror>,
    /// Whether nothing may be had from there.
    blocked: bool,
}

/// A place that has copies.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Mirror {
    /// What stands in place of the prefix.
    location: String,
    serves: Serves,
}

/// Which references a mirror is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Serves {
    All,
    Digests,
    Tags,
}

impl Settings {
    /// Reads the files that exist.
    ///
    /// # Errors
    /// [`Error::Settings`] for one that cannot be understood. Other tools' files that may not be read are passed over.
    pub fn load(places: &Places) -> Result<Self, Error> {
        let mut settings = Self::default();
        for path in places.kiln_files() {
            let must_be_there = places.kiln_config.as_ref() == Some(&path);
            if let Some(text) = read(&path, Reading { own: true, must_be_there })? {
                settings.add(kiln::parse(&path, &text)?);
            }
        }
        let others = Reading { own: false, must_be_there: false };
        for path in places.docker_files() {
            if let Some(text) = read(&path, others)? {
                settings.add(docker::parse(&path, &text)?);
            }
        }
        for path in places.containers_files() {
            if let Some(text) = read(&path, others)? {
                settings.add(containers::parse(&path, &text)?);
            }
        }
        Ok(settings)
    }

    /// Adds one host to those that need not prove anything: `host`, for all its ports, `host:port`, or a network.
    #[must_use]
    pub fn with_insecure(mut self, host: &str) -> Self {
        self.hosts.push((Pattern::parse(host), Security::Insecure));
        self
    }

    /// The same for one that is spoken to over plain http at once.
    #[must_use]
    pub fn with_plain(mut self, host: &str) -> Self {
        self.hosts.push((Pattern::parse(host), Security::Plain));
        self
    }

    /// Adds what another file says, which goes behind what is known already.
    fn add(&mut self, later: Self) {
        // One file is the last word about a prefix, not half of it.
        let known: Vec<String> = self.rules.iter().map(|rule| rule.prefix.clone()).collect();
        self.rules.extend(later.rules.into_iter().filter(|rule| !known.contains(&rule.prefix)));
        self.hosts.extend(later.hosts);
        for (host, files) in later.authorities {
            self.authorities.entry(host).or_default().extend(files);
        }
    }

    /// Returns how a host is spoken to; nothing for one that has to prove who it is.
    pub(crate) fn security(&self, host: &str, port: u16) -> Option<Security> {
        let found = self.hosts.iter().find(|(pattern, _)| pattern.matches(host, port));
        found.map(|(_, security)| *security)
    }

    /// Returns files of authorities that are believed about a host, besides the system's.
    pub(crate) fn authorities(&self, authority: &str) -> &[PathBuf] {
        self.authorities.get(authority).map(Vec::as_slice).unwrap_or_default()
    }

    /// Returns under which names an image can be had, the registry itself last.
    pub(crate) fn places(&self, reference: &Reference) -> Result<Vec<Reference>, Error> {
        let Some((rule, rest)) = self.rule(reference)? else { return Ok(vec![reference.clone()]) };
        let mirrors = rule.mirrors.iter().filter(|mirror| match mirror.serves {
            Serves::All => true,
            Serves::Digests => reference.digest().is_some(),
            Serves::Tags => reference.digest().is_none(),
        });
        let mut places: Vec<Reference> =
            mirrors.filter_map(|mirror| moved(reference, &mirror.location, rest)).collect();
        let own = rule.location.as_ref().and_then(|location| moved(reference, location, rest));
        places.push(own.unwrap_or_else(|| reference.clone()));
        Ok(places)
    }

    /// Refuses a repository that nothing may be had from, or sent to.
    pub(crate) fn check(&self, reference: &Reference) -> Result<(), Error> {
        self.rule(reference).map(|_| ())
    }

    /// Returns the rule with the longest prefix, and what of the name is behind that.
    fn rule<'a>(&self, reference: &'a Reference) -> Result<Option<(&Rule, &'a str)>, Error> {
        let fitting = self.rules.iter().filter_map(|rule| {
            let behind = behind(reference, &rule.prefix)?;
            Some((rule.prefix.len(), rule, behind))
        });
        // Of equally long ones the first.
        let best = fitting.reduce(|best, next| if next.0 > best.0 { next } else { best });
        match best {
            Some((_, rule, _)) if rule.blocked => {
                Err(Error::Blocked { wanted: reference.familiar(), prefix: rule.prefix.clone() })
            }
            best => Ok(best.map(|(_, rule, behind)| (rule, behind))),
        }
    }
}

/// Returns what of a repository's path is behind a prefix, `None` if it is another's.
fn behind<'a>(reference: &'a Reference, prefix: &str) -> Option<&'a str> {
    let (host, path) = (reference.host(), reference.path());
    if let Some(domain) = prefix.strip_prefix('*') {
        // The whole name is behind it: what replaces it replaces hosts, not repositories.
        return host.ends_with(domain).then_some(path);
    }
    let (prefix_host, prefix_path) = match prefix.split_once('/') {
        Some((host, path)) => (host, path.trim_end_matches('/')),
        None => (prefix, ""),
    };
    if !host.eq_ignore_ascii_case(prefix_host) {
        return None;
    }
    if prefix_path.is_empty() {
        return Some(path);
    }
    let rest = path.strip_prefix(prefix_path)?;
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// Returns the same image at another location.
fn moved(reference: &Reference, location: &str, rest: &str) -> Option<Reference> {
    let mut name = location.trim_end_matches('/').to_owned();
    if !rest.is_empty() {
        name.push('/');
        name.push_str(rest);
    }
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => name.push_str(&format!("@{digest}")),
        (None, Some(tag)) => name.push_str(&format!(":{tag}")),
        (None, None) => {}
    }
    // A location of which nothing becomes a name was refused when it was read.
    Reference::parse(&name).ok()
}

/// Reads the address of a mirror, `[http[s]://]host[:port][/path]`; returns where it is and, for one that speaks plain http,
/// its host.
fn location(given: &str) -> Result<(String, Option<String>), &'static str> {
    let (plain, rest) = match given.split_once("://") {
        Some(("http", rest)) => (true, rest),
        Some(("https", rest)) => (false, rest),
        Some(_) => return Err("its scheme is neither `http` nor `https`"),
        None => (false, given),
    };
    let rest = rest.trim_end_matches('/');
    let (host, path) = rest.split_once('/').map_or((rest, ""), |(host, path)| (host, path));
    // A host that is a bare word would be taken for a part of a path.
    let host = match host.contains(['.', ':']) || host == "localhost" {
        true => host.to_owned(),
        false => format!("{host}:{}", if plain { 80 } else { 443 }),
    };
    let location = if path.is_empty() { host.clone() } else { format!("{host}/{path}") };
    match Reference::parse(&format!("{location}/x")) {
        Ok(reference) if reference.host() == host => Ok((location, plain.then_some(host))),
        _ => Err("it is not `host[:port][/path]`"),
    }
}

/// How a file is read.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// Whether it is kiln's own.
    own: bool,
    must_be_there: bool,
}

fn read(path: &Path, reading: Reading) -> Result<Option<String>, Error> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory if !reading.must_be_there => {
                Ok(None)
            }
            io::ErrorKind::PermissionDenied if !reading.own => Ok(None),
            _ => Err(wrong(path, SettingsError::Read(error))),
        },
    }
}

fn wrong(path: &Path, source: SettingsError) -> Error {
    Error::Settings { path: path.to_owned(), source }
}

/// Returns the error of a value that makes no sense.
fn wrong_value(path: &Path, key: &str, value: &str, reason: &'static str) -> Error {
    let (key, value) = (harmless(key), harmless(value));
    wrong(path, SettingsError::Value { key, value, reason })
}

#[cfg(test)]
mod tests;
