//! `SHELL ["program", "argument"…]`.

use crate::diagnostic::Diagnostic;
use crate::instruction::CommandLine;
use crate::parts::Parts;

/// Sets the shell for the shell forms that follow.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shell {
    /// The program and its arguments; at least one.
    pub argv: Vec<String>,
}

impl Shell {
    pub(super) fn parse(parts: &Parts<'_>, command: CommandLine) -> Result<Self, Diagnostic> {
        parts.check_no_flags()?;
        if parts.operands.is_empty() {
            return Err(parts.needs_an_operand());
        }
        match command {
            CommandLine::Exec(argv) if argv.is_empty() => Err(parts.needs_an_operand()),
            CommandLine::Exec(argv) => Ok(Self { argv }),
            CommandLine::Shell(_) => Err(not_json(parts)),
        }
    }
}

fn not_json(parts: &Parts<'_>) -> Diagnostic {
    let message = format!("SHELL requires the arguments to be in JSON form: {}", parts.line.text());
    Diagnostic::new(message)
        .at(parts.operands.span())
        .hint("write it with double quotes and commas, such as SHELL [\"/bin/bash\", \"-c\"]")
}
