//! The file that `login` and `logout` change: Docker's `config.json`, of which everything else stays as it is.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use serde_json::{Map, Value, json};

use super::{Credentials, server_of};
use crate::{CredentialsError, Error, base64, helper};

/// Where a login was put.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In the file, in plain.
    File,
    /// By this helper.
    Helper(String),
}

/// A file of credentials that is written to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginFile {
    path: PathBuf,
}

impl LoginFile {
    /// Names the file; it need not be there.
    pub fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Remembers who one is at a host: with the helper that the file names for it, else in the file itself (mode 0600).
    ///
    /// # Errors
    /// The file is as it was before.
    pub fn store(&self, host: &str, user: &str, password: &str) -> Result<Kept, Error> {
        let server = server_of(host);
        self.change(|document| {
            let helper = helper_for(document, host);
            let entry = match &helper {
                Some(helper) => {
                    helper::store(helper, server, user, password)?;
                    // As Docker leaves it: who looks at the file sees where there is a login.
                    json!({})
                }
                None => {
                    let auth = base64::encode(format!("{user}:{password}").as_bytes());
                    json!({ "auth": auth })
                }
            };
            let auths = self.auths(document)?;
            auths.retain(|key, _| super::normal(key) != super::normal(host));
            auths.insert(server.to_owned(), entry);
            Ok(helper.map_or(Kept::File, Kept::Helper))
        })
    }

    /// Forgets who one is at a host; `false` if that was not known.
    ///
    /// # Errors
    /// The file is as it was before.
    pub fn erase(&self, host: &str) -> Result<bool, Error> {
        if !self.path.exists() {
            return Ok(false);
        }
        self.change(|document| {
            let mut had = false;
            if let Some(helper) = helper_for(document, host) {
                had |= helper::erase(&helper, server_of(host))?;
            }
            if document.contains_key("auths") {
                let auths = self.auths(document)?;
                let before = auths.len();
                auths.retain(|key, _| super::normal(key) != super::normal(host));
                had |= auths.len() < before;
            }
            Ok(had)
        })
    }

    fn auths<'a>(
        &self,
        document: &'a mut Map<String, Value>,
    ) -> Result<&'a mut Map<String, Value>, Error> {
        let auths = document.entry("auths").or_insert_with(|| json!({}));
        if auths.is_null() {
            *auths = json!({});
        }
        auths.as_object_mut().ok_or_else(|| self.wrong(CredentialsError::Form))
    }

    fn wrong(&self, source: CredentialsError) -> Error {
        Error::Credentials { path: self.path.clone(), source }
    }

    /// Reads the file, has it changed, and replaces it as a whole.
    fn change<T>(
        &self,
        change: impl FnOnce(&mut Map<String, Value>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let write = |error| self.wrong(CredentialsError::Write(error));
        // Where it is a link, what it leads to is replaced, not the link.
        let path = fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let directory = directory.unwrap_or_else(|| Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(write)?;
        // Two logins at once would undo one another.
        let lock = fs::File::open(directory).map_err(write)?;
        lock.lock().map_err(write)?;
        let mut document = match fs::read(&path) {
            Ok(bytes) => {
                // Read in full, so that nothing is built on what nobody could read again.
                Credentials::parse(&self.path, &bytes)?;
                serde_json::from_slice(&bytes)
                    .map_err(|error| self.wrong(CredentialsError::Json(error)))?
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
            Err(error) => return Err(self.wrong(CredentialsError::Read(error))),
        };
        let before = document.clone();
        let result = change(&mut document)?;
        if document != before {
            replace(&path, &document).map_err(write)?;
        }
        Ok(result)
    }
}

/// The helper that the file names for a host, and for all that it names none for.
fn helper_for(document: &Map<String, Value>, host: &str) -> Option<String> {
    let helpers = document.get("credHelpers").and_then(Value::as_object);
    let of_host = helpers.and_then(|helpers| {
        helpers.iter().find(|(key, _)| super::normal(key) == super::normal(host))
    });
    let of_all = document.get("credsStore");
    let name = of_host.map(|(_, helper)| helper).or(of_all).and_then(Value::as_str);
    name.filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Indented by tabs, as Docker writes it.
fn replace(path: &Path, document: &Map<String, Value>) -> io::Result<()> {
    let mut text = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
    let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
    serde::Serialize::serialize(document, &mut serializer)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    // What an earlier process has left, or somebody else has put there to read along: it has to be a new file.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let written = options.open(&temporary).and_then(|mut file| {
        // Whatever the umask is.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(&text)?;
        file.sync_all()
    });
    let renamed = written.and_then(|()| fs::rename(&temporary, path));
    if renamed.is_err() {
        // The error that counts is the first one.
        let _ = fs::remove_file(&temporary);
    }
    renamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_a_new_file() {
        let folder = std::env::temp_dir().join(format!("kiln-login-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (path, other) = (folder.join("config.json"), folder.join("other"));
        fs::write(&other, "kept").unwrap();
        let name = format!("config.json.{}.new", std::process::id());
        std::os::unix::fs::symlink(&other, folder.join(name)).unwrap();
        replace(&path, &Map::new()).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "kept");
        assert_eq!(fs::read_to_string(&path).unwrap(), "{}");
        let stat = fs::symlink_metadata(&path).unwrap();
        assert_eq!((stat.is_file(), stat.permissions().mode() & 0o777), (true, 0o600));
        fs::remove_dir_all(&folder).unwrap();
    }
}
