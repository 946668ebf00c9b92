//! `kiln fsck`: whether what is in the store is what it should be.
//!
//! Exit code 0: nothing is wrong, or nothing is any more; 1: something is.

use engine::{
    Engine,
    fsck::{self, Checked, Depth, Mended},
};
use store::Finding;

use super::output;
use crate::{
    report::{Exit, Failure},
    text,
};

#[derive(Debug, clap::Args)]
pub(crate) struct Fsck {
    /// Drop what is broken, or make it again from what is not
    #[arg(long)]
    repair: bool,
    /// Compare the sizes only of what is in layers and blobs, and do not read it
    #[arg(long)]
    fast: bool,
}

/// Says what is wrong.
pub(super) fn run(engine: &Engine, options: &Fsck) -> Result<Exit, Failure> {
    let depth = if options.fast { Depth::Fast } else { Depth::Thorough };
    let (checked, mended) = fsck::run(engine, depth, options.repair)?;
    let mut text: String = checked.findings.iter().map(tell).collect();
    text.push_str(&summary(&checked, depth));
    let mut wrong = checked.findings.len();
    if let Some(mended) = &mended {
        text.push_str(&tell_mended(mended));
        wrong = mended.left.len();
    }
    text.push_str(&match (wrong, options.repair, checked.findings.is_empty()) {
        (0, _, true) => "nothing is wrong\n".to_owned(),
        (0, _, false) => "nothing is wrong any more\n".to_owned(),
        (wrong, true, _) => format!("{} still wrong\n", things(wrong)),
        (wrong, false, _) => format!("{} wrong: `kiln fsck --repair`\n", things(wrong)),
    });
    output::print(&text)?;
    Ok(if wrong == 0 { Exit::Done } else { Exit::Failed })
}

fn things(number: usize) -> String {
    if number == 1 { "1 thing is".to_owned() } else { format!("{number} things are") }
}

/// A line for what is wrong, and one for each who uses it.
fn tell(finding: &Finding) -> String {
    let line = format!("{}: {}", finding.subject, finding.reason);
    let mut told = format!("{}\n", text::visible(&line));
    for user in &finding.users {
        told.push_str(&format!("  {}\n", text::visible(user)));
    }
    if let Some(advice) = finding.advice() {
        told.push_str(&format!("  {}\n", text::visible(advice)));
    }
    told
}

fn summary(checked: &Checked, depth: Depth) -> String {
    let counts = &checked.counts;
    let how = if depth == Depth::Fast { "looked at" } else { "checked" };
    let mut told = format!(
        "{how}: {} records, {} images, {} tags, {} cached steps, {} layers ({}), {} blobs ({}), {} containers, \
         {} volumes, {} cache mounts\n",
        counts.records,
        counts.images,
        counts.tags,
        counts.steps,
        checked.layers,
        text::exact_size(checked.layer_bytes),
        checked.blobs,
        text::exact_size(checked.blob_bytes),
        counts.containers,
        counts.volumes,
        counts.mounts,
    );
    if checked.uncompared > 0 && depth == Depth::Thorough {
        told.push_str(&format!(
            "read, with nothing to compare with: {} layers that no image has; `--repair` notes what they are\n",
            checked.uncompared
        ));
    }
    if counts.unneeded > 0 {
        told.push_str(&format!(
            "not needed by anything: {} layers and blobs ({}); `kiln prune` removes them\n",
            counts.unneeded,
            text::exact_size(counts.unneeded_bytes)
        ));
    }
    if counts.later > 0 {
        told.push_str(&format!("of a later version of kiln: {} records\n", counts.later));
    }
    if counts.lost > 0 {
        told.push_str(&format!("put aside as broken earlier: {} records\n", counts.lost));
    }
    told
}

fn tell_mended(mended: &Mended) -> String {
    let remade = mended.remade.iter().map(|what| format!("made again: {what}\n"));
    let dropped = mended.dropped.iter().map(|what| format!("dropped: {what}\n"));
    let left = mended.left.iter().map(tell);
    let mut lines: String = remade.chain(dropped).chain(left).collect();
    if mended.noted > 0 {
        lines.push_str(&format!(
            "compared from now on: {} layers that no image has\n",
            mended.noted
        ));
    }
    lines
}
