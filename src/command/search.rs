//! `kiln search`.

use oci::Reference;
use registry::{Found, Term};
use serde_json::{Value, json};
use template::Data;

use super::{output, runtime};
use crate::{
    environment,
    filter::Filters,
    listing::Listing,
    report::{Exit, Failure},
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Search {
    /// Only those with `stars=N` or more, `is-official=BOOL`, `is-automated=BOOL`
    #[arg(short, long = "filter", value_name = "KEY=VALUE")]
    pub(crate) filters: Vec<String>,
    /// `json`, `table TEMPLATE`, or a Go template for each result
    #[arg(long)]
    pub(crate) format: Option<String>,
    /// How many results there are at most [default: 25; of tags all]
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// List the tags of a repository instead
    #[arg(long, conflicts_with = "filters")]
    pub(crate) list_tags: bool,
    /// Whole descriptions
    #[arg(long)]
    pub(crate) no_trunc: bool,
    /// A word for Docker Hub, or `HOST/WORD`; `HOST/` is all that a registry has
    #[arg(value_name = "TERM")]
    pub(crate) term: String,
}

/// How many results people want to see.
const USUAL: usize = 25;

/// How many Docker Hub has for one question.
const MOST_OF_HUB: usize = 100;

/// How much of a description is shown.
const DESCRIPTION: usize = 45;

const TABLE: &str = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";

const HEADINGS: &[(&str, &str)] = &[
    ("Description", "DESCRIPTION"),
    ("IsAutomated", "AUTOMATED"),
    ("IsOfficial", "OFFICIAL"),
    ("Name", "NAME"),
    ("StarCount", "STARS"),
];

const TAG_TABLE: &str = "{{.Name}}\t{{.Tag}}";

const TAG_HEADINGS: &[(&str, &str)] = &[("Name", "NAME"), ("Tag", "TAG")];

/// Lists what a registry has to a term, or the tags of a repository.
pub(super) fn run(search: &Search) -> Result<Exit, Failure> {
    if search.limit == Some(0) {
        return Err(Failure::usage("`--limit` is a number from 1"));
    }
    let rows = if search.list_tags { tags(search)? } else { repositories(search)? };
    output::print(&rows)?;
    Ok(Exit::Done)
}

fn repositories(search: &Search) -> Result<String, Failure> {
    let listing = Listing::parse(search.format.as_deref(), TABLE, HEADINGS)?;
    let filters = Filters::parse(&search.filters, &["is-automated", "is-official", "stars"])?;
    let wanted = Wanted::parse(&filters)?;
    let term = Term::parse(&search.term);
    if term.is_for_hub() && term.text.is_empty() {
        return Err(Failure::usage("nothing to search for: give a word for Docker Hub"));
    }
    let limit = search.limit.unwrap_or(USUAL);
    if term.is_for_hub() && limit > MOST_OF_HUB {
        return Err(Failure::usage(format!(
            "limit {limit} is outside the range of [1, {MOST_OF_HUB}]"
        )));
    }
    // Those that are filtered out are not to count.
    let most = if search.filters.is_empty() { limit } else { limit.max(MOST_OF_HUB) };
    let client = environment::registry_client()?;
    let mut found = runtime(2)?.block_on(client.search(&term, most))?;
    found.retain(|found| wanted.fits(found));
    found.truncate(limit);
    let is_json = search.format.as_deref().is_some_and(|format| format.contains("json"));
    let rows = found.iter().map(|found| Data::row(&row(found, search.no_trunc, is_json)));
    listing.render(rows)
}

/// What the results have to be like.
struct Wanted {
    stars: u64,
    official: Option<bool>,
    automated: Option<bool>,
}

impl Wanted {
    fn parse(filters: &Filters) -> Result<Self, Failure> {
        let stars = match filters.values("stars") {
            [.., last] => last.parse().map_err(|_| {
                Failure::usage(format!("invalid filter 'stars={last}': it is a number"))
            })?,
            [] => 0,
        };
        let official = filters.truth("is-official")?;
        let automated = filters.truth("is-automated")?;
        Ok(Self { stars, official, automated })
    }

    fn fits(&self, found: &Found) -> bool {
        found.stars >= self.stars
            && self.official.is_none_or(|wanted| wanted == found.is_official)
            && self.automated.is_none_or(|wanted| wanted == found.is_automated)
    }
}

fn row(found: &Found, no_trunc: bool, is_json: bool) -> Value {
    let description = match no_trunc {
        true => text::visible(&found.description).replace(['\n', '\t'], " "),
        false => text::shortened(&found.description, DESCRIPTION),
    };
    // As Docker does: a sign for people, a word for programs.
    let said = |truth: bool| match (truth, is_json) {
        (true, true) => "true",
        (false, true) => "false",
        (true, false) => "[OK]",
        (false, false) => "",
    };
    json!({
        "Description": description,
        "IsAutomated": said(found.is_automated),
        "IsOfficial": said(found.is_official),
        "Name": found.name,
        "StarCount": found.stars.to_string(),
    })
}

fn tags(search: &Search) -> Result<String, Failure> {
    let listing = Listing::parse(search.format.as_deref(), TAG_TABLE, TAG_HEADINGS)?;
    let reference = Reference::parse(&search.term)?;
    if reference.tag().is_some() || reference.digest().is_some() {
        let name = reference.familiar_name();
        return Err(Failure::usage(format!("--list-tags takes a repository: `{name}`")));
    }
    let client = environment::registry_client()?;
    let most = search.limit.unwrap_or(usize::MAX);
    let tags = runtime(2)?.block_on(client.first_tags(&reference, most))?;
    let name = reference.familiar_name();
    let rows = tags.iter().map(|tag| Data::row(&json!({ "Name": name, "Tag": tag })));
    listing.render(rows)
}
