//! From a file to the tree: directives, then one instruction after the other, then stages.
//!
//! The first mistake ends it, so nothing of a file with a mistake is ever built.

use crate::ast::{Directives, Dockerfile, Stage, Statement};
use crate::diagnostic::{Diagnostic, Failed};
use crate::directive;
use crate::heredoc::{self, Heredoc};
use crate::instruction::{self, Instruction};
use crate::line::{LogicalLine, Reader};
use crate::parts::Parts;
use crate::source::{Source, Span};

/// Parses the bytes of a Dockerfile; `name` is what messages call the file.
///
/// Fails with the first mistake, and with the text to show it in.
pub fn parse(name: &str, text: &[u8]) -> Result<Dockerfile, Failed> {
    match parse_as_far_as_possible(name, text) {
        (file, None) => Ok(file),
        (file, Some(diagnostic)) => Err(Failed { source: file.source, diagnostic }),
    }
}

/// Parses up to the first mistake, and returns what is above it with the mistake: for the checks, which have something to
/// say of half a file.
///
/// A file with a mistake may have no stages.
pub fn parse_as_far_as_possible(name: &str, text: &[u8]) -> (Dockerfile, Option<Diagnostic>) {
    let mut file = Dockerfile {
        source: Source::new(name, text),
        directives: Directives { escape: '\\', syntax: None, check: None },
        global_args: Vec::new(),
        stages: Vec::new(),
        empty_continuations: Vec::new(),
    };
    let mistake = parse_into(&mut file).err();
    (file, mistake)
}

fn parse_into(file: &mut Dockerfile) -> Result<(), Diagnostic> {
    let source = file.source.clone();
    if source.text().is_empty() {
        return Err(Diagnostic::new("the Dockerfile cannot be empty"));
    }
    file.directives = directive::parse(source.text())?;
    let escape = file.directives.escape;
    let mut reader = Reader::new(source.text(), None);

    while let Some(line) = reader.next_line(escape)? {
        if line.empty_continuation {
            file.empty_continuations.push(line.lines);
        }
        let (place, instruction) = parse_statement(&mut reader, line, escape)?;
        match (instruction, file.stages.last_mut()) {
            (Instruction::From(from), _) => {
                file.stages.push(Stage { from: place.with(from), steps: Vec::new() });
            }
            (instruction, Some(stage)) => stage.steps.push(place.with(instruction)),
            (Instruction::Arg(arg), None) => file.global_args.push(place.with(arg)),
            (_, None) => return Err(no_stage(&place)),
        }
    }

    if file.stages.is_empty() {
        let message = match file.global_args.is_empty() {
            true => "file with no instructions",
            false => "dockerfile contains no stages to build",
        };
        return Err(Diagnostic::new(message).hint("a Dockerfile needs a FROM instruction"));
    }
    Ok(())
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
    let (_, instruction) = parse_statement(&mut reader, line, escape).map_err(without_lines)?;
    match reader.next_line(escape).map_err(without_lines)? {
        Some(_) => Err(single()),
        None => Ok(instruction),
    }
}

/// One instruction with the heredocs that follow it; the place holds no instruction yet.
fn parse_statement(
    reader: &mut Reader<'_>,
    mut line: LogicalLine,
    escape: char,
) -> Result<(Statement<()>, Instruction), Diagnostic> {
    let comments = std::mem::take(&mut line.comments);
    let mut place = Statement {
        instruction: (),
        span: line.span,
        lines: line.lines,
        text: line.text().text().to_owned(),
        comments,
    };
    let mut parts = Parts::split(line.text(), escape);
    let instruction = read_heredocs(reader, &mut parts, &mut place)
        .and_then(|()| instruction::parse(&parts))
        .map_err(|diagnostic| diagnostic.at(place.span).on_lines(place.lines))?;
    Ok((place, instruction))
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
