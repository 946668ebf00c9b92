//! Images from one registry to another, or to another repository of the same, without a stop on the disk. What is copied is
//! the same there to the last byte, and so is its digest.
//!
//! Blobs first, then the manifests that name them, then the indexes that name those, and what gives all of it a name at
//! last. A blob is found there, or mounted from the repository that it comes from, or streamed from the one registry to the
//! other, verified on its way.

use std::{
    collections::BTreeSet,
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{runtime::Handle, sync::Semaphore, task::JoinSet};

use oci::{Descriptor, Manifest, Platform, Reference, media_type};

use crate::{
    Blob, Client, DocumentError, Error, Fault, News, Source, Upload, Uploaded, Watcher,
    fetch::{DEEPEST_INDEX, Document, Parsed, no_platform, parse},
};

/// How many blobs are on their way at once, as in a push.
const AT_ONCE: usize = 5;

/// The characters of a digest that people see.
const SHORT: usize = 12;

/// What is to be copied.
#[derive(Debug, Clone, Copy)]
pub struct CopyRequest<'a> {
    /// Where it is.
    pub from: &'a Reference,
    /// Where it is to be: by a tag, or by the digest that it has.
    pub to: &'a Reference,
    /// Of images for several platforms the one for this; all of them, if none is named.
    pub platform: Option<&'a Platform>,
    /// Who watches.
    pub watcher: &'a Watcher,
}

impl Client {
    /// Copies an image, or those for several platforms with their index. Returns what describes the whole.
    ///
    /// # Errors
    /// The registry may have some of the blobs and of the manifests by then, but nothing has the new name.
    pub async fn copy(&self, request: &CopyRequest<'_>) -> Result<Descriptor, Error> {
        let mut document = self.document(request.from, None).await?;
        if let Some(platform) = request.platform {
            document = self.of_platform(request.from, platform, document).await?;
        }
        let copy = Copy {
            client: self,
            request,
            manifests: AtomicUsize::new(0),
            sending: Arc::new(Semaphore::new(AT_ONCE)),
        };
        copy.document(document, request.to, DEEPEST_INDEX).await
    }

    /// Goes from an index to the manifest for a platform.
    async fn of_platform(
        &self,
        from: &Reference,
        platform: &Platform,
        mut document: Document,
    ) -> Result<Document, Error> {
        for _ in 0..=DEEPEST_INDEX {
            match parse(&document).map_err(|source| no_image(from, source))? {
                Parsed::Manifest(_) => return Ok(document),
                Parsed::Index(index) => {
                    let selected = index.select(platform);
                    let selected = selected.ok_or_else(|| no_platform(from, platform, &index))?;
                    document = self.document(from, Some(selected)).await?;
                }
            }
        }
        Err(no_image(from, TOO_DEEP))
    }
}

const TOO_DEEP: DocumentError =
    DocumentError::Kind("it is an index of indexes of indexes without an image");

fn no_image(reference: &Reference, source: DocumentError) -> Error {
    Error::Document { wanted: reference.tagged().familiar(), source }
}

/// A copy on its way.
struct Copy<'a> {
    client: &'a Client,
    request: &'a CopyRequest<'a>,
    /// How many manifests there were so far.
    manifests: AtomicUsize,
    sending: Arc<Semaphore>,
}

impl Copy<'_> {
    /// Copies a manifest or an index with all that it names, and gives it a name.
    async fn document(
        &self,
        document: Document,
        name: &Reference,
        depth: usize,
    ) -> Result<Descriptor, Error> {
        let (from, to) = (self.request.from, self.request.to);
        let parsed = parse(&document).map_err(|source| no_image(from, source))?;
        let own = match &parsed {
            Parsed::Index(index) => index.media_type.as_deref(),
            Parsed::Manifest(manifest) => manifest.media_type.as_deref(),
        };
        let usual = match &parsed {
            Parsed::Index(_) => media_type::OCI_INDEX,
            Parsed::Manifest(_) => media_type::OCI_MANIFEST,
        };
        let kind = own.unwrap_or(usual).to_owned();
        match parsed {
            Parsed::Manifest(manifest) => self.blobs(&manifest).await?,
            Parsed::Index(index) => {
                let depth = depth.checked_sub(1).ok_or_else(|| no_image(from, TOO_DEEP))?;
                let count = index.manifests.len();
                let seen = self.manifests.fetch_add(count, Ordering::Relaxed) + count;
                let allowed = self.client.sender().limits().manifests;
                if seen as u64 > allowed {
                    return Err(no_image(from, DocumentError::Manifests { allowed }));
                }
                for descriptor in &index.manifests {
                    let part = self.client.document(from, Some(descriptor)).await?;
                    let name = pinned(to, descriptor)?;
                    Box::pin(self.document(part, &name, depth)).await?;
                }
            }
        }
        self.client.publish(name, &kind, &document.bytes).await
    }

    /// Sees to it that the blobs of a manifest are there.
    async fn blobs(&self, manifest: &Manifest) -> Result<(), Error> {
        let watcher = self.request.watcher;
        let mut distinct = BTreeSet::new();
        let mut layers: Vec<&Descriptor> = manifest.layers.iter().rev().collect();
        layers.retain(|layer| !is_foreign(layer) && distinct.insert(layer.digest));
        layers.iter().for_each(|layer| watcher.tell(&short(layer), News::ToPush));
        let mut tasks = JoinSet::new();
        let nobody = Watcher::nobody();
        let all = layers.iter().map(|layer| (*layer, watcher)).chain([(&manifest.config, &nobody)]);
        for (blob, watcher) in all {
            let copy = BlobCopy {
                client: self.client.clone(),
                from: self.request.from.clone(),
                to: self.request.to.clone(),
                blob: blob.clone(),
                watcher: watcher.clone(),
                sending: Arc::clone(&self.sending),
            };
            tasks.spawn(copy.run());
        }
        while let Some(ended) = tasks.join_next().await {
            // The first error ends the others: dropped, they stop sending.
            ended.map_err(|_| Error::Abandoned)??;
        }
        Ok(())
    }
}

/// One blob on its way.
struct BlobCopy {
    client: Client,
    from: Reference,
    to: Reference,
    blob: Descriptor,
    watcher: Watcher,
    sending: Arc<Semaphore>,
}

impl BlobCopy {
    async fn run(self) -> Result<(), Error> {
        // Never closed.
        let _permit = self.sending.acquire().await;
        let (name, size, watcher) = (short(&self.blob), self.blob.size, self.watcher.clone());
        let upload = Upload {
            to: &self.to,
            blob: &self.blob,
            source: Arc::new(Remote {
                client: self.client.clone(),
                from: self.from.clone(),
                blob: self.blob.clone(),
                runtime: Handle::current(),
            }),
            mounts: std::slice::from_ref(&self.from),
            on_progress: Arc::new(move |done| watcher.tell(&name, News::Pushing { done, size })),
        };
        let news = match self.client.upload(&upload).await.map_err(of_source)? {
            Uploaded::Present => News::There,
            Uploaded::Mounted(from) => News::Mounted(from),
            Uploaded::Sent => News::Pushed,
        };
        self.watcher.tell(&short(&self.blob), news);
        Ok(())
    }
}

/// Returns what was wrong with the registry that is copied from, if that ended the upload to the other.
fn of_source(error: Error) -> Error {
    let Error::Unreachable { url, source: Fault::Source(source) } = error else { return error };
    match source.downcast::<Error>() {
        Ok(error) => error,
        Err(source) => Error::Unreachable { url, source: Fault::Source(source) },
    }
}

/// A blob of a registry, as bytes for another.
struct Remote {
    client: Client,
    from: Reference,
    blob: Descriptor,
    runtime: Handle,
}

impl Source for Remote {
    fn open(&self, from: u64) -> io::Result<Box<dyn Read + Send>> {
        let reader = self.runtime.block_on(async {
            self.client.blob(&self.from, &self.blob).await.map(Blob::into_reader)
        });
        let mut reader = reader.map_err(io::Error::other)?;
        // Read from the start in any case, to be verified.
        io::copy(&mut (&mut reader).take(from), &mut io::sink())?;
        Ok(Box::new(reader))
    }
}

/// Returns the name of a manifest in a repository that no other will ever have.
fn pinned(to: &Reference, manifest: &Descriptor) -> Result<Reference, Error> {
    let name = format!("{}/{}@{}", to.host(), to.path(), manifest.digest);
    Reference::parse(&name).map_err(|source| no_image(to, DocumentError::Oci(source)))
}

/// Layers that no registry is to hand out; clients fetch them from their owner.
fn is_foreign(layer: &Descriptor) -> bool {
    layer.media_type.contains(".foreign.") || layer.media_type.contains(".nondistributable.")
}

fn short(blob: &Descriptor) -> String {
    blob.digest.as_digest().to_hex().chars().take(SHORT).collect()
}
