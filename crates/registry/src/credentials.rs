//! Who one is to a registry: what `docker login` and `podman login` have stored.
//!
//! The form is Docker's `config.json`, field `auths`, which podman's `auth.json` shares; podman adds keys for single
//! repositories. Where the files are is said by [`Places`]; how a registry is told is in [`crate::auth`]. Changing a file
//! is in `file`, asking programs that keep credentials in [`crate::helper`].

mod file;

use std::{
    collections::BTreeMap,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde::Deserialize;

pub use self::file::{Kept, LoginFile};
use crate::{CredentialsError, Error, access::Access, base64, error::harmless, helper};

/// The names under which tools have stored what belongs to Docker Hub.
const DOCKER_HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/// What the environment says about where credentials and settings are; each is the value of the variable of its name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// `REGISTRY_AUTH_FILE`: a file, which then is the only one.
    pub registry_auth_file: Option<PathBuf>,
    /// `DOCKER_CONFIG`: a directory.
    pub docker_config: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`: a directory.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`: a directory.
    pub xdg_config_home: Option<PathBuf>,
    /// `HOME`: a directory.
    pub home: Option<PathBuf>,
    /// `KILN_CONFIG`: a file of kiln's settings, which then is the only one of them.
    pub kiln_config: Option<PathBuf>,
    /// `CONTAINERS_REGISTRIES_CONF`: a file of podman's settings, which then is the only one of them.
    pub containers_registries_conf: Option<PathBuf>,
}

impl Places {
    /// Returns the files that may hold credentials; earlier ones win.
    ///
    /// Docker's come before podman's. An empty variable counts as unset.
    pub fn files(&self) -> Vec<PathBuf> {
        if let Some(file) = set(&self.registry_auth_file) {
            return vec![file];
        }
        let docker = set(&self.docker_config).or_else(|| Some(set(&self.home)?.join(".docker")));
        let files = [
            docker.map(|folder| folder.join("config.json")),
            set(&self.xdg_runtime_dir).map(|folder| folder.join("containers/auth.json")),
            self.config("containers/auth.json"),
        ];
        files.into_iter().flatten().collect()
    }

    /// Returns a place among the user's own settings.
    fn config(&self, name: &str) -> Option<PathBuf> {
        let config = set(&self.xdg_config_home).or_else(|| Some(set(&self.home)?.join(".config")));
        config.map(|folder| folder.join(name))
    }

    /// Returns the files that may hold kiln's settings; earlier ones win.
    pub(crate) fn kiln_files(&self) -> Vec<PathBuf> {
        match set(&self.kiln_config) {
            Some(file) => vec![file],
            None => self
                .config("kiln/config.json")
                .into_iter()
                .chain(["/etc/kiln/config.json".into()])
                .collect(),
        }
    }

    /// Returns the files that may hold Docker's settings: of the engine without root, and of the other.
    pub(crate) fn docker_files(&self) -> Vec<PathBuf> {
        let own = self.config("docker/daemon.json");
        own.into_iter().chain(["/etc/docker/daemon.json".into()]).collect()
    }

    /// Returns the files that may hold podman's settings. The user's own stands in place of the machine's; parts in the
    /// directories beside them go before both.
    pub(crate) fn containers_files(&self) -> Vec<PathBuf> {
        if let Some(file) = set(&self.containers_registries_conf) {
            return vec![file];
        }
        let own = self.config("containers/registries.conf");
        let machine = PathBuf::from("/etc/containers/registries.conf");
        let mut files = Vec::new();
        for file in own.iter().chain([&machine]) {
            let mut parts: Vec<PathBuf> = std::fs::read_dir(file.with_extension("conf.d"))
                .into_iter()
                .flatten()
                .flatten()
                .map(|entry| entry.path())
                .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
                .collect();
            // The last one goes before the others.
            parts.sort_by(|a, b| b.cmp(a));
            files.extend(parts);
        }
        files.push(own.filter(|own| own.exists()).unwrap_or(machine));
        files
    }

    /// Returns the directories with certificates for single hosts; all of them count.
    pub fn certificates(&self) -> Vec<PathBuf> {
        let own = ["docker/certs.d", "containers/certs.d"].map(|name| self.config(name));
        let machine = ["/etc/docker/certs.d", "/etc/containers/certs.d"].map(PathBuf::from);
        own.into_iter().flatten().chain(machine).collect()
    }

    /// Returns the file that a login is written to: the first of [`Places::files`]. `None` if nothing says where a home is.
    pub fn login_file(&self) -> Option<LoginFile> {
        self.files().into_iter().next().map(LoginFile::new)
    }
}

/// An empty variable counts as unset.
fn set(path: &Option<PathBuf>) -> Option<PathBuf> {
    path.clone().filter(|path| !path.as_os_str().is_empty())
}

/// What is stored for all registries.
#[derive(Clone, Default)]
pub struct Credentials {
    /// By `host[:port][/path]`; of several files, the first.
    entries: BTreeMap<String, Login>,
    /// By host: the program that keeps the login.
    helpers: BTreeMap<String, String>,
    /// The program that keeps all logins.
    helper_of_all: Option<String>,
    /// What programs have said, by host. Some take a second to say it.
    said: Arc<Mutex<BTreeMap<String, Option<Login>>>>,
}

/// What is stored for one registry or repository.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A refresh token for the token server, which Docker calls identity token.
    Identity(String),
    /// A token for the registry itself.
    Registry(String),
}

impl Credentials {
    /// Nobody in particular.
    pub fn none() -> Self {
        Self::default()
    }

    /// One login, for one host.
    pub fn of(host: &str, login: Login) -> Self {
        Self { entries: BTreeMap::from([(normal(host), login)]), ..Self::default() }
    }

    /// Reads the files that exist, of which earlier ones win; a missing file holds nothing.
    pub fn load(files: &[PathBuf]) -> Result<Self, Error> {
        let mut all = Self::none();
        for path in files {
            let wrong = |source| Error::Credentials { path: path.clone(), source };
            match std::fs::read(path) {
                Ok(bytes) => all.add(Self::parse(path, &bytes)?),
                Err(error) if is_absence(&error) => {}
                Err(error) => return Err(wrong(CredentialsError::Read(error))),
            }
        }
        Ok(all)
    }

    /// Reads the contents of one file; the path is for errors only.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self, Error> {
        let wrong = |source| Error::Credentials { path: path.to_owned(), source };
        let file: File =
            serde_json::from_slice(bytes).map_err(|error| wrong(CredentialsError::Json(error)))?;
        let mut entries = BTreeMap::new();
        for (key, entry) in file.auths.unwrap_or_default() {
            let login = entry
                .login()
                .ok_or_else(|| wrong(CredentialsError::Auth { host: harmless(&key) }))?;
            entries.extend(login.map(|login| (normal(&key), login)));
        }
        let helpers = file.cred_helpers.unwrap_or_default().into_iter();
        Ok(Self {
            entries,
            helpers: helpers.map(|(host, helper)| (normal(&host), helper)).collect(),
            helper_of_all: file.creds_store.filter(|helper| !helper.is_empty()),
            said: Arc::default(),
        })
    }

    fn add(&mut self, later: Self) {
        for (key, login) in later.entries {
            self.entries.entry(key).or_insert(login);
        }
        for (host, helper) in later.helpers {
            self.helpers.entry(host).or_insert(helper);
        }
        self.helper_of_all = self.helper_of_all.take().or(later.helper_of_all);
    }

    /// Returns who one is to a registry: what the helper says that is named for the host, or else the entry for the
    /// repository, or else what the helper for all hosts says. May wait for a program, so not on a thread of a runtime.
    pub(crate) fn find(&self, access: &Access) -> Result<Option<Login>, Error> {
        let host = normal(&access.host);
        if let Some(helper) = self.helpers.get(&host)
            && let Some(login) = self.ask(helper, &host)?
        {
            return Ok(Some(login));
        }
        if let Some(login) = self.entry(access) {
            return Ok(Some(login.clone()));
        }
        match &self.helper_of_all {
            Some(helper) => self.ask(helper, &host),
            None => Ok(None),
        }
    }

    /// Returns who one is to a registry as a whole. May wait for a program.
    pub fn login(&self, host: &str) -> Result<Option<Login>, Error> {
        self.find(&Access::registry(host))
    }

    /// Returns the entry with the longest matching key.
    fn entry(&self, access: &Access) -> Option<&Login> {
        let mut key = format!("{}/{}", normal(&access.host), access.path);
        loop {
            if let Some(login) = self.entries.get(&key) {
                return Some(login);
            }
            key.truncate(key.rfind('/')?);
        }
    }

    /// Asks a helper, once for each host.
    fn ask(&self, helper: &str, host: &str) -> Result<Option<Login>, Error> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(login) = said.get(host) {
            return Ok(login.clone());
        }
        let login = helper::get(helper, server_of(host))?;
        said.insert(host.to_owned(), login.clone());
        Ok(login)
    }
}

/// Shows for whom there is a login, never the login.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.entries.keys()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct File {
    auths: Option<BTreeMap<String, Entry>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl Entry {
    /// Returns the login; `Some(None)` if the entry is the empty one that Docker leaves beside a helper, `None` if
    /// it cannot be read.
    fn login(self) -> Option<Option<Login>> {
        let full = |text: Option<String>| text.filter(|text| !text.is_empty());
        if let Some(token) = full(self.registrytoken) {
            return Some(Some(Login::Registry(token)));
        }
        if let Some(token) = full(self.identitytoken) {
            return Some(Some(Login::Identity(token)));
        }
        let Some(auth) = full(self.auth) else {
            let both = full(self.username).zip(full(self.password));
            return Some(both.map(|(user, password)| Login::Password { user, password }));
        };
        let text = String::from_utf8(base64::decode(auth.trim())?).ok()?;
        let (user, password) = text.split_once(':')?;
        // Docker once padded passwords with NUL.
        let password = password.trim_matches('\0');
        Some(Some(Login::Password { user: user.to_owned(), password: password.to_owned() }))
    }
}

/// Brings a key to `host[:port][/path]`: Docker writes URLs for Docker Hub, and older versions for every host.
fn normal(key: &str) -> String {
    let stripped = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    let (host, path) = match (stripped.unwrap_or(key).split_once('/'), stripped) {
        // A URL's path is that of the protocol, not of a repository.
        (Some((host, _)), Some(_)) | (Some((host, "v1" | "v1/" | "v2" | "v2/" | "")), None) => {
            (host, None)
        }
        (Some((host, path)), None) => (host, Some(path.trim_end_matches('/'))),
        (None, _) => (stripped.unwrap_or(key), None),
    };
    let host = host.to_ascii_lowercase();
    let host = if DOCKER_HUB.contains(&host.as_str()) { "docker.io".to_owned() } else { host };
    path.map_or_else(|| host.clone(), |path| format!("{host}/{path}"))
}

/// Returns what Docker calls a host where it stores a login for it.
fn server_of(host: &str) -> &str {
    if normal(host) == "docker.io" { "https://index.docker.io/v1/" } else { host }
}

/// A path below a file or a missing directory is as absent as a missing file.
fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Credentials, Error> {
        Credentials::parse(Path::new("config.json"), text.as_bytes())
    }

    fn user(credentials: &Credentials, reference: &str) -> Option<String> {
        let reference = oci::Reference::parse(reference).unwrap();
        match credentials.find(&Access::pull(&reference)).unwrap()? {
            Login::Password { user, password } => Some(format!("{user}:{password}")),
            Login::Identity(token) => Some(format!("identity {token}")),
            Login::Registry(token) => Some(format!("registry {token}")),
        }
    }

    #[test]
    fn the_longest_key_wins() {
        let credentials = parse(
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "aHViOmE6Yg=="},
                "quay.example": {"username": "q", "password": "p"},
                "quay.example/team": {"auth": "dGVhbTp0"},
                "quay.example/team/app": {"auth": "YXBwOmE"},
                "HOST.example:5000/v2/": {"auth": "aDpoAAA="},
                "azure.example": {"auth": "eDp5", "identitytoken": "id"},
                "token.example": {"registrytoken": "rt"},
                "empty.example": {}
            }, "credsStore": "", "other": 1}"#,
        )
        .unwrap();
        for (reference, expected) in [
            ("busybox", Some("hub:a:b")),
            ("someone/thing", Some("hub:a:b")),
            ("quay.example/other/app", Some("q:p")),
            ("quay.example/team", Some("team:t")),
            ("quay.example/team/app", Some("app:a")),
            ("quay.example/team/app/sub", Some("app:a")),
            ("quay.example/teams", Some("q:p")),
            ("host.example:5000/x", Some("h:h")),
            ("host.example/x", None),
            ("azure.example/x", Some("identity id")),
            ("token.example/x", Some("registry rt")),
            ("empty.example/x", None),
        ] {
            assert_eq!(user(&credentials, reference).as_deref(), expected, "{reference}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let credentials = parse(r#"{"auths": {"a.example": {"auth": "dTpzZWNyZXQ="}}}"#).unwrap();
        let shown = format!("{credentials:?} {:?}", credentials.entries.values());
        assert!(shown.contains("a.example") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn what_cannot_be_read_is_an_error() {
        for wrong in [
            "",
            "[]x",
            r#"{"auths": {"a": {"auth": "!"}}}"#,
            r#"{"auths": {"a": {"auth": "bm9jb2xvbg=="}}}"#,
            r#"{"auths": 3}"#,
        ] {
            assert!(matches!(parse(wrong), Err(Error::Credentials { .. })), "{wrong}");
        }
    }

    #[test]
    fn an_earlier_file_wins_and_a_missing_one_is_empty() {
        let folder = std::env::temp_dir().join(format!("kiln-credentials-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text).unwrap();
            folder.join(name)
        };
        let files = [
            folder.join("missing"),
            file("a", r#"{"auths": {"x.example": {"auth": "YTph"}}}"#),
            file(
                "b",
                r#"{"auths": {"x.example": {"auth": "Yjpi"}, "y.example": {"auth": "Yjpi"}}}"#,
            ),
        ];
        let below_a_file = [folder.join("a/config.json")];
        let (loaded, none) = (Credentials::load(&files), Credentials::load(&below_a_file));
        std::fs::remove_dir_all(&folder).unwrap();
        let loaded = loaded.unwrap();
        assert_eq!(user(&loaded, "x.example/i").as_deref(), Some("a:a"));
        assert_eq!(user(&loaded, "y.example/i").as_deref(), Some("b:b"));
        assert!(none.unwrap().entries.is_empty());
    }

    #[test]
    fn the_files_are_those_of_docker_and_podman() {
        let path = |text: &str| Some(PathBuf::from(text));
        let places = Places { home: path("/h"), xdg_runtime_dir: path("/r"), ..Places::default() };
        let files = [
            "/h/.docker/config.json",
            "/r/containers/auth.json",
            "/h/.config/containers/auth.json",
        ];
        assert_eq!(places.files(), files.map(PathBuf::from));
        let places = Places { docker_config: path("/d"), xdg_config_home: path(""), ..places };
        assert_eq!(places.files()[0], PathBuf::from("/d/config.json"));
        assert_eq!(places.files()[2], PathBuf::from("/h/.config/containers/auth.json"));
        let places = Places { registry_auth_file: path("/f"), ..places };
        assert_eq!(places.files(), [PathBuf::from("/f")]);
    }
}
