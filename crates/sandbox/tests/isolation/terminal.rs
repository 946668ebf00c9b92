//! A process with a terminal.

use std::fs::File;
use std::io::Read;
use std::io::Write;
use std::os::fd::AsFd;

use sandbox::Exit;
use sandbox::Terminal;

use super::world::Case;
use super::world::World;
use super::world::run;

pub(crate) const CASES: &[Case] = &[
    ("terminal", terminal),
    ("terminal_of_a_user", terminal_of_a_user),
    ("hang_up", hang_up),
    ("terminal_and_failure", terminal_and_failure),
];

fn terminal(world: &World) {
    let (mut spec, _) = world.spec(
        "read line; echo got $line; tty; stty size; echo /dev/pts/*; stat -c %t:%T /dev/console; \
         echo x > /dev/tty; exit 3",
    );
    spec.terminal = Terminal::Pty;
    let mut child = sandbox::spawn(spec).unwrap();
    assert!(child.take_stdout().is_none() && child.take_stderr().is_none());
    let mut pty = File::from(child.take_pty().unwrap());
    let size = rustix::termios::Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&pty, size).unwrap();
    pty.write_all(b"input\n").unwrap();
    let mut output = Vec::new();
    // Reading ends with EIO when the last one has closed the other end.
    let _ = pty.read_to_end(&mut output);
    assert_eq!(child.wait().unwrap(), Exit::Code(3));
    assert_eq!(
        String::from_utf8(output).unwrap(),
        "input\r\ngot input\r\n/dev/pts/0\r\n33 99\r\n/dev/pts/0 /dev/pts/ptmx\r\n88:0\r\nx\r\n"
    );
}

fn terminal_of_a_user(world: &World) {
    let (mut spec, _) = world.spec("stat -c %u /dev/pts/0; echo y > /dev/tty");
    spec.terminal = Terminal::Pty;
    spec.rights.uid = 1000;
    let mut child = sandbox::spawn(spec).unwrap();
    let mut pty = File::from(child.take_pty().unwrap());
    let mut output = Vec::new();
    let _ = pty.read_to_end(&mut output);
    // A terminal has no deeds.
    let owner = if world.plays_root() { 0 } else { 1000 };
    assert_eq!(String::from_utf8(output).unwrap(), format!("{owner}\r\ny\r\n"));
    assert_eq!(child.wait().unwrap(), Exit::Code(0));
}

/// Closing the caller's end, and the size of the window.
fn hang_up(world: &World) {
    let (mut spec, _) = world.spec("sleep 1000");
    spec.terminal = Terminal::Pty;
    let mut child = sandbox::spawn(spec).unwrap();
    let pty = child.take_pty().unwrap();
    let size = rustix::termios::Winsize { ws_row: 11, ws_col: 22, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&pty, size).unwrap();
    let other = rustix::pty::openpt(rustix::pty::OpenptFlags::RDWR).unwrap();
    sandbox::copy_window_size(pty.as_fd(), other.as_fd()).unwrap();
    let copied = rustix::termios::tcgetwinsize(&other).unwrap();
    assert_eq!((copied.ws_row, copied.ws_col), (11, 22));

    let before = rustix::termios::tcgetattr(&other).unwrap();
    let canonical = rustix::termios::LocalModes::ICANON;
    assert!(before.local_modes.contains(canonical));
    let raw = sandbox::RawMode::enter(other.as_fd()).unwrap();
    let now = rustix::termios::tcgetattr(&other).unwrap();
    assert!(!now.local_modes.contains(canonical));
    drop(raw);
    let after = rustix::termios::tcgetattr(&other).unwrap();
    assert_eq!(after.local_modes, before.local_modes);

    drop(pty);
    child.killer().kill();
    assert!(matches!(child.wait().unwrap(), Exit::Signal(_)));
}

fn terminal_and_failure(world: &World) {
    let (mut spec, _) = world.spec("");
    spec.terminal = Terminal::Pty;
    spec.argv = vec!["missing".into()];
    assert!(matches!(run(spec), Err(sandbox::Error::Exec { .. })));
    let (mut spec, _) = world.spec("");
    spec.terminal = Terminal::Pty;
    spec.mounts.push(super::world::bind(std::path::Path::new("/no/such"), "/x"));
    assert!(matches!(run(spec), Err(sandbox::Error::Mount { .. })));
}
