//! The content digest of a selection: what decides whether a COPY is done again.
//!
//! It covers names relative to the source (and the source's own last component), kinds, modes, owners as they will be,
//! sizes, targets of links, numbers of devices, extended attributes and data. It does not cover times, where the source
//! lies, or inode numbers. Links, devices and sockets are taken without their attributes.
//!
//! The bytes that are hashed, integers little endian, texts with a u32 length before them:
//!
//! ```text
//! "kiln selection 1\n"
//! for each match:   its name, then an entry
//! entry:            kind (one byte: f d l p s c b), mode u32, uid u32, gid u32, then
//!   f               size u64, 32 bytes: see `contents`
//!   d               number of attributes u32, (name, value)…; then for each entry: 1, its name, an entry; then 0
//!   l               target
//!   c b             device number u64
//! ```

#[cfg(test)]
mod tests;

pub(crate) mod contents;

use std::{ffi::OsStr, os::unix::ffi::OsStrExt};

use oci::ContentDigest;

use crate::{
    Error, Selection,
    digest::contents::Contents,
    select::{Match, listing::Listing},
    tree::{Kind, Meta, Owners, Tree},
    xattr::Xattr,
};

/// To be changed with every change of what is hashed.
const HEADER: &[u8] = b"kiln selection 1\n";

/// Hears how far reading has come, and says whether it shall go on; asked at least for every few MiB.
pub type GoOn<'a> = &'a (dyn Fn(Reading) -> bool + Sync);

/// How far reading has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// Bytes that were read.
    pub done: u64,
    /// Bytes that were to be read from the beginning.
    pub size: u64,
}

impl Selection {
    /// Returns the digest of what is selected. Files whose `stat` is known to the tree's cache are not read; the others
    /// are, by several threads, and the cache learns them. Each of the threads asks every now and then whether it shall `go_on`.
    ///
    /// # Errors
    /// [`Error::Stopped`] if it shall not; what the cache has learned by then stays.
    pub fn digest(&self, tree: &Tree, go_on: GoOn<'_>) -> Result<ContentDigest, Error> {
        let contents = contents::read(self, tree, go_on)?;
        let mut writer =
            Writer { hasher: blake3::Hasher::new(), owners: tree.owners, contents: &contents };
        writer.hasher.update(HEADER);
        for (number, one) in self.matches.iter().enumerate() {
            writer.text(one.name.as_bytes());
            writer.one(number, one);
        }
        Ok(ContentDigest::new(writer.hasher.finalize().into()))
    }
}

struct Writer<'a> {
    hasher: blake3::Hasher,
    owners: Owners,
    contents: &'a Contents,
}

impl Writer<'_> {
    fn one(&mut self, number: usize, one: &Match) {
        self.meta(&one.meta);
        match &one.listing {
            Some(listing) => self.listing(number, listing),
            None => {
                let digest = self.contents.of(number, 0).next();
                self.leaf(&one.meta, None, digest);
            }
        }
    }

    /// Writes a directory and all below it, with a stack of its own: trees may be deeper than ours.
    fn listing(&mut self, number: usize, listing: &Listing) {
        let Some(top) = listing.dirs.first() else { return };
        let contents = self.contents;
        self.xattrs(&top.xattrs);
        let mut stack = vec![(top.entries(), contents.of(number, 0))];
        while let Some((entries, digests)) = stack.last_mut() {
            let Some(entry) = entries.next() else {
                self.hasher.update(&[0]);
                stack.pop();
                continue;
            };
            self.hasher.update(&[1]);
            self.text(entry.name.as_bytes());
            self.meta(&entry.meta);
            match entry.dir {
                Some(dir) => {
                    self.xattrs(&listing.dirs[dir].xattrs);
                    stack.push((listing.dirs[dir].entries(), contents.of(number, dir)));
                }
                None => {
                    let is_file = entry.meta.kind == Kind::File;
                    let digest = if is_file { digests.next() } else { None };
                    self.leaf(&entry.meta, entry.target, digest);
                }
            }
        }
    }

    fn meta(&mut self, meta: &Meta) {
        let (uid, gid) = match self.owners {
            Owners::Root => (0, 0),
            Owners::Keep => (meta.uid, meta.gid),
        };
        // A link's own mode says nothing.
        let mode = if meta.kind == Kind::Link { 0 } else { meta.mode };
        self.hasher.update(&[letter(meta.kind)]);
        for number in [mode, uid, gid] {
            self.hasher.update(&number.to_le_bytes());
        }
    }

    fn leaf(&mut self, meta: &Meta, target: Option<&OsStr>, digest: Option<[u8; 32]>) {
        match meta.kind {
            Kind::File => {
                self.hasher.update(&meta.size.to_le_bytes());
                // Both sides walk the same selection, so there is one.
                self.hasher.update(&digest.unwrap_or_default());
            }
            Kind::Link => self.text(target.unwrap_or_default().as_bytes()),
            Kind::CharDevice | Kind::BlockDevice => {
                self.hasher.update(&meta.rdev.to_le_bytes());
            }
            Kind::Dir | Kind::Fifo | Kind::Socket => {}
        }
    }

    fn xattrs(&mut self, xattrs: &[Xattr]) {
        self.hasher.update(&(xattrs.len() as u32).to_le_bytes());
        for (name, value) in xattrs {
            self.text(name);
            self.text(value);
        }
    }

    fn text(&mut self, text: &[u8]) {
        self.hasher.update(&(text.len() as u32).to_le_bytes());
        self.hasher.update(text);
    }
}

fn letter(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'f',
        Kind::Dir => b'd',
        Kind::Link => b'l',
        Kind::Fifo => b'p',
        Kind::Socket => b's',
        Kind::CharDevice => b'c',
        Kind::BlockDevice => b'b',
    }
}
