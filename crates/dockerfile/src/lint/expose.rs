//! `EXPOSE` names ports of the container, and nothing of the host.

use super::{Findings, Place, table::Rule};
use crate::instruction::Instruction;
use crate::lower::Seen;

pub(super) static EXPOSE_PROTO_CASING: Rule = Rule::of_buildkit(
    "ExposeProtoCasing",
    "expose-proto-casing",
    "Protocol in EXPOSE instruction should be lowercase",
);

pub(super) static EXPOSE_INVALID_FORMAT: Rule = Rule::of_buildkit(
    "ExposeInvalidFormat",
    "expose-invalid-format",
    "IP address and host-port mapping should not be used in EXPOSE instruction. This will become an error in a future release",
);

/// The ports, each as it expands.
pub(super) fn check(seen: &Seen<'_>, findings: &mut Findings) {
    let Instruction::Expose(expose) = seen.instruction else { return };
    let place = Place { lines: seen.lines, comments: seen.comments };
    let words = expose.ports.iter().map(|word| seen.expansions.text(&word.text));
    for port in words.flat_map(str::split_whitespace) {
        let (address, protocol) = port.split_once('/').unwrap_or((port, ""));
        if protocol.to_lowercase() != protocol {
            let message =
                format!("Defined protocol '{port}' in EXPOSE instruction should be lowercase");
            findings.add(&EXPOSE_PROTO_CASING, place, message);
        }
        if address.contains(':') {
            let message = format!(
                "EXPOSE instruction should not define an IP address or host-port mapping, found '{port}'"
            );
            findings.add(&EXPOSE_INVALID_FORMAT, place, message);
        }
    }
}
