//! `ADD [flags] source… destination`.

use crate::diagnostic::Diagnostic;
use crate::flag::Takes;
use crate::instruction::CopySource;
use crate::instruction::copy;
use crate::operand::List;
use crate::parts::Parts;
use crate::source::Word;

/// Copies files, and fetches remote ones, into the stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Add {
    /// `--chown=user[:group]`.
    pub chown: Option<Word>,
    /// `--chmod=mode`, octal or symbolic.
    pub chmod: Option<Word>,
    /// `--link`: an independent layer.
    pub link: bool,
    /// `--exclude=pattern`, any number of times; never expanded.
    pub exclude: Vec<Word>,
    /// `--keep-git-dir`, if it was given.
    pub keep_git_dir: Option<bool>,
    /// `--checksum=digest` of the one remote source.
    pub checksum: Option<Word>,
    /// `--unpack`, if it was given; else local archives are unpacked and remote ones are not.
    pub unpack: Option<bool>,
    /// The sources: those with a path in the order written, then the heredocs.
    pub sources: Vec<CopySource>,
    /// Where to.
    pub destination: Word,
}

const FLAGS: [(&str, Takes); 7] = [
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Switch),
    ("exclude", Takes::Values),
    ("keep-git-dir", Takes::Switch),
    ("checksum", Takes::Value),
    ("unpack", Takes::Switch),
];

impl Add {
    pub(super) fn parse(parts: &Parts<'_>, list: List<'_>) -> Result<Self, Diagnostic> {
        let mut operands = copy::sources(parts, list);
        copy::check_count(parts, &operands)?;
        let flags = parts.check_flags(&FLAGS)?;
        let destination = copy::destination(parts, &mut operands)?;
        Ok(Self {
            chown: flags.word("chown"),
            chmod: flags.word("chmod"),
            link: flags.switch("link").unwrap_or(false),
            exclude: flags.values("exclude").map(|value| value.word()).collect(),
            keep_git_dir: flags.switch("keep-git-dir"),
            checksum: flags.word("checksum"),
            unpack: flags.switch("unpack"),
            sources: copy::in_order(operands),
            destination,
        })
    }
}
