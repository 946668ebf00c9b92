//! Programs that keep credentials: `docker-credential-NAME`, spoken to as Docker does, over their standard input and output.
//!
//! One verb as the argument, one document in, one out; nothing secret is ever an argument. What they say is shown when they
//! fail, made harmless. Who is asked, and when, is in [`crate::credentials`].

use std::{
    io::{Read, Write},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::{Error, Login, error::harmless};

/// How long a helper may take: it may have to wait for a person who unlocks something.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often it is looked whether a helper has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// No answer is longer; tokens of clouds have a few KiB.
const MOST: u64 = 256 * 1024;

/// What Docker's helpers say if they have nothing for a server.
const NOTHING: &str = "credentials not found";

/// The user that stands for a refresh token.
const TOKEN_USER: &str = "<token>";

/// What a helper answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Returns what a helper has for a server, nothing if it has nothing.
pub(crate) fn get(helper: &str, server: &str) -> Result<Option<Login>, Error> {
    let (status, output) = call(helper, "get", server.as_bytes())?;
    if !status.success() {
        return match output.contains(NOTHING) {
            true => Ok(None),
            false => Err(failed(helper, "get", &output)),
        };
    }
    // What it has said stays out of the error: it may be half a secret.
    let answer: Answer = serde_json::from_str(&output)
        .map_err(|_| failed(helper, "get", "its answer is not the document that it should be"))?;
    Ok(Some(answer).filter(|answer| !answer.secret.is_empty()).map(
        |Answer { username, secret }| match username.as_str() {
            TOKEN_USER => Login::Identity(secret),
            _ => Login::Password { user: username, password: secret },
        },
    ))
}

/// Gives a helper a login to keep.
pub(crate) fn store(helper: &str, server: &str, user: &str, password: &str) -> Result<(), Error> {
    let document = serde_json::json!({ "ServerURL": server, "Username": user, "Secret": password });
    let (status, output) = call(helper, "store", document.to_string().as_bytes())?;
    if status.success() { Ok(()) } else { Err(failed(helper, "store", &output)) }
}

/// Has a helper forget a login; `false` if it had none.
pub(crate) fn erase(helper: &str, server: &str) -> Result<bool, Error> {
    let had = get(helper, server)?.is_some();
    if had {
        let (status, output) = call(helper, "erase", server.as_bytes())?;
        if !status.success() {
            return Err(failed(helper, "erase", &output));
        }
    }
    Ok(had)
}

fn call(helper: &str, verb: &'static str, input: &[u8]) -> Result<(ExitStatus, String), Error> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if helper.is_empty() || !helper.bytes().all(plain) {
        return Err(failed(helper, verb, "this is no name of a helper"));
    }
    let program = format!("docker-credential-{helper}");
    let mut command = Command::new(&program);
    command.arg(verb).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().map_err(|error| {
        failed(
            helper,
            verb,
            &format!("cannot run `{program}`, which has to be on the PATH: {error}"),
        )
    })?;
    let broken = |error: std::io::Error| failed(helper, verb, &error.to_string());
    if let Some(mut stdin) = child.stdin.take() {
        let input = input.to_vec();
        // One that does not read is seen by its answer.
        thread::spawn(move || drop(stdin.write_all(&input)));
    }
    let reading = child.stdout.take().map(|stdout| {
        thread::spawn(move || {
            let mut output = Vec::new();
            let read = stdout.take(MOST).read_to_end(&mut output);
            read.map(|_| String::from_utf8_lossy(&output).into_owned())
        })
    });
    let Some(status) = wait(&mut child).map_err(broken)? else {
        let seconds = PATIENCE.as_secs();
        return Err(failed(helper, verb, &format!("it does not end within {seconds} seconds")));
    };
    let output = match reading.map(thread::JoinHandle::join) {
        Some(Ok(output)) => output.map_err(broken)?,
        Some(Err(_)) | None => String::new(),
    };
    Ok((status, output))
}

/// Waits for the end of a helper, and ends one that takes too long.
fn wait(child: &mut Child) -> std::io::Result<Option<ExitStatus>> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        thread::sleep(PAUSE);
    }
}

fn failed(helper: &str, verb: &'static str, reason: &str) -> Error {
    let line = reason.trim().lines().next().unwrap_or_default();
    let reason = if line.is_empty() { "it does not say why".to_owned() } else { harmless(line) };
    Error::Helper { helper: harmless(helper), verb, reason }
}
