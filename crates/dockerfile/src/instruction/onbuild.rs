//! `ONBUILD instruction`.

use crate::diagnostic::Diagnostic;
use crate::extension::Dialect;
use crate::include;
use crate::instruction;
use crate::parts::Parts;
use crate::source::Span;

/// Stores an instruction for the builds that use this image as a base.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Onbuild {
    /// The instruction as text, with the bodies and ends of its heredocs: what the image config stores. It is parsed
    /// by [`parse_trigger`](crate::parse_trigger) when it is triggered.
    pub trigger: String,
    /// Where the instruction is.
    pub span: Span,
}

impl Onbuild {
    pub(super) fn parse(parts: &Parts<'_>, nested: &Parts<'_>) -> Result<Self, Diagnostic> {
        if parts.operands.is_empty() {
            return Err(parts.needs_an_operand());
        }
        parts.check_no_flags()?;
        check_allowed(nested)?;
        if parts.dialect == Dialect::Kiln {
            check_portable(nested)?;
        }
        // All else is an error of the build that runs the trigger; this one has no use for it.
        instruction::check_shape(nested)?;

        let mut trigger = nested.line.text().to_owned();
        for (_, heredoc) in &parts.heredocs {
            trigger.push('\n');
            trigger.push_str(&heredoc.body);
            trigger.push_str(&heredoc.name);
        }
        Ok(Self { trigger, span: nested.line.span() })
    }
}

/// Whoever builds on the image reads its triggers, with any builder.
fn check_portable(nested: &Parts<'_>) -> Result<(), Diagnostic> {
    let has_flag = || nested.flags.iter().any(|flag| flag.parts().0 == "--if-exists");
    let extension = match nested.name().as_str() {
        include::KEYWORD => include::KEYWORD,
        "COPY" if has_flag() => "COPY --if-exists",
        _ => return Ok(()),
    };
    let message = format!("{extension} isn't allowed as an ONBUILD trigger");
    Err(Diagnostic::new(message).at(nested.keyword.span()).hint(
        "triggers are read by whoever builds on the image, and there are no extensions in them",
    ))
}

fn check_allowed(nested: &Parts<'_>) -> Result<(), Diagnostic> {
    let message = match nested.name().as_str() {
        "ONBUILD" => "Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned(),
        name @ ("MAINTAINER" | "FROM") => format!("{name} isn't allowed as an ONBUILD trigger"),
        _ => return Ok(()),
    };
    Err(Diagnostic::new(message).at(nested.keyword.span()))
}
