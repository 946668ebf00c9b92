//! Directories: the build context, what COPY takes from it and how it lands in a root file system, and layers as tar.
//!
//! The rooms, in reading order:
//!
//! | room | what |
//! |---|---|
//! | [`root`] | an untrusted tree behind one descriptor |
//! | [`ignore`], [`glob`] | which paths of a context count, which a wildcard names |
//! | [`gitignore`] | what of a context a repository does not keep |
//! | [`tree`], [`select`](mod@select) | what a COPY reads from, and the files it names |
//! | `nearest` | the path that a misspelt source was meant to be |
//! | [`digest`], [`stat_cache`] | what those files contain, for cache keys |
//! | [`copy`](mod@copy), [`chmod`], [`passwd`] | how they land in a root file system, with which mode and owner |
//! | [`deed`] | whose files are where they cannot belong to anybody |
//! | [`difference`] | what a snapshot changes, told path by path |
//! | [`adopt`] | the marks of `fuse-overlayfs`, written as the kernel's |
//! | [`settle`] | what a step left behind without changing anything |
//! | [`whiteout`], [`pack`](mod@pack), [`unpack`] | a snapshot to a layer and back |
//! | [`flat`] | snapshots copied onto each other where nothing can be mounted, and what changed in such a tree |
//! | [`measure`] | how much a snapshot contains |
//! | [`archive`], [`copy_out`](mod@copy_out), [`compress`] | archives that ADD extracts, a tree to the host, compressed streams |
//!
//! Invariants: no path of a tree is ever joined to a host path; no digest depends on a time, an absolute path or an order
//! of the file system; nothing in a context that is not named is read.

pub mod adopt;
pub mod archive;
pub mod checksum;
pub mod chmod;
pub mod compress;
pub mod copy;
pub mod copy_out;
pub mod deed;
pub mod difference;
pub mod digest;
pub mod error;
pub mod flat;
pub mod gitignore;
pub mod glob;
pub mod ignore;
pub mod measure;
pub mod pack;
pub mod passwd;
pub mod root;
pub mod select;
pub mod settle;
pub mod stat_cache;
pub mod tree;
pub mod unpack;
pub mod whiteout;

mod interrupted;
mod nearest;
mod owner;
mod queue;
mod xattr;

#[cfg(test)]
mod test_data;

pub use adopt::adopt_marks;
pub use archive::{extract_archive, extract_beside, is_archive, newest};
pub use checksum::{Checksum, Contents, Written, contents};
pub use chmod::Chmod;
pub use compress::{
    CompressWriter, Compression, decompress, decompress_ahead, decompress_within, gzip_writer,
    zstd_writer,
};
pub use copy::{Filling, Layout, Placement, Rest, Unfilled, copy};
pub use copy_out::copy_out;
pub use deed::{Deeds, chown, keep_deeds, lstat};
pub use difference::{Difference, DifferenceKind, differences};
pub use error::{Error, Exclusion, Fault, Limit};
pub use flat::{Scan, collect, lay};
pub use gitignore::git_ignored;
pub use ignore::{BadPatternLine, Patterns};
pub use measure::{TreeSize, holes, tree_size};
pub use pack::{
    Pack, PackOptions, Times, pack, pack_filling, pack_living_tree, pack_one, pack_tree, pack_trees,
};
pub use passwd::{User, resolve_group, resolve_owner, resolve_user};
pub use root::{Created, RootDir, Timestamp};
pub use select::{Selection, Wanted, select};
pub use settle::{Files, Served, Unsettled};
pub use stat_cache::{Change, Changes, StatCache};
pub use tree::{DirectoryId, Owners, Tree};
pub use unpack::{Budget, Underneath, Unpacked, unpack_layer};
pub use whiteout::Flavour;
