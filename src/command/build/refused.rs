//! Options of `docker build` that kiln has no answer to, and those that it need not answer.

use crate::{
    command::{
        output,
        refused::{Entry, Table},
        run::options::Flag,
    },
    report::Failure,
};

/// The table of `build`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options;

impl Table for Options {
    const OPTIONS: &'static [Entry] = OPTIONS;
}

const OPTIONS: &[Entry] = &[
    ("cache-to", &[""], "the cache is in the store, and is not exported yet; leave it out"),
    ("attest", &["type=provenance,disabled=true", "type=sbom,disabled=true"], ATTESTATIONS),
    ("provenance", &["false"], ATTESTATIONS),
    ("sbom", &["false"], ATTESTATIONS),
    ("policy", &[], "there are no policies for sources"),
];

const ATTESTATIONS: &str = "kiln makes no attestations yet; leave it out, or give `false`";

/// Options that change nothing here, for the sake of scripts. Those that would change something elsewhere are told of, as
/// docker does.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Ignored {
    /// Accepted for Docker's sake: images are always in the store
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", hide_default_value = true, value_name = "BOOL")]
    load: Flag,
    /// The context is read in place
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    compress: Flag,
    /// There are no containers between steps
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true")]
    rm: Flag,
    /// The same
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    force_rm: Flag,
    /// Images are not signed
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true")]
    disable_content_trust: Flag,
    /// There is nothing more to tell
    #[arg(short = 'D', long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    debug: Flag,
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false")]
    squash: Flag,
    /// A cache that is not there changes no image
    #[arg(long, hide = true)]
    cache_from: Vec<String>,
    #[arg(long, hide = true)]
    security_opt: Vec<String>,
    #[arg(long, hide = true)]
    builder: Option<String>,
}

impl Ignored {
    /// Tells of what somebody may have expected an effect of.
    pub(super) fn tell(&self) {
        let given = |value: &Option<String>, usual: &[&str]| {
            value.as_deref().is_some_and(|value| !usual.contains(&value))
        };
        for (is_given, text) in [
            (
                self.squash.0,
                "--squash has no effect: what a last stage copies from another one is one layer",
            ),
            (
                self.cache_from.iter().any(|cache| !cache.is_empty()),
                "--cache-from has no effect yet: only the store is a cache",
            ),
            (
                !self.security_opt.is_empty(),
                "--security-opt has no effect: a step asks by RUN --security=insecure",
            ),
            (
                given(&self.builder, &["", "default"]),
                "--builder has no effect: kiln builds by itself",
            ),
        ] {
            if is_given {
                output::tell(&format!("warning: {text}"));
            }
        }
    }
}

/// Refuses what is not the name of a value.
pub(super) fn check_names(option: &str, what: &str, given: &[String]) -> Result<(), Failure> {
    match given.iter().find(|text| text.is_empty() || text.starts_with('=')) {
        Some(text) => {
            Err(Failure::usage(format!("--{option} `{text}`: invalid {what}: it has no name")))
        }
        None => Ok(()),
    }
}
