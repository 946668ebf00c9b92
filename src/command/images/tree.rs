//! `kiln images --tree`: layers that images share stand above those that only some of them have.
//!
//! ```text
//! LAYER                       ADDS      TOTAL     IMAGES
//! ADD root.tar /              1.98MB    1.98MB    busybox:latest
//! ├─ WORKDIR /app             0B        1.98MB
//! │  COPY greeting.txt .      6B        1.98MB    demo:1, demo:2
//! └─ RUN apk add curl         12MB      14MB      other:1
//! ```
//!
//! What has one layer on it only goes on below itself; what has several branches.

use std::collections::BTreeMap;

use engine::Engine;
use store::{Image, SnapshotId};

use super::Row;
use crate::{report::Failure, text};

/// How much of an instruction is shown.
const CREATED_BY: usize = 45;

/// A layer, with what lies on it.
#[derive(Debug, Default)]
struct Node {
    /// What made it, and what it adds; nothing for the root.
    made_by: String,
    size: u64,
    /// The names of the images that end here.
    images: Vec<String>,
    /// In the order in which they were met: the newest image first.
    above: Vec<(SnapshotId, Node)>,
}

/// Returns the layers of the images of `rows` as a tree.
pub(super) fn render(engine: &Engine, rows: &[Row], whole: bool) -> Result<String, Failure> {
    let mut root = Node::default();
    let mut names: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for row in rows {
        let name = match (&row.repository, &row.tag) {
            (Some(repository), Some(tag)) => format!("{repository}:{tag}"),
            (Some(repository), None) => repository.clone(),
            (None, _) => super::id(&row.image.id(), whole),
        };
        names.entry(row.image.id()).or_default().push(name);
    }
    for row in rows {
        if let Some(names) = names.remove(&row.image.id()) {
            root.add(engine, row.image.image(), names, whole)?;
        }
    }
    let mut lines = "LAYER\tADDS\tTOTAL\tIMAGES\n".to_owned();
    if !root.images.is_empty() {
        lines.push_str(&format!("(no layers)\t0B\t0B\t{}\n", root.images.join(", ")));
    }
    for (_, node) in &root.above {
        node.write(("", ""), 0, &mut lines);
    }
    Ok(text::aligned(&lines))
}

impl Node {
    fn add(
        &mut self,
        engine: &Engine,
        image: &Image,
        names: Vec<String>,
        whole: bool,
    ) -> Result<(), Failure> {
        let mut node = self;
        for (index, snapshot) in image.snapshots.iter().enumerate() {
            let known = node.above.iter().position(|(known, _)| known == snapshot);
            let index = match known {
                Some(known) => known,
                None => {
                    let made_by = made_by(image, index);
                    let made_by =
                        if whole { made_by } else { text::shortened(&made_by, CREATED_BY) };
                    let size = engine.layer_size(snapshot)?;
                    node.above.push((*snapshot, Self { made_by, size, ..Self::default() }));
                    node.above.len() - 1
                }
            };
            node = &mut node.above[index].1;
        }
        node.images.extend(names);
        Ok(())
    }

    /// Writes the layer and those on it. `margins` are what stands before it, and before what goes on below it.
    fn write(&self, margins: (&str, &str), below: u64, lines: &mut String) {
        let (mut node, mut margin, mut total) = (self, margins.0, below);
        // A loop where the tree does not branch: an image may have more layers than the stack has room.
        loop {
            total += node.size;
            let (adds, sum) = (text::size(node.size), text::size(total));
            let images = node.images.join(", ");
            lines.push_str(&format!("{margin}{}\t{adds}\t{sum}\t{images}\n", node.made_by));
            margin = margins.1;
            match node.above.as_slice() {
                [(_, only)] => node = only,
                several => {
                    for (index, (_, above)) in several.iter().enumerate() {
                        let is_last = index + 1 == several.len();
                        let (first, rest) =
                            if is_last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
                        let margins = (format!("{margin}{first}"), format!("{margin}{rest}"));
                        above.write((&margins.0, &margins.1), total, lines);
                    }
                    return;
                }
            }
        }
    }
}

/// Returns what made the layer of this number.
fn made_by(image: &Image, index: usize) -> String {
    let entry = image.config.history.iter().filter(|entry| !entry.empty_layer).nth(index);
    match entry {
        Some(entry) if !entry.created_by.is_empty() => entry.created_by.replace(['\n', '\t'], " "),
        Some(entry) if !entry.comment.is_empty() => {
            format!("({})", entry.comment.replace(['\n', '\t'], " "))
        }
        _ => "(unknown)".to_owned(),
    }
}
