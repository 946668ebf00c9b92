//! `STOPSIGNAL`: a signal by name or number.

use super::graph::Command;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::Stopsignal;
use crate::nearest::nearest;

/// The names of Linux, without `SIG`; those of real-time signals are computed.
const NAMES: [&str; 36] = [
    "ABRT", "ALRM", "BUS", "CHLD", "CLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "IOT", "KILL",
    "PIPE", "POLL", "PROF", "PWR", "QUIT", "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP",
    "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM", "WINCH", "XCPU", "XFSZ", "RTMIN", "RTMAX",
];

impl Lower for Stopsignal {
    /// The signal is stored as it was written.
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        let signal = stage.expand(&self.signal)?;
        if !is_signal(&signal) {
            let error = Diagnostic::new(format!("invalid signal: {signal}")).at(self.signal.span);
            let name = signal.to_uppercase();
            return Err(error.did_you_mean(nearest(name.trim_start_matches("SIG"), NAMES)));
        }
        let created_by = format!("STOPSIGNAL {signal}");
        stage.config.config.stop_signal = signal;
        stage.edit(command, created_by)
    }
}

fn is_signal(signal: &str) -> bool {
    if let Ok(number) = signal.parse::<i32>() {
        return number > 0;
    }
    let name = signal.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let offset = |prefix: &str, most: u32| {
        let number = name.strip_prefix(prefix).and_then(|number| number.parse().ok());
        number.is_some_and(|number: u32| (1..=most).contains(&number))
    };
    NAMES.contains(&name) || offset("RTMIN+", 15) || offset("RTMAX-", 14)
}

#[cfg(test)]
mod tests {
    use super::is_signal;

    #[test]
    fn names_and_numbers() {
        for signal in ["9", "SIGKILL", "kill", "sigTerm", "SIGRTMIN+3", "RTMAX-14", "RTMIN", "64"] {
            assert!(is_signal(signal), "{signal}");
        }
        for signal in ["", "0", "-1", "SIGNOPE", "SIG", "RTMIN+16", "RTMAX-0", "9 9", "KILL TERM"] {
            assert!(!is_signal(signal), "{signal}");
        }
    }
}
