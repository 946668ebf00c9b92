//! The eighteen instructions: one file for each with its type and how it is parsed, and the keyword table.
//!
//! An instruction's `parse` gets its operands in the shape that the table promises for it, and sees neither scopes nor
//! other instructions. Not here: what an instruction does, which is the matter of lowering.

mod add;
mod arg;
mod cmd;
mod copy;
mod entrypoint;
mod env;
mod expose;
mod from;
mod healthcheck;
mod label;
mod maintainer;
mod onbuild;
mod run;
mod shell;
mod stopsignal;
mod user;
mod volume;
mod workdir;

pub use self::add::Add;
pub use self::arg::{Arg, Declaration};
pub use self::cmd::Cmd;
pub use self::copy::{Copy, CopySource};
pub use self::entrypoint::Entrypoint;
pub use self::env::{Env, Pair};
pub use self::expose::Expose;
pub use self::from::From;
pub use self::healthcheck::{Check, Healthcheck};
pub use self::label::Label;
pub use self::maintainer::Maintainer;
pub use self::onbuild::Onbuild;
pub use self::run::{
    CommandLine, Device, Mount, MountFlag, MountKind, MountOption, Network, Run, Security, Sharing,
};
pub use self::shell::Shell;
pub use self::stopsignal::Stopsignal;
pub use self::user::User;
pub use self::volume::Volume;
pub use self::workdir::Workdir;

use crate::diagnostic::Diagnostic;
use crate::extension::{self, Dialect};
use crate::fragment::Fragment;
use crate::include;
use crate::nearest::nearest;
use crate::operand::{self, List};
use crate::parts::Parts;

/// An instruction of a Dockerfile.
#[derive(Clone, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "each variant is documented at its type")]
pub enum Instruction {
    Add(Add),
    Arg(Arg),
    Cmd(Cmd),
    Copy(Copy),
    Entrypoint(Entrypoint),
    Env(Env),
    Expose(Expose),
    From(From),
    Healthcheck(Healthcheck),
    Label(Label),
    Maintainer(Maintainer),
    Onbuild(Onbuild),
    Run(Run),
    Shell(Shell),
    Stopsignal(Stopsignal),
    User(User),
    Volume(Volume),
    Workdir(Workdir),
}

/// An instruction's name, the shape of its operands, and how it is parsed from them.
struct Keyword {
    name: &'static str,
    grammar: Grammar,
}

type Parsed = Result<Instruction, Diagnostic>;

/// The shapes of operands, each with the function that takes them.
enum Grammar {
    /// One text to the end of the line, which may have blanks in it.
    Text(fn(&Parts<'_>) -> Parsed),
    /// Words between blanks.
    Words(fn(&Parts<'_>, Vec<Fragment<'_>>) -> Parsed),
    /// Words with quoted parts.
    QuotedWords(fn(&Parts<'_>, Vec<Fragment<'_>>) -> Parsed),
    /// `key=value…`
    Pairs(fn(&Parts<'_>, Vec<Pair>) -> Parsed),
    /// A JSON array or words between blanks.
    List(fn(&Parts<'_>, List<'_>) -> Parsed),
    /// A JSON array or a text for the shell.
    Command(fn(&Parts<'_>, CommandLine) -> Parsed),
    /// A word and a command.
    Check(fn(&Parts<'_>, Fragment<'_>, CommandLine) -> Parsed),
    /// Another instruction.
    Nested(fn(&Parts<'_>, Parts<'_>) -> Parsed),
}

/// The keyword table: everything the parser knows about an instruction outside of its file.
static KEYWORDS: [Keyword; 18] = [
    keyword("ADD", Grammar::List(|p, list| Add::parse(p, list).map(Instruction::Add))),
    keyword("ARG", Grammar::QuotedWords(|p, words| Arg::parse(p, words).map(Instruction::Arg))),
    keyword("CMD", Grammar::Command(|p, command| Cmd::parse(p, command).map(Instruction::Cmd))),
    keyword("COPY", Grammar::List(|p, list| Copy::parse(p, list).map(Instruction::Copy))),
    keyword(
        "ENTRYPOINT",
        Grammar::Command(|p, command| Entrypoint::parse(p, command).map(Instruction::Entrypoint)),
    ),
    keyword("ENV", Grammar::Pairs(|p, pairs| Env::parse(p, pairs).map(Instruction::Env))),
    keyword("EXPOSE", Grammar::Words(|p, words| Expose::parse(p, words).map(Instruction::Expose))),
    keyword("FROM", Grammar::Words(|p, words| From::parse(p, words).map(Instruction::From))),
    keyword(
        "HEALTHCHECK",
        Grammar::Check(|p, kind, command| {
            Healthcheck::parse(p, kind, command).map(Instruction::Healthcheck)
        }),
    ),
    keyword("LABEL", Grammar::Pairs(|p, pairs| Label::parse(p, pairs).map(Instruction::Label))),
    keyword("MAINTAINER", Grammar::Text(|p| Maintainer::parse(p).map(Instruction::Maintainer))),
    keyword("ONBUILD", Grammar::Nested(|p, it| Onbuild::parse(p, &it).map(Instruction::Onbuild))),
    keyword("RUN", Grammar::Command(|p, command| Run::parse(p, command).map(Instruction::Run))),
    keyword(
        "SHELL",
        Grammar::Command(|p, command| Shell::parse(p, command).map(Instruction::Shell)),
    ),
    keyword("STOPSIGNAL", Grammar::Text(|p| Stopsignal::parse(p).map(Instruction::Stopsignal))),
    keyword("USER", Grammar::Text(|p| User::parse(p).map(Instruction::User))),
    keyword("VOLUME", Grammar::List(|p, list| Volume::parse(p, list).map(Instruction::Volume))),
    keyword("WORKDIR", Grammar::Text(|p| Workdir::parse(p).map(Instruction::Workdir))),
];

const fn keyword(name: &'static str, grammar: Grammar) -> Keyword {
    Keyword { name, grammar }
}

impl Instruction {
    /// The keyword in capitals.
    pub fn keyword(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::From(_) => "FROM",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::Stopsignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// Parses an instruction from its parts.
pub(crate) fn parse(parts: &Parts<'_>) -> Result<Instruction, Diagnostic> {
    let Some(keyword) = find(parts.keyword.text()) else {
        return Err(unknown(parts));
    };
    let operands = parts.operands;
    match keyword.grammar {
        Grammar::Text(parse) => parse(parts),
        Grammar::Words(parse) => parse(parts, operand::words(operands)),
        Grammar::QuotedWords(parse) => parse(parts, operand::quoted_words(operands, parts.escape)),
        Grammar::Pairs(parse) => {
            parse(parts, operand::pairs(operands, parts.escape, keyword.name)?)
        }
        Grammar::List(parse) => parse(parts, operand::list(operands)?),
        Grammar::Command(parse) => parse(parts, operand::command_line(operands)?),
        Grammar::Check(parse) => {
            let (kind, command) = first_word(operands);
            parse(parts, kind, operand::command_line(command)?)
        }
        Grammar::Nested(parse) => parse(parts, parts.nested()),
    }
}

fn unknown(parts: &Parts<'_>) -> Diagnostic {
    let name = parts.keyword.text();
    let error = Diagnostic::new(format!("unknown instruction: {name}")).at(parts.keyword.span());
    if name.eq_ignore_ascii_case(include::KEYWORD) {
        return error.hint(extension::hint(include::KEYWORD));
    }
    let names = KEYWORDS.iter().map(|keyword| keyword.name);
    let extensions = Some(include::KEYWORD).filter(|_| parts.dialect == Dialect::Kiln);
    let error = error.did_you_mean(nearest(name, names.chain(extensions)));
    match error.hint {
        Some(_) => error,
        None => error.hint(format!(
            "an instruction that goes on in the next line has `{}` at its end",
            parts.escape
        )),
    }
}

/// Checks the shape of the operands and no more: what can be said of an instruction that is not for this build.
pub(crate) fn check_shape(parts: &Parts<'_>) -> Result<(), Diagnostic> {
    let operands = parts.operands;
    match find(parts.keyword.text()).map(|keyword| (keyword.name, &keyword.grammar)) {
        None => Ok(()),
        Some((_, Grammar::Text(_) | Grammar::Words(_) | Grammar::QuotedWords(_))) => Ok(()),
        Some((name, Grammar::Pairs(_))) => operand::pairs(operands, parts.escape, name).map(drop),
        Some((_, Grammar::List(_) | Grammar::Command(_))) => {
            operand::json_array(operands).map(drop)
        }
        Some((_, Grammar::Check(_))) => operand::json_array(first_word(operands).1).map(drop),
        Some((_, Grammar::Nested(_))) => check_shape(&parts.nested()),
    }
}

/// True if `<<NAME` words of this instruction stand for texts that follow it: in `ADD`, `COPY` and `RUN` without a JSON
/// array, and in `ONBUILD` of those.
pub(crate) fn takes_heredocs(parts: &Parts<'_>) -> bool {
    let nested;
    let mut inner = parts;
    if parts.keyword.text().eq_ignore_ascii_case("ONBUILD") {
        nested = parts.nested();
        inner = &nested;
    }
    let keyword = inner.keyword.text();
    ["ADD", "COPY", "RUN"].iter().any(|name| keyword.eq_ignore_ascii_case(name))
        && matches!(operand::json_array(inner.operands), Ok(None))
}

fn find(name: &str) -> Option<&'static Keyword> {
    KEYWORDS.iter().find(|keyword| keyword.name.eq_ignore_ascii_case(name))
}

/// The first word of the operands, and what follows it.
fn first_word(operands: Fragment<'_>) -> (Fragment<'_>, Fragment<'_>) {
    let text = operands.text();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (operands.of(&text[..end]), operands.of(&text[end..]).trim())
}

#[cfg(test)]
mod tests;
