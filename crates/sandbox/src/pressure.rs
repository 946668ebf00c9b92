//! For how long processes of this machine had to wait for what it has too little of: the kernel's pressure stall information
//! (Documentation/accounting/psi.rst).

use std::fs;
use std::time::Duration;

/// How long since the start of the machine some process was kept waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// For a processor.
    pub processor: Duration,
    /// For memory: its contents had to be written out or read back.
    pub memory: Duration,
}

/// Reads it; `None` if this kernel does not tell. The difference of two counts, exact to the microsecond.
pub fn pressure() -> Option<Pressure> {
    let read = |what: &str| some_total(&fs::read_to_string(format!("/proc/pressure/{what}")).ok()?);
    Some(Pressure { processor: read("cpu")?, memory: read("memory")? })
}

/// The total of the line that begins with `some`.
fn some_total(text: &str) -> Option<Duration> {
    let line = text.lines().find_map(|line| line.strip_prefix("some "))?;
    let total = line.split(' ').find_map(|field| field.strip_prefix("total="))?;
    total.parse().ok().map(Duration::from_micros)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_of_some() {
        let text = "some avg10=1.50 avg60=0.00 avg300=0.00 total=1500000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(some_total(text), Some(Duration::from_millis(1500)));
        for wrong in ["", "full avg10=0.00 total=7\n", "some avg10=0.00\n", "some total=x\n"] {
            assert_eq!(some_total(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn it_only_grows() {
        let Some(before) = pressure() else {
            eprintln!("skipped: no /proc/pressure");
            return;
        };
        let after = pressure().unwrap();
        assert!(after.processor >= before.processor && after.memory >= before.memory);
    }
}
