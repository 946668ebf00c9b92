//! From a file, and those it includes, to the tree: directives, then one instruction after the other, then stages.
//!
//! The first mistake ends it, so nothing of a file with a mistake is ever built.

use crate::ast::{Directives, Dockerfile, Stage, Statement};
use crate::diagnostic::{Diagnostic, Failed};
use crate::directive;
use crate::extension::Dialect;
use crate::heredoc::{self, Heredoc};
use crate::include::{self, Includes, NoIncludes, Open};
use crate::instruction::{self, Instruction};
use crate::limits::{self, MAX_FILE, MAX_WORDS};
use crate::line::{LogicalLine, Reader};
use crate::parts::Parts;
use crate::source::{Source, Span, Word};

/// Parses the bytes of a Dockerfile that includes no other file; `name` is what messages call it.
///
/// Fails with the first mistake, and with the text to show it in.
pub fn parse(name: &str, text: &[u8]) -> Result<Dockerfile, Failed> {
    match parse_as_far_as_possible(name, text, &NoIncludes) {
        (file, None) => Ok(file),
        (file, Some(diagnostic)) => Err(Failed { source: file.source, diagnostic }),
    }
}

/// Parses up to the first mistake, and returns what is above it with the mistake: for the checks, which have something to
/// say of half a file.
///
/// A file with a mistake may have no stages.
pub fn parse_as_far_as_possible(
    name: &str,
    text: &[u8],
    includes: &dyn Includes,
) -> (Dockerfile, Option<Diagnostic>) {
    let too_large = text.len() > MAX_FILE;
    let mut file = Dockerfile {
        source: Source::new(name, if too_large { b"" } else { text }),
        directives: Directives { escape: '\\', syntax: None, check: None },
        global_args: Vec::new(),
        stages: Vec::new(),
        empty_continuations: Vec::new(),
        includes: Vec::new(),
    };
    let mistake = match too_large {
        true => Some(Diagnostic::new(format!("the Dockerfile is larger than {MAX_FILE} bytes"))),
        false => parse_into(&mut file, includes).err(),
    };
    (file, mistake)
}

fn parse_into(file: &mut Dockerfile, includes: &dyn Includes) -> Result<(), Diagnostic> {
    let text = file.source.text().to_owned();
    if text.is_empty() {
        return Err(Diagnostic::new("the Dockerfile cannot be empty"));
    }
    file.directives = directive::parse(&text)?;
    let dialect = Dialect::of(&file.directives);
    let mut parser = Parser { file, dialect, includes, open: Open::default(), words: 0 };
    parser.read(&mut Reader::new(&text, None))?;

    if file.stages.is_empty() {
        let message = match file.global_args.is_empty() {
            true => "file with no instructions",
            false => "dockerfile contains no stages to build",
        };
        return Err(Diagnostic::new(message).hint("a Dockerfile needs a FROM instruction"));
    }
    Ok(())
}

/// Fills the tree.
struct Parser<'a> {
    file: &'a mut Dockerfile,
    dialect: Dialect,
    includes: &'a dyn Includes,
    open: Open,
    /// How many words the instructions have so far.
    words: usize,
}

impl Parser<'_> {
    /// Adds the instructions of one file, and of those that it includes.
    fn read(&mut self, reader: &mut Reader<'_>) -> Result<(), Diagnostic> {
        let escape = self.file.directives.escape;
        while let Some(line) = reader.next_line(escape)? {
            if line.empty_continuation {
                self.file.empty_continuations.push(line.lines);
            }
            let (place, parsed) = parse_statement(reader, line, escape, self.dialect)
                .map_err(|mistake| self.below_a_lost_heredoc(mistake))?;
            match parsed {
                Parsed::Instruction(instruction) => self.add(place, instruction)?,
                Parsed::Include(path) => self.include(&place, &path)?,
            }
        }
        Ok(())
    }

    fn add(&mut self, place: Statement<()>, instruction: Instruction) -> Result<(), Diagnostic> {
        self.words += limits::words(&instruction);
        if self.words > MAX_WORDS {
            let mistake =
                Diagnostic::new(format!("the instructions have more than {MAX_WORDS} words"));
            return Err(located(mistake, &place));
        }
        match (instruction, self.file.stages.last_mut()) {
            (Instruction::From(from), _) => {
                self.file.stages.push(Stage { from: place.with(from), steps: Vec::new() });
            }
            (instruction, Some(stage)) => stage.steps.push(place.with(instruction)),
            (Instruction::Arg(arg), None) => self.file.global_args.push(place.with(arg)),
            (_, None) => return Err(no_stage(&place)),
        }
        Ok(())
    }

    /// What follows a heredoc that is none is no instruction either; then the reason is further up.
    fn below_a_lost_heredoc(&self, mistake: Diagnostic) -> Diagnostic {
        let before = self.file.stages.last().and_then(|stage| stage.steps.last());
        let lost = before.filter(|before| {
            let keyword = before.instruction.keyword();
            matches!(keyword, "ADD" | "COPY" | "RUN") && heredoc::is_lost(&before.text)
        });
        match lost {
            Some(before) if mistake.message.starts_with("unknown instruction") => {
                let line = self.file.source.line_in_words(before.lines.0);
                mistake.hint(format!("a quote in {line} is not closed, so its `<<` begins no text"))
            }
            _ => mistake,
        }
    }

    fn include(&mut self, place: &Statement<()>, path: &Word) -> Result<(), Diagnostic> {
        self.file.includes.push(place.lines);
        let escape = self.file.directives.escape;
        let opened =
            self.open.open(&mut self.file.source, path, place.lines.0, escape, self.includes);
        let (text, beginning) = opened.map_err(|error| located(error, place))?;
        self.read(&mut Reader::at(&text, beginning))?;
        self.open.close();
        Ok(())
    }
}

/// A line of a Dockerfile.
enum Parsed {
    Instruction(Instruction),
    /// Not in the tree: what the file contains is in its place.
    Include(Word),
}

/// Parses the text of an `ONBUILD` trigger, as an image config stores it: one instruction, maybe with heredocs.
///
/// The text is in no file, so everything in the result, or the mistake, is said to be `at` one place: that of the
/// `FROM` whose base has the trigger.
pub fn parse_trigger(text: &str, at: Span) -> Result<Instruction, Diagnostic> {
    // Triggers are stored without the directives of their file, and BuildKit reads them with the default as well.
    let escape = '\\';
    let mut reader = Reader::new(text, Some(at));
    let single = || Diagnostic::new("onbuild trigger should be a single expression").at(at);
    let without_lines =
        |diagnostic: Diagnostic| Diagnostic { lines: None, span: Some(at), ..diagnostic };

    let line = reader.next_line(escape).map_err(without_lines)?.ok_or_else(single)?;
    let (_, parsed) =
        parse_statement(&mut reader, line, escape, Dialect::Docker).map_err(without_lines)?;
    match (parsed, reader.next_line(escape).map_err(without_lines)?) {
        (Parsed::Instruction(instruction), None) => Ok(instruction),
        (Parsed::Instruction(_) | Parsed::Include(_), _) => Err(single()),
    }
}

/// One instruction with the heredocs that follow it; the place holds no instruction yet.
fn parse_statement(
    reader: &mut Reader<'_>,
    mut line: LogicalLine,
    escape: char,
    dialect: Dialect,
) -> Result<(Statement<()>, Parsed), Diagnostic> {
    let comments = std::mem::take(&mut line.comments);
    let mut place = Statement {
        instruction: (),
        span: line.span,
        lines: line.lines,
        text: line.text().text().to_owned(),
        comments,
    };
    let mut parts = Parts::split(line.text(), escape, dialect);
    let parsed = read_heredocs(reader, &mut parts, &mut place)
        .and_then(|()| parse_parts(&parts))
        .map_err(|diagnostic| located(diagnostic, &place))?;
    Ok((place, parsed))
}

fn parse_parts(parts: &Parts<'_>) -> Result<Parsed, Diagnostic> {
    let path = match parts.dialect {
        Dialect::Kiln => include::operand(parts)?,
        Dialect::Docker => None,
    };
    match path {
        Some(path) => Ok(Parsed::Include(path)),
        None => instruction::parse(parts).map(Parsed::Instruction),
    }
}

/// A mistake is where it says, or somewhere in the instruction.
fn located(diagnostic: Diagnostic, place: &Statement<()>) -> Diagnostic {
    match (diagnostic.span, diagnostic.lines) {
        // Only the line is known, and it is another one.
        (None, Some(_)) => diagnostic,
        _ => diagnostic.at(place.span).on_lines(place.lines),
    }
}

/// Reads the bodies that `parts` call for, and extends `place` over them.
fn read_heredocs(
    reader: &mut Reader<'_>,
    parts: &mut Parts<'_>,
    place: &mut Statement<()>,
) -> Result<(), Diagnostic> {
    if !instruction::takes_heredocs(parts) {
        return Ok(());
    }
    for (word, marker) in heredoc::markers(parts.line) {
        let Some(body) = reader.read_body(&marker.name, marker.chomp)? else {
            return Err(Diagnostic::new("unterminated heredoc").at(word.span()).hint(format!(
                "the text after this line must end with a line that is just `{}`",
                marker.name
            )));
        };
        place.lines.1 = body.last_line;
        place.span.end = place.span.end.max(body.end);
        let heredoc = Heredoc {
            name: marker.name,
            body: body.text,
            expand: marker.expand,
            chomp: marker.chomp,
            fd: marker.fd,
            span: body.span,
        };
        parts.heredocs.push((word, heredoc));
    }
    Ok(())
}

fn no_stage(place: &Statement<()>) -> Diagnostic {
    Diagnostic::new("no build stage in current context")
        .at(place.span)
        .on_lines(place.lines)
        .hint("begin with FROM: only ARG may be before the first FROM")
}

#[cfg(test)]
mod tests;
