//! `kiln logout`.

use registry::Credentials;

use super::{login, output};
use crate::{
    environment,
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Logout {
    /// The registry, `host[:port]` [default: Docker Hub]
    #[arg(value_name = "SERVER")]
    pub(crate) server: Option<String>,
}

/// Forgets who one is at a registry.
pub(super) fn run(logout: &Logout) -> Result<Exit, Failure> {
    let host = login::host(logout.server.as_deref())?;
    let file = login::login_file()?;
    let line = match file.erase(&host)? {
        true => format!("Removing login credentials for {host}\n"),
        false => format!("Not logged in to {host}\n"),
    };
    output::print(&line)?;
    // Logged in by another tool, one would still be somebody there.
    for path in environment::registry_places().files() {
        if path != file.path()
            && Credentials::load(std::slice::from_ref(&path))?.login(&host)?.is_some()
        {
            output::tell(&format!("There is still a login for {host} in {}", path.display()));
        }
    }
    Ok(Exit::Done)
}
