//! What can go wrong with directories and archives, by what the caller can do about it.
//!
//! Paths in these errors are paths inside a tree (absolute, as the Dockerfile's author sees them), except where a
//! host path was given by the caller.

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{ignore::BadPatternLine, passwd::PasswdError};

/// An error of this crate.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused something.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// What was attempted, as a verb: `open`, `read`, `create`.
        action: &'static str,
        /// To which path.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },

    /// A source that is named without a wildcard does not exist, or is hidden by an ignore file.
    #[error("{path:?}: not found")]
    NotFound {
        /// The source, absolute inside its tree.
        path: String,
        /// The rule that hides it, if it is there but ignored.
        excluded: Option<Exclusion>,
        /// What was probably meant, relative to the tree.
        nearest: Option<String>,
    },

    /// A directory was wanted where something else is.
    #[error("{path:?}: not a directory")]
    NotADirectory {
        /// The path inside the root.
        path: PathBuf,
    },

    /// Directories are nested deeper than a layer can hold them.
    #[error("directories are nested deeper than {most} at `{}`", path.display())]
    Deep {
        /// Inside the root.
        path: PathBuf,
        /// How deep they may be.
        most: usize,
    },

    /// A regular file was wanted where something else is.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// The path inside the root.
        path: PathBuf,
    },

    /// A file is larger than what it is read for allows.
    #[error("`{}` is larger than {limit} bytes", path.display())]
    TooLarge {
        /// The path inside the root.
        path: PathBuf,
        /// The limit in bytes.
        limit: u64,
    },

    /// A path is longer than a layer can hold it.
    #[error(
        "{} is a path of more than {most} bytes, which nobody could unpack from a layer",
        shortened(path)
    )]
    LongPath {
        /// The path inside the snapshot.
        path: PathBuf,
        /// How long it may be.
        most: usize,
    },

    /// The files of a layer contain more than they may, with this one.
    #[error(
        "`{}` has {size} bytes, and all files of a layer together may have no more than {allowed}",
        path.display()
    )]
    LayerSize {
        /// The path inside the layer, or inside the tree that it is to come from.
        path: PathBuf,
        /// How many bytes it has, holes included.
        size: u64,
        /// How many all of them may have.
        allowed: u64,
    },

    /// Symbolic links lead in a circle.
    #[error("too many symbolic links on the way to `{}`", path.display())]
    TooManyLinks {
        /// The path inside the root.
        path: PathBuf,
    },

    /// A directory is copied onto something that is none.
    #[error("cannot copy to non-directory: {}", path.display())]
    CopyToNonDirectory {
        /// The destination inside the root.
        path: PathBuf,
    },

    /// A file is copied onto a directory of that name.
    #[error("cannot replace to directory {} with file", path.display())]
    ReplaceDirectory {
        /// The destination inside the root.
        path: PathBuf,
    },

    /// A device cannot be made without privileges.
    #[error("cannot create the device `{}` without privileges", path.display())]
    Device {
        /// The destination inside the root.
        path: PathBuf,
        /// What the kernel said.
        #[source]
        source: io::Error,
    },

    /// A directory would have to give way to something else, or something else to a directory.
    #[error(
        "cannot overwrite {} `{}` with {}",
        if *.is_dir { "non-directory" } else { "directory" },
        path.display(),
        if *.is_dir { "a directory" } else { "a non-directory" }
    )]
    Clash {
        /// Where, below the destination.
        path: PathBuf,
        /// Whether what shall be put there is a directory.
        is_dir: bool,
    },

    /// A file changed its kind while it was copied.
    #[error("`{}` changed while it was read", path.display())]
    Changed {
        /// The source inside its tree.
        path: PathBuf,
    },

    /// Whoever wanted something read does not want it any more.
    #[error("stopped")]
    Stopped,

    /// A file has another length than it says. The kernel makes such files up while they are read, in `/proc` and `/sys`.
    #[error("`{}` has not the {size} bytes that it says it has, as files that the kernel makes up", path.display())]
    NoSize {
        /// The source inside its tree.
        path: PathBuf,
        /// What it says.
        size: u64,
    },

    /// What was to be copied is, or contains, the directory that nothing is taken from.
    #[error("`{}` is where images and layers are kept: it cannot be copied into one", path.display())]
    Apart {
        /// That directory inside the tree.
        path: PathBuf,
    },

    /// An archive breaks the tar format, or a rule for layers.
    #[error("cannot unpack {}", entry_of(.entry))]
    Archive {
        /// The entry's name as the archive has it; empty when not even that could be read.
        entry: PathBuf,
        /// What is wrong with it.
        #[source]
        fault: Fault,
    },

    /// An archive holds more than the budget allows.
    #[error("the archive {limit} {allowed}{}", .limit.unit())]
    Budget {
        /// What there is too much of.
        limit: Limit,
        /// How much of it is allowed.
        allowed: u64,
    },

    /// The stream an archive is read from failed: a disk, a connection, or the compression of the data.
    #[error("cannot read the archive")]
    ReadArchive {
        /// What the stream said.
        #[source]
        source: io::Error,
    },

    /// The stream an archive is written to failed.
    #[error("cannot write the archive")]
    WriteArchive {
        /// What the stream said.
        #[source]
        source: io::Error,
    },

    /// A file cannot be part of a layer because of its name.
    #[error("{path:?} cannot be in a layer, where names that begin with `.wh.` mark deletions")]
    WhiteoutName {
        /// The path inside the snapshot.
        path: PathBuf,
    },

    /// A snapshot was made with a feature of overlay that a layer cannot express.
    #[error("{path:?} has the overlay attribute `{attribute}`, which a layer cannot carry")]
    OverlayAttribute {
        /// The path inside the snapshot.
        path: PathBuf,
        /// The extended attribute.
        attribute: &'static str,
    },

    /// `--chmod` is neither octal nor symbolic.
    #[error(
        "invalid chmod parameter: '{value}'. it should be octal string and between 0 and 07777"
    )]
    Chmod {
        /// The parameter as written.
        value: String,
    },

    /// An ignore file, an `--exclude` or a `--parents` source holds a malformed pattern.
    #[error(transparent)]
    Pattern(#[from] BadPatternLine),

    /// A user or group cannot be found or is out of range.
    #[error(transparent)]
    User(#[from] PasswdError),
}

impl Error {
    /// Returns a function for `map_err` that says what was attempted on which path.
    pub(crate) fn io<S: Into<io::Error>>(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(S) -> Self {
        move |source| Self::Io { action, path: path.into(), source: source.into() }
    }

    /// Returns the error of a stream that an archive is read from; a budget that ends the stream is told as such.
    pub(crate) fn read_archive(source: io::Error) -> Self {
        match source.downcast::<Self>() {
            Ok(budget) => budget,
            Err(source) => Self::ReadArchive { source },
        }
    }
}

/// How much of a name that nobody could have meant is shown.
const SHOWN_NAME: usize = 255;

fn entry_of(entry: &std::path::Path) -> String {
    if entry.as_os_str().is_empty() {
        return "the archive".to_owned();
    }
    format!("the entry {} of the archive", shortened(entry))
}

/// The beginning of a path, quoted.
fn shortened(path: &std::path::Path) -> String {
    let name = path.to_string_lossy();
    match name.char_indices().nth(SHOWN_NAME) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{path:?}"),
    }
}

/// What is wrong with an entry of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Fault {
    /// The archive ends in the middle of a header or a file.
    #[error("the archive is truncated")]
    Truncated,
    /// The checksum of a header does not match, so this is no header.
    #[error("the header is invalid")]
    Header,
    /// A number in a header is malformed or out of range.
    #[error("the header field `{0}` is invalid")]
    Field(&'static str),
    /// A PAX record is malformed.
    #[error("the extended header is malformed")]
    Pax,
    /// An extended header or a long name is larger than any honest one.
    #[error("the extended header is larger than {0} bytes")]
    ExtendedSize(u64),
    /// The list of a sparse file's holes contradicts itself or the size.
    #[error("the map of the sparse file is invalid")]
    Sparse,
    /// The type of the entry is not one that a file system has.
    #[error("unhandled tar header type {0}")]
    Type(u8),
    /// The name holds a NUL byte, or a component longer than 255 bytes, or is longer than 4095 bytes.
    #[error("the name is invalid")]
    Name,
    /// The name means the root, which only a directory can be.
    #[error("the root cannot be replaced")]
    Root,
    /// The owner does not fit what the kernel has.
    #[error("the owner {0} is out of range")]
    Owner(i64),
    /// A whiteout of nothing, of `.` or of `..`, or a whiteout that is used as a directory.
    #[error("invalid whiteout name")]
    Whiteout,
    /// A parent of the entry is there and no directory.
    #[error("a parent is not a directory")]
    Parent,
    /// Symbolic links on the way lead in a circle.
    #[error("too many symbolic links")]
    Links,
    /// The target of a hard link does not exist, or is a directory.
    #[error("the target of the hard link is not a file of this root")]
    HardLink,
}

/// What a [`Budget`](crate::unpack::Budget) limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Files, directories and all other entries.
    Entries,
    /// Bytes of file contents.
    Bytes,
    /// How many times as large as its compressed form it is.
    Ratio,
    /// Names in one path.
    Depth,
}

impl Limit {
    fn unit(self) -> &'static str {
        match self {
            Self::Entries => " entries",
            Self::Bytes => " bytes",
            Self::Ratio => " times as large as what it is compressed to",
            Self::Depth => " levels of directories",
        }
    }
}

impl std::fmt::Display for Limit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Entries | Self::Bytes | Self::Depth => "holds more than",
            Self::Ratio => "is more than",
        })
    }
}

/// The rule of an ignore file that hides a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    /// The pattern as it is matched.
    pub pattern: String,
    /// Its line in the file, counted from 1.
    pub line: usize,
    /// What messages call the file; empty for patterns that are from none.
    pub file: String,
}
