//! What the one who builds lends to steps: secrets, agents of ssh, rights.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::{ffi::OsStringExt, fs::FileTypeExt},
    path::PathBuf,
};

use engine::{Entitlement, Secret};

use crate::{environment, report::Failure};

/// BuildKit's limit for one secret.
const MAX_SECRET: usize = 500 * 1024;

/// Reads `id=NAME[,src=FILE|env=VARIABLE]`; without a source, the variable called NAME, or else the file.
pub(super) fn secret(given: &str) -> Result<(String, Secret), Failure> {
    let mut fields = BTreeMap::new();
    for field in given.split(',') {
        let (key, value) = field.split_once('=').unwrap_or((field, ""));
        let key = key.trim().to_lowercase();
        if !["id", "type", "src", "source", "env"].contains(&key.as_str()) {
            let message = format!("--secret `{given}`: unexpected key `{key}`");
            return Err(Failure::usage(message));
        }
        fields.insert(key, value.to_owned());
    }
    if let Some(kind) = fields.get("type").filter(|kind| !["file", "env"].contains(&kind.as_str()))
    {
        let message =
            format!("--secret `{given}`: unsupported type `{kind}`: there are file and env");
        return Err(Failure::usage(message));
    }
    let field = |names: &[&str]| names.iter().find_map(|name| fields.get(*name)).cloned();
    let Some(id) = field(&["id"]).filter(|id| !id.is_empty()) else {
        return Err(Failure::usage(format!("--secret `{given}` has no id: id=NAME[,src=FILE]")));
    };
    let is_variable = field(&["type"]).as_deref() == Some("env");
    let file = field(&["src", "source"]).filter(|_| !is_variable);
    let named = field(&["env"]).or_else(|| field(&["src", "source"]).filter(|_| is_variable));
    let missing =
        |name: &str| Failure::usage(format!("secret `{id}`: the variable `{name}` is not set"));
    let value = match (file, named) {
        (Some(path), _) => fs::read(&path).map_err(Failure::io("read the secret", path))?,
        (None, Some(name)) => environment::variable(&name).ok_or_else(|| missing(&name))?,
        (None, None) => match environment::variable(&id) {
            Some(value) => value,
            None => fs::read(&id).map_err(Failure::io("read the secret", &id))?,
        },
    };
    if value.len() > MAX_SECRET {
        return Err(Failure::usage(format!("secret `{id}` is larger than {MAX_SECRET} bytes")));
    }
    Ok((id, Secret(value)))
}

pub(super) fn entitlement(name: &str) -> Result<Entitlement, Failure> {
    let known = Entitlement::ALL.iter().find(|(known, _)| *known == name);
    known.map(|(_, entitlement)| *entitlement).ok_or_else(|| {
        let names = Entitlement::ALL.map(|(name, _)| name).join(", ");
        Failure::usage(format!("--allow `{name}`: there are {names}"))
    })
}

/// Reads `ID[=SOCKET]`.
pub(super) fn ssh_agent(given: &str) -> Result<(String, PathBuf), Failure> {
    let (id, socket) = match given.split_once('=') {
        Some((id, socket)) => (id, PathBuf::from(socket)),
        None => match environment::variable("SSH_AUTH_SOCK") {
            Some(socket) => (given, PathBuf::from(OsString::from_vec(socket))),
            None => {
                return Err(Failure::usage(format!("--ssh `{given}`: SSH_AUTH_SOCK is not set")));
            }
        },
    };
    let metadata =
        fs::metadata(&socket).map_err(Failure::io("find the agent", socket.display()))?;
    if !metadata.file_type().is_socket() {
        let socket = socket.display();
        return Err(Failure::usage(format!(
            "--ssh `{given}`: `{socket}` is not an agent's socket; load keys by `ssh-add`, and give `--ssh {id}`"
        )));
    }
    Ok((id.to_owned(), socket))
}
