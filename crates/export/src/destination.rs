//! Destinations that are there as a whole or not at all.

use std::{
    fs,
    io::{self, BufWriter, Write},
    os::{fd::AsFd, unix::fs::FileTypeExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use crate::error::{Error, Result};

/// Large enough that small headers cost no system call each.
const BUFFER: usize = 256 * 1024;

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// `-`.
    Stdout,
    /// A file or a directory.
    Path(PathBuf),
}

impl Destination {
    /// Lets `write` write the destination, and puts it in its place if that succeeds.
    ///
    /// # Errors
    /// Those of `write`. What was at the path before is still there then.
    pub fn write<E: From<Error>>(
        &self,
        write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
    ) -> Result<(), E> {
        match self {
            Self::Stdout => {
                // The standard library looks for the ends of lines in what is printed; an archive has none.
                let stdout = io::stdout().as_fd().try_clone_to_owned();
                let stdout = fs::File::from(stdout.map_err(Error::io("open", "-"))?);
                through_buffer(stdout, Path::new("-"), write)
            }
            Self::Path(path) => write_file(path, write),
        }
    }
}

fn write_file<E: From<Error>>(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    // Through a link, the file that it names is replaced, and not the link.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    if let Ok(stat) = fs::metadata(path) {
        if stat.is_dir() {
            return Err(Error::IsDirectory { path: path.clone() }.into());
        }
        let kind = stat.file_type();
        if kind.is_fifo() || kind.is_char_device() || kind.is_block_device() {
            let file = fs::OpenOptions::new().write(true).open(path);
            return through_buffer(file.map_err(Error::io("open", path))?, path, write);
        }
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    if let Some(parent) = parent.filter(|parent| !parent.exists()) {
        return Err(Error::NoDirectory { path: parent.to_owned() }.into());
    }
    let staged = Staged::beside(path);
    let file = fs::OpenOptions::new().write(true).create_new(true).open(&staged.path);
    through_buffer(file.map_err(Error::io("create", &staged.path))?, path, write)?;
    Ok(staged.rename(path)?)
}

fn through_buffer<E: From<Error>>(
    out: impl Write,
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<(), E>,
) -> Result<(), E> {
    let mut out = BufWriter::with_capacity(BUFFER, Named { out, path });
    write(&mut out)?;
    // Its error says what it is.
    let flushed = out.flush().map_err(|error| match error.downcast::<Error>() {
        Ok(error) => error,
        Err(error) => Error::io("write", path)(error),
    });
    Ok(flushed?)
}

/// Says which file it is that cannot be written: whoever writes reads something too.
struct Named<'a, W> {
    out: W,
    path: &'a Path,
}

impl<W: Write> Named<'_, W> {
    fn failed(&self, error: io::Error) -> io::Error {
        let kind = error.kind();
        let error = match kind {
            io::ErrorKind::BrokenPipe => Error::Unread { path: self.path.to_owned() },
            _ => Error::io("write", self.path)(error),
        };
        io::Error::new(kind, error)
    }
}

impl<W: Write> Write for Named<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes).map_err(|error| self.failed(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush().map_err(|error| self.failed(error))
    }
}

/// A path that is removed when dropped, with everything in it, unless it was renamed.
#[derive(Debug)]
pub(crate) struct Staged {
    path: PathBuf,
}

impl Staged {
    /// Returns a path beside `path`, on its file system, that nothing has.
    pub(crate) fn beside(path: &Path) -> Self {
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self::inside(parent.unwrap_or_else(|| Path::new(".")), &name)
    }

    /// Returns a path in `directory` that nothing has.
    pub(crate) fn inside(directory: &Path, name: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        // Names can have 255 bytes; the beginning is enough to know what a leftover was.
        let name: String = name.chars().take(40).collect();
        let name = format!(".{name}.kiln-{}-{number}", std::process::id());
        Self { path: directory.join(name) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts it in its place.
    pub(crate) fn rename(self, path: &Path) -> Result<()> {
        fs::rename(&self.path, path).map_err(Error::io("rename", path))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // There is an error on its way already if anything is left; its name says what it was.
        let _ = match fs::symlink_metadata(&self.path) {
            Ok(stat) if stat.is_dir() => fs::remove_dir_all(&self.path),
            Ok(_) => fs::remove_file(&self.path),
            Err(_) => Ok(()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn only_an_output_that_nobody_reads_is_unread() {
        for size in [10, 2 * BUFFER] {
            let (reader, writer) = io::pipe().unwrap();
            drop(reader);
            let write = |out: &mut dyn Write| {
                out.write_all(&vec![0; size]).map_err(Error::io("write", "layer"))
            };
            let error = through_buffer(writer, Path::new("-"), write).unwrap_err();
            assert!(error.is_unread(), "{size}: {error:?}");
        }
        // As a connection says that was closed while a layer was sent.
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let diff_id = Box::new(oci::DiffId::new(oci::Digest::of(b"")));
        for error in
            [Error::io("send", "layer")(broken()), Error::Compress { diff_id, source: broken() }]
        {
            assert!(!error.is_unread(), "{error:?}");
        }
    }

    #[test]
    fn a_failure_leaves_what_was_there() {
        let scratch = Scratch::new("destination");
        let path = scratch.path().join("file");
        let destination = Destination::Path(path.clone());
        let failing = |out: &mut dyn Write| {
            out.write_all(b"half").unwrap();
            Err(Error::NoRoot { kind: "test" })
        };
        assert!(destination.write(failing).is_err());
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 0);
        let good = |out: &mut dyn Write| out.write_all(b"whole").map_err(Error::io("write", ""));
        destination.write(good).unwrap();
        assert!(destination.write(failing).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"whole");
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1);
    }

    #[test]
    fn links_and_devices_stay_what_they_are() {
        let scratch = Scratch::new("destination-link");
        let (file, link) = (scratch.path().join("file"), scratch.path().join("link"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        let good = |out: &mut dyn Write| out.write_all(b"new").map_err(Error::io("write", ""));
        Destination::Path(link.clone()).write(good).unwrap();
        assert!(link.is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
        Destination::Path("/dev/null".into()).write(good).unwrap();
        assert!(fs::metadata("/dev/null").unwrap().file_type().is_char_device());
        let nowhere = Destination::Path(scratch.path().join("none/x")).write(good);
        assert!(matches!(nowhere, Err(Error::NoDirectory { .. })));
        let directory = Destination::Path(scratch.path().to_owned()).write(good);
        assert!(matches!(directory, Err(Error::IsDirectory { .. })));
    }
}
