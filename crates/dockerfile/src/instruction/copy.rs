//! `COPY [flags] source… destination`.

use crate::diagnostic::Diagnostic;
use crate::extension::{self, Dialect};
use crate::flag::{Flags, Takes};
use crate::heredoc::{self, Heredoc};
use crate::operand::List;
use crate::parts::Parts;
use crate::source::Word;

/// Copies files from the build context, a stage or an image into the stage.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Copy {
    /// `--from=name`: a stage, the index of one, a named context or an image. It has no variables in it.
    pub from: Option<Word>,
    /// `--chown=user[:group]`.
    pub chown: Option<Word>,
    /// `--chmod=mode`, octal or symbolic.
    pub chmod: Option<Word>,
    /// `--link`: an independent layer.
    pub link: bool,
    /// `--parents`: the directories of the sources are kept.
    pub parents: bool,
    /// `--if-exists`: sources that are missing are left out. Only with `# syntax=kiln`.
    pub if_exists: bool,
    /// `--exclude=pattern`, any number of times; never expanded.
    pub exclude: Vec<Word>,
    /// The sources: those with a path in the order written, then the heredocs.
    pub sources: Vec<CopySource>,
    /// Where to.
    pub destination: Word,
}

/// What `COPY` and `ADD` copy.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CopySource {
    /// A path or a pattern, and with `ADD` a URL.
    Path(Word),
    /// A file whose name and text are in the Dockerfile.
    Heredoc(Heredoc),
}

/// The last one is an extension.
const FLAGS: [(&str, Takes); 7] = [
    ("from", Takes::Value),
    ("chown", Takes::Value),
    ("chmod", Takes::Value),
    ("link", Takes::Switch),
    ("parents", Takes::Switch),
    ("exclude", Takes::Values),
    (IF_EXISTS, Takes::Switch),
];

const IF_EXISTS: &str = "if-exists";

impl Copy {
    pub(super) fn parse(parts: &Parts<'_>, list: List<'_>) -> Result<Self, Diagnostic> {
        let mut operands = sources(parts, list);
        check_count(parts, &operands)?;
        let flags = check_flags(parts)?;
        let destination = destination(parts, &mut operands)?;
        let from = flags.word("from");
        if let Some(from) = from.as_ref().filter(|from| from.text.contains('$')) {
            return Err(variable_in_from(from));
        }
        Ok(Self {
            from,
            chown: flags.word("chown"),
            chmod: flags.word("chmod"),
            link: flags.switch("link").unwrap_or(false),
            parents: flags.switch("parents").unwrap_or(false),
            if_exists: flags.switch(IF_EXISTS).unwrap_or(false),
            exclude: flags.values("exclude").map(|value| value.word()).collect(),
            sources: in_order(operands),
            destination,
        })
    }
}

fn check_flags<'a>(parts: &Parts<'a>) -> Result<Flags<'a>, Diagnostic> {
    if parts.dialect == Dialect::Kiln {
        return parts.check_flags(&FLAGS);
    }
    let extended = |error: Diagnostic| match error.message == format!("unknown flag: --{IF_EXISTS}")
    {
        true => error.hint(extension::hint(&format!("COPY --{IF_EXISTS}"))),
        false => error,
    };
    parts.check_flags(&FLAGS[..FLAGS.len() - 1]).map_err(extended)
}

fn variable_in_from(from: &Word) -> Diagnostic {
    let message = "variable expansion is not supported for --from, define a new stage with FROM \
                   using ARG from global scope as a workaround";
    Diagnostic::new(message).at(from.span)
}

/// The operands of `COPY` or `ADD`, the destination with them: words, and heredocs where there is one for a word.
pub(super) fn sources(parts: &Parts<'_>, list: List<'_>) -> Vec<CopySource> {
    let words = match list {
        List::Json(words) => return words.into_iter().map(CopySource::Path).collect(),
        List::Words(words) => words,
    };
    // Both are in the order of the line.
    let mut heredocs = parts.heredocs.iter().peekable();
    let mut sources = Vec::new();
    for word in words {
        let start = word.range().start;
        while heredocs.next_if(|(place, _)| place.range().end <= start).is_some() {}
        match heredocs.peek().filter(|(place, _)| place.range().contains(&start)) {
            None => sources.push(CopySource::Path(word.word())),
            // `<<'one two'` is two words between blanks; the first stands for all of it.
            Some((place, heredoc)) if place.range().start == start => {
                sources.push(CopySource::Heredoc(heredoc.clone()));
            }
            Some(_) => {}
        }
    }
    sources
}

/// Fails with fewer than two operands.
pub(super) fn check_count(parts: &Parts<'_>, operands: &[CopySource]) -> Result<(), Diagnostic> {
    if operands.len() >= 2 {
        return Ok(());
    }
    let name = parts.name();
    let message = format!(
        "{name} requires at least two arguments, but only one was provided. Destination could \
         not be determined"
    );
    if let Some(mistake) = parts.swallowed(&message) {
        return Err(mistake);
    }
    let place = if parts.operands.is_empty() { parts.line } else { parts.operands };
    let hint = match operands {
        [CopySource::Heredoc(heredoc)] => {
            format!("write {name} <<{} /path/of/the/file", heredoc.name)
        }
        _ => format!("write {name} source destination; `.` is the working directory"),
    };
    Err(Diagnostic::new(message).at(place.span()).hint(hint))
}

/// Takes the last operand, which must be a path.
pub(super) fn destination(
    parts: &Parts<'_>,
    operands: &mut Vec<CopySource>,
) -> Result<Word, Diagnostic> {
    let last = operands.pop();
    match last {
        Some(CopySource::Path(word)) if !heredoc::is_heredoc(&word.text) => Ok(word),
        Some(CopySource::Path(_) | CopySource::Heredoc(_)) | None => {
            let message = format!("{} cannot accept a heredoc as a destination", parts.name());
            let hint = "the destination stands last, behind the heredocs";
            Err(Diagnostic::new(message).at(parts.operands.span()).hint(hint))
        }
    }
}

/// The sources with the heredocs behind the paths, which is the order in which they are copied.
pub(super) fn in_order(mut sources: Vec<CopySource>) -> Vec<CopySource> {
    sources.sort_by_key(|source| matches!(source, CopySource::Heredoc(_)));
    sources
}
