//! What the environment says, as values: the only place that reads it, but for the options that `args` takes from it.

use std::{
    collections::BTreeMap,
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use engine::{Limits, container::options::ByteSize, pull::Accept};
use oci::Platform;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use store::Store;

use crate::report::Failure;

/// Splits `NAME=VALUE`; a bare NAME has the value of the environment variable, or none.
pub(crate) fn name_value(given: &str) -> Option<(String, String)> {
    match given.split_once('=') {
        Some((name, value)) => Some((name.to_owned(), value.to_owned())),
        None => Some((given.to_owned(), env::var(given).ok()?)),
    }
}

/// Returns the value of an environment variable, if it is text.
pub(crate) fn text(name: &str) -> Option<String> {
    env::var(name).ok()
}

/// Returns where programs are looked for, as a variable for another process.
pub(crate) fn search_path() -> Option<(&'static str, OsString)> {
    Some(("PATH", env::var_os("PATH")?))
}

/// Returns the working directory.
pub(crate) fn current_directory() -> Result<PathBuf, Failure> {
    env::current_dir().map_err(Failure::io("find", "the working directory"))
}

/// Returns the value of an environment variable as bytes.
pub(crate) fn variable(name: &str) -> Option<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    env::var_os(name).map(OsStringExt::into_vec)
}

/// Returns the variables that git gets: where programs are, how the network is reached, who vouches for hosts.
pub(crate) fn git_env() -> BTreeMap<String, OsString> {
    const NAMES: [&str; 14] = [
        "PATH",
        "http_proxy",
        "https_proxy",
        "no_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "NO_PROXY",
        "ALL_PROXY",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
        "GIT_SSL_CAINFO",
        "CURL_CA_BUNDLE",
        "SSH_AUTH_SOCK",
    ];
    let variable = |name: &str| Some((name.to_owned(), env::var_os(name)?));
    NAMES.into_iter().filter_map(variable).collect()
}

fn path(name: &str) -> Option<PathBuf> {
    env::var_os(name).map(PathBuf::from)
}

/// Returns where the environment says that credentials and settings are.
pub(crate) fn registry_places() -> registry::Places {
    registry::Places {
        registry_auth_file: path("REGISTRY_AUTH_FILE"),
        docker_config: path("DOCKER_CONFIG"),
        xdg_runtime_dir: path("XDG_RUNTIME_DIR"),
        xdg_config_home: path("XDG_CONFIG_HOME"),
        home: path("HOME"),
        kiln_config: path("KILN_CONFIG"),
        containers_registries_conf: path("CONTAINERS_REGISTRIES_CONF"),
    }
}

/// Whether this process keeps off the network. It is of the environment in that it holds for everything.
static OFFLINE: OnceLock<bool> = OnceLock::new();

/// Says once, before anything else, whether this process keeps off the network.
pub(crate) fn set_offline(offline: bool) {
    // Only the first word counts, and nobody says a second one.
    let _ = OFFLINE.set(offline);
}

/// Sees to it that this process leaves no core behind: it may hold secrets, and cores are for anybody to look at afterwards. Of
/// what it starts, who wants cores can ask for them: the hard limit stays, and containers have `--ulimit core=…`.
///
/// `PR_SET_DUMPABLE` would keep debuggers away too, but a process without it cannot write the maps of its user namespace.
pub(crate) fn forbid_cores() {
    let limit = getrlimit(Resource::Core);
    // One that cannot be lowered is none that was raised.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: limit.maximum });
}

/// How much this process takes of what comes from elsewhere: said once, like that.
static LIMITS: OnceLock<Limits> = OnceLock::new();

/// Says once, before anything else, how much this process takes of what comes from elsewhere.
pub(crate) fn set_limits(limits: Limits) {
    // Only the first word counts, and nobody says a second one.
    let _ = LIMITS.set(limits);
}

/// Returns how much this process takes of what comes from elsewhere.
pub(crate) fn limits() -> Limits {
    LIMITS.get().copied().unwrap_or(Limits::STANDARD)
}

/// Returns what the environment says about registries: who one is there, and which proxies lead to them.
pub(crate) fn registry_options() -> Result<registry::Options, registry::Error> {
    let text = |names: [&str; 2]| names.iter().find_map(|name| env::var(name).ok());
    let places = registry_places();
    Ok(registry::Options {
        credentials: registry::Credentials::load(&places.files())?,
        settings: registry::Settings::load(&places)?,
        proxies: registry::Proxies {
            http: text(["http_proxy", "HTTP_PROXY"]),
            https: text(["https_proxy", "HTTPS_PROXY"]),
            none: text(["no_proxy", "NO_PROXY"]),
        },
        authorities: registry::Authorities {
            bundle: path("SSL_CERT_FILE"),
            by_host: places.certificates(),
        },
        offline: OFFLINE.get().copied().unwrap_or(false),
        limits: registry::Limits {
            document: limits().document_bytes,
            manifests: limits().manifests,
            ..registry::Limits::standard()
        },
        user_agent: concat!("kiln/", env!("CARGO_PKG_VERSION")).to_owned(),
    })
}

/// Makes a client for registries as the environment says.
pub(crate) fn registry_client() -> Result<registry::Client, registry::Error> {
    registry::Client::new(registry_options()?)
}

/// For tests that take the power from a disk, and not from the machine, which would have another boot id then.
const BOOT: &str = "KILN_BOOT_ID";

/// Returns what says which boot this is, if anything does, as a variable for another process.
pub(crate) fn boot() -> Option<(&'static str, OsString)> {
    Some((BOOT, env::var_os(BOOT)?))
}

/// Opens a store.
pub(crate) fn open_store(root: &Path) -> Result<Store, store::Error> {
    match env::var(BOOT) {
        Ok(boot) if !boot.is_empty() => Store::open_in_boot(root, &boot),
        _ => Store::open(root),
    }
}

/// Returns how many bytes the store may have, if `KILN_STORAGE_LIMIT` says so.
pub(crate) fn storage_limit() -> Result<Option<u64>, Failure> {
    let Some(text) = text("KILN_STORAGE_LIMIT").filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let size = text.parse::<ByteSize>();
    size.map(|size| Some(size.0))
        .map_err(|error| Failure::usage(format!("KILN_STORAGE_LIMIT: {error}")))
}

/// Whether colours and cursor movement are wanted (<https://no-color.org>).
pub(crate) fn wants_colour() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Returns how many lines of a running command's output the live view keeps in sight: what `BUILDKIT_TTY_LOG_LINES` says,
/// or as many as BuildKit does.
pub(crate) fn log_lines() -> usize {
    const USUAL: usize = 6;
    let said = env::var("BUILDKIT_TTY_LOG_LINES").ok().and_then(|lines| lines.parse().ok());
    said.unwrap_or(USUAL)
}

/// Returns the platform that was asked for, else the one that `DOCKER_DEFAULT_PLATFORM` asks for, or this machine's; `local`
/// is this machine's too.
pub(crate) fn platform(given: Option<&str>) -> Result<Platform, oci::Error> {
    let usual = usual_platform();
    match given.or(usual.as_deref()) {
        None | Some("local") => Ok(Platform::host()),
        Some(given) => Platform::parse(given),
    }
}

/// The platform that Docker's users have asked for once and for all.
fn usual_platform() -> Option<String> {
    env::var("DOCKER_DEFAULT_PLATFORM").ok().filter(|platform| !platform.is_empty())
}

/// Returns the platforms that were asked for, each once; those that Docker's variable names, or this machine's.
pub(crate) fn platforms(given: &[String]) -> Result<Vec<Platform>, oci::Error> {
    let usual: Vec<String> = match usual_platform() {
        Some(names) if given.is_empty() => names.split(',').map(str::to_owned).collect(),
        _ => Vec::new(),
    };
    let mut platforms = Vec::new();
    for name in given.iter().chain(&usual) {
        let platform = platform(Some(name.trim()))?;
        if !platforms.contains(&platform) {
            platforms.push(platform);
        }
    }
    if platforms.is_empty() {
        platforms.push(platform(None)?);
    }
    Ok(platforms)
}

/// Returns the platform that an image is wanted for, and whether one for another will do: where none was asked for.
pub(crate) fn wanted(given: Option<&str>) -> Result<(Platform, Accept), oci::Error> {
    let is_asked = given.is_some() || usual_platform().is_some();
    let accept = if is_asked { Accept::Platform } else { Accept::Any };
    Ok((platform(given)?, accept))
}

/// Returns where files go that nobody needs for long.
pub(crate) fn temporary_directory() -> PathBuf {
    env::temp_dir()
}

/// Whether a path stands for standard input or output.
pub(crate) fn is_stream(path: &Path) -> bool {
    path == Path::new("-")
}
