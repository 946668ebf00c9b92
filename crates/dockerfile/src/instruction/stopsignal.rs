//! `STOPSIGNAL signal`.

use crate::diagnostic::Diagnostic;
use crate::nearest::nearest;
use crate::parts::Parts;
use crate::source::Word;

/// The signals of Linux by name, without `SIG`. The real-time ones are not among them: `RTMIN`, `RTMIN+n`, `RTMAX-n`,
/// `RTMAX`.
const NAMES: [&str; 34] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ",
];

/// Sets the signal that stops a container.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stopsignal {
    /// A name or a number; what expansion makes of it must pass [`Stopsignal::check`].
    pub signal: Word,
}

impl Stopsignal {
    pub(super) fn parse(parts: &Parts<'_>) -> Result<Self, Diagnostic> {
        // Flags are not looked at, as in BuildKit: whatever they are, they are dropped.
        Ok(Self { signal: parts.only_operand()?.word() })
    }

    /// Fails if there is no such signal: neither a number from 1 on, nor a name of Linux, with or without `SIG`, in any
    /// case.
    pub fn check(signal: &str) -> Result<(), Diagnostic> {
        let known = match signal.parse::<i64>() {
            Ok(number) => number > 0,
            Err(_) => is_name(signal),
        };
        if known {
            return Ok(());
        }
        let name = signal.to_uppercase();
        let near = nearest(name.strip_prefix("SIG").unwrap_or(&name), NAMES);
        let near = near.map(|near| format!("SIG{near}"));
        let mistake = Diagnostic::new(format!("invalid signal: {signal}"));
        Err(match near {
            Some(near) => mistake.did_you_mean(Some(&near)),
            None => mistake.hint("a signal is such as SIGTERM, KILL, RTMIN+3 or 15"),
        })
    }
}

fn is_name(signal: &str) -> bool {
    let signal = signal.to_uppercase();
    let name = signal.strip_prefix("SIG").unwrap_or(&signal);
    let offset = |prefix: &str, most: u8| {
        let digits = name.strip_prefix(prefix).filter(|digits| !digits.starts_with(['0', '+']));
        digits.and_then(|digits| digits.parse().ok()).is_some_and(|n: u8| n <= most)
    };
    NAMES.contains(&name)
        || matches!(name, "RTMIN" | "RTMAX")
        || offset("RTMIN+", 15)
        || offset("RTMAX-", 14)
}

#[cfg(test)]
mod tests {
    use super::Stopsignal;

    #[test]
    fn signals() {
        for good in ["9", "SIGTERM", "term", "Sigusr1", "RTMIN", "SIGRTMIN+15", "RTMAX-14", "64"] {
            assert!(Stopsignal::check(good).is_ok(), "{good}");
        }
        for bad in
            ["", "0", "-1", "SIGNOPE", "SIG", "9 15", "RTMIN+16", "RTMIN+0", "RTMAX-15", "RTMIN++1"]
        {
            let message = Stopsignal::check(bad).unwrap_err().message;
            assert_eq!(message, format!("invalid signal: {bad}"));
        }
        let hint = Stopsignal::check("sigtrem").unwrap_err().hint;
        assert_eq!(hint.as_deref(), Some("did you mean SIGTERM?"));
    }
}
