//! Which images are listed, and under which names: after Docker's rules.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use engine::Engine;
use filetree::glob;
use jiff::Timestamp;
use oci::{ImageId, Reference};
use store::{Family, Image, Outline};

use super::Images;
use crate::{filter::Filters, report::Failure};

/// An image under one of its names.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) image: Outline,
    pub(super) repository: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) digest: Option<String>,
}

/// The names of one image.
#[derive(Debug, Default)]
struct Names {
    /// Tags by repository.
    tags: BTreeMap<String, BTreeSet<String>>,
    /// Digests by repository.
    digests: BTreeMap<String, BTreeSet<String>>,
}

/// Returns the rows of a listing, the newest image first.
pub(super) fn select(
    engine: &Engine,
    images: &Images,
    has_digests: bool,
    now: Timestamp,
) -> Result<Vec<Row>, Failure> {
    const KNOWN: &[&str] = &["before", "dangling", "label", "reference", "since", "until"];
    let filters = Filters::parse(&images.filter, KNOWN)?;
    let wanted = Wanted {
        patterns: filters.values("reference").iter().chain(&images.name).cloned().collect(),
        dangling: filters.truth("dangling")?,
        before: created_of(engine, &filters, "before")?,
        until: filters.time("until", now)?,
        since: created_of(engine, &filters, "since")?,
        filters,
    };
    let mut tagged: BTreeMap<ImageId, Vec<Reference>> = BTreeMap::new();
    for (name, id) in engine.store().tags()? {
        tagged.entry(id).or_default().push(name);
    }
    let all = everything(engine, images, &tagged)?;
    let mut rows = Vec::new();
    for Listed { image, is_parent } in all {
        if !wanted.fits(&image) {
            continue;
        }
        let references = tagged.remove(&image.id()).unwrap_or_default();
        let no_digests = BTreeSet::new();
        let digests = if image.is_image() { &image.image().digests } else { &no_digests };
        let is_named = !references.is_empty() || !digests.is_empty();
        let dangles = !is_named && !is_parent;
        if wanted.dangling.is_some_and(|wanted| wanted != dangles) {
            continue;
        }
        if is_named {
            let named = references.iter().chain(digests);
            let named: Vec<&Reference> = wanted
                .named(named)
                .collect::<Result<_, glob::BadPattern>>()
                .map_err(bad_pattern)?;
            rows.extend(Names::of(&named).rows(&image, has_digests));
        } else if wanted.patterns.is_empty() && (dangles || images.all) {
            rows.push(Row { image, repository: None, tag: None, digest: None });
        }
    }
    rows.sort_by_cached_key(|row| {
        let names = (row.repository.clone(), row.tag.clone(), row.digest.clone());
        // Of what was made at the same time, the later step first.
        let age = Reverse((created(row.image.created()), row.image.steps()));
        (age, names, row.image.id())
    });
    Ok(rows)
}

/// An image that may be listed.
struct Listed {
    image: Outline,
    /// Whether another one was made on it.
    is_parent: bool,
}

/// Returns all images; who descends from whom is found out only where it makes a difference.
fn everything(
    engine: &Engine,
    images: &Images,
    tagged: &BTreeMap<ImageId, Vec<Reference>>,
) -> Result<Vec<Listed>, Failure> {
    let whole = engine.store().images()?;
    if !images.all && whole.iter().all(|image| tagged.contains_key(&image.id)) {
        let listed = |image| Listed { image: Outline::of(Arc::new(image)), is_parent: false };
        return Ok(whole.into_iter().map(listed).collect());
    }
    let family = Family::of(&whole);
    let mut listed = Vec::new();
    let mut seen = BTreeSet::new();
    for image in whole {
        let image = Arc::new(image);
        if images.all {
            let steps = Outline::of_ancestors(&image);
            let steps = steps.filter(|step| family.is_ancestor(&step.id()));
            let steps = steps.filter(|step| seen.insert(step.id()));
            listed.extend(steps.map(|image| Listed { image, is_parent: true }));
        }
        let is_parent = family.has_children(&image.id);
        listed.push(Listed { image: Outline::of(image), is_parent });
    }
    Ok(listed)
}

/// What was asked for.
struct Wanted {
    patterns: Vec<String>,
    dangling: Option<bool>,
    before: Option<Timestamp>,
    until: Option<Timestamp>,
    since: Option<Timestamp>,
    filters: Filters,
}

impl Wanted {
    fn fits(&self, image: &Outline) -> bool {
        let created = created(image.created());
        let is_before = |limit: Option<Timestamp>| limit.is_none_or(|limit| created < Some(limit));
        is_before(self.before)
            && is_before(self.until)
            && self.since.is_none_or(|since| created > Some(since))
            && self.filters.fit_labels(&image.config().labels)
    }

    /// Returns the names that fit one of the patterns, if there are any.
    fn named<'r>(
        &self,
        names: impl Iterator<Item = &'r Reference>,
    ) -> impl Iterator<Item = Result<&'r Reference, glob::BadPattern>> {
        names.filter_map(|name| {
            let mut fits = Ok(self.patterns.is_empty());
            for pattern in &self.patterns {
                fits = fits.and_then(|fits| Ok(fits || is_called(name, pattern)?));
            }
            match fits {
                Ok(true) => Some(Ok(name)),
                Ok(false) => None,
                Err(bad) => Some(Err(bad)),
            }
        })
    }
}

/// Whether a pattern stands for a name, or for its repository, in the short form; the long form is meant as it is.
fn is_called(name: &Reference, pattern: &str) -> Result<bool, glob::BadPattern> {
    let repository = format!("{}/{}", name.host(), name.path());
    Ok(glob::go_match(pattern, &name.familiar())?
        || glob::go_match(pattern, &name.familiar_name())?
        || name.to_string() == pattern
        || repository == pattern)
}

fn bad_pattern(bad: glob::BadPattern) -> Failure {
    Failure::usage(format!("invalid filter 'reference': {bad}"))
}

fn created(text: Option<&str>) -> Option<Timestamp> {
    text?.parse().ok()
}

fn created_of(engine: &Engine, filters: &Filters, key: &str) -> Result<Option<Timestamp>, Failure> {
    let [.., last] = filters.values(key) else { return Ok(None) };
    let image: Image = engine.store().find(last)?;
    Ok(created(image.config.created.as_deref()))
}

impl Names {
    fn of(references: &[&Reference]) -> Self {
        let mut names = Self::default();
        for reference in references {
            let repository = reference.familiar_name();
            if let Some(digest) = reference.digest() {
                names.digests.entry(repository).or_default().insert(digest.to_string());
            } else {
                let tag = reference.tag_or_latest().to_owned();
                names.tags.entry(repository).or_default().insert(tag);
            }
        }
        names
    }

    /// Returns a row for each tag, with each digest of its repository if they are shown; and for each repository that has
    /// digests only.
    fn rows(mut self, image: &Outline, has_digests: bool) -> Vec<Row> {
        let row = |repository: &str, tag: Option<&str>, digest: Option<&str>| Row {
            image: image.clone(),
            repository: Some(repository.to_owned()),
            tag: tag.map(str::to_owned),
            digest: digest.map(str::to_owned),
        };
        let mut rows = Vec::new();
        for (repository, tags) in &self.tags {
            let digests = self.digests.remove(repository).filter(|_| has_digests);
            for tag in tags {
                match &digests {
                    None => rows.push(row(repository, Some(tag), None)),
                    Some(digests) => {
                        let one = |digest: &String| row(repository, Some(tag), Some(digest));
                        rows.extend(digests.iter().map(one));
                    }
                }
            }
        }
        for (repository, digests) in &self.digests {
            match has_digests {
                true => rows.extend(digests.iter().map(|d| row(repository, None, Some(d)))),
                false => rows.push(row(repository, None, None)),
            }
        }
        rows
    }
}
