//! Questions to somebody at a terminal. What is secret does not appear there while it is typed.

use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    os::fd::AsFd,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// Longer than any password; a file that was passed in by mistake ends here.
const MOST: usize = 64 * 1024;

/// What comes of a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Text(String),
    /// The key that interrupts was pressed.
    Interrupted,
}

/// Whether somebody can be asked.
pub(crate) fn can_ask() -> bool {
    io::stdin().is_terminal()
}

/// Asks for a line.
pub(crate) fn ask(question: &str) -> io::Result<String> {
    show(question)?;
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

/// Asks for a line that is not shown.
pub(crate) fn ask_secret(question: &str) -> io::Result<Reply> {
    show(question)?;
    let stdin = io::stdin();
    let silence = Silence::begin(stdin.as_fd())?;
    // By descriptor: what a buffer has read ahead would be lost to it.
    let reply = read_secret(&mut Bytes(stdin.as_fd()));
    drop(silence);
    show("\n")?;
    reply
}

#[expect(clippy::print_stderr, reason = "questions are for people")]
fn show(text: &str) -> io::Result<()> {
    eprint!("{text}");
    io::stderr().flush()
}

/// A terminal that shows nothing, and hands out each key, until this is dropped. Keys that would end the process are handed
/// out too: it could not undo this then.
struct Silence<Fd: AsFd> {
    terminal: Fd,
    before: Termios,
}

impl<Fd: AsFd> Silence<Fd> {
    fn begin(terminal: Fd) -> io::Result<Self> {
        let before = tcgetattr(&terminal)?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        tcsetattr(&terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl<Fd: AsFd> Drop for Silence<Fd> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

struct Bytes<Fd>(Fd);

impl<Fd: AsFd> Read for Bytes<Fd> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(&self.0, buffer)?)
    }
}

/// Reads keys to the end of the line, and does what a terminal would do about some.
fn read_secret(input: &mut impl Read) -> io::Result<Reply> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const BACK: u8 = 8;
    const KILL: u8 = 21;
    const DELETE: u8 = 127;
    let mut line: Vec<u8> = Vec::new();
    let mut key = [0];
    while line.len() < MOST && input.read(&mut key)? > 0 {
        match key[0] {
            INTERRUPT => return Ok(Reply::Interrupted),
            b'\r' | b'\n' | END => break,
            KILL => line.clear(),
            BACK | DELETE => {
                // A character may be several bytes.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            byte => line.push(byte),
        }
    }
    let text = String::from_utf8(line);
    text.map(Reply::Text).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_do_what_they_do_at_a_terminal() {
        for (keys, text) in [
            (&b"secret\nrest"[..], "secret"),
            (b"secret\r", "secret"),
            (b"secret", "secret"),
            (b"  spaces count \n", "  spaces count "),
            (b"wrong\x15right\n", "right"),
            (b"sex\x7fcrey\x08t\n", "secret"),
            ("ü\u{7f}u\n".as_bytes(), "u"),
            (b"\x7f\x7fa\n", "a"),
            (b"\x04", ""),
        ] {
            assert_eq!(read_secret(&mut &*keys).unwrap(), Reply::Text(text.to_owned()));
        }
        assert_eq!(read_secret(&mut &b"sec\x03"[..]).unwrap(), Reply::Interrupted);
        assert!(read_secret(&mut &b"\xff\n"[..]).is_err());
    }
}
