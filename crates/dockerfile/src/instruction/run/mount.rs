//! `RUN --mount=type=…,option=value…`: a CSV record of options.
//!
//! A mount is read in two steps, since the values of its options may have variables: [`MountFlag`] is what was
//! written, checked as far as it can be; lowering expands the values, and [`Mount::from_options`] gives the result.

mod options;

use self::options::Options;
pub(super) use self::options::parse_bool;
use super::csv::{self, Field};
use crate::diagnostic::Diagnostic;
use crate::flag::FlagValue;
use crate::source::{Span, Word};

/// A `--mount` as written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MountFlag {
    /// The options in their order, which matters for `required` and `size`.
    pub options: Vec<MountOption>,
    /// Where the flag is.
    pub span: Span,
}

/// One option of a mount.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MountOption {
    /// The key in lower case.
    pub key: String,
    /// The value, if there is an `=`. It may have variables, except that of `from`.
    pub value: Option<Word>,
    /// Where the option is.
    pub span: Span,
}

impl MountFlag {
    /// Reads the flag. Mistakes that no expansion can mend are found here already, so that they stop a build before it
    /// starts.
    pub(super) fn parse(flag: &FlagValue<'_>) -> Result<Self, Diagnostic> {
        let span = flag.fragment.span();
        let fields = csv::fields(flag, "mounts")?;
        let options: Vec<MountOption> = fields.into_iter().map(MountOption::parse).collect();
        for option in &options {
            options::check_key(&option.key, option.value.as_ref().map(|value| value.text.as_str()))
                .map_err(|diagnostic| diagnostic.at(option.span))?;
        }
        let flag = Self { options, span };
        if flag.options.iter().all(MountOption::is_literal) {
            flag.expand(|word| Ok(word.text.clone()))?;
        }
        Ok(flag)
    }

    /// Reads the options, with each value as `expand` gives it. Fails where `expand` does, and where an option or the
    /// whole of them is wrong.
    pub fn expand(
        &self,
        mut expand: impl FnMut(&Word) -> Result<String, Diagnostic>,
    ) -> Result<Mount, Diagnostic> {
        let mut options = Options::default();
        for option in &self.options {
            let value = option.value.as_ref().map(&mut expand).transpose()?;
            options
                .add(&option.key, value.as_deref())
                .map_err(|diagnostic| diagnostic.at(option.span))?;
        }
        options.finish().map_err(|diagnostic| diagnostic.at(self.span))
    }
}

impl MountOption {
    fn parse(field: Field) -> Self {
        let Field { text, span, value_span } = field;
        match text.split_once('=') {
            Some((key, value)) => {
                let value = Some(Word::new(value, value_span));
                Self { key: key.to_lowercase(), value, span }
            }
            None => Self { key: text.to_lowercase(), value: None, span },
        }
    }

    /// True if expansion leaves the value as it is.
    fn is_literal(&self) -> bool {
        let special = ['$', '\'', '"', '\\', '`'];
        self.value.as_ref().is_none_or(|value| !value.text.contains(special))
    }
}

/// A mount of a `RUN`, all options read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Mount {
    /// The kind, with the options only that kind has.
    pub kind: MountKind,
    /// `target`: relative ones are relative to the working directory. `None` if it is not given or empty.
    pub target: Option<String>,
    /// `source`, of `bind` and `cache`.
    pub source: Option<String>,
    /// `from`, of `bind` and `cache`: a stage, a named context or an image.
    pub from: Option<String>,
    /// What `ro` and `rw` say; without them, false for `cache` and `tmpfs` and true for all others.
    pub read_only: bool,
}

/// The kinds of mounts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MountKind {
    /// Files from the context, a stage or an image.
    Bind,
    /// A directory that persists between builds.
    Cache {
        /// What tells caches apart; the target where it is not given.
        id: Option<String>,
        /// Who may use it at the same time.
        sharing: Sharing,
        /// The mode of the directory when it is created.
        mode: Option<u32>,
        /// The owner of the directory when it is created.
        uid: Option<u32>,
        /// The group of the directory when it is created.
        gid: Option<u32>,
    },
    /// Memory.
    Tmpfs {
        /// The limit in bytes.
        size: Option<u64>,
    },
    /// A secret of the build, as a file or a variable.
    Secret {
        /// Its name: `id`, `source`, or the last part of the target.
        id: String,
        /// The variable to set; then there is a file only if there is a target.
        env: Option<String>,
        /// True if the build fails without it.
        required: bool,
        /// The mode of the file.
        mode: Option<u32>,
        /// The owner of the file.
        uid: Option<u32>,
        /// The group of the file.
        gid: Option<u32>,
    },
    /// A socket of an SSH agent.
    Ssh {
        /// Its name; `default` if it is not given.
        id: String,
        /// True if the build fails without it.
        required: bool,
        /// The mode of the socket.
        mode: Option<u32>,
        /// The owner of the socket.
        uid: Option<u32>,
        /// The group of the socket.
        gid: Option<u32>,
    },
}

/// Who may use a cache at the same time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sharing {
    /// Anyone.
    Shared,
    /// One step; others get another cache.
    Private,
    /// One step; others wait.
    Locked,
}

impl Mount {
    /// Reads options whose values have been expanded: pairs of a key in lower case and a value.
    pub fn from_options(options: &[(String, Option<String>)]) -> Result<Mount, Diagnostic> {
        let mut read = Options::default();
        for (key, value) in options {
            read.add(key, value.as_deref())?;
        }
        read.finish()
    }
}

#[cfg(test)]
mod tests;
