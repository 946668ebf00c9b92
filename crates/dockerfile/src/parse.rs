//! From a file to the tree: directives, then one instruction after the other, then stages.
//!
//! The first mistake ends it, so nothing of a file with a mistake is ever built.

use crate::ast::{Dockerfile, Stage, Statement};
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
    let source = Source::new(name, text);
    parse_source(&source).map_err(|diagnostic| Failed { source, diagnostic })
}

fn parse_source(source: &Source) -> Result<Dockerfile, Diagnostic> {
    if source.text().is_empty() {
        return Err(Diagnostic::new("the Dockerfile cannot be empty"));
    }
    let directives = directive::parse(source.text())?;
    let mut reader = Reader::new(source.text(), None);
    let mut global_args = Vec::new();
    let mut stages: Vec<Stage> = Vec::new();
    let mut empty_continuations = Vec::new();

    while let Some(line) = reader.next_line(directives.escape)? {
        if line.empty_continuation {
            empty_continuations.push(line.lines);
        }
        let (place, instruction) = parse_statement(&mut reader, line, directives.escape)?;
        match (instruction, stages.last_mut()) {
            (Instruction::From(from), _) => {
                stages.push(Stage { from: place.with(from), steps: Vec::new() });
            }
            (instruction, Some(stage)) => stage.steps.push(place.with(instruction)),
            (Instruction::Arg(arg), None) => global_args.push(place.with(arg)),
            (_, None) => return Err(no_stage(&place)),
        }
    }

    if stages.is_empty() {
        let message = match global_args.is_empty() {
            true => "file with no instructions",
            false => "dockerfile contains no stages to build",
        };
        return Err(Diagnostic::new(message).hint("a Dockerfile needs a FROM instruction"));
    }
    Ok(Dockerfile { source: source.clone(), directives, global_args, stages, empty_continuations })
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
