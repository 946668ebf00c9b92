//! What the commands on containers share: doing something with several, and starting one.

use engine::{
    Engine,
    container::{self, Attach, Session},
};
use store::Container;

use super::{keep, output, room};
use crate::report::{self, Exit, Failure};

/// Does something with each container, and prints its name as it was given. What cannot be done is told; the others are
/// done all the same.
pub(super) fn each(
    engine: &Engine,
    names: &[String],
    what: impl Fn(&Container) -> Result<(), Failure>,
) -> Result<Exit, Failure> {
    each_printing(engine, names, |container, name| {
        what(container)?;
        Ok(name.to_owned())
    })
}

/// Does something with each container, and prints a line of it.
pub(super) fn each_printing(
    engine: &Engine,
    names: &[String],
    what: impl Fn(&Container, &str) -> Result<String, Failure>,
) -> Result<Exit, Failure> {
    let mut failed = false;
    for name in names {
        let container = engine.store().find_container(name).map_err(Failure::from);
        match container.and_then(|container| what(&container, name)) {
            Ok(line) => output::print(&format!("{line}\n"))?,
            Err(failure) => {
                report::print(&room::explain(engine, failure));
                failed = true;
            }
        }
    }
    if failed { Err(Failure::Told) } else { Ok(Exit::Done) }
}

/// Starts a container that may run already.
pub(super) fn start(
    engine: &Engine,
    container: &Container,
    attach: Option<Attach>,
) -> Result<Session, engine::Error> {
    let keeper = || keep::command(engine, &container.id);
    container::start_or_attach(engine, container, keeper, attach)
}
