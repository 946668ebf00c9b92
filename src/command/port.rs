//! `kiln port`.

use engine::Engine;
use store::PublishedPort;

use super::output;
use crate::report::{Exit, Failure};

#[derive(Debug, clap::Args)]
pub(crate) struct Port {
    /// The container
    #[arg(value_name = "CONTAINER")]
    pub(crate) container: String,
    /// Only where this port of it can be reached
    #[arg(value_name = "PORT[/udp]")]
    pub(crate) port: Option<String>,
}

/// Prints which ports of the host lead to a container.
pub(super) fn run(engine: &Engine, port: &Port) -> Result<Exit, Failure> {
    let container = engine.store().find_container(&port.container)?;
    let mut published = engine.store().container_state(&container.id)?.ports;
    published.sort_by(|one, other| {
        let key = |port: &PublishedPort| (port.container_port, port.protocol.clone());
        key(one).cmp(&key(other))
    });
    let inside = |port: &PublishedPort| format!("{}/{}", port.container_port, port.protocol);
    let outside = |port: &PublishedPort| format!("{}:{}", port.address, port.host_port);
    let Some(wanted) = &port.port else {
        let lines = published.iter().map(|port| format!("{} -> {}\n", inside(port), outside(port)));
        output::print(&lines.collect::<String>())?;
        return Ok(Exit::Done);
    };
    let wanted = parse(wanted)?;
    let found: String = published
        .iter()
        .filter(|port| inside(port) == wanted)
        .map(|port| outside(port) + "\n")
        .collect();
    if found.is_empty() {
        let message = format!("no public port '{wanted}' published for {}", port.container);
        return Err(Failure::NoPort { message });
    }
    output::print(&found)?;
    Ok(Exit::Done)
}

/// Reads `80` and `80/udp`.
fn parse(text: &str) -> Result<String, Failure> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    match number.parse::<u16>() {
        Ok(number) if number > 0 && ["tcp", "udp"].contains(&protocol) => {
            Ok(format!("{number}/{protocol}"))
        }
        _ => Err(Failure::usage(format!("invalid port `{text}`: it is a number, or `53/udp`"))),
    }
}
