//! `kiln login`.

use std::io::{self, Read};

use oci::Reference;
use registry::{Client, Credentials, Kept, Login as Who, LoginFile};

use super::{output, runtime};
use crate::{
    environment,
    prompt::{self, Reply},
    report::{Exit, Failure},
};

#[derive(Debug, clap::Args)]
pub(crate) struct Login {
    /// Who one is
    #[arg(short, long, value_name = "NAME")]
    pub(crate) username: Option<String>,
    /// The password; others on this machine can see it while the command runs: better --password-stdin
    #[arg(short, long, conflicts_with = "password_stdin")]
    pub(crate) password: Option<String>,
    /// Read the password from standard input
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// The registry, `host[:port]` [default: Docker Hub]
    #[arg(value_name = "SERVER")]
    pub(crate) server: Option<String>,
}

/// More is no password.
const MOST: u64 = 64 * 1024;

/// Sees whether a registry lets somebody in, and remembers it for the next commands, Docker's and podman's among them.
pub(super) fn run(login: Login) -> Result<Exit, Failure> {
    let host = host(login.server.as_deref())?;
    let file = login_file()?;
    if login.password.is_some() {
        output::tell("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
    }
    let (user, password) = match (login.username, login.password, login.password_stdin) {
        (None, _, true) => {
            return Err(Failure::usage("Must provide --username with --password-stdin"));
        }
        (Some(user), _, true) => (user, password_of_stdin()?),
        (Some(user), Some(password), false) => (user, password),
        (user, password, false) => {
            let known = known(&host)?;
            if user.is_none() && password.is_none() && again(&host, known.as_ref())? {
                return succeeded();
            }
            match asked(&host, user, password, known.as_ref())? {
                Some(both) => both,
                None => return Ok(Exit::Interrupted),
            }
        }
    };
    if user.is_empty() || password.is_empty() {
        let what = if user.is_empty() { "user name" } else { "password" };
        return Err(Failure::usage(format!("login needs a {what}, and this one is empty")));
    }
    let (user, password) = verified(&host, user, password)?;
    remember(&file, &host, &user, &password)?;
    succeeded()
}

fn succeeded() -> Result<Exit, Failure> {
    output::print("Login Succeeded\n")?;
    Ok(Exit::Done)
}

/// Returns the host of a server as references name it; what stands before and behind it in an address means nothing.
pub(super) fn host(server: Option<&str>) -> Result<String, Failure> {
    let Some(server) = server else { return Ok("docker.io".to_owned()) };
    let rest = server.strip_prefix("https://").or_else(|| server.strip_prefix("http://"));
    let host = rest.unwrap_or(server).split('/').next().unwrap_or_default();
    let reference = Reference::parse(&format!("{host}/x")).ok();
    let known =
        reference.filter(|reference| !host.is_empty() && reference.path() != format!("{host}/x"));
    let known = known.map(|reference| reference.host().to_owned()).or_else(|| {
        // A bare word is a host here, though not in a reference.
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (host.starts_with(char::is_alphanumeric) && host.chars().all(is_word))
            .then(|| host.to_owned())
    });
    known.ok_or_else(|| {
        Failure::usage(format!("`{server}` is no registry: give its host, `host[:port]`"))
    })
}

pub(super) fn login_file() -> Result<LoginFile, Failure> {
    let file = environment::registry_places().login_file();
    file.ok_or_else(|| {
        Failure::usage("cannot tell where logins are kept: neither $DOCKER_CONFIG nor $HOME is set")
    })
}

fn password_of_stdin() -> Result<String, Failure> {
    let mut password = String::new();
    let read = io::stdin().lock().take(MOST).read_to_string(&mut password);
    read.map_err(Failure::io("read", "standard input"))?;
    // The line end that `echo` adds is not meant.
    Ok(password.trim_end_matches(['\n', '\r']).to_owned())
}

fn known(host: &str) -> Result<Option<Who>, Failure> {
    Ok(Credentials::load(&environment::registry_places().files())?.login(host)?)
}

/// Tries what is known already.
fn again(host: &str, known: Option<&Who>) -> Result<bool, Failure> {
    let Some(known) = known else { return Ok(false) };
    output::tell("Authenticating with existing credentials...");
    match verify(host, known.clone()) {
        Ok(()) => Ok(true),
        Err(error) if prompt::can_ask() => {
            output::tell(&format!("Login did not succeed, error: {error}"));
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Asks for what was not given. `None` if that was interrupted.
fn asked(
    host: &str,
    user: Option<String>,
    password: Option<String>,
    known: Option<&Who>,
) -> Result<Option<(String, String)>, Failure> {
    if !prompt::can_ask() {
        return Err(Failure::usage(
            "Cannot perform an interactive login from a non TTY device: give -u and --password-stdin",
        ));
    }
    let failed = |error| Failure::io("read", "the terminal")(error);
    let user = match user {
        Some(user) => user,
        None => {
            if host == "docker.io" {
                output::tell("Login with your Docker ID to push and pull images from Docker Hub.");
            }
            let last = match known {
                Some(Who::Password { user, .. }) => Some(user),
                _ => None,
            };
            let question =
                last.map_or("Username: ".to_owned(), |last| format!("Username ({last}): "));
            let user = prompt::ask(&question).map_err(failed)?;
            last.filter(|_| user.is_empty()).cloned().unwrap_or(user)
        }
    };
    let password = match password {
        Some(password) => password,
        None => match prompt::ask_secret("Password: ").map_err(failed)? {
            Reply::Text(password) => password,
            Reply::Interrupted => return Ok(None),
        },
    };
    Ok(Some((user, password)))
}

fn verified(host: &str, user: String, password: String) -> Result<(String, String), Failure> {
    verify(host, Who::Password { user: user.clone(), password: password.clone() })?;
    Ok((user, password))
}

fn verify(host: &str, who: Who) -> Result<(), Failure> {
    let credentials = Credentials::of(host, who);
    let options = registry::Options { credentials, ..environment::registry_options()? };
    Ok(runtime(2)?.block_on(Client::new(options)?.log_in(host))?)
}

fn remember(file: &LoginFile, host: &str, user: &str, password: &str) -> Result<(), Failure> {
    if file.store(host, user, password)? == Kept::File {
        output::tell(&format!(
            "WARNING! Your password will be stored unencrypted in {}.\n\
             Configure a credential helper to remove this warning. See\n\
             https://docs.docker.com/engine/reference/commandline/login/#credentials-store\n",
            file.path().display()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_its_host() {
        for (server, expected) in [
            ("quay.example", "quay.example"),
            ("https://quay.example/v2/", "quay.example"),
            ("http://127.0.0.1:5000", "127.0.0.1:5000"),
            ("localhost:5000/some/path", "localhost:5000"),
            ("localhost", "localhost"),
            ("registry", "registry"),
            ("registry:5000", "registry:5000"),
            ("https://index.docker.io/v1/", "docker.io"),
            ("[::1]:5000", "[::1]:5000"),
        ] {
            assert_eq!(host(Some(server)).ok().as_deref(), Some(expected), "{server}");
        }
        for wrong in ["", "https://", "a b", "a@b", "/", "-"] {
            assert!(host(Some(wrong)).is_err(), "{wrong}");
        }
    }
}
