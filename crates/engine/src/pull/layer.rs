//! One layer from a registry: downloaded, verified, decompressed and unpacked in one stream.

use std::{
    io::{self, Read, Write},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use filetree::RootDir;
use oci::{ChainId, Descriptor, DiffId, Reference};
use registry::{Beginning, Client, News, Watcher};
use store::{Partial, Presence};

use super::floors::{Below, Floors};
use crate::{
    Engine, Error,
    load::layer::{self, Unpacked},
};

/// How often it is looked whether another process has finished the download of the same blob.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// How much is told of at once.
const TOLD: u64 = 64 * 1024;

/// The characters of a digest that people see.
const SHORT: usize = 12;

/// A layer that the store does not have.
#[derive(Debug, Clone)]
pub(super) struct LayerPull {
    pub(super) engine: Engine,
    pub(super) client: Client,
    pub(super) reference: Reference,
    pub(super) descriptor: Descriptor,
    pub(super) diff_id: DiffId,
    pub(super) chain: ChainId,
    pub(super) floors: Arc<Floors>,
    /// Which layer it is, counted from the bottom.
    pub(super) index: usize,
    pub(super) watcher: Watcher,
}

/// Returns what people call the layer of a blob.
pub(super) fn short(descriptor: &Descriptor) -> String {
    descriptor.digest.as_digest().to_hex().chars().take(SHORT).collect()
}

impl LayerPull {
    /// Gets the layer, into a snapshot that nobody else sees yet. Its blob is in the store then.
    pub(super) async fn run(self) -> Result<Unpacked, Error> {
        let mut is_second = false;
        loop {
            match self.presence().await? {
                Presence::Busy => tokio::time::sleep(BUSY_PAUSE).await,
                Presence::Whole => {
                    let (this, blob) = (self.clone(), self.descriptor.digest);
                    return blocking(move || {
                        let blob = this.engine.store().open_blob(&blob)?;
                        this.unpack(blob)
                    })
                    .await;
                }
                Presence::Partial(partial) => {
                    let had = partial.length();
                    let result = self.follow(partial).await;
                    if !matches!(&result, Err(error) if is_wrong(error)) {
                        return result;
                    }
                    // Nobody is to go on from what is wrong. An earlier pull may have left it, or a mirror sent it, who is
                    // not asked again: once more, from the start.
                    self.forget().await?;
                    if had == 0 && is_second {
                        return result;
                    }
                    is_second |= had == 0;
                }
            }
        }
    }

    async fn presence(&self) -> Result<Presence, Error> {
        let this = self.clone();
        blocking(move || Ok(this.engine.store().partial(&this.descriptor.digest)?)).await
    }

    /// Throws away what an earlier pull has left of the blob.
    async fn forget(&self) -> Result<(), Error> {
        match self.presence().await? {
            Presence::Partial(mut partial) => Ok(partial.restart()?),
            // Somebody else has taken care of it.
            Presence::Whole | Presence::Busy => Ok(()),
        }
    }

    /// Downloads the rest of the blob and unpacks all of it meanwhile.
    async fn follow(&self, mut partial: Partial) -> Result<Unpacked, Error> {
        // Through its file, so that unpacking slowly does not hold up the download.
        let follower = partial.follow()?.reader(0);
        let this = self.clone();
        let mut unpacking = tokio::task::spawn_blocking(move || this.unpack(follower));
        let mut downloading = pin!(self.download(partial));
        let lost = |_| Error::Lost { what: "the unpacking of a layer" };
        tokio::select! {
            downloaded = &mut downloading => {
                let unpacked = unpacking.await.map_err(lost)?;
                // What is wrong with the download is the cause of what is then wrong with the unpacking.
                downloaded.and(unpacked)
            }
            unpacked = &mut unpacking => {
                let unpacked = unpacked.map_err(lost)?;
                // Wrong bytes are told by their digest; that is known at the end.
                if matches!(&unpacked, Err(Error::Layer { source, .. }) if is_malformed(source)) {
                    downloading.await?;
                }
                unpacked
            }
        }
    }

    async fn download(&self, mut partial: Partial) -> Result<(), Error> {
        let size = self.descriptor.size;
        let beginning = self.beginning(&partial).await?;
        let mut told = beginning.length;
        let mut blob =
            self.client.rest_of_blob(&self.reference, &self.descriptor, beginning).await?;
        while let Some(bytes) = blob.chunk().await? {
            partial.write_all(&bytes).map_err(|error| Error::io("write", partial.path())(error))?;
            let done = partial.length();
            if done == size {
                self.tell(News::Verifying);
            } else if done >= told + TOLD {
                told = done;
                self.tell(News::Pulling { done, size });
            }
        }
        partial.commit(size)?;
        self.tell(News::Verified);
        Ok(())
    }

    /// Reads what an earlier pull has left.
    async fn beginning(&self, partial: &Partial) -> Result<Beginning, Error> {
        let mut hasher = self.descriptor.digest.as_digest().hasher();
        let length = partial.length();
        if length == 0 {
            return Ok(Beginning { hasher, length });
        }
        let mut file = partial.reader()?;
        blocking(move || {
            let mut buffer = vec![0; 256 * 1024];
            let mut left = length;
            while left > 0 {
                let count = file.read(&mut buffer).map_err(Error::io("read", "a partial blob"))?;
                if count == 0 {
                    return Err(Error::Lost { what: "a partial blob" });
                }
                hasher.update(&buffer[..count]);
                left = left.saturating_sub(count as u64);
            }
            Ok(Beginning { hasher, length })
        })
        .await
    }

    fn unpack(&self, input: impl Read + Send) -> Result<Unpacked, Error> {
        let name = self.descriptor.digest.to_string();
        let source = layer::Source {
            name: &name,
            descriptor: Some(&self.descriptor),
            diff_id: &self.diff_id,
            chain: &self.chain,
        };
        let below = Below { floors: Arc::clone(&self.floors), index: self.index };
        let mut input = Told { input, read: 0, told: 0, layer: self };
        let unpacked = layer::unpack_verified(&self.engine, &mut input, source, &below)?;
        // Only at its end is it known that the blob is right.
        io::copy(&mut input, &mut io::sink()).map_err(Error::io("read", "the end of a layer"))?;
        self.floors.complete(self.index, RootDir::open(unpacked.snapshot.fs())?);
        Ok(unpacked)
    }

    fn tell(&self, news: News) {
        self.watcher.tell(&short(&self.descriptor), news);
    }
}

/// Whether the bytes of a blob are not those that its digest says.
fn is_wrong(error: &Error) -> bool {
    use registry::Error as Registry;
    matches!(error, Error::Registry(Registry::Digest { .. } | Registry::Size { .. }))
}

fn is_malformed(error: &filetree::Error) -> bool {
    matches!(error, filetree::Error::Archive { .. } | filetree::Error::ReadArchive { .. })
}

/// Tells how far the unpacking has come.
struct Told<'a, R> {
    input: R,
    read: u64,
    told: u64,
    layer: &'a LayerPull,
}

impl<R: Read> Read for Told<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.read += count as u64;
        if self.read >= self.told + TOLD {
            self.told = self.read;
            self.layer.tell(News::Unpacking { done: self.read, size: self.layer.descriptor.size });
        }
        Ok(count)
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or(Err(Error::Lost { what: "the work on a layer" }))
}
