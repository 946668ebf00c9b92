//! Standard output: data only, and no error if nobody listens any more. Standard error: what is for people.

use std::io::{self, Write};

use engine::Engine;

use crate::report::Failure;

/// Prints data.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// Prints data that may be no text.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout
        .write_all(bytes)
        .and_then(|()| stdout.flush())
        .map_err(Failure::io("write to", "standard output"))
}

/// Tells people something: on standard error.
#[expect(clippy::print_stderr, reason = "for people")]
pub(super) fn tell(text: &str) {
    eprintln!("{text}");
}

/// Tells people something in passing.
#[expect(clippy::print_stderr, reason = "notes are for people")]
pub(super) fn note(text: &str) {
    eprintln!("{text}");
}

/// Tells what the store found broken and put aside.
#[expect(clippy::print_stderr, reason = "warnings are for people")]
pub(super) fn warnings(engine: &Engine) {
    for warning in engine.store().take_warnings() {
        eprintln!("warning: {warning}");
    }
}
