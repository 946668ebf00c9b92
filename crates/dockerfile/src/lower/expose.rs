//! `EXPOSE`: ports, ranges of ports, and the mappings that Docker once meant to allow.

use std::net::IpAddr;

use oci::config::Empty;

use super::graph::Command;
use super::stage::{Lower, StageState};
use crate::diagnostic::Diagnostic;
use crate::instruction::Expose;
use crate::nearest::nearest;

const PROTOCOLS: [&str; 3] = ["tcp", "udp", "sctp"];

const PORTS: &str = "a port is a number up to 65535, as in 80, 80/udp or 8000-8010, and blanks stand between several";

impl Lower for Expose {
    fn lower(&self, stage: &mut StageState<'_>, command: &Command<'_>) -> Result<(), Diagnostic> {
        let mut ports = Vec::new();
        for word in &self.ports {
            for port in stage.expand_to_words(word)? {
                let of_word = parse(&port).map_err(|error| error.at(word.span))?;
                // A range is short to write and long to list.
                stage.globals.budget().take_texts(of_word.iter().map(String::as_str))?;
                ports.extend(of_word);
            }
        }
        let created_by = format!("EXPOSE [{}]", ports.join(" "));
        let exposed = &mut stage.config.config.exposed_ports;
        exposed.extend(ports.into_iter().map(|port| (port, Empty {})));
        stage.edit(command, created_by)
    }
}

/// Reads `[[ip:]host-port:]port[-port][/protocol]` into the single ports of the container, each with its protocol.
fn parse(text: &str) -> Result<Vec<String>, Diagnostic> {
    let (mapping, port) = text.rsplit_once(':').unwrap_or(("", text));
    let (ip, host_port) = mapping.rsplit_once(':').unwrap_or(("", mapping));
    let (port, protocol) = match port.split_once('/') {
        Some((port, protocol)) => (port, protocol.to_lowercase()),
        None => (port, String::new()),
    };
    if port.is_empty() {
        return Err(Diagnostic::new(format!("no port specified: {text}<empty>")));
    }
    let protocol = match protocol.as_str() {
        "" => "tcp",
        "tcp" | "udp" | "sctp" => &protocol,
        _ => {
            let mistake = Diagnostic::new(format!("invalid proto: {protocol}"));
            return Err(mistake.did_you_mean(nearest(&protocol, PROTOCOLS)).choices(PROTOCOLS));
        }
    };
    check_ip(ip)?;
    let Some((first, last)) = range(port) else {
        return Err(Diagnostic::new(format!("invalid containerPort: {port}")).hint(PORTS));
    };
    if !host_port.is_empty() {
        let Some((host_first, host_last)) = range(host_port) else {
            return Err(Diagnostic::new(format!("invalid hostPort: {host_port}")).hint(PORTS));
        };
        if last - first != host_last - host_first && first != last {
            return Err(Diagnostic::new(format!(
                "invalid ranges specified for container and host Ports: {port} and {host_port}"
            )));
        }
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

fn check_ip(ip: &str) -> Result<(), Diagnostic> {
    // `::::80` has the address `::`, whose colons are all there is.
    let bare = match ip.strip_prefix('[') {
        Some(rest) => rest.trim_end_matches(':').strip_suffix(']').unwrap_or(ip),
        None => ip,
    };
    if bare.is_empty() || bare.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    let hint = "EXPOSE needs only the port of the container: 80, 80/udp or 8000-8010";
    Err(Diagnostic::new(format!("invalid IP address: {bare}")).hint(hint))
}

fn range(text: &str) -> Option<(u16, u16)> {
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten()
    };
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (number(first)?, number(last)?);
    (first <= last).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn ports_of_our_own() {
        for (text, expected) in [
            ("80", Some("80/tcp")),
            ("53/UDP", Some("53/udp")),
            ("8000-8002", Some("8000/tcp 8001/tcp 8002/tcp")),
            ("0", Some("0/tcp")),
            ("65535/sctp", Some("65535/sctp")),
            ("127.0.0.1::9", Some("9/tcp")),
            ("8000-9000:80", Some("80/tcp")),
            ("65536", None),
            ("-1", None),
            ("+1", None),
            ("2-1", None),
            ("1-2-3", None),
            ("80/icmp", None),
            ("/tcp", None),
            ("a:80", None),
            ("1-2:1-3", None),
            ("999.0.0.1:1:1", None),
        ] {
            let ports = parse(text).ok().map(|ports| ports.join(" "));
            assert_eq!(ports.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn buildkits_table() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../../../shared/spec/data/tables/expose_ports.tsv");
        let Ok(table) = std::fs::read_to_string(&path) else {
            eprintln!("skipped: no {}", path.display());
            return;
        };
        for line in table.lines().skip(2) {
            let (spec, ports) = line.split_once('\t').unwrap();
            let spec: String = serde_json::from_str(spec).unwrap();
            let ports: Option<Vec<String>> = serde_json::from_str(ports).unwrap();
            assert_eq!(parse(&spec).ok(), ports, "{spec}");
        }
    }
}
