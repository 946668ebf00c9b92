//! What every instruction is made of before its own grammar starts: keyword, flags, operands, heredocs.

use crate::diagnostic::Diagnostic;
use crate::extension::Dialect;
use crate::flag::{self, Flag, Flags, Takes};
use crate::fragment::Fragment;
use crate::heredoc::Heredoc;
use crate::operand::is_blank;

/// An instruction in its parts.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    /// The first word, in the case it was written in.
    pub(crate) keyword: Fragment<'a>,
    /// The flags, not checked yet.
    pub(crate) flags: Vec<Flag<'a>>,
    /// What follows the flags.
    pub(crate) operands: Fragment<'a>,
    /// All of the line.
    pub(crate) line: Fragment<'a>,
    /// The heredocs with the words that call for them.
    pub(crate) heredocs: Vec<(Fragment<'a>, Heredoc)>,
    /// The escape character of the file.
    pub(crate) escape: char,
    /// The language of the file.
    pub(crate) dialect: Dialect,
}

impl<'a> Parts<'a> {
    /// Splits a line; the heredocs are the caller's to add.
    pub(crate) fn split(line: Fragment<'a>, escape: char, dialect: Dialect) -> Self {
        let (keyword, rest) = match line.text().split_once(is_blank) {
            Some((keyword, rest)) => (line.of(keyword), line.of(rest)),
            None => (line, line.of(&line.text()[line.text().len()..])),
        };
        let (flags, operands) = flag::split(rest);
        Self { keyword, flags, operands, line, heredocs: Vec::new(), escape, dialect }
    }

    /// Splits the instruction that is the operand of this one. It is for whoever builds on the image, so it has no
    /// extensions.
    pub(crate) fn nested(&self) -> Self {
        Self::split(self.operands, self.escape, Dialect::Docker)
    }

    /// The keyword in capitals.
    pub(crate) fn name(&self) -> String {
        self.keyword.text().to_uppercase()
    }

    /// Checks the flags against those the instruction knows.
    pub(crate) fn check_flags(
        &self,
        known: &[(&'static str, Takes)],
    ) -> Result<Flags<'a>, Diagnostic> {
        flag::check(&self.flags, known)
    }

    /// Fails if there are any flags.
    pub(crate) fn check_no_flags(&self) -> Result<(), Diagnostic> {
        self.check_flags(&[]).map(drop)
    }

    /// The error for an instruction without operands that needs some.
    pub(crate) fn needs_an_operand(&self) -> Diagnostic {
        let message = format!("{} requires at least one argument", self.name());
        if let Some(mistake) = self.swallowed(&message) {
            return mistake;
        }
        Diagnostic::new(message).at(self.line.span()).hint(format!("write {}", self.form()))
    }

    /// `message`, if what is missing is in the quotes of a flag that does not close them.
    pub(crate) fn swallowed(&self, message: &str) -> Option<Diagnostic> {
        let flag = self.flags.last()?;
        let hint = format!("a second `{}` must close the quote", flag.open_quote()?);
        Some(Diagnostic::new(message).at(flag.span()).hint(hint))
    }

    /// The operands as the single one; fails if there are none.
    pub(crate) fn only_operand(&self) -> Result<Fragment<'a>, Diagnostic> {
        if self.operands.is_empty() {
            let message = format!("{} requires exactly one argument", self.name());
            let hint = format!("write {}", self.form());
            return Err(Diagnostic::new(message).at(self.line.span()).hint(hint));
        }
        Ok(self.operands)
    }

    /// How the instruction is written, by an example.
    fn form(&self) -> String {
        let name = self.name();
        let operands = match &*name {
            "ARG" => "name, or ARG name=default",
            "ENV" | "LABEL" => "name=value",
            "EXPOSE" => "8080, or EXPOSE 53/udp",
            "USER" => "name, or USER name:group",
            "VOLUME" | "WORKDIR" => "/path",
            "SHELL" => "[\"/bin/bash\", \"-c\"]",
            "STOPSIGNAL" => "SIGTERM",
            "HEALTHCHECK" => "CMD command, or HEALTHCHECK NONE",
            "ONBUILD" => "instruction, such as ONBUILD RUN command",
            "MAINTAINER" => "name; LABEL org.opencontainers.image.authors=name is its successor",
            _ => "command",
        };
        format!("{name} {operands}")
    }

    /// The bodies of the heredocs.
    pub(crate) fn heredoc_bodies(&self) -> Vec<Heredoc> {
        self.heredocs.iter().map(|(_, heredoc)| heredoc.clone()).collect()
    }
}
