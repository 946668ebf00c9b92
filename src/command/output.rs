//! Standard output: data only, and no error if nobody listens any more. Standard error: what is for people.

use std::io::{self, IsTerminal, Write};

use engine::Engine;

use crate::{report::Failure, text};

/// Prints data.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// Prints data that may be no text. Words of images, registries and containers may be in it: whoever has them in a file or a
/// pipe gets them as they are, and a terminal gets nothing that has power over it.
pub(super) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    if !io::stdout().is_terminal() {
        return write(bytes);
    }
    let text = String::from_utf8_lossy(bytes);
    write(text::visible(&text).as_bytes())
}

/// Prints a text in the place of all that a terminal shows.
pub(super) fn print_instead(text: &str) -> Result<(), Failure> {
    const CLEAR_AND_HOME: &str = "\x1b[2J\x1b[H";
    let text = text::visible(text);
    write([CLEAR_AND_HOME, &text].concat().as_bytes())
}

fn write(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(Failure::printing)
}

/// Tells people something: a line on standard error. That nobody can read it is no reason to fail, and `eprintln!` would panic.
/// Words of images and registries may be in it, which have no power over a terminal.
pub(crate) fn tell(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", text::visible(text));
}

/// Tells what the store found broken and put aside.
pub(super) fn warnings(engine: &Engine) {
    for warning in engine.store().take_warnings() {
        tell(&format!("warning: {warning}"));
    }
}
