//! What happens to layers on their way to or from a registry, for who wants to watch. Nobody is made to wait by it.

use std::{fmt, sync::Arc};

use oci::Reference;

/// Something that happened to a layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// What people call the layer: the beginning of a digest.
    pub layer: String,
    /// What happened.
    pub news: News,
}

/// What happens to a layer. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It is to be pushed.
    ToPush,
    /// It is on its way to the registry.
    Pushing {
        /// How much has left.
        done: u64,
        /// How much there is.
        size: u64,
    },
    /// The registry has it now.
    Pushed,
    /// The registry had it.
    There,
    /// The registry took it from another repository.
    Mounted(Reference),
    /// What has it was found in this repository; told of the image, not of a layer.
    Found(Reference),
    /// It is to be pulled.
    ToPull,
    /// The store had it.
    Here,
    /// It is on its way from the registry.
    Pulling {
        /// How much has come.
        done: u64,
        /// How much there is.
        size: u64,
    },
    /// All of it has come.
    Verifying,
    /// All of it has come and is right.
    Verified,
    /// It is being unpacked.
    Unpacking {
        /// How much of what has come was read.
        done: u64,
        /// How much there is.
        size: u64,
    },
    /// It is in the store.
    Pulled,
}

/// Who watches. Clones are the same one.
#[derive(Clone, Default)]
pub struct Watcher(Option<Arc<Watch>>);

type Watch = dyn Fn(Transfer) + Send + Sync;

impl Watcher {
    /// Nobody.
    pub fn nobody() -> Self {
        Self(None)
    }

    /// Calls `watch` with everything that happens, from any thread; it must not wait.
    pub fn new(watch: impl Fn(Transfer) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(watch)))
    }

    /// Tells what happened to a layer.
    pub fn tell(&self, layer: &str, news: News) {
        if let Some(watch) = &self.0 {
            watch(Transfer { layer: layer.to_owned(), news });
        }
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watcher")
    }
}
