//! A file of the web: asked for with what is known of it, downloaded where it has changed.
//!
//! A record keeps, under the address, what the server said (`etag`, `since`) and the digest of the body; the snapshot has
//! the one file. How requests are made is in the crate `registry`.

use std::{
    fs::{self, OpenOptions},
    io::{Read, Seek, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use filetree::{Owners, RootDir, Wanted};
use jiff::{Timestamp, fmt::rfc2822::DateTimeParser};
use oci::{ContentDigest, Digest, Hasher};
use plan::Copy;
use registry::{Client, Download, FileRequest, Piece};
use store::SnapshotId;

use crate::{
    Error, Event,
    context::MAX_TEXT,
    remote::{
        Asker, Fetched, Taken,
        address::{authorization, file_name, literal, shown},
        key,
    },
};

/// What the file of a context is called.
const CONTEXT: &str = "context";

/// Nobody but the owner: what a server sends may be a secret.
const MODE: u32 = 0o600;

/// An address, the name of the file, and the digest that it shall have.
pub(crate) type Wish = (String, String, Option<Digest>);

/// A file that was downloaded, alone in its snapshot.
#[derive(Debug, Clone)]
pub(crate) struct File {
    snapshot: SnapshotId,
    name: String,
    /// SHA-256 of the body.
    body: Digest,
}

/// What an ADD depends on: the body and the name. If the body's digest is said by `--checksum`, nobody has to be asked.
pub(crate) fn digest(asker: Asker<'_>, copy: &Copy, address: &str) -> Result<ContentDigest, Error> {
    let name = file_name(address);
    let body = match checksum(copy)? {
        Some(said @ Digest::Sha256(_)) => said,
        Some(Digest::Sha512(_)) | None => file(asker, copy, address)?.body,
    };
    let body = body.to_string();
    Ok(ContentDigest::new(key(&[b"kiln web content 1", body.as_bytes(), name.as_bytes()])))
}

/// Returns what an ADD takes.
pub(crate) fn select(asker: Asker<'_>, copy: &Copy, address: &str) -> Result<Taken, Error> {
    let file = file(asker, copy, address)?;
    let tree = file.fetched().tree(asker.engine)?;
    let sources = [literal(&file.name)];
    let archives = copy.unpack == Some(true);
    let wanted = Wanted { sources: &sources, archives, ..Wanted::default() };
    let selection = filetree::select(&tree, &wanted)?;
    Ok(Taken { tree, selection })
}

/// Returns a named context: the file as it is, called `context`.
pub(crate) fn context(asker: Asker<'_>, address: &str) -> Result<Fetched, Error> {
    Ok(fetched(asker, address, CONTEXT, None)?.fetched())
}

/// Returns the name and the text of a Dockerfile.
pub(crate) fn text(asker: Asker<'_>, address: &str) -> Result<(String, Vec<u8>), Error> {
    announce(asker, address);
    let name = file_name(address);
    let file = fetched(asker, address, &name, None)?;
    let root = RootDir::open(&asker.engine.store().snapshot_dir(&file.snapshot))?;
    Ok((name, root.read_file(&file.name, MAX_TEXT)?.unwrap_or_default()))
}

/// Returns when the file of a context was modified, in seconds since 1970, or else the newest file in it if it is an
/// archive.
pub(crate) fn context_time(asker: Asker<'_>, address: &str) -> Result<Option<i64>, Error> {
    modified(asker, &fetched(asker, address, CONTEXT, None)?)
}

/// The same of what an ADD takes.
pub(crate) fn added_time(
    asker: Asker<'_>,
    copy: &Copy,
    address: &str,
) -> Result<Option<i64>, Error> {
    modified(asker, &file(asker, copy, address)?)
}

fn modified(asker: Asker<'_>, file: &File) -> Result<Option<i64>, Error> {
    let path = file.path(asker);
    let opened = fs::File::open(&path).map_err(Error::io("open", &path))?;
    let said = opened.metadata().and_then(|metadata| metadata.modified());
    let said = said.map_err(Error::io("read", &path))?;
    // A file that no time was sent with has this one.
    if said == SystemTime::UNIX_EPOCH {
        return Ok(filetree::newest(opened));
    }
    Ok(Some(Timestamp::try_from(said).unwrap_or_default().as_second()))
}

/// A main context.
#[derive(Debug)]
pub(crate) struct MainContext {
    pub(crate) files: Fetched,
    /// Name and text of the Dockerfile, where the address is that of one.
    pub(crate) dockerfile: Option<(String, Vec<u8>)>,
}

/// Returns a main context: an archive, unpacked, or else a Dockerfile, which is then the only file of it.
pub(crate) fn main_context(asker: Asker<'_>, address: &str) -> Result<MainContext, Error> {
    announce(asker, address);
    let file = fetched(asker, address, CONTEXT, None)?;
    let path = file.path(asker);
    let mut opened = fs::File::open(&path).map_err(Error::io("open", &path))?;
    if filetree::is_archive(&mut opened).map_err(Error::io("read", &path))? {
        return Ok(MainContext { files: unpacked(asker, &file, opened)?, dockerfile: None });
    }
    let root = RootDir::open(&asker.engine.store().snapshot_dir(&file.snapshot))?;
    let text = root.read_file(&file.name, MAX_TEXT)?.unwrap_or_default();
    let name = file_name(address);
    Ok(MainContext { files: file.fetched(), dockerfile: Some((name, text)) })
}

/// Returns the files of an archive, unpacked by this build or an earlier one.
fn unpacked(asker: Asker<'_>, file: &File, archive: fs::File) -> Result<Fetched, Error> {
    let identity = format!("unpacked {}", file.body).into_bytes();
    let key = key(&[b"kiln unpacked context 1", &identity]);
    let snapshot = match asker.known(&key)? {
        Some(record) => record.snapshot,
        None => {
            let snapshot = asker.engine.store().create_snapshot()?;
            let root = RootDir::open(snapshot.fs())?;
            let budget = &asker.engine.limits().layer;
            filetree::extract_archive(archive, &root, "/", None, budget)?;
            let snapshot = snapshot.seal()?;
            let description = format!("context {}", file.body);
            asker.remember(&key, snapshot, description, Vec::new())?;
            snapshot
        }
    };
    // As BuildKit does: such a context is like a stage into which the archive was extracted.
    Ok(Fetched { snapshot, directory: String::new(), identity, owners: Owners::Keep })
}

fn file(asker: Asker<'_>, copy: &Copy, address: &str) -> Result<File, Error> {
    let checksum = checksum(copy)?;
    let file = fetched(asker, address, &file_name(address), checksum.as_ref())?;
    if let Some(expected) = checksum {
        verify(asker, &file, address, expected)?;
    }
    Ok(file)
}

fn checksum(copy: &Copy) -> Result<Option<Digest>, Error> {
    Ok(copy.checksum.as_deref().map(Digest::parse).transpose()?)
}

fn fetched(
    asker: Asker<'_>,
    address: &str,
    name: &str,
    checksum: Option<&Digest>,
) -> Result<File, Error> {
    let wish = (address.to_owned(), name.to_owned(), checksum.copied());
    asker.remotes.files.get(wish, || fetch(asker, address, name, checksum))
}

fn fetch(
    asker: Asker<'_>,
    address: &str,
    name: &str,
    checksum: Option<&Digest>,
) -> Result<File, Error> {
    let key = key(&[b"kiln web file 1", address.as_bytes(), name.as_bytes()]);
    let known = Known::find(asker, &key, name)?;
    if let Some(known) = known.as_ref().filter(|known| checksum == Some(&known.file.body)) {
        return Ok(known.file.clone());
    }
    let authorization = authorization(asker, address);
    let request = FileRequest {
        address,
        authorization: authorization.as_deref(),
        etag: known.as_ref().and_then(|known| known.etag.as_deref()),
        last_modified: known.as_ref().and_then(|known| known.since.as_deref()),
        limit: asker.request.fetch_limit,
    };
    match download(asker, &request, name)? {
        Some(new) => {
            let description = format!("GET {}", shown(address));
            asker.remember(&key, new.file.snapshot, description, new.ingredients())?;
            Ok(new.file)
        }
        None => known.map(|known| known.file).ok_or(Error::Lost { what: "a download" }),
    }
}

/// What is remembered of a file.
#[derive(Debug)]
struct Known {
    file: File,
    etag: Option<String>,
    /// `Last-Modified`, if it tells versions apart.
    since: Option<String>,
}

impl Known {
    fn find(asker: Asker<'_>, key: &[u8; 32], name: &str) -> Result<Option<Self>, Error> {
        let Some(record) = asker.known(key)? else { return Ok(None) };
        let value = |wanted: &str| {
            let found = record.ingredients.iter().find(|(name, _)| name == wanted);
            found.map(|(_, value)| value.clone())
        };
        let Some(body) = value("body").and_then(|body| Digest::parse(&body).ok()) else {
            return Ok(None);
        };
        let file = File { snapshot: record.snapshot, name: name.to_owned(), body };
        Ok(Some(Self { file, etag: value("etag"), since: value("since") }))
    }

    fn ingredients(&self) -> Vec<(String, String)> {
        let pair = |name: &str, value: &Option<String>| {
            value.clone().map(|value| (name.to_owned(), value))
        };
        let body = Some(("body".to_owned(), self.file.body.to_string()));
        [body, pair("etag", &self.etag), pair("since", &self.since)].into_iter().flatten().collect()
    }
}

/// Downloads a file into a snapshot of its own; `None` if it is what is known. A failure leaves nothing.
fn download(
    asker: Asker<'_>,
    request: &FileRequest<'_>,
    name: &str,
) -> Result<Option<Known>, Error> {
    let Some(client) = asker.engine.registries()? else {
        return Err(Error::Unsupported { feature: "a download without a client".to_owned() });
    };
    let work = async {
        let address = request.address;
        let download = client.file(request).await.map_err(|error| fetch_error(error, address))?;
        let Some(mut download) = download else { return Ok(None) };
        let snapshot = asker.engine.store().create_snapshot()?;
        let body = write(&mut download, address, &snapshot.fs().join(name)).await?;
        let etag = download.etag().map(str::to_owned);
        let since = download.last_modified().filter(|_| etag.is_none() && is_telling(&download));
        let since = since.map(str::to_owned);
        let file = File { snapshot: snapshot.seal()?, name: name.to_owned(), body };
        Ok(Some(Known { file, etag, since }))
    };
    let cancel = &asker.request.cancel;
    tokio::runtime::Handle::current().block_on(async {
        tokio::select! {
            result = work => result,
            () = cancel.cancelled() => Err(Error::Cancelled),
        }
    })
}

/// Downloads a file to a path at which nothing is, whatever may be known of it.
pub(crate) async fn download_to(
    client: &Client,
    address: &str,
    limit: u64,
    path: &Path,
) -> Result<(), Error> {
    let request =
        FileRequest { address, authorization: None, etag: None, last_modified: None, limit };
    let download = client.file(&request).await.map_err(|error| fetch_error(error, address))?;
    // Nothing is known, so nothing can still be current.
    let mut download = download.ok_or(Error::Lost { what: "a download" })?;
    write(&mut download, address, path).await.map(drop)
}

async fn write(download: &mut Download, address: &str, path: &Path) -> Result<Digest, Error> {
    let file = OpenOptions::new().write(true).create_new(true).mode(MODE).open(path);
    let mut file = file.map_err(Error::io("create", path))?;
    let mut hasher = Hasher::sha256();
    while let Some(piece) = download.piece().await.map_err(|error| fetch_error(error, address))? {
        match piece {
            Piece::Bytes(bytes) => {
                hasher.update(&bytes);
                file.write_all(&bytes).map_err(Error::io("write", path))?;
            }
            Piece::Anew => {
                hasher = Hasher::sha256();
                file.set_len(0).map_err(Error::io("write", path))?;
                file.rewind().map_err(Error::io("write", path))?;
            }
        }
    }
    // Without a time of its own it is as old as can be, the same on every machine.
    let modified = download.last_modified().and_then(time).unwrap_or(Timestamp::UNIX_EPOCH);
    file.set_modified(SystemTime::from(modified)).map_err(Error::io("set the times of", path))?;
    // Whatever the umask.
    let mode = fs::Permissions::from_mode(MODE);
    file.set_permissions(mode).map_err(Error::io("change the mode of", path))?;
    Ok(hasher.finish())
}

/// What is too large has its own error, since the user can allow more.
fn fetch_error(error: registry::Error, address: &str) -> Error {
    match error {
        registry::Error::TooLarge { limit, .. } => {
            Error::FetchLimit { address: shown(address), limit }
        }
        error => error.into(),
    }
}

/// Whether the time of modification tells this version from all others: only if it was long over when the server answered
/// (RFC 9110, section 8.8.2.2).
fn is_telling(download: &Download) -> bool {
    const LONG: Duration = Duration::from_secs(60);
    let time = |text: Option<&str>| text.and_then(time).map(SystemTime::from);
    match (time(download.last_modified()), time(download.date())) {
        (Some(modified), Some(date)) => date.duration_since(modified).is_ok_and(|age| age >= LONG),
        _ => false,
    }
}

/// Reads a time as HTTP writes it.
fn time(text: &str) -> Option<Timestamp> {
    const PARSER: DateTimeParser = DateTimeParser::new().relaxed_weekday(true);
    PARSER.parse_timestamp(text).ok()
}

fn verify(asker: Asker<'_>, file: &File, address: &str, expected: Digest) -> Result<(), Error> {
    let actual = match expected {
        Digest::Sha256(_) => file.body,
        Digest::Sha512(_) => digest_of(&file.path(asker), expected.hasher())?,
    };
    if actual == expected {
        return Ok(());
    }
    let (expected, actual) = (Box::new(expected), Box::new(actual));
    Err(Error::Checksum { address: shown(address), expected, actual })
}

fn digest_of(path: &Path, mut hasher: Hasher) -> Result<Digest, Error> {
    let mut file = fs::File::open(path).map_err(Error::io("open", path))?;
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let count = file.read(&mut buffer).map_err(Error::io("read", path))?;
        if count == 0 {
            return Ok(hasher.finish());
        }
        hasher.update(&buffer[..count]);
    }
}

impl File {
    fn fetched(&self) -> Fetched {
        Fetched {
            snapshot: self.snapshot,
            directory: String::new(),
            identity: format!("web {} {}", self.body, self.name).into_bytes(),
            owners: Owners::Root,
        }
    }

    fn path(&self, asker: Asker<'_>) -> PathBuf {
        asker.engine.store().snapshot_dir(&self.snapshot).join(&self.name)
    }
}

/// Tells of a download that nobody sees as a step.
fn announce(asker: Asker<'_>, address: &str) {
    asker.events.send(Event::Note(format!("fetching {}", shown(address))));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        let seconds = |text| time(text).map(Timestamp::as_second);
        assert_eq!(seconds("Mon, 02 Jan 2006 15:04:05 GMT"), Some(1_136_214_245));
        // A wrong day of the week says nothing about the rest.
        assert_eq!(seconds("Tue, 02 Jan 2006 15:04:05 GMT"), Some(1_136_214_245));
        assert_eq!(seconds("yesterday"), None);
    }
}
