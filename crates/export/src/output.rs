//! `--output`: `type=oci,dest=x`, a bare path for a directory, `-` for a tar on standard output.
//!
//! The value is one line of comma-separated values (RFC 4180: a field with a comma stands in quotes), as in BuildKit;
//! keys are not case-sensitive, and the last of two equal keys counts.

use std::{collections::BTreeMap, path::Path};

use oci::Reference;

use crate::{
    Annotations, Compression, Destination, MediaTypes, PushOptions, annotation,
    error::{Error, Result},
    exporter::{self, Exporter},
    oci_layout,
};

/// The key of the times in layers.
const REWRITE: &str = "rewrite-timestamp";

/// The key of an epoch of its own.
const EPOCH: &str = "source-date-epoch";

/// The keys that every type of output has.
pub(crate) const TIME_KEYS: [(&str, &str); 2] = [
    (REWRITE, "`true`: no file of a new layer is newer than SOURCE_DATE_EPOCH"),
    (EPOCH, "SOURCE_DATE_EPOCH of this output alone; empty for none"),
];

/// The beginnings of the keys of annotations.
pub(crate) const ANNOTATION_KEYS: [(&str, &str); 3] = [
    ("annotation.", "an annotation of the manifest"),
    ("annotation-", "one of what the key says: `annotation-index.NAME`, `manifest-descriptor`, …"),
    ("annotation[", "one for this platform: `annotation[linux/arm64].NAME`"),
];

/// The key of outputs whose files can be in one place or in several.
pub(crate) const SPLIT: (&str, &str) = (
    "platform-split",
    "whether the files for each platform have a directory of their own: `linux_amd64`; without it, those of several have",
);

/// Where a finished image is to go, and how. What is wrong with it was said when it was parsed.
#[derive(Debug, Clone)]
pub struct Output {
    exporter: &'static dyn Exporter,
    dest: Option<Destination>,
    target: Option<String>,
    attributes: BTreeMap<String, String>,
    annotations: Annotations,
    epoch: Option<Option<i64>>,
    rewrites_times: bool,
}

impl Output {
    /// Reads the value of `--output`.
    pub fn parse(value: &str) -> Result<Self, Error> {
        let fields =
            split(value).map_err(|reason| Error::Syntax { value: value.to_owned(), reason })?;
        if value == "-" {
            return Self::new("tar", BTreeMap::from([("dest".to_owned(), value.to_owned())]));
        }
        if let [path] = &fields[..]
            && !path.starts_with("type=")
        {
            return Self::new("local", BTreeMap::from([("dest".to_owned(), path.clone())]));
        }
        let mut attributes = BTreeMap::new();
        for field in fields {
            let Some((key, value_of_key)) = field.split_once('=') else {
                let reason = "every field is `key=value`";
                return Err(Error::Syntax { value: value.to_owned(), reason });
            };
            attributes.insert(key_of(key), value_of_key.to_owned());
        }
        let Some(kind) = attributes.remove("type") else {
            return Err(Error::Syntax { value: value.to_owned(), reason: "it has no `type=`" });
        };
        Self::new(&kind, attributes)
    }

    fn new(kind: &str, mut attributes: BTreeMap<String, String>) -> Result<Self> {
        let exporter = exporter::named(kind)?;
        let target = attributes.remove("target").filter(|target| !target.is_empty());
        let known = exporter.keys();
        let is_prefix = |name: &str| name.starts_with(annotation::PREFIX);
        let is_known = |key: &str| {
            known.iter().any(|(name, _)| *name == key || is_prefix(name) && key.starts_with(name))
        };
        if let Some(key) = attributes.keys().find(|key| !is_known(key)) {
            let nearest = exporter::nearest(key, known.iter().map(|(name, _)| *name));
            return Err(Error::UnknownKey { kind: exporter.name(), key: key.clone(), nearest });
        }
        let dest = attributes.remove("dest").filter(|dest| !dest.is_empty());
        let dest = dest.map(|dest| match dest.as_str() {
            "-" => Destination::Stdout,
            path => Destination::Path(path.into()),
        });
        if dest.is_none() && exporter.needs_dest() {
            return Err(Error::Missing { kind: exporter.name(), key: "dest" });
        }
        let epoch = attributes.remove(EPOCH).map(|value| epoch(&value)).transpose()?;
        let annotations = Annotations::of(&attributes)?;
        let rewrites_times = false;
        let mut output =
            Self { exporter, dest, target, attributes, annotations, epoch, rewrites_times };
        output.rewrites_times = output.flag(REWRITE, false)?;
        output.names()?;
        exporter.check(&output)?;
        Ok(output)
    }

    /// Returns the type: `oci`, `docker`, …
    pub fn kind(&self) -> &'static str {
        self.exporter.name()
    }

    /// Returns where it goes, `None` for what stays in the store.
    pub fn dest(&self) -> Option<&Destination> {
        self.dest.as_ref()
    }

    /// Returns `SOURCE_DATE_EPOCH` of this output, in seconds since 1970: its own (`source-date-epoch=`) if it has one, or
    /// says that there is none, else that of the build.
    pub fn epoch(&self, of_build: Option<i64>) -> Option<i64> {
        self.epoch.unwrap_or(of_build)
    }

    /// Returns what `source-date-epoch=` says: a number, or that there is none; `None` without such a key.
    pub fn own_epoch(&self) -> Option<Option<i64>> {
        self.epoch
    }

    /// Whether files of new layers may be no newer than the epoch: `rewrite-timestamp=true`.
    pub fn rewrites_times(&self) -> bool {
        self.rewrites_times
    }

    /// Whether it is an image of the store.
    pub fn is_stored(&self) -> bool {
        self.dest.is_none() && !self.needs_root()
    }

    /// Returns the target of the build that it is of, if it says so: `target=`.
    pub fn target(&self) -> Option<&str> {
        self.target.as_deref()
    }

    /// Says what is wrong with it for images of so many platforms, before anything is built for it.
    pub fn check_platforms(&self, count: usize) -> Result<(), Error> {
        if count > 1 { self.exporter.check_several(self) } else { Ok(()) }
    }

    /// Whether the files of images for so many platforms go to a directory each.
    pub(crate) fn splits_platforms(&self, count: usize) -> Result<bool> {
        self.flag(SPLIT.0, count > 1)
    }

    /// Refuses to put the files of several platforms into one place, where they would replace each other.
    pub(crate) fn check_split(&self) -> Result<()> {
        if self.splits_platforms(2)? {
            return Ok(());
        }
        let (key, value) = (SPLIT.0.to_owned(), "false".to_owned());
        let expected = "files of several platforms would replace each other";
        Err(Error::Value { key, value, expected })
    }

    /// Whether it goes to standard output, where nothing else may be written then.
    pub fn is_stdout(&self) -> bool {
        self.dest == Some(Destination::Stdout)
    }

    /// Whether [`crate::write`] needs the merged root file system for it.
    pub fn needs_root(&self) -> bool {
        self.exporter.needs_root()
    }

    /// Whether the image's names are to be pushed to their registries when it was written: `type=registry`, `push=true`.
    pub fn pushes(&self) -> bool {
        // What is neither true nor false was refused when the value was parsed.
        self.kind() == "registry" || self.flag("push", false).unwrap_or(false)
    }

    /// Returns how it is pushed.
    ///
    /// # Errors
    /// Those of [`Output::parse`], which has found none of them.
    pub fn push_options(&self) -> Result<PushOptions, Error> {
        let types = match self.attribute("oci-mediatypes") {
            None => MediaTypes::AsKept,
            Some(_) if self.flag("oci-mediatypes", true)? => MediaTypes::Oci,
            Some(_) => MediaTypes::Docker,
        };
        Ok(PushOptions {
            types,
            layers: oci_layout::layer_options(self, Compression::Gzip)?,
            annotations: self.annotations.clone(),
            by_digest: self.flag("push-by-digest", false)?,
        })
    }

    /// Adds annotations by their keys, such as `annotation-index.NAME`, unless the value has them; false if this type of
    /// output has no manifest to put them into.
    ///
    /// # Errors
    /// A key that means nothing; the output is as it was then.
    pub fn annotate(&mut self, annotations: &BTreeMap<String, String>) -> Result<bool, Error> {
        if !self.exporter.keys().iter().any(|key| *key == ANNOTATION_KEYS[0]) {
            return Ok(false);
        }
        let mut attributes = annotations.clone();
        attributes.extend(self.attributes.clone());
        self.annotations = Annotations::of(&attributes)?;
        self.attributes = attributes;
        Ok(true)
    }

    /// Returns what is said of the image besides.
    pub fn annotations(&self) -> &Annotations {
        &self.annotations
    }

    /// Whether the registries that it is pushed to need not prove who they are.
    ///
    /// # Errors
    /// As for [`Output::push_options`].
    pub fn is_insecure(&self) -> Result<bool, Error> {
        self.flag("registry.insecure", false)
    }

    /// Returns the names that the value gives the image (`name=`, several behind commas); the others are the caller's.
    pub fn names(&self) -> Result<Vec<Reference>, Error> {
        let names = self.attribute("name").unwrap_or_default().split(',').map(str::trim);
        names
            .filter(|name| !name.is_empty())
            .map(|name| Reference::parse(name).map(|reference| reference.tagged()))
            .collect::<Result<_, _>>()
            .map_err(|source| Error::Name { source })
    }

    pub(crate) fn exporter(&self) -> &'static dyn Exporter {
        self.exporter
    }

    /// The path of an output that has to have one, which was checked when it was parsed.
    pub(crate) fn path(&self) -> Result<&Path> {
        match &self.dest {
            Some(Destination::Path(path)) => Ok(path),
            _ => Err(Error::Missing { kind: self.kind(), key: "dest" }),
        }
    }

    pub(crate) fn destination(&self) -> Result<&Destination> {
        self.dest.as_ref().ok_or(Error::Missing { kind: self.kind(), key: "dest" })
    }

    pub(crate) fn attribute(&self, key: &str) -> Option<&str> {
        self.attributes.get(key).map(String::as_str)
    }

    /// Returns a key that is true or false, as Go reads it.
    pub(crate) fn flag(&self, key: &str, absent: bool) -> Result<bool> {
        match self.attribute(key) {
            None => Ok(absent),
            Some("1" | "t" | "T" | "true" | "TRUE" | "True" | "") => Ok(true),
            Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
            Some(value) => Err(Error::Value {
                key: key.to_owned(),
                value: value.to_owned(),
                expected: "`true` or `false`",
            }),
        }
    }
}

fn epoch(value: &str) -> Result<Option<i64>> {
    if value.is_empty() {
        return Ok(None);
    }
    value.parse().map(Some).map_err(|_| Error::Value {
        key: EPOCH.to_owned(),
        value: value.to_owned(),
        expected: "seconds since 1970, or nothing",
    })
}

/// Keys are the same in upper and lower case; the name of an annotation is not.
fn key_of(given: &str) -> String {
    let given = given.trim();
    match given.split_once('.') {
        Some((first, rest)) => format!("{}.{rest}", first.to_lowercase()),
        None => given.to_lowercase(),
    }
}

/// Splits one line of comma-separated values.
fn split(value: &str) -> Result<Vec<String>, &'static str> {
    let mut fields = Vec::new();
    let mut rest = value;
    loop {
        let (field, behind) = match rest.strip_prefix('"') {
            Some(quoted) => split_quoted(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if field.is_empty() {
            return Err("a field is empty");
        }
        fields.push(field);
        match behind.strip_prefix(',') {
            Some(next) => rest = next,
            None if behind.is_empty() => return Ok(fields),
            None => return Err("behind the closing quote stands neither a comma nor the end"),
        }
    }
}

/// Reads up to the closing quote; a doubled quote is one. Returns the field and what is behind it.
fn split_quoted(quoted: &str) -> Result<(String, &str), &'static str> {
    let mut field = String::new();
    let mut rest = quoted;
    loop {
        let end = rest.find('"').ok_or("a quote is not closed")?;
        field.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest.strip_prefix('"') {
            Some(behind) => {
                field.push('"');
                rest = behind;
            }
            None => return Ok((field, rest)),
        }
    }
}

#[cfg(test)]
mod tests;
