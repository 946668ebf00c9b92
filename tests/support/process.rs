//! A kiln process: its arguments and input, its whole output with the status, and signals to one that still runs.

use std::ffi::OsStr;
use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::terminal::Terminal;

/// Longer than any step of these tests takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for something to become true.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_true() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// What all processes have taken of the processors that this one has started and waited for: what a program needs for
/// something, however busy the machine is. The tests run each in a process of its own.
pub(crate) fn processor_time() -> Duration {
    /// The unit of `/proc`, whatever the kernel counts with.
    const TICK: Duration = Duration::from_millis(10);
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // The second one is a name, in parentheses, of anything.
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let ticks = |number: usize| rest.split(' ').nth(number - 3).unwrap().parse::<u32>().unwrap();
    let (user, system) = (ticks(16), ticks(17));
    TICK * (user + system)
}

/// Ids of a namespace can only be given from outside. It has a `binfmt_misc` of its own since Linux 6.7, so that nothing is
/// registered on the machine itself.
const EMULATING: &str = r#"
inside='
until read -r line < /proc/self/uid_map; do sleep 0.01; done
mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 99
interpreter=$(command -v qemu-aarch64-static)
magic="\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
mask="\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
printf %s ":qemu-aarch64:M::$magic:$mask:$interpreter:F" > /proc/sys/fs/binfmt_misc/register || exit 99
exec "$@"'
exec 3<&0
unshare --user --mount sh -c "$inside" sh "$@" <&3 &
while [ "$(readlink "/proc/$!/ns/user")" = "$(readlink /proc/self/ns/user)" ]; do sleep 0.01; done
echo "0 0 65536" > "/proc/$!/gid_map"
echo "0 0 65536" > "/proc/$!/uid_map"
wait "$!"
"#;

/// A command line that is still being put together.
pub(crate) struct Kiln {
    command: Command,
    stdin: Vec<u8>,
    /// Whom it runs as, if not as whoever runs the tests.
    user: Option<(u32, u32)>,
}

impl Kiln {
    /// The binary under test, with the arguments that every call needs.
    pub(crate) fn new(binary: &Path) -> Self {
        Self { command: clean(binary), stdin: Vec::new(), user: None }
    }

    /// Runs in a user namespace that has an emulator of arm64, and all ids of the first one.
    pub(crate) fn emulating(self) -> Self {
        self.through(&["sh", "-c", EMULATING, "sh"])
    }

    /// Is started by another program, whose last arguments are kiln and its arguments.
    pub(crate) fn through(self, words: &[&str]) -> Self {
        let mut command = clean(Path::new(words[0]));
        command.args(&words[1..]).arg(self.command.get_program()).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(dir) = self.command.get_current_dir() {
            command.current_dir(dir);
        }
        Self { command, ..self }
    }

    /// Is started by a shell script of root's, which becomes the user by `"$@"`.
    pub(crate) fn through_root(mut self, script: &str) -> Self {
        let Some((uid, gid)) = self.user.take() else {
            return self.through(&["sh", "-c", script, "sh"]);
        };
        let (uid, gid) = (format!("--reuid={uid}"), format!("--regid={gid}"));
        self.through(&["sh", "-c", script, "sh", "setpriv", &uid, &gid, "--clear-groups"])
    }

    pub(crate) fn args<S: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.stdin = bytes.into();
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn in_dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Drops to an ordinary user before the program starts.
    pub(crate) fn by_user(mut self, uid: u32, gid: u32, home: &Path) -> Self {
        self.user = Some((uid, gid));
        self.command.env("HOME", home).env_remove("XDG_DATA_HOME");
        self.command.env_remove("XDG_RUNTIME_DIR").current_dir(home);
        self
    }

    /// Starts in a terminal of its own.
    pub(crate) fn in_terminal(mut self) -> Terminal {
        self.become_user();
        Terminal::start(self.command)
    }

    fn become_user(&mut self) {
        if let Some((uid, gid)) = self.user {
            self.command.uid(uid).gid(gid);
        }
    }

    /// Runs to the end.
    pub(crate) fn run(self) -> Output {
        self.spawn().wait()
    }

    /// Starts, in a process group of its own so that signals meet it alone.
    pub(crate) fn spawn(mut self) -> Running {
        self.become_user();
        let words: Vec<_> = std::iter::once(self.command.get_program())
            .chain(self.command.get_args())
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        self.command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = self.command.process_group(0).spawn().expect("kiln starts");

        let mut stdin = child.stdin.take().expect("stdin is piped");
        let input = self.stdin;
        // Its own thread: the process may well write before it has read everything. It may also end without reading.
        std::thread::spawn(move || drop(stdin.write_all(&input)));

        let mut stdout = child.stdout.take().expect("stdout is piped");
        let stdout = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            stdout.read_to_end(&mut bytes).expect("stdout can be read");
            bytes
        });

        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        Running { words, child, stdout: Some(stdout), lines, stderr: String::new() }
    }
}

/// A program without anything of the machine's own configuration.
fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for variable in [
        "KILN_ROOT",
        "KILN_CONFIG",
        "KILN_OFFLINE",
        "KILN_ISOLATION",
        "KILN_STORAGE_LIMIT",
        "REGISTRY_AUTH_FILE",
    ] {
        command.env_remove(variable);
    }
    for variable in ["SOURCE_DATE_EPOCH", "BUILDKIT_PROGRESS", "XDG_RUNTIME_DIR"] {
        command.env_remove(variable);
    }
    command.env_remove("DOCKER_DEFAULT_PLATFORM");
    command.env("DOCKER_CONFIG", "/nonexistent").env("XDG_CONFIG_HOME", "/nonexistent");
    command.env("CONTAINERS_REGISTRIES_CONF", "/dev/null");
    command
}

/// A kiln process that has been started. Dropped, it is killed.
pub(crate) struct Running {
    words: Vec<String>,
    child: Child,
    stdout: Option<JoinHandle<Vec<u8>>>,
    lines: Receiver<String>,
    stderr: String,
}

impl Running {
    /// Waits until a line with this text has come on stderr.
    #[track_caller]
    pub(crate) fn wait_for(&mut self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        while let Ok(line) = self.lines.recv_timeout(deadline - Instant::now()) {
            self.stderr.push_str(&line);
            self.stderr.push('\n');
            // The echo of a Dockerfile's instruction is not yet its output.
            if line.contains(text) && !line.contains(&format!("echo {text}")) {
                return;
            }
        }
        panic!("`{text}` never came:\n{}", self.stderr);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().cast_signed()).expect("a pid is not zero");
        kill_process(pid, signal).expect("the process is ours");
    }

    /// The most memory that it has had so far, in bytes; nothing is known of what has ended.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    }

    pub(crate) fn is_over(&mut self) -> bool {
        self.child.try_wait().expect("the process is ours").is_some()
    }

    /// Waits for the end and for all output.
    pub(crate) fn wait(mut self) -> Output {
        let status = self.child.wait().expect("the process is ours");
        let stdout = self.stdout.take().expect("wait is called once").join().expect("no panic");
        let mut stderr = std::mem::take(&mut self.stderr);
        while let Ok(line) = self.lines.recv() {
            stderr.push_str(&line);
            stderr.push('\n');
        }
        Output { words: std::mem::take(&mut self.words), status, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended, which is what is wanted.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Everything that a process said, and how it ended.
pub(crate) struct Output {
    words: Vec<String>,
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
}

impl Output {
    /// Stdout as text, without the white space at its end.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim_end().to_owned()
    }

    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert!(self.status.success(), "should have succeeded:\n{self}");
        self
    }

    /// Ended by itself with this code.
    #[track_caller]
    pub(crate) fn fails(self, code: i32) -> Self {
        assert_eq!(self.status.code(), Some(code), "should have failed with {code}:\n{self}");
        self
    }

    /// Says each of these on stderr, whatever the case.
    #[track_caller]
    pub(crate) fn says(self, texts: &[&str]) -> Self {
        let stderr = self.stderr.to_lowercase();
        for text in texts {
            assert!(stderr.contains(&text.to_lowercase()), "should say `{text}`:\n{self}");
        }
        self
    }

    #[track_caller]
    pub(crate) fn says_not(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(!self.stderr.contains(text), "should not say `{text}`:\n{self}");
        }
        self
    }

    /// How many steps came from the cache.
    pub(crate) fn cached(&self) -> usize {
        self.stderr
            .lines()
            .filter(|line| line.starts_with('#') && line.ends_with(" CACHED"))
            .count()
    }

    #[track_caller]
    pub(crate) fn has_cached(self, steps: usize) -> Self {
        assert_eq!(self.cached(), steps, "so many steps should be CACHED:\n{self}");
        self
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", self.words.join(" "))?;
        match self.status.signal() {
            Some(signal) => writeln!(f, "[signal {signal}]")?,
            None => writeln!(f, "[exit {}]", self.status.code().unwrap_or(-1))?,
        }
        writeln!(f, "--- stdout\n{}", String::from_utf8_lossy(&self.stdout))?;
        writeln!(f, "--- stderr\n{}", self.stderr)
    }
}
